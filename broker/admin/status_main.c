// bento-status: the truth about the fleet on one screen.
#include "cli.h"
#include "loop.h"
#include "select.h"
#include "status_history.h"
#include "status_json.h"
#include "status_watch.h"
#include "terminal.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PROGRAM "bento-status"
#define WAIT_SECONDS 1800

struct options {
    const char *directory, *history, *log, *wait_text;
    bool json, watch, wait, all, failed;
};

struct session {
    struct options options;
    uint64_t wait_s;
    struct fleet fleet;
    bool *chosen;
    struct remote *remote;
    int exit_status;
};

static bool check_wait(struct session *s, struct err *e)
{
    const char *text = s->options.wait_text;
    s->wait_s = WAIT_SECONDS;
    if (!text)
        return true;
    char *end;
    s->wait_s = strtoul(text, &end, 10);
    return (text[0] >= '0' && text[0] <= '9' && !*end && s->wait_s <= 31536000) ||
           err_set(e, CODE_USAGE, "--wait=%s: seconds, up to a year", text);
}

static bool check_options(struct session *s, int words, struct err *e)
{
    const struct options *o = &s->options;
    bool one_node = o->history || o->log;
    if (o->history && o->log)
        return err_set(e, CODE_USAGE, "--history and --log are two questions: ask one at a time");
    if (one_node && words)
        return err_set(e, CODE_USAGE, "--history and --log take one machine and no other words");
    if (one_node && (o->watch || o->wait || o->all || o->failed))
        return err_set(e, CODE_USAGE,
            "--watch, --wait, --all and --failed are about the table, not about --history or "
            "--log");
    if (o->all && o->failed)
        return err_set(e, CODE_USAGE, "--all and --failed: one of them");
    return check_wait(s, e);
}

static bool get_history(struct session *s, const char *name, const struct fleet_node **node,
    struct remote_statuses *history, struct err *e)
{
    return select_node(&s->fleet, name, node, e) &&
           remote_get_history(s->remote, (*node)->node_id, STATUSES_KEPT_PER_NODE, history, e);
}

static void put(struct buf *text)
{
    fwrite(buf_text(text), 1, text->len, stdout);
    buf_clear(text);
}

static bool show_history(struct session *s, struct err *e)
{
    const struct fleet_node *node;
    struct remote_statuses history;
    struct buf text = {0};
    if (!get_history(s, s->options.history, &node, &history, e))
        return false;
    if (s->options.json)
        status_json_print(status_json_history(&history, s->fleet.trust.fleet), true);
    else if (history.count == 0)
        buf_printf(&text, "%s has never reported.\n", node->name);
    else
        status_history_draw(&history, s->fleet.trust.fleet, terminal_size(stdout).width,
            terminal_may_color(stdout), &text);
    put(&text);
    remote_statuses_clear(&history);
    return status_flush(e);
}

static bool show_log(struct session *s, struct err *e)
{
    const struct fleet_node *node;
    const char *digits;
    char name[LOG_NAME_BYTES];
    struct remote_statuses history;
    if (!status_log_parse(s->options.log, name, &digits, e) ||
        !get_history(s, name, &node, &history, e))
        return false;
    const uint8_t *fleet = s->fleet.trust.fleet;
    const struct remote_status *found;
    struct buf text = {0};
    bool ok = status_log_find(name, &history, fleet, digits, &found, e);
    if (ok && s->options.json)
        status_json_print(status_json_log(name, found, fleet), true);
    else if (ok)
        ok = status_log_draw(name, &history, fleet, found, &text, e);
    put(&text);
    remote_statuses_clear(&history);
    return ok && status_flush(e);
}

static bool show_once(struct session *s, const struct show *show, struct err *e)
{
    struct report report;
    if (!report_fetch(s->remote, &s->fleet, clock_unix_s(), &report, e))
        return false;
    s->exit_status = status_exit(show, &report);
    bool ok = status_show(show, &report, e);
    report_clear(&report);
    return ok;
}

static bool stay(struct session *s, const struct show *show, struct err *e)
{
    const struct options *o = &s->options;
    // Whoever waits at a terminal wants to see for what.
    bool draws = o->watch || (isatty(STDOUT_FILENO) && !o->json);
    struct status_watch watch = {.fleet = &s->fleet,
        .show = *show,
        .draws = draws,
        .waits = o->wait,
        .wait_ms = s->wait_s * 1000};
    return status_watch(&watch, &s->exit_status, e);
}

static bool run(struct session *s, char **words, int count, struct err *e)
{
    const struct options *o = &s->options;
    if (!check_options(s, count, e) || !fleet_open(o->directory, &s->fleet, e))
        return false;
    s->chosen = xcalloc(s->fleet.node_count + 1, sizeof *s->chosen);
    if (!select_nodes(&s->fleet, words, count, s->chosen, e))
        return false;
    struct show show = {.json = o->json,
        .choice = {.chosen = s->chosen, .named = count > 0, .all = o->all, .failed = o->failed}};
    if (o->watch || o->wait)
        return stay(s, &show, e);
    if (!remote_open(s->fleet.admin, &s->remote, e))
        return false;
    if (o->history)
        return show_history(s, e);
    return o->log ? show_log(s, e) : show_once(s, &show, e);
}

int main(int argc, char **argv)
{
    struct session s = {0};
    struct options *o = &s.options;
    const struct cli_option options[] = {
        {'C', "directory", "DIR", "the repository (default: BENTO_DIR, or this folder)",
            .text = &o->directory},
        {'a', "all", NULL, "a line for each, also for the healthy ones of a large fleet",
            .flag = &o->all},
        {'f', "failed", NULL, "only what needs a person", .flag = &o->failed},
        {'w', "watch", NULL, "stay, and show every report as it comes in", .flag = &o->watch},
        {0, "wait", "[=SECONDS]", "until nothing is pending any more (default 1800 s)",
            .text = &o->wait_text, .flag = &o->wait},
        {0, "history", "NODE", "what one machine reported, newest first", .text = &o->history},
        {0, "log", "NODE[@REPORT]", "the log of its newest report, or of one in its history",
            .text = &o->log},
        {'j', "json", NULL, "for scripts; with --watch a document a line", .flag = &o->json},
        {0},
    };
    const struct cli cli = {.program = PROGRAM,
        .synopsis = "[HOST…|GLOB|@TAG…]",
        .purpose = "Shows what every machine runs, from reports that each has signed itself. LOCAL "
                   "is the system in the newest release, REMOTE the one that runs; PENDING: for "
                   "how long that release has waited; HEARD: since its last report. Exit status: "
                   "0 all converged, 1 error, 2 some pending, 3 some need a person, 64 usage.",
        .example = "bento-status --failed\nbento-status --wait=600 @servers 'web-*'",
        .options = options};
    int count;
    char **words = cli_parse(&cli, argc, argv, &count);
    struct err e;
    if (sodium_init() < 0)
        return EXIT_FAILURE;
    if (!run(&s, words, count, &e))
        s.exit_status = cli_fail(PROGRAM, &e);
    remote_close(s.remote);
    free(s.chosen);
    fleet_clear(&s.fleet);
    return s.exit_status;
}
