#include "config.h"

#include "fs.h"

#include <fcntl.h>
#include <string.h>

#define DEFAULT_PATH                                                                               \
    "/run/current-system/sw/bin:/run/wrappers/bin:/nix/var/nix/profiles/default/bin:/usr/sbin:/"   \
    "usr/bin:/sbin:/bin"

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

static void read_ssh(struct conf_object *at, struct endpoint *endpoint)
{
    endpoint->tunnel = TUNNEL_SSH;
    endpoint->user = "bento-tunnel";
    endpoint->port = 22;
    endpoint->pub_port = PUB_PORT;
    endpoint->rep_port = REP_PORT;
    if (conf_need_text(at, "host", &endpoint->host) && !word_is_safe(endpoint->host)) {
        conf_fault(at, "host", "'%s' is not a host name or address", endpoint->host);
    }
    if (conf_text(at, "user", &endpoint->user) && !word_is_safe(endpoint->user)) {
        conf_fault(at, "user", "'%s' is not a user name", endpoint->user);
    }
    conf_u64(at, "port", 1, 65535, &endpoint->port);
    conf_u64(at, "pub_port", 1, 65535, &endpoint->pub_port);
    conf_u64(at, "rep_port", 1, 65535, &endpoint->rep_port);
    struct public_key key;
    struct err e;
    if (conf_need_text(at, "host_key", &endpoint->host_key) &&
        !public_key_parse(bytes_of_text(endpoint->host_key), &key, &e)) {
        conf_fault(at, "host_key", "%s", e.text);
    }
}

static void read_urls(struct conf_object *at, struct endpoint *endpoint)
{
    conf_need_text(at, "pub", &endpoint->pub);
    conf_need_text(at, "rep", &endpoint->rep);
}

static void read_endpoint(struct conf_object *at, struct endpoint *endpoint)
{
    const char *tunnel;
    if (!conf_need_text(at, "tunnel", &tunnel)) {
        return;
    }
    if (strcmp(tunnel, "ssh") == 0) {
        read_ssh(at, endpoint);
    } else if (strcmp(tunnel, "none") == 0) {
        endpoint->tunnel = TUNNEL_NONE;
        read_urls(at, endpoint);
    } else if (strcmp(tunnel, "command") == 0) {
        endpoint->tunnel = TUNNEL_COMMAND;
        if (conf_texts(at, "argv", endpoint->argv, ARGV_MAX) == 0) {
            conf_fault(at, "argv", "is missing: the program and its arguments, as a list");
        }
        read_urls(at, endpoint);
    } else {
        conf_fault(at, "tunnel", "'%s' is none of none, ssh, command", tunnel);
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
    conf_u64(root, "confirm_seconds", 1, 86400, &config->confirm_s);
    conf_u64(root, "switch_seconds", 1, 86400, &config->switch_s);
    conf_u64(root, "return_seconds", 1, 86400, &config->return_s);
    conf_u64(root, "poll_seconds", 1, 86400, &config->poll_s);
    conf_u64(root, "tick_seconds", 1, 86400, &config->tick_s);
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
        .confirm_s = 180,
        .switch_s = 600,
        .return_s = 900,
        .poll_s = POLL_SECONDS,
        .tick_s = TICK_SECONDS,
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
