// Which nodes would be left behind if a signer were settled or retired now: `bento signers` refuses
// to finish while there are any. See rotation.h.
#pragma once

#include "fleet.h"

struct laggards {
    size_t count;
    struct buf lines; // "  NAME  why" each
};

// Asks the broker. leaving: the signer that will not count any more, NULL if none leaves. A node is
// up with us if it has applied the newest release, in the fleet's epoch, and was given there what lies
// in its folder now, which names all signers that stay. UNREACHABLE and the like; EPOCH: the fleet's epoch
// has not been deployed, so nobody may go to the next one; SIGNER: the newest release is not signed by
// enough of those who stay, so nobody knows whether they can sign.
MUST_CHECK bool laggards_find(const struct fleet *fleet, const struct public_key *leaving,
    struct laggards *laggards, struct err *e);
void laggards_clear(struct laggards *laggards);
