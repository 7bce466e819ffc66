// bento-node as one object: the way to the broker. One endpoint at a time: its tunnel, SUB for what
// is published, REQ for what is asked. Fetch and deliver share the one REQ connection, which is
// dialled on demand and closed when nothing is left to ask.
//
// Alive is a link over which the broker's messages come, nothing else. A broker that restarts is redialled
// by nng through the same tunnel. The tunnel is given up when its program ends or does not get through,
// after 2.5 ticks of silence, after a question without an answer while nothing else came either (a
// connection that is dead on one side only), or a few seconds after a machine that slept got no answer.
// If a program ended that had been through, or after a sleep, the same endpoint is tried again; else the next
// one, with a back-off that grows with each round. The one that was alive last is the first after a restart (state/node/endpoint).
#pragma once

#include "bus.h"
#include "config.h"
#include "message.h"
#include "spool.h"

struct link;

// A question to the broker. It is asked when the connection is free, in order of arrival;
// `answered` is called exactly once.
typedef void link_answer_fn(void *context, bool ok, struct bytes reply, const struct err *e);

struct link_events {
    // SUB came (back), or the machine woke up: ask for the head.
    void (*connected)(void *context);
    void (*release)(void *context, const struct published *message); // as published
    void (*tick)(void *context, uint64_t epoch, uint64_t release);
    void *context;
};

// A broker that cannot be reached is no reason not to start: it keeps trying.
struct link *link_open(
    struct loop *loop, const struct config *config, const struct link_events *events);
void link_close(struct link *link);
// request is copied. Deadline of the whole call in ms.
void link_ask(struct link *link, struct bytes request, int timeout_ms, link_answer_fn *answered,
    void *context);
// What there is to tell about it.
struct link_view {
    enum tunnel_kind tunnel;
    const char *endpoint; // its host, or where its REP is; borrowed from the config
    bool connected;       // to what the broker publishes
    uint64_t heard_s;     // last sign of life, unix seconds; 0: none yet
};
void link_look(const struct link *link, struct link_view *view);
// Somebody waits: if it is down, the next try is now.
void link_hurry(struct link *link);
// What came over this endpoint is wrong, or too slow: the next one is tried, if there is one. Heads that are
// not authentic do not count: any broker may have been handed one.
void link_blame(struct link *link, const struct err *why);
// Counts the endpoints that were in use so far: whoever puts pieces together sees whether they are from one.
uint64_t link_source(const struct link *link);
// Drops the REQ connection, so that the next question dials anew; with tunnel, ends the tunnel too.
void link_redial(struct link *link, bool tunnel);
