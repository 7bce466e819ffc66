// --watch and --wait: stays until a person ends it, or until nothing is pending any more.
//
// On a terminal --watch takes the screen, as less does, and gives it back however it ends; each
// drawing is one write over the one before, cut to the screen. Elsewhere it prints a report whenever
// something has changed: one JSON document a line with --json.
#pragma once

#include "status_show.h"

struct status_watch {
    const struct fleet *fleet;
    struct show show;
    bool draws;       // --watch; else only the last report is printed
    bool waits;       // --wait: ends by itself when nothing is pending, or
    uint64_t wait_ms; // after so long
};
// Fails as live_open() does, and if the broker is gone when the wait is over. *exit_status: what the last report is worth.
MUST_CHECK bool status_watch(const struct status_watch *options, int *exit_status, struct err *e);
