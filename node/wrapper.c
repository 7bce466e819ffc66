#include "wrapper.h"

#include "fs.h"
#include "job_file.h"
#include "log.h"
#include "notify.h"
#include "output.h"
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
#include <sys/wait.h>
#include <unistd.h>

#define KILL_MS 10000
#define POLL_MS_MAX 3600000

static size_t count_words(const char *const *words)
{
    size_t count = 0;
    while (words[count] != NULL) {
        count++;
    }
    return count;
}

const char **wrapper_argv(const char *self, const char *dir, const char *unit,
    const struct job_spec *spec, uint64_t delay_ms, struct wrapper_numbers *numbers)
{
    size_t env = count_words(spec->env), words = count_words(spec->argv);
    const char **argv = xcalloc(WRAPPER_WORDS + env + words + 1, sizeof *argv);
    snprintf(numbers->limit, sizeof numbers->limit, "%" PRIu64, spec->limit_ms);
    snprintf(numbers->delay, sizeof numbers->delay, "%" PRIu64, delay_ms);
    const char *head[] = {
        self, "job", dir, job_word(spec->kind), unit, numbers->limit, numbers->delay};
    size_t n = sizeof head / sizeof head[0];
    memcpy(argv, head, sizeof head);
    for (size_t i = 0; i < env; i++) {
        argv[n++] = spec->env[i];
    }
    argv[n++] = "--";
    for (size_t i = 0; i < words; i++) {
        argv[n++] = spec->argv[i];
    }
    return argv;
}

// --- the wrapper itself ---

struct wrapper {
    int dir, lock;
    enum job_kind kind;
    const char *unit;
    uint64_t limit_ms, delay_ms;
    const char *const *env, *const *command;
    struct job_record record;
    int signals;
    struct output output;
};

static bool parse_kind(const char *word, enum job_kind *kind)
{
    for (unsigned i = 0; i < JOB_KIND_COUNT; i++) {
        if (strcmp(word, job_word((enum job_kind)i)) == 0) {
            *kind = (enum job_kind)i;
            return true;
        }
    }
    return false;
}

static bool parse_words(struct wrapper *w, int argc, char **argv, struct err *e)
{
    int dashes = 6;
    while (dashes < argc && strcmp(argv[dashes], "--") != 0) {
        dashes++;
    }
    if (dashes + 1 >= argc || !parse_kind(argv[2], &w->kind)) {
        return err_set(e, CODE_USAGE,
            "usage: bento-apply job DIR KIND UNIT LIMIT_MS DELAY_MS NAME=VALUE… -- COMMAND…");
    }
    w->unit = argv[3];
    w->limit_ms = strtoull(argv[4], NULL, 10);
    w->delay_ms = strtoull(argv[5], NULL, 10);
    argv[dashes] = NULL;
    w->env = (const char *const *)argv + 6;
    w->command = (const char *const *)argv + dashes + 1;
    return fs_open_dir(AT_FDCWD, argv[1], &w->dir, e);
}

// The lock, and the record under it.
static bool claim(struct wrapper *w, struct err *e)
{
    bool child = strcmp(w->unit, WRAPPER_NO_UNIT) == 0;
    w->lock = child ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3) : job_file_open(w->dir, w->kind);
    if (child) {
        close(STDIN_FILENO);
    }
    // Waits for those who only look; systemd's patience with the start is the deadline.
    if (w->lock < 0 || (!child && flock(w->lock, LOCK_EX) != 0)) {
        return err_set(e, CODE_IO, "cannot lock the job file %s: %m", job_word(w->kind));
    }
    job_file_read_locked(w->lock, &w->record);
    bool ours = w->record.state == JOB_STATE_RUNNING && w->record.pid == 0;
    if (!ours || strcmp(w->record.unit, child ? "" : w->unit) != 0) {
        return err_set(e, CODE_BUSY, "the job %s is not wanted any more", job_word(w->kind));
    }
    w->record.pid = getpid();
    if (job_file_write(w->lock, &w->record, e)) {
        return true;
    }
    bool back = w->kind == JOB_DEADMAN || w->kind == JOB_REVERT;
    if (back) { // going back matters more than who knows of it
        log_err("%s", e->text);
    }
    return back;
}

static int open_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static bool take_signal(int signals)
{
    struct signalfd_siginfo info;
    return read(signals, &info, sizeof info) == (ssize_t)sizeof info;
}

static int time_left(uint64_t deadline)
{
    uint64_t now = clock_monotonic_ms();
    uint64_t left = deadline > now ? deadline - now : 0;
    return left > POLL_MS_MAX ? POLL_MS_MAX : (int)left;
}

// Awake time, as systemd's OnActiveSec= counts: a machine that sleeps meanwhile has not been
// unreachable. False if we were told to end.
static bool sleep_awake(const struct wrapper *w)
{
    uint64_t deadline = clock_monotonic_ms() + w->delay_ms;
    struct pollfd asked = {.fd = w->signals, .events = POLLIN};
    while (clock_monotonic_ms() < deadline) {
        if (poll(&asked, 1, time_left(deadline)) > 0 && take_signal(w->signals)) {
            return false;
        }
    }
    return true;
}

// Reads what is there; closes it at its end.
static void gather(struct wrapper *w, int *pipe)
{
    uint8_t block[16384];
    while (*pipe >= 0) {
        ssize_t n = read(*pipe, block, sizeof block);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0 && errno == EAGAIN) {
            return;
        }
        if (n <= 0) {
            fd_closep(pipe);
            return;
        }
        output_add(&w->output, bytes_of(block, (size_t)n));
    }
}

// Waits for the command; SIGTERM to us or the limit ends its whole session, first politely.
static int supervise(struct wrapper *w, pid_t pid, int pidfd, int *pipe)
{
    uint64_t deadline = clock_monotonic_ms() + w->limit_ms;
    bool ending = false;
    for (;;) {
        struct pollfd fds[] = {{.fd = pidfd, .events = POLLIN},
            {.fd = w->signals, .events = POLLIN}, {.fd = *pipe, .events = POLLIN}};
        if (poll(fds, 3, time_left(deadline)) < 0) {
            continue;
        }
        if (fds[2].revents != 0) {
            gather(w, pipe);
        }
        if (fds[0].revents != 0) {
            kill(-pid, SIGKILL); // nothing of it stays behind; before its number is free again
            int status = proc_wait(pid);
            gather(w, pipe);
            return status;
        }
        bool asked = fds[1].revents != 0 && take_signal(w->signals);
        if (clock_monotonic_ms() >= deadline || (asked && !ending)) {
            kill(-pid, ending ? SIGKILL : SIGTERM);
            ending = true;
            deadline = clock_monotonic_ms() + KILL_MS;
        }
    }
}

static bool run_command(struct wrapper *w, int *status, struct err *e)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) {
        return err_set(e, CODE_IO, "cannot make a pipe: %m");
    }
    CLEANUP_FD reading = ends[0];
    CLEANUP_FD writing = ends[1];
    struct proc_spec spec = PROC_SPEC;
    spec.argv = w->command;
    spec.env = w->env;
    spec.out = spec.err = writing;
    spec.new_session = spec.die_with_parent = true;
    pid_t pid;
    CLEANUP_FD pidfd = -1;
    if (fcntl(reading, F_SETFL, O_NONBLOCK) != 0 || !proc_spawn(&spec, &pid, &pidfd, e)) {
        return false;
    }
    fd_closep(&writing);
    w->record.session = pid;
    struct err ignored; // whoever kills us and needs it: see runner_session.c
    (void)!job_file_write(w->lock, &w->record, &ignored);
    *status = supervise(w, pid, pidfd, &reading);
    return true;
}

static bool work(struct wrapper *w, struct err *e)
{
    int status = 127;
    w->signals = open_signals();
    output_open(&w->output, w->dir, w->kind);
    if (!sleep_awake(w)) {
        status = 128 + SIGTERM;
    } else if (!run_command(w, &status, e)) {
        output_add(&w->output, bytes_of_text(e->text));
        output_add(&w->output, bytes_of_text("\n"));
        log_err("job %s: %s", job_word(w->kind), e->text);
    }
    output_close(&w->output);
    fd_closep(&w->signals);
    w->record.status = status;
    return job_file_write(w->lock, &w->record, e);
}

int job_main(int argc, char **argv)
{
    struct wrapper w = {.dir = -1, .lock = -1, .signals = -1, .output = {.fd = -1}};
    struct err e;
    bool ok = parse_words(&w, argc, argv, &e) && claim(&w, &e);
    if (ok) {
        notify_ready(); // locked and on record
        ok = work(&w, &e);
    }
    if (!ok) {
        log_err("%s", e.text);
    }
    fd_closep(&w.lock);
    fd_closep(&w.dir);
    return ok ? 0 : e.code == CODE_USAGE ? 64 : 1;
}
