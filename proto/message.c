#include "message.h"

#include <stdlib.h>
#include <string.h>

#define TYPE_PUBLISHED "bento-published"
#define TYPE_TICK "bento-tick"
#define TYPE_REQUEST "bento-req"
#define TYPE_REPLY "bento-rep"
#define BODY_ELEMENTS_MAX 8
#define CODE_BYTES_MAX 32

// ---- what is published

// An object beside what the list is ordered by.
struct keyed {
    uint8_t key[HASH_BYTES];
    struct bytes object;
};

static int compare_keyed(const void *a, const void *b)
{
    return memcmp(((const struct keyed *)a)->key, ((const struct keyed *)b)->key, HASH_BYTES);
}

static bool key_of_proven(struct bytes object, uint8_t key[HASH_BYTES])
{
    struct proven proven;
    struct ticket ticket;
    struct err e;
    if (!proven_decode(object, &proven, &e) || !ticket_decode(proven.ticket, &ticket, &e))
        return false;
    memcpy(key, ticket.node_id, HASH_BYTES);
    return true;
}

static bool key_of_blob(struct bytes object, uint8_t key[HASH_BYTES])
{
    sha256(object, key);
    return true;
}

// Writes the objects in the order of their keys, each once.
static void put_objects(struct buf *out, const struct bytes *objects, size_t count,
    bool (*key_of)(struct bytes object, uint8_t key[HASH_BYTES]))
{
    struct keyed *sorted = xcalloc(count, sizeof(sorted[0]));
    for (size_t i = 0; i < count; i++) {
        sorted[i].object = objects[i];
        bool known = key_of(objects[i], sorted[i].key);
        ASSERT(known);
    }
    if (count != 0)
        qsort(sorted, count, sizeof(sorted[0]), compare_keyed);
    size_t distinct = 0;
    for (size_t i = 0; i < count; i++) {
        if (distinct == 0 || compare_keyed(&sorted[distinct - 1], &sorted[i]) != 0)
            sorted[distinct++] = sorted[i];
    }
    wire_put_array(out, distinct);
    for (size_t i = 0; i < distinct; i++)
        wire_put_bin(out, sorted[i].object);
    free(sorted);
}

// Reads a list of binaries whose keys must ascend strictly. The array is the caller's, also after a
// fault.
static size_t take_objects(struct wire_in *in, size_t min, size_t max, struct bytes **objects,
    bool (*key_of)(struct bytes object, uint8_t key[HASH_BYTES]))
{
    uint8_t last[HASH_BYTES] = {0}, key[HASH_BYTES] = {0};
    size_t count = wire_array(in, 0, PUBLISHED_BYTES_MAX);
    wire_require(in, count <= in->rest.len / min, "ends too early");
    if (in->fault != NULL)
        count = 0;
    *objects = xcalloc(count, sizeof(**objects));
    for (size_t i = 0; i < count && in->fault == NULL; i++) {
        (*objects)[i] = wire_bin(in, min, max);
        wire_require(in, in->fault == NULL && key_of((*objects)[i], key), "a bad proven ticket");
        wire_require(in, i == 0 || memcmp(last, key, HASH_BYTES) < 0,
            "tickets or blobs are not strictly ascending");
        memcpy(last, key, HASH_BYTES);
    }
    return count;
}

void published_encode(const struct published *published, struct buf *out)
{
    ASSERT(published->kind == PUB_RELEASE);
    buf_append(out, TOPIC, TOPIC_BYTES);
    wire_put_open(out, 5, TYPE_PUBLISHED);
    wire_put_bin(out, published->envelope);
    put_objects(out, published->proven, published->proven_count, key_of_proven);
    put_objects(out, published->blobs, published->blob_count, key_of_blob);
}

void tick_encode(uint64_t epoch, uint64_t release, struct buf *out)
{
    buf_append(out, TOPIC, TOPIC_BYTES);
    wire_put_open(out, 4, TYPE_TICK);
    wire_put_u64(out, epoch);
    wire_put_u64(out, release);
}

static bool is_tick(struct wire_in in)
{
    wire_open(&in, 4, TYPE_TICK);
    return in.fault == NULL;
}

bool published_decode(struct bytes message, struct published *published, struct err *e)
{
    if (message.len > PUBLISHED_BYTES_MAX)
        return err_set(e, CODE_LENGTH, "published: %zu bytes are too many", message.len);
    if (message.len < TOPIC_BYTES || memcmp(message.at, TOPIC, TOPIC_BYTES) != 0)
        return err_set(e, CODE_FORMAT, "published: does not begin with the topic");
    struct wire_in in = wire_in(bytes_of(message.at + TOPIC_BYTES, message.len - TOPIC_BYTES));
    struct published found = {0};
    if (is_tick(in)) {
        found.kind = PUB_TICK;
        wire_open(&in, 4, TYPE_TICK);
        found.epoch = wire_u64(&in, UINT64_MAX);
        found.release = wire_u64(&in, UINT64_MAX);
    } else {
        found.kind = PUB_RELEASE;
        wire_open(&in, 5, TYPE_PUBLISHED);
        found.envelope = wire_bin(&in, 0, ENVELOPE_BYTES_MAX);
        found.proven_count =
            take_objects(&in, HASH_BYTES, PROVEN_BYTES_MAX, &found.proven, key_of_proven);
        found.blob_count = take_objects(
            &in, BLOB_OVERHEAD_BYTES + 1, PUBLISHED_BYTES_MAX, &found.blobs, key_of_blob);
    }
    if (!wire_end(&in, "published", e)) {
        published_clear(&found);
        return false;
    }
    *published = found;
    return true;
}

void published_clear(struct published *published)
{
    free(published->proven);
    free(published->blobs);
    *published = (struct published){0};
}

// ---- requests and replies

#define OP_CASE(number, name, admin)                                                               \
    case OP_##name:                                                                                \
        return #name;

static const char *find_op(uint64_t number)
{
    switch ((enum op)number) {
        OPS(OP_CASE)
    }
    return NULL;
}
#undef OP_CASE

const char *op_name(enum op op)
{
    const char *name = find_op(op);
    ASSERT(name != NULL);
    return name;
}

// The opening of either; leaves *in behind the version. Returns the number of elements that follow.
static size_t open_exchange(struct wire_in *in, const char *type)
{
    size_t elements = wire_array(in, 3, 3 + BODY_ELEMENTS_MAX);
    wire_literal(in, type);
    wire_require(in, wire_u64(in, UINT64_MAX) == 1, "of an unknown version");
    return in->fault == NULL ? elements - 2 : 0;
}

bool request_open(
    struct bytes message, struct wire_in *in, enum op *op, size_t *elements, struct err *e)
{
    struct wire_in found = wire_in(message);
    size_t count = open_exchange(&found, TYPE_REQUEST);
    uint64_t number = wire_u64(&found, UINT64_MAX);
    if (found.fault != NULL)
        return err_set(e, CODE_FORMAT, "request: %s", found.fault);
    if (number > UINT16_MAX || find_op(number) == NULL)
        return err_set(e, CODE_BAD, "there is no such operation");
    *in = found;
    *op = (enum op)number;
    *elements = count - 1;
    return true;
}

void request_put_open(struct buf *out, enum op op, size_t elements)
{
    ASSERT(elements <= BODY_ELEMENTS_MAX);
    wire_put_open(out, 3 + elements, TYPE_REQUEST);
    wire_put_u64(out, op);
}

bool reply_open(
    struct bytes message, struct wire_in *in, enum code *code, size_t *elements, struct err *e)
{
    struct wire_in found = wire_in(message);
    size_t count = open_exchange(&found, TYPE_REPLY);
    struct bytes name = wire_str(&found, CODE_BYTES_MAX);
    enum code answer = CODE_OK;
    wire_require(&found,
        found.fault == NULL && code_parse((const char *)name.at, name.len, &answer),
        "an unknown code");
    if (found.fault != NULL)
        return err_set(e, CODE_FORMAT, "reply: %s", found.fault);
    *in = found;
    *code = answer;
    *elements = count - 1;
    return true;
}

void reply_put_open(struct buf *out, enum code code, size_t elements)
{
    ASSERT(elements <= BODY_ELEMENTS_MAX);
    wire_put_open(out, 3 + elements, TYPE_REPLY);
    wire_put_text(out, code_name(code));
}
