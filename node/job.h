// Jobs: everything slow that bento-apply starts. They outlive it and are found again after a
// restart.
//
// One file a kind, `jobs/KIND`, preallocated so that a full disk cannot hide how a switch ended.
// The wrapper that runs a job holds a lock on it from before the fork until the end, writes its pid
// into it and at last the exit status; the output goes to `jobs/KIND.out`. So: locked means
// running, a status means ended, neither means lost (killed, or the power went), which is never
// taken for success.
//
// This is the seam of the two runners: `session` (below; the wrapper is a child in a session of its
// own) and, later, transient systemd units around the same wrapper.
#pragma once

#include "bytes.h"
#include "loop.h"

#define JOB_KINDS(X)                                                                               \
    X(OBTAIN, "obtain")                                                                            \
    X(DEADMAN, "deadman")                                                                          \
    X(TRY, "try")                                                                                  \
    X(CHECK, "check")                                                                              \
    X(COMMIT, "commit")                                                                            \
    X(REVERT, "revert")
#define JOB_ENUM(name, word) JOB_##name,
enum job_kind { JOB_KINDS(JOB_ENUM) JOB_KIND_COUNT };
#undef JOB_ENUM
const char *job_word(enum job_kind kind);

enum job_state { JOB_STATE_NONE, JOB_STATE_RUNNING, JOB_STATE_ENDED, JOB_STATE_LOST };

// What a job is about; results for another pair are ignored by the state machine.
struct job_key {
    uint8_t digest[HASH_BYTES];
    uint32_t attempt;
};

struct job_record {
    enum job_state state;
    struct job_key key;
    pid_t pid;
    int status; // ENDED: 0–255, or 128 + signal
};

struct jobs;
typedef void job_ended_fn(void *context, enum job_kind kind, const struct job_record *record);

// path: of the folder. self: path of our own binary. Attaches to what still runs. IO.
MUST_CHECK struct jobs *jobs_open(struct loop *loop, const char *path, const char *self,
    job_ended_fn *ended, void *context, struct err *e);
void jobs_close(struct jobs *jobs); // leaves the jobs running

// Starts argv, ends it after limit_ms. If the same key runs already nothing happens; if it has
// ended, or was lost, `ended` is called again. With `again` one that was lost or did not end with 0
// is started anew. Another key under the same kind is stopped first.
MUST_CHECK bool jobs_start(struct jobs *jobs, enum job_kind kind, const struct job_key *key,
    const char *const *argv, const char *const *env, uint64_t limit_ms, bool again, struct err *e);
// SIGTERM, SIGKILL 10 s later; `ended` is not called for it.
void jobs_stop(struct jobs *jobs, enum job_kind kind);
// Forgets how the last one ended. One that still runs is stopped instead.
void jobs_forget(struct jobs *jobs, enum job_kind kind);
// What is known of the newest job of a kind.
void jobs_look(struct jobs *jobs, enum job_kind kind, struct job_record *record);
// The last `max` bytes of its output.
void jobs_tail(struct jobs *jobs, enum job_kind kind, size_t max, struct buf *out);

// From another process (the revert job ends the switch): stops the job and waits until its lock is
// free. TIMEOUT.
MUST_CHECK bool job_end(int dir, enum job_kind kind, int timeout_ms, struct err *e);
// The wrapper: `bento-apply job DIR KIND LIMIT_MS -- argv…` with the locked file as standard input.
// Returns the exit status.
int job_main(int argc, char **argv);
