// From what every node is to have, to a release that can be signed: tickets, roster and head.
// PROTOCOL.md §head, §roster. Pure but for the random nonce.
#pragma once

#include "fleet.h"
#include "release.h"

// What one node has in a release. Texts are borrowed.
struct entry {
    const struct fleet_node *node;
    struct ticket ticket; // ct_len 0: no configuration yet
    struct bytes expected, directory;
    bool has_tree;
    uint8_t tree_hash[HASH_BYTES];
};

// The entry that the node has in that release. False: it is not in there; *entry is one without a
// configuration then, of `directory`.
bool entry_of_release(const struct release *release, const struct fleet_node *node,
    const char *directory, struct entry *entry);
bool ticket_same(const struct ticket *a, const struct ticket *b);

// Sorts hashes and drops what is there twice; returns how many are left.
size_t hashes_distinct(merkle_hash *hashes, size_t count);

struct draft {
    struct head head;
    struct buf head_message, roster;
    size_t count;
    struct buf *tickets; // in roster order
    size_t blob_count;
    merkle_hash *blobs; // that it cannot do without: distinct, ascending
};

// Of whom, and on top of what, releases are numbered.
struct numbering {
    const struct fleet *fleet;
    const struct head *previous; // NULL: there is none, or nothing of it counts
    bool no_fallback;            // forbid going back below the new release
    uint64_t now_s;              // unix seconds
};
// One entry for every node of the fleet. The fallback floor is the previous one's: a promise that
// the next release does not take back. CONFIG: no nodes, or a previous number more than a day ahead
// of the clock; EPOCH: an older epoch than the previous one.
MUST_CHECK bool draft_make(const struct numbering *numbering, const struct entry *entries,
    size_t count, struct draft *draft, struct err *e);
void draft_clear(struct draft *draft);
