#include "kept.h"

#include "fs.h"
#include "keys.h"
#include "log.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static bool keep_file(int dir, const char *name, struct bytes content, struct err *e)
{
    return content.len == 0 || fs_write(dir, name, content, 0600, e);
}

bool kept_store(
    int kept, const struct opened *opened, struct bytes bundle, struct bytes tree, struct err *e)
{
    char name[HASH_HEX_BYTES], fresh[HASH_HEX_BYTES + 4];
    hex_encode(opened->digest, HASH_BYTES, name);
    if (fs_exists(kept, name)) {
        return true;
    }
    snprintf(fresh, sizeof fresh, "%s.new", name);
    struct buf ticket CLEANUP(buf_clear) = {0};
    ticket_encode(&opened->ticket, &ticket);
    CLEANUP_FD dir = -1;
    return fs_remove_tree(kept, fresh, e) && fs_make_dir(kept, fresh, 0700, false, e) &&
           fs_open_dir(kept, fresh, &dir, e) && keep_file(dir, "ticket", buf_bytes(&ticket), e) &&
           keep_file(dir, "bundle", bundle, e) && keep_file(dir, "tree", tree, e) &&
           fs_rename(kept, fresh, kept, name, e);
}

bool kept_open(int kept, const uint8_t digest[HASH_BYTES], const struct secret_key *identity,
    struct opened *opened, struct err *e)
{
    char name[HASH_HEX_BYTES];
    hex_encode(digest, HASH_BYTES, name);
    CLEANUP_FD dir = -1;
    struct buf message CLEANUP(buf_clear) = {0};
    struct buf bundle CLEANUP(buf_clear) = {0};
    struct buf tree CLEANUP(buf_clear) = {0};
    struct ticket ticket;
    if (!fs_open_dir(kept, name, &dir, e) ||
        !fs_read(dir, "ticket", PROVEN_BYTES_MAX, &message, e) ||
        !ticket_decode(buf_bytes(&message), &ticket, e) ||
        !fs_read(dir, "bundle", BLOB_BYTES_MAX, &bundle, e) ||
        (!fs_read(dir, "tree", BLOB_BYTES_MAX, &tree, e) && e->code != CODE_NONE) ||
        !verify_bundle(&ticket, buf_bytes(&bundle), identity, opened, e)) {
        return err_wrap(e, "kept configuration %.16s", name);
    }
    if (!verify_tree(opened, buf_bytes(&tree), e)) {
        opened_clear(opened);
        return err_wrap(e, "kept configuration %.16s", name);
    }
    return true;
}

bool kept_load(
    const struct config *config, const char *digest_hex, struct opened *opened, struct err *e)
{
    uint8_t digest[HASH_BYTES];
    struct secret_key *identity CLEANUP(keys_free) = NULL;
    CLEANUP_FD state = -1;
    CLEANUP_FD kept = -1;
    if (!hex_decode(digest_hex, strlen(digest_hex), digest, HASH_BYTES)) {
        return err_set(e, CODE_USAGE, "'%s' is no config digest", digest_hex);
    }
    return fs_open_dir(AT_FDCWD, config->state, &state, e) &&
           fs_open_dir(state, "apply/kept", &kept, e) && keys_load_identity(config, &identity, e) &&
           kept_open(kept, digest, identity, opened, e);
}

static bool is_needed(const char *name, const uint8_t *const *needed, size_t count)
{
    char hex[HASH_HEX_BYTES];
    for (size_t i = 0; i < count; i++) {
        hex_encode(needed[i], HASH_BYTES, hex);
        if (strncmp(hex, name, HASH_HEX_BYTES - 1) == 0) { // also what a job puts beside it
            return true;
        }
    }
    return false;
}

struct unneeded {
    const char *name;
    struct timespec changed;
};

static int newest_first(const void *a, const void *b)
{
    const struct timespec *left = &((const struct unneeded *)a)->changed;
    const struct timespec *right = &((const struct unneeded *)b)->changed;
    if (left->tv_sec != right->tv_sec) {
        return left->tv_sec > right->tv_sec ? -1 : 1;
    }
    return (right->tv_nsec > left->tv_nsec) - (right->tv_nsec < left->tv_nsec);
}

// What a crash left half-made is nothing to spare.
static bool is_whole(const char *name)
{
    const char *suffix = strchr(name, '.');
    return suffix == NULL || strcmp(suffix, ".update") == 0;
}

void kept_forget(int kept, const uint8_t *const *needed, size_t count, size_t spare)
{
    struct names names;
    struct err e;
    if (!fs_list(kept, &names, &e)) {
        log_warning("old configurations not removed error=\"%s\"", e.text);
        return;
    }
    struct unneeded *unneeded = xcalloc(names.count + 1, sizeof *unneeded);
    size_t found = 0;
    for (size_t i = 0; i < names.count; i++) {
        struct stat st;
        if (!is_needed(names.names[i], needed, count) &&
            fstatat(kept, names.names[i], &st, AT_SYMLINK_NOFOLLOW) == 0) {
            unneeded[found++] = (struct unneeded){names.names[i], st.st_mtim};
        }
    }
    qsort(unneeded, found, sizeof *unneeded, newest_first);
    for (size_t i = 0; i < found; i++) {
        if (is_whole(unneeded[i].name) && spare > 0) {
            spare--;
        } else if (!fs_remove_tree(kept, unneeded[i].name, &e)) {
            log_warning("old configuration not removed error=\"%s\"", e.text);
        }
    }
    free(unneeded);
    names_clear(&names);
}
