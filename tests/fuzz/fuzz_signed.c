// A signed status: nothing but the one that the node signed may be believed.
#include "status.h"

#include "fuzz.h"
#include "world.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    const struct world *world = world_always();
    struct bytes message = bytes_of(data, len);
    struct status status;
    struct err e = {0};
    if (!status_verify(message, world->trust.fleet, &status, &e))
        return fuzz_refused(&e);
    ASSERT(bytes_equal(message, buf_bytes(&world->signed_status)));
    return 0;
}
