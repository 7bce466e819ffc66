#include "status.h"

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct bytes message = bytes_of(data, len);
    struct buf again = {0};
    struct status status;
    struct err e = {0};
    if (!status_decode(message, &status, &e))
        return fuzz_refused(&e);
    status_encode(&status, &again);
    return fuzz_same(&again, message);
}
