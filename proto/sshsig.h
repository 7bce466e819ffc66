// SSHSIG: what `ssh-keygen -Y sign` writes and reads. PROTOCOL.md §signatures; openssh
// PROTOCOL.sshsig.
//
// Stricter than `ssh-keygen -Y verify`: version 1, empty reserved field, sha512, no trailing byte.
// A signature never serves as an identifier.
#pragma once

#include "sshkey.h"

#define NAMESPACE_RELEASE "bento-release-v1"
#define NAMESPACE_STATUS "bento-status-v1"

struct sshsig {
    struct public_key key;
    struct bytes namespace; // borrowed from the blob
    uint8_t signature[64];
    uint8_t flags;    // sk only: bit 0 touched, bit 2 PIN
    uint32_t counter; // sk only; decides nothing
};

// Parses the binary blob. FORMAT.
MUST_CHECK bool sshsig_decode(struct bytes blob, struct sshsig *sig, struct err *e);
// NAMESPACE if it was made for something else, SIGNER if it does not verify under its own key, or
// (sk) lacks the touch, or lacks the PIN where require_pin.
MUST_CHECK bool sshsig_verify(const struct sshsig *sig, const char *namespace, struct bytes message,
    bool require_pin, struct err *e);
// Appends the binary blob; byte for byte what OpenSSH makes.
void sshsig_sign(
    const struct secret_key *key, const char *namespace, struct bytes message, struct buf *blob);
// The armor that ssh-keygen prints, nothing before or after it but one final newline. FORMAT.
MUST_CHECK bool sshsig_from_armor(struct bytes armor, struct buf *blob, struct err *e);
void sshsig_to_armor(struct bytes blob, struct buf *armor);
