#include "table.h"

#include <langinfo.h>
#include <libsmartcols.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#define ESCAPED_WIDTH 4 // a control character is shown as \xNN

struct cell {
    char *text;
    enum table_color color;
};

struct table {
    size_t column_count, cell_count, room;
    struct table_column *columns;
    struct cell *cells; // row after row
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
    table->columns = xcalloc(count, sizeof *columns);
    memcpy(table->columns, columns, count * sizeof *columns);
    return table;
}

void table_free(struct table *table)
{
    if (!table)
        return;
    for (size_t i = 0; i < table->cell_count; i++)
        free(table->cells[i].text);
    free(table->cells);
    free(table->columns);
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
    if (table->cell_count == table->room) {
        size_t room = table->room ? 2 * table->room : 64;
        struct cell *cells = xcalloc(room, sizeof *cells);
        if (table->cell_count)
            memcpy(cells, table->cells, table->cell_count * sizeof *cells);
        free(table->cells);
        table->cells = cells;
        table->room = room;
    }
    table->cells[table->cell_count++] = (struct cell){.text = xstrdup(text), .color = color};
}

// Columns of a terminal that the text takes; bytes that are no character count as escaped ones.
static size_t bytes_width(const char *text, size_t bytes)
{
    size_t width = 0;
    mbstate_t state = {0};
    for (const char *end = text + bytes; text < end;) {
        wchar_t c;
        size_t len = mbrtowc(&c, text, (size_t)(end - text), &state);
        bool whole = len != (size_t)-1 && len != (size_t)-2;
        int columns = whole ? wcwidth(c) : -1;
        width += columns < 0 ? ESCAPED_WIDTH : (size_t)columns;
        text += whole ? len : 1;
        if (!whole)
            state = (mbstate_t){0};
    }
    return width;
}

static size_t text_width(const char *text)
{
    return bytes_width(text, strlen(text));
}

static size_t column_width(const struct table *table, size_t column)
{
    size_t width = text_width(table->columns[column].title);
    for (size_t i = column; i < table->cell_count; i += table->column_count) {
        size_t cell = text_width(table->cells[i].text);
        width = cell > width ? cell : width;
    }
    return width;
}

// Leaves columns out until the rest fits, or until none may go any more.
static void choose_columns(const struct table *table, size_t width, bool *shown)
{
    size_t total = 0;
    for (size_t i = 0; i < table->column_count; i++) {
        shown[i] = true;
        total += column_width(table, i) + (i > 0);
    }
    while (width && total > width) {
        size_t out = table->column_count;
        for (size_t i = 0; i < table->column_count; i++)
            if (shown[i] && table->columns[i].leave &&
                (out == table->column_count || table->columns[i].leave > table->columns[out].leave))
                out = i;
        if (out == table->column_count)
            return;
        shown[out] = false;
        total -= column_width(table, out) + 1;
    }
}

static struct libscols_table *scols_new(const struct table *table, const bool *shown)
{
    struct libscols_table *scols = scols_new_table();
    ASSERT(scols);
    scols_table_enable_minout(scols, 1); // no blanks at the ends of lines
    for (size_t i = 0; i < table->column_count; i++) {
        const struct table_column *column = &table->columns[i];
        int flags = (column->right ? SCOLS_FL_RIGHT : 0) | (column->shrink ? SCOLS_FL_TRUNC : 0);
        // A width hint of 1: as wide as its content, if there is room.
        ASSERT(!shown[i] || scols_table_new_column(scols, column->title, 1, flags));
    }
    for (size_t at = 0; at < table->cell_count; at += table->column_count) {
        struct libscols_line *line = scols_table_new_line(scols, NULL);
        ASSERT(line);
        for (size_t i = 0, n = 0; i < table->column_count; i++) {
            const struct cell *cell = &table->cells[at + i];
            if (!shown[i])
                continue;
            ASSERT(scols_line_set_data(line, n, cell->text) == 0);
            if (color_name(cell->color))
                scols_cell_set_color(scols_line_get_cell(line, n), color_name(cell->color));
            n++;
        }
    }
    return scols;
}

void table_print(const struct table *table, FILE *out, size_t width, bool color)
{
    ASSERT(table->cell_count % table->column_count == 0);
    bool *shown = xcalloc(table->column_count, sizeof *shown);
    choose_columns(table, width, shown);
    struct libscols_table *scols = scols_new(table, shown);
    // An own measure instead of the library's: its idea of a terminal is stdout, whatever the
    // stream.
    scols_table_set_termforce(scols, width ? SCOLS_TERMFORCE_ALWAYS : SCOLS_TERMFORCE_NEVER);
    if (width)
        scols_table_set_termwidth(scols, width);
    scols_table_enable_colors(scols, color);
    scols_table_set_stream(scols, out);
    scols_print_table(scols);
    scols_unref_table(scols);
    free(shown);
}

void table_text(const struct table *table, size_t width, bool color, struct buf *out)
{
    char *text = NULL;
    size_t len = 0;
    FILE *memory = open_memstream(&text, &len);
    ASSERT(memory);
    table_print(table, memory, width, color);
    ASSERT(fclose(memory) == 0);
    buf_append(out, text, len);
    free(text);
}

static void wrap_line(const char *line, size_t len, size_t width, struct buf *out)
{
    size_t indent = 0;
    while (indent < len && line[indent] == ' ')
        indent++;
    buf_append(out, line, indent);
    size_t at = indent;
    for (size_t i = indent; i < len;) {
        size_t word = 0;
        while (i + word < len && line[i + word] != ' ')
            word++;
        size_t columns = bytes_width(line + i, word);
        bool first = i == indent;
        if (!first && at + 1 + columns > width) {
            buf_printf(out, "\n%*s", (int)indent + 2, "");
            at = indent + 2;
        } else if (!first) {
            buf_append_text(out, " ");
            at++;
        }
        buf_append(out, line + i, word);
        at += columns;
        i += word + (i + word < len);
    }
    buf_append_text(out, "\n");
}

void table_wrap(struct bytes text, size_t width, struct buf *out)
{
    use_utf8();
    for (size_t i = 0, len; i < text.len; i += len + 1) {
        const char *line = (const char *)text.at + i;
        for (len = 0; i + len < text.len && line[len] != '\n';)
            len++;
        wrap_line(line, len, width ? width : SIZE_MAX, out);
    }
}
