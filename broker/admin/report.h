// The fleet as the collector knows it: fetches the newest release and the newest statuses, verifies
// both with the admin's own trust (the broker's word counts for nothing but the time of arrival),
// and draws each node's view from them.
#pragma once

#include "fleet.h"
#include "remote.h"
#include "view.h"

struct report_row {
    const struct fleet_node *node;
    const struct roster_node *in_release; // NULL: enrolled after that release
    bool has_ticket;                      // the release holds a configuration for it
    bool has_status, tampered;            // not both
    uint64_t received_s;                  // if either
    struct status status;                 // if has_status; verified
    struct view view;
    struct buf heard; // what status is borrowed from, if it came as an event
};

struct report {
    bool published;         // false: no release yet, and release is empty
    struct release release; // verified
    char warning[480];      // of newest_check(); "": none
    size_t row_count;
    struct report_row *rows;   // one for every node of the fleet, in its order
    struct report_row **by_id; // the same, ascending by node_id
    // Nodes of the release that the repository does not have any more; owned pointers into it.
    size_t removed_count;
    const struct roster_node **removed;
    size_t stranger_count; // statuses of nodes that are in neither
    // what the above is borrowed from
    const struct fleet *fleet;
    struct remote_release raw_release;
    struct remote_statuses raw_statuses;
};

// Borrows the fleet. UNREACHABLE and the like from remote.h; the codes of release_verify if the broker's release is
// not ours: then nothing it says is worth showing.
MUST_CHECK bool report_fetch(struct remote *remote, const struct fleet *fleet, uint64_t now_s,
    struct report *report, struct err *e);
void report_clear(struct report *report);

// A signed status that came as an event, just now. True: it is of a machine of the fleet, genuine,
// and newer than what was known; its row shows it.
bool report_take(struct report *report, struct bytes signed_message, uint64_t now_s);
// What was heard grows old: draws every view again.
void report_age(struct report *report, uint64_t now_s);

// The part without the network, for tests: release and statuses as they came. Borrows both.
MUST_CHECK bool report_build(const struct remote_release *release,
    const struct remote_statuses *statuses, const struct fleet *fleet, uint64_t now_s,
    struct report *report, struct err *e);

// Is it a status of this fleet, signed by the node that the broker says it is of? *status borrows
// from raw.
bool report_verify(const struct remote_status *raw, const uint8_t fleet[32], struct status *status);

// Appends text for a terminal: newlines and tabs stay, other control characters and bytes that are
// no UTF-8 become \xNN.
void text_escape(struct bytes text, struct buf *out);
// The last `lines` lines of a log.
struct bytes text_tail(struct bytes text, size_t lines);
// "48s", "2m 48s", "3h 5m", "12d 4h"; room for 32.
#define DURATION_BYTES 32
void duration_text(uint64_t seconds, char text[DURATION_BYTES]);
// The first 8 characters of a store path's hash; "-" for an empty path.
#define SHORT_PATH_BYTES 9
void short_path(struct bytes path, char text[SHORT_PATH_BYTES]);
