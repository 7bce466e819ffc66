#include "json.h"

#include <stdlib.h>

bool json_object_parse(struct bytes text, const char *name, json_t **json, struct err *e)
{
    json_error_t error;
    json_t *parsed = json_loadb((const char *)text.at, text.len, JSON_REJECT_DUPLICATES, &error);
    if (!parsed) {
        return err_set(e, CODE_CONFIG, "%s:%d:%d: %s", name, error.line, error.column, error.text);
    }
    if (!json_is_object(parsed)) {
        json_decref(parsed);
        return err_set(e, CODE_CONFIG, "%s: must hold one attribute set { … }", name);
    }
    *json = parsed;
    return true;
}

void json_put(json_t *object, const char *key, json_t *value)
{
    int rc = json_object_set_new(object, key, value);
    ASSERT(rc == 0);
}

void json_add(json_t *array, json_t *value)
{
    int rc = json_array_append_new(array, value);
    ASSERT(rc == 0);
}

json_t *json_number(uint64_t value)
{
    return json_integer(value > INT64_MAX ? INT64_MAX : (json_int_t)value);
}

json_t *json_text_or_null(struct bytes text)
{
    return text.len ? json_stringn((const char *)text.at, text.len) : json_null();
}

json_t *json_hash(const uint8_t hash[HASH_BYTES])
{
    char text[HASH_HEX_BYTES];
    hex_encode(hash, HASH_BYTES, text);
    return json_string(text);
}

void json_text(const json_t *json, struct buf *out)
{
    char *text = json_dumps(json, JSON_INDENT(2));
    ASSERT(text);
    buf_append_text(out, text);
    buf_append_text(out, "\n");
    free(text);
}
