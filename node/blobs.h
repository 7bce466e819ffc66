// Blobs on their way into the spool: partial downloads, and the finished ones in spool/in/blobs. A
// blob enters the spool whole, with its hash checked, by rename.
#pragma once

#include "spool.h"

struct blobs {
    int partial; // node/partial
    int done;    // spool/in/blobs; borrowed
    // Those in the spool whose hash was seen to be right, and the file that it was.
    struct sound_blob {
        uint8_t hash[HASH_BYTES];
        uint64_t device, inode, bytes;
        int64_t changed_s, changed_ns;
    } sound[4];
    unsigned next_sound;
};

MUST_CHECK bool blobs_open(
    struct blobs *blobs, const struct config *config, const struct spool *spool, struct err *e);
void blobs_close(struct blobs *blobs);
enum blob_state { BLOB_MISSING, BLOB_CORRUPT, BLOB_SOUND };
// Reads the whole of a file that was not looked at before or has changed since. CORRUPT: its bytes were
// not what its name says, and it has been removed.
enum blob_state blobs_look(struct blobs *blobs, const uint8_t hash[HASH_BYTES]);
// How much of it is here: where to go on.
uint64_t blobs_offset(const struct blobs *blobs, const struct want_blob *blob);
// Appends what was received at `offset`. *done when it is complete and in the spool. HASH: the
// whole is not what its name says and was thrown away. LENGTH: more than announced. IO.
MUST_CHECK bool blobs_add(struct blobs *blobs, const struct want_blob *blob, uint64_t offset,
    struct bytes chunk, bool *done, struct err *e);
// What has come of it so far is worth nothing: begin anew.
void blobs_drop(struct blobs *blobs, const struct want_blob *blob);
// Removes everything, finished or partial, that is not one of `count` blobs; with partial_only, of the
// partial ones, since a release in the spool may still need the others.
void blobs_forget(
    struct blobs *blobs, const struct want_blob *needed, size_t count, bool partial_only);
