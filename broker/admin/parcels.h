// From hosts to parcels: evaluates, builds and seals all that are meant, side by side. Shows how far it
// is and what became of each host on stdout, and why some failed on stderr. Sends and signs nothing.
#pragma once

#include "parcel.h"

struct assembly {
    const struct fleet *fleet;
    const struct hosts *hosts;
    const struct cache *cache;      // NULL: only build, nothing is sealed
    const struct release *previous; // NULL: none, or nothing of it may be taken over
    // What the command line asks for
    const char *action; // NULL: as fleet.nix says
    bool eval_only, retry;
    bool dry;            // ask what a build would do instead of building
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
