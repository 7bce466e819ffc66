// From parcels to a release: tickets, roster and head. Sends nothing and signs nothing.
#pragma once

#include "parcels.h"

struct draft {
    struct head head;
    struct buf head_message, roster;
    size_t count;
    struct buf *tickets; // in roster order
};
// The release that the parcels make. now_s: unix seconds. CONFIG: no nodes; EPOCH: an older epoch
// than the previous one; a previous number more than a day ahead of the clock.
MUST_CHECK bool assemble_draft(
    const struct assembly *assembly, uint64_t now_s, struct draft *draft, struct err *e);
void draft_clear(struct draft *draft);
