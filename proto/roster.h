// Who is in a release, for admins and the collector; never sent to nodes. PROTOCOL.md §roster
#pragma once

#include "bounds.h"
#include "wire.h"

struct roster_node {
    uint8_t node_id[HASH_BYTES];
    struct bytes name;
    size_t tag_count;
    struct bytes tags[TAGS_MAX];
    struct bytes expected; // store path; empty: none (nil on the wire)
    struct bytes directory;
    // The tree's blob, so that the broker knows which blobs a release needs.
    bool has_tree;
    uint8_t tree_hash[HASH_BYTES];
};

struct roster {
    size_t count;
    // Strictly ascending by node_id; the array is owned, its bytes are borrowed.
    struct roster_node *nodes;
};

// Sorts and appends. FORMAT if a rule is broken (names and tags [a-z0-9-]{1,63}, names unique, tags
// ascending).
MUST_CHECK bool roster_encode(struct roster *roster, struct buf *out, struct err *e);
// LENGTH, FORMAT. On success the caller calls roster_clear(); message must outlive *roster.
MUST_CHECK bool roster_decode(struct bytes message, struct roster *roster, struct err *e);
void roster_clear(struct roster *roster);
// NULL if absent.
const struct roster_node *roster_find(
    const struct roster *roster, const uint8_t node_id[HASH_BYTES]);
bool name_is_clean(struct bytes name); // [a-z0-9-]{1,63}
