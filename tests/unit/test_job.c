// Jobs as real processes, with the real bento-apply as their wrapper (BENTO_APPLY): as children, or
// with --systemd as transient units of the systemd that is process 1 (tests/apply/job_systemd.sh).
#include "job_file.h"
#include "output.h"
#include "proc.h"

#include "node_test.h"

#include <poll.h>
#include <signal.h>
#include <time.h>

static struct err e;

#define PATIENCE_MS 20000
#define LONG_MS 60000
#define SHELL(script) ((const char *const[]){"/bin/sh", "-c", script, NULL})

static enum job_runner runner = JOB_RUNNER_SESSION;
static const char *self = BENTO_APPLY;

static const char *const environment[] = {"PATH=/usr/bin:/bin", NULL};

// One bento-apply: a loop with its jobs, and what it was told.
struct agent {
    struct folder *folder;
    struct loop *loop;
    struct jobs *jobs;
    struct loop_watch *patience;
    unsigned begun; // how often `started` was called
    bool ok;        // what it said last
    unsigned told;  // how often `ended` was called
    enum job_kind kind;
    struct job_record record; // the last one
};

static void on_started(void *context, enum job_kind kind, const struct job_key *key, bool ok)
{
    struct agent *agent = context;
    (void)kind;
    (void)key;
    agent->begun++;
    agent->ok = ok;
    loop_stop(agent->loop);
}

static void on_ended(void *context, enum job_kind kind, const struct job_record *record)
{
    struct agent *agent = context;
    agent->told++;
    agent->kind = kind;
    agent->record = *record;
    loop_stop(agent->loop);
}

static void on_patience(void *context)
{
    struct agent *agent = context;
    loop_stop(agent->loop);
}

static void agent_start(struct agent *agent, struct folder *folder)
{
    *agent = (struct agent){.folder = folder, .loop = loop_new()};
    agent->patience = loop_timer(agent->loop, false, on_patience, agent);
    const struct job_listener listener = {on_started, on_ended, agent};
    agent->jobs = jobs_open(agent->loop, runner, folder->path, self, &listener, &e);
    if (agent->jobs == NULL) {
        fail_msg("%s", e.text);
    }
}

static void agent_end(struct agent *agent)
{
    jobs_close(agent->jobs);
    loop_free(agent->loop);
}

// Runs until `ended` was called so often in all.
static void until_told(struct agent *agent, unsigned times)
{
    loop_timer_set(agent->patience, PATIENCE_MS);
    while (agent->told < times && loop_timer_is_set(agent->patience)) {
        loop_run(agent->loop);
    }
    loop_timer_stop(agent->patience);
    assert_int_equal(agent->told, times);
}

// Runs until `started` was called so often in all.
static void until_begun(struct agent *agent, unsigned times)
{
    loop_timer_set(agent->patience, PATIENCE_MS);
    while (agent->begun < times && loop_timer_is_set(agent->patience)) {
        loop_run(agent->loop);
    }
    loop_timer_stop(agent->patience);
    assert_int_equal(agent->begun, times);
}

// Gives the loop whatever is ready by now.
static void settle(struct agent *agent)
{
    loop_timer_set(agent->patience, 0);
    while (loop_timer_is_set(agent->patience)) {
        loop_run(agent->loop);
    }
}

static struct job_key key_of(uint8_t digest, uint32_t attempt)
{
    struct job_key key = {.attempt = attempt};
    memset(key.digest, digest, HASH_BYTES);
    return key;
}

static struct job_spec spec_of(
    enum job_kind kind, const struct job_key *key, const char *const *argv)
{
    return (struct job_spec){
        .kind = kind, .key = *key, .argv = argv, .env = environment, .limit_ms = LONG_MS};
}

static void start(struct agent *agent, const struct job_key *key, const char *script, bool again)
{
    struct job_spec spec = spec_of(JOB_TRY, key, SHELL(script));
    spec.again = again;
    MUST(jobs_start(agent->jobs, &spec, &e));
}

static void start_later(
    struct agent *agent, const struct job_key *key, const char *script, uint64_t delay_ms)
{
    struct job_spec spec = spec_of(JOB_DEADMAN, key, SHELL(script));
    spec.delay_ms = delay_ms;
    spec.again = true;
    MUST(jobs_start(agent->jobs, &spec, &e));
}

static void assert_record(
    const struct job_record *record, enum job_state state, const struct job_key *key, int status)
{
    assert_int_equal(record->state, state);
    assert_memory_equal(record->key.digest, key->digest, HASH_BYTES);
    assert_int_equal(record->key.attempt, key->attempt);
    if (state == JOB_STATE_ENDED) {
        assert_int_equal(record->status, status);
    }
}

static struct buf output(struct agent *agent, size_t max)
{
    struct buf out = {0};
    jobs_tail(agent->jobs, JOB_TRY, max, &out);
    return out;
}

static int make_fifo(struct folder *folder, char path[96])
{
    snprintf(path, 96, "%s/fifo", folder->path);
    assert_int_equal(mkfifo(path, 0600), 0);
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

// Something was written into the fifo: the script is there.
static void await_byte(int fifo)
{
    char byte;
    assert_true(becomes_ready(fifo));
    assert_int_equal(read(fifo, &byte, 1), 1);
}

// Everybody who had it open for writing is gone.
static void await_end(int fifo)
{
    char bytes[256];
    for (;;) {
        assert_true(becomes_ready(fifo));
        ssize_t n = read(fifo, bytes, sizeof bytes);
        assert_true(n >= 0);
        if (n == 0) {
            return;
        }
    }
}

static void exit_status_and_output_come_back(void **state)
{
    struct agent agent;
    const struct job_key key = key_of(1, 2);
    agent_start(&agent, *state);
    start(&agent, &key, "echo one; echo two >&2; exit 7", false);
    until_told(&agent, 1);
    assert_int_equal(agent.kind, JOB_TRY);
    assert_record(&agent.record, JOB_STATE_ENDED, &key, 7);
    struct buf all = output(&agent, 100), tail = output(&agent, 4);
    assert_true(is_text(&all, "one\ntwo\n"));
    assert_true(is_text(&tail, "two\n"));
    buf_clear(&all);
    buf_clear(&tail);
    struct job_record record;
    jobs_look(agent.jobs, JOB_TRY, &record);
    assert_record(&record, JOB_STATE_ENDED, &key, 7);
    jobs_look(agent.jobs, JOB_COMMIT, &record);
    assert_int_equal(record.state, JOB_STATE_NONE);
    agent_end(&agent);
}

static void signal_and_missing_program_have_a_shells_status(void **state)
{
    struct agent agent;
    const struct job_key first = key_of(1, 1), second = key_of(1, 2);
    agent_start(&agent, *state);
    start(&agent, &first, "kill -KILL $$", false);
    until_told(&agent, 1);
    assert_record(&agent.record, JOB_STATE_ENDED, &first, 128 + SIGKILL);
    const struct job_spec spec =
        spec_of(JOB_TRY, &second, (const char *const[]){"/no/such/program", NULL});
    MUST(jobs_start(agent.jobs, &spec, &e));
    until_told(&agent, 2);
    assert_record(&agent.record, JOB_STATE_ENDED, &second, 127);
    struct buf out = output(&agent, 1000);
    assert_contains(buf_text(&out), "/no/such/program");
    buf_clear(&out);
    agent_end(&agent);
}

static void job_has_its_environment_and_no_input(void **state)
{
    struct agent agent;
    const struct job_key key = key_of(1, 1);
    setenv("FROM_OUTSIDE", "x", 1);
    agent_start(&agent, *state);
    start(&agent, &key, "echo \"$PATH$FROM_OUTSIDE\"; cat; ls /proc/self/fd | wc -l", false);
    until_told(&agent, 1);
    assert_record(&agent.record, JOB_STATE_ENDED, &key, 0);
    struct buf out = output(&agent, 1000);
    assert_true(is_text(&out, "/usr/bin:/bin\n4\n")); // 0, 1, 2 and the folder that ls reads
    buf_clear(&out);
    agent_end(&agent);
}

static void limit_ends_the_job_with_all_its_children(void **state)
{
    struct agent agent;
    const struct job_key key = key_of(1, 1);
    char path[96];
    struct buf script = {0};
    int fifo = make_fifo(*state, path);
    buf_printf(&script, "exec >%s; sleep 1000 & sleep 1000 & echo; wait", path);
    agent_start(&agent, *state);
    struct job_spec spec = spec_of(JOB_TRY, &key, SHELL(buf_text(&script)));
    spec.limit_ms = 500;
    MUST(jobs_start(agent.jobs, &spec, &e));
    until_told(&agent, 1);
    assert_record(&agent.record, JOB_STATE_ENDED, &key, 128 + SIGTERM);
    await_end(fifo);
    close(fifo);
    buf_clear(&script);
    agent_end(&agent);
}

static void child_in_the_background_ends_with_the_job(void **state)
{
    struct agent agent;
    const struct job_key key = key_of(1, 1);
    char path[96];
    struct buf script = {0};
    int fifo = make_fifo(*state, path);
    buf_printf(&script, "exec >%s; trap '' TERM HUP; (sleep 1000) & exit 3", path);
    agent_start(&agent, *state);
    start(&agent, &key, buf_text(&script), false);
    until_told(&agent, 1);
    assert_record(&agent.record, JOB_STATE_ENDED, &key, 3);
    await_end(fifo);
    close(fifo);
    buf_clear(&script);
    agent_end(&agent);
}

static void stopped_job_is_not_told(void **state)
{
    struct agent agent;
    const struct job_key key = key_of(1, 1);
    char path[96];
    struct buf script = {0};
    int fifo = make_fifo(*state, path);
    buf_printf(&script, "exec >%s; echo; exec sleep 1000", path);
    agent_start(&agent, *state);
    start(&agent, &key, buf_text(&script), false);
    until_begun(&agent, 1);
    await_byte(fifo);
    jobs_stop(agent.jobs, JOB_TRY);
    await_end(fifo);
    struct job_record record;
    MUST(job_end(agent.folder->fd, JOB_TRY, 5000, &e)); // until its wrapper is gone, too
    settle(&agent);
    jobs_look(agent.jobs, JOB_TRY, &record);
    assert_record(&record, JOB_STATE_ENDED, &key, 128 + SIGTERM);
    assert_int_equal(agent.told, 0);
    jobs_stop(agent.jobs, JOB_TRY); // nothing to stop: fine
    close(fifo);
    buf_clear(&script);
    agent_end(&agent);
}

static unsigned lines_in(struct folder *folder, const char *name)
{
    struct buf text = {0};
    unsigned lines = 0;
    if (fs_exists(folder->fd, name)) {
        MUST(fs_read(folder->fd, name, 10000, &text, &e));
    }
    for (size_t i = 0; i < text.len; i++) {
        lines += text.at[i] == '\n';
    }
    buf_clear(&text);
    return lines;
}

// A script that notes each of its runs, then ends with the status. Without a semicolon: systemd writes it as \; into the file
// of a unit that has not begun when it executes itself anew, and does not take that back.
static void note_script(struct folder *folder, int status, struct buf *script)
{
    buf_clear(script);
    buf_printf(script, "echo >>%s/runs && exit %d", folder->path, status);
}

static void same_key_gives_the_result_again_without_another_run(void **state)
{
    struct folder *folder = *state;
    struct agent agent;
    const struct job_key key = key_of(1, 1);
    struct buf script = {0};
    note_script(folder, 7, &script);
    agent_start(&agent, folder);
    start(&agent, &key, buf_text(&script), false);
    until_told(&agent, 1);
    start(&agent, &key, buf_text(&script), false);
    until_told(&agent, 2);
    assert_record(&agent.record, JOB_STATE_ENDED, &key, 7);
    agent_end(&agent);
    agent_start(&agent, folder); // also after a restart
    start(&agent, &key, buf_text(&script), false);
    until_told(&agent, 1);
    assert_record(&agent.record, JOB_STATE_ENDED, &key, 7);
    assert_int_equal(lines_in(folder, "runs"), 1);
    agent_end(&agent);
    buf_clear(&script);
}

// A revert that failed is worth another try, one that succeeded is not.
static void again_repeats_a_failure_and_keeps_a_success(void **state)
{
    struct folder *folder = *state;
    struct agent agent;
    const struct job_key key = key_of(1, 1);
    struct buf script = {0};
    agent_start(&agent, folder);
    note_script(folder, 1, &script);
    start(&agent, &key, buf_text(&script), true);
    until_told(&agent, 1);
    note_script(folder, 0, &script);
    start(&agent, &key, buf_text(&script), true);
    until_told(&agent, 2);
    assert_record(&agent.record, JOB_STATE_ENDED, &key, 0);
    assert_int_equal(lines_in(folder, "runs"), 2);
    note_script(folder, 5, &script);
    start(&agent, &key, buf_text(&script), true);
    until_told(&agent, 3);
    assert_record(&agent.record, JOB_STATE_ENDED, &key, 0);
    assert_int_equal(lines_in(folder, "runs"), 2);
    agent_end(&agent);
    buf_clear(&script);
}

static void forgotten_job_runs_again(void **state)
{
    struct folder *folder = *state;
    struct agent agent;
    struct job_record record;
    const struct job_key key = key_of(1, 1);
    struct buf script = {0};
    note_script(folder, 0, &script);
    agent_start(&agent, folder);
    start(&agent, &key, buf_text(&script), false);
    until_told(&agent, 1);
    jobs_forget(agent.jobs, JOB_TRY);
    agent_end(&agent);
    agent_start(&agent, folder);
    start(&agent, &key, buf_text(&script), false);
    until_told(&agent, 1);
    jobs_look(agent.jobs, JOB_TRY, &record);
    assert_record(&record, JOB_STATE_ENDED, &key, 0);
    assert_int_equal(lines_in(folder, "runs"), 2);
    agent_end(&agent);
    buf_clear(&script);
}

static void same_key_that_runs_is_left_alone(void **state)
{
    struct folder *folder = *state;
    struct agent agent;
    const struct job_key key = key_of(1, 1);
    char path[96];
    struct buf script = {0};
    int fifo = make_fifo(folder, path);
    buf_printf(&script, "echo >>%s/runs; exec >%s; echo; read line <%s/gate; exit 4", folder->path,
        path, folder->path);
    assert_int_equal(mkfifoat(folder->fd, "gate", 0600), 0);
    agent_start(&agent, folder);
    start(&agent, &key, buf_text(&script), false);
    await_byte(fifo);
    start(&agent, &key, buf_text(&script), false);
    start(&agent, &key, buf_text(&script), true);
    int gate = openat(folder->fd, "gate", O_WRONLY | O_CLOEXEC);
    assert_int_equal(write(gate, "\n", 1), 1);
    until_told(&agent, 1);
    assert_record(&agent.record, JOB_STATE_ENDED, &key, 4);
    assert_int_equal(lines_in(folder, "runs"), 1);
    close(gate);
    close(fifo);
    buf_clear(&script);
    agent_end(&agent);
}

static void other_key_replaces_what_runs(void **state)
{
    struct agent agent;
    const struct job_key old = key_of(1, 1), attempt = key_of(1, 2), other = key_of(2, 1);
    char path[96];
    struct buf script = {0};
    int fifo = make_fifo(*state, path);
    buf_printf(&script, "exec >%s; echo; exec sleep 1000", path);
    agent_start(&agent, *state);
    start(&agent, &old, buf_text(&script), false);
    await_byte(fifo);
    start(&agent, &attempt, "exit 5", false); // overtaken before it could start
    start(&agent, &other, "exit 6", false);
    until_told(&agent, 1);
    assert_record(&agent.record, JOB_STATE_ENDED, &other, 6);
    await_end(fifo);
    settle(&agent);
    assert_int_equal(agent.told, 1);
    start(&agent, &attempt, "exit 5", false); // and one that has ended
    until_told(&agent, 2);
    assert_record(&agent.record, JOB_STATE_ENDED, &attempt, 5);
    close(fifo);
    buf_clear(&script);
    agent_end(&agent);
}

static void kinds_run_beside_each_other(void **state)
{
    struct agent agent;
    const struct job_key key = key_of(1, 1);
    agent_start(&agent, *state);
    for (unsigned kind = 0; kind < JOB_KIND_COUNT; kind++) {
        char script[32];
        snprintf(script, sizeof script, "exit %u", 10 + kind);
        const struct job_spec spec = spec_of((enum job_kind)kind, &key, SHELL(script));
        MUST(jobs_start(agent.jobs, &spec, &e));
    }
    until_told(&agent, JOB_KIND_COUNT);
    for (unsigned kind = 0; kind < JOB_KIND_COUNT; kind++) {
        struct job_record record;
        jobs_look(agent.jobs, (enum job_kind)kind, &record);
        assert_record(&record, JOB_STATE_ENDED, &key, (int)(10 + kind));
    }
    agent_end(&agent);
}

// Starts the script in another process, which is then killed; returns when the script is there.
static void start_and_die(
    struct folder *folder, const struct job_key *key, const char *script, int fifo)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        struct agent agent;
        agent_start(&agent, folder);
        start(&agent, key, script, false);
        for (;;) {
            loop_run(agent.loop);
        }
    }
    await_byte(fifo);
    kill(pid, SIGKILL);
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
}

static void job_survives_its_starter_and_is_found_again(void **state)
{
    struct folder *folder = *state;
    struct agent agent;
    const struct job_key key = key_of(3, 9);
    char path[96];
    struct buf script = {0};
    int fifo = make_fifo(folder, path);
    buf_printf(&script, "echo >>%s/runs; exec >%s; echo; read line <%s/gate; exit 9", folder->path,
        path, folder->path);
    assert_int_equal(mkfifoat(folder->fd, "gate", 0600), 0);
    start_and_die(folder, &key, buf_text(&script), fifo);

    agent_start(&agent, folder);
    struct job_record record;
    jobs_look(agent.jobs, JOB_TRY, &record);
    assert_record(&record, JOB_STATE_RUNNING, &key, 0);
    start(&agent, &key, buf_text(&script), false); // as BOOT does
    assert_int_equal(agent.told, 0);
    int gate = openat(folder->fd, "gate", O_WRONLY | O_CLOEXEC);
    assert_int_equal(write(gate, "\n", 1), 1);
    until_told(&agent, 1);
    assert_record(&agent.record, JOB_STATE_ENDED, &key, 9);
    assert_int_equal(lines_in(folder, "runs"), 1);
    close(gate);
    close(fifo);
    buf_clear(&script);
    agent_end(&agent);
}

static void job_of_a_dead_starter_can_be_stopped_and_replaced(void **state)
{
    struct folder *folder = *state;
    struct agent agent;
    const struct job_key key = key_of(3, 1), other = key_of(3, 2);
    char path[96];
    struct buf script = {0};
    int fifo = make_fifo(folder, path);
    buf_printf(&script, "exec >%s; echo; exec sleep 1000", path);
    start_and_die(folder, &key, buf_text(&script), fifo);
    agent_start(&agent, folder);
    start(&agent, &other, "exit 2", false);
    until_told(&agent, 1);
    assert_record(&agent.record, JOB_STATE_ENDED, &other, 2);
    await_end(fifo);
    close(fifo);
    buf_clear(&script);
    agent_end(&agent);
}

static void job_that_ended_while_nobody_looked_is_known(void **state)
{
    struct folder *folder = *state;
    struct agent agent;
    const struct job_key key = key_of(3, 9);
    char path[96];
    struct buf script = {0};
    int fifo = make_fifo(folder, path);
    buf_printf(&script, "exec >%s; echo; read line <%s/gate; exit 4", path, folder->path);
    assert_int_equal(mkfifoat(folder->fd, "gate", 0600), 0);
    start_and_die(folder, &key, buf_text(&script), fifo);
    int gate = openat(folder->fd, "gate", O_WRONLY | O_CLOEXEC);
    assert_int_equal(write(gate, "\n", 1), 1);
    // Until the wrapper has let go of its lock.
    int lock = -1;
    MUST(fs_lock(folder->fd, job_word(JOB_TRY), true, &lock, &e));
    close(lock);
    agent_start(&agent, folder);
    start(&agent, &key, "exit 0", false);
    until_told(&agent, 1);
    assert_record(&agent.record, JOB_STATE_ENDED, &key, 4);
    close(gate);
    close(fifo);
    buf_clear(&script);
    agent_end(&agent);
}

// Never taken for success: nobody knows how it went.
static void job_whose_wrapper_was_killed_is_lost(void **state)
{
    struct folder *folder = *state;
    struct agent agent;
    struct job_record record;
    const struct job_key key = key_of(4, 1);
    char path[96];
    struct buf script = {0};
    int fifo = make_fifo(folder, path);
    buf_printf(&script, "exec >%s; echo; exec sleep 1000", path);
    agent_start(&agent, folder);
    start(&agent, &key, buf_text(&script), false);
    await_byte(fifo);
    jobs_look(agent.jobs, JOB_TRY, &record);
    assert_true(record.pid > 1);
    kill(record.pid, SIGKILL);
    until_told(&agent, 1);
    assert_record(&agent.record, JOB_STATE_LOST, &key, 0);
    await_end(fifo); // what it wrapped does not go on alone
    start(&agent, &key, "exit 0", false);
    until_told(&agent, 2);
    assert_record(&agent.record, JOB_STATE_LOST, &key, 0);
    agent_end(&agent);

    agent_start(&agent, folder); // the same after a restart
    start(&agent, &key, "exit 0", false);
    until_told(&agent, 1);
    assert_record(&agent.record, JOB_STATE_LOST, &key, 0);
    start(&agent, &key, "exit 0", true);
    until_told(&agent, 2);
    assert_record(&agent.record, JOB_STATE_ENDED, &key, 0);
    close(fifo);
    buf_clear(&script);
    agent_end(&agent);
}

// bento-apply was killed between the record and the child: nothing of the job ever ran.
static void job_that_never_began_is_started_after_a_restart(void **state)
{
    struct folder *folder = *state;
    struct agent agent;
    const struct job_key key = key_of(4, 3);
    const struct job_record record = {.key = key, .status = -1};
    CLEANUP_FD fd = job_file_open(folder->fd, JOB_TRY);
    MUST(job_file_write(fd, &record, &e));
    agent_start(&agent, folder);
    start(&agent, &key, "exit 3", false);
    until_told(&agent, 1);
    assert_record(&agent.record, JOB_STATE_ENDED, &key, 3);
    agent_end(&agent);
}

// A wrapper has written how its job ended, and holds its lock until it is gone itself.
static void next_job_waits_for_a_wrapper_that_is_about_to_go(void **state)
{
    struct folder *folder = *state;
    struct agent agent;
    const struct job_key first = key_of(4, 4), second = key_of(4, 5);
    const struct job_record ended = {.key = first, .status = 0, .pid = 1};
    int ready[2];
    char byte;
    CLEANUP_FD fd = job_file_open(folder->fd, JOB_TRY);
    MUST(job_file_write(fd, &ended, &e));
    agent_start(&agent, folder);
    assert_return_code(pipe(ready), errno);
    pid_t leaving = fork();
    if (leaving == 0) {
        int lock = job_file_claim(folder->fd, JOB_TRY);
        (void)!write(ready[1], lock >= 0 ? "y" : "n", 1);
        poll(NULL, 0, 200); // as long as its way out takes
        _exit(0);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(byte, 'y');
    start(&agent, &second, "exit 3", false);
    until_told(&agent, 1);
    assert_record(&agent.record, JOB_STATE_ENDED, &second, 3);
    assert_int_equal(waitpid(leaving, NULL, 0), leaving);
    close(ready[0]);
    close(ready[1]);
    agent_end(&agent);
}

// One that runs is not waited for.
static void job_that_runs_keeps_its_file(void **state)
{
    struct folder *folder = *state;
    const struct job_record runs = {.key = key_of(4, 6), .status = -1, .pid = 1};
    CLEANUP_FD fd = job_file_open(folder->fd, JOB_TRY);
    MUST(job_file_write(fd, &runs, &e));
    CLEANUP_FD lock = job_file_claim(folder->fd, JOB_TRY);
    assert_true(lock >= 0);
    assert_int_equal(job_file_claim(folder->fd, JOB_TRY), -1);
    assert_int_equal(errno, EWOULDBLOCK);
}

static void job_is_ended_from_another_process(void **state)
{
    struct folder *folder = *state;
    struct agent agent;
    const struct job_key key = key_of(5, 1);
    char path[96];
    struct buf script = {0};
    int fifo = make_fifo(folder, path);
    buf_printf(&script, "exec >%s; echo; exec sleep 1000", path);
    agent_start(&agent, folder);
    MUST(job_end(folder->fd, JOB_TRY, 5000, &e)); // none there: fine
    start(&agent, &key, buf_text(&script), false);
    await_byte(fifo);
    MUST(job_end(folder->fd, JOB_TRY, 5000, &e));
    int lock = -1;
    MUST(fs_lock(folder->fd, job_word(JOB_TRY), false, &lock, &e));
    close(lock);
    await_end(fifo);
    until_told(&agent, 1);
    assert_record(&agent.record, JOB_STATE_ENDED, &key, 128 + SIGTERM);
    close(fifo);
    buf_clear(&script);
    agent_end(&agent);
}

// Also what ignores the SIGTERM that comes from the wrapper's death.
static void killed_wrapper_leaves_nothing_behind(void **state)
{
    struct folder *folder = *state;
    struct agent agent;
    struct job_record record;
    const struct job_key key = key_of(4, 2);
    char path[96];
    struct buf script = {0};
    int fifo = make_fifo(folder, path);
    buf_printf(&script,
        "exec >%s; trap '' TERM HUP PIPE; (while :; do sleep 1000; done) & echo; wait", path);
    agent_start(&agent, folder);
    start(&agent, &key, buf_text(&script), false);
    until_begun(&agent, 1);
    await_byte(fifo);
    do {
        jobs_look(agent.jobs, JOB_TRY, &record);
    } while (record.session == 0);
    kill(record.pid, SIGKILL);
    until_told(&agent, 1);
    assert_record(&agent.record, JOB_STATE_LOST, &key, 0);
    await_end(fifo);
    close(fifo);
    buf_clear(&script);
    agent_end(&agent);
}

static void long_output_keeps_its_end(void **state)
{
    struct folder *folder = *state;
    struct agent agent;
    struct stat st;
    const struct job_key key = key_of(1, 1);
    agent_start(&agent, folder);
    start(&agent, &key, "head -c 5000000 /dev/zero; echo last words", false);
    until_told(&agent, 1);
    assert_record(&agent.record, JOB_STATE_ENDED, &key, 0);
    struct buf end = output(&agent, 11), all = output(&agent, 10000000);
    assert_true(is_text(&end, "last words\n"));
    assert_true(all.len >= OUTPUT_KEPT_BYTES);
    assert_int_equal(fstatat(folder->fd, "try.out", &st, 0), 0);
    assert_true(st.st_size <= 2 * OUTPUT_KEPT_BYTES);
    buf_clear(&end);
    buf_clear(&all);
    agent_end(&agent);
}

// --- jobs that wait for their time: the dead man's switch ---

static void delayed_job_is_begun_at_once_and_runs_later(void **state)
{
    struct agent agent;
    struct job_record record;
    const struct job_key key = key_of(7, 1);
    agent_start(&agent, *state);
    uint64_t before = clock_monotonic_ms();
    start_later(&agent, &key, "exit 5", 700);
    until_begun(&agent, 1);
    assert_true(agent.ok);
    assert_int_equal(agent.told, 0);
    jobs_look(agent.jobs, JOB_DEADMAN, &record);
    assert_int_equal(
        record.state, runner == JOB_RUNNER_SYSTEMD ? JOB_STATE_PENDING : JOB_STATE_RUNNING);
    until_told(&agent, 1);
    assert_true(clock_monotonic_ms() - before >= 700);
    assert_record(&agent.record, JOB_STATE_ENDED, &key, 5);
    assert_int_equal(agent.begun, 1);
    agent_end(&agent);
}

static void disarmed_in_time_it_never_runs(void **state)
{
    struct folder *folder = *state;
    struct agent agent;
    struct job_record record;
    const struct job_key key = key_of(7, 1), other = key_of(7, 2);
    struct buf script = {0};
    note_script(folder, 0, &script);
    agent_start(&agent, folder);
    start_later(&agent, &key, buf_text(&script), 1500);
    until_begun(&agent, 1);
    jobs_forget(agent.jobs, JOB_DEADMAN);
    start_later(&agent, &other, "exit 3", 3500); // later than the first would have been
    until_told(&agent, 1);
    assert_record(&agent.record, JOB_STATE_ENDED, &other, 3);
    assert_int_equal(lines_in(folder, "runs"), 0);
    jobs_forget(agent.jobs, JOB_DEADMAN);
    jobs_look(agent.jobs, JOB_DEADMAN, &record);
    assert_int_equal(record.state, JOB_STATE_NONE);
    buf_clear(&script);
    agent_end(&agent);
}

// Another bento-apply, killed as soon as its job is begun.
static void start_later_and_die(
    struct folder *folder, const struct job_key *key, const char *script, uint64_t delay_ms)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        struct agent agent;
        agent_start(&agent, folder);
        start_later(&agent, key, script, delay_ms);
        until_begun(&agent, 1);
        kill(getpid(), SIGKILL);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
}

static void waiting_job_is_found_again_and_not_doubled(void **state)
{
    struct folder *folder = *state;
    struct agent agent;
    struct job_record before, after;
    const struct job_key key = key_of(7, 3);
    struct buf script = {0};
    note_script(folder, 0, &script);
    start_later_and_die(folder, &key, buf_text(&script), 3000);
    agent_start(&agent, folder);
    jobs_look(agent.jobs, JOB_DEADMAN, &before);
    start_later(&agent, &key, buf_text(&script), 3000); // as BOOT does
    until_begun(&agent, 1);
    assert_true(agent.ok);
    jobs_look(agent.jobs, JOB_DEADMAN, &after);
    assert_string_equal(before.unit, after.unit);
    until_told(&agent, 1);
    assert_record(&agent.record, JOB_STATE_ENDED, &key, 0);
    assert_int_equal(lines_in(folder, "runs"), 1);
    buf_clear(&script);
    agent_end(&agent);
}

static void it_fires_while_nobody_is_there_and_that_is_found(void **state)
{
    struct folder *folder = *state;
    struct agent agent;
    struct job_record record;
    const struct job_key key = key_of(7, 4);
    char path[96];
    struct buf script = {0};
    int fifo = make_fifo(folder, path);
    buf_printf(&script, "echo >%s", path);
    start_later_and_die(folder, &key, buf_text(&script), 500);
    await_byte(fifo);
    int lock = -1;
    MUST(fs_lock(folder->fd, job_word(JOB_DEADMAN), true, &lock, &e));
    close(lock);
    agent_start(&agent, folder);
    jobs_look(agent.jobs, JOB_DEADMAN, &record);
    assert_record(&record, JOB_STATE_ENDED, &key, 0);
    close(fifo);
    buf_clear(&script);
    agent_end(&agent);
}

static void job_that_does_not_end_in_time_is_a_timeout(void **state)
{
    struct folder *folder = *state;
    struct agent agent;
    const struct job_key key = key_of(5, 1);
    char path[96];
    struct buf script = {0};
    struct job_record record;
    int fifo = make_fifo(folder, path);
    buf_printf(&script, "exec >%s; trap '' TERM; echo $$; while :; do sleep 1000; done", path);
    agent_start(&agent, folder);
    start(&agent, &key, buf_text(&script), false);
    char pid[16] = "";
    assert_true(becomes_ready(fifo));
    assert_true(read(fifo, pid, sizeof pid - 1) > 0);
    MUST_FAIL(job_end(folder->fd, JOB_TRY, 100, &e), CODE_TIMEOUT);
    jobs_look(agent.jobs, JOB_TRY, &record);
    assert_int_equal(record.state, JOB_STATE_RUNNING);
    kill(-atoi(pid), SIGKILL); // ten seconds of patience are the wrapper's, not this test's
    until_told(&agent, 1);
    assert_record(&agent.record, JOB_STATE_ENDED, &key, 128 + SIGKILL);
    await_end(fifo);
    close(fifo);
    agent_end(&agent);
    buf_clear(&script);
}

static void run_on_full_disk(const char *path)
{
    struct folder folder = {.fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    struct agent agent = {.folder = &folder, .loop = loop_new()};
    const struct job_key key = key_of(6, 1);
    agent.patience = loop_timer(agent.loop, false, on_patience, &agent);
    const struct job_listener listener = {on_started, on_ended, &agent};
    agent.jobs = jobs_open(agent.loop, runner, path, BENTO_APPLY, &listener, &e);
    CHILD_ASSERT(agent.jobs != NULL);
    fill_disk(folder.fd);
    const struct job_spec spec =
        spec_of(JOB_REVERT, &key, SHELL("echo lost on a full disk; exit 8"));
    CHILD_ASSERT(jobs_start(agent.jobs, &spec, &e));
    loop_timer_set(agent.patience, PATIENCE_MS);
    while (agent.told == 0 && loop_timer_is_set(agent.patience)) {
        loop_run(agent.loop);
    }
    CHILD_ASSERT(agent.told == 1);
    CHILD_ASSERT(agent.record.state == JOB_STATE_ENDED && agent.record.status == 8);
    agent_end(&agent);
    close(folder.fd);
}

static void full_disk_hides_no_result(void **state)
{
    struct folder *folder = *state;
    on_small_disk(folder->path, 256, run_on_full_disk);
}

static void damaged_record_is_no_result(void **state)
{
    struct folder *folder = *state;
    struct agent agent;
    struct job_record record;
    static const char *const damaged[] = {"", "rubbish", "2 00 1 1 0", "1 00 1 1 0",
        "1 zz01010101010101010101010101010101010101010101010101010101010101 1 1 0"};
    for (size_t i = 0; i < sizeof damaged / sizeof damaged[0]; i++) {
        put_file(folder->fd, job_word(JOB_TRY), damaged[i], 0600);
        agent_start(&agent, folder);
        jobs_look(agent.jobs, JOB_TRY, &record);
        assert_int_equal(record.state, JOB_STATE_NONE);
        agent_end(&agent);
    }
}

// Reader and writer do not wait for each other.
static void record_that_is_being_written_is_the_old_one_or_the_new_one(void **state)
{
    struct folder *folder = *state;
    const struct job_record begun = {
        .key = key_of(9, 7), .pid = 334, .status = -1, .unit = "bento-try-9"};
    const struct job_record pending = {.key = key_of(9, 7), .status = -1, .unit = "bento-try-9"};
    CLEANUP_FD fd = job_file_open(folder->fd, JOB_TRY);
    MUST(job_file_preallocate(folder->fd, JOB_TRY, &e));
    MUST(job_file_write(fd, &begun, &e));
    pid_t writer = fork();
    for (unsigned i = 0; writer == 0 && getppid() != 1; i++) {
        (void)!job_file_write(fd, i % 2 == 0 ? &pending : &begun, &e);
    }
    for (unsigned i = 0; i < 100000; i++) {
        struct job_record seen;
        job_file_read_locked(fd, &seen);
        assert_int_equal(seen.state, JOB_STATE_RUNNING);
        assert_true(seen.pid == begun.pid || seen.pid == pending.pid);
    }
    kill(writer, SIGKILL);
    assert_int_equal(waitpid(writer, NULL, 0), writer);
    // As such a reader, or a power cut, may find it.
    char line[JOB_FILE_BYTES + 1] = "";
    MUST(job_file_write(fd, &pending, &e));
    assert_true(pread(fd, line, JOB_FILE_BYTES, 0) > 0);
    char *status = strstr(line, " 0 -1 ");
    assert_non_null(status);
    memcpy(status, " 3341 ", 6);
    put_file(folder->fd, job_word(JOB_TRY), line, 0600);
    struct job_record seen;
    job_file_read_locked(fd, &seen);
    assert_int_equal(seen.state, JOB_STATE_NONE);
}

// After an upgrade: what the older bento-apply left is not forgotten.
static void record_of_version_1_is_understood(void **state)
{
    struct folder *folder = *state;
    struct agent agent;
    struct job_record record;
    const struct job_key key = key_of(1, 3);
    char line[129];
    snprintf(line, sizeof line,
        "1 0101010101010101010101010101010101010101010101010101010101010101 3 77 5%*s\n", 52, "");
    put_file(folder->fd, job_word(JOB_TRY), line, 0600);
    agent_start(&agent, folder);
    jobs_look(agent.jobs, JOB_TRY, &record);
    assert_record(&record, JOB_STATE_ENDED, &key, 5);
    assert_int_equal(record.pid, 77);
    assert_string_equal(record.unit, "");
    agent_end(&agent);
}

static void calendar_needs_systemd(void **state)
{
    struct agent agent;
    const struct job_key key = key_of(8, 1);
    struct job_spec spec = spec_of(JOB_TRY, &key, SHELL("exit 0"));
    spec.calendar = "03:00";
    agent_start(&agent, *state);
    MUST_FAIL(jobs_start(agent.jobs, &spec, &e), CODE_USAGE);
    settle(&agent);
    assert_int_equal(agent.begun + agent.told, 0);
    agent_end(&agent);
}

// --- systemd alone ---

static int systemctl(const char *verb, const char *unit)
{
    const char *argv[] = {"systemctl", verb, unit, NULL};
    struct proc_result result;
    MUST(proc_run(argv, NULL, NULL, (struct bytes){0}, 10000, PATIENCE_MS, false, &result, &e));
    int status = result.status;
    proc_result_clear(&result);
    return status;
}

static bool timer_is_active(const struct job_record *record)
{
    char timer[JOB_UNIT_BYTES + 8];
    snprintf(timer, sizeof timer, "%s.timer", record->unit);
    return systemctl("is-active", timer) == 0;
}

static void jobs_survive_reload_and_reexec(void **state)
{
    struct folder *folder = *state;
    struct agent agent;
    const struct job_key key = key_of(9, 1);
    char path[96];
    struct buf script = {0};
    int fifo = make_fifo(folder, path);
    buf_printf(&script, "exec >%s; echo; read line <%s/gate; exit 4", path, folder->path);
    assert_int_equal(mkfifoat(folder->fd, "gate", 0600), 0);
    agent_start(&agent, folder);
    start_later(&agent, &key, "exit 6", 2500);
    start(&agent, &key, buf_text(&script), false);
    until_begun(&agent, 2);
    await_byte(fifo);
    assert_int_equal(systemctl("daemon-reload", NULL), 0);
    assert_int_equal(systemctl("daemon-reexec", NULL), 0);
    until_told(&agent, 1);
    assert_int_equal(agent.kind, JOB_DEADMAN);
    assert_record(&agent.record, JOB_STATE_ENDED, &key, 6);
    int gate = openat(folder->fd, "gate", O_WRONLY | O_CLOEXEC);
    assert_int_equal(write(gate, "\n", 1), 1);
    until_told(&agent, 2);
    assert_record(&agent.record, JOB_STATE_ENDED, &key, 4);
    close(gate);
    close(fifo);
    buf_clear(&script);
    agent_end(&agent);
}

// systemd-run loses its connection then, and what it says means nothing.
static void job_starts_while_systemd_executes_itself_anew(void **state)
{
    struct folder *folder = *state;
    struct agent agent;
    struct buf script = {0};
    note_script(folder, 0, &script);
    agent_start(&agent, folder);
    for (uint32_t round = 1; round <= 10; round++) {
        const struct job_key key = key_of(9, round);
        struct proc_spec reexec = PROC_SPEC;
        reexec.argv = (const char *const[]){"systemctl", "daemon-reexec", NULL};
        pid_t pid;
        int pidfd;
        MUST(proc_spawn(&reexec, &pid, &pidfd, &e));
        start(&agent, &key, buf_text(&script), false);
        until_told(&agent, round);
        assert_record(&agent.record, JOB_STATE_ENDED, &key, 0);
        assert_int_equal(lines_in(folder, "runs"), round);
        close(pidfd);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
    }
    buf_clear(&script);
    agent_end(&agent);
}

static void message_bus_is_not_needed(void **state)
{
    struct agent agent;
    const struct job_key key = key_of(9, 2);
    agent_start(&agent, *state);
    assert_int_equal(systemctl("stop", "dbus.socket"), 0);
    systemctl("stop", "dbus.service");
    start_later(&agent, &key, "exit 6", 100);
    start(&agent, &key, "exit 7", false);
    until_told(&agent, 2);
    struct job_record record;
    jobs_look(agent.jobs, JOB_TRY, &record);
    assert_record(&record, JOB_STATE_ENDED, &key, 7);
    jobs_look(agent.jobs, JOB_DEADMAN, &record);
    assert_record(&record, JOB_STATE_ENDED, &key, 6);
    assert_int_equal(systemctl("start", "dbus.socket"), 0);
    agent_end(&agent);
}

static void unit_that_does_not_start_is_lost(void **state)
{
    struct agent agent;
    const struct job_key key = key_of(9, 3), other = key_of(9, 4);
    self = "/no/such/bento-apply";
    agent_start(&agent, *state);
    self = BENTO_APPLY;
    start(&agent, &key, "exit 0", false);
    until_told(&agent, 1);
    assert_record(&agent.record, JOB_STATE_LOST, &key, 0);
    assert_int_equal(agent.begun, 1);
    assert_false(agent.ok);
    struct job_spec spec = spec_of(JOB_DEADMAN, &other, SHELL("exit 0"));
    spec.calendar = "no time at all";
    MUST(jobs_start(agent.jobs, &spec, &e));
    until_told(&agent, 2);
    assert_record(&agent.record, JOB_STATE_LOST, &other, 0);
    assert_int_equal(agent.begun, 2);
    assert_false(agent.ok);
    agent_end(&agent);
}

static void no_systemd_run_is_an_error_at_once(void **state)
{
    struct agent agent;
    const struct job_key key = key_of(9, 5);
    const struct job_spec spec = spec_of(JOB_TRY, &key, SHELL("exit 0"));
    char *path = xstrdup(getenv("PATH"));
    agent_start(&agent, *state);
    setenv("PATH", "/nonexistent", 1);
    MUST_FAIL(jobs_start(agent.jobs, &spec, &e), CODE_IO);
    setenv("PATH", path, 1);
    assert_int_equal(agent.begun + agent.told, 0);
    MUST(jobs_start(agent.jobs, &spec, &e)); // and nothing of it stands in the way
    until_told(&agent, 1);
    assert_record(&agent.record, JOB_STATE_LOST, &key, 0);
    free(path);
    agent_end(&agent);
}

// systemctl may have failed: the record is what counts.
static void timer_whose_record_is_gone_does_nothing(void **state)
{
    struct folder *folder = *state;
    struct agent agent;
    struct job_record record;
    const struct job_key key = key_of(9, 6);
    struct buf script = {0};
    note_script(folder, 0, &script);
    start_later_and_die(folder, &key, buf_text(&script), 1000);
    agent_start(&agent, folder);
    jobs_look(agent.jobs, JOB_DEADMAN, &record);
    assert_true(job_file_revoke(folder->fd, JOB_DEADMAN));
    agent_end(&agent);
    const struct timespec pause = {.tv_nsec = 50000000};
    uint64_t deadline = clock_monotonic_ms() + PATIENCE_MS;
    assert_true(timer_is_active(&record));
    while (timer_is_active(&record) && clock_monotonic_ms() < deadline) {
        nanosleep(&pause, NULL);
    }
    assert_false(timer_is_active(&record));
    // A service that was started by it is over when another job_end() has stopped it.
    MUST(job_end(folder->fd, JOB_DEADMAN, PATIENCE_MS, &e));
    assert_int_equal(lines_in(folder, "runs"), 0);
    buf_clear(&script);
}

static void timer_that_somebody_stopped_is_found_lost(void **state)
{
    struct folder *folder = *state;
    struct agent agent;
    struct job_record record;
    const struct job_key key = key_of(9, 7);
    char timer[JOB_UNIT_BYTES + 8];
    start_later_and_die(folder, &key, "exit 0", 600000);
    agent_start(&agent, folder);
    jobs_look(agent.jobs, JOB_DEADMAN, &record);
    snprintf(timer, sizeof timer, "%s.timer", record.unit);
    assert_int_equal(systemctl("stop", timer), 0);
    start_later(&agent, &key, "exit 8", 100); // armed again, since it is wanted
    until_told(&agent, 1);
    assert_record(&agent.record, JOB_STATE_ENDED, &key, 8);
    assert_true(agent.ok);
    agent_end(&agent);
}

static void calendar_runs_once(void **state)
{
    struct folder *folder = *state;
    struct agent agent;
    struct job_record record;
    const struct job_key key = key_of(9, 8);
    struct buf script = {0};
    note_script(folder, 0, &script);
    struct job_spec spec = spec_of(JOB_DEADMAN, &key, SHELL(buf_text(&script)));
    spec.calendar = "*-*-* *:*:00/2";
    agent_start(&agent, folder);
    MUST(jobs_start(agent.jobs, &spec, &e));
    until_begun(&agent, 1);
    jobs_look(agent.jobs, JOB_DEADMAN, &record);
    until_told(&agent, 1);
    assert_record(&agent.record, JOB_STATE_ENDED, &key, 0);
    assert_false(timer_is_active(&record));
    assert_int_equal(lines_in(folder, "runs"), 1);
    buf_clear(&script);
    agent_end(&agent);
}

// Also a process that left its session, which a child of ours would lose sight of.
static void nothing_of_a_job_outlives_it(void **state)
{
    struct folder *folder = *state;
    struct agent agent;
    struct job_record record;
    const struct job_key key = key_of(9, 9);
    char path[96];
    struct buf script = {0};
    int fifo = make_fifo(folder, path);
    buf_printf(
        &script, "exec >%s; trap '' TERM HUP; setsid sleep 1000 & sleep 1000 & echo; wait", path);
    agent_start(&agent, folder);
    start(&agent, &key, buf_text(&script), false);
    until_begun(&agent, 1);
    await_byte(fifo);
    jobs_look(agent.jobs, JOB_TRY, &record);
    kill(record.pid, SIGKILL);
    until_told(&agent, 1);
    assert_record(&agent.record, JOB_STATE_LOST, &key, 0);
    struct pollfd now = {.fd = fifo, .events = POLLIN};
    assert_int_equal(poll(&now, 1, 0), 1); // told when it was over, not before
    await_end(fifo);
    close(fifo);
    buf_clear(&script);
    agent_end(&agent);
}

static void job_that_ignores_sigterm_is_ended_from_another_process(void **state)
{
    struct folder *folder = *state;
    struct agent agent;
    const struct job_key key = key_of(9, 10);
    char path[96];
    struct buf script = {0};
    int fifo = make_fifo(folder, path);
    buf_printf(&script, "exec >%s; trap '' TERM; echo; while :; do sleep 1000; done", path);
    agent_start(&agent, folder);
    start(&agent, &key, buf_text(&script), false);
    await_byte(fifo);
    MUST(
        job_end(folder->fd, JOB_TRY, 100, &e)); // more patience, and the wrapper would have done it
    await_end(fifo);
    until_told(&agent, 1);
    assert_record(&agent.record, JOB_STATE_LOST, &key, 0);
    close(fifo);
    agent_end(&agent);
    buf_clear(&script);
}

static void full_disk_hides_no_result_of_a_unit(void **state)
{
    struct folder *folder = *state;
    assert_int_equal(mount("tmpfs", folder->path, "tmpfs", 0, "size=256k"), 0);
    run_on_full_disk(folder->path);
    assert_int_equal(umount2(folder->path, MNT_DETACH), 0);
}

#define BOTH_RUNNERS                                                                               \
    with_folder(exit_status_and_output_come_back),                                                 \
        with_folder(signal_and_missing_program_have_a_shells_status),                              \
        with_folder(job_has_its_environment_and_no_input),                                         \
        with_folder(limit_ends_the_job_with_all_its_children),                                     \
        with_folder(child_in_the_background_ends_with_the_job),                                    \
        with_folder(stopped_job_is_not_told),                                                      \
        with_folder(same_key_gives_the_result_again_without_another_run),                          \
        with_folder(again_repeats_a_failure_and_keeps_a_success),                                  \
        with_folder(forgotten_job_runs_again), with_folder(same_key_that_runs_is_left_alone),      \
        with_folder(other_key_replaces_what_runs), with_folder(kinds_run_beside_each_other),       \
        with_folder(job_survives_its_starter_and_is_found_again),                                  \
        with_folder(job_of_a_dead_starter_can_be_stopped_and_replaced),                            \
        with_folder(job_that_ended_while_nobody_looked_is_known),                                  \
        with_folder(job_whose_wrapper_was_killed_is_lost),                                         \
        with_folder(job_that_never_began_is_started_after_a_restart),                              \
        with_folder(next_job_waits_for_a_wrapper_that_is_about_to_go),                             \
        with_folder(job_that_runs_keeps_its_file), with_folder(job_is_ended_from_another_process), \
        with_folder(damaged_record_is_no_result),                                                  \
        with_folder(killed_wrapper_leaves_nothing_behind), with_folder(long_output_keeps_its_end), \
        with_folder(delayed_job_is_begun_at_once_and_runs_later),                                  \
        with_folder(disarmed_in_time_it_never_runs),                                               \
        with_folder(waiting_job_is_found_again_and_not_doubled),                                   \
        with_folder(it_fires_while_nobody_is_there_and_that_is_found),                             \
        with_folder(record_that_is_being_written_is_the_old_one_or_the_new_one),                   \
        with_folder(record_of_version_1_is_understood)

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--systemd") == 0) {
        const struct CMUnitTest tests[] = {
            BOTH_RUNNERS,
            with_folder(jobs_survive_reload_and_reexec),
            with_folder(job_starts_while_systemd_executes_itself_anew),
            with_folder(message_bus_is_not_needed),
            with_folder(unit_that_does_not_start_is_lost),
            with_folder(no_systemd_run_is_an_error_at_once),
            with_folder(timer_whose_record_is_gone_does_nothing),
            with_folder(timer_that_somebody_stopped_is_found_lost),
            with_folder(calendar_runs_once),
            with_folder(nothing_of_a_job_outlives_it),
            with_folder(job_that_ignores_sigterm_is_ended_from_another_process),
            with_folder(full_disk_hides_no_result_of_a_unit),
        };
        runner = JOB_RUNNER_SYSTEMD;
        return cmocka_run_group_tests(tests, start_sodium, NULL);
    }
    const struct CMUnitTest tests[] = {
        BOTH_RUNNERS,
        with_folder(job_that_does_not_end_in_time_is_a_timeout),
        with_folder(full_disk_hides_no_result),
        with_folder(calendar_needs_systemd),
    };
    return cmocka_run_group_tests(tests, start_sodium, NULL);
}
