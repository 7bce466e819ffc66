#include "head.h"

#include "proto_test.h"

static bool recode_head(struct bytes message, struct buf *out, struct err *e)
{
    struct head head;
    if (!head_decode(message, &head, e))
        return false;
    head_encode(&head, out);
    return true;
}
static const struct parser head_parser = {recode_head, CODE_FORMAT};

static bool recode_envelope(struct bytes message, struct buf *out, struct err *e)
{
    struct envelope envelope;
    if (!envelope_decode(message, &envelope, e))
        return false;
    envelope_encode(&envelope, out);
    return true;
}
static const struct parser envelope_parser = {recode_envelope, CODE_FORMAT};

static struct head good_head(void)
{
    struct buf golden = from_hex(GOLDEN_HEAD);
    struct head head;
    struct err e;
    assert_true(head_decode(buf_bytes(&golden), &head, &e));
    buf_clear(&golden);
    return head;
}

static void golden_head_says_what_was_put_in(void **state)
{
    (void)state;
    struct head head = good_head();
    assert_filled(head.fleet, 1, 32);
    assert_int_equal(head.epoch, 2);
    assert_int_equal(head.release, 1700000000);
    assert_int_equal(head.expires, 1707776000);
    assert_int_equal(head.fallback_floor, 1600000000);
    assert_int_equal(head.tickets, 3);
    assert_filled(head.root, 2, 32);
    assert_filled(head.roster, 3, 32);
    assert_filled(head.nonce, 4, 16);
}

static void damaged_head_is_refused_or_another_head(void **state)
{
    (void)state;
    survives_every_damage(&head_parser, GOLDEN_HEAD);
}

static void damaged_envelope_is_refused_or_another_envelope(void **state)
{
    (void)state;
    survives_every_damage(&envelope_parser, GOLDEN_ENVELOPE);
}

static void numbers_out_of_their_rules_are_refused(void **state)
{
    (void)state;
    static const struct {
        uint64_t epoch, release, expires, fallback_floor, tickets;
        bool good;
    } cases[] = {
        {1, 1, 2, 0, 1, true},
        {0, 1, 2, 0, 1, false},                         // epoch
        {1, 0, 2, 0, 1, false},                         // release
        {1, 5, 5, 0, 1, false},                         // expires with the release
        {1, 5, 4, 0, 1, false},                         // before it
        {1, 5, 6, 5, 1, true},                          // floor at the release
        {1, 5, 6, 6, 1, false},                         // above it
        {1, 1, 2, 0, 0, false},                         // nobody
        {1, 1, 2, 0, TICKETS_MAX, true},                // everybody
        {1, 1, 2, 0, TICKETS_MAX + UINT64_C(1), false}, // one more
        {UINT64_MAX, UINT64_MAX - 1, UINT64_MAX, 0, 1, true},
        {1, UINT64_MAX, UINT64_MAX, 0, 1, false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct head head = good_head();
        struct buf out = {0};
        head.epoch = cases[i].epoch;
        head.release = cases[i].release;
        head.expires = cases[i].expires;
        head.fallback_floor = cases[i].fallback_floor;
        head.tickets = cases[i].tickets;
        head_encode(&head, &out);
        if (cases[i].good)
            assert_recodes(&head_parser, buf_bytes(&out));
        else
            assert_refused(&head_parser, buf_bytes(&out));
        buf_clear(&out);
    }
}

static void refused_head_leaves_the_old_one(void **state)
{
    (void)state;
    struct head head = good_head(), before = head;
    struct err e;
    assert_false(head_decode(bytes_of_text("x"), &head, &e));
    assert_memory_equal(&head, &before, sizeof(head));
}

static void signatures_at_their_limits(void **state)
{
    (void)state;
    for (size_t count = 0; count <= SIGNATURES_MAX + 1; count++) {
        struct buf out = {0};
        wire_put_open(&out, 4, "bento-release");
        wire_put_bin(&out, bytes_of_text("head"));
        wire_put_array(&out, count);
        for (size_t i = 0; i < count; i++)
            wire_put_bin(&out, bytes_of_text("signature"));
        if (count >= 1 && count <= SIGNATURES_MAX)
            assert_recodes(&envelope_parser, buf_bytes(&out));
        else
            assert_refused(&envelope_parser, buf_bytes(&out));
        buf_clear(&out);
    }
}

static void envelope_at_its_limit_is_read_and_above_it_refused(void **state)
{
    (void)state;
    static uint8_t zeros[ENVELOPE_BYTES_MAX];
    for (size_t extra = 0; extra < 2; extra++) {
        struct envelope envelope = {.signature_count = 1, .signatures[0] = bytes_of_text("")};
        struct buf out = {0};
        struct err e;
        envelope.head = bytes_of(zeros, ENVELOPE_BYTES_MAX - 1 - 14 - 1 - 3 - 1 - 2 + extra);
        envelope_encode(&envelope, &out);
        assert_int_equal(out.len, ENVELOPE_BYTES_MAX + extra);
        assert_int_equal(envelope_decode(buf_bytes(&out), &envelope, &e), extra == 0);
        if (extra == 1)
            assert_code(e, CODE_LENGTH);
        buf_clear(&out);
    }
}

static void releases_are_compared_as_pairs(void **state)
{
    (void)state;
    assert_int_equal(release_compare(1, 5, 1, 5), 0);
    assert_true(release_compare(1, 5, 1, 6) < 0);
    assert_true(release_compare(1, 6, 1, 5) > 0);
    assert_true(release_compare(2, 1, 1, UINT64_MAX) > 0);
    assert_true(release_compare(1, UINT64_MAX, 2, 1) < 0);
    assert_true(release_compare(0, 0, 0, UINT64_MAX) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_head_says_what_was_put_in),
        cmocka_unit_test(damaged_head_is_refused_or_another_head),
        cmocka_unit_test(damaged_envelope_is_refused_or_another_envelope),
        cmocka_unit_test(numbers_out_of_their_rules_are_refused),
        cmocka_unit_test(refused_head_leaves_the_old_one),
        cmocka_unit_test(signatures_at_their_limits),
        cmocka_unit_test(envelope_at_its_limit_is_read_and_above_it_refused),
        cmocka_unit_test(releases_are_compared_as_pairs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
