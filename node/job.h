// Jobs: everything slow that bento-apply starts. They outlive it and are found again after a
// restart.
//
// One file a kind, `jobs/KIND` (job_file.h), preallocated so that a full disk cannot hide how a
// switch ended. The wrapper that runs a job (wrapper.c) holds a lock on it until the end, writes its
// pid into it and at last the exit status; the output goes to `jobs/KIND.out` (output.h). So: locked
// means running, a status means ended, neither means lost (killed, or the power went), which is
// never taken for success.
//
// There are two ways to start that wrapper (runner.h): as a transient unit of systemd, or as a child
// in a session of its own where there is no systemd. Both keep the same record.
#pragma once

#include "bytes.h"
#include "loop.h"

#define JOB_KINDS(X)                                                                               \
    X(OBTAIN, "obtain")                                                                            \
    X(UPDATE, "update")                                                                            \
    X(DEADMAN, "deadman")                                                                          \
    X(TRY, "try")                                                                                  \
    X(CHECK, "check")                                                                              \
    X(COMMIT, "commit")                                                                            \
    X(REVERT, "revert")                                                                            \
    X(RESTORE, "restore")                                                                          \
    X(SECRETS, "secrets")                                                                          \
    X(REBOOT, "reboot")                                                                            \
    X(DUE, "due")
#define JOB_ENUM(name, word) JOB_##name,
enum job_kind { JOB_KINDS(JOB_ENUM) JOB_KIND_COUNT };
#undef JOB_ENUM
const char *job_word(enum job_kind kind);

enum job_state {
    JOB_STATE_NONE,
    JOB_STATE_PENDING, // systemd has it: its unit is being started, or waits for its timer
    JOB_STATE_RUNNING,
    JOB_STATE_ENDED,
    JOB_STATE_LOST
};

// What a job is about; results for another pair are ignored by the state machine.
struct job_key {
    uint8_t digest[HASH_BYTES];
    uint32_t attempt;
};

#define JOB_UNIT_BYTES 96

struct job_record {
    enum job_state state;
    struct job_key key;
    pid_t pid;                 // of the wrapper; 0 before it runs
    pid_t session;             // what it wraps; 0 before that runs
    int status;                // ENDED: 0–255, or 128 + signal; else -1
    char unit[JOB_UNIT_BYTES]; // systemd's name for it, without suffix; "" for a child process
};

struct job_spec {
    enum job_kind kind;
    struct job_key key;
    const char *const *argv, *const *env; // env is all that it gets
    uint64_t limit_ms;                    // of its run; a delay is not counted
    uint64_t delay_ms;                    // awake time before it runs
    const char *calendar;                 // systemd.time(7) event when it runs; NULL: none
    bool again; // one with this key that was lost or did not end with 0 is started anew
};

enum job_runner { JOB_RUNNER_SESSION, JOB_RUNNER_SYSTEMD };

// Both may be called from inside jobs_start(). A job that was stopped or replaced is not told of.
struct job_listener {
    // It runs, or its timer does. With ok false it does neither, and `ended` says LOST next.
    void (*started)(void *context, enum job_kind kind, const struct job_key *key, bool ok);
    void (*ended)(void *context, enum job_kind kind, const struct job_record *record);
    void *context;
};

struct jobs;
// path: of the folder. self: path of our own binary. Attaches to what still runs or waits. IO.
MUST_CHECK struct jobs *jobs_open(struct loop *loop, enum job_runner runner, const char *path,
    const char *self, const struct job_listener *listener, struct err *e);
void jobs_close(struct jobs *jobs); // leaves the jobs running

// Starts a job, ends it after its limit. True: `started` is called, then `ended`. If the same key
// runs already nothing else happens; if it has ended, or was lost, `ended` is called again. Another
// key under the same kind is stopped first. False: nothing was started and nothing is called; USAGE
// for a calendar without systemd.
MUST_CHECK bool jobs_start(struct jobs *jobs, const struct job_spec *spec, struct err *e);
// SIGTERM, SIGKILL 10 s later; a timer is stopped, and does nothing should it fire all the same.
void jobs_stop(struct jobs *jobs, enum job_kind kind);
// Forgets how the last one ended. One that still runs or waits is stopped instead.
void jobs_forget(struct jobs *jobs, enum job_kind kind);
// What is on record of the newest job of a kind.
void jobs_look(struct jobs *jobs, enum job_kind kind, struct job_record *record);
// The last `max` bytes of its output.
void jobs_tail(struct jobs *jobs, enum job_kind kind, size_t max, struct buf *out);

// From another process (the revert job ends the switch), whichever runner started it: stops the job
// and waits until nothing of it is left. TIMEOUT.
MUST_CHECK bool job_end(int dir, enum job_kind kind, int timeout_ms, struct err *e);
// The wrapper, `bento-apply job …` (wrapper.c). Returns the exit status.
int job_main(int argc, char **argv);
