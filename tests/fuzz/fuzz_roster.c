#include "roster.h"

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct bytes message = bytes_of(data, len);
    struct buf again = {0};
    struct roster roster;
    struct err e = {0};
    if (!roster_decode(message, &roster, &e))
        return fuzz_refused(&e);
    for (size_t i = 0; i < roster.count; i++)
        ASSERT(roster_find(&roster, roster.nodes[i].node_id) == &roster.nodes[i]);
    ASSERT(roster_encode(&roster, &again, &e));
    roster_clear(&roster);
    return fuzz_same(&again, message);
}
