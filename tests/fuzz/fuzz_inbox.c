// The broker's inbox with a release in its store. The first byte of the input says who asks, the
// rest is the request. Every request has exactly one answer, and the public never gets more than is
// meant for it.
#include "inbox.h"

#include "fs.h"
#include "fuzz.h"
#include "message.h"
#include "world.h"

#include <string.h>

#define REQUESTS_PER_STORE 4096u // what admins upload stays: begin anew before it becomes much

static struct inbox inbox;
static struct publisher publisher;
static struct collector collector;
static struct store *store;
static unsigned requests;

static void announce(void *context, const struct current *previous, const struct current *now)
{
    (void)context;
    (void)previous;
    (void)now;
}

static void stored(void *context, struct bytes signed_message)
{
    (void)context;
    ASSERT(bytes_equal(signed_message, buf_bytes(&world_always()->signed_status)));
}

struct asked {
    unsigned answers;
    enum code code;
};

static void answer(void *request, struct bytes reply)
{
    struct asked *asked = request;
    struct wire_in in;
    size_t elements;
    struct err e = {0};
    asked->answers++;
    ASSERT(reply_open(reply, &in, &asked->code, &elements, &e));
}

static void upload(const struct buf *blob)
{
    uint8_t hash[HASH_BYTES];
    uint64_t have;
    struct err e = {0};
    sha256(buf_bytes(blob), hash);
    if (blob->len != 0)
        ASSERT(store_blob_put(store, hash, blob->len, 0, buf_bytes(blob), 1, &have, &e));
}

static void publish(const struct world *world)
{
    static const uint8_t nothing[HASH_BYTES];
    struct buf tickets = {0};
    struct err e = {0};
    upload(&world->tree_blob);
    wire_put_array(&tickets, WORLD_NODES);
    for (size_t i = 0; i < WORLD_NODES; i++) {
        upload(&world->blobs[i]);
        wire_put_bin(&tickets, buf_bytes(&world->raw_tickets[i]));
    }
    struct publish_request request = {.base = nothing,
        .envelope = buf_bytes(&world->envelope),
        .roster = buf_bytes(&world->roster),
        .tickets = buf_bytes(&tickets)};
    ASSERT(publish_release(&publisher, &request, 1700000001, &e));
    buf_clear(&tickets);
}

static void start(void)
{
    const struct world *world = world_always();
    struct err e = {0};
    if (store != NULL && requests++ < REQUESTS_PER_STORE)
        return;
    requests = 0;
    collector_clear(&collector);
    current_clear(&publisher.current);
    store_close(store);
    ASSERT(fs_remove_tree(fuzz_folder(), "broker", &e));
    ASSERT(fs_make_dir(fuzz_folder(), "broker", 0700, false, &e));
    struct buf path = {0};
    buf_printf(&path, "%s/broker", fuzz_folder_path());
    ASSERT(store_open(buf_text(&path), &store, &e));
    buf_clear(&path);
    publisher = (struct publisher){.store = store, .trust = &world->trust, .announce = announce};
    collector = (struct collector){.store = store,
        .fleet = world->trust.fleet,
        .current = &publisher.current,
        .answer = answer,
        .stored = stored};
    inbox = (struct inbox){
        .store = store, .publisher = &publisher, .collector = &collector, .answer = answer};
    publish(world);
}

static bool is_public(struct bytes message)
{
    struct wire_in in;
    struct err e = {0};
    enum op op;
    size_t elements;
    return request_open(message, &in, &op, &elements, &e) && op <= OP_PUT_STATUS;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct asked asked = {0};
    if (len == 0)
        return 0;
    start();
    enum who who = data[0] % 2 == 0 ? WHO_PUBLIC : WHO_ADMIN;
    struct bytes message = bytes_of(data + 1, len - 1);
    inbox_take(&inbox, who, message, &asked);
    collector_commit(&collector);
    ASSERT(asked.answers == 1);
    ASSERT(who == WHO_ADMIN || asked.code != CODE_OK || is_public(message));
    return 0;
}
