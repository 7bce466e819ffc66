#include "conf.h"

#include "cli.h"
#include "fs.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONF_BYTES_MAX (1u << 20)

struct conf_object {
    struct conf_object *next;
    struct conf *conf;
    json_t *json; // borrowed from the root
    char *place;  // "endpoints[0]", "" for the root
    bool is_map;  // every key counts as asked for
    size_t asked_count;
    char **asked;
};

struct conf {
    char *name;
    json_t *json;
    struct conf_object *objects, **objects_end; // all that were asked for, the root first
    struct conf_object *root;
    size_t key_list_count;
    const char ***key_lists;
    bool faulty;
    struct err fault;
};

static void *grow(void *array, size_t count, size_t size)
{
    // Room doubles whenever the count reaches a power of two.
    if (count != 0 && (count & (count - 1)) != 0)
        return array;
    void *larger = realloc(array, (count == 0 ? 1 : 2 * count) * size);
    ASSERT(larger != NULL);
    return larger;
}

// One object of the text is one conf_object, however often it is asked for.
static struct conf_object *object_of(struct conf *conf, json_t *json, const char *place)
{
    for (struct conf_object *object = conf->objects; object != NULL; object = object->next) {
        if (object->json == json)
            return object;
    }
    struct conf_object *object = xcalloc(1, sizeof *object);
    *object = (struct conf_object){.conf = conf, .json = json, .place = xstrdup(place)};
    *conf->objects_end = object;
    conf->objects_end = &object->next;
    return object;
}

struct conf *conf_parse(struct bytes text, const char *name, struct err *e)
{
    json_error_t error;
    const char *at = text.len > 0 ? (const char *)text.at : "";
    json_t *json = json_loadb(at, text.len, JSON_REJECT_DUPLICATES, &error);
    if (json == NULL) {
        err_set(e, CODE_CONFIG, "%s: line %d, column %d: %s", name, error.line, error.column,
            error.text);
        return NULL;
    }
    if (!json_is_object(json)) {
        json_decref(json);
        err_set(e, CODE_CONFIG, "%s: the whole must be an object { … }", name);
        return NULL;
    }
    struct conf *conf = xcalloc(1, sizeof *conf);
    conf->name = xstrdup(name);
    conf->json = json;
    conf->objects_end = &conf->objects;
    conf->root = object_of(conf, json, "");
    return conf;
}

struct conf *conf_open(const char *path, struct err *e)
{
    struct buf text = {0};
    struct conf *conf = NULL;
    if (fs_read_following(AT_FDCWD, path, CONF_BYTES_MAX, &text, e))
        conf = conf_parse(buf_bytes(&text), path, e);
    else
        e->code = CODE_CONFIG;
    buf_clear(&text);
    return conf;
}

void conf_free(struct conf *conf)
{
    if (conf == NULL)
        return;
    while (conf->objects != NULL) {
        struct conf_object *object = conf->objects;
        conf->objects = object->next;
        for (size_t i = 0; i < object->asked_count; i++)
            free(object->asked[i]);
        free(object->asked);
        free(object->place);
        free(object);
    }
    for (size_t i = 0; i < conf->key_list_count; i++)
        free(conf->key_lists[i]);
    free(conf->key_lists);
    json_decref(conf->json);
    free(conf->name);
    free(conf);
}

void conf_freep(struct conf **conf)
{
    conf_free(*conf);
    *conf = NULL;
}

struct conf_object *conf_root(struct conf *conf)
{
    return conf->root;
}

// "endpoints[0].port"; key may be NULL.
static void place_of(const struct conf_object *object, const char *key, char *out, size_t room)
{
    const char *dot = object->place[0] != '\0' && key != NULL ? "." : "";
    snprintf(out, room, "%s%s%s", object->place, dot, key != NULL ? key : "");
}

void conf_fault(struct conf_object *object, const char *key, const char *format, ...)
{
    if (object == NULL || object->conf->faulty)
        return;
    char place[256], text[400];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    place_of(object, key, place, sizeof place);
    object->conf->faulty = true;
    err_set(&object->conf->fault, CODE_CONFIG, "%s: %s%s%s", object->conf->name, place,
        place[0] != '\0' ? ": " : "", text);
}

static bool is_asked(const struct conf_object *object, const char *key)
{
    for (size_t i = 0; i < object->asked_count; i++) {
        if (strcmp(object->asked[i], key) == 0)
            return true;
    }
    return false;
}

// The value, NULL if absent or if there was a fault before. Either way the key is a known one from
// now on.
static json_t *ask(struct conf_object *object, const char *key)
{
    if (object == NULL)
        return NULL;
    if (!is_asked(object, key)) {
        object->asked = grow(object->asked, object->asked_count, sizeof *object->asked);
        object->asked[object->asked_count++] = xstrdup(key);
    }
    return object->conf->faulty ? NULL : json_object_get(object->json, key);
}

static const char *kind_of(const json_t *json)
{
    switch (json_typeof(json)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
        return "a number";
    case JSON_REAL:
        return "a number with a fraction";
    case JSON_TRUE:
    case JSON_FALSE:
        return "true or false";
    case JSON_NULL:
        return "null";
    }
    return "something else";
}

static bool wrong(struct conf_object *object, const char *key, const char *wanted, json_t *json)
{
    conf_fault(object, key, "wants %s, but has %s", wanted, kind_of(json));
    return false;
}

bool conf_text(struct conf_object *object, const char *key, const char **value)
{
    json_t *json = ask(object, key);
    if (json == NULL)
        return false;
    if (!json_is_string(json))
        return wrong(object, key, "a string", json);
    *value = json_string_value(json);
    return true;
}

bool conf_u64(
    struct conf_object *object, const char *key, uint64_t min, uint64_t max, uint64_t *value)
{
    json_t *json = ask(object, key);
    if (json == NULL)
        return false;
    char wanted[80];
    snprintf(wanted, sizeof wanted, "a whole number from %llu to %llu", (unsigned long long)min,
        (unsigned long long)max);
    if (!json_is_integer(json))
        return wrong(object, key, wanted, json);
    json_int_t number = json_integer_value(json);
    if (number < 0 || (uint64_t)number < min || (uint64_t)number > max) {
        conf_fault(object, key, "wants %s, but has %lld", wanted, (long long)number);
        return false;
    }
    *value = (uint64_t)number;
    return true;
}

bool conf_bool(struct conf_object *object, const char *key, bool *value)
{
    json_t *json = ask(object, key);
    if (json == NULL)
        return false;
    if (!json_is_boolean(json))
        return wrong(object, key, "true or false", json);
    *value = json_is_true(json);
    return true;
}

struct conf_object *conf_object(struct conf_object *object, const char *key)
{
    json_t *json = ask(object, key);
    if (json == NULL)
        return NULL;
    if (!json_is_object(json)) {
        wrong(object, key, "an object { … }", json);
        return NULL;
    }
    char place[256];
    place_of(object, key, place, sizeof place);
    return object_of(object->conf, json, place);
}

size_t conf_texts(struct conf_object *object, const char *key, const char **values, size_t max)
{
    json_t *json = ask(object, key);
    if (json == NULL)
        return 0;
    if (!json_is_array(json)) {
        wrong(object, key, "an array of strings", json);
        return 0;
    }
    size_t count = json_array_size(json);
    if (count > max) {
        conf_fault(object, key, "has %zu entries, but at most %zu are possible", count, max);
        return 0;
    }
    for (size_t i = 0; i < count; i++) {
        json_t *item = json_array_get(json, i);
        if (!json_is_string(item)) {
            char place[256];
            snprintf(place, sizeof place, "%s[%zu]", key, i);
            wrong(object, place, "a string", item);
            return 0;
        }
    }
    for (size_t i = 0; i < count; i++)
        values[i] = json_string_value(json_array_get(json, i));
    return count;
}

size_t conf_count(struct conf_object *object, const char *key)
{
    json_t *json = ask(object, key);
    if (json == NULL)
        return 0;
    if (!json_is_array(json)) {
        wrong(object, key, "an array of objects", json);
        return 0;
    }
    return json_array_size(json);
}

struct conf_object *conf_at(struct conf_object *object, const char *key, size_t index)
{
    json_t *json = ask(object, key);
    json_t *item = json == NULL ? NULL : json_array_get(json, index);
    if (item == NULL)
        return NULL;
    char place[600], with_index[256];
    snprintf(with_index, sizeof with_index, "%s[%zu]", key, index);
    if (!json_is_object(item)) {
        wrong(object, with_index, "an object { … }", item);
        return NULL;
    }
    place_of(object, with_index, place, sizeof place);
    return object_of(object->conf, item, place);
}

static int compare_keys(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

size_t conf_keys(struct conf_object *object, const char ***keys)
{
    *keys = NULL;
    if (object == NULL || object->conf->faulty)
        return 0;
    struct conf *conf = object->conf;
    object->is_map = true;
    const char **list = xcalloc(json_object_size(object->json) + 1, sizeof *list);
    size_t count = 0;
    const char *key;
    json_t *value;
    json_object_foreach(object->json, key, value) list[count++] = key;
    if (count > 0)
        qsort(list, count, sizeof *list, compare_keys);
    conf->key_lists = grow(conf->key_lists, conf->key_list_count, sizeof *conf->key_lists);
    conf->key_lists[conf->key_list_count++] = list;
    *keys = list;
    return count;
}

bool conf_need_text(struct conf_object *object, const char *key, const char **value)
{
    if (conf_text(object, key, value))
        return true;
    conf_fault(object, key, "is missing"); // unless a fault is noted already
    return false;
}

bool conf_need_hex(struct conf_object *object, const char *key, uint8_t *value, size_t len)
{
    const char *text = "";
    if (!conf_need_text(object, key, &text))
        return false;
    uint8_t bytes[64];
    ASSERT(len <= sizeof bytes);
    if (!hex_decode(text, strlen(text), bytes, len)) {
        conf_fault(object, key, "wants %zu lower-case hex digits", 2 * len);
        return false;
    }
    memcpy(value, bytes, len);
    return true;
}

// The keys known here, for somebody who guessed wrong.
static void known_keys(const struct conf_object *object, char *out, size_t room)
{
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; i < object->asked_count && used < room; i++)
        used +=
            (size_t)snprintf(out + used, room - used, "%s%s", i > 0 ? ", " : "", object->asked[i]);
}

bool conf_end(struct conf *conf, struct err *e)
{
    // The outermost first, in the order of the text within each.
    for (struct conf_object *object = conf->objects; object != NULL; object = object->next) {
        const char *key;
        json_t *value;
        if (object->is_map)
            continue;
        json_object_foreach(object->json, key, value)
        {
            if (is_asked(object, key))
                continue;
            const char *near =
                cli_nearest(key, (const char *const *)object->asked, object->asked_count);
            char known[300];
            known_keys(object, known, sizeof known);
            if (near != NULL)
                conf_fault(object, key, "unknown key; did you mean \"%s\"?", near);
            else
                conf_fault(object, key, "unknown key; known here: %s", known);
        }
    }
    if (conf->faulty)
        *e = conf->fault;
    return !conf->faulty;
}
