#include "inbox.h"

#include "loop.h"
#include "message.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

// One request under way.
struct call {
    struct inbox *inbox;
    enum who who;
    void *request;
    struct wire_in in; // at the first element of the body
    struct buf reply;
    bool later; // somebody else answers
};

// NONE is an answer like others; IO is ours to mend; the rest is somebody's mistake.
static void note(struct inbox *inbox, enum who who, const struct err *e)
{
    if (e->code == CODE_NONE)
        return;
    inbox->refused++;
    if (!log_allowed(&inbox->log_limit, "refused_requests"))
        return;
    log_line(e->code == CODE_IO ? LOG_LEVEL_ERR : LOG_LEVEL_WARNING,
        "request refused from=%s code=%s total=%" PRIu64 " reason=%s",
        who == WHO_ADMIN ? "admin" : "public", code_name(e->code), inbox->refused, e->text);
}

static void put_bytes(struct buf *reply, const struct buf *value)
{
    wire_put_bin(reply, buf_bytes(value));
}

static bool nothing_there(struct err *e)
{
    return err_set(e, CODE_NONE, "nothing was published yet");
}

// A handler reads the body to its end before it does anything. False: the reply is e's code, alone.

static bool get_head(struct call *call, struct err *e)
{
    const struct current *current = &call->inbox->publisher->current;
    if (!wire_end(&call->in, "GET_HEAD", e))
        return false;
    if (!current->present)
        return nothing_there(e);
    reply_put_open(&call->reply, CODE_OK, 1);
    wire_put_bin(&call->reply, current->envelope);
    return true;
}

static void put_stale(struct call *call)
{
    reply_put_open(&call->reply, CODE_STALE, 1);
    wire_put_bin(&call->reply, call->inbox->publisher->current.envelope);
}

static bool get_ticket(struct call *call, struct err *e)
{
    const struct current *current = &call->inbox->publisher->current;
    uint8_t head_hash[HASH_BYTES], node_id[HASH_BYTES];
    wire_bin_copy(&call->in, head_hash, HASH_BYTES);
    wire_bin_copy(&call->in, node_id, HASH_BYTES);
    if (!wire_end(&call->in, "GET_TICKET", e))
        return false;
    if (!current->present)
        return nothing_there(e);
    if (memcmp(head_hash, current->head_hash, HASH_BYTES) != 0) {
        put_stale(call);
        return true;
    }
    size_t index;
    if (!current_find(current, node_id, &index))
        return err_set(e, CODE_NONE, "this release has no ticket for that node");
    struct proven proven;
    CLEANUP(buf_clear) struct buf message = {0};
    current_proven(current, index, &proven);
    proven_encode(&proven, &message);
    reply_put_open(&call->reply, CODE_OK, 1);
    put_bytes(&call->reply, &message);
    return true;
}

static bool get_blob(struct call *call, struct err *e)
{
    uint8_t hash[HASH_BYTES];
    wire_bin_copy(&call->in, hash, HASH_BYTES);
    uint64_t offset = wire_u64(&call->in, UINT64_MAX), total;
    if (!wire_end(&call->in, "GET_BLOB", e))
        return false;
    CLEANUP(buf_clear) struct buf chunk = {0};
    if (!store_blob_read(call->inbox->store, hash, offset, BLOB_CHUNK_BYTES, &total, &chunk, e))
        return false;
    reply_put_open(&call->reply, CODE_OK, 2);
    wire_put_u64(&call->reply, total);
    put_bytes(&call->reply, &chunk);
    return true;
}

static bool put_status(struct call *call, struct err *e)
{
    struct bytes signed_message = wire_bin(&call->in, 0, STATUS_BYTES_MAX);
    if (!wire_end(&call->in, "PUT_STATUS", e))
        return false;
    call->later =
        collector_take(call->inbox->collector, signed_message, clock_unix_s(), call->request, e);
    if (!call->later) {
        err_wrap(e, "PUT_STATUS");
        note(call->inbox, call->who, e);
        reply_put_open(&call->reply, CODE_REFUSED, 1);
        wire_put_text(&call->reply, code_name(e->code));
    }
    return true;
}

static void put_release(struct buf *reply, const struct store_release *release)
{
    reply_put_open(reply, CODE_OK, 3);
    put_bytes(reply, &release->envelope);
    put_bytes(reply, &release->roster);
    // The stored form is the very array that the reply wants.
    buf_append(reply, release->tickets.at, release->tickets.len);
}

static bool get_release(struct call *call, struct err *e)
{
    const struct current *current = &call->inbox->publisher->current;
    if (!wire_end(&call->in, "GET_RELEASE", e))
        return false;
    if (!current->present)
        return nothing_there(e);
    put_release(&call->reply, &current->raw);
    return true;
}

static bool get_earlier(struct call *call, struct err *e)
{
    uint8_t head_hash[HASH_BYTES];
    wire_bin_copy(&call->in, head_hash, HASH_BYTES);
    if (!wire_end(&call->in, "GET_EARLIER", e))
        return false;
    CLEANUP(store_release_clear) struct store_release release = {0};
    if (!store_earlier(call->inbox->store, head_hash, &release, e))
        return false;
    put_release(&call->reply, &release);
    return true;
}

static bool missing_blobs(struct call *call, struct err *e)
{
    struct wire_in *in = &call->in;
    size_t count = wire_array(in, 0, 2 * TICKETS_MAX), missing = 0;
    wire_require(in, count <= in->rest.len, "hashes are missing");
    struct wire_in hashes = *in;
    for (size_t i = 0; i < count && !in->fault; i++)
        (void)wire_bin(in, HASH_BYTES, HASH_BYTES);
    if (!wire_end(in, "MISSING_BLOBS", e))
        return false;
    CLEANUP(buf_clear) struct buf list = {0};
    for (size_t i = 0; i < count; i++) {
        bool whole;
        struct bytes hash = wire_bin(&hashes, HASH_BYTES, HASH_BYTES);
        if (!store_blob_is_whole(call->inbox->store, hash.at, &whole, e))
            return false;
        if (!whole) {
            wire_put_bin(&list, hash);
            missing++;
        }
    }
    reply_put_open(&call->reply, CODE_OK, 1);
    wire_put_array(&call->reply, missing);
    buf_append(&call->reply, list.at, list.len);
    return true;
}

static bool put_blob(struct call *call, struct err *e)
{
    uint8_t hash[HASH_BYTES];
    wire_bin_copy(&call->in, hash, HASH_BYTES);
    uint64_t total = wire_u64(&call->in, UINT64_MAX), offset = wire_u64(&call->in, UINT64_MAX);
    struct bytes chunk = wire_bin(&call->in, 0, CHUNK_BYTES_MAX);
    uint64_t have;
    if (!wire_end(&call->in, "PUT_BLOB", e) ||
        !store_blob_put(call->inbox->store, hash, total, offset, chunk, clock_unix_s(), &have, e))
        return false;
    reply_put_open(&call->reply, CODE_OK, 1);
    wire_put_u64(&call->reply, have);
    return true;
}

// The tickets stay one piece of bytes, as they will be stored; returns it and skips it.
static struct bytes take_tickets(struct wire_in *in)
{
    struct bytes all = in->rest;
    size_t count = wire_array(in, 0, TICKETS_MAX);
    for (size_t i = 0; i < count && !in->fault; i++)
        (void)wire_bin(in, 0, PROVEN_BYTES_MAX);
    return bytes_of(all.at, all.len - in->rest.len);
}

static bool publish(struct call *call, struct err *e)
{
    uint8_t base[HASH_BYTES];
    struct publisher *publisher = call->inbox->publisher;
    struct publish_request request = {.base = base};
    wire_bin_copy(&call->in, base, HASH_BYTES);
    request.envelope = wire_bin(&call->in, 0, ENVELOPE_BYTES_MAX);
    request.roster = wire_bin(&call->in, 0, ROSTER_BYTES_MAX);
    request.tickets = take_tickets(&call->in);
    if (!wire_end(&call->in, "PUBLISH", e))
        return false;
    if (publish_release(publisher, &request, clock_unix_s(), e)) {
        reply_put_open(&call->reply, CODE_OK, 0);
        return true;
    }
    log_warning("release refused code=%s reason=%s", code_name(e->code), e->text);
    if (e->code == CODE_STALE && publisher->current.present) {
        put_stale(call);
        return true;
    }
    struct bytes text = bytes_of_text(e->text);
    reply_put_open(&call->reply, CODE_REFUSED, 2);
    wire_put_text(&call->reply, code_name(e->code));
    wire_put_text(&call->reply, wire_text_is_clean(text) ? e->text : code_when(e->code));
    return true;
}

struct page {
    struct buf entries;
    size_t count;
    bool with_node_id;
};

static bool add_to_page(void *context, const uint8_t node_id[HASH_BYTES], uint64_t received_s,
    struct bytes signed_message)
{
    struct page *page = context;
    // STATUS_BYTES_MAX is far below a page, so the first one always fits.
    if (page->entries.len + signed_message.len > PAGE_BYTES_MAX - 256)
        return false;
    wire_put_array(&page->entries, page->with_node_id ? 3 : 2);
    if (page->with_node_id)
        wire_put_hash(&page->entries, node_id);
    wire_put_u64(&page->entries, received_s);
    wire_put_bin(&page->entries, signed_message);
    page->count++;
    return true;
}

static void put_page(struct buf *reply, const struct page *page, bool more)
{
    reply_put_open(reply, CODE_OK, 2);
    wire_put_bool(reply, more);
    wire_put_array(reply, page->count);
    buf_append(reply, page->entries.at, page->entries.len);
}

static bool get_statuses(struct call *call, struct err *e)
{
    uint8_t after[HASH_BYTES];
    wire_bin_copy(&call->in, after, HASH_BYTES);
    if (!wire_end(&call->in, "GET_STATUSES", e))
        return false;
    bool more;
    struct page page = {.with_node_id = true};
    bool ok = store_newest_statuses(call->inbox->store, after, add_to_page, &page, &more, e);
    if (ok)
        put_page(&call->reply, &page, more);
    buf_clear(&page.entries);
    return ok;
}

static bool get_history(struct call *call, struct err *e)
{
    uint8_t node_id[HASH_BYTES];
    wire_bin_copy(&call->in, node_id, HASH_BYTES);
    uint64_t before = wire_u64(&call->in, UINT64_MAX);
    if (!wire_end(&call->in, "GET_HISTORY", e))
        return false;
    bool more;
    struct page page = {0};
    bool ok = store_history(call->inbox->store, node_id, before, add_to_page, &page, &more, e);
    if (ok)
        put_page(&call->reply, &page, more);
    buf_clear(&page.entries);
    return ok;
}

// The opening of a request and the headers of its elements; generous.
#define FRAME_BYTES 128u

static const struct operation {
    enum op op;
    enum who who; // the least who may
    size_t elements;
    size_t bytes_max;
    bool (*handle)(struct call *call, struct err *e);
} operations[] = {
    {OP_GET_HEAD, WHO_PUBLIC, 0, FRAME_BYTES, get_head},
    {OP_GET_TICKET, WHO_PUBLIC, 2, FRAME_BYTES, get_ticket},
    {OP_GET_BLOB, WHO_PUBLIC, 2, FRAME_BYTES, get_blob},
    {OP_PUT_STATUS, WHO_PUBLIC, 1, FRAME_BYTES + STATUS_BYTES_MAX, put_status},
    {OP_GET_RELEASE, WHO_ADMIN, 0, FRAME_BYTES, get_release},
    {OP_MISSING_BLOBS, WHO_ADMIN, 1, ADMIN_RECEIVE_BYTES_MAX, missing_blobs},
    {OP_PUT_BLOB, WHO_ADMIN, 4, FRAME_BYTES + CHUNK_BYTES_MAX, put_blob},
    {OP_PUBLISH, WHO_ADMIN, 4, ADMIN_RECEIVE_BYTES_MAX, publish},
    {OP_GET_STATUSES, WHO_ADMIN, 1, FRAME_BYTES, get_statuses},
    {OP_GET_HISTORY, WHO_ADMIN, 2, FRAME_BYTES, get_history},
    {OP_GET_EARLIER, WHO_ADMIN, 1, FRAME_BYTES, get_earlier},
};

static const struct operation *find_operation(enum op op)
{
    for (size_t i = 0; i < sizeof operations / sizeof operations[0]; i++)
        if (operations[i].op == op)
            return &operations[i];
    return NULL;
}

static bool serve(struct call *call, struct bytes message, struct err *e)
{
    enum op op;
    size_t elements;
    if (!request_open(message, &call->in, &op, &elements, e))
        return false;
    const struct operation *operation = find_operation(op);
    if (!operation || call->who < operation->who)
        return err_set(e, CODE_BAD, "%s is not for everybody", op_name(op));
    if (message.len > operation->bytes_max)
        return err_set(e, CODE_LENGTH, "%s with %zu bytes", op_name(op), message.len);
    if (elements != operation->elements)
        return err_set(e, CODE_FORMAT, "%s with %zu elements", op_name(op), elements);
    return operation->handle(call, e) || err_wrap(e, "%s", op_name(op));
}

void inbox_take(struct inbox *inbox, enum who who, struct bytes message, void *request)
{
    struct call call = {.inbox = inbox, .who = who, .request = request};
    struct err e;
    inbox->taken++;
    if (!serve(&call, message, &e)) {
        note(inbox, who, &e);
        buf_clear(&call.reply);
        reply_put_open(&call.reply, e.code, 0);
    }
    if (!call.later)
        inbox->answer(request, buf_bytes(&call.reply));
    buf_clear(&call.reply);
}
