#include "follow.h"

#include "bus.h"
#include "message.h"
#include "redraw.h"
#include "view.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define POLL_MS 5000 // for the events that got lost; small beside what a switch takes
#define DRAW_MS 1000
#define STATE_WIDTH 14
#define DRIFT_MS 30000

struct follower {
    bool seen, over;
    uint64_t seq, since_ms;
    struct view view;
};

struct following {
    const struct follow *follow;
    struct followed *followed;
    struct loop *loop;
    struct loop_watch *poll, *draw, *gate;
    struct follower *nodes; // in roster order
    struct redraw redraw;
    uint64_t start_ms, gate_end_ms;
    bool late;       // the time for converging is over
    bool gate_over;  // they stayed so for long enough, if their newest word still says so
    bool unanswered; // the last question to the collector failed: why is in *e
    bool gone;       // it cannot be asked any more
    struct err *e;
};

static const struct roster *roster_of(const struct following *f)
{
    return &f->follow->release->roster;
}

static void end(struct following *f, enum follow_end how)
{
    f->followed->end = how;
    loop_stop(f->loop);
}

// A node that was at work on the release before ends that under the new head, and runs another path
// than the new one's for a moment. So drift counts only if it stays.
static bool is_over(const struct follower *node)
{
    return node->over &&
           (node->view.state != VIEW_DRIFTED || clock_monotonic_ms() - node->since_ms >= DRIFT_MS);
}

// ---- what is shown ----

static void why_text(const struct view *view, char *text, size_t room)
{
    if (view->code == CODE_OK) {
        snprintf(text, room, "%s", view_state_word(view->state));
    } else {
        snprintf(text, room, "%s: %s, %s", view_state_word(view->state), code_name(view->code),
            code_when(view->code));
    }
}

static void say_step(
    struct following *f, const struct roster_node *node, const struct follower *follower)
{
    char why[160];
    why_text(&follower->view, why, sizeof(why));
    if (!f->redraw.terminal || follower->over) {
        redraw_say(&f->redraw, "%-*.*s  %-*s  %.1f s", f->follow->name_width, (int)node->name.len,
            (const char *)node->name.at, STATE_WIDTH, why,
            (double)(clock_monotonic_ms() - f->start_ms) / 1000);
    }
}

static void draw_nodes(struct following *f, uint64_t now_ms, bool heard)
{
    for (size_t i = 0; i < roster_of(f)->count; i++) {
        const struct follower *node = &f->nodes[i];
        const struct roster_node *line = &roster_of(f)->nodes[i];
        if (!f->follow->watched[i] || is_over(node) || node->seen != heard) {
            continue;
        }
        redraw_add(&f->redraw, "%-*.*s  %-*s  %" PRIu64 " s", f->follow->name_width,
            (int)line->name.len, (const char *)line->name.at, STATE_WIDTH,
            heard ? view_state_word(node->view.state) : "nothing heard",
            (now_ms - (heard ? node->since_ms : f->start_ms)) / 1000);
    }
}

static void draw(void *context)
{
    struct following *f = context;
    uint64_t now_ms = clock_monotonic_ms();
    draw_nodes(f, now_ms, true);
    draw_nodes(f, now_ms, false);
    if (loop_timer_is_set(f->gate)) {
        redraw_add(&f->redraw, "all converged; must stay so for another %" PRIu64 " s",
            f->gate_end_ms > now_ms ? (f->gate_end_ms - now_ms + 999) / 1000 : 0);
    }
    if (f->unanswered) {
        redraw_add(&f->redraw, "the broker does not answer: %s", f->e->text);
    }
    redraw_now(&f->redraw);
    loop_timer_set(f->draw, DRAW_MS);
}

// ---- where they stand ----

// Nothing more comes by itself, and it is not bad. One that waits for a reboot is as far as it gets.
static bool has_converged(const struct follower *node)
{
    return is_over(node) && node->view.severity != SEVERITY_FAILING;
}

static void blame(struct following *f, size_t node, enum follow_end how)
{
    f->followed->bad = roster_of(f)->nodes[node];
    why_text(&f->nodes[node].view, f->followed->why, sizeof(f->followed->why));
    end(f, how);
}

static void open_gate(struct following *f)
{
    uint64_t gate_ms = f->follow->gate_seconds * 1000;
    if (!gate_ms || f->gate_over) {
        end(f, FOLLOW_DONE);
    } else if (!loop_timer_is_set(f->gate)) {
        f->gate_end_ms = clock_monotonic_ms() + gate_ms;
        loop_timer_set(f->gate, gate_ms);
        if (!f->redraw.terminal) {
            redraw_say(&f->redraw, "all converged; they must stay so for %" PRIu64 " s",
                f->follow->gate_seconds);
        }
    }
}

static void check_wave(struct following *f)
{
    bool all = true;
    for (size_t i = 0; i < roster_of(f)->count; i++) {
        const struct follower *node = &f->nodes[i];
        if (!f->follow->watched[i]) {
            continue;
        }
        if (node->seen && node->view.state == VIEW_AHEAD) {
            blame(f, i, FOLLOW_OVERTAKEN);
            return;
        }
        if (is_over(node) && node->view.severity == SEVERITY_FAILING) {
            blame(f, i, FOLLOW_FAILED);
            return;
        }
        all = all && has_converged(node);
    }
    if (all) {
        open_gate(f);
        return;
    }
    loop_timer_stop(f->gate);
    f->gate_over = false;
    if (f->late) {
        end(f, FOLLOW_LATE);
    }
}

static void check_over(struct following *f)
{
    if (f->follow->wave) {
        check_wave(f);
        return;
    }
    for (size_t i = 0; i < roster_of(f)->count; i++) {
        if (f->follow->watched[i] && !is_over(&f->nodes[i])) {
            return;
        }
    }
    end(f, FOLLOW_DONE);
}

// ---- what is heard ----

static void note_status(struct following *f, size_t index, const struct status *status)
{
    const struct release *release = f->follow->release;
    const struct roster_node *node = &roster_of(f)->nodes[index];
    struct follower *follower = &f->nodes[index];
    uint64_t now = clock_unix_s();
    struct view_input input = {.head = &release->head,
        .head_hash = release->head_hash,
        .node = node,
        .status = status,
        .received_s = now,
        .now_s = now,
        .poll_s = POLL_SECONDS};
    struct follower next = {.seen = true, .seq = status->seq, .since_ms = follower->since_ms};
    view_of(&input, &next.view);
    next.over = next.view.settled || next.view.state == VIEW_AHEAD;
    bool news = !follower->seen || follower->view.state != next.view.state;
    if (news) {
        next.since_ms = clock_monotonic_ms();
    }
    *follower = next;
    if (news && !next.view.behind) {
        say_step(f, node, follower);
    }
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
    size_t index = node ? (size_t)(node - release->roster.nodes) : 0;
    if (node && f->follow->watched[index] &&
        !(f->nodes[index].seen && status.seq <= f->nodes[index].seq)) {
        note_status(f, index, &status);
    }
}

static void ask(void *context)
{
    struct following *f = context;
    struct remote_statuses statuses = {0};
    f->unanswered = !remote_get_statuses(f->follow->remote, &statuses, f->e);
    if (f->unanswered && remote_is_gone(f->follow->remote)) {
        f->gone = true;
        loop_stop(f->loop);
        return;
    }
    loop_timer_set(f->poll, POLL_MS);
    if (f->unanswered) {
        return;
    }
    for (size_t i = 0; i < statuses.count; i++) {
        on_status(f, statuses.list[i].signed_message);
    }
    remote_statuses_clear(&statuses);
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

// Their newest word counts, so it is asked for once more; without an answer nobody knows.
static void on_gate(void *context)
{
    struct following *f = context;
    f->gate_over = true;
    ask(f);
    if (f->unanswered) {
        f->gate_over = false;
        loop_timer_set(f->gate, POLL_MS);
    }
}

static void on_deadline(void *context)
{
    struct following *f = context;
    f->late = true;
    if (!loop_timer_is_set(f->gate)) {
        end(f, FOLLOW_LATE);
    }
}

static void on_interrupt(void *context)
{
    end(context, FOLLOW_INTERRUPTED);
}

// ---- the whole ----

static int judge(struct following *f)
{
    int result = 0;
    for (size_t i = 0; i < roster_of(f)->count; i++) {
        const struct follower *node = &f->nodes[i];
        const struct roster_node *line = &roster_of(f)->nodes[i];
        if (!f->follow->watched[i]) {
            continue;
        }
        if (!is_over(node) || node->view.state == VIEW_AHEAD ||
            node->view.severity == SEVERITY_PENDING) {
            result = result ? result : 2;
        } else if (node->view.severity == SEVERITY_FAILING) {
            result = 3;
        }
        if (!is_over(node)) {
            redraw_say(&f->redraw, "%-*.*s  not done yet: %s", f->follow->name_width,
                (int)line->name.len, (const char *)line->name.at,
                node->seen ? view_state_word(node->view.state) : "nothing heard");
        }
    }
    return result;
}

static bool run(struct following *f, struct err *e)
{
    const struct follow *follow = f->follow;
    struct loop_watch *deadline = loop_timer(f->loop, true, on_deadline, f), *interrupt = NULL;
    struct bus_sub *sub = bus_sub_open(
        f->loop, remote_events_url(follow->remote), PUBLISHED_BYTES_MAX, on_message, on_link, f, e);
    if (!sub) {
        return false;
    }
    if (follow->interrupt >= 0) {
        interrupt = loop_fd(f->loop, follow->interrupt, on_interrupt, f);
    }
    loop_timer_set(deadline, follow->seconds * 1000);
    loop_timer_set(f->poll, 0);
    if (f->redraw.terminal) {
        loop_timer_set(f->draw, 0);
    }
    loop_run(f->loop);
    loop_remove(interrupt);
    bus_sub_close(sub);
    return !f->gone && !(f->unanswered && f->followed->end == FOLLOW_LATE);
}

bool follow_release(const struct follow *follow, struct followed *followed, struct err *e)
{
    *followed = (struct followed){0};
    struct following f = {.follow = follow,
        .followed = followed,
        .loop = loop_new(),
        .start_ms = clock_monotonic_ms(),
        .e = e,
        .nodes = xcalloc(follow->release->roster.count, sizeof(*f.nodes))};
    f.poll = loop_timer(f.loop, true, ask, &f);
    f.draw = loop_timer(f.loop, true, draw, &f);
    f.gate = loop_timer(f.loop, true, on_gate, &f);
    redraw_open(&f.redraw, stdout);
    bool ok = run(&f, e);
    if (ok) {
        followed->status = judge(&f);
    }
    redraw_close(&f.redraw);
    loop_free(f.loop);
    free(f.nodes);
    return ok;
}
