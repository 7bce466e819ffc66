#include "ticket.h"

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct bytes message = bytes_of(data, len);
    struct buf again = {0};
    struct proven proven;
    struct err e = {0};
    if (!proven_decode(message, &proven, &e))
        return fuzz_refused(&e);
    proven_encode(&proven, &again);
    return fuzz_same(&again, message);
}
