// The admin's repository as plain data: fleet.nix (or fleet.json), the machine-written nodes.json
// and signers.json (rotation.h) beside it, and the folders under hosts/. Evaluates fleet.nix with `nix eval`; what a flake holds
// is found out by host.h, not here.
#pragma once

#include "bounds.h"
#include "trust.h"

// A secret that fleet.nix names. file is relative to the repository, command is for /bin/sh.
// Neither of them: only owner, group and mode of secrets/NAME in the host's folder.
struct fleet_secret {
    const char *name, *file, *command, *owner, *group;
    uint32_t mode;
};

// One node. Strings are borrowed from the fleet; NULL: not given. In fleet.nix a health command is
// { command = [ "prog" "arg" ]; }, so that it may get attributes of its own later.
struct fleet_node {
    const char *name;
    struct public_key key;
    uint8_t node_id[HASH_BYTES];
    const char *key_line, *tunnel_key_line;
    size_t tag_count;
    const char *tags[TAGS_MAX]; // ascending, distinct
    const char *directory, *attribute, *system, *ssh;
    const char *action, *reboot, *unit_failures, *last_resort; // checked, except reboot
    uint64_t window_s;                                         // 0: the node's default
    bool substitute_only;
    size_t substituter_count;
    const char *substituters[LIST_MAX];
    size_t health_count;
    struct fleet_argv {
        size_t count;
        const char *words[ARGV_MAX];
    } health[LIST_MAX];
    const char *nixpkgs_url, *nixpkgs_sha256;
    size_t secret_count;
    struct fleet_secret *secrets; // ascending by name; owned
};

struct fleet {
    char *root; // absolute path of the repository
    struct trust trust;
    const char *signer_lines[SIGNERS_MAX];
    bool joining[SIGNERS_MAX]; // signs along, but counts for nothing yet: see rotation.h
    uint64_t epoch, expires_days;
    size_t endpoint_count;
    // ssh://user@host[:port], tor://….onion[:pub[,rep]], tcp://host[:pub[,rep]]
    const char *endpoints[LIST_MAX];
    const char *host_key; // the broker's sshd, a public key line
    const char *admin;    // path or ssh://…, for remote_open(); never NULL
    const char *cache_url, *cache_key, *broker_host;
    // Where bento-pub copies systems to, and the file that it signs them with. NULL: somebody else does.
    const char *cache_upload, *cache_secret_key;
    uint64_t
        cache_forward; // port of a cache that nodes reach through their tunnels; 0: by themselves
    size_t node_count;
    struct fleet_node *nodes;   // ascending by name
    struct fleet_node defaults; // for fleet_add_node(); without secrets
    struct conf *conf;          // owns the strings
};

// -C of every command that works on a repository: what it gives is fleet_open()'s directory (cli.h).
#define REPOSITORY_OPTION(where)                                                                   \
    {                                                                                              \
        'C', "directory", "DIR", "the repository (default: BENTO_DIR, or here)", where, NULL       \
    }

// directory: -C DIR, or BENTO_DIR, or the current one (NULL). CONFIG with the file and what to do:
// no fleet.nix, a Nix error, an unknown key, a bad key line, two nodes with one key (names both), a
// bad name.
MUST_CHECK bool fleet_open(const char *directory, struct fleet *fleet, struct err *e);
// The same for those who come before everybody is enrolled: nodes without a key are left out
// instead of being an error.
MUST_CHECK bool fleet_open_partial(const char *directory, struct fleet *fleet, struct err *e);
// The same for those who send nothing to nodes: nodes without a key are there (key_line NULL, node_id
// zeros).
MUST_CHECK bool fleet_open_keyless(const char *directory, struct fleet *fleet, struct err *e);
// A node that the repository does not name, with its defaults. name is borrowed. Moves the nodes.
void fleet_add_node(struct fleet *fleet, const char *name);

// The two steps of fleet_open: the repository's texts, and what they say.
struct fleet_text {
    char *root;         // absolute path
    struct buf fleet;   // JSON: what fleet.nix evaluates to, or fleet.json
    struct buf nodes;   // nodes.json; empty if there is none
    struct buf signers; // signers.json; the same
};
MUST_CHECK bool fleet_read(const char *directory, struct fleet_text *text, struct err *e);
void fleet_text_clear(struct fleet_text *text);
MUST_CHECK bool fleet_parse(
    const struct fleet_text *text, bool partial, struct fleet *fleet, struct err *e);
void fleet_clear(struct fleet *fleet);
const struct fleet_node *fleet_find(const struct fleet *fleet, const char *name); // NULL if absent
