#include "inbox.h"

#include "loop.h"
#include "made.h"
#include "message.h"

#define NODES 5

// A broker without sockets, with one release of five nodes published.
struct fixture {
    struct made_store made;
    struct made_fleet *fleet;
    struct made_release *release;
    struct publisher publisher;
    struct collector collector;
    struct inbox inbox;
    unsigned announced, events;
};

// What a request is, for the answer to come back to.
struct asked {
    unsigned answers;
    struct buf reply;
    struct wire_in in;
    enum code code;
    size_t elements;
};

static const uint8_t none[HASH_BYTES];

static void answer(void *request, struct bytes reply)
{
    struct asked *asked = request;
    asked->answers++;
    buf_clear(&asked->reply);
    buf_append(&asked->reply, reply.at, reply.len);
}

static void announce(void *context, const struct current *previous, const struct current *now)
{
    struct fixture *f = context;
    (void)previous;
    assert_true(now->present);
    f->announced++;
}

static void stored(void *context, struct bytes signed_message)
{
    struct fixture *f = context;
    assert_true(signed_message.len > 0);
    f->events++;
}

static void ask_raw(struct fixture *f, enum who who, struct bytes message, struct asked *asked)
{
    *asked = (struct asked){0};
    inbox_take(&f->inbox, who, message, asked);
}

static void read_reply(struct asked *asked)
{
    struct err e;
    assert_int_equal(asked->answers, 1);
    must(reply_open(buf_bytes(&asked->reply), &asked->in, &asked->code, &asked->elements, &e), &e);
}

static void ask(struct fixture *f, enum who who, const struct buf *message, struct asked *asked)
{
    ask_raw(f, who, buf_bytes(message), asked);
    read_reply(asked);
}

static void reply_ends(struct asked *asked)
{
    struct err e;
    must(wire_end(&asked->in, "reply", &e), &e);
    buf_clear(&asked->reply);
}

// The reply is this code and nothing else.
static void expect(struct fixture *f, enum who who, const struct buf *message, enum code code)
{
    struct asked asked;
    ask(f, who, message, &asked);
    assert_string_equal(code_name(asked.code), code_name(code));
    assert_int_equal(asked.elements, 0);
    reply_ends(&asked);
}

static struct buf publish_message(const uint8_t *base, const struct made_release *release)
{
    struct buf m = {0};
    request_put_open(&m, OP_PUBLISH, 4);
    wire_put_hash(&m, base);
    wire_put_bin(&m, buf_bytes(&release->envelope));
    wire_put_bin(&m, buf_bytes(&release->roster));
    buf_append(&m, release->tickets.at, release->tickets.len);
    return m;
}

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);
    make_store(&f->made);
    f->fleet = make_fleet(NODES);
    for (size_t i = 0; i + 1 < NODES; i++) // the last has no configuration yet
        change_node(f->fleet, i, 100);
    change_tree(f->fleet, 0, 600000);
    upload_all(f->made.store, f->fleet, clock_unix_s());
    f->publisher = (struct publisher){
        .store = f->made.store, .trust = &f->fleet->trust, .announce = announce, .context = f};
    f->collector = (struct collector){.store = f->made.store,
        .fleet = f->fleet->trust.fleet,
        .current = &f->publisher.current,
        .answer = answer,
        .stored = stored,
        .context = f};
    f->inbox = (struct inbox){.store = f->made.store,
        .publisher = &f->publisher,
        .collector = &f->collector,
        .answer = answer,
        .log_limit = {.burst = 1, .seconds = 3600}};
    f->release = make_release(f->fleet, 1, clock_unix_s(), clock_unix_s() + 1000);
    struct buf m = publish_message(none, f->release);
    expect(f, WHO_ADMIN, &m, CODE_OK);
    buf_clear(&m);
    assert_int_equal(f->announced, 1);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    collector_clear(&f->collector);
    current_clear(&f->publisher.current);
    free_release(f->release);
    free_fleet(f->fleet);
    free_store(&f->made);
    free(f);
    return 0;
}

static void head_is_the_published_envelope(void **state)
{
    struct fixture *f = *state;
    struct buf m = {0};
    struct asked asked;
    request_put_open(&m, OP_GET_HEAD, 0);
    ask(f, WHO_PUBLIC, &m, &asked);
    assert_int_equal(asked.code, CODE_OK);
    struct bytes envelope = wire_bin(&asked.in, 0, ENVELOPE_BYTES_MAX);
    assert_true(bytes_equal(envelope, buf_bytes(&f->release->envelope)));
    reply_ends(&asked);
    buf_clear(&m);
}

static struct buf ticket_request(const uint8_t *head_hash, const uint8_t *node_id)
{
    struct buf m = {0};
    request_put_open(&m, OP_GET_TICKET, 2);
    wire_put_hash(&m, head_hash);
    wire_put_hash(&m, node_id);
    return m;
}

static void every_node_gets_a_ticket_that_verifies(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < NODES; i++) {
        struct asked asked;
        struct err e;
        struct ticket ticket;
        struct buf m = ticket_request(f->release->head_hash, f->fleet->nodes[i].id);
        ask(f, WHO_PUBLIC, &m, &asked);
        assert_int_equal(asked.code, CODE_OK);
        struct bytes proven = wire_bin(&asked.in, 0, PROVEN_BYTES_MAX);
        must(proven_verify(proven, &f->release->head, f->fleet->nodes[i].id, &ticket, &e), &e);
        assert_int_equal(ticket.ct_len, f->fleet->nodes[i].bundle.len);
        reply_ends(&asked);
        buf_clear(&m);
    }
}

static void ticket_of_a_stranger_is_none(void **state)
{
    struct fixture *f = *state;
    struct buf m = ticket_request(f->release->head_hash, f->release->head_hash);
    expect(f, WHO_PUBLIC, &m, CODE_NONE);
    buf_clear(&m);
}

static void ticket_of_an_old_head_is_stale_with_the_new_one(void **state)
{
    struct fixture *f = *state;
    struct asked asked;
    struct buf m = ticket_request(none, f->fleet->nodes[0].id);
    ask(f, WHO_PUBLIC, &m, &asked);
    assert_int_equal(asked.code, CODE_STALE);
    struct bytes envelope = wire_bin(&asked.in, 0, ENVELOPE_BYTES_MAX);
    assert_true(bytes_equal(envelope, buf_bytes(&f->release->envelope)));
    reply_ends(&asked);
    buf_clear(&m);
}

static void blob_comes_in_chunks(void **state)
{
    struct fixture *f = *state;
    const struct buf *tree = &f->fleet->nodes[0].tree;
    uint8_t hash[HASH_BYTES];
    sha256(buf_bytes(tree), hash);
    struct buf got = {0};
    unsigned chunks = 0;
    while (got.len < tree->len) {
        struct asked asked;
        struct buf m = {0};
        request_put_open(&m, OP_GET_BLOB, 2);
        wire_put_hash(&m, hash);
        wire_put_u64(&m, got.len);
        ask(f, WHO_PUBLIC, &m, &asked);
        assert_int_equal(asked.code, CODE_OK);
        assert_int_equal(wire_u64(&asked.in, UINT64_MAX), tree->len);
        struct bytes chunk = wire_bin(&asked.in, 1, CHUNK_BYTES_MAX);
        buf_append(&got, chunk.at, chunk.len);
        assert_true(asked.reply.len <= REQ_RECEIVE_BYTES_MAX);
        reply_ends(&asked);
        buf_clear(&m);
        chunks++;
    }
    assert_int_equal(chunks, (tree->len + BLOB_CHUNK_BYTES - 1) / BLOB_CHUNK_BYTES);
    assert_true(bytes_equal(buf_bytes(&got), buf_bytes(tree)));
    buf_clear(&got);
}

static void unknown_blob_is_none(void **state)
{
    struct fixture *f = *state;
    struct buf m = {0};
    request_put_open(&m, OP_GET_BLOB, 2);
    wire_put_hash(&m, f->release->head_hash);
    wire_put_u64(&m, 0);
    expect(f, WHO_PUBLIC, &m, CODE_NONE);
    buf_clear(&m);
}

static void release_comes_back_as_published(void **state)
{
    struct fixture *f = *state;
    struct asked asked;
    struct buf m = {0};
    request_put_open(&m, OP_GET_RELEASE, 0);
    ask(f, WHO_ADMIN, &m, &asked);
    assert_int_equal(asked.code, CODE_OK);
    assert_int_equal(asked.elements, 3);
    assert_true(
        bytes_equal(wire_bin(&asked.in, 0, ENVELOPE_BYTES_MAX), buf_bytes(&f->release->envelope)));
    assert_true(
        bytes_equal(wire_bin(&asked.in, 0, ROSTER_BYTES_MAX), buf_bytes(&f->release->roster)));
    assert_int_equal(wire_array(&asked.in, 0, 100), NODES);
    for (size_t i = 0; i < NODES; i++)
        assert_true(bytes_equal(
            wire_bin(&asked.in, 0, PROVEN_BYTES_MAX), buf_bytes(&f->release->ticket[i])));
    reply_ends(&asked);
    buf_clear(&m);
}

static void only_blobs_that_are_not_whole_are_missing(void **state)
{
    struct fixture *f = *state;
    struct err e;
    struct asked asked;
    uint8_t whole[HASH_BYTES], half[HASH_BYTES];
    uint64_t have;
    sha256(buf_bytes(&f->fleet->nodes[0].tree), whole);
    memset(half, 7, sizeof half);
    must(store_blob_put(f->made.store, half, 100, 0, bytes_of(whole, 32), 1, &have, &e), &e);
    struct buf m = {0};
    request_put_open(&m, OP_MISSING_BLOBS, 1);
    wire_put_array(&m, 3);
    wire_put_hash(&m, whole);
    wire_put_hash(&m, half);
    wire_put_hash(&m, f->release->head_hash);
    ask(f, WHO_ADMIN, &m, &asked);
    assert_int_equal(asked.code, CODE_OK);
    assert_int_equal(wire_array(&asked.in, 0, 3), 2);
    assert_memory_equal(wire_bin(&asked.in, 32, 32).at, half, 32);
    assert_memory_equal(wire_bin(&asked.in, 32, 32).at, f->release->head_hash, 32);
    reply_ends(&asked);
    buf_clear(&m);
}

static void upload_tells_how_much_is_here(void **state)
{
    struct fixture *f = *state;
    CLEANUP(buf_clear) struct buf blob = {0};
    make_random(&blob, 1000);
    uint8_t hash[HASH_BYTES];
    sha256(buf_bytes(&blob), hash);
    for (size_t offset = 0; offset < 1000; offset += 500) {
        struct asked asked;
        struct buf m = {0};
        request_put_open(&m, OP_PUT_BLOB, 4);
        wire_put_hash(&m, hash);
        wire_put_u64(&m, 1000);
        wire_put_u64(&m, offset);
        wire_put_bin(&m, bytes_of(blob.at + offset, 500));
        ask(f, WHO_ADMIN, &m, &asked);
        assert_int_equal(asked.code, CODE_OK);
        assert_int_equal(wire_u64(&asked.in, UINT64_MAX), offset + 500);
        reply_ends(&asked);
        buf_clear(&m);
    }
}

static void refused_release_says_code_and_reason(void **state)
{
    struct fixture *f = *state;
    struct asked asked;
    struct secret_key stranger;
    make_key(&stranger);
    struct made_release *release = make_release(f->fleet, 1, clock_unix_s() + 1, UINT64_MAX);
    sign_release(release, &stranger, NAMESPACE_RELEASE);
    struct buf m = publish_message(f->release->head_hash, release);
    ask(f, WHO_ADMIN, &m, &asked);
    assert_int_equal(asked.code, CODE_REFUSED);
    wire_literal(&asked.in, "SIGNER");
    assert_true(wire_str(&asked.in, 500).len > 0);
    reply_ends(&asked);
    assert_int_equal(f->announced, 1);
    buf_clear(&m);
    free_release(release);
}

static void publication_on_an_old_base_is_stale_with_the_newest(void **state)
{
    struct fixture *f = *state;
    struct asked asked;
    struct made_release *release = make_release(f->fleet, 1, clock_unix_s() + 1, UINT64_MAX);
    struct buf m = publish_message(none, release);
    ask(f, WHO_ADMIN, &m, &asked);
    assert_int_equal(asked.code, CODE_STALE);
    struct bytes envelope = wire_bin(&asked.in, 0, ENVELOPE_BYTES_MAX);
    assert_true(bytes_equal(envelope, buf_bytes(&f->release->envelope)));
    reply_ends(&asked);
    buf_clear(&m);
    m = publish_message(f->release->head_hash, release);
    expect(f, WHO_ADMIN, &m, CODE_OK);
    assert_int_equal(f->announced, 2);
    buf_clear(&m);
    free_release(release);
}

// ---- statuses

static struct buf status_request(const struct buf *signed_message)
{
    struct buf m = {0};
    request_put_open(&m, OP_PUT_STATUS, 1);
    wire_put_bin(&m, buf_bytes(signed_message));
    return m;
}

static void send_status(struct fixture *f, const struct buf *signed_message, struct asked *asked)
{
    struct buf m = status_request(signed_message);
    ask_raw(f, WHO_PUBLIC, buf_bytes(&m), asked);
    buf_clear(&m);
}

static void expect_acknowledged(struct asked *asked, uint64_t seq, const struct buf *signed_message)
{
    uint8_t hash[HASH_BYTES];
    read_reply(asked);
    assert_int_equal(asked->code, CODE_OK);
    assert_int_equal(wire_u64(&asked->in, UINT64_MAX), seq);
    sha256(buf_bytes(signed_message), hash);
    assert_memory_equal(wire_bin(&asked->in, 32, 32).at, hash, 32);
    reply_ends(asked);
}

static void expect_refused(struct fixture *f, struct asked *asked, const char *code)
{
    read_reply(asked);
    assert_int_equal(asked->code, CODE_REFUSED);
    wire_literal(&asked->in, code);
    reply_ends(asked);
    assert_int_equal(f->events, 0);
    assert_int_equal(f->inbox.refused, 1);
}

static void status_is_answered_only_after_the_commit(void **state)
{
    struct fixture *f = *state;
    enum { COUNT = 100 };
    struct buf messages[COUNT] = {0};
    struct asked asked[COUNT];
    for (unsigned i = 0; i < COUNT; i++) {
        make_status(f->fleet, &f->fleet->nodes[i % NODES], 1000 + i, "", &messages[i]);
        send_status(f, &messages[i], &asked[i]);
    }
    for (unsigned i = 0; i < COUNT; i++)
        assert_int_equal(asked[i].answers, 0);
    assert_int_equal(f->events, 0);
    collector_commit(&f->collector);
    assert_int_equal(f->events, COUNT);
    for (unsigned i = 0; i < COUNT; i++) {
        expect_acknowledged(&asked[i], 1000 + i, &messages[i]);
        buf_clear(&messages[i]);
    }
}

static void repeated_status_is_acknowledged_and_no_event(void **state)
{
    struct fixture *f = *state;
    struct buf message = {0};
    struct asked asked;
    make_status(f->fleet, &f->fleet->nodes[0], 5, "", &message);
    for (int i = 0; i < 3; i++) {
        send_status(f, &message, &asked);
        collector_commit(&f->collector);
        expect_acknowledged(&asked, 5, &message);
    }
    assert_int_equal(f->events, 1);
    buf_clear(&message);
}

static void other_status_under_one_number_tells_the_highest(void **state)
{
    struct fixture *f = *state;
    struct buf message = {0};
    struct asked asked;
    make_status(f->fleet, &f->fleet->nodes[0], 5, "", &message);
    send_status(f, &message, &asked);
    collector_commit(&f->collector);
    buf_clear(&asked.reply);
    make_status(f->fleet, &f->fleet->nodes[0], 5, "other", &message);
    send_status(f, &message, &asked);
    collector_commit(&f->collector);
    read_reply(&asked);
    assert_int_equal(asked.code, CODE_SEQ);
    assert_int_equal(wire_u64(&asked.in, UINT64_MAX), 5);
    reply_ends(&asked);
    assert_int_equal(f->events, 1);
    buf_clear(&message);
}

static void status_signed_by_another_node_is_refused(void **state)
{
    struct fixture *f = *state;
    struct buf message = {0};
    struct asked asked;
    struct made_node liar = f->fleet->nodes[0];
    memcpy(liar.id, f->fleet->nodes[1].id, HASH_BYTES);
    make_status(f->fleet, &liar, 5, "", &message);
    send_status(f, &message, &asked);
    expect_refused(f, &asked, "SIGNER");
    buf_clear(&message);
}

static void status_of_a_node_outside_the_roster_is_unknown(void **state)
{
    struct fixture *f = *state;
    struct buf message = {0};
    struct asked asked;
    struct made_node stranger = {0};
    make_key(&stranger.key);
    public_key_id(&stranger.key.public, stranger.id);
    make_status(f->fleet, &stranger, 5, "", &message);
    send_status(f, &message, &asked);
    expect_refused(f, &asked, "UNKNOWN");
    buf_clear(&message);
}

static void status_of_another_fleet_is_refused(void **state)
{
    struct fixture *f = *state;
    struct buf message = {0};
    struct asked asked;
    f->fleet->trust.fleet[3] ^= 1;
    make_status(f->fleet, &f->fleet->nodes[0], 5, "", &message);
    f->fleet->trust.fleet[3] ^= 1;
    send_status(f, &message, &asked);
    expect_refused(f, &asked, "FLEET");
    buf_clear(&message);
}

static void changed_byte_in_a_status_is_refused(void **state)
{
    struct fixture *f = *state;
    struct buf message = {0};
    make_status(f->fleet, &f->fleet->nodes[0], 5, "", &message);
    for (size_t i = 0; i < message.len; i++) {
        struct asked asked;
        message.at[i] ^= 1;
        send_status(f, &message, &asked);
        message.at[i] ^= 1;
        read_reply(&asked);
        assert_int_equal(asked.code, CODE_REFUSED);
        buf_clear(&asked.reply);
    }
    collector_commit(&f->collector);
    assert_int_equal(f->events, 0);
    buf_clear(&message);
}

static void newest_statuses_come_in_bounded_pages(void **state)
{
    struct fixture *f = *state;
    struct asked asked;
    static char log[60001];
    memset(log, 'x', sizeof log - 1);
    struct buf message = {0};
    for (unsigned i = 0; i < 100; i++) { // 6 MB of one node
        make_status(f->fleet, &f->fleet->nodes[0], 10 + i, log, &message);
        send_status(f, &message, &asked);
        collector_commit(&f->collector);
        expect_acknowledged(&asked, 10 + i, &message);
    }
    struct buf m = {0};
    request_put_open(&m, OP_GET_STATUSES, 1);
    wire_put_hash(&m, none);
    ask(f, WHO_ADMIN, &m, &asked);
    assert_int_equal(asked.code, CODE_OK);
    assert_false(wire_bool(&asked.in));
    assert_int_equal(wire_array(&asked.in, 0, 100), 1);
    wire_array(&asked.in, 3, 3);
    assert_memory_equal(wire_bin(&asked.in, 32, 32).at, f->fleet->nodes[0].id, 32);
    assert_true(clock_unix_s() - wire_u64(&asked.in, UINT64_MAX) < 60);
    assert_true(bytes_equal(wire_bin(&asked.in, 0, STATUS_BYTES_MAX), buf_bytes(&message)));
    reply_ends(&asked);
    buf_clear(&m);

    size_t seen = 0;
    bool more = true;
    for (uint64_t before = UINT64_MAX; more;) {
        request_put_open(&m, OP_GET_HISTORY, 2);
        wire_put_hash(&m, f->fleet->nodes[0].id);
        wire_put_u64(&m, before);
        ask(f, WHO_ADMIN, &m, &asked);
        assert_int_equal(asked.code, CODE_OK);
        assert_true(asked.reply.len <= PAGE_BYTES_MAX);
        more = wire_bool(&asked.in);
        size_t count = wire_array(&asked.in, 1, 1000);
        for (size_t i = 0; i < count; i++, seen++) {
            struct status status;
            struct err e;
            wire_array(&asked.in, 2, 2);
            (void)wire_u64(&asked.in, UINT64_MAX);
            struct bytes signed_message = wire_bin(&asked.in, 0, STATUS_BYTES_MAX);
            must(status_verify(signed_message, f->fleet->trust.fleet, &status, &e), &e);
            assert_int_equal(status.seq, 109 - seen);
            before = status.seq;
        }
        reply_ends(&asked);
        buf_clear(&m);
    }
    assert_int_equal(seen, 100);
    buf_clear(&message);
}

// ---- who may, and what is no request

static struct buf well_formed(const struct fixture *f, enum op op)
{
    struct buf m = {0};
    struct bytes x = bytes_of_text("x");
    switch (op) {
    case OP_GET_HEAD:
    case OP_GET_RELEASE:
        request_put_open(&m, op, 0);
        break;
    case OP_GET_TICKET:
        return ticket_request(f->release->head_hash, f->fleet->nodes[0].id);
    case OP_GET_BLOB:
    case OP_GET_HISTORY:
        request_put_open(&m, op, 2);
        wire_put_hash(&m, f->fleet->nodes[0].id);
        wire_put_u64(&m, 0);
        break;
    case OP_PUT_STATUS:
        request_put_open(&m, op, 1);
        wire_put_bin(&m, x);
        break;
    case OP_MISSING_BLOBS:
        request_put_open(&m, op, 1);
        wire_put_array(&m, 1);
        wire_put_hash(&m, f->release->head_hash);
        break;
    case OP_PUT_BLOB:
        request_put_open(&m, op, 4);
        wire_put_hash(&m, f->release->head_hash);
        wire_put_u64(&m, 10);
        wire_put_u64(&m, 0);
        wire_put_bin(&m, x);
        break;
    case OP_PUBLISH:
        return publish_message(none, f->release);
    case OP_GET_STATUSES:
    case OP_GET_EARLIER:
        request_put_open(&m, op, 1);
        wire_put_hash(&m, none);
        break;
    }
    return m;
}

#define OP_ROW(number, name, admin) {OP_##name, admin},
static const struct {
    enum op op;
    bool admin;
} all_ops[] = {OPS(OP_ROW)};
#define OP_COUNT (sizeof all_ops / sizeof all_ops[0])

static void public_may_call_one_to_four_and_admin_all(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < OP_COUNT; i++) {
        for (enum who who = WHO_PUBLIC; who <= WHO_ADMIN; who++) {
            struct asked asked;
            struct buf m = well_formed(f, all_ops[i].op);
            ask(f, who, &m, &asked);
            if (all_ops[i].admin && who == WHO_PUBLIC)
                assert_int_equal(asked.code, CODE_BAD);
            else
                assert_int_not_equal(asked.code, CODE_BAD);
            buf_clear(&asked.reply);
            buf_clear(&m);
        }
    }
    assert_int_equal(f->announced, 1);
}

static void every_other_number_is_bad(void **state)
{
    struct fixture *f = *state;
    for (unsigned number = 0; number < 256; number++) {
        bool known = false;
        for (size_t i = 0; i < OP_COUNT; i++)
            known |= number == (unsigned)all_ops[i].op;
        if (known)
            continue;
        struct buf m = {0};
        wire_put_array(&m, 3);
        wire_put_text(&m, "bento-req");
        wire_put_u64(&m, 1);
        wire_put_u64(&m, number);
        expect(f, WHO_ADMIN, &m, CODE_BAD);
        buf_clear(&m);
    }
}

static void every_truncation_and_trailing_byte_is_refused(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < OP_COUNT; i++) {
        struct buf m = well_formed(f, all_ops[i].op);
        size_t whole = m.len;
        buf_append(&m, "", 1);
        for (size_t len = 0; len <= whole + 1; len++) {
            if (len == whole)
                continue;
            struct asked asked;
            ask_raw(f, WHO_ADMIN, bytes_of(m.at, len), &asked);
            read_reply(&asked);
            assert_int_not_equal(asked.code, CODE_OK);
            assert_int_equal(asked.elements, 0);
            buf_clear(&asked.reply);
        }
        buf_clear(&m);
    }
    assert_true(f->inbox.refused > 500);
    assert_int_equal(f->announced, 1);
}

static void array_that_claims_a_million_elements_is_refused(void **state)
{
    struct fixture *f = *state;
    struct buf m = {0};
    request_put_open(&m, OP_MISSING_BLOBS, 1);
    wire_put_array(&m, 1000000);
    expect(f, WHO_ADMIN, &m, CODE_FORMAT);
    buf_clear(&m);
    request_put_open(&m, OP_PUBLISH, 4);
    wire_put_hash(&m, none);
    wire_put_bin(&m, buf_bytes(&f->release->envelope));
    wire_put_bin(&m, buf_bytes(&f->release->roster));
    wire_put_array(&m, 1000000);
    expect(f, WHO_ADMIN, &m, CODE_FORMAT);
    buf_clear(&m);
}

static void too_long_request_is_refused_by_its_length(void **state)
{
    struct fixture *f = *state;
    CLEANUP(buf_clear) struct buf big = {0}, m = {0};
    make_random(&big, STATUS_BYTES_MAX + 200);
    request_put_open(&m, OP_PUT_STATUS, 1);
    wire_put_bin(&m, buf_bytes(&big));
    expect(f, WHO_PUBLIC, &m, CODE_LENGTH);
}

static void random_bytes_are_answered_and_harmless(void **state)
{
    struct fixture *f = *state;
    for (unsigned i = 0; i < 5000; i++) {
        struct asked asked;
        CLEANUP(buf_clear) struct buf m = {0}, noise = {0};
        make_random(&noise, 1 + randombytes_uniform(60));
        if (i % 2) { // a good opening, a random body
            wire_put_array(&m, 3 + randombytes_uniform(5));
            wire_put_text(&m, "bento-req");
            wire_put_u64(&m, 1);
            wire_put_u64(&m, randombytes_uniform(24));
        }
        buf_append(&m, noise.at, noise.len);
        ask_raw(f, i % 4 < 2 ? WHO_PUBLIC : WHO_ADMIN, buf_bytes(&m), &asked);
        read_reply(&asked);
        assert_int_not_equal(asked.code, CODE_OK);
        buf_clear(&asked.reply);
    }
    assert_int_equal(f->announced, 1);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(head_is_the_published_envelope),
        T(every_node_gets_a_ticket_that_verifies),
        T(ticket_of_a_stranger_is_none),
        T(ticket_of_an_old_head_is_stale_with_the_new_one),
        T(blob_comes_in_chunks),
        T(unknown_blob_is_none),
        T(release_comes_back_as_published),
        T(only_blobs_that_are_not_whole_are_missing),
        T(upload_tells_how_much_is_here),
        T(refused_release_says_code_and_reason),
        T(publication_on_an_old_base_is_stale_with_the_newest),
        T(status_is_answered_only_after_the_commit),
        T(repeated_status_is_acknowledged_and_no_event),
        T(other_status_under_one_number_tells_the_highest),
        T(status_signed_by_another_node_is_refused),
        T(status_of_a_node_outside_the_roster_is_unknown),
        T(status_of_another_fleet_is_refused),
        T(changed_byte_in_a_status_is_refused),
        T(newest_statuses_come_in_bounded_pages),
        T(public_may_call_one_to_four_and_admin_all),
        T(every_other_number_is_bad),
        T(every_truncation_and_trailing_byte_is_refused),
        T(array_that_claims_a_million_elements_is_refused),
        T(too_long_request_is_refused_by_its_length),
        T(random_bytes_are_answered_and_harmless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
