// The floor on disk: `floor` in state/apply, a second copy elsewhere that survives a wiped /var,
// and the minimum that the configuration gives. The largest counts; what they hold is verify.h's.
#pragma once

#include "config.h"
#include "verify.h"

// dir: the folder of the first copy. config->floor_copy NULL: there is no second one. Changes
// nothing on disk. A copy that cannot be read is an error, not a lower floor.
MUST_CHECK bool floor_load(
    const struct config *config, int dir, struct floor *floor, struct err *e);
// Both copies are durable when it returns true, and *floor is *raised. Writes nothing if it is that
// already.
MUST_CHECK bool floor_raise(const struct config *config, int dir, struct floor *floor,
    const struct floor *raised, struct err *e);
