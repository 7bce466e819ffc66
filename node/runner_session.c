// Where there is no systemd: the wrapper is a child in a session of its own, and so survives us.
#include "fs.h"
#include "log.h"
#include "proc.h"
#include "runner.h"
#include "wrapper.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define KILL_ROUNDS 16

static void on_child(void *context, int status)
{
    (void)status; // what counts is in the record
    struct job *job = context;
    loop_remove(job->watch);
    job_on_wrapper_gone(job);
}

static bool spawn(struct job *job, const struct start *start, int lock, struct err *e)
{
    struct jobs *jobs = job->jobs;
    struct wrapper_numbers numbers;
    const char **argv = wrapper_argv(
        jobs->self, jobs->path, WRAPPER_NO_UNIT, &start->spec, start->spec.delay_ms, &numbers);
    struct proc_spec spec = PROC_SPEC;
    spec.argv = argv;
    spec.env = start->spec.env;
    spec.in = lock;
    spec.err = STDERR_FILENO;
    spec.new_session = true;
    pid_t pid;
    int pidfd;
    bool ok = proc_spawn(&spec, &pid, &pidfd, e);
    free(argv);
    if (!ok) {
        return false;
    }
    job->record.pid = pid;
    job->watch = loop_child(jobs->loop, pid, pidfd, on_child, job);
    log_info("job started kind=%s pid=%d", job_word(job->kind), (int)pid);
    return true;
}

static bool session_start(struct job *job, const struct start *start, struct err *e)
{
    CLEANUP_FD lock = job_file_claim(job->jobs->dir, job->kind);
    if (lock < 0) {
        return err_set(e, CODE_BUSY, "the job file %s is locked: %m", job_word(job->kind));
    }
    const struct job_record record = {.key = start->spec.key, .status = -1};
    if (!job_file_write(lock, &record, e)) {
        return false;
    }
    job->record = record;
    job->record.state = JOB_STATE_RUNNING;
    if (!spawn(job, start, lock, e)) {
        return false;
    }
    job_began(job, JOB_RUNNING); // it was born with the lock
    return true;
}

static bool is_of_session(const char *pid, pid_t session)
{
    char path[64], text[512] = "";
    char condition;
    int parent, group, its_session;
    snprintf(path, sizeof path, "/proc/%.20s/stat", pid);
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return false;
    }
    (void)!fread(text, 1, sizeof text - 1, file);
    fclose(file);
    const char *after = strrchr(text, ')'); // the name before it may contain anything
    return after != NULL &&
           sscanf(after, ") %c %d %d %d", &condition, &parent, &group, &its_session) == 4 &&
           its_session == session && condition != 'Z';
}

// SIGKILL for everything in a session, once; false if there was nothing.
static bool kill_members(pid_t session)
{
    bool killed = false;
    DIR *processes = opendir("/proc");
    struct dirent *entry;
    while (processes != NULL && (entry = readdir(processes)) != NULL) {
        int pid = atoi(entry->d_name);
        CLEANUP_FD pidfd = pid > 0 ? (int)syscall(SYS_pidfd_open, pid, 0) : -1;
        // Looked at through its number after the descriptor was opened: it is the one we mean.
        if (pidfd >= 0 && is_of_session(entry->d_name, session) &&
            syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0) == 0) {
            killed = true;
        }
    }
    if (processes != NULL) {
        closedir(processes);
    }
    return killed;
}

// A wrapper that was killed leaves what ignores the SIGTERM that comes from its death. Only under our
// eyes: later the number of the session may be another's.
static void session_over(struct job *job)
{
    bool left = job->record.state == JOB_STATE_LOST && job->record.session > 1;
    // Again for those that were being born.
    for (unsigned i = 0; left && i < KILL_ROUNDS; i++) {
        left = kill_members(job->record.session);
    }
    job_gone(job);
}

static void session_doubt(struct job *job)
{
    job->record.state = JOB_STATE_LOST; // a unit of systemd's, before it was started without
    job_gone(job);
}

// By descriptor where it is not our child: its number may be another's as soon as it is gone.
static void session_end(struct job *job)
{
    if (job->pidfd >= 0) {
        syscall(SYS_pidfd_send_signal, job->pidfd, SIGTERM, NULL, 0);
    } else if (job->watch != NULL) {
        kill(job->record.pid, SIGTERM);
    } // else job_settle() calls again as soon as it is there
}

const struct runner runner_session = {session_start, session_doubt, session_over, session_end};
