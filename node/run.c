#include "actions.h"

#include "proc.h"
#include "system.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOT_STARTED 127
#define TIMED_OUT 124
#define END_MS 5000
#define OUTPUT_BYTES_MAX (1u << 20)

static int wait_for(pid_t pid, int pidfd)
{
    int status = proc_wait(pid);
    close(pidfd);
    return status;
}

// What is run is printed first: the output of a job is the log that a person reads.
static void announce(const char *const *argv)
{
    fputs("$", stderr);
    for (; *argv != NULL; argv++) {
        fprintf(stderr, " %s", *argv);
    }
    fputs("\n", stderr);
}

static bool start(const struct config *config, const char *folder, const char *const *argv,
    const char *extra, int out, pid_t *pid, int *pidfd)
{
    char **environment CLEANUP(environment_free) = environment_new(config, extra);
    struct proc_spec spec = PROC_SPEC;
    spec.argv = argv;
    spec.env = (const char *const *)environment;
    spec.cwd = folder;
    spec.out = out;
    spec.err = STDERR_FILENO;
    spec.die_with_parent = true;
    struct err e;
    announce(argv);
    if (!proc_spawn(&spec, pid, pidfd, &e)) {
        fprintf(stderr, "%s\n", e.text);
        return false;
    }
    return true;
}

static int run(const struct config *config, const char *folder, const char *const *argv,
    const char *extra_environment)
{
    pid_t pid;
    int pidfd;
    return start(config, folder, argv, extra_environment, STDERR_FILENO, &pid, &pidfd)
               ? wait_for(pid, pidfd)
               : NOT_STARTED;
}

int run_command(const struct config *config, const char *const *argv, const char *extra_environment)
{
    return run(config, NULL, argv, extra_environment);
}

int run_command_in(const struct config *config, const char *folder, const char *const *argv)
{
    return run(config, folder, argv, NULL);
}

int run_limited(const struct config *config, const char *const *argv, uint64_t limit_ms)
{
    pid_t pid;
    int pidfd;
    if (!start(config, NULL, argv, NULL, STDERR_FILENO, &pid, &pidfd)) {
        return NOT_STARTED;
    }
    struct pollfd ended = {.fd = pidfd, .events = POLLIN};
    if (poll(&ended, 1, (int)limit_ms) > 0) {
        return wait_for(pid, pidfd);
    }
    close(pidfd);
    proc_end(pid, END_MS);
    return TIMED_OUT;
}

bool has_systemd(void)
{
    return access("/run/systemd/system", F_OK) == 0;
}

static void read_all(int fd, struct buf *out)
{
    char chunk[4096];
    ssize_t n;
    while ((n = read(fd, chunk, sizeof chunk)) > 0 || (n < 0 && errno == EINTR)) {
        if (n > 0 && out->len < OUTPUT_BYTES_MAX) {
            buf_append(out, chunk, (size_t)n);
        }
    }
    while (out->len > 0 && out->at[out->len - 1] == '\n') {
        out->len--;
    }
}

bool run_collect(const struct config *config, const char *const *argv, struct buf *out, int *status)
{
    int ends[2];
    pid_t pid;
    int pidfd;
    *status = NOT_STARTED;
    if (pipe2(ends, O_CLOEXEC) != 0) {
        return false;
    }
    bool started = start(config, NULL, argv, NULL, ends[1], &pid, &pidfd);
    close(ends[1]);
    if (started) {
        read_all(ends[0], out);
        *status = wait_for(pid, pidfd);
    }
    close(ends[0]);
    return *status == 0;
}
