// The order of checks of a release, PROTOCOL.md §checks, in the one place where it stands:
// bento-apply goes through it with what lies in its spool, `bento-apply verify` with files that
// somebody names. The checks themselves are in verify.h.
#pragma once

#include "config.h"
#include "verify.h"

enum verdict {
    VERDICT_READY,   // opened
    VERDICT_EMPTY,   // authentic, nothing for this node yet
    VERDICT_MISSING, // authentic so far, a blob has to be fetched
    VERDICT_SEEN,    // handled before
    VERDICT_REFUSED, // *e has the code
    VERDICT_LATER,   // we could not look (IO, CONFIG); *e says why
};

enum part { PART_ENVELOPE, PART_PROVEN, PART_BUNDLE, PART_TREE };

// Appends a part that is read once, when its turn comes. hash and len: what was signed, of a blob.
// NONE if it is not there: an envelope has to be, without a proven the ticket was withheld, a blob
// may come later. Anything else that is wrong with what others wrote must be a code of §checks; IO
// and CONFIG are troubles of our own.
typedef bool part_reader(void *context, enum part part, const uint8_t hash[HASH_BYTES],
    uint64_t len, struct buf *out, struct err *e);

struct judge {
    const struct config *config; // trust, identity, second copy of the floor
    int dir;                     // folder of the floor
    struct floor *floor;         // raised, on disk first, as soon as the head is authentic
    const uint8_t *node_id;
    const uint8_t *seen; // hash of a head that was handled before; NULL: none
    uint64_t unix_s;     // the clock
    part_reader *read;
    void *context;
};

// What came out, as far as it went. judged_clear() in any case.
struct judged {
    uint8_t envelope_hash[HASH_BYTES]; // SHA-256
    struct head head;                  // if authentic
    uint8_t head_hash[HASH_BYTES];
    struct opened opened;    // READY only
    struct buf envelope;     // as it was checked
    struct buf bundle, tree; // the blobs that were opened: READY only
};
enum verdict judge_release(const struct judge *judge, struct judged *judged, struct err *e);
void judged_clear(struct judged *judged);
