// What the jobs run: subcommands of bento-apply, one a kind. They act on the system; they decide
// nothing but what stands here.
#pragma once

#include "config.h"

// Exit statuses of `obtain` and `update`.
#define OBTAIN_EXIT_BUILD 1
#define OBTAIN_EXIT_EVAL 2
#define OBTAIN_EXIT_EXPECTED 3
#define OBTAIN_EXIT_IO 4
#define OBTAIN_EXIT_LOCKOUT 5
#define OBTAIN_EXIT_BOOT_ONLY 6 // all is well, but it cannot be tried live
#define OBTAIN_EXIT_DRY 7       // dry-activate failed
// The dead man's switch found its trial decided, and did nothing.
#define REVERT_EXIT_OVER 3
// The dead man's switch has nobody who would start it again.
#define DEADMAN_TRIES 3u
#define DEADMAN_AGAIN_S 60u

struct invocation {
    const struct config *config;
    const char *state; // state/apply
    int argc;
    char **argv; // behind the subcommand
};

// obtain DIGEST: toplevel of the kept configuration by substitution, else by evaluating and
// building; the result is the GC root roots/DIGEST. Then its preflight. obtain.c
int action_obtain(const struct invocation *call);
// update DIGEST: the same configuration with the inputs of its flake updated, in a copy; the result
// is the GC root roots/DIGEST.update. Then its preflight. update.c
int action_update(const struct invocation *call);
// check DIGEST NEW: that the new system's own bento-node runs, and the health commands, in order; again
// and again until all pass or somebody ends it. check.c
int action_check(const struct invocation *call);
// try DIGEST ATTEMPT NEW [SPECIALISATION]: the secrets, then switch-to-configuration test, unless the
// trial has been reverted already; then bento-node starts anew. Exit status of the switch, with 4 only
// for units that had not failed before; TRIED_SECRETS. trial.c
int action_try(const struct invocation *call);
// commit DIGEST ATTEMPT NEW OLD OLDPROFILE [boot]: profile, then boot loader; if that fails the old
// ones are put back. With `boot` the new system need not run. trial.c
int action_commit(const struct invocation *call);
// revert DIGEST ATTEMPT OLD OLDPROFILE [now|deadman [SPECIALISATION [SECRETS]]]: ends a switch that
// still runs, brings back profile, the secrets of the configuration SECRETS ("" unknown) and system. The dead man's switch acts only if its own trial is on
// record and undecided. trial.c
int action_revert(const struct invocation *call);
// restore OLDPROFILE: profile and boot loader, for the reboot that comes next. trial.c
int action_restore(const struct invocation *call);
// install DIGEST: the secrets of the kept configuration, for owners that are known. secrets_cmd.c
int action_install(const struct invocation *call);
// secrets [TOPLEVEL]: sees to it that the secrets are there that the system needs which runs, or the one
// that is about to. Early at a boot and whenever users may have come. secrets_cmd.c
int action_secrets(const struct invocation *call);
// reboot [kexec]: restarts the machine. reboot.c
int action_reboot(const struct invocation *call);
// due: does nothing; that it ended is what a calendar timer has to say. reboot.c
int action_due(const struct invocation *call);

// preflight.c: whether the toplevel behind a GC root may be tried: a NixOS system, room for it, a bento
// in it that can go on from this state and believes this very release. What is wrong is on stderr. 0,
// OBTAIN_EXIT_LOCKOUT, _BUILD, _BOOT_ONLY.
int preflight(const struct invocation *call, const char *root);
// Whether there is room to build at all: on a full store even an evaluation fails, as if it were at
// fault. Says what to do if not.
bool preflight_has_store(void);

// run.c: one command with the environment of nix and switch commands, output to ours; returns its
// exit status (as a shell's).
int run_command(
    const struct config *config, const char *const *argv, const char *extra_environment);
// The same, its standard output collected without the final newline. false if it fails (status in
// *status).
MUST_CHECK bool run_collect(
    const struct config *config, const char *const *argv, struct buf *out, int *status);
// The same as run_command, in a folder.
int run_command_in(const struct config *config, const char *folder, const char *const *argv);
// The same as run_command for at most limit_ms, then SIGTERM and SIGKILL: 124, as timeout(1) has it.
int run_limited(const struct config *config, const char *const *argv, uint64_t limit_ms);
// systemd is process 1 here.
bool has_systemd(void);
