// The node's configuration: one JSON file, written by Nix or by `bento add-host`, read by
// bento-node and bento-apply alike. It holds no secret; it must belong to root (or us) and be
// writable by nobody else, since it names the signers.
#pragma once

#include "conf.h"
#include "trust.h"

enum tunnel_kind { TUNNEL_NONE, TUNNEL_SSH, TUNNEL_TOR, TUNNEL_COMMAND };

// Where a broker is, and how to get there. Strings are borrowed from the config.
struct endpoint {
    enum tunnel_kind tunnel;
    const char *host;            // ssh: of sshd; tor: the onion service
    const char *user, *host_key; // ssh
    const char *ssh_config;      // ssh: a file of the owner's (jump hosts, ProxyCommand), or NULL
    uint64_t port;               // ssh: of sshd; tor: of the local Tor's SOCKS
    uint64_t pub_port, rep_port; // ssh, tor: of the broker, at the far end
    uint64_t cache_port;         // ssh, tor: of a binary cache at the far end; 0: none
    const char *argv[ARGV_MAX + 1]; // command; NULL-terminated, {pub}, {rep}, {cache}: local ports
    const char *pub, *rep; // urls that bento-node dials; NULL: local ports, free ones at each start
};

// Names an endpoint in logs and in memory: "ssh://bento-tunnel@server:22".
#define ENDPOINT_NAME_BYTES 400
void endpoint_name(const struct endpoint *endpoint, char name[ENDPOINT_NAME_BYTES]);

struct config {
    struct conf *conf;
    const char *path; // of the file
    struct trust trust;
    uint64_t epoch, minimum_release; // a start for the floor
    size_t endpoint_count;
    struct endpoint endpoints[LIST_MAX];
    const char *state, *secrets, *floor_copy, *identity, *node_user;
    const char *profile, *current_system, *booted_system, *child_path;
    const char *boot, *gcroots; // where kernels are copied to; where the old system is pinned
    const char *node_unit;      // bento-node's systemd unit: restarted after a switch; "" for none
    uint64_t confirm_s, switch_s, return_s, boot_s, poll_s, tick_s;
    uint64_t self_update_s, kept_releases;
    uint64_t commit_s, margin_s; // of the commit job; what the dead man's switch waits beyond all
    uint64_t page_port;          // of the local page; 0: none
    uint64_t cache_port;         // of this machine: where the far end's binary cache is to be found
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
#define PAGE_PORT 51337u
void config_clear(struct config *config);
