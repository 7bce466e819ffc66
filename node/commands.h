// Subcommands of bento-apply that need no running node.
#pragma once

#include <stdbool.h>

// verify --state DIR [--now SECONDS] ENVELOPE PROVEN [BLOB [TREE]]: argv[0] is the subcommand.
// verify_cmd.c
int verify_main(int argc, char **argv);
// selfcheck ENVELOPE: whether this binary, with the configuration at config_path, can go on from
// the state that is there and would accept this head: exit status 0, or LOCKOUT and why. Changes
// nothing. What preflight asks the new system's bento-apply, so that no release locks its own fleet
// out. selfcheck.c
int selfcheck_main(const char *config_path, int argc, char **argv);
// bootstrap FILE: installs what `bento add-host` wrote as the configuration at config_path,
// readable by all. One of another fleet is replaced only if forced. bootstrap.c
int bootstrap_main(const char *config_path, bool force, int argc, char **argv);
