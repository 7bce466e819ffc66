#include "roster.h"

#include "proto_test.h"

static bool recode_roster(struct bytes message, struct buf *out, struct err *e)
{
    struct roster roster;
    if (!roster_decode(message, &roster, e))
        return false;
    bool ok = roster_encode(&roster, out, e);
    assert_true(ok);
    roster_clear(&roster);
    return true;
}
static const struct parser roster_parser = {recode_roster, CODE_FORMAT};

static void golden_roster_says_what_was_put_in(void **state)
{
    (void)state;
    struct buf golden = from_hex(GOLDEN_ROSTER);
    struct roster roster;
    struct err e;
    assert_true(roster_decode(buf_bytes(&golden), &roster, &e));
    assert_int_equal(roster.count, 2);
    const struct roster_node *first = &roster.nodes[0], *second = &roster.nodes[1];
    assert_filled(first->node_id, 1, 32);
    assert_true(bytes_equal_text(first->name, "router"));
    assert_int_equal(first->tag_count + first->expected.len, 0);
    assert_false(first->has_tree);
    assert_true(bytes_equal_text(first->directory, "hosts/router"));
    assert_int_equal(second->tag_count, 2);
    assert_true(bytes_equal_text(second->tags[1], "laptop"));
    assert_true(bytes_equal_text(second->expected, "/nix/store/abc-nixos"));
    assert_true(second->has_tree);
    assert_filled(second->tree_hash, 10, 32);
    roster_clear(&roster);
    buf_clear(&golden);
}

static void damaged_roster_is_refused_or_another_roster(void **state)
{
    (void)state;
    survives_every_damage(&roster_parser, GOLDEN_ROSTER);
}

static void node_is_found_by_its_id_only(void **state)
{
    (void)state;
    struct buf golden = from_hex(GOLDEN_ROSTER);
    struct roster roster, nobody = {0};
    uint8_t id[HASH_BYTES];
    struct err e;
    assert_true(roster_decode(buf_bytes(&golden), &roster, &e));
    for (uint8_t fill = 0; fill < 4; fill++) {
        memset(id, fill, sizeof(id));
        const struct roster_node *found = roster_find(&roster, id);
        assert_ptr_equal(found, fill == 1 || fill == 2 ? &roster.nodes[fill - 1] : NULL);
        assert_null(roster_find(&nobody, id));
    }
    roster_clear(&roster);
    buf_clear(&golden);
}

static void names_are_lower_case_digits_and_hyphens(void **state)
{
    (void)state;
    char name[NAME_BYTES_MAX + 1];
    const char *bad[] = {"", "A", "a_b", "a.b", "a b", "\xc3\xbc", "a/b", "a\n"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(name_is_clean(bytes_of_text(bad[i])));
    memset(name, 'z', sizeof(name));
    assert_true(name_is_clean(bytes_of(name, NAME_BYTES_MAX)));
    assert_false(name_is_clean(bytes_of(name, NAME_BYTES_MAX + 1)));
    assert_true(name_is_clean(bytes_of_text("a-0")));
}

// Two nodes, of which the second is as described.
static bool encodes(uint8_t id, const char *name, const char *tag1, const char *tag2)
{
    struct roster_node nodes[2] = {{.node_id = {5}, .name = bytes_of_text("first")},
        {.node_id = {id}, .name = bytes_of_text(name)}};
    struct roster roster = {2, nodes};
    struct buf out = {0};
    struct err e;
    if (tag1 != NULL)
        nodes[1].tags[nodes[1].tag_count++] = bytes_of_text(tag1);
    if (tag2 != NULL)
        nodes[1].tags[nodes[1].tag_count++] = bytes_of_text(tag2);
    bool ok = roster_encode(&roster, &out, &e);
    if (ok) {
        assert_true(memcmp(nodes[0].node_id, nodes[1].node_id, HASH_BYTES) < 0); // sorted
        assert_recodes(&roster_parser, buf_bytes(&out));
    } else {
        assert_code(e, CODE_FORMAT);
        assert_int_equal(out.len, 0);
    }
    buf_clear(&out);
    return ok;
}

static void double_nodes_names_and_tags_are_refused(void **state)
{
    (void)state;
    assert_true(encodes(6, "second", NULL, NULL));
    assert_true(encodes(4, "second", "a", "b")); // sorted by id
    assert_false(encodes(5, "second", NULL, NULL));
    assert_false(encodes(6, "first", NULL, NULL));
    assert_false(encodes(6, "Second", NULL, NULL));
    assert_false(encodes(6, "", NULL, NULL));
    assert_false(encodes(6, "second", "b", "a"));
    assert_false(encodes(6, "second", "a", "a"));
    assert_false(encodes(6, "second", "", NULL));
    assert_false(encodes(6, "second", "A", NULL));
}

static void nodes_out_of_order_are_refused_when_decoded(void **state)
{
    (void)state;
    struct roster_node nodes[2] = {
        {.node_id = {1}, .name = bytes_of_text("a")}, {.node_id = {2}, .name = bytes_of_text("b")}};
    struct roster roster = {2, nodes};
    struct buf out = {0};
    struct err e;
    assert_true(roster_encode(&roster, &out, &e));
    uint8_t *first = memchr(out.at + 15, 0xc4, 9); // the first node_id's header
    assert_non_null(first);
    assert_int_equal(first[2], 1);
    first[2] = 3;
    assert_refused(&roster_parser, buf_bytes(&out));
    first[2] = 2;
    assert_refused(&roster_parser, buf_bytes(&out));
    buf_clear(&out);
}

static void empty_expected_path_is_refused(void **state)
{
    (void)state;
    for (size_t len = 0; len < 2; len++) {
        struct buf out = {0};
        static const uint8_t id[HASH_BYTES];
        wire_put_open(&out, 3, "bento-roster");
        wire_put_array(&out, 1);
        wire_put_array(&out, 6);
        wire_put_hash(&out, id);
        wire_put_text(&out, "a");
        wire_put_array(&out, 0);
        wire_put_str(&out, bytes_of("/", len));
        wire_put_text(&out, "");
        wire_put_nil(&out);
        if (len == 1)
            assert_recodes(&roster_parser, buf_bytes(&out));
        else
            assert_refused(&roster_parser, buf_bytes(&out));
        buf_clear(&out);
    }
}

static void tags_and_texts_at_their_limits(void **state)
{
    (void)state;
    static char text[TREE_PATH_BYTES_MAX + 1];
    memset(text, 'x', sizeof(text));
    for (size_t extra = 0; extra < 2; extra++) {
        struct roster_node nodes[2] = {{.node_id = {1}, .name = bytes_of_text("a")},
            {.node_id = {2}, .name = bytes_of_text("b")}};
        struct roster one = {1, &nodes[0]}, other = {1, &nodes[1]};
        struct buf out = {0};
        struct err e;
        nodes[0].expected = bytes_of(text, STORE_PATH_BYTES_MAX + extra);
        nodes[1].directory = bytes_of(text, TREE_PATH_BYTES_MAX + extra);
        assert_int_equal(roster_encode(&one, &out, &e), extra == 0);
        assert_int_equal(roster_encode(&other, &out, &e), extra == 0);
        buf_clear(&out);

        static const uint8_t id[HASH_BYTES];
        wire_put_open(&out, 3, "bento-roster");
        wire_put_array(&out, 1);
        wire_put_array(&out, 6);
        wire_put_hash(&out, id);
        wire_put_text(&out, "a");
        wire_put_array(&out, TAGS_MAX + extra);
        for (size_t i = 0; i < TAGS_MAX + extra; i++)
            wire_put_str(&out, bytes_of(text, i + 1));
        wire_put_nil(&out);
        wire_put_text(&out, "");
        wire_put_nil(&out);
        if (extra == 0)
            assert_recodes(&roster_parser, buf_bytes(&out));
        else
            assert_refused(&roster_parser, buf_bytes(&out));
        buf_clear(&out);
    }
}

static void claim_of_many_nodes_costs_nothing(void **state)
{
    (void)state;
    struct buf out = {0};
    static uint8_t zeros[4096];
    wire_put_open(&out, 3, "bento-roster");
    wire_put_array(&out, TICKETS_MAX);
    buf_append(&out, zeros, sizeof(zeros));
    assert_refused(&roster_parser, buf_bytes(&out));
    buf_clear(&out);
}

static void roster_too_long_is_refused_by_its_length(void **state)
{
    (void)state;
    struct roster roster;
    struct err e;
    assert_false(roster_decode(bytes_of("", ROSTER_BYTES_MAX + 1), &roster, &e)); // not read
    assert_code(e, CODE_LENGTH);
}

static void empty_roster_round_trips(void **state)
{
    (void)state;
    struct roster roster = {0};
    struct buf out = {0};
    struct err e;
    assert_true(roster_encode(&roster, &out, &e));
    assert_recodes(&roster_parser, buf_bytes(&out));
    buf_clear(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_roster_says_what_was_put_in),
        cmocka_unit_test(damaged_roster_is_refused_or_another_roster),
        cmocka_unit_test(node_is_found_by_its_id_only),
        cmocka_unit_test(names_are_lower_case_digits_and_hyphens),
        cmocka_unit_test(double_nodes_names_and_tags_are_refused),
        cmocka_unit_test(nodes_out_of_order_are_refused_when_decoded),
        cmocka_unit_test(empty_expected_path_is_refused),
        cmocka_unit_test(tags_and_texts_at_their_limits),
        cmocka_unit_test(claim_of_many_nodes_costs_nothing),
        cmocka_unit_test(roster_too_long_is_refused_by_its_length),
        cmocka_unit_test(empty_roster_round_trips),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
