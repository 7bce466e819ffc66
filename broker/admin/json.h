// The few things done with JSON that is made or merged rather than read as configuration (conf.h
// reads that).
#pragma once

#include "bytes.h"

#include <jansson.h>

#define CLEANUP_JSON CLEANUP(json_decrefp) json_t // jansson brings json_decrefp()

// An object from text; CONFIG with name, line and column, also for a double key.
MUST_CHECK bool json_object_parse(
    struct bytes text, const char *name, json_t **json, struct err *e);
// Indented, with a final newline. Appends.
void json_text(const json_t *json, struct buf *out);
