#include "upload.h"

#include <stdlib.h>
#include <string.h>

// Those of all drafts, distinct; malloc'ed.
static merkle_hash *blobs_of(const struct draft *drafts, size_t draft_count, size_t *count)
{
    size_t all = 0;
    for (size_t i = 0; i < draft_count; i++) {
        all += drafts[i].blob_count;
    }
    merkle_hash *blobs = xcalloc(all + 1, sizeof(*blobs));
    for (size_t i = 0, at = 0; i < draft_count; at += drafts[i++].blob_count) {
        memcpy(blobs + at, drafts[i].blobs, drafts[i].blob_count * sizeof(*blobs));
    }
    *count = hashes_distinct(blobs, all);
    return blobs;
}

bool missing_find(struct remote *remote, const struct cache *cache, const struct draft *drafts,
    size_t draft_count, struct missing *missing, struct err *e)
{
    size_t count;
    merkle_hash *blobs = blobs_of(drafts, draft_count, &count);
    bool *absent = xcalloc(count + 1, sizeof(*absent));
    bool ok = !count || remote_missing_blobs(remote, (const merkle_hash *)blobs, count, absent, e);
    *missing = (struct missing){.needed = count};
    if (ok) {
        missing->list = xcalloc(count + 1, sizeof(*missing->list));
    }
    for (size_t i = 0; ok && i < count; i++) {
        if (absent[i]) {
            struct missing_blob *blob = &missing->list[missing->count++];
            memcpy(blob->hash, blobs[i], HASH_BYTES);
            blob->bytes = cache_blob_bytes(cache, blobs[i]);
            missing->bytes += blob->bytes;
        }
    }
    free(absent);
    free(blobs);
    return ok;
}

void missing_clear(struct missing *missing)
{
    free(missing->list);
    *missing = (struct missing){0};
}

bool missing_check(
    const struct missing *missing, const struct deployment *deployment, struct err *e)
{
    for (size_t i = 0; i < missing->count; i++) {
        CLEANUP(buf_clear) struct buf owner = {0};
        if (missing->list[i].bytes) {
            continue;
        }
        if (!deployment_blob_owner(deployment, missing->list[i].hash, &owner)) {
            buf_append_text(&owner, "a blob");
        }
        return err_set(e, CODE_NONE,
            "the %s lies neither at the broker nor in this machine's cache: deploy that host from "
            "the repository (an older one: check it out first)",
            buf_text(&owner));
    }
    return true;
}

bool missing_send(
    struct remote *remote, const struct cache *cache, const struct missing *missing, struct err *e)
{
    for (size_t i = 0; i < missing->count; i++) {
        CLEANUP(buf_clear) struct buf blob = {0};
        if (!cache_get_blob(cache, missing->list[i].hash, &blob, e) ||
            !remote_put_blob(remote, missing->list[i].hash, buf_bytes(&blob), e)) {
            return false;
        }
    }
    return true;
}

static struct bytes *borrow_tickets(const struct draft *draft)
{
    struct bytes *tickets = xcalloc(draft->count + 1, sizeof(*tickets));
    for (size_t i = 0; i < draft->count; i++) {
        tickets[i] = buf_bytes(&draft->tickets[i]);
    }
    return tickets;
}

bool draft_release(const struct trust *trust, const struct draft *draft, struct bytes envelope,
    struct release *release, struct err *e)
{
    struct bytes *tickets = borrow_tickets(draft);
    bool ok = release_verify(
                  trust, envelope, buf_bytes(&draft->roster), tickets, draft->count, release, e) ||
              err_wrap(e, "the release just made");
    free(tickets);
    return ok;
}

bool draft_publish(struct remote *remote, const uint8_t base[HASH_BYTES], const struct draft *draft,
    struct bytes envelope, struct err *e)
{
    struct bytes *tickets = borrow_tickets(draft);
    bool ok =
        remote_publish(remote, base, envelope, buf_bytes(&draft->roster), tickets, draft->count, e);
    free(tickets);
    return ok;
}
