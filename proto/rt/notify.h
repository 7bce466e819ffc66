// The service manager's notification socket (sd_notify(3)), without libsystemd. No socket: nothing
// happens.
#pragma once

#include "loop.h"

void notify_ready(void);
void notify_status(const char *text);
void notify_stopping(void);
void notify_watchdog(void);
// Half of WATCHDOG_USEC in milliseconds, 0 if there is no watchdog.
int notify_watchdog_ms(void);
// Feeds the watchdog from the loop, if there is one: a loop that hangs is killed and started anew. *timer
// is the caller's for as long as the loop runs.
void notify_feed_watchdog(struct loop *loop, struct loop_watch **timer);
