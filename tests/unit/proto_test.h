// What the tests of proto share: keys from seeds, and the damages that every parser must survive.
#pragma once

// cmocka.h wants these before it
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bytes.h"
#include "proto_golden.h"
#include "sshkey.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

static inline void key_from_seed(uint8_t fill, struct secret_key *key)
{
    uint8_t seed[32];
    memset(seed, fill, sizeof(seed));
    *key = (struct secret_key){.public.type = KEY_ED25519};
    crypto_sign_seed_keypair(key->public.ed25519, key->ed25519, seed);
}

static inline struct buf from_hex(const char *hex)
{
    struct buf out = {0};
    size_t len = strlen(hex) / 2;
    buf_reserve(&out, len + 1);
    assert_true(hex_decode(hex, strlen(hex), out.at, len));
    out.len = len;
    return out;
}

static inline void assert_bytes(struct bytes got, struct bytes want)
{
    assert_int_equal(got.len, want.len);
    if (want.len != 0)
        assert_memory_equal(got.at, want.at, want.len);
}

static inline void assert_filled(const uint8_t *at, uint8_t fill, size_t len)
{
    for (size_t i = 0; i < len; i++)
        assert_int_equal(at[i], fill);
}

// One parser under test: decodes the message and, if it is accepted, appends the encoding of what
// it understood.
struct parser {
    bool (*recode)(struct bytes message, struct buf *out, struct err *e);
    enum code refusal; // the only code that a damaged message may earn
};

// In a heap block of exactly its size, so that the sanitizer sees every byte read too far.
static inline bool recode_copy(const struct parser *parser, struct bytes message, struct buf *out)
{
    uint8_t *exact = malloc(message.len == 0 ? 1 : message.len);
    struct err e = {.code = CODE_OK};
    assert_non_null(exact);
    if (message.len != 0)
        memcpy(exact, message.at, message.len);
    bool ok = parser->recode(bytes_of(exact, message.len), out, &e);
    if (!ok) {
        assert_string_equal(code_name(e.code), code_name(parser->refusal));
        assert_true(e.text[0] != '\0');
    }
    free(exact);
    return ok;
}

static inline void assert_refused(const struct parser *parser, struct bytes message)
{
    struct buf out = {0};
    assert_false(recode_copy(parser, message, &out));
    assert_int_equal(out.len, 0);
    buf_clear(&out);
}

static inline void assert_recodes(const struct parser *parser, struct bytes message)
{
    struct buf out = {0};
    assert_true(recode_copy(parser, message, &out));
    assert_bytes(buf_bytes(&out), message);
    buf_clear(&out);
}

static inline void every_truncation_is_refused(const struct parser *parser, struct bytes golden)
{
    for (size_t len = 0; len < golden.len; len++)
        assert_refused(parser, bytes_of(golden.at, len));
}

static inline void trailing_byte_is_refused(const struct parser *parser, struct bytes golden)
{
    struct buf longer = {0};
    buf_append(&longer, golden.at, golden.len);
    buf_append(&longer, "", 1);
    assert_refused(parser, buf_bytes(&longer));
    longer.at[golden.len] = 0xc0; // a nil: well-formed, still too much
    assert_refused(parser, buf_bytes(&longer));
    buf_clear(&longer);
}

// Refused, or understood so that the encoding gives the very same bytes: no two messages mean the
// same.
static inline void every_flip_is_refused_or_recodes(
    const struct parser *parser, struct bytes golden)
{
    struct buf flipped = {0};
    size_t refused = 0;
    buf_append(&flipped, golden.at, golden.len);
    for (size_t bit = 0; bit < 8 * golden.len; bit++) {
        struct buf out = {0};
        flipped.at[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (recode_copy(parser, buf_bytes(&flipped), &out))
            assert_bytes(buf_bytes(&out), buf_bytes(&flipped));
        else
            refused++;
        flipped.at[bit / 8] ^= (uint8_t)(1u << bit % 8);
        buf_clear(&out);
    }
    assert_true(refused > 0);
    buf_clear(&flipped);
}

static inline void survives_every_damage(const struct parser *parser, const char *golden_hex)
{
    struct buf golden = from_hex(golden_hex);
    assert_recodes(parser, buf_bytes(&golden));
    every_truncation_is_refused(parser, buf_bytes(&golden));
    trailing_byte_is_refused(parser, buf_bytes(&golden));
    every_flip_is_refused_or_recodes(parser, buf_bytes(&golden));
    buf_clear(&golden);
}

// For what is signed or hashed: no flip, no truncation, no trailing byte gets through.
static inline void every_damage_is_refused(struct bytes golden,
    bool (*accepts)(struct bytes message, const void *context), const void *context)
{
    struct buf damaged = {0};
    buf_append(&damaged, golden.at, golden.len);
    buf_append(&damaged, "", 1);
    assert_true(accepts(golden, context));
    assert_false(accepts(buf_bytes(&damaged), context));
    for (size_t len = 0; len < golden.len; len++) {
        uint8_t *exact = malloc(len + 1);
        assert_non_null(exact);
        memcpy(exact + 1, golden.at, len);
        assert_false(accepts(bytes_of(exact + 1, len), context));
        free(exact);
    }
    damaged.len--;
    for (size_t bit = 0; bit < 8 * golden.len; bit++) {
        damaged.at[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_false(accepts(buf_bytes(&damaged), context));
        damaged.at[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_true(accepts(buf_bytes(&damaged), context));
    buf_clear(&damaged);
}

static inline int start_sodium(void **state)
{
    (void)state;
    return sodium_init() < 0 ? -1 : 0;
}

#define assert_code(e, expected) assert_string_equal(code_name((e).code), code_name(expected))
