#include "status_json.h"

#include <jansson.h>

static json_t *number(uint64_t value)
{
    // JSON's readers rarely know more than 63 bits, and no honest number here needs them.
    return json_integer(value > INT64_MAX ? INT64_MAX : (json_int_t)value);
}

static json_t *text_or_null(struct bytes text)
{
    return text.len ? json_stringn((const char *)text.at, text.len) : json_null();
}

static void set(json_t *object, const char *key, json_t *value)
{
    ASSERT(json_object_set_new(object, key, value) == 0);
}

static const char *code_word(enum code code)
{
    return code == CODE_OK ? "" : code_name(code);
}

// What a verified status says; without one the same keys hold null.
static void set_status(json_t *object, const struct status *s)
{
    set(object, "time", s ? number(s->time) : json_null());
    set(object, "local_epoch", s ? number(s->epoch) : json_null());
    set(object, "local_release", s ? number(s->release) : json_null());
    set(object, "running", s ? text_or_null(s->running) : json_null());
    set(object, "booted", s ? text_or_null(s->booted) : json_null());
    set(object, "profile", s ? text_or_null(s->profile) : json_null());
    set(object, "node_state", s ? json_string(node_state_word(s->state)) : json_null());
    set(object, "attempt", s ? number(s->attempt) : json_null());
    set(object, "reboot", s ? json_boolean(s->reboot) : json_null());
    set(object, "auto", s ? json_boolean(s->automatic) : json_null());
    set(object, "speaks", s ? number(s->speaks) : json_null());
}

static json_t *row_json(const struct report_row *row)
{
    json_t *object = json_object(), *tags = json_array();
    for (size_t i = 0; i < row->node->tag_count; i++)
        ASSERT(json_array_append_new(tags, json_string(row->node->tags[i])) == 0);
    set(object, "name", json_string(row->node->name));
    set(object, "tags", tags);
    set(object, "state", json_string(view_state_key(row->view.state)));
    set(object, "severity", json_string(view_severity_key(row->view.severity)));
    set(object, "code", json_string(code_word(row->view.code)));
    set(object, "silent", json_boolean(row->view.silent));
    set(object, "behind", json_boolean(row->view.behind));
    set(object, "applied", json_boolean(row->view.applied));
    set(object, "expected",
        row->in_release ? text_or_null(row->in_release->expected) : json_null());
    set(object, "remote", json_string(view_remote_key(row->view.remote)));
    set(object, "received",
        row->has_status || row->tampered ? number(row->received_s) : json_null());
    set_status(object, row->has_status ? &row->status : NULL);
    return object;
}

static void print(json_t *value, FILE *out)
{
    ASSERT(value);
    (void)json_dumpf(
        value, out, JSON_INDENT(2)); // a full disk shows in ferror(out), which the caller looks at
    fputc('\n', out);
    json_decref(value);
}

void status_json_print(const struct report *report, const bool *chosen, FILE *out)
{
    const struct head *head = report->published ? &report->release.head : NULL;
    json_t *object = json_object(), *nodes = json_array();
    set(object, "release", head ? number(head->release) : json_null());
    set(object, "epoch", head ? number(head->epoch) : json_null());
    set(object, "expires", head ? number(head->expires) : json_null());
    for (size_t i = 0; i < report->row_count; i++)
        if (chosen[i])
            ASSERT(json_array_append_new(nodes, row_json(&report->rows[i])) == 0);
    set(object, "nodes", nodes);
    print(object, out);
}

void status_json_print_history(
    const struct remote_statuses *history, const uint8_t fleet[32], FILE *out)
{
    json_t *list = json_array();
    for (size_t i = 0; i < history->count; i++) {
        struct status status;
        bool ok = report_verify(&history->list[i], fleet, &status);
        json_t *entry = json_object();
        set(entry, "received", number(history->list[i].received_s));
        set(entry, "state", json_string(ok ? node_state_word(status.state) : "tampered"));
        if (ok)
            set(entry, "code", json_string(code_word(status.code)));
        if (ok)
            set_status(entry, &status);
        ASSERT(json_array_append_new(list, entry) == 0);
    }
    print(list, out);
}
