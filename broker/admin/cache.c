#include "cache.h"

#include "fs.h"
#include "loop.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define RECORD_BYTES_MAX 1024u

bool cache_open_folder(const uint8_t fleet[32], int *dir, struct err *e)
{
    CLEANUP(buf_clear) struct buf path = {0};
    const char *base = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    char hex[HASH_HEX_BYTES];
    hex_encode(fleet, 32, hex);
    if (base && *base == '/') {
        buf_printf(&path, "%s/bento/%s", base, hex);
    } else if (home && *home == '/') {
        buf_printf(&path, "%s/.cache/bento/%s", home, hex);
    } else {
        return err_set(e, CODE_IO, "neither XDG_CACHE_HOME nor HOME says where the cache goes");
    }
    return fs_make_dir(AT_FDCWD, buf_text(&path), 0700, true, e) &&
           fs_open_dir(AT_FDCWD, buf_text(&path), dir, e);
}

static bool open_one(int folder, const char *name, int *dir, struct err *e)
{
    return fs_make_dir(folder, name, 0700, true, e) && fs_open_dir(folder, name, dir, e);
}

bool cache_open(const uint8_t fleet[32], struct cache *cache, struct err *e)
{
    CLEANUP_FD folder = -1;
    *cache = (struct cache){-1, -1, -1};
    if (!cache_open_folder(fleet, &folder, e) || !open_one(folder, "blobs", &cache->blobs, e) ||
        !open_one(folder, "trees", &cache->trees, e) ||
        !open_one(folder, "tickets", &cache->tickets, e)) {
        cache_close(cache);
        return err_wrap(e, "cache");
    }
    fs_sweep(cache->blobs, "blob");
    fs_sweep(cache->trees, "tree");
    fs_sweep(cache->tickets, "ticket");
    return true;
}

void cache_close(struct cache *cache)
{
    fd_closep(&cache->blobs);
    fd_closep(&cache->trees);
    fd_closep(&cache->tickets);
    *cache = (struct cache){-1, -1, -1};
}

uint64_t cache_blob_bytes(const struct cache *cache, const uint8_t hash[HASH_BYTES])
{
    struct stat st;
    char name[HASH_HEX_BYTES];
    hex_encode(hash, HASH_BYTES, name);
    bool there = fstatat(cache->blobs, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode);
    return there ? (uint64_t)st.st_size : 0;
}

static bool has_blob(const struct cache *cache, const uint8_t hash[HASH_BYTES], uint64_t len)
{
    return cache_blob_bytes(cache, hash) == len;
}

// The blob goes first: a record never refers to nothing, whenever the power goes.
static bool put_blob(
    const struct cache *cache, const uint8_t hash[HASH_BYTES], struct bytes blob, struct err *e)
{
    char name[HASH_HEX_BYTES];
    hex_encode(hash, HASH_BYTES, name);
    return fs_write(cache->blobs, name, blob, 0600, e) || err_wrap(e, "cache");
}

static bool read_record(int dir, const uint8_t name_hash[HASH_BYTES], struct buf *record)
{
    struct err ignored; // a missing or damaged record is an absent one
    char name[HASH_HEX_BYTES];
    hex_encode(name_hash, HASH_BYTES, name);
    return fs_read(dir, name, RECORD_BYTES_MAX, record, &ignored);
}

static bool write_record(
    int dir, const uint8_t name_hash[HASH_BYTES], const struct buf *record, struct err *e)
{
    char name[HASH_HEX_BYTES];
    hex_encode(name_hash, HASH_BYTES, name);
    return fs_write(dir, name, buf_bytes(record), 0600, e) || err_wrap(e, "cache");
}

bool cache_get_tree(
    const struct cache *cache, const uint8_t plain_hash[HASH_BYTES], struct cached_tree *tree)
{
    CLEANUP(buf_clear) struct buf record = {0};
    struct err ignored;
    struct cached_tree found = {0};
    if (!read_record(cache->trees, plain_hash, &record)) {
        return false;
    }
    struct wire_in in = wire_in(buf_bytes(&record));
    wire_open(&in, 5, "bento-cached-tree");
    wire_bin_copy(&in, found.ct_hash, HASH_BYTES);
    found.ct_len = wire_u64(&in, BLOB_BYTES_MAX);
    wire_bin_copy(&in, found.key, BLOB_KEY_BYTES);
    if (!wire_end(&in, "cached tree", &ignored) || !has_blob(cache, found.ct_hash, found.ct_len)) {
        return false;
    }
    *tree = found;
    return true;
}

bool cache_put_tree(const struct cache *cache, const uint8_t plain_hash[HASH_BYTES],
    const struct cached_tree *tree, struct bytes blob, struct err *e)
{
    CLEANUP(buf_clear) struct buf record = {0};
    wire_put_open(&record, 5, "bento-cached-tree");
    wire_put_hash(&record, tree->ct_hash);
    wire_put_u64(&record, tree->ct_len);
    wire_put_bin(&record, bytes_of(tree->key, BLOB_KEY_BYTES));
    return put_blob(cache, tree->ct_hash, blob, e) &&
           write_record(cache->trees, plain_hash, &record, e);
}

static void ticket_name(
    const uint8_t node_id[HASH_BYTES], const uint8_t digest[HASH_BYTES], uint8_t name[HASH_BYTES])
{
    uint8_t both[2 * HASH_BYTES];
    memcpy(both, node_id, HASH_BYTES);
    memcpy(both + HASH_BYTES, digest, HASH_BYTES);
    sha256(bytes_of(both, sizeof(both)), name);
}

bool cache_get_ticket(const struct cache *cache, const uint8_t node_id[HASH_BYTES],
    const uint8_t digest[HASH_BYTES], const uint8_t *tree_hash, struct ticket *ticket)
{
    CLEANUP(buf_clear) struct buf record = {0};
    uint8_t name[HASH_BYTES];
    struct err ignored;
    struct ticket found;
    ticket_name(node_id, digest, name);
    if (!read_record(cache->tickets, name, &record)) {
        return false;
    }
    struct wire_in in = wire_in(buf_bytes(&record));
    wire_open(&in, 4, "bento-cached-ticket");
    struct bytes message = wire_bin(&in, 1, PROVEN_BYTES_MAX);
    struct bytes tree = wire_bin(&in, 0, HASH_BYTES);
    struct bytes wanted = bytes_of(tree_hash, tree_hash ? HASH_BYTES : 0);
    if (!wire_end(&in, "cached ticket", &ignored) || !bytes_equal(tree, wanted) ||
        !ticket_decode(message, &found, &ignored) ||
        memcmp(found.node_id, node_id, HASH_BYTES) != 0 ||
        !has_blob(cache, found.ct_hash, found.ct_len)) {
        return false;
    }
    *ticket = found;
    return true;
}

bool cache_put_ticket(const struct cache *cache, const struct ticket *ticket,
    const uint8_t digest[HASH_BYTES], const uint8_t *tree_hash, struct bytes blob, struct err *e)
{
    CLEANUP(buf_clear) struct buf record = {0}, message = {0};
    uint8_t name[HASH_BYTES];
    ticket_encode(ticket, &message);
    wire_put_open(&record, 4, "bento-cached-ticket");
    wire_put_bin(&record, buf_bytes(&message));
    wire_put_bin(&record, bytes_of(tree_hash, tree_hash ? HASH_BYTES : 0));
    ticket_name(ticket->node_id, digest, name);
    return put_blob(cache, ticket->ct_hash, blob, e) &&
           write_record(cache->tickets, name, &record, e);
}

bool cache_get_blob(
    const struct cache *cache, const uint8_t hash[HASH_BYTES], struct buf *blob, struct err *e)
{
    CLEANUP(buf_clear) struct buf found = {0};
    char name[HASH_HEX_BYTES];
    uint8_t actual[HASH_BYTES];
    hex_encode(hash, HASH_BYTES, name);
    if (!fs_read(cache->blobs, name, BLOB_BYTES_MAX, &found, e)) {
        return err_wrap(e, "cache");
    }
    sha256(buf_bytes(&found), actual);
    if (memcmp(actual, hash, HASH_BYTES) != 0) {
        struct err ignored; // gone or not, the next run must not find it
        if (!fs_remove(cache->blobs, name, &ignored)) {
            return err_set(e, CODE_NONE, "cache: blob %s is damaged and cannot be removed: %s",
                name, ignored.text);
        }
        return err_set(e, CODE_NONE, "cache: blob %s was damaged and is removed: run again", name);
    }
    buf_append(blob, found.at, found.len);
    return true;
}

static bool is_kept(const char *name, const merkle_hash *keep, size_t count)
{
    uint8_t hash[HASH_BYTES];
    if (!hex_decode(name, strlen(name), hash, HASH_BYTES)) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (!memcmp(keep[i], hash, HASH_BYTES)) {
            return true;
        }
    }
    return false;
}

static void prune_dir(int dir, const merkle_hash *keep, size_t keep_count, unsigned days)
{
    CLEANUP(names_clear) struct names names = {0};
    struct err ignored;
    if (!fs_list(dir, &names, &ignored)) {
        return;
    }
    for (size_t i = 0; i < names.count; i++) {
        struct stat st;
        bool old = fstatat(dir, names.names[i], &st, AT_SYMLINK_NOFOLLOW) == 0 &&
                   (uint64_t)st.st_mtime + days * 86400ull < clock_unix_s();
        if (old && !is_kept(names.names[i], keep, keep_count)) {
            unlinkat(dir, names.names[i], 0); // durable or not, what comes back is pruned next time
        }
    }
}

void cache_prune(
    const struct cache *cache, const merkle_hash *keep, size_t keep_count, unsigned days)
{
    prune_dir(cache->blobs, keep, keep_count, days);
    prune_dir(cache->trees, NULL, 0, 4 * days); // small; a record without its blob counts as absent
    prune_dir(cache->tickets, NULL, 0, 4 * days);
}
