// Ctrl-C (and SIGTERM, SIGHUP) as something to wait for, for a program that has to say what it
// leaves behind. A handler and a pipe rather than a signalfd: that would need the signal blocked in
// every thread, and nng has started its own long before.
#pragma once

// From now on these signals do not end the process. The descriptor becomes readable when one came,
// and stays so; it lives as long as the process. Call it once.
int interrupt_open(void);
