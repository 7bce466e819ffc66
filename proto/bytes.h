// Borrowed and owned bytes, and the few things done to both everywhere.
#pragma once

#include "err.h"

#include <stdint.h>

struct bytes {
    const uint8_t *at; // borrowed; may be NULL when len is 0
    size_t len;
};

// An owned, growing buffer. {0} is an empty one. A failed allocation ends the process: a daemon
// that cannot get a few kilobytes cannot do anything useful with the error either.
struct buf {
    uint8_t *at;
    size_t len, room;
};

static inline struct bytes bytes_of(const void *at, size_t len)
{
    return (struct bytes){.at = (const uint8_t *)at, .len = len};
}
static inline struct bytes buf_bytes(const struct buf *b)
{
    return (struct bytes){.at = b->at, .len = b->len};
}
struct bytes bytes_of_text(const char *text); // without the NUL

bool bytes_equal(struct bytes a, struct bytes b); // not constant time; for public data
// memcmp order, a prefix comes first: <0, 0, >0
int bytes_compare(struct bytes a, struct bytes b);
bool bytes_are_zero(const uint8_t *at, size_t len);
bool bytes_equal_text(struct bytes a, const char *text);

// As text with a NUL; it must fit, as what a decoder has checked does.
void bytes_copy_text(struct bytes from, char *text, size_t room);

void buf_reserve(struct buf *b, size_t more);
void buf_append(struct buf *b, const void *at, size_t len);
void buf_append_text(struct buf *b, const char *text);
void buf_printf(struct buf *b, const char *format, ...) PRINTF_LIKE(2, 3);
// NUL-terminates without counting the NUL, so that b->at can be used as text. Never NULL.
const char *buf_text(struct buf *b);
// Wipes and frees; *b is {0} again. Every buffer is wiped: it is cheap, and nobody has to remember
// which held a secret.
void buf_clear(struct buf *b);

// Lower-case hex with NUL; out has room for 2 × len + 1.
void hex_encode(const uint8_t *at, size_t len, char *out);
// Exactly 2 × len lower-case hex digits, or false.
MUST_CHECK bool hex_decode(const char *text, size_t text_len, uint8_t *out, size_t len);

#define HASH_BYTES 32
#define HASH_HEX_BYTES (2 * HASH_BYTES + 1)
void sha256(struct bytes message, uint8_t hash[HASH_BYTES]);

void *xmalloc(size_t len);
void *xcalloc(size_t count, size_t size);
char *xstrdup(const char *text);
