#include "link.h"

#include "fs.h"
#include "log.h"
#include "tunnel.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define IDLE_CLOSE_MS 5000 // REQ: dialled on demand, closed when there is nothing left to ask
#define RENEW_GRACE_MS 1000
#define TUNNEL_LOOK_MS 50 // how often a starting tunnel is looked at
#define RETRY_MIN_MS 1000
#define RETRY_MAX_MS 60000
#define JITTER_PERCENT 30
#define SILENT_TICKS_TENTHS 25 // 2.5 ticks without a message: the tunnel is torn down
#define START_MS 60000         // for a tunnel to get through
#define FIRST_WORD_MS 60000 // from then on, for the first message, if there is another way to try
#define WAKE_LOOK_MS 30000  // of a clock that runs on while the machine sleeps
#define WAKE_SLEPT_MS 5000  // a sleep worth asking whether the connection survived it
#define WAKE_PATIENCE_MS 10000
#define BLAME_FORGET_MS 3600000
#define TIMEOUT_SLACK_MS 100

struct question {
    struct question *next;
    struct buf request;
    int timeout_ms;
    link_answer_fn *answered;
    void *context;
};

enum renewal { RENEW_NOT, RENEW_CONNECTION, RENEW_TUNNEL };

struct link {
    struct loop *loop;
    const struct config *config;
    struct link_events events;
    size_t endpoint; // index of the one in use
    uint64_t source;
    struct tunnel *tunnel;
    struct bus_sub *sub;
    struct bus_req *req;
    struct question *asking, *first, **last;
    uint64_t asked_ms; // when the question under way was asked
    struct loop_watch *retry, *silence, *idle, *starting, *wake;
    bool subscribed;           // SUB is connected, for all that nng knows
    bool alive;                // something came through this tunnel
    bool woke;                 // and since then the machine has slept
    uint64_t heard_ms;         // when the last message came
    uint64_t heard_s;          // the same in unix seconds
    uint64_t start_by_ms;      // the tunnel has to be through
    uint64_t retry_ms;         // next back-off
    size_t tried;              // endpoints without success, of this round
    uint64_t blame_ms, blamed; // back-off after the next blame; when the last one was
    uint64_t slept_ms;         // of this machine, so far
    enum renewal renewal;      // when the question under way is answered
};

// --- the connection as a whole ---

static void drop_req(struct link *link)
{
    bus_req_close(link->req);
    link->req = NULL;
    loop_timer_stop(link->idle);
}

static void take_down(struct link *link)
{
    bus_sub_close(link->sub);
    link->sub = NULL;
    drop_req(link);
    tunnel_close(link->tunnel);
    link->tunnel = NULL;
    loop_timer_stop(link->silence);
    loop_timer_stop(link->starting);
    link->renewal = RENEW_NOT;
    link->subscribed = false;
}

static void answer(struct question *question, bool ok, struct bytes reply, const struct err *e)
{
    question->answered(question->context, ok, reply, e);
    buf_clear(&question->request);
    free(question);
}

static void on_ask(void *context);

// The question under way, if any, is answered with a failure: its connection is gone. Those behind
// it are asked over the next one, now and not when somebody happens to ask again.
static void abandon(struct link *link, const char *why)
{
    struct question *question = link->asking;
    link->asking = NULL;
    if (question != NULL) {
        struct err e;
        err_set(&e, CODE_UNREACHABLE, "%s", why);
        answer(question, false, (struct bytes){0}, &e);
        loop_post(link->loop, on_ask, link);
    }
}

// --- endpoints ---

static const struct endpoint *endpoint_of(const struct link *link)
{
    return &link->config->endpoints[link->endpoint];
}

static void memory_path(const struct link *link, char path[PATH_MAX])
{
    snprintf(path, PATH_MAX, "%s/node/endpoint", link->config->state);
}

static void remember(const struct link *link)
{
    char path[PATH_MAX], name[ENDPOINT_NAME_BYTES];
    struct buf before CLEANUP(buf_clear) = {0};
    struct err e;
    memory_path(link, path);
    endpoint_name(endpoint_of(link), name);
    if (fs_read(AT_FDCWD, path, ENDPOINT_NAME_BYTES, &before, &e) &&
        bytes_equal_text(buf_bytes(&before), name)) {
        return;
    }
    if (!fs_replace(AT_FDCWD, path, bytes_of_text(name), 0600, &e)) {
        log_warning("endpoint not remembered error=\"%s\"", e.text);
    }
}

static size_t recall(const struct link *link)
{
    char path[PATH_MAX], name[ENDPOINT_NAME_BYTES];
    struct buf last CLEANUP(buf_clear) = {0};
    struct err e;
    memory_path(link, path);
    if (!fs_read(AT_FDCWD, path, ENDPOINT_NAME_BYTES, &last, &e)) {
        return 0;
    }
    for (size_t i = 0; i < link->config->endpoint_count; i++) {
        endpoint_name(&link->config->endpoints[i], name);
        if (bytes_equal_text(buf_bytes(&last), name)) {
            return i;
        }
    }
    return 0; // the configuration has changed since
}

static void next_endpoint(struct link *link)
{
    link->endpoint = (link->endpoint + 1) % link->config->endpoint_count;
    if (++link->tried >= link->config->endpoint_count) {
        link->tried = 0;
        link->retry_ms = link->retry_ms * 2 > RETRY_MAX_MS ? RETRY_MAX_MS : link->retry_ms * 2;
    }
}

static void try_after(struct link *link, uint64_t wait_ms)
{
    char name[ENDPOINT_NAME_BYTES];
    wait_ms = jitter(wait_ms, JITTER_PERCENT);
    endpoint_name(endpoint_of(link), name);
    log_info("link down, next try in_ms=%" PRIu64 " endpoint=\"%s\"", wait_ms, name);
    loop_timer_set(link->retry, wait_ms);
}

static void lose(struct link *link, const char *why)
{
    char name[ENDPOINT_NAME_BYTES];
    uint64_t wait_ms = link->retry_ms;
    endpoint_name(endpoint_of(link), name);
    log_warning("link lost endpoint=\"%s\" reason=\"%s\"", name, why);
    take_down(link);
    abandon(link, why);
    if (!link->alive) {
        next_endpoint(link);
    }
    try_after(link, wait_ms);
}

// The same for an endpoint that has its child, but no broker behind it.
static void leave(struct link *link, const char *why)
{
    link->alive = false;
    lose(link, why);
}

void link_blame(struct link *link, const struct err *why)
{
    char name[ENDPOINT_NAME_BYTES];
    uint64_t now_ms = clock_boottime_ms();
    endpoint_name(endpoint_of(link), name);
    log_warning("endpoint blamed endpoint=\"%s\" code=%s reason=\"%s\"", name, code_name(why->code),
        why->text);
    if (link->config->endpoint_count == 1 || link->tunnel == NULL) {
        return;
    }
    if (now_ms - link->blamed > BLAME_FORGET_MS) {
        link->blame_ms = RETRY_MIN_MS;
    }
    uint64_t wait_ms = link->blame_ms;
    link->blamed = now_ms;
    link->blame_ms = wait_ms * 2 > RETRY_MAX_MS ? RETRY_MAX_MS : wait_ms * 2;
    next_endpoint(link);
    remember(link); // first: what breaks in here must not lead back to the one that was blamed
    take_down(link);
    abandon(link, "its endpoint was left");
    try_after(link, wait_ms);
}

uint64_t link_source(const struct link *link)
{
    return link->source;
}

static void on_tunnel_ended(void *context, const char *why)
{
    lose(context, why);
}

// --- signs of life ---

static uint64_t silence_ms(const struct link *link)
{
    return link->config->tick_s * 100 * SILENT_TICKS_TENTHS;
}

static void on_silence(void *context)
{
    struct link *link = context;
    if (link->woke) {
        lose(link, "the connection did not survive the sleep");
    } else {
        leave(link, "the broker is silent");
    }
}

static void heard(struct link *link)
{
    link->heard_ms = clock_monotonic_ms();
    link->woke = false;
    link->retry_ms = RETRY_MIN_MS;
    link->heard_s = clock_unix_s();
    link->tried = 0;
    loop_timer_set(link->silence, silence_ms(link));
    if (!link->alive) {
        link->alive = true;
        remember(link);
    }
}

static void on_message(void *context, struct bytes message)
{
    struct link *link = context;
    struct published published;
    struct err e;
    if (!published_decode(message, &published, &e)) {
        static struct log_limit limit = {.burst = 5, .seconds = 60};
        if (log_allowed(&limit, "message not understood")) {
            log_warning("message not understood error=\"%s\"", e.text);
        }
        return; // garbage is no sign of life
    }
    heard(link);
    switch (published.kind) {
    case PUB_TICK:
        link->events.tick(link->events.context, published.epoch, published.release);
        break;
    case PUB_RELEASE:
        link->events.release(link->events.context, &published);
        break;
    }
    published_clear(&published);
}

static void on_sub(void *context, bool up)
{
    struct link *link = context;
    link->subscribed = up;
    log_info("subscription %s", up ? "up" : "down");
    if (up) {
        link->events.connected(link->events.context);
    }
}

// With one way only there is nothing better to do than to wait for the broker behind it. Through Tor
// there is: the next start takes other circuits.
static uint64_t first_word_ms(const struct link *link)
{
    bool other = link->config->endpoint_count > 1 || endpoint_of(link)->tunnel == TUNNEL_TOR;
    return other || silence_ms(link) < FIRST_WORD_MS ? FIRST_WORD_MS : silence_ms(link);
}

// Dials once the tunnel is up: who dials before waits for nng's back-off, seconds that a window to
// confirm in may not have.
static void on_starting(void *context)
{
    struct link *link = context;
    struct err e;
    if (!tunnel_is_up(link->tunnel)) {
        if (clock_monotonic_ms() > link->start_by_ms) {
            lose(link, "the tunnel does not get through");
        } else {
            loop_timer_set(link->starting, TUNNEL_LOOK_MS);
        }
        return;
    }
    loop_timer_set(link->silence, first_word_ms(link));
    link->sub = bus_sub_open(link->loop, tunnel_pub_url(link->tunnel), PUBLISHED_BYTES_MAX,
        on_message, on_sub, link, &e);
    if (link->sub == NULL) {
        lose(link, e.text);
    }
}

static void start(struct link *link)
{
    struct err e;
    link->source++;
    link->alive = link->woke = false;
    link->start_by_ms = clock_monotonic_ms() + START_MS;
    link->tunnel =
        tunnel_open(link->loop, link->config, endpoint_of(link), on_tunnel_ended, link, &e);
    if (link->tunnel == NULL) {
        lose(link, e.text);
        return;
    }
    loop_timer_set(link->starting, 0);
}

static void on_retry(void *context)
{
    start(context);
}

// Connections rarely survive a sleep, and nobody says so: the broker is asked, and has some seconds.
static void on_wake(void *context)
{
    struct link *link = context;
    uint64_t slept_ms = clock_boottime_ms() - clock_monotonic_ms();
    uint64_t this_time_ms = slept_ms - link->slept_ms;
    link->slept_ms = slept_ms;
    loop_timer_set(link->wake, WAKE_LOOK_MS);
    if (this_time_ms < WAKE_SLEPT_MS) {
        return;
    }
    log_info("woke up slept_s=%" PRIu64, this_time_ms / 1000);
    link->retry_ms = RETRY_MIN_MS;
    link->tried = 0;
    if (loop_timer_is_set(link->retry)) {
        loop_timer_set(link->retry, jitter(RETRY_MIN_MS, JITTER_PERCENT));
    } else if (link->sub != NULL) {
        link->woke = true;
        loop_timer_set(link->silence, WAKE_PATIENCE_MS);
        link->events.connected(link->events.context);
    }
}

// --- questions ---

static void ask_next(struct link *link);
static void renew(struct link *link, bool tunnel);

// The broker had its time, SUB says that it is connected, and yet nothing came: dead on one side only. A
// broker that is away is another thing: then SUB is not connected, and nng redials.
static bool is_half_open(const struct link *link, const struct question *question)
{
    uint64_t now_ms = clock_monotonic_ms();
    return link->subscribed && link->heard_ms < link->asked_ms &&
           now_ms - link->asked_ms + TIMEOUT_SLACK_MS >= (uint64_t)question->timeout_ms;
}

static void fail(struct link *link, struct question *question, const struct err *e)
{
    struct err failure = *e;
    uint64_t source = link->source;
    drop_req(link); // the next question dials anew
    if (is_half_open(link, question)) {
        err_set(&failure, CODE_UNREACHABLE, "no answer, and nothing else came either");
        leave(link, failure.text);
    }
    answer(question, false, (struct bytes){0}, &failure);
    // Ticks come, answers do not: another broker may have some. (Whoever asked may have left already.)
    if (failure.code == CODE_TIMEOUT && link->tunnel != NULL && link->source == source) {
        link_blame(link, &failure);
    }
}

static void on_reply(void *context, bool ok, struct bytes reply, const struct err *e)
{
    struct link *link = context;
    struct question *question = link->asking;
    link->asking = NULL;
    if (link->renewal != RENEW_NOT) {
        struct err old;
        renew(link, link->renewal == RENEW_TUNNEL);
        err_set(&old, CODE_UNREACHABLE, "answered over the connection before");
        answer(question, false, (struct bytes){0}, &old);
        ask_next(link);
        return;
    }
    if (ok) {
        heard(link); // an answered message is a sign of life like a tick
        loop_timer_set(link->idle, IDLE_CLOSE_MS);
        answer(question, true, reply, NULL);
    } else {
        fail(link, question, e);
    }
    ask_next(link);
}

static void ask_next(struct link *link)
{
    struct err e;
    if (link->asking != NULL || link->first == NULL) {
        return;
    }
    link->asking = link->first;
    link->first = link->asking->next;
    link->asking->next = NULL;
    if (link->first == NULL) {
        link->last = &link->first;
    }
    if (link->sub == NULL) {
        abandon(link, "no tunnel to the broker yet");
        ask_next(link);
        return;
    }
    loop_timer_stop(link->idle);
    if (link->req == NULL) {
        link->req =
            bus_req_open(link->loop, tunnel_rep_url(link->tunnel), REQ_RECEIVE_BYTES_MAX, &e);
        if (link->req == NULL) {
            abandon(link, e.text);
            return;
        }
    }
    link->asked_ms = clock_monotonic_ms();
    bus_req_call(
        link->req, buf_bytes(&link->asking->request), link->asking->timeout_ms, on_reply, link);
}

static void on_ask(void *context)
{
    ask_next(context);
}

void link_ask(struct link *link, struct bytes request, int timeout_ms, link_answer_fn *answered,
    void *context)
{
    struct question *question = xcalloc(1, sizeof *question);
    question->timeout_ms = timeout_ms;
    question->answered = answered;
    question->context = context;
    buf_append(&question->request, request.at, request.len);
    *link->last = question;
    link->last = &question->next;
    loop_post(link->loop, on_ask,
        link); // never from inside this call: the asker may still be in the middle of something
}

static void on_idle(void *context)
{
    struct link *link = context;
    if (link->asking == NULL) {
        drop_req(link);
        return;
    }
    enum renewal renewal = link->renewal; // the answer did not come in time
    abandon(link, "the connection is being renewed");
    renew(link, renewal == RENEW_TUNNEL);
    ask_next(link);
}

static void renew(struct link *link, bool tunnel)
{
    link->renewal = RENEW_NOT;
    if (tunnel) {
        log_info("link renewed: the system changed under it");
        take_down(link);
        loop_timer_stop(link->retry);
        start(link);
    } else {
        drop_req(link);
    }
}

// Not in the middle of an answer: nng cannot close then (bus.c), so that one is waited for, and
// does not count. It comes, or fails, within its own time limit.
void link_redial(struct link *link, bool tunnel)
{
    if (link->asking == NULL || link->sub == NULL) {
        abandon(link, "the connection is being renewed");
        renew(link, tunnel);
    } else {
        link->renewal = tunnel ? RENEW_TUNNEL : RENEW_CONNECTION;
        loop_timer_set(link->idle, RENEW_GRACE_MS);
    }
}

void link_look(const struct link *link, struct link_view *view)
{
    const struct endpoint *endpoint = &link->config->endpoints[link->endpoint];
    *view = (struct link_view){.tunnel = endpoint->tunnel,
        .endpoint = endpoint->host != NULL ? endpoint->host : endpoint->rep,
        .connected = link->subscribed,
        .heard_s = link->heard_s};
}

void link_hurry(struct link *link)
{
    if (loop_timer_is_set(link->retry)) {
        loop_timer_stop(link->retry);
        start(link);
    }
}

struct link *link_open(
    struct loop *loop, const struct config *config, const struct link_events *events)
{
    struct link *link = xcalloc(1, sizeof *link);
    *link = (struct link){.loop = loop,
        .config = config,
        .events = *events,
        .retry_ms = RETRY_MIN_MS,
        .blame_ms = RETRY_MIN_MS,
        .slept_ms = clock_boottime_ms() - clock_monotonic_ms()};
    link->endpoint = recall(link);
    link->last = &link->first;
    link->retry = loop_timer(loop, false, on_retry, link);
    link->silence = loop_timer(loop, false, on_silence, link);
    link->idle = loop_timer(loop, false, on_idle, link);
    link->starting = loop_timer(loop, false, on_starting, link);
    link->wake = loop_timer(loop, false, on_wake, link);
    loop_timer_set(link->wake, WAKE_LOOK_MS);
    start(link);
    return link;
}

void link_close(struct link *link)
{
    if (link == NULL) {
        return;
    }
    take_down(link);
    if (link->asking != NULL) {
        *link->last = link->asking;
    }
    while (link->first != NULL) {
        struct question *question = link->first;
        link->first = question->next;
        buf_clear(&question->request);
        free(question);
    }
    loop_remove(link->retry);
    loop_remove(link->silence);
    loop_remove(link->idle);
    loop_remove(link->starting);
    loop_remove(link->wake);
    free(link);
}
