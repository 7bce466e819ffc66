// Names of files that bento-node puts before bento-apply: a number has one name.
#include "spool.h"

#include "fuzz.h"

#include <string.h>

static void check_release(const char *name)
{
    uint64_t epoch, release;
    uint8_t hash[HASH_BYTES] = {0};
    char again[RELEASE_NAME_BYTES];
    const char *hex = strrchr(name, '.');
    if (!spool_release_parse(name, &epoch, &release))
        return;
    ASSERT(hex != NULL && hex_decode(hex + 1, strlen(hex + 1), hash, 8));
    spool_release_name(epoch, release, hash, again);
    ASSERT(strcmp(again, name) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct buf text = {0};
    uint64_t seq;
    char again[STATUS_NAME_BYTES];
    buf_append(&text, data, len);
    const char *name = buf_text(&text);
    check_release(name);
    if (spool_status_parse(name, &seq)) {
        spool_status_name(seq, again);
        ASSERT(strcmp(again, name) == 0);
    }
    buf_clear(&text);
    return 0;
}
