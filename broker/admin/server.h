// What the server needs to know of a fleet, and what a node does, as text to be put there.
#pragma once

#include "fleet.h"

#include <jansson.h>

// The configuration of a node that knows nothing yet: first contact is out of band. CONFIG: no
// endpoints, a bad one, an ssh one without host_key.
MUST_CHECK bool server_node_config(const struct fleet *fleet, json_t **config, struct err *e);
// One authorized_keys line for a node's tunnel key: forwards to the broker's two ports and to a cache that
// is forwarded, and nothing else. False if it has none.
bool server_authorized_key(
    const struct fleet *fleet, const struct fleet_node *node, struct buf *out);
// utils/node.json, which utils/bento.nix gives to every host: follows fleet.nix, and says so when it
// changes. Nothing if the repository has no utils/bento.nix, or fleet.nix does not say enough yet to
// begin with. Call it before hosts are packed.
MUST_CHECK bool server_refresh(const struct fleet *fleet, struct err *e);
