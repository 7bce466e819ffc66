// Blobs on their way into the spool: partial downloads, and the finished ones in spool/in/blobs. A
// blob enters the spool whole, with its hash checked, by rename.
#pragma once

#include "spool.h"

struct blobs {
    int partial; // node/partial
    int done;    // spool/in/blobs; borrowed
};

MUST_CHECK bool blobs_open(
    struct blobs *blobs, const struct config *config, const struct spool *spool, struct err *e);
void blobs_close(struct blobs *blobs);
bool blobs_have(const struct blobs *blobs, const uint8_t hash[HASH_BYTES]);
// How much of it is here: where to go on.
uint64_t blobs_offset(const struct blobs *blobs, const struct want_blob *blob);
// Appends what was received at `offset`. *done when it is complete and in the spool. HASH: the
// whole is not what its name says and was thrown away. LENGTH: more than announced. IO.
MUST_CHECK bool blobs_add(struct blobs *blobs, const struct want_blob *blob, uint64_t offset,
    struct bytes chunk, bool *done, struct err *e);
// Removes everything, finished or partial, that is not one of `count` blobs.
void blobs_forget(struct blobs *blobs, const struct want_blob *needed, size_t count);
