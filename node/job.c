#include "job.h"

#include "fs.h"
#include "log.h"
#include "proc.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define RECORD_BYTES 128
#define KILL_MS 10000
#define RECHECK_MS 200

struct job {
    struct jobs *jobs;
    enum job_kind kind;
    struct loop_watch *watch; // while it runs under our eyes
    int pidfd;                // of one that another bento-apply started, else -1
    struct job_record record;
    bool muted;         // stopped by us
    struct start *next; // to be started when the running one has ended
};

struct start {
    struct job_key key;
    char **argv, **env;
    uint64_t limit_ms;
};

struct jobs {
    struct loop *loop;
    struct loop_watch *recheck;
    int dir;
    char *path, *self;
    job_ended_fn *ended;
    void *context;
    struct job list[JOB_KIND_COUNT];
};

const char *job_word(enum job_kind kind)
{
#define JOB_WORD(name, word) [JOB_##name] = word,
    static const char *const words[] = {JOB_KINDS(JOB_WORD)};
    return words[kind];
}

// --- the record: one line in a preallocated file, rewritten in place ---

static bool record_write(int fd, const struct job_record *record, struct err *e)
{
    char hex[HASH_HEX_BYTES], line[RECORD_BYTES];
    hex_encode(record->key.digest, HASH_BYTES, hex);
    memset(line, ' ', sizeof line);
    int n = snprintf(line, sizeof line, "1 %s %u %d %d", hex, record->key.attempt, (int)record->pid,
        record->status);
    ASSERT(n > 0 && (size_t)n < sizeof line);
    line[n] = ' ';
    line[sizeof line - 1] = '\n';
    if (pwrite(fd, line, sizeof line, 0) != (ssize_t)sizeof line || fdatasync(fd) != 0) {
        return err_set(e, CODE_IO, "cannot record a job: %m");
    }
    return true;
}

static bool is_locked(int fd)
{
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        return true;
    }
    flock(fd, LOCK_UN);
    return false;
}

static void record_parse(int fd, bool locked, struct job_record *record)
{
    char line[RECORD_BYTES + 1] = "", hex[HASH_HEX_BYTES];
    int pid, status;
    *record = (struct job_record){.state = JOB_STATE_NONE};
    if (pread(fd, line, RECORD_BYTES, 0) <= 0 ||
        sscanf(line, "1 %64s %u %d %d", hex, &record->key.attempt, &pid, &status) != 4 ||
        !hex_decode(hex, strlen(hex), record->key.digest, HASH_BYTES)) {
        return;
    }
    record->pid = pid;
    record->status = status;
    record->state = status >= 0 ? JOB_STATE_ENDED : locked ? JOB_STATE_RUNNING : JOB_STATE_LOST;
}

static void record_read(int fd, struct job_record *record)
{
    bool locked = is_locked(fd); // before reading: what ends in between has then written its status
    record_parse(fd, locked, record);
}

static int record_open(int dir, enum job_kind kind)
{
    return openat(dir, job_word(kind), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
}

static bool preallocate(int dir, enum job_kind kind, struct err *e)
{
    CLEANUP_FD fd = record_open(dir, kind);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0) {
        return err_set(e, CODE_IO, "cannot open the job file %s: %m", job_word(kind));
    }
    if (st.st_size >= RECORD_BYTES) {
        return true;
    }
    char blank[RECORD_BYTES];
    memset(blank, ' ', sizeof blank);
    if (pwrite(fd, blank, sizeof blank, 0) != (ssize_t)sizeof blank || fsync(fd) != 0) {
        return err_set(e, CODE_IO, "cannot preallocate the job file %s: %m", job_word(kind));
    }
    return fs_sync_dir(dir, e);
}

// --- starting and watching ---

static void start_free(struct start *start)
{
    if (start == NULL) {
        return;
    }
    for (char **each = start->argv; *each != NULL; each++) {
        free(*each);
    }
    for (char **each = start->env; *each != NULL; each++) {
        free(*each);
    }
    free(start->argv);
    free(start->env);
    free(start);
}

static char **copy_words(const char *const *words)
{
    size_t count = 0;
    while (words[count] != NULL) {
        count++;
    }
    char **copy = xcalloc(count + 1, sizeof *copy);
    for (size_t i = 0; i < count; i++) {
        copy[i] = xstrdup(words[i]);
    }
    return copy;
}

static bool launch(struct job *job, const struct start *start, struct err *e);

static void on_gone(struct job *job)
{
    job->watch = NULL;
    jobs_look(job->jobs, job->kind, &job->record);
    if (job->record.state == JOB_STATE_RUNNING) {
        job->record.state = JOB_STATE_LOST; // its lock lives on in a child that has yet to exec
    }
    bool muted = job->muted;
    job->muted = false;
    if (job->next != NULL) {
        struct start *start = job->next;
        job->next = NULL;
        struct err e;
        if (!launch(job, start, &e)) {
            log_err("job not started kind=%s error=\"%s\"", job_word(job->kind), e.text);
            job->record = (struct job_record){.state = JOB_STATE_LOST, .key = start->key};
            job->jobs->ended(job->jobs->context, job->kind, &job->record);
        }
        start_free(start);
        return;
    }
    if (!muted) {
        job->jobs->ended(job->jobs->context, job->kind, &job->record);
    }
}

static void on_child(void *context, int status)
{
    (void)status; // what counts is in the record
    struct job *job = context;
    loop_remove(job->watch);
    on_gone(job);
}

static void on_pidfd(void *context)
{
    struct job *job = context;
    loop_remove(job->watch);
    fd_closep(&job->pidfd);
    on_gone(job);
}

// Watches a job that another bento-apply started. False if it cannot be (not yet: it has no pid in
// its record; or it has ended).
static bool attach(struct job *job)
{
    if (job->record.pid <= 0) {
        return false;
    }
    int pidfd = (int)syscall(SYS_pidfd_open, job->record.pid, 0);
    CLEANUP_FD fd = record_open(job->jobs->dir, job->kind);
    if (pidfd < 0 || fd < 0 || !is_locked(fd)) {
        fd_closep(&pidfd);
        return false;
    }
    job->pidfd = pidfd;
    job->watch = loop_fd(job->jobs->loop, pidfd, on_pidfd, job);
    log_info("job found running kind=%s pid=%d", job_word(job->kind), (int)job->record.pid);
    return true;
}

// By descriptor where it is not our child: its number may be another's as soon as it is gone.
static void ask_to_end(const struct job *job)
{
    if (job->pidfd >= 0) {
        syscall(SYS_pidfd_send_signal, job->pidfd, SIGTERM, NULL, 0);
    } else {
        kill(job->record.pid, SIGTERM);
    }
}

static bool is_running(const struct job *job)
{
    return job->watch != NULL || job->record.state == JOB_STATE_RUNNING;
}

// Jobs that run but could not be watched when we looked.
static void on_recheck(void *context)
{
    struct jobs *jobs = context;
    for (unsigned kind = 0; kind < JOB_KIND_COUNT; kind++) {
        struct job *job = &jobs->list[kind];
        if (job->watch != NULL || job->record.state != JOB_STATE_RUNNING) {
            continue;
        }
        jobs_look(jobs, job->kind, &job->record);
        if (job->record.state != JOB_STATE_RUNNING) {
            on_gone(job);
        } else if (!attach(job)) {
            loop_timer_set(jobs->recheck, RECHECK_MS);
        } else if (job->muted) {
            ask_to_end(job);
        }
    }
}

static bool launch(struct job *job, const struct start *start, struct err *e)
{
    struct jobs *jobs = job->jobs;
    CLEANUP_FD lock = record_open(jobs->dir, job->kind);
    if (lock < 0 || flock(lock, LOCK_EX | LOCK_NB) != 0) {
        return err_set(e, CODE_BUSY, "the job file %s is locked: %m", job_word(job->kind));
    }
    struct job_record record = {.key = start->key, .status = -1};
    if (!record_write(lock, &record, e)) {
        return false;
    }
    char limit[32];
    snprintf(limit, sizeof limit, "%" PRIu64, start->limit_ms);
    size_t words = 0;
    while (start->argv[words] != NULL) {
        words++;
    }
    const char **argv = xcalloc(words + 7, sizeof *argv);
    const char *head[] = {jobs->self, "job", jobs->path, job_word(job->kind), limit, "--"};
    memcpy(argv, head, sizeof head);
    for (size_t i = 0; i < words; i++) {
        argv[6 + i] = start->argv[i];
    }
    struct proc_spec spec = PROC_SPEC;
    spec.argv = argv;
    spec.env = (const char *const *)start->env;
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
    job->record = record;
    job->record.state = JOB_STATE_RUNNING;
    job->record.pid = pid;
    job->watch = loop_child(jobs->loop, pid, pidfd, on_child, job);
    log_info("job started kind=%s pid=%d", job_word(job->kind), (int)pid);
    return true;
}

struct jobs *jobs_open(struct loop *loop, const char *path, const char *self, job_ended_fn *ended,
    void *context, struct err *e)
{
    struct jobs *jobs = xcalloc(1, sizeof *jobs);
    *jobs = (struct jobs){.loop = loop,
        .dir = -1,
        .path = xstrdup(path),
        .self = xstrdup(self),
        .ended = ended,
        .context = context};
    jobs->recheck = loop_timer(loop, true, on_recheck, jobs);
    if (!fs_open_dir(AT_FDCWD, path, &jobs->dir, e)) {
        jobs_close(jobs);
        return NULL;
    }
    for (unsigned kind = 0; kind < JOB_KIND_COUNT; kind++) {
        struct job *job = &jobs->list[kind];
        *job = (struct job){.jobs = jobs, .kind = (enum job_kind)kind, .pidfd = -1};
        if (!preallocate(jobs->dir, job->kind, e)) {
            jobs_close(jobs);
            return NULL;
        }
        jobs_look(jobs, job->kind, &job->record);
        if (job->record.state == JOB_STATE_RUNNING && !attach(job)) {
            loop_timer_set(jobs->recheck, RECHECK_MS);
        }
    }
    return jobs;
}

void jobs_close(struct jobs *jobs)
{
    if (jobs == NULL) {
        return;
    }
    for (unsigned kind = 0; kind < JOB_KIND_COUNT; kind++) {
        loop_remove(jobs->list[kind].watch);
        if (jobs->list[kind].jobs != NULL) {
            fd_closep(&jobs->list[kind].pidfd);
        }
        start_free(jobs->list[kind].next);
    }
    loop_remove(jobs->recheck);
    fd_closep(&jobs->dir);
    free(jobs->path);
    free(jobs->self);
    free(jobs);
}

bool jobs_start(struct jobs *jobs, enum job_kind kind, const struct job_key *key,
    const char *const *argv, const char *const *env, uint64_t limit_ms, bool again, struct err *e)
{
    struct job *job = &jobs->list[kind];
    bool same = memcmp(job->record.key.digest, key->digest, HASH_BYTES) == 0 &&
                job->record.key.attempt == key->attempt;
    struct start *start = xcalloc(1, sizeof *start);
    *start = (struct start){*key, copy_words(argv), copy_words(env), limit_ms};
    if (is_running(job)) {
        if (same && !job->muted) {
            start_free(start);
            return true;
        }
        jobs_stop(jobs, kind);
        start_free(job->next);
        job->next = start;
        return true;
    }
    bool good = job->record.state == JOB_STATE_ENDED && job->record.status == 0;
    bool known = same && job->record.state != JOB_STATE_NONE && (good || !again);
    bool ok = known || launch(job, start, e);
    start_free(start);
    if (known) {
        jobs->ended(jobs->context, kind, &job->record);
    }
    return ok;
}

void jobs_stop(struct jobs *jobs, enum job_kind kind)
{
    struct job *job = &jobs->list[kind];
    start_free(job->next);
    job->next = NULL;
    job->muted = is_running(job);
    if (job->watch != NULL) {
        ask_to_end(job);
    } // else on_recheck() does, as soon as it can
}

void jobs_forget(struct jobs *jobs, enum job_kind kind)
{
    struct job *job = &jobs->list[kind];
    if (is_running(job)) {
        jobs_stop(jobs, kind);
        return;
    }
    CLEANUP_FD fd = record_open(jobs->dir, kind);
    struct job_record blank = {.status = 0};
    struct err e;
    if (fd < 0 || !record_write(fd, &blank, &e)) {
        log_warning("job record not forgotten kind=%s", job_word(kind));
    }
    job->record = (struct job_record){.state = JOB_STATE_NONE};
}

void jobs_look(struct jobs *jobs, enum job_kind kind, struct job_record *record)
{
    CLEANUP_FD fd = record_open(jobs->dir, kind);
    *record = (struct job_record){.state = JOB_STATE_NONE};
    if (fd >= 0) {
        record_read(fd, record);
    }
}

static void out_name(enum job_kind kind, char name[32])
{
    snprintf(name, 32, "%s.out", job_word(kind));
}

void jobs_tail(struct jobs *jobs, enum job_kind kind, size_t max, struct buf *out)
{
    char name[32];
    out_name(kind, name);
    CLEANUP_FD fd = openat(jobs->dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0) {
        return;
    }
    off_t from = st.st_size > (off_t)max ? st.st_size - (off_t)max : 0;
    buf_reserve(out, max);
    ssize_t n = pread(fd, out->at + out->len, max, from);
    if (n > 0) {
        out->len += (size_t)n;
    }
}

bool job_end(int dir, enum job_kind kind, int timeout_ms, struct err *e)
{
    CLEANUP_FD fd = record_open(dir, kind);
    if (fd < 0) {
        return err_set(e, CODE_IO, "cannot open the job file %s: %m", job_word(kind));
    }
    struct job_record record;
    record_read(fd, &record);
    if (record.state != JOB_STATE_RUNNING || record.pid <= 0) {
        return true;
    }
    CLEANUP_FD pidfd = (int)syscall(SYS_pidfd_open, record.pid, 0);
    if (pidfd < 0 || !is_locked(fd)) {
        return true;
    }
    syscall(SYS_pidfd_send_signal, pidfd, SIGTERM, NULL, 0);
    struct pollfd gone = {.fd = pidfd, .events = POLLIN};
    if (poll(&gone, 1, timeout_ms) <= 0) {
        return err_set(e, CODE_TIMEOUT, "the job %s does not end", job_word(kind));
    }
    return true;
}

// --- the wrapper ---

// Waits for the child; SIGTERM to us or the limit ends its whole session, first politely.
static int supervise(pid_t pid, int pidfd, int signals, uint64_t limit_ms)
{
    uint64_t deadline = clock_monotonic_ms() + limit_ms;
    bool ending = false;
    for (;;) {
        uint64_t now = clock_monotonic_ms();
        uint64_t wait_ms = deadline > now ? deadline - now : 0;
        struct pollfd fds[] = {{.fd = pidfd, .events = POLLIN}, {.fd = signals, .events = POLLIN}};
        int n = poll(fds, 2, wait_ms > 3600000 ? 3600000 : (int)wait_ms);
        if (n > 0 && fds[0].revents != 0) {
            int status = 0;
            kill(-pid, SIGKILL); // nothing of it stays behind; before its number is free again
            while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
            }
            return proc_status(status);
        }
        bool asked = n > 0 && fds[1].revents != 0;
        if (asked) {
            struct signalfd_siginfo info;
            (void)!read(signals, &info, sizeof info);
        }
        if (clock_monotonic_ms() >= deadline || (asked && !ending)) {
            kill(-pid, ending ? SIGKILL : SIGTERM);
            ending = true;
            deadline = clock_monotonic_ms() + KILL_MS;
        }
    }
}

static bool run(
    int dir, const char *word, uint64_t limit_ms, char **argv, int *status, struct err *e)
{
    char name[64];
    snprintf(name, sizeof name, "%s.out", word);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    CLEANUP_FD signals = signalfd(-1, &set, SFD_CLOEXEC);
    CLEANUP_FD out =
        openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
    struct proc_spec spec = PROC_SPEC; // no output file (full disk): it runs without one
    spec.argv = (const char *const *)argv;
    spec.out = spec.err = out;
    spec.new_session = spec.die_with_parent = true;
    pid_t pid;
    CLEANUP_FD pidfd = -1;
    if (!proc_spawn(&spec, &pid, &pidfd, e)) {
        if (out >= 0) {
            dprintf(out, "%s\n", e->text);
        }
        return false;
    }
    *status = supervise(pid, pidfd, signals, limit_ms);
    if (out >= 0) {
        (void)!fsync(out);
    }
    return true;
}

int job_main(int argc, char **argv)
{
    struct err e;
    if (argc < 6 || strcmp(argv[4], "--") != 0) {
        log_err("usage: bento-apply job DIR KIND LIMIT_MS -- COMMAND…");
        return 64;
    }
    CLEANUP_FD dir = -1;
    CLEANUP_FD lock = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3); // the lock came as standard input
    close(STDIN_FILENO);
    struct job_record record;
    if (!fs_open_dir(AT_FDCWD, argv[1], &dir, &e)) {
        log_err("job folder: %s", e.text);
        return 1;
    }
    record_parse(lock, true, &record);
    record.pid = getpid();
    record.status = -1;
    if (!record_write(lock, &record, &e)) {
        log_err("%s", e.text);
        return 1;
    }
    int status = 127;
    if (!run(dir, argv[2], strtoull(argv[3], NULL, 10), argv + 5, &status, &e)) {
        log_err("job %s: %s", argv[2], e.text);
    }
    record.status = status;
    if (!record_write(lock, &record, &e)) {
        log_err("%s", e.text);
        return 1;
    }
    return 0;
}
