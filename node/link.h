// bento-node as one object: the way to the broker. One endpoint at a time: its tunnel, SUB for what
// is published, REQ for what is asked. Fetch and deliver share the one REQ connection, which is
// dialled on demand and closed when nothing is left to ask.
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
    void (*connected)(void *context); // the tunnel is up, or SUB came back: ask for the head
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
// Drops the REQ connection, so that the next question dials anew; with tunnel, ends the tunnel too.
void link_redial(struct link *link, bool tunnel);
