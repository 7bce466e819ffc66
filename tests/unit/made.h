// Real releases and statuses for the broker's tests: true keys, true signatures, blobs of random
// bytes (a broker cannot look into them anyway).
#pragma once

#include "fs.h"
#include "release.h"
#include "status.h"
#include "store.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#define MADE_NODES_MAX 200

static inline void must(bool ok, const struct err *e)
{
    if (!ok)
        fail_msg("%s: %s", code_name(e->code), e->text);
}

static inline void must_fail(bool ok, const struct err *e, enum code code)
{
    assert_false(ok);
    assert_string_equal(code_name(e->code), code_name(code));
}

static inline void make_key(struct secret_key *key)
{
    *key = (struct secret_key){.public.type = KEY_ED25519};
    crypto_sign_keypair(key->public.ed25519, key->ed25519);
}

// A fleet with its admin and its nodes, ascending by id.
struct made_fleet {
    struct trust trust;
    struct secret_key admin;
    size_t node_count;
    struct made_node {
        struct secret_key key;
        uint8_t id[HASH_BYTES];
        struct buf bundle; // its blob; empty: none yet
        bool has_tree;
        struct buf tree;
        uint8_t sealed[SEALED_KEY_BYTES];
    } nodes[MADE_NODES_MAX];
};

static inline int compare_nodes(const void *a, const void *b)
{
    return memcmp(((const struct made_node *)a)->id, ((const struct made_node *)b)->id, HASH_BYTES);
}

static inline void make_random(struct buf *out, size_t len)
{
    buf_clear(out);
    buf_reserve(out, len);
    randombytes_buf(out->at, len);
    out->len = len;
}

static inline struct made_fleet *make_fleet(size_t node_count)
{
    struct made_fleet *fleet = xcalloc(1, sizeof *fleet);
    struct err e;
    CLEANUP(buf_clear) struct buf line = {0};
    assert_true(sodium_init() >= 0 && node_count <= MADE_NODES_MAX);
    make_key(&fleet->admin);
    public_key_line(&fleet->admin.public, &line);
    must(trust_add(&fleet->trust, buf_text(&line), &e), &e);
    fleet->trust.threshold = 1;
    randombytes_buf(fleet->trust.fleet, sizeof fleet->trust.fleet);
    fleet->node_count = node_count;
    for (size_t i = 0; i < node_count; i++) {
        make_key(&fleet->nodes[i].key);
        public_key_id(&fleet->nodes[i].key.public, fleet->nodes[i].id);
    }
    qsort(fleet->nodes, node_count, sizeof fleet->nodes[0], compare_nodes);
    return fleet;
}

// Gives a node another configuration, of so many bytes.
static inline void change_node(struct made_fleet *fleet, size_t node, size_t len)
{
    make_random(&fleet->nodes[node].bundle, len);
    randombytes_buf(fleet->nodes[node].sealed, SEALED_KEY_BYTES);
}

static inline void change_tree(struct made_fleet *fleet, size_t node, size_t len)
{
    fleet->nodes[node].has_tree = true;
    make_random(&fleet->nodes[node].tree, len);
}

static inline void free_fleet(struct made_fleet *fleet)
{
    for (size_t i = 0; i < fleet->node_count; i++) {
        buf_clear(&fleet->nodes[i].bundle);
        buf_clear(&fleet->nodes[i].tree);
    }
    free(fleet);
}

struct made_release {
    struct head head;
    uint8_t head_hash[HASH_BYTES];
    struct buf envelope, roster, tickets;
    size_t count;
    struct buf ticket[MADE_NODES_MAX];
};

static inline void make_roster(const struct made_fleet *fleet, struct buf *out)
{
    struct err e;
    struct roster roster = {.count = fleet->node_count};
    char(*names)[16] = xcalloc(fleet->node_count, sizeof *names);
    roster.nodes = xcalloc(fleet->node_count, sizeof *roster.nodes);
    for (size_t i = 0; i < fleet->node_count; i++) {
        struct roster_node *node = &roster.nodes[i];
        const struct made_node *made = &fleet->nodes[i];
        memcpy(node->node_id, made->id, HASH_BYTES);
        snprintf(names[i], sizeof names[i], "node-%d", (int)i);
        node->name = bytes_of_text(names[i]);
        node->directory = bytes_of_text("all");
        node->has_tree = made->has_tree;
        if (made->has_tree)
            sha256(buf_bytes(&made->tree), node->tree_hash);
    }
    must(roster_encode(&roster, out, &e), &e);
    free(names);
    roster_clear(&roster);
}

static inline void make_ticket(const struct made_node *node, struct buf *out)
{
    struct ticket ticket = {.ct_len = node->bundle.len};
    memcpy(ticket.node_id, node->id, HASH_BYTES);
    if (node->bundle.len > 0) {
        sha256(buf_bytes(&node->bundle), ticket.ct_hash);
        memcpy(ticket.sealed, node->sealed, SEALED_KEY_BYTES);
    }
    ticket_encode(&ticket, out);
}

static inline void sign_release(
    struct made_release *release, const struct secret_key *signer, const char *namespace)
{
    CLEANUP(buf_clear) struct buf head = {0}, signature = {0};
    head_encode(&release->head, &head);
    sha256(buf_bytes(&head), release->head_hash);
    sshsig_sign(signer, namespace, buf_bytes(&head), &signature);
    struct envelope envelope = {.head = buf_bytes(&head), .signature_count = 1};
    envelope.signatures[0] = buf_bytes(&signature);
    buf_clear(&release->envelope);
    envelope_encode(&envelope, &release->envelope);
}

// The fleet as it is now.
static inline struct made_release *make_release(
    const struct made_fleet *fleet, uint64_t epoch, uint64_t number, uint64_t expires)
{
    struct made_release *r = xcalloc(1, sizeof *r);
    merkle_hash leaves[MADE_NODES_MAX];
    r->count = fleet->node_count;
    make_roster(fleet, &r->roster);
    wire_put_array(&r->tickets, r->count);
    for (size_t i = 0; i < r->count; i++) {
        make_ticket(&fleet->nodes[i], &r->ticket[i]);
        merkle_leaf(buf_bytes(&r->ticket[i]), leaves[i]);
        wire_put_bin(&r->tickets, buf_bytes(&r->ticket[i]));
    }
    r->head =
        (struct head){.epoch = epoch, .release = number, .expires = expires, .tickets = r->count};
    memcpy(r->head.fleet, fleet->trust.fleet, sizeof r->head.fleet);
    merkle_root((const merkle_hash *)leaves, r->count, r->head.root);
    sha256(buf_bytes(&r->roster), r->head.roster);
    randombytes_buf(r->head.nonce, sizeof r->head.nonce);
    sign_release(r, &fleet->admin, NAMESPACE_RELEASE);
    return r;
}

static inline void free_release(struct made_release *release)
{
    buf_clear(&release->envelope);
    buf_clear(&release->roster);
    buf_clear(&release->tickets);
    for (size_t i = 0; i < release->count; i++)
        buf_clear(&release->ticket[i]);
    free(release);
}

static inline void upload_blob(struct store *store, const struct buf *blob, uint64_t now_s)
{
    struct err e;
    uint8_t hash[HASH_BYTES];
    uint64_t have = 0;
    sha256(buf_bytes(blob), hash);
    while (have < blob->len) {
        size_t n = blob->len - have < CHUNK_BYTES_MAX ? blob->len - have : CHUNK_BYTES_MAX;
        must(store_blob_put(
                 store, hash, blob->len, have, bytes_of(blob->at + have, n), now_s, &have, &e),
            &e);
    }
}

static inline void upload_all(struct store *store, const struct made_fleet *fleet, uint64_t now_s)
{
    for (size_t i = 0; i < fleet->node_count; i++) {
        upload_blob(store, &fleet->nodes[i].bundle, now_s);
        upload_blob(store, &fleet->nodes[i].tree, now_s);
    }
}

static inline void make_status(const struct made_fleet *fleet, const struct made_node *node,
    uint64_t seq, const char *log, struct buf *out)
{
    struct status status = {
        .seq = seq, .time = 1, .epoch = 1, .release = 2, .state = NODE_UP_TO_DATE, .speaks = 1};
    memcpy(status.fleet, fleet->trust.fleet, sizeof status.fleet);
    memcpy(status.node_id, node->id, HASH_BYTES);
    status.log = bytes_of_text(log);
    buf_clear(out);
    status_sign(&status, &node->key, out);
}

// A store in a new folder.
struct made_store {
    char folder[64];
    struct store *store;
};

static inline void make_store(struct made_store *made)
{
    struct err e;
    strcpy(made->folder, "/tmp/test_broker.XXXXXX");
    assert_non_null(mkdtemp(made->folder));
    must(store_open(made->folder, &made->store, &e), &e);
}

static inline void free_store(struct made_store *made)
{
    struct err e;
    store_close(made->store);
    must(fs_remove_tree(AT_FDCWD, made->folder, &e), &e);
}
