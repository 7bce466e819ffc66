#include "collector.h"

#include "message.h"

#include <stdlib.h>
#include <string.h>

static bool verify(
    const struct collector *c, struct bytes message, struct status *status, struct err *e)
{
    size_t index;
    if (!status_verify(message, c->fleet, status, e))
        return false;
    return current_find(c->current, status->node_id, &index) ||
           err_set(e, CODE_UNKNOWN, "the node is not in the newest release's roster");
}

static void make_room(struct collector *c)
{
    if (c->count < c->room)
        return;
    size_t room = c->room ? 2 * c->room : 64;
    struct store_status *statuses = xcalloc(room, sizeof *statuses);
    struct waiting *waiting = xcalloc(room, sizeof *waiting);
    for (size_t i = 0; i < c->count; i++) {
        statuses[i] = c->statuses[i];
        waiting[i] = c->waiting[i];
    }
    free(c->statuses);
    free(c->waiting);
    c->statuses = statuses;
    c->waiting = waiting;
    c->room = room;
}

bool collector_take(struct collector *collector, struct bytes signed_message, uint64_t now_s,
    void *request, struct err *e)
{
    struct status status;
    if (!verify(collector, signed_message, &status, e))
        return false;
    make_room(collector);
    size_t i = collector->count++;
    struct waiting *w = &collector->waiting[i];
    *w = (struct waiting){.request = request};
    buf_append(&w->message, signed_message.at, signed_message.len);
    struct store_status *s = &collector->statuses[i];
    *s = (struct store_status){
        .seq = status.seq,
        .epoch = status.epoch,
        .release = status.release,
        .received_s = now_s,
        .state = node_state_word(status.state),
        .code = status.code == CODE_OK ? "" : code_name(status.code),
        .signed_message = buf_bytes(&w->message),
    };
    memcpy(s->node_id, status.node_id, HASH_BYTES);
    return true;
}

static void put_reply(const struct store_status *status, bool committed, struct buf *reply)
{
    uint8_t hash[HASH_BYTES];
    if (!committed) {
        reply_put_open(reply, CODE_IO, 0);
    } else if (status->outcome == STORE_OTHER) {
        reply_put_open(reply, CODE_SEQ, 1);
        wire_put_u64(reply, status->highest);
    } else {
        sha256(status->signed_message, hash);
        reply_put_open(reply, CODE_OK, 2);
        wire_put_u64(reply, status->seq);
        wire_put_hash(reply, hash);
    }
}

void collector_commit(struct collector *collector)
{
    if (collector->count == 0)
        return;
    struct err e;
    bool committed =
        store_put_statuses(collector->store, collector->statuses, collector->count, &e);
    if (!committed && log_allowed(&collector->log_limit, "statuses_not_stored"))
        log_err("statuses not stored count=%zu error=%s", collector->count, e.text);
    for (size_t i = 0; i < collector->count; i++) {
        const struct store_status *status = &collector->statuses[i];
        CLEANUP(buf_clear) struct buf reply = {0};
        put_reply(status, committed, &reply);
        collector->answer(collector->waiting[i].request, buf_bytes(&reply));
        if (committed && status->outcome == STORE_NEW)
            collector->stored(collector->context, status->signed_message);
    }
    for (size_t i = 0; i < collector->count; i++)
        buf_clear(&collector->waiting[i].message);
    collector->count = 0;
}

void collector_clear(struct collector *collector)
{
    ASSERT(collector->count == 0);
    free(collector->statuses);
    free(collector->waiting);
    *collector = (struct collector){0};
}
