// proto/vectors/served.json: one broker that begins empty, asked in that order; every reply is the
// one that stands there, byte for byte.
#include "inbox.h"

#include "loop.h"
#include "made.h"
#include "message.h"
#include "vectors.h"

struct fixture {
    struct made_store made;
    struct trust trust;
    struct publisher publisher;
    struct collector collector;
    struct inbox inbox;
};

static void answer(void *request, struct bytes reply)
{
    struct buf *out = request;
    assert_int_equal(out->len, 0); // answered once
    buf_append(out, reply.at, reply.len);
}

static void announce(void *context, const struct current *previous, const struct current *now)
{
    (void)context;
    (void)previous;
    assert_true(now->present);
}

static void stored(void *context, struct bytes signed_message)
{
    (void)context;
    assert_true(signed_message.len > 0);
}

static void make_broker(struct fixture *f, const json_t *trust)
{
    struct err e;
    make_store(&f->made);
    must(trust_from(trust, &f->trust, &e), &e);
    f->publisher = (struct publisher){
        .store = f->made.store, .trust = &f->trust, .announce = announce, .context = f};
    f->collector = (struct collector){.store = f->made.store,
        .fleet = f->trust.fleet,
        .current = &f->publisher.current,
        .answer = answer,
        .stored = stored,
        .context = f};
    f->inbox = (struct inbox){.store = f->made.store,
        .publisher = &f->publisher,
        .collector = &f->collector,
        .answer = answer,
        .log_limit = {.burst = 1, .seconds = 3600}};
}

static void free_broker(struct fixture *f)
{
    collector_clear(&f->collector);
    current_clear(&f->publisher.current);
    free_store(&f->made);
}

// The code, and where only the reason is given, that too.
static bool is_expected(const json_t *vector, struct bytes reply)
{
    struct wire_in in;
    enum code code;
    size_t elements;
    struct err e;
    must(reply_open(reply, &in, &code, &elements, &e), &e);
    if (strcmp(code_name(code), text_at(vector, "code")) != 0)
        return false;
    if (json_object_get(vector, "reply") == NULL)
        return bytes_equal_text(wire_str(&in, 32), text_at(vector, "reason"));
    struct buf wanted = bytes_at(vector, "reply");
    bool same = bytes_equal(reply, buf_bytes(&wanted));
    buf_clear(&wanted);
    return same;
}

static bool passes(struct fixture *f, const json_t *vector)
{
    struct buf request = bytes_at(vector, "request"), reply = {0};
    bool admin = strcmp(text_at(vector, "who"), "admin") == 0;
    inbox_take(&f->inbox, admin ? WHO_ADMIN : WHO_PUBLIC, buf_bytes(&request), &reply);
    collector_commit(&f->collector);
    bool good = is_expected(vector, buf_bytes(&reply));
    if (!good) {
        char *hex = xmalloc(2 * reply.len + 1);
        hex_encode(reply.at, reply.len, hex);
        print_error("%s: %.600s\n", text_at(vector, "name"), hex);
        free(hex);
    }
    buf_clear(&request);
    buf_clear(&reply);
    return good;
}

static void requests_in_order_get_the_written_replies(void **state)
{
    (void)state;
    struct fixture f = {0};
    json_t *file;
    const json_t *vectors = vectors_of("served", &file);
    size_t failed = 0;
    assert_true(json_array_size(vectors) > 0);
    make_broker(&f, json_object_get(file, "trust"));
    for (size_t i = 0; i < json_array_size(vectors); i++)
        failed += !passes(&f, json_array_get(vectors, i));
    free_broker(&f);
    json_decref(file);
    assert_int_equal(failed, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_in_order_get_the_written_replies),
    };
    return cmocka_run_group_tests(tests, start_sodium, NULL);
}
