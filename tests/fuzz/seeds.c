// `fuzz_seeds FOLDER`: writes the corpora, FOLDER/TARGET/NAME. They are the same every time: after
// a change of a format the test fuzz/seeds fails until this has run again and its result is
// committed. What fuzzing found lies beside them and stays.
#include "world.h"

#include "decision.h"
#include "fs.h"
#include "journal.h"
#include "message.h"
#include "spool.h"
#include "sshwire.h"
#include "verify.h"

#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void must(bool ok, const struct err *e)
{
    if (!ok) {
        fprintf(stderr, "%s: %s\n", code_name(e->code), e->text);
        exit(1);
    }
}

static void put(const char *target, const char *name, struct bytes seed)
{
    struct err e;
    char path[128];
    if (!fs_exists(AT_FDCWD, target))
        must(fs_make_dir(AT_FDCWD, target, 0755, false, &e), &e);
    snprintf(path, sizeof path, "%s/%s", target, name);
    must(fs_write(AT_FDCWD, path, seed, 0644, &e), &e);
}

// Puts and clears.
static void put_buf(const char *target, const char *name, struct buf *seed)
{
    put(target, name, buf_bytes(seed));
    buf_clear(seed);
}

static void put_release(const struct world *world)
{
    struct buf tick = {0};
    put("head", "head", buf_bytes(&world->head_bytes));
    put("envelope", "signed", buf_bytes(&world->envelope));
    put("roster", "three", buf_bytes(&world->roster));
    put("ticket", "empty", buf_bytes(&world->raw_tickets[0]));
    put("ticket", "full", buf_bytes(&world->raw_tickets[WORLD_NODE]));
    put("proven", "first", buf_bytes(&world->provens[0]));
    put("proven", "last", buf_bytes(&world->provens[2]));
    put("bundle", "full", buf_bytes(&world->bundle));
    put("tree", "three", buf_bytes(&world->tree));
    put("unpack", "three", buf_bytes(&world->tree));
    put("published", "release", buf_bytes(&world->published));
    tick_encode(2, 1700000000, &tick);
    put_buf("published", "tick", &tick);
}

// Every key of meta, none with its default.
static void put_full_meta(void)
{
    struct buf out = {0};
    struct err e;
    struct bundle bundle = {.meta = {.action = ACTION_BOOT,
                                .kind = KIND_CLASSIC,
                                .last_resort = LAST_RESORT_REBOOT,
                                .nixpkgs_url = bytes_of_text("https://example.org/n"),
                                .nixpkgs_sha256 = bytes_of_text("sha256-x"),
                                .public_key_count = 1,
                                .public_keys = {bytes_of_text("k:1")},
                                .reboot = bytes_of_text("when-needed"),
                                .has_retry = true,
                                .self_update = true,
                                .substitute_only = true,
                                .system = bytes_of_text("x86_64-linux"),
                                .unit_failures = UNIT_FAILURES_ROLLBACK}};
    must(bundle_encode(&bundle, &out, &e), &e);
    put_buf("bundle", "meta", &out);
    bundle = (struct bundle){0};
    must(bundle_encode(&bundle, &out, &e), &e);
    put_buf("bundle", "least", &out);
}

// The trap for a check of neighbours, an empty tree, deep folders.
static void put_trees(void)
{
    struct buf out = {0};
    struct err e;
    struct tree none = {0};
    must(tree_encode(&none, &out, &e), &e);
    put("tree", "empty", buf_bytes(&out));
    put_buf("unpack", "empty", &out);
    static const char *const paths[] = {"a", "a-b", "a/b", "../x", "/x", "x/../../y"};
    wire_put_open(&out, 3, "bento-tree");
    wire_put_array(&out, 3);
    for (size_t i = 0; i < 6; i++) {
        wire_put_array(&out, 3);
        wire_put_text(&out, paths[i]);
        wire_put_bool(&out, false);
        wire_put_bin(&out, bytes_of_text("x"));
        if (i == 2) {
            put("tree", "trap", buf_bytes(&out));
            put_buf("unpack", "trap", &out);
            wire_put_open(&out, 3, "bento-tree");
            wire_put_array(&out, 3);
        }
    }
    put_buf("unpack", "out", &out);
}

static void put_status(const struct world *world)
{
    put("status", "rolled-back", buf_bytes(&world->status_body));
    put("signed", "rolled-back", buf_bytes(&world->signed_status));
}

// One for the opening, and one behind the byte that says who asks.
static void put_request(const char *name, struct buf *request)
{
    struct buf whole = {0};
    put("request", name, buf_bytes(request));
    for (uint8_t who = 0; who < 2; who++) {
        char path[64];
        snprintf(path, sizeof path, "%s-%s", name, who == 0 ? "public" : "admin");
        buf_append(&whole, &who, 1);
        buf_append(&whole, request->at, request->len);
        put_buf("inbox", path, &whole);
    }
    buf_clear(request);
}

static void put_public_requests(const struct world *world)
{
    struct buf out = {0};
    uint8_t hash[HASH_BYTES];
    request_put_open(&out, OP_GET_HEAD, 0);
    put_request("get-head", &out);
    sha256(buf_bytes(&world->head_bytes), hash);
    request_put_open(&out, OP_GET_TICKET, 2);
    wire_put_hash(&out, hash);
    wire_put_hash(&out, world->ids[WORLD_NODE]);
    put_request("get-ticket", &out);
    request_put_open(&out, OP_GET_BLOB, 2);
    wire_put_hash(&out, world->tickets[WORLD_NODE].ct_hash);
    wire_put_u64(&out, 0);
    put_request("get-blob", &out);
    request_put_open(&out, OP_PUT_STATUS, 1);
    wire_put_bin(&out, buf_bytes(&world->signed_status));
    put_request("put-status", &out);
}

static void put_publish(const struct world *world)
{
    struct buf out = {0};
    static const uint8_t none[HASH_BYTES];
    request_put_open(&out, OP_PUBLISH, 4);
    wire_put_hash(&out, none);
    wire_put_bin(&out, buf_bytes(&world->envelope));
    wire_put_bin(&out, buf_bytes(&world->roster));
    wire_put_array(&out, WORLD_NODES);
    for (size_t i = 0; i < WORLD_NODES; i++)
        wire_put_bin(&out, buf_bytes(&world->raw_tickets[i]));
    put_request("publish", &out);
}

static void put_admin_requests(const struct world *world)
{
    struct buf out = {0};
    request_put_open(&out, OP_GET_RELEASE, 0);
    put_request("get-release", &out);
    request_put_open(&out, OP_MISSING_BLOBS, 1);
    wire_put_array(&out, 2);
    wire_put_hash(&out, world->tickets[WORLD_NODE].ct_hash);
    wire_put_hash(&out, world->ids[0]);
    put_request("missing-blobs", &out);
    request_put_open(&out, OP_PUT_BLOB, 4);
    wire_put_hash(&out, world->ids[0]);
    wire_put_u64(&out, 100);
    wire_put_u64(&out, 0);
    wire_put_bin(&out, bytes_of_text("a chunk"));
    put_request("put-blob", &out);
    put_publish(world);
    request_put_open(&out, OP_GET_STATUSES, 1);
    wire_put_hash(&out, world->ids[0]);
    put_request("get-statuses", &out);
    request_put_open(&out, OP_GET_HISTORY, 2);
    wire_put_hash(&out, world->ids[WORLD_NODE]);
    wire_put_u64(&out, UINT64_MAX);
    put_request("get-history", &out);
    request_put_open(&out, OP_GET_EARLIER, 1);
    wire_put_hash(&out, world->ids[0]);
    put_request("get-earlier", &out);
}

static void put_replies(const struct world *world)
{
    struct buf out = {0};
    uint8_t hash[HASH_BYTES];
    reply_put_open(&out, CODE_NONE, 0);
    put_buf("reply", "none", &out);
    reply_put_open(&out, CODE_STALE, 1);
    wire_put_bin(&out, buf_bytes(&world->envelope));
    put_buf("reply", "stale", &out);
    reply_put_open(&out, CODE_OK, 1);
    wire_put_bin(&out, buf_bytes(&world->provens[0]));
    put_buf("reply", "ticket", &out);
    reply_put_open(&out, CODE_OK, 2);
    wire_put_u64(&out, world->blobs[2].len);
    wire_put_bin(&out, buf_bytes(&world->blobs[2]));
    put_buf("reply", "chunk", &out);
    sha256(buf_bytes(&world->signed_status), hash);
    reply_put_open(&out, CODE_OK, 2);
    wire_put_u64(&out, world->status.seq);
    wire_put_hash(&out, hash);
    put_buf("reply", "stored", &out);
}

// As sshsig_sign() would, by a token that only pretends: decoding does not verify.
static void put_token_signature(void)
{
    struct buf out = {0}, key_blob = {0}, signature = {0};
    struct public_key key = {.type = KEY_SK_ED25519, .ed25519 = {1}, .application = "ssh:"};
    static const uint8_t zeros[64];
    public_key_encode(&key, &key_blob);
    sshwire_put_text(&signature, "sk-ssh-ed25519@openssh.com");
    sshwire_put_string(&signature, bytes_of(zeros, sizeof zeros));
    buf_append(&signature, "\5", 1);
    sshwire_put_u32(&signature, 7);
    buf_append_text(&out, "SSHSIG");
    sshwire_put_u32(&out, 1);
    sshwire_put_string(&out, buf_bytes(&key_blob));
    sshwire_put_text(&out, NAMESPACE_RELEASE);
    sshwire_put_text(&out, "");
    sshwire_put_text(&out, "sha512");
    sshwire_put_string(&out, buf_bytes(&signature));
    put_buf("sshsig", "token", &out);
    put_buf("public_key", "token-blob", &key_blob);
    public_key_line(&key, &out);
    put_buf("public_key", "token", &out);
    buf_clear(&signature);
}

static void put_signatures(const struct world *world)
{
    struct buf blob = {0}, out = {0};
    sshsig_sign(&world->admin, NAMESPACE_RELEASE, buf_bytes(&world->head_bytes), &blob);
    put("sshsig", "file", buf_bytes(&blob));
    sshsig_to_armor(buf_bytes(&blob), &out);
    put_buf("armor", "file", &out);
    put_buf("armor", "blob", &blob);
    public_key_line(&world->admin.public, &out);
    buf_append_text(&out, " admin@example.org\n");
    put_buf("public_key", "file", &out);
    public_key_encode(&world->admin.public, &blob);
    put_buf("public_key", "file-blob", &blob);
    put_token_signature();
}

// openssh-key-v1 as ssh-keygen writes it: its binary, and armored.
static void put_secret_key(const struct world *world)
{
    const struct secret_key *key = &world->keys[0];
    struct buf out = {0}, public_blob = {0}, private = {0};
    char base64[1024];
    public_key_encode(&key->public, &public_blob);
    sshwire_put_u32(&private, 1);
    sshwire_put_u32(&private, 1);
    sshwire_put_text(&private, "ssh-ed25519");
    sshwire_put_string(&private, bytes_of(key->public.ed25519, 32));
    sshwire_put_string(&private, bytes_of(key->ed25519, 64));
    sshwire_put_text(&private, "comment");
    for (uint8_t pad = 1; private.len % 8 != 0; pad++)
        buf_append(&private, &pad, 1);
    buf_append(&out, "openssh-key-v1", 15); // with its NUL
    sshwire_put_text(&out, "none");
    sshwire_put_text(&out, "none");
    sshwire_put_text(&out, "");
    sshwire_put_u32(&out, 1);
    sshwire_put_string(&out, buf_bytes(&public_blob));
    sshwire_put_string(&out, buf_bytes(&private));
    put("secret_key", "binary", buf_bytes(&out));
    sodium_bin2base64(base64, sizeof base64, out.at, out.len, sodium_base64_VARIANT_ORIGINAL);
    buf_clear(&out);
    buf_printf(&out, "-----BEGIN OPENSSH PRIVATE KEY-----\n%s\n-----END OPENSSH PRIVATE KEY-----\n",
        base64);
    put_buf("secret_key", "armored", &out);
    buf_clear(&public_blob);
    buf_clear(&private);
}

static void put_spool(const struct world *world)
{
    static struct acks acks = {.count = 2, .list = {{1, {1}, false}, {UINT64_MAX, {2}, true}}};
    struct want want = {.seen = {1},
        .blob_count = 2,
        .blobs = {{{1}, 100}, {{2}, BLOB_BYTES_MAX}},
        .reach_seq = 17,
        .anew = true};
    struct buf out = {0};
    char name[RELEASE_NAME_BYTES];
    memcpy(want.node_id, world->ids[0], HASH_BYTES);
    want_encode(&want, &out);
    put_buf("want", "reach", &out);
    acks_encode(&acks, &out);
    put_buf("acks", "two", &out);
    spool_release_name(1, 1700000000, world->ids[0], name);
    put("spool_name", "release", bytes_of_text(name));
    spool_status_name(UINT64_C(1700000000123456789), name);
    put("spool_name", "status", bytes_of_text(name));
}

static void put_floor(void)
{
    struct floor floor = {.epoch = 2, .release = 1700000000, .has_hash = true, .head_hash = {1}};
    struct buf out = {0};
    floor_encode(&floor, &out);
    put_buf("floor", "hash", &out);
    floor.has_hash = false;
    floor_encode(&floor, &out);
    put_buf("floor", "minimum", &out);
}

// A fresh folder for a slots file; it is the corpus's, where a file of this name would be a seed.
static int open_corpus(const char *target)
{
    struct err e;
    int dir;
    if (!fs_exists(AT_FDCWD, target))
        must(fs_make_dir(AT_FDCWD, target, 0755, false, &e), &e);
    must(fs_open_dir(AT_FDCWD, target, &dir, &e), &e);
    return dir;
}

static void put_decision(void)
{
    CLEANUP_FD dir = open_corpus("decision");
    struct job_key key;
    struct slots slots;
    struct buf out = {0};
    struct err e;
    world_trial(key.digest, &key.attempt);
    must(decision_write(dir, &key, DECISION_REVERT, &e), &e);
    must(slots_open(&slots, dir, "decision", 128, &e), &e);
    must(slots_read(&slots, &out, &e), &e);
    slots_close(&slots);
    must(fs_remove(dir, "decision", &e), &e);
    put_buf("decision", "revert", &out);
}

static void put_journal(void)
{
    struct apply apply;
    struct buf out = {0};
    apply_init(&apply);
    journal_encode(&apply, &out);
    put_buf("journal", "idle", &out);
    apply.state = APPLY_CONFIRMING;
    world_trial(apply.trial.digest, &apply.trial.attempt);
    strcpy(apply.trial.new_path, "/nix/store/new");
    strcpy(apply.trial.old_path, "/nix/store/old");
    strcpy(apply.trial.old_profile, "/nix/store/profile");
    apply.target = (struct apply_config){.epoch = 1,
        .release = 2,
        .path = "/nix/store/new",
        .unit_failures = UNIT_FAILURES_ROLLBACK,
        .has_health = true,
        .confirm_ms = 1000};
    world_trial(apply.target.digest, &apply.attempt);
    apply.deadline_ms = 100000;
    apply.report = (struct apply_report){.seq = 5, .state = NODE_CONFIRMING, .attempt = 2};
    apply.memories[0] = (struct apply_memory){{1}, 3, OUTCOME_FAILED, CODE_SWITCH};
    journal_encode(&apply, &out);
    put_buf("journal", "confirming", &out);
    apply.state = APPLY_PROVING;
    apply.unproven = apply.started = true;
    apply.boots = 1;
    apply.applied = apply.target;
    strcpy(apply.before_profile, "/nix/store/profile");
    strcpy(apply.trial.specialisation, "work");
    journal_encode(&apply, &out);
    put_buf("journal", "proving", &out);
}

// The two slots without the zeros behind their records, the shorter one filled up.
static void put_slots(void)
{
    CLEANUP_FD dir = open_corpus("slots");
    struct slots slots;
    struct err e;
    struct buf out = {0}, file = {0};
    must(slots_open(&slots, dir, "slots", 1000, &e), &e);
    must(slots_write(&slots, bytes_of_text("older"), &e), &e);
    must(slots_write(&slots, bytes_of_text("the newest"), &e), &e);
    slots_close(&slots);
    must(fs_read(dir, "slots", 8192, &file, &e), &e);
    must(fs_remove(dir, "slots", &e), &e);
    for (uint8_t mend = 0; mend < 4; mend += 3) {
        buf_append(&out, &mend, 1);
        buf_append(&out, file.at, 80);
        buf_append(&out, file.at + 4096, 80);
        put_buf("slots", mend == 0 ? "two" : "mended", &out);
    }
    buf_clear(&file);
}

static void put_config(const struct world *world)
{
    struct buf out = {0}, line = {0};
    char fleet[HASH_HEX_BYTES];
    hex_encode(world->trust.fleet, HASH_BYTES, fleet);
    public_key_line(&world->admin.public, &line);
    buf_printf(&out,
        "{\"fleet\":\"%s\",\"signers\":[\"%s admin\"],\"threshold\":1,\"require_pin\":false,"
        "\"epoch\":0,\"minimum_release\":0,\"endpoints\":[{\"tunnel\":\"ssh\",\"host\":\"server\","
        "\"port\":22,\"user\":\"bento-tunnel\",\"host_key\":\"%s\"},{\"tunnel\":\"none\","
        "\"pub\":\"tcp://a:1\",\"rep\":\"tcp://a:2\"},{\"tunnel\":\"command\",\"argv\":[\"nc\","
        "\"x\"],\"pub\":\"tcp://a:1\",\"rep\":\"tcp://a:2\"}],\"confirm_seconds\":60}\n",
        fleet, buf_text(&line), buf_text(&line));
    put_buf("config", "node", &out);
    buf_append_text(&out, "{\"port\":[{\"port\":5}],\"host\":\"x\",\"exact\":{\"d\":null,"
                          "\"enough\":{\"hostile\":1.5}},\"fleet\":[{\"port\":\"00\"}]}");
    put_buf("conf", "shapes", &out);
    buf_append_text(&out, "{\"port\":1000}");
    put_buf("conf", "port", &out);
    buf_clear(&line);
}

static void put_web(void)
{
    put("web", "get", bytes_of_text("GET / HTTP/1.1\r\nHost: localhost:51337\r\n\r\n"));
    put("web", "post",
        bytes_of_text("POST /update HTTP/1.0\r\nHOST:\t[::1]:51337\r\nAccept: */*\r\n"
                      "Origin: http://[::1]:51337\r\nSec-Fetch-Site: same-origin \r\n\r\n"));
}

int main(int argc, char **argv)
{
    if (argc != 2 || sodium_init() < 0 || chdir(argv[1]) != 0) {
        fputs("usage: fuzz_seeds FOLDER\n", stderr);
        return 64;
    }
    const struct world *world = world_always();
    put_release(world);
    put_full_meta();
    put_trees();
    put_status(world);
    put_public_requests(world);
    put_admin_requests(world);
    put_replies(world);
    put_signatures(world);
    put_secret_key(world);
    put_spool(world);
    put_floor();
    put_decision();
    put_journal();
    put_slots();
    put_config(world);
    put_web();
    return 0;
}
