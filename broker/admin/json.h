// The few things done with JSON that is made or merged rather than read as configuration (conf.h
// reads that).
#pragma once

#include "bytes.h"

#include <jansson.h>

#define CLEANUP_JSON CLEANUP(json_decrefp) json_t // jansson brings json_decrefp()

// An object from text; CONFIG with name, line and column, also for a double key.
MUST_CHECK bool json_object_parse(
    struct bytes text, const char *name, json_t **json, struct err *e);
// Making it: what goes wrong here is a mistake of ours. The value's reference is taken.
void json_put(json_t *object, const char *key, json_t *value);
void json_add(json_t *array, json_t *value);
json_t *json_number(uint64_t value);          // at most 2^63 - 1: JSON's readers rarely know more
json_t *json_text_or_null(struct bytes text); // empty: null
json_t *json_hash(const uint8_t hash[HASH_BYTES]); // in hex
// Indented, with a final newline. Appends.
void json_text(const json_t *json, struct buf *out);
