// The admin's cache: what fits together comes back, everything else counts as absent.
#include "cache.h"
#include "fs.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "/tmp/test_cache-XXXXXX";
static const uint8_t fleet[32] = {1}, plain_hash[HASH_BYTES] = {2}, digest[HASH_BYTES] = {3},
                     node_id[HASH_BYTES] = {4};
static struct cache cache;

static int open_cache(void **state)
{
    (void)state;
    struct err e;
    strcpy(folder + strlen(folder) - 6, "XXXXXX");
    assert_non_null(mkdtemp(folder));
    setenv("XDG_CACHE_HOME", folder, 1);
    assert_true(cache_open(fleet, &cache, &e));
    return 0;
}

static int close_cache(void **state)
{
    (void)state;
    struct err e;
    cache_close(&cache);
    assert_true(fs_remove_tree(AT_FDCWD, folder, &e));
    return 0;
}

static struct cached_tree put_tree(const char *content)
{
    struct cached_tree tree = {.ct_len = strlen(content), .key = {9}};
    struct err e;
    sha256(bytes_of_text(content), tree.ct_hash);
    assert_true(cache_put_tree(&cache, plain_hash, &tree, bytes_of_text(content), &e));
    return tree;
}

static struct ticket put_ticket(const char *content, const uint8_t *tree_hash)
{
    struct ticket ticket = {.ct_len = strlen(content), .sealed = {7}};
    struct err e;
    memcpy(ticket.node_id, node_id, HASH_BYTES);
    sha256(bytes_of_text(content), ticket.ct_hash);
    assert_true(cache_put_ticket(&cache, &ticket, digest, tree_hash, bytes_of_text(content), &e));
    return ticket;
}

static void path_of(const uint8_t *hash, char path[400])
{
    char fleet_hex[65], hex[65];
    hex_encode(fleet, 32, fleet_hex);
    hex_encode(hash, HASH_BYTES, hex);
    snprintf(path, 400, "%s/bento/%s/blobs/%s", folder, fleet_hex, hex);
}

static void tree_comes_back(void **state)
{
    (void)state;
    struct cached_tree found;
    assert_false(cache_get_tree(&cache, plain_hash, &found));
    struct cached_tree tree = put_tree("a blob of some bytes");
    assert_true(cache_get_tree(&cache, plain_hash, &found));
    assert_memory_equal(&found, &tree, sizeof(tree));
}

static void tree_without_its_blob_is_absent(void **state)
{
    (void)state;
    char path[400];
    struct cached_tree tree = put_tree("a blob of some bytes"), found;
    path_of(tree.ct_hash, path);
    assert_int_equal(unlink(path), 0);
    assert_false(cache_get_tree(&cache, plain_hash, &found));
}

static void ticket_comes_back_for_its_node_digest_and_tree(void **state)
{
    (void)state;
    struct ticket found;
    uint8_t tree_hash[HASH_BYTES] = {5}, other[HASH_BYTES] = {6};
    struct ticket ticket = put_ticket("the bundle's blob", tree_hash);
    assert_true(cache_get_ticket(&cache, node_id, digest, tree_hash, &found));
    assert_memory_equal(&found, &ticket, sizeof(ticket));
    assert_false(cache_get_ticket(&cache, node_id, digest, other, &found));
    assert_false(cache_get_ticket(&cache, node_id, digest, NULL, &found));
    assert_false(cache_get_ticket(&cache, node_id, other, tree_hash, &found));
    assert_false(cache_get_ticket(&cache, other, digest, tree_hash, &found));
}

static void ticket_without_tree_comes_back(void **state)
{
    (void)state;
    struct ticket found;
    put_ticket("the bundle's blob", NULL);
    assert_true(cache_get_ticket(&cache, node_id, digest, NULL, &found));
}

static void damaged_blob_is_refused_and_removed(void **state)
{
    (void)state;
    char path[400];
    struct err e;
    struct buf blob = {0};
    struct cached_tree tree = put_tree("a blob of some bytes"), found;
    assert_true(cache_get_blob(&cache, tree.ct_hash, &blob, &e));
    assert_true(bytes_equal_text(buf_bytes(&blob), "a blob of some bytes"));
    buf_clear(&blob);
    path_of(tree.ct_hash, path);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs("a blob of SOME bytes", file);
    fclose(file);
    assert_false(cache_get_blob(&cache, tree.ct_hash, &blob, &e));
    assert_int_equal(e.code, CODE_NONE);
    assert_int_equal(blob.len, 0);
    assert_false(cache_get_tree(&cache, plain_hash, &found));
}

static void prune_keeps_what_is_young_or_in_use(void **state)
{
    (void)state;
    char path[400];
    struct timespec old[2] = {{1000, 0}, {1000, 0}};
    struct cached_tree tree = put_tree("a blob of some bytes"), found;
    cache_prune(&cache, NULL, 0, 30);
    assert_true(cache_get_tree(&cache, plain_hash, &found));
    path_of(tree.ct_hash, path);
    assert_int_equal(utimensat(AT_FDCWD, path, old, 0), 0);
    cache_prune(&cache, (const merkle_hash *)&tree.ct_hash, 1, 30);
    assert_true(cache_get_tree(&cache, plain_hash, &found));
    cache_prune(&cache, NULL, 0, 30);
    assert_false(cache_get_tree(&cache, plain_hash, &found));
}

static void cache_is_private(void **state)
{
    (void)state;
    struct stat st;
    assert_int_equal(fstat(cache.blobs, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(tree_comes_back, open_cache, close_cache),
        cmocka_unit_test_setup_teardown(tree_without_its_blob_is_absent, open_cache, close_cache),
        cmocka_unit_test_setup_teardown(
            ticket_comes_back_for_its_node_digest_and_tree, open_cache, close_cache),
        cmocka_unit_test_setup_teardown(ticket_without_tree_comes_back, open_cache, close_cache),
        cmocka_unit_test_setup_teardown(
            damaged_blob_is_refused_and_removed, open_cache, close_cache),
        cmocka_unit_test_setup_teardown(
            prune_keeps_what_is_young_or_in_use, open_cache, close_cache),
        cmocka_unit_test_setup_teardown(cache_is_private, open_cache, close_cache),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
