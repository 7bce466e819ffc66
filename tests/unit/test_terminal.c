// What a program takes its output for.
#include "terminal.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cmocka.h>

static void pipe_has_no_width_and_no_colour(void **unused)
{
    (void)unused;
    setenv("TERM", "xterm", 1);
    FILE *file = tmpfile();
    assert_int_equal(terminal_size(file).width, 0);
    assert_false(terminal_may_draw(file));
    assert_false(terminal_may_color(file));
    fclose(file);
}

static void terminal_has_colours_unless_told_otherwise(void **unused)
{
    (void)unused;
    int control = posix_openpt(O_RDWR | O_NOCTTY);
    assert_true(control >= 0 && grantpt(control) == 0 && unlockpt(control) == 0);
    FILE *terminal = fopen(ptsname(control), "r+");
    assert_non_null(terminal);
    struct winsize size = {.ws_col = 123, .ws_row = 40};
    assert_int_equal(ioctl(control, TIOCSWINSZ, &size), 0);
    assert_int_equal(terminal_size(terminal).width, 123);
    assert_int_equal(terminal_size(terminal).height, 40);
    unsetenv("NO_COLOR");
    setenv("TERM", "xterm", 1);
    assert_true(terminal_may_color(terminal));
    setenv("NO_COLOR", "", 1);
    assert_true(terminal_may_color(terminal));
    setenv("NO_COLOR", "1", 1);
    assert_false(terminal_may_color(terminal));
    assert_true(terminal_may_draw(terminal));
    unsetenv("NO_COLOR");
    setenv("TERM", "dumb", 1);
    assert_false(terminal_may_color(terminal));
    assert_false(terminal_may_draw(terminal));
    fclose(terminal);
    close(control);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pipe_has_no_width_and_no_colour),
        cmocka_unit_test(terminal_has_colours_unless_told_otherwise),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
