// Jobs as real processes, with the real bento-apply as their wrapper (BENTO_APPLY).
#include "job.h"

#include "node_test.h"

#include <poll.h>
#include <signal.h>

static struct err e;

#define PATIENCE_MS 20000
#define LONG_MS 60000
#define SHELL(script) ((const char *const[]){"/bin/sh", "-c", script, NULL})

static const char *const environment[] = {"PATH=/usr/bin:/bin", NULL};

// One bento-apply: a loop with its jobs, and what it was told.
struct agent {
    struct folder *folder;
    struct loop *loop;
    struct jobs *jobs;
    struct loop_watch *patience;
    unsigned told; // how often `ended` was called
    enum job_kind kind;
    struct job_record record; // the last one
};

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
    agent->jobs = jobs_open(agent->loop, folder->path, BENTO_APPLY, on_ended, agent, &e);
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

// Gives the loop whatever is ready by now.
static void settle(struct agent *agent)
{
    loop_timer_set(agent->patience, 0);
    loop_run(agent->loop);
    loop_timer_stop(agent->patience);
}

static struct job_key key_of(uint8_t digest, uint32_t attempt)
{
    struct job_key key = {.attempt = attempt};
    memset(key.digest, digest, HASH_BYTES);
    return key;
}

static void start(struct agent *agent, const struct job_key *key, const char *script, bool again)
{
    MUST(jobs_start(agent->jobs, JOB_TRY, key, SHELL(script), environment, LONG_MS, again, &e));
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
    MUST(jobs_start(agent.jobs, JOB_TRY, &second, (const char *const[]){"/no/such/program", NULL},
        environment, LONG_MS, false, &e));
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
    MUST(jobs_start(
        agent.jobs, JOB_TRY, &key, SHELL(buf_text(&script)), environment, 500, false, &e));
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

// A script that notes each of its runs, then ends with the status.
static void note_script(struct folder *folder, int status, struct buf *script)
{
    buf_clear(script);
    buf_printf(script, "echo >>%s/runs; exit %d", folder->path, status);
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
        MUST(jobs_start(
            agent.jobs, (enum job_kind)kind, &key, SHELL(script), environment, LONG_MS, false, &e));
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
        loop_run(agent.loop);
        _exit(1); // not reached
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
    agent.jobs = jobs_open(agent.loop, path, BENTO_APPLY, on_ended, &agent, &e);
    CHILD_ASSERT(agent.jobs != NULL);
    fill_disk(folder.fd);
    CHILD_ASSERT(jobs_start(agent.jobs, JOB_REVERT, &key, SHELL("echo lost on a full disk; exit 8"),
        environment, LONG_MS, false, &e));
    loop_timer_set(agent.patience, PATIENCE_MS);
    loop_run(agent.loop);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_folder(exit_status_and_output_come_back),
        with_folder(signal_and_missing_program_have_a_shells_status),
        with_folder(job_has_its_environment_and_no_input),
        with_folder(limit_ends_the_job_with_all_its_children),
        with_folder(child_in_the_background_ends_with_the_job),
        with_folder(stopped_job_is_not_told),
        with_folder(same_key_gives_the_result_again_without_another_run),
        with_folder(again_repeats_a_failure_and_keeps_a_success),
        with_folder(forgotten_job_runs_again),
        with_folder(same_key_that_runs_is_left_alone),
        with_folder(other_key_replaces_what_runs),
        with_folder(kinds_run_beside_each_other),
        with_folder(job_survives_its_starter_and_is_found_again),
        with_folder(job_of_a_dead_starter_can_be_stopped_and_replaced),
        with_folder(job_that_ended_while_nobody_looked_is_known),
        with_folder(job_whose_wrapper_was_killed_is_lost),
        with_folder(job_is_ended_from_another_process),
        with_folder(job_that_does_not_end_in_time_is_a_timeout),
        with_folder(full_disk_hides_no_result),
        with_folder(damaged_record_is_no_result),
    };
    return cmocka_run_group_tests(tests, start_sodium, NULL);
}
