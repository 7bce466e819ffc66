// The admin's side of a broker's admin endpoint: publish, query, follow. Speaks the protocol like
// anybody else, over the broker's Unix sockets, from afar through ssh, which forwards both.
//
// Nothing that comes back is trusted here: callers verify releases (release_verify) and statuses
// (status_verify).
#pragma once

#include "release.h"
#include "status.h"

struct remote;

// where: an absolute path of admin.sock (events.sock lies beside it), or
// ssh://[user@]host[:port][/path/of/admin.sock], which starts `ssh -N -L …` with the user's own ssh
// configuration and waits until it forwards (prompts go to the terminal). UNREACHABLE with what to
// do.
MUST_CHECK bool remote_open(const char *where, struct remote **remote, struct err *e);
void remote_close(struct remote *remote); // ends the ssh; NULL is fine
void remote_closep(struct remote **remote);
bool remote_is_gone(const struct remote *remote); // its ssh has ended: nothing will be answered
const char *remote_events_url(const struct remote
        *remote); // ipc://…/events.sock, a PUB of `signed` statuses and published heads

struct remote_release {
    bool present; // false: nothing was ever published
    struct buf raw;
    struct bytes envelope, roster; // borrowed from raw
    size_t ticket_count;
    struct bytes *tickets;
};
MUST_CHECK bool remote_get_release(
    struct remote *remote, struct remote_release *release, struct err *e);
// The release that was the newest before the one with that head; not present: none is kept.
MUST_CHECK bool remote_get_earlier(struct remote *remote, const uint8_t head_hash[HASH_BYTES],
    struct remote_release *release, struct err *e);
void remote_release_clear(struct remote_release *release);

// missing[i] is set for those of `count` blobs that the broker does not hold whole.
MUST_CHECK bool remote_missing_blobs(
    struct remote *remote, const merkle_hash *hashes, size_t count, bool *missing, struct err *e);
// In chunks; goes on where an interrupted upload stopped.
MUST_CHECK bool remote_put_blob(
    struct remote *remote, const uint8_t hash[HASH_BYTES], struct bytes blob, struct err *e);
// base: hash of the head that this release replaces, zeros if none. STALE if another one came in
// between; the broker's own code and sentence if it refused.
MUST_CHECK bool remote_publish(struct remote *remote, const uint8_t base[HASH_BYTES],
    struct bytes envelope, struct bytes roster, const struct bytes *tickets, size_t ticket_count,
    struct err *e);

struct remote_status {
    uint8_t node_id[HASH_BYTES];
    uint64_t received_s;
    struct bytes signed_message; // borrowed from a page
};
struct remote_statuses {
    size_t count;
    struct remote_status *list;
    size_t page_count;
    struct buf *pages;
};
// The newest status of every node (all pages).
MUST_CHECK bool remote_get_statuses(
    struct remote *remote, struct remote_statuses *statuses, struct err *e);
// Up to `max` statuses of one node, newest first.
MUST_CHECK bool remote_get_history(struct remote *remote, const uint8_t node_id[HASH_BYTES],
    size_t max, struct remote_statuses *statuses, struct err *e);
void remote_statuses_clear(struct remote_statuses *statuses);
