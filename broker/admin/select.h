// Which nodes a command is about: HOST, a glob over names, or @TAG. Nothing named: all of them.
// NAME=host in the environment restricts to that one, as it always did.
#pragma once

#include "fleet.h"

// chosen[i] is set for the nodes that are meant. USAGE if a word matches nothing: names the
// nearest.
MUST_CHECK bool select_nodes(
    const struct fleet *fleet, char *const *words, int word_count, bool *chosen, struct err *e);
// The one of that name, no glob. USAGE as above.
MUST_CHECK bool select_node(
    const struct fleet *fleet, const char *name, const struct fleet_node **node, struct err *e);
