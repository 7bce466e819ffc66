#include "status_text.h"

#include "status_notes.h"
#include "table.h"

#include <inttypes.h>
#include <stdio.h>

#define WARN_DAYS 14
#define DAY_S 86400
#define NOTES_MAX 8 // with --failed: all

static enum table_color color_of(enum view_severity severity)
{
    switch (severity) {
    case SEVERITY_DONE:
        return COLOR_GREEN;
    case SEVERITY_PENDING:
        return COLOR_YELLOW;
    case SEVERITY_FAILING:
        return COLOR_RED;
    }
    return COLOR_PLAIN;
}

static void state_text(const struct view *view, struct buf *text)
{
    buf_printf(text, "%s %s", view_state_word(view->state), view_state_emoji(view->state));
    if (view->inconclusive)
        buf_append_text(text, " inconclusive");
    if (view->code != CODE_OK)
        buf_printf(text, " %s", code_name(view->code));
    if (view->silent)
        buf_append_text(text, ", silent 💤");
    // The pending states say so by themselves.
    if (view->behind && view_state_severity(view->state) == SEVERITY_FAILING)
        buf_append_text(text, ", behind");
}

static void local_text(const struct report_row *row, char text[16])
{
    char hash[SHORT_PATH_BYTES];
    const char *shown = hash;
    if (!row->in_release || !row->has_ticket)
        shown = "-";
    else if (row->in_release->expected.len == 0)
        shown = "unpinned";
    else
        short_path(row->in_release->expected, hash);
    snprintf(text, 16, "%s", shown);
}

// How long ago, "" if it is not known or lies ahead.
static void ago_text(uint64_t then_s, uint64_t now_s, char text[DURATION_BYTES])
{
    text[0] = '\0';
    if (then_s && now_s >= then_s)
        duration_text(now_s - then_s, text);
}

// There is a newer configuration, and the machine is not done with it.
static bool waits(const struct report *report, const struct report_row *row)
{
    bool unclear = row->view.state == VIEW_TAMPERED || row->view.state == VIEW_AHEAD;
    return report->published && row->has_ticket && !row->view.settled && !unclear;
}

static void add_row(
    struct table *table, const struct report *report, const struct report_row *row, uint64_t now_s)
{
    char local[16], running[SHORT_PATH_BYTES], remote[32], pending[DURATION_BYTES],
        heard[DURATION_BYTES];
    local_text(row, local);
    short_path(row->has_status ? row->status.running : bytes_of(NULL, 0), running);
    const char *mark = view_remote_emoji(row->view.remote);
    snprintf(remote, sizeof remote, "%s%s%s", running, *mark ? " " : "", mark);
    ago_text(waits(report, row) ? report->release.head.release : 0, now_s, pending);
    bool any = row->has_status || row->tampered;
    // A broker whose clock is ahead of ours heard it just now.
    ago_text(any && row->view.heard_s > now_s ? now_s : row->view.heard_s, now_s, heard);
    CLEANUP(buf_clear) struct buf state = {0};
    state_text(&row->view, &state);
    table_cell(table, row->node->name, COLOR_PLAIN);
    table_cell(table, local, COLOR_PLAIN);
    table_cell(table, remote, COLOR_PLAIN);
    table_cell(table, buf_text(&state), color_of(row->view.severity));
    table_cell(table, pending, COLOR_PLAIN);
    table_cell(table, heard, row->view.silent ? COLOR_RED : COLOR_PLAIN);
}

static void draw_table(const struct report *report, const struct rows *rows, uint64_t now_s,
    size_t width, bool color, struct buf *out)
{
    static const struct table_column columns[] = {{.title = "MACHINE"},
        {.title = "LOCAL", .leave = 3}, {.title = "REMOTE", .leave = 1},
        {.title = "STATE", .shrink = true}, {.title = "PENDING", .right = true, .leave = 2},
        {.title = "HEARD", .right = true}};
    CLEANUP(table_freep)
    struct table *table = table_new(columns, sizeof columns / sizeof columns[0]);
    for (size_t i = 0; i < rows->shown; i++)
        add_row(table, report, rows->list[i], now_s);
    table_text(table, width, color, out);
}

static void draw_release(const struct report *report, uint64_t now_s, struct buf *out)
{
    if (!report->published) {
        buf_append_text(out, "No release yet: enrol machines with `bento add-host NAME`, then "
                             "publish with `bento deploy`.\n");
        return;
    }
    const struct head *head = &report->release.head;
    char age[DURATION_BYTES], left[DURATION_BYTES];
    duration_text(now_s > head->release ? now_s - head->release : 0, age);
    duration_text(head->expires > now_s ? head->expires - now_s : 0, left);
    buf_printf(
        out, "Release %" PRIu64 " (epoch %" PRIu64 "), %s old, ", head->release, head->epoch, age);
    if (head->expires <= now_s)
        buf_append_text(out, "EXPIRED\nwarning: nodes do not install an expired release; `bento "
                             "deploy` renews it\n");
    else
        buf_printf(out, "expires in %s\n", left);
    if (head->expires > now_s && head->expires - now_s <= (uint64_t)WARN_DAYS * DAY_S)
        buf_append_text(
            out, "warning: it expires soon; `bento deploy` renews it, also with nothing changed\n");
}

// About the fleet as a whole, so not for those who asked about some machines.
static void draw_outsiders(
    const struct report *report, const struct rows_choice *choice, struct buf *out)
{
    if (report->removed_count && !choice->named) {
        buf_append_text(out, "  not in fleet.nix any more: ");
        for (size_t i = 0; i < report->removed_count && i < NOTES_MAX; i++)
            buf_printf(out, "%s%.*s", i ? ", " : "", (int)report->removed[i]->name.len,
                (const char *)report->removed[i]->name.at);
        if (report->removed_count > NOTES_MAX)
            buf_printf(out, " and %zu more", report->removed_count - NOTES_MAX);
        buf_append_text(out, "\n    next: bento deploy leaves them out\n");
    }
    // Machines that left stay in the collector's history: nothing to do, so nothing to see.
    if (report->stranger_count && choice->all)
        buf_printf(out, "  stored reports of machines that left: %zu\n", report->stranger_count);
}

// "5 machines: 1 failing, 1 sync pending, 3 up to date; 1 silent"
static void draw_summary(const struct rows *rows, struct buf *out)
{
    size_t silent = 0;
    for (size_t i = 0; i < rows->count; i++)
        silent += rows->list[i]->view.silent;
    buf_printf(out, "%zu machine%s: ", rows->count, rows->count == 1 ? "" : "s");
    rows_count(rows, 0, out);
    if (silent)
        buf_printf(out, "; %zu silent", silent);
    buf_append_text(out, "\n");
}

static void draw_parts(const struct report *report, const struct rows_choice *choice,
    uint64_t now_s, size_t width, bool color, struct status_page *page)
{
    draw_release(report, now_s, &page->head);
    if (report->warning[0])
        buf_printf(&page->head, "warning: %s\n", report->warning);
    if (report->row_count == 0) {
        buf_append_text(&page->foot, "No machines yet: `bento add-host NAME` enrols one.\n");
        return;
    }
    struct rows rows;
    rows_choose(report, choice, &rows);
    if (rows.shown > 0)
        draw_table(report, &rows, now_s, width, color, &page->table);
    else if (choice->failed)
        buf_append_text(&page->table, "Nothing needs a person.\n");
    if (rows.shown < rows.count && !choice->failed) {
        buf_append_text(&page->table, "… and ");
        rows_count(&rows, rows.shown, &page->table);
        buf_append_text(&page->table, " (--all shows them)\n");
    }
    status_notes(report, &rows, choice->failed ? SIZE_MAX : NOTES_MAX, now_s, &page->notes);
    draw_outsiders(report, choice, &page->notes);
    draw_summary(&rows, &page->foot);
    rows_clear(&rows);
}

static void wrap(struct buf *text, size_t width)
{
    struct buf wrapped = {0};
    table_wrap(buf_bytes(text), width, &wrapped);
    buf_clear(text);
    *text = wrapped;
}

void status_page_draw(const struct report *report, const struct rows_choice *choice, uint64_t now_s,
    size_t width, bool color, struct status_page *page)
{
    draw_parts(report, choice, now_s, width, color, page);
    wrap(&page->head, width);
    wrap(&page->notes, width);
    wrap(&page->foot, width);
}

void status_page_clear(struct status_page *page)
{
    buf_clear(&page->head);
    buf_clear(&page->table);
    buf_clear(&page->notes);
    buf_clear(&page->foot);
}
