#include "progress.h"

#include "loop.h"
#include "nix.h"
#include "terminal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FRAME_MS 100
#define HEARTBEAT_MS 60000
#define PHASE_WIDTH 10 // "evaluating"

struct progress {
    const char *what;
    size_t count;
    struct progress_row *rows;
    bool terminal, colour, verbose;
    uint64_t since_ms;
    unsigned frame;
    struct buf drawn; // what stands on the terminal now
    struct loop_watch *timer;
};

// ---- text ----

// A character at the start of text, which is not empty: its code point, U+FFFD for what is none.
static uint32_t take_character(struct bytes text, size_t *len)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    uint8_t first = text.at[0];
    *len = first < 0x80             ? 1
           : (first & 0xe0) == 0xc0 ? 2
           : (first & 0xf0) == 0xe0 ? 3
           : (first & 0xf8) == 0xf0 ? 4
                                    : 0;
    if (*len == 1) {
        return first;
    }
    uint32_t c = first & (0x7fu >> *len);
    for (size_t i = 1; i < *len; i++) {
        if (i >= text.len || (text.at[i] & 0xc0) != 0x80) {
            *len = 0;
            break;
        }
        c = c << 6 | (text.at[i] & 0x3f);
    }
    if (*len == 0 || c < least[*len] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000)) {
        *len = 1;
        return 0xfffd;
    }
    return c;
}

// At least as many columns as a terminal takes; which characters are wide depends on its font, so
// everything that may be is.
static unsigned columns_of(uint32_t c)
{
    bool narrow = c < 0x1100 || (c >= 0x2000 && c < 0x2300) || (c >= 0x2500 && c < 0x2600) ||
                  (c >= 0x2800 && c < 0x2900);
    return narrow ? 1 : 2;
}

static bool turns_or_hides(uint32_t c)
{
    return (c >= 0x80 && c < 0xa0) || (c >= 0x200b && c <= 0x200f) ||
           (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) || c == 0xfeff;
}

// Bytes of the escape sequence at the start: CSI to its final byte, OSC to BEL or ST, else two.
static size_t escape_length(struct bytes text)
{
    size_t i = 2;
    if (text.len < 2) {
        return text.len;
    }
    if (text.at[1] == '[') {
        while (i < text.len && (text.at[i] < 0x40 || text.at[i] > 0x7e)) {
            i++;
        }
        return i < text.len ? i + 1 : i;
    }
    if (text.at[1] == ']') {
        while (i < text.len && text.at[i] != 7 && text.at[i] != 27) {
            i++;
        }
        return i + 1 < text.len && text.at[i] == 27 ? i + 2 : i < text.len ? i + 1 : i;
    }
    return 2;
}

static struct bytes after_last_return(struct bytes line)
{
    while (line.len && line.at[line.len - 1] == '\r') {
        line.len--;
    }
    const uint8_t *at = line.len ? memrchr(line.at, '\r', line.len) : NULL;
    return at ? bytes_of(at + 1, (size_t)(line.at + line.len - at - 1)) : line;
}

void progress_clean(struct bytes line, struct buf *out)
{
    line = after_last_return(line);
    while (line.len) {
        size_t len;
        uint32_t c = take_character(line, &len);
        if (c == 27) {
            len = escape_length(line);
        } else if (c == '\t') {
            buf_append_text(out, " ");
        } else if (c == 0xfffd) {
            buf_append_text(out, "?");
        } else if (c >= 0x20 && c != 0x7f && !turns_or_hides(c)) {
            buf_append(out, line.at, len);
        }
        line = bytes_of(line.at + len, line.len - len);
    }
}

unsigned progress_height(const char *drawn, unsigned width)
{
    unsigned height = 0, columns = 0;
    struct bytes rest = bytes_of_text(drawn);
    while (rest.len) {
        size_t len;
        uint32_t c = take_character(rest, &len);
        if (c == '\n') {
            height += columns > width ? (columns + width - 1) / width : 1;
            columns = 0;
        } else if (c == 27) {
            len = escape_length(rest);
        } else {
            columns += columns_of(c);
        }
        rest = bytes_of(rest.at + len, rest.len - len);
    }
    return height;
}

// In one line of a terminal the hashes of store paths say nothing and take the room of what does.
static void shorten_paths(const char *line, char *out, size_t room)
{
    static const char store[] = "/nix/store/";
    const size_t hash = sizeof(store) - 1 + 32;
    size_t len = 0;
    while (*line && len + 1 < room) {
        if (!strncmp(line, store, sizeof(store) - 1) && strnlen(line, hash + 1) > hash &&
            line[hash] == '-') {
            line += hash + 1;
        } else {
            out[len++] = *line++;
        }
    }
    out[len] = 0;
}

// ---- drawing ----

// A line that is being filled: what does not fit is left out.
struct pen {
    struct buf *out;
    unsigned columns, width;
    bool colour;
};

static void write_text(struct pen *pen, const char *colour, const char *text)
{
    struct bytes rest = bytes_of_text(text);
    bool coloured = pen->colour && colour && rest.len;
    if (coloured) {
        buf_printf(pen->out, "\033[%sm", colour);
    }
    while (rest.len) {
        size_t len;
        unsigned columns = columns_of(take_character(rest, &len));
        if (pen->columns + columns > pen->width) {
            pen->columns = pen->width; // nothing narrower behind it either
            break;
        }
        pen->columns += columns;
        buf_append(pen->out, rest.at, len);
        rest = bytes_of(rest.at + len, rest.len - len);
    }
    if (coloured) {
        buf_append_text(pen->out, "\033[0m");
    }
}

static void write_padded(struct pen *pen, const char *colour, const char *text, unsigned width)
{
    unsigned start = pen->columns;
    write_text(pen, colour, text);
    while (pen->columns < start + width && pen->columns < pen->width) {
        write_text(pen, NULL, " ");
    }
}

static void clock_text(uint64_t ms, char text[24])
{
    unsigned long long s = ms / 1000;
    if (s < 60) {
        snprintf(text, 24, "%llus", s);
    } else if (s < 3600) {
        snprintf(text, 24, "%llum%02llus", s / 60, s % 60);
    } else {
        snprintf(text, 24, "%lluh%02llum", s / 3600, s / 60 % 60);
    }
}

static void draw_row(const struct progress_row *row, const struct progress_look *look,
    unsigned name_width, struct buf *out)
{
    static const char *const spinner[] = {"⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"};
    struct pen pen = {out, 0, look->width - 1, look->colour};
    char elapsed[24] = "";
    if (row->phase) {
        clock_text(look->now_ms - row->since_ms, elapsed);
    }
    write_text(&pen, "36", row->phase ? spinner[look->frame % 10] : " ");
    write_text(&pen, NULL, " ");
    write_padded(&pen, row->phase ? "1" : "2", row->name, name_width + 2);
    write_padded(&pen, row->phase ? NULL : "2", row->phase ? row->phase : "waiting", PHASE_WIDTH);
    if (row->phase) {
        char padded[40];
        snprintf(padded, sizeof(padded), " %6s  ", elapsed);
        write_text(&pen, NULL, padded);
        write_text(&pen, "2", row->line);
    }
    buf_append_text(out, "\n");
}

struct sums {
    size_t running, waiting, done, failed;
};

static struct sums add_up(const struct progress_row *rows, size_t count)
{
    struct sums sums = {0};
    for (size_t i = 0; i < count; i++) {
        size_t *sum = rows[i].over && rows[i].failed ? &sums.failed
                      : rows[i].over                 ? &sums.done
                      : rows[i].phase                ? &sums.running
                                                     : &sums.waiting;
        ++*sum;
    }
    return sums;
}

static void draw_sums(
    const struct sums *sums, size_t hidden, const struct progress_look *look, struct buf *out)
{
    struct pen pen = {out, 0, look->width - 1, look->colour};
    char text[160], elapsed[24];
    clock_text(look->now_ms - look->since_ms, elapsed);
    snprintf(text, sizeof(text), "%zu of %zu %s done", sums->done,
        sums->done + sums->failed + sums->running + sums->waiting, look->what);
    write_text(&pen, NULL, text);
    if (sums->failed) {
        snprintf(text, sizeof(text), ", %zu failed", sums->failed);
        write_text(&pen, "31", text);
    }
    snprintf(text, sizeof(text), ", %zu running, %zu waiting", sums->running, sums->waiting);
    write_text(&pen, NULL, text);
    if (hidden) {
        snprintf(text, sizeof(text), " (%zu not shown)", hidden);
        write_text(&pen, NULL, text);
    }
    snprintf(text, sizeof(text), "  %s", elapsed);
    write_text(&pen, "2", text);
    buf_append_text(out, "\n");
}

void progress_render(const struct progress_row *rows, size_t count,
    const struct progress_look *look, struct buf *out)
{
    struct sums sums = add_up(rows, count);
    size_t room = look->height > 3 ? look->height - 2 : 1,
           shown = 0; // one for the sum, one for the cursor
    unsigned name_width = 0;
    for (size_t i = 0; i < count; i++) {
        unsigned width = (unsigned)strlen(rows[i].name);
        name_width = width > name_width ? width : name_width;
    }
    name_width = name_width < look->width / 3 ? name_width : look->width / 3;
    for (int waiting = false; waiting <= true; waiting++) {
        for (size_t i = 0; i < count && shown < room; i++) {
            if (!rows[i].over && (rows[i].phase == NULL) == waiting) {
                draw_row(&rows[i], look, name_width, out);
                shown++;
            }
        }
    }
    draw_sums(&sums, sums.running + sums.waiting - shown, look, out);
}

// ---- the terminal ----

// Every line replaces the one that was there, so that nothing flickers.
static void append_lines(struct buf *out, const char *text, const char *colour)
{
    while (*text) {
        size_t len = strcspn(text, "\n");
        buf_printf(
            out, "\033[K%s%.*s%s\n", colour ? colour : "", (int)len, text, colour ? "\033[0m" : "");
        text += len + (text[len] == '\n');
    }
}

// text: for good, above the live lines.
static void redraw(struct progress *p, const char *text, const char *colour, bool live)
{
    struct terminal_size size = terminal_size(stdout);
    struct progress_look look = {.what = p->what,
        .width = size.width,
        .height = size.height,
        .frame = p->frame,
        .now_ms = clock_monotonic_ms(),
        .since_ms = p->since_ms,
        .colour = p->colour};
    CLEANUP(buf_clear) struct buf out = {0};
    // A terminal that became narrower has wrapped the lines that do not fit any more.
    unsigned up = progress_height(buf_text(&p->drawn), look.width);
    if (up) {
        buf_printf(&out, "\r\033[%uA", up);
    }
    if (*text) {
        buf_append_text(&out, "\033[J"); // a long one may go on where a live line was
        append_lines(&out, text, colour);
    }
    buf_clear(&p->drawn);
    if (live) {
        progress_render(p->rows, p->count, &look, &p->drawn);
        append_lines(&out, buf_text(&p->drawn), NULL);
    }
    buf_append_text(&out, "\033[J");
    fwrite(out.at, 1, out.len, stdout);
    fflush(stdout);
}

static void print(struct progress *p, const char *text, bool failed)
{
    if (p->terminal) {
        redraw(p, text, failed && p->colour ? "\033[31m" : NULL, true);
    } else {
        fputs(text, stdout);
        fflush(stdout);
    }
}

// ---- what happens ----

static void on_frame(void *context)
{
    struct progress *p = context;
    p->frame++;
    redraw(p, "", NULL, true);
    loop_timer_set(p->timer, FRAME_MS);
}

static void on_heartbeat(void *context)
{
    struct progress *p = context;
    struct progress_look look = {
        .what = p->what, .width = 120, .now_ms = clock_monotonic_ms(), .since_ms = p->since_ms};
    struct sums sums = add_up(p->rows, p->count);
    CLEANUP(buf_clear) struct buf out = {0};
    draw_sums(&sums, 0, &look, &out);
    print(p, buf_text(&out), false);
    loop_timer_set(p->timer, HEARTBEAT_MS);
}

struct progress *progress_new(
    struct loop *loop, const char *what, const char *const *names, size_t count)
{
    struct progress *p = xcalloc(1, sizeof(*p));
    *p = (struct progress){.what = what,
        .count = count,
        .rows = xcalloc(count + 1, sizeof(*p->rows)),
        .terminal = terminal_may_draw(stdout),
        .colour = terminal_may_color(stdout),
        .verbose = nix_verbose(),
        .since_ms = clock_monotonic_ms()};
    for (size_t i = 0; i < count; i++) {
        p->rows[i].name = names[i];
    }
    p->timer = loop_timer(loop, true, p->terminal ? on_frame : on_heartbeat, p);
    loop_timer_set(p->timer, p->terminal ? FRAME_MS : HEARTBEAT_MS);
    return p;
}

void progress_phase(struct progress *p, size_t row, const char *phase)
{
    p->rows[row].phase = phase;
    p->rows[row].since_ms = clock_monotonic_ms();
    *p->rows[row].line = 0;
}

void progress_line(struct progress *p, size_t row, struct bytes line)
{
    CLEANUP(buf_clear) struct buf clean = {0};
    progress_clean(line, &clean);
    if (p->verbose) {
        CLEANUP(buf_clear) struct buf text = {0};
        buf_printf(&text, "%s> %s\n", p->rows[row].name, buf_text(&clean));
        print(p, buf_text(&text), false);
    }
    if (clean.len) {
        shorten_paths(buf_text(&clean), p->rows[row].line, PROGRESS_LINE_BYTES);
    }
}

void progress_over(struct progress *p, size_t row, bool failed, const char *text)
{
    p->rows[row].over = true;
    p->rows[row].failed = failed;
    print(p, text, failed);
}

void progress_free(struct progress *p)
{
    if (p->terminal) {
        redraw(p, "", NULL, false);
    }
    loop_remove(p->timer);
    buf_clear(&p->drawn);
    free(p->rows);
    free(p);
}
