// A small fleet with one release, made by the encoders themselves: what the corpora hold, and what
// tests damage.
#pragma once

#include "bundle.h"
#include "roster.h"
#include "status.h"
#include "ticket.h"
#include "tree.h"
#include "trust.h"

#define WORLD_NODES 3
// This one has a bundle with a tree; the first is empty, the last substitutes only.
#define WORLD_NODE 1

struct world {
    struct trust trust;
    struct secret_key admin, keys[WORLD_NODES]; // ascending by node id
    uint8_t ids[WORLD_NODES][HASH_BYTES];
    struct buf tree, bundle; // WORLD_NODE's, plain
    struct buf tree_blob, blobs[WORLD_NODES];
    struct ticket tickets[WORLD_NODES];
    struct buf raw_tickets[WORLD_NODES], provens[WORLD_NODES];
    struct buf roster, head_bytes, envelope, published;
    struct head head;
    struct status status; // of WORLD_NODE
    struct buf status_body, signed_status;
};

// Without random bytes it is the same world every time, but its keys are not really sealed to the
// nodes.
void world_make(struct world *world, bool really_sealed);
void world_clear(struct world *world);
// The one without random bytes, made once.
const struct world *world_always(void);
// (digest, attempt) of the trial that the seeds of decision and journal are about.
void world_trial(uint8_t digest[HASH_BYTES], uint32_t *attempt);
