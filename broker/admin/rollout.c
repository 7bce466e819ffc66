#include "rollout.h"

#include "follow.h"
#include "newest.h"
#include "plan.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAMES_SHOWN 5

static bool is_rollout(const struct rollout *r)
{
    return r->waves->count > 1;
}

// ---- words ----

// Names of the hosts in waves from `first` up to `end` that get something new.
static void name_waves(
    const struct rollout *r, size_t first, size_t end, size_t max, struct buf *out)
{
    bool *hosts = xcalloc(r->deployment->count + 1, sizeof(*hosts));
    for (size_t wave = first; wave < end; wave++) {
        for (size_t i = 0; i < r->deployment->count; i++) {
            hosts[i] = hosts[i] || (r->waves->list[wave].members[i] &&
                                       change_is_news(r->deployment->changes[i].kind));
        }
    }
    name_hosts(r->fleet, hosts, max, out);
    free(hosts);
}

// One name a word, for a command line.
static void host_words(const struct rollout *r, size_t end, struct buf *out)
{
    for (size_t wave = 0; wave < end; wave++) {
        for (size_t i = 0; i < r->deployment->count; i++) {
            const struct change *change = &r->deployment->changes[i];
            if (r->waves->list[wave].members[i] && change_is_news(change->kind)) {
                buf_printf(out, " %s", change->node->name);
            }
        }
    }
}

static void print_published(const struct rollout *r, size_t wave)
{
    if (is_rollout(r)) {
        CLEANUP(buf_clear) struct buf names = {0};
        name_hosts(r->fleet, r->waves->list[wave].members, NAMES_SHOWN, &names);
        printf("wave %zu of %zu (%s): release %" PRIu64 " published\n", wave + 1, r->waves->count,
            buf_text(&names), r->published.head.release);
    } else {
        CLEANUP(buf_clear) struct buf total = {0};
        plan_total(r->deployment, &total);
        printf("release %" PRIu64 " published: %s\n", r->published.head.release, buf_text(&total));
    }
    fflush(stdout);
}

void rollout_print_ways(const struct rollout *r)
{
    if (!r->out) {
        return;
    }
    CLEANUP(buf_clear) struct buf reached = {0}, rest = {0}, words = {0};
    name_waves(r, 0, r->out, NAMES_SHOWN, &reached);
    name_waves(r, r->out, r->waves->count, NAMES_SHOWN, &rest);
    host_words(r, r->out, &words);
    fflush(stdout);
    fprintf(stderr, "release %" PRIu64 " is out%s%s%s%s\n", r->published.head.release,
        reached.len ? ", new for " : "", buf_text(&reached),
        rest.len ? "; not sent, and as before: " : "", buf_text(&rest));
    fprintf(stderr, "  look     bento status --watch\n");
    if (r->out < r->waves->count) {
        fprintf(stderr, "  go on    %s\n", r->again);
    }
    if (r->replaced && words.len) {
        fprintf(stderr, "  go back  bento deploy%s%s --revert-to %" PRIu64 "%s\n",
            r->directory ? " -C " : "", r->directory ? r->directory : "", r->replaced,
            buf_text(&words));
    }
    fprintf(stderr, "           bento deploy --releases lists what else there is to go back to\n");
}

// ---- one wave ----

static void remember(const struct rollout *r)
{
    struct err older;
    if (!newest_check(r->fleet->trust.fleet, &r->published, &older)) {
        fprintf(stderr, "warning: %s\n", older.text);
    }
}

static bool publish(struct rollout *r, size_t wave, struct err *e)
{
    struct release release;
    struct bytes envelope = buf_bytes(&r->envelopes[wave]);
    if (!draft_release(&r->fleet->trust, &r->drafts[wave], envelope, &release, e)) {
        return false;
    }
    const uint8_t *base = r->out ? r->published.head_hash : r->base;
    if (!draft_publish(r->remote, base, &r->drafts[wave], envelope, e)) {
        release_clear(&release);
        return e->code != CODE_STALE
                   ? false
                   : err_set(e, CODE_STALE, "somebody else published meanwhile; %s: run again",
                         wave ? "the waves that were left are not sent" : "nothing was changed");
    }
    if (r->out) {
        release_clear(&r->published);
    }
    r->published = release;
    remember(r);
    print_published(r, wave);
    return true;
}

static bool follow_wave(struct rollout *r, size_t wave, struct followed *followed, struct err *e)
{
    const struct roster *roster = &r->published.roster;
    bool *watched = xcalloc(roster->count + 1, sizeof(*watched));
    for (size_t i = 0; i < r->deployment->count; i++) {
        const struct change *change = &r->deployment->changes[i];
        bool meant = change->kind != CHANGE_KEPT && change->kind != CHANGE_FAILED;
        watched[roster_find(roster, change->node->node_id) - roster->nodes] =
            meant && r->waves->list[wave].members[i];
    }
    bool last = wave + 1 == r->waves->count;
    struct follow follow = {.remote = r->remote,
        .release = &r->published,
        .watched = watched,
        .seconds = r->wait_seconds,
        .name_width = r->name_width,
        .interrupt = r->interrupt.caught ? r->interrupt.fd : -1,
        .wave = !last,
        .gate_seconds = r->gate_seconds};
    bool ok = follow_release(&follow, followed, e);
    free(watched);
    return ok;
}

// Why the next wave is not sent; true: it is.
static bool may_go_on(
    const struct rollout *r, size_t wave, const struct followed *followed, struct err *e)
{
    size_t number = wave + 1;
    struct bytes bad = followed->bad.name;
    switch (followed->end) {
    case FOLLOW_DONE:
        return true;
    case FOLLOW_FAILED:
        return err_set(e, CODE_REFUSED, "wave %zu of %zu stops here: %.*s %s", number,
            r->waves->count, (int)bad.len, (const char *)bad.at, followed->why);
    case FOLLOW_OVERTAKEN:
        return err_set(e, CODE_STALE,
            "wave %zu of %zu stops here: %.*s has seen a release that is not of this rollout",
            number, r->waves->count, (int)bad.len, (const char *)bad.at);
    case FOLLOW_LATE:
        return err_set(e, CODE_TIMEOUT,
            "wave %zu of %zu stops here: not all have converged within %" PRIu64
            " s (--wait=SECONDS gives them more)",
            number, r->waves->count, r->wait_seconds);
    case FOLLOW_INTERRUPTED:
        break;
    }
    return err_set(e, CODE_TIMEOUT, "interrupted in wave %zu of %zu", number, r->waves->count);
}

bool rollout_run(struct rollout *rollout, struct err *e)
{
    if (rollout->wait || is_rollout(rollout)) {
        interrupt_catch(&rollout->interrupt);
    }
    for (size_t wave = 0; wave < rollout->waves->count; wave++) {
        struct followed followed = {0};
        bool last = wave + 1 == rollout->waves->count;
        if (!publish(rollout, wave, e)) {
            return false;
        }
        rollout->out++;
        if (last && !rollout->wait) {
            return true;
        }
        if (!follow_wave(rollout, wave, &followed, e)) {
            return false;
        }
        rollout->status = followed.status > rollout->status ? followed.status : rollout->status;
        if (last && followed.end == FOLLOW_INTERRUPTED) {
            return err_set(e, CODE_TIMEOUT, "interrupted; the nodes go on by themselves");
        }
        if (!last && !may_go_on(rollout, wave, &followed, e)) {
            return false;
        }
    }
    return true;
}

void rollout_clear(struct rollout *rollout)
{
    interrupt_release(&rollout->interrupt);
    if (rollout->out) {
        release_clear(&rollout->published);
    }
    *rollout = (struct rollout){0};
}
