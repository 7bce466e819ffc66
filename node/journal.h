// struct apply on disk: two checksummed slots in a file that was preallocated, so that a full disk
// cannot stop a revert.
//
// The trial comes first and its form is frozen: after a revert the *old* system's bento reads it.
// An unknown version of the rest is started from scratch; it never hides the trial. Else a new system's
// bento has to read what an older one wrote: new fields come last, and may be missing.
#pragma once

#include "apply.h"
#include "fs.h"

#define JOURNAL_BYTES_MAX 8192u // of a record

struct journal {
    struct slots slots;
    struct buf last; // what is on disk
};

// Opens (or makes) `journal` in the folder and reads *apply from it, initial if there is none. A
// record that cannot be read is logged and started from scratch, with its trial if that can be
// read.
MUST_CHECK bool journal_open(struct journal *journal, int dir, struct apply *apply, struct err *e);
// For others than its owner: reads it as it is at this moment. NONE if nothing was ever recorded; after
// another failure *apply is initial but for the trial, if that can be read.
MUST_CHECK bool journal_look(int dir, struct apply *apply, struct err *e);
// Durable when it returns true. Writes nothing if *apply is what is on disk already.
MUST_CHECK bool journal_write(struct journal *journal, const struct apply *apply, struct err *e);
void journal_close(struct journal *journal);

void journal_encode(const struct apply *apply, struct buf *out);
MUST_CHECK bool journal_decode(struct bytes record, struct apply *apply, struct err *e);
