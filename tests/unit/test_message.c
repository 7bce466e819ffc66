#include "message.h"

#include "proto_test.h"

static bool recode_published(struct bytes message, struct buf *out, struct err *e)
{
    struct published published;
    if (!published_decode(message, &published, e))
        return false;
    if (published.kind == PUB_TICK)
        tick_encode(published.epoch, published.release, out);
    else
        published_encode(&published, out);
    published_clear(&published);
    return true;
}
static const struct parser published_parser = {recode_published, CODE_FORMAT};

static void golden_release_and_tick_say_what_was_put_in(void **state)
{
    (void)state;
    struct buf golden = from_hex(GOLDEN_PUBLISHED), tick = from_hex(GOLDEN_TICK);
    struct buf proven = from_hex(GOLDEN_PROVEN);
    struct published published;
    struct err e;
    assert_true(published_decode(buf_bytes(&golden), &published, &e));
    assert_int_equal(published.kind, PUB_RELEASE);
    assert_true(bytes_equal_text(published.envelope, "envelope"));
    assert_int_equal(published.proven_count, 2);
    assert_bytes(published.proven[0], buf_bytes(&proven));
    assert_int_equal(published.blob_count, 2);
    published_clear(&published);
    assert_true(published_decode(buf_bytes(&tick), &published, &e));
    assert_int_equal(published.kind, PUB_TICK);
    assert_int_equal(published.epoch, 2);
    assert_int_equal(published.release, 1700000000);
    assert_true(tick.len <= 30);
    published_clear(&published);
    buf_clear(&golden);
    buf_clear(&tick);
    buf_clear(&proven);
}

static void damaged_message_is_refused_or_another_message(void **state)
{
    (void)state;
    survives_every_damage(&published_parser, GOLDEN_PUBLISHED);
    survives_every_damage(&published_parser, GOLDEN_TICK);
}

// A proven ticket of the node whose id begins with this byte.
static struct buf proven_of(uint8_t node)
{
    struct ticket ticket = {.node_id = {node}};
    struct buf inner = {0}, out = {0};
    ticket_encode(&ticket, &inner);
    struct proven proven = {.ticket = buf_bytes(&inner)};
    proven_encode(&proven, &out);
    buf_clear(&inner);
    return out;
}

static void objects_are_sorted_and_single_when_encoded(void **state)
{
    (void)state;
    struct buf a = proven_of(1), b = proven_of(2), out = {0};
    struct bytes proven[] = {buf_bytes(&b), buf_bytes(&a), buf_bytes(&b)};
    struct bytes blobs[] = {bytes_of_text("a blob of 20 bytes.."),
        bytes_of_text("another blob, longer than 17"), bytes_of_text("a blob of 20 bytes..")};
    struct published published = {.proven_count = 3,
        .blob_count = 3,
        .proven = proven,
        .blobs = blobs,
        .envelope = bytes_of_text("envelope")};
    published_encode(&published, &out);
    assert_recodes(&published_parser, buf_bytes(&out));
    struct published again;
    struct err e;
    assert_true(published_decode(buf_bytes(&out), &again, &e));
    assert_int_equal(again.proven_count, 2);
    assert_bytes(again.proven[0], buf_bytes(&a));
    assert_bytes(again.proven[1], buf_bytes(&b));
    assert_int_equal(again.blob_count, 2);
    published_clear(&again);
    buf_clear(&a);
    buf_clear(&b);
    buf_clear(&out);
}

static struct buf raw_published(
    const struct bytes *proven, size_t proven_count, const struct bytes *blobs, size_t blob_count)
{
    struct buf out = {0};
    buf_append(&out, TOPIC, TOPIC_BYTES);
    wire_put_open(&out, 5, "bento-published");
    wire_put_bin(&out, bytes_of_text("envelope"));
    wire_put_array(&out, proven_count);
    for (size_t i = 0; i < proven_count; i++)
        wire_put_bin(&out, proven[i]);
    wire_put_array(&out, blob_count);
    for (size_t i = 0; i < blob_count; i++)
        wire_put_bin(&out, blobs[i]);
    return out;
}

static void objects_out_of_order_double_or_malformed_are_refused(void **state)
{
    (void)state;
    struct buf a = proven_of(1), b = proven_of(2);
    uint8_t blob[2][17] = {{0}, {1}}, hash[2][HASH_BYTES];
    sha256(bytes_of(blob[0], 17), hash[0]);
    sha256(bytes_of(blob[1], 17), hash[1]);
    size_t low = memcmp(hash[0], hash[1], HASH_BYTES) < 0 ? 0 : 1;
    struct bytes first = bytes_of(blob[low], 17), second = bytes_of(blob[1 - low], 17);
    const struct {
        size_t proven_count, blob_count;
        struct bytes proven[2], blobs[2];
        bool good;
    } cases[] = {
        {2, 2, {buf_bytes(&a), buf_bytes(&b)}, {first, second}, true},
        {0, 2, {{0}}, {first, second}, true},
        {2, 0, {buf_bytes(&a), buf_bytes(&b)}, {{0}}, true},
        {2, 0, {buf_bytes(&b), buf_bytes(&a)}, {{0}}, false},
        {2, 0, {buf_bytes(&a), buf_bytes(&a)}, {{0}}, false},
        {1, 0, {bytes_of_text("a string that is no proven ticket at all")}, {{0}}, false},
        {0, 2, {{0}}, {second, first}, false},
        {0, 2, {{0}}, {first, first}, false},
        {0, 1, {{0}}, {bytes_of(blob[0], 16)}, false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct buf out = raw_published(
            cases[i].proven, cases[i].proven_count, cases[i].blobs, cases[i].blob_count);
        if (cases[i].good)
            assert_recodes(&published_parser, buf_bytes(&out));
        else
            assert_refused(&published_parser, buf_bytes(&out));
        buf_clear(&out);
    }
    buf_clear(&a);
    buf_clear(&b);
}

static void message_of_another_topic_is_refused(void **state)
{
    (void)state;
    struct buf tick = from_hex(GOLDEN_TICK);
    assert_refused(&published_parser, bytes_of(tick.at + TOPIC_BYTES, tick.len - TOPIC_BYTES));
    tick.at[3] = '2';
    assert_refused(&published_parser, buf_bytes(&tick));
    buf_clear(&tick);
}

static void message_at_its_limit_is_read_and_above_it_refused(void **state)
{
    (void)state;
    uint8_t *blob = calloc(1, PUBLISHED_BYTES_MAX);
    assert_non_null(blob);
    struct bytes probe = bytes_of(blob, 1u << 19);
    struct buf out = raw_published(NULL, 0, &probe, 1);
    size_t around = out.len - probe.len;
    buf_clear(&out);
    for (size_t extra = 0; extra < 2; extra++) {
        struct bytes all = bytes_of(blob, PUBLISHED_BYTES_MAX - around + extra);
        struct published published;
        struct err e;
        out = raw_published(NULL, 0, &all, 1);
        assert_int_equal(out.len, PUBLISHED_BYTES_MAX + extra);
        assert_int_equal(published_decode(buf_bytes(&out), &published, &e), extra == 0);
        if (extra == 0)
            published_clear(&published);
        else
            assert_code(e, CODE_LENGTH);
        buf_clear(&out);
    }
    free(blob);
}

// ---- requests and replies

#define OP_ROW(number, name, admin) {number, #name},
static const struct {
    unsigned number;
    const char *name;
} ops[] = {OPS(OP_ROW)};
#undef OP_ROW

static void golden_request_is_written_and_read(void **state)
{
    (void)state;
    struct buf golden = from_hex(GOLDEN_REQUEST), out = {0};
    struct wire_in in;
    enum op op;
    size_t elements;
    struct err e;
    uint8_t hash[HASH_BYTES];
    assert_true(request_open(buf_bytes(&golden), &in, &op, &elements, &e));
    assert_int_equal(op, OP_GET_BLOB);
    assert_int_equal(elements, 2);
    wire_bin_copy(&in, hash, sizeof(hash));
    assert_filled(hash, 1, sizeof(hash));
    assert_int_equal(wire_u64(&in, UINT64_MAX), 262144);
    assert_true(wire_end(&in, "request", &e));
    request_put_open(&out, OP_GET_BLOB, 2);
    wire_put_hash(&out, hash);
    wire_put_u64(&out, 262144);
    assert_bytes(buf_bytes(&out), buf_bytes(&golden));
    buf_clear(&golden);
    buf_clear(&out);
}

static void golden_reply_is_written_and_read(void **state)
{
    (void)state;
    struct buf golden = from_hex(GOLDEN_REPLY), out = {0};
    struct wire_in in;
    enum code code;
    size_t elements;
    struct err e;
    assert_true(reply_open(buf_bytes(&golden), &in, &code, &elements, &e));
    assert_int_equal(code, CODE_OK);
    assert_int_equal(elements, 2);
    assert_int_equal(wire_u64(&in, UINT64_MAX), 500000);
    assert_true(bytes_equal_text(wire_bin(&in, 0, 9), "chunk"));
    assert_true(wire_end(&in, "reply", &e));
    reply_put_open(&out, CODE_OK, 2);
    wire_put_u64(&out, 500000);
    wire_put_bin(&out, bytes_of_text("chunk"));
    assert_bytes(buf_bytes(&out), buf_bytes(&golden));
    buf_clear(&golden);
    buf_clear(&out);
}

static void every_operation_is_known_and_no_other(void **state)
{
    (void)state;
    size_t known = 0;
    for (uint64_t number = 0; number < 300; number++) {
        struct buf out = {0};
        struct wire_in in;
        enum op op;
        size_t elements;
        struct err e;
        wire_put_open(&out, 3, "bento-req");
        wire_put_u64(&out, number);
        if (request_open(buf_bytes(&out), &in, &op, &elements, &e)) {
            assert_true(known < sizeof(ops) / sizeof(ops[0]));
            assert_int_equal(number, ops[known].number);
            assert_string_equal(op_name(op), ops[known].name);
            assert_int_equal(elements, 0);
            known++;
        } else {
            assert_code(e, CODE_BAD);
        }
        buf_clear(&out);
    }
    assert_int_equal(known, sizeof(ops) / sizeof(ops[0]));
}

static void operation_that_is_the_same_modulo_a_word_is_not_known(void **state)
{
    (void)state;
    const uint64_t numbers[] = {(UINT64_C(1) << 32) + 1, (UINT64_C(1) << 16) + 1, UINT64_MAX};
    for (size_t i = 0; i < 3; i++) {
        struct buf out = {0};
        struct wire_in in;
        enum op op;
        size_t elements;
        struct err e;
        wire_put_open(&out, 3, "bento-req");
        wire_put_u64(&out, numbers[i]);
        assert_false(request_open(buf_bytes(&out), &in, &op, &elements, &e));
        assert_code(e, CODE_BAD);
        buf_clear(&out);
    }
}

static void every_code_is_an_answer_and_nothing_else(void **state)
{
    (void)state;
    struct wire_in in;
    enum code code;
    size_t elements;
    struct err e;
    for (unsigned i = 0; i < CODE_COUNT; i++) {
        struct buf out = {0};
        reply_put_open(&out, (enum code)i, 0);
        assert_true(reply_open(buf_bytes(&out), &in, &code, &elements, &e));
        assert_int_equal(code, i);
        buf_clear(&out);
    }
    const char *bad[] = {"", "ok", "OKAY", "NOSUCH"};
    for (size_t i = 0; i < 4; i++) {
        struct buf out = {0};
        wire_put_open(&out, 3, "bento-rep");
        wire_put_text(&out, bad[i]);
        assert_false(reply_open(buf_bytes(&out), &in, &code, &elements, &e));
        assert_code(e, CODE_FORMAT);
        buf_clear(&out);
    }
}

// Opening and body together, as a caller reads a GET_BLOB.
static bool recode_request(struct bytes message, struct buf *out, struct err *e)
{
    struct wire_in in;
    enum op op;
    size_t elements;
    if (!request_open(message, &in, &op, &elements, e)) {
        e->code = CODE_FORMAT; // BAD has its own test
        return false;
    }
    uint8_t hash[HASH_BYTES];
    wire_bin_copy(&in, hash, sizeof(hash));
    uint64_t offset = wire_u64(&in, UINT64_MAX);
    if (!wire_end(&in, "request", e))
        return false;
    request_put_open(out, op, elements);
    wire_put_hash(out, hash);
    wire_put_u64(out, offset);
    return true;
}
static const struct parser request_parser = {recode_request, CODE_FORMAT};

static bool recode_reply(struct bytes message, struct buf *out, struct err *e)
{
    struct wire_in in;
    enum code code;
    size_t elements;
    if (!reply_open(message, &in, &code, &elements, e))
        return false;
    uint64_t total = wire_u64(&in, UINT64_MAX);
    struct bytes chunk = wire_bin(&in, 0, CHUNK_BYTES_MAX);
    if (!wire_end(&in, "reply", e))
        return false;
    reply_put_open(out, code, elements);
    wire_put_u64(out, total);
    wire_put_bin(out, chunk);
    return true;
}
static const struct parser reply_parser = {recode_reply, CODE_FORMAT};

static void damaged_request_and_reply_are_refused_or_others(void **state)
{
    (void)state;
    survives_every_damage(&request_parser, GOLDEN_REQUEST);
    survives_every_damage(&reply_parser, GOLDEN_REPLY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_release_and_tick_say_what_was_put_in),
        cmocka_unit_test(damaged_message_is_refused_or_another_message),
        cmocka_unit_test(objects_are_sorted_and_single_when_encoded),
        cmocka_unit_test(objects_out_of_order_double_or_malformed_are_refused),
        cmocka_unit_test(message_of_another_topic_is_refused),
        cmocka_unit_test(message_at_its_limit_is_read_and_above_it_refused),
        cmocka_unit_test(golden_request_is_written_and_read),
        cmocka_unit_test(golden_reply_is_written_and_read),
        cmocka_unit_test(every_operation_is_known_and_no_other),
        cmocka_unit_test(operation_that_is_the_same_modulo_a_word_is_not_known),
        cmocka_unit_test(every_code_is_an_answer_and_nothing_else),
        cmocka_unit_test(damaged_request_and_reply_are_refused_or_others),
    };
    return cmocka_run_group_tests(tests, start_sodium, NULL);
}
