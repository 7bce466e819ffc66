// Brings releases into the spool: asks for the head, this node's ticket and its blobs, and lets
// bento-apply judge them all.
//
// A tick or a published message is only a hint to ask or a shortcut for asking; whatever it leads
// to proves itself, so it does not matter who sent it. Nothing is believed here: heads are decoded
// to learn their number, no more.
#pragma once

#include "link.h"

struct fetch;

// IO.
MUST_CHECK struct fetch *fetch_new(struct loop *loop, const struct config *config,
    struct link *link, struct spool *spool, struct err *e);
void fetch_free(struct fetch *fetch);
// The connection came (back): catch up.
void fetch_connected(struct fetch *fetch);
void fetch_tick(struct fetch *fetch, uint64_t epoch, uint64_t release);
void fetch_published(struct fetch *fetch, const struct published *published);
// What bento-apply has seen and lacks.
void fetch_want(struct fetch *fetch, const struct want *want);
