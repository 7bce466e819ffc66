// What systemd is asked, and what its answers mean.
#include "unit.h"

#include "rt_test.h"

static const struct job_key key = {.digest = {0x0a, 0x1b, 0x2c, 0x3d, 0x4e}, .attempt = 7};

static bool has(const struct words *words, const char *word)
{
    for (size_t i = 0; i < words->count; i++) {
        if (strcmp(words->at[i], word) == 0) {
            return true;
        }
    }
    return false;
}

static bool has_start(const struct words *words, const char *start)
{
    for (size_t i = 0; i < words->count; i++) {
        if (strncmp(words->at[i], start, strlen(start)) == 0) {
            return true;
        }
    }
    return false;
}

static struct words words_of(const struct job_spec *spec, const char *const *wrapper)
{
    struct words words = {0};
    unit_run_words("bento-x", spec, wrapper, &words);
    assert_null(words.at[words.count]);
    return words;
}

static void name_says_kind_digest_and_attempt(void **state)
{
    (void)state;
    const struct job_spec spec = {.kind = JOB_TRY, .key = key};
    char name[JOB_UNIT_BYTES];
    unit_name(&spec, 0x5e6f, name);
    assert_string_equal(name, "bento-try-0a1b2c3d-7-00005e6f");
}

static void service_has_no_timer(void **state)
{
    (void)state;
    const struct job_spec spec = {.kind = JOB_TRY, .limit_ms = 600000};
    struct words words = words_of(&spec, (const char *const[]){"/self", "job", NULL});
    assert_string_equal(words.at[0], "systemd-run");
    assert_true(has(&words, "--unit=bento-x"));
    assert_true(has(&words, "--property=RuntimeMaxSec=630"));
    assert_false(has_start(&words, "--on-"));
    assert_false(has_start(&words, "--timer-property"));
    assert_string_equal(words.at[words.count - 3], "--");
    assert_string_equal(words.at[words.count - 2], "/self");
    words_clear(&words);
}

static void delay_and_calendar_make_an_accurate_timer(void **state)
{
    (void)state;
    const struct job_spec later = {.delay_ms = 1500}, daily = {.calendar = "03:00"};
    struct words words = words_of(&later, (const char *const[]){"/self", NULL});
    assert_true(has(&words, "--on-active=1500ms"));
    assert_true(has(&words, "--timer-property=AccuracySec=1s"));
    words_clear(&words);
    words = words_of(&daily, (const char *const[]){"/self", NULL});
    assert_true(has(&words, "--on-calendar=03:00"));
    assert_true(has(&words, "--timer-property=AccuracySec=1s"));
    words_clear(&words);
}

static void dollars_are_not_systemds_to_replace(void **state)
{
    (void)state;
    const struct job_spec spec = {.kind = JOB_TRY};
    struct words words =
        words_of(&spec, (const char *const[]){"/self", "$HOME", "a$$", "${x} %n", NULL});
    assert_string_equal(words.at[words.count - 3], "$$HOME");
    assert_string_equal(words.at[words.count - 2], "a$$$$");
    assert_string_equal(words.at[words.count - 1], "$${x} %n");
    words_clear(&words);
}

static void answers_are_understood(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum unit_state state;
    } answers[] = {
        {"", UNIT_SILENT},
        {"rubbish\n", UNIT_SILENT},
        {"Id=x.timer\nActiveState=inactive\n\nId=x.service\nActiveState=inactive\n", UNIT_ABSENT},
        {"Id=x.timer\nActiveState=inactive\n\nId=x.service\nActiveState=failed\n", UNIT_ABSENT},
        {"Id=x.timer\nActiveState=active\n\nId=x.service\nActiveState=inactive\n", UNIT_WAITS},
        {"Id=x.timer\nActiveState=inactive\n\nId=x.service\nActiveState=activating\n", UNIT_RUNS},
        {"Id=x.timer\nActiveState=active\n\nId=x.service\nActiveState=active\n", UNIT_RUNS},
        {"Id=x.service\nActiveState=deactivating", UNIT_RUNS},
    };
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        assert_int_equal(unit_answer(bytes_of_text(answers[i].text)), answers[i].state);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(name_says_kind_digest_and_attempt),
        cmocka_unit_test(service_has_no_timer),
        cmocka_unit_test(delay_and_calendar_make_an_accurate_timer),
        cmocka_unit_test(dollars_are_not_systemds_to_replace),
        cmocka_unit_test(answers_are_understood),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
