// SSH keys as bytes. PROTOCOL.md §keys; openssh PROTOCOL.key, PROTOCOL.u2f.
//
// Identities in bento are SSH keys and nothing else. A node_id is the SHA-256 of the public key
// blob: what `ssh-keygen -l` prints as fingerprint.
#pragma once

#include "bytes.h"

enum key_type {
    KEY_ED25519,    // ssh-ed25519
    KEY_SK_ED25519, // sk-ssh-ed25519@openssh.com, a FIDO token
};

struct public_key {
    enum key_type type;
    uint8_t ed25519[32];
    char application[64]; // sk only, usually "ssh:"
};

// A node's or an admin's secret. Keep it in sodium_malloc'ed memory and for as short as possible.
struct secret_key {
    uint8_t ed25519[64]; // seed and public half, as libsodium wants it
    struct public_key public;
};

// One line `TYPE BASE64 [comment]`, without options, both types. CONFIG on anything else.
MUST_CHECK bool public_key_parse(struct bytes line, struct public_key *key, struct err *e);
// The blob of the wire format, exactly one key. FORMAT on anything else, sk keys allowed.
MUST_CHECK bool public_key_decode(struct bytes blob, struct public_key *key, struct err *e);
void public_key_encode(const struct public_key *key, struct buf *blob);
// "ssh-ed25519 AAAA…", no comment.
void public_key_line(const struct public_key *key, struct buf *line);
// Same 32 bytes: one key is one key, in any type or application.
bool public_key_same(const struct public_key *a, const struct public_key *b);
void public_key_id(const struct public_key *key, uint8_t node_id[HASH_BYTES]);
// "SHA256:…" as ssh-keygen -l shows it.
#define FINGERPRINT_BYTES 64
void fingerprint(const uint8_t node_id[HASH_BYTES], char text[FINGERPRINT_BYTES]);

// openssh-key-v1, unencrypted ed25519. Three different sentences (all CONFIG) for: encrypted,
// another type, damaged.
MUST_CHECK bool secret_key_parse(struct bytes pem, struct secret_key *key, struct err *e);
void secret_key_wipe(struct secret_key *key);
