#include "interrupt.h"

#include "err.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <unistd.h>

static const int signals[INTERRUPT_SIGNALS] = {SIGINT, SIGTERM, SIGHUP};

// A handler gets no context, so this is the one thing that cannot be the caller's.
static int pipe_in = -1;

static void on_signal(int number)
{
    int before = errno;
    uint8_t byte = (uint8_t)number;
    ssize_t ignored = write(pipe_in, &byte, 1); // full: one is enough
    (void)ignored;
    errno = before;
}

void interrupt_catch(struct interrupt *interrupt)
{
    struct sigaction ours = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    int ends[2];
    ASSERT(pipe_in < 0 && pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
    *interrupt = (struct interrupt){.caught = true, .fd = ends[0], .in = ends[1]};
    pipe_in = ends[1];
    for (size_t i = 0; i < INTERRUPT_SIGNALS; i++) {
        sigaction(signals[i], NULL, &interrupt->before[i]);
        if (interrupt->before[i].sa_handler != SIG_IGN) {
            sigaction(signals[i], &ours, NULL);
        }
    }
}

int interrupt_take(struct interrupt *interrupt)
{
    uint8_t number = 0;
    return read(interrupt->fd, &number, 1) == 1 ? number : 0;
}

int interrupt_release(struct interrupt *interrupt)
{
    if (!interrupt->caught) {
        return 0;
    }
    for (size_t i = 0; i < INTERRUPT_SIGNALS; i++) {
        sigaction(signals[i], &interrupt->before[i], NULL);
    }
    int last = interrupt_take(interrupt);
    pipe_in = -1;
    close(interrupt->fd);
    close(interrupt->in);
    interrupt->caught = false;
    return last;
}
