#include "ticket.h"

#include "proto_test.h"

static bool recode_ticket(struct bytes message, struct buf *out, struct err *e)
{
    struct ticket ticket;
    if (!ticket_decode(message, &ticket, e))
        return false;
    ticket_encode(&ticket, out);
    return true;
}
static const struct parser ticket_parser = {recode_ticket, CODE_FORMAT};

static bool recode_proven(struct bytes message, struct buf *out, struct err *e)
{
    struct proven proven;
    if (!proven_decode(message, &proven, e))
        return false;
    proven_encode(&proven, out);
    return true;
}
static const struct parser proven_parser = {recode_proven, CODE_FORMAT};

static void golden_ticket_says_what_was_put_in(void **state)
{
    (void)state;
    struct buf golden = from_hex(GOLDEN_TICKET);
    struct ticket ticket;
    struct err e;
    assert_true(ticket_decode(buf_bytes(&golden), &ticket, &e));
    assert_filled(ticket.node_id, 5, 32);
    assert_filled(ticket.ct_hash, 6, 32);
    assert_int_equal(ticket.ct_len, 70000);
    assert_filled(ticket.sealed, 7, 80);
    buf_clear(&golden);
}

static void damaged_ticket_is_refused_or_another_ticket(void **state)
{
    (void)state;
    survives_every_damage(&ticket_parser, GOLDEN_TICKET);
    survives_every_damage(&ticket_parser, GOLDEN_EMPTY_TICKET);
}

static void damaged_proven_ticket_is_refused_or_another_one(void **state)
{
    (void)state;
    survives_every_damage(&proven_parser, GOLDEN_PROVEN);
}

static void blob_without_content_is_refused(void **state)
{
    (void)state;
    for (uint64_t len = 0; len <= 20; len++) {
        struct ticket ticket = {.ct_len = len};
        struct buf out = {0};
        ticket_encode(&ticket, &out);
        if (len == 0 || len >= 17)
            assert_recodes(&ticket_parser, buf_bytes(&out));
        else
            assert_refused(&ticket_parser, buf_bytes(&out));
        buf_clear(&out);
    }
}

static void empty_ticket_with_one_byte_set_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < HASH_BYTES + SEALED_KEY_BYTES; i++) {
        struct ticket ticket = {.ct_len = 0};
        struct buf out = {0};
        memset(ticket.node_id, 1, sizeof(ticket.node_id));
        if (i < HASH_BYTES)
            ticket.ct_hash[i] = 1;
        else
            ticket.sealed[i - HASH_BYTES] = 1;
        ticket_encode(&ticket, &out);
        assert_refused(&ticket_parser, buf_bytes(&out));
        buf_clear(&out);
    }
}

static void proven_ticket_at_its_limits(void **state)
{
    (void)state;
    static uint8_t content[PROVEN_BYTES_MAX];
    struct err e;
    for (size_t hashes = PATH_HASHES_MAX; hashes <= PATH_HASHES_MAX + 1; hashes++) {
        struct buf out = {0};
        wire_put_open(&out, 5, "bento-proven");
        wire_put_bin(&out, bytes_of_text("ticket"));
        wire_put_u64(&out, 0);
        wire_put_array(&out, hashes);
        for (size_t i = 0; i < hashes; i++)
            wire_put_hash(&out, content);
        if (hashes == PATH_HASHES_MAX)
            assert_recodes(&proven_parser, buf_bytes(&out));
        else
            assert_refused(&proven_parser, buf_bytes(&out));
        buf_clear(&out);
    }
    for (size_t extra = 0; extra < 2; extra++) {
        struct proven proven = {
            .ticket = bytes_of(content, PROVEN_BYTES_MAX - 1 - 13 - 1 - 3 - 1 - 1 + extra)};
        struct buf out = {0};
        proven_encode(&proven, &out);
        assert_int_equal(out.len, PROVEN_BYTES_MAX + extra);
        assert_int_equal(proven_decode(buf_bytes(&out), &proven, &e), extra == 0);
        if (extra == 1)
            assert_code(e, CODE_LENGTH);
        buf_clear(&out);
    }
}

static void largest_honest_proven_ticket_is_below_the_limit(void **state)
{
    (void)state;
    struct ticket ticket = {.ct_len = UINT64_MAX};
    struct buf inner = {0}, out = {0};
    ticket_encode(&ticket, &inner);
    struct proven proven = {
        .ticket = buf_bytes(&inner), .index = TICKETS_MAX - 1, .path_len = PATH_HASHES_MAX};
    proven_encode(&proven, &out);
    assert_true(out.len <= PROVEN_BYTES_MAX);
    buf_clear(&inner);
    buf_clear(&out);
}

// ---- against a head

#define NODES 5

struct world {
    struct head head;
    struct buf tickets[NODES], proven[NODES];
};

static void make_world(struct world *world, uint64_t ct_len)
{
    merkle_hash leaves[NODES];
    *world = (struct world){.head.tickets = NODES};
    for (size_t i = 0; i < NODES; i++) {
        struct ticket ticket = {.ct_len = ct_len};
        memset(ticket.node_id, (int)i + 1, sizeof(ticket.node_id));
        ticket_encode(&ticket, &world->tickets[i]);
        merkle_leaf(buf_bytes(&world->tickets[i]), leaves[i]);
    }
    merkle_root((const merkle_hash *)leaves, NODES, world->head.root);
    for (size_t i = 0; i < NODES; i++) {
        struct proven proven = {.ticket = buf_bytes(&world->tickets[i]), .index = i};
        proven.path_len = merkle_path((const merkle_hash *)leaves, NODES, i, proven.path);
        proven_encode(&proven, &world->proven[i]);
    }
}

static void clear_world(struct world *world)
{
    for (size_t i = 0; i < NODES; i++) {
        buf_clear(&world->tickets[i]);
        buf_clear(&world->proven[i]);
    }
}

static enum code verdict(struct bytes message, const struct head *head, uint8_t node)
{
    uint8_t node_id[HASH_BYTES];
    struct ticket ticket = {.ct_len = 12345};
    struct err e;
    memset(node_id, node, sizeof(node_id));
    if (proven_verify(message, head, node_id, &ticket, &e))
        return CODE_OK;
    assert_int_equal(ticket.ct_len, 12345);
    return e.code;
}

static void own_ticket_of_this_release_is_accepted(void **state)
{
    (void)state;
    struct world world;
    make_world(&world, 100);
    for (uint8_t i = 0; i < NODES; i++)
        assert_int_equal(verdict(buf_bytes(&world.proven[i]), &world.head, i + 1), CODE_OK);
    clear_world(&world);
}

static void another_nodes_ticket_is_not_mine_before_its_path_is_looked_at(void **state)
{
    (void)state;
    struct world world;
    make_world(&world, 100);
    assert_int_equal(verdict(buf_bytes(&world.proven[1]), &world.head, 1), CODE_NOTMINE);
    world.head.root[0] ^= 1;
    assert_int_equal(verdict(buf_bytes(&world.proven[1]), &world.head, 1), CODE_NOTMINE);
    assert_int_equal(verdict(buf_bytes(&world.proven[1]), &world.head, 2), CODE_PATH);
    clear_world(&world);
}

static void path_is_bound_to_root_and_number_of_tickets(void **state)
{
    (void)state;
    struct world world;
    make_world(&world, 100);
    for (uint64_t tickets = 1; tickets < 20; tickets++) {
        struct head head = world.head;
        head.tickets = tickets;
        enum code code = verdict(buf_bytes(&world.proven[4]), &head, 5);
        assert_int_equal(code, tickets == NODES ? CODE_OK : CODE_PATH);
    }
    clear_world(&world);
}

static void malformed_proven_and_ticket_come_first(void **state)
{
    (void)state;
    static uint8_t zeros[PROVEN_BYTES_MAX + 1];
    struct world world;
    struct proven proven = {.ticket = bytes_of_text("no ticket")};
    struct buf out = {0};
    make_world(&world, 100);
    assert_int_equal(verdict(bytes_of(zeros, sizeof(zeros)), &world.head, 1), CODE_LENGTH);
    assert_int_equal(verdict(bytes_of(zeros, sizeof(zeros) - 1), &world.head, 1), CODE_FORMAT);
    assert_int_equal(verdict((struct bytes){0}, &world.head, 1), CODE_FORMAT);
    proven_encode(&proven, &out);
    assert_int_equal(verdict(buf_bytes(&out), &world.head, 1), CODE_FORMAT);
    buf_clear(&out);
    clear_world(&world);
}

static void blob_at_its_limit_is_named_and_above_it_refused(void **state)
{
    (void)state;
    struct world world;
    make_world(&world, BLOB_BYTES_MAX);
    assert_int_equal(verdict(buf_bytes(&world.proven[2]), &world.head, 3), CODE_OK);
    clear_world(&world);
    make_world(&world, BLOB_BYTES_MAX + UINT64_C(1));
    assert_int_equal(verdict(buf_bytes(&world.proven[2]), &world.head, 3), CODE_LENGTH);
    clear_world(&world);
}

static bool node_4_accepts(struct bytes message, const void *context)
{
    return verdict(message, context, 4) == CODE_OK;
}

static void damaged_proof_is_refused(void **state)
{
    (void)state;
    struct world world;
    make_world(&world, 100);
    every_damage_is_refused(buf_bytes(&world.proven[3]), node_4_accepts, &world.head);
    clear_world(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_ticket_says_what_was_put_in),
        cmocka_unit_test(damaged_ticket_is_refused_or_another_ticket),
        cmocka_unit_test(damaged_proven_ticket_is_refused_or_another_one),
        cmocka_unit_test(blob_without_content_is_refused),
        cmocka_unit_test(empty_ticket_with_one_byte_set_is_refused),
        cmocka_unit_test(proven_ticket_at_its_limits),
        cmocka_unit_test(largest_honest_proven_ticket_is_below_the_limit),
        cmocka_unit_test(own_ticket_of_this_release_is_accepted),
        cmocka_unit_test(another_nodes_ticket_is_not_mine_before_its_path_is_looked_at),
        cmocka_unit_test(path_is_bound_to_root_and_number_of_tickets),
        cmocka_unit_test(malformed_proven_and_ticket_come_first),
        cmocka_unit_test(blob_at_its_limit_is_named_and_above_it_refused),
        cmocka_unit_test(damaged_proof_is_refused),
    };
    return cmocka_run_group_tests(tests, start_sodium, NULL);
}
