#include "spool.h"

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct bytes message = bytes_of(data, len);
    struct buf again = {0};
    static struct acks acks; // large
    struct err e = {0};
    if (!acks_decode(message, &acks, &e))
        return fuzz_refused(&e);
    acks_encode(&acks, &again);
    return fuzz_same(&again, message);
}
