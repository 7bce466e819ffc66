// A private key: the armored file, or its binary inside, which we armor here since a fuzzer hardly
// gets through base64.
#include "sshsig.h"

#include "fuzz.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

static void parse(struct bytes pem)
{
    struct secret_key key;
    struct sshsig sig;
    struct buf blob = {0};
    struct err e = {0};
    uint8_t half[32];
    if (!secret_key_parse(pem, &key, &e)) {
        fuzz_refused(&e);
        return;
    }
    // Its halves fit, so that it can sign.
    crypto_sign_ed25519_sk_to_pk(half, key.ed25519);
    ASSERT(memcmp(half, key.public.ed25519, sizeof half) == 0);
    sshsig_sign(&key, NAMESPACE_STATUS, pem, &blob);
    ASSERT(sshsig_decode(buf_bytes(&blob), &sig, &e));
    ASSERT(sshsig_verify(&sig, NAMESPACE_STATUS, pem, false, &e));
    buf_clear(&blob);
    secret_key_wipe(&key);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct buf pem = {0};
    size_t room = sodium_base64_encoded_len(len, sodium_base64_VARIANT_ORIGINAL);
    char *base64 = xmalloc(room);
    parse(bytes_of(data, len));
    sodium_bin2base64(base64, room, data, len, sodium_base64_VARIANT_ORIGINAL);
    buf_printf(&pem, "-----BEGIN OPENSSH PRIVATE KEY-----\n%s\n-----END OPENSSH PRIVATE KEY-----\n",
        base64);
    parse(buf_bytes(&pem));
    free(base64);
    buf_clear(&pem);
    return 0;
}
