#include "deliver.h"

#include "fs.h"
#include "log.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define PUT_MS 30000
#define RETRY_MIN_MS 500
#define RETRY_MAX_MS 120000
#define JITTER_PERCENT 20

struct deliver {
    struct link *link;
    struct spool *spool;
    struct loop_watch *retry;
    uint64_t retry_ms;
    bool asking;
    struct ack current; // the status under way
    struct acks acks;
};

static bool is_acked(const struct deliver *deliver, uint64_t seq)
{
    for (size_t i = 0; i < deliver->acks.count; i++) {
        if (deliver->acks.list[i].seq == seq) {
            return true;
        }
    }
    return false;
}

// Acknowledgements whose status bento-apply has removed are done with.
static void forget_done(struct deliver *deliver)
{
    size_t kept = 0;
    for (size_t i = 0; i < deliver->acks.count; i++) {
        char name[STATUS_NAME_BYTES];
        spool_status_name(deliver->acks.list[i].seq, name);
        if (fs_exists(deliver->spool->out, name)) {
            deliver->acks.list[kept++] = deliver->acks.list[i];
        }
    }
    deliver->acks.count = kept;
}

// Acknowledged, or refused for good. False if it could not be noted: then the status is sent again later,
// and stored once.
static bool note(struct deliver *deliver, bool refused)
{
    struct buf text CLEANUP(buf_clear) = {0};
    struct err e;
    forget_done(deliver);
    if (deliver->acks.count == ACKS_MAX) {
        log_warning("too many acknowledgements wait for bento-apply: is it running?");
        return false;
    }
    deliver->current.refused = refused;
    deliver->acks.list[deliver->acks.count++] = deliver->current;
    acks_encode(&deliver->acks, &text);
    if (!fs_replace(deliver->spool->in, "acked", buf_bytes(&text), 0600, &e)) {
        log_err("acknowledgement not written error=\"%s\"", e.text);
        deliver->acks.count--;
        return false;
    }
    return true;
}

static void try_later(struct deliver *deliver, const char *why)
{
    uint64_t wait_ms = jitter(deliver->retry_ms, JITTER_PERCENT);
    log_info("status not delivered yet seq=%" PRIu64 " next_ms=%" PRIu64 " reason=\"%s\"",
        deliver->current.seq, wait_ms, why);
    deliver->retry_ms = deliver->retry_ms * 2 > RETRY_MAX_MS ? RETRY_MAX_MS : deliver->retry_ms * 2;
    loop_timer_set(deliver->retry, wait_ms);
}

// OK seq, SHA-256(signed): exactly these bytes are on the collector's disk.
static bool is_acknowledgement(const struct deliver *deliver, struct wire_in *in)
{
    struct err e;
    uint8_t hash[HASH_BYTES];
    uint64_t seq = wire_u64(in, UINT64_MAX);
    wire_bin_copy(in, hash, HASH_BYTES);
    return wire_end(in, "acknowledgement", &e) && seq == deliver->current.seq &&
           memcmp(hash, deliver->current.hash, HASH_BYTES) == 0;
}

// Will these bytes never be stored, whoever asks?
static bool is_refusal(const struct deliver *deliver, enum code code, struct wire_in *in)
{
    struct err e;
    if (code == CODE_SEQ) {
        return wire_u64(in, UINT64_MAX) >= deliver->current.seq && wire_end(in, "SEQ", &e);
    }
    struct bytes name = wire_str(in, TEXT_BYTES_MAX);
    enum code why;
    return code == CODE_REFUSED && wire_end(in, "REFUSED", &e) &&
           code_parse((const char *)name.at, name.len, &why) &&
           (why == CODE_LENGTH || why == CODE_FORMAT || why == CODE_NAMESPACE ||
               why == CODE_SIGNER || why == CODE_FLEET);
}

static void go_on(struct deliver *deliver, bool refused)
{
    if (!note(deliver, refused)) {
        try_later(deliver, "what became of it could not be noted");
        return;
    }
    deliver->retry_ms = RETRY_MIN_MS;
    deliver_scan(deliver);
}

static void on_reply(void *context, bool ok, struct bytes reply, const struct err *failure)
{
    struct deliver *deliver = context;
    struct wire_in in;
    enum code code;
    size_t elements;
    struct err e;
    deliver->asking = false;
    if (!ok) {
        try_later(deliver, failure->text);
    } else if (!reply_open(reply, &in, &code, &elements, &e)) {
        try_later(deliver, e.text);
    } else if (code == CODE_OK && is_acknowledgement(deliver, &in)) {
        log_info("status delivered seq=%" PRIu64, deliver->current.seq);
        go_on(deliver, false);
    } else if (is_refusal(deliver, code, &in)) {
        log_err("status refused for good seq=%" PRIu64 " code=%s%s", deliver->current.seq,
            code_name(code), code == CODE_SEQ ? ": is this machine a clone?" : "");
        go_on(deliver, true);
    } else {
        try_later(deliver, code_name(code));
    }
}

// Reads the oldest status that is not acknowledged.
static bool next_status(struct deliver *deliver, struct buf *message)
{
    struct names names;
    struct err e;
    bool found = false;
    if (!fs_list(deliver->spool->out, &names, &e)) {
        log_err("outbox not readable error=\"%s\"", e.text);
        return false;
    }
    for (size_t i = 0; i < names.count && !found; i++) { // sorted: names are padded numbers
        uint64_t seq;
        if (!spool_status_parse(names.names[i], &seq) || is_acked(deliver, seq)) {
            continue;
        }
        found = fs_read(deliver->spool->out, names.names[i], STATUS_BYTES_MAX, message, &e);
        deliver->current.seq = seq;
    }
    names_clear(&names);
    return found;
}

void deliver_scan(struct deliver *deliver)
{
    struct buf message CLEANUP(buf_clear) = {0};
    struct buf request CLEANUP(buf_clear) = {0};
    if (deliver->asking || loop_timer_is_set(deliver->retry) || !next_status(deliver, &message)) {
        return;
    }
    sha256(buf_bytes(&message), deliver->current.hash);
    request_put_open(&request, OP_PUT_STATUS, 1);
    wire_put_bin(&request, buf_bytes(&message));
    deliver->asking = true;
    link_ask(deliver->link, buf_bytes(&request), PUT_MS, on_reply, deliver);
}

void deliver_now(struct deliver *deliver)
{
    deliver->retry_ms = RETRY_MIN_MS;
    loop_timer_stop(deliver->retry);
    deliver_scan(deliver);
}

static void on_retry(void *context)
{
    deliver_scan(context);
}

struct deliver *deliver_new(struct loop *loop, struct link *link, struct spool *spool)
{
    struct deliver *deliver = xcalloc(1, sizeof *deliver);
    *deliver = (struct deliver){.link = link, .spool = spool, .retry_ms = RETRY_MIN_MS};
    deliver->retry = loop_timer(loop, false, on_retry, deliver);
    struct buf text CLEANUP(buf_clear) = {0};
    struct err e;
    if (!fs_read(spool->in, "acked", ACKED_BYTES_MAX, &text, &e) ||
        !acks_decode(buf_bytes(&text), &deliver->acks, &e)) {
        deliver->acks.count = 0; // sent again, stored once
    }
    return deliver;
}

void deliver_free(struct deliver *deliver)
{
    if (deliver == NULL) {
        return;
    }
    loop_remove(deliver->retry);
    free(deliver);
}
