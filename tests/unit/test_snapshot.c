#include "snapshot.h"

#include "rt_test.h"

static struct buf out;

static const char *text(const char *raw, size_t max)
{
    buf_clear(&out);
    snapshot_text(bytes_of_text(raw), max, &out);
    return buf_text(&out);
}

static void lines_and_letters_stay(void **state)
{
    (void)state;
    assert_string_equal(text("a\tb\n\xc3\xa4\xe2\x82\xac\xf0\x9f\x92\x9a", 100),
        "a\tb\n\xc3\xa4\xe2\x82\xac\xf0\x9f\x92\x9a");
    assert_string_equal(text("", 100), "");
}

static void colours_go(void **state)
{
    (void)state;
    assert_string_equal(text("\x1b[31;1merror:\x1b[0m x", 100), "error: x");
    assert_string_equal(text("\x1b[m", 100), "");
}

static void what_is_no_text_becomes_a_question_mark(void **state)
{
    (void)state;
    assert_string_equal(text("\x1b[2J\x1b[31", 100), "?[2J?[31");
    assert_string_equal(text("a\xff\x80z\xc3", 100), "a??z?");
    assert_string_equal(text("\xed\xa0\x80\xc0\xaf", 100), "?????"); // a surrogate, an overlong /
    assert_string_equal(text("\x7f\xc2\x9b\r\x01", 100), "?????");
    snapshot_text(bytes_of("\0", 1), 100, &out);
    assert_string_equal(buf_text(&out), "??????");
}

static void end_is_kept_from_the_start_of_a_line(void **state)
{
    (void)state;
    assert_string_equal(text("one\ntwo\nthree\n", 8), "three\n");
    assert_string_equal(text("one\ntwo\nthree\n", 14), "one\ntwo\nthree\n");
    assert_string_equal(text("onelongline", 4), "line");
    assert_string_equal(text("onelongline\n", 5), "line\n");
    assert_string_equal(text("\xc3\xa4\xc3\xa4\xc3\xa4", 3), "\xc3\xa4");
    assert_string_equal(text("\x1b[31mab", 2), "ab");
}

static int end(void **state)
{
    (void)state;
    buf_clear(&out);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_and_letters_stay),
        cmocka_unit_test(colours_go),
        cmocka_unit_test(what_is_no_text_becomes_a_question_mark),
        cmocka_unit_test(end_is_kept_from_the_start_of_a_line),
    };
    return cmocka_run_group_tests(tests, NULL, end);
}
