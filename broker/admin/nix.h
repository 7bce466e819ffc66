// Running Nix on the admin's machine: the one place that knows its commands and flags.
//
// bento-pub and the node must come to the same store paths, so everything here works on a source
// that `nix-store --add` put into the store, never on a folder of the repository.
#pragma once

#include "bytes.h"

#include <jansson.h>

// Runs argv with the caller's environment and collects stdout. On failure *e is "WHAT: reason" in
// one line (EVAL), and all that Nix wrote is in *log (may be NULL). With VERBOSE=1 Nix writes to
// the terminal too.
MUST_CHECK bool nix_run(const char *const *argv, const char *what, enum code code, struct buf *out,
    struct buf *log, struct err *e);
// `nix eval --json -f FILE` as text.
MUST_CHECK bool nix_eval_file(const char *path, struct buf *json, struct err *e);
// `nix eval --json path:SOURCE#ATTRIBUTE --apply FUNCTION`, with the lock file as it is: an input
// that is not locked is an error. *json is the caller's.
MUST_CHECK bool nix_eval_flake(const char *source, const char *attribute, const char *function,
    json_t **json, struct buf *log, struct err *e);
// Appends text as a Nix string literal, quotes and all.
void nix_quote(struct buf *out, const char *text);
// The line of Nix's output that says why: the failed builder, else the last error, with its
// position.
void nix_reason(struct bytes output, char *text, size_t room);
// The last `lines` lines of output, each behind `prefix`. Appends.
void nix_tail(struct bytes output, unsigned lines, const char *prefix, struct buf *out);
