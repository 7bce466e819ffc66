// One host's part of a release: meta, secrets, reference to its tree. PROTOCOL.md §bundle
#pragma once

#include "bounds.h"
#include "seal.h"
#include "wire.h"

enum action { ACTION_SWITCH, ACTION_BOOT, ACTION_DRY };
enum kind { KIND_FLAKE, KIND_CLASSIC };
enum last_resort { LAST_RESORT_STAY, LAST_RESORT_REBOOT };
enum unit_failures { UNIT_FAILURES_REPORT, UNIT_FAILURES_IGNORE, UNIT_FAILURES_ROLLBACK };

struct argv {
    size_t count;
    struct bytes words[ARGV_MAX];
};

// {0} is all defaults; a default is never encoded (and refused when met). All bytes are borrowed.
struct meta {
    enum action action;
    struct bytes attribute; // flake: the nixosConfigurations attribute
    uint32_t confirm_s;     // 0: the node's default
    struct bytes expected;  // store path; empty: none
    size_t health_count;
    struct argv health[LIST_MAX];
    struct bytes host;
    enum kind kind;
    enum last_resort last_resort;
    struct bytes nixpkgs_url, nixpkgs_sha256; // both or none
    size_t public_key_count;
    struct bytes public_keys[LIST_MAX];
    struct bytes reboot; // "" never, "when-needed", or a calendar expression
    bool has_retry;
    uint8_t retry[16];
    bool self_update, substitute_only;
    size_t substituter_count;
    struct bytes substituters[LIST_MAX];
    struct bytes system;
    enum unit_failures unit_failures;
};

struct secret {
    struct bytes name, owner, group;
    uint32_t mode;
    struct bytes content;
};

struct bundle {
    struct meta meta;
    size_t secret_count;
    struct secret *secrets; // strictly ascending by name; the array is owned
    bool has_tree;          // false: substitute only
    uint8_t tree_hash[HASH_BYTES];
    uint64_t tree_len;
    uint8_t tree_key[BLOB_KEY_BYTES];
};

// Sorts secrets by name and appends the message. ARCHIVE if a rule is broken.
MUST_CHECK bool bundle_encode(struct bundle *bundle, struct buf *out, struct err *e);
// ARCHIVE. On success the caller calls bundle_clear(); message must outlive *bundle.
MUST_CHECK bool bundle_decode(struct bytes message, struct bundle *bundle, struct err *e);
void bundle_clear(struct bundle *bundle);
// SHA-256 of msgpack [meta, secrets, SHA-256(tree plaintext) or nil]; tree_plain_hash NULL for no
// tree. Everything that a node remembers about a configuration is keyed by it. The order of the
// secrets array does not matter. A node learns the tree's plaintext hash only once it has the tree.
void bundle_digest(
    const struct bundle *bundle, const uint8_t *tree_plain_hash, uint8_t digest[HASH_BYTES]);
