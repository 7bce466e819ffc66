// What the jobs run: subcommands of bento-apply, one a kind. They act on the system; they decide
// nothing but what stands here.
#pragma once

#include "config.h"

// Exit statuses of `obtain`.
#define OBTAIN_EXIT_BUILD 1
#define OBTAIN_EXIT_EVAL 2
#define OBTAIN_EXIT_EXPECTED 3
#define OBTAIN_EXIT_IO 4
#define OBTAIN_EXIT_LOCKOUT 5
// The dead man's switch found its trial decided, and did nothing.
#define REVERT_EXIT_OVER 3

struct invocation {
    const struct config *config;
    const char *state; // state/apply
    int argc;
    char **argv; // behind the subcommand
};

// obtain DIGEST: toplevel of the kept configuration by substitution, else by evaluating and
// building; the result is the GC root roots/DIGEST. obtain.c
int action_obtain(const struct invocation *call);
// check DIGEST: the health commands, in order; the first that fails ends it. check.c
int action_check(const struct invocation *call);
// try DIGEST ATTEMPT NEW: switch-to-configuration test, unless the trial has been reverted already.
// trial.c
int action_try(const struct invocation *call);
// commit DIGEST ATTEMPT NEW OLD OLDPROFILE: profile, then boot loader; if that fails the old ones
// are put back. trial.c
int action_commit(const struct invocation *call);
// revert DIGEST ATTEMPT OLD OLDPROFILE [AFTER_MS]: ends a switch that still runs, brings back
// profile and system. With AFTER_MS it is the dead man's switch: it waits first, and acts only if
// its own trial is on record and undecided. trial.c
int action_revert(const struct invocation *call);

// run.c: one command with the environment of nix and switch commands, output to ours; returns its
// exit status (as a shell's).
int run_command(
    const struct config *config, const char *const *argv, const char *extra_environment);
// The same, its standard output collected without the final newline. false if it fails (status in
// *status).
MUST_CHECK bool run_collect(
    const struct config *config, const char *const *argv, struct buf *out, int *status);
