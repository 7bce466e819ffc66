#include "interrupt.h"

#include "err.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

// A handler gets no context, so this is the one thing that cannot be the caller's.
static int pipe_in = -1;

static void on_signal(int signal)
{
    (void)signal;
    int before = errno;
    ssize_t ignored = write(pipe_in, "!", 1); // full: one is enough
    (void)ignored;
    errno = before;
}

int interrupt_open(void)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    int fds[2];
    int rc = pipe2(fds, O_CLOEXEC | O_NONBLOCK);
    ASSERT(rc == 0 && pipe_in < 0);
    pipe_in = fds[1];
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++) {
        sigaction(signals[i], &action, NULL);
    }
    return fds[0];
}
