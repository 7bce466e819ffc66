#include "floor.h"

#include "fs.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#define FLOOR_BYTES_MAX 256

static bool read_copy(int at, const char *path, struct floor *floor, struct err *e)
{
    struct buf text CLEANUP(buf_clear) = {0};
    if (!fs_read(at, path, FLOOR_BYTES_MAX, &text, e)) {
        *floor = (struct floor){0};
        return e->code == CODE_NONE;
    }
    return floor_decode(buf_bytes(&text), floor, e);
}

bool floor_load(const struct config *config, int dir, struct floor *floor, struct err *e)
{
    struct floor own, copy = {0};
    struct floor configured = {.epoch = config->epoch, .release = config->minimum_release};
    if (!read_copy(dir, "floor", &own, e) ||
        (config->floor_copy != NULL && !read_copy(AT_FDCWD, config->floor_copy, &copy, e))) {
        return err_wrap(e, "floor (move the damaged file away if the other copy is good)");
    }
    own = floor_merge(&own, &copy);
    *floor = floor_merge(&own, &configured);
    return true;
}

static bool is_same(const struct floor *a, const struct floor *b)
{
    return a->epoch == b->epoch && a->release == b->release && a->has_hash == b->has_hash &&
           memcmp(a->head_hash, b->head_hash, HASH_BYTES) == 0;
}

// The folder of the second copy: nobody else makes it.
static bool make_copy_folder(const char *copy, struct err *e)
{
    char folder[PATH_MAX];
    snprintf(folder, sizeof folder, "%s", copy);
    char *slash = strrchr(folder, '/');
    if (slash == NULL || slash == folder) {
        return true;
    }
    *slash = '\0';
    return fs_exists(AT_FDCWD, folder) || fs_make_dir(AT_FDCWD, folder, 0755, true, e);
}

bool floor_raise(const struct config *config, int dir, struct floor *floor,
    const struct floor *raised, struct err *e)
{
    if (is_same(floor, raised)) {
        return true;
    }
    struct buf text CLEANUP(buf_clear) = {0};
    floor_encode(raised, &text);
    if (!fs_write(dir, "floor", buf_bytes(&text), 0600, e)) {
        return err_wrap(e, "floor");
    }
    if (config->floor_copy != NULL &&
        (!make_copy_folder(config->floor_copy, e) ||
            !fs_write(AT_FDCWD, config->floor_copy, buf_bytes(&text), 0600, e))) {
        return err_wrap(e, "second copy of the floor");
    }
    *floor = *raised;
    return true;
}
