#include "fetch.h"

#include "blobs.h"
#include "fs.h"
#include "log.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define HEAD_MS 30000
#define CHUNK_MS 262144 // a chunk at the floor rate of 1 KiB/s
#define RETRY_MIN_MS 1000
#define RETRY_MAX_MS 300000
#define JITTER_PERCENT 20
#define PASSED_MAX 10 // heads that are not authentic, a minute

// The newest release heard of that is not in the spool yet.
struct pending {
    bool any;
    struct buf envelope, proven;
    struct head head;
    uint8_t head_hash[HASH_BYTES];
    enum { TICKET_UNKNOWN, TICKET_KNOWN, TICKET_NONE } asked;
    struct ticket ticket; // TICKET_KNOWN
};

struct fetch {
    const struct config *config;
    struct link *link;
    struct spool *spool;
    struct blobs blobs;
    struct loop_watch *poll, *retry;
    uint64_t retry_ms;
    bool asking;      // a question is under way
    bool head_wanted; // ask for the head next
    bool want_known;
    struct want want;
    struct pending pending;
    uint8_t spooled[HASH_BYTES]; // the newest that went into the spool, so that a refused one does
                                 // not go there again
    uint64_t tick_epoch, tick_release; // named by the last tick that was followed
    struct want_blob blob;             // the one being asked for
    uint64_t passed_ms;                // since when `passed` unauthentic heads went to bento-apply
    unsigned passed;
    size_t offered_count;
    struct buf
        *offered; // blobs of the last published message, until it is clear whether they are ours
};

static void advance(struct fetch *fetch);

static bool is_missing(const struct fetch *fetch, const uint8_t *hash)
{
    return !blobs_have(&fetch->blobs, hash);
}

static void pending_clear(struct pending *pending)
{
    buf_clear(&pending->envelope);
    buf_clear(&pending->proven);
    *pending = (struct pending){0};
}

static void offered_clear(struct fetch *fetch)
{
    for (size_t i = 0; i < fetch->offered_count; i++) {
        buf_clear(&fetch->offered[i]);
    }
    free(fetch->offered);
    fetch->offered = NULL;
    fetch->offered_count = 0;
}

static void try_later(struct fetch *fetch, const struct err *e)
{
    uint64_t wait_ms = jitter(fetch->retry_ms, JITTER_PERCENT);
    log_info("fetch interrupted, next try in_ms=%" PRIu64 " reason=\"%s\"", wait_ms, e->text);
    fetch->retry_ms = fetch->retry_ms * 2 > RETRY_MAX_MS ? RETRY_MAX_MS : fetch->retry_ms * 2;
    loop_timer_set(fetch->retry, wait_ms);
}

static void ask(struct fetch *fetch, struct buf *request, int timeout_ms, link_answer_fn *answered)
{
    fetch->asking = true;
    link_ask(fetch->link, buf_bytes(request), timeout_ms, answered, fetch);
    buf_clear(request);
}

// A reply's code and body; false after a failure or a reply that makes no sense (then tried again
// later).
static bool open_reply(struct fetch *fetch, bool ok, struct bytes reply, const struct err *failure,
    struct wire_in *in, enum code *code, size_t *elements)
{
    struct err e;
    fetch->asking = false;
    if (ok && reply_open(reply, in, code, elements, &e)) {
        return true; // an answer alone is no progress: the back-off ends with what it brings
    }
    try_later(fetch, ok ? &e : failure);
    return false;
}

// --- into the spool ---

static bool write_release(const struct fetch *fetch, const struct pending *pending, struct err *e)
{
    char name[RELEASE_NAME_BYTES];
    int in = fetch->spool->in;
    CLEANUP_FD dir = -1;
    spool_release_name(pending->head.epoch, pending->head.release, pending->head_hash, name);
    if (fs_exists(in, name)) {
        return true;
    }
    struct bytes proven = buf_bytes(&pending->proven);
    const char *second = pending->asked == TICKET_NONE ? "noticket" : "proven";
    return fs_remove_tree(in, "new", e) && fs_make_dir(in, "new", 0700, false, e) &&
           fs_open_dir(in, "new", &dir, e) &&
           fs_write(dir, "envelope", buf_bytes(&pending->envelope), 0600, e) &&
           fs_write(dir, second, proven, 0600, e) && fs_rename(in, "new", in, name, e);
}

// A head that is not authentic goes to bento-apply alone, which refuses it in a signed status. No
// more is fetched for it, and it takes nobody's place; and only so many a minute, since it costs
// its forger nothing to make others.
static void pass_on(struct fetch *fetch, const struct pending *forged)
{
    struct err e;
    uint64_t now_ms = clock_monotonic_ms();
    if (fetch->passed_ms == 0 || now_ms - fetch->passed_ms > 60000) {
        fetch->passed_ms = now_ms;
        fetch->passed = 0;
    }
    if (fetch->passed == PASSED_MAX) {
        return;
    }
    fetch->passed++;
    if (!write_release(fetch, forged, &e)) {
        log_err("release not spooled error=\"%s\"", e.text);
        return;
    }
    memcpy(fetch->spooled, forged->head_hash, HASH_BYTES);
}

// --- heads ---

// Only authentic heads are followed: an unsigned number must not stand in the way of a signed one.
static bool is_authentic(const struct fetch *fetch, struct bytes envelope)
{
    static struct log_limit limit = {.burst = 5, .seconds = 60};
    struct head head;
    uint8_t hash[HASH_BYTES];
    struct err e;
    bool authentic = trust_verify(&fetch->config->trust, envelope, &head, hash, &e);
    if (!authentic && log_allowed(&limit, "heads that are not authentic")) {
        log_warning("head is not authentic code=%s reason=\"%s\"", code_name(e.code), e.text);
    }
    return authentic;
}

// A release that we have heard of: worth fetching if it is authentic, bento-apply has not seen it
// and nothing newer is pending.
static void hear(struct fetch *fetch, struct bytes envelope_bytes)
{
    struct envelope envelope;
    struct err e;
    struct pending heard = {.any = true};
    const struct pending *pending = &fetch->pending;
    if (!envelope_decode(envelope_bytes, &envelope, &e) ||
        !head_decode(envelope.head, &heard.head, &e)) {
        log_warning("head not understood error=\"%s\"", e.text);
        return;
    }
    sha256(envelope.head, heard.head_hash);
    if (memcmp(heard.head_hash, fetch->want.seen, HASH_BYTES) == 0 ||
        memcmp(heard.head_hash, fetch->spooled, HASH_BYTES) == 0) {
        return;
    }
    bool older = pending->any && release_compare(heard.head.epoch, heard.head.release,
                                     pending->head.epoch, pending->head.release) <= 0;
    buf_append(&heard.envelope, envelope_bytes.at, envelope_bytes.len);
    if (!is_authentic(fetch, envelope_bytes)) {
        heard.asked = TICKET_NONE;
        pass_on(fetch, &heard);
        pending_clear(&heard);
    } else if (older) {
        pending_clear(&heard);
    } else {
        log_info("release heard of epoch=%" PRIu64 " release=%" PRIu64, heard.head.epoch,
            heard.head.release);
        pending_clear(&fetch->pending);
        fetch->pending = heard;
    }
}

static void on_head(void *context, bool ok, struct bytes reply, const struct err *failure)
{
    struct fetch *fetch = context;
    struct wire_in in;
    enum code code;
    size_t elements;
    if (!open_reply(fetch, ok, reply, failure, &in, &code, &elements)) {
        fetch->head_wanted = true;
        return;
    }
    if (code == CODE_OK && elements == 1) {
        hear(fetch, wire_bin(&in, 1, ENVELOPE_BYTES_MAX));
    }
    advance(fetch);
}

static void ask_head(struct fetch *fetch)
{
    struct buf request = {0};
    fetch->head_wanted = false;
    request_put_open(&request, OP_GET_HEAD, 0);
    ask(fetch, &request, HEAD_MS, on_head);
}

// --- this node's ticket ---

static void have_ticket(struct fetch *fetch, struct bytes message)
{
    struct pending *pending = &fetch->pending;
    struct proven proven;
    struct err e;
    if (!proven_decode(message, &proven, &e) ||
        !ticket_decode(proven.ticket, &pending->ticket, &e)) {
        try_later(fetch, &e);
        return;
    }
    buf_clear(&pending->proven);
    buf_append(&pending->proven, message.at, message.len);
    pending->asked = TICKET_KNOWN;
}

static void on_ticket(void *context, bool ok, struct bytes reply, const struct err *failure)
{
    struct fetch *fetch = context;
    struct wire_in in;
    enum code code;
    size_t elements;
    if (!open_reply(fetch, ok, reply, failure, &in, &code, &elements)) {
        return;
    }
    if (code == CODE_OK && elements == 1) {
        have_ticket(fetch, wire_bin(&in, 1, PROVEN_BYTES_MAX));
    } else if (code == CODE_STALE && elements == 1) {
        uint8_t before[HASH_BYTES];
        memcpy(before, fetch->pending.head_hash, HASH_BYTES);
        hear(fetch, wire_bin(&in, 1, ENVELOPE_BYTES_MAX));
        if (memcmp(before, fetch->pending.head_hash, HASH_BYTES) == 0) {
            struct err e; // stale, and yet nothing newer: asking again at once would never end
            err_set(&e, code, "the broker named no newer release");
            try_later(fetch, &e);
            return;
        }
    } else if (code == CODE_NONE) {
        fetch->pending.asked = TICKET_NONE;
    } else {
        struct err e;
        err_set(&e, code, "the broker answered %s", code_name(code));
        try_later(fetch, &e);
        return;
    }
    advance(fetch);
}

static void ask_ticket(struct fetch *fetch)
{
    struct buf request = {0};
    request_put_open(&request, OP_GET_TICKET, 2);
    wire_put_hash(&request, fetch->pending.head_hash);
    wire_put_hash(&request, fetch->want.node_id);
    ask(fetch, &request, HEAD_MS, on_ticket);
}

// --- blobs ---

static bool take_chunk(struct fetch *fetch, uint64_t offset, struct bytes chunk)
{
    bool done;
    struct err e;
    if (!blobs_add(&fetch->blobs, &fetch->blob, offset, chunk, &done, &e)) {
        log_warning("blob not taken code=%s error=\"%s\"", code_name(e.code), e.text);
        try_later(fetch, &e);
        return false;
    }
    fetch->retry_ms = RETRY_MIN_MS;
    return true;
}

static void on_blob(void *context, bool ok, struct bytes reply, const struct err *failure)
{
    struct fetch *fetch = context;
    struct wire_in in;
    enum code code;
    size_t elements;
    struct err e;
    if (!open_reply(fetch, ok, reply, failure, &in, &code, &elements)) {
        return;
    }
    if (code == CODE_OK && elements == 2) {
        uint64_t total = wire_u64(&in, BLOB_BYTES_MAX);
        struct bytes chunk = wire_bin(&in, 1, CHUNK_BYTES_MAX);
        if (wire_end(&in, "blob", &e) && total == fetch->blob.len) {
            if (take_chunk(fetch, blobs_offset(&fetch->blobs, &fetch->blob), chunk)) {
                advance(fetch);
            }
            return;
        }
    }
    if (code == CODE_NONE) { // a newer release has taken its place
        pending_clear(&fetch->pending);
        fetch->head_wanted = true;
    }
    err_set(&e, code, "a blob was answered with %s", code_name(code));
    try_later(fetch, &e);
}

static bool take_offered(struct fetch *fetch, const struct want_blob *blob)
{
    uint8_t hash[HASH_BYTES];
    for (size_t i = 0; i < fetch->offered_count; i++) {
        sha256(buf_bytes(&fetch->offered[i]), hash);
        if (memcmp(hash, blob->hash, HASH_BYTES) == 0) {
            return take_chunk(fetch, 0, buf_bytes(&fetch->offered[i]));
        }
    }
    return false;
}

static void get_blob(struct fetch *fetch, const struct want_blob *blob)
{
    fetch->blob = *blob;
    if (take_offered(fetch, blob)) {
        advance(fetch);
        return;
    }
    struct buf request = {0};
    request_put_open(&request, OP_GET_BLOB, 2);
    wire_put_hash(&request, blob->hash);
    wire_put_u64(&request, blobs_offset(&fetch->blobs, blob));
    ask(fetch, &request, CHUNK_MS, on_blob);
}

// --- one step after the other ---

static void spool_release(struct fetch *fetch)
{
    struct err e;
    if (!write_release(fetch, &fetch->pending, &e)) {
        log_err("release not spooled error=\"%s\"", e.text);
        try_later(fetch, &e);
        return;
    }
    log_info("release spooled epoch=%" PRIu64 " release=%" PRIu64, fetch->pending.head.epoch,
        fetch->pending.head.release);
    memcpy(fetch->spooled, fetch->pending.head_hash, HASH_BYTES);
    pending_clear(&fetch->pending);
    advance(fetch);
}

static bool spool_is_empty(const struct fetch *fetch)
{
    struct names names;
    struct err e;
    uint64_t epoch, release;
    bool empty = fs_list(fetch->spool->in, &names, &e);
    for (size_t i = 0; empty && i < names.count; i++) {
        empty = !spool_release_parse(names.names[i], &epoch, &release);
    }
    names_clear(&names);
    return empty;
}

// One step further on the way head → ticket → bundle → spool, then what bento-apply lacks.
static void advance(struct fetch *fetch)
{
    struct pending *pending = &fetch->pending;
    if (fetch->asking || !fetch->want_known || loop_timer_is_set(fetch->retry)) {
        return;
    }
    if (pending->any && memcmp(pending->head_hash, fetch->want.seen, HASH_BYTES) == 0) {
        pending_clear(pending);
    }
    if (fetch->head_wanted) { // first: the broker may have forgotten what an older one lacks
        ask_head(fetch);
        return;
    }
    if (pending->any && pending->asked == TICKET_UNKNOWN) {
        ask_ticket(fetch);
        return;
    }
    if (pending->any) {
        struct want_blob bundle = {.len = pending->ticket.ct_len};
        memcpy(bundle.hash, pending->ticket.ct_hash, HASH_BYTES);
        // One above its limit is for bento-apply to refuse.
        bool fetchable =
            pending->asked == TICKET_KNOWN && bundle.len > 0 && bundle.len <= BLOB_BYTES_MAX;
        if (fetchable && is_missing(fetch, bundle.hash)) {
            get_blob(fetch, &bundle);
        } else {
            spool_release(fetch);
        }
        return;
    }
    for (size_t i = 0; i < fetch->want.blob_count; i++) {
        if (is_missing(fetch, fetch->want.blobs[i].hash)) {
            get_blob(fetch, &fetch->want.blobs[i]);
            return;
        }
    }
    fetch->retry_ms = RETRY_MIN_MS; // nothing is left to ask for
    if (spool_is_empty(fetch)) {
        offered_clear(fetch);
        blobs_forget(&fetch->blobs, fetch->want.blobs, fetch->want.blob_count);
    }
}

// --- from outside ---

static void on_poll(void *context)
{
    struct fetch *fetch = context;
    fetch->head_wanted = true;
    loop_timer_set(fetch->poll, jitter(fetch->config->poll_s * 1000, JITTER_PERCENT));
    advance(fetch);
}

static void on_retry(void *context)
{
    advance(context);
}

void fetch_connected(struct fetch *fetch)
{
    fetch->head_wanted = true;
    fetch->retry_ms = RETRY_MIN_MS;
    loop_timer_stop(fetch->retry);
    advance(fetch);
}

void fetch_tick(struct fetch *fetch, uint64_t epoch, uint64_t release)
{
    const struct pending *pending = &fetch->pending;
    if (pending->any &&
        release_compare(epoch, release, pending->head.epoch, pending->head.release) <= 0) {
        return;
    }
    if (epoch == fetch->tick_epoch && release == fetch->tick_release) {
        return; // asked for already; the poll covers a hint that came to nothing
    }
    fetch->tick_epoch = epoch;
    fetch->tick_release = release;
    fetch->head_wanted = true;
    if (loop_timer_is_set(fetch->retry)) { // soon, but a liar's ticks do not take the back-off away
        loop_timer_set(fetch->retry, jitter(RETRY_MIN_MS, JITTER_PERCENT));
    }
    advance(fetch);
}

void fetch_published(struct fetch *fetch, const struct published *published)
{
    hear(fetch, published->envelope);
    struct pending *pending = &fetch->pending;
    if (!pending->any || !bytes_equal(buf_bytes(&pending->envelope), published->envelope)) {
        return;
    }
    for (size_t i = 0; i < published->proven_count && pending->asked == TICKET_UNKNOWN; i++) {
        struct proven proven;
        struct ticket ticket;
        struct err e;
        if (proven_decode(published->proven[i], &proven, &e) &&
            ticket_decode(proven.ticket, &ticket, &e) &&
            memcmp(ticket.node_id, fetch->want.node_id, HASH_BYTES) == 0) {
            have_ticket(fetch, published->proven[i]);
        }
    }
    if (pending->asked == TICKET_KNOWN) { // it changed, so its blobs travel with it
        offered_clear(fetch);
        fetch->offered = xcalloc(published->blob_count + 1, sizeof *fetch->offered);
        for (size_t i = 0; i < published->blob_count; i++) {
            buf_append(&fetch->offered[fetch->offered_count++], published->blobs[i].at,
                published->blobs[i].len);
        }
    }
    loop_timer_stop(fetch->retry);
    advance(fetch);
}

void fetch_want(struct fetch *fetch, const struct want *want)
{
    fetch->want = *want;
    fetch->want_known = true;
    advance(fetch);
}

struct fetch *fetch_new(struct loop *loop, const struct config *config, struct link *link,
    struct spool *spool, struct err *e)
{
    struct fetch *fetch = xcalloc(1, sizeof *fetch);
    *fetch = (struct fetch){.config = config,
        .link = link,
        .spool = spool,
        .retry_ms = RETRY_MIN_MS,
        .blobs.partial = -1};
    if (!blobs_open(&fetch->blobs, config, spool, e)) {
        free(fetch);
        return NULL;
    }
    fetch->poll = loop_timer(loop, false, on_poll, fetch);
    fetch->retry = loop_timer(loop, false, on_retry, fetch);
    loop_timer_set(fetch->poll, jitter(config->poll_s * 1000, JITTER_PERCENT));
    return fetch;
}

void fetch_free(struct fetch *fetch)
{
    if (fetch == NULL) {
        return;
    }
    loop_remove(fetch->poll);
    loop_remove(fetch->retry);
    blobs_close(&fetch->blobs);
    pending_clear(&fetch->pending);
    offered_clear(fetch);
    free(fetch);
}
