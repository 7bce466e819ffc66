#include "reboot.h"

#include "node_test.h"

static void policy_is_read_from_its_text(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum reboot_policy policy;
        bool kexec;
        const char *calendar;
    } rows[] = {
        {"", REBOOT_BY_HAND, false, ""},
        {"when-needed", REBOOT_WHEN_NEEDED, false, ""},
        {"kexec", REBOOT_WHEN_NEEDED, true, ""},
        {"kexec when-needed", REBOOT_WHEN_NEEDED, true, ""},
        {"03:30", REBOOT_CALENDAR, false, "03:30"},
        {"Sun *-*-* 03:30", REBOOT_CALENDAR, false, "Sun *-*-* 03:30"},
        {"kexec Sun 03:30", REBOOT_CALENDAR, true, "Sun 03:30"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct reboot reboot = reboot_parse(bytes_of_text(rows[i].text));
        assert_int_equal(reboot.policy, rows[i].policy);
        assert_int_equal(reboot.kexec, rows[i].kexec);
        assert_true(bytes_equal_text(reboot.calendar, rows[i].calendar));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(policy_is_read_from_its_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
