// Lines at the bottom of a terminal that are drawn again and again, below those that stay. Where the
// output is no terminal, only what stays is printed.
#pragma once

#include "bytes.h"

#include <stdio.h>

struct redraw {
    FILE *out;
    bool terminal;
    size_t drawn; // lines that are there now and will be replaced
    struct buf next;
    size_t next_count, left_out;
};

void redraw_open(struct redraw *redraw, FILE *out);
// A line that stays.
void redraw_say(struct redraw *redraw, const char *format, ...) PRINTF_LIKE(2, 3);
// The lines of the next drawing, most important first: those that the terminal has no room for are
// counted instead. Then redraw_now() replaces what is there.
void redraw_add(struct redraw *redraw, const char *format, ...) PRINTF_LIKE(2, 3);
void redraw_now(struct redraw *redraw);
// Takes away what is drawn.
void redraw_close(struct redraw *redraw);
