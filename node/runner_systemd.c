// The wrapper as a transient unit, which neither our end nor a new version of us touches. PID 1 may
// be busy, be executing itself anew, or refuse: systemd-run and systemctl are children with a
// deadline, and what they say is not believed before the record and the unit were looked at.
#include "fs.h"
#include "log.h"
#include "proc.h"
#include "runner.h"
#include "unit.h"
#include "wrapper.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define START_MS 90000 // above TimeoutStartSec= of the unit
#define STOP_MS 40000  // above TimeoutStopSec=
#define ANSWER_MS 20000
#define SILENCE_MS 120000 // how long systemd may be silent before a job is given up
#define ASK_AGAIN_MS 500
#define STARTS_MAX 3              // systemd forgets what it is asked while it executes itself anew
#define LOOK_AFTER_TIMER_MS 60000 // somebody may have stopped it
#define ANSWER_BYTES_MAX 4096

// --- the helper ---

static void on_helper(void *context, int status)
{
    struct job *job = context;
    loop_remove(job->helper.watch);
    job->helper.watch = NULL;
    loop_timer_stop(job->timer);
    job->helper.done(job, status);
}

// One at a time for a job. Its end calls `done`, in any case.
static bool help(struct job *job, const struct words *words, uint64_t deadline_ms, int out, int err,
    void (*done)(struct job *job, int status))
{
    ASSERT(job->helper.watch == NULL);
    struct proc_spec spec = PROC_SPEC;
    spec.argv = (const char *const *)words->at;
    spec.out = out;
    spec.err = err;
    int pidfd;
    struct err e;
    if (!proc_spawn(&spec, &job->helper.pid, &pidfd, &e)) {
        log_err("job kind=%s error=\"%s\"", job_word(job->kind), e.text);
        return false;
    }
    job->helper.done = done;
    job->helper.watch = loop_child(job->jobs->loop, job->helper.pid, pidfd, on_helper, job);
    loop_timer_set(job->timer, deadline_ms);
    return true;
}

// --- ending ---

static void on_stopped(struct job *job, int status)
{
    (void)status; // also an error, not worth showing, if the job has no timer or is over
    if (job->watch != NULL) {
        return; // the wrapper got its SIGTERM; job_on_wrapper_gone() comes
    }
    job_read(job);
    if (job->record.state == JOB_STATE_RUNNING || job->record.state == JOB_STATE_PENDING) {
        loop_timer_set(job->timer, ASK_AGAIN_MS); // begun just now, it will end just now
        return;
    }
    job_gone(job);
}

static void stop_unit(struct job *job)
{
    struct words words CLEANUP(words_clear) = {0};
    job->phase = JOB_ENDING;
    unit_stop_words(job->record.unit, &words);
    bool is_unit = job->record.unit[0] != '\0'; // else of a bento-apply that ran without systemd
    if (!is_unit || !help(job, &words, STOP_MS, -1, -1, on_stopped)) {
        on_stopped(job, -1);
    }
}

static void systemd_end(struct job *job)
{
    if (job->pidfd >= 0) {
        syscall(SYS_pidfd_send_signal, job->pidfd, SIGTERM, NULL, 0);
    }
    if (job->helper.watch != NULL && job->phase != JOB_ENDING) {
        kill(job->helper.pid, SIGKILL); // its end brings us here again
    } else if (job->phase != JOB_ENDING) {
        // Whatever systemd still does with it: the record does not name it any more.
        (void)!job_file_revoke(job->jobs->dir, job->kind);
        stop_unit(job);
    }
}

// --- what is left of it? ---

static void lose(struct job *job)
{
    if (!job_file_revoke(job->jobs->dir, job->kind)) {
        loop_timer_set(job->timer, ASK_AGAIN_MS); // begun just now, or taken back by job_end()
        return;
    }
    log_warning("its unit is not there kind=%s unit=%s", job_word(job->kind), job->record.unit);
    job->record.state = JOB_STATE_LOST;
    // Taken back before it began: it cannot run twice.
    job->repeat = job->starting != NULL && job->starts < STARTS_MAX && !job->muted;
    if (job->repeat) {
        loop_timer_set(job->timer, ASK_AGAIN_MS);
    } else {
        job_gone(job);
    }
}

static void judge(struct job *job, enum unit_state state)
{
    switch (state) {
    case UNIT_WAITS:
        loop_timer_set(job->timer, LOOK_AFTER_TIMER_MS);
        job_began(job, JOB_WAITING);
        return;
    case UNIT_RUNS: // and will say so in the record
        loop_timer_set(job->timer, ASK_AGAIN_MS);
        return;
    case UNIT_SILENT:
        // What was found may be an armed dead man's switch: silence is no reason to take it back, and who
        // does not answer would start no other in its place.
        if (job->phase == JOB_WAITING || job->found || clock_monotonic_ms() < job->patience_ms) {
            loop_timer_set(job->timer, ASK_AGAIN_MS);
            return;
        }
        lose(job);
        return;
    case UNIT_ABSENT:
        lose(job);
        return;
    }
}

static enum unit_state read_answer(struct job *job)
{
    uint8_t text[ANSWER_BYTES_MAX];
    ssize_t n = read(job->helper.answer, text, sizeof text);
    fd_closep(&job->helper.answer);
    return n > 0 ? unit_answer(bytes_of(text, (size_t)n)) : UNIT_SILENT;
}

static void on_answer(struct job *job, int status)
{
    enum unit_state state = read_answer(job);
    if (job->muted) {
        systemd_end(job);
        return;
    }
    job_read(job);
    if (job->record.state != JOB_STATE_PENDING) {
        job_settle(job); // it began while we asked
        return;
    }
    judge(job, status == 0 ? state : UNIT_SILENT);
}

static void ask(struct job *job)
{
    struct words words CLEANUP(words_clear) = {0};
    int ends[2];
    unit_show_words(job->record.unit, &words);
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) {
        judge(job, UNIT_SILENT);
        return;
    }
    job->helper.answer = ends[0];
    bool asked = help(job, &words, ANSWER_MS, ends[1], STDERR_FILENO, on_answer);
    close(ends[1]);
    if (!asked) {
        fd_closep(&job->helper.answer);
        judge(job, UNIT_SILENT);
    }
}

// LOST is told when nothing of it is left; a calendar's timer would come again.
static void systemd_over(struct job *job)
{
    bool left = job->record.state == JOB_STATE_LOST || job->timed;
    if (left && job->phase != JOB_ENDING && job->record.unit[0] != '\0') {
        stop_unit(job);
    } else {
        job_gone(job);
    }
}

static void repeat(struct job *job);

static void systemd_doubt(struct job *job)
{
    if (job->helper.watch != NULL) {
        return; // its end comes first
    }
    if (job->found && job->patience_ms == 0) {
        job->patience_ms = clock_monotonic_ms() + SILENCE_MS;
    }
    if (job->phase == JOB_ENDING && job->record.state == JOB_STATE_PENDING) {
        lose(job); // its unit was stopped while somebody looked at the record
    } else if (job->record.state == JOB_STATE_LOST && job->repeat) {
        repeat(job);
    } else if (job->record.state == JOB_STATE_LOST) {
        systemd_over(job);
    } else if (job->muted) {
        systemd_end(job);
    } else {
        ask(job);
    }
}

// --- starting ---

static void on_run(struct job *job, int status)
{
    if (job->muted) {
        systemd_end(job);
        return;
    }
    if (status != 0) {
        log_warning(
            "systemd-run kind=%s unit=%s status=%d", job_word(job->kind), job->record.unit, status);
    }
    job_settle(job);
}

static bool make_record(struct job *job, const struct start *start, struct err *e)
{
    CLEANUP_FD lock = job_file_claim(job->jobs->dir, job->kind);
    if (lock < 0) {
        return err_set(e, CODE_BUSY, "the job file %s is locked: %m", job_word(job->kind));
    }
    struct job_record record = {.state = JOB_STATE_PENDING, .key = start->spec.key, .status = -1};
    unit_name(&start->spec, randombytes_random(), record.unit);
    if (!job_file_write(lock, &record, e)) {
        return false;
    }
    job->record = record;
    return true;
}

static bool run_unit(struct job *job, const struct start *start, struct err *e)
{
    struct jobs *jobs = job->jobs;
    if (!make_record(job, start, e)) {
        return false;
    }
    struct wrapper_numbers numbers;
    struct words words CLEANUP(words_clear) = {0};
    const char **wrapper =
        wrapper_argv(jobs->self, jobs->path, job->record.unit, &start->spec, 0, &numbers);
    unit_run_words(job->record.unit, &start->spec, wrapper, &words);
    free(wrapper);
    if (!help(job, &words, START_MS, -1, STDERR_FILENO, on_run)) {
        (void)!job_file_revoke(jobs->dir, job->kind);
        job->record.state = JOB_STATE_LOST;
        return err_set(e, CODE_IO, "systemd-run cannot be started");
    }
    log_info("job starting kind=%s unit=%s", job_word(job->kind), job->record.unit);
    job->starts++;
    return true;
}

static void repeat(struct job *job)
{
    struct err e;
    job->repeat = false;
    if (!run_unit(job, job->starting, &e)) {
        log_err("job not started kind=%s error=\"%s\"", job_word(job->kind), e.text);
        job->record.state = JOB_STATE_LOST;
        job_gone(job);
    }
}

static bool systemd_start(struct job *job, const struct start *start, struct err *e)
{
    job->starts = 0;
    job->repeat = false;
    if (!run_unit(job, start, e)) {
        return false;
    }
    job->phase = JOB_STARTING;
    job->patience_ms = clock_monotonic_ms() + SILENCE_MS;
    job->starting = start_new(&start->spec);
    return true;
}

const struct runner runner_systemd = {systemd_start, systemd_doubt, systemd_over, systemd_end};
