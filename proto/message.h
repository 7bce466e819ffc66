// What travels on PUB, and requests and replies. PROTOCOL.md §bus, §operations
#pragma once

#include "head.h"
#include "ticket.h"

#define TOPIC "BNT1"
#define TOPIC_BYTES 4

enum pub_kind { PUB_RELEASE, PUB_TICK };

struct published {
    enum pub_kind kind;
    uint64_t epoch, release; // tick only
    struct bytes envelope;   // release only, as are the rest; undecoded
    size_t proven_count, blob_count;
    struct bytes *proven, *blobs; // arrays owned, bytes borrowed
};

// With the topic in front. Sorts and leaves out doubles; every proven must be one that
// proven_decode() takes.
void published_encode(const struct published *published, struct buf *out);
void tick_encode(uint64_t epoch, uint64_t release, struct buf *out);
// Either kind, with the topic in front. LENGTH, FORMAT (also when proven or blobs are not in
// strictly ascending order of node_id or ct_hash, or a proven or its ticket is malformed). Caller
// clears on success.
MUST_CHECK bool published_decode(struct bytes message, struct published *published, struct err *e);
void published_clear(struct published *published);

// One table of operations: number, name, who may call it. The body of each stands in PROTOCOL.md
// §operations.
// clang-format off
#define OPS(X)                                                                                     \
    X(1, GET_HEAD, false)      /* → OK envelope | NONE */                                          \
    X(2, GET_TICKET, false)    /* head_hash, node_id → OK proven | NONE | STALE envelope */        \
    X(3, GET_BLOB, false)      /* ct_hash, offset → OK total, chunk | NONE */                      \
    X(4, PUT_STATUS, false)    /* signed → OK seq, SHA-256(signed) | SEQ highest | REFUSED code */ \
    X(16, GET_RELEASE, true)   /* → OK envelope, roster, [ticket …] | NONE */                      \
    X(17, MISSING_BLOBS, true) /* [ct_hash …] → OK [ct_hash …] that are not here whole */          \
    X(18, PUT_BLOB, true)      /* ct_hash, total, offset, chunk → OK have (bytes so far) */        \
    X(19, PUBLISH, true)       /* base head_hash or zeros, envelope, roster, [ticket …] → */       \
                               /* OK | STALE envelope | REFUSED code, text */                      \
    X(20, GET_STATUSES, true)  /* after node_id (zeros: start) → OK more bool, */                  \
                               /* [[node_id, received u64 s, signed] …] newest each */             \
    X(21, GET_HISTORY, true)   /* node_id, before seq (2^64-1: newest) → OK more bool, */          \
                               /* [[received, signed] …] newest first */                         \
    X(22, GET_EARLIER, true)   /* head_hash → OK envelope, roster, [ticket …] | NONE: the */       \
                               /* release that was the newest before that one */
// clang-format on

#define OP_ENUM(number, name, admin) OP_##name = number,
enum op { OPS(OP_ENUM) };
#undef OP_ENUM
const char *op_name(enum op op);

// ["bento-req", 1, op, body…]: opens the request and leaves *in at the first element of the body.
// *elements: length of the body. FORMAT, BAD (no such operation).
MUST_CHECK bool request_open(
    struct bytes message, struct wire_in *in, enum op *op, size_t *elements, struct err *e);
void request_put_open(struct buf *out, enum op op, size_t elements);
// ["bento-rep", 1, code, body…]. The code as text; *code may be any code.
MUST_CHECK bool reply_open(
    struct bytes message, struct wire_in *in, enum code *code, size_t *elements, struct err *e);
void reply_put_open(struct buf *out, enum code code, size_t elements);
