#include "pool.h"

#include "fs.h"
#include "interrupt.h"
#include "loop.h"
#include "proc.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define JOBS_MAX 256
#define OUT_BYTES_MAX (32u << 20)
#define LINE_BYTES_MAX 16384 // the rest of a longer one becomes another
#define PATIENCE_MS 3000     // Nix ends its builders when it is asked to end
#define EVALUATION_KIB (1u << 20)
#define SHORT_KIB (512u << 10)

struct pool_child {
    struct pool_child *next;
    struct pool *pool;
    struct pool_task task;
    char **argv;
    bool running, stopped;
    pid_t pid;
    int out, err; // -1: at its end
    struct loop_watch *exit_watch, *out_watch, *err_watch, *kill_timer;
    struct buf line;
    struct pool_result result;
};

struct pool {
    struct loop *loop;
    unsigned jobs, running, evaluating;
    struct pool_child *children, **end; // in the order of pool_add()
    bool stopped;
    int signal;
};

// ---- the rule for memory ----

bool pool_may_evaluate(unsigned running, uint64_t available_kib)
{
    return running == 0 || available_kib / EVALUATION_KIB > running;
}

bool pool_memory_is_short(uint64_t available_kib)
{
    return available_kib < SHORT_KIB;
}

uint64_t pool_available_kib(void)
{
    static const char key[] = "MemAvailable:";
    CLEANUP(buf_clear) struct buf text = {0};
    struct err unknown;
    const char *found = NULL;
    if (fs_read(AT_FDCWD, "/proc/meminfo", LINE_BYTES_MAX, &text, &unknown)) {
        found = strstr(buf_text(&text), key);
    }
    return found ? strtoull(found + strlen(key), NULL, 10) : UINT64_MAX;
}

bool jobs_parse(const char *text, unsigned *jobs, struct err *e)
{
    *jobs = 0;
    if (!text) {
        return true;
    }
    char *end;
    errno = 0;
    unsigned long number = strtoul(text, &end, 10);
    if (errno || *end || *text < '0' || *text > '9' || number < 1 || number > JOBS_MAX) {
        return err_set(e, CODE_USAGE, "--jobs %s: a number from 1 to %d", text, JOBS_MAX);
    }
    *jobs = (unsigned)number;
    return true;
}

// ---- what a child says ----

static void tell_line(struct pool_child *child, size_t len, size_t used)
{
    child->task.line(child->task.context, bytes_of(child->line.at, len));
    child->line.len -= used;
    memmove(child->line.at, child->line.at + used, child->line.len);
}

static void tell_lines(struct pool_child *child)
{
    struct buf *line = &child->line;
    for (;;) {
        const uint8_t *end = line->len ? memchr(line->at, '\n', line->len) : NULL;
        if (end) {
            tell_line(child, (size_t)(end - line->at), (size_t)(end - line->at) + 1);
        } else if (line->len >= LINE_BYTES_MAX) {
            tell_line(child, LINE_BYTES_MAX, LINE_BYTES_MAX);
        } else {
            return;
        }
    }
}

// Reads what is there. Of stdout the part past the limit is dropped, so that the child does not
// block.
static void take_out(struct pool_child *child, const uint8_t *at, size_t len)
{
    struct buf *out = &child->result.out;
    size_t room = OUT_BYTES_MAX - out->len;
    buf_append(out, at, len < room ? len : room);
}

static void take_err(struct pool_child *child, const uint8_t *at, size_t len)
{
    buf_append(&child->line, at, len);
    tell_lines(child);
}

static void drain(struct pool_child *child, int *fd, struct loop_watch **watch,
    void (*take)(struct pool_child *child, const uint8_t *at, size_t len))
{
    uint8_t block[16384];
    while (*fd >= 0) {
        ssize_t got = read(*fd, block, sizeof(block));
        if (got > 0) {
            take(child, block, (size_t)got);
        } else if (got == 0 || (errno != EINTR && errno != EAGAIN)) {
            loop_remove(*watch);
            *watch = NULL;
            fd_closep(fd);
        } else if (errno == EAGAIN) {
            return;
        }
    }
}

static void on_out(void *context)
{
    struct pool_child *child = context;
    drain(child, &child->out, &child->out_watch, take_out);
}

static void on_err(void *context)
{
    struct pool_child *child = context;
    drain(child, &child->err, &child->err_watch, take_err);
}

// ---- the life of a child ----

static void child_free(struct pool_child *child)
{
    for (char **word = child->argv; *word; word++) {
        free(*word);
    }
    free(child->argv);
    loop_remove(child->exit_watch);
    loop_remove(child->kill_timer);
    buf_clear(&child->line);
    buf_clear(&child->result.out);
    free(child);
}

// It is out of the list when done is called, which may add others or stop the pool.
static void finish(struct pool_child *child)
{
    struct pool *pool = child->pool;
    struct pool_child **at = &pool->children;
    while (*at != child) {
        at = &(*at)->next;
    }
    *at = child->next;
    if (pool->end == &child->next) {
        pool->end = at;
    }
    child->result.stopped = child->stopped;
    child->task.done(child->task.context, &child->result);
    child_free(child);
}

static void on_exit_of(void *context, int status)
{
    struct pool_child *child = context;
    // What it wrote last. A grandchild that keeps the pipes open is not waited for.
    on_out(child);
    on_err(child);
    if (child->line.len) {
        tell_line(child, child->line.len, child->line.len);
    }
    loop_remove(child->out_watch);
    loop_remove(child->err_watch);
    fd_closep(&child->out);
    fd_closep(&child->err);
    child->pool->running--;
    child->pool->evaluating -= child->task.kind == POOL_EVALUATION;
    child->result.status = status;
    finish(child);
}

static void on_patience_over(void *context)
{
    const struct pool_child *child = context;
    kill(-child->pid, SIGKILL);
}

void pool_end(struct pool_child *child)
{
    if (!child->stopped && child->running) {
        kill(-child->pid, SIGTERM);
        loop_timer_set(child->kill_timer, PATIENCE_MS);
    }
    child->stopped = true;
}

static MUST_CHECK bool make_pipe(int ends[2], struct err *e)
{
    return (pipe2(ends, O_CLOEXEC) == 0 && fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0) ||
           err_set(e, CODE_IO, "cannot make a pipe: %m");
}

static bool spawn(struct pool_child *child, struct err *e)
{
    CLEANUP_FD out = -1;
    CLEANUP_FD err = -1;
    int out_ends[2], err_ends[2], pidfd;
    if (!make_pipe(out_ends, e)) {
        return false;
    }
    child->out = out_ends[0], out = out_ends[1];
    if (!make_pipe(err_ends, e)) {
        return false;
    }
    child->err = err_ends[0], err = err_ends[1];
    union {
        char **from;
        const char *const *to;
    } argv = {.from = child->argv};
    struct proc_spec spec = {.argv = argv.to,
        .in = -1,
        .out = out,
        .err = err,
        .new_session = true,
        .die_with_parent = true};
    if (!proc_spawn(&spec, &child->pid, &pidfd, e)) {
        return false;
    }
    struct loop *loop = child->pool->loop;
    child->exit_watch = loop_child(loop, child->pid, pidfd, on_exit_of, child);
    child->out_watch = loop_fd(loop, child->out, on_out, child);
    child->err_watch = loop_fd(loop, child->err, on_err, child);
    child->kill_timer = loop_timer(loop, true, on_patience_over, child);
    return true;
}

static void start(struct pool_child *child)
{
    struct err *failure = &child->result.failure;
    if ((child->task.begin && !child->task.begin(child->task.context, failure)) ||
        !spawn(child, failure)) {
        fd_closep(&child->out);
        fd_closep(&child->err);
        child->result.status = 127;
        finish(child);
        return;
    }
    child->running = true;
    child->pool->running++;
    child->pool->evaluating += child->task.kind == POOL_EVALUATION;
}

// ---- the pool ----

struct pool *pool_new(unsigned jobs)
{
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    struct pool *pool = xcalloc(1, sizeof(*pool));
    pool->jobs = jobs ? jobs : processors > 0 ? (unsigned)processors : 1;
    pool->loop = loop_new();
    pool->end = &pool->children;
    return pool;
}

void pool_free(struct pool *pool)
{
    ASSERT(pool->children == NULL);
    loop_free(pool->loop);
    free(pool);
}

struct loop *pool_loop(struct pool *pool)
{
    return pool->loop;
}

struct pool_child *pool_add(struct pool *pool, const struct pool_task *task)
{
    size_t count = 0;
    while (task->argv[count]) {
        count++;
    }
    struct pool_child *child = xcalloc(1, sizeof(*child));
    *child = (struct pool_child){.pool = pool,
        .task = *task,
        .argv = xcalloc(count + 1, sizeof(char *)),
        .out = -1,
        .err = -1,
        .stopped = pool->stopped};
    for (size_t i = 0; i < count; i++) {
        child->argv[i] = xstrdup(task->argv[i]);
    }
    child->task.argv = NULL;
    *pool->end = child;
    pool->end = &child->next;
    return child;
}

void pool_stop(struct pool *pool)
{
    pool->stopped = true;
    for (struct pool_child *child = pool->children; child; child = child->next) {
        pool_end(child);
    }
}

bool pool_is_stopped(const struct pool *pool)
{
    return pool->stopped;
}

// The one that can be dealt with now, if any.
static struct pool_child *next_of(const struct pool *pool)
{
    struct pool_child *best = NULL;
    bool may_evaluate = pool_may_evaluate(pool->evaluating, pool_available_kib());
    for (struct pool_child *child = pool->children; child; child = child->next) {
        if (child->stopped && !child->running) {
            return child;
        }
        if (!child->running && pool->running < pool->jobs &&
            (may_evaluate || child->task.kind != POOL_EVALUATION) &&
            (!best || child->task.kind < best->task.kind)) {
            best = child;
        }
    }
    return best;
}

// Every turn of the loop.
static void fill(void *context)
{
    struct pool *pool = context;
    struct pool_child *child;
    while ((child = next_of(pool))) {
        if (child->stopped) {
            finish(child);
        } else {
            start(child);
        }
    }
    if (!pool->children) {
        loop_stop(pool->loop);
    }
}

// ---- signals ----

struct catcher {
    struct pool *pool;
    struct interrupt interrupt;
};

static void stop_for(struct pool *pool, int number)
{
    if (number && !pool->signal) {
        pool->signal = number;
        pool_stop(pool);
    }
}

static void on_interrupt(void *context)
{
    struct catcher *catcher = context;
    stop_for(catcher->pool, interrupt_take(&catcher->interrupt));
}

int pool_run(struct pool *pool)
{
    struct catcher catcher = {.pool = pool};
    interrupt_catch(&catcher.interrupt);
    struct loop_watch *watch = loop_fd(pool->loop, catcher.interrupt.fd, on_interrupt, &catcher);
    loop_on_idle(pool->loop, fill, pool);
    loop_post(pool->loop, fill, pool); // the first turn
    loop_run(pool->loop);
    loop_remove(watch);
    stop_for(pool, interrupt_release(&catcher.interrupt));
    return pool->signal;
}

void pool_die(int number)
{
    signal(number, SIG_DFL);
    raise(number);
    _exit(128 + number); // blocked by whoever started us
}
