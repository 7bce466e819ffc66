#include "verify.h"

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct bytes message = bytes_of(data, len);
    struct buf again = {0};
    struct floor floor;
    struct err e = {0};
    if (!floor_decode(message, &floor, &e))
        return fuzz_refused(&e);
    floor_encode(&floor, &again);
    return fuzz_same(&again, message);
}
