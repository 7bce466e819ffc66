#include "newest.h"

#include "cache.h"
#include "fs.h"

#include <inttypes.h>
#include <string.h>

#define FILE_NAME "newest"
#define RECORD_BYTES_MAX 256u

struct newest {
    uint64_t epoch, release;
    uint8_t head_hash[HASH_BYTES];
};

static bool recall(int dir, struct newest *newest)
{
    CLEANUP(buf_clear) struct buf text = {0};
    struct err ignored;
    if (!fs_read(dir, FILE_NAME, RECORD_BYTES_MAX, &text, &ignored)) {
        return false;
    }
    struct wire_in in = wire_in(buf_bytes(&text));
    wire_open(&in, 5, "bento-newest");
    newest->epoch = wire_u64(&in, UINT64_MAX);
    newest->release = wire_u64(&in, UINT64_MAX);
    wire_bin_copy(&in, newest->head_hash, HASH_BYTES);
    return wire_end(&in, FILE_NAME, &ignored);
}

static void remember(int dir, const struct release *release)
{
    CLEANUP(buf_clear) struct buf text = {0};
    struct err ignored;
    wire_put_open(&text, 5, "bento-newest");
    wire_put_u64(&text, release->head.epoch);
    wire_put_u64(&text, release->head.release);
    wire_put_hash(&text, release->head_hash);
    (void)!fs_write(dir, FILE_NAME, buf_bytes(&text), 0600, &ignored);
}

bool newest_check(const uint8_t fleet[32], const struct release *release, struct err *e)
{
    CLEANUP_FD dir = -1;
    struct err ignored;
    struct newest known;
    if (!cache_open_folder(fleet, &dir, &ignored)) {
        return true;
    }
    bool any = recall(dir, &known);
    if (any && release == NULL) {
        return err_set(e, CODE_ROLLBACK,
            "the broker shows no release, but %" PRIu64
            " was published: it hides it, or its database is new",
            known.release);
    }
    if (release == NULL) {
        return true;
    }
    const struct head *head = &release->head;
    int order = any ? release_compare(head->epoch, head->release, known.epoch, known.release) : 1;
    if (order < 0) {
        return err_set(e, CODE_ROLLBACK,
            "the broker shows release %" PRIu64 ", but %" PRIu64
            " was published: it hides it, or was restored from a backup; publishing again mends it",
            head->release, known.release);
    }
    if (order == 0 && memcmp(known.head_hash, release->head_hash, HASH_BYTES) != 0) {
        return err_set(e, CODE_EQUIVOCATION,
            "a second release was signed under the number %" PRIu64, head->release);
    }
    if (order > 0) {
        remember(dir, release);
    }
    return true;
}
