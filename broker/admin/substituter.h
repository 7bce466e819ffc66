// The fleet's binary cache (broker.cache in fleet.nix): nodes get their systems from there instead of
// building them. (cache.h is something else: what this machine remembers.)
#pragma once

#include "parcels.h"

// Before a release is signed. With `upload`, the systems of the release that this machine has are signed
// (`secret_key`) and copied there. Then every host that may only substitute must find its system with
// one of its substituters: BUILD names the first one that would not. Nothing to do without both.
MUST_CHECK bool substituter_fill(const struct assembly *assembly, struct err *e);
// Where `nix copy` goes to: `upload`, and for a binary cache the key that signs what is written. Appends.
void substituter_target(const struct fleet *fleet, struct buf *target);
