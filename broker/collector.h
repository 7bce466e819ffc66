// Takes statuses in: many in one transaction, each answered only after the commit.
//
// A status that arrives is verified at once and then waits, unanswered, for collector_commit(),
// which the loop calls when it has handled everything that was ready. Under load one fsync thus
// serves many nodes, an idle broker commits each by itself. If the commit fails nobody gets an OK:
// the nodes keep their statuses and come again.
#pragma once

#include "current.h"
#include "log.h"
#include "status.h"

// Answers a request, exactly once; request is what came with it.
typedef void answer_fn(void *request, struct bytes reply);

struct collector {
    struct store *store;
    const uint8_t *fleet;
    const struct current *current; // whose roster says who may report
    answer_fn *answer;
    void (*stored)(void *context, struct bytes signed_message); // each new one, after its commit
    void *context;
    struct log_limit log_limit;
    // own: statuses[i] came with waiting[i]
    size_t count, room;
    struct store_status *statuses;
    struct waiting {
        void *request;
        struct buf message;
    } * waiting;
};

// True: the collector answers the request later. Else a code of status_verify(), or UNKNOWN.
MUST_CHECK bool collector_take(struct collector *collector, struct bytes signed_message,
    uint64_t now_s, void *request, struct err *e);
// Commits and answers all that wait.
void collector_commit(struct collector *collector);
void collector_clear(struct collector *collector); // nothing may wait any more
