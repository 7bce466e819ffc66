#include "table.h"

#include "bytes.h"

#include <langinfo.h>
#include <libsmartcols.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

struct table {
    struct libscols_table *scols;
    struct libscols_line *line;
    size_t column_count, next;
};

static void use_utf8(void)
{
    setlocale(LC_CTYPE, "");
    if (strcmp(nl_langinfo(CODESET), "UTF-8") != 0)
        setlocale(LC_CTYPE, "C.UTF-8");
}

struct table *table_new(const struct table_column *columns, size_t count)
{
    use_utf8();
    struct table *table = xcalloc(1, sizeof *table);
    table->column_count = count;
    table->scols = scols_new_table();
    ASSERT(table->scols);
    scols_table_enable_minout(table->scols, 1); // no blanks at the ends of lines
    for (size_t i = 0; i < count; i++) {
        int flags =
            (columns[i].right ? SCOLS_FL_RIGHT : 0) | (columns[i].shrink ? SCOLS_FL_TRUNC : 0);
        // A width hint of 1: as wide as its content, if there is room.
        ASSERT(scols_table_new_column(table->scols, columns[i].title, 1, flags));
    }
    return table;
}

void table_free(struct table *table)
{
    if (!table)
        return;
    scols_unref_table(table->scols);
    free(table);
}

void table_freep(struct table **table)
{
    table_free(*table);
    *table = NULL;
}

static const char *color_name(enum table_color color)
{
    switch (color) {
    case COLOR_PLAIN:
        return NULL;
    case COLOR_GREEN:
        return "green";
    case COLOR_YELLOW:
        return "yellow";
    case COLOR_RED:
        return "red";
    case COLOR_DIM:
        return "darkgray";
    }
    return NULL;
}

void table_cell(struct table *table, const char *text, enum table_color color)
{
    if (table->next == 0)
        table->line = scols_table_new_line(table->scols, NULL);
    ASSERT(table->line && scols_line_set_data(table->line, table->next, text) == 0);
    if (color_name(color))
        scols_cell_set_color(scols_line_get_cell(table->line, table->next), color_name(color));
    table->next = (table->next + 1) % table->column_count;
}

void table_print(struct table *table, FILE *out, size_t width, bool color)
{
    ASSERT(table->next == 0);
    // An own measure instead of the library's: its idea of a terminal is stdout, whatever the
    // stream.
    scols_table_set_termforce(table->scols, width ? SCOLS_TERMFORCE_ALWAYS : SCOLS_TERMFORCE_NEVER);
    if (width)
        scols_table_set_termwidth(table->scols, width);
    scols_table_enable_colors(table->scols, color);
    scols_table_set_stream(table->scols, out);
    scols_print_table(table->scols);
}

size_t table_width(FILE *out)
{
    struct winsize size;
    if (!isatty(fileno(out)))
        return 0;
    return ioctl(fileno(out), TIOCGWINSZ, &size) == 0 && size.ws_col ? size.ws_col : 80;
}

bool table_may_color(FILE *out)
{
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
    return isatty(fileno(out)) && !(no && *no) && term && strcmp(term, "dumb") != 0;
}
