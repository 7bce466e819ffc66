// A public key line, and its blob.
#include "sshkey.h"

#include "fuzz.h"

#include <string.h>

static void check_blob(struct bytes blob)
{
    struct public_key key;
    struct buf again = {0};
    struct err e = {0};
    if (!public_key_decode(blob, &key, &e)) {
        fuzz_refused(&e);
        return;
    }
    public_key_encode(&key, &again);
    fuzz_same(&again, blob);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct bytes line = bytes_of(data, len);
    struct public_key key, same;
    struct buf again = {0};
    struct err e = {0};
    check_blob(line);
    if (!public_key_parse(line, &key, &e))
        return fuzz_refused(&e);
    // The line without its comment is the only one of this key.
    public_key_line(&key, &again);
    ASSERT(len >= again.len && memcmp(data, again.at, again.len) == 0);
    ASSERT(len == again.len || data[again.len] == ' ' || data[again.len] == '\n');
    ASSERT(public_key_parse(buf_bytes(&again), &same, &e));
    ASSERT(public_key_same(&key, &same) && strcmp(key.application, same.application) == 0);
    buf_clear(&again);
    return 0;
}
