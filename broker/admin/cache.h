// What an admin's machine remembers about a fleet, so that an unchanged configuration keeps its
// ticket and its blobs:
// ${XDG_CACHE_HOME:-~/.cache}/bento/FLEET/{blobs,trees,tickets}. Losing it costs bandwidth, nothing
// else: whatever is missing, damaged or does not fit together counts as absent and is made anew.
#pragma once

#include "ticket.h"

struct cache {
    int blobs, trees, tickets; // folders
};

// The fleet's folder alone, made if needed, 0700. IO.
MUST_CHECK bool cache_open_folder(const uint8_t fleet[32], int *dir, struct err *e);
// Creates it, 0700. IO.
MUST_CHECK bool cache_open(const uint8_t fleet[32], struct cache *cache, struct err *e);
void cache_close(struct cache *cache);

struct cached_tree {
    uint8_t ct_hash[HASH_BYTES];
    uint64_t ct_len;
    uint8_t key[BLOB_KEY_BYTES];
};

// By the hash of the tree's plaintext. False: not there, or its blob is not.
bool cache_get_tree(
    const struct cache *cache, const uint8_t plain_hash[HASH_BYTES], struct cached_tree *tree);
MUST_CHECK bool cache_put_tree(const struct cache *cache, const uint8_t plain_hash[HASH_BYTES],
    const struct cached_tree *tree, struct bytes blob, struct err *e);

// By node and config digest. tree_hash: the tree's blob that the bundle must name (NULL: none); the
// digest does not cover it, since the same files may have been sealed twice.
bool cache_get_ticket(const struct cache *cache, const uint8_t node_id[HASH_BYTES],
    const uint8_t digest[HASH_BYTES], const uint8_t *tree_hash, struct ticket *ticket);
MUST_CHECK bool cache_put_ticket(const struct cache *cache, const struct ticket *ticket,
    const uint8_t digest[HASH_BYTES], const uint8_t *tree_hash, struct bytes blob, struct err *e);

// Appends the blob. NONE, also if it is damaged.
MUST_CHECK bool cache_get_blob(
    const struct cache *cache, const uint8_t hash[HASH_BYTES], struct buf *blob, struct err *e);
// Its length; 0: not there. What it holds is not looked at.
uint64_t cache_blob_bytes(const struct cache *cache, const uint8_t hash[HASH_BYTES]);
// Removes blobs not written for `days` days that are not among `keep`. What refers to them then
// counts as absent.
void cache_prune(
    const struct cache *cache, const merkle_hash *keep, size_t keep_count, unsigned days);
