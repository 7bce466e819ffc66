// The opening of a request; the bodies are the target inbox's.
#include "message.h"

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct bytes message = bytes_of(data, len);
    struct buf again = {0};
    struct wire_in in;
    struct err e = {0};
    enum op op;
    size_t elements;
    if (!request_open(message, &in, &op, &elements, &e))
        return fuzz_refused(&e);
    ASSERT(op_name(op)[0] != '\0');
    request_put_open(&again, op, elements);
    buf_append(&again, in.rest.at, in.rest.len); // the body
    return fuzz_same(&again, message);
}
