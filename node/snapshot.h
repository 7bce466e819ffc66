// What a node says about itself on its own page: spool/out/state.json, which bento-node shows to
// whoever can use this machine. So nothing in it is secret: it holds what the node's statuses hold.
#pragma once

#include "agent.h"

// The end of the log, in bytes before it is written as JSON.
#define SNAPSHOT_LOG_BYTES_MAX (16u << 10)

// Written if it changed; a failure is logged, and mended by the next turn.
void snapshot_write(const struct agent *agent);
// Bytes as clean UTF-8 for people: lines and tabs stay, colours (ESC [ … m) go, whatever else is no
// text becomes a question mark. Appends the last `max` bytes at most, from the start of a line if
// there is one.
void snapshot_text(struct bytes raw, size_t max, struct buf *out);
