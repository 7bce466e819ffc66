// From hosts to parcels, what each node gets: evaluated, built, bundled and sealed. Shows how far it is
// and what became of each host on stdout, and why some failed on stderr. Sends and signs nothing.
#pragma once

#include "cache.h"
#include "host.h"
#include "release.h"

// How a node ends up in the new release.
enum outcome {
    OUTCOME_KEPT,      // not named: its previous ticket, or an empty one
    OUTCOME_BUILT,     // built, and nothing more was asked: no broker, no ticket
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
    const struct cache *cache;      // NULL: only build, nothing is sealed
    const struct release *previous; // NULL: none, or nothing of it may be taken over
    // What the command line asks for
    const char *action; // NULL: as fleet.nix says
    bool eval_only, retry, no_fallback;
    bool all_or_nothing; // the first failure stops the others
    unsigned jobs;       // how many children of Nix at once; 0: one a processor
    // Made here
    size_t count;
    struct parcel *parcels; // one a node, in the fleet's order
    int name_width;         // of the names in the list
    uint8_t retry_nonce[16];
};

// One parcel for every node; chosen: those that are meant. Failures stay in the parcels and are told at
// the end. Does not return when interrupted (^C, SIGTERM, SIGHUP): ends its children, removes what is
// half done, and then the process ends by that signal.
void assemble_parcels(struct assembly *assembly, const bool *chosen);
size_t assembly_count(const struct assembly *assembly, enum outcome outcome);
void assembly_clear(struct assembly *assembly);
