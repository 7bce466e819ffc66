#include "message.h"

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct bytes message = bytes_of(data, len);
    struct buf again = {0};
    struct published published;
    struct err e = {0};
    if (!published_decode(message, &published, &e))
        return fuzz_refused(&e);
    if (published.kind == PUB_TICK)
        tick_encode(published.epoch, published.release, &again);
    else
        published_encode(&published, &again);
    published_clear(&published);
    return fuzz_same(&again, message);
}
