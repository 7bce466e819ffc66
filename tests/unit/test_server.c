// What the server and a new node are told, and what Nix's words boil down to.
#include "nix.h"
#include "server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define HOST_KEY "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFpZhgDZfRqHTzv+4cHA+fnYNxXEmhyQFREjNvzySPKt"

static json_t *endpoint(const char *url, const char *host_key, struct err *e)
{
    struct fleet fleet = {.epoch = 1,
        .trust.threshold = 1,
        .endpoint_count = 1,
        .endpoints = {url},
        .host_key = host_key};
    json_t *config;
    if (!server_node_config(&fleet, &config, e)) {
        return NULL;
    }
    json_t *found = json_incref(json_array_get(json_object_get(config, "endpoints"), 0));
    json_decref(config);
    return found;
}

static void becomes(const char *url, const char *expected)
{
    struct err e;
    json_error_t error;
    json_t *found = endpoint(url, HOST_KEY, &e), *wanted = json_loads(expected, 0, &error);
    assert_non_null(found);
    assert_non_null(wanted);
    assert_true(json_equal(found, wanted));
    json_decref(found);
    json_decref(wanted);
}

static void endpoints_become_tunnels(void **state)
{
    (void)state;
    becomes("ssh://bento-tunnel@server",
        "{\"tunnel\":\"ssh\",\"host\":\"server\",\"port\":22,\"user\":"
        "\"bento-tunnel\",\"host_key\":\"" HOST_KEY "\"}");
    becomes("ssh://me@[::1]:2222", "{\"tunnel\":\"ssh\",\"host\":\"::1\",\"port\":2222,\"user\":"
                                   "\"me\",\"host_key\":\"" HOST_KEY "\"}");
    becomes("tcp://127.0.0.1", "{\"tunnel\":\"none\",\"pub\":\"tcp://"
                               "127.0.0.1:23686\",\"rep\":\"tcp://127.0.0.1:23687\"}");
    becomes("tcp://[::1]:7000,8000",
        "{\"tunnel\":\"none\",\"pub\":\"tcp://[::1]:7000\",\"rep\":\"tcp://[::1]:8000\"}");
}

#define ONION "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.onion"

static void onion_endpoints_become_tor_tunnels(void **state)
{
    (void)state;
    becomes("tor://" ONION,
        "{\"tunnel\":\"tor\",\"host\":\"" ONION "\",\"pub_port\":23686,\"rep_port\":23687}");
    becomes("tor://" ONION ":80",
        "{\"tunnel\":\"tor\",\"host\":\"" ONION "\",\"pub_port\":80,\"rep_port\":81}");
    becomes("tor://" ONION ":80,443",
        "{\"tunnel\":\"tor\",\"host\":\"" ONION "\",\"pub_port\":80,\"rep_port\":443}");
}

static void forwarded_cache_is_in_both_configurations(void **state)
{
    (void)state;
    struct err e;
    json_t *config;
    struct fleet_node node = {.name = "alpha", .tunnel_key_line = HOST_KEY};
    struct fleet fleet = {.epoch = 1,
        .trust.threshold = 1,
        .endpoint_count = 2,
        .endpoints = {"ssh://server", "tor://" ONION},
        .host_key = HOST_KEY,
        .cache_forward = 5000};
    struct buf line = {0};
    assert_true(server_node_config(&fleet, &config, &e));
    assert_int_equal(json_integer_value(json_object_get(config, "cache_port")), 5000);
    for (size_t i = 0; i < 2; i++) {
        json_t *one = json_array_get(json_object_get(config, "endpoints"), i);
        assert_int_equal(json_integer_value(json_object_get(one, "cache_port")), 5000);
    }
    json_decref(config);
    assert_true(server_authorized_key(&fleet, &node, &line));
    assert_non_null(strstr(buf_text(&line), ",permitopen=\"127.0.0.1:5000\",permitlisten="));
    buf_clear(&line);
}

static void bad_endpoints_are_named(void **state)
{
    (void)state;
    static const char *const bad[] = {"http://x", "ssh://", "ssh://a@", "ssh://a@b:0",
        "ssh://a@b:70000", "ssh://a@b:2x", "tcp://h:1,", "tcp://[::1", "server", "tor://",
        "tor://server", "tor://" ONION ":0", "tor://" ONION ".com"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        struct err e;
        if (endpoint(bad[i], HOST_KEY, &e)) {
            fail_msg("%s was taken", bad[i]);
        }
        assert_non_null(strstr(e.text, bad[i]));
    }
}

static void ssh_without_host_key_is_an_error(void **state)
{
    (void)state;
    struct err e;
    assert_null(endpoint("ssh://a@b", NULL, &e));
    assert_non_null(strstr(e.text, "host_key"));
}

static void authorized_key_allows_two_forwards_and_nothing_else(void **state)
{
    (void)state;
    struct fleet_node node = {.name = "alpha", .tunnel_key_line = HOST_KEY " root@alpha"};
    struct fleet fleet = {0};
    struct buf line = {0};
    assert_true(server_authorized_key(&fleet, &node, &line));
    assert_string_equal(buf_text(&line),
        "restrict,port-forwarding,permitopen=\"127.0.0.1:23686\",permitopen=\"127.0.0.1:23687\","
        "permitlisten=\"127.0.0.1:1\",command=\"/bin/false\" " HOST_KEY " alpha\n");
    node.tunnel_key_line = NULL;
    assert_false(server_authorized_key(&fleet, &node, &line));
    buf_clear(&line);
}

static void reason_is(const char *output, const char *expected)
{
    char text[200];
    nix_reason(bytes_of_text(output), text, sizeof(text));
    assert_string_equal(text, expected);
}

static void reason_of_nix_is_the_failed_builder_or_the_last_error(void **state)
{
    (void)state;
    reason_is("building…\nerror: builder for '/nix/store/a.drv' failed with exit code 3\n"
              "error: 1 dependencies of derivation '/nix/store/b.drv' failed to build\n",
        "builder for '/nix/store/a.drv' failed with exit code 3");
    reason_is("error: undefined variable 'x'\n\n       at /f/fleet.nix:3:5:\n\n            2|\n",
        "undefined variable 'x' at /f/fleet.nix:3:5");
    reason_is("error:\n       … while calling\n         at /a:1:1:\n       error: on purpose\n",
        "on purpose");
    reason_is("something went wrong\n", "something went wrong");
    reason_is("", "");
}

static void tail_keeps_the_last_lines(void **state)
{
    (void)state;
    struct buf tail = {0};
    nix_tail(bytes_of_text("one\ntwo\nthree"), 2, "> ", &tail);
    assert_string_equal(buf_text(&tail), "> two\n> three\n");
    buf_clear(&tail);
}

static void quoted_text_cannot_leave_its_string(void **state)
{
    (void)state;
    struct buf quoted = {0};
    nix_quote(&quoted, "a\"b\\c${d}");
    assert_string_equal(buf_text(&quoted), "\"a\\\"b\\\\c\\${d}\"");
    buf_clear(&quoted);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(endpoints_become_tunnels),
        cmocka_unit_test(onion_endpoints_become_tor_tunnels),
        cmocka_unit_test(forwarded_cache_is_in_both_configurations),
        cmocka_unit_test(bad_endpoints_are_named),
        cmocka_unit_test(ssh_without_host_key_is_an_error),
        cmocka_unit_test(authorized_key_allows_two_forwards_and_nothing_else),
        cmocka_unit_test(reason_of_nix_is_the_failed_builder_or_the_last_error),
        cmocka_unit_test(tail_keeps_the_last_lines),
        cmocka_unit_test(quoted_text_cannot_leave_its_string),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
