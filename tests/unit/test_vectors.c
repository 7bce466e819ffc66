// Every vector of proto/vectors through the real decoders: the code must be the one that stands
// there, and what was understood must be what `expect` says. The vectors are made by another
// implementation (tests/vectors), so that no mistake is made twice in the same way.
#include "bundle.h"
#include "message.h"
#include "proto_test.h"
#include "release.h"
#include "status.h"
#include "tree.h"
#include "vectors.h"
#include "verify.h"

#include <inttypes.h>
#include <stdio.h>

#define LEAVES_MAX 16
#define TICKETS_HERE_MAX 8

// ---- to JSON, as the generator writes it

static json_t *hex_of(struct bytes value)
{
    char *hex = xmalloc(2 * value.len + 1);
    hex_encode(value.at, value.len, hex);
    json_t *text = json_string(hex);
    free(hex);
    return text;
}

static json_t *hash_of(const uint8_t hash[HASH_BYTES])
{
    return hex_of(bytes_of(hash, HASH_BYTES));
}

static json_t *number_of(uint64_t value)
{
    return json_sprintf("%" PRIu64, value);
}

static json_t *text_of(struct bytes value)
{
    return json_stringn(value.len == 0 ? "" : (const char *)value.at, value.len);
}

static void set(json_t *object, const char *key, json_t *value)
{
    assert_int_equal(json_object_set_new(object, key, value), 0);
}

static void add(json_t *array, json_t *value)
{
    assert_int_equal(json_array_append_new(array, value), 0);
}

static json_t *texts_of(const struct bytes *values, size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        add(list, text_of(values[i]));
    return list;
}

static json_t *hexes_of(const struct bytes *values, size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        add(list, hex_of(values[i]));
    return list;
}

// Long values stand in the vectors in parts, so that both are brought into one form.
static json_t *normal(const json_t *value)
{
    bool parts = json_is_array(value) && json_array_size(value) >= 2;
    bool counted = false;
    for (size_t i = 0; parts && i < json_array_size(value); i++) {
        const json_t *part = json_array_get(value, i);
        bool pair = json_array_size(part) == 2 && json_is_integer(json_array_get(part, 1));
        counted = counted || pair;
        parts = pair || json_is_string(part);
    }
    if (parts && counted) {
        struct buf whole = bytes_from(value);
        json_t *hex = hex_of(buf_bytes(&whole));
        buf_clear(&whole);
        return hex;
    }
    if (json_is_array(value)) {
        json_t *list = json_array();
        for (size_t i = 0; i < json_array_size(value); i++)
            add(list, normal(json_array_get(value, i)));
        return list;
    }
    if (json_is_object(value)) {
        json_t *object = json_object(), *item;
        const char *key;
        json_t *from = json_deep_copy(value);
        json_object_foreach(from, key, item) set(object, key, normal(item));
        json_decref(from);
        return object;
    }
    return json_deep_copy(value);
}

// ---- single values

static bool ends(struct wire_in *in, struct err *e)
{
    return wire_end(in, "value", e);
}

static void recodes(const struct buf *out, struct bytes input)
{
    assert_bytes(buf_bytes(out), input);
}

static bool run_u64(const json_t *v, struct bytes input, json_t **got, struct err *e)
{
    (void)v;
    struct wire_in in = wire_in(input);
    struct buf out = {0};
    uint64_t value = wire_u64(&in, UINT64_MAX);
    if (!ends(&in, e))
        return false;
    wire_put_u64(&out, value);
    recodes(&out, input);
    buf_clear(&out);
    *got = number_of(value);
    return true;
}

static bool run_str(const json_t *v, struct bytes input, json_t **got, struct err *e)
{
    (void)v;
    struct wire_in in = wire_in(input);
    struct buf out = {0};
    struct bytes value = wire_str(&in, UINT32_MAX);
    if (!ends(&in, e))
        return false;
    wire_put_str(&out, value);
    recodes(&out, input);
    buf_clear(&out);
    *got = text_of(value);
    return true;
}

static bool run_bin(const json_t *v, struct bytes input, json_t **got, struct err *e)
{
    (void)v;
    struct wire_in in = wire_in(input);
    struct buf out = {0};
    struct bytes value = wire_bin(&in, 0, UINT32_MAX);
    if (!ends(&in, e))
        return false;
    wire_put_bin(&out, value);
    recodes(&out, input);
    buf_clear(&out);
    *got = hex_of(value);
    return true;
}

static bool run_bool(const json_t *v, struct bytes input, json_t **got, struct err *e)
{
    (void)v;
    struct wire_in in = wire_in(input);
    bool value = wire_bool(&in);
    if (!ends(&in, e))
        return false;
    *got = json_boolean(value);
    return true;
}

static bool run_array(const json_t *v, struct bytes input, json_t **got, struct err *e)
{
    (void)v;
    struct wire_in in = wire_in(input);
    size_t count = wire_array(&in, 0, SIZE_MAX);
    json_t *list = json_array();
    for (size_t i = 0; i < count && in.fault == NULL; i++)
        add(list, number_of(wire_u64(&in, UINT64_MAX)));
    *got = list;
    return ends(&in, e);
}

static bool run_map(const json_t *v, struct bytes input, json_t **got, struct err *e)
{
    (void)v;
    struct wire_in in = wire_in(input);
    struct bytes last = {0};
    size_t count = wire_map(&in, SIZE_MAX);
    json_t *map = json_object();
    for (size_t i = 0; i < count && in.fault == NULL; i++) {
        char key[65];
        bytes_copy_text(wire_key(&in, &last), key, sizeof(key));
        set(map, key, number_of(wire_u64(&in, UINT64_MAX)));
    }
    *got = map;
    return ends(&in, e);
}

// ---- keys and signatures

static json_t *public_key_json(const struct public_key *key)
{
    uint8_t node_id[HASH_BYTES];
    public_key_id(key, node_id);
    json_t *o = json_object();
    bool token = key->type == KEY_SK_ED25519;
    set(o, "type", json_string(token ? "sk-ssh-ed25519@openssh.com" : "ssh-ed25519"));
    set(o, "ed25519", hex_of(bytes_of(key->ed25519, 32)));
    set(o, "application", json_string(key->application));
    set(o, "node_id", hash_of(node_id));
    return o;
}

static bool run_public_key_blob(const json_t *v, struct bytes input, json_t **got, struct err *e)
{
    (void)v;
    struct public_key key;
    struct buf out = {0};
    if (!public_key_decode(input, &key, e))
        return false;
    public_key_encode(&key, &out);
    recodes(&out, input);
    buf_clear(&out);
    *got = public_key_json(&key);
    return true;
}

static bool run_public_key_line(const json_t *v, struct bytes input, json_t **got, struct err *e)
{
    (void)input;
    struct public_key key;
    struct buf line = {0};
    const char *text = text_at(v, "text");
    if (!public_key_parse(bytes_of_text(text), &key, e))
        return false;
    public_key_line(&key, &line);
    assert_memory_equal(line.at, text, line.len); // a comment may follow
    buf_clear(&line);
    *got = public_key_json(&key);
    return true;
}

static bool run_secret_key(const json_t *v, struct bytes input, json_t **got, struct err *e)
{
    (void)input;
    struct secret_key key;
    if (!secret_key_parse(bytes_of_text(text_at(v, "text")), &key, e))
        return false;
    *got = json_object();
    set(*got, "seed", hex_of(bytes_of(key.ed25519, 32)));
    set(*got, "ed25519", hex_of(bytes_of(key.public.ed25519, 32)));
    return true;
}

static bool run_sshsig(const json_t *v, struct bytes input, json_t **got, struct err *e)
{
    struct sshsig sig;
    struct buf message = bytes_at(v, "message");
    bool pin = json_is_true(json_object_get(v, "require_pin"));
    bool ok = sshsig_decode(input, &sig, e) &&
              sshsig_verify(&sig, text_at(v, "namespace"), buf_bytes(&message), pin, e);
    buf_clear(&message);
    if (!ok)
        return false;
    *got = public_key_json(&sig.key);
    json_object_del(*got, "node_id");
    set(*got, "signature", hex_of(bytes_of(sig.signature, 64)));
    set(*got, "flags", number_of(sig.flags));
    set(*got, "counter", number_of(sig.counter));
    return true;
}

static bool run_armor(const json_t *v, struct bytes input, json_t **got, struct err *e)
{
    (void)input;
    struct buf blob = {0}, again = {0};
    const char *text = text_at(v, "text");
    if (!sshsig_from_armor(bytes_of_text(text), &blob, e))
        return false;
    sshsig_to_armor(buf_bytes(&blob), &again);
    recodes(&again, bytes_of_text(text));
    *got = hex_of(buf_bytes(&blob));
    buf_clear(&blob);
    buf_clear(&again);
    return true;
}

static bool run_trust(const json_t *v, struct bytes input, json_t **got, struct err *e)
{
    (void)input;
    (void)got;
    struct trust trust;
    return trust_from(json_object_get(v, "trust"), &trust, e);
}

// ---- Merkle tree and sealing

static size_t hashes_at(const json_t *v, const char *key, merkle_hash *hashes, size_t max)
{
    const json_t *list = json_object_get(v, key);
    size_t count = json_array_size(list);
    assert_true(count <= max);
    for (size_t i = 0; i < count; i++) {
        struct buf hash = bytes_from(json_array_get(list, i));
        assert_int_equal(hash.len, HASH_BYTES);
        memcpy(hashes[i], hash.at, HASH_BYTES);
        buf_clear(&hash);
    }
    return count;
}

static bool run_merkle(const json_t *v, struct bytes input, json_t **got, struct err *e)
{
    (void)input;
    (void)e;
    merkle_hash leaves[LEAVES_MAX], path[PATH_HASHES_MAX], root;
    size_t count = hashes_at(v, "leaves", leaves, LEAVES_MAX);
    json_t *paths = json_array();
    merkle_root((const merkle_hash *)leaves, count, root);
    for (size_t i = 0; i < count; i++) {
        json_t *list = json_array();
        size_t len = merkle_path((const merkle_hash *)leaves, count, i, path);
        for (size_t j = 0; j < len; j++)
            add(list, hash_of(path[j]));
        add(paths, list);
    }
    *got = json_object();
    set(*got, "root", hash_of(root));
    set(*got, "paths", paths);
    return true;
}

static bool run_merkle_leaf(const json_t *v, struct bytes input, json_t **got, struct err *e)
{
    (void)v;
    (void)e;
    merkle_hash leaf;
    merkle_leaf(input, leaf);
    *got = hash_of(leaf);
    return true;
}

static bool run_merkle_verify(const json_t *v, struct bytes input, json_t **got, struct err *e)
{
    (void)input;
    (void)got;
    merkle_hash leaf, root, path[PATH_HASHES_MAX];
    copy_at(v, "leaf", leaf, HASH_BYTES);
    copy_at(v, "root", root, HASH_BYTES);
    size_t len = hashes_at(v, "path", path, PATH_HASHES_MAX);
    return merkle_verify(
               u64_at(v, "index"), u64_at(v, "size"), leaf, (const merkle_hash *)path, len, root) ||
           err_set(e, CODE_PATH, "does not verify");
}

static void secret_at(const json_t *v, struct secret_key *key)
{
    uint8_t seed[32];
    copy_at(v, "seed", seed, sizeof(seed));
    *key = (struct secret_key){.public.type = KEY_ED25519};
    crypto_sign_seed_keypair(key->public.ed25519, key->ed25519, seed);
}

static bool run_sealed(const json_t *v, struct bytes input, json_t **got, struct err *e)
{
    struct secret_key mine;
    uint8_t key[BLOB_KEY_BYTES];
    secret_at(v, &mine);
    assert_int_equal(input.len, SEALED_KEY_BYTES);
    if (!key_open(input.at, &mine, key, e))
        return false;
    *got = hex_of(bytes_of(key, sizeof(key)));
    return true;
}

static bool run_curve(const json_t *v, struct bytes input, json_t **got, struct err *e)
{
    (void)input;
    (void)e;
    struct secret_key mine;
    uint8_t public[32], secret[32];
    secret_at(v, &mine);
    assert_int_equal(crypto_sign_ed25519_pk_to_curve25519(public, mine.public.ed25519), 0);
    assert_int_equal(crypto_sign_ed25519_sk_to_curve25519(secret, mine.ed25519), 0);
    *got = json_object();
    set(*got, "public", hex_of(bytes_of(public, 32)));
    set(*got, "secret", hex_of(bytes_of(secret, 32)));
    return true;
}

static bool run_seal_to(const json_t *v, struct bytes input, json_t **got, struct err *e)
{
    (void)input;
    (void)got;
    struct public_key to = {.type = KEY_ED25519};
    uint8_t key[BLOB_KEY_BYTES] = {1}, sealed[SEALED_KEY_BYTES];
    copy_at(v, "ed25519", to.ed25519, 32);
    return key_seal(key, &to, sealed, e);
}

static bool run_blob(const json_t *v, struct bytes input, json_t **got, struct err *e)
{
    struct buf plain = {0}, again = {0};
    uint8_t key[BLOB_KEY_BYTES];
    copy_at(v, "key", key, sizeof(key));
    if (!blob_open(input, key, &plain, e)) {
        buf_clear(&plain);
        return false;
    }
    blob_seal(buf_bytes(&plain), key, &again);
    recodes(&again, input);
    *got = hex_of(buf_bytes(&plain));
    buf_clear(&plain);
    buf_clear(&again);
    return true;
}

static bool run_blob_check(const json_t *v, struct bytes input, json_t **got, struct err *e)
{
    (void)got;
    uint8_t hash[HASH_BYTES];
    copy_at(v, "ct_hash", hash, sizeof(hash));
    return blob_check(input, u64_at(v, "ct_len"), hash, e);
}

// ---- structures

static bool run_head(const json_t *v, struct bytes input, json_t **got, struct err *e)
{
    (void)v;
    struct head head;
    struct buf out = {0};
    uint8_t hash[HASH_BYTES];
    if (!head_decode(input, &head, e))
        return false;
    head_encode(&head, &out);
    recodes(&out, input);
    buf_clear(&out);
    sha256(input, hash);
    json_t *o = *got = json_object();
    set(o, "fleet", hash_of(head.fleet));
    set(o, "epoch", number_of(head.epoch));
    set(o, "release", number_of(head.release));
    set(o, "expires", number_of(head.expires));
    set(o, "fallback_floor", number_of(head.fallback_floor));
    set(o, "tickets", number_of(head.tickets));
    set(o, "root", hash_of(head.root));
    set(o, "roster", hash_of(head.roster));
    set(o, "nonce", hex_of(bytes_of(head.nonce, sizeof(head.nonce))));
    set(o, "head_hash", hash_of(hash));
    return true;
}

static bool run_envelope(const json_t *v, struct bytes input, json_t **got, struct err *e)
{
    (void)v;
    struct envelope envelope;
    struct buf out = {0};
    if (!envelope_decode(input, &envelope, e))
        return false;
    envelope_encode(&envelope, &out);
    recodes(&out, input);
    buf_clear(&out);
    *got = json_object();
    set(*got, "head", hex_of(envelope.head));
    set(*got, "signatures", hexes_of(envelope.signatures, envelope.signature_count));
    return true;
}

static bool run_ticket(const json_t *v, struct bytes input, json_t **got, struct err *e)
{
    (void)v;
    struct ticket ticket;
    struct buf out = {0};
    if (!ticket_decode(input, &ticket, e))
        return false;
    ticket_encode(&ticket, &out);
    recodes(&out, input);
    buf_clear(&out);
    *got = json_object();
    set(*got, "node_id", hash_of(ticket.node_id));
    set(*got, "ct_hash", hash_of(ticket.ct_hash));
    set(*got, "ct_len", number_of(ticket.ct_len));
    set(*got, "sealed", hex_of(bytes_of(ticket.sealed, SEALED_KEY_BYTES)));
    return true;
}

static bool run_proven(const json_t *v, struct bytes input, json_t **got, struct err *e)
{
    (void)v;
    struct proven proven;
    struct buf out = {0};
    if (!proven_decode(input, &proven, e))
        return false;
    proven_encode(&proven, &out);
    recodes(&out, input);
    buf_clear(&out);
    json_t *path = json_array();
    for (size_t i = 0; i < proven.path_len; i++)
        add(path, hash_of(proven.path[i]));
    *got = json_object();
    set(*got, "ticket", hex_of(proven.ticket));
    set(*got, "index", number_of(proven.index));
    set(*got, "path", path);
    return true;
}

static bool run_proven_of(const json_t *v, struct bytes input, json_t **got, struct err *e)
{
    (void)got;
    struct head head = {.tickets = u64_at(v, "tickets")};
    struct ticket ticket;
    uint8_t node_id[HASH_BYTES];
    copy_at(v, "root", head.root, HASH_BYTES);
    copy_at(v, "node_id", node_id, HASH_BYTES);
    return proven_verify(input, &head, node_id, &ticket, e);
}

static json_t *pair_json(struct bytes a, struct bytes b)
{
    const struct bytes pair[] = {a, b};
    return texts_of(pair, 2);
}

static void set_text(json_t *o, const char *key, struct bytes value)
{
    if (value.len != 0)
        set(o, key, text_of(value));
}

static json_t *meta_json(const struct meta *m)
{
    json_t *o = json_object();
    if (m->action != ACTION_SWITCH)
        set(o, "action", json_string(m->action == ACTION_BOOT ? "boot" : "dry"));
    set_text(o, "attribute", m->attribute);
    if (m->confirm_s != 0)
        set(o, "confirm", number_of(m->confirm_s));
    set_text(o, "expected", m->expected);
    json_t *health = json_array();
    for (size_t i = 0; i < m->health_count; i++)
        add(health, texts_of(m->health[i].words, m->health[i].count));
    if (m->health_count != 0)
        set(o, "health", json_incref(health));
    json_decref(health);
    set_text(o, "host", m->host);
    if (m->kind == KIND_CLASSIC)
        set(o, "kind", json_string("classic"));
    if (m->last_resort == LAST_RESORT_REBOOT)
        set(o, "last_resort", json_string("reboot"));
    if (m->nixpkgs_url.len != 0)
        set(o, "nixpkgs", pair_json(m->nixpkgs_url, m->nixpkgs_sha256));
    if (m->public_key_count != 0)
        set(o, "public_keys", texts_of(m->public_keys, m->public_key_count));
    set_text(o, "reboot", m->reboot);
    if (m->has_retry)
        set(o, "retry", hex_of(bytes_of(m->retry, sizeof(m->retry))));
    if (m->self_update)
        set(o, "self_update", json_true());
    if (m->substitute_only)
        set(o, "substitute_only", json_true());
    if (m->substituter_count != 0)
        set(o, "substituters", texts_of(m->substituters, m->substituter_count));
    set_text(o, "system", m->system);
    if (m->unit_failures != UNIT_FAILURES_REPORT)
        set(o, "unit_failures",
            json_string(m->unit_failures == UNIT_FAILURES_IGNORE ? "ignore" : "rollback"));
    return o;
}

static json_t *secrets_json(const struct bundle *bundle)
{
    json_t *list = json_array();
    for (size_t i = 0; i < bundle->secret_count; i++) {
        const struct secret *secret = &bundle->secrets[i];
        json_t *entry = json_array();
        add(entry, text_of(secret->name));
        add(entry, text_of(secret->owner));
        add(entry, text_of(secret->group));
        add(entry, number_of(secret->mode));
        add(entry, hex_of(secret->content));
        add(list, entry);
    }
    return list;
}

static bool run_bundle(const json_t *v, struct bytes input, json_t **got, struct err *e)
{
    (void)v;
    struct bundle bundle;
    struct buf out = {0};
    if (!bundle_decode(input, &bundle, e))
        return false;
    assert_true(bundle_encode(&bundle, &out, e));
    recodes(&out, input);
    buf_clear(&out);
    json_t *tree = json_null();
    if (bundle.has_tree) {
        tree = json_array();
        add(tree, hash_of(bundle.tree_hash));
        add(tree, number_of(bundle.tree_len));
        add(tree, hex_of(bytes_of(bundle.tree_key, BLOB_KEY_BYTES)));
    }
    *got = json_object();
    set(*got, "meta", meta_json(&bundle.meta));
    set(*got, "secrets", secrets_json(&bundle));
    set(*got, "tree", tree);
    bundle_clear(&bundle);
    return true;
}

static bool run_tree(const json_t *v, struct bytes input, json_t **got, struct err *e)
{
    (void)v;
    struct tree tree;
    struct buf out = {0};
    if (!tree_decode(input, &tree, e))
        return false;
    assert_true(tree_encode(&tree, &out, e));
    recodes(&out, input);
    buf_clear(&out);
    json_t *files = json_array();
    for (size_t i = 0; i < tree.count; i++) {
        json_t *file = json_array();
        add(file, text_of(tree.files[i].path));
        add(file, json_boolean(tree.files[i].executable));
        add(file, hex_of(tree.files[i].content));
        add(files, file);
    }
    *got = json_object();
    set(*got, "files", files);
    tree_clear(&tree);
    return true;
}

static bool run_digest(const json_t *v, struct bytes input, json_t **got, struct err *e)
{
    (void)input;
    struct bundle bundle;
    struct buf message = bytes_at(v, "bundle");
    uint8_t tree_plain_hash[HASH_BYTES], digest[HASH_BYTES];
    bool has_tree = !json_is_null(json_object_get(v, "tree_plain_hash"));
    if (has_tree)
        copy_at(v, "tree_plain_hash", tree_plain_hash, HASH_BYTES);
    assert_true(bundle_decode(buf_bytes(&message), &bundle, e));
    bundle_digest(&bundle, has_tree ? tree_plain_hash : NULL, digest);
    bundle_clear(&bundle);
    buf_clear(&message);
    *got = hash_of(digest);
    return true;
}

static bool run_roster(const json_t *v, struct bytes input, json_t **got, struct err *e)
{
    (void)v;
    struct roster roster;
    struct buf out = {0};
    if (!roster_decode(input, &roster, e))
        return false;
    assert_true(roster_encode(&roster, &out, e));
    recodes(&out, input);
    buf_clear(&out);
    json_t *nodes = json_array();
    for (size_t i = 0; i < roster.count; i++) {
        const struct roster_node *node = &roster.nodes[i];
        json_t *entry = json_array();
        add(entry, hash_of(node->node_id));
        add(entry, text_of(node->name));
        add(entry, texts_of(node->tags, node->tag_count));
        add(entry, node->expected.len == 0 ? json_null() : text_of(node->expected));
        add(entry, text_of(node->directory));
        add(entry, node->has_tree ? hash_of(node->tree_hash) : json_null());
        add(nodes, entry);
    }
    *got = json_object();
    set(*got, "nodes", nodes);
    roster_clear(&roster);
    return true;
}

static void set_timing(json_t *timings, const char *key, uint64_t ms)
{
    if (ms != 0)
        set(timings, key, number_of(ms));
}

static json_t *status_json(const struct status *s)
{
    json_t *o = json_object(), *timings = json_object();
    set_timing(timings, "commit", s->timings.commit_ms);
    set_timing(timings, "confirm", s->timings.confirm_ms);
    set_timing(timings, "fetch", s->timings.fetch_ms);
    set_timing(timings, "obtain", s->timings.obtain_ms);
    set_timing(timings, "switch", s->timings.switch_ms);
    set(o, "fleet", hash_of(s->fleet));
    set(o, "node_id", hash_of(s->node_id));
    set(o, "seq", number_of(s->seq));
    set(o, "time", number_of(s->time));
    set(o, "nonce", hex_of(bytes_of(s->nonce, sizeof(s->nonce))));
    set(o, "head_hash", hash_of(s->head_hash));
    set(o, "epoch", number_of(s->epoch));
    set(o, "release", number_of(s->release));
    set(o, "digest", hash_of(s->digest));
    set(o, "applied", hash_of(s->applied));
    set(o, "attempt", number_of(s->attempt));
    set(o, "state", json_string(node_state_word(s->state)));
    set(o, "code", json_string(s->code == CODE_OK ? "" : code_name(s->code)));
    set(o, "running", text_of(s->running));
    set(o, "booted", text_of(s->booted));
    set(o, "profile", text_of(s->profile));
    set(o, "boot_id", hex_of(bytes_of(s->boot_id, sizeof(s->boot_id))));
    set(o, "reboot", json_boolean(s->reboot));
    set(o, "auto", json_boolean(s->automatic));
    set(o, "speaks", number_of(s->speaks));
    set(o, "timings", timings);
    set(o, "log", hex_of(s->log));
    return o;
}

static bool run_status(const json_t *v, struct bytes input, json_t **got, struct err *e)
{
    (void)v;
    struct status status;
    struct buf out = {0};
    if (!status_decode(input, &status, e))
        return false;
    status_encode(&status, &out);
    recodes(&out, input);
    buf_clear(&out);
    *got = status_json(&status);
    return true;
}

static bool run_signed(const json_t *v, struct bytes input, json_t **got, struct err *e)
{
    struct status status;
    uint8_t fleet[32];
    copy_at(v, "fleet", fleet, sizeof(fleet));
    if (!status_verify(input, fleet, &status, e))
        return false;
    *got = status_json(&status);
    return true;
}

// ---- what travels

static bool run_published(const json_t *v, struct bytes input, json_t **got, struct err *e)
{
    (void)v;
    struct published found;
    struct buf out = {0};
    if (!published_decode(input, &found, e))
        return false;
    json_t *o = *got = json_object();
    if (found.kind == PUB_TICK) {
        tick_encode(found.epoch, found.release, &out);
        set(o, "kind", json_string("tick"));
        set(o, "epoch", number_of(found.epoch));
        set(o, "release", number_of(found.release));
    } else {
        published_encode(&found, &out);
        set(o, "kind", json_string("release"));
        set(o, "envelope", hex_of(found.envelope));
        set(o, "proven", hexes_of(found.proven, found.proven_count));
        set(o, "blobs", hexes_of(found.blobs, found.blob_count));
    }
    recodes(&out, input);
    buf_clear(&out);
    published_clear(&found);
    return true;
}

static bool run_request(const json_t *v, struct bytes input, json_t **got, struct err *e)
{
    (void)v;
    struct wire_in in;
    enum op op;
    size_t elements;
    if (!request_open(input, &in, &op, &elements, e))
        return false;
    *got = json_object();
    set(*got, "op", json_string(op_name(op)));
    set(*got, "elements", number_of(elements));
    set(*got, "body", hex_of(in.rest));
    return true;
}

static bool run_reply(const json_t *v, struct bytes input, json_t **got, struct err *e)
{
    (void)v;
    struct wire_in in;
    enum code code;
    size_t elements;
    if (!reply_open(input, &in, &code, &elements, e))
        return false;
    *got = json_object();
    set(*got, "code", json_string(code_name(code)));
    set(*got, "elements", number_of(elements));
    set(*got, "body", hex_of(in.rest));
    return true;
}

// Frames are nng's affair (tests of rt and e2e); here only what is in them can be looked at.
static bool run_frame(const json_t *v, struct bytes input, json_t **got, struct err *e)
{
    (void)got;
    (void)e;
    static const uint8_t handshake[] = {0, 'S', 'P', 0, 0};
    if (strncmp(text_at(v, "name"), "handshake", 9) == 0) {
        assert_int_equal(input.len, 8);
        assert_memory_equal(input.at, handshake, sizeof(handshake));
        return true;
    }
    size_t header = strncmp(text_at(v, "name"), "ipc", 3) == 0 ? 9 : 8;
    assert_true(input.len > header);
    assert_int_equal(input.at[input.len - 1 - (input.len - header)], input.len - header);
    return true;
}

// ---- whole releases

static bool run_release(const json_t *v, struct bytes input, json_t **got, struct err *e)
{
    (void)input;
    struct trust trust;
    struct release release;
    struct buf envelope = bytes_at(v, "envelope"), roster = bytes_at(v, "roster");
    struct buf tickets[TICKETS_HERE_MAX];
    struct bytes messages[TICKETS_HERE_MAX];
    const json_t *list = json_object_get(v, "tickets");
    size_t count = json_array_size(list), blob_count;
    assert_true(count <= TICKETS_HERE_MAX);
    for (size_t i = 0; i < count; i++) {
        tickets[i] = bytes_from(json_array_get(list, i));
        messages[i] = buf_bytes(&tickets[i]);
    }
    assert_true(trust_from(json_object_get(v, "trust"), &trust, e));
    bool ok = release_verify(
        &trust, buf_bytes(&envelope), buf_bytes(&roster), messages, count, &release, e);
    if (ok) {
        merkle_hash *blobs = release_blobs(&release, &blob_count);
        json_t *names = json_array();
        for (size_t i = 0; i < blob_count; i++)
            add(names, hash_of(blobs[i]));
        free(blobs);
        *got = json_object();
        set(*got, "head_hash", hash_of(release.head_hash));
        set(*got, "blobs", names);
        release_clear(&release);
    }
    for (size_t i = 0; i < count; i++)
        buf_clear(&tickets[i]);
    buf_clear(&envelope);
    buf_clear(&roster);
    return ok;
}

static struct floor floor_from(const json_t *value)
{
    struct floor floor = {.epoch = u64_at(value, "epoch"), .release = u64_at(value, "release")};
    floor.has_hash = !json_is_null(json_object_get(value, "head_hash"));
    if (floor.has_hash)
        copy_at(value, "head_hash", floor.head_hash, HASH_BYTES);
    return floor;
}

static json_t *floor_json(const struct floor *floor)
{
    json_t *o = json_object();
    set(o, "epoch", number_of(floor->epoch));
    set(o, "release", number_of(floor->release));
    set(o, "head_hash", floor->has_hash ? hash_of(floor->head_hash) : json_null());
    return o;
}

static bool run_floor(const json_t *v, struct bytes input, json_t **got, struct err *e)
{
    (void)v;
    struct floor floor;
    struct buf out = {0};
    if (!floor_decode(input, &floor, e))
        return false;
    floor_encode(&floor, &out);
    recodes(&out, input);
    buf_clear(&out);
    *got = floor_json(&floor);
    return true;
}

// What came with the envelope.
struct parcel {
    bool has_proven;
    struct buf envelope, proven, bundle, tree;
};

static void parcel_from(const json_t *v, struct parcel *parcel)
{
    *parcel = (struct parcel){.has_proven = !json_is_null(json_object_get(v, "proven"))};
    parcel->envelope = bytes_at(v, "envelope");
    parcel->proven = bytes_at(v, "proven");
    parcel->bundle = bytes_at(v, "bundle");
    parcel->tree = bytes_at(v, "tree");
}

static void parcel_clear(struct parcel *parcel)
{
    buf_clear(&parcel->envelope);
    buf_clear(&parcel->proven);
    buf_clear(&parcel->bundle);
    buf_clear(&parcel->tree);
}

// The second half: ticket, bundle, tree. *digest is the configuration's, or null for an empty
// ticket.
static bool open_parcel(const json_t *v, const struct parcel *parcel, const struct head *head,
    json_t **digest, struct err *e)
{
    struct secret_key mine;
    struct ticket ticket;
    struct opened opened;
    uint8_t node_id[HASH_BYTES];
    secret_at(v, &mine);
    public_key_id(&mine.public, node_id);
    if (!parcel->has_proven)
        return err_set(e, CODE_NOTICKET, "no ticket");
    if (!proven_verify(buf_bytes(&parcel->proven), head, node_id, &ticket, e))
        return false;
    *digest = json_null();
    if (ticket.ct_len == 0)
        return true;
    if (!verify_bundle(&ticket, buf_bytes(&parcel->bundle), &mine, &opened, e))
        return false;
    bool ok = verify_tree(&opened, buf_bytes(&parcel->tree), e);
    if (ok)
        *digest = hash_of(opened.digest);
    opened_clear(&opened);
    return ok;
}

static bool run_checks(const json_t *v, struct bytes input, json_t **got, struct err *e)
{
    (void)input;
    struct trust trust;
    struct parcel parcel;
    struct head head;
    struct floor floor, raised;
    uint8_t head_hash[HASH_BYTES];
    json_t *digest = NULL;
    const json_t *copies = json_object_get(v, "floors");
    floor = floor_from(json_array_get(copies, 0));
    for (size_t i = 1; i < json_array_size(copies); i++) {
        struct floor copy = floor_from(json_array_get(copies, i));
        floor = floor_merge(&floor, &copy);
    }
    assert_true(trust_from(json_object_get(v, "trust"), &trust, e));
    parcel_from(v, &parcel);
    bool ok =
        verify_head(&trust, &floor, buf_bytes(&parcel.envelope), &head, head_hash, &raised, e);
    if (ok) {
        floor = raised;
        ok = verify_expiry(&head, u64_at(v, "clock"), e) &&
             open_parcel(v, &parcel, &head, &digest, e);
    }
    *got = json_object();
    set(*got, "floor", floor_json(&floor));
    if (ok)
        set(*got, "digest", digest);
    parcel_clear(&parcel);
    return ok;
}

// ---- all of them

// True, and what was understood in *got (compared with "expect"); false and the code in *e. *got
// may be set then, too.
typedef bool run_fn(const json_t *vector, struct bytes input, json_t **got, struct err *e);

// clang-format off
#define KINDS(X)                                                                                   \
    X(u64) X(str) X(bin) X(bool) X(array) X(map)                                                   \
    X(public_key_blob) X(public_key_line) X(secret_key) X(sshsig) X(armor) X(trust)                \
    X(merkle) X(merkle_leaf) X(merkle_verify) X(sealed) X(curve) X(seal_to) X(blob) X(blob_check)  \
    X(head) X(envelope) X(ticket) X(proven) X(proven_of) X(bundle) X(tree) X(digest) X(roster)     \
    X(status) X(signed) X(published) X(request) X(reply) X(frame) X(release) X(floor) X(checks)
// clang-format on

#define KIND_RUN(kind) {#kind, run_##kind},
static const struct {
    const char *kind;
    run_fn *run;
} runs[] = {KINDS(KIND_RUN)};
#undef KIND_RUN

static run_fn *run_of(const char *kind)
{
    for (size_t i = 0; i < sizeof(runs) / sizeof(runs[0]); i++) {
        if (strcmp(runs[i].kind, kind) == 0)
            return runs[i].run;
    }
    fail_msg("there is no kind %s", kind);
    return NULL;
}

static bool same(const json_t *vector, const json_t *got)
{
    const json_t *expect = json_object_get(vector, "expect");
    if (expect == NULL)
        return true;
    json_t *wanted = normal(expect);
    bool equal = got != NULL && json_equal(wanted, got);
    if (!equal) {
        char *text = got == NULL ? NULL : json_dumps(got, JSON_ENCODE_ANY);
        print_error("understood: %.2000s\n", text == NULL ? "nothing" : text);
        free(text);
    }
    json_decref(wanted);
    return equal;
}

static bool passes(const json_t *vector)
{
    const char *kind = text_at(vector, "kind"), *code = text_at(vector, "code");
    bool has_input = json_object_get(vector, "input") != NULL;
    struct buf message = bytes_from(has_input ? json_object_get(vector, "input") : json_null());
    // In a heap block of exactly its size, so that the sanitizer sees every byte read too far.
    uint8_t *exact = xmalloc(message.len == 0 ? 1 : message.len);
    if (message.len != 0)
        memcpy(exact, message.at, message.len);
    struct err e = {.code = CODE_OK};
    json_t *got = NULL;
    bool ok = run_of(kind)(vector, bytes_of(exact, message.len), &got, &e);
    bool good = strcmp(ok ? "OK" : code_name(e.code), code) == 0 && same(vector, got);
    if (!good)
        print_error("%s, %s: %s instead of %s (%s)\n", kind, text_at(vector, "name"),
            ok ? "OK" : code_name(e.code), code, ok ? "" : e.text);
    json_decref(got);
    free(exact);
    buf_clear(&message);
    return good;
}

static void run_file(const char *name)
{
    json_t *file;
    const json_t *vectors = vectors_of(name, &file);
    size_t count = json_array_size(vectors), failed = 0;
    assert_true(count > 0);
    for (size_t i = 0; i < count; i++)
        failed += !passes(json_array_get(vectors, i));
    json_decref(file);
    assert_int_equal(failed, 0);
}

// clang-format off
#define FILES(X)                                                                                   \
    X(encoding) X(keys) X(signatures) X(trust) X(merkle) X(sealing) X(head) X(ticket) X(bundle)    \
    X(roster) X(status) X(bus) X(operations) X(release) X(checks)
// clang-format on

#define FILE_TEST(name)                                                                            \
    static void name##_vectors_are_judged_as_written(void **state)                                 \
    {                                                                                              \
        (void)state;                                                                               \
        run_file(#name);                                                                           \
    }
FILES(FILE_TEST)
#undef FILE_TEST

int main(void)
{
#define FILE_ENTRY(name) cmocka_unit_test(name##_vectors_are_judged_as_written),
    const struct CMUnitTest tests[] = {FILES(FILE_ENTRY)};
#undef FILE_ENTRY
    return cmocka_run_group_tests(tests, start_sodium, NULL);
}
