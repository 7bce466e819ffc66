#include "config.h"

#include "fs.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define DEFAULT_PATH                                                                               \
    "/run/current-system/sw/bin:/run/wrappers/bin:/nix/var/nix/profiles/default/bin:/usr/sbin:/"   \
    "usr/bin:/sbin:/bin"

#define TOR_SOCKS_PORT 9050

// A host or user name ends up in argv: it must not look like an option or hold anything a shell or
// ssh would expand.
static bool word_is_safe(const char *word)
{
    size_t len = strlen(word);
    if (len == 0 || len > 253 || word[0] == '-') {
        return false;
    }
    return strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:") ==
           len;
}

static void read_far_ports(struct conf_object *at, struct endpoint *endpoint)
{
    endpoint->pub_port = PUB_PORT;
    endpoint->rep_port = REP_PORT;
    conf_u64(at, "pub_port", 1, 65535, &endpoint->pub_port);
    conf_u64(at, "rep_port", 1, 65535, &endpoint->rep_port);
    conf_u64(at, "cache_port", 1, 65535, &endpoint->cache_port);
}

static void read_ssh(struct conf_object *at, struct endpoint *endpoint)
{
    endpoint->tunnel = TUNNEL_SSH;
    endpoint->user = "bento-tunnel";
    endpoint->port = 22;
    if (conf_need_text(at, "host", &endpoint->host) && !word_is_safe(endpoint->host)) {
        conf_fault(at, "host", "'%s' is not a host name or address", endpoint->host);
    }
    if (conf_text(at, "user", &endpoint->user) && !word_is_safe(endpoint->user)) {
        conf_fault(at, "user", "'%s' is not a user name", endpoint->user);
    }
    if (conf_text(at, "ssh_config", &endpoint->ssh_config) && endpoint->ssh_config[0] != '/') {
        conf_fault(at, "ssh_config", "'%s' is not an absolute path", endpoint->ssh_config);
    }
    conf_u64(at, "port", 1, 65535, &endpoint->port);
    read_far_ports(at, endpoint);
    struct public_key key;
    struct err e;
    if (conf_need_text(at, "host_key", &endpoint->host_key) &&
        !public_key_parse(bytes_of_text(endpoint->host_key), &key, &e)) {
        conf_fault(at, "host_key", "%s", e.text);
    }
}

#define ONION_CHARS 56 // of version 3; the others are gone

static bool is_onion(const char *host)
{
    return strspn(host, "abcdefghijklmnopqrstuvwxyz234567") == ONION_CHARS &&
           strcmp(host + ONION_CHARS, ".onion") == 0;
}

// No host key: the name of an onion service is its key.
static void read_tor(struct conf_object *at, struct endpoint *endpoint)
{
    endpoint->tunnel = TUNNEL_TOR;
    endpoint->port = TOR_SOCKS_PORT;
    if (conf_need_text(at, "host", &endpoint->host) && !is_onion(endpoint->host)) {
        conf_fault(at, "host", "'%s' is not an onion service: 56 of a-z, 2-7, then .onion",
            endpoint->host);
    }
    conf_u64(at, "socks_port", 1, 65535, &endpoint->port);
    read_far_ports(at, endpoint);
}

static bool mentions(const char *const *argv, const char *placeholder)
{
    for (; *argv != NULL; argv++) {
        if (strstr(*argv, placeholder) != NULL) {
            return true;
        }
    }
    return false;
}

static void read_urls(struct conf_object *at, struct endpoint *endpoint)
{
    conf_need_text(at, "pub", &endpoint->pub);
    conf_need_text(at, "rep", &endpoint->rep);
}

// Either its words say where bento-node's own ports go, or the program has ports of its own.
static void read_command(struct conf_object *at, struct endpoint *endpoint)
{
    endpoint->tunnel = TUNNEL_COMMAND;
    if (conf_texts(at, "argv", endpoint->argv, ARGV_MAX) == 0) {
        conf_fault(at, "argv", "is missing: the program and its arguments, as a list");
    }
    bool pub = mentions(endpoint->argv, "{pub}"), rep = mentions(endpoint->argv, "{rep}");
    if (pub != rep) {
        conf_fault(
            at, "argv", "mentions {%s} but not {%s}", pub ? "pub" : "rep", pub ? "rep" : "pub");
    } else if (!pub) {
        read_urls(at, endpoint);
    }
}

static void read_endpoint(struct conf_object *at, struct endpoint *endpoint)
{
    const char *tunnel;
    if (!conf_need_text(at, "tunnel", &tunnel)) {
        return;
    }
    if (strcmp(tunnel, "ssh") == 0) {
        read_ssh(at, endpoint);
    } else if (strcmp(tunnel, "tor") == 0) {
        read_tor(at, endpoint);
    } else if (strcmp(tunnel, "none") == 0) {
        endpoint->tunnel = TUNNEL_NONE;
        read_urls(at, endpoint);
    } else if (strcmp(tunnel, "command") == 0) {
        read_command(at, endpoint);
    } else {
        conf_fault(at, "tunnel", "'%s' is none of none, ssh, tor, command", tunnel);
    }
}

void endpoint_name(const struct endpoint *endpoint, char name[ENDPOINT_NAME_BYTES])
{
    switch (endpoint->tunnel) {
    case TUNNEL_SSH:
        snprintf(name, ENDPOINT_NAME_BYTES, "ssh://%s@%s:%" PRIu64, endpoint->user, endpoint->host,
            endpoint->port);
        break;
    case TUNNEL_TOR:
        snprintf(
            name, ENDPOINT_NAME_BYTES, "tor://%s:%" PRIu64, endpoint->host, endpoint->pub_port);
        break;
    case TUNNEL_NONE:
        snprintf(name, ENDPOINT_NAME_BYTES, "%s", endpoint->pub);
        break;
    case TUNNEL_COMMAND:
        snprintf(name, ENDPOINT_NAME_BYTES, "command");
        for (size_t i = 0, len = strlen(name); endpoint->argv[i] != NULL; i++) {
            len +=
                (size_t)snprintf(name + len, ENDPOINT_NAME_BYTES - len, " %s", endpoint->argv[i]);
            if (len >= ENDPOINT_NAME_BYTES) {
                break;
            }
        }
        break;
    }
}

static void read_trust(struct conf_object *root, struct trust *trust)
{
    conf_need_hex(root, "fleet", trust->fleet, sizeof trust->fleet);
    const char *signers[SIGNERS_MAX];
    size_t count = conf_texts(root, "signers", signers, SIGNERS_MAX);
    struct err e;
    for (size_t i = 0; i < count; i++) {
        if (!trust_add(trust, signers[i], &e)) {
            conf_fault(root, "signers", "%s", e.text);
        }
    }
    uint64_t threshold = 1;
    conf_u64(root, "threshold", 1, SIGNATURES_MAX, &threshold);
    trust->threshold = (unsigned)threshold;
    conf_bool(root, "require_pin", &trust->require_pin);
    if (!trust_check(trust, &e)) {
        conf_fault(root, "signers", "%s", e.text);
    }
}

static void read_all(struct config *config)
{
    struct conf_object *root = conf_root(config->conf);
    read_trust(root, &config->trust);
    conf_u64(root, "epoch", 0, UINT64_MAX, &config->epoch);
    conf_u64(root, "minimum_release", 0, UINT64_MAX, &config->minimum_release);
    config->endpoint_count = conf_count(root, "endpoints");
    if (config->endpoint_count == 0 || config->endpoint_count > LIST_MAX) {
        conf_fault(root, "endpoints", "must list 1 to %u ways to the broker", LIST_MAX);
        return;
    }
    for (size_t i = 0; i < config->endpoint_count; i++) {
        read_endpoint(conf_at(root, "endpoints", i), &config->endpoints[i]);
    }
    conf_text(root, "state", &config->state);
    conf_text(root, "secrets", &config->secrets);
    conf_text(root, "floor_copy", &config->floor_copy);
    conf_text(root, "identity", &config->identity);
    conf_text(root, "node_user", &config->node_user);
    conf_text(root, "profile", &config->profile);
    conf_text(root, "current_system", &config->current_system);
    conf_text(root, "booted_system", &config->booted_system);
    conf_text(root, "path", &config->child_path);
    conf_text(root, "boot", &config->boot);
    conf_text(root, "gcroots", &config->gcroots);
    conf_text(root, "node_unit", &config->node_unit);
    conf_u64(root, "confirm_seconds", 1, 86400, &config->confirm_s);
    conf_u64(root, "switch_seconds", 1, 86400, &config->switch_s);
    conf_u64(root, "return_seconds", 1, 86400, &config->return_s);
    conf_u64(root, "boot_seconds", 1, 86400, &config->boot_s);
    conf_u64(root, "self_update_seconds", 1, 366ull * 86400, &config->self_update_s);
    conf_u64(root, "kept_releases", 1, 100, &config->kept_releases);
    conf_u64(root, "commit_seconds", 1, 86400, &config->commit_s);
    conf_u64(root, "margin_seconds", 1, 86400, &config->margin_s);
    conf_u64(root, "poll_seconds", 1, 86400, &config->poll_s);
    conf_u64(root, "tick_seconds", 1, 86400, &config->tick_s);
    if (conf_u64(root, "page_port", 0, 65535, &config->page_port) && config->page_port > 0 &&
        config->page_port < 1024) {
        conf_fault(
            root, "page_port", "must be 0 (no page) or above 1023, which bento-node may use");
    }
    conf_u64(root, "cache_port", 1, 65535, &config->cache_port);
}

void config_defaults(const char *path, struct config *config)
{
    *config = (struct config){
        .path = path,
        .state = "/var/lib/bento",
        .secrets = "/run/bento-secrets",
        .floor_copy = "/nix/var/bento/floor",
        .node_user = "bento-node",
        .profile = "/nix/var/nix/profiles/system",
        .current_system = "/run/current-system",
        .booted_system = "/run/booted-system",
        .child_path = DEFAULT_PATH,
        .boot = "/boot",
        .gcroots = "/nix/var/nix/gcroots/bento",
        .node_unit = "bento-node.service",
        .confirm_s = 180,
        .switch_s = 600,
        .return_s = 900,
        .boot_s = 300,
        .self_update_s = 86400,
        .kept_releases = 3,
        .commit_s = 600, // boot loaders copy kernels onto slow disks
        .margin_s = 60,
        .poll_s = POLL_SECONDS,
        .tick_s = TICK_SECONDS,
        .page_port = PAGE_PORT,
        .cache_port = CACHE_PORT,
    };
}

static bool take(struct conf *conf, const char *path, struct config *config, struct err *e)
{
    config_defaults(path, config);
    config->conf = conf;
    if (conf == NULL) {
        return false;
    }
    read_all(config);
    if (!conf_end(config->conf, e)) {
        config_clear(config);
        return false;
    }
    return true;
}

bool config_open(const char *path, struct config *config, struct err *e)
{
    return fs_check_private(AT_FDCWD, path, false, e) && take(conf_open(path, e), path, config, e);
}

bool config_parse(struct bytes text, const char *name, struct config *config, struct err *e)
{
    return take(conf_parse(text, name, e), name, config, e);
}

void config_clear(struct config *config)
{
    conf_free(config->conf);
    config->conf = NULL;
}
