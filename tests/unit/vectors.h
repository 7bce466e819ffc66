// What the tests that read proto/vectors share: JSON to bytes, numbers and trust. What a vector
// needs is there, or the vector is wrong.
#pragma once

#include "proto_test.h"
#include "trust.h"

#include <jansson.h>
#include <stdio.h>

static inline void append_part(const char *hex, size_t times, struct buf *out)
{
    size_t len = strlen(hex) / 2;
    buf_reserve(out, len * times + 1);
    uint8_t *at = out->at + out->len;
    assert_true(hex_decode(hex, strlen(hex), at, len));
    if (times > 1)
        memset(at, at[0], times); // only one byte is ever repeated
    out->len += len * times;
}

// Hex, or a list of hex and [hex of one byte, count].
static inline struct buf bytes_from(const json_t *value)
{
    struct buf out = {0};
    assert_non_null(value);
    buf_reserve(&out, 1);
    if (json_is_string(value))
        append_part(json_string_value(value), 1, &out);
    for (size_t i = 0; i < json_array_size(value); i++) {
        const json_t *part = json_array_get(value, i);
        if (json_is_string(part))
            append_part(json_string_value(part), 1, &out);
        else
            append_part(json_string_value(json_array_get(part, 0)),
                (size_t)json_integer_value(json_array_get(part, 1)), &out);
    }
    return out;
}

static inline struct buf bytes_at(const json_t *vector, const char *key)
{
    return bytes_from(json_object_get(vector, key));
}

static inline void copy_at(const json_t *vector, const char *key, uint8_t *out, size_t len)
{
    struct buf found = bytes_at(vector, key);
    assert_int_equal(found.len, len);
    memcpy(out, found.at, len);
    buf_clear(&found);
}

static inline uint64_t u64_at(const json_t *vector, const char *key)
{
    const json_t *value = json_object_get(vector, key);
    char *end;
    // A number where its text would do is written by hand, not by the generator.
    assert_true(json_is_string(value));
    uint64_t number = strtoull(json_string_value(value), &end, 10);
    assert_int_equal(*end, '\0');
    return number;
}

static inline const char *text_at(const json_t *vector, const char *key)
{
    const char *text = json_string_value(json_object_get(vector, key));
    assert_non_null(text);
    return text;
}

// The list as it stands in a configuration.
static inline bool trust_from(const json_t *given, struct trust *trust, struct err *e)
{
    const json_t *signers = json_object_get(given, "signers");
    *trust = (struct trust){.threshold = (unsigned)u64_at(given, "threshold")};
    copy_at(given, "fleet", trust->fleet, sizeof(trust->fleet));
    trust->require_pin = json_is_true(json_object_get(given, "require_pin"));
    for (size_t i = 0; i < json_array_size(signers); i++) {
        if (!trust_add(trust, json_string_value(json_array_get(signers, i)), e))
            return false;
    }
    return trust_check(trust, e);
}

// The list of vectors; the caller drops *file.
static inline const json_t *vectors_of(const char *name, json_t **file)
{
    char path[4096];
    json_error_t why;
    snprintf(path, sizeof(path), "%s/%s.json", VECTORS_DIR, name);
    *file = json_load_file(path, 0, &why);
    if (*file == NULL)
        fail_msg("%s: %s", path, why.text);
    return json_object_get(*file, "vectors");
}
