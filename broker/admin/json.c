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

void json_text(const json_t *json, struct buf *out)
{
    char *text = json_dumps(json, JSON_INDENT(2));
    ASSERT(text);
    buf_append_text(out, text);
    buf_append_text(out, "\n");
    free(text);
}
