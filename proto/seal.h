// Sealed keys and encrypted blobs. PROTOCOL.md §sealing
//
// A blob is XChaCha20-Poly1305 under a fresh key with an all-zero nonce: one key encrypts one
// plaintext, ever. Its key travels in a ticket (or in a bundle, for a tree), sealed to the node's
// ed25519 key converted to X25519.
#pragma once

#include "sshkey.h"

#define BLOB_KEY_BYTES 32
#define BLOB_OVERHEAD_BYTES 16
#define SEALED_KEY_BYTES 80

void blob_new_key(uint8_t key[BLOB_KEY_BYTES]);
// Appends the blob. The caller keeps the promise of one plaintext a key.
void blob_seal(struct bytes plain, const uint8_t key[BLOB_KEY_BYTES], struct buf *blob);
// SEAL if it does not open; plain is untouched then.
MUST_CHECK bool blob_open(
    struct bytes blob, const uint8_t key[BLOB_KEY_BYTES], struct buf *plain, struct err *e);
// Name (SHA-256) and length of a blob against what was signed: LENGTH, then HASH.
MUST_CHECK bool blob_check(
    struct bytes blob, uint64_t len, const uint8_t hash[HASH_BYTES], struct err *e);

// CONFIG if the point is not a good one.
MUST_CHECK bool key_seal(const uint8_t key[BLOB_KEY_BYTES], const struct public_key *to,
    uint8_t sealed[SEALED_KEY_BYTES], struct err *e);
// SEAL if it is not for this node.
MUST_CHECK bool key_open(const uint8_t sealed[SEALED_KEY_BYTES], const struct secret_key *mine,
    uint8_t key[BLOB_KEY_BYTES], struct err *e);
