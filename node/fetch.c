#include "fetch.h"

#include "blobs.h"
#include "fs.h"
#include "log.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define HEAD_MS 30000
// The floor rate, 1 KiB/s over a minute: a chunk of ours takes that long there, and smaller ones are
// counted together.
#define CHUNK_MS (BLOB_CHUNK_BYTES * 1000 / FLOOR_BYTES_S)
#define FLOOR_BYTES_S 1024
#define RATE_WINDOW_MS 60000
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

struct named {
    uint64_t epoch, release;
    uint8_t head_hash[HASH_BYTES];
};

struct fetch {
    const struct config *config;
    struct link *link;
    struct spool *spool;
    struct blobs blobs;
    struct loop_watch *poll, *retry;
    uint64_t retry_ms;
    bool asking;      // a question is under way
    bool overtaken;   // since it was asked, a newer release was heard of
    bool head_wanted; // ask for the head next
    bool news;        // a tick that was followed came since it was asked for
    bool want_known;
    struct want want;
    struct pending pending;
    bool shown;           // the newest one was passed on once more since another one was
    struct named spooled; // the newest that went into the spool with its ticket, so that a refused
                          // one does not go there again
    uint8_t passed_on[HASH_BYTES];         // SHA-256 of the last envelope that was not authentic
    uint64_t tick_epoch, tick_release;     // named by the last tick that was followed
    struct named handled;                  // the last head that was asked for and known already
    uint64_t ticked_epoch, ticked_release; // named by the last tick at all
    uint64_t ticked_ms;                    // when it came, of a clock that runs on in a sleep
    struct want_blob blob;                 // the one being asked for
    struct begun {
        uint8_t hash[HASH_BYTES];
        uint64_t source;
    } begun;                          // which blob was begun from its first byte, over which link
    uint64_t asked_ms;                // when the last question was asked
    uint64_t window_ms, window_bytes; // what its answers took and brought
    uint64_t passed_ms;               // since when `passed` unauthentic heads went to bento-apply
    unsigned passed;
    size_t offered_count;
    struct buf
        *offered; // blobs of the last published message, until it is clear whether they are ours
};

static void advance(struct fetch *fetch);

// A corrupt one may have cost bento-apply its release: then that has to come again too.
static bool is_missing(struct fetch *fetch, const uint8_t *hash)
{
    enum blob_state state = blobs_look(&fetch->blobs, hash);
    if (state == BLOB_CORRUPT) {
        fetch->spooled = (struct named){0};
        fetch->head_wanted = true;
    }
    return state != BLOB_SOUND;
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
    uint64_t wait_ms = jitter(fetch->news ? RETRY_MIN_MS : fetch->retry_ms, JITTER_PERCENT);
    log_info("fetch interrupted, next try in_ms=%" PRIu64 " reason=\"%s\"", wait_ms, e->text);
    fetch->retry_ms = fetch->retry_ms * 2 > RETRY_MAX_MS ? RETRY_MAX_MS : fetch->retry_ms * 2;
    loop_timer_set(fetch->retry, wait_ms);
}

// What this endpoint sends is of no use.
static void give_up_endpoint(struct fetch *fetch, const struct err *why)
{
    link_blame(fetch->link, why);
    try_later(fetch, why);
}

static void ask(struct fetch *fetch, struct buf *request, int timeout_ms, link_answer_fn *answered)
{
    fetch->asking = true;
    fetch->overtaken = false;
    fetch->asked_ms = clock_monotonic_ms();
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
    if (ok) {
        give_up_endpoint(fetch, &e);
    } else {
        try_later(fetch, failure);
    }
    return false;
}

// --- into the spool ---

static bool holds(int in, const char *name, const char *file, struct bytes content)
{
    struct buf found CLEANUP(buf_clear) = {0};
    struct err e;
    CLEANUP_FD dir = -1;
    return fs_open_dir(in, name, &dir, &e) && fs_read(dir, file, PROVEN_BYTES_MAX, &found, &e) &&
           bytes_equal(buf_bytes(&found), content);
}

// `hash` names the folder. BUSY: bento-apply has not looked yet at one with another ticket.
static bool write_release(struct fetch *fetch, const struct pending *pending,
    const uint8_t hash[HASH_BYTES], struct err *e)
{
    char name[RELEASE_NAME_BYTES];
    int in = fetch->spool->in;
    CLEANUP_FD dir = -1;
    struct bytes proven = buf_bytes(&pending->proven);
    const char *second = pending->asked == TICKET_NONE ? "noticket" : "proven";
    spool_release_name(pending->head.epoch, pending->head.release, hash, name);
    if (fs_exists(in, name)) {
        return holds(in, name, second, proven) ||
               err_set(e, CODE_BUSY, "release %s waits in the spool with another ticket", name);
    }
    fetch->shown = false;
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
    uint8_t hash[HASH_BYTES]; // of the envelope: its head may be a genuine one
    uint64_t now_ms = clock_monotonic_ms();
    sha256(buf_bytes(&forged->envelope), hash);
    if (memcmp(hash, fetch->passed_on, HASH_BYTES) == 0) {
        return;
    }
    if (fetch->passed_ms == 0 || now_ms - fetch->passed_ms > 60000) {
        fetch->passed_ms = now_ms;
        fetch->passed = 0;
    }
    if (fetch->passed == PASSED_MAX) {
        return;
    }
    fetch->passed++;
    if (!write_release(fetch, forged, hash, &e)) {
        log_err("release not spooled error=\"%s\"", e.text);
        return;
    }
    memcpy(fetch->passed_on, hash, HASH_BYTES);
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

// The newest head once more, since bento-apply may have been shown others meanwhile and have refused
// them: what it follows is what there is.
static void show_again(struct fetch *fetch, const struct pending *known)
{
    struct err e;
    bool newest = memcmp(known->head_hash, fetch->want.seen, HASH_BYTES) == 0 &&
                  release_compare(known->head.epoch, known->head.release, fetch->spooled.epoch,
                      fetch->spooled.release) >= 0; // bento-apply may have yet to say what it saw
    if (fetch->shown || !newest || !is_authentic(fetch, buf_bytes(&known->envelope))) {
        return;
    }
    if (write_release(fetch, known, known->head_hash, &e)) {
        fetch->shown = true;
    } else if (e.code != CODE_BUSY) { // it is still there from when it came
        log_err("release not spooled error=\"%s\"", e.text);
    }
}

// A release that we have heard of: worth fetching if it is authentic, bento-apply has not seen it
// and nothing newer is pending. A published one that is older than what we have may merely have been
// long under way: whether the broker went back is what it says when it is asked. True if it is one that
// bento-apply has, or will find in the spool (`handled`).
static bool hear(struct fetch *fetch, struct bytes envelope_bytes, bool published)
{
    struct envelope envelope;
    struct err e;
    struct pending heard = {.any = true};
    const struct pending *pending = &fetch->pending;
    if (!envelope_decode(envelope_bytes, &envelope, &e) ||
        !head_decode(envelope.head, &heard.head, &e)) {
        log_warning("head not understood error=\"%s\"", e.text);
        return false;
    }
    sha256(envelope.head, heard.head_hash);
    buf_append(&heard.envelope, envelope_bytes.at, envelope_bytes.len);
    if (memcmp(heard.head_hash, fetch->want.seen, HASH_BYTES) == 0 ||
        memcmp(heard.head_hash, fetch->spooled.head_hash, HASH_BYTES) == 0) {
        fetch->handled = (struct named){.epoch = heard.head.epoch, .release = heard.head.release};
        memcpy(fetch->handled.head_hash, heard.head_hash, HASH_BYTES);
        if (!published) {
            show_again(fetch, &heard);
        }
        pending_clear(&heard);
        return true;
    }
    // A second one under the number of the first: what the broker has, when asked, is the one to fetch.
    int order = pending->any ? release_compare(heard.head.epoch, heard.head.release,
                                   pending->head.epoch, pending->head.release)
                             : 1;
    bool same = memcmp(heard.head_hash, pending->head_hash, HASH_BYTES) == 0;
    bool older = order < 0 || (order == 0 && (published || same));
    bool late = published && release_compare(heard.head.epoch, heard.head.release,
                                 fetch->spooled.epoch, fetch->spooled.release) < 0;
    if (!is_authentic(fetch, envelope_bytes)) {
        heard.asked = TICKET_NONE;
        pass_on(fetch, &heard);
        pending_clear(&heard);
    } else if (older || late) {
        fetch->head_wanted = fetch->head_wanted || late;
        pending_clear(&heard);
    } else {
        log_info("release heard of epoch=%" PRIu64 " release=%" PRIu64, heard.head.epoch,
            heard.head.release);
        pending_clear(&fetch->pending);
        fetch->pending = heard;
        fetch->overtaken = true;
    }
    return false;
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
    if (fetch->overtaken) { // it may be older than what was published meanwhile: no rollback, that
        fetch->head_wanted = true;
    } else if (code == CODE_OK && elements == 1) {
        (void)hear(fetch, wire_bin(&in, 1, ENVELOPE_BYTES_MAX), false);
    }
    advance(fetch);
}

static void ask_head(struct fetch *fetch)
{
    struct buf request = {0};
    fetch->head_wanted = fetch->news = false;
    request_put_open(&request, OP_GET_HEAD, 0);
    ask(fetch, &request, HEAD_MS, on_head);
}

// --- this node's ticket ---

// The halves of releases that were overtaken must not pile up.
static void forget_overtaken(struct fetch *fetch)
{
    struct want_blob needed[WANT_BLOBS_MAX + 1];
    memcpy(needed, fetch->want.blobs, sizeof fetch->want.blobs);
    needed[fetch->want.blob_count].len = fetch->pending.ticket.ct_len;
    memcpy(needed[fetch->want.blob_count].hash, fetch->pending.ticket.ct_hash, HASH_BYTES);
    blobs_forget(&fetch->blobs, needed, fetch->want.blob_count + 1, true);
}

static void have_ticket(struct fetch *fetch, struct bytes message)
{
    struct pending *pending = &fetch->pending;
    struct proven proven;
    struct err e;
    if (!proven_decode(message, &proven, &e) ||
        !ticket_decode(proven.ticket, &pending->ticket, &e)) {
        give_up_endpoint(fetch, &e);
        return;
    }
    forget_overtaken(fetch);
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
    if (fetch->overtaken) { // it would be taken for the ticket of the newer one
        advance(fetch);
        return;
    }
    if (code == CODE_OK && elements == 1) {
        have_ticket(fetch, wire_bin(&in, 1, PROVEN_BYTES_MAX));
    } else if (code == CODE_STALE && elements == 1) {
        uint64_t epoch = fetch->pending.head.epoch, release = fetch->pending.head.release;
        bool known = hear(fetch, wire_bin(&in, 1, ENVELOPE_BYTES_MAX), false);
        if (known &&
            release_compare(fetch->handled.epoch, fetch->handled.release, epoch, release) > 0) {
            pending_clear(&fetch->pending); // somebody showed an older one since
        } else if (release_compare(fetch->pending.head.epoch, fetch->pending.head.release, epoch,
                       release) == 0) {
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

// True if all pieces came over the link as it is now: then nobody else is to blame for the whole.
static bool is_from_one_source(const struct fetch *fetch)
{
    return memcmp(fetch->begun.hash, fetch->blob.hash, HASH_BYTES) == 0 &&
           fetch->begun.source == link_source(fetch->link);
}

static bool take_chunk(struct fetch *fetch, uint64_t offset, struct bytes chunk, struct err *e)
{
    bool done;
    if (offset == 0) {
        memcpy(fetch->begun.hash, fetch->blob.hash, HASH_BYTES);
        fetch->begun.source = link_source(fetch->link);
    }
    if (!blobs_add(&fetch->blobs, &fetch->blob, offset, chunk, &done, e)) {
        return false;
    }
    fetch->retry_ms = RETRY_MIN_MS;
    return true;
}

// Slow is slow only over a while: false then, and the next while begins.
static bool is_fast_enough(struct fetch *fetch, size_t bytes, struct err *e)
{
    fetch->window_ms += clock_monotonic_ms() - fetch->asked_ms;
    fetch->window_bytes += bytes;
    if (fetch->window_ms < RATE_WINDOW_MS) {
        return true;
    }
    uint64_t rate = fetch->window_bytes * 1000 / fetch->window_ms;
    fetch->window_ms = fetch->window_bytes = 0;
    return rate >= FLOOR_BYTES_S ||
           err_set(e, CODE_SLOW, "%" PRIu64 " bytes a second are below the floor of %d", rate,
               FLOOR_BYTES_S);
}

// With another way there, what the slow one sent is not built upon. With none, every byte is welcome.
static void too_slow(struct fetch *fetch, const struct err *why)
{
    if (fetch->config->endpoint_count > 1) {
        blobs_drop(&fetch->blobs, &fetch->blob);
    }
    give_up_endpoint(fetch, why);
}

static void blob_came(struct fetch *fetch, uint64_t total, struct bytes chunk)
{
    struct err e;
    uint64_t offset = blobs_offset(&fetch->blobs, &fetch->blob);
    if (total != fetch->blob.len) {
        err_set(&e, CODE_LENGTH, "a blob has %" PRIu64 " bytes there, %" PRIu64 " are signed",
            total, fetch->blob.len);
        give_up_endpoint(fetch, &e);
    } else if (take_chunk(fetch, offset, chunk, &e)) {
        if (is_fast_enough(fetch, chunk.len, &e)) {
            advance(fetch);
        } else {
            too_slow(fetch, &e);
        }
    } else if (e.code == CODE_LENGTH || (e.code == CODE_HASH && is_from_one_source(fetch))) {
        give_up_endpoint(fetch, &e);
    } else {
        try_later(fetch, &e); // our disk; or pieces of several brokers, all of which come again
    }
}

static void on_blob(void *context, bool ok, struct bytes reply, const struct err *failure)
{
    struct fetch *fetch = context;
    struct wire_in in;
    enum code code;
    size_t elements;
    struct err e;
    if (!ok && failure->code == CODE_TIMEOUT) {
        fetch->asking = false;
        err_set(&e, CODE_SLOW, "no chunk of a blob within %u ms", CHUNK_MS);
        too_slow(fetch, &e);
        return;
    }
    if (!open_reply(fetch, ok, reply, failure, &in, &code, &elements)) {
        return;
    }
    if (code == CODE_OK && elements == 2) {
        uint64_t total = wire_u64(&in, BLOB_BYTES_MAX);
        struct bytes chunk = wire_bin(&in, 1, CHUNK_BYTES_MAX);
        if (wire_end(&in, "blob", &e)) {
            blob_came(fetch, total, chunk);
        } else {
            give_up_endpoint(fetch, &e);
        }
        return;
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
        struct err e;
        if (memcmp(hash, blob->hash, HASH_BYTES) == 0) {
            return take_chunk(fetch, 0, buf_bytes(&fetch->offered[i]), &e);
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

// What bento-apply makes of a head without its ticket is the broker's doing: that is not the end of it.
static bool has_its_ticket(const struct fetch *fetch)
{
    const struct pending *pending = &fetch->pending;
    struct ticket ticket;
    struct err e;
    return pending->asked == TICKET_KNOWN && proven_verify(buf_bytes(&pending->proven),
                                                 &pending->head, fetch->want.node_id, &ticket, &e);
}

static void spool_release(struct fetch *fetch)
{
    struct err e;
    if (!write_release(fetch, &fetch->pending, fetch->pending.head_hash, &e)) {
        if (e.code != CODE_BUSY) { // that one goes away by itself
            log_err("release not spooled error=\"%s\"", e.text);
        }
        try_later(fetch, &e);
        return;
    }
    log_info("release spooled epoch=%" PRIu64 " release=%" PRIu64, fetch->pending.head.epoch,
        fetch->pending.head.release);
    if (has_its_ticket(fetch)) {
        const struct head *head = &fetch->pending.head;
        fetch->spooled = (struct named){.epoch = head->epoch, .release = head->release};
        memcpy(fetch->spooled.head_hash, fetch->pending.head_hash, HASH_BYTES);
    }
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
        blobs_forget(&fetch->blobs, fetch->want.blobs, fetch->want.blob_count, false);
    }
}

// --- from outside ---

// As long as ticks name what we have, asking would bring the same word from the same mouth.
static bool ticks_say_enough(const struct fetch *fetch)
{
    uint64_t fresh_ms = fetch->config->tick_s * 2500;
    const struct named *handled = &fetch->handled;
    // bento-apply may have gone on since.
    bool is_ours = memcmp(handled->head_hash, fetch->want.seen, HASH_BYTES) == 0 ||
                   memcmp(handled->head_hash, fetch->spooled.head_hash, HASH_BYTES) == 0;
    return fetch->shown && !fetch->pending.any && is_ours &&
           clock_boottime_ms() - fetch->ticked_ms < fresh_ms &&
           release_compare(
               fetch->ticked_epoch, fetch->ticked_release, handled->epoch, handled->release) == 0;
}

static void on_poll(void *context)
{
    struct fetch *fetch = context;
    fetch->head_wanted |= !ticks_say_enough(fetch);
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
    fetch->ticked_epoch = epoch;
    fetch->ticked_release = release;
    fetch->ticked_ms = clock_boottime_ms();
    if (pending->any &&
        release_compare(epoch, release, pending->head.epoch, pending->head.release) <= 0) {
        return;
    }
    if (epoch == fetch->tick_epoch && release == fetch->tick_release) {
        return; // asked for already; the poll covers a hint that came to nothing
    }
    fetch->tick_epoch = epoch;
    fetch->tick_release = release;
    fetch->head_wanted = fetch->news = true;
    if (loop_timer_is_set(fetch->retry)) { // soon, but a liar's ticks do not take the back-off away
        loop_timer_set(fetch->retry, jitter(RETRY_MIN_MS, JITTER_PERCENT));
    }
    advance(fetch);
}

void fetch_published(struct fetch *fetch, const struct published *published)
{
    (void)hear(fetch, published->envelope, true);
    struct pending *pending = &fetch->pending;
    if (!pending->any || !bytes_equal(buf_bytes(&pending->envelope), published->envelope)) {
        advance(fetch);
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
