#include "verify.h"

#include <sodium.h>
#include <string.h>

void floor_encode(const struct floor *floor, struct buf *out)
{
    wire_put_open(out, 5, "bento-floor");
    wire_put_u64(out, floor->epoch);
    wire_put_u64(out, floor->release);
    if (floor->has_hash) {
        wire_put_hash(out, floor->head_hash);
    } else {
        wire_put_nil(out);
    }
}

bool floor_decode(struct bytes message, struct floor *floor, struct err *e)
{
    *floor = (struct floor){0};
    struct wire_in in = wire_in(message);
    wire_open(&in, 5, "bento-floor");
    floor->epoch = wire_u64(&in, UINT64_MAX);
    floor->release = wire_u64(&in, UINT64_MAX);
    floor->has_hash = !wire_nil(&in);
    if (floor->has_hash) {
        wire_bin_copy(&in, floor->head_hash, HASH_BYTES);
    }
    return wire_end(&in, "floor", e);
}

struct floor floor_merge(const struct floor *a, const struct floor *b)
{
    int order = release_compare(a->epoch, a->release, b->epoch, b->release);
    if (order != 0) {
        return order > 0 ? *a : *b;
    }
    struct floor merged = a->has_hash ? *a : *b;
    merged.poisoned =
        a->poisoned || b->poisoned ||
        (a->has_hash && b->has_hash && memcmp(a->head_hash, b->head_hash, HASH_BYTES) != 0);
    return merged;
}

static bool check_floor(const struct floor *floor, const struct head *head,
    const uint8_t head_hash[HASH_BYTES], struct err *e)
{
    bool first = floor->epoch == 0 && floor->release == 0;
    if (!first && (head->epoch < floor->epoch || head->epoch - floor->epoch > 1)) {
        return err_set(e, CODE_EPOCH, "epoch %llu, this node is at %llu",
            (unsigned long long)head->epoch, (unsigned long long)floor->epoch);
    }
    int order = release_compare(head->epoch, head->release, floor->epoch, floor->release);
    if (order < 0) {
        return err_set(e, CODE_ROLLBACK, "release %llu, this node has seen %llu",
            (unsigned long long)head->release, (unsigned long long)floor->release);
    }
    bool other = floor->has_hash && memcmp(floor->head_hash, head_hash, HASH_BYTES) != 0;
    if (order == 0 && (floor->poisoned || other)) {
        return err_set(
            e, CODE_EQUIVOCATION, "a second head numbered %llu", (unsigned long long)head->release);
    }
    return true;
}

bool verify_head(const struct trust *trust, const struct floor *floor, struct bytes envelope,
    struct head *head, uint8_t head_hash[HASH_BYTES], struct floor *raised, struct err *e)
{
    if (!trust_verify(trust, envelope, head, head_hash, e) ||
        !check_floor(floor, head, head_hash, e)) {
        return false;
    }
    *raised = (struct floor){.epoch = head->epoch, .release = head->release, .has_hash = true};
    memcpy(raised->head_hash, head_hash, HASH_BYTES);
    return true;
}

bool verify_expiry(const struct head *head, uint64_t unix_s, struct err *e)
{
    uint64_t now = unix_s > head->release ? unix_s : head->release;
    if (now >= head->expires) {
        return err_set(e, CODE_EXPIRED, "release %llu expired %llu s ago",
            (unsigned long long)head->release, (unsigned long long)(now - head->expires));
    }
    return true;
}

bool verify_bundle(const struct ticket *ticket, struct bytes blob,
    const struct secret_key *identity, struct opened *opened, struct err *e)
{
    *opened = (struct opened){.ticket = *ticket};
    uint8_t key[BLOB_KEY_BYTES];
    bool ok = blob_check(blob, ticket->ct_len, ticket->ct_hash, e) &&
              key_open(ticket->sealed, identity, key, e) &&
              blob_open(blob, key, &opened->bundle_plain, e);
    sodium_memzero(key, sizeof key);
    if (ok && !bundle_decode(buf_bytes(&opened->bundle_plain), &opened->bundle, e)) {
        ok = err_wrap(e, "bundle");
    }
    if (!ok) {
        buf_clear(&opened->bundle_plain);
    }
    return ok;
}

bool verify_tree(struct opened *opened, struct bytes blob, struct err *e)
{
    const struct bundle *bundle = &opened->bundle;
    if (!bundle->has_tree) {
        bundle_digest(bundle, NULL, opened->digest);
        return true;
    }
    struct tree tree;
    struct buf plain CLEANUP(buf_clear) = {0};
    if (!blob_check(blob, bundle->tree_len, bundle->tree_hash, e) ||
        !blob_open(blob, bundle->tree_key, &plain, e) ||
        !tree_decode(buf_bytes(&plain), &tree, e)) {
        return err_wrap(e, "tree");
    }
    tree_clear(&tree);
    uint8_t plain_hash[HASH_BYTES];
    sha256(buf_bytes(&plain), plain_hash);
    bundle_digest(bundle, plain_hash, opened->digest);
    opened->tree_plain = plain;
    plain = (struct buf){0};
    return true;
}

void opened_clear(struct opened *opened)
{
    bundle_clear(&opened->bundle);
    buf_clear(&opened->bundle_plain);
    buf_clear(&opened->tree_plain);
}
