// The head of a release and its envelope. PROTOCOL.md §head
#pragma once

#include "bounds.h"
#include "wire.h"

struct head {
    uint8_t fleet[32];
    uint64_t epoch, release; // compared as a pair; release is max(last + 1, unix seconds)
    uint64_t expires;        // unix seconds
    uint64_t fallback_floor; // going back below this release is forbidden; 0: never forbidden
    uint64_t tickets;        // number of leaves, 1..TICKETS_MAX
    uint8_t root[HASH_BYTES];
    uint8_t roster[HASH_BYTES];
    uint8_t nonce[16];
};

struct envelope {
    struct bytes head; // as signed; borrowed
    size_t signature_count;
    struct bytes signatures[SIGNATURES_MAX]; // sshsig blobs, undecoded; borrowed
};

void head_encode(const struct head *head, struct buf *out);
// FORMAT, also for tickets out of range, expires ≤ release, fallback_floor > release, epoch or
// release 0.
MUST_CHECK bool head_decode(struct bytes message, struct head *head, struct err *e);
// LENGTH, FORMAT. The head inside is not looked at.
MUST_CHECK bool envelope_decode(struct bytes message, struct envelope *envelope, struct err *e);
void envelope_encode(const struct envelope *envelope, struct buf *out);
// (epoch, release) as a pair: <0, 0, >0
int release_compare(uint64_t epoch_a, uint64_t release_a, uint64_t epoch_b, uint64_t release_b);
