#include "release.h"

#include "proto_test.h"

#define NODES 4
#define SIGNER 7

// A whole release, all of whose parts a test may spoil before it is built.
struct world {
    struct trust trust;
    struct head head;
    struct roster_node nodes[NODES];
    struct ticket tickets[NODES];
    size_t node_count, ticket_count;
    bool spoil_roster;
};

static struct world good_world(void)
{
    static const char *const names[NODES] = {"a", "b", "c", "d"};
    struct world world = {.node_count = NODES, .ticket_count = NODES, .trust.threshold = 1};
    struct secret_key key;
    key_from_seed(SIGNER, &key);
    world.trust.signers[0] = key.public;
    world.trust.signer_count = 1;
    world.head = (struct head){.epoch = 1, .release = 5, .expires = 6, .tickets = NODES};
    for (size_t i = 0; i < NODES; i++) {
        world.nodes[i].name = bytes_of_text(names[i]);
        world.nodes[i].node_id[0] = world.tickets[i].node_id[0] = (uint8_t)(i + 1);
        if (i == 3) // d never had a configuration
            continue;
        world.tickets[i].ct_len = 100;
        world.tickets[i].ct_hash[0] = (uint8_t)(0x30 - i);
        world.nodes[i].has_tree = true;
        world.nodes[i].tree_hash[0] = i == 2 ? 0x20 : 0x10; // a and b share one
    }
    return world;
}

static bool verify(struct world *world, struct release *release, struct err *e)
{
    struct buf roster_bytes = {0}, head = {0}, sig = {0}, envelope = {0};
    struct buf ticket_bytes[NODES] = {0};
    struct bytes tickets[NODES];
    merkle_hash leaves[NODES], root;
    struct roster roster = {world->node_count, world->nodes};
    struct secret_key key;
    assert_true(roster_encode(&roster, &roster_bytes, e));
    for (size_t i = 0; i < world->ticket_count; i++) {
        ticket_encode(&world->tickets[i], &ticket_bytes[i]);
        tickets[i] = buf_bytes(&ticket_bytes[i]);
        merkle_leaf(tickets[i], leaves[i]);
    }
    merkle_root((const merkle_hash *)leaves, world->ticket_count, root);
    uint8_t hash[HASH_BYTES];
    sha256(buf_bytes(&roster_bytes), hash);
    for (size_t i = 0; i < HASH_BYTES; i++) { // what the test put there is a difference
        world->head.root[i] ^= root[i];
        world->head.roster[i] ^= hash[i];
    }
    if (world->spoil_roster)
        roster_bytes.at[0] ^= 1;
    head_encode(&world->head, &head);
    key_from_seed(SIGNER, &key);
    sshsig_sign(&key, NAMESPACE_RELEASE, buf_bytes(&head), &sig);
    struct envelope opened = {
        .head = buf_bytes(&head), .signature_count = 1, .signatures[0] = buf_bytes(&sig)};
    envelope_encode(&opened, &envelope);
    bool ok = release_verify(&world->trust, buf_bytes(&envelope), buf_bytes(&roster_bytes), tickets,
        world->ticket_count, release, e);
    if (ok)
        assert_int_equal(release->roster.count, NODES);
    buf_clear(&head);
    buf_clear(&sig);
    buf_clear(&envelope);
    for (size_t i = 0; i < NODES; i++)
        buf_clear(&ticket_bytes[i]);
    // The names in a good release point into this one: the caller looks at numbers only.
    buf_clear(&roster_bytes);
    return ok;
}

static enum code verdict(struct world *world)
{
    struct release release;
    struct err e;
    memset(&release, 0x5a, sizeof(release));
    if (verify(world, &release, &e)) {
        release_clear(&release);
        return CODE_OK;
    }
    assert_filled((const uint8_t *)&release, 0x5a, sizeof(release));
    return e.code;
}

static void whole_release_is_accepted(void **state)
{
    (void)state;
    struct world world = good_world();
    struct release release;
    struct err e;
    assert_true(verify(&world, &release, &e));
    assert_int_equal(release.head.release, 5);
    for (size_t i = 0; i < NODES; i++)
        assert_memory_equal(release.tickets[i].node_id, world.nodes[i].node_id, HASH_BYTES);
    release_clear(&release);
    assert_null(release.tickets);
}

static void needed_blobs_are_distinct_ascending_and_not_of_empty_tickets(void **state)
{
    (void)state;
    static const uint8_t first_bytes[] = {0x10, 0x20, 0x2e, 0x2f, 0x30};
    struct world world = good_world();
    struct release release;
    struct err e;
    size_t count;
    assert_true(verify(&world, &release, &e));
    merkle_hash *blobs = release_blobs(&release, &count);
    assert_int_equal(count, sizeof(first_bytes));
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(blobs[i][0], first_bytes[i]);
        assert_true(bytes_are_zero(blobs[i] + 1, HASH_BYTES - 1));
    }
    free(blobs);
    release_clear(&release);
}

static void release_of_empty_tickets_needs_no_blobs(void **state)
{
    (void)state;
    struct world world = good_world();
    struct release release;
    struct err e;
    size_t count;
    for (size_t i = 0; i < NODES; i++) {
        world.tickets[i].ct_len = 0;
        memset(world.tickets[i].ct_hash, 0, HASH_BYTES);
        world.nodes[i].has_tree = false;
    }
    assert_true(verify(&world, &release, &e));
    merkle_hash *blobs = release_blobs(&release, &count);
    assert_int_equal(count, 0);
    free(blobs);
    release_clear(&release);
}

static void each_fault_has_its_code(void **state)
{
    (void)state;
    struct world world = good_world();
    world.trust.signers[0].ed25519[0] ^= 1;
    assert_int_equal(verdict(&world), CODE_SIGNER);

    world = good_world();
    world.trust.fleet[0] = 1;
    assert_int_equal(verdict(&world), CODE_FLEET);

    world = good_world();
    world.head.expires = 0;
    assert_int_equal(verdict(&world), CODE_FORMAT);

    world = good_world();
    world.head.roster[31] = 1;
    assert_int_equal(verdict(&world), CODE_HASH);

    world = good_world();
    world.spoil_roster = true;
    assert_int_equal(verdict(&world), CODE_HASH);

    world = good_world();
    world.head.tickets = NODES + 1;
    assert_int_equal(verdict(&world), CODE_LENGTH);

    world = good_world();
    world.ticket_count = NODES - 1;
    assert_int_equal(verdict(&world), CODE_LENGTH);

    world = good_world();
    world.node_count = NODES - 1;
    assert_int_equal(verdict(&world), CODE_LENGTH);

    world = good_world();
    world.tickets[1].ct_len = 16;
    assert_int_equal(verdict(&world), CODE_FORMAT);

    world = good_world();
    world.tickets[2].node_id[31] = 1;
    assert_int_equal(verdict(&world), CODE_NOTMINE);

    world = good_world();
    world.head.root[31] = 1;
    assert_int_equal(verdict(&world), CODE_PATH);

    world = good_world();
    world.tickets[0].ct_len = BLOB_BYTES_MAX;
    assert_int_equal(verdict(&world), CODE_OK);
    world = good_world();
    world.tickets[0].ct_len = BLOB_BYTES_MAX + UINT64_C(1);
    assert_int_equal(verdict(&world), CODE_LENGTH);
}

static void first_fault_in_the_order_of_the_checks_decides(void **state)
{
    (void)state;
    struct world world = good_world();
    world.tickets[2].node_id[31] = 1; // NOTMINE
    world.head.root[31] = 1;          // PATH
    assert_int_equal(verdict(&world), CODE_NOTMINE);
    struct world worse = good_world();
    worse.tickets[2].node_id[31] = 1;
    worse.head.tickets = NODES + 1; // LENGTH
    assert_int_equal(verdict(&worse), CODE_LENGTH);
    worse = good_world();
    worse.head.tickets = NODES + 1;
    worse.head.roster[0] = 1; // HASH
    assert_int_equal(verdict(&worse), CODE_HASH);
    worse = good_world();
    worse.head.roster[0] = 1;
    worse.trust.fleet[0] = 1;
    assert_int_equal(verdict(&worse), CODE_FLEET);
}

static void signed_roster_that_breaks_a_rule_or_is_too_long_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct world world = good_world();
        struct bytes roster = bytes_of_text("no roster");
        struct buf head = {0}, sig = {0}, envelope = {0};
        struct secret_key key;
        struct release release;
        struct err e;
        sha256(roster, world.head.roster);
        head_encode(&world.head, &head);
        key_from_seed(SIGNER, &key);
        sshsig_sign(&key, NAMESPACE_RELEASE, buf_bytes(&head), &sig);
        struct envelope opened = {
            .head = buf_bytes(&head), .signature_count = 1, .signatures[0] = buf_bytes(&sig)};
        envelope_encode(&opened, &envelope);
        if (i == 1)
            roster.len = ROSTER_BYTES_MAX + 1; // not read
        assert_false(
            release_verify(&world.trust, buf_bytes(&envelope), roster, NULL, 0, &release, &e));
        assert_code(e, i == 0 ? CODE_FORMAT : CODE_LENGTH);
        buf_clear(&head);
        buf_clear(&sig);
        buf_clear(&envelope);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_release_is_accepted),
        cmocka_unit_test(needed_blobs_are_distinct_ascending_and_not_of_empty_tickets),
        cmocka_unit_test(release_of_empty_tickets_needs_no_blobs),
        cmocka_unit_test(each_fault_has_its_code),
        cmocka_unit_test(first_fault_in_the_order_of_the_checks_decides),
        cmocka_unit_test(signed_roster_that_breaks_a_rule_or_is_too_long_is_refused),
    };
    return cmocka_run_group_tests(tests, start_sodium, NULL);
}
