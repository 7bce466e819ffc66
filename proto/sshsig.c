#include "sshsig.h"

#include "bounds.h"
#include "sshwire.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC "SSHSIG"
#define MAGIC_BYTES (sizeof(MAGIC) - 1)
#define HASH_NAME "sha512"
#define ARMOR_BEGIN "-----BEGIN SSH SIGNATURE-----\n"
#define ARMOR_END "-----END SSH SIGNATURE-----\n"
#define ARMOR_LINE 70
#define FLAG_TOUCHED 0x01
#define FLAG_PIN 0x04

static const char *signature_type(enum key_type type)
{
    return type == KEY_SK_ED25519 ? "sk-ssh-ed25519@openssh.com" : "ssh-ed25519";
}

static bool decode_signature(struct bytes blob, struct sshsig *sig)
{
    struct sshwire_in in = {.rest = blob};
    struct bytes type = sshwire_string(&in);
    struct bytes raw = sshwire_string(&in);
    if (sig->key.type == KEY_SK_ED25519) {
        sig->flags = sshwire_u8(&in);
        sig->counter = sshwire_u32(&in);
    }
    if (!sshwire_end(&in) || raw.len != sizeof(sig->signature) ||
        !bytes_equal_text(type, signature_type(sig->key.type)))
        return false;
    memcpy(sig->signature, raw.at, raw.len);
    return true;
}

bool sshsig_decode(struct bytes blob, struct sshsig *sig, struct err *e)
{
    struct sshwire_in in = {.rest = blob};
    struct sshsig found = {0};
    struct bytes magic = sshwire_raw(&in, MAGIC_BYTES);
    uint32_t version = sshwire_u32(&in);
    struct bytes key = sshwire_string(&in);
    found.namespace = sshwire_string(&in);
    struct bytes reserved = sshwire_string(&in);
    struct bytes hash = sshwire_string(&in);
    struct bytes signature = sshwire_string(&in);
    if (!sshwire_end(&in) || memcmp(magic.at, MAGIC, MAGIC_BYTES) != 0 || version != 1 ||
        reserved.len != 0)
        return err_set(e, CODE_FORMAT, "not an SSH signature of version 1");
    if (!bytes_equal_text(hash, HASH_NAME))
        return err_set(e, CODE_FORMAT, "an SSH signature over another hash than sha512");
    if (!public_key_decode(key, &found.key, e))
        return err_wrap(e, "SSH signature");
    if (!decode_signature(signature, &found))
        return err_set(e, CODE_FORMAT, "an SSH signature that does not fit its own key");
    *sig = found;
    return true;
}

static void put_to_sign(struct buf *out, const char *namespace, struct bytes message)
{
    uint8_t hash[crypto_hash_sha512_BYTES];
    crypto_hash_sha512(hash, message.len == 0 ? (const uint8_t *)"" : message.at, message.len);
    buf_append(out, MAGIC, MAGIC_BYTES);
    sshwire_put_text(out, namespace);
    sshwire_put_text(out, ""); // reserved
    sshwire_put_text(out, HASH_NAME);
    sshwire_put_string(out, bytes_of(hash, sizeof(hash)));
}

// What a token signs: openssh PROTOCOL.u2f.
static void wrap_for_token(const struct sshsig *sig, struct buf *to_sign)
{
    uint8_t application[HASH_BYTES], message[HASH_BYTES];
    sha256(bytes_of_text(sig->key.application), application);
    sha256(buf_bytes(to_sign), message);
    buf_clear(to_sign);
    buf_append(to_sign, application, sizeof(application));
    buf_append(to_sign, &sig->flags, 1);
    sshwire_put_u32(to_sign, sig->counter);
    buf_append(to_sign, message, sizeof(message));
}

bool sshsig_verify(const struct sshsig *sig, const char *namespace, struct bytes message,
    bool require_pin, struct err *e)
{
    if (!bytes_equal_text(sig->namespace, namespace))
        return err_set(e, CODE_NAMESPACE, "the signature was not made for %s", namespace);
    struct buf to_sign = {0};
    put_to_sign(&to_sign, namespace, message);
    if (sig->key.type == KEY_SK_ED25519)
        wrap_for_token(sig, &to_sign);
    int bad =
        crypto_sign_verify_detached(sig->signature, to_sign.at, to_sign.len, sig->key.ed25519);
    buf_clear(&to_sign);
    if (bad != 0)
        return err_set(e, CODE_SIGNER, "the signature does not verify");
    if (sig->key.type == KEY_SK_ED25519 && (sig->flags & FLAG_TOUCHED) == 0)
        return err_set(e, CODE_SIGNER, "the token was not touched for the signature");
    if (sig->key.type == KEY_SK_ED25519 && require_pin && (sig->flags & FLAG_PIN) == 0)
        return err_set(e, CODE_SIGNER, "the token did not ask for its PIN for the signature");
    return true;
}

void sshsig_sign(
    const struct secret_key *key, const char *namespace, struct bytes message, struct buf *blob)
{
    ASSERT(key->public.type == KEY_ED25519);
    struct buf to_sign = {0}, public_blob = {0}, signature_blob = {0};
    uint8_t signature[crypto_sign_BYTES];
    put_to_sign(&to_sign, namespace, message);
    crypto_sign_detached(signature, NULL, to_sign.at, to_sign.len, key->ed25519);
    public_key_encode(&key->public, &public_blob);
    sshwire_put_text(&signature_blob, signature_type(KEY_ED25519));
    sshwire_put_string(&signature_blob, bytes_of(signature, sizeof(signature)));

    buf_append(blob, MAGIC, MAGIC_BYTES);
    sshwire_put_u32(blob, 1);
    sshwire_put_string(blob, buf_bytes(&public_blob));
    sshwire_put_text(blob, namespace);
    sshwire_put_text(blob, ""); // reserved
    sshwire_put_text(blob, HASH_NAME);
    sshwire_put_string(blob, buf_bytes(&signature_blob));
    buf_clear(&to_sign);
    buf_clear(&public_blob);
    buf_clear(&signature_blob);
}

void sshsig_to_armor(struct bytes blob, struct buf *armor)
{
    size_t room = sodium_base64_encoded_len(blob.len, sodium_base64_VARIANT_ORIGINAL);
    char *base64 = xmalloc(room);
    sodium_bin2base64(base64, room, blob.at, blob.len, sodium_base64_VARIANT_ORIGINAL);
    size_t len = strlen(base64);
    buf_append_text(armor, ARMOR_BEGIN);
    for (size_t at = 0; at < len; at += ARMOR_LINE) {
        buf_append(armor, base64 + at, len - at < ARMOR_LINE ? len - at : ARMOR_LINE);
        buf_append_text(armor, "\n");
    }
    buf_append_text(armor, ARMOR_END);
    free(base64);
}

bool sshsig_from_armor(struct bytes armor, struct buf *blob, struct err *e)
{
    size_t begin = sizeof(ARMOR_BEGIN) - 1, end = sizeof(ARMOR_END) - 1;
    struct buf raw = {0}, again = {0};
    bool ok = armor.len <= ENVELOPE_BYTES_MAX && armor.len > begin + end;
    if (ok) {
        size_t len = armor.len - begin - end;
        buf_reserve(&raw, len);
        ok = sodium_base642bin(raw.at, raw.room, (const char *)armor.at + begin, len, "\n",
                 &raw.len, NULL, sodium_base64_VARIANT_ORIGINAL) == 0;
    }
    // There is one armor for a blob: whatever differs (a text before it, a long line) is not it.
    if (ok) {
        sshsig_to_armor(buf_bytes(&raw), &again);
        ok = bytes_equal(buf_bytes(&again), armor);
    }
    if (ok)
        buf_append(blob, raw.at, raw.len);
    buf_clear(&raw);
    buf_clear(&again);
    return ok ? true : err_set(e, CODE_FORMAT, "not the armor that ssh-keygen -Y sign prints");
}
