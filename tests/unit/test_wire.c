#include "wire.h"

#include "proto_test.h"

#include <stdio.h>

// What a reader makes of raw bytes: fault or NULL, and how much is left.
#define READ(raw, call)                                                                            \
    __extension__({                                                                                \
        struct wire_in in = wire_in(bytes_of(raw, sizeof(raw) - 1));                               \
        (void)(call);                                                                              \
        in;                                                                                        \
    })
#define assert_fault(raw, call)                                                                    \
    do {                                                                                           \
        struct wire_in after = READ(raw, call);                                                    \
        assert_non_null(after.fault);                                                              \
        assert_int_equal(after.rest.len, sizeof(raw) - 1); /* stays where it was */                \
    } while (0)
#define assert_reads(raw, call)                                                                    \
    do {                                                                                           \
        struct wire_in after = READ(raw, call);                                                    \
        assert_null(after.fault);                                                                  \
        assert_int_equal(after.rest.len, 0);                                                       \
    } while (0)

static void numbers_at_the_borders_round_trip(void **state)
{
    (void)state;
    const uint64_t borders[] = {0, 1, 0x7f, 0x80, 0xff, 0x100, 0xffff, 0x10000, 0xffffffff,
        0x100000000, UINT64_MAX - 1, UINT64_MAX};
    const size_t lengths[] = {1, 1, 1, 2, 2, 3, 3, 5, 5, 9, 9, 9};
    for (size_t i = 0; i < sizeof(borders) / sizeof(borders[0]); i++) {
        struct buf out = {0};
        wire_put_u64(&out, borders[i]);
        assert_int_equal(out.len, lengths[i]);
        struct wire_in in = wire_in(buf_bytes(&out));
        assert_true(wire_u64(&in, UINT64_MAX) == borders[i]);
        struct err e;
        assert_true(wire_end(&in, "number", &e));
        for (size_t len = 0; len < out.len; len++) {
            in = wire_in(bytes_of(out.at, len));
            assert_int_equal(wire_u64(&in, UINT64_MAX), 0);
            assert_non_null(in.fault);
        }
        buf_clear(&out);
    }
}

static void number_in_a_longer_form_is_refused(void **state)
{
    (void)state;
    assert_fault("\xcc\x7f", wire_u64(&in, UINT64_MAX));
    assert_reads("\xcc\x80", wire_u64(&in, UINT64_MAX));
    assert_fault("\xcd\x00\xff", wire_u64(&in, UINT64_MAX));
    assert_reads("\xcd\x01\x00", wire_u64(&in, UINT64_MAX));
    assert_fault("\xce\x00\x00\xff\xff", wire_u64(&in, UINT64_MAX));
    assert_reads("\xce\x00\x01\x00\x00", wire_u64(&in, UINT64_MAX));
    assert_fault("\xcf\x00\x00\x00\x00\xff\xff\xff\xff", wire_u64(&in, UINT64_MAX));
    assert_reads("\xcf\x00\x00\x00\x01\x00\x00\x00\x00", wire_u64(&in, UINT64_MAX));
}

static void negative_float_ext_and_other_types_are_no_numbers(void **state)
{
    (void)state;
    assert_fault("\xff", wire_u64(&in, UINT64_MAX));                                 // -1
    assert_fault("\xd0\x01", wire_u64(&in, UINT64_MAX));                             // int 8
    assert_fault("\xd3\x00\x00\x00\x00\x00\x00\x00\x01", wire_u64(&in, UINT64_MAX)); // int 64
    assert_fault("\xca\x00\x00\x00\x00", wire_u64(&in, UINT64_MAX));                 // float
    assert_fault("\xcb\x00\x00\x00\x00\x00\x00\x00\x00", wire_u64(&in, UINT64_MAX)); // double
    assert_fault("\xd4\x00\x01", wire_u64(&in, UINT64_MAX));                         // fixext
    assert_fault("\xc7\x01\x00\x01", wire_u64(&in, UINT64_MAX));                     // ext 8
    assert_fault("\xc0", wire_u64(&in, UINT64_MAX));
    assert_fault("\xc1", wire_u64(&in, UINT64_MAX)); // never used
    assert_fault("\xc3", wire_u64(&in, UINT64_MAX));
    assert_fault("\xa1"
                 "1",
        wire_u64(&in, UINT64_MAX));
}

static void number_at_its_limit_is_read_and_above_it_refused(void **state)
{
    (void)state;
    assert_reads("\xcd\x01\xff", wire_u64(&in, 0777));
    assert_fault("\xcd\x02\x00", wire_u64(&in, 0777));
}

// Lengths around which the header changes, for all four kinds of header.
static void lengths_at_the_borders_round_trip(void **state)
{
    (void)state;
    const size_t borders[] = {0, 1, 15, 16, 31, 32, 255, 256, 65535, 65536};
    char *content = malloc(65536 * 2);
    memset(content, 0x61, 65536 * 2);
    for (size_t i = 0; i < sizeof(borders) / sizeof(borders[0]); i++) {
        size_t n = borders[i];
        struct buf out = {0};
        wire_put_bin(&out, bytes_of(content, n));
        wire_put_str(&out, bytes_of(content, n));
        wire_put_array(&out, n);
        size_t before_map = out.len;
        buf_append(&out, content, n); // n small numbers
        wire_put_map(&out, n);
        struct wire_in in = wire_in(buf_bytes(&out));
        assert_int_equal(wire_bin(&in, n, n).len, n);
        assert_int_equal(wire_str(&in, n).len, n);
        assert_int_equal(wire_array(&in, n, n), n);
        for (size_t j = 0; j < n; j++)
            assert_int_equal(wire_u64(&in, 0x61), 0x61);
        assert_int_equal(wire_map(&in, n), n);
        struct err e;
        assert_true(wire_end(&in, "lengths", &e));
        assert_true(before_map > 0);
        buf_clear(&out);
    }
    free(content);
}

static void length_outside_its_limits_is_refused(void **state)
{
    (void)state;
    assert_reads("\xc4\x02zz", wire_bin(&in, 2, 2));
    assert_fault("\xc4\x02zz", wire_bin(&in, 3, 9));
    assert_fault("\xc4\x02zz", wire_bin(&in, 0, 1));
    assert_reads("\xa2zz", wire_str(&in, 2));
    assert_fault("\xa2zz", wire_str(&in, 1));
    assert_fault("\x92\x01\x01", wire_array(&in, 0, 1));
    assert_fault("\x92\x01\x01", wire_array(&in, 3, 9));
    assert_fault("\x82\xa1"
                 "a\x01\xa1"
                 "b\x01",
        wire_map(&in, 1));
}

static void length_in_a_longer_form_is_refused(void **state)
{
    (void)state;
    assert_fault("\xd9\x01z", wire_str(&in, 9));
    assert_fault("\xda\x00\x01z", wire_str(&in, 9));
    assert_fault("\xdb\x00\x00\x00\x01z", wire_str(&in, 9));
    assert_fault("\xc5\x00\x01z", wire_bin(&in, 0, 9));
    assert_fault("\xc6\x00\x00\x00\x01z", wire_bin(&in, 0, 9));
    assert_fault("\xdc\x00\x01\x01", wire_array(&in, 0, 9));
    assert_fault("\xdd\x00\x00\x00\x01\x01", wire_array(&in, 0, 9));
    assert_fault("\xde\x00\x00", wire_map(&in, 9));
    assert_fault("\xdf\x00\x00\x00\x00", wire_map(&in, 9));
}

static void claimed_length_beyond_the_message_is_refused(void **state)
{
    (void)state;
    assert_fault("\xc6\xff\xff\xff\xff", wire_bin(&in, 0, SIZE_MAX));
    assert_fault("\xdb\xff\xff\xff\xff", wire_str(&in, SIZE_MAX));
    assert_fault("\xdd\xff\xff\xff\xff", wire_array(&in, 0, SIZE_MAX));
    assert_fault("\xdd\xff\xff", wire_array(&in, 0, SIZE_MAX));
    assert_fault("\x92\x01", wire_array(&in, 0, SIZE_MAX));
    assert_fault("\xc4\x02z", wire_bin(&in, 0, 9));
    assert_fault("", wire_bool(&in));
}

static void text_with_control_characters_or_bad_utf8_is_refused(void **state)
{
    (void)state;
    const char *bad[] = {"\x01", "a\n", "\x1f", "\x7f", "\xc2\x80", "\xc2\x9f", "\x80", "\xc1\xbf",
        "\xe0\x9f\xbf", "\xed\xa0\x80", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80",
        "\xff", "\xc3", "\xe2\x82", "\xf0\x9f\x92", "a\xc3(", "\xe2\x28\xa1"};
    const char *good[] = {"", " ", "~", "\xc2\xa0", "\xc3\xbc", "\xe0\xa0\x80", "\xed\x9f\xbf",
        "\xee\x80\x80", "\xef\xbf\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(wire_text_is_clean(bytes_of_text(bad[i])));
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        assert_true(wire_text_is_clean(bytes_of_text(good[i])));
    assert_false(wire_text_is_clean(bytes_of("\0", 1)));
    assert_fault("\xa1\n", wire_str(&in, 9));
    assert_reads("\xa2\xc3\xbc", wire_str(&in, 9));
}

static void keys_must_ascend_strictly(void **state)
{
    (void)state;
    static const struct {
        const char *first, *second;
        bool good;
    } cases[] = {{"a", "b", true}, {"", "a", true}, {"a", "ab", true}, {"a", "a", false},
        {"b", "a", false}, {"ab", "a", false}, {"", "", false}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct buf out = {0};
        wire_put_map(&out, 2);
        wire_put_text(&out, cases[i].first);
        wire_put_u64(&out, 1);
        wire_put_text(&out, cases[i].second);
        wire_put_u64(&out, 2);
        struct wire_in in = wire_in(buf_bytes(&out));
        struct bytes last = {0};
        struct err e;
        assert_int_equal(wire_map(&in, 2), 2);
        for (int j = 0; j < 2; j++) {
            wire_key(&in, &last);
            wire_u64(&in, 2);
        }
        assert_int_equal(wire_end(&in, "map", &e), cases[i].good);
        buf_clear(&out);
    }
}

static void key_that_is_no_string_is_refused(void **state)
{
    (void)state;
    struct bytes last = {0};
    assert_fault("\x01", wire_key(&in, &last));
    assert_fault("\xc4\x01z", wire_key(&in, &last));
}

static void bool_and_nil_are_themselves_only(void **state)
{
    (void)state;
    assert_reads("\xc2", wire_bool(&in));
    assert_reads("\xc3", wire_bool(&in));
    assert_fault("\x01", wire_bool(&in));
    assert_fault("\xc0", wire_bool(&in));
    struct wire_in in = wire_in(bytes_of("\xc2", 1));
    assert_false(wire_nil(&in));
    assert_null(in.fault);
    in = wire_in(bytes_of("\xc0", 1));
    assert_true(wire_nil(&in));
    assert_false(wire_nil(&in));
}

static void binary_is_no_string_and_string_no_binary(void **state)
{
    (void)state;
    assert_fault("\xc4\x01z", wire_str(&in, 9));
    assert_fault("\xa1z", wire_bin(&in, 0, 9));
    assert_fault("\x81\xa1z\x01", wire_array(&in, 0, 9));
    assert_fault("\x91\x01", wire_map(&in, 9));
}

static void copies_are_exact_and_zero_after_a_fault(void **state)
{
    (void)state;
    uint8_t out[3] = {9, 9, 9};
    char text[4] = "xyz";
    assert_reads("\xc4\x03\x01\x02\x03", (wire_bin_copy(&in, out, 3), 0));
    assert_memory_equal(out, "\x01\x02\x03", 3);
    assert_fault("\xc4\x02\x01\x02", (wire_bin_copy(&in, out, 3), 0));
    assert_filled(out, 0, 3);
    assert_reads("\xa3"
                 "abc",
        (wire_str_copy(&in, text, sizeof(text)), 0));
    assert_string_equal(text, "abc");
    assert_fault("\xa4"
                 "abcd",
        (wire_str_copy(&in, text, sizeof(text)), 0));
    assert_string_equal(text, "");
}

static void opening_of_another_type_version_or_size_is_refused(void **state)
{
    (void)state;
    struct err e;
    static const struct {
        size_t elements;
        const char *type;
        uint64_t version;
        bool good;
    } cases[] = {{2, "bento-x", 1, true}, {2, "bento-y", 1, false}, {2, "bento-x", 2, false},
        {2, "bento-x", 0, false}, {2, "bento-", 1, false}, {2, "bento-xx", 1, false}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct buf out = {0};
        wire_put_array(&out, cases[i].elements);
        wire_put_text(&out, cases[i].type);
        wire_put_u64(&out, cases[i].version);
        struct wire_in in = wire_in(buf_bytes(&out));
        wire_open(&in, 2, "bento-x");
        assert_int_equal(wire_end(&in, "x", &e), cases[i].good);
        in = wire_in(buf_bytes(&out));
        wire_open(&in, 3, "bento-x");
        assert_false(wire_end(&in, "x", &e));
        buf_clear(&out);
    }
}

static void first_fault_sticks(void **state)
{
    (void)state;
    struct wire_in in = wire_in(bytes_of("\xc0\x01\x01", 3));
    assert_int_equal(wire_u64(&in, 9), 0);
    const char *first = in.fault;
    assert_non_null(first);
    assert_false(wire_nil(&in)); // although one is next
    assert_int_equal(wire_str(&in, 9).len, 0);
    wire_require(&in, false, "later");
    assert_ptr_equal(in.fault, first);
    assert_int_equal(in.rest.len, 3);
    struct err e;
    assert_false(wire_end(&in, "thing", &e));
    assert_code(e, CODE_FORMAT);
    assert_memory_equal(e.text, "thing: ", 7);
}

static void leftover_is_refused_by_the_end(void **state)
{
    (void)state;
    struct wire_in in = wire_in(bytes_of("\x01\x01", 2));
    struct err e;
    assert_int_equal(wire_u64(&in, 9), 1);
    assert_false(wire_end(&in, "thing", &e));
    assert_code(e, CODE_FORMAT);
    assert_int_equal(wire_u64(&in, 9), 1);
    assert_true(wire_end(&in, "thing", &e));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_at_the_borders_round_trip),
        cmocka_unit_test(number_in_a_longer_form_is_refused),
        cmocka_unit_test(negative_float_ext_and_other_types_are_no_numbers),
        cmocka_unit_test(number_at_its_limit_is_read_and_above_it_refused),
        cmocka_unit_test(lengths_at_the_borders_round_trip),
        cmocka_unit_test(length_outside_its_limits_is_refused),
        cmocka_unit_test(length_in_a_longer_form_is_refused),
        cmocka_unit_test(claimed_length_beyond_the_message_is_refused),
        cmocka_unit_test(text_with_control_characters_or_bad_utf8_is_refused),
        cmocka_unit_test(keys_must_ascend_strictly),
        cmocka_unit_test(key_that_is_no_string_is_refused),
        cmocka_unit_test(bool_and_nil_are_themselves_only),
        cmocka_unit_test(binary_is_no_string_and_string_no_binary),
        cmocka_unit_test(copies_are_exact_and_zero_after_a_fault),
        cmocka_unit_test(opening_of_another_type_version_or_size_is_refused),
        cmocka_unit_test(first_fault_sticks),
        cmocka_unit_test(leftover_is_refused_by_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
