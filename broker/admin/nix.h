// Running Nix on the admin's machine: the one place that knows its commands and flags.
//
// bento-pub and the node must come to the same store paths, so everything here works on a source
// that `nix-store --add` put into the store, never on a folder of the repository.
#pragma once

#include "pool.h"

// Runs argv with the caller's environment and collects stdout. On failure *e is "WHAT: reason" in
// one line (EVAL), and all that Nix wrote is in *log (may be NULL). With VERBOSE=1 Nix writes to
// the terminal too.
MUST_CHECK bool nix_run(const char *const *argv, const char *what, enum code code, struct buf *out,
    struct buf *log, struct err *e);
// VERBOSE is set, and not to 0.
bool nix_verbose(void);
// `nix eval --json -f FILE` as text.
MUST_CHECK bool nix_eval_file(const char *path, struct buf *json, struct err *e);
// For children of a pool: `nix eval --json INSTALLABLE --apply FUNCTION`, with the lock file as it is. Borrows the arguments.
#define NIX_EVAL_WORDS 17
void nix_eval_argv(const char *installable, const char *function, const char *argv[NIX_EVAL_WORDS]);
// EVAL if what it said shows that the lock file lacks an input: Nix may only warn, and go on with
// what it found, which the node could not repeat.
MUST_CHECK bool nix_check_locked(struct buf *log, struct err *e);
// Did the child do its work? If not, *e is "WHAT: reason" in one line, from its log.
MUST_CHECK bool nix_check(const struct pool_result *result, struct buf *log, const char *what,
    enum code code, struct err *e);
// Appends text as a Nix string literal, quotes and all.
void nix_quote(struct buf *out, const char *text);
// The line of Nix's output that says why: the failed builder, else the last error, with its
// position.
void nix_reason(struct bytes output, char *text, size_t room);
// The last `lines` lines of output, each behind `prefix`. Appends.
void nix_tail(struct bytes output, unsigned lines, const char *prefix, struct buf *out);
