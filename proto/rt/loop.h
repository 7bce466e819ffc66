// One thread, one poll: descriptors, timers, signals, children and posts from other threads become
// callbacks, one at a time.
#pragma once

#include "err.h"

#include <stdint.h>
#include <sys/types.h>

struct loop;
struct loop_watch; // a descriptor, timer or child; owned by the loop, removed by loop_remove()

typedef void loop_fn(void *context);
typedef void loop_child_fn(void *context, int status); // as proc_status()

struct loop *loop_new(void);
void loop_free(struct loop *loop);
void loop_freep(struct loop **loop);
// Readable (or hung up). The descriptor stays the caller's, who removes the watch before closing
// it.
struct loop_watch *loop_fd(struct loop *loop, int fd, loop_fn *fn, void *context);
// From now on it waits for writable instead of readable, or the other way round.
void loop_fd_turn(struct loop_watch *watch, bool writable);
// One shot, after delay_ms of CLOCK_MONOTONIC (not running while suspended) or CLOCK_BOOTTIME if
// awake_only is false. Returns a disarmed timer.
struct loop_watch *loop_timer(struct loop *loop, bool awake_only, loop_fn *fn, void *context);
void loop_timer_set(struct loop_watch *timer, uint64_t delay_ms);
void loop_timer_stop(struct loop_watch *timer);
bool loop_timer_is_set(const struct loop_watch *timer);
// Reaps the child, then calls fn, once; the watch stays until loop_remove(). Removed before that,
// nobody reaps. Takes the pidfd.
struct loop_watch *loop_child(
    struct loop *loop, pid_t pid, int pidfd, loop_child_fn *fn, void *context);
// Blocks the signal (in the calling thread: call it before others are started) and calls fn when it
// comes.
void loop_signal(struct loop *loop, int signal, loop_fn *fn, void *context);
// Safe from any thread; fn runs in the loop. The only thing an nng callback may call.
void loop_post(struct loop *loop, loop_fn *fn, void *context);
// The same for a context that owns something: if the loop is freed before fn ran, dropped is called
// instead.
void loop_post_owned(struct loop *loop, loop_fn *fn, loop_fn *dropped, void *context);
// Runs after all ready events were handled, every turn (group commit lives here). One per loop.
void loop_on_idle(struct loop *loop, loop_fn *fn, void *context);
// Safe inside callbacks, also for the watch that is being called; NULL is fine.
void loop_remove(struct loop_watch *watch);
void loop_run(struct loop *loop); // until loop_stop()
void loop_stop(struct loop *loop);

uint64_t clock_monotonic_ms(void); // awake time
uint64_t clock_boottime_ms(void);
uint64_t clock_unix_s(void);
uint64_t clock_unix_ns(void);
// value ± percent, for back-off and polls.
uint64_t jitter(uint64_t value, unsigned percent);
