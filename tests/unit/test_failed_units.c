#include "failed_units.h"

#include "node_test.h"

static void only_what_failed_newly_counts(void **state)
{
    (void)state;
    static const struct {
        const char *before, *after, *added;
    } rows[] = {
        {"", "", ""},
        {"old.service\n", "old.service\n", ""},
        {"old.service\n", "", ""},
        {"", "a.service\nb.timer\n", "a.service b.timer"},
        {"a.service\n", "a.service\na.service2\n", "a.service2"},
        {"a.service\nb.service\n", "b.service\nc.service\n", "c.service"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buf before = {0}, after = {0}, added = {0};
        buf_append_text(&before, rows[i].before);
        buf_append_text(&after, rows[i].after);
        units_added(&before, &after, &added);
        assert_string_equal(buf_text(&added), rows[i].added);
        buf_clear(&before);
        buf_clear(&after);
        buf_clear(&added);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_what_failed_newly_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
