// Following a release until every watched node is done with it: what the broker's events say, and
// in between what the collector holds (an event may be lost). Statuses are verified here; the
// broker is not trusted, and may be gone for a while: its own machine may be the one that is
// switched.
#pragma once

#include "release.h"
#include "remote.h"

struct follow {
    struct remote *remote;
    const struct release *release;
    const bool *watched; // one a node of the release's roster
    uint64_t seconds;    // how long at most until all have converged
    int name_width;      // of the printed lines
    int interrupt; // a descriptor that becomes readable when somebody wants to leave; -1: none
    // A wave: ends with the first node that fails or has seen another release, and only after all
    // nodes have stayed converged for that long: the newest status of each still says so, asked
    // again at the end. Time in which this machine sleeps does not count.
    bool wave;
    uint64_t gate_seconds;
};

enum follow_end {
    FOLLOW_DONE,        // every node is done with it, well or not
    FOLLOW_FAILED,      // a wave: one failed
    FOLLOW_OVERTAKEN,   // a wave: a node has seen a release that is not ours
    FOLLOW_LATE,        // the time is over
    FOLLOW_INTERRUPTED, // somebody wanted to leave
};
struct followed {
    enum follow_end end;
    int status;             // 0 all converged, 2 some pending, 3 some failing
    struct roster_node bad; // the first that failed or overtook, with
    char why[160];          // "rolled back: CONNECTIVITY, …"
};

// One line a node: redrawn on a terminal until the node is done, else one for each of its steps.
// UNREACHABLE: the connection to the broker ended for good, or it did not answer until the time was
// over.
MUST_CHECK bool follow_release(
    const struct follow *follow, struct followed *followed, struct err *e);
