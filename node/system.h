// What the machine runs, read from the links that NixOS keeps.
#pragma once

#include "bounds.h"
#include "config.h"

struct system_facts {
    char running[STORE_PATH_BYTES_MAX + 1]; // /run/current-system; "" if there is none
    char booted[STORE_PATH_BYTES_MAX + 1];
    char profile[STORE_PATH_BYTES_MAX +
                 1]; // what the system profile points to, through its generation
    uint8_t boot_id[16];
    bool reboot; // kernel, initrd or kernel-modules of the profile are not the booted ones
};

void system_look(const struct config *config, struct system_facts *facts);
// The environment of nix, switch and health commands: PATH of the configuration, HOME, and the few
// variables that NixOS sets for nix. NULL-terminated; `extra` ("NAME=value", may be NULL) comes
// last. Free with environment_free.
char **environment_new(const struct config *config, const char *extra);
void environment_free(char ***environment);
