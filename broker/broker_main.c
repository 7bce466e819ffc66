// bento-broker: stores releases, publishes them, answers requests, collects statuses. Nobody has to
// trust it: it holds no key, and all that it hands out proves itself.

#include "bus.h"
#include "cli.h"
#include "conf.h"
#include "fs.h"
#include "inbox.h"
#include "log.h"
#include "loop.h"
#include "message.h"
#include "notify.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define PUBLIC_PARALLEL 64
#define ADMIN_PARALLEL 8
#define PUBLIC_IDLE_S 120 // nodes close a connection after 5 s without a question

struct config {
    struct trust trust;
    char *state, *pub, *rep, *admin;
    uint64_t tick_seconds, idle_seconds;
};

struct broker {
    struct config config;
    int lock;
    struct store *store;
    struct publisher publisher;
    struct collector collector;
    struct inbox inbox;
    struct loop *loop;
    struct bus_pub *pub, *events;
    struct bus_rep *rep, *admin;
    struct loop_watch *tick, *watchdog;
};

static void config_clear(struct config *config)
{
    free(config->state);
    free(config->pub);
    free(config->rep);
    free(config->admin);
}

static void read_trust(struct conf_object *root, struct trust *trust)
{
    const char *signers[SIGNERS_MAX];
    uint64_t threshold = 1;
    struct err e;
    conf_need_hex(root, "fleet", trust->fleet, sizeof trust->fleet);
    size_t count = conf_texts(root, "signers", signers, SIGNERS_MAX);
    for (size_t i = 0; i < count; i++)
        if (!trust_add(trust, signers[i], &e))
            conf_fault(root, "signers", "%s", e.text);
    conf_u64(root, "threshold", 1, SIGNERS_MAX, &threshold);
    trust->threshold = (unsigned)threshold;
    conf_bool(root, "require_pin", &trust->require_pin);
    if (!trust_check(trust, &e))
        conf_fault(root, "signers", "%s", e.text);
}

static char *read_text(struct conf_object *root, const char *key, const char *text)
{
    conf_text(root, key, &text);
    return xstrdup(text);
}

static bool read_config(const char *path, struct config *config, struct err *e)
{
    if (!fs_check_private(AT_FDCWD, path, false, e))
        return false;
    CLEANUP(conf_freep) struct conf *conf = conf_open(path, e);
    if (!conf)
        return false;
    struct conf_object *root = conf_root(conf);
    read_trust(root, &config->trust);
    config->state = read_text(root, "state", "/var/lib/bento-broker");
    config->pub = read_text(root, "pub", "tcp://127.0.0.1:23686");
    config->rep = read_text(root, "rep", "tcp://127.0.0.1:23687");
    config->admin = read_text(root, "admin", ADMIN_SOCKET);
    config->tick_seconds = TICK_SECONDS;
    conf_u64(root, "tick_seconds", 1, 86400, &config->tick_seconds);
    config->idle_seconds = PUBLIC_IDLE_S;
    conf_u64(root, "idle_seconds", 10, 86400, &config->idle_seconds);
    if (config->state[0] != '/')
        conf_fault(root, "state", "is not an absolute path");
    // Room for "events.sock" beside it.
    if (config->admin[0] != '/' ||
        strlen(config->admin) + sizeof "events" > sizeof((struct sockaddr_un *)0)->sun_path)
        conf_fault(root, "admin", "is not an absolute path of at most 100 bytes");
    return conf_end(conf, e);
}

// Both audiences: nodes, and admins who follow.
static void send_tick(void *context)
{
    struct broker *b = context;
    const struct head *head = &b->publisher.current.head; // (0, 0) if nothing was published
    CLEANUP(buf_clear) struct buf tick = {0};
    tick_encode(head->epoch, head->release, &tick);
    bus_pub_send(b->pub, buf_bytes(&tick));
    bus_pub_send(b->events, buf_bytes(&tick));
    loop_timer_set(b->tick, b->config.tick_seconds * 1000);
}

static void announce(void *context, const struct current *previous, const struct current *now)
{
    struct broker *b = context;
    unsigned subscribers = bus_pub_subscribers(b->pub);
    bool whole;
    CLEANUP(buf_clear) struct buf message = {0}, event = {0};
    publish_encode(b->store, previous, now, subscribers, &whole, &message);
    bus_pub_send(b->pub, buf_bytes(&message));
    struct published envelope = {.kind = PUB_RELEASE, .envelope = now->envelope};
    published_encode(&envelope, &event);
    bus_pub_send(b->events, buf_bytes(&event));
    log_info("published epoch=%" PRIu64 " release=%" PRIu64 " nodes=%zu sent=%s bytes=%zu"
             " subscribers=%u",
        now->head.epoch, now->head.release, now->roster.count, whole ? "whole" : "envelope",
        message.len, subscribers);
}

static void status_stored(void *context, struct bytes signed_message)
{
    struct broker *b = context;
    CLEANUP(buf_clear) struct buf event = {0};
    buf_append(&event, TOPIC, TOPIC_BYTES);
    buf_append(&event, signed_message.at, signed_message.len);
    bus_pub_send(b->events, buf_bytes(&event));
}

static void answer(void *request, struct bytes reply)
{
    bus_rep_answer(request, reply);
}

static void public_request(void *context, struct bus_request *request, struct bytes message)
{
    struct broker *b = context;
    inbox_take(&b->inbox, WHO_PUBLIC, message, request);
}

static void admin_request(void *context, struct bus_request *request, struct bytes message)
{
    struct broker *b = context;
    inbox_take(&b->inbox, WHO_ADMIN, message, request);
}

static void turn_ended(void *context)
{
    struct broker *b = context;
    collector_commit(&b->collector);
}

static void stop(void *context)
{
    struct broker *b = context;
    loop_stop(b->loop);
}

static void feed_watchdog(void *context)
{
    struct broker *b = context;
    notify_watchdog();
    loop_timer_set(b->watchdog, (uint64_t)notify_watchdog_ms());
}

static bool open_state(struct broker *b, struct err *e)
{
    const char *state = b->config.state;
    CLEANUP_FD dir = -1;
    if (!fs_make_dir(AT_FDCWD, state, 0700, false, e) || !fs_open_dir(AT_FDCWD, state, &dir, e))
        return err_wrap(e, "state folder");
    if (!fs_lock(dir, "lock", false, &b->lock, e))
        return err_wrap(e, "state folder %s is used by another bento-broker", state);
    if (!store_open(state, &b->store, e) || !current_load(&b->publisher.current, b->store, e))
        return false;
    const struct current *current = &b->publisher.current;
    if (current->present &&
        memcmp(current->head.fleet, b->config.trust.fleet, sizeof current->head.fleet) != 0)
        return err_set(e, CODE_CONFIG,
            "%s holds releases of another fleet: correct \"fleet\" or name another \"state\"",
            state);
    return true;
}

static void wire_up(struct broker *b)
{
    b->publisher.store = b->store;
    b->publisher.trust = &b->config.trust;
    b->publisher.announce = announce;
    b->publisher.context = b;
    b->collector = (struct collector){
        .store = b->store,
        .fleet = b->config.trust.fleet,
        .current = &b->publisher.current,
        .answer = answer,
        .stored = status_stored,
        .context = b,
        .log_limit = {.burst = 2, .seconds = 60},
    };
    b->inbox = (struct inbox){
        .store = b->store,
        .publisher = &b->publisher,
        .collector = &b->collector,
        .answer = answer,
        .log_limit = {.burst = 5, .seconds = 60},
    };
}

static bool address_failed(const char *key, struct err *e)
{
    return err_wrap(e, "\"%s\" (end what uses this address, or configure another)", key);
}

static bool open_public(struct broker *b, struct err *e)
{
    const struct config *c = &b->config;
    b->pub = bus_pub_open(b->loop, c->pub, e);
    if (!b->pub)
        return address_failed("pub", e);
    b->rep =
        bus_rep_open(b->loop, c->rep, REP_RECEIVE_BYTES_MAX, PUBLIC_PARALLEL, public_request, b, e);
    if (!b->rep)
        return address_failed("rep", e);
    bus_rep_close_idle(b->rep, (unsigned)c->idle_seconds);
    return true;
}

static bool open_admin(struct broker *b, struct err *e)
{
    CLEANUP(buf_clear) struct buf admin = {0}, events = {0};
    const char *path = b->config.admin, *slash = strrchr(path, '/');
    buf_printf(&admin, "ipc://%s", path);
    buf_printf(&events, "ipc://%.*s/events.sock", (int)(slash - path), path);
    mode_t before = umask(0117); // the sockets are made with mode 0660
    b->admin = bus_rep_open(
        b->loop, buf_text(&admin), ADMIN_RECEIVE_BYTES_MAX, ADMIN_PARALLEL, admin_request, b, e);
    if (b->admin)
        b->events = bus_pub_open(b->loop, buf_text(&events), e);
    umask(before);
    return b->events || address_failed("admin", e);
}

static void arm(struct broker *b)
{
    b->tick = loop_timer(b->loop, true, send_tick, b);
    b->watchdog = loop_timer(b->loop, true, feed_watchdog, b);
    loop_on_idle(b->loop, turn_ended, b);
    send_tick(b);
    if (notify_watchdog_ms() > 0)
        feed_watchdog(b);
}

static void broker_close(struct broker *b)
{
    collector_commit(&b->collector); // whoever still waits
    bus_rep_close(b->admin);
    bus_rep_close(b->rep);
    bus_pub_close(b->events);
    bus_pub_close(b->pub);
    loop_remove(b->tick);
    loop_remove(b->watchdog);
    loop_free(b->loop);
    collector_clear(&b->collector);
    current_clear(&b->publisher.current);
    store_close(b->store);
    fd_closep(&b->lock);
    config_clear(&b->config);
}

// A subscriber is a descriptor, and there may be thousands.
static void allow_many_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit); // else as many as there are
    }
}

static bool life(struct broker *b, struct err *e)
{
    if (!open_state(b, e))
        return false;
    b->loop = loop_new();
    // Blocks them, also for nng's threads, which start with the first socket.
    loop_signal(b->loop, SIGTERM, stop, b);
    loop_signal(b->loop, SIGINT, stop, b);
    wire_up(b);
    if (!open_public(b, e) || !open_admin(b, e))
        return false;
    arm(b);
    const struct head *head = &b->publisher.current.head;
    log_info("started version=%s state=%s pub=%s rep=%s admin=%s epoch=%" PRIu64
             " release=%" PRIu64,
        bento_version, b->config.state, b->config.pub, b->config.rep, b->config.admin, head->epoch,
        head->release);
    notify_ready();
    loop_run(b->loop);
    notify_stopping();
    bus_ending();
    log_info("stopped requests=%" PRIu64 " refused=%" PRIu64, b->inbox.taken, b->inbox.refused);
    return true;
}

int main(int argc, char **argv)
{
    const char *config = "/etc/bento/broker.json";
    bool check = false;
    const struct cli_option options[] = {
        {'c', "config", "FILE", "configuration (default /etc/bento/broker.json)", &config, NULL},
        {0, "check-config", NULL, "only say whether the configuration is one", NULL, &check},
        {0},
    };
    const struct cli cli = {
        .program = "bento-broker",
        .purpose = "Stores signed releases, publishes them to nodes, and collects their statuses.",
        .example = "bento-broker --config /etc/bento/broker.json",
        .options = options,
    };
    int words;
    struct err e;
    argv = cli_parse(&cli, argc, argv, &words);
    log_open();
    umask(0077);
    signal(SIGPIPE, SIG_IGN);
    allow_many_descriptors();
    if (words > 0) {
        err_set(&e, CODE_USAGE, "takes no arguments, but got %s: try --help", argv[0]);
        return cli_fail(cli.program, &e);
    }
    if (sodium_init() < 0) {
        err_set(&e, CODE_IO, "libsodium does not start: no source of random numbers");
        return cli_fail(cli.program, &e);
    }
    struct broker b = {.lock = -1};
    bool ok = read_config(config, &b.config, &e) &&
              (check ? printf("%s: ok\n", config) > 0 : life(&b, &e));
    broker_close(&b);
    return ok ? 0 : cli_fail(cli.program, &e);
}
