// The tunnel of one endpoint: supervised child processes given as argv, or none at all.
//
//   ssh      one ssh with a forward for each of the broker's ports. Its options are pinned: they stand on
//            the command line, so that they win over those of the owner's ssh_config, which is there for
//            jump hosts and ProxyCommand (and says itself which key a jump host must have).
//   tor      one socat a port, from a local port through the SOCKS port of the machine's own Tor to the
//            onion service. Every start has a SOCKS user name of its own: other circuits than anybody
//            else's, and than those that got stuck. An onion service that wants its clients authorized is
//            Tor's own business (ClientOnionAuthDir in torrc).
//   command  whatever the owner likes (a VPN helper, I2P). In its words {pub}, {rep} and {cache} become
//            the local ports on 127.0.0.1 that it is to forward; it should exec, so that the program that
//            holds the ports is the one that is watched.
//
// A child's local listener accepts before the far side does, so that a connection proves nothing; what
// counts is an answered message. Here it only matters that the children live. They die with bento-node,
// however it ends.
#pragma once

#include "config.h"
#include "loop.h"

struct tunnel;
// why: one sentence for the log.
typedef void tunnel_ended_fn(void *context, const char *why);

// Starts the children of an endpoint (none for TUNNEL_NONE). The local ports are taken from the kernel,
// but for that of the cache, which is fixed: if another program has it, a line in the log says so and the
// tunnel does without. ended: a child is gone by itself; close the tunnel then. CONFIG, IO.
MUST_CHECK struct tunnel *tunnel_open(struct loop *loop, const struct config *config,
    const struct endpoint *endpoint, tunnel_ended_fn *ended, void *context, struct err *e);
// Ends the children. NULL is fine.
void tunnel_close(struct tunnel *tunnel);
// True once the children listen on the local ports, which ssh does when it is through; always where we
// do not know the ports. To be asked before dialling: nng backs off from a refused connection for
// seconds.
bool tunnel_is_up(const struct tunnel *tunnel);
// Where bento-node dials.
const char *tunnel_pub_url(const struct tunnel *tunnel);
const char *tunnel_rep_url(const struct tunnel *tunnel);
