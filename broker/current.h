// The newest release, opened up in memory: what the broker answers from. Derived from the store,
// never the other way round.
//
// The Merkle tree is kept with all its levels (64 bytes a node): a path is then a look-up of at
// most PATH_HASHES_MAX hashes, while merkle_path() would hash the whole tree again for each node
// that asks, and after a release all of them ask.
#pragma once

#include "roster.h"
#include "store.h"
#include "ticket.h"

struct current {
    bool present; // false: nothing was published yet, and nothing below means anything
    struct head head;
    uint8_t head_hash[HASH_BYTES];
    struct store_release raw; // owns the bytes
    struct bytes envelope;
    struct roster roster;
    struct bytes *tickets; // in roster order
    unsigned level_count;
    size_t counts[PATH_HASHES_MAX + 1];
    merkle_hash *levels[PATH_HASHES_MAX + 1]; // leaves first, root last
};

// Takes raw (which is empty then) and opens it. Signatures are not looked at: that was done before
// it was stored, perhaps under signers of that time. FORMAT, LENGTH, NOTMINE or PATH: raw is
// damaged, and stays the caller's.
MUST_CHECK bool current_open(struct current *current, struct store_release *raw, struct err *e);
// From the store; not present if nothing was published.
MUST_CHECK bool current_load(struct current *current, struct store *store, struct err *e);
void current_clear(struct current *current);

// The ticket of roster node `index` with its path. Borrowed from *current.
void current_proven(const struct current *current, size_t index, struct proven *proven);
// False if the node is not in the roster.
bool current_find(const struct current *current, const uint8_t node_id[HASH_BYTES], size_t *index);
// The blobs this release needs, distinct, ascending; malloc'ed.
merkle_hash *current_blobs(const struct current *current, size_t *count);
// Splits a msgpack array of ticket messages; a malloc'ed array that borrows from the bytes. FORMAT.
MUST_CHECK bool tickets_split(
    struct bytes message, struct bytes **tickets, size_t *count, struct err *e);
