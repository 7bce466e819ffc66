// One release for a thousand nodes, made, signed, uploaded to a real bento-broker and checked by a node, with the libraries
// that the programs use. release BENTO_BROKER [NODES]; prints a small table. Asserts nothing about the figures.
#include "remote.h"
#include "sign.h"
#include "verify.h"

#include "fs.h"
#include "proc.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TREE_BYTES 20000 // one flake for all
#define SECRET_BYTES 400 // and something of its own for each
#define CHECK_MS 1000.0  // how long each check is repeated

struct node {
    struct secret_key key;
    uint8_t id[HASH_BYTES];
    uint8_t bundle_hash[HASH_BYTES];
    struct buf bundle, ticket;
};

struct bench {
    char folder[64];
    struct fleet fleet;
    pid_t broker;
    int broker_fd;
    size_t count;
    struct node *nodes;
    struct bundle bundle;
    struct buf tree, roster, envelope, head_message;
    struct head head;
    merkle_hash *leaves;
};

static void must(bool ok, const struct err *e)
{
    if (!ok) {
        fprintf(stderr, "bench_release: %s: %s\n", code_name(e->code), e->text);
        exit(1);
    }
}

static double now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static void number(const char *name, double value, const char *unit)
{
    bool whole = value == (double)(uint64_t)value;
    int digits = whole || value >= 1000 ? 0 : value < 10 ? 3 : 1;
    printf("%-60s %10.*f%s%s\n", name, digits, value, *unit ? " " : "", unit);
}

static int by_id(const void *a, const void *b)
{
    return memcmp(((const struct node *)a)->id, ((const struct node *)b)->id, HASH_BYTES);
}

static void make_nodes(struct bench *b)
{
    b->nodes = xcalloc(b->count, sizeof *b->nodes);
    b->leaves = xcalloc(b->count, sizeof *b->leaves);
    for (size_t i = 0; i < b->count; i++) {
        struct node *node = &b->nodes[i];
        node->key.public.type = KEY_ED25519;
        crypto_sign_keypair(node->key.public.ed25519, node->key.ed25519);
        public_key_id(&node->key.public, node->id);
    }
    qsort(b->nodes, b->count, sizeof *b->nodes, by_id);
}

static void make_tree(struct bench *b)
{
    struct err e;
    struct buf plain CLEANUP(buf_clear) = {0};
    uint8_t *content = xmalloc(TREE_BYTES);
    randombytes_buf(content, TREE_BYTES);
    struct tree_file file = {
        .path = bytes_of_text("flake.nix"), .content = bytes_of(content, TREE_BYTES)};
    struct tree tree = {.count = 1, .files = &file};
    must(tree_encode(&tree, &plain, &e), &e);
    free(content);
    blob_new_key(b->bundle.tree_key);
    blob_seal(buf_bytes(&plain), b->bundle.tree_key, &b->tree);
    sha256(buf_bytes(&b->tree), b->bundle.tree_hash);
    b->bundle.has_tree = true;
    b->bundle.tree_len = b->tree.len;
}

// What bento-pub does for a host once it is evaluated: bundle, blob, sealed key, ticket, leaf.
static void make_ticket(struct bench *b, size_t i, const char *name)
{
    struct err e;
    struct node *node = &b->nodes[i];
    struct buf plain CLEANUP(buf_clear) = {0};
    uint8_t key[BLOB_KEY_BYTES], content[SECRET_BYTES];
    randombytes_buf(content, sizeof content);
    struct secret secret = {.name = bytes_of_text("password"),
        .owner = bytes_of_text("root"),
        .group = bytes_of_text("root"),
        .mode = 0400,
        .content = bytes_of(content, sizeof content)};
    struct bundle bundle = b->bundle;
    bundle.meta = (struct meta){.attribute = bytes_of_text(name),
        .host = bytes_of_text(name),
        .system = bytes_of_text("x86_64-linux")};
    bundle.secret_count = 1;
    bundle.secrets = &secret;
    must(bundle_encode(&bundle, &plain, &e), &e);
    blob_new_key(key);
    blob_seal(buf_bytes(&plain), key, &node->bundle);
    sha256(buf_bytes(&node->bundle), node->bundle_hash);
    struct ticket ticket = {.ct_len = node->bundle.len};
    memcpy(ticket.node_id, node->id, HASH_BYTES);
    memcpy(ticket.ct_hash, node->bundle_hash, HASH_BYTES);
    must(key_seal(key, &node->key.public, ticket.sealed, &e), &e);
    ticket_encode(&ticket, &node->ticket);
    merkle_leaf(buf_bytes(&node->ticket), b->leaves[i]);
}

static void make_release(struct bench *b)
{
    struct err e;
    struct roster roster = {.count = b->count};
    char(*names)[32] = xcalloc(b->count, sizeof *names);
    roster.nodes = xcalloc(b->count, sizeof *roster.nodes);
    for (size_t i = 0; i < b->count; i++) {
        struct roster_node *entry = &roster.nodes[i];
        snprintf(names[i], sizeof names[i], "node-%zu", i);
        make_ticket(b, i, names[i]);
        memcpy(entry->node_id, b->nodes[i].id, HASH_BYTES);
        entry->name = bytes_of_text(names[i]);
        entry->directory = bytes_of_text("servers");
        entry->expected =
            bytes_of_text("/nix/store/abcdefghijklmnopqrstuvwxyz012345-nixos-system-24.05");
        entry->has_tree = true;
        memcpy(entry->tree_hash, b->bundle.tree_hash, HASH_BYTES);
    }
    must(roster_encode(&roster, &b->roster, &e), &e);
    roster_clear(&roster);
    free(names);
    uint64_t now = (uint64_t)time(NULL);
    b->head =
        (struct head){.epoch = 1, .release = now, .expires = now + 90 * 86400, .tickets = b->count};
    memcpy(b->head.fleet, b->fleet.trust.fleet, sizeof b->head.fleet);
    merkle_root((const merkle_hash *)b->leaves, b->count, b->head.root);
    sha256(buf_bytes(&b->roster), b->head.roster);
    randombytes_buf(b->head.nonce, sizeof b->head.nonce);
    head_encode(&b->head, &b->head_message);
}

static void path_in(const struct bench *b, const char *name, char path[128])
{
    snprintf(path, 128, "%s/%s", b->folder, name);
}

// An admin with a key of ssh-keygen's, and a broker that knows it.
static void set_up(struct bench *b, const char *broker)
{
    struct err e;
    char path[128], log[128], config[128];
    struct proc_result result;
    struct buf line CLEANUP(buf_clear) = {0}, text CLEANUP(buf_clear) = {0};
    strcpy(b->folder, "/tmp/bento-bench.XXXXXX");
    if (mkdtemp(b->folder) == NULL) {
        exit(1);
    }
    path_in(b, "admin", path);
    const char *keygen[] = {
        "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "admin", "-f", path, NULL};
    must(proc_run(keygen, NULL, NULL, (struct bytes){0}, 4096, 10000, false, &result, &e), &e);
    proc_result_clear(&result);
    path_in(b, "admin.pub", path);
    must(fs_read(AT_FDCWD, path, 4096, &line, &e), &e);
    line.at[line.len - 1] = '\0'; // its newline
    must(trust_add(&b->fleet.trust, (const char *)line.at, &e), &e);
    b->fleet.trust.threshold = 1;
    randombytes_buf(b->fleet.trust.fleet, sizeof b->fleet.trust.fleet);
    char fleet[HASH_HEX_BYTES];
    hex_encode(b->fleet.trust.fleet, 32, fleet);
    buf_printf(&text,
        "{\"fleet\": \"%s\", \"signers\": [\"%s\"], \"state\": \"%s/state\", \"admin\": "
        "\"%s/admin.sock\", \"pub\": \"ipc://%s/pub.sock\", \"rep\": \"ipc://%s/rep.sock\"}",
        fleet, (const char *)line.at, b->folder, b->folder, b->folder, b->folder);
    path_in(b, "broker.json", config);
    must(fs_write(AT_FDCWD, config, buf_bytes(&text), 0600, &e), &e);
    path_in(b, "state", path);
    must(mkdir(path, 0700) == 0 || err_set(&e, CODE_IO, "%s: %m", path), &e);
    path_in(b, "broker.log", log);
    CLEANUP_FD out = open(log, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    struct proc_spec spec = PROC_SPEC;
    const char *argv[] = {broker, "--config", config, NULL};
    spec.argv = argv;
    spec.out = spec.err = out;
    spec.die_with_parent = true;
    must(proc_spawn(&spec, &b->broker, &b->broker_fd, &e), &e);
    path_in(b, "admin.sock", path);
    for (int i = 0; access(path, F_OK) != 0; i++) {
        must(i < 2000 || err_set(&e, CODE_TIMEOUT, "the broker does not start: %s", log), &e);
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    }
}

static void upload(struct bench *b)
{
    struct err e;
    char path[128];
    struct remote *remote CLEANUP(remote_closep) = NULL;
    struct bytes *tickets = xcalloc(b->count, sizeof *tickets);
    uint64_t bytes = b->tree.len + b->envelope.len + b->roster.len;
    path_in(b, "admin.sock", path);
    double begun = now_ms();
    must(remote_open(path, &remote, &e), &e);
    must(remote_put_blob(remote, b->bundle.tree_hash, buf_bytes(&b->tree), &e), &e);
    for (size_t i = 0; i < b->count; i++) {
        struct node *node = &b->nodes[i];
        must(remote_put_blob(remote, node->bundle_hash, buf_bytes(&node->bundle), &e), &e);
        tickets[i] = buf_bytes(&node->ticket);
        bytes += node->bundle.len + node->ticket.len;
    }
    double blobs = now_ms();
    static const uint8_t nothing[HASH_BYTES];
    must(remote_publish(remote, nothing, buf_bytes(&b->envelope), buf_bytes(&b->roster), tickets,
             b->count, &e),
        &e);
    number("  upload of all blobs to a broker on this machine", blobs - begun, "ms");
    number("  publication: checked, stored, acknowledged", now_ms() - blobs, "ms");
    number("  bytes uploaded", (double)bytes / 1000, "kB");
    free(tickets);
}

struct part {
    const struct bench *b;
    const struct node *node;
    struct buf proven;
};

static void check_envelope(const struct part *p, struct head *head)
{
    struct err e;
    struct floor floor = {0}, raised;
    uint8_t hash[HASH_BYTES];
    must(verify_head(
             &p->b->fleet.trust, &floor, buf_bytes(&p->b->envelope), head, hash, &raised, &e),
        &e);
    must(verify_expiry(head, p->b->head.release + 1, &e), &e);
}

static void check_ticket(const struct part *p, const struct head *head, struct ticket *ticket)
{
    struct err e;
    must(proven_verify(buf_bytes(&p->proven), head, p->node->id, ticket, &e), &e);
}

static void check_bundle(const struct part *p, const struct ticket *ticket)
{
    struct err e;
    struct opened opened = {0};
    must(verify_bundle(ticket, buf_bytes(&p->node->bundle), &p->node->key, &opened, &e), &e);
    must(verify_tree(&opened, buf_bytes(&p->b->tree), &e), &e);
    opened_clear(&opened);
}

enum { ENVELOPE, TICKET, BUNDLE, ALL };

// Milliseconds of one check.
static double repeat(const struct part *p, int what)
{
    struct head head;
    struct ticket ticket;
    check_envelope(p, &head);
    check_ticket(p, &head, &ticket);
    unsigned runs = 0;
    double begun = now_ms(), spent = 0;
    for (; spent < CHECK_MS; spent = now_ms() - begun) {
        for (int i = 0; i < 100; i++, runs++) {
            if (what == ENVELOPE || what == ALL) {
                check_envelope(p, &head);
            }
            if (what == TICKET || what == ALL) {
                check_ticket(p, &head, &ticket);
            }
            if (what == BUNDLE || what == ALL) {
                check_bundle(p, &ticket);
            }
        }
    }
    return spent / runs;
}

static void check(const struct bench *b)
{
    struct part part = {.b = b, .node = &b->nodes[b->count / 3]};
    struct proven proven = {
        .ticket = buf_bytes(&part.node->ticket), .index = (uint64_t)(part.node - b->nodes)};
    proven.path_len =
        merkle_path((const merkle_hash *)b->leaves, b->count, (size_t)proven.index, proven.path);
    proven_encode(&proven, &part.proven);
    number("envelope", (double)b->envelope.len, "bytes");
    number("one ticket", (double)part.node->ticket.len, "bytes");
    number("one ticket with its path", (double)part.proven.len, "bytes");
    number("  hashes in that path", (double)proven.path_len, "");
    number("one bundle with a secret of 400 bytes", (double)part.node->bundle.len, "bytes");
    number("roster", (double)b->roster.len / 1000, "kB");
    number("a node checks the envelope", repeat(&part, ENVELOPE), "ms");
    number("  ticket and path", repeat(&part, TICKET), "ms");
    number("  opens and checks bundle and tree (20 kB)", repeat(&part, BUNDLE), "ms");
    double all = repeat(&part, ALL);
    number("a node's whole part of the release", all, "ms");
    number("  such checks a second on one core", 1000 / all, "");
    buf_clear(&part.proven);
}

int main(int argc, char **argv)
{
    struct err e;
    char path[128];
    struct bench b = {.count = argc > 2 ? strtoul(argv[2], NULL, 10) : 1000};
    if (sodium_init() < 0 || argc < 2 || b.count == 0) {
        fprintf(stderr, "usage: bench_release BENTO_BROKER [NODES]\n");
        return 64;
    }
    set_up(&b, argv[1]);
    make_nodes(&b);
    make_tree(&b);
    printf("one release for %zu nodes\n", b.count);
    double begun = now_ms();
    make_release(&b);
    double made = now_ms();
    path_in(&b, "admin", path);
    must(sign_head(&b.fleet, buf_bytes(&b.head_message), path, &b.envelope, &e), &e);
    number("  bundles and tickets sealed, tree of hashes, roster, head", made - begun, "ms");
    number("  one signature by ssh-keygen -Y sign", now_ms() - made, "ms");
    upload(&b);
    check(&b);
    proc_end(b.broker, 10000);
    close(b.broker_fd);
    must(fs_remove_tree(AT_FDCWD, b.folder, &e), &e);
    for (size_t i = 0; i < b.count; i++) {
        buf_clear(&b.nodes[i].bundle);
        buf_clear(&b.nodes[i].ticket);
    }
    free(b.nodes);
    free(b.leaves);
    buf_clear(&b.tree);
    buf_clear(&b.roster);
    buf_clear(&b.envelope);
    buf_clear(&b.head_message);
    return 0;
}
