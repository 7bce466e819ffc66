// A node's checks of a release, in the order of PROTOCOL.md §checks; the first that fails names the
// code. Bytes in, verdict out: reading files and making the floor durable between the two halves is
// the caller's.
#pragma once

#include "bundle.h"
#include "ticket.h"
#include "tree.h"
#include "trust.h"

// The highest release ever seen. (0, 0) accepts any epoch once. A floor without hash (a configured
// minimum) fixes none.
struct floor {
    uint64_t epoch, release;
    bool has_hash;
    uint8_t head_hash[HASH_BYTES];
    bool poisoned; // two copies, one number, two hashes: every head of that number is refused
};

void floor_encode(const struct floor *floor, struct buf *out);
MUST_CHECK bool floor_decode(struct bytes message, struct floor *floor, struct err *e);
// The larger of two copies.
struct floor floor_merge(const struct floor *a, const struct floor *b);

// First half: signatures, threshold, fleet, epoch and number against the floor. On success *raised
// is the floor that must be durable before anything else happens.
MUST_CHECK bool verify_head(const struct trust *trust, const struct floor *floor,
    struct bytes envelope, struct head *head, uint8_t head_hash[HASH_BYTES], struct floor *raised,
    struct err *e);
// EXPIRED iff max(clock, the head's own release number) ≥ expires.
MUST_CHECK bool verify_expiry(const struct head *head, uint64_t unix_s, struct err *e);

// What a ticket's bundle holds, opened. Owned; opened_clear().
struct opened {
    struct ticket ticket;
    struct buf bundle_plain;
    struct bundle bundle; // borrows from bundle_plain
    struct buf tree_plain;
    uint8_t digest[HASH_BYTES];
};
// The bundle: LENGTH, HASH, SEAL, ARCHIVE.
MUST_CHECK bool verify_bundle(const struct ticket *ticket, struct bytes blob,
    const struct secret_key *identity, struct opened *opened, struct err *e);
// Its tree (blob may be {0} if the bundle has none), and the digest. The same codes.
MUST_CHECK bool verify_tree(struct opened *opened, struct bytes blob, struct err *e);
void opened_clear(struct opened *opened);
