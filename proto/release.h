// A whole release as broker and admins see it: head, roster and all tickets, checked against each
// other. PROTOCOL.md §release
#pragma once

#include "roster.h"
#include "ticket.h"
#include "trust.h"

struct release {
    struct head head;
    uint8_t head_hash[HASH_BYTES];
    struct roster roster;
    struct ticket *tickets; // roster.count of them, in roster order; owned
};

// trust_verify, then the roster's hash (HASH) and form (FORMAT), as many tickets as the head says
// (LENGTH), ticket i is of roster node i (NOTMINE), Merkle root (PATH), blobs within their limit
// (LENGTH). roster and tickets are borrowed by *release; release_clear() on success.
MUST_CHECK bool release_verify(const struct trust *trust, struct bytes envelope,
    struct bytes roster, const struct bytes *tickets, size_t ticket_count, struct release *release,
    struct err *e);
void release_clear(struct release *release);
// The blobs without which it is incomplete: bundles of non-empty tickets and trees of the roster,
// distinct, ascending. Returns a malloc'ed array.
merkle_hash *release_blobs(const struct release *release, size_t *count);
