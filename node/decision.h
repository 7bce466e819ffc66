// How a trial ends is decided once: commit, revert and the dead man's switch take one lock and obey
// one record, so that they never undo each other. The record names its trial; one about another
// trial says nothing.
#pragma once

#include "job.h"

enum decision {
    DECISION_NONE,   // no record of this trial
    DECISION_OPEN,   // its dead man's switch is armed, nothing is decided
    DECISION_COMMIT, // the new system stays
    DECISION_REVERT, // the old system comes back
};

// dir: state/apply. A record that cannot be read is DECISION_NONE.
enum decision decision_read(int dir, const struct job_key *key);
// Durable when it returns true; works on a full disk once the file exists.
MUST_CHECK bool decision_write(
    int dir, const struct job_key *key, enum decision decision, struct err *e);
