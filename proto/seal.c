#include "seal.h"

#include <sodium.h>

_Static_assert(BLOB_KEY_BYTES == crypto_aead_xchacha20poly1305_ietf_KEYBYTES, "key of a blob");
_Static_assert(BLOB_OVERHEAD_BYTES == crypto_aead_xchacha20poly1305_ietf_ABYTES, "tag of a blob");
_Static_assert(SEALED_KEY_BYTES == BLOB_KEY_BYTES + crypto_box_SEALBYTES, "sealed key");

static const uint8_t nonce[crypto_aead_xchacha20poly1305_ietf_NPUBBYTES]; // all zero, see seal.h

void blob_new_key(uint8_t key[BLOB_KEY_BYTES])
{
    crypto_aead_xchacha20poly1305_ietf_keygen(key);
}

void blob_seal(struct bytes plain, const uint8_t key[BLOB_KEY_BYTES], struct buf *blob)
{
    unsigned long long len;
    buf_reserve(blob, plain.len + BLOB_OVERHEAD_BYTES);
    crypto_aead_xchacha20poly1305_ietf_encrypt(
        blob->at + blob->len, &len, plain.at, plain.len, NULL, 0, NULL, nonce, key);
    blob->len += (size_t)len;
}

bool blob_open(
    struct bytes blob, const uint8_t key[BLOB_KEY_BYTES], struct buf *plain, struct err *e)
{
    if (blob.len < BLOB_OVERHEAD_BYTES)
        return err_set(e, CODE_SEAL, "a blob is shorter than its tag");
    unsigned long long len;
    buf_reserve(plain, blob.len); // by the tag more than needed, so that there is always a buffer
    if (crypto_aead_xchacha20poly1305_ietf_decrypt(
            plain->at + plain->len, &len, NULL, blob.at, blob.len, NULL, 0, nonce, key) != 0)
        return err_set(e, CODE_SEAL, "the key does not open the blob");
    plain->len += (size_t)len;
    return true;
}

bool blob_check(struct bytes blob, uint64_t len, const uint8_t hash[HASH_BYTES], struct err *e)
{
    if (blob.len != len)
        return err_set(e, CODE_LENGTH, "a blob is not as long as the signed length");
    uint8_t found[HASH_BYTES];
    sha256(blob, found);
    if (sodium_memcmp(found, hash, HASH_BYTES) != 0)
        return err_set(e, CODE_HASH, "a blob is not the signed one");
    return true;
}

bool key_seal(const uint8_t key[BLOB_KEY_BYTES], const struct public_key *to,
    uint8_t sealed[SEALED_KEY_BYTES], struct err *e)
{
    uint8_t curve[crypto_box_PUBLICKEYBYTES], found[SEALED_KEY_BYTES];
    if (to->type != KEY_ED25519)
        return err_set(e, CODE_CONFIG, "a key on a token cannot open what is sealed to it");
    if (crypto_sign_ed25519_pk_to_curve25519(curve, to->ed25519) != 0 ||
        crypto_box_seal(found, key, BLOB_KEY_BYTES, curve) != 0)
        return err_set(e, CODE_CONFIG, "the node's public key is not a good ed25519 key");
    for (size_t i = 0; i < sizeof(found); i++)
        sealed[i] = found[i];
    return true;
}

bool key_open(const uint8_t sealed[SEALED_KEY_BYTES], const struct secret_key *mine,
    uint8_t key[BLOB_KEY_BYTES], struct err *e)
{
    // The converted secret is as good as the node's key: locked memory, wiped by sodium_free().
    uint8_t *curve = sodium_malloc(crypto_box_SECRETKEYBYTES);
    ASSERT(curve != NULL);
    uint8_t curve_public[crypto_box_PUBLICKEYBYTES], found[BLOB_KEY_BYTES];
    bool ok = crypto_sign_ed25519_sk_to_curve25519(curve, mine->ed25519) == 0 &&
              crypto_scalarmult_base(curve_public, curve) == 0 &&
              crypto_box_seal_open(found, sealed, SEALED_KEY_BYTES, curve_public, curve) == 0;
    sodium_free(curve);
    for (size_t i = 0; ok && i < sizeof(found); i++)
        key[i] = found[i];
    sodium_memzero(found, sizeof(found));
    return ok ? true : err_set(e, CODE_SEAL, "the key is not sealed to this node");
}
