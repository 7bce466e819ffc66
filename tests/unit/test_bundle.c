#include "bundle.h"

#include "proto_test.h"

#include <stdio.h>

static bool recode_bundle(struct bytes message, struct buf *out, struct err *e)
{
    struct bundle bundle;
    if (!bundle_decode(message, &bundle, e))
        return false;
    bool ok = bundle_encode(&bundle, out, e);
    assert_true(ok);
    bundle_clear(&bundle);
    return true;
}
static const struct parser bundle_parser = {recode_bundle, CODE_ARCHIVE};

static void golden_bundle_says_what_was_put_in(void **state)
{
    (void)state;
    struct buf golden = from_hex(GOLDEN_BUNDLE);
    struct bundle bundle;
    struct err e;
    assert_true(bundle_decode(buf_bytes(&golden), &bundle, &e));
    const struct meta *meta = &bundle.meta;
    assert_int_equal(meta->action, ACTION_BOOT);
    assert_true(bytes_equal_text(meta->attribute, "my-laptop"));
    assert_int_equal(meta->confirm_s, 300);
    assert_true(bytes_equal_text(meta->expected, "/nix/store/abc-nixos"));
    assert_int_equal(meta->health_count, 2);
    assert_int_equal(meta->health[0].count, 3);
    assert_true(bytes_equal_text(meta->health[0].words[2], "http://localhost"));
    assert_int_equal(meta->health[1].words[1].len, 0);
    assert_true(bytes_equal_text(meta->host, "my-laptop"));
    assert_int_equal(meta->kind, KIND_CLASSIC);
    assert_int_equal(meta->last_resort, LAST_RESORT_REBOOT);
    assert_true(bytes_equal_text(meta->nixpkgs_url, "https://example.org/n.tar.gz"));
    assert_true(bytes_equal_text(meta->nixpkgs_sha256, "sha256-x"));
    assert_int_equal(meta->public_key_count, 1);
    assert_true(bytes_equal_text(meta->public_keys[0], "k:1"));
    assert_true(bytes_equal_text(meta->reboot, "when-needed"));
    assert_true(meta->has_retry && meta->self_update && meta->substitute_only);
    assert_filled(meta->retry, 11, 16);
    assert_int_equal(meta->substituter_count, 1);
    assert_true(bytes_equal_text(meta->substituters[0], "https://cache.example.org"));
    assert_true(bytes_equal_text(meta->system, "x86_64-linux"));
    assert_int_equal(meta->unit_failures, UNIT_FAILURES_ROLLBACK);
    assert_int_equal(bundle.secret_count, 2);
    assert_true(bytes_equal_text(bundle.secrets[0].name, "Wg.key"));
    assert_int_equal(bundle.secrets[0].mode, 0400);
    assert_true(bytes_equal_text(bundle.secrets[1].owner, "www"));
    assert_true(bundle.has_tree);
    assert_filled(bundle.tree_hash, 12, 32);
    assert_int_equal(bundle.tree_len, 5000);
    assert_filled(bundle.tree_key, 13, 32);
    bundle_clear(&bundle);
    buf_clear(&golden);
}

static void damaged_bundle_is_refused_or_another_bundle(void **state)
{
    (void)state;
    survives_every_damage(&bundle_parser, GOLDEN_BUNDLE);
    survives_every_damage(&bundle_parser, GOLDEN_BUNDLE_PLAIN);
}

static void all_defaults_are_an_empty_map(void **state)
{
    (void)state;
    struct bundle bundle = {0};
    struct buf out = {0}, want = from_hex(GOLDEN_BUNDLE_PLAIN);
    struct err e;
    assert_true(bundle_encode(&bundle, &out, &e));
    assert_bytes(buf_bytes(&out), buf_bytes(&want));
    buf_clear(&out);
    buf_clear(&want);
}

// A bundle whose meta is this map, written as hex.
static struct buf with_meta(const char *meta_hex)
{
    struct buf out = {0}, meta = from_hex(meta_hex);
    wire_put_open(&out, 5, "bento-bundle");
    buf_append(&out, meta.at, meta.len);
    wire_put_array(&out, 0);
    wire_put_nil(&out);
    buf_clear(&meta);
    return out;
}

static void defaults_unknown_and_empty_things_in_meta_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *meta;
        bool good;
    } cases[] = {
        {"80", true}, {"81a6616374696f6ea4626f6f74", true},              // action: boot
        {"81a6616374696f6ea6737769746368", false},                       // action: switch
        {"81a6616374696f6ea474657374", false},                           // action: test
        {"81a97574747269627574650a", false},                             // unknown key
        {"81a9617474726962757465a0", false},                             // attribute: ""
        {"81a9617474726962757465a178", true},                            // attribute: "x"
        {"81a7636f6e6669726d00", false},                                 // confirm: 0
        {"81a7636f6e6669726d01", true},                                  // confirm: 1
        {"81a7636f6e6669726dceffffffff", true},                          // confirm: 2^32 - 1
        {"81a7636f6e6669726dcf0000000100000000", false},                 // confirm: 2^32
        {"81a86578706563746564a0", false},                               // expected: ""
        {"81a66865616c746890", false},                                   // health: []
        {"81a66865616c74689190", false},                                 // health: [[]]
        {"81a66865616c74689191a0", false},                               // health: [[""]]
        {"81a66865616c74689191a178", true},                              // health: [["x"]]
        {"81a66865616c74689192a178a0", true},                            // health: [["x", ""]]
        {"81a46b696e64a5666c616b65", false},                             // kind: flake
        {"81a46b696e64a7636c6173736963", true},                          // kind: classic
        {"81ab6c6173745f7265736f7274a473746179", false},                 // last_resort: stay
        {"81a76e6978706b677392a178a179", true},                          // nixpkgs: [x, y]
        {"81a76e6978706b677391a178", false},                             // nixpkgs: [x]
        {"81a76e6978706b677392a178a0", false},                           // nixpkgs: [x, ""]
        {"81a76e6978706b677392a0a178", false},                           // nixpkgs: ["", x]
        {"81ab7075626c69635f6b65797390", false},                         // public_keys: []
        {"81a67265626f6f74a0", false},                                   // reboot: ""
        {"81a57265747279c410000102030405060708090a0b0c0d0e0f", true},    // retry
        {"81a57265747279c40f000102030405060708090a0b0c0d0e", false},     // one byte less
        {"81a57265747279c41100000000000000000000000000000000ff", false}, // one more
        {"81ab73656c665f757064617465c2", false},                         // self_update: false
        {"81ab73656c665f757064617465c3", true},                          // self_update: true
        {"81ad756e69745f6661696c75726573a67265706f7274", false},         // unit_failures: report
        {"82a46b696e64a7636c6173736963a6616374696f6ea4626f6f74", false}, // kind before action
        {"82a6616374696f6ea4626f6f74a6616374696f6ea4626f6f74", false},   // action twice
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct buf message = with_meta(cases[i].meta);
        if (cases[i].good)
            assert_recodes(&bundle_parser, buf_bytes(&message));
        else
            assert_refused(&bundle_parser, buf_bytes(&message));
        buf_clear(&message);
    }
}

static void lists_at_their_limits(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        size_t max;
    } cases[] = {{"public_keys", LIST_MAX}, {"substituters", LIST_MAX}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (size_t count = cases[i].max; count <= cases[i].max + 1; count++) {
            struct buf out = {0};
            wire_put_open(&out, 5, "bento-bundle");
            wire_put_map(&out, 1);
            wire_put_text(&out, cases[i].key);
            wire_put_array(&out, count);
            for (size_t j = 0; j < count; j++)
                wire_put_text(&out, "x");
            wire_put_array(&out, 0);
            wire_put_nil(&out);
            if (count == cases[i].max)
                assert_recodes(&bundle_parser, buf_bytes(&out));
            else
                assert_refused(&bundle_parser, buf_bytes(&out));
            buf_clear(&out);
        }
    }
    for (size_t commands = LIST_MAX; commands <= LIST_MAX + 1; commands++) {
        for (size_t words = ARGV_MAX; words <= ARGV_MAX + 1; words++) {
            struct buf out = {0};
            wire_put_open(&out, 5, "bento-bundle");
            wire_put_map(&out, 1);
            wire_put_text(&out, "health");
            wire_put_array(&out, commands);
            for (size_t j = 0; j < commands * (words + 1); j++) {
                if (j % (words + 1) == 0)
                    wire_put_array(&out, words);
                else
                    wire_put_text(&out, "x");
            }
            wire_put_array(&out, 0);
            wire_put_nil(&out);
            if (commands == LIST_MAX && words == ARGV_MAX)
                assert_recodes(&bundle_parser, buf_bytes(&out));
            else
                assert_refused(&bundle_parser, buf_bytes(&out));
            buf_clear(&out);
        }
    }
}

static void texts_at_their_limits(void **state)
{
    (void)state;
    char text[TEXT_BYTES_MAX + 1];
    memset(text, 'x', sizeof(text));
    for (size_t extra = 0; extra < 2; extra++) {
        struct bundle a = {.meta.attribute = bytes_of(text, TEXT_BYTES_MAX + extra)};
        struct bundle b = {.meta.expected = bytes_of(text, STORE_PATH_BYTES_MAX + extra)};
        struct buf out = {0};
        struct err e;
        assert_int_equal(bundle_encode(&a, &out, &e), extra == 0);
        assert_int_equal(bundle_encode(&b, &out, &e), extra == 0);
        if (extra == 1)
            assert_code(e, CODE_ARCHIVE);
        buf_clear(&out);
    }
}

static bool encodes_secret(struct bytes name, uint32_t mode)
{
    struct secret secret = {.name = name, .mode = mode, .content = bytes_of_text("c")};
    struct bundle bundle = {.secret_count = 1, .secrets = &secret};
    struct buf out = {0};
    struct err e;
    bool ok = bundle_encode(&bundle, &out, &e);
    if (ok)
        assert_recodes(&bundle_parser, buf_bytes(&out));
    else
        assert_code(e, CODE_ARCHIVE);
    buf_clear(&out);
    return ok;
}

static void secret_names_are_one_clean_component(void **state)
{
    (void)state;
    const char *good[] = {"a", "A-Z_0.9", "...", ".a", "-", "_"};
    const char *bad[] = {"", ".", "..", "a/b", "/a", "a b", "a\\b", "\xc3\xbc", "a\n", "a:b"};
    char name[SECRET_NAME_BYTES_MAX + 1];
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        assert_true(encodes_secret(bytes_of_text(good[i]), 0));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(encodes_secret(bytes_of_text(bad[i]), 0));
    memset(name, 'n', sizeof(name));
    assert_true(encodes_secret(bytes_of(name, SECRET_NAME_BYTES_MAX), 0));
    assert_false(encodes_secret(bytes_of(name, SECRET_NAME_BYTES_MAX + 1), 0));
}

static void mode_at_its_limit(void **state)
{
    (void)state;
    assert_true(encodes_secret(bytes_of_text("a"), 0777));
    assert_false(encodes_secret(bytes_of_text("a"), 01000));
    assert_false(encodes_secret(bytes_of_text("a"), 04755));
}

static void number_of_secrets_at_its_limit(void **state)
{
    (void)state;
    static struct secret secrets[SECRETS_MAX + 1];
    static char names[SECRETS_MAX + 1][24];
    struct bundle bundle = {.secrets = secrets};
    struct buf out = {0};
    struct err e;
    for (size_t i = 0; i <= SECRETS_MAX; i++) {
        snprintf(names[i], sizeof(names[i]), "s%04zu", i);
        secrets[i].name = bytes_of_text(names[i]);
    }
    bundle.secret_count = SECRETS_MAX + 1;
    assert_false(bundle_encode(&bundle, &out, &e));
    assert_code(e, CODE_ARCHIVE);
    assert_int_equal(out.len, 0);
    bundle.secret_count = SECRETS_MAX;
    assert_true(bundle_encode(&bundle, &out, &e));
    assert_recodes(&bundle_parser, buf_bytes(&out));
    buf_clear(&out);
}

static void secrets_are_sorted_when_encoded_and_must_be_when_decoded(void **state)
{
    (void)state;
    struct secret secrets[2] = {{.name = bytes_of_text("b")}, {.name = bytes_of_text("a")}};
    struct bundle bundle = {.secret_count = 2, .secrets = secrets};
    struct buf out = {0};
    struct err e;
    assert_true(bundle_encode(&bundle, &out, &e));
    assert_true(bytes_equal_text(secrets[0].name, "a"));
    uint8_t *a = memchr(out.at + 15, 'a', out.len - 15), *b = memchr(a, 'b', 20);
    assert_true(a != NULL && b != NULL);
    *a = 'b';
    assert_refused(&bundle_parser, buf_bytes(&out)); // twice
    *b = 'a';
    assert_refused(&bundle_parser, buf_bytes(&out)); // the wrong way round
    *a = 'a';
    *b = 'b';
    assert_recodes(&bundle_parser, buf_bytes(&out));
    buf_clear(&out);
    secrets[1].name = bytes_of_text("a");
    assert_false(bundle_encode(&bundle, &out, &e));
    assert_code(e, CODE_ARCHIVE);
}

static void tree_without_content_or_too_long_is_refused(void **state)
{
    (void)state;
    static const struct {
        uint64_t len;
        bool good;
    } cases[] = {{0, false}, {16, false}, {17, true}, {BLOB_BYTES_MAX, true},
        {BLOB_BYTES_MAX + UINT64_C(1), false}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct bundle bundle = {.has_tree = true, .tree_len = cases[i].len};
        struct buf out = {0};
        struct err e;
        assert_int_equal(bundle_encode(&bundle, &out, &e), cases[i].good);
        buf_clear(&out);
    }
}

static void digest_is_that_of_the_second_implementation(void **state)
{
    (void)state;
    struct buf golden = from_hex(GOLDEN_BUNDLE), want = from_hex(GOLDEN_DIGEST);
    struct buf want_plain = from_hex(GOLDEN_DIGEST_PLAIN);
    struct bundle bundle, plain = {0};
    uint8_t tree[HASH_BYTES], digest[HASH_BYTES];
    struct err e;
    memset(tree, 14, sizeof(tree));
    assert_true(bundle_decode(buf_bytes(&golden), &bundle, &e));
    bundle_digest(&bundle, tree, digest);
    assert_bytes(bytes_of(digest, sizeof(digest)), buf_bytes(&want));
    bundle_digest(&plain, NULL, digest);
    assert_bytes(bytes_of(digest, sizeof(digest)), buf_bytes(&want_plain));
    bundle_clear(&bundle);
    buf_clear(&golden);
    buf_clear(&want);
    buf_clear(&want_plain);
}

static void digest_knows_no_order_of_secrets_and_no_key_of_the_tree(void **state)
{
    (void)state;
    struct secret up[2] = {{.name = bytes_of_text("a")}, {.name = bytes_of_text("b")}};
    struct secret down[2] = {up[1], up[0]};
    struct bundle bundle = {.secret_count = 2, .secrets = up};
    uint8_t first[HASH_BYTES], second[HASH_BYTES];
    bundle_digest(&bundle, NULL, first);
    bundle.secrets = down;
    bundle.tree_key[0] = 1; // fresh with every encryption
    bundle_digest(&bundle, NULL, second);
    assert_memory_equal(first, second, sizeof(first));
    assert_true(bytes_equal_text(down[0].name, "b")); // not touched
    bundle.meta.has_retry = true;
    bundle_digest(&bundle, NULL, second);
    assert_memory_not_equal(first, second, sizeof(first));
    bundle.meta.has_retry = false;
    down[0].content = bytes_of_text("x");
    bundle_digest(&bundle, NULL, second);
    assert_memory_not_equal(first, second, sizeof(first));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_bundle_says_what_was_put_in),
        cmocka_unit_test(damaged_bundle_is_refused_or_another_bundle),
        cmocka_unit_test(all_defaults_are_an_empty_map),
        cmocka_unit_test(defaults_unknown_and_empty_things_in_meta_are_refused),
        cmocka_unit_test(lists_at_their_limits),
        cmocka_unit_test(texts_at_their_limits),
        cmocka_unit_test(secret_names_are_one_clean_component),
        cmocka_unit_test(mode_at_its_limit),
        cmocka_unit_test(number_of_secrets_at_its_limit),
        cmocka_unit_test(secrets_are_sorted_when_encoded_and_must_be_when_decoded),
        cmocka_unit_test(tree_without_content_or_too_long_is_refused),
        cmocka_unit_test(digest_is_that_of_the_second_implementation),
        cmocka_unit_test(digest_knows_no_order_of_secrets_and_no_key_of_the_tree),
    };
    return cmocka_run_group_tests(tests, start_sodium, NULL);
}
