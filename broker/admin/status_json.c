#include "status_json.h"

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

static json_t *timings_json(const struct timings *t)
{
    json_t *object = json_object();
    set(object, "fetch", number(t->fetch_ms));
    set(object, "obtain", number(t->obtain_ms));
    set(object, "switch", number(t->switch_ms));
    set(object, "confirm", number(t->confirm_ms));
    set(object, "commit", number(t->commit_ms));
    return object;
}

// What a verified status says; without one the same keys hold null.
static void set_status(json_t *object, const struct status *s)
{
    set(object, "seq", s ? number(s->seq) : json_null());
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
    set(object, "timings", s ? timings_json(&s->timings) : json_null());
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
    set(object, "inconclusive", json_boolean(row->view.inconclusive));
    set(object, "pending", json_boolean(view_is_pending(&row->view)));
    set(object, "applied", json_boolean(row->view.applied));
    set(object, "configured", json_boolean(row->has_ticket));
    set(object, "expected",
        row->in_release ? text_or_null(row->in_release->expected) : json_null());
    set(object, "remote", json_string(view_remote_key(row->view.remote)));
    bool any = row->has_status || row->tampered;
    set(object, "received", any ? number(row->received_s) : json_null());
    set(object, "heard", any ? number(row->view.heard_s) : json_null());
    set_status(object, row->has_status ? &row->status : NULL);
    return object;
}

json_t *status_json_report(const struct report *report, const struct rows_choice *choice)
{
    const struct head *head = report->published ? &report->release.head : NULL;
    json_t *object = json_object(), *nodes = json_array(), *removed = json_array();
    set(object, "release", head ? number(head->release) : json_null());
    set(object, "epoch", head ? number(head->epoch) : json_null());
    set(object, "expires", head ? number(head->expires) : json_null());
    set(object, "warning", report->warning[0] ? json_string(report->warning) : json_null());
    for (size_t i = 0; i < report->row_count; i++) {
        const struct report_row *row = &report->rows[i];
        if (choice->chosen[i] && (!choice->failed || row->view.severity == SEVERITY_FAILING))
            ASSERT(json_array_append_new(nodes, row_json(row)) == 0);
    }
    set(object, "nodes", nodes);
    for (size_t i = 0; i < report->removed_count; i++)
        ASSERT(json_array_append_new(removed, text_or_null(report->removed[i]->name)) == 0);
    set(object, "removed", removed);
    set(object, "strangers", number(report->stranger_count));
    return object;
}

// Of one status as the collector gave it; what does not verify has the state "tampered" and null for
// all that only its signature could vouch for.
static json_t *event_of(const struct remote_status *raw, const uint8_t fleet[32])
{
    struct status status;
    bool ok = report_verify(raw, fleet, &status);
    json_t *object = json_object();
    set(object, "received", number(raw->received_s));
    set(object, "state", json_string(ok ? node_state_word(status.state) : "tampered"));
    set(object, "code", ok ? json_string(code_word(status.code)) : json_null());
    set_status(object, ok ? &status : NULL);
    return object;
}

json_t *status_json_history(const struct remote_statuses *history, const uint8_t fleet[32])
{
    json_t *list = json_array();
    for (size_t i = 0; i < history->count; i++)
        ASSERT(json_array_append_new(list, event_of(&history->list[i], fleet)) == 0);
    return list;
}

json_t *status_json_log(const char *name, const struct remote_status *raw, const uint8_t fleet[32])
{
    struct status status;
    json_t *object = event_of(raw, fleet);
    set(object, "name", json_string(name));
    if (report_verify(raw, fleet, &status)) {
        CLEANUP(buf_clear) struct buf text = {0};
        text_escape(status.log, &text);
        set(object, "log", json_stringn((const char *)text.at, text.len));
    } else {
        set(object, "log", json_null());
    }
    return object;
}

void status_json_print(json_t *value, bool pretty)
{
    ASSERT(value);
    // A full disk shows in ferror(stdout), which the caller looks at.
    (void)json_dumpf(value, stdout, pretty ? JSON_INDENT(2) : JSON_COMPACT);
    putchar('\n');
    json_decref(value);
}
