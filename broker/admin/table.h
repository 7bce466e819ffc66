// A table for terminals, over libsmartcols: the only file that includes it. Widths are those of
// what is shown (emoji are two columns wide), control characters are escaped, colours come only
// where they are wanted.
#pragma once

#include "bytes.h"

#include <stdio.h>

enum table_color { COLOR_PLAIN, COLOR_GREEN, COLOR_YELLOW, COLOR_RED, COLOR_DIM };

struct table_column {
    const char *title;
    bool right;     // aligned to the right
    bool shrink;    // may be cut when the terminal is too narrow and nothing is left to be left out
    unsigned leave; // 0: always there; else left out on a narrow terminal, larger numbers first
};

struct table;

// Also makes UTF-8 the character set of this process if its locale has another: names of states are
// UTF-8 whatever LANG says.
struct table *table_new(const struct table_column *columns, size_t count);
void table_free(struct table *table); // NULL is fine
void table_freep(struct table **table);
// Fills from left to right, row after row; the text is copied.
void table_cell(struct table *table, const char *text, enum table_color color);
// The header and all rows, a line each. width: columns to fit into, 0: as wide as needed.
void table_print(const struct table *table, FILE *out, size_t width, bool color);
// The same, appended to a buffer.
void table_text(const struct table *table, size_t width, bool color, struct buf *out);

// Text that is no table: breaks its lines at blanks so that they fit into width (0: as they are); what
// goes on stands two columns further in. Appends.
void table_wrap(struct bytes text, size_t width, struct buf *out);
