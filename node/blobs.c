#include "blobs.h"

#include "fs.h"
#include "log.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool blobs_open(
    struct blobs *blobs, const struct config *config, const struct spool *spool, struct err *e)
{
    char path[PATH_MAX];
    *blobs = (struct blobs){.partial = -1, .done = spool->blobs};
    snprintf(path, sizeof path, "%s/node/partial", config->state);
    if (!fs_exists(AT_FDCWD, path) && !fs_make_dir(AT_FDCWD, path, 0700, false, e)) {
        return false;
    }
    return fs_open_dir(AT_FDCWD, path, &blobs->partial, e);
}

void blobs_close(struct blobs *blobs)
{
    fd_closep(&blobs->partial);
}

static bool hash_is(int dir, const char *name, const uint8_t hash[HASH_BYTES], struct err *e)
{
    struct buf whole CLEANUP(buf_clear) = {0};
    uint8_t found[HASH_BYTES];
    if (!fs_read(dir, name, BLOB_BYTES_MAX, &whole, e)) {
        return false;
    }
    sha256(buf_bytes(&whole), found);
    return memcmp(found, hash, HASH_BYTES) == 0 ||
           err_set(e, CODE_HASH, "blob %.16s has other bytes than its name says", name);
}

static struct sound_blob describe(const uint8_t hash[HASH_BYTES], const struct stat *st)
{
    struct sound_blob file;
    memset(&file, 0, sizeof file); // compared as bytes
    memcpy(file.hash, hash, HASH_BYTES);
    file.device = st->st_dev;
    file.inode = st->st_ino;
    file.bytes = (uint64_t)st->st_size;
    file.changed_s = st->st_ctim.tv_sec;
    file.changed_ns = st->st_ctim.tv_nsec;
    return file;
}

static bool is_known_sound(const struct blobs *blobs, const struct sound_blob *file)
{
    for (size_t i = 0; i < sizeof blobs->sound / sizeof blobs->sound[0]; i++) {
        if (memcmp(&blobs->sound[i], file, sizeof *file) == 0) {
            return true;
        }
    }
    return false;
}

enum blob_state blobs_look(struct blobs *blobs, const uint8_t hash[HASH_BYTES])
{
    char name[HASH_HEX_BYTES];
    struct stat st;
    struct err e;
    hex_encode(hash, HASH_BYTES, name);
    if (fstatat(blobs->done, name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        return BLOB_MISSING;
    }
    struct sound_blob file = describe(hash, &st);
    if (is_known_sound(blobs, &file)) {
        return BLOB_SOUND;
    }
    if (!hash_is(blobs->done, name, hash, &e)) {
        log_warning("blob in the spool removed error=\"%s\"", e.text);
        unlinkat(blobs->done, name, 0);
        return BLOB_CORRUPT;
    }
    blobs->sound[blobs->next_sound++ % (sizeof blobs->sound / sizeof blobs->sound[0])] = file;
    return BLOB_SOUND;
}

uint64_t blobs_offset(const struct blobs *blobs, const struct want_blob *blob)
{
    char name[HASH_HEX_BYTES];
    struct stat st;
    hex_encode(blob->hash, HASH_BYTES, name);
    if (fstatat(blobs->partial, name, &st, AT_SYMLINK_NOFOLLOW) != 0 || st.st_size < 0 ||
        (uint64_t)st.st_size >= blob->len) {
        return 0; // never complete: that would have been renamed
    }
    return (uint64_t)st.st_size;
}

static bool append(
    struct blobs *blobs, const char *name, uint64_t offset, struct bytes chunk, struct err *e)
{
    CLEANUP_FD fd = openat(blobs->partial, name, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, (off_t)offset) != 0) {
        return err_set(e, CODE_IO, "cannot write the partial blob %.16s: %m", name);
    }
    for (size_t at = 0; at < chunk.len;) {
        ssize_t n = pwrite(fd, chunk.at + at, chunk.len - at, (off_t)(offset + at));
        if (n <= 0) {
            return err_set(e, CODE_IO, "cannot write the partial blob %.16s: %m", name);
        }
        at += (size_t)n;
    }
    if (fsync(fd) != 0) {
        return err_set(e, CODE_IO, "cannot write the partial blob %.16s: %m", name);
    }
    return true;
}

bool blobs_add(struct blobs *blobs, const struct want_blob *blob, uint64_t offset,
    struct bytes chunk, bool *done, struct err *e)
{
    char name[HASH_HEX_BYTES];
    hex_encode(blob->hash, HASH_BYTES, name);
    *done = false;
    if (chunk.len == 0 || offset + chunk.len > blob->len) {
        return err_set(e, CODE_LENGTH, "blob %.16s does not have its signed length", name);
    }
    if (!append(blobs, name, offset, chunk, e)) {
        return false;
    }
    if (offset + chunk.len < blob->len) {
        return true;
    }
    if (!hash_is(blobs->partial, name, blob->hash, e)) {
        unlinkat(blobs->partial, name, 0);
        return false;
    }
    *done = true;
    return fs_rename(blobs->partial, name, blobs->done, name, e);
}

static void forget_in(int dir, const struct want_blob *needed, size_t count)
{
    struct names names;
    struct err e;
    char hex[HASH_HEX_BYTES];
    if (!fs_list(dir, &names, &e)) {
        log_warning("old blobs not removed error=\"%s\"", e.text);
        return;
    }
    for (size_t i = 0; i < names.count; i++) {
        bool keep = false;
        for (size_t j = 0; j < count && !keep; j++) {
            hex_encode(needed[j].hash, HASH_BYTES, hex);
            keep = strcmp(hex, names.names[i]) == 0;
        }
        if (!keep) {
            unlinkat(dir, names.names[i], 0);
        }
    }
    names_clear(&names);
}

void blobs_forget(
    struct blobs *blobs, const struct want_blob *needed, size_t count, bool partial_only)
{
    forget_in(blobs->partial, needed, count);
    if (!partial_only) {
        forget_in(blobs->done, needed, count);
    }
}

void blobs_drop(struct blobs *blobs, const struct want_blob *blob)
{
    char name[HASH_HEX_BYTES];
    hex_encode(blob->hash, HASH_BYTES, name);
    unlinkat(blobs->partial, name, 0);
}
