#include "status.h"

#include "proto_test.h"
#include "proto_token.h"

#define NODE 9 // who signed the golden status

static bool recode_status(struct bytes message, struct buf *out, struct err *e)
{
    struct status status;
    if (!status_decode(message, &status, e))
        return false;
    status_encode(&status, out);
    return true;
}
static const struct parser status_parser = {recode_status, CODE_FORMAT};

static struct buf golden_bytes;

static struct status good_status(void)
{
    struct status status;
    struct err e;
    if (golden_bytes.len == 0)
        golden_bytes = from_hex(GOLDEN_STATUS);
    assert_true(status_decode(buf_bytes(&golden_bytes), &status, &e));
    return status;
}

static int clear_golden(void **state)
{
    (void)state;
    buf_clear(&golden_bytes);
    return 0;
}

static void golden_status_says_what_was_put_in(void **state)
{
    (void)state;
    struct status status = good_status();
    assert_filled(status.fleet, 1, 32);
    assert_true(status.seq == UINT64_C(1700000000123456789));
    assert_int_equal(status.time, 1700000000);
    assert_filled(status.nonce, 2, 16);
    assert_filled(status.head_hash, 3, 32);
    assert_int_equal(status.epoch, 2);
    assert_int_equal(status.release, 1699999999);
    assert_filled(status.digest, 4, 32);
    assert_filled(status.applied, 5, 32);
    assert_int_equal(status.attempt, 3);
    assert_int_equal(status.state, NODE_ROLLED_BACK);
    assert_int_equal(status.code, CODE_CONNECTIVITY);
    assert_true(bytes_equal_text(status.running, "/nix/store/run"));
    assert_true(bytes_equal_text(status.booted, "/nix/store/boot"));
    assert_int_equal(status.profile.len, 0);
    assert_filled(status.boot_id, 6, 16);
    assert_true(status.reboot && !status.automatic);
    assert_int_equal(status.speaks, 1);
    assert_int_equal(status.timings.confirm_ms, 180000);
    assert_int_equal(status.timings.fetch_ms, 12);
    assert_int_equal(status.timings.switch_ms, 4000);
    assert_int_equal(status.timings.commit_ms + status.timings.obtain_ms, 0);
    assert_bytes(status.log, bytes_of("log\n\0\xff", 6));
}

static void damaged_status_is_refused_or_another_status(void **state)
{
    (void)state;
    survives_every_damage(&status_parser, GOLDEN_STATUS);
}

static void every_state_and_code_round_trips(void **state)
{
    (void)state;
    struct status status = good_status();
    for (unsigned i = 0; i < NODE_STATE_COUNT; i++) {
        for (unsigned code = 0; code < CODE_COUNT; code++) {
            struct buf out = {0};
            struct status again;
            struct err e;
            status.state = (enum node_state)i;
            status.code = (enum code)code;
            status_encode(&status, &out);
            assert_true(status_decode(buf_bytes(&out), &again, &e));
            assert_int_equal(again.state, i);
            assert_int_equal(again.code, code);
            buf_clear(&out);
        }
    }
    assert_true(node_state_is_live(NODE_TRYING));
    assert_false(node_state_is_live(NODE_UP_TO_DATE));
    assert_string_equal(node_state_word(NODE_REBOOT_PENDING), "reboot-pending");
}

// The golden status with one text replaced by another of its length or not.
static struct buf replaced(const char *old, const char *new)
{
    struct buf golden = from_hex(GOLDEN_STATUS), out = {0};
    struct buf old_str = {0}, new_str = {0};
    wire_put_text(&old_str, old);
    wire_put_text(&new_str, new);
    uint8_t *at = memmem(golden.at, golden.len, old_str.at, old_str.len);
    assert_non_null(at);
    buf_append(&out, golden.at, (size_t)(at - golden.at));
    buf_append(&out, new_str.at, new_str.len);
    at += old_str.len;
    buf_append(&out, at, golden.len - (size_t)(at - golden.at));
    buf_clear(&golden);
    buf_clear(&old_str);
    buf_clear(&new_str);
    return out;
}

static void unknown_words_codes_and_timings_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *old, *new;
        bool good;
    } cases[] = {
        {"rolled-back", "refused", true},
        {"rolled-back", "", false},
        {"rolled-back", "rolled", false},
        {"rolled-back", "NEW", false},
        {"CONNECTIVITY", "", true},
        {"CONNECTIVITY", "OK", false},
        {"CONNECTIVITY", "connectivity", false},
        {"CONNECTIVITY", "NOSUCH", false},
        {"fetch", "commit", false}, // not in order
        {"fetch", "obtain", true},
        {"fetch", "confirm", false}, // twice
        {"fetch", "fetched", false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct buf message = replaced(cases[i].old, cases[i].new);
        if (cases[i].good)
            assert_recodes(&status_parser, buf_bytes(&message));
        else
            assert_refused(&status_parser, buf_bytes(&message));
        buf_clear(&message);
    }
}

static void phase_of_zero_is_absent_and_refused_when_met(void **state)
{
    (void)state;
    struct buf golden = from_hex(GOLDEN_STATUS);
    uint8_t *at = memmem(golden.at, golden.len, "fetch\x0c", 6);
    assert_non_null(at);
    at[5] = 0;
    assert_refused(&status_parser, buf_bytes(&golden));
    buf_clear(&golden);
}

static void log_and_paths_at_their_limits(void **state)
{
    (void)state;
    static uint8_t log[STATUS_LOG_BYTES_MAX + 1];
    static char path[STORE_PATH_BYTES_MAX + 1];
    struct status status = good_status();
    struct buf out = {0};
    memset(path, 'p', sizeof(path));
    status.log = bytes_of(log, STATUS_LOG_BYTES_MAX);
    status.running = status.booted = status.profile = bytes_of(path, STORE_PATH_BYTES_MAX);
    status_encode(&status, &out);
    assert_recodes(&status_parser, buf_bytes(&out));
    buf_clear(&out);

    status.profile.len++;
    status_encode(&status, &out);
    assert_refused(&status_parser, buf_bytes(&out));
    buf_clear(&out);

    status.profile.len--;
    status.log.len = 0;
    status_encode(&status, &out);
    assert_int_equal(out.at[out.len - 2], 0xc4);
    out.len -= 2; // another log instead
    wire_put_bin(&out, bytes_of(log, STATUS_LOG_BYTES_MAX + 1));
    assert_refused(&status_parser, buf_bytes(&out));
    buf_clear(&out);
}

// ---- signed

static enum code verdict(struct bytes message, const uint8_t fleet[32])
{
    struct status status = {.attempt = 77};
    struct err e;
    if (status_verify(message, fleet, &status, &e))
        return CODE_OK;
    assert_int_equal(status.attempt, 77);
    return e.code;
}

static struct buf put_signed(struct bytes body, struct bytes signature)
{
    struct buf out = {0};
    wire_put_open(&out, 4, "bento-signed");
    wire_put_bin(&out, body);
    wire_put_bin(&out, signature);
    return out;
}

static bool is_good(struct bytes message, const void *context)
{
    return verdict(message, context) == CODE_OK;
}

static void damaged_signed_status_is_refused(void **state)
{
    (void)state;
    struct buf golden = from_hex(GOLDEN_SIGNED);
    uint8_t fleet[32];
    memset(fleet, 1, sizeof(fleet));
    every_damage_is_refused(buf_bytes(&golden), is_good, fleet);
    buf_clear(&golden);
}

static void signing_gives_what_the_second_implementation_signed(void **state)
{
    (void)state;
    struct buf golden = from_hex(GOLDEN_SIGNED), out = {0};
    struct status status = good_status();
    struct secret_key key;
    uint8_t id[HASH_BYTES];
    key_from_seed(NODE, &key);
    public_key_id(&key.public, id);
    assert_memory_equal(status.node_id, id, sizeof(id));
    status_sign(&status, &key, &out);
    assert_bytes(buf_bytes(&out), buf_bytes(&golden));
    buf_clear(&golden);
    buf_clear(&out);
}

static void faults_have_their_codes_and_their_order(void **state)
{
    (void)state;
    static uint8_t zeros[STATUS_BYTES_MAX + 1];
    struct status status = good_status();
    struct secret_key key, other;
    uint8_t fleet[32], other_fleet[32] = {0};
    struct buf body = {0}, sig = {0}, out;
    memset(fleet, 1, sizeof(fleet));
    key_from_seed(NODE, &key);
    key_from_seed(NODE + 1, &other);
    status_encode(&status, &body);

    assert_int_equal(verdict(bytes_of(zeros, sizeof(zeros)), fleet), CODE_LENGTH);
    assert_int_equal(verdict(bytes_of(zeros, sizeof(zeros) - 1), fleet), CODE_FORMAT);

    out = put_signed(buf_bytes(&body), bytes_of_text("no signature"));
    assert_int_equal(verdict(buf_bytes(&out), fleet), CODE_FORMAT);
    buf_clear(&out);

    sshsig_sign(&key, NAMESPACE_RELEASE, buf_bytes(&body), &sig);
    out = put_signed(buf_bytes(&body), buf_bytes(&sig));
    assert_int_equal(verdict(buf_bytes(&out), other_fleet), CODE_NAMESPACE);
    buf_clear(&out);
    buf_clear(&sig);

    sshsig_sign(&key, NAMESPACE_STATUS, bytes_of_text("another body"), &sig);
    out = put_signed(buf_bytes(&body), buf_bytes(&sig));
    assert_int_equal(verdict(buf_bytes(&out), other_fleet), CODE_SIGNER);
    buf_clear(&out);
    buf_clear(&sig);

    status_sign(&status, &other, &sig); // in the name of NODE
    assert_int_equal(verdict(buf_bytes(&sig), other_fleet), CODE_SIGNER);
    buf_clear(&sig);

    sshsig_sign(&key, NAMESPACE_STATUS, bytes_of_text("no status"), &sig);
    out = put_signed(bytes_of_text("no status"), buf_bytes(&sig));
    assert_int_equal(verdict(buf_bytes(&out), fleet), CODE_FORMAT);
    buf_clear(&out);
    buf_clear(&sig);

    status_sign(&status, &key, &sig);
    assert_int_equal(verdict(buf_bytes(&sig), other_fleet), CODE_FLEET);
    assert_int_equal(verdict(buf_bytes(&sig), fleet), CODE_OK);
    buf_clear(&sig);
    buf_clear(&body);
}

static void status_signed_by_a_token_is_refused(void **state)
{
    (void)state;
    struct status status = good_status();
    struct public_key token;
    struct buf body = {0}, sig = {0};
    token_key(NODE, &token);
    public_key_id(&token, status.node_id); // its own id, so that only its type is wrong
    status_encode(&status, &body);
    token_sign(NODE, 5, NAMESPACE_STATUS, buf_bytes(&body), &sig);
    struct buf out = put_signed(buf_bytes(&body), buf_bytes(&sig));
    assert_int_equal(verdict(buf_bytes(&out), status.fleet), CODE_SIGNER);
    buf_clear(&body);
    buf_clear(&sig);
    buf_clear(&out);
}

static void largest_honest_status_is_below_the_limit(void **state)
{
    (void)state;
    static uint8_t log[STATUS_LOG_BYTES_MAX];
    static char path[STORE_PATH_BYTES_MAX];
    struct status status = good_status();
    struct secret_key key;
    struct buf out = {0};
    memset(path, 'p', sizeof(path));
    key_from_seed(NODE, &key);
    status.log = bytes_of(log, sizeof(log));
    status.running = status.booted = status.profile = bytes_of(path, sizeof(path));
    status_sign(&status, &key, &out);
    assert_true(out.len <= STATUS_BYTES_MAX);
    assert_int_equal(verdict(buf_bytes(&out), status.fleet), CODE_OK);
    buf_clear(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_status_says_what_was_put_in),
        cmocka_unit_test(damaged_status_is_refused_or_another_status),
        cmocka_unit_test(every_state_and_code_round_trips),
        cmocka_unit_test(unknown_words_codes_and_timings_are_refused),
        cmocka_unit_test(phase_of_zero_is_absent_and_refused_when_met),
        cmocka_unit_test(log_and_paths_at_their_limits),
        cmocka_unit_test(damaged_signed_status_is_refused),
        cmocka_unit_test(signing_gives_what_the_second_implementation_signed),
        cmocka_unit_test(faults_have_their_codes_and_their_order),
        cmocka_unit_test(status_signed_by_a_token_is_refused),
        cmocka_unit_test(largest_honest_status_is_below_the_limit),
    };
    return cmocka_run_group_tests(tests, start_sodium, clear_golden);
}
