// How long a node takes to check one release of 200 kB: envelope, one ticket of a hundred, bundle
// and tree. Prints the milliseconds of one check.
#include "verify.h"

#include "merkle.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NODES 100
#define MINE 42
#define FILE_BYTES 200000
#define RUNS 200

struct made {
    struct trust trust;
    struct secret_key admin, identity;
    uint8_t node_id[HASH_BYTES];
    struct buf envelope, proven, bundle, tree;
};

static void must(bool ok, const struct err *e)
{
    if (!ok) {
        fprintf(stderr, "verify: %s\n", e->text);
        exit(1);
    }
}

static void make_key(struct secret_key *key)
{
    *key = (struct secret_key){.public.type = KEY_ED25519};
    crypto_sign_keypair(key->public.ed25519, key->ed25519);
}

// The blobs, and the key of the bundle's.
static void make_blobs(struct made *m, uint8_t key[BLOB_KEY_BYTES])
{
    struct err e;
    struct buf plain CLEANUP(buf_clear) = {0}, packed CLEANUP(buf_clear) = {0};
    uint8_t *content = xmalloc(FILE_BYTES);
    randombytes_buf(content, FILE_BYTES);
    struct tree_file file = {
        .path = bytes_of_text("flake.nix"), .content = bytes_of(content, FILE_BYTES)};
    struct tree tree = {.count = 1, .files = &file};
    must(tree_encode(&tree, &plain, &e), &e);
    struct bundle bundle = {.has_tree = true,
        .meta = {.host = bytes_of_text("node"),
            .attribute = bytes_of_text("node"),
            .system = bytes_of_text("x86_64-linux")}};
    blob_new_key(bundle.tree_key);
    blob_seal(buf_bytes(&plain), bundle.tree_key, &m->tree);
    sha256(buf_bytes(&m->tree), bundle.tree_hash);
    bundle.tree_len = m->tree.len;
    must(bundle_encode(&bundle, &packed, &e), &e);
    blob_new_key(key);
    blob_seal(buf_bytes(&packed), key, &m->bundle);
    free(content);
}

static void make_tickets(struct made *m, const uint8_t key[BLOB_KEY_BYTES], struct head *head)
{
    struct err e;
    struct buf tickets[NODES] = {0};
    merkle_hash leaves[NODES];
    for (size_t i = 0; i < NODES; i++) {
        struct ticket ticket = {.ct_len = 0};
        randombytes_buf(ticket.node_id, HASH_BYTES);
        ticket.node_id[0] = (uint8_t)i;
        if (i == MINE) {
            memcpy(ticket.node_id, m->node_id, HASH_BYTES);
            ticket.ct_len = m->bundle.len;
            sha256(buf_bytes(&m->bundle), ticket.ct_hash);
            must(key_seal(key, &m->identity.public, ticket.sealed, &e), &e);
        }
        ticket_encode(&ticket, &tickets[i]);
        merkle_leaf(buf_bytes(&tickets[i]), leaves[i]);
    }
    merkle_root((const merkle_hash *)leaves, NODES, head->root);
    struct proven proven = {.ticket = buf_bytes(&tickets[MINE]), .index = MINE};
    proven.path_len = merkle_path((const merkle_hash *)leaves, NODES, MINE, proven.path);
    proven_encode(&proven, &m->proven);
    for (size_t i = 0; i < NODES; i++) {
        buf_clear(&tickets[i]);
    }
}

static void make(struct made *m)
{
    struct err e;
    uint8_t key[BLOB_KEY_BYTES];
    struct buf line CLEANUP(buf_clear) = {0}, text CLEANUP(buf_clear) = {0},
                    signature CLEANUP(buf_clear) = {0};
    make_key(&m->admin);
    make_key(&m->identity);
    public_key_id(&m->identity.public, m->node_id);
    public_key_line(&m->admin.public, &line);
    must(trust_add(&m->trust, buf_text(&line), &e), &e);
    m->trust.threshold = 1;
    make_blobs(m, key);
    struct head head = {.epoch = 1, .release = 1, .expires = UINT32_MAX, .tickets = NODES};
    make_tickets(m, key, &head);
    head_encode(&head, &text);
    sshsig_sign(&m->admin, NAMESPACE_RELEASE, buf_bytes(&text), &signature);
    struct envelope envelope = {.head = buf_bytes(&text), .signature_count = 1};
    envelope.signatures[0] = buf_bytes(&signature);
    envelope_encode(&envelope, &m->envelope);
}

static void check(const struct made *m)
{
    struct err e;
    struct floor floor = {0}, raised;
    struct head head;
    struct ticket ticket;
    struct opened opened = {0};
    uint8_t hash[HASH_BYTES];
    must(verify_head(&m->trust, &floor, buf_bytes(&m->envelope), &head, hash, &raised, &e), &e);
    must(verify_expiry(&head, 1, &e), &e);
    must(proven_verify(buf_bytes(&m->proven), &head, m->node_id, &ticket, &e), &e);
    must(verify_bundle(&ticket, buf_bytes(&m->bundle), &m->identity, &opened, &e), &e);
    must(verify_tree(&opened, buf_bytes(&m->tree), &e), &e);
    opened_clear(&opened);
}

static double now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

int main(void)
{
    struct made m = {0};
    if (sodium_init() < 0) {
        return 1;
    }
    make(&m);
    double begun = now_ms();
    for (unsigned i = 0; i < RUNS; i++) {
        check(&m);
    }
    printf("%.2f\n", (now_ms() - begun) / RUNS);
    buf_clear(&m.envelope);
    buf_clear(&m.proven);
    buf_clear(&m.bundle);
    buf_clear(&m.tree);
    return 0;
}
