// From a source in the store to the store path of a system: evaluation and build, as children of a
// pool.
//
// Hosts of one flake are evaluated in one process, one after the other, so that what they share is
// evaluated once; each is built as soon as its own evaluation is over. When one does not evaluate,
// its process ends with it, and only those after it are evaluated anew, in two halves, side by side.
// When memory runs short, the process is ended and another goes on where it was.
#pragma once

#include "pool.h"

// What Nix says a system is, before it is built.
struct system {
    char *out; // store path of config.system.build.toplevel
    char *derivation;
};
void system_clear(struct system *system);

enum build_depth {
    BUILD_EVALUATE,
    BUILD_DRY, // and asks what a build would do
    BUILD_ALL, // and builds, or substitutes, what this machine and its builders can
};

// One host on its way.
struct build {
    const char *source;                       // store path; borrowed, like all texts here
    const char *attribute;                    // of a flake; NULL: classic
    const char *nixpkgs_url, *nixpkgs_sha256; // classic; NULL: the <nixpkgs> of this machine
    enum build_depth depth;
    // What follows it. phase: static text; NULL: it waits for its turn.
    void (*phase)(void *context, const char *phase);
    void (*line)(void *context, struct bytes line);
    void (*done)(void *context, bool ok); // once
    void *context;
    // What came of it
    struct system system;
    bool evaluated_only;         // it was all that was asked, or this machine cannot build it
    unsigned to_build, to_fetch; // BUILD_DRY: store paths
    bool stopped;                // not its own fault: pool_stop()
    struct err failure;          // EVAL, BUILD
    struct buf log;              // lines that Nix said about it, cleaned
    // Inside
    struct pool *pool;
    struct buf nixpkgs;
};

// Queues the hosts of one flake: all of one source.
void build_flake(struct pool *pool, struct build *const *builds, size_t count);
void build_classic(struct pool *pool, struct build *build);
void build_clear(struct build *build);
