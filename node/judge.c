#include "judge.h"

#include "floor.h"
#include "keys.h"

#include <inttypes.h>
#include <string.h>

static enum verdict of_error(const struct err *e)
{
    return e->code == CODE_IO || e->code == CODE_CONFIG ? VERDICT_LATER : VERDICT_REFUSED;
}

static bool read_part(const struct judge *judge, enum part part, struct buf *out, struct err *e)
{
    static const uint8_t none[HASH_BYTES];
    return judge->read(judge->context, part, none, 0, out, e);
}

// Bundle, then its tree.
static enum verdict open_blobs(
    const struct judge *judge, const struct ticket *ticket, struct judged *judged, struct err *e)
{
    struct secret_key *identity CLEANUP(keys_free) = NULL;
    struct opened *opened = &judged->opened;
    if (!judge->read(
            judge->context, PART_BUNDLE, ticket->ct_hash, ticket->ct_len, &judged->bundle, e)) {
        return e->code == CODE_NONE ? VERDICT_MISSING : of_error(e);
    }
    if (!keys_load_identity(judge->config, &identity, e) ||
        !verify_bundle(ticket, buf_bytes(&judged->bundle), identity, opened, e)) {
        return of_error(e);
    }
    const struct bundle *bundle = &opened->bundle;
    if (bundle->has_tree && !judge->read(judge->context, PART_TREE, bundle->tree_hash,
                                bundle->tree_len, &judged->tree, e)) {
        return e->code == CODE_NONE ? VERDICT_MISSING : of_error(e);
    }
    return verify_tree(opened, buf_bytes(&judged->tree), e) ? VERDICT_READY : of_error(e);
}

// A part that is not there stands for a ticket that was withheld, and so does one without content.
static enum verdict open_ticket(
    const struct judge *judge, struct judged *judged, struct ticket *ticket, struct err *e)
{
    struct buf proven CLEANUP(buf_clear) = {0};
    if (!read_part(judge, PART_PROVEN, &proven, e) && e->code != CODE_NONE) {
        return of_error(e);
    }
    if (proven.len == 0) {
        err_set(e, CODE_NOTICKET, "release %" PRIu64 " came without this node's ticket",
            judged->head.release);
        return VERDICT_REFUSED;
    }
    if (!proven_verify(buf_bytes(&proven), &judged->head, judge->node_id, ticket, e)) {
        return of_error(e);
    }
    return ticket->ct_len == 0 ? VERDICT_EMPTY : open_blobs(judge, ticket, judged, e);
}

enum verdict judge_release(const struct judge *judge, struct judged *judged, struct err *e)
{
    struct floor raised;
    struct ticket ticket;
    *judged = (struct judged){0};
    if (!read_part(judge, PART_ENVELOPE, &judged->envelope, e)) {
        return of_error(e);
    }
    struct bytes envelope = buf_bytes(&judged->envelope);
    sha256(envelope, judged->envelope_hash);
    if (!verify_head(&judge->config->trust, judge->floor, envelope, &judged->head,
            judged->head_hash, &raised, e)) {
        return VERDICT_REFUSED;
    }
    // Also of one that was seen: a copy of the floor may have been lost since.
    if (!floor_raise(judge->config, judge->dir, judge->floor, &raised, e)) {
        return VERDICT_LATER;
    }
    if (judge->seen != NULL && memcmp(judged->head_hash, judge->seen, HASH_BYTES) == 0) {
        return VERDICT_SEEN;
    }
    if (!verify_expiry(&judged->head, judge->unix_s, e)) {
        return VERDICT_REFUSED;
    }
    return open_ticket(judge, judged, &ticket, e);
}

void judged_clear(struct judged *judged)
{
    opened_clear(&judged->opened);
    buf_clear(&judged->envelope);
    buf_clear(&judged->bundle);
    buf_clear(&judged->tree);
}
