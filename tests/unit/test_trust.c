#include "trust.h"

#include "proto_test.h"
#include "proto_token.h"

#define SIGNER 7 // who signed the golden envelope

static void trust_key(struct trust *trust, uint8_t seed)
{
    struct secret_key key;
    struct buf line = {0};
    struct err e;
    key_from_seed(seed, &key);
    public_key_line(&key.public, &line);
    assert_true(trust_add(trust, buf_text(&line), &e));
    buf_clear(&line);
}

static struct trust trust_in(const char *seeds, unsigned threshold)
{
    struct trust trust = {.threshold = threshold};
    memset(trust.fleet, 1, sizeof(trust.fleet));
    for (size_t i = 0; seeds[i] != '\0'; i++)
        trust_key(&trust, (uint8_t)(seeds[i] - '0'));
    return trust;
}

static struct buf good_head(void)
{
    return from_hex(GOLDEN_HEAD);
}

// The envelope of a head, signed by one key a digit of seeds.
static struct buf sign_head(struct bytes head, const char *seeds, const char *namespace)
{
    struct envelope envelope = {.head = head};
    struct buf blobs[SIGNATURES_MAX] = {0}, out = {0};
    for (size_t i = 0; seeds[i] != '\0'; i++) {
        struct secret_key key;
        key_from_seed((uint8_t)(seeds[i] - '0'), &key);
        sshsig_sign(&key, namespace, head, &blobs[i]);
        envelope.signatures[envelope.signature_count++] = buf_bytes(&blobs[i]);
    }
    envelope_encode(&envelope, &out);
    for (size_t i = 0; i < SIGNATURES_MAX; i++)
        buf_clear(&blobs[i]);
    return out;
}

static enum code verdict(const struct trust *trust, struct bytes envelope)
{
    struct head head;
    uint8_t hash[HASH_BYTES];
    struct err e;
    memset(&head, 0x5a, sizeof(head));
    if (trust_verify(trust, envelope, &head, hash, &e))
        return CODE_OK;
    assert_filled((const uint8_t *)&head, 0x5a, sizeof(head));
    return e.code;
}

static void assert_verdict(const struct trust *trust, struct buf *envelope, enum code expected)
{
    assert_string_equal(code_name(verdict(trust, buf_bytes(envelope))), code_name(expected));
    buf_clear(envelope);
}

static void signed_head_is_believed_and_hashed(void **state)
{
    (void)state;
    struct trust trust = trust_in("7", 1);
    struct buf envelope = from_hex(GOLDEN_ENVELOPE), message = good_head();
    struct head head;
    uint8_t hash[HASH_BYTES], wanted[HASH_BYTES];
    struct err e;
    assert_true(trust_verify(&trust, buf_bytes(&envelope), &head, hash, &e));
    sha256(buf_bytes(&message), wanted);
    assert_memory_equal(hash, wanted, sizeof(hash));
    assert_int_equal(head.release, 1700000000);
    // The second implementation signed the golden one.
    struct buf ours = sign_head(buf_bytes(&message), "7", NAMESPACE_RELEASE);
    assert_bytes(buf_bytes(&ours), buf_bytes(&envelope));
    buf_clear(&envelope);
    buf_clear(&message);
    buf_clear(&ours);
}

static bool believes(struct bytes envelope, const void *context)
{
    return verdict(context, envelope) == CODE_OK;
}

static void damaged_envelope_is_not_believed(void **state)
{
    (void)state;
    struct trust trust = trust_in("7", 1);
    struct buf envelope = from_hex(GOLDEN_ENVELOPE);
    every_damage_is_refused(buf_bytes(&envelope), believes, &trust);
    buf_clear(&envelope);
}

static void envelope_too_long_or_no_envelope_is_refused_first(void **state)
{
    (void)state;
    struct trust trust = trust_in("7", 1);
    struct buf envelope = from_hex(GOLDEN_ENVELOPE);
    static uint8_t zeros[ENVELOPE_BYTES_MAX];
    buf_append(&envelope, zeros, sizeof(zeros));
    assert_verdict(&trust, &envelope, CODE_LENGTH);
    buf_append_text(&envelope, "x");
    assert_verdict(&trust, &envelope, CODE_FORMAT);
}

static void first_failing_signature_decides(void **state)
{
    (void)state;
    struct trust trust = trust_in("7", 1);
    struct buf head = good_head(), good = {0}, other = {0}, bad = {0};
    struct secret_key key;
    key_from_seed(SIGNER, &key);
    sshsig_sign(&key, NAMESPACE_RELEASE, buf_bytes(&head), &good);
    sshsig_sign(&key, NAMESPACE_STATUS, buf_bytes(&head), &other);
    sshsig_sign(&key, NAMESPACE_RELEASE, bytes_of_text("another head"), &bad);
    const struct {
        struct bytes signatures[3];
        enum code code;
    } cases[] = {
        {{buf_bytes(&good), buf_bytes(&good), buf_bytes(&good)}, CODE_OK},
        {{bytes_of_text("x"), buf_bytes(&other), buf_bytes(&bad)}, CODE_FORMAT},
        {{buf_bytes(&other), bytes_of_text("x"), buf_bytes(&bad)}, CODE_NAMESPACE},
        {{buf_bytes(&bad), buf_bytes(&other), bytes_of_text("x")}, CODE_SIGNER},
        {{buf_bytes(&good), buf_bytes(&good), bytes_of_text("x")}, CODE_FORMAT},
        {{buf_bytes(&good), buf_bytes(&other), bytes_of_text("x")}, CODE_NAMESPACE},
        {{buf_bytes(&good), buf_bytes(&good), buf_bytes(&bad)}, CODE_SIGNER},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct envelope envelope = {.head = buf_bytes(&head), .signature_count = 3};
        struct buf out = {0};
        memcpy(envelope.signatures, cases[i].signatures, sizeof(cases[i].signatures));
        envelope_encode(&envelope, &out);
        assert_verdict(&trust, &out, cases[i].code);
    }
    buf_clear(&head);
    buf_clear(&good);
    buf_clear(&other);
    buf_clear(&bad);
}

static void signers_are_counted_once_and_strangers_not_at_all(void **state)
{
    (void)state;
    static const struct {
        const char *signed_by, *trusted;
        unsigned threshold;
        enum code code;
    } cases[] = {
        {"7", "7", 1, CODE_OK},
        {"8", "7", 1, CODE_SIGNER},
        {"87", "7", 1, CODE_OK}, // a stranger's good signature does no harm
        {"7", "78", 2, CODE_THRESHOLD},
        {"77", "78", 2, CODE_THRESHOLD}, // the same key twice
        {"7777", "78", 2, CODE_THRESHOLD},
        {"79", "78", 2, CODE_THRESHOLD}, // one of ours and a stranger
        {"99", "78", 2, CODE_SIGNER},    // none of ours: not THRESHOLD
        {"78", "78", 2, CODE_OK},
        {"87", "78", 2, CODE_OK},
        {"9878", "678", 2, CODE_OK},
        {"678", "678", 3, CODE_OK},
    };
    struct buf head = good_head();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct trust trust = trust_in(cases[i].trusted, cases[i].threshold);
        struct buf envelope = sign_head(buf_bytes(&head), cases[i].signed_by, NAMESPACE_RELEASE);
        assert_verdict(&trust, &envelope, cases[i].code);
    }
    buf_clear(&head);
}

static void head_is_looked_at_after_all_signatures_and_fleet_last(void **state)
{
    (void)state;
    struct trust trust = trust_in("78", 2), one = trust_in("7", 1);
    struct buf head = good_head(), envelope;
    struct bytes nonsense = bytes_of_text("no head");
    envelope = sign_head(nonsense, "9", NAMESPACE_RELEASE);
    assert_verdict(&trust, &envelope, CODE_SIGNER);
    envelope = sign_head(nonsense, "7", NAMESPACE_RELEASE);
    assert_verdict(&trust, &envelope, CODE_THRESHOLD);
    envelope = sign_head(nonsense, "78", NAMESPACE_RELEASE);
    assert_verdict(&trust, &envelope, CODE_FORMAT);
    trust.fleet[31] ^= 1;
    one.fleet[31] ^= 1;
    envelope = sign_head(buf_bytes(&head), "9", NAMESPACE_RELEASE);
    assert_verdict(&trust, &envelope, CODE_SIGNER);
    envelope = sign_head(buf_bytes(&head), "7", NAMESPACE_RELEASE);
    assert_verdict(&trust, &envelope, CODE_THRESHOLD);
    envelope = sign_head(nonsense, "7", NAMESPACE_RELEASE);
    assert_verdict(&one, &envelope, CODE_FORMAT);
    envelope = sign_head(buf_bytes(&head), "7", NAMESPACE_RELEASE);
    assert_verdict(&one, &envelope, CODE_FLEET);
    buf_clear(&head);
}

static void key_of_another_type_is_another_signer(void **state)
{
    (void)state;
    const char *applications[] = {"", TOKEN_APPLICATION};
    struct buf head = good_head();
    for (size_t i = 0; i < 2; i++) {
        struct trust trust = trust_in("7", 1);
        trust.signers[0].type = KEY_SK_ED25519;
        strcpy(trust.signers[0].application, applications[i]);
        struct buf envelope = sign_head(buf_bytes(&head), "7", NAMESPACE_RELEASE);
        assert_verdict(&trust, &envelope, CODE_SIGNER);
    }
    buf_clear(&head);
}

static void token_is_believed_when_touched_and_with_its_pin_if_required(void **state)
{
    (void)state;
    static const struct {
        uint8_t flags;
        bool require_pin;
        enum code code;
    } cases[] = {{1, false, CODE_OK}, {0, false, CODE_SIGNER}, {4, false, CODE_SIGNER},
        {1, true, CODE_SIGNER}, {5, true, CODE_OK}};
    struct buf head = good_head();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct trust trust = trust_in("", 1);
        struct buf blob = {0}, out = {0};
        trust.require_pin = cases[i].require_pin;
        token_key(6, &trust.signers[0]);
        trust.signer_count = 1;
        token_sign(6, cases[i].flags, NAMESPACE_RELEASE, buf_bytes(&head), &blob);
        struct envelope envelope = {
            .head = buf_bytes(&head), .signature_count = 1, .signatures[0] = buf_bytes(&blob)};
        envelope_encode(&envelope, &out);
        assert_int_equal(verdict(&trust, buf_bytes(&out)), cases[i].code);
        strcpy(trust.signers[0].application, "ssh:x"); // the same token, for something else
        assert_int_equal(verdict(&trust, buf_bytes(&out)), CODE_SIGNER);
        buf_clear(&blob);
        buf_clear(&out);
    }
    buf_clear(&head);
}

static void double_or_bad_signer_is_an_error(void **state)
{
    (void)state;
    struct trust trust = trust_in("7", 1);
    struct secret_key key;
    struct buf line = {0};
    struct err e;
    key_from_seed(7, &key);
    public_key_line(&key.public, &line);
    buf_append_text(&line, " another comment");
    assert_false(trust_add(&trust, buf_text(&line), &e));
    assert_code(e, CODE_CONFIG);
    key.public.type = KEY_SK_ED25519;
    strcpy(key.public.application, "ssh:");
    buf_clear(&line);
    public_key_line(&key.public, &line);
    assert_false(trust_add(&trust, buf_text(&line), &e));
    assert_code(e, CODE_CONFIG);
    assert_false(trust_add(&trust, "ssh-ed25519 nonsense", &e));
    assert_code(e, CODE_CONFIG);
    assert_int_equal(trust.signer_count, 1);
    buf_clear(&line);
}

static void signers_at_their_limit(void **state)
{
    (void)state;
    struct trust trust = {.threshold = 1};
    struct secret_key key;
    struct buf line = {0};
    struct err e;
    for (uint8_t i = 0; i < SIGNERS_MAX; i++)
        trust_key(&trust, (uint8_t)(100 + i));
    assert_true(trust_check(&trust, &e));
    key_from_seed(99, &key);
    public_key_line(&key.public, &line);
    assert_false(trust_add(&trust, buf_text(&line), &e));
    assert_code(e, CODE_CONFIG);
    assert_int_equal(trust.signer_count, SIGNERS_MAX);
    buf_clear(&line);
}

static void threshold_must_be_reachable_and_not_zero(void **state)
{
    (void)state;
    static const struct {
        const char *signers;
        unsigned threshold;
        bool good;
    } cases[] = {{"", 0, false}, {"", 1, false}, {"7", 0, false}, {"7", 1, true}, {"7", 2, false},
        {"78", 2, true}, {"78", 3, false}, {"3456789", SIGNATURES_MAX, true},
        {"3456789", SIGNATURES_MAX + 1, false}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct trust trust = trust_in(cases[i].signers, cases[i].threshold);
        struct err e;
        assert_int_equal(trust_check(&trust, &e), cases[i].good);
        if (!cases[i].good)
            assert_code(e, CODE_CONFIG);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signed_head_is_believed_and_hashed),
        cmocka_unit_test(damaged_envelope_is_not_believed),
        cmocka_unit_test(envelope_too_long_or_no_envelope_is_refused_first),
        cmocka_unit_test(first_failing_signature_decides),
        cmocka_unit_test(signers_are_counted_once_and_strangers_not_at_all),
        cmocka_unit_test(head_is_looked_at_after_all_signatures_and_fleet_last),
        cmocka_unit_test(key_of_another_type_is_another_signer),
        cmocka_unit_test(token_is_believed_when_touched_and_with_its_pin_if_required),
        cmocka_unit_test(double_or_bad_signer_is_an_error),
        cmocka_unit_test(signers_at_their_limit),
        cmocka_unit_test(threshold_must_be_reachable_and_not_zero),
    };
    return cmocka_run_group_tests(tests, start_sodium, NULL);
}
