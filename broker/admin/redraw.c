#include "redraw.h"

#include "terminal.h"

#include <stdarg.h>

#define LINE_BYTES 512

void redraw_open(struct redraw *redraw, FILE *out)
{
    *redraw = (struct redraw){.out = out, .terminal = terminal_may_draw(out)};
}

static void erase(struct redraw *redraw)
{
    if (redraw->drawn) {
        fprintf(redraw->out, "\r\033[%zuA\033[J", redraw->drawn);
    }
    redraw->drawn = 0;
}

void redraw_say(struct redraw *redraw, const char *format, ...)
{
    va_list args;
    erase(redraw);
    va_start(args, format);
    vfprintf(redraw->out, format, args);
    va_end(args);
    fputc('\n', redraw->out);
    fflush(redraw->out);
}

// A line that wraps would be two, and the next drawing would begin too low. Whatever is no ASCII
// may be two columns wide.
static void cut(char *text, size_t columns)
{
    size_t used = 0;
    for (char *at = text; *at; at++) {
        unsigned char byte = (unsigned char)*at;
        used += byte < 0x80 ? 1 : byte >= 0xc0 ? 2 : 0;
        if (used > columns && (byte < 0x80 || byte >= 0xc0)) {
            *at = '\0';
            return;
        }
    }
}

void redraw_add(struct redraw *redraw, const char *format, ...)
{
    char text[LINE_BYTES];
    va_list args;
    if (!redraw->terminal) {
        return;
    }
    struct terminal_size size = terminal_size(redraw->out);
    // One for the cursor, one for what is left out.
    if (redraw->next_count + 2 >= size.height) {
        redraw->left_out++;
        return;
    }
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    cut(text, size.width - 1);
    buf_printf(&redraw->next, "%s\n", text);
    redraw->next_count++;
}

void redraw_now(struct redraw *redraw)
{
    if (!redraw->terminal) {
        return;
    }
    erase(redraw);
    fwrite(buf_text(&redraw->next), 1, redraw->next.len, redraw->out);
    redraw->drawn = redraw->next_count;
    if (redraw->left_out) {
        fprintf(redraw->out, "… and %zu more\n", redraw->left_out);
        redraw->drawn++;
    }
    fflush(redraw->out);
    buf_clear(&redraw->next);
    redraw->next_count = redraw->left_out = 0;
}

void redraw_close(struct redraw *redraw)
{
    erase(redraw);
    fflush(redraw->out);
    buf_clear(&redraw->next);
}
