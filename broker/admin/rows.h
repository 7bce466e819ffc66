// Which rows of a report have a line, and in which order: worst first.
//
// Up to ROWS_MAX machines are all shown, and so are those that were named. Of more, each that needs a
// person has its line, then those under way as long as there is room, the furthest first; the rest
// is folded into a line that counts it.
#pragma once

#include "report.h"

#define ROWS_MAX 30

struct rows_choice {
    const bool *chosen; // one a row of the report
    bool named;         // by words on the command line
    bool all;           // none is folded
    bool failed;        // only what needs a person
};

struct rows {
    size_t count, shown;            // list[shown..count) have no line of their own
    const struct report_row **list; // worst first; owned
};
void rows_choose(const struct report *report, const struct rows_choice *choice, struct rows *rows);
void rows_clear(struct rows *rows);
// "2 rolled back, 1 building, 987 up to date", of list[from..count).
void rows_count(const struct rows *rows, size_t from, struct buf *text);
// More comes by itself to one of them.
bool rows_are_pending(const struct report *report, const bool *chosen);
// The heaviest of them.
enum view_severity rows_worst(const struct report *report, const bool *chosen);
