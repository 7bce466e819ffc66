#include "report.h"

#include "newest.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int by_node_id(const void *a, const void *b)
{
    const struct report_row *const *x = a, *const *y = b;
    return memcmp((*x)->node->node_id, (*y)->node->node_id, HASH_BYTES);
}

static int id_against_row(const void *id, const void *row)
{
    return memcmp(id, (*(const struct report_row *const *)row)->node->node_id, HASH_BYTES);
}

static struct report_row *row_of(const struct report *report, const uint8_t node_id[HASH_BYTES])
{
    struct report_row **found =
        bsearch(node_id, report->by_id, report->row_count, sizeof *report->by_id, id_against_row);
    return found ? *found : NULL;
}

bool report_verify(const struct remote_status *raw, const uint8_t fleet[32], struct status *status)
{
    struct err ignored; // tampered is all there is to say; which check failed depends on what the
                        // forger forgot
    return status_verify(raw->signed_message, fleet, status, &ignored) &&
           memcmp(status->node_id, raw->node_id, HASH_BYTES) == 0;
}

static void place_roster(struct report *report)
{
    const struct roster *roster = &report->release.roster;
    report->removed = xcalloc(roster->count + 1, sizeof *report->removed);
    for (size_t i = 0; i < roster->count; i++) {
        const struct roster_node *node = &roster->nodes[i];
        struct report_row *row = row_of(report, node->node_id);
        if (row) {
            row->in_release = node;
            row->has_ticket = report->release.tickets[i].ct_len > 0;
        } else {
            report->removed[report->removed_count++] = node;
        }
    }
}

static void place_statuses(struct report *report, const struct remote_statuses *statuses)
{
    for (size_t i = 0; i < statuses->count; i++) {
        const struct remote_status *raw = &statuses->list[i];
        struct report_row *row = row_of(report, raw->node_id);
        if (row) {
            row->has_status = report_verify(raw, report->fleet->trust.fleet, &row->status);
            row->tampered = !row->has_status;
            row->received_s = raw->received_s;
        } else if (!roster_find(&report->release.roster, raw->node_id)) {
            report->stranger_count++;
        }
    }
}

static void draw(const struct report *report, struct report_row *row, uint64_t now_s)
{
    struct view_input input = {.head = report->published ? &report->release.head : NULL,
        .head_hash = report->release.head_hash,
        .node = row->in_release,
        .status = row->has_status ? &row->status : NULL,
        .tampered = row->tampered,
        .received_s = row->received_s,
        .now_s = now_s,
        .poll_s = POLL_SECONDS};
    view_of(&input, &row->view);
}

bool report_build(const struct remote_release *release, const struct remote_statuses *statuses,
    const struct fleet *fleet, uint64_t now_s, struct report *report, struct err *e)
{
    struct report r = {
        .published = release->present, .row_count = fleet->node_count, .fleet = fleet};
    if (r.published && !release_verify(&fleet->trust, release->envelope, release->roster,
                           release->tickets, release->ticket_count, &r.release, e))
        return err_wrap(e, "what the broker calls the newest release is not this fleet's");
    r.rows = xcalloc(r.row_count + 1, sizeof *r.rows);
    r.by_id = xcalloc(r.row_count + 1, sizeof *r.by_id);
    for (size_t i = 0; i < r.row_count; i++) {
        r.rows[i].node = &fleet->nodes[i];
        r.by_id[i] = &r.rows[i];
    }
    qsort(r.by_id, r.row_count, sizeof *r.by_id, by_node_id);
    place_roster(&r);
    place_statuses(&r, statuses);
    report_age(&r, now_s);
    *report = r;
    return true;
}

void report_age(struct report *report, uint64_t now_s)
{
    for (size_t i = 0; i < report->row_count; i++)
        draw(report, &report->rows[i], now_s);
}

bool report_take(struct report *report, struct bytes signed_message, uint64_t now_s)
{
    struct status status;
    struct err ignored; // an event that is no status, or not a genuine one
    if (!status_verify(signed_message, report->fleet->trust.fleet, &status, &ignored))
        return false;
    struct report_row *row = row_of(report, status.node_id);
    if (!row || (row->has_status && status.seq <= row->status.seq))
        return false;
    struct buf heard = {0};
    buf_append(&heard, signed_message.at, signed_message.len);
    buf_clear(&row->heard);
    row->heard = heard;
    row->has_status =
        status_verify(buf_bytes(&row->heard), report->fleet->trust.fleet, &row->status, &ignored);
    row->tampered = false;
    row->received_s = now_s;
    draw(report, row, now_s);
    return true;
}

static bool fetch_once(struct remote *remote, const struct fleet *fleet, uint64_t now_s,
    struct report *report, struct err *e)
{
    struct remote_release release;
    struct remote_statuses statuses;
    if (!remote_get_release(remote, &release, e))
        return false;
    if (!remote_get_statuses(remote, &statuses, e)) {
        remote_release_clear(&release);
        return false;
    }
    if (!report_build(&release, &statuses, fleet, now_s, report, e)) {
        remote_release_clear(&release);
        remote_statuses_clear(&statuses);
        return false;
    }
    report->raw_release = release;
    report->raw_statuses = statuses;
    return true;
}

static bool somebody_is_ahead(const struct report *report)
{
    for (size_t i = 0; i < report->row_count; i++)
        if (report->rows[i].view.state == VIEW_AHEAD)
            return true;
    return false;
}

bool report_fetch(struct remote *remote, const struct fleet *fleet, uint64_t now_s,
    struct report *report, struct err *e)
{
    if (!fetch_once(remote, fleet, now_s, report, e))
        return false;
    if (somebody_is_ahead(report)) {
        // A release that came out between the two questions looks the same: ask again before crying
        // wolf.
        report_clear(report);
        if (!fetch_once(remote, fleet, now_s, report, e))
            return false;
    }
    struct err older;
    if (!newest_check(fleet->trust.fleet, report->published ? &report->release : NULL, &older))
        snprintf(report->warning, sizeof report->warning, "%s", older.text);
    return true;
}

void report_clear(struct report *report)
{
    if (report->published)
        release_clear(&report->release);
    for (size_t i = 0; i < report->row_count; i++)
        buf_clear(&report->rows[i].heard);
    free(report->rows);
    free(report->by_id);
    free(report->removed);
    remote_release_clear(&report->raw_release);
    remote_statuses_clear(&report->raw_statuses);
    *report = (struct report){0};
}

// U+200E, U+200F, U+202A–202E, U+2066–2069 turn the direction of what follows, so that it reads as
// something else.
static bool turns_text(const uint8_t *c)
{
    return c[0] == 0xe2 &&
           ((c[1] == 0x80 && (c[2] == 0x8e || c[2] == 0x8f || (c[2] >= 0xaa && c[2] <= 0xae))) ||
               (c[1] == 0x81 && c[2] >= 0xa6 && c[2] <= 0xa9));
}

// Bytes of the clean UTF-8 character at the start, 0 if there is none.
static size_t clean_character(struct bytes text)
{
    size_t len = text.at[0] < 0x80 ? 1 : text.at[0] < 0xe0 ? 2 : text.at[0] < 0xf0 ? 3 : 4;
    if (len > text.len || !wire_text_is_clean(bytes_of(text.at, len)))
        return 0;
    return len == 3 && turns_text(text.at) ? 0 : len;
}

void text_escape(struct bytes text, struct buf *out)
{
    for (size_t i = 0; i < text.len;) {
        struct bytes rest = bytes_of(text.at + i, text.len - i);
        size_t len = clean_character(rest);
        if (rest.at[0] == '\n' || rest.at[0] == '\t')
            len = 1;
        if (len)
            buf_append(out, rest.at, len);
        else
            buf_printf(out, "\\x%02x", rest.at[0]);
        i += len ? len : 1;
    }
}

struct bytes text_tail(struct bytes text, size_t lines)
{
    while (text.len && text.at[text.len - 1] == '\n')
        text.len--;
    for (size_t i = text.len; i > 0; i--)
        if (text.at[i - 1] == '\n' && --lines == 0)
            return bytes_of(text.at + i, text.len - i);
    return text;
}

void duration_text(uint64_t s, char text[DURATION_BYTES])
{
    if (s < 60)
        snprintf(text, DURATION_BYTES, "%" PRIu64 "s", s);
    else if (s < 3600)
        snprintf(text, DURATION_BYTES, "%" PRIu64 "m %" PRIu64 "s", s / 60, s % 60);
    else if (s < 86400)
        snprintf(text, DURATION_BYTES, "%" PRIu64 "h %" PRIu64 "m", s / 3600, s / 60 % 60);
    else
        snprintf(text, DURATION_BYTES, "%" PRIu64 "d %" PRIu64 "h", s / 86400, s / 3600 % 24);
}

void short_path(struct bytes path, char text[SHORT_PATH_BYTES])
{
    size_t start = path.len;
    while (start > 0 && path.at[start - 1] != '/')
        start--;
    size_t len = path.len - start < SHORT_PATH_BYTES - 1 ? path.len - start : SHORT_PATH_BYTES - 1;
    if (len == 0)
        path = bytes_of_text("-"), start = 0, len = 1;
    memcpy(text, path.at + start, len);
    text[len] = '\0';
}
