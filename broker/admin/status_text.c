#include "status_text.h"

#include "table.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define WARN_DAYS 14
#define DAY_S 86400
#define TAILS_MAX 8 // nodes whose log is quoted under the table
#define TAIL_LINES 3

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
    if (view->behind && view->severity == SEVERITY_FAILING && view->state >= VIEW_FAILING)
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

static void add_row(
    struct table *table, const struct report *report, const struct report_row *row, uint64_t now_s)
{
    char local[16], running[SHORT_PATH_BYTES], remote[32], heard[DURATION_BYTES] = "",
                                                           config[DURATION_BYTES] = "";
    local_text(row, local);
    short_path(row->has_status ? row->status.running : bytes_of(NULL, 0), running);
    const char *mark = view_remote_emoji(row->view.remote);
    snprintf(remote, sizeof remote, "%s%s%s", running, *mark ? " " : "", mark);
    if (row->has_status || row->tampered)
        duration_text(now_s > row->view.heard_s ? now_s - row->view.heard_s : 0, heard);
    if (row->view.behind && now_s > report->release.head.release)
        duration_text(now_s - report->release.head.release, config);
    struct buf state = {0};
    state_text(&row->view, &state);
    table_cell(table, row->node->name, COLOR_PLAIN);
    table_cell(table, local, COLOR_PLAIN);
    table_cell(table, remote, COLOR_PLAIN);
    table_cell(table, buf_text(&state), color_of(row->view.severity));
    table_cell(table, heard, row->view.silent ? COLOR_RED : COLOR_PLAIN);
    table_cell(table, config, COLOR_PLAIN);
    buf_clear(&state);
}

static void print_table(const struct report *report, const bool *chosen, uint64_t now_s)
{
    static const struct table_column columns[] = {{.title = "MACHINE"}, {.title = "LOCAL"},
        {.title = "REMOTE"}, {.title = "STATE", .shrink = true}, {.title = "HEARD", .right = true},
        {.title = "NEW CONFIG", .right = true}};
    CLEANUP(table_freep)
    struct table *table = table_new(columns, sizeof columns / sizeof columns[0]);
    for (size_t i = 0; i < report->row_count; i++)
        if (chosen[i])
            add_row(table, report, &report->rows[i], now_s);
    table_print(table, stdout, table_width(stdout), table_may_color(stdout));
}

static void print_release(const struct report *report, uint64_t now_s)
{
    if (!report->published) {
        printf("No release yet: enrol machines with `bento add-host NAME`, then publish with "
               "`bento deploy`.\n");
        return;
    }
    const struct head *head = &report->release.head;
    char age[DURATION_BYTES], left[DURATION_BYTES];
    duration_text(now_s > head->release ? now_s - head->release : 0, age);
    duration_text(head->expires > now_s ? head->expires - now_s : 0, left);
    printf("Release %" PRIu64 " (epoch %" PRIu64 "), %s old, ", head->release, head->epoch, age);
    if (head->expires <= now_s)
        printf("EXPIRED\nwarning: nodes do not install an expired release; `bento deploy` renews "
               "it\n");
    else if (head->expires - now_s <= (uint64_t)WARN_DAYS * DAY_S)
        printf("expires in %s\nwarning: it expires soon; `bento deploy` renews it, also with "
               "nothing changed\n",
            left);
    else
        printf("expires in %s\n", left);
}

// "5 machines: 3 up to date, 1 failing, 1 sync pending; 1 silent"
static void print_summary(const struct report *report, const bool *chosen)
{
    size_t counts[VIEW_STATE_COUNT] = {0}, total = 0, silent = 0;
    for (size_t i = 0; i < report->row_count; i++)
        if (chosen[i]) {
            total++;
            counts[report->rows[i].view.state]++;
            silent += report->rows[i].view.silent;
        }
    static const enum view_severity order[] = {SEVERITY_DONE, SEVERITY_PENDING, SEVERITY_FAILING};
    printf("%zu machine%s", total, total == 1 ? "" : "s");
    const char *between = ": ";
    for (size_t o = 0; o < sizeof order / sizeof order[0]; o++)
        for (int state = 0; state < VIEW_STATE_COUNT; state++)
            if (counts[state] && view_state_severity((enum view_state)state) == order[o]) {
                printf("%s%zu %s", between, counts[state], view_state_word((enum view_state)state));
                between = ", ";
            }
    if (silent)
        printf("; %zu silent", silent);
    printf("\n");
}

// "  router: error: attribute missing", for each line.
static void print_lines(const char *name, struct bytes log)
{
    struct buf text = {0};
    text_escape(text_tail(log, TAIL_LINES), &text);
    const char *line = buf_text(&text);
    while (*line) {
        int len = (int)strcspn(line, "\n");
        printf("  %s: %.*s\n", name, len, line);
        line += len + (line[len] == '\n');
    }
    buf_clear(&text);
}

// One line for each kind of trouble that a state's word does not explain.
static void print_hint(const struct report_row *row)
{
    const char *name = row->node->name;
    if (row->view.state == VIEW_TAMPERED)
        printf("  %s: the stored status is not signed by this machine's key: somebody changed it "
               "on the way, or the key in "
               "fleet.nix is not the machine's\n",
            name);
    else if (row->view.state == VIEW_AHEAD)
        printf("  %s: has accepted release %" PRIu64 " of epoch %" PRIu64
               ", which this broker does not show: it was set back, or hides something\n",
            name, row->status.release, row->status.epoch);
    else if (row->view.state == VIEW_DRIFTED)
        printf("  %s: runs or boots something that was switched to by hand; its page, or the next "
               "release, puts it right\n",
            name);
}

static void print_troubles(const struct report *report, const bool *chosen)
{
    size_t quoted = 0;
    for (size_t i = 0; i < report->row_count; i++) {
        const struct report_row *row = &report->rows[i];
        if (!chosen[i])
            continue;
        print_hint(row);
        bool quote = row->has_status && row->status.log.len &&
                     view_state_severity(row->view.state) == SEVERITY_FAILING;
        if (quote && ++quoted <= TAILS_MAX)
            print_lines(row->node->name, row->status.log);
    }
    if (quoted)
        printf("  (bento-status --log NAME shows the whole log)\n");
    if (report->removed_count)
        printf("  %zu of the release's machines are not in fleet.nix any more: the next deploy "
               "leaves them out\n",
            report->removed_count);
    if (report->stranger_count)
        printf(
            "  %zu stored statuses belong to no machine of this fleet\n", report->stranger_count);
}

void status_text_print(const struct report *report, const bool *chosen, uint64_t now_s)
{
    print_release(report, now_s);
    if (report->row_count == 0) {
        printf("No machines yet: `bento add-host NAME` enrols one.\n");
        return;
    }
    print_table(report, chosen, now_s);
    print_troubles(report, chosen);
    print_summary(report, chosen);
}

static void time_text(uint64_t unix_s, char text[32])
{
    time_t t = (time_t)unix_s;
    struct tm tm;
    if (unix_s > INT64_MAX || !localtime_r(&t, &tm) ||
        strftime(text, 32, "%Y-%m-%d %H:%M:%S", &tm) == 0)
        snprintf(text, 32, "%" PRIu64, unix_s);
}

static void add_event(struct table *table, const struct remote_status *raw, const uint8_t fleet[32])
{
    struct status s = {0};
    bool ok = report_verify(raw, fleet, &s);
    char received[32], release[32] = "", running[SHORT_PATH_BYTES], took[DURATION_BYTES] = "";
    time_text(raw->received_s, received);
    short_path(s.running, running);
    if (ok && s.release)
        snprintf(release, sizeof release, "%" PRIu64, s.release);
    uint64_t took_ms =
        s.timings.obtain_ms + s.timings.fetch_ms + s.timings.switch_ms + s.timings.confirm_ms;
    if (took_ms)
        duration_text(took_ms / 1000, took);
    struct buf state = {0};
    buf_printf(&state, "%s%s%s%s", ok ? node_state_word(s.state) : "tampered",
        s.code == CODE_OK ? "" : " ", s.code == CODE_OK ? "" : code_name(s.code),
        s.automatic ? " (self update)" : "");
    table_cell(table, received, COLOR_PLAIN);
    table_cell(table, release, COLOR_PLAIN);
    table_cell(table, running, COLOR_PLAIN);
    table_cell(table, buf_text(&state), ok ? COLOR_PLAIN : COLOR_RED);
    table_cell(table, took, COLOR_PLAIN);
    buf_clear(&state);
}

void status_text_print_history(const struct remote_statuses *history, const uint8_t fleet[32])
{
    static const struct table_column columns[] = {{.title = "RECEIVED"}, {.title = "RELEASE"},
        {.title = "RUNNING"}, {.title = "STATE", .shrink = true}, {.title = "TOOK", .right = true}};
    CLEANUP(table_freep)
    struct table *table = table_new(columns, sizeof columns / sizeof columns[0]);
    for (size_t i = 0; i < history->count; i++)
        add_event(table, &history->list[i], fleet);
    table_print(table, stdout, table_width(stdout), table_may_color(stdout));
}
