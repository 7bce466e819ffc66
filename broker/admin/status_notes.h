// What the table cannot say: why a machine needs a person, whether it is safe meanwhile, the end of its
// log, and the command to go on with.
#pragma once

#include "rows.h"

// For each shown row that needs a person; the first `most` of them at length. Appends lines.
void status_notes(const struct report *report, const struct rows *rows, size_t most, uint64_t now_s,
    struct buf *out);
