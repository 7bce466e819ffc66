#include "live.h"

#include "bus.h"
#include "message.h"

#include <stdlib.h>

#define SETTLE_MS 200    // many events at once: one fetch
#define REFETCH_MS 30000 // for events that got lost
#define RETRY_MS 2000

struct live {
    struct loop *loop;
    const struct fleet *fleet;
    loop_fn *changed;
    void *context;
    struct remote *remote; // NULL: to be opened again
    struct bus_sub *sub;
    struct loop_watch *timer;
    bool fetch_is_near;
    struct report report;
    bool in_trouble;
    struct err trouble;
};

static void fetch_soon(struct live *live)
{
    if (!live->fetch_is_near)
        loop_timer_set(live->timer, SETTLE_MS);
    live->fetch_is_near = true;
}

static void on_status(struct live *live, struct bytes message)
{
    if (!report_take(&live->report, message, clock_unix_s()))
        return;
    for (size_t i = 0; i < live->report.row_count; i++)
        if (live->report.rows[i].view.state == VIEW_AHEAD)
            fetch_soon(live); // we missed a release
    live->changed(live->context);
}

static void on_event(void *context, struct bytes message)
{
    struct live *live = context;
    struct published published;
    struct err not_published;
    if (published_decode(message, &published, &not_published)) {
        if (published.kind != PUB_TICK)
            fetch_soon(live);
        published_clear(&published);
    } else if (message.len > TOPIC_BYTES) {
        on_status(live, bytes_of(message.at + TOPIC_BYTES, message.len - TOPIC_BYTES));
    }
}

// Up: what was said before is missing. Down: a fetch finds out why.
static void on_link(void *context, bool up)
{
    (void)up;
    fetch_soon(context);
}

static void disconnect(struct live *live)
{
    bus_sub_close(live->sub);
    remote_close(live->remote);
    live->sub = NULL;
    live->remote = NULL;
}

static bool connect_again(struct live *live, struct err *e)
{
    if (live->remote)
        return true;
    if (!remote_open(live->fleet->admin, &live->remote, e))
        return false;
    live->sub = bus_sub_open(live->loop, remote_events_url(live->remote), ADMIN_RECEIVE_BYTES_MAX,
        on_event, on_link, live, e);
    if (!live->sub)
        disconnect(live);
    return live->sub != NULL;
}

static bool fetch(struct live *live, struct err *e)
{
    struct report fresh;
    if (!connect_again(live, e))
        return false;
    if (!report_fetch(live->remote, live->fleet, clock_unix_s(), &fresh, e)) {
        disconnect(live); // an ssh that ended does not come back by itself
        return false;
    }
    report_clear(&live->report);
    live->report = fresh;
    return true;
}

static void on_timer(void *context)
{
    struct live *live = context;
    live->fetch_is_near = false;
    live->in_trouble = !fetch(live, &live->trouble);
    if (!live->fetch_is_near)
        loop_timer_set(live->timer, live->in_trouble ? RETRY_MS : REFETCH_MS);
    live->changed(live->context);
}

bool live_open(struct loop *loop, const struct fleet *fleet, loop_fn *changed, void *context,
    struct live **live, struct err *e)
{
    struct live *l = xcalloc(1, sizeof *l);
    *l = (struct live){.loop = loop, .fleet = fleet, .changed = changed, .context = context};
    l->timer = loop_timer(loop, true, on_timer, l);
    if (!fetch(l, e)) {
        live_close(l);
        return false;
    }
    loop_timer_set(l->timer, REFETCH_MS);
    *live = l;
    return true;
}

void live_close(struct live *live)
{
    if (!live)
        return;
    disconnect(live);
    loop_remove(live->timer);
    report_clear(&live->report);
    free(live);
}

struct report *live_report(struct live *live)
{
    return &live->report;
}

const char *live_trouble(const struct live *live)
{
    return live->in_trouble ? live->trouble.text : NULL;
}
