#include "notify.h"

#include "fs.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void notify(const char *message)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    // Absolute, or abstract; a vsock address (a virtual machine's manager) is not ours to talk to.
    if (path == NULL || (path[0] != '/' && path[0] != '@') || strlen(path) >= sizeof to.sun_path)
        return;
    strcpy(to.sun_path, path);
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    if (path[0] == '@')
        to.sun_path[0] = '\0';
    CLEANUP_FD fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    // The manager's time-outs tell it what it did not hear, so there is nobody to complain to.
    (void)sendto(fd, message, strlen(message), MSG_NOSIGNAL, (const struct sockaddr *)&to, len);
}

void notify_ready(void)
{
    notify("READY=1");
}

void notify_status(const char *text)
{
    char message[512];
    snprintf(message, sizeof message, "STATUS=%s", text);
    // A newline would start another assignment, which the text is not entitled to.
    for (char *c = message; *c != '\0'; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = ' ';
    }
    notify(message);
}

void notify_stopping(void)
{
    notify("STOPPING=1");
}

void notify_watchdog(void)
{
    notify("WATCHDOG=1");
}

int notify_watchdog_ms(void)
{
    const char *pid = getenv("WATCHDOG_PID"), *usec = getenv("WATCHDOG_USEC");
    if (usec == NULL || (pid != NULL && strtol(pid, NULL, 10) != (long)getpid()))
        return 0;
    char *end;
    unsigned long long period = strtoull(usec, &end, 10);
    if (*usec == '\0' || *end != '\0' || period < 2000 || period / 2000 > 86400000)
        return 0;
    return (int)(period / 2000);
}

static void on_watchdog(void *context)
{
    struct loop_watch **timer = context;
    notify_watchdog();
    loop_timer_set(*timer, (uint64_t)notify_watchdog_ms());
}

void notify_feed_watchdog(struct loop *loop, struct loop_watch **timer)
{
    if (notify_watchdog_ms() > 0) {
        *timer = loop_timer(loop, true, on_watchdog, timer);
        on_watchdog(timer);
    }
}
