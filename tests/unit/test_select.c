// HOST, GLOB, @TAG and NAME=host.
#include "select.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct fleet_node nodes[] = {
    {.name = "laptop", .tag_count = 1, .tags = {"home"}},
    {.name = "web-1", .tag_count = 2, .tags = {"edge", "web"}},
    {.name = "web-2", .tag_count = 1, .tags = {"web"}},
};
static const struct fleet fleet = {.node_count = 3, .nodes = nodes};

static char *const *words_of(const char *a, const char *b)
{
    static char text[2][32];
    static char *words[2] = {text[0], text[1]};
    strcpy(text[0], a);
    strcpy(text[1], b);
    return words;
}

// chosen as digits: "101"
static void selects(const char *a, const char *b, const char *expected)
{
    bool chosen[3];
    struct err e;
    assert_true(select_nodes(&fleet, words_of(a, b), *b ? 2 : *a ? 1 : 0, chosen, &e));
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(chosen[i], expected[i] == '1');
    }
}

static void refuses(const char *word, const char *needle)
{
    bool chosen[3];
    struct err e;
    assert_false(select_nodes(&fleet, words_of(word, ""), 1, chosen, &e));
    assert_int_equal(e.code, CODE_USAGE);
    assert_non_null(strstr(e.text, needle));
}

static void nothing_named_is_everything(void **state)
{
    (void)state;
    selects("", "", "111");
}

static void names_globs_and_tags_add_up(void **state)
{
    (void)state;
    selects("laptop", "", "100");
    selects("web-*", "", "011");
    selects("@edge", "laptop", "110");
    selects("@web", "web-1", "011");
}

static void typo_is_told_the_nearest_name(void **state)
{
    (void)state;
    refuses("laptp", "did you mean laptop?");
    refuses("@edeg", "did you mean @edge?");
    refuses("nowhere", "no host");
    refuses("db-*", "no host");
}

static void name_in_the_environment_restricts(void **state)
{
    (void)state;
    bool chosen[3];
    struct err e;
    setenv("NAME", "web-2", 1);
    selects("", "", "001");
    selects("laptop", "", "100");
    setenv("NAME", "web", 1);
    assert_false(select_nodes(&fleet, NULL, 0, chosen, &e));
    unsetenv("NAME");
}

int main(void)
{
    unsetenv("NAME");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_named_is_everything),
        cmocka_unit_test(names_globs_and_tags_add_up),
        cmocka_unit_test(typo_is_told_the_nearest_name),
        cmocka_unit_test(name_in_the_environment_restricts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
