// What the machine runs, read from the links that NixOS keeps.
#pragma once

#include "bounds.h"
#include "config.h"

#include <limits.h>

struct system_facts {
    char booted[STORE_PATH_BYTES_MAX + 1]; // /run/booted-system; "" if there is none
    // Of a specialisation the toplevel above it, as far as system_look() has been told of it.
    char running[STORE_PATH_BYTES_MAX + 1]; // /run/current-system
    char began[STORE_PATH_BYTES_MAX + 1];   // of booted
    char profile[STORE_PATH_BYTES_MAX +
                 1];                   // what the system profile points to, through its generation
    char specialisation[NAME_MAX + 1]; // of running, "" if none
    char began_specialisation[NAME_MAX + 1];
    uint8_t boot_id[16];
    bool reboot; // kernel, initrd or kernel-modules of the profile are not the booted ones
};

// running is a specialisation if the profile or one of the toplevels has it as its child. toplevels:
// NULL-terminated, "" is skipped; may be NULL.
void system_look(
    const struct config *config, const char *const *toplevels, struct system_facts *facts);
// What is to be switched to: the specialisation of a toplevel, if it has one of that name ("" none).
void system_variant(const char *toplevel, const char *specialisation, char path[PATH_MAX]);
// The environment of nix, switch and health commands: PATH of the configuration, HOME, and the few
// variables that NixOS sets for nix. NULL-terminated; `extra` ("NAME=value", may be NULL) comes
// last. Free with environment_free.
char **environment_new(const struct config *config, const char *extra);
void environment_free(char ***environment);
