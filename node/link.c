#include "link.h"

#include "log.h"
#include "tunnel.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define IDLE_CLOSE_MS 5000 // REQ: dialled on demand, closed when there is nothing left to ask
#define RENEW_GRACE_MS 1000
#define TUNNEL_LOOK_MS 50 // how often a starting tunnel is looked at
#define RETRY_MIN_MS 1000
#define RETRY_MAX_MS 60000
#define JITTER_PERCENT 30
#define SILENT_TICKS_TENTHS 25 // 2.5 ticks without a message: the tunnel is torn down

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
    struct tunnel *tunnel;
    struct bus_sub *sub;
    struct bus_req *req;
    struct question *asking, *first, **last;
    struct loop_watch *retry, *silence, *idle, *starting;
    uint64_t retry_ms;    // next back-off
    enum renewal renewal; // when the question under way is answered
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

static void try_later(struct link *link)
{
    uint64_t wait_ms = jitter(link->retry_ms, JITTER_PERCENT);
    link->retry_ms = link->retry_ms * 2 > RETRY_MAX_MS ? RETRY_MAX_MS : link->retry_ms * 2;
    link->endpoint = (link->endpoint + 1) % link->config->endpoint_count;
    log_info("link down, next try in_ms=%" PRIu64 " endpoint=%zu", wait_ms, link->endpoint);
    loop_timer_set(link->retry, wait_ms);
}

static void lose(struct link *link, const char *why)
{
    log_warning("link lost reason=\"%s\"", why);
    take_down(link);
    abandon(link, why);
    try_later(link);
}

static void on_tunnel_ended(void *context, int status)
{
    (void)status;
    lose(context, "the tunnel's program ended");
}

static void on_silence(void *context)
{
    lose(context, "the broker is silent");
}

static void heard(struct link *link)
{
    link->retry_ms = RETRY_MIN_MS;
    loop_timer_set(link->silence, link->config->tick_s * 100 * SILENT_TICKS_TENTHS);
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
    log_info("subscription %s", up ? "up" : "down");
    if (up) {
        link->events.connected(link->events.context);
    }
}

// Dials once the tunnel is up: who dials before waits for nng's back-off, seconds that a window to
// confirm in may not have.
static void on_starting(void *context)
{
    struct link *link = context;
    struct err e;
    if (!tunnel_is_up(link->tunnel)) {
        loop_timer_set(link->starting, TUNNEL_LOOK_MS);
        return;
    }
    link->sub = bus_sub_open(link->loop, tunnel_pub_url(link->tunnel), PUBLISHED_BYTES_MAX,
        on_message, on_sub, link, &e);
    if (link->sub == NULL) {
        lose(link, e.text);
    }
}

static void start(struct link *link)
{
    struct err e;
    const struct endpoint *endpoint = &link->config->endpoints[link->endpoint];
    link->tunnel = tunnel_open(link->loop, link->config, endpoint, on_tunnel_ended, link, &e);
    if (link->tunnel == NULL) {
        lose(link, e.text);
        return;
    }
    loop_timer_set(link->silence, link->config->tick_s * 100 * SILENT_TICKS_TENTHS);
    loop_timer_set(link->starting, 0);
}

static void on_retry(void *context)
{
    start(context);
}

// --- questions ---

static void ask_next(struct link *link);
static void renew(struct link *link, bool tunnel);

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
        struct err failure = *e;
        drop_req(link); // the next question dials anew
        answer(question, false, (struct bytes){0}, &failure);
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

struct link *link_open(
    struct loop *loop, const struct config *config, const struct link_events *events)
{
    struct link *link = xcalloc(1, sizeof *link);
    *link =
        (struct link){.loop = loop, .config = config, .events = *events, .retry_ms = RETRY_MIN_MS};
    link->last = &link->first;
    link->retry = loop_timer(loop, false, on_retry, link);
    link->silence = loop_timer(loop, false, on_silence, link);
    link->idle = loop_timer(loop, false, on_idle, link);
    link->starting = loop_timer(loop, false, on_starting, link);
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
    free(link);
}
