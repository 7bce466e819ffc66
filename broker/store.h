// What the broker keeps: releases, blobs and statuses, in one SQLite file. Its only state; whatever
// else the broker holds in memory is derived from it and can be lost at any moment.
//
// * One file, STATE/bento.sqlite, in WAL mode with synchronous=FULL: when a function below returns
//   true, what it stored survives a power cut. Backup: `sqlite3 bento.sqlite ".backup FILE"`.
// * All tables are STRICT. The schema moves forward by user_version, one migration a version. A
// file
//   with a newer schema than ours is refused and left exactly as it is.
// * Numbers of the wire format are unsigned with 64 bits, SQLite's are signed: whatever is compared
//   (epoch, release, seq) is stored as 8 bytes, big-endian, whose order as bytes is the right one.
// * A publication is one transaction: compare-and-swap on the newest head, all blobs there, the new
//   rows, and then the oldest releases and the blobs that nobody names any more are forgotten.
//   Blobs touched within UPLOAD_KEPT_S stay, so that an upload under way is never pulled away.
// * A blob is kept as the chunks it came in, one row each, and not as one value written through
//   sqlite3_blob: a value of 64 MiB is a chain of 16 000 overflow pages, and each GET_BLOB would
//   walk it from its start; rows are found by key. Nor is the room then written twice (zeroes
//   first). A blob is `complete`, and only then visible to anybody, when the SHA-256 of all of it
//   is its name.
// * Statuses are kept as the signed bytes that came. The columns beside them are for people with a
//   sqlite3 prompt; nothing in bento believes them.
//
// This header has no SQL in it on purpose: tests and a second backend need nothing but these calls.
// Errors are IO unless a comment says otherwise. One thread.
#pragma once

#include "merkle.h"

#define STORE_FILE "bento.sqlite"
#define UPLOAD_KEPT_S (24u * 3600)

struct store;

// Opens or creates folder/bento.sqlite. CONFIG: a newer schema, or a file that is not ours. The
// caller holds a lock on the folder.
MUST_CHECK bool store_open(const char *folder, struct store **store, struct err *e);
void store_close(struct store *store); // NULL is fine

// A release as it was published. All owned.
struct store_release {
    struct buf envelope, roster;
    struct buf tickets; // msgpack array of bin, in roster order
};
// NONE: nothing was ever published.
MUST_CHECK bool store_newest(struct store *store, struct store_release *release, struct err *e);
// The one published before that with this head. NONE: there is no such head, or none before it.
MUST_CHECK bool store_earlier(struct store *store, const uint8_t head_hash[HASH_BYTES],
    struct store_release *release, struct err *e);
void store_release_clear(struct store_release *release);

struct store_publication {
    const uint8_t *base;      // head hash of the release it replaces; zeros: there is none
    const uint8_t *head_hash; // its own
    uint64_t epoch, release;
    struct bytes envelope, roster, tickets;
    const merkle_hash *blobs; // that it cannot do without
    size_t blob_count;
    uint64_t now_s;
};
// Verifying signatures and structure is the caller's duty; here is checked what only the store
// knows, first failure wins: STALE (base is not the newest head), EPOCH, ROLLBACK, EQUIVOCATION,
// NONE (a blob is not here whole).
MUST_CHECK bool store_publish(
    struct store *store, const struct store_publication *publication, struct err *e);

MUST_CHECK bool store_blob_is_whole(
    struct store *store, const uint8_t hash[HASH_BYTES], bool *whole, struct err *e);
// Stores the chunk if it starts where the stored part ends; any other offset stores nothing and is
// no error. *have: bytes stored so far, where the next chunk belongs. Another total than the first
// chunk's starts the upload anew. LENGTH: the chunk goes beyond total. HASH: all of it is here and
// is something else; the upload is forgotten then.
MUST_CHECK bool store_blob_put(struct store *store, const uint8_t hash[HASH_BYTES], uint64_t total,
    uint64_t offset, struct bytes chunk, uint64_t now_s, uint64_t *have, struct err *e);
// Appends up to max bytes from offset on; nothing at or beyond the end. NONE: not here whole.
MUST_CHECK bool store_blob_read(struct store *store, const uint8_t hash[HASH_BYTES],
    uint64_t offset, size_t max, uint64_t *total, struct buf *out, struct err *e);

enum store_outcome {
    STORE_NEW,   // stored now
    STORE_KNOWN, // the same bytes were stored before
    STORE_OTHER, // other bytes are stored under this number; nothing changed
};
struct store_status {
    uint8_t node_id[HASH_BYTES];
    uint64_t seq, epoch, release, received_s;
    const char *state, *code; // words, for the columns
    struct bytes signed_message;
    enum store_outcome outcome; // result
    uint64_t highest;           // result: largest seq of this node, with STORE_OTHER
};
// All in one transaction; after a failure none is stored. Keeps STATUSES_KEPT_PER_NODE a node.
MUST_CHECK bool store_put_statuses(
    struct store *store, struct store_status *list, size_t count, struct err *e);

// Gets one status, which is borrowed for the call; false: no room for it, stop before it.
typedef bool store_status_fn(void *context, const uint8_t node_id[HASH_BYTES], uint64_t received_s,
    struct bytes signed_message);
// The newest status of each node with an id above `after`, ascending by id. *more: fn stopped it.
MUST_CHECK bool store_newest_statuses(struct store *store, const uint8_t after[HASH_BYTES],
    store_status_fn *fn, void *context, bool *more, struct err *e);
// Statuses of one node with a seq below `before` (UINT64_MAX: all), newest first.
MUST_CHECK bool store_history(struct store *store, const uint8_t node_id[HASH_BYTES],
    uint64_t before, store_status_fn *fn, void *context, bool *more, struct err *e);
