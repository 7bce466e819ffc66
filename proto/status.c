#include "status.h"

#include <string.h>

#define TYPE_STATUS "bento-status"
#define TYPE_SIGNED "bento-signed"
#define CODE_BYTES_MAX 32
#define WORD_BYTES_MAX 32

#define NODE_STATE_WORD(name, word, live) [NODE_##name] = word,
static const char *const words[NODE_STATE_COUNT] = {NODE_STATES(NODE_STATE_WORD)};
#undef NODE_STATE_WORD

#define NODE_STATE_LIVE(name, word, live) [NODE_##name] = live,
static const bool lives[NODE_STATE_COUNT] = {NODE_STATES(NODE_STATE_LIVE)};
#undef NODE_STATE_LIVE

const char *node_state_word(enum node_state state)
{
    ASSERT((unsigned)state < NODE_STATE_COUNT);
    return words[state];
}

bool node_state_is_live(enum node_state state)
{
    ASSERT((unsigned)state < NODE_STATE_COUNT);
    return lives[state];
}

static enum node_state take_state(struct wire_in *in)
{
    struct bytes word = wire_str(in, WORD_BYTES_MAX);
    for (unsigned i = 0; i < NODE_STATE_COUNT; i++) {
        if (bytes_equal_text(word, words[i]))
            return (enum node_state)i;
    }
    wire_require(in, false, "an unknown state");
    return NODE_NEW;
}

static enum code take_code(struct wire_in *in)
{
    enum code code = CODE_OK;
    struct bytes name = wire_str(in, CODE_BYTES_MAX);
    if (name.len == 0)
        return CODE_OK;
    bool known = code_parse((const char *)name.at, name.len, &code) && code != CODE_OK;
    wire_require(in, known, "an unknown code");
    return code;
}

// The phases in ascending order of their keys.
#define TIMINGS_COUNT 5
static const char *const timing_keys[TIMINGS_COUNT] = {
    "commit", "confirm", "fetch", "obtain", "switch"};

static void put_timings(const struct timings *timings, struct buf *out)
{
    const uint64_t values[TIMINGS_COUNT] = {timings->commit_ms, timings->confirm_ms,
        timings->fetch_ms, timings->obtain_ms, timings->switch_ms};
    size_t count = 0;
    for (size_t i = 0; i < TIMINGS_COUNT; i++)
        count += values[i] != 0;
    wire_put_map(out, count);
    for (size_t i = 0; i < TIMINGS_COUNT; i++) {
        if (values[i] == 0)
            continue;
        wire_put_text(out, timing_keys[i]);
        wire_put_u64(out, values[i]);
    }
}

static void take_timings(struct wire_in *in, struct timings *timings)
{
    uint64_t *const values[TIMINGS_COUNT] = {&timings->commit_ms, &timings->confirm_ms,
        &timings->fetch_ms, &timings->obtain_ms, &timings->switch_ms};
    struct bytes last = {0};
    size_t pairs = wire_map(in, TIMINGS_COUNT);
    for (size_t i = 0; i < pairs && in->fault == NULL; i++) {
        struct bytes key = wire_key(in, &last);
        size_t which = 0;
        while (which < TIMINGS_COUNT && !bytes_equal_text(key, timing_keys[which]))
            which++;
        wire_require(in, which < TIMINGS_COUNT, "an unknown key in timings");
        if (in->fault != NULL)
            return;
        *values[which] = wire_u64(in, UINT64_MAX);
        wire_require(in, *values[which] != 0, "a phase of 0 ms in timings");
    }
}

void status_encode(const struct status *status, struct buf *out)
{
    ASSERT(status->log.len <= STATUS_LOG_BYTES_MAX);
    ASSERT((unsigned)status->code < CODE_COUNT);
    wire_put_open(out, 24, TYPE_STATUS);
    wire_put_hash(out, status->fleet);
    wire_put_hash(out, status->node_id);
    wire_put_u64(out, status->seq);
    wire_put_u64(out, status->time);
    wire_put_bin(out, bytes_of(status->nonce, sizeof(status->nonce)));
    wire_put_hash(out, status->head_hash);
    wire_put_u64(out, status->epoch);
    wire_put_u64(out, status->release);
    wire_put_hash(out, status->digest);
    wire_put_hash(out, status->applied);
    wire_put_u64(out, status->attempt);
    wire_put_text(out, node_state_word(status->state));
    wire_put_text(out, status->code == CODE_OK ? "" : code_name(status->code));
    wire_put_str(out, status->running);
    wire_put_str(out, status->booted);
    wire_put_str(out, status->profile);
    wire_put_bin(out, bytes_of(status->boot_id, sizeof(status->boot_id)));
    wire_put_bool(out, status->reboot);
    wire_put_bool(out, status->automatic);
    wire_put_u64(out, status->speaks);
    put_timings(&status->timings, out);
    wire_put_bin(out, status->log);
}

bool status_decode(struct bytes message, struct status *status, struct err *e)
{
    struct wire_in in = wire_in(message);
    struct status found = {0};
    wire_open(&in, 24, TYPE_STATUS);
    wire_bin_copy(&in, found.fleet, sizeof(found.fleet));
    wire_bin_copy(&in, found.node_id, sizeof(found.node_id));
    found.seq = wire_u64(&in, UINT64_MAX);
    found.time = wire_u64(&in, UINT64_MAX);
    wire_bin_copy(&in, found.nonce, sizeof(found.nonce));
    wire_bin_copy(&in, found.head_hash, sizeof(found.head_hash));
    found.epoch = wire_u64(&in, UINT64_MAX);
    found.release = wire_u64(&in, UINT64_MAX);
    wire_bin_copy(&in, found.digest, sizeof(found.digest));
    wire_bin_copy(&in, found.applied, sizeof(found.applied));
    found.attempt = (uint32_t)wire_u64(&in, UINT32_MAX);
    found.state = take_state(&in);
    found.code = take_code(&in);
    found.running = wire_str(&in, STORE_PATH_BYTES_MAX);
    found.booted = wire_str(&in, STORE_PATH_BYTES_MAX);
    found.profile = wire_str(&in, STORE_PATH_BYTES_MAX);
    wire_bin_copy(&in, found.boot_id, sizeof(found.boot_id));
    found.reboot = wire_bool(&in);
    found.automatic = wire_bool(&in);
    found.speaks = (uint32_t)wire_u64(&in, UINT32_MAX);
    take_timings(&in, &found.timings);
    found.log = wire_bin(&in, 0, STATUS_LOG_BYTES_MAX);
    if (!wire_end(&in, "status", e))
        return false;
    *status = found;
    return true;
}

void status_sign(const struct status *status, const struct secret_key *key, struct buf *out)
{
    struct buf body = {0}, signature = {0};
    status_encode(status, &body);
    sshsig_sign(key, NAMESPACE_STATUS, buf_bytes(&body), &signature);
    wire_put_open(out, 4, TYPE_SIGNED);
    wire_put_bin(out, buf_bytes(&body));
    wire_put_bin(out, buf_bytes(&signature));
    buf_clear(&body);
    buf_clear(&signature);
}

// The body, once its signature was found good, and who made it.
static bool open_signed(
    struct bytes message, struct bytes *body, uint8_t signer_id[HASH_BYTES], struct err *e)
{
    struct wire_in in = wire_in(message);
    struct sshsig sig;
    wire_open(&in, 4, TYPE_SIGNED);
    *body = wire_bin(&in, 0, STATUS_BYTES_MAX);
    struct bytes signature = wire_bin(&in, 0, STATUS_BYTES_MAX);
    if (!wire_end(&in, "signed status", e) || !sshsig_decode(signature, &sig, e) ||
        !sshsig_verify(&sig, NAMESPACE_STATUS, *body, false, e))
        return false;
    if (sig.key.type != KEY_ED25519)
        return err_set(e, CODE_SIGNER, "signed by a token, which no node has");
    public_key_id(&sig.key, signer_id);
    return true;
}

bool status_verify(
    struct bytes message, const uint8_t fleet[32], struct status *status, struct err *e)
{
    struct bytes body;
    struct status found;
    uint8_t signer_id[HASH_BYTES];
    if (message.len > STATUS_BYTES_MAX)
        return err_set(e, CODE_LENGTH, "status: %zu bytes are too many", message.len);
    if (!open_signed(message, &body, signer_id, e) || !status_decode(body, &found, e))
        return false;
    if (memcmp(found.node_id, signer_id, HASH_BYTES) != 0)
        return err_set(e, CODE_SIGNER, "a status in the name of another node");
    if (memcmp(found.fleet, fleet, sizeof(found.fleet)) != 0)
        return err_set(e, CODE_FLEET, "the status of another fleet's node");
    *status = found;
    return true;
}
