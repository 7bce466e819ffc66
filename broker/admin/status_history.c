#include "status_history.h"

#include "table.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define DIGITS_MIN 10 // the seconds of a report's number
#define DIGITS_MAX 20

static void time_text(uint64_t unix_s, char text[32])
{
    time_t t = (time_t)unix_s;
    struct tm tm;
    if (unix_s > INT64_MAX || !localtime_r(&t, &tm) ||
        strftime(text, 32, "%Y-%m-%d %H:%M:%S", &tm) == 0)
        snprintf(text, 32, "%" PRIu64, unix_s);
}

static void seq_text(uint64_t seq, size_t digits, char text[DIGITS_MAX + 1])
{
    char whole[DIGITS_MAX + 1];
    snprintf(whole, sizeof whole, "%" PRIu64, seq);
    snprintf(text, DIGITS_MAX + 1, "%.*s", (int)digits, whole);
}

// "rolled back CONNECTIVITY (self update)"
static void state_text(const struct status *s, struct buf *text)
{
    for (const char *c = node_state_word(s->state); *c; c++)
        buf_append(text, *c == '-' ? " " : c, 1);
    if (s->code != CODE_OK)
        buf_printf(text, " %s", code_name(s->code));
    if (s->automatic)
        buf_append_text(text, " (self update)");
}

struct event {
    const struct remote_status *raw;
    bool ok;
    struct status status; // if ok
};

static bool says_the_same(const struct event *a, const struct event *b)
{
    const struct status *x = &a->status, *y = &b->status;
    return a->ok && b->ok && x->state == y->state && x->code == y->code && x->epoch == y->epoch &&
           x->release == y->release && x->automatic == y->automatic && x->reboot == y->reboot &&
           bytes_equal(x->running, y->running) && memcmp(x->digest, y->digest, HASH_BYTES) == 0;
}

// As few digits as tell these reports apart; they come newest first.
static size_t digits_needed(const struct event *events, size_t count)
{
    size_t needed = DIGITS_MIN;
    for (size_t i = 1; i < count; i++) {
        char a[DIGITS_MAX + 1], b[DIGITS_MAX + 1];
        if (!events[i - 1].ok || !events[i].ok)
            continue;
        seq_text(events[i - 1].status.seq, DIGITS_MAX, a);
        seq_text(events[i].status.seq, DIGITS_MAX, b);
        size_t same = 0;
        while (a[same] && a[same] == b[same])
            same++;
        needed = same + 1 > needed ? same + 1 : needed;
    }
    return needed;
}

static void took_text(const struct status *s, char text[DURATION_BYTES])
{
    const struct timings *t = &s->timings;
    uint64_t ms = t->obtain_ms + t->fetch_ms + t->switch_ms + t->confirm_ms + t->commit_ms;
    text[0] = '\0';
    if (ms && !node_state_is_live(s->state))
        duration_text(ms / 1000, text);
}

static void add_event(struct table *table, const struct event *event, size_t times, size_t digits)
{
    const struct status *s = &event->status;
    char received[32], report[DIGITS_MAX + 1] = "", release[32] = "",
                                           running[SHORT_PATH_BYTES] = "",
                                           took[DURATION_BYTES] = "";
    CLEANUP(buf_clear) struct buf state = {0};
    time_text(event->raw->received_s, received);
    if (event->ok) {
        seq_text(s->seq, digits, report);
        short_path(s->running, running);
        took_text(s, took);
        state_text(s, &state);
        if (s->release)
            snprintf(release, sizeof release, "%" PRIu64, s->release);
    } else {
        buf_append_text(&state, "tampered ☠");
    }
    if (times > 1)
        buf_printf(&state, " ×%zu", times);
    table_cell(table, received, COLOR_PLAIN);
    table_cell(table, report, COLOR_PLAIN);
    table_cell(table, release, COLOR_PLAIN);
    table_cell(table, running, COLOR_PLAIN);
    table_cell(table, buf_text(&state), event->ok ? COLOR_PLAIN : COLOR_RED);
    table_cell(table, took, COLOR_PLAIN);
}

void status_history_draw(const struct remote_statuses *history, const uint8_t fleet[32],
    size_t width, bool color, struct buf *out)
{
    static const struct table_column columns[] = {{.title = "RECEIVED"}, {.title = "REPORT"},
        {.title = "RELEASE", .leave = 3}, {.title = "RUNNING", .leave = 2},
        {.title = "STATE", .shrink = true}, {.title = "TOOK", .right = true, .leave = 1}};
    CLEANUP(table_freep)
    struct table *table = table_new(columns, sizeof columns / sizeof columns[0]);
    struct event *events = xcalloc(history->count + 1, sizeof *events);
    for (size_t i = 0; i < history->count; i++) {
        events[i].raw = &history->list[i];
        events[i].ok = report_verify(events[i].raw, fleet, &events[i].status);
    }
    size_t digits = digits_needed(events, history->count);
    for (size_t i = 0, next; i < history->count; i = next) {
        for (next = i + 1; next < history->count && says_the_same(&events[i], &events[next]);)
            next++;
        add_event(table, &events[i], next - i, digits);
    }
    table_text(table, width, color, out);
    free(events);
}

bool status_log_parse(
    const char *word, char name[LOG_NAME_BYTES], const char **digits, struct err *e)
{
    const char *at = strchr(word, '@');
    *digits = at ? at + 1 : NULL;
    if (at && (!at[1] || at[1 + strspn(at + 1, "0123456789")] != '\0'))
        return err_set(e, CODE_USAGE,
            "--log %s: after the @ come the first digits of a report, as --history shows them",
            word);
    snprintf(name, LOG_NAME_BYTES, "%.*s", (int)strcspn(word, "@"), word);
    return true;
}

static bool number_begins(uint64_t seq, const char *digits)
{
    char text[DIGITS_MAX + 1];
    seq_text(seq, DIGITS_MAX, text);
    return strncmp(text, digits, strlen(digits)) == 0;
}

bool status_log_find(const char *name, const struct remote_statuses *history,
    const uint8_t fleet[32], const char *digits, const struct remote_status **found, struct err *e)
{
    *found = NULL;
    if (history->count == 0)
        return err_set(e, CODE_NONE, "%s has never reported", name);
    if (!digits) {
        struct status status;
        *found = &history->list[0];
        return report_verify(*found, fleet, &status) ||
               err_set(e, CODE_SIGNER,
                   "the newest status of %s is tampered with: its log is not worth reading", name);
    }
    for (size_t i = 0; i < history->count; i++) {
        struct status status;
        if (!report_verify(&history->list[i], fleet, &status) || !number_begins(status.seq, digits))
            continue;
        if (*found)
            return err_set(e, CODE_NONE,
                "more than one report of %s begins with %s: give more digits", name, digits);
        *found = &history->list[i];
    }
    return *found || err_set(e, CODE_NONE,
                         "no report of %s begins with %s: bento status --history %s lists them",
                         name, digits, name);
}

// The newest other report that has a log.
static bool find_other_log(
    const struct remote_statuses *history, const uint8_t fleet[32], struct status *status)
{
    for (size_t i = 0; i < history->count; i++)
        if (report_verify(&history->list[i], fleet, status) && status->log.len > 0)
            return true;
    return false;
}

bool status_log_draw(const char *name, const struct remote_statuses *history,
    const uint8_t fleet[32], const struct remote_status *found, struct buf *out, struct err *e)
{
    struct status status, other;
    ASSERT(report_verify(found, fleet, &status));
    if (status.log.len > 0) {
        text_escape(status.log, out);
        if (out->at[out->len - 1] != '\n')
            buf_append_text(out, "\n");
        return true;
    }
    CLEANUP(buf_clear) struct buf state = {0}, other_state = {0};
    state_text(&status, &state);
    if (!find_other_log(history, fleet, &other))
        return err_set(e, CODE_NONE, "that report of %s (%s) has no log", name, buf_text(&state));
    state_text(&other, &other_state);
    return err_set(e, CODE_NONE,
        "that report of %s (%s) has no log; the newest one with a log (%s): bento status --log "
        "%s@%" PRIu64,
        name, buf_text(&state), buf_text(&other_state), name, other.seq);
}
