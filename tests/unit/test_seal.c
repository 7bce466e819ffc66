#include "seal.h"

#include "proto_test.h"

static const uint8_t blob_key[BLOB_KEY_BYTES] = {1, 2, 3};

static bool opens(struct bytes blob, const void *context)
{
    struct buf plain = {0};
    struct err e;
    (void)context;
    buf_append_text(&plain, "before");
    bool ok = blob_open(blob, blob_key, &plain, &e);
    if (!ok) {
        assert_code(e, CODE_SEAL);
        assert_string_equal(buf_text(&plain), "before");
    }
    buf_clear(&plain);
    return ok;
}

static void damaged_blob_does_not_open(void **state)
{
    (void)state;
    struct buf blob = {0};
    blob_seal(bytes_of_text("a plaintext of some length"), blob_key, &blob);
    every_damage_is_refused(buf_bytes(&blob), opens, NULL);
    buf_clear(&blob);
}

static void opened_blob_is_appended_at_every_length(void **state)
{
    (void)state;
    uint8_t content[200];
    memset(content, 7, sizeof(content));
    for (size_t len = 0; len < sizeof(content); len++) {
        struct buf blob = {0}, plain = {0};
        struct err e;
        buf_append_text(&blob, "x");
        buf_append_text(&plain, "y");
        blob_seal(bytes_of(content, len), blob_key, &blob);
        assert_int_equal(blob.len, 1 + len + BLOB_OVERHEAD_BYTES);
        assert_true(blob_open(bytes_of(blob.at + 1, blob.len - 1), blob_key, &plain, &e));
        assert_bytes(bytes_of(plain.at + 1, plain.len - 1), bytes_of(content, len));
        assert_int_equal(plain.at[0], 'y');
        buf_clear(&blob);
        buf_clear(&plain);
    }
}

static void other_key_does_not_open(void **state)
{
    (void)state;
    struct buf blob = {0}, plain = {0};
    uint8_t key[BLOB_KEY_BYTES], other[BLOB_KEY_BYTES];
    struct err e;
    blob_new_key(key);
    blob_new_key(other);
    assert_memory_not_equal(key, other, sizeof(key));
    blob_seal(bytes_of_text("x"), key, &blob);
    assert_false(blob_open(buf_bytes(&blob), other, &plain, &e));
    assert_code(e, CODE_SEAL);
    assert_true(blob_open(buf_bytes(&blob), key, &plain, &e));
    buf_clear(&blob);
    buf_clear(&plain);
}

static void wrong_length_comes_before_wrong_hash(void **state)
{
    (void)state;
    uint8_t hash[HASH_BYTES], other[HASH_BYTES] = {0};
    struct bytes blob = bytes_of_text("blob");
    struct err e;
    sha256(blob, hash);
    assert_true(blob_check(blob, 4, hash, &e));
    assert_false(blob_check(blob, 5, other, &e));
    assert_code(e, CODE_LENGTH);
    assert_false(blob_check(blob, 3, hash, &e));
    assert_code(e, CODE_LENGTH);
    assert_false(blob_check(blob, 4, other, &e));
    assert_code(e, CODE_HASH);
}

static bool key_opens(struct bytes sealed, const void *context)
{
    uint8_t key[BLOB_KEY_BYTES];
    struct err e;
    memset(key, 0x55, sizeof(key));
    if (sealed.len != SEALED_KEY_BYTES) // the type of the argument forbids it
        return false;
    bool ok = key_open(sealed.at, context, key, &e);
    if (ok) {
        assert_memory_equal(key, blob_key, sizeof(key));
    } else {
        assert_code(e, CODE_SEAL);
        assert_filled(key, 0x55, sizeof(key));
    }
    return ok;
}

static void key_opens_for_its_node_and_undamaged_only(void **state)
{
    (void)state;
    struct secret_key mine, other;
    uint8_t sealed[SEALED_KEY_BYTES], again[SEALED_KEY_BYTES];
    struct err e;
    key_from_seed(1, &mine);
    key_from_seed(2, &other);
    assert_true(key_seal(blob_key, &mine.public, sealed, &e));
    assert_true(key_seal(blob_key, &mine.public, again, &e));
    assert_memory_not_equal(sealed, again, sizeof(sealed));
    assert_true(key_opens(bytes_of(sealed, sizeof(sealed)), &mine));
    assert_true(key_opens(bytes_of(again, sizeof(again)), &mine));
    assert_false(key_opens(bytes_of(sealed, sizeof(sealed)), &other));
    // Not bit 255: X25519 ignores it (RFC 7748 §5), the sealed key is the same. The signed ticket
    // covers it.
    for (size_t bit = 0; bit < 8 * sizeof(sealed); bit++) {
        if (bit == 255)
            continue;
        sealed[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_false(key_opens(bytes_of(sealed, sizeof(sealed)), &mine));
        sealed[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

static void bad_point_and_token_cannot_be_sealed_to(void **state)
{
    (void)state;
    struct public_key to = {.type = KEY_ED25519};
    uint8_t sealed[SEALED_KEY_BYTES] = {0};
    struct secret_key good;
    struct err e;
    assert_false(key_seal(blob_key, &to, sealed, &e)); // y = 0: of small order
    assert_code(e, CODE_CONFIG);
    to.ed25519[0] = 1; // the neutral element
    assert_false(key_seal(blob_key, &to, sealed, &e));
    memset(to.ed25519, 0xff, sizeof(to.ed25519)); // not a number below p
    assert_false(key_seal(blob_key, &to, sealed, &e));
    memset(to.ed25519, 0, sizeof(to.ed25519));
    to.ed25519[0] = 2; // not on the curve
    assert_false(key_seal(blob_key, &to, sealed, &e));
    key_from_seed(1, &good);
    good.public.type = KEY_SK_ED25519;
    assert_false(key_seal(blob_key, &good.public, sealed, &e));
    assert_code(e, CODE_CONFIG);
    assert_filled(sealed, 0, sizeof(sealed));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(damaged_blob_does_not_open),
        cmocka_unit_test(opened_blob_is_appended_at_every_length),
        cmocka_unit_test(other_key_does_not_open),
        cmocka_unit_test(wrong_length_comes_before_wrong_hash),
        cmocka_unit_test(key_opens_for_its_node_and_undamaged_only),
        cmocka_unit_test(bad_point_and_token_cannot_be_sealed_to),
    };
    return cmocka_run_group_tests(tests, start_sodium, NULL);
}
