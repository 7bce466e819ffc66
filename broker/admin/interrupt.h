// Ctrl-C (and SIGTERM, SIGHUP) as something to wait for, for a program that has to say what it
// leaves behind or to remove what it made half. A handler and a pipe rather than a signalfd: that
// would need the signal blocked in every thread, and nng has started its own long before.
#pragma once

#include <signal.h>
#include <stdbool.h>

#define INTERRUPT_SIGNALS 3

struct interrupt {
    bool caught;
    int fd; // becomes readable when one came, and stays so until it is taken
    int in;
    struct sigaction before[INTERRUPT_SIGNALS];
};

// From now on these signals do not end the process. Those that it ignored before (nohup, a job in
// the background) it still ignores. One at a time in a process.
void interrupt_catch(struct interrupt *interrupt);
// The number of one that came; 0: none.
int interrupt_take(struct interrupt *interrupt);
// They do again what they did before. Returns one that came and was not taken, as above. Nothing
// happens if *interrupt was never caught, only zeroed.
int interrupt_release(struct interrupt *interrupt);
