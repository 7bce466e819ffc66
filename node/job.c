#include "runner.h"

#include "fs.h"
#include "log.h"
#include "output.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/syscall.h>
#include <unistd.h>

#define RECHECK_MS 200

// --- what is to be started ---

static char **copy_words(const char *const *words)
{
    size_t count = 0;
    while (words[count] != NULL) {
        count++;
    }
    char **copy = xcalloc(count + 1, sizeof *copy);
    for (size_t i = 0; i < count; i++) {
        copy[i] = xstrdup(words[i]);
    }
    return copy;
}

static void free_words(char **words)
{
    for (char **each = words; *each != NULL; each++) {
        free(*each);
    }
    free(words);
}

struct start *start_new(const struct job_spec *spec)
{
    struct start *start = xcalloc(1, sizeof *start);
    start->argv = copy_words(spec->argv);
    start->env = copy_words(spec->env);
    start->calendar = spec->calendar != NULL ? xstrdup(spec->calendar) : NULL;
    start->spec = *spec;
    start->spec.argv = (const char *const *)start->argv;
    start->spec.env = (const char *const *)start->env;
    start->spec.calendar = start->calendar;
    return start;
}

static void start_drop(struct start **start)
{
    if (*start == NULL) {
        return;
    }
    free_words((*start)->argv);
    free_words((*start)->env);
    free((*start)->calendar);
    free(*start);
    *start = NULL;
}

// --- who is told what ---

static void tell_started(struct job *job, bool ok)
{
    const struct job_listener *listener = &job->jobs->listener;
    job->unannounced = false;
    listener->started(listener->context, job->kind, &job->record.key, ok);
}

static void tell_ended(struct job *job)
{
    const struct job_listener *listener = &job->jobs->listener;
    const struct job_record record = job->record; // ours may change while it is told
    listener->ended(listener->context, job->kind, &record);
}

void job_began(struct job *job, enum job_phase phase)
{
    job->phase = phase;
    job->timed = job->timed || phase == JOB_WAITING;
    start_drop(&job->starting);
    if (job->found) { // as it was found: nothing to be started in its place
        job->found = false;
        if (!job->muted) { // else it waits for the end of this one
            start_drop(&job->next);
        }
    }
    if (job->unannounced && !job->muted) {
        tell_started(job, true);
    }
}

static bool is_same(const struct job *job, const struct job_key *key)
{
    return memcmp(job->record.key.digest, key->digest, HASH_BYTES) == 0 &&
           job->record.key.attempt == key->attempt;
}

// Starts it, unless how it ended is known already.
static bool begin(struct job *job, const struct start *start, struct err *e)
{
    bool good = job->record.state == JOB_STATE_ENDED && job->record.status == 0;
    bool known = is_same(job, &start->spec.key) && job->record.state != JOB_STATE_NONE &&
                 (good || !start->spec.again);
    if (known) {
        tell_started(job, job->record.state == JOB_STATE_ENDED);
        tell_ended(job);
        return true;
    }
    job->unannounced = true;
    if (!job->jobs->runner->start(job, start, e)) {
        job->unannounced = false;
        return false;
    }
    return true;
}

static void begin_or_lose(struct job *job, const struct start *start)
{
    struct err e;
    if (!begin(job, start, &e)) {
        log_err("job not started kind=%s error=\"%s\"", job_word(job->kind), e.text);
        job->record =
            (struct job_record){.state = JOB_STATE_LOST, .key = start->spec.key, .status = -1};
        tell_started(job, false);
        tell_ended(job);
    }
}

void job_gone(struct job *job)
{
    bool muted = job->muted, unannounced = job->unannounced;
    struct start *next = job->next;
    start_drop(&job->starting);
    job->phase = JOB_IDLE;
    job->muted = job->unannounced = job->found = job->timed = false;
    job->next = NULL;
    loop_timer_stop(job->timer);
    if (next != NULL) {
        begin_or_lose(job, next);
        start_drop(&next);
    } else if (!muted) {
        if (unannounced) {
            tell_started(job, job->record.state == JOB_STATE_ENDED);
        }
        tell_ended(job);
    }
}

// --- what the record says ---

void job_read(struct job *job)
{
    CLEANUP_FD fd = job_file_open(job->jobs->dir, job->kind);
    if (fd >= 0) {
        job_file_read(fd, &job->record);
    } else {
        job->record.state = JOB_STATE_LOST;
    }
}

void job_on_wrapper_gone(struct job *job)
{
    job->watch = NULL;
    job_read(job);
    if (job->record.state == JOB_STATE_RUNNING) {
        job->record.state = JOB_STATE_LOST; // its lock lives on in a child that has yet to exec
    }
    if (job->helper.watch == NULL) { // else when systemd has done with it
        job->jobs->runner->over(job);
    }
}

static void on_pidfd(void *context)
{
    struct job *job = context;
    loop_remove(job->watch);
    fd_closep(&job->pidfd);
    job_on_wrapper_gone(job);
}

// Watches a wrapper that is no child of ours. False if it cannot be (not yet: it has no pid in its
// record; or it has ended).
static bool attach(struct job *job)
{
    if (job->record.pid <= 0) {
        return false;
    }
    int pidfd = (int)syscall(SYS_pidfd_open, job->record.pid, 0);
    CLEANUP_FD fd = job_file_open(job->jobs->dir, job->kind);
    if (pidfd < 0 || fd < 0 || !job_file_is_locked(fd)) {
        fd_closep(&pidfd);
        return false;
    }
    job->pidfd = pidfd;
    job->watch = loop_fd(job->jobs->loop, pidfd, on_pidfd, job);
    log_info("job runs kind=%s pid=%d unit=%s", job_word(job->kind), (int)job->record.pid,
        job->record.unit);
    return true;
}

void job_settle(struct job *job)
{
    if (job->watch != NULL) {
        return; // its end comes by itself
    }
    job_read(job);
    switch (job->record.state) {
    case JOB_STATE_RUNNING:
        if (!attach(job)) {
            loop_timer_set(job->timer, RECHECK_MS);
            return;
        }
        loop_timer_stop(job->timer);
        if (job->phase != JOB_ENDING) {
            job_began(job, JOB_RUNNING);
        }
        if (job->muted) {
            job->jobs->runner->end(job);
        }
        return;
    case JOB_STATE_PENDING:
    case JOB_STATE_LOST:
        job->jobs->runner->doubt(job);
        return;
    case JOB_STATE_NONE:
    case JOB_STATE_ENDED:
        job_gone(job);
        return;
    }
}

static void on_timer(void *context)
{
    struct job *job = context;
    if (job->helper.watch != NULL) {
        log_warning("systemd does not answer kind=%s", job_word(job->kind));
        kill(job->helper.pid, SIGKILL);
    } else if (job->phase != JOB_IDLE) {
        job_settle(job);
    }
}

// A record changed: perhaps a timer has fired. Which one does not matter.
static void on_notify(void *context)
{
    struct jobs *jobs = context;
    char events[4096];
    while (read(jobs->notify, events, sizeof events) > 0) {
    }
    for (unsigned kind = 0; kind < JOB_KIND_COUNT; kind++) {
        struct job *job = &jobs->list[kind];
        if (job->phase == JOB_WAITING && job->helper.watch == NULL) {
            job_settle(job);
        }
    }
}

// --- the table ---

static bool find(struct job *job, struct err *e)
{
    char path[PATH_MAX];
    if (!job_file_preallocate(job->jobs->dir, job->kind, e)) {
        return false;
    }
    snprintf(path, sizeof path, "%s/%s", job->jobs->path, job_word(job->kind));
    if (inotify_add_watch(job->jobs->notify, path, IN_MODIFY) < 0) {
        return err_set(e, CODE_IO, "cannot watch %s: %m", path);
    }
    job_read(job);
    if (job->record.state == JOB_STATE_RUNNING && attach(job)) {
        job->phase = JOB_RUNNING;
    } else if (job->record.state == JOB_STATE_RUNNING || job->record.state == JOB_STATE_PENDING) {
        job->phase = JOB_STARTING;
        job->found = true;
        loop_timer_set(job->timer, 0); // nobody can be told yet
    }
    return true;
}

struct jobs *jobs_open(struct loop *loop, enum job_runner runner, const char *path,
    const char *self, const struct job_listener *listener, struct err *e)
{
    struct jobs *jobs = xcalloc(1, sizeof *jobs);
    *jobs = (struct jobs){.loop = loop,
        .runner = runner == JOB_RUNNER_SYSTEMD ? &runner_systemd : &runner_session,
        .dir = -1,
        .notify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK),
        .path = xstrdup(path),
        .self = xstrdup(self),
        .listener = *listener};
    bool ok = fs_open_dir(AT_FDCWD, path, &jobs->dir, e);
    if (jobs->notify < 0) {
        ok = err_set(e, CODE_IO, "cannot watch %s: %m", path);
    } else {
        jobs->notified = loop_fd(loop, jobs->notify, on_notify, jobs);
    }
    for (unsigned kind = 0; kind < JOB_KIND_COUNT; kind++) {
        struct job *job = &jobs->list[kind];
        *job = (struct job){.jobs = jobs, .kind = (enum job_kind)kind, .pidfd = -1};
        job->helper.answer = -1;
        job->timer = loop_timer(loop, true, on_timer, job);
        ok = ok && find(job, e);
    }
    if (!ok) {
        jobs_close(jobs);
        return NULL;
    }
    return jobs;
}

void jobs_close(struct jobs *jobs)
{
    if (jobs == NULL) {
        return;
    }
    for (unsigned kind = 0; kind < JOB_KIND_COUNT; kind++) {
        struct job *job = &jobs->list[kind];
        loop_remove(job->watch);
        loop_remove(job->timer);
        loop_remove(job->helper.watch);
        fd_closep(&job->helper.answer);
        fd_closep(&job->pidfd);
        start_drop(&job->next);
        start_drop(&job->starting);
    }
    loop_remove(jobs->notified);
    fd_closep(&jobs->notify);
    fd_closep(&jobs->dir);
    free(jobs->path);
    free(jobs->self);
    free(jobs);
}

bool jobs_start(struct jobs *jobs, const struct job_spec *spec, struct err *e)
{
    struct job *job = &jobs->list[spec->kind];
    if (spec->calendar != NULL && jobs->runner != &runner_systemd) {
        return err_set(e, CODE_USAGE, "a calendar time needs systemd, which is not used here");
    }
    bool same = is_same(job, &spec->key) && !job->muted;
    if (job->phase != JOB_IDLE && same && !job->found) {
        job->unannounced = true;
        if (job->phase != JOB_STARTING) {
            tell_started(job, true);
        }
        return true;
    }
    if (job->phase != JOB_IDLE && !same) {
        jobs_stop(jobs, spec->kind);
    }
    struct start *start = start_new(spec);
    if (job->phase == JOB_IDLE) {
        bool ok = begin(job, start, e);
        start_drop(&start);
        return ok;
    }
    job->unannounced = same; // found: whether it runs will turn out
    start_drop(&job->next);
    job->next = start;
    return true;
}

void jobs_stop(struct jobs *jobs, enum job_kind kind)
{
    struct job *job = &jobs->list[kind];
    start_drop(&job->next);
    if (job->phase != JOB_IDLE) {
        job->muted = true;
        jobs->runner->end(job);
    }
}

void jobs_forget(struct jobs *jobs, enum job_kind kind)
{
    struct job *job = &jobs->list[kind];
    if (job->phase != JOB_IDLE) {
        jobs_stop(jobs, kind);
        return;
    }
    CLEANUP_FD fd = job_file_open(jobs->dir, kind);
    struct err e;
    if (fd < 0 || !job_file_clear(fd, &e)) {
        log_warning("job record not forgotten kind=%s", job_word(kind));
    }
    job->record = (struct job_record){.state = JOB_STATE_NONE};
}

void jobs_look(struct jobs *jobs, enum job_kind kind, struct job_record *record)
{
    CLEANUP_FD fd = job_file_open(jobs->dir, kind);
    *record = (struct job_record){.state = JOB_STATE_NONE};
    if (fd >= 0) {
        job_file_read(fd, record);
    }
}

void jobs_tail(struct jobs *jobs, enum job_kind kind, size_t max, struct buf *out)
{
    output_tail(jobs->dir, kind, max, out);
}
