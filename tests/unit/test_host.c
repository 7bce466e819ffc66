// Which node a configuration under hosts/ is for.
#include "host.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char router[] = "router", servers[] = "servers", laptop[] = "laptop", alpha[] = "alpha",
            beta[] = "beta", only[] = "Box";
static char *many[] = {alpha, beta}, *one[] = {only};

// hosts/laptop (a flake with one configuration, Box), hosts/router (classic), hosts/servers (alpha,
// beta)
static struct folder folders[3];
static struct hosts hosts;

static int make_folders(void **state)
{
    (void)state;
    memset(folders, 0, sizeof(folders));
    folders[0] = (struct folder){.name = laptop, .kind = KIND_FLAKE, .attributes = {1, one}};
    folders[1] = (struct folder){.name = router, .kind = KIND_CLASSIC};
    folders[2] = (struct folder){.name = servers, .kind = KIND_FLAKE, .attributes = {2, many}};
    hosts = (struct hosts){.folder_count = 3, .folders = folders};
    return 0;
}

static int free_list(void **state)
{
    (void)state;
    free(hosts.list);
    return 0;
}

static bool match(struct fleet_node *nodes, size_t count, struct err *e)
{
    struct fleet fleet = {.node_count = count, .nodes = nodes};
    return hosts_match(&fleet, &hosts, e);
}

static void refuses(struct fleet_node *nodes, size_t count, const char *needle)
{
    struct err e;
    assert_false(match(nodes, count, &e));
    assert_int_equal(e.code, CODE_CONFIG);
    if (!strstr(e.text, needle)) {
        fail_msg("\"%s\" does not mention \"%s\"", e.text, needle);
    }
}

static void every_node_finds_its_host(void **state)
{
    (void)state;
    struct err e;
    struct fleet_node nodes[] = {{.name = "alpha"}, {.name = "beta"},
        {.name = "notebook", .directory = "laptop"}, {.name = "router"}};
    assert_true(match(nodes, 4, &e));
    assert_ptr_equal(hosts.list[0].folder, &folders[2]);
    assert_string_equal(hosts.list[1].attribute, "beta");
    assert_ptr_equal(hosts.list[2].folder, &folders[0]);
    assert_string_equal(hosts.list[2].attribute, "Box");
    assert_ptr_equal(hosts.list[3].folder, &folders[1]);
}

static void attribute_picks_the_configuration(void **state)
{
    (void)state;
    struct err e;
    struct fleet_node nodes[] = {{.name = "a", .attribute = "alpha"}, {.name = "beta"},
        {.name = "box", .attribute = "Box"}, {.name = "router"}};
    assert_true(match(nodes, 4, &e));
    assert_ptr_equal(hosts.list[0].folder, &folders[2]);
    assert_string_equal(hosts.list[0].attribute, "alpha");
    assert_ptr_equal(hosts.list[2].folder, &folders[0]);
}

static void node_without_host_is_named(void **state)
{
    (void)state;
    struct fleet_node nodes[] = {
        {.name = "alpha"}, {.name = "beta"}, {.name = "gone"}, {.name = "router"}};
    refuses(nodes, 4, "node gone has no host");
    nodes[2].directory = "nowhere";
    refuses(nodes, 4, "hosts/nowhere");
    nodes[2].directory = "servers";
    refuses(nodes, 4, "nixosConfigurations.gone");
}

static void host_without_node_is_named(void **state)
{
    (void)state;
    struct fleet_node nodes[] = {
        {.name = "alpha"}, {.name = "box", .attribute = "Box"}, {.name = "router"}};
    refuses(nodes, 3, "host beta (hosts/servers) has no node");
    struct fleet_node others[] = {
        {.name = "alpha"}, {.name = "beta"}, {.name = "box", .attribute = "Box"}};
    refuses(others, 3, "host router (hosts/router) has no node");
}

static void name_in_two_folders_asks_for_a_directory(void **state)
{
    (void)state;
    struct err e;
    one[0] = router; // the laptop's flake calls its system router too
    struct fleet_node nodes[] = {{.name = "alpha"}, {.name = "beta"}, {.name = "router"}};
    refuses(nodes, 3, "nodes.router.directory");
    struct fleet_node told[] = {{.name = "alpha"}, {.name = "beta"},
        {.name = "note", .directory = "laptop"}, {.name = "router", .directory = "router"}};
    assert_true(match(told, 4, &e));
    one[0] = only;
}

static void broken_flake_does_not_hide_the_others(void **state)
{
    (void)state;
    struct err e;
    folders[2].broken = true;
    folders[2].attributes.count = 0;
    struct fleet_node nodes[] = {
        {.name = "alpha"}, {.name = "box", .attribute = "Box"}, {.name = "router"}};
    assert_true(match(nodes, 3, &e));
    assert_ptr_equal(hosts.list[0].folder, &folders[2]);
    assert_ptr_equal(hosts.list[2].folder, &folders[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_node_finds_its_host, make_folders, free_list),
        cmocka_unit_test_setup_teardown(attribute_picks_the_configuration, make_folders, free_list),
        cmocka_unit_test_setup_teardown(node_without_host_is_named, make_folders, free_list),
        cmocka_unit_test_setup_teardown(host_without_node_is_named, make_folders, free_list),
        cmocka_unit_test_setup_teardown(
            name_in_two_folders_asks_for_a_directory, make_folders, free_list),
        cmocka_unit_test_setup_teardown(
            broken_flake_does_not_hide_the_others, make_folders, free_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
