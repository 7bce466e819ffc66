// Wave specs against a fleet: what they say, and what is wrong with them.
#include "waves.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

// By node_id: db, hub, laptop, web-1, web-2.
static struct fleet_node nodes[] = {
    {.name = "db", .node_id = {1}, .tag_count = 1, .tags = {"canary"}},
    {.name = "hub", .node_id = {2}},
    {.name = "laptop", .node_id = {3}, .tag_count = 1, .tags = {"canary"}},
    {.name = "web-1", .node_id = {5}, .tag_count = 1, .tags = {"web"}},
    {.name = "web-2", .node_id = {4}, .tag_count = 1, .tags = {"web"}},
};
#define NODES 5
static struct fleet fleet = {.node_count = NODES, .nodes = nodes};

static void choose(const char *digits, bool *chosen)
{
    for (size_t i = 0; i < NODES; i++)
        chosen[i] = digits[i] == '1';
}

// The waves as digits, one a node, with a comma between them.
static void gives(const char *digits, const char *spec, const char *expected)
{
    struct waves waves;
    struct err e;
    bool chosen[NODES];
    char text[64] = "", *at = text;
    choose(digits, chosen);
    if (!waves_parse(&fleet, chosen, spec, &waves, &e))
        fail_msg("%s", e.text);
    for (size_t i = 0; i < waves.count; i++) {
        size_t size = 0;
        *at = ',';
        at += i > 0;
        for (size_t j = 0; j < NODES; j++) {
            *at++ = waves.list[i].members[j] ? '1' : '0';
            size += waves.list[i].members[j];
        }
        assert_int_equal(waves.list[i].size, size);
    }
    *at = '\0';
    assert_string_equal(text, expected);
    waves_clear(&waves);
}

static void refuses(const char *digits, const char *spec, const char *needle)
{
    struct waves waves;
    struct err e;
    bool chosen[NODES];
    choose(digits, chosen);
    assert_false(waves_parse(&fleet, chosen, spec, &waves, &e));
    if (!strstr(e.text, needle))
        fail_msg("`%s` does not say: %s", e.text, needle);
}

static void without_a_spec_all_go_at_once(void **state)
{
    (void)state;
    gives("11111", NULL, "11111");
    gives("01010", NULL, "01010");
}

static void tag_glob_name_and_rest_take_what_is_left(void **state)
{
    (void)state;
    gives("11111", "@canary,rest", "10100,01011");
    gives("11111", "web-1,@web,rest", "00010,00001,11100");
    gives("11111", "web-*,*", "00011,11100");
    gives("01111", "@canary,rest", "00100,01011");
}

static void percentage_is_of_all_chosen_and_rounded_up(void **state)
{
    (void)state;
    gives("11111", "1%,rest", "10000,01111");
    gives("11111", "20%,20%,rest", "10000,01000,00111");
    gives("11111", "21%,rest", "11000,00111");
    gives("11111", "@canary,40%,rest", "10100,01001,00010"); // by node_id: hub and web-2
    gives("00011", "50%,50%", "00001,00010");
    gives("11111", "100%", "11111");
}

static void brokers_machine_goes_last_and_alone(void **state)
{
    (void)state;
    fleet.broker_host = "hub";
    gives("11111", NULL, "10111,01000");
    gives("11111", "@canary,rest", "10100,00011,01000");
    gives("11111", "50%,rest", "10101,00010,01000");
    gives("01000", NULL, "01000");
    gives("10111", NULL, "10111");
    refuses("11111", "hub,rest", "goes last by itself");
    fleet.broker_host = "hubb";
    refuses("11111", NULL, "no node is called hubb");
    fleet.broker_host = NULL;
}

static void waves_are_joined_and_dropped(void **state)
{
    (void)state;
    struct waves waves;
    struct err e;
    const bool chosen[NODES] = {true, true, true, true, true};
    assert_true(waves_parse(&fleet, chosen, "db,hub,rest", &waves, &e));
    waves_join_last(&waves);
    assert_int_equal(waves.count, 2);
    assert_int_equal(waves.list[1].size, 4);
    assert_true(waves.list[1].members[4]);
    waves_drop_last(&waves);
    assert_int_equal(waves.count, 1);
    assert_int_equal(waves.list[0].size, 1);
    waves_clear(&waves);
}

static void what_is_wrong_is_named(void **state)
{
    (void)state;
    refuses("11111", "@canry,rest", "did you mean @canary?");
    refuses("11111", "lapto,rest", "did you mean laptop?");
    refuses("11111", "@canary,@canary,rest", "`@canary` is an empty wave");
    refuses("01011", "@canary,rest", "`@canary` is an empty wave");
    refuses("11111", "100%,rest", "`rest` is an empty wave");
    refuses("11111", "@canary", "hub, web-1, web-2: in no wave");
    refuses("11111", "0%,rest", "from 1% to 100%");
    refuses("11111", "101%,rest", "from 1% to 100%");
    refuses("11111", "%,rest", "%: no host");
    refuses("11111", "-5%,rest", "-5%: no host");
    refuses("11111", "", "nothing");
    refuses("11111", "@canary,,rest", "nothing");
    refuses("11111", "rest,", "nothing");
}

static void names_are_counted_beyond_some(void **state)
{
    (void)state;
    const bool set[NODES] = {true, false, true, true, true};
    struct buf text = {0};
    name_hosts(&fleet, set, 2, &text);
    assert_string_equal(buf_text(&text), "db, laptop and 2 more");
    buf_clear(&text);
    name_hosts(&fleet, set, 4, &text);
    assert_string_equal(buf_text(&text), "db, laptop, web-1, web-2");
    buf_clear(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_spec_all_go_at_once),
        cmocka_unit_test(tag_glob_name_and_rest_take_what_is_left),
        cmocka_unit_test(percentage_is_of_all_chosen_and_rounded_up),
        cmocka_unit_test(brokers_machine_goes_last_and_alone),
        cmocka_unit_test(waves_are_joined_and_dropped),
        cmocka_unit_test(what_is_wrong_is_named),
        cmocka_unit_test(names_are_counted_beyond_some),
    };
    unsetenv("NAME");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
