// Following a release until every watched node is done with it: what the broker's events say, and
// in between what the collector holds (an event may be lost). Statuses are verified here; the
// broker is not trusted.
#pragma once

#include "release.h"
#include "remote.h"

struct follow {
    struct remote *remote;
    const struct release *release;
    const bool *watched; // one a node of the release's roster
    uint64_t seconds;    // how long at most
    int name_width;      // of the printed lines
};

// Prints a line for each step of each node. *exit_status: 0 all converged, 2 some pending at the
// deadline, 3 some failing.
MUST_CHECK bool follow_release(const struct follow *follow, int *exit_status, struct err *e);
