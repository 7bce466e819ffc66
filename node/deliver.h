// Brings signed statuses to the collector, in order, until it acknowledges them; across restarts,
// since what is not in spool/in/acked is sent again (the collector stores the same bytes once).
//
// One that the collector will never take must not stand in the way of the others: with other bytes under
// its number (SEQ), or refused for what it is (not for whom: a node may be enrolled later), it is noted in
// spool/in/acked as refused, and bento-apply drops it. Nothing is lost for long: the node says how it is
// under a new number, at the latest with its next poll. A broker that lies about this gains nothing over
// one that stores nothing.
#pragma once

#include "link.h"

struct deliver;

struct deliver *deliver_new(struct loop *loop, struct link *link, struct spool *spool);
void deliver_free(struct deliver *deliver);
// Something may have come into the outbox.
void deliver_scan(struct deliver *deliver);
// The connection came (back), or was renewed: no more waiting.
void deliver_now(struct deliver *deliver);
