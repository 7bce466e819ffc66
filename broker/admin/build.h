// From a packed tree to the store path of a system, the way the node will do it again.
//
// Reproducible: the tree is unpacked with the node's own code into a fresh folder `source` that
// holds nothing else, added to the store with `nix-store --add`, and evaluated only there. In
// place, an extra file, an x bit or a newest mtime would change the path.
#pragma once

#include "bytes.h"
#include "fs.h"

// What Nix says a system is, before it is built.
struct system {
    char *out; // store path of config.system.build.toplevel
    char *derivation;
};
void system_clear(struct system *system);

// The tree as /nix/store/…-source. *source is the caller's.
MUST_CHECK bool build_source(struct bytes tree, char **source, struct err *e);
// EVAL: flake.lock names an input that lies on this machine only.
MUST_CHECK bool build_check_lock(struct bytes tree, struct err *e);
// Names of the nixosConfigurations, ascending. EVAL, also if an input is not locked.
MUST_CHECK bool build_list(
    const char *source, struct names *attributes, struct buf *log, struct err *e);

// Evaluates `count` attributes of one flake in one go; if that fails, one by one, so that one
// broken host does not hide the others. failed[i] tells which; errors[i] and logs[i] why.
void build_evaluate_flake(const char *source, const char *const *attributes, size_t count,
    struct system *systems, bool *failed, struct err *errors, struct buf *logs);
// nixpkgs_url NULL: the <nixpkgs> of this machine.
MUST_CHECK bool build_evaluate_classic(const char *source, const char *nixpkgs_url,
    const char *nixpkgs_sha256, struct system *system, struct buf *log, struct err *e);
// Builds or substitutes it. BUILD.
MUST_CHECK bool build_realise(const struct system *system, struct buf *log, struct err *e);
