#include "status_watch.h"

#include "live.h"
#include "status_json.h"
#include "status_text.h"
#include "terminal.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DRAW_MS 100    // many reports at once: one drawing
#define REDRAW_MS 1000 // times grow also when nothing happens

// Another screen, no cursor, and lines that are cut rather than wrapped; and all of it back.
#define SCREEN_TAKE "\033[?1049h\033[?25l\033[?7l"
#define SCREEN_GIVE "\033[?7h\033[?25h\033[?1049l"
// Emptied before it is written: after a line that fills the width the cursor stands on its last
// character.
#define LINE_START "\033[K"
#define LINE_END "\r\n"

struct watch {
    const struct status_watch *options;
    struct loop *loop;
    struct loop_watch *timer;
    struct live *live;
    bool screen; // is ours
    bool drawing_is_near;
    bool over;         // what was waited for has come
    char *printed;     // the last report, where there is no screen
    bool told_trouble; // the same
};

static void send(const char *text)
{
    fputs(text, stdout);
    fflush(stdout);
}

static void take_screen(struct watch *w)
{
    w->screen = w->options->draws && !w->options->show.json && isatty(STDOUT_FILENO);
    if (w->screen)
        send(SCREEN_TAKE);
}

static void give_screen(struct watch *w)
{
    if (w->screen)
        send(SCREEN_GIVE);
    w->screen = false;
}

static size_t count_lines(const struct buf *text)
{
    size_t n = 0;
    for (size_t i = 0; i < text->len; i++)
        n += text->at[i] == '\n';
    return n;
}

// At most `room` lines, the last of which says how many there was no room for.
static void put_lines(struct buf *out, struct buf *text, size_t *room)
{
    size_t lines = count_lines(text), shown = lines;
    if (lines > *room)
        shown = *room ? *room - 1 : 0;
    const char *line = buf_text(text);
    for (size_t i = 0; i < shown; i++) {
        size_t len = strcspn(line, "\n");
        buf_append_text(out, LINE_START);
        buf_append(out, line, len);
        buf_append_text(out, LINE_END);
        line += len + 1;
    }
    if (shown < lines && *room)
        buf_printf(out,
            LINE_START "… %zu more lines: make the window larger, or name machines" LINE_END,
            lines - shown);
    *room -= lines > *room ? *room : lines;
}

static void put_trouble(const struct watch *w, struct buf *page)
{
    const char *trouble = live_trouble(w->live);
    if (trouble) {
        buf_append_text(page, "warning: what you see is old: ");
        text_escape(bytes_of_text(trouble), page);
        buf_append_text(page, "\n");
    }
}

static void draw_screen(struct watch *w)
{
    struct status_page page = {0};
    CLEANUP(buf_clear) struct buf out = {0};
    struct terminal_size size = terminal_size(stdout);
    put_trouble(w, &page.head);
    status_page_draw(live_report(w->live), &w->options->show.choice, clock_unix_s(), size.width,
        terminal_may_color(stdout), &page);
    size_t foot = count_lines(&page.foot);
    size_t room = size.height > foot ? size.height - foot : 0;
    buf_append_text(&out, "\033[H");
    put_lines(&out, &page.head, &room);
    buf_append(&page.table, page.notes.at, page.notes.len);
    put_lines(&out, &page.table, &room);
    buf_append_text(&out, "\033[J"); // all that is left of a longer screen
    put_lines(&out, &page.foot, &foot);
    // Without the end of the last line, which would move the screen.
    out.len -= strlen(LINE_END);
    fwrite(out.at, 1, out.len, stdout);
    fflush(stdout);
    status_page_clear(&page);
}

// A pipe or a file gets what is new, and not that time goes by: JSON has no ages in it, so it tells.
static bool print_news(struct watch *w, struct err *e)
{
    const struct show *show = &w->options->show;
    json_t *report = status_json_report(live_report(w->live), &show->choice);
    char *text = json_dumps(report, JSON_COMPACT);
    ASSERT(text);
    json_decref(report);
    bool new = !w->printed || strcmp(text, w->printed) != 0;
    free(w->printed);
    w->printed = text;
    if (new && show->json)
        puts(text);
    return (!new || show->json || status_show(show, live_report(w->live), e)) && status_flush(e);
}

static void tell_trouble(struct watch *w)
{
    const char *trouble = live_trouble(w->live);
    if (trouble && !w->told_trouble) {
        CLEANUP(buf_clear) struct buf text = {0};
        text_escape(bytes_of_text(trouble), &text);
        fprintf(stderr, "bento-status: %s (trying again)\n", buf_text(&text));
    }
    w->told_trouble = trouble != NULL;
}

static void draw(void *context)
{
    struct watch *w = context;
    w->drawing_is_near = false;
    report_age(live_report(w->live), clock_unix_s());
    if (w->screen) {
        draw_screen(w);
        loop_timer_set(w->timer, REDRAW_MS);
        return;
    }
    struct err e;
    tell_trouble(w);
    if (w->options->draws && !live_trouble(w->live) && !print_news(w, &e))
        loop_stop(w->loop); // which is said at the end
}

static void draw_soon(struct watch *w)
{
    if (!w->drawing_is_near)
        loop_timer_set(w->timer, DRAW_MS);
    w->drawing_is_near = true;
}

static void look_whether_over(struct watch *w)
{
    bool pending = rows_are_pending(live_report(w->live), w->options->show.choice.chosen);
    w->over = w->options->waits && !live_trouble(w->live) && !pending;
    if (w->over)
        loop_stop(w->loop);
}

static void on_change(void *context)
{
    draw_soon(context);
    look_whether_over(context);
}

static void on_resize(void *context)
{
    draw_soon(context);
}

static void on_end(void *context)
{
    loop_stop(((struct watch *)context)->loop);
}

// Ctrl-Z: the shell gets its screen, and we take it again when we come back.
static void on_pause(void *context)
{
    struct watch *w = context;
    give_screen(w);
    kill(getpid(), SIGSTOP);
    take_screen(w);
    draw(w);
}

// Before the bus starts its threads.
static void watch_signals(struct watch *w)
{
    loop_signal(w->loop, SIGINT, on_end, w);
    loop_signal(w->loop, SIGTERM, on_end, w);
    loop_signal(w->loop, SIGHUP, on_end, w);
    loop_signal(w->loop, SIGTSTP, on_pause, w);
    loop_signal(w->loop, SIGWINCH, on_resize, w);
}

static bool stay(struct watch *w, int *exit_status, struct err *e)
{
    if (!live_open(w->loop, w->options->fleet, on_change, w, &w->live, e))
        return false;
    struct loop_watch *deadline = loop_timer(w->loop, true, on_end, w);
    if (w->options->waits)
        loop_timer_set(deadline, w->options->wait_ms);
    look_whether_over(w);
    take_screen(w);
    if (!w->over) {
        draw(w);
        loop_run(w->loop);
    }
    bool had_screen = w->screen;
    give_screen(w);
    if (w->options->waits && live_trouble(w->live))
        return err_set(
            e, CODE_UNREACHABLE, "%s", live_trouble(w->live)); // an old report is no answer
    struct report *report = live_report(w->live);
    report_age(report, clock_unix_s());
    *exit_status = status_exit(&w->options->show, report);
    return w->options->draws && !had_screen ? print_news(w, e)
                                            : status_show(&w->options->show, report, e);
}

bool status_watch(const struct status_watch *options, int *exit_status, struct err *e)
{
    struct watch w = {.options = options, .loop = loop_new()};
    watch_signals(&w);
    w.timer = loop_timer(w.loop, true, draw, &w);
    bool ok = stay(&w, exit_status, e);
    live_close(w.live);
    loop_free(w.loop);
    free(w.printed);
    return ok;
}
