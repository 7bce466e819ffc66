#include "bytes.h"

#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct bytes bytes_of_text(const char *text)
{
    return bytes_of(text, strlen(text));
}

bool bytes_equal(struct bytes a, struct bytes b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}

int bytes_compare(struct bytes a, struct bytes b)
{
    size_t common = a.len < b.len ? a.len : b.len;
    int order = common == 0 ? 0 : memcmp(a.at, b.at, common);
    if (order != 0)
        return order;
    return (a.len > b.len) - (a.len < b.len);
}

bool bytes_are_zero(const uint8_t *at, size_t len)
{
    return len == 0 || sodium_is_zero(at, len) == 1;
}

bool bytes_equal_text(struct bytes a, const char *text)
{
    return bytes_equal(a, bytes_of_text(text));
}

void bytes_copy_text(struct bytes from, char *text, size_t room)
{
    ASSERT(from.len < room);
    if (from.len > 0) {
        memcpy(text, from.at, from.len);
    }
    text[from.len] = '\0';
}

void buf_reserve(struct buf *b, size_t more)
{
    ASSERT(more < SIZE_MAX / 4 && b->len < SIZE_MAX / 4);
    size_t need = b->len + more;
    if (need <= b->room)
        return;
    size_t room = b->room < 32 ? 64 : b->room * 2;
    if (room < need)
        room = need;
    // Not realloc(): it would leave an unwiped copy behind.
    uint8_t *at = xmalloc(room);
    if (b->len != 0)
        memcpy(at, b->at, b->len);
    if (b->at != NULL)
        sodium_memzero(b->at, b->room);
    free(b->at);
    b->at = at;
    b->room = room;
}

void buf_append(struct buf *b, const void *at, size_t len)
{
    if (len == 0)
        return;
    buf_reserve(b, len);
    memcpy(b->at + b->len, at, len);
    b->len += len;
}

void buf_append_text(struct buf *b, const char *text)
{
    buf_append(b, text, strlen(text));
}

void buf_printf(struct buf *b, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    ASSERT(len >= 0);
    buf_reserve(b, (size_t)len + 1);
    vsnprintf((char *)b->at + b->len, (size_t)len + 1, format, again);
    va_end(again);
    b->len += (size_t)len;
}

const char *buf_text(struct buf *b)
{
    buf_reserve(b, 1);
    b->at[b->len] = '\0';
    return (const char *)b->at;
}

void buf_clear(struct buf *b)
{
    if (b->at != NULL)
        sodium_memzero(b->at, b->room);
    free(b->at);
    *b = (struct buf){0};
}

void hex_encode(const uint8_t *at, size_t len, char *out)
{
    sodium_bin2hex(out, 2 * len + 1, at, len);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

bool hex_decode(const char *text, size_t text_len, uint8_t *out, size_t len)
{
    if (text_len != 2 * len)
        return false;
    for (size_t i = 0; i < text_len; i++) {
        if (hex_digit(text[i]) < 0)
            return false;
    }
    for (size_t i = 0; i < len; i++)
        out[i] = (uint8_t)(hex_digit(text[2 * i]) << 4 | hex_digit(text[2 * i + 1]));
    return true;
}

void sha256(struct bytes message, uint8_t hash[HASH_BYTES])
{
    crypto_hash_sha256(hash, message.len == 0 ? (const uint8_t *)"" : message.at, message.len);
}

void *xmalloc(size_t len)
{
    void *at = malloc(len == 0 ? 1 : len);
    if (at == NULL)
        assert_failed("out of memory", __FILE__, __LINE__);
    return at;
}

void *xcalloc(size_t count, size_t size)
{
    void *at = count == 0 || size == 0 ? calloc(1, 1) : calloc(count, size);
    if (at == NULL)
        assert_failed("out of memory", __FILE__, __LINE__);
    return at;
}

char *xstrdup(const char *text)
{
    size_t room = strlen(text) + 1;
    return memcpy(xmalloc(room), text, room);
}
