// An envelope, and whether it is believed: nothing but the one that the signer signed may be.
#include "trust.h"

#include "fuzz.h"
#include "world.h"

static void check_trust(struct bytes message)
{
    const struct world *world = world_always();
    struct head head;
    uint8_t hash[HASH_BYTES];
    struct err e = {0};
    if (trust_verify(&world->trust, message, &head, hash, &e))
        ASSERT(bytes_equal(message, buf_bytes(&world->envelope)));
    else
        fuzz_refused(&e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct bytes message = bytes_of(data, len);
    struct buf again = {0};
    struct envelope envelope;
    struct err e = {0};
    check_trust(message);
    if (!envelope_decode(message, &envelope, &e))
        return fuzz_refused(&e);
    envelope_encode(&envelope, &again);
    return fuzz_same(&again, message);
}
