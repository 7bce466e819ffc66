#include "ticket.h"

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct bytes message = bytes_of(data, len);
    struct buf again = {0};
    struct ticket ticket;
    struct err e = {0};
    if (!ticket_decode(message, &ticket, &e))
        return fuzz_refused(&e);
    ticket_encode(&ticket, &again);
    return fuzz_same(&again, message);
}
