// A Merkle tree in the shape of RFC 9162 §2.1, SHA-256. PROTOCOL.md §merkle
#pragma once

#include "bounds.h"
#include "bytes.h"

// The one typedef: C has no other way to say array of arrays.
typedef uint8_t merkle_hash[HASH_BYTES];

void merkle_leaf(struct bytes ticket, merkle_hash leaf);
// Root over count ≥ 1 leaves.
void merkle_root(const merkle_hash *leaves, size_t count, merkle_hash root);
// Path of leaf `index`; returns the number of hashes written (at most PATH_HASHES_MAX for count ≤
// TICKETS_MAX).
size_t merkle_path(
    const merkle_hash *leaves, size_t count, size_t index, merkle_hash path[PATH_HASHES_MAX]);
// Take `size` from the signed head: a path verifies under many (index, size) claims.
bool merkle_verify(uint64_t index, uint64_t size, const merkle_hash leaf, const merkle_hash *path,
    size_t path_len, const merkle_hash root);
