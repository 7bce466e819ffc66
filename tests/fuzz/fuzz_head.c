#include "head.h"

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct bytes message = bytes_of(data, len);
    struct buf again = {0};
    struct head head;
    struct err e = {0};
    if (!head_decode(message, &head, &e))
        return fuzz_refused(&e);
    head_encode(&head, &again);
    return fuzz_same(&again, message);
}
