// The node's configuration: one JSON file, written by Nix or by `bento add-host`, read by
// bento-node and bento-apply alike. It holds no secret; it must belong to root (or us) and be
// writable by nobody else, since it names the signers.
#pragma once

#include "conf.h"
#include "trust.h"

enum tunnel_kind { TUNNEL_NONE, TUNNEL_SSH, TUNNEL_COMMAND };

// Where a broker is, and how to get there. Strings are borrowed from the config.
struct endpoint {
    enum tunnel_kind tunnel;
    const char *host, *user, *host_key; // ssh
    uint64_t port, pub_port, rep_port;  // ssh: of sshd, and of the broker behind it
    const char *argv[ARGV_MAX + 1];     // command; NULL-terminated
    const char *pub,
        *rep; // urls that bento-node dials; NULL for ssh: chosen when the tunnel starts
};

struct config {
    struct conf *conf;
    const char *path; // of the file
    struct trust trust;
    uint64_t epoch, minimum_release; // a start for the floor
    size_t endpoint_count;
    struct endpoint endpoints[LIST_MAX];
    const char *state, *secrets, *floor_copy, *identity, *node_user;
    const char *profile, *current_system, *booted_system, *child_path;
    uint64_t confirm_s, switch_s, return_s, poll_s, tick_s;
};

// The defaults alone: enough to show the keys of a machine that belongs to no fleet yet.
void config_defaults(const char *path, struct config *config);
// CONFIG with file, key and what to do. On success the caller calls config_clear().
MUST_CHECK bool config_open(const char *path, struct config *config, struct err *e);
// The same of a text that is not in place yet; name stands for the path in errors. Whose file it is
// is the caller's question.
MUST_CHECK bool config_parse(
    struct bytes text, const char *name, struct config *config, struct err *e);
#define CONFIG_BYTES_MAX (1u << 20)
void config_clear(struct config *config);
