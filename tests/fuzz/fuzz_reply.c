// The opening of a reply, and the bodies that nodes take from a broker that they do not trust.
#include "message.h"

#include "fuzz.h"

static void read_body(struct wire_in in, size_t elements)
{
    struct err e = {0};
    struct wire_in chunk = in, ack = in;
    struct envelope envelope;
    struct proven proven;
    uint8_t hash[HASH_BYTES];
    if (elements == 1 && !envelope_decode(wire_bin(&in, 1, ENVELOPE_BYTES_MAX), &envelope, &e))
        fuzz_refused(&e);
    if (elements == 1 && !proven_decode(wire_bin(&chunk, 1, PROVEN_BYTES_MAX), &proven, &e))
        fuzz_refused(&e);
    if (elements != 2)
        return;
    wire_u64(&chunk, BLOB_BYTES_MAX);
    struct bytes bytes = wire_bin(&chunk, 1, CHUNK_BYTES_MAX);
    if (wire_end(&chunk, "blob", &e))
        sha256(bytes, hash); // reads all of it
    wire_u64(&ack, UINT64_MAX);
    wire_bin_copy(&ack, hash, HASH_BYTES);
    if (!wire_end(&ack, "acknowledgement", &e))
        fuzz_refused(&e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct bytes message = bytes_of(data, len);
    struct buf again = {0};
    struct wire_in in;
    struct err e = {0};
    enum code code;
    size_t elements;
    if (!reply_open(message, &in, &code, &elements, &e))
        return fuzz_refused(&e);
    read_body(in, elements);
    reply_put_open(&again, code, elements);
    buf_append(&again, in.rest.at, in.rest.len);
    return fuzz_same(&again, message);
}
