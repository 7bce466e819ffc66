// Takes a release in, and decides what of it goes out on PUB.
//
// A release is accepted whole or not at all: signatures, structure and expiry are checked here,
// what only the store knows (base, order, blobs) inside its transaction. The broker's own checks
// protect admins from mistakes; no node relies on them.
#pragma once

#include "current.h"
#include "trust.h"

struct publish_request {
    const uint8_t *base; // head hash of the release it replaces; zeros: there is none
    struct bytes envelope, roster;
    struct bytes tickets; // msgpack array of bin
};

// After the commit; previous is gone when this returns.
typedef void publish_announce_fn(
    void *context, const struct current *previous, const struct current *now);

struct publisher {
    struct store *store;
    const struct trust *trust;
    struct current current;
    publish_announce_fn *announce;
    void *context;
};

// True: it is the newest release now, and durable; publishing it once more is fine and announces
// nothing. STALE: base is not the newest head. Else what is wrong with it: a code of
// release_verify(), EXPIRED, EPOCH, ROLLBACK, EQUIVOCATION, NONE (a blob is missing), IO.
MUST_CHECK bool publish_release(struct publisher *publisher, const struct publish_request *request,
    uint64_t now_s, struct err *e);

// Whole, or the envelope alone? Every message goes to every subscriber.
bool publish_goes_whole(uint64_t message_bytes, uint64_t subscribers);
// Appends the message for PUB, with its topic: the envelope, and if that is cheap for so many
// subscribers, all tickets and blobs that differ from previous. *whole says which. Falls back to
// the envelope when a blob cannot be read: nodes then fetch.
void publish_encode(struct store *store, const struct current *previous, const struct current *now,
    unsigned subscribers, bool *whole, struct buf *out);
