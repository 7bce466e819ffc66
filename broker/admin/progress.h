// How far the work on many hosts is: on a terminal one live line a host, below what is printed for
// good; elsewhere only the latter, and once a minute a line that says what is going on.
//
// VERBOSE=1 prints every line that the children say, NO_COLOR takes the colours away.
#pragma once

#include "bytes.h"

struct loop;
struct progress;

// Takes the names' length for the width of their column. names are borrowed. what: "hosts".
struct progress *progress_new(
    struct loop *loop, const char *what, const char *const *names, size_t count);
// A row enters a phase ("evaluating"; static text), with a clock of its own; NULL: it waits.
void progress_phase(struct progress *progress, size_t row, const char *phase);
// The newest line of its log, as it came.
void progress_line(struct progress *progress, size_t row, struct bytes line);
// It is done: text (whole lines; empty: none) is printed for good.
void progress_over(struct progress *progress, size_t row, bool failed, const char *text);
// Takes the live lines away.
void progress_free(struct progress *progress);

// ---- what is drawn, without a terminal ----

#define PROGRESS_LINE_BYTES 512

struct progress_row {
    const char *name;
    const char *phase; // NULL: it waits
    uint64_t since_ms;
    bool over, failed;
    char line[PROGRESS_LINE_BYTES];
};

struct progress_look {
    const char *what;
    unsigned width, height; // of the terminal
    unsigned frame;         // of the spinner
    uint64_t now_ms, since_ms;
    bool colour;
};

// Lines, each with its newline: the rows that are not over, those that wait last, as many as fit, and
// the sum. Never wider than the terminal less one column, never higher than it less one line.
void progress_render(const struct progress_row *rows, size_t count,
    const struct progress_look *look, struct buf *out);
// How many lines of a terminal that is now `width` wide a drawn text takes.
unsigned progress_height(const char *drawn, unsigned width);
// A line of a log as it may stand on a terminal: what follows the last carriage return, without escape
// sequences, control characters and characters that turn the direction of writing.
void progress_clean(struct bytes line, struct buf *out);
