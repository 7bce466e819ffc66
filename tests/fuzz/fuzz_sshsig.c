#include "sshsig.h"

#include "fuzz.h"
#include "sshwire.h"

// Put together from what was understood, as sshsig_sign() does.
static void encode(const struct sshsig *sig, struct buf *out)
{
    struct buf key = {0}, signature = {0};
    bool token = sig->key.type == KEY_SK_ED25519;
    public_key_encode(&sig->key, &key);
    sshwire_put_text(&signature, token ? "sk-ssh-ed25519@openssh.com" : "ssh-ed25519");
    sshwire_put_string(&signature, bytes_of(sig->signature, sizeof sig->signature));
    if (token) {
        buf_append(&signature, &sig->flags, 1);
        sshwire_put_u32(&signature, sig->counter);
    }
    buf_append_text(out, "SSHSIG");
    sshwire_put_u32(out, 1);
    sshwire_put_string(out, buf_bytes(&key));
    sshwire_put_string(out, sig->namespace);
    sshwire_put_text(out, "");
    sshwire_put_text(out, "sha512");
    sshwire_put_string(out, buf_bytes(&signature));
    buf_clear(&key);
    buf_clear(&signature);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct bytes message = bytes_of(data, len);
    struct buf again = {0};
    struct sshsig sig;
    struct err e = {0};
    if (!sshsig_decode(message, &sig, &e))
        return fuzz_refused(&e);
    // No seed signs this text, and nobody guesses.
    ASSERT(!sshsig_verify(&sig, NAMESPACE_RELEASE, bytes_of_text("never signed"), true, &e));
    fuzz_refused(&e);
    encode(&sig, &again);
    return fuzz_same(&again, message);
}
