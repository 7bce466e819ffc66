#include "snapshot.h"

#include "fs.h"
#include "log.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HOST_BYTES_MAX 64

// Length of a colour sequence; 0 if it is none.
static size_t colour_len(struct bytes at)
{
    if (at.len < 3 || at.at[0] != 0x1b || at.at[1] != '[') {
        return 0;
    }
    size_t i = 2;
    while (i < at.len && (at.at[i] == ';' || (at.at[i] >= '0' && at.at[i] <= '9'))) {
        i++;
    }
    return i < at.len && at.at[i] == 'm' ? i + 1 : 0;
}

// Length of the character at the start of at; 0 if it is not one that can be shown.
static size_t character_len(struct bytes at)
{
    if (at.at[0] == '\n' || at.at[0] == '\t') {
        return 1;
    }
    for (size_t len = 1; len <= 4 && len <= at.len; len++) {
        if (wire_text_is_clean(bytes_of(at.at, len))) {
            return len;
        }
    }
    return 0;
}

void snapshot_text(struct bytes raw, size_t max, struct buf *out)
{
    struct buf clean CLEANUP(buf_clear) = {0};
    for (size_t i = 0; i < raw.len;) {
        struct bytes left = bytes_of(raw.at + i, raw.len - i);
        size_t colour = colour_len(left), len = character_len(left);
        if (colour > 0) {
            i += colour;
        } else if (len > 0) {
            buf_append(&clean, left.at, len);
            i += len;
        } else {
            buf_append_text(&clean, "?");
            i++;
        }
    }
    size_t from = clean.len > max ? clean.len - max : 0;
    const uint8_t *line = from > 0 ? memchr(clean.at + from, '\n', clean.len - from) : NULL;
    if (line != NULL && line + 1 < clean.at + clean.len) {
        from = (size_t)(line + 1 - clean.at);
    }
    while (from > 0 && from < clean.len && (clean.at[from] & 0xc0) == 0x80) {
        from++; // not in the middle of a character
    }
    if (clean.len > 0) {
        buf_append(out, clean.at + from, clean.len - from);
    }
}

static json_t *text_of(struct bytes raw)
{
    struct buf clean CLEANUP(buf_clear) = {0};
    snapshot_text(raw, SNAPSHOT_LOG_BYTES_MAX, &clean);
    return json_string(buf_text(&clean));
}

static json_t *text(const char *raw)
{
    return text_of(bytes_of_text(raw));
}

static json_t *number(uint64_t value)
{
    return json_integer(value > INT64_MAX ? INT64_MAX : (json_int_t)value);
}

// "" for none, as in bento-status.
static json_t *digest(const uint8_t hash[HASH_BYTES])
{
    char hex[HASH_HEX_BYTES];
    hex_encode(hash, HASH_BYTES, hex);
    return json_string(bytes_are_zero(hash, HASH_BYTES) ? "" : hex);
}

static json_t *log_of(const struct agent *agent)
{
    struct buf raw CLEANUP(buf_clear) = {0};
    outbox_log(agent, &agent->apply.report, &raw);
    return text_of(buf_bytes(&raw));
}

static json_t *describe(const struct agent *agent)
{
    const struct apply *a = &agent->apply;
    const struct apply_report *report = &a->report;
    char host[HOST_BYTES_MAX + 1] = "";
    struct system_facts facts;
    if (gethostname(host, sizeof host - 1) != 0) {
        host[0] = '\0';
    }
    agent_look(agent, &facts);
    const struct {
        const char *key;
        json_t *value;
    } members[] = {
        {"version", json_integer(1)},
        {"host", text(host)},
        {"state", text(node_state_word(report->state))},
        {"code", text(report->code == CODE_OK ? "" : code_name(report->code))},
        {"phase", text(apply_state_name(a->state))},
        {"epoch", number(agent->floor.epoch)},
        {"release", number(agent->floor.release)},
        {"attempt", number(report->attempt)},
        {"digest", digest(report->digest)},
        {"applied", digest(a->applied.digest)},
        {"running", text(facts.running)},
        {"booted", text(facts.booted)},
        {"profile", text(facts.profile)},
        {"target", text(a->target.path)},
        {"reboot", json_boolean(facts.reboot)},
        {"reported", number(report->seq / 1000000000)}, // its number is the time of its making
        {"auto", json_boolean(report->automatic)},
        {"log", log_of(agent)},
    };
    json_t *state = json_object();
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        json_object_set_new(state, members[i].key, members[i].value);
    }
    return state;
}

// Since when it has been as it is: kept as long as state, code, digest and attempt stay.
static json_t *since(const json_t *before, const json_t *now)
{
    static const char *const keys[] = {"state", "code", "digest", "attempt"};
    const json_t *known = json_object_get(before, "since");
    bool same = json_is_integer(known);
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        same = same && json_equal(json_object_get(before, keys[i]), json_object_get(now, keys[i]));
    }
    return same ? json_integer(json_integer_value(known)) : number(clock_unix_s());
}

void snapshot_write(const struct agent *agent)
{
    struct buf written CLEANUP(buf_clear) = {0};
    struct err e;
    json_t *before = NULL, *now = describe(agent);
    if (fs_read(agent->spool.out, "state.json", STATE_BYTES_MAX, &written, &e)) {
        before = json_loadb((const char *)written.at, written.len, 0, NULL);
    }
    json_object_set_new(now, "since", since(before, now));
    if (!json_equal(before, now)) {
        char *line = json_dumps(now, JSON_COMPACT);
        ASSERT(line != NULL); // clean text and numbers alone
        if (!fs_replace(agent->spool.out, "state.json", bytes_of_text(line), 0640, &e)) {
            log_err("the page cannot be told what goes on error=\"%s\"", e.text);
        }
        free(line);
    }
    json_decref(before);
    json_decref(now);
}
