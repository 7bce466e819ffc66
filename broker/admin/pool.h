// Children of Nix side by side on one loop, with what they say taken line by line.
//
// How many at once: --jobs counts all of them together. An evaluation needs memory on top, up to some
// GiB, so another one begins only while MemAvailable has 1 GiB for it and for each that runs; one
// always may.
//
// ^C, SIGTERM and SIGHUP end everything that runs and call `done` for all that waits, so that whoever
// made something half removes it. Outside of pool_run() these signals do what they always do.
#pragma once

#include "bytes.h"

struct loop;
struct pool;
struct pool_child;

// Those of an earlier kind begin first: what is broken shows early, and there is something to build.
enum pool_kind {
    POOL_STEP, // short
    POOL_EVALUATION,
    POOL_BUILD,
};

struct pool_result {
    bool stopped;       // ended before its time, or never begun
    int status;         // as proc_status()
    struct err failure; // status 127: why it was not started
    struct buf out;     // its stdout, bounded; freed when done returns
};

struct pool_task {
    enum pool_kind kind;
    const char *const *argv; // copied
    // It is about to be started; false: it is not, for this reason. May be NULL.
    bool (*begin)(void *context, struct err *e);
    void (*line)(void *context, struct bytes line);          // of its stderr, without the newline
    void (*done)(void *context, struct pool_result *result); // once, in every case
    void *context;
};

// jobs 0: one a processor.
struct pool *pool_new(unsigned jobs);
void pool_free(struct pool *pool); // nothing may run or wait any more
struct loop *pool_loop(struct pool *pool);
// Queues it; it begins inside pool_run(). The callbacks may call this. What is returned lives until
// done was called.
struct pool_child *pool_add(struct pool *pool, const struct pool_task *task);
// Ends one; its result is `stopped`.
void pool_end(struct pool_child *child);
// Ends all, also what is added later.
void pool_stop(struct pool *pool);
bool pool_is_stopped(const struct pool *pool);
// Until nothing runs and nothing waits. Returns the signal that stopped it, 0 if none did.
int pool_run(struct pool *pool);
// What a program does about such a signal once it has cleaned up: die of it.
_Noreturn void pool_die(int signal);

// The rule: may another evaluation begin?
bool pool_may_evaluate(unsigned running, uint64_t available_kib);
// So little is left that an evaluation should end and go on in a new process.
bool pool_memory_is_short(uint64_t available_kib);
uint64_t pool_available_kib(void); // MemAvailable; UINT64_MAX if nobody knows

// The value of --jobs; NULL: 0. USAGE.
MUST_CHECK bool jobs_parse(const char *text, unsigned *jobs, struct err *e);
