// The secrets of one host: files in secrets/ of its folder, and what fleet.nix adds from other
// files or commands.
//
// A folder of several hosts keeps them in secrets/HOST/NAME: hosts of one flake share its files,
// never its secrets.
#pragma once

#include "host.h"

struct secrets {
    size_t count;
    struct secret *list;  // for struct bundle; ascending by name
    struct buf *contents; // what list borrows
    struct names names;   // likewise
};

// CONFIG with the file or command that failed.
MUST_CHECK bool secrets_gather(
    const struct fleet *fleet, const struct host *host, struct secrets *secrets, struct err *e);
void secrets_clear(struct secrets *secrets);
