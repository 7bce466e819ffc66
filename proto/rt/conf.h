// Strict JSON configuration. Every key is asked for by name; a key nobody asked for is an error
// that names it.
//
//     struct conf *conf = conf_open("/etc/bento/node.json", &e);
//     conf_text(conf_root(conf), "fleet", &fleet) …
//     if (!conf_end(conf, &e)) …
//
// Sticky: after the first fault getters return false and leave the value alone; conf_end() tells
// it, with file and key. Strings are borrowed until conf_free().
#pragma once

#include "bytes.h"

struct conf;
struct conf_object; // borrowed from the conf

// CONFIG: unreadable, not JSON (line and column), duplicate key, larger than 1 MiB.
MUST_CHECK struct conf *conf_open(const char *path, struct err *e);
// The same from text; name stands for the path in errors.
MUST_CHECK struct conf *conf_parse(struct bytes text, const char *name, struct err *e);
void conf_free(struct conf *conf);
void conf_freep(struct conf **conf);
struct conf_object *conf_root(struct conf *conf);
// Sets CONFIG and the first fault, or names the first key that was never asked for (and the nearest
// known one).
MUST_CHECK bool conf_end(struct conf *conf, struct err *e);
// A rule of the caller's own: the first fault wins. key may be NULL.
void conf_fault(struct conf_object *object, const char *key, const char *format, ...)
    PRINTF_LIKE(3, 4);

// Optional: absent leaves the value as it was (the default) and returns false.
bool conf_text(struct conf_object *object, const char *key, const char **value);
bool conf_u64(
    struct conf_object *object, const char *key, uint64_t min, uint64_t max, uint64_t *value);
bool conf_bool(struct conf_object *object, const char *key, bool *value);
struct conf_object *conf_object(struct conf_object *object, const char *key); // NULL if absent
size_t conf_texts(struct conf_object *object, const char *key, const char **values,
    size_t max); // array of strings
// Array of objects: count, then each.
size_t conf_count(struct conf_object *object, const char *key);
struct conf_object *conf_at(struct conf_object *object, const char *key, size_t index);
// Object used as a map: the names of its members, in ascending order; each counts as asked for.
size_t conf_keys(struct conf_object *object, const char ***keys); // array owned by the conf
// Required: absent is a fault.
bool conf_need_text(struct conf_object *object, const char *key, const char **value);
bool conf_need_hex(struct conf_object *object, const char *key, uint8_t *value, size_t len);
