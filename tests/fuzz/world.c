#include "world.h"

#include "message.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

static void must(bool ok, const struct err *e)
{
    if (!ok)
        assert_failed(e->text, __FILE__, __LINE__);
}

static void make_key(uint8_t fill, struct secret_key *key)
{
    uint8_t seed[32];
    memset(seed, fill, sizeof seed);
    *key = (struct secret_key){.public.type = KEY_ED25519};
    crypto_sign_seed_keypair(key->public.ed25519, key->ed25519, seed);
}

static int compare_keys(const void *a, const void *b)
{
    uint8_t ids[2][HASH_BYTES];
    public_key_id(&((const struct secret_key *)a)->public, ids[0]);
    public_key_id(&((const struct secret_key *)b)->public, ids[1]);
    return memcmp(ids[0], ids[1], HASH_BYTES);
}

static void make_keys(struct world *world)
{
    struct buf line = {0};
    struct err e;
    make_key(7, &world->admin);
    for (uint8_t i = 0; i < WORLD_NODES; i++)
        make_key(20 + i, &world->keys[i]);
    qsort(world->keys, WORLD_NODES, sizeof world->keys[0], compare_keys);
    for (size_t i = 0; i < WORLD_NODES; i++)
        public_key_id(&world->keys[i].public, world->ids[i]);
    public_key_line(&world->admin.public, &line);
    must(trust_add(&world->trust, buf_text(&line), &e), &e);
    world->trust.threshold = 1;
    memset(world->trust.fleet, 1, sizeof world->trust.fleet);
    buf_clear(&line);
}

static void make_tree(struct world *world)
{
    struct tree_file files[] = {
        {.path = bytes_of_text("a/b"), .executable = true, .content = bytes_of_text("#!/bin/sh\n")},
        {.path = bytes_of_text("a-b")},
        {.path = bytes_of_text("flake.nix"), .content = bytes_of_text("{ }")},
    };
    struct tree tree = {.count = 3, .files = files};
    struct err e;
    must(tree_encode(&tree, &world->tree, &e), &e);
}

static void make_bundle(struct world *world, const uint8_t tree_key[BLOB_KEY_BYTES])
{
    struct secret secrets[] = {
        {bytes_of_text("wg.key"), bytes_of_text("root"), bytes_of_text("root"), 0400,
            bytes_of_text("secret")},
        {bytes_of_text("_a"), bytes_of_text("www"), bytes_of_text("www"), 0777, {0}},
    };
    struct bundle bundle = {
        .meta = {.attribute = bytes_of_text("laptop"),
            .confirm_s = 300,
            .expected = bytes_of_text("/nix/store/abc-nixos"),
            .health_count = 1,
            .health[0] = {.count = 2, .words = {bytes_of_text("true"), bytes_of_text("")}},
            .host = bytes_of_text("laptop"),
            .substituter_count = 1,
            .substituters = {bytes_of_text("https://cache.example.org")}},
        .secret_count = 2,
        .secrets = secrets,
        .has_tree = true,
        .tree_len = world->tree_blob.len,
    };
    struct err e;
    sha256(buf_bytes(&world->tree_blob), bundle.tree_hash);
    memcpy(bundle.tree_key, tree_key, BLOB_KEY_BYTES);
    must(bundle_encode(&bundle, &world->bundle, &e), &e);
}

static void make_ticket(struct world *world, size_t node, const struct buf *plain, bool sealed)
{
    struct ticket *ticket = &world->tickets[node];
    uint8_t key[BLOB_KEY_BYTES];
    struct err e;
    *ticket = (struct ticket){0};
    memcpy(ticket->node_id, world->ids[node], HASH_BYTES);
    if (plain->len != 0) {
        memset(key, 40 + (int)node, sizeof key);
        memset(ticket->sealed, 50 + (int)node, sizeof ticket->sealed);
        if (sealed)
            must(key_seal(key, &world->keys[node].public, ticket->sealed, &e), &e);
        blob_seal(buf_bytes(plain), key, &world->blobs[node]);
        sha256(buf_bytes(&world->blobs[node]), ticket->ct_hash);
        ticket->ct_len = world->blobs[node].len;
    }
    ticket_encode(ticket, &world->raw_tickets[node]);
}

static void make_tickets(struct world *world, bool sealed)
{
    uint8_t tree_key[BLOB_KEY_BYTES];
    struct buf nothing = {0}, plain = {0};
    struct bundle plainest = {.meta.substitute_only = true};
    struct err e;
    memset(tree_key, 60, sizeof tree_key);
    blob_seal(buf_bytes(&world->tree), tree_key, &world->tree_blob);
    make_bundle(world, tree_key);
    must(bundle_encode(&plainest, &plain, &e), &e);
    make_ticket(world, 0, &nothing, sealed);
    make_ticket(world, WORLD_NODE, &world->bundle, sealed);
    make_ticket(world, 2, &plain, sealed);
    buf_clear(&plain);
}

static void make_roster(struct world *world)
{
    static const char *const names[WORLD_NODES] = {"router", "laptop", "server"};
    struct roster_node nodes[WORLD_NODES] = {0};
    struct roster roster = {WORLD_NODES, nodes};
    struct err e;
    for (size_t i = 0; i < WORLD_NODES; i++) {
        memcpy(nodes[i].node_id, world->ids[i], HASH_BYTES);
        nodes[i].name = bytes_of_text(names[i]);
        nodes[i].directory = bytes_of_text("hosts");
        nodes[i].tag_count = i < 2 ? i : 2;
        nodes[i].tags[0] = bytes_of_text("home");
        nodes[i].tags[1] = bytes_of_text("work");
    }
    nodes[WORLD_NODE].expected = bytes_of_text("/nix/store/abc-nixos");
    nodes[WORLD_NODE].has_tree = true;
    sha256(buf_bytes(&world->tree_blob), nodes[WORLD_NODE].tree_hash);
    must(roster_encode(&roster, &world->roster, &e), &e);
}

static void prove(struct world *world)
{
    merkle_hash leaves[WORLD_NODES];
    for (size_t i = 0; i < WORLD_NODES; i++)
        merkle_leaf(buf_bytes(&world->raw_tickets[i]), leaves[i]);
    merkle_root((const merkle_hash *)leaves, WORLD_NODES, world->head.root);
    for (size_t i = 0; i < WORLD_NODES; i++) {
        struct proven proven = {.ticket = buf_bytes(&world->raw_tickets[i]), .index = i};
        proven.path_len = merkle_path((const merkle_hash *)leaves, WORLD_NODES, i, proven.path);
        proven_encode(&proven, &world->provens[i]);
    }
}

static void sign_head(struct world *world)
{
    struct head *head = &world->head;
    struct buf signature = {0};
    head->epoch = 2;
    head->release = 1700000000;
    head->expires = UINT64_MAX;
    head->fallback_floor = 1600000000;
    head->tickets = WORLD_NODES;
    memcpy(head->fleet, world->trust.fleet, sizeof head->fleet);
    memset(head->nonce, 4, sizeof head->nonce);
    sha256(buf_bytes(&world->roster), head->roster);
    head_encode(head, &world->head_bytes);
    sshsig_sign(&world->admin, NAMESPACE_RELEASE, buf_bytes(&world->head_bytes), &signature);
    struct envelope envelope = {.head = buf_bytes(&world->head_bytes),
        .signature_count = 1,
        .signatures[0] = buf_bytes(&signature)};
    envelope_encode(&envelope, &world->envelope);
    buf_clear(&signature);
}

static void make_status(struct world *world)
{
    world->status = (struct status){.seq = UINT64_C(1700000000123456789),
        .time = 1700000000,
        .nonce = {2},
        .head_hash = {3},
        .epoch = 2,
        .release = 1700000000,
        .digest = {4},
        .applied = {5},
        .attempt = 3,
        .state = NODE_ROLLED_BACK,
        .code = CODE_CONNECTIVITY,
        .running = bytes_of_text("/nix/store/run"),
        .boot_id = {6},
        .reboot = true,
        .speaks = 1,
        .timings = {.confirm_ms = 180000, .switch_ms = 4000},
        .log = bytes_of_text("log\n")};
    memcpy(world->status.fleet, world->trust.fleet, sizeof world->status.fleet);
    memcpy(world->status.node_id, world->ids[WORLD_NODE], HASH_BYTES);
    status_encode(&world->status, &world->status_body);
    status_sign(&world->status, &world->keys[WORLD_NODE], &world->signed_status);
}

static void publish(struct world *world)
{
    struct bytes provens[WORLD_NODES];
    struct bytes blobs[] = {buf_bytes(&world->blobs[2]), buf_bytes(&world->tree_blob)};
    for (size_t i = 0; i < WORLD_NODES; i++)
        provens[i] = buf_bytes(&world->provens[i]);
    struct published published = {.kind = PUB_RELEASE,
        .envelope = buf_bytes(&world->envelope),
        .proven_count = WORLD_NODES,
        .proven = provens,
        .blob_count = 2,
        .blobs = blobs};
    published_encode(&published, &world->published);
}

void world_make(struct world *world, bool really_sealed)
{
    *world = (struct world){0};
    make_keys(world);
    make_tree(world);
    make_tickets(world, really_sealed);
    make_roster(world);
    prove(world);
    sign_head(world);
    make_status(world);
    publish(world);
}

void world_clear(struct world *world)
{
    struct buf *bufs[] = {&world->tree, &world->bundle, &world->tree_blob, &world->roster,
        &world->head_bytes, &world->envelope, &world->published, &world->status_body,
        &world->signed_status};
    for (size_t i = 0; i < sizeof bufs / sizeof bufs[0]; i++)
        buf_clear(bufs[i]);
    for (size_t i = 0; i < WORLD_NODES; i++) {
        buf_clear(&world->blobs[i]);
        buf_clear(&world->raw_tickets[i]);
        buf_clear(&world->provens[i]);
    }
}

const struct world *world_always(void)
{
    static struct world *world;
    if (world == NULL) {
        world = xcalloc(1, sizeof *world);
        world_make(world, false);
    }
    return world;
}

void world_trial(uint8_t digest[HASH_BYTES], uint32_t *attempt)
{
    memset(digest, 9, HASH_BYTES);
    *attempt = 2;
}
