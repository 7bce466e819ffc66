// NNG behind the loop: the only file that includes nng. Receive limits are set before any listen or
// dial. Callbacks of nng's threads only post; everything below is called from, and calls back in,
// the loop's thread. PROTOCOL.md §bus
#pragma once

#include "bytes.h"
#include "loop.h"

// From now on a socket that cannot be closed ends the program well instead of by abort(): for daemons that
// were told to end, and whose state is on disk by then.
void bus_ending(void);

// SUB: subscribes to TOPIC at url and stays dialling; fn for each message (with its topic).
struct bus_sub;
typedef void bus_message_fn(void *context, struct bytes message);
typedef void bus_link_fn(void *context, bool up); // a pipe came or went
MUST_CHECK struct bus_sub *bus_sub_open(struct loop *loop, const char *url, size_t receive_max,
    bus_message_fn *fn, bus_link_fn *link, void *context, struct err *e);
void bus_sub_close(struct bus_sub *sub); // NULL is fine

// Listening on ipc:// makes the socket 0660 and replaces one that nobody listens on any more.
// CONFIG (a bad url), IO.

// PUB: listens; a message starts with its topic. subscribers: pipes connected now. Close: NULL is
// fine, here and below.
struct bus_pub;
MUST_CHECK struct bus_pub *bus_pub_open(struct loop *loop, const char *url, struct err *e);
void bus_pub_send(struct bus_pub *pub, struct bytes message);
unsigned bus_pub_subscribers(const struct bus_pub *pub);
void bus_pub_close(struct bus_pub *pub);

// REQ: one peer, one request at a time, dialled when made.
struct bus_req;
// reply: borrowed for the call; len 0 and e set when it failed: UNREACHABLE (no connection, or it
// broke), TIMEOUT (connected, but no answer). After a failure close it and open another.
typedef void bus_reply_fn(void *context, bool ok, struct bytes reply, const struct err *e);
MUST_CHECK struct bus_req *bus_req_open(
    struct loop *loop, const char *url, size_t receive_max, struct err *e);
// A call while one is under way is a programmer error. fn is called exactly once, never from inside
// this call.
void bus_req_call(
    struct bus_req *req, struct bytes request, int timeout_ms, bus_reply_fn *fn, void *context);
void bus_req_close(
    struct bus_req *req); // a call under way is dropped without its callback; NULL is fine
// The same for programs without a loop: one blocking request over a connection of its own. TIMEOUT,
// UNREACHABLE (at once if the address refuses). Appends to reply.
MUST_CHECK bool bus_ask(const char *url, size_t receive_max, struct bytes request, int timeout_ms,
    struct buf *reply, struct err *e);

// REP: listens, up to `parallel` requests under way, answered in any order. A peer that does not
// take its answer within 10 s is disconnected.
struct bus_rep;
struct bus_request; // one request under way; must be answered exactly once, even after the close.
                    // message: until fn returns
typedef void bus_request_fn(void *context, struct bus_request *request, struct bytes message);
MUST_CHECK struct bus_rep *bus_rep_open(struct loop *loop, const char *url, size_t receive_max,
    unsigned parallel, bus_request_fn *fn, void *context, struct err *e);
void bus_rep_answer(struct bus_request *request, struct bytes reply);
// From now on a connection over which nothing was asked for that long is closed: also one that sent half a
// request. Far longer than any client of ours keeps one, or clients that redial at once would do so for ever.
void bus_rep_close_idle(struct bus_rep *rep, unsigned idle_s);
void bus_rep_close(struct bus_rep *rep);
