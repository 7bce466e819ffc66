#include "releases.h"

#include "json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NAMES_SHOWN 5
#define HISTORY_MAX 100 // reports of a node that are looked at

// ---- walking back ----

static bool check_order(const struct release *newer, const struct release *older, struct err *e)
{
    return release_compare(older->head.epoch, older->head.release, newer->head.epoch,
               newer->head.release) < 0 ||
           err_set(e, CODE_FORMAT, "the broker says that release %" PRIu64 " came before %" PRIu64,
               older->head.release, newer->head.release);
}

static bool add_earlier(struct releases *releases, struct remote *remote, const struct trust *trust,
    const struct release *newer, bool *more, struct err *e)
{
    struct kept_release kept = {0};
    if (!remote_get_earlier(remote, newer->head_hash, &kept.raw, e)) {
        return false;
    }
    *more = kept.raw.present;
    if (!*more) {
        remote_release_clear(&kept.raw);
        return true;
    }
    if (!release_verify(trust, kept.raw.envelope, kept.raw.roster, kept.raw.tickets,
            kept.raw.ticket_count, &kept.release, &releases->why)) {
        remote_release_clear(&kept.raw);
        releases->cut = true;
        *more = false;
        return true;
    }
    if (!check_order(newer, &kept.release, e)) {
        release_clear(&kept.release);
        remote_release_clear(&kept.raw);
        return false;
    }
    releases->list[releases->count++] = kept;
    return true;
}

bool releases_walk(struct remote *remote, const struct trust *trust, const struct release *newest,
    struct releases *releases, struct err *e)
{
    *releases = (struct releases){.list = xcalloc(RELEASES_KEPT, sizeof(*releases->list))};
    const struct release *at = newest;
    bool more = true;
    while (more && releases->count < RELEASES_KEPT) {
        if (!add_earlier(releases, remote, trust, at, &more, e)) {
            releases_clear(releases);
            return false;
        }
        at = releases->count ? &releases->list[releases->count - 1].release : newest;
    }
    return true;
}

void releases_clear(struct releases *releases)
{
    for (size_t i = 0; i < releases->count; i++) {
        release_clear(&releases->list[i].release);
        remote_release_clear(&releases->list[i].raw);
    }
    free(releases->list);
    *releases = (struct releases){0};
}

// Counted from the newest, which is number 0; NULL behind the end.
static const struct release *release_at(
    const struct releases *releases, const struct release *newest, size_t index)
{
    return !index ? newest : index <= releases->count ? &releases->list[index - 1].release : NULL;
}

const struct release *releases_find(
    const struct releases *releases, const struct release *newest, uint64_t number)
{
    for (size_t i = 0; i <= releases->count; i++) {
        const struct release *release = release_at(releases, newest, i);
        if (release->head.release == number) {
            return release;
        }
    }
    return NULL;
}

bool releases_refuse(
    const struct releases *releases, const struct release *newest, uint64_t number, struct err *e)
{
    CLEANUP(buf_clear) struct buf numbers = {0};
    for (size_t i = 0; i <= releases->count; i++) {
        buf_printf(
            &numbers, "%s%" PRIu64, i ? ", " : "", release_at(releases, newest, i)->head.release);
    }
    return err_set(e, CODE_CONFIG,
        "--revert-to %" PRIu64 ": the broker has no such release; there is %s (`bento-pub "
        "--releases` says more)",
        number, buf_text(&numbers));
}

// ---- what each of them changed ----

enum difference { IS_NEW, IS_CHANGED, IS_REMOVED, DIFFERENCE_COUNT };

// Against the release before it. Fills lists of roster entries; their arrays are malloc'ed.
struct differences {
    size_t counts[DIFFERENCE_COUNT];
    const struct roster_node **lists[DIFFERENCE_COUNT];
};

static void note(struct differences *d, enum difference which, const struct roster_node *node)
{
    d->lists[which][d->counts[which]++] = node;
}

static const struct ticket *ticket_of(const struct release *release, const struct roster_node *node)
{
    return &release->tickets[node - release->roster.nodes];
}

static void differences_of(
    const struct release *release, const struct release *before, struct differences *d)
{
    *d = (struct differences){0};
    for (size_t i = 0; i < DIFFERENCE_COUNT; i++) {
        d->lists[i] =
            xcalloc(release->roster.count + before->roster.count, sizeof(struct roster_node *));
    }
    for (size_t i = 0; i < release->roster.count; i++) {
        const struct roster_node *node = &release->roster.nodes[i],
                                 *old = roster_find(&before->roster, node->node_id);
        const struct ticket *now = ticket_of(release, node);
        bool had = old && ticket_of(before, old)->ct_len;
        if (now->ct_len && !had) {
            note(d, IS_NEW, node);
        } else if (had && !ticket_same(ticket_of(before, old), now)) {
            note(d, IS_CHANGED, node);
        }
    }
    for (size_t i = 0; i < before->roster.count; i++) {
        if (!roster_find(&release->roster, before->roster.nodes[i].node_id)) {
            note(d, IS_REMOVED, &before->roster.nodes[i]);
        }
    }
}

static void differences_clear(struct differences *d)
{
    for (size_t i = 0; i < DIFFERENCE_COUNT; i++) {
        free(d->lists[i]);
    }
}

static void print_differences(const struct differences *d)
{
    static const char *const words[] = {"new", "changed", "removed"};
    bool any = false;
    for (size_t i = 0; i < DIFFERENCE_COUNT; i++) {
        if (!d->counts[i]) {
            continue;
        }
        printf("%s%s ", any ? "; " : "", words[i]);
        any = true;
        for (size_t j = 0; j < d->counts[i] && j < NAMES_SHOWN; j++) {
            struct bytes name = d->lists[i][j]->name;
            printf("%s%.*s", j ? ", " : "", (int)name.len, (const char *)name.at);
        }
        if (d->counts[i] > NAMES_SHOWN) {
            printf(" and %zu more", d->counts[i] - NAMES_SHOWN);
        }
    }
    printf("%s\n", any ? "" : "nothing changed");
}

void releases_print(const struct releases *releases, const struct release *newest)
{
    for (size_t i = 0; i <= releases->count; i++) {
        const struct release *release = release_at(releases, newest, i),
                             *before = release_at(releases, newest, i + 1);
        char date[32];
        time_t seconds = (time_t)release->head.release;
        struct tm tm;
        strftime(date, sizeof(date), "%Y-%m-%d %H:%M:%S", localtime_r(&seconds, &tm));
        printf("%" PRIu64 "  %s  %zu nodes  ", release->head.release, date, release->roster.count);
        if (before) {
            struct differences d;
            differences_of(release, before, &d);
            print_differences(&d);
            differences_clear(&d);
        } else {
            printf("the oldest that %s\n", releases->cut ? "verifies today" : "is kept");
        }
    }
    if (releases->cut) {
        printf("what came before: %s\n", releases->why.text);
    }
}

static json_t *release_json(const struct release *release, const struct release *before)
{
    static const char *const keys[] = {"new", "changed", "removed"};
    json_t *object = json_object();
    struct differences d;
    json_put(object, "release", json_number(release->head.release));
    json_put(object, "epoch", json_number(release->head.epoch));
    json_put(object, "expires", json_number(release->head.expires));
    json_put(object, "fallback_floor", json_number(release->head.fallback_floor));
    json_put(object, "nodes", json_number(release->roster.count));
    if (before) {
        differences_of(release, before, &d);
    }
    for (size_t i = 0; i < DIFFERENCE_COUNT; i++) {
        json_t *names = before ? json_array() : json_null();
        for (size_t j = 0; before && j < d.counts[i]; j++) {
            json_add(names, json_text_or_null(d.lists[i][j]->name));
        }
        json_put(object, keys[i], names);
    }
    if (before) {
        differences_clear(&d);
    }
    return object;
}

void releases_print_json(const struct releases *releases, const struct release *newest, FILE *out)
{
    CLEANUP_JSON *root = json_object();
    CLEANUP(buf_clear) struct buf text = {0};
    json_t *list = json_array();
    for (size_t i = 0; newest && i <= releases->count; i++) {
        json_add(list,
            release_json(release_at(releases, newest, i), release_at(releases, newest, i + 1)));
    }
    json_put(root, "releases", list);
    json_text(root, &text);
    fputs(buf_text(&text), out);
}

// ---- what nodes thought of it ----

// Did the node have the ticket of `old` in the release that the status is about?
static bool is_about(const struct releases *releases, const struct release *newest,
    const struct status *status, const struct ticket *ticket)
{
    for (size_t i = 0; i <= releases->count; i++) {
        const struct release *release = release_at(releases, newest, i);
        const struct roster_node *node = roster_find(&release->roster, status->node_id);
        if (node && !memcmp(release->head_hash, status->head_hash, HASH_BYTES)) {
            return ticket_same(ticket_of(release, node), ticket);
        }
    }
    return false;
}

static bool is_verdict(const struct status *status)
{
    return status->state == NODE_UP_TO_DATE || status->state == NODE_REBOOT_PENDING ||
           status->state == NODE_FAILED || status->state == NODE_ROLLED_BACK;
}

static bool warn_of(struct remote *remote, const struct releases *releases,
    const struct release *newest, const struct change *change, const uint8_t fleet[32],
    struct err *e)
{
    struct remote_statuses history = {0};
    if (!remote_get_history(remote, change->node->node_id, HISTORY_MAX, &history, e)) {
        return false;
    }
    for (size_t i = 0; i < history.count; i++) {
        struct status status;
        struct err ignored; // a forged one says nothing
        if (!status_verify(history.list[i].signed_message, fleet, &status, &ignored) ||
            !is_verdict(&status) || !is_about(releases, newest, &status, &change->after.ticket)) {
            continue;
        }
        if (status.state == NODE_FAILED || status.state == NODE_ROLLED_BACK) {
            fprintf(stderr,
                "warning: %s has been there: %s, %s; it will not try that again by itself. Check "
                "that version out and deploy it with --retry %s\n",
                change->node->name, code_name(status.code), code_when(status.code),
                change->node->name);
        }
        break; // its newest word
    }
    remote_statuses_clear(&history);
    return true;
}

bool releases_warn(struct remote *remote, const struct releases *releases,
    const struct release *newest, const struct release *old, const struct deployment *deployment,
    struct err *e)
{
    if (newest->head.fallback_floor > old->head.release) {
        fprintf(stderr,
            "note: release %" PRIu64 " was published with --no-fallback: nodes do not go below it "
            "by themselves, but they do for a signed release like this\n",
            newest->head.fallback_floor);
    }
    for (size_t i = 0; i < deployment->count; i++) {
        const struct change *change = &deployment->changes[i];
        if (change_is_news(change->kind) &&
            !warn_of(remote, releases, newest, change, old->head.fleet, e)) {
            return false;
        }
    }
    return true;
}
