// Between the table of jobs (job.c: what is wanted, what is known, who is told) and the two ways to
// run their wrapper. A runner starts and ends wrappers; what became of one it reads in the record.
#pragma once

#include "job_file.h"

struct start { // a job_spec that owns its words
    struct job_spec spec;
    char **argv, **env, *calendar;
};

struct start *start_new(const struct job_spec *spec);

enum job_phase {
    JOB_IDLE,
    JOB_STARTING, // handed to systemd, or found so
    JOB_WAITING,  // its timer runs
    JOB_RUNNING,  // the wrapper holds its lock
    JOB_ENDING,   // systemd stops its unit
};

struct job {
    struct jobs *jobs;
    enum job_kind kind;
    enum job_phase phase;
    struct job_record record;
    struct loop_watch *timer; // job_settle() again; with a helper: its deadline
    struct loop_watch *watch; // of the wrapper, until it is gone
    int pidfd;                // of a wrapper that is no child of ours, else -1
    bool found;               // STARTING: left by another bento-apply, nobody knows yet
    bool unannounced;         // `started` has to be called
    bool timed;               // a timer started it, which may be there still
    bool muted;               // stopped by us
    struct start *next;       // to be started when this one is over
    // runner_systemd.c: the one systemd-run or systemctl that is under way for it
    struct {
        struct loop_watch *watch;
        pid_t pid;
        int answer; // its standard output, or -1
        void (*done)(struct job *job, int status);
    } helper;
    struct start *starting; // while STARTING, to be started again
    unsigned starts;        // how often it was
    bool repeat;            // it is to be started again now
    uint64_t patience_ms;   // of the monotonic clock: until when systemd may be silent
};

struct runner {
    // Makes the record and starts the wrapper; calls job_began() when it runs.
    MUST_CHECK bool (*start)(struct job *job, const struct start *start, struct err *e);
    // The record says PENDING, or LOST: finds out what is left, then job_began() or job_gone().
    void (*doubt)(struct job *job);
    // The wrapper ran and is gone, ENDED or LOST: cleans up, then job_gone().
    void (*over)(struct job *job);
    // Ends what there is of it; job_gone() when it is over.
    void (*end)(struct job *job);
};
extern const struct runner runner_session, runner_systemd;

struct jobs {
    struct loop *loop;
    const struct runner *runner;
    int dir, notify;
    struct loop_watch *notified; // a record changed
    char *path, *self;
    struct job_listener listener;
    struct job list[JOB_KIND_COUNT];
};

// For the runners.
void job_began(struct job *job, enum job_phase phase);
void job_gone(struct job *job);            // with job->record as it is
void job_read(struct job *job);            // job->record from the file; LOST if it cannot be read
void job_settle(struct job *job);          // reads the record and does what follows from it
void job_on_wrapper_gone(struct job *job); // after its watch was removed
