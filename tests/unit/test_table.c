#include "table.h"

#include "bytes.h"

#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include <cmocka.h>

static const struct table_column columns[] = {
    {"machine", .shrink = false}, {"state", .shrink = true}, {"time", .right = true}};

static struct table *two_machines(void)
{
    struct table *table = table_new(columns, 3);
    table_cell(table, "router", COLOR_PLAIN);
    table_cell(table, "up to date 💚", COLOR_GREEN);
    table_cell(table, "2m", COLOR_DIM);
    table_cell(table, "web-1", COLOR_PLAIN);
    table_cell(table, "refused ⛔ SIGNER, and a long story about why that happened to this machine",
        COLOR_RED);
    table_cell(table, "11m 3s", COLOR_DIM);
    return table;
}

// What is printed, in a malloc'ed string.
static char *printed(struct table *table, size_t width, bool color)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    table_print(table, out, width, color);
    fclose(out);
    table_free(table);
    return text;
}

// Columns of the terminal that a line takes.
static int shown_width(const char *line)
{
    wchar_t wide[512];
    size_t n = mbstowcs(wide, line, 512);
    assert_int_not_equal(n, (size_t)-1);
    return wcswidth(wide, n);
}

static void cells_stand_under_their_titles(void **unused)
{
    (void)unused;
    char *text = printed(two_machines(), 0, false);
    char *rest, *line = strtok_r(text, "\n", &rest);
    assert_string_equal(strtok(line, " "), "machine");
    char *first = strtok_r(NULL, "\n", &rest), *second = strtok_r(NULL, "\n", &rest);
    assert_non_null(strstr(first, "router  up to date 💚"));
    assert_non_null(strstr(second, "web-1   refused ⛔ SIGNER"));
    assert_null(strtok_r(NULL, "\n", &rest));
    free(text);
}

static void emoji_count_as_two_columns(void **unused)
{
    (void)unused;
    char *text = printed(two_machines(), 0, false);
    char *rest, *line = strtok_r(text, "\n", &rest);
    int width = shown_width(line);
    assert_true(width > 80); // the long one was not cut
    while ((line = strtok_r(NULL, "\n", &rest)))
        assert_int_equal(
            shown_width(line), width); // the last column is right-aligned: all end together
    free(text);
}

static void narrow_terminal_cuts_only_what_may_be_cut(void **unused)
{
    (void)unused;
    char *text = printed(two_machines(), 50, false);
    assert_non_null(strstr(text, "router"));
    assert_non_null(strstr(text, "11m 3s"));
    assert_non_null(strstr(text, "refused ⛔ SIGNER"));
    assert_null(strstr(text, "to this machine"));
    char *rest;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        assert_true(shown_width(line) <= 50);
    free(text);
}

static const struct table_column some_may_go[] = {{"machine", .leave = 0}, {"local", .leave = 3},
    {"remote", .leave = 1}, {"state", .shrink = true}, {"heard", .leave = 2}};

static char *titles_at(size_t width)
{
    struct table *table = table_new(some_may_go, 5);
    for (size_t i = 0; i < 5; i++)
        table_cell(table, "0123456789", COLOR_PLAIN);
    char *text = printed(table, width, false), *rest;
    char *titles = xstrdup(strtok_r(text, "\n", &rest));
    assert_true(!width || shown_width(strtok_r(NULL, "\n", &rest)) <= (int)width);
    free(text);
    size_t len = 0;
    for (const char *c = titles; *c; c++) // one blank between them
        if (*c != ' ' || (len && titles[len - 1] != ' '))
            titles[len++] = *c;
    titles[len] = '\0';
    return titles;
}

static void narrow_terminal_leaves_out_what_matters_least(void **unused)
{
    (void)unused;
    static const struct {
        size_t width;
        const char *titles;
    } rows[] = {{0, "machine local remote state heard"}, {54, "machine local remote state heard"},
        {53, "machine remote state heard"}, {42, "machine remote state"}, {31, "machine state"},
        {20, "machine state"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *titles = titles_at(rows[i].width);
        assert_string_equal(titles, rows[i].titles);
        free(titles);
    }
}

static void assert_wrapped(const char *text, size_t width, const char *expected)
{
    struct buf out = {0};
    table_wrap(bytes_of_text(text), width, &out);
    assert_string_equal(buf_text(&out), expected);
    buf_clear(&out);
}

static void long_lines_go_on_further_in(void **unused)
{
    (void)unused;
    assert_wrapped("  one two three\nfour\n", 0, "  one two three\nfour\n");
    assert_wrapped("  one two three\nfour\n", 15, "  one two three\nfour\n");
    assert_wrapped("  one two three\nfour\n", 14, "  one two\n    three\nfour\n");
    assert_wrapped("a 💚💚 b\n", 7, "a 💚💚\n  b\n");
    assert_wrapped("averylongword b\n", 4, "averylongword\n  b\n");
    assert_wrapped("", 4, "");
    assert_wrapped("a\n\nb", 4, "a\n\nb\n");
}

static void colours_come_only_when_asked_for(void **unused)
{
    (void)unused;
    char *plain = printed(two_machines(), 0, false), *colored = printed(two_machines(), 0, true);
    assert_null(strchr(plain, '\033'));
    assert_non_null(strstr(colored, "\033[31mrefused"));
    free(plain);
    free(colored);
}

static void control_characters_are_escaped(void **unused)
{
    (void)unused;
    struct table *table = table_new(columns, 3);
    table_cell(table, "a", COLOR_PLAIN);
    table_cell(table, "x\033[2Jy", COLOR_PLAIN);
    table_cell(table, "", COLOR_PLAIN);
    char *text = printed(table, 0, false);
    assert_null(strchr(text, '\033'));
    assert_non_null(strstr(text, "\\x1b[2Jy"));
    free(text);
}

static void emoji_survive_the_c_locale(void **unused)
{
    (void)unused;
    setenv("LC_ALL", "C", 1);
    setlocale(LC_CTYPE, "C");
    char *text = printed(two_machines(), 0, false);
    unsetenv("LC_ALL");
    assert_non_null(strstr(text, "💚"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cells_stand_under_their_titles),
        cmocka_unit_test(emoji_count_as_two_columns),
        cmocka_unit_test(narrow_terminal_cuts_only_what_may_be_cut),
        cmocka_unit_test(narrow_terminal_leaves_out_what_matters_least),
        cmocka_unit_test(long_lines_go_on_further_in),
        cmocka_unit_test(colours_come_only_when_asked_for),
        cmocka_unit_test(control_characters_are_escaped),
        cmocka_unit_test(emoji_survive_the_c_locale),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
