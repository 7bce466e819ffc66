#include "spool.h"

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct bytes message = bytes_of(data, len);
    struct buf again = {0};
    struct want want;
    struct err e = {0};
    if (!want_decode(message, &want, &e))
        return fuzz_refused(&e);
    want_encode(&want, &again);
    return fuzz_same(&again, message);
}
