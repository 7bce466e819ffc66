// Children side by side, with real programs.
#include "pool.h"

#include "rt_test.h"

#include <signal.h>

static struct err e;

// What one child said, in the order in which things happened.
struct seen {
    struct pool *pool;
    struct buf text, out;
    int status;
    bool stopped, refused;
    struct pool_child *child;
};

static unsigned at_once, at_most;

static bool on_begin(void *context, struct err *failure)
{
    struct seen *seen = context;
    if (seen->refused) {
        return err_set(failure, CODE_CONFIG, "not today");
    }
    at_once++;
    at_most = at_once > at_most ? at_once : at_most;
    return true;
}

static void on_line(void *context, struct bytes line)
{
    struct seen *seen = context;
    buf_printf(&seen->text, "[%.*s]", (int)line.len, (const char *)line.at);
    if (bytes_equal_text(line, "end me")) {
        pool_end(seen->child);
    } else if (bytes_equal_text(line, "end all")) {
        pool_stop(seen->pool);
    } else if (bytes_equal_text(line, "interrupt")) {
        raise(SIGTERM);
    }
}

static void on_done(void *context, struct pool_result *result)
{
    struct seen *seen = context;
    at_once -= result->status != 127;
    seen->status = result->status;
    seen->stopped = result->stopped;
    buf_append(&seen->out, result->out.at, result->out.len);
    if (result->status == 127) {
        buf_append_text(&seen->text, result->failure.text);
    }
}

static struct pool_child *add(
    struct pool *pool, enum pool_kind kind, struct seen *seen, const char *script)
{
    const char *argv[] = {"/bin/sh", "-c", script, NULL};
    struct pool_task task = {.kind = kind,
        .argv = argv,
        .begin = on_begin,
        .line = on_line,
        .done = on_done,
        .context = seen};
    seen->pool = pool;
    return seen->child = pool_add(pool, &task);
}

static void seen_clear(struct seen *seen)
{
    buf_clear(&seen->text);
    buf_clear(&seen->out);
}

static int fresh(void **state)
{
    (void)state;
    at_once = at_most = 0;
    return 0;
}

static void lines_output_and_status_come_back(void **state)
{
    (void)state;
    struct pool *pool = pool_new(2);
    struct seen seen = {0};
    add(pool, POOL_BUILD, &seen, "echo one >&2; printf 'two\n\nthree' >&2; echo out; exit 3");
    assert_int_equal(pool_run(pool), 0);
    assert_string_equal(buf_text(&seen.text), "[one][two][][three]");
    assert_string_equal(buf_text(&seen.out), "out\n");
    assert_int_equal(seen.status, 3);
    assert_false(seen.stopped);
    seen_clear(&seen);
    pool_free(pool);
}

static void no_more_run_than_there_are_jobs(void **state)
{
    (void)state;
    struct pool *pool = pool_new(3);
    struct seen seen[10] = {0};
    for (int i = 0; i < 10; i++) {
        add(pool, POOL_BUILD, &seen[i], "sleep 0.1; echo done >&2");
    }
    assert_int_equal(pool_run(pool), 0);
    assert_int_equal(at_most, 3);
    for (int i = 0; i < 10; i++) {
        assert_string_equal(buf_text(&seen[i].text), "[done]");
        seen_clear(&seen[i]);
    }
    pool_free(pool);
}

static void one_that_may_not_begin_or_does_not_exist_says_why(void **state)
{
    (void)state;
    struct pool *pool = pool_new(1);
    struct seen refused = {.refused = true}, absent = {0};
    add(pool, POOL_BUILD, &refused, "echo never");
    const char *argv[] = {"/no/such/program", NULL};
    struct pool_task task = {.argv = argv, .line = on_line, .done = on_done, .context = &absent};
    pool_add(pool, &task);
    assert_int_equal(pool_run(pool), 0);
    assert_string_equal(buf_text(&refused.text), "not today");
    assert_contains(buf_text(&absent.text), "/no/such/program");
    assert_int_equal(absent.status, 127);
    seen_clear(&refused);
    seen_clear(&absent);
    pool_free(pool);
}

static void one_is_ended_and_the_others_go_on(void **state)
{
    (void)state;
    struct pool *pool = pool_new(2);
    struct seen ended = {0}, other = {0};
    add(pool, POOL_EVALUATION, &ended, "echo end me >&2; exec sleep 1000");
    add(pool, POOL_BUILD, &other, "echo fine >&2");
    assert_int_equal(pool_run(pool), 0);
    assert_true(ended.stopped);
    assert_int_equal(ended.status, 128 + SIGTERM);
    assert_string_equal(buf_text(&other.text), "[fine]");
    assert_false(other.stopped);
    seen_clear(&ended);
    seen_clear(&other);
    pool_free(pool);
}

static void stopping_ends_all_and_those_that_wait_never_begin(void **state)
{
    (void)state;
    struct pool *pool = pool_new(1);
    struct seen first = {0}, waiting = {0};
    add(pool, POOL_BUILD, &first, "echo end all >&2; exec sleep 1000");
    add(pool, POOL_BUILD, &waiting, "echo began >&2");
    assert_int_equal(pool_run(pool), 0);
    assert_true(first.stopped && waiting.stopped);
    assert_string_equal(buf_text(&waiting.text), "");
    seen_clear(&first);
    seen_clear(&waiting);
    pool_free(pool);
}

static void a_signal_ends_all_also_a_child_that_does_not_want_to(void **state)
{
    (void)state;
    struct pool *pool = pool_new(2);
    struct seen first = {0}, stubborn = {0};
    add(pool, POOL_BUILD, &stubborn, "trap '' TERM; sleep 1000");
    add(pool, POOL_BUILD, &first, "echo interrupt >&2; exec sleep 1000");
    assert_int_equal(pool_run(pool), SIGTERM);
    assert_true(first.stopped && stubborn.stopped);
    assert_int_equal(stubborn.status, 128 + SIGKILL);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); // nobody is left
    assert_int_equal(errno, ECHILD);
    seen_clear(&first);
    seen_clear(&stubborn);
    pool_free(pool);
}

static void short_steps_and_evaluations_begin_before_builds(void **state)
{
    (void)state;
    struct pool *pool = pool_new(1);
    struct buf order = {0};
    struct seen seen[3] = {0};
    CLEANUP(buf_clear) struct buf path = {0};
    char folder[] = "/tmp/test-pool-XXXXXX";
    assert_non_null(mkdtemp(folder));
    const char *words[] = {"build", "evaluation", "step"};
    const enum pool_kind kinds[] = {POOL_BUILD, POOL_EVALUATION, POOL_STEP};
    for (int i = 0; i < 3; i++) {
        CLEANUP(buf_clear) struct buf script = {0};
        buf_printf(&script, "echo %s >>%s/order", words[i], folder);
        add(pool, kinds[i], &seen[i], buf_text(&script));
    }
    assert_int_equal(pool_run(pool), 0);
    buf_printf(&path, "%s/order", folder);
    MUST(fs_read(AT_FDCWD, buf_text(&path), 100, &order, &e));
    assert_string_equal(buf_text(&order), "step\nevaluation\nbuild\n");
    MUST(fs_remove_tree(AT_FDCWD, folder, &e));
    buf_clear(&order);
    for (int i = 0; i < 3; i++) {
        seen_clear(&seen[i]);
    }
    pool_free(pool);
}

static void evaluations_begin_as_memory_allows(void **state)
{
    (void)state;
    const uint64_t gib = 1 << 20;
    assert_true(pool_may_evaluate(0, 0)); // one always
    assert_false(pool_may_evaluate(1, 2 * gib - 1));
    assert_true(pool_may_evaluate(1, 2 * gib));
    assert_false(pool_may_evaluate(3, 3 * gib));
    assert_true(pool_may_evaluate(200, UINT64_MAX)); // nobody knows
    assert_true(pool_memory_is_short(gib / 2 - 1));
    assert_false(pool_memory_is_short(gib / 2));
    assert_true(pool_available_kib() > 0);
}

static void jobs_are_a_number(void **state)
{
    (void)state;
    unsigned jobs;
    MUST(jobs_parse(NULL, &jobs, &e));
    assert_int_equal(jobs, 0);
    MUST(jobs_parse("16", &jobs, &e));
    assert_int_equal(jobs, 16);
    const char *const bad[] = {"", "0", "-1", "+1", " 1", "1x", "257", "99999999999999999999"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        MUST_FAIL(jobs_parse(bad[i], &jobs, &e), CODE_USAGE);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, fresh)
    const struct CMUnitTest tests[] = {
        TEST(lines_output_and_status_come_back),
        TEST(no_more_run_than_there_are_jobs),
        TEST(one_that_may_not_begin_or_does_not_exist_says_why),
        TEST(one_is_ended_and_the_others_go_on),
        TEST(stopping_ends_all_and_those_that_wait_never_begin),
        TEST(a_signal_ends_all_also_a_child_that_does_not_want_to),
        TEST(short_steps_and_evaluations_begin_before_builds),
        TEST(evaluations_begin_as_memory_allows),
        TEST(jobs_are_a_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
