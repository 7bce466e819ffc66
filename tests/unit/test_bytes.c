#include "bytes.h"

#include "proto_test.h"

static void prefix_comes_first_and_bytes_are_unsigned(void **state)
{
    (void)state;
    assert_true(bytes_compare(bytes_of_text("a"), bytes_of_text("ab")) < 0);
    assert_true(bytes_compare(bytes_of_text("ab"), bytes_of_text("a")) > 0);
    assert_true(bytes_compare(bytes_of_text("a-b"), bytes_of_text("a/b")) < 0);
    assert_true(bytes_compare(bytes_of_text("\xff"), bytes_of_text("a")) > 0);
    assert_int_equal(bytes_compare((struct bytes){0}, (struct bytes){0}), 0);
    assert_true(bytes_compare((struct bytes){0}, bytes_of_text("a")) < 0);
}

static void equality_looks_at_length_and_content(void **state)
{
    (void)state;
    assert_true(bytes_equal(bytes_of_text("ab"), bytes_of("abc", 2)));
    assert_false(bytes_equal(bytes_of_text("ab"), bytes_of_text("abc")));
    assert_false(bytes_equal_text(bytes_of("a\0b", 3), "a"));
    assert_true(bytes_equal_text((struct bytes){0}, ""));
}

static void zero_means_every_byte(void **state)
{
    (void)state;
    uint8_t at[33] = {0};
    assert_true(bytes_are_zero(at, sizeof(at)));
    assert_true(bytes_are_zero(at, 0));
    at[32] = 1;
    assert_false(bytes_are_zero(at, sizeof(at)));
    assert_true(bytes_are_zero(at, 32));
}

static void buffer_grows_and_keeps_its_content(void **state)
{
    (void)state;
    struct buf b = {0};
    for (unsigned i = 0; i < 1000; i++)
        buf_printf(&b, "%03u", i);
    assert_int_equal(b.len, 3000);
    assert_memory_equal(b.at + 2997, "999", 3);
    assert_memory_equal(b.at, "000001", 6);
    buf_clear(&b);
    assert_null(b.at);
    assert_int_equal(b.len + b.room, 0);
}

static void text_of_an_empty_buffer_is_empty(void **state)
{
    (void)state;
    struct buf b = {0};
    assert_string_equal(buf_text(&b), "");
    assert_int_equal(b.len, 0);
    buf_append_text(&b, "abc");
    buf_append(&b, NULL, 0);
    assert_string_equal(buf_text(&b), "abc");
    assert_int_equal(b.len, 3);
    buf_clear(&b);
    buf_clear(&b);
}

static void hex_goes_both_ways(void **state)
{
    (void)state;
    const uint8_t raw[] = {0x00, 0x9f, 0xa0, 0xff};
    char text[9];
    uint8_t back[4];
    hex_encode(raw, sizeof(raw), text);
    assert_string_equal(text, "009fa0ff");
    assert_true(hex_decode(text, 8, back, sizeof(back)));
    assert_memory_equal(back, raw, sizeof(raw));
}

static void hex_of_another_length_or_case_is_refused(void **state)
{
    (void)state;
    uint8_t out[2] = {1, 2};
    assert_false(hex_decode("009F", 4, out, 2));
    assert_false(hex_decode("009", 3, out, 2));
    assert_false(hex_decode("009f0", 5, out, 2));
    assert_false(hex_decode("00 9", 4, out, 2));
    assert_false(hex_decode("00`9", 4, out, 2)); // just below `a`
    assert_false(hex_decode("00g9", 4, out, 2));
    assert_false(hex_decode("0x9f", 4, out, 2));
    assert_int_equal(out[0], 1); // untouched
}

static void sha256_is_the_standard_one(void **state)
{
    (void)state;
    char text[HASH_HEX_BYTES];
    uint8_t hash[HASH_BYTES];
    sha256(bytes_of_text("abc"), hash);
    hex_encode(hash, sizeof(hash), text);
    assert_string_equal(text, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    sha256((struct bytes){0}, hash);
    hex_encode(hash, sizeof(hash), text);
    assert_string_equal(text, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prefix_comes_first_and_bytes_are_unsigned),
        cmocka_unit_test(equality_looks_at_length_and_content),
        cmocka_unit_test(zero_means_every_byte),
        cmocka_unit_test(buffer_grows_and_keeps_its_content),
        cmocka_unit_test(text_of_an_empty_buffer_is_empty),
        cmocka_unit_test(hex_goes_both_ways),
        cmocka_unit_test(hex_of_another_length_or_case_is_refused),
        cmocka_unit_test(sha256_is_the_standard_one),
    };
    return cmocka_run_group_tests(tests, start_sodium, NULL);
}
