// One host's part of a release: what its node is told, bundled and sealed to it.
#pragma once

#include "build.h"
#include "cache.h"
#include "host.h"
#include "release.h"
#include "secrets.h"

// How a node ends up in the new release.
enum outcome {
    OUTCOME_KEPT,      // not named: its previous ticket, or an empty one
    OUTCOME_FAILED,    // the same, because it failed
    OUTCOME_BUILT,     // and nothing more was asked: no ticket
    OUTCOME_UNCHANGED, // named, and it is the ticket it had
    OUTCOME_CHANGED,   // a new ticket
};

struct parcel {
    const struct host *host;
    bool selected;
    enum outcome outcome;
    bool evaluated_only;         // this machine cannot build it
    struct err failure;          // OUTCOME_FAILED
    struct buf log;              // what Nix said; may be empty
    bool stopped;                // OUTCOME_FAILED, but only since another one did (all_or_nothing)
    unsigned to_build, to_fetch; // dry: store paths
    struct system system;
    struct ticket ticket; // ct_len 0: it never had one
    uint8_t digest[HASH_BYTES];
    struct buf expected, directory; // for the roster
    bool has_tree;
    uint8_t tree_hash[HASH_BYTES];
    struct secrets secrets; // from parcel_gather() until parcel_seal()
    double seconds;
};

struct assembly;
// The secrets of its host. Before anything is built: a command may ask for a passphrase.
MUST_CHECK bool parcel_gather(
    const struct assembly *assembly, struct parcel *parcel, struct err *e);
// Bundles and seals what was built, for one whose system is known.
MUST_CHECK bool parcel_seal(const struct assembly *assembly, struct parcel *parcel, struct err *e);
// The node stays as it was in the previous release, roster entry and all.
void parcel_keep(const struct assembly *assembly, struct parcel *parcel);
// NULL: it had none.
const struct ticket *parcel_previous_ticket(
    const struct assembly *assembly, const struct parcel *parcel);
void parcel_clear(struct parcel *parcel);
