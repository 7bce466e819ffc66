// The armor of a signature, from both ends.
#include "sshsig.h"

#include "bounds.h"
#include "fuzz.h"

static void check_as_blob(struct bytes blob)
{
    struct buf armor = {0}, again = {0};
    struct err e = {0};
    sshsig_to_armor(blob, &armor);
    if (sshsig_from_armor(buf_bytes(&armor), &again, &e))
        fuzz_same(&again, blob);
    else
        ASSERT(blob.len == 0 || armor.len > ENVELOPE_BYTES_MAX);
    buf_clear(&armor);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct bytes message = bytes_of(data, len);
    struct buf blob = {0}, again = {0};
    struct err e = {0};
    check_as_blob(message);
    if (!sshsig_from_armor(message, &blob, &e))
        return fuzz_refused(&e);
    sshsig_to_armor(buf_bytes(&blob), &again);
    buf_clear(&blob);
    return fuzz_same(&again, message);
}
