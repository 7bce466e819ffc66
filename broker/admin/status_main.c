// bento-status: the truth about the fleet on one screen.
#include "bus.h"
#include "cli.h"
#include "message.h"
#include "newest.h"
#include "report.h"
#include "select.h"
#include "status_json.h"
#include "status_text.h"
#include "table.h"

#include <signal.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PROGRAM "bento-status"
#define HISTORY_MAX 100
#define REDRAW_MS 30000 // times grow also when nothing happens
#define SETTLE_MS 200   // many nodes report at once: one redraw

enum { EXIT_PENDING = 2, EXIT_FAILING = 3 };

struct options {
    const char *directory, *history, *log;
    bool json, watch;
};

struct session {
    struct options options;
    struct fleet fleet;
    bool *chosen;
    struct remote *remote;
    int exit_status;
    // --watch
    struct loop *loop;
    struct loop_watch *timer;
    bool news; // since the last drawing
};

static bool check_options(const struct options *o, int words, struct err *e)
{
    bool one_node = o->history || o->log;
    if (o->history && o->log)
        return err_set(e, CODE_USAGE, "--history and --log are two questions: ask one at a time");
    if (one_node && words)
        return err_set(e, CODE_USAGE, "--history and --log take one machine and no other words");
    if (o->watch && (one_node || o->json))
        return err_set(e, CODE_USAGE, "--watch shows the table and nothing else");
    return !(o->log && o->json) ||
           err_set(e, CODE_USAGE, "a log is text: --log and --json do not go together");
}

static int exit_status_of(const struct report *report, const bool *chosen)
{
    enum view_severity worst = SEVERITY_DONE;
    for (size_t i = 0; i < report->row_count; i++)
        if (chosen[i] && report->rows[i].view.severity > worst)
            worst = report->rows[i].view.severity;
    switch (worst) {
    case SEVERITY_DONE:
        return EXIT_SUCCESS;
    case SEVERITY_PENDING:
        return EXIT_PENDING;
    case SEVERITY_FAILING:
        return EXIT_FAILING;
    }
    return EXIT_FAILURE;
}

static bool show(struct session *s, struct err *e)
{
    struct report report;
    uint64_t now_s = clock_unix_s();
    if (!report_fetch(s->remote, &s->fleet, now_s, &report, e))
        return false;
    if (s->options.watch && isatty(STDOUT_FILENO))
        printf("\033[H\033[2J\033[3J");
    if (s->options.json)
        status_json_print(&report, s->chosen, stdout);
    else
        status_text_print(&report, s->chosen, now_s);
    s->exit_status = exit_status_of(&report, s->chosen);
    struct err older;
    if (!newest_check(s->fleet.trust.fleet, report.published ? &report.release : NULL, &older)) {
        fprintf(stderr, "warning: %s\n", older.text);
        s->exit_status = EXIT_FAILING;
    }
    report_clear(&report);
    return fflush(stdout) == 0 || err_set(e, CODE_IO, "stdout: %m");
}

// One drawing for many reports: the first sets the timer, the others find it set.
static void take_news(struct session *s)
{
    if (!s->news)
        loop_timer_set(s->timer, SETTLE_MS);
    s->news = true;
}

static void redraw(void *context)
{
    struct session *s = context;
    s->news = false;
    struct err e;
    if (!show(s, &e))
        s->exit_status = cli_fail(PROGRAM, &e); // and go on: brokers restart
    loop_timer_set(s->timer, REDRAW_MS);
}

// A status or a release came in (a tick says nothing new).
static void on_event(void *context, struct bytes message)
{
    struct session *s = context;
    struct published published;
    struct err not_published;
    if (published_decode(message, &published, &not_published)) {
        bool tick = published.kind == PUB_TICK;
        published_clear(&published);
        if (tick)
            return;
    }
    take_news(s);
}

static void on_link(void *context, bool up)
{
    if (up)
        take_news(context);
}

static void on_signal(void *context)
{
    loop_stop(((struct session *)context)->loop);
}

static bool watch(struct session *s, struct err *e)
{
    s->timer = loop_timer(s->loop, true, redraw, s);
    struct bus_sub *sub = bus_sub_open(
        s->loop, remote_events_url(s->remote), ADMIN_RECEIVE_BYTES_MAX, on_event, on_link, s, e);
    if (!sub)
        return false;
    bool ok = show(s, e);
    if (ok) {
        loop_timer_set(s->timer, REDRAW_MS);
        loop_run(s->loop);
    }
    bus_sub_close(sub);
    return ok;
}

static bool find_node(
    const struct session *s, const char *name, const struct fleet_node **node, struct err *e)
{
    *node = fleet_find(&s->fleet, name);
    if (*node)
        return true;
    const char **names = xcalloc(s->fleet.node_count + 1, sizeof *names);
    for (size_t i = 0; i < s->fleet.node_count; i++)
        names[i] = s->fleet.nodes[i].name;
    const char *near = cli_nearest(name, names, s->fleet.node_count);
    free(names);
    if (near)
        return err_set(e, CODE_USAGE, "no host `%s`: did you mean `%s`?", name, near);
    return err_set(e, CODE_USAGE, "no host `%s` in the fleet", name);
}

static bool show_history(struct session *s, struct err *e)
{
    const struct fleet_node *node;
    struct remote_statuses history;
    if (!find_node(s, s->options.history, &node, e) ||
        !remote_get_history(s->remote, node->node_id, HISTORY_MAX, &history, e))
        return false;
    if (s->options.json)
        status_json_print_history(&history, s->fleet.trust.fleet, stdout);
    else if (history.count == 0)
        printf("%s has never reported.\n", node->name);
    else
        status_text_print_history(&history, s->fleet.trust.fleet);
    remote_statuses_clear(&history);
    return true;
}

static bool print_log(const struct fleet_node *node, const struct remote_statuses *newest,
    const uint8_t *fleet, struct err *e)
{
    if (newest->count == 0)
        return err_set(e, CODE_NONE, "%s has never reported", node->name);
    struct status status;
    if (!report_verify(&newest->list[0], fleet, &status))
        return err_set(e, CODE_SIGNER,
            "the newest status of %s is tampered with: its log is not worth reading", node->name);
    if (status.log.len == 0)
        return err_set(e, CODE_NONE, "the newest status of %s (%s) has no log", node->name,
            node_state_word(status.state));
    struct buf text = {0};
    text_escape(status.log, &text);
    fwrite(text.at, 1, text.len, stdout);
    if (text.at[text.len - 1] != '\n')
        putchar('\n');
    buf_clear(&text);
    return true;
}

static bool show_log(struct session *s, struct err *e)
{
    const struct fleet_node *node;
    struct remote_statuses newest;
    if (!find_node(s, s->options.log, &node, e) ||
        !remote_get_history(s->remote, node->node_id, 1, &newest, e))
        return false;
    bool ok = print_log(node, &newest, s->fleet.trust.fleet, e);
    remote_statuses_clear(&newest);
    return ok;
}

static bool run(struct session *s, char **words, int count, struct err *e)
{
    if (!check_options(&s->options, count, e) || !fleet_open(s->options.directory, &s->fleet, e))
        return false;
    s->chosen = xcalloc(s->fleet.node_count + 1, sizeof *s->chosen);
    if (!select_nodes(&s->fleet, words, count, s->chosen, e))
        return false;
    if (!s->fleet.admin)
        return err_set(e, CODE_CONFIG,
            "fleet.nix does not say where the broker is: set broker.admin = "
            "\"ssh://admin@server\"");
    if (s->options.watch) {
        s->loop = loop_new();
        loop_signal(s->loop, SIGINT, on_signal, s); // before the bus starts its threads
        loop_signal(s->loop, SIGTERM, on_signal, s);
    }
    if (!remote_open(s->fleet.admin, &s->remote, e))
        return false;
    if (s->options.history)
        return show_history(s, e);
    if (s->options.log)
        return show_log(s, e);
    return s->options.watch ? watch(s, e) : show(s, e);
}

int main(int argc, char **argv)
{
    struct session s = {0};
    struct options *o = &s.options;
    const struct cli_option options[] = {
        {'C', "directory", "DIR", "the repository (default: BENTO_DIR, or this folder)",
            .text = &o->directory},
        {'w', "watch", NULL, "stay, and show every report as it comes in", .flag = &o->watch},
        {'j', "json", NULL, "for scripts", .flag = &o->json},
        {0, "history", "NODE", "what one machine reported, newest first", .text = &o->history},
        {0, "log", "NODE", "the log of its newest report", .text = &o->log},
        {0},
    };
    const struct cli cli = {.program = PROGRAM,
        .synopsis = "[HOST…|GLOB|@TAG…]",
        .purpose = "Shows what every machine of the fleet runs, from reports that each has signed "
                   "itself. Exit status: 0 all "
                   "converged, 1 error, 2 some pending, 3 some failing, rolled back, refused, "
                   "silent, drifted or tampered "
                   "with, 64 usage.",
        .example = "bento-status @servers 'web-*'\nbento-status --log router",
        .options = options};
    int count;
    char **words = cli_parse(&cli, argc, argv, &count);
    struct err e;
    if (sodium_init() < 0)
        return EXIT_FAILURE;
    if (!run(&s, words, count, &e) || (fflush(stdout) != 0 && !err_set(&e, CODE_IO, "stdout: %m")))
        s.exit_status = cli_fail(PROGRAM, &e);
    remote_close(s.remote);
    loop_free(s.loop);
    free(s.chosen);
    fleet_clear(&s.fleet);
    return s.exit_status;
}
