#include "head.h"

#define TYPE_HEAD "bento-head"
#define TYPE_ENVELOPE "bento-release"

void head_encode(const struct head *head, struct buf *out)
{
    wire_put_open(out, 11, TYPE_HEAD);
    wire_put_hash(out, head->fleet);
    wire_put_u64(out, head->epoch);
    wire_put_u64(out, head->release);
    wire_put_u64(out, head->expires);
    wire_put_u64(out, head->fallback_floor);
    wire_put_u64(out, head->tickets);
    wire_put_hash(out, head->root);
    wire_put_hash(out, head->roster);
    wire_put_bin(out, bytes_of(head->nonce, sizeof(head->nonce)));
}

bool head_decode(struct bytes message, struct head *head, struct err *e)
{
    struct wire_in in = wire_in(message);
    struct head found;
    wire_open(&in, 11, TYPE_HEAD);
    wire_bin_copy(&in, found.fleet, sizeof(found.fleet));
    found.epoch = wire_u64(&in, UINT64_MAX);
    found.release = wire_u64(&in, UINT64_MAX);
    found.expires = wire_u64(&in, UINT64_MAX);
    found.fallback_floor = wire_u64(&in, UINT64_MAX);
    found.tickets = wire_u64(&in, TICKETS_MAX);
    wire_bin_copy(&in, found.root, sizeof(found.root));
    wire_bin_copy(&in, found.roster, sizeof(found.roster));
    wire_bin_copy(&in, found.nonce, sizeof(found.nonce));
    wire_require(&in, found.epoch >= 1, "epoch 0");
    wire_require(&in, found.release >= 1, "release 0");
    wire_require(&in, found.tickets >= 1, "no tickets");
    wire_require(&in, found.expires > found.release, "expires before it was made");
    wire_require(&in, found.fallback_floor <= found.release, "fallback floor above the release");
    if (!wire_end(&in, "head", e))
        return false;
    *head = found;
    return true;
}

bool envelope_decode(struct bytes message, struct envelope *envelope, struct err *e)
{
    if (message.len > ENVELOPE_BYTES_MAX)
        return err_set(e, CODE_LENGTH, "envelope: %zu bytes are too many", message.len);
    struct wire_in in = wire_in(message);
    struct envelope found = {0};
    wire_open(&in, 4, TYPE_ENVELOPE);
    found.head = wire_bin(&in, 0, ENVELOPE_BYTES_MAX);
    found.signature_count = wire_array(&in, 1, SIGNATURES_MAX);
    for (size_t i = 0; i < found.signature_count; i++)
        found.signatures[i] = wire_bin(&in, 0, ENVELOPE_BYTES_MAX);
    if (!wire_end(&in, "envelope", e))
        return false;
    *envelope = found;
    return true;
}

void envelope_encode(const struct envelope *envelope, struct buf *out)
{
    ASSERT(envelope->signature_count <= SIGNATURES_MAX);
    wire_put_open(out, 4, TYPE_ENVELOPE);
    wire_put_bin(out, envelope->head);
    wire_put_array(out, envelope->signature_count);
    for (size_t i = 0; i < envelope->signature_count; i++)
        wire_put_bin(out, envelope->signatures[i]);
}

int release_compare(uint64_t epoch_a, uint64_t release_a, uint64_t epoch_b, uint64_t release_b)
{
    if (epoch_a != epoch_b)
        return epoch_a < epoch_b ? -1 : 1;
    return (release_a > release_b) - (release_a < release_b);
}
