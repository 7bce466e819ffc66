#include "status_notes.h"

#include <inttypes.h>
#include <string.h>

#define LOG_LINES 3

// Checks that come before anything is switched.
static bool switched_nothing(const struct view *view)
{
    return view->state == VIEW_REFUSED || view->code <= CODE_SLOW || view->code == CODE_EVAL ||
           view->code == CODE_BUILD;
}

// Is it safe as it is?
static const char *safety(const struct view *view)
{
    if (view->state == VIEW_STAYS)
        return "; the new system runs, since it may not go back";
    if (view->inconclusive)
        return "; the system before it runs, and the network was gone there, too";
    if (view->state == VIEW_ROLLED_BACK)
        return "; the system before it runs";
    return switched_nothing(view) ? "; nothing was switched" : "";
}

// "router: rolled back: the broker was not reached in the confirm window; the system before it runs"
static void note_failure(const struct report_row *row, struct buf *out)
{
    const char *name = row->node->name;
    buf_printf(out, "  %s: %s: %s%s\n", name, view_state_word(row->view.state),
        code_when(row->view.code), safety(&row->view));
    CLEANUP(buf_clear) struct buf text = {0};
    text_escape(text_tail(row->status.log, LOG_LINES), &text);
    for (const char *line = buf_text(&text); *line;) {
        int len = (int)strcspn(line, "\n");
        buf_printf(out, "    | %.*s\n", len, line);
        line += len + (line[len] == '\n');
    }
    const char *log = row->status.log.len ? "--log" : "--history";
    buf_printf(out,
        "    next: bento status %s %s; when it is mended: bento deploy %s (unchanged: bento deploy "
        "--retry %s)\n",
        log, name, name, name);
}

static void note_drift(const struct report_row *row, struct buf *out)
{
    const char *name = row->node->name;
    bool runs = row->view.remote == REMOTE_SAME;
    buf_printf(out, "  %s: drifted: %s what somebody switched to by hand\n", name,
        runs ? "will boot" : "runs");
    buf_printf(out, "    next: bento deploy --retry %s puts it right\n", name);
}

static void note_ahead(const struct report_row *row, struct buf *out)
{
    const struct status *s = &row->status;
    buf_printf(out,
        "  %s: ahead: it accepted release %" PRIu64 " of epoch %" PRIu64
        ", which this broker does not show: it was set back, or hides something\n"
        "    next: look at the broker's machine; bento deploy publishes again\n",
        row->node->name, s->release, s->epoch);
}

static void note_tampered(const struct report_row *row, struct buf *out)
{
    buf_printf(out,
        "  %s: tampered: its stored report is not signed by this machine's key: somebody changed "
        "it "
        "on the way, or the key in nodes.json is not the machine's\n"
        "    next: compare it with what `bento-apply keys` prints there\n",
        row->node->name);
}

static void note_silence(const struct report_row *row, uint64_t now_s, struct buf *out)
{
    char silence[DURATION_BYTES];
    duration_text(now_s - row->view.heard_s, silence);
    buf_printf(
        out, "  %s: silent: nothing heard for %s; is it on, and online?", row->node->name, silence);
    if (row->node->ssh)
        buf_printf(out, " ssh %s", row->node->ssh);
    buf_append_text(out, "\n");
}

static void note(const struct report_row *row, uint64_t now_s, struct buf *out)
{
    enum view_state state = row->view.state;
    if (state == VIEW_TAMPERED)
        note_tampered(row, out);
    else if (state == VIEW_AHEAD)
        note_ahead(row, out);
    else if (state == VIEW_DRIFTED)
        note_drift(row, out);
    else if (view_state_severity(state) == SEVERITY_FAILING)
        note_failure(row, out);
    if (row->view.silent)
        note_silence(row, now_s, out);
}

// Machines that no deploy has reached yet wait for a person as well, though nothing is wrong.
static void note_enrolled(const struct report *report, const struct rows *rows, struct buf *out)
{
    size_t count = 0;
    const struct report_row *first = NULL;
    for (size_t i = 0; report->published && i < rows->count; i++) {
        const struct report_row *row = rows->list[i];
        if (row->view.state != VIEW_NEW || row->has_ticket)
            continue;
        first = first ? first : row;
        count++;
    }
    if (count == 1)
        buf_printf(out,
            "  %s: enrolled, but the release holds no configuration for it\n"
            "    next: bento deploy %s\n",
            first->node->name, first->node->name);
    else if (count > 1)
        buf_printf(out,
            "  %s and %zu more: enrolled, but the release holds no configuration for them\n"
            "    next: bento deploy\n",
            first->node->name, count - 1);
}

void status_notes(const struct report *report, const struct rows *rows, size_t most, uint64_t now_s,
    struct buf *out)
{
    size_t noted = 0;
    for (size_t i = 0; i < rows->shown; i++) {
        const struct report_row *row = rows->list[i];
        if (row->view.severity == SEVERITY_FAILING && ++noted <= most)
            note(row, now_s, out);
    }
    if (noted > most)
        buf_printf(out, "  and %zu more that need a person: bento status --failed\n", noted - most);
    note_enrolled(report, rows, out);
}
