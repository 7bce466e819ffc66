// Releases that are signed already, one a wave: each is published when the hosts of the wave before
// have converged, and stayed so. What is out is a release like any other, so there is nothing to
// undo when this ends early, by a failure, by Ctrl-C or by kill -9: the hosts of later waves keep what
// they have.
#pragma once

#include "interrupt.h"
#include "upload.h"

struct rollout {
    const struct fleet *fleet;
    struct remote *remote;
    const struct deployment *deployment;
    const struct waves *waves;
    const struct draft *drafts; // one a wave, as are
    struct buf *envelopes;
    const uint8_t *base; // head hash of the release that the first one replaces
    uint64_t replaced;   // its number, to go back to; 0: none
    bool wait;           // follow the last one too
    uint64_t wait_seconds, gate_seconds;
    const char *again;     // the command line
    const char *directory; // -C DIR, or NULL
    int name_width;
    // What came of it
    int status;               // 0 all converged, 2 some pending, 3 some failing
    size_t out;               // waves that were published
    struct release published; // the last one, if any; its roster borrows from the draft
    struct interrupt
        interrupt; // caught while there is something to follow, and until it is cleared
};

// False: it ended early; *e says why, and status and out how far it came.
MUST_CHECK bool rollout_run(struct rollout *rollout, struct err *e);
// After an early end: what is out, and the commands to go on and to go back. On stderr.
void rollout_print_ways(const struct rollout *rollout);
void rollout_clear(struct rollout *rollout);
