// The tunnel of one endpoint: a supervised child process given as argv, or none at all.
//
// The child's local listener accepts before the far side does, so that a connection proves nothing;
// what counts is an answered message. Here it only matters that the child lives.
#pragma once

#include "config.h"
#include "loop.h"

struct tunnel;
typedef void tunnel_ended_fn(void *context, int status);

// Starts the child of an endpoint (nothing for TUNNEL_NONE). The local ports of ssh are taken from
// the kernel. ended: the child is gone by itself. CONFIG, IO.
MUST_CHECK struct tunnel *tunnel_open(struct loop *loop, const struct config *config,
    const struct endpoint *endpoint, tunnel_ended_fn *ended, void *context, struct err *e);
// Ends the child. NULL is fine.
void tunnel_close(struct tunnel *tunnel);
// Where bento-node dials.
// True once ssh is through and listens on both ports; always for the other kinds. To be asked
// before dialling: nng backs off from a refused connection for seconds.
bool tunnel_is_up(const struct tunnel *tunnel);
const char *tunnel_pub_url(const struct tunnel *tunnel);
const char *tunnel_rep_url(const struct tunnel *tunnel);
