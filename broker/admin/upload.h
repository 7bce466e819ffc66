// Getting a signed release to the broker: the blobs that it misses, then the release itself.
#pragma once

#include "cache.h"
#include "change.h"
#include "remote.h"

// The blobs that the broker does not hold whole.
struct missing {
    size_t needed; // blobs that the releases name, missing or not
    size_t count;
    struct missing_blob {
        uint8_t hash[HASH_BYTES];
        uint64_t bytes; // 0: not in the cache, so nobody here can send it
    } * list;
    uint64_t bytes; // of all that can be sent
};
MUST_CHECK bool missing_find(struct remote *remote, const struct cache *cache,
    const struct draft *drafts, size_t draft_count, struct missing *missing, struct err *e);
void missing_clear(struct missing *missing);
// NONE, with what to do: one of them lies neither at the broker nor here. Sends nothing.
MUST_CHECK bool missing_check(
    const struct missing *missing, const struct deployment *deployment, struct err *e);
// Goes on where an interrupted upload stopped.
MUST_CHECK bool missing_send(
    struct remote *remote, const struct cache *cache, const struct missing *missing, struct err *e);

// Checks the release as the broker and every admin will, before anything leaves this machine. It
// borrows from draft and envelope; release_clear() on success.
MUST_CHECK bool draft_release(const struct trust *trust, const struct draft *draft,
    struct bytes envelope, struct release *release, struct err *e);
// base: hash of the head that it replaces. STALE: somebody else published meanwhile.
MUST_CHECK bool draft_publish(struct remote *remote, const uint8_t base[HASH_BYTES],
    const struct draft *draft, struct bytes envelope, struct err *e);
