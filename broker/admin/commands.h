// The subcommands of `bento` that are its own: each takes the rest of the command line (argv[0] is
// its name) and returns an exit status.
#pragma once

int command_init(int argc, char **argv);
int command_add_host(int argc, char **argv);
int command_build(int argc, char **argv);
int command_diff(int argc, char **argv);
int command_flake_update(int argc, char **argv);
int command_remove_host(int argc, char **argv);
int command_ssh(int argc, char **argv);
int command_signers(int argc, char **argv);
int command_broker_config(int argc, char **argv);
int command_authorized_keys(int argc, char **argv);
