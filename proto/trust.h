// Whom a fleet believes, and whether they signed this head. The first half of a node's checks;
// broker and admin use it too.
#pragma once

#include "head.h"
#include "sshsig.h"

struct trust {
    uint8_t fleet[32];
    size_t signer_count;
    struct public_key signers[SIGNERS_MAX];
    unsigned threshold; // ≥ 1
    bool require_pin;
};

// Adds one public key line. CONFIG if it is not one, or the same key stands there already.
MUST_CHECK bool trust_add(struct trust *trust, const char *line, struct err *e);
// CONFIG if there are no signers, or threshold is 0, more than there are, or more than a head can carry.
MUST_CHECK bool trust_check(const struct trust *trust, struct err *e);
// PROTOCOL.md §checks, steps 1–4, first failure wins: LENGTH, FORMAT, NAMESPACE, SIGNER, THRESHOLD,
// FORMAT (head), FLEET. head_hash = SHA-256 of the head's bytes.
MUST_CHECK bool trust_verify(const struct trust *trust, struct bytes envelope, struct head *head,
    uint8_t head_hash[HASH_BYTES], struct err *e);
