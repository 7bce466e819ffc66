// The service manager's notification socket (sd_notify(3)), without libsystemd. No socket: nothing
// happens.
#pragma once

void notify_ready(void);
void notify_status(const char *text);
void notify_stopping(void);
void notify_watchdog(void);
// Half of WATCHDOG_USEC in milliseconds, 0 if there is no watchdog.
int notify_watchdog_ms(void);
