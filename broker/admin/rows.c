#include "rows.h"

#include <stdlib.h>
#include <string.h>

static int worst_first(const void *a, const void *b)
{
    const struct report_row *x = *(const struct report_row *const *)a,
                            *y = *(const struct report_row *const *)b;
    if (x->view.severity != y->view.severity)
        return x->view.severity > y->view.severity ? -1 : 1;
    if (x->view.state != y->view.state)
        return x->view.state > y->view.state ? -1 : 1;
    return strcmp(x->node->name, y->node->name);
}

static size_t count_failing(const struct rows *rows)
{
    size_t n = 0;
    while (n < rows->count && rows->list[n]->view.severity == SEVERITY_FAILING)
        n++;
    return n;
}

static size_t count_shown(const struct rows *rows, const struct rows_choice *choice)
{
    size_t failing = count_failing(rows);
    if (choice->failed)
        return failing;
    if (choice->named || choice->all || rows->count <= ROWS_MAX)
        return rows->count;
    size_t n = failing;
    while (n < ROWS_MAX && rows->list[n]->view.severity == SEVERITY_PENDING)
        n++;
    return n;
}

void rows_choose(const struct report *report, const struct rows_choice *choice, struct rows *rows)
{
    *rows = (struct rows){.list = xcalloc(report->row_count + 1, sizeof *rows->list)};
    for (size_t i = 0; i < report->row_count; i++)
        if (choice->chosen[i])
            rows->list[rows->count++] = &report->rows[i];
    qsort(rows->list, rows->count, sizeof *rows->list, worst_first);
    rows->shown = count_shown(rows, choice);
}

void rows_clear(struct rows *rows)
{
    free(rows->list);
    *rows = (struct rows){0};
}

void rows_count(const struct rows *rows, size_t from, struct buf *text)
{
    size_t counts[VIEW_STATE_COUNT] = {0};
    for (size_t i = from; i < rows->count; i++)
        counts[rows->list[i]->view.state]++;
    const char *between = "";
    for (int severity = SEVERITY_FAILING; severity >= SEVERITY_DONE; severity--)
        for (int i = VIEW_STATE_COUNT - 1; i >= 0; i--) {
            enum view_state state = (enum view_state)i;
            if (counts[i] == 0 || (int)view_state_severity(state) != severity)
                continue;
            buf_printf(text, "%s%zu %s", between, counts[i], view_state_word(state));
            between = ", ";
        }
}

bool rows_are_pending(const struct report *report, const bool *chosen)
{
    for (size_t i = 0; i < report->row_count; i++)
        if (chosen[i] && view_is_pending(&report->rows[i].view))
            return true;
    return false;
}

enum view_severity rows_worst(const struct report *report, const bool *chosen)
{
    enum view_severity worst = SEVERITY_DONE;
    for (size_t i = 0; i < report->row_count; i++)
        if (chosen[i] && report->rows[i].view.severity > worst)
            worst = report->rows[i].view.severity;
    return worst;
}
