#include "log.h"

#include "rt_test.h"

static void escaped_as(const char *text, const char *wanted)
{
    char out[200];
    assert_int_equal(log_escape(text, out, sizeof out), strlen(wanted));
    assert_string_equal(out, wanted);
}

static void plain_text_and_utf8_stay(void **state)
{
    (void)state;
    escaped_as("release=43 took_ms=812", "release=43 took_ms=812");
    escaped_as("schön 💚 € ÿ", "schön 💚 € ÿ");
}

static void control_characters_are_escaped(void **state)
{
    (void)state;
    escaped_as("a\nb\r\t\x1b[31m\x7f", "a\\x0ab\\x0d\\x09\\x1b[31m\\x7f");
    escaped_as("\xc2\x9b"
               "31m",
        "\\xc2\\x9b31m"); // CSI of 8-bit terminals
    escaped_as("\xe2\x80\xae"
               "gpj",
        "\\xe2\\x80\\xaegpj");                     // right-to-left override
    escaped_as("\xe2\x80\xa8", "\\xe2\\x80\\xa8"); // line separator
}

static void invalid_utf8_is_escaped(void **state)
{
    (void)state;
    escaped_as("\xff", "\\xff");
    escaped_as("\xc3", "\\xc3");          // cut
    escaped_as("\xc0\xaf", "\\xc0\\xaf"); // overlong /
    escaped_as("\xe0\x80\xaf", "\\xe0\\x80\\xaf");
    escaped_as("\xed\xa0\x80", "\\xed\\xa0\\x80");          // surrogate
    escaped_as("\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"); // past U+10FFFF
    escaped_as("\xe2\x82", "\\xe2\\x82");
}

static void text_past_its_room_is_cut_between_characters(void **state)
{
    (void)state;
    // Every room: never past the end, NUL-terminated, no half character or half escape before the
    // mark.
    const char *text = "ab\n💚c\x01ö…xyz";
    char whole[100];
    size_t whole_len = log_escape(text, whole, sizeof whole);
    for (size_t room = 4; room < sizeof whole; room++) {
        char *out = malloc(room); // so that the sanitizer sees one byte too many
        size_t len = log_escape(text, out, room);
        assert_true(len < room);
        assert_int_equal(strlen(out), len);
        if (room > whole_len) {
            assert_string_equal(out, whole);
        } else {
            assert_string_equal(out + len - 3, "...");
            assert_int_equal(memcmp(out, whole, len - 3), 0);
            assert_true(((unsigned char)whole[len - 3] & 0xc0) != 0x80);
        }
        free(out);
    }
}

static void print_levels(void *context)
{
    setenv("BENTO_LOG", context, 1);
    unsetenv("JOURNAL_STREAM");
    log_open();
    log_err("one");
    log_warning("two");
    log_info("three");
    log_debug("four");
}

static void level_comes_from_the_environment(void **state)
{
    (void)state;
    static const char *const levels[] = {"err", "warning", "info", "debug", "nonsense"};
    static const char *const wanted[] = {
        "one\n", "one\ntwo\n", "one\ntwo\nthree\n", "one\ntwo\nthree\nfour\n", "one\ntwo\nthree\n"};
    for (size_t i = 0; i < 5; i++) {
        struct buf out = {0}, err = {0};
        char level[16];
        strcpy(level, levels[i]);
        assert_int_equal(run_apart(print_levels, level, &out, &err), 0);
        assert_string_equal(buf_text(&err), wanted[i]);
        assert_int_equal(out.len, 0);
        buf_clear(&out);
        buf_clear(&err);
    }
}

static void print_for_journal(void *context)
{
    struct stat st;
    char stream[64];
    fstat(STDERR_FILENO, &st);
    snprintf(stream, sizeof stream, "%llu:%llu", (unsigned long long)st.st_dev,
        (unsigned long long)st.st_ino + (context != NULL));
    setenv("JOURNAL_STREAM", stream, 1);
    unsetenv("BENTO_LOG");
    log_open();
    log_err("applied");
    log_info("release=%d", 43);
}

static void prefixes_only_when_stderr_is_the_journal(void **state)
{
    (void)state;
    struct buf out = {0}, err = {0};
    assert_int_equal(run_apart(print_for_journal, NULL, &out, &err), 0);
    assert_string_equal(buf_text(&err), "<3>applied\n<6>release=43\n");
    err.len = 0;
    char another[] = "other";
    assert_int_equal(run_apart(print_for_journal, another, &out, &err), 0);
    assert_string_equal(buf_text(&err), "applied\nrelease=43\n");
    buf_clear(&out);
    buf_clear(&err);
}

static void print_long(void *context)
{
    (void)context;
    char text[9000];
    memset(text, '\n', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    log_open();
    log_err("%s", text);
}

static void long_line_is_one_line_of_2_kib(void **state)
{
    (void)state;
    struct buf out = {0}, err = {0};
    assert_int_equal(run_apart(print_long, NULL, &out, &err), 0);
    assert_true(err.len > 2000 && err.len <= 2049);
    assert_ptr_equal(memchr(err.at, '\n', err.len), err.at + err.len - 1);
    buf_clear(&out);
    buf_clear(&err);
}

static void print_limited(void *context)
{
    (void)context;
    log_open();
    struct log_limit limit = {.burst = 5, .seconds = 60};
    for (int i = 0; i < 100; i++) {
        if (log_allowed(&limit, "garbage"))
            log_warning("line=%d", i);
    }
    limit.window_s -= 60; // a minute later
    if (log_allowed(&limit, "garbage"))
        log_warning("again");
}

static void burst_then_silence_then_a_count(void **state)
{
    (void)state;
    struct buf out = {0}, err = {0};
    assert_int_equal(run_apart(print_limited, NULL, &out, &err), 0);
    assert_string_equal(buf_text(&err), "line=0\nline=1\nline=2\nline=3\nline=4\n"
                                        "left_out what=garbage lines=95 seconds=60\nagain\n");
    buf_clear(&out);
    buf_clear(&err);
}

int main(void)
{
    unsetenv("BENTO_LOG");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_text_and_utf8_stay),
        cmocka_unit_test(control_characters_are_escaped),
        cmocka_unit_test(invalid_utf8_is_escaped),
        cmocka_unit_test(text_past_its_room_is_cut_between_characters),
        cmocka_unit_test(level_comes_from_the_environment),
        cmocka_unit_test(prefixes_only_when_stderr_is_the_journal),
        cmocka_unit_test(long_line_is_one_line_of_2_kib),
        cmocka_unit_test(burst_then_silence_then_a_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
