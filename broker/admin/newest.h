// The newest release of a fleet that this machine has published or seen, kept beside the cache.
//
// A broker that hides a release and the statuses that speak of it, or was restored from an old
// backup, shows a database in which everything is genuine: only a memory of our own can tell.
#pragma once

#include "release.h"

// release: what the broker shows, verified; NULL: nothing. True: there is nothing newer that we know
// of, and it is remembered. ROLLBACK: we know a newer one. EQUIVOCATION: another one under that
// number. A memory that cannot be read or written is no memory: true.
MUST_CHECK bool newest_check(const uint8_t fleet[32], const struct release *release, struct err *e);
