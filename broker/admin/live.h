// A report that is kept current while somebody looks: fetched once, then changed by the broker's
// events, each verified like everything else. Events may get lost, so it is fetched again now and
// then, for each new release, and when the connection was gone.
#pragma once

#include "loop.h"
#include "report.h"

struct live;

// changed: the report, or the trouble with the broker, is another one. Borrows the fleet.
// The first fetch is done here and fails as remote_open() and report_fetch() do; later failures are
// trouble, and it is tried again until it works.
MUST_CHECK bool live_open(struct loop *loop, const struct fleet *fleet, loop_fn *changed,
    void *context, struct live **live, struct err *e);
void live_close(struct live *live); // NULL is fine
struct report *live_report(struct live *live);
// NULL: the broker answers. Else why not, and the report is an old one.
const char *live_trouble(const struct live *live);
