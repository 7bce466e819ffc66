#include "bundle.h"

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct bytes message = bytes_of(data, len);
    struct buf again = {0};
    struct bundle bundle;
    struct err e = {0};
    if (!bundle_decode(message, &bundle, &e))
        return fuzz_refused(&e);
    uint8_t digest[HASH_BYTES];
    bundle_digest(&bundle, NULL, digest);
    ASSERT(bundle_encode(&bundle, &again, &e));
    bundle_clear(&bundle);
    return fuzz_same(&again, message);
}
