#include "verify.h"

#include "kept.h"
#include "node_test.h"
#include "tree.h"

static struct err e;

#define FLEET_BYTE 7
#define RELEASE 1700000000ull
#define EXPIRES (RELEASE + 90 * 86400)
#define YEAR_2099 4070908800ull

// --- a release, with one thing wrong at a time

struct made {
    struct head head;
    struct trust trust;
    struct floor floor;
    const char *namespace;
    size_t count;
    uint8_t signers[SIGNATURES_MAX]; // seeds
    bool flipped;                    // the head, after it was signed
    struct buf envelope;
};

static void made_init(struct made *m)
{
    *m = (struct made){.head = {.epoch = 3, .release = RELEASE, .expires = EXPIRES, .tickets = 1},
        .namespace = NAMESPACE_RELEASE,
        .count = 2,
        .signers = {1, 2}};
    memset(m->head.fleet, FLEET_BYTE, sizeof m->head.fleet);
    memset(m->trust.fleet, FLEET_BYTE, sizeof m->trust.fleet);
    for (uint8_t seed = 1; seed <= 3; seed++) {
        MUST(trust_add(&m->trust, line_of_key(seed), &e));
    }
    m->trust.threshold = 2;
    m->floor = (struct floor){.epoch = 3, .release = RELEASE - 1, .has_hash = true};
}

static void made_sign(struct made *m)
{
    struct buf head = {0}, signatures[SIGNATURES_MAX] = {{0}};
    struct envelope envelope = {.signature_count = m->count};
    head_encode(&m->head, &head);
    for (size_t i = 0; i < m->count; i++) {
        struct secret_key key;
        key_from_seed(m->signers[i], &key);
        sshsig_sign(&key, m->namespace, buf_bytes(&head), &signatures[i]);
        envelope.signatures[i] = buf_bytes(&signatures[i]);
    }
    if (m->flipped) {
        head.at[head.len - 1] ^= 1; // in the nonce
    }
    envelope.head = buf_bytes(&head);
    buf_clear(&m->envelope);
    envelope_encode(&envelope, &m->envelope);
    buf_clear(&head);
    for (size_t i = 0; i < m->count; i++) {
        buf_clear(&signatures[i]);
    }
}

static bool verify_bytes(
    const struct made *m, struct bytes envelope, struct floor *raised, uint8_t hash[HASH_BYTES])
{
    struct head head;
    return verify_head(&m->trust, &m->floor, envelope, &head, hash, raised, &e);
}

static bool verify(struct made *m, struct floor *raised)
{
    uint8_t hash[HASH_BYTES];
    made_sign(m);
    return verify_bytes(m, buf_bytes(&m->envelope), raised, hash);
}

static void assert_verdict(struct made *m, enum code code)
{
    struct floor raised;
    memset(&raised, 0xee, sizeof raised);
    if (code == CODE_OK) {
        MUST(verify(m, &raised));
        assert_true(raised.epoch == m->head.epoch && raised.release == m->head.release);
        assert_true(raised.has_hash && !raised.poisoned);
    } else {
        MUST_FAIL(verify(m, &raised), code);
        assert_filled((const uint8_t *)&raised, 0xee, sizeof raised); // nothing was raised
    }
}

// --- the order of the checks: everything is wrong, and is mended one by one

static void first_failure_names_the_code(void **state)
{
    (void)state;
    struct made m;
    uint8_t hash[HASH_BYTES];
    struct floor raised;
    made_init(&m);
    m.namespace = NAMESPACE_STATUS;
    m.signers[0] = 8;
    m.signers[1] = 9;
    m.flipped = true;
    m.head.epoch = 9;
    m.head.fleet[0] ^= 1;
    made_sign(&m);

    struct buf large = {0};
    buf_append(&large, m.envelope.at, m.envelope.len);
    while (large.len <= ENVELOPE_BYTES_MAX) {
        buf_append(&large, "", 1);
    }
    MUST_FAIL(verify_bytes(&m, buf_bytes(&large), &raised, hash), CODE_LENGTH);
    MUST_FAIL(verify_bytes(&m, bytes_of(large.at, m.envelope.len + 1), &raised, hash), CODE_FORMAT);
    buf_clear(&large);

    assert_verdict(&m, CODE_NAMESPACE);
    m.namespace = NAMESPACE_RELEASE;
    assert_verdict(&m, CODE_SIGNER); // does not verify
    m.flipped = false;
    assert_verdict(&m, CODE_SIGNER); // by nobody we know
    m.signers[0] = 1;
    assert_verdict(&m, CODE_THRESHOLD);
    m.signers[1] = 1;
    assert_verdict(&m, CODE_THRESHOLD); // one signer twice is one
    m.signers[1] = 2;
    m.head.tickets = 0;
    assert_verdict(&m, CODE_FORMAT); // of the head
    m.head.tickets = 1;
    assert_verdict(&m, CODE_FLEET);
    m.head.fleet[0] ^= 1;
    assert_verdict(&m, CODE_EPOCH);
    m.head.epoch = 3;
    m.floor.release = RELEASE + 1;
    assert_verdict(&m, CODE_ROLLBACK);
    m.floor.release = RELEASE;
    assert_verdict(&m, CODE_EQUIVOCATION);
    m.floor.release = RELEASE - 1;
    assert_verdict(&m, CODE_OK);
    buf_clear(&m.envelope);
}

static void unknown_signer_beside_enough_known_ones_does_not_count(void **state)
{
    (void)state;
    struct made m;
    made_init(&m);
    m.count = 3;
    m.signers[2] = 9;
    assert_verdict(&m, CODE_OK);
    buf_clear(&m.envelope);
}

// --- the floor

static void newer_release_raises_the_floor_to_itself(void **state)
{
    (void)state;
    struct made m;
    struct floor raised;
    struct buf head = {0};
    uint8_t hash[HASH_BYTES];
    made_init(&m);
    m.floor.poisoned = true; // of an older number: over with it
    MUST(verify(&m, &raised));
    head_encode(&m.head, &head);
    sha256(buf_bytes(&head), hash);
    assert_true(raised.epoch == 3 && raised.release == RELEASE && raised.has_hash);
    assert_false(raised.poisoned);
    assert_memory_equal(raised.head_hash, hash, HASH_BYTES);

    m.floor = raised; // the very same again is fine
    MUST(verify(&m, &raised));
    assert_memory_equal(raised.head_hash, hash, HASH_BYTES);
    m.head.nonce[0] ^= 1; // another head of that number is not
    MUST_FAIL(verify(&m, &raised), CODE_EQUIVOCATION);
    buf_clear(&head);
    buf_clear(&m.envelope);
}

static void poisoned_floor_refuses_every_head_of_its_number(void **state)
{
    (void)state;
    struct made m;
    struct floor raised;
    made_init(&m);
    MUST(verify(&m, &raised));
    m.floor = raised;
    m.floor.poisoned = true;
    assert_verdict(&m, CODE_EQUIVOCATION); // also the one whose hash it has
    m.head.release++;
    assert_verdict(&m, CODE_OK);
    buf_clear(&m.envelope);
}

static void floor_without_hash_takes_any_head_of_its_number(void **state)
{
    (void)state;
    struct made m;
    made_init(&m);
    m.floor = (struct floor){.epoch = 3, .release = RELEASE};
    assert_verdict(&m, CODE_OK);
    m.floor.release++;
    assert_verdict(&m, CODE_ROLLBACK);
    buf_clear(&m.envelope);
}

static void first_contact_takes_any_epoch_once(void **state)
{
    (void)state;
    struct made m;
    struct floor raised;
    made_init(&m);
    m.floor = (struct floor){0};
    m.head.epoch = 4711;
    MUST(verify(&m, &raised));
    m.floor = raised;
    m.head.release++;
    m.head.epoch = 4713;
    assert_verdict(&m, CODE_EPOCH);
    m.head.epoch = 4710;
    assert_verdict(&m, CODE_EPOCH);
    m.head.epoch = 4711;
    assert_verdict(&m, CODE_OK);
    buf_clear(&m.envelope);
}

static void next_epoch_may_begin_with_any_number(void **state)
{
    (void)state;
    struct made m;
    made_init(&m);
    m.floor.epoch = 2;
    m.floor.release = UINT64_MAX;
    m.head.release = 1;
    assert_verdict(&m, CODE_OK);
    m.floor.epoch = 1; // but not the one after it
    assert_verdict(&m, CODE_EPOCH);
    m.floor.epoch = 4;
    assert_verdict(&m, CODE_EPOCH);
    m.floor.epoch = UINT64_MAX;
    assert_verdict(&m, CODE_EPOCH);
    buf_clear(&m.envelope);
}

static struct floor floor_of(uint64_t epoch, uint64_t release, uint8_t hash)
{
    struct floor floor = {.epoch = epoch, .release = release, .has_hash = hash != 0};
    memset(floor.head_hash, hash, HASH_BYTES);
    return floor;
}

static void assert_merges(struct floor a, struct floor b, struct floor expected)
{
    for (unsigned turn = 0; turn < 2; turn++) {
        struct floor merged = turn == 0 ? floor_merge(&a, &b) : floor_merge(&b, &a);
        assert_true(merged.epoch == expected.epoch && merged.release == expected.release);
        assert_int_equal(merged.has_hash, expected.has_hash);
        assert_int_equal(merged.poisoned, expected.poisoned);
        if (expected.has_hash && !expected.poisoned) {
            assert_memory_equal(merged.head_hash, expected.head_hash, HASH_BYTES);
        }
    }
}

static void largest_copy_of_the_floor_counts(void **state)
{
    (void)state;
    assert_merges(floor_of(1, 5, 1), floor_of(1, 6, 2), floor_of(1, 6, 2));
    assert_merges(floor_of(1, 9, 1), floor_of(2, 1, 2), floor_of(2, 1, 2)); // as pairs
    assert_merges(floor_of(0, 0, 0), floor_of(1, 1, 1), floor_of(1, 1, 1));
    assert_merges(floor_of(1, 5, 1), floor_of(1, 5, 1), floor_of(1, 5, 1));
    assert_merges(
        floor_of(1, 5, 0), floor_of(1, 5, 1), floor_of(1, 5, 1)); // the minimum fixes none
    assert_merges(floor_of(1, 6, 0), floor_of(1, 5, 1), floor_of(1, 6, 0));
    assert_merges(floor_of(0, 0, 0), floor_of(0, 0, 0), floor_of(0, 0, 0));
}

static void two_copies_that_differ_poison_their_number(void **state)
{
    (void)state;
    struct floor poisoned = floor_of(1, 5, 1);
    poisoned.poisoned = true;
    assert_merges(floor_of(1, 5, 1), floor_of(1, 5, 2), poisoned);
    assert_merges(poisoned, floor_of(1, 5, 0), poisoned); // and stay so
    assert_merges(poisoned, floor_of(1, 6, 3), floor_of(1, 6, 3));
}

static bool recode_floor(struct bytes message, struct buf *out, struct err *fault)
{
    struct floor floor;
    if (!floor_decode(message, &floor, fault)) {
        return false;
    }
    floor_encode(&floor, out);
    return true;
}

static void floor_round_trips_and_no_damage_gets_through(void **state)
{
    (void)state;
    const struct parser parser = {recode_floor, CODE_FORMAT};
    for (uint8_t hash = 0; hash < 2; hash++) {
        struct floor floor = floor_of(3, UINT64_MAX, hash), back;
        struct buf message = {0};
        floor_encode(&floor, &message);
        MUST(floor_decode(buf_bytes(&message), &back, &e));
        assert_memory_equal(&back, &floor, sizeof floor);
        every_truncation_is_refused(&parser, buf_bytes(&message));
        trailing_byte_is_refused(&parser, buf_bytes(&message));
        every_flip_is_refused_or_recodes(&parser, buf_bytes(&message));
        buf_clear(&message);
    }
}

// --- expiry

static void expiry_goes_by_the_later_of_clock_and_number(void **state)
{
    (void)state;
    struct head head = {.release = RELEASE, .expires = EXPIRES};
    MUST(verify_expiry(&head, 0, &e)); // a clock at 1970: the number is a lower bound
    MUST(verify_expiry(&head, RELEASE, &e));
    MUST(verify_expiry(&head, EXPIRES - 1, &e));
    MUST_FAIL(verify_expiry(&head, EXPIRES, &e), CODE_EXPIRED);
    MUST_FAIL(verify_expiry(&head, YEAR_2099, &e), CODE_EXPIRED);
    MUST_FAIL(verify_expiry(&head, UINT64_MAX, &e), CODE_EXPIRED);
    head.expires = RELEASE; // whatever the clock says
    MUST_FAIL(verify_expiry(&head, 0, &e), CODE_EXPIRED);
}

// --- bundle and tree

struct packed {
    struct secret_key identity;
    struct ticket ticket;
    struct buf bundle, tree;    // blobs
    uint8_t digest[HASH_BYTES]; // as the admin computes it
};

static void seal(struct bytes plain, uint8_t key[BLOB_KEY_BYTES], struct buf *blob)
{
    blob_new_key(key);
    buf_clear(blob);
    blob_seal(plain, key, blob);
}

// The ticket of a bundle's plaintext.
static void pack_plain(struct packed *p, struct bytes plain, uint8_t to)
{
    struct secret_key node;
    uint8_t key[BLOB_KEY_BYTES];
    seal(plain, key, &p->bundle);
    key_from_seed(to, &node);
    MUST(key_seal(key, &node.public, p->ticket.sealed, &e));
    public_key_id(&p->identity.public, p->ticket.node_id);
    sha256(buf_bytes(&p->bundle), p->ticket.ct_hash);
    p->ticket.ct_len = p->bundle.len;
}

static void pack_bundle(struct packed *p, struct bundle *bundle, uint8_t to)
{
    struct buf plain = {0};
    MUST(bundle_encode(bundle, &plain, &e));
    pack_plain(p, buf_bytes(&plain), to);
    buf_clear(&plain);
}

static struct bundle bundle_base(void)
{
    struct bundle bundle = {.secret_count = 1};
    bundle.meta.attribute = bytes_of_text("alpha");
    bundle.meta.confirm_s = 60;
    bundle.secrets = xcalloc(1, sizeof *bundle.secrets);
    bundle.secrets[0] = (struct secret){.name = bytes_of_text("token"),
        .owner = bytes_of_text("root"),
        .group = bytes_of_text("root"),
        .mode = 0400,
        .content = bytes_of_text("hush")};
    return bundle;
}

static void tree_plain_of(struct buf *plain)
{
    struct tree_file *files = xcalloc(2, sizeof *files);
    files[0] = (struct tree_file){bytes_of_text("flake.nix"), false, bytes_of_text("{ }")};
    files[1] = (struct tree_file){bytes_of_text("bin/run"), true, bytes_of_text("#!/bin/sh")};
    struct tree tree = {.count = 2, .files = files};
    MUST(tree_encode(&tree, plain, &e));
    tree_clear(&tree);
}

// tree_plain: what the tree's blob holds, NULL for a bundle without tree.
static void pack(struct packed *p, const struct buf *tree_plain)
{
    struct bundle bundle = bundle_base();
    uint8_t hash[HASH_BYTES];
    *p = (struct packed){0};
    key_from_seed(5, &p->identity);
    if (tree_plain != NULL) {
        bundle.has_tree = true;
        seal(buf_bytes(tree_plain), bundle.tree_key, &p->tree);
        sha256(buf_bytes(&p->tree), bundle.tree_hash);
        bundle.tree_len = p->tree.len;
        sha256(buf_bytes(tree_plain), hash);
    }
    pack_bundle(p, &bundle, 5);
    bundle_digest(&bundle, tree_plain != NULL ? hash : NULL, p->digest);
    bundle_clear(&bundle);
}

static void packed_clear(struct packed *p)
{
    buf_clear(&p->bundle);
    buf_clear(&p->tree);
}

static void good_bundle_and_tree_open(void **state)
{
    (void)state;
    struct packed p;
    struct opened opened;
    struct buf plain = {0};
    tree_plain_of(&plain);
    pack(&p, &plain);
    MUST(verify_bundle(&p.ticket, buf_bytes(&p.bundle), &p.identity, &opened, &e));
    assert_true(bytes_equal_text(opened.bundle.secrets[0].content, "hush"));
    MUST(verify_tree(&opened, buf_bytes(&p.tree), &e));
    assert_memory_equal(opened.digest, p.digest, HASH_BYTES);
    assert_bytes(buf_bytes(&opened.tree_plain), buf_bytes(&plain));
    opened_clear(&opened);
    packed_clear(&p);

    pack(&p, NULL);
    MUST(verify_bundle(&p.ticket, buf_bytes(&p.bundle), &p.identity, &opened, &e));
    MUST(verify_tree(&opened, (struct bytes){0}, &e));
    assert_memory_equal(opened.digest, p.digest, HASH_BYTES);
    assert_int_equal(opened.tree_plain.len, 0);
    opened_clear(&opened);
    packed_clear(&p);
    buf_clear(&plain);
}

static void assert_bundle(struct packed *p, struct bytes blob, enum code code)
{
    struct opened opened;
    MUST_FAIL(verify_bundle(&p->ticket, blob, &p->identity, &opened, &e), code);
    opened_clear(&opened); // harmless
}

static void bundle_is_refused_for_the_first_fault(void **state)
{
    (void)state;
    struct packed p;
    struct secret_key other;
    pack(&p, NULL);
    struct buf longer = {0}, flipped = {0};
    buf_append(&longer, p.bundle.at, p.bundle.len);
    buf_append(&longer, "", 1);
    buf_append(&flipped, p.bundle.at, p.bundle.len);
    flipped.at[p.bundle.len / 2] ^= 1;
    key_from_seed(6, &other);

    p.identity = other; // wrong in every way, mended one by one
    assert_bundle(&p, buf_bytes(&longer), CODE_LENGTH);
    assert_bundle(&p, bytes_of(p.bundle.at, p.bundle.len - 1), CODE_LENGTH);
    assert_bundle(&p, (struct bytes){0}, CODE_LENGTH);
    assert_bundle(&p, buf_bytes(&flipped), CODE_HASH);
    assert_bundle(&p, buf_bytes(&p.bundle), CODE_SEAL); // for another node
    key_from_seed(5, &p.identity);
    sha256(buf_bytes(&flipped), p.ticket.ct_hash);
    assert_bundle(&p, buf_bytes(&flipped), CODE_SEAL); // the right key, which does not open it
    pack_plain(&p, bytes_of_text("not a bundle"), 5);
    assert_bundle(&p, buf_bytes(&p.bundle), CODE_ARCHIVE);
    buf_clear(&longer);
    buf_clear(&flipped);
    packed_clear(&p);
}

static void every_truncated_bundle_is_an_archive_fault(void **state)
{
    (void)state;
    struct packed p;
    struct bundle bundle = bundle_base();
    struct buf plain = {0};
    pack(&p, NULL);
    MUST(bundle_encode(&bundle, &plain, &e));
    for (size_t len = 1; len < plain.len; len++) {
        pack_plain(&p, bytes_of(plain.at, len), 5);
        assert_bundle(&p, buf_bytes(&p.bundle), CODE_ARCHIVE);
    }
    bundle_clear(&bundle);
    buf_clear(&plain);
    packed_clear(&p);
}

static void assert_tree(const struct packed *p, struct bytes blob, enum code code)
{
    struct opened opened;
    MUST(verify_bundle(&p->ticket, buf_bytes(&p->bundle), &p->identity, &opened, &e));
    MUST_FAIL(verify_tree(&opened, blob, &e), code);
    assert_int_equal(opened.tree_plain.len, 0);
    opened_clear(&opened);
}

static void tree_is_refused_for_the_first_fault(void **state)
{
    (void)state;
    struct packed p;
    struct buf plain = {0}, damaged = {0};
    tree_plain_of(&plain);
    pack(&p, &plain);
    buf_append(&damaged, p.tree.at, p.tree.len);
    damaged.at[3] ^= 1;
    assert_tree(&p, bytes_of(p.tree.at, p.tree.len - 1), CODE_LENGTH);
    assert_tree(&p, (struct bytes){0}, CODE_LENGTH);
    assert_tree(&p, buf_bytes(&damaged), CODE_HASH);
    packed_clear(&p);

    struct bundle bundle = bundle_base(); // signed as it is, but under another key
    pack(&p, &plain);
    bundle.has_tree = true;
    memset(bundle.tree_key, 0x55, sizeof bundle.tree_key);
    sha256(buf_bytes(&p.tree), bundle.tree_hash);
    bundle.tree_len = p.tree.len;
    pack_bundle(&p, &bundle, 5);
    assert_tree(&p, buf_bytes(&p.tree), CODE_SEAL);
    bundle_clear(&bundle);
    packed_clear(&p);

    buf_append(&plain, "", 1); // canonical but for one byte
    pack(&p, &plain);
    assert_tree(&p, buf_bytes(&p.tree), CODE_ARCHIVE);
    packed_clear(&p);
    buf_clear(&plain);
    buf_clear(&damaged);
}

static void climbing_path_in_a_tree_is_an_archive_fault(void **state)
{
    (void)state;
    struct packed p;
    struct buf plain = {0};
    wire_put_open(&plain, 3, "bento-tree");
    wire_put_array(&plain, 1);
    wire_put_array(&plain, 3);
    wire_put_text(&plain, "../../etc/passwd");
    wire_put_bool(&plain, false);
    wire_put_bin(&plain, bytes_of_text("root::0:0::/:"));
    pack(&p, &plain);
    assert_tree(&p, buf_bytes(&p.tree), CODE_ARCHIVE);
    packed_clear(&p);
    buf_clear(&plain);
}

// --- kept configurations (kept.h): what passed once passes again, and no damage on the disk does

static void store(struct folder *folder, const struct packed *p)
{
    struct opened opened;
    MUST(verify_bundle(&p->ticket, buf_bytes(&p->bundle), &p->identity, &opened, &e));
    MUST(verify_tree(&opened, buf_bytes(&p->tree), &e));
    MUST(kept_store(folder->fd, &opened, buf_bytes(&p->bundle), buf_bytes(&p->tree), &e));
    MUST(kept_store(folder->fd, &opened, buf_bytes(&p->bundle), buf_bytes(&p->tree), &e));
    opened_clear(&opened);
}

static void kept_configuration_opens_again(void **state)
{
    struct folder *folder = *state;
    for (unsigned with_tree = 0; with_tree < 2; with_tree++) {
        struct packed p;
        struct opened opened;
        struct buf plain = {0};
        tree_plain_of(&plain);
        pack(&p, with_tree ? &plain : NULL);
        store(folder, &p);
        MUST(kept_open(folder->fd, p.digest, &p.identity, &opened, &e));
        assert_memory_equal(opened.digest, p.digest, HASH_BYTES);
        assert_int_equal(opened.tree_plain.len, with_tree ? plain.len : 0);
        opened_clear(&opened);
        packed_clear(&p);
        buf_clear(&plain);
    }
}

static void kept_configuration_that_was_damaged_does_not_open(void **state)
{
    struct folder *folder = *state;
    static const char *const names[] = {"ticket", "bundle", "tree"};
    struct packed p;
    struct opened opened;
    struct buf plain = {0};
    char name[HASH_HEX_BYTES], path[HASH_HEX_BYTES + 16];
    tree_plain_of(&plain);
    pack(&p, &plain);
    store(folder, &p);
    hex_encode(p.digest, HASH_BYTES, name);
    for (size_t i = 0; i < 3; i++) {
        struct buf content = {0};
        snprintf(path, sizeof path, "%s/%s", name, names[i]);
        MUST(fs_read(folder->fd, path, 1 << 20, &content, &e));
        content.at[content.len / 2] ^= 1;
        MUST(fs_write(folder->fd, path, buf_bytes(&content), 0600, &e));
        assert_false(kept_open(folder->fd, p.digest, &p.identity, &opened, &e));
        content.at[content.len / 2] ^= 1;
        MUST(fs_write(folder->fd, path, bytes_of(content.at, content.len - 1), 0600, &e));
        assert_false(kept_open(folder->fd, p.digest, &p.identity, &opened, &e));
        MUST(fs_remove(folder->fd, path, &e));
        assert_false(kept_open(folder->fd, p.digest, &p.identity, &opened, &e));
        MUST(fs_write(folder->fd, path, buf_bytes(&content), 0600, &e));
        buf_clear(&content);
    }
    MUST(kept_open(folder->fd, p.digest, &p.identity, &opened, &e));
    opened_clear(&opened);
    packed_clear(&p);
    buf_clear(&plain);
}

static void nothing_of_a_bundle_lies_on_the_disk_in_clear(void **state)
{
    struct folder *folder = *state;
    struct packed p;
    char name[HASH_HEX_BYTES], path[HASH_HEX_BYTES + 16];
    struct buf content = {0};
    pack(&p, NULL);
    store(folder, &p);
    hex_encode(p.digest, HASH_BYTES, name);
    snprintf(path, sizeof path, "%s/bundle", name);
    MUST(fs_read(folder->fd, path, 1 << 20, &content, &e));
    assert_null(memmem(content.at, content.len, "hush", 4));
    buf_clear(&content);
    packed_clear(&p);
}

static void forget_keeps_needed_configurations(void **state)
{
    struct folder *folder = *state;
    struct packed a, b;
    struct buf plain = {0};
    tree_plain_of(&plain);
    pack(&a, &plain);
    pack(&b, NULL);
    store(folder, &a);
    store(folder, &b);
    assert_int_equal(mkdirat(folder->fd, "0123.new", 0700), 0); // a crash in the middle of a store
    const uint8_t *needed[] = {a.digest};
    kept_forget(folder->fd, needed, 1, 0);
    assert_int_equal(count_entries(folder->fd), 1);
    struct opened opened;
    MUST(kept_open(folder->fd, a.digest, &a.identity, &opened, &e));
    opened_clear(&opened);
    kept_forget(folder->fd, needed, 0, 0);
    assert_int_equal(count_entries(folder->fd), 0);
    packed_clear(&a);
    packed_clear(&b);
    buf_clear(&plain);
}

static void forget_spares_the_newest_of_the_others(void **state)
{
    struct folder *folder = *state;
    static const char *const names[] = {"aaaa", "bbbb", "cccc.update", "dddd.new"};
    for (size_t i = 0; i < 4; i++) {
        struct timespec times[2] = {{.tv_sec = 1000 + (time_t)i}, {.tv_sec = 1000 + (time_t)i}};
        assert_int_equal(mkdirat(folder->fd, names[i], 0700), 0);
        assert_int_equal(utimensat(folder->fd, names[i], times, 0), 0);
    }
    kept_forget(folder->fd, NULL, 0, 2);
    assert_int_equal(count_entries(folder->fd), 2);
    assert_true(fs_exists(folder->fd, "bbbb"));
    assert_true(fs_exists(folder->fd, "cccc.update"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_failure_names_the_code),
        cmocka_unit_test(unknown_signer_beside_enough_known_ones_does_not_count),
        cmocka_unit_test(newer_release_raises_the_floor_to_itself),
        cmocka_unit_test(poisoned_floor_refuses_every_head_of_its_number),
        cmocka_unit_test(floor_without_hash_takes_any_head_of_its_number),
        cmocka_unit_test(first_contact_takes_any_epoch_once),
        cmocka_unit_test(next_epoch_may_begin_with_any_number),
        cmocka_unit_test(largest_copy_of_the_floor_counts),
        cmocka_unit_test(two_copies_that_differ_poison_their_number),
        cmocka_unit_test(floor_round_trips_and_no_damage_gets_through),
        cmocka_unit_test(expiry_goes_by_the_later_of_clock_and_number),
        cmocka_unit_test(good_bundle_and_tree_open),
        cmocka_unit_test(bundle_is_refused_for_the_first_fault),
        cmocka_unit_test(every_truncated_bundle_is_an_archive_fault),
        cmocka_unit_test(tree_is_refused_for_the_first_fault),
        cmocka_unit_test(climbing_path_in_a_tree_is_an_archive_fault),
        with_folder(kept_configuration_opens_again),
        with_folder(kept_configuration_that_was_damaged_does_not_open),
        with_folder(nothing_of_a_bundle_lies_on_the_disk_in_clear),
        with_folder(forget_keeps_needed_configurations),
        with_folder(forget_spares_the_newest_of_the_others),
    };
    return cmocka_run_group_tests(tests, start_sodium, NULL);
}
