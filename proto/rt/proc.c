#include "proc.h"

#include "fs.h"
#include "log.h"
#include "loop.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

int proc_status(int wait_status)
{
    return WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 128 + WTERMSIG(wait_status);
}

int proc_wait(pid_t pid)
{
    int status = 0;
    pid_t ended;
    do {
        ended = waitpid(pid, &status, 0);
    } while (ended < 0 && errno == EINTR);
    return ended == pid ? proc_status(status) : PROC_UNKNOWN;
}

static void *exit_late(void *context)
{
    sleep((unsigned)(uintptr_t)context);
    log_err("still not ended, ended now");
    _exit(EXIT_SUCCESS);
}

void proc_exit_within(unsigned seconds)
{
    sigset_t all, before;
    pthread_t thread;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    if (pthread_create(&thread, NULL, exit_late, (void *)(uintptr_t)seconds) == 0) {
        pthread_detach(thread);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void proc_end(pid_t pid, int patience_ms)
{
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    struct pollfd gone = {.fd = pidfd, .events = POLLIN};
    kill(pid, SIGTERM);
    if (pidfd < 0 || poll(&gone, 1, patience_ms) <= 0) {
        kill(pid, SIGKILL);
    }
    proc_wait(pid);
    fd_closep(&pidfd);
}

static const char *path_of(const char *const *env)
{
    if (env == NULL)
        return getenv("PATH");
    for (; *env != NULL; env++) {
        if (strncmp(*env, "PATH=", 5) == 0)
            return *env + 5;
    }
    return NULL;
}

// The program's file. Looked up here and not in the child, which between fork and exec may not
// allocate.
static MUST_CHECK bool find_program(
    const char *name, const char *const *env, struct buf *program, struct err *e)
{
    if (strchr(name, '/') != NULL) {
        buf_append_text(program, name);
        return true;
    }
    const char *path = path_of(env);
    for (const char *at = path; at != NULL && *at != '\0' && *name != '\0';) {
        size_t len = strcspn(at, ":");
        if (*at == '/') { // an empty or relative entry means the current folder: never
            program->len = 0;
            buf_append(program, at, len);
            buf_printf(program, "/%s", name);
            struct stat st;
            const char *file = buf_text(program);
            if (stat(file, &st) == 0 && S_ISREG(st.st_mode) && access(file, X_OK) == 0)
                return true;
        }
        at += len + (at[len] == ':');
    }
    return err_set(e, CODE_IO, "cannot start %.100s: there is no such program in PATH (%.300s)",
        name, path != NULL ? path : "not set");
}

// What the child does; only calls that are safe after the fork of a program with threads.
struct child {
    const char *program;
    char *const *argv;
    char *const *env;
    const char *cwd;
    int in, out, err;
    bool new_session, die_with_parent;
    pid_t parent;
    int report; // gets errno if exec fails
};

// Descriptor for a standard stream, out of the way of 0, 1 and 2.
static int lift(int fd, int null_fd)
{
    return fcntl(fd >= 0 ? fd : null_fd, F_DUPFD_CLOEXEC, 3);
}

static bool set_streams(const struct child *c)
{
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    int in = lift(c->in, null_fd), out = lift(c->out, null_fd), err = lift(c->err, null_fd);
    return null_fd >= 0 && in >= 0 && out >= 0 && err >= 0 && dup2(in, STDIN_FILENO) >= 0 &&
           dup2(out, STDOUT_FILENO) >= 0 && dup2(err, STDERR_FILENO) >= 0;
}

static void reset_signals(void)
{
    struct sigaction standard = {.sa_handler = SIG_DFL};
    for (int signal = 1; signal < _NSIG; signal++)
        (void)sigaction(signal, &standard, NULL); // those that cannot be set need not be
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static _Noreturn void child_run(const struct child *c)
{
    // With handlers gone before signals are let in, none of the parent's can run here.
    reset_signals();
    if (c->die_with_parent) {
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (getppid() != c->parent) // it died before we asked
            _exit(128 + SIGTERM);
    }
    if (c->new_session)
        setsid();
    if (set_streams(c) && (c->cwd == NULL || chdir(c->cwd) == 0)) {
        // Whatever a library forgot to mark stays behind.
        close_range(3, ~0u, CLOSE_RANGE_CLOEXEC);
        execve(c->program, c->argv, c->env);
    }
    int error = errno;
    ssize_t told = write(c->report, &error, sizeof error);
    (void)told;
    _exit(127);
}

// A parent that ignores SIGCHLD hands that down, and then nobody learns how a child ended.
static void expect_children(void)
{
    struct sigaction now;
    if (sigaction(SIGCHLD, NULL, &now) == 0 && now.sa_handler == SIG_IGN)
        signal(SIGCHLD, SIG_DFL);
}

bool proc_spawn(const struct proc_spec *spec, pid_t *pid, int *pidfd, struct err *e)
{
    ASSERT(spec->argv != NULL && spec->argv[0] != NULL);
    struct buf program CLEANUP(buf_clear) = {0};
    if (!find_program(spec->argv[0], spec->env, &program, e))
        return false;
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return err_set(e, CODE_IO, "cannot start %s: %m", spec->argv[0]);
    CLEANUP_FD report = ends[0];
    // Above the standard streams, also if ours were closed.
    CLEANUP_FD reporting = fcntl(ends[1], F_DUPFD_CLOEXEC, 3);
    close(ends[1]);
    if (reporting < 0)
        return err_set(e, CODE_IO, "cannot start %s: %m", spec->argv[0]);
    expect_children();

    // execve takes char *const[] for historical reasons and changes nothing.
    union {
        const char *const *from;
        char *const *to;
    } argv = {.from = spec->argv}, env = {.from = spec->env};
    struct child child = {.program = buf_text(&program),
        .argv = argv.to,
        .env = spec->env != NULL ? env.to : environ,
        .cwd = spec->cwd,
        .in = spec->in,
        .out = spec->out,
        .err = spec->err,
        .new_session = spec->new_session,
        .die_with_parent = spec->die_with_parent,
        .parent = getpid(),
        .report = reporting};
    // No handler of ours may run in the child before it has reset them.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t made = fork();
    if (made == 0)
        child_run(&child);
    int fork_error = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = fork_error;
    if (made < 0)
        return err_set(e, CODE_IO, "cannot start %s: %m", spec->argv[0]);

    fd_closep(&reporting);
    int error = 0;
    ssize_t got;
    do {
        got = read(report, &error, sizeof error);
    } while (got < 0 && errno == EINTR);
    CLEANUP_FD handle = -1;
    if (got == 0) {
        handle = (int)syscall(SYS_pidfd_open, made, 0);
        error = errno;
    }
    if (handle < 0) {
        if (got == 0)
            kill(made, SIGKILL);
        proc_wait(made);
        errno = error;
        return err_set(e, CODE_IO, "cannot start %s%s%s: %m", child.program,
            spec->cwd != NULL ? " in " : "", spec->cwd != NULL ? spec->cwd : "");
    }
    *pid = made;
    *pidfd = handle;
    handle = -1;
    return true;
}

// A file in memory, so that nothing has to be fed while we read, and a child that does not care to
// read breaks no pipe.
static MUST_CHECK bool input_of(struct bytes in, int *fd, struct err *e)
{
    CLEANUP_FD file = memfd_create("input", MFD_CLOEXEC);
    size_t done = 0;
    while (file >= 0 && done < in.len) {
        ssize_t put = pwrite(file, in.at + done, in.len - done, (off_t)done);
        if (put <= 0 && errno != EINTR)
            break;
        done += put > 0 ? (size_t)put : 0;
    }
    if (file < 0 || done < in.len)
        return err_set(e, CODE_IO, "cannot keep the input of a program: %m");
    *fd = file;
    file = -1;
    return true;
}

struct gathering {
    int fd; // -1: at its end, or not gathered
    struct buf *into;
};

// Reads what is there. Past the limit it is read and dropped, so that the child does not block.
static void gather(struct gathering *g, size_t max)
{
    uint8_t block[16384];
    while (g->fd >= 0) {
        ssize_t got = read(g->fd, block, sizeof block);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && errno == EAGAIN)
            return;
        if (got <= 0) {
            fd_closep(&g->fd);
            return;
        }
        size_t room = max > g->into->len ? max - g->into->len : 0;
        buf_append(g->into, block, (size_t)got < room ? (size_t)got : room);
    }
}

// Until the child ended, or the deadline. A grandchild that keeps the pipes open is not waited for.
static bool watch_over(int pidfd, struct gathering streams[2], size_t max, int timeout_ms)
{
    uint64_t start = clock_monotonic_ms();
    for (;;) {
        int wait = -1;
        if (timeout_ms >= 0) {
            uint64_t passed = clock_monotonic_ms() - start;
            if (passed >= (uint64_t)timeout_ms)
                return false;
            wait = timeout_ms - (int)passed;
        }
        struct pollfd polled[3] = {{.fd = streams[0].fd, .events = POLLIN},
            {.fd = streams[1].fd, .events = POLLIN}, {.fd = pidfd, .events = POLLIN}};
        int ready = poll(polled, 3, wait);
        ASSERT(ready >= 0 || errno == EINTR || errno == ENOMEM);
        if (ready <= 0)
            continue;
        gather(&streams[0], max);
        gather(&streams[1], max);
        if (polled[2].revents != 0) {
            // What it wrote last may have come between the reading and its end.
            gather(&streams[0], max);
            gather(&streams[1], max);
            return true;
        }
    }
}

static MUST_CHECK bool make_pipe(int *reading, int *writing, struct err *e)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return err_set(e, CODE_IO, "cannot make a pipe: %m");
    *reading = ends[0];
    *writing = ends[1];
    if (fcntl(ends[0], F_SETFL, O_NONBLOCK) != 0) // our end only: the child expects to block
        return err_set(e, CODE_IO, "cannot make a pipe: %m");
    return true;
}

bool proc_run(const char *const *argv, const char *const *env, const char *cwd, struct bytes in,
    size_t output_max, int timeout_ms, bool inherit_tty, struct proc_result *result, struct err *e)
{
    *result = (struct proc_result){0};
    CLEANUP_FD input = -1;
    CLEANUP_FD out = -1;
    CLEANUP_FD err = -1;
    CLEANUP_FD out_reading = -1;
    CLEANUP_FD err_reading = -1;
    CLEANUP_FD pidfd = -1;
    pid_t pid;
    if ((in.len > 0 && !input_of(in, &input, e)) || !make_pipe(&out_reading, &out, e) ||
        (!inherit_tty && !make_pipe(&err_reading, &err, e)))
        return false;
    struct proc_spec spec = {.argv = argv,
        .env = env,
        .cwd = cwd,
        .out = out,
        .in = input < 0 && inherit_tty ? STDIN_FILENO : input,
        .err = inherit_tty ? STDERR_FILENO : err,
        .new_session = !inherit_tty,
        .die_with_parent = true};
    if (!proc_spawn(&spec, &pid, &pidfd, e))
        return false;
    fd_closep(&out);
    fd_closep(&err);

    struct gathering streams[2] = {{out_reading, &result->out}, {err_reading, &result->err}};
    out_reading = err_reading = -1;
    result->timed_out = !watch_over(pidfd, streams, output_max, timeout_ms);
    if (result->timed_out)
        kill(inherit_tty ? pid : -pid, SIGKILL); // not reaped yet, so the number is still its own
    result->status = proc_wait(pid);
    fd_closep(&streams[0].fd);
    fd_closep(&streams[1].fd);
    if (result->timed_out)
        return err_set(e, CODE_TIMEOUT, "%s did not end within %d ms", argv[0], timeout_ms);
    return true;
}

void proc_forbid_dump(void)
{
    ASSERT(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0);
}

void proc_result_clear(struct proc_result *result)
{
    buf_clear(&result->out);
    buf_clear(&result->err);
    *result = (struct proc_result){0};
}
