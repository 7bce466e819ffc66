#include "publish.h"

#include "log.h"
#include "message.h"
#include "release.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static bool is_current(const struct current *current, const uint8_t *head_hash)
{
    return current->present && memcmp(current->head_hash, head_hash, HASH_BYTES) == 0;
}

static bool check_expiry(const struct head *head, uint64_t now_s, struct err *e)
{
    return now_s < head->expires ||
           err_set(e, CODE_EXPIRED, "the release expired at %" PRIu64, head->expires);
}

static void copy(struct buf *out, struct bytes b)
{
    buf_append(out, b.at, b.len);
}

// Commits, and makes it the current one.
static bool commit(struct publisher *p, const struct publish_request *request,
    const struct release *release, uint64_t now_s, struct err *e)
{
    CLEANUP(store_release_clear) struct store_release raw = {0};
    copy(&raw.envelope, request->envelope);
    copy(&raw.roster, request->roster);
    copy(&raw.tickets, request->tickets);
    struct current now;
    if (!current_open(&now, &raw, e)) // before the commit, for nothing may fail after it
        return false;
    size_t count;
    merkle_hash *blobs = release_blobs(release, &count);
    struct store_publication publication = {
        .base = request->base,
        .head_hash = release->head_hash,
        .epoch = release->head.epoch,
        .release = release->head.release,
        .envelope = request->envelope,
        .roster = request->roster,
        .tickets = request->tickets,
        .blobs = blobs,
        .blob_count = count,
        .now_s = now_s,
    };
    bool ok = store_publish(p->store, &publication, e);
    free(blobs);
    if (!ok) {
        current_clear(&now);
        return false;
    }
    struct current previous = p->current;
    p->current = now;
    p->announce(p->context, &previous, &p->current);
    current_clear(&previous);
    return true;
}

bool publish_release(struct publisher *publisher, const struct publish_request *request,
    uint64_t now_s, struct err *e)
{
    struct bytes *tickets;
    size_t count;
    struct release release;
    if (!tickets_split(request->tickets, &tickets, &count, e))
        return false;
    bool ok = release_verify(
        publisher->trust, request->envelope, request->roster, tickets, count, &release, e);
    if (ok) {
        // A publisher that lost our answer asks again.
        if (!is_current(&publisher->current, release.head_hash))
            ok = check_expiry(&release.head, now_s, e) &&
                 commit(publisher, request, &release, now_s, e);
        release_clear(&release);
    }
    free(tickets);
    return ok;
}

bool publish_goes_whole(uint64_t message_bytes, uint64_t subscribers)
{
    return message_bytes <= PUBLISHED_BYTES_MAX &&
           (subscribers == 0 || message_bytes <= PUBLISHED_FANOUT_BYTES_MAX / subscribers);
}

static bool ticket_changed(const struct current *previous, const struct current *now, size_t index)
{
    size_t before;
    return !current_find(previous, now->roster.nodes[index].node_id, &before) ||
           !bytes_equal(previous->tickets[before], now->tickets[index]);
}

// What a whole message is put together from.
struct parts {
    size_t proven_count, blob_count, bytes;
    struct buf *proven, *blobs;
};

static void parts_clear(struct parts *parts)
{
    for (size_t i = 0; i < parts->proven_count; i++)
        buf_clear(&parts->proven[i]);
    for (size_t i = 0; i < parts->blob_count; i++)
        buf_clear(&parts->blobs[i]);
    free(parts->proven);
    free(parts->blobs);
}

// False: with what is collected so far it is too dear already.
static bool add_part(
    struct parts *parts, struct buf **list, size_t *count, struct buf part, unsigned subscribers)
{
    (*list)[(*count)++] = part;
    parts->bytes += part.len;
    return publish_goes_whole(parts->bytes, subscribers);
}

static bool collect_proven(struct parts *parts, const struct current *previous,
    const struct current *now, unsigned subscribers)
{
    parts->proven = xcalloc(now->roster.count, sizeof *parts->proven);
    for (size_t i = 0; i < now->roster.count; i++) {
        if (!ticket_changed(previous, now, i))
            continue;
        struct proven proven;
        struct buf message = {0};
        current_proven(now, i, &proven);
        proven_encode(&proven, &message);
        if (!add_part(parts, &parts->proven, &parts->proven_count, message, subscribers))
            return false;
    }
    return true;
}

static int compare_hashes(const void *a, const void *b)
{
    return memcmp(a, b, HASH_BYTES);
}

static bool collect_blobs(struct parts *parts, struct store *store, const struct current *previous,
    const struct current *now, unsigned subscribers)
{
    size_t old_count = 0, count;
    merkle_hash *old = previous->present ? current_blobs(previous, &old_count) : NULL;
    merkle_hash *new = current_blobs(now, &count);
    parts->blobs = xcalloc(count + 1, sizeof *parts->blobs);
    bool ok = true;
    for (size_t i = 0; ok && i < count; i++) {
        if (old && bsearch(new[i], old, old_count, HASH_BYTES, compare_hashes))
            continue;
        struct err e;
        uint64_t total = 0;
        struct buf blob = {0};
        ok = store_blob_read(store, new[i], 0, PUBLISHED_BYTES_MAX, &total, &blob, &e);
        if (!ok)
            log_warning("blob not read error=%s", e.text);
        ok = add_part(parts, &parts->blobs, &parts->blob_count, blob, subscribers) && ok &&
             total == blob.len;
    }
    free(old);
    free(new);
    return ok;
}

static struct bytes *borrow(const struct buf *bufs, size_t count)
{
    struct bytes *list = xcalloc(count + 1, sizeof *list);
    for (size_t i = 0; i < count; i++)
        list[i] = buf_bytes(&bufs[i]);
    return list;
}

void publish_encode(struct store *store, const struct current *previous, const struct current *now,
    unsigned subscribers, bool *whole, struct buf *out)
{
    CLEANUP(parts_clear) struct parts parts = {0};
    struct published published = {.kind = PUB_RELEASE, .envelope = now->envelope};
    *whole = collect_proven(&parts, previous, now, subscribers) &&
             collect_blobs(&parts, store, previous, now, subscribers);
    if (*whole) {
        CLEANUP(buf_clear) struct buf message = {0};
        published.proven = borrow(parts.proven, parts.proven_count);
        published.proven_count = parts.proven_count;
        published.blobs = borrow(parts.blobs, parts.blob_count);
        published.blob_count = parts.blob_count;
        published_encode(&published, &message);
        free(published.proven);
        free(published.blobs);
        *whole = publish_goes_whole(message.len, subscribers);
        if (*whole) {
            copy(out, buf_bytes(&message));
            return;
        }
    }
    published = (struct published){.kind = PUB_RELEASE, .envelope = now->envelope};
    published_encode(&published, out);
}
