// What stands on the terminal while hosts are built.
#include "progress.h"

#include "rt_test.h"

static struct progress_row rows[50];
static char names[50][8];
static struct buf drawn;
static struct progress_look look;

static int many_hosts(void **state)
{
    (void)state;
    memset(rows, 0, sizeof(rows));
    for (int i = 0; i < 50; i++) {
        snprintf(names[i], sizeof(names[i]), "host%02d", i);
        rows[i].name = names[i];
    }
    look = (struct progress_look){
        .what = "hosts", .width = 80, .height = 24, .now_ms = 65000, .since_ms = 0};
    return 0;
}

static int wipe(void **state)
{
    (void)state;
    buf_clear(&drawn);
    return 0;
}

static void works(size_t row, const char *phase, uint64_t since_ms, const char *line)
{
    rows[row].phase = phase;
    rows[row].since_ms = since_ms;
    snprintf(rows[row].line, sizeof(rows[row].line), "%s", line);
}

static const char *draw(size_t count)
{
    buf_clear(&drawn);
    progress_render(rows, count, &look, &drawn);
    return buf_text(&drawn);
}

static void assert_draws(size_t count, const char *wanted)
{
    assert_string_equal(draw(count), wanted);
}

static void each_host_has_a_line_with_phase_time_and_log(void **state)
{
    (void)state;
    works(0, "building", 60000, "gcc -O2 a.c");
    works(1, "evaluating", 0, "");
    assert_draws(3, "⠋ host00  building       5s  gcc -O2 a.c\n"
                    "⠋ host01  evaluating  1m05s  \n"
                    "  host02  waiting   \n"
                    "0 of 3 hosts done, 2 running, 1 waiting  1m05s\n");
}

static void those_that_work_come_first_and_the_finished_are_gone(void **state)
{
    (void)state;
    rows[0].over = rows[1].over = rows[1].failed = true;
    works(3, "building", 64000, "");
    assert_draws(4, "⠋ host03  building       1s  \n"
                    "  host02  waiting   \n"
                    "1 of 4 hosts done, 1 failed, 1 running, 1 waiting  1m05s\n");
}

static void fifty_hosts_fit_a_small_terminal(void **state)
{
    (void)state;
    char line[PROGRESS_LINE_BYTES];
    memset(line, 'x', sizeof(line) - 1);
    line[sizeof(line) - 1] = 0;
    for (size_t i = 0; i < 50; i++) {
        works(i, "building", 0, line);
    }
    for (unsigned width = 1; width < 120; width++) {
        for (unsigned height = 3; height < 60; height += 7) {
            look.width = width, look.height = height;
            const char *text = draw(50);
            unsigned lines = progress_height(text, width);
            assert_true(lines == progress_height(text, 10000)); // nothing wraps
            assert_true(lines < height);
        }
    }
    look.width = 80, look.height = 24;
    assert_contains(draw(50), "(28 not shown)  1m05s\n");
}

static void wide_characters_do_not_pass_the_edge(void **state)
{
    (void)state;
    works(0, "building", 65000, "日本語日本語");
    look.width = 32;
    assert_draws(1, "⠋ host00  building       0s  日\n"
                    "0 of 1 hosts done, 1 running, 0\n");
}

static void colours_take_no_room(void **state)
{
    (void)state;
    works(0, "building", 65000, "text");
    look.colour = true;
    const char *text = draw(1);
    assert_contains(text, "\033[");
    assert_int_equal(progress_height(text, 42), 3); // 41 columns and 45: the sum wraps
    assert_int_equal(progress_height(text, 80), 2);
}

static void a_narrower_terminal_has_wrapped_what_was_drawn(void **state)
{
    (void)state;
    assert_int_equal(progress_height("", 80), 0);
    assert_int_equal(progress_height("\n", 80), 1);
    assert_int_equal(progress_height("1234567890\n", 10), 1);
    assert_int_equal(progress_height("1234567890\n123\n", 4), 4);
}

static void assert_clean(const char *line, const char *wanted)
{
    CLEANUP(buf_clear) struct buf out = {0};
    progress_clean(bytes_of_text(line), &out);
    assert_string_equal(buf_text(&out), wanted);
}

static void log_lines_cannot_move_the_cursor(void **state)
{
    (void)state;
    assert_clean("\033[1;31merror:\033[0m no", "error: no");
    assert_clean("\033]0;title\007text\033]8;;x\033\\end", "textend");
    assert_clean("10%\r20%\r30%", "30%");
    assert_clean("done\r", "done");
    assert_clean("a\tb\bc\177d", "a bcd");
    assert_clean("grün ✓", "grün ✓");
    assert_clean("\xff\xc3[\xe2\x82", "??[??");
    assert_clean("a\u202egnp.exe", "agnp.exe");
    assert_clean("\033[", "");
    assert_clean("\033", "");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, many_hosts, wipe)
    const struct CMUnitTest tests[] = {
        TEST(each_host_has_a_line_with_phase_time_and_log),
        TEST(those_that_work_come_first_and_the_finished_are_gone),
        TEST(fifty_hosts_fit_a_small_terminal),
        TEST(wide_characters_do_not_pass_the_edge),
        TEST(colours_take_no_room),
        TEST(a_narrower_terminal_has_wrapped_what_was_drawn),
        TEST(log_lines_cannot_move_the_cursor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
