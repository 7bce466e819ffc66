// From hosts to a release: evaluate, build, bundle, seal, then tickets, roster and head. Sends
// nothing and signs nothing.
#pragma once

#include "cache.h"
#include "host.h"
#include "release.h"

// How a node ends up in the new release.
enum outcome {
    OUTCOME_KEPT,      // not named: its previous ticket, or an empty one
    OUTCOME_FAILED,    // the same, because it failed
    OUTCOME_UNCHANGED, // named, and it is the ticket it had
    OUTCOME_CHANGED,   // a new ticket
};

struct parcel {
    const struct host *host;
    bool selected;
    enum outcome outcome;
    bool evaluated_only; // this machine cannot build it
    struct err failure;  // OUTCOME_FAILED
    struct buf log;      // what Nix said; may be empty
    struct system system;
    struct ticket ticket; // ct_len 0: it never had one
    uint8_t digest[HASH_BYTES];
    struct buf expected, directory; // for the roster
    bool has_tree;
    uint8_t tree_hash[HASH_BYTES];
    double seconds;
};

struct assembly {
    const struct fleet *fleet;
    const struct hosts *hosts;
    const struct cache *cache;
    const struct release *previous; // NULL: none, or nothing of it may be taken over
    // What the command line asks for
    const char *action; // NULL: as fleet.nix says
    bool eval_only, retry, no_fallback;
    // Called when a host is done. May be NULL.
    void (*done)(void *context, const struct parcel *parcel);
    void *context;
    // Made here
    size_t count;
    struct parcel *parcels; // one a node, in the fleet's order
    uint8_t retry_nonce[16];
};

// One parcel for every node; failures stay in the parcels.
void assemble_parcels(struct assembly *assembly, const bool *chosen);

struct draft {
    struct head head;
    struct buf head_message, roster;
    size_t count;
    struct buf *tickets; // in roster order
};
// The release that the parcels make. now_s: unix seconds. CONFIG: no nodes; EPOCH: an older epoch
// than the previous one; a previous number more than a day ahead of the clock.
MUST_CHECK bool assemble_draft(
    const struct assembly *assembly, uint64_t now_s, struct draft *draft, struct err *e);
void draft_clear(struct draft *draft);
void assembly_clear(struct assembly *assembly);
