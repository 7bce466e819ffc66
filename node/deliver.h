// Brings signed statuses to the collector, in order, until it acknowledges them; across restarts,
// since what is not in spool/in/acked is sent again (the collector stores the same bytes once).
#pragma once

#include "link.h"

struct deliver;

struct deliver *deliver_new(struct loop *loop, struct link *link, struct spool *spool);
void deliver_free(struct deliver *deliver);
// Something may have come into the outbox.
void deliver_scan(struct deliver *deliver);
// The connection came (back), or was renewed: no more waiting.
void deliver_now(struct deliver *deliver);
