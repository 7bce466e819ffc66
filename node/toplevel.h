// From the files of a configuration to its toplevel: unpacked, added to the store, evaluated, compared
// with what was signed, and only then built.
#pragma once

#include "config.h"
#include "verify.h"

#include <limits.h>

// The files, and nothing else, as the folder state/apply/work/source, whose path it gives.
MUST_CHECK bool source_unpack(const struct config *config, int state, const struct opened *opened,
    char path[PATH_MAX], struct err *e);
// That folder as a store path, the same one on the admin's machine and here; the folder goes.
MUST_CHECK bool source_add(
    const struct config *config, int state, const char *path, struct buf *source, struct err *e);

struct toplevel {
    const struct config *config;
    const struct meta *meta;
    const char *root;     // the GC root to make
    const char *expected; // store path, or "": any
};
// Returns 0 or an OBTAIN_EXIT_ status (actions.h); what is wrong is on stderr.
int toplevel_build(const struct toplevel *t, const char *source);
