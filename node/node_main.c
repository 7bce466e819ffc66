// bento-node: the part of a node that talks. No rights, no secret but the tunnel key; it meets
// bento-apply in the spool only.
#include "bus.h"
#include "cli.h"
#include "deliver.h"
#include "fetch.h"
#include "fs.h"
#include "link.h"
#include "log.h"
#include "notify.h"
#include "page.h"
#include "proc.h"

#include <limits.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#define RESCAN_MS 30000
#define DEFAULT_CONFIG "/etc/bento/node.json"

struct node {
    struct config config;
    struct loop *loop;
    struct spool spool;
    struct link *link;
    struct fetch *fetch;
    struct deliver *deliver;
    struct page *page;
    struct loop_watch *rescan, *watchdog;
    int inotify;
    uint64_t reach_seq; // the last reach that was served
};

static void on_connected(void *context)
{
    struct node *node = context;
    fetch_connected(node->fetch);
    deliver_now(node->deliver);
}

static void on_release(void *context, const struct published *published)
{
    fetch_published(((struct node *)context)->fetch, published);
}

static void on_tick(void *context, uint64_t epoch, uint64_t release)
{
    fetch_tick(((struct node *)context)->fetch, epoch, release);
}

static void on_asked(void *context)
{
    struct node *node = context;
    link_hurry(node->link);
    fetch_connected(node->fetch);
}

static void read_want(struct node *node)
{
    struct buf text CLEANUP(buf_clear) = {0};
    struct want want;
    struct err e;
    if (!fs_read(node->spool.out, "want", WANT_BYTES_MAX, &text, &e)) {
        return; // bento-apply has not been here yet
    }
    if (!want_decode(buf_bytes(&text), &want, &e)) {
        log_warning("want not understood error=\"%s\"", e.text);
        return;
    }
    if (want.reach_seq != 0 && want.reach_seq != node->reach_seq) {
        node->reach_seq = want.reach_seq;
        link_redial(node->link,
            want.anew); // what is acknowledged from here on travelled over a new connection
        deliver_now(node->deliver);
    }
    fetch_want(node->fetch, &want);
}

static void on_spool(void *context)
{
    struct node *node = context;
    read_want(node);
    deliver_scan(node->deliver);
    loop_timer_set(node->rescan, RESCAN_MS);
}

// inotify only wakes; what it says is not looked at.
static void on_inotify(void *context)
{
    struct node *node = context;
    char events[4096];
    while (read(node->inotify, events, sizeof events) > 0) {
    }
    on_spool(node);
}

static void on_stop(void *context)
{
    loop_stop(((struct node *)context)->loop);
}

static bool watch_spool(struct node *node, struct err *e)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/spool/out", node->config.state);
    node->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (node->inotify < 0 || inotify_add_watch(node->inotify, path, IN_MOVED_TO) < 0) {
        return err_set(e, CODE_IO, "cannot watch %s: %m", path);
    }
    loop_fd(node->loop, node->inotify, on_inotify, node);
    return true;
}

#define END_S 8 // above what a stuck bus is given

// The life of the daemon, in order.
static bool serve(struct node *node, struct err *e)
{
    const struct link_events events = {on_connected, on_release, on_tick, node};
    node->loop = loop_new();
    loop_signal(node->loop, SIGTERM, on_stop, node);
    loop_signal(node->loop, SIGINT, on_stop, node);
    node->rescan = loop_timer(node->loop, false, on_spool, node);
    if (!spool_open(&node->config, &node->spool, e) || !watch_spool(node, e)) {
        return false;
    }
    fs_sweep(node->spool.in, "acked");
    node->link = link_open(node->loop, &node->config, &events);
    node->deliver = deliver_new(node->loop, node->link, &node->spool);
    node->fetch = fetch_new(node->loop, &node->config, node->link, &node->spool, e);
    if (node->fetch == NULL) {
        return false;
    }
    node->page = page_open(node->loop, &node->config, &node->spool, node->link, on_asked, node);
    on_spool(node);
    notify_feed_watchdog(node->loop, &node->watchdog);
    notify_ready();
    log_info("bento-node ready endpoints=%zu", node->config.endpoint_count);
    loop_run(node->loop);
    notify_stopping();
    bus_ending();
    proc_exit_within(END_S);
    return true;
}

static void node_clear(struct node *node)
{
    page_close(node->page);
    fetch_free(node->fetch);
    deliver_free(node->deliver);
    link_close(node->link);
    spool_close(&node->spool);
    loop_free(node->loop);
    fd_closep(&node->inotify);
    config_clear(&node->config);
}

int main(int argc, char **argv)
{
    const char *path = DEFAULT_CONFIG;
    bool check = false;
    const struct cli_option options[] = {
        {'c', "config", "FILE", "the node's configuration (default " DEFAULT_CONFIG ")", &path,
            NULL},
        {0, "check-config", NULL, "only say whether the configuration is one", NULL, &check},
        {0, NULL, NULL, NULL, NULL, NULL},
    };
    const struct cli cli = {.program = "bento-node",
        .synopsis = "",
        .purpose = "Keeps a machine connected to its broker: brings releases to bento-apply and "
                   "statuses back.",
        .example = "bento-node --config /etc/bento/node.json",
        .options = options};
    int words;
    log_open();
    umask(0077);
    argv = cli_parse(&cli, argc, argv, &words);
    struct node node = {.inotify = -1, .spool = {-1, -1, -1}};
    struct err e;
    if (sodium_init() < 0 || words > 0) {
        err_set(&e, CODE_USAGE,
            words > 0 ? "takes no arguments, try --help" : "libsodium does not start");
        return cli_fail("bento-node", &e);
    }
    if (!config_open(path, &node.config, &e)) {
        return cli_fail("bento-node", &e);
    }
    bool ok = check ? printf("%s: ok\n", path) > 0 : serve(&node, &e);
    node_clear(&node);
    return ok ? EXIT_SUCCESS : cli_fail("bento-node", &e);
}
