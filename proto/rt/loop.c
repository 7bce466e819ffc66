#include "loop.h"

#include "bytes.h"
#include "fs.h"
#include "log.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

// poll, not epoll: there are a few dozen descriptors (nng has its own threads), the set is rebuilt
// each turn from the list of watches, and so a descriptor that was closed and reused can never wake
// the wrong one.

enum watch_kind { WATCH_FD, WATCH_TIMER, WATCH_CHILD };

struct loop_watch {
    struct loop *loop;
    struct loop_watch *next;
    enum watch_kind kind;
    int fd; // -1: nothing to wait for (a child that was reaped)
    bool removed;
    bool set;     // timers
    short events; // descriptors: what to wait for
    size_t slot;  // in this turn's poll set; 0: not in it
    loop_fn *fn;
    loop_child_fn *child_fn;
    void *context;
};

struct post {
    struct post *next;
    loop_fn *fn, *dropped;
    void *context;
};

struct handler {
    loop_fn *fn;
    void *context;
};

struct loop {
    bool stopping;
    struct loop_watch *watches; // removed ones are freed between turns
    size_t watch_count;
    struct pollfd *polled;
    size_t polled_room;
    int signal_fd;
    sigset_t signals;
    struct handler handlers[_NSIG];
    struct handler idle;
    // shared with other threads
    pthread_mutex_t lock;
    int wake_fd;
    struct post *posts, **posts_end;
};

struct loop *loop_new(void)
{
    struct loop *loop = xcalloc(1, sizeof *loop);
    sigemptyset(&loop->signals);
    loop->signal_fd = signalfd(-1, &loop->signals, SFD_CLOEXEC | SFD_NONBLOCK);
    loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    ASSERT(loop->signal_fd >= 0 && loop->wake_fd >= 0);
    pthread_mutex_init(&loop->lock, NULL);
    loop->posts_end = &loop->posts;
    return loop;
}

static struct post *take_posts(struct loop *loop)
{
    pthread_mutex_lock(&loop->lock);
    struct post *posts = loop->posts;
    loop->posts = NULL;
    loop->posts_end = &loop->posts;
    pthread_mutex_unlock(&loop->lock);
    return posts;
}

static void watch_free(struct loop_watch *watch)
{
    if (watch->kind != WATCH_FD && watch->fd >= 0)
        close(watch->fd);
    free(watch);
}

void loop_free(struct loop *loop)
{
    if (loop == NULL)
        return;
    struct post *post;
    // What dropped() does may post once more.
    while ((post = take_posts(loop)) != NULL) {
        while (post != NULL) {
            struct post *next = post->next;
            if (post->dropped != NULL)
                post->dropped(post->context);
            free(post);
            post = next;
        }
    }
    while (loop->watches != NULL) {
        struct loop_watch *watch = loop->watches;
        loop->watches = watch->next;
        watch_free(watch);
    }
    close(loop->signal_fd);
    close(loop->wake_fd);
    pthread_mutex_destroy(&loop->lock);
    free(loop->polled);
    free(loop);
}

void loop_freep(struct loop **loop)
{
    loop_free(*loop);
    *loop = NULL;
}

static struct loop_watch *watch_new(
    struct loop *loop, enum watch_kind kind, int fd, loop_fn *fn, void *context)
{
    ASSERT(fd >= 0);
    struct loop_watch *watch = xcalloc(1, sizeof *watch);
    *watch = (struct loop_watch){.loop = loop,
        .kind = kind,
        .fd = fd,
        .events = POLLIN,
        .fn = fn,
        .context = context,
        .next = loop->watches};
    loop->watches = watch;
    loop->watch_count++;
    return watch;
}

struct loop_watch *loop_fd(struct loop *loop, int fd, loop_fn *fn, void *context)
{
    return watch_new(loop, WATCH_FD, fd, fn, context);
}

void loop_fd_turn(struct loop_watch *watch, bool writable)
{
    ASSERT(watch->kind == WATCH_FD);
    watch->events = writable ? POLLOUT : POLLIN;
}

struct loop_watch *loop_timer(struct loop *loop, bool awake_only, loop_fn *fn, void *context)
{
    int fd =
        timerfd_create(awake_only ? CLOCK_MONOTONIC : CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
    return watch_new(loop, WATCH_TIMER, fd, fn, context);
}

static void timer_arm(struct loop_watch *timer, struct timespec delay)
{
    ASSERT(timer->kind == WATCH_TIMER);
    // Setting it anew also takes back an expiry that poll has reported already.
    struct itimerspec spec = {.it_value = delay};
    int rc = timerfd_settime(timer->fd, 0, &spec, NULL);
    ASSERT(rc == 0);
    timer->set = delay.tv_sec != 0 || delay.tv_nsec != 0;
}

void loop_timer_set(struct loop_watch *timer, uint64_t delay_ms)
{
    const uint64_t century_ms = 100ull * 366 * 86400 * 1000;
    if (delay_ms > century_ms)
        delay_ms = century_ms;
    struct timespec delay = {
        .tv_sec = (time_t)(delay_ms / 1000), .tv_nsec = (long)(delay_ms % 1000) * 1000000};
    if (delay_ms == 0)
        delay.tv_nsec = 1; // zero would disarm
    timer_arm(timer, delay);
}

void loop_timer_stop(struct loop_watch *timer)
{
    timer_arm(timer, (struct timespec){0});
}

bool loop_timer_is_set(const struct loop_watch *timer)
{
    return timer->set;
}

struct loop_watch *loop_child(
    struct loop *loop, pid_t pid, int pidfd, loop_child_fn *fn, void *context)
{
    (void)pid; // the descriptor names the child for good, the number does not
    struct loop_watch *watch = watch_new(loop, WATCH_CHILD, pidfd, NULL, context);
    watch->child_fn = fn;
    return watch;
}

void loop_signal(struct loop *loop, int signal, loop_fn *fn, void *context)
{
    ASSERT(signal > 0 && signal < _NSIG);
    loop->handlers[signal] = (struct handler){.fn = fn, .context = context};
    sigaddset(&loop->signals, signal);
    int rc = pthread_sigmask(SIG_BLOCK, &loop->signals, NULL);
    int fd = signalfd(loop->signal_fd, &loop->signals, 0);
    ASSERT(rc == 0 && fd == loop->signal_fd);
}

void loop_post(struct loop *loop, loop_fn *fn, void *context)
{
    loop_post_owned(loop, fn, NULL, context);
}

void loop_post_owned(struct loop *loop, loop_fn *fn, loop_fn *dropped, void *context)
{
    struct post *post = xmalloc(sizeof *post);
    *post = (struct post){.fn = fn, .dropped = dropped, .context = context};
    pthread_mutex_lock(&loop->lock);
    *loop->posts_end = post;
    loop->posts_end = &post->next;
    // Under the lock, so that the loop cannot be gone before it was woken. A full counter is a
    // wake-up too.
    eventfd_write(loop->wake_fd, 1);
    pthread_mutex_unlock(&loop->lock);
}

void loop_on_idle(struct loop *loop, loop_fn *fn, void *context)
{
    loop->idle = (struct handler){.fn = fn, .context = context};
}

void loop_remove(struct loop_watch *watch)
{
    if (watch == NULL)
        return;
    ASSERT(!watch->removed);
    watch->removed = true;
    if (watch->kind != WATCH_FD && watch->fd >= 0)
        close(watch->fd);
    watch->fd = -1;
}

static void sweep(struct loop *loop)
{
    struct loop_watch **at = &loop->watches;
    while (*at != NULL) {
        struct loop_watch *watch = *at;
        if (watch->removed) {
            *at = watch->next;
            loop->watch_count--;
            watch_free(watch);
        } else {
            at = &watch->next;
        }
    }
}

static nfds_t gather(struct loop *loop)
{
    if (loop->polled_room < loop->watch_count + 2) {
        loop->polled_room = 2 * (loop->watch_count + 2);
        free(loop->polled);
        loop->polled = xcalloc(loop->polled_room, sizeof *loop->polled);
    }
    nfds_t count = 0;
    loop->polled[count++] = (struct pollfd){.fd = loop->wake_fd, .events = POLLIN};
    loop->polled[count++] = (struct pollfd){.fd = loop->signal_fd, .events = POLLIN};
    for (struct loop_watch *watch = loop->watches; watch != NULL; watch = watch->next) {
        watch->slot = count;
        loop->polled[count++] = (struct pollfd){.fd = watch->fd, .events = watch->events};
    }
    return count;
}

static void run_posts(struct loop *loop)
{
    eventfd_t count;
    (void)eventfd_read(loop->wake_fd, &count);
    // Those that are posted meanwhile wait for the next turn, or nothing else would have one.
    struct post *post = take_posts(loop);
    while (post != NULL) {
        struct post *next = post->next;
        post->fn(post->context);
        free(post);
        post = next;
    }
}

static void run_signals(struct loop *loop)
{
    struct signalfd_siginfo info;
    while (read(loop->signal_fd, &info, sizeof info) == (ssize_t)sizeof info) {
        struct handler *handler = &loop->handlers[info.ssi_signo];
        if (handler->fn != NULL)
            handler->fn(handler->context);
    }
}

static void run_child(struct loop_watch *watch)
{
    siginfo_t info = {0};
    if (waitid(P_PIDFD, (id_t)watch->fd, &info, WEXITED | WNOHANG) == 0) {
        if (info.si_pid == 0)
            return;
    } else if (errno == EINTR) {
        return; // next turn
    } else {
        log_err("child_lost error=\"%s\"", strerror(errno));
        info.si_status = 255;
        info.si_code = CLD_EXITED;
    }
    close(watch->fd);
    watch->fd = -1;
    int status = info.si_code == CLD_EXITED ? info.si_status & 0xff : 128 + info.si_status;
    watch->child_fn(watch->context, status);
}

static void run_watch(struct loop_watch *watch)
{
    uint64_t expiries;
    switch (watch->kind) {
    case WATCH_FD:
        watch->fn(watch->context);
        break;
    case WATCH_TIMER:
        // Nothing to read: stopped or set anew by somebody else in this turn.
        if (read(watch->fd, &expiries, sizeof expiries) == (ssize_t)sizeof expiries) {
            watch->set = false;
            watch->fn(watch->context);
        }
        break;
    case WATCH_CHILD:
        run_child(watch);
        break;
    }
}

void loop_run(struct loop *loop)
{
    loop->stopping = false;
    while (!loop->stopping) {
        sweep(loop);
        nfds_t count = gather(loop);
        if (poll(loop->polled, count, -1) < 0) {
            ASSERT(errno == EINTR || errno == EAGAIN || errno == ENOMEM);
            continue;
        }
        if (loop->polled[0].revents != 0)
            run_posts(loop);
        if (loop->polled[1].revents != 0)
            run_signals(loop);
        // New watches are put in front, so this walk meets only those that were polled.
        for (struct loop_watch *watch = loop->watches; watch != NULL; watch = watch->next) {
            short ready = watch->slot == 0 ? 0 : loop->polled[watch->slot].revents;
            if (ready == 0 || watch->removed)
                continue;
            ASSERT((ready & POLLNVAL) == 0); // closed before its watch was removed
            run_watch(watch);
        }
        if (loop->idle.fn != NULL)
            loop->idle.fn(loop->idle.context);
    }
    sweep(loop);
}

void loop_stop(struct loop *loop)
{
    loop->stopping = true;
}

static uint64_t clock_ms(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

uint64_t clock_monotonic_ms(void)
{
    return clock_ms(CLOCK_MONOTONIC);
}

uint64_t clock_boottime_ms(void)
{
    return clock_ms(CLOCK_BOOTTIME);
}

uint64_t clock_unix_s(void)
{
    return clock_unix_ns() / 1000000000;
}

uint64_t clock_unix_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

uint64_t jitter(uint64_t value, unsigned percent)
{
    ASSERT(percent <= 100);
    uint64_t spread = value / 100 * percent + value % 100 * percent / 100;
    uint64_t random = 0;
    if (spread == 0 || getrandom(&random, sizeof random, 0) != sizeof random)
        return value;
    return value - spread + random % (2 * spread + 1);
}
