// The repository as data: what fleet.nix and nodes.json say, and what is an error in them.
#include "fleet.h"
#include "substituter.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#define FLEET "\"fleet\": \"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\""

static char keys[4][128];

static int make_keys(void **state)
{
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        uint8_t seed[32] = {(uint8_t)(i + 1)}, secret[64];
        struct public_key key = {.type = KEY_ED25519};
        struct buf line = {0};
        crypto_sign_seed_keypair(key.ed25519, secret, seed);
        public_key_line(&key, &line);
        snprintf(keys[i], sizeof(keys[i]), "%s", buf_text(&line));
        buf_clear(&line);
    }
    return 0;
}

// {fleet, signers, rest}; rest may hold %s for keys 1, 2 and 3.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
static bool parse(
    const char *rest, const char *nodes, bool partial, struct fleet *fleet, struct err *e)
{
    char body[4096], root[] = "/fleet";
    struct fleet_text text = {.root = root};
    snprintf(body, sizeof(body), rest, keys[1], keys[2], keys[3]);
    buf_printf(&text.fleet, "{" FLEET ", \"signers\": [\"%s\"]%s}", keys[0], body);
    snprintf(body, sizeof(body), nodes, keys[1], keys[2], keys[3]);
    buf_append_text(&text.nodes, body);
    bool ok = fleet_parse(&text, partial, fleet, e);
    buf_clear(&text.fleet);
    buf_clear(&text.nodes);
    return ok;
}
#pragma GCC diagnostic pop

static void refuses(const char *rest, const char *nodes, const char *needle)
{
    struct fleet fleet;
    struct err e;
    assert_false(parse(rest, nodes, false, &fleet, &e));
    assert_int_equal(e.code, CODE_CONFIG);
    if (!strstr(e.text, needle)) {
        fail_msg("\"%s\" does not mention \"%s\"", e.text, needle);
    }
}

static void nodes_are_sorted_and_get_the_defaults(void **state)
{
    (void)state;
    struct fleet fleet;
    struct err e;
    assert_true(
        parse(", \"defaults\": {\"tags\": [\"home\"], \"window\": 60, \"last_resort\": \"reboot\"},"
              "\"nodes\": {\"zeta\": {\"key\": \"%s\", \"tags\": [\"web\", \"edge\", \"web\"]},"
              "\"alpha\": {\"key\": \"%s\", \"window\": 90}}",
            "", false, &fleet, &e));
    assert_int_equal(fleet.node_count, 2);
    assert_string_equal(fleet.nodes[0].name, "alpha");
    assert_int_equal(fleet.nodes[0].window_s, 90);
    assert_int_equal(fleet.nodes[0].tag_count, 1);
    assert_string_equal(fleet.nodes[0].last_resort, "reboot");
    assert_int_equal(fleet.nodes[1].window_s, 60);
    assert_int_equal(fleet.nodes[1].tag_count, 2);
    assert_string_equal(fleet.nodes[1].tags[0], "edge");
    assert_string_equal(fleet.nodes[1].tags[1], "web");
    assert_int_equal(fleet.expires_days, 90);
    assert_int_equal(fleet.epoch, 1);
    assert_int_equal(fleet.trust.threshold, 1);
    assert_non_null(fleet_find(&fleet, "zeta"));
    assert_null(fleet_find(&fleet, "gamma"));
    fleet_clear(&fleet);
}

static void nodes_json_fills_in_and_fleet_nix_wins(void **state)
{
    (void)state;
    struct fleet fleet;
    struct err e;
    assert_true(parse(", \"nodes\": {\"alpha\": {\"key\": \"%s\", \"tags\": [\"web\"]}}",
        "{\"alpha\": {\"key\": \"ignored\", \"tunnelKey\": \"%2$s\"}, \"beta\": {\"key\": "
        "\"%3$s\"}}",
        false, &fleet, &e));
    assert_int_equal(fleet.node_count, 2);
    assert_string_equal(fleet.nodes[0].key_line, keys[1]);
    assert_string_equal(fleet.nodes[0].tunnel_key_line, keys[2]);
    assert_string_equal(fleet.nodes[1].key_line, keys[3]);
    fleet_clear(&fleet);
}

static void nodes_json_with_more_than_keys_is_an_error(void **state)
{
    (void)state;
    refuses("", "{\"alpha\": {\"key\": \"%s\", \"tags\": []}}", "alpha.tags");
}

static void two_nodes_with_one_key_are_both_named(void **state)
{
    (void)state;
    refuses(", \"nodes\": {\"alpha\": {\"key\": \"%1$s\"}, \"beta\": {\"key\": \"%1$s\"}}", "",
        "alpha and beta");
}

static void unknown_attribute_is_named(void **state)
{
    (void)state;
    refuses(", \"nodes\": {\"alpha\": {\"key\": \"%s\", \"windw\": 60}}", "", "windw");
    refuses(", \"expire_days\": 3", "", "expire_days");
}

static void node_without_key_is_an_error_or_left_out(void **state)
{
    (void)state;
    struct fleet fleet;
    struct err e;
    refuses(", \"nodes\": {\"alpha\": {}}", "", "bento add-host alpha");
    assert_true(
        parse(", \"nodes\": {\"alpha\": {}, \"beta\": {\"key\": \"%s\"}}", "", true, &fleet, &e));
    assert_int_equal(fleet.node_count, 1);
    assert_string_equal(fleet.nodes[0].name, "beta");
    fleet_clear(&fleet);
}

static void bad_values_are_errors(void **state)
{
    (void)state;
    refuses(", \"nodes\": {\"Alpha\": {\"key\": \"%s\"}}", "", "Alpha");
    refuses(", \"nodes\": {\"alpha\": {\"key\": \"ssh-rsa AAAA\"}}", "", "alpha");
    refuses(", \"nodes\": {\"alpha\": {\"key\": \"%s\", \"action\": \"reboot\"}}", "",
        "switch, boot, dry");
    refuses(", \"nodes\": {\"alpha\": {\"key\": \"%s\", \"tags\": [\"No\"]}}", "", "No");
    refuses(
        ", \"nodes\": {\"alpha\": {\"key\": \"%1$s\", \"tunnelKey\": \"%1$s\"}}", "", "tunnelKey");
    refuses(", \"nodes\": {\"alpha\": {\"key\": \"%s\", \"secrets\": {\"a/b\": {}}}}", "", "a/b");
    refuses(
        ", \"nodes\": {\"alpha\": {\"key\": \"%s\", \"secrets\": {\"x\": {\"mode\": \"0888\"}}}}",
        "", "0888");
    refuses(", \"threshold\": 2", "", "threshold");
}

static void no_signer_says_what_to_do(void **state)
{
    (void)state;
    char root[] = "/fleet";
    struct fleet_text text = {.root = root};
    struct fleet fleet;
    struct err e;
    buf_append_text(&text.fleet, "{" FLEET ", \"signers\": []}");
    assert_false(fleet_parse(&text, false, &fleet, &e));
    assert_non_null(strstr(e.text, "ssh-keygen -t ed25519"));
    buf_clear(&text.fleet);
}

static void secrets_of_a_node_override_those_of_the_defaults(void **state)
{
    (void)state;
    struct fleet fleet;
    struct err e;
    assert_true(parse(
        ", \"defaults\": {\"secrets\": {\"wifi\": {\"file\": \"a\"}, \"mail\": {\"file\": \"m\"}}},"
        "\"nodes\": {\"alpha\": {\"key\": \"%s\", \"secrets\": {\"wifi\": {\"command\": \"pass "
        "wifi\","
        "\"owner\": \"net\", \"mode\": \"0440\"}}}, \"beta\": {\"key\": \"%s\"}}",
        "", false, &fleet, &e));
    const struct fleet_node *alpha = &fleet.nodes[0], *beta = &fleet.nodes[1];
    assert_int_equal(alpha->secret_count, 2);
    assert_string_equal(alpha->secrets[0].name, "mail");
    assert_string_equal(alpha->secrets[1].command, "pass wifi");
    assert_null(alpha->secrets[1].file);
    assert_string_equal(alpha->secrets[1].owner, "net");
    assert_int_equal(alpha->secrets[1].mode, 0440);
    assert_string_equal(beta->secrets[1].file, "a");
    assert_int_equal(beta->secrets[1].mode, 0400);
    fleet_clear(&fleet);
}

static void copies_to(const char *cache, const char *expected)
{
    struct fleet fleet;
    struct err e;
    struct buf target = {0};
    char rest[512];
    snprintf(rest, sizeof(rest),
        ", \"broker\": {\"cache\": {\"url\": \"http://c\", \"key\": \"c:k\", %s}}", cache);
    if (!parse(rest, "", false, &fleet, &e)) {
        fail_msg("%s", e.text);
    }
    substituter_target(&fleet, &target);
    assert_string_equal(buf_text(&target), expected);
    buf_clear(&target);
    fleet_clear(&fleet);
}

static void cache_says_where_to_copy_and_how_to_sign(void **state)
{
    (void)state;
    copies_to("\"upload\": \"ssh://c\"", "ssh://c");
    copies_to("\"upload\": \"ssh://c\", \"secret_key\": \"k\"", "ssh://c");
    copies_to("\"upload\": \"file:///c\"", "file:///c");
    copies_to("\"upload\": \"file:///c\", \"secret_key\": \"/k/a b&c\"",
        "file:///c?secret-key=/k/a%20b%26c");
    copies_to("\"upload\": \"s3://c?region=x\", \"secret_key\": \"k\"",
        "s3://c?region=x&secret-key=/fleet/k");
    refuses(", \"broker\": {\"cache\": {\"url\": \"http://c\", \"key\": \"c:k\", "
            "\"secret_key\": \"k\"}}",
        "", "broker.cache.upload");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nodes_are_sorted_and_get_the_defaults),
        cmocka_unit_test(nodes_json_fills_in_and_fleet_nix_wins),
        cmocka_unit_test(nodes_json_with_more_than_keys_is_an_error),
        cmocka_unit_test(two_nodes_with_one_key_are_both_named),
        cmocka_unit_test(unknown_attribute_is_named),
        cmocka_unit_test(node_without_key_is_an_error_or_left_out),
        cmocka_unit_test(bad_values_are_errors),
        cmocka_unit_test(no_signer_says_what_to_do),
        cmocka_unit_test(secrets_of_a_node_override_those_of_the_defaults),
        cmocka_unit_test(cache_says_where_to_copy_and_how_to_sign),
    };
    return cmocka_run_group_tests(tests, make_keys, NULL);
}
