// A FIDO token in software: what OpenSSH's PROTOCOL.u2f says a real one signs, with flags of our
// choice.
#pragma once

#include "proto_test.h"
#include "sshwire.h"

#define TOKEN_APPLICATION "ssh:"

static inline void token_key(uint8_t seed, struct public_key *public)
{
    struct secret_key key;
    key_from_seed(seed, &key);
    *public = key.public;
    public->type = KEY_SK_ED25519;
    strcpy(public->application, TOKEN_APPLICATION);
}

static inline void put_token_signature(
    uint8_t seed, uint8_t flags, const uint8_t to_sign[32], struct buf *out)
{
    struct secret_key key;
    struct buf wrapped = {0};
    uint8_t application[HASH_BYTES], signature[64];
    key_from_seed(seed, &key);
    sha256(bytes_of_text(TOKEN_APPLICATION), application);
    buf_append(&wrapped, application, sizeof(application));
    buf_append(&wrapped, &flags, 1);
    sshwire_put_u32(&wrapped, 7); // the counter
    buf_append(&wrapped, to_sign, HASH_BYTES);
    assert_int_equal(wrapped.len, 69);
    crypto_sign_detached(signature, NULL, wrapped.at, wrapped.len, key.ed25519);
    sshwire_put_text(out, "sk-ssh-ed25519@openssh.com");
    sshwire_put_string(out, bytes_of(signature, sizeof(signature)));
    buf_append(out, &flags, 1);
    sshwire_put_u32(out, 7);
    buf_clear(&wrapped);
}

// Appends the SSHSIG blob.
static inline void token_sign(
    uint8_t seed, uint8_t flags, const char *namespace, struct bytes message, struct buf *blob)
{
    struct buf to_sign = {0}, key_blob = {0}, signature = {0};
    struct public_key public;
    uint8_t hash[64], to_sign_hash[HASH_BYTES];
    crypto_hash_sha512(hash, message.at, message.len);
    buf_append_text(&to_sign, "SSHSIG");
    sshwire_put_text(&to_sign, namespace);
    sshwire_put_text(&to_sign, "");
    sshwire_put_text(&to_sign, "sha512");
    sshwire_put_string(&to_sign, bytes_of(hash, sizeof(hash)));
    sha256(buf_bytes(&to_sign), to_sign_hash);
    token_key(seed, &public);
    public_key_encode(&public, &key_blob);
    put_token_signature(seed, flags, to_sign_hash, &signature);
    buf_append_text(blob, "SSHSIG");
    sshwire_put_u32(blob, 1);
    sshwire_put_string(blob, buf_bytes(&key_blob));
    sshwire_put_text(blob, namespace);
    sshwire_put_text(blob, "");
    sshwire_put_text(blob, "sha512");
    sshwire_put_string(blob, buf_bytes(&signature));
    buf_clear(&to_sign);
    buf_clear(&key_blob);
    buf_clear(&signature);
}
