// What runs, read from links as NixOS keeps them.
#include "system.h"

#include "node_test.h"

static char machine[64]; // the folder of the test

static void make_dir(const struct folder *folder, const char *name)
{
    assert_int_equal(mkdirat(folder->fd, name, 0755), 0);
}

static void make_link(const struct folder *folder, const char *name, const char *target)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", folder->path, target);
    unlinkat(folder->fd, name, 0);
    assert_int_equal(symlinkat(path, folder->fd, name), 0);
}

static const char *in(const char *name)
{
    static char paths[8][PATH_MAX];
    static unsigned turn;
    char *here = paths[turn++ % 8];
    snprintf(here, PATH_MAX, "%s/%s", machine, name);
    return here;
}

// Two toplevels with a specialisation each; the first is installed and booted.
static void make_machine(const struct folder *folder, struct config *config)
{
    static const char *const dirs[] = {
        "one", "one/specialisation", "one-quiet", "two", "two/specialisation", "two-quiet"};
    snprintf(machine, sizeof machine, "%s", folder->path);
    for (size_t i = 0; i < sizeof dirs / sizeof dirs[0]; i++) {
        make_dir(folder, dirs[i]);
    }
    make_link(folder, "one/specialisation/quiet", "one-quiet");
    make_link(folder, "two/specialisation/quiet", "two-quiet");
    make_link(folder, "profile", "one");
    make_link(folder, "booted", "one");
    make_link(folder, "current", "one");
    config_in(folder->path, config);
    config->profile = in("profile");
    config->booted_system = in("booted");
    config->current_system = in("current");
}

static void look(
    const struct config *config, const char *const *toplevels, struct system_facts *facts)
{
    system_look(config, toplevels, facts);
    assert_false(bytes_are_zero(facts->boot_id, sizeof facts->boot_id));
}

static void specialisation_of_the_profile_counts_as_its_parent(void **state)
{
    struct folder *folder = *state;
    struct config config;
    struct system_facts facts;
    make_machine(folder, &config);
    look(&config, NULL, &facts);
    assert_string_equal(facts.running, in("one"));
    assert_string_equal(facts.specialisation, "");
    make_link(folder, "current", "one-quiet");
    look(&config, NULL, &facts);
    assert_string_equal(facts.running, in("one"));
    assert_string_equal(facts.specialisation, "quiet");
}

static void specialisation_of_a_named_toplevel_counts_as_its_parent(void **state)
{
    struct folder *folder = *state;
    struct config config;
    struct system_facts facts;
    make_machine(folder, &config);
    make_link(folder, "current", "two-quiet");
    look(&config, NULL, &facts);
    assert_string_equal(facts.running, in("two-quiet")); // of nobody that we know
    const char *const toplevels[] = {"", in("two"), NULL};
    look(&config, toplevels, &facts);
    assert_string_equal(facts.running, in("two"));
    assert_string_equal(facts.specialisation, "quiet");
}

static void variant_is_the_specialisation_where_there_is_one(void **state)
{
    struct folder *folder = *state;
    struct config config;
    char path[PATH_MAX];
    make_machine(folder, &config);
    system_variant(in("two"), "quiet", path);
    assert_string_equal(path, in("two-quiet"));
    system_variant(in("two"), "gone", path);
    assert_string_equal(path, in("two"));
    system_variant(in("two"), "", path);
    assert_string_equal(path, in("two"));
}

static void another_kernel_needs_a_reboot(void **state)
{
    struct folder *folder = *state;
    struct config config;
    struct system_facts facts;
    make_machine(folder, &config);
    put_file(folder->fd, "linux-1", "", 0644);
    put_file(folder->fd, "linux-2", "", 0644);
    make_link(folder, "one/kernel", "linux-1");
    make_link(folder, "two/kernel", "linux-1");
    make_link(folder, "profile", "two");
    look(&config, NULL, &facts);
    assert_false(facts.reboot);
    make_link(folder, "two/kernel", "linux-2");
    look(&config, NULL, &facts);
    assert_true(facts.reboot);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_folder(specialisation_of_the_profile_counts_as_its_parent),
        with_folder(specialisation_of_a_named_toplevel_counts_as_its_parent),
        with_folder(variant_is_the_specialisation_where_there_is_one),
        with_folder(another_kernel_needs_a_reboot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
