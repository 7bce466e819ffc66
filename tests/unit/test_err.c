#include "err.h"

#include "proto_test.h"

#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static void every_code_has_a_name_that_parses_back(void **state)
{
    (void)state;
    for (unsigned i = 0; i < CODE_COUNT; i++) {
        const char *name = code_name((enum code)i);
        enum code code = CODE_COUNT;
        assert_true(strlen(name) > 0 && strlen(code_when((enum code)i)) > 0);
        assert_true(code_parse(name, strlen(name), &code));
        assert_int_equal(code, i);
    }
}

static void no_name_no_prefix_and_no_longer_name_parses(void **state)
{
    (void)state;
    enum code code = CODE_IO;
    assert_false(code_parse("", 0, &code));
    assert_false(code_parse("SIGNE", 5, &code));
    assert_false(code_parse("SIGNERS", 7, &code));
    assert_false(code_parse("signer", 6, &code));
    assert_int_equal(code, CODE_IO);
}

static void set_keeps_code_and_sentence_and_says_false(void **state)
{
    (void)state;
    struct err e;
    errno = ENOENT;
    assert_false(err_set(&e, CODE_IO, "%s: %m", "file"));
    assert_int_equal(e.code, CODE_IO);
    assert_string_equal(e.text, "file: No such file or directory");
}

static void set_may_quote_its_own_old_text(void **state)
{
    (void)state;
    struct err e;
    err_set(&e, CODE_IO, "old");
    err_set(&e, CODE_CONFIG, "new, was: %s", e.text);
    assert_string_equal(e.text, "new, was: old");
}

static void wrap_puts_the_context_in_front_and_keeps_the_code(void **state)
{
    (void)state;
    struct err e;
    err_set(&e, CODE_PATH, "inner");
    assert_false(err_wrap(&e, "ticket of %s", "router"));
    assert_int_equal(e.code, CODE_PATH);
    assert_string_equal(e.text, "ticket of router: inner");
}

static void too_long_sentence_is_cut_and_terminated(void **state)
{
    (void)state;
    struct err e;
    err_set(&e, CODE_IO, "%0600d", 7);
    assert_int_equal(strlen(e.text), sizeof(e.text) - 1);
    err_wrap(&e, "context");
    assert_int_equal(strlen(e.text), sizeof(e.text) - 1);
    assert_memory_equal(e.text, "context: 000", 12);
    err_wrap(&e, "%0600d", 8);
    assert_int_equal(strlen(e.text), sizeof(e.text) - 1);
}

static void failed_assertion_ends_the_process(void **state)
{
    (void)state;
    pid_t pid = fork();
    if (pid == 0) {
        const struct rlimit no_core = {0};
        setrlimit(RLIMIT_CORE, &no_core);
        signal(SIGABRT, SIG_DFL);
        close(STDERR_FILENO);
        ASSERT(state == NULL && "false");
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(!WIFEXITED(status) || WEXITSTATUS(status) != 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_has_a_name_that_parses_back),
        cmocka_unit_test(no_name_no_prefix_and_no_longer_name_parses),
        cmocka_unit_test(set_keeps_code_and_sentence_and_says_false),
        cmocka_unit_test(set_may_quote_its_own_old_text),
        cmocka_unit_test(wrap_puts_the_context_in_front_and_keeps_the_code),
        cmocka_unit_test(too_long_sentence_is_cut_and_terminated),
        cmocka_unit_test(failed_assertion_ends_the_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
