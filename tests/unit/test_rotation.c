// signers.json: what it does to the signers of fleet.nix.
#include "fleet.h"
#include "json.h"
#include "rotation.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#define FLEET "\"fleet\": \"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\""

static struct public_key keys[4];
static char lines[4][128]; // with a comment: key0 …

static int make_keys(void **state)
{
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        uint8_t seed[32] = {(uint8_t)(i + 1)}, secret[64];
        CLEANUP(buf_clear) struct buf line = {0};
        keys[i].type = KEY_ED25519;
        crypto_sign_seed_keypair(keys[i].ed25519, secret, seed);
        public_key_line(&keys[i], &line);
        snprintf(lines[i], sizeof(lines[i]), "%s key%zu", buf_text(&line), i);
    }
    return 0;
}

// The rotation after keys were put on lists: "j1 a1 r0" is key 1 joining, then added, key 0 retired.
static void rotate(const char *steps, struct rotation *rotation)
{
    static const char letters[] = {
        [ROTATION_ADDED] = 'a', [ROTATION_JOINING] = 'j', [ROTATION_RETIRED] = 'r'};
    struct err e;
    *rotation = (struct rotation){0};
    for (; *steps; steps += steps[2] ? 3 : 2) {
        enum rotation_list list = 0;
        while (letters[list] != steps[0]) {
            list++;
        }
        size_t key = (size_t)(steps[1] - '0');
        assert_true(rotation_put(rotation, list, &keys[key], lines[key], &e));
    }
}

// A fleet with keys 0 and 1 in fleet.nix, and the rotation as signers.json.
static bool parse(
    const struct rotation *rotation, const char *more, struct fleet *fleet, struct err *e)
{
    char root[] = "/fleet";
    struct fleet_text text = {.root = root};
    buf_printf(
        &text.fleet, "{" FLEET ", \"signers\": [\"%s\", \"%s\"]%s}", lines[0], lines[1], more);
    rotation_text(rotation, &text.signers);
    bool ok = fleet_parse(&text, false, fleet, e);
    buf_clear(&text.fleet);
    buf_clear(&text.signers);
    return ok;
}

// signers: the keys' numbers in order, a joining one with "j" before it: "01j2".
static void gives(const char *steps, const char *signers)
{
    CLEANUP(rotation_clear) struct rotation rotation;
    CLEANUP(buf_clear) struct buf found = {0};
    struct fleet fleet;
    struct err e;
    rotate(steps, &rotation);
    assert_true(parse(&rotation, "", &fleet, &e));
    for (size_t i = 0; i < fleet.trust.signer_count; i++) {
        const char *line = fleet.signer_lines[i];
        buf_printf(&found, "%s%c", fleet.joining[i] ? "j" : "", line[strlen(line) - 1]);
    }
    assert_string_equal(buf_text(&found), signers);
    fleet_clear(&fleet);
}

static void lists_change_who_signs(void **state)
{
    (void)state;
    gives("", "01");
    gives("j2", "01j2");
    gives("j2 a2", "012");
    gives("r0", "1");
    gives("j2 a2 r0 r1", "2");
    gives("r0 j0", "1j0"); // again: it has to be learnt again
    gives("r3", "01");
}

static void key_that_is_in_both_places_counts_once(void **state)
{
    (void)state;
    gives("a1", "01");
    gives("j1", "0j1");
}

static void nobody_left_is_an_error(void **state)
{
    (void)state;
    CLEANUP(rotation_clear) struct rotation rotation;
    struct fleet fleet;
    struct err e;
    rotate("r0 r1", &rotation);
    assert_false(parse(&rotation, "", &fleet, &e));
    assert_non_null(strstr(e.text, "signers"));
    rotation_clear(&rotation);
    rotate("r0", &rotation);
    assert_false(parse(&rotation, ", \"threshold\": 2", &fleet, &e));
    assert_non_null(strstr(e.text, "threshold"));
}

static void epoch_is_the_larger_one(void **state)
{
    (void)state;
    static const struct {
        uint64_t rotation;
        const char *fleet;
        uint64_t epoch;
    } cases[] = {{0, "", 1}, {3, "", 3}, {3, ", \"epoch\": 2", 3}, {3, ", \"epoch\": 5", 5}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct rotation rotation = {.epoch = cases[i].rotation};
        struct fleet fleet;
        struct err e;
        assert_true(parse(&rotation, cases[i].fleet, &fleet, &e));
        assert_int_equal(fleet.epoch, cases[i].epoch);
        fleet_clear(&fleet);
    }
}

static void text_and_back_is_the_same(void **state)
{
    (void)state;
    CLEANUP(rotation_clear) struct rotation rotation, again;
    CLEANUP(buf_clear) struct buf text = {0}, more = {0};
    struct err e;
    rotate("j1 a2 r3", &rotation);
    rotation.epoch = 7;
    rotation_text(&rotation, &text);
    assert_true(rotation_parse(buf_bytes(&text), &again, &e));
    rotation_text(&again, &more);
    assert_string_equal(buf_text(&text), buf_text(&more));
    assert_true(rotation_has(&again, ROTATION_RETIRED, &keys[3]));
    assert_int_equal(again.epoch, 7);
}

static void wrong_file_is_told(void **state)
{
    (void)state;
    static const char *const cases[] = {"{", "[]", "{\"added\": {}}", "{\"added\": [1]}",
        "{\"retired\": [\"ssh-rsa AAAA\"]}", "{\"epoch\": 0}", "{\"epoch\": \"2\"}",
        "{\"signers\": []}"};
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct rotation rotation;
        struct err e;
        assert_false(rotation_parse(bytes_of_text(cases[i]), &rotation, &e));
        assert_int_equal(e.code, CODE_CONFIG);
        assert_non_null(strstr(e.text, "signers.json"));
    }
}

static void full_list_takes_no_more(void **state)
{
    (void)state;
    CLEANUP(rotation_clear) struct rotation rotation = {0};
    struct err e;
    struct public_key key = keys[0];
    for (unsigned i = 0; i < SIGNERS_MAX; i++) {
        key.ed25519[0] = (uint8_t)i;
        assert_true(rotation_put(&rotation, ROTATION_RETIRED, &key, "line", &e));
    }
    assert_true(rotation_put(&rotation, ROTATION_RETIRED, &key, "line", &e)); // one of them
    key.ed25519[1] ^= 1;
    assert_false(rotation_put(&rotation, ROTATION_RETIRED, &key, "line", &e));
    assert_int_equal(e.code, CODE_CONFIG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_change_who_signs),
        cmocka_unit_test(key_that_is_in_both_places_counts_once),
        cmocka_unit_test(nobody_left_is_an_error),
        cmocka_unit_test(epoch_is_the_larger_one),
        cmocka_unit_test(text_and_back_is_the_same),
        cmocka_unit_test(wrong_file_is_told),
        cmocka_unit_test(full_list_takes_no_more),
    };
    return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, make_keys, NULL);
}
