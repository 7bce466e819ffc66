#include "follow.h"

#include "bus.h"
#include "message.h"
#include "view.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define POLL_MS 5000 // for the events that got lost; small beside what a switch takes

struct follower {
    bool seen, over;
    uint64_t seq;
    enum view_state state;
    enum view_severity severity;
};

struct following {
    const struct follow *follow;
    struct loop *loop;
    struct loop_watch *poll;
    struct follower *nodes; // in roster order
    uint64_t start_ms;
    bool failed; // the collector cannot be asked any more: why is in *e
    struct err *e;
};

static void print_step(
    const struct following *f, const struct roster_node *node, const struct view *view)
{
    printf("%-*.*s  %s", f->follow->name_width, (int)node->name.len, (const char *)node->name.at,
        view_state_word(view->state));
    if (view->code != CODE_OK) {
        printf(": %s, %s", code_name(view->code), code_when(view->code));
    }
    printf("  %.1f s\n", (double)(clock_monotonic_ms() - f->start_ms) / 1000);
    fflush(stdout);
}

static void check_over(struct following *f)
{
    for (size_t i = 0; i < f->follow->release->roster.count; i++) {
        if (f->follow->watched[i] && !f->nodes[i].over) {
            return;
        }
    }
    loop_stop(f->loop);
}

static void on_status(struct following *f, struct bytes message)
{
    const struct release *release = f->follow->release;
    struct status status;
    struct err ignored; // another kind of event, or not from a node
    if (!status_verify(message, release->head.fleet, &status, &ignored)) {
        return;
    }
    const struct roster_node *node = roster_find(&release->roster, status.node_id);
    if (!node || !f->follow->watched[node - release->roster.nodes]) {
        return;
    }
    struct follower *follower = &f->nodes[node - release->roster.nodes];
    if (follower->seen && status.seq <= follower->seq) {
        return;
    }
    uint64_t now = clock_unix_s();
    struct view_input input = {.head = &release->head,
        .head_hash = release->head_hash,
        .node = node,
        .status = &status,
        .received_s = now,
        .now_s = now,
        .poll_s = POLL_SECONDS};
    struct view view;
    view_of(&input, &view);
    bool news = !follower->seen || follower->state != view.state;
    *follower = (struct follower){.seen = true,
        .seq = status.seq,
        .state = view.state,
        .severity = view.severity,
        .over = view.settled || view.state == VIEW_AHEAD};
    if (news && !view.behind) {
        print_step(f, node, &view);
    }
}

static void ask(void *context)
{
    struct following *f = context;
    struct remote_statuses statuses = {0};
    if (!remote_get_statuses(f->follow->remote, &statuses, f->e)) {
        f->failed = true;
        loop_stop(f->loop);
        return;
    }
    for (size_t i = 0; i < statuses.count; i++) {
        on_status(f, statuses.list[i].signed_message);
    }
    remote_statuses_clear(&statuses);
    loop_timer_set(f->poll, POLL_MS);
    check_over(f);
}

static void on_message(void *context, struct bytes message)
{
    struct following *f = context;
    if (message.len > TOPIC_BYTES) {
        on_status(f, bytes_of(message.at + TOPIC_BYTES, message.len - TOPIC_BYTES));
        check_over(f);
    }
}

static void on_link(void *context, bool up)
{
    if (up) {
        ask(context); // what was said before we listened
    }
}

static void on_deadline(void *context)
{
    struct following *f = context;
    loop_stop(f->loop);
}

static int judge(const struct following *f)
{
    const struct roster *roster = &f->follow->release->roster;
    int result = 0;
    for (size_t i = 0; i < roster->count; i++) {
        const struct follower *node = &f->nodes[i];
        if (!f->follow->watched[i]) {
            continue;
        }
        if (!node->over || node->state == VIEW_AHEAD || node->severity == SEVERITY_PENDING) {
            result = result ? result : 2;
        } else if (node->severity == SEVERITY_FAILING) {
            result = 3;
        }
        if (!node->over) {
            printf("%-*.*s  not done yet: %s\n", f->follow->name_width,
                (int)roster->nodes[i].name.len, (const char *)roster->nodes[i].name.at,
                node->seen ? view_state_word(node->state) : "nothing heard");
        }
    }
    return result;
}

bool follow_release(const struct follow *follow, int *exit_status, struct err *e)
{
    struct following f = {.follow = follow,
        .loop = loop_new(),
        .start_ms = clock_monotonic_ms(),
        .e = e,
        .nodes = xcalloc(follow->release->roster.count, sizeof(*f.nodes))};
    f.poll = loop_timer(f.loop, true, ask, &f);
    struct loop_watch *deadline = loop_timer(f.loop, true, on_deadline, &f);
    struct bus_sub *sub = bus_sub_open(
        f.loop, remote_events_url(follow->remote), PUBLISHED_BYTES_MAX, on_message, on_link, &f, e);
    bool ok = sub != NULL;
    if (ok) {
        loop_timer_set(deadline, follow->seconds * 1000);
        loop_timer_set(f.poll, 0);
        loop_run(f.loop);
        ok = !f.failed;
    }
    if (ok) {
        *exit_status = judge(&f);
    }
    bus_sub_close(sub);
    loop_free(f.loop);
    free(f.nodes);
    return ok;
}
