// A node's ticket, and the ticket with its path. PROTOCOL.md §ticket
#pragma once

#include "head.h"
#include "merkle.h"
#include "seal.h"

struct ticket {
    uint8_t node_id[HASH_BYTES];
    uint8_t ct_hash[HASH_BYTES]; // the bundle's blob
    uint64_t ct_len;             // 0: an empty ticket, ct_hash and sealed all zero
    uint8_t sealed[SEALED_KEY_BYTES];
};

struct proven {
    struct bytes ticket; // as hashed; borrowed
    uint64_t index;
    size_t path_len;
    merkle_hash path[PATH_HASHES_MAX];
};

void ticket_encode(const struct ticket *ticket, struct buf *out);
MUST_CHECK bool ticket_decode(struct bytes message, struct ticket *ticket, struct err *e); // FORMAT
void proven_encode(const struct proven *proven, struct buf *out);
// LENGTH, FORMAT. The ticket inside is not looked at.
MUST_CHECK bool proven_decode(struct bytes message, struct proven *proven, struct err *e);
// PROTOCOL.md §checks: LENGTH/FORMAT of proven and ticket, NOTMINE, PATH, and LENGTH for a blob
// above its limit (which is no fault of the ticket's form, so ticket_decode() lets it pass).
MUST_CHECK bool proven_verify(struct bytes message, const struct head *head,
    const uint8_t node_id[HASH_BYTES], struct ticket *ticket, struct err *e);
