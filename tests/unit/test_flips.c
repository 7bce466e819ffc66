// Everything that travels from an admin to a node, and every bit of it: whatever is flipped, cut
// off or added on the way, the node's whole chain of checks refuses. See test_head and its like for
// the parsers alone.
#include "decision.h"
#include "verify.h"

#include "proto_test.h"
#include "rt_test.h"
#include "world.h"

// A release on its way to one node.
enum part { ENVELOPE, PROVEN, BUNDLE, TREE, PARTS };

struct way {
    struct world world;
    struct bytes parts[PARTS];
    enum part damaged;
    size_t refusals[CODE_COUNT];
};

static int make_way(void **state)
{
    struct way *way = xcalloc(1, sizeof *way);
    if (sodium_init() < 0)
        return -1;
    world_make(&way->world, true);
    way->parts[ENVELOPE] = buf_bytes(&way->world.envelope);
    way->parts[PROVEN] = buf_bytes(&way->world.provens[WORLD_NODE]);
    way->parts[BUNDLE] = buf_bytes(&way->world.blobs[WORLD_NODE]);
    way->parts[TREE] = buf_bytes(&way->world.tree_blob);
    *state = way;
    return 0;
}

static int end_way(void **state)
{
    struct way *way = *state;
    world_clear(&way->world);
    free(way);
    return 0;
}

// The chain of a node, first contact; OK or the code of the first failure.
static enum code verdict(const struct way *way, const struct bytes parts[PARTS])
{
    const struct world *world = &way->world;
    struct floor floor = {0}, raised = {0};
    struct head head;
    struct ticket ticket;
    struct opened opened = {0};
    uint8_t hash[HASH_BYTES];
    struct err e = {0};
    if (!verify_head(&world->trust, &floor, parts[ENVELOPE], &head, hash, &raised, &e)) {
        assert_int_equal(raised.epoch + raised.release, 0);
        return e.code;
    }
    if (!verify_expiry(&head, 1700000001, &e) ||
        !proven_verify(parts[PROVEN], &head, world->ids[WORLD_NODE], &ticket, &e) ||
        !verify_bundle(&ticket, parts[BUNDLE], &world->keys[WORLD_NODE], &opened, &e))
        return e.code;
    bool ok = verify_tree(&opened, parts[TREE], &e);
    if (ok) {
        assert_bytes(buf_bytes(&opened.bundle_plain), buf_bytes(&world->bundle));
        assert_bytes(buf_bytes(&opened.tree_plain), buf_bytes(&world->tree));
    }
    opened_clear(&opened);
    return ok ? CODE_OK : e.code;
}

static bool arrives(struct bytes message, const void *context)
{
    const struct way *way = context;
    struct bytes parts[PARTS];
    for (size_t i = 0; i < PARTS; i++)
        parts[i] = i == way->damaged ? message : way->parts[i];
    enum code code = verdict(way, parts);
    ((size_t *)(uintptr_t)way->refusals)[code]++; // every_damage_is_refused() hands it on as const
    return code == CODE_OK;
}

// Damages one part in every way. Exactly these codes are met, OK for the part as it was among them.
static void damage(struct way *way, enum part part, const enum code *codes, size_t count)
{
    way->damaged = part;
    memset(way->refusals, 0, sizeof way->refusals);
    every_damage_is_refused(way->parts[part], arrives, way);
    for (size_t i = 0; i < count; i++) {
        assert_true(way->refusals[codes[i]] > 0);
        way->refusals[codes[i]] = 0;
    }
    for (size_t code = CODE_OK + 1; code < CODE_COUNT; code++)
        assert_int_equal(way->refusals[code], 0);
}
#define DAMAGE(way, part, ...)                                                                     \
    damage(way, part, (const enum code[]){__VA_ARGS__},                                            \
        sizeof((const enum code[]){__VA_ARGS__}) / sizeof(enum code))

static void damaged_envelope_does_not_arrive(void **state)
{
    DAMAGE(*state, ENVELOPE, CODE_FORMAT, CODE_NAMESPACE, CODE_SIGNER);
}

static void damaged_proven_ticket_does_not_arrive(void **state)
{
    DAMAGE(*state, PROVEN, CODE_FORMAT, CODE_NOTMINE, CODE_PATH);
}

static void damaged_blob_of_a_bundle_does_not_arrive(void **state)
{
    DAMAGE(*state, BUNDLE, CODE_LENGTH, CODE_HASH);
}

static void damaged_blob_of_a_tree_does_not_arrive(void **state)
{
    DAMAGE(*state, TREE, CODE_LENGTH, CODE_HASH);
}

static void parts_do_not_arrive_in_each_others_place(void **state)
{
    struct way *way = *state;
    for (size_t part = 0; part < PARTS; part++) {
        for (size_t other = 0; other < PARTS; other++) {
            way->damaged = (enum part)part;
            assert_int_equal(arrives(way->parts[other], way), part == other);
        }
        assert_false(arrives((struct bytes){0}, way));
    }
    for (size_t node = 0; node < WORLD_NODES; node++) {
        way->damaged = PROVEN;
        assert_int_equal(arrives(buf_bytes(&way->world.provens[node]), way), node == WORLD_NODE);
    }
}

// What the admin's machine could sign by mistake: the sealing has to hold by itself. (Of X25519's
// last bit nothing depends but the nonce of a sealed box.)
static void damaged_sealed_key_opens_nothing(void **state)
{
    const struct way *way = *state;
    struct ticket ticket = way->world.tickets[WORLD_NODE];
    struct opened opened = {0};
    struct err e;
    for (size_t bit = 0; bit < 8 * SEALED_KEY_BYTES; bit++) {
        ticket.sealed[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_false(
            verify_bundle(&ticket, way->parts[BUNDLE], &way->world.keys[WORLD_NODE], &opened, &e));
        assert_code(e, CODE_SEAL);
        opened_clear(&opened);
        ticket.sealed[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (size_t node = 0; node < WORLD_NODES; node++) {
        bool ok = verify_bundle(&ticket, way->parts[BUNDLE], &way->world.keys[node], &opened, &e);
        assert_int_equal(ok, node == WORLD_NODE);
        opened_clear(&opened);
    }
}

// A blob of the right name whose content an admin's machine got wrong: the tag has to hold by
// itself.
static bool opens_under_its_new_name(struct bytes blob, const void *context)
{
    const struct way *way = context;
    struct ticket ticket = way->world.tickets[WORLD_NODE];
    struct opened opened = {0};
    struct err e;
    sha256(blob, ticket.ct_hash);
    ticket.ct_len = blob.len;
    bool ok = verify_bundle(&ticket, blob, &way->world.keys[WORLD_NODE], &opened, &e);
    if (!ok)
        assert_code(e, CODE_SEAL);
    opened_clear(&opened);
    return ok;
}

static void damaged_blob_does_not_open_under_a_right_hash(void **state)
{
    const struct way *way = *state;
    every_damage_is_refused(way->parts[BUNDLE], opens_under_its_new_name, way);
}

static bool is_believed(struct bytes message, const void *context)
{
    const struct way *way = context;
    struct status status;
    struct err e;
    return status_verify(message, way->world.trust.fleet, &status, &e);
}

static void damaged_status_does_not_reach_the_collector(void **state)
{
    const struct way *way = *state;
    every_damage_is_refused(buf_bytes(&way->world.signed_status), is_believed, way);
}

// ---- what lies on the node's disk

#define SLOT_BYTES 4096
#define SLOT_USED 192 // header and record, and some of the zeros behind

static void flip(int fd, size_t bit)
{
    uint8_t byte;
    assert_int_equal(pread(fd, &byte, 1, (off_t)(bit / 8)), 1);
    byte ^= (uint8_t)(1u << bit % 8);
    assert_int_equal(pwrite(fd, &byte, 1, (off_t)(bit / 8)), 1);
}

// With the newest record damaged the one before counts; a damaged older one changes nothing. What
// nobody decided never comes out.
static void damaged_decision_is_the_one_before(void **state)
{
    const struct folder *folder = *state;
    const struct job_key key = {.digest = {9}, .attempt = 2}, other = {.digest = {9}, .attempt = 3};
    struct err e;
    size_t fallen_back = 0;
    MUST(decision_write(folder->fd, &key, DECISION_OPEN, &e));   // slot 0
    MUST(decision_write(folder->fd, &key, DECISION_COMMIT, &e)); // slot 1
    CLEANUP_FD fd = openat(folder->fd, "decision", O_RDWR | O_CLOEXEC);
    for (size_t slot = 0; slot < 2; slot++) {
        for (size_t bit = 0; bit < 8 * SLOT_USED; bit++) {
            flip(fd, 8 * SLOT_BYTES * slot + bit);
            enum decision decision = decision_read(folder->fd, &key);
            bool open = slot == 1 && decision == DECISION_OPEN;
            assert_true(open || decision == DECISION_COMMIT);
            assert_int_equal(decision_read(folder->fd, &other), DECISION_NONE);
            fallen_back += open;
            flip(fd, 8 * SLOT_BYTES * slot + bit);
        }
    }
    assert_true(fallen_back > 8 * 64); // all of the header, and the record
    flip(fd, 100);
    flip(fd, 8 * SLOT_BYTES + 100);
    assert_int_equal(decision_read(folder->fd, &key), DECISION_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(damaged_envelope_does_not_arrive),
        cmocka_unit_test(damaged_proven_ticket_does_not_arrive),
        cmocka_unit_test(damaged_blob_of_a_bundle_does_not_arrive),
        cmocka_unit_test(damaged_blob_of_a_tree_does_not_arrive),
        cmocka_unit_test(parts_do_not_arrive_in_each_others_place),
        cmocka_unit_test(damaged_sealed_key_opens_nothing),
        cmocka_unit_test(damaged_blob_does_not_open_under_a_right_hash),
        cmocka_unit_test(damaged_status_does_not_reach_the_collector),
    };
    const struct CMUnitTest disk[] = {
        with_folder(damaged_decision_is_the_one_before),
    };
    return cmocka_run_group_tests(tests, make_way, end_way) +
           cmocka_run_group_tests(disk, NULL, NULL);
}
