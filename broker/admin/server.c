#include "server.h"

#include "cli.h"
#include "commands.h"
#include "fs.h"
#include "json.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NODE_JSON_BYTES_MAX (1u << 20)

static void put_trust(const struct fleet *fleet, json_t *json)
{
    char hex[65];
    hex_encode(fleet->trust.fleet, 32, hex);
    json_object_set_new(json, "fleet", json_string(hex));
    json_t *signers = json_array();
    for (size_t i = 0; i < fleet->trust.signer_count; i++) {
        json_array_append_new(signers, json_string(fleet->signer_lines[i]));
    }
    json_object_set_new(json, "signers", signers);
    json_object_set_new(json, "threshold", json_integer(fleet->trust.threshold));
    if (fleet->trust.require_pin) {
        json_object_set_new(json, "require_pin", json_true());
    }
}

static json_t *broker_config(const struct fleet *fleet)
{
    json_t *json = json_object();
    put_trust(fleet, json);
    if (fleet->admin && *fleet->admin == '/') {
        json_object_set_new(json, "admin", json_string(fleet->admin));
    }
    return json;
}

// ---- endpoints ----

static bool parse_port(const char *text, size_t len, unsigned *port)
{
    unsigned value = 0;
    if (!len || len > 5 || strspn(text, "0123456789") < len) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        value = value * 10 + (unsigned)(text[i] - '0');
    }
    *port = value;
    return value >= 1 && value <= 65535;
}

// HOST or [HOST], then :REST or the end. *rest is NULL without a colon.
static bool split_host(const char *text, struct buf *host, const char **rest)
{
    size_t len = *text == '[' ? strcspn(text, "]") + 1 : strcspn(text, ":");
    if (!len || (*text == '[' && text[len - 1] != ']') || (text[len] && text[len] != ':')) {
        return false;
    }
    buf_append(host, text, len);
    *rest = text[len] ? text + len + 1 : NULL;
    return true;
}

static json_t *ssh_endpoint(const char *text, const char *host_key)
{
    CLEANUP(buf_clear) struct buf host = {0}, user = {0};
    const char *at = strrchr(text, '@'), *rest;
    unsigned port = 22;
    buf_append(
        &user, at ? text : "bento-tunnel", at ? (size_t)(at - text) : strlen("bento-tunnel"));
    if (!user.len || !split_host(at ? at + 1 : text, &host, &rest) ||
        (rest && !parse_port(rest, strlen(rest), &port))) {
        return NULL;
    }
    if (*host.at == '[') { // ssh wants the bare address
        memmove(host.at, host.at + 1, host.len - 2);
        host.len -= 2;
    }
    return json_pack("{s:s, s:s, s:i, s:s, s:s}", "tunnel", "ssh", "host", buf_text(&host), "port",
        (int)port, "user", buf_text(&user), "host_key", host_key);
}

// PUB[,REP], or NULL: the broker's own.
static bool parse_ports(const char *text, unsigned *pub_port, unsigned *rep_port)
{
    *pub_port = PUB_PORT;
    *rep_port = REP_PORT;
    if (!text) {
        return true;
    }
    size_t len = strcspn(text, ",");
    if (!parse_port(text, len, pub_port) ||
        (text[len] && !parse_port(text + len + 1, strlen(text + len + 1), rep_port))) {
        return false;
    }
    if (!text[len]) {
        *rep_port = *pub_port + 1; // the two lie side by side
    }
    return true;
}

// The ports of the onion service, which are the broker's own unless its torrc says otherwise.
static json_t *tor_endpoint(const char *text)
{
    CLEANUP(buf_clear) struct buf host = {0};
    const char *rest;
    unsigned pub_port, rep_port;
    if (!split_host(text, &host, &rest) || !parse_ports(rest, &pub_port, &rep_port) ||
        host.len < 6 || strcmp(buf_text(&host) + host.len - 6, ".onion") != 0) {
        return NULL;
    }
    return json_pack("{s:s, s:s, s:i, s:i}", "tunnel", "tor", "host", buf_text(&host), "pub_port",
        (int)pub_port, "rep_port", (int)rep_port);
}

static json_t *tcp_endpoint(const char *text)
{
    CLEANUP(buf_clear) struct buf host = {0}, pub = {0}, rep = {0};
    const char *rest;
    unsigned pub_port, rep_port;
    if (!split_host(text, &host, &rest) || !parse_ports(rest, &pub_port, &rep_port)) {
        return NULL;
    }
    buf_printf(&pub, "tcp://%s:%u", buf_text(&host), pub_port);
    buf_printf(&rep, "tcp://%s:%u", buf_text(&host), rep_port);
    return json_pack(
        "{s:s, s:s, s:s}", "tunnel", "none", "pub", buf_text(&pub), "rep", buf_text(&rep));
}

static bool put_endpoint(const struct fleet *fleet, const char *url, json_t *list, struct err *e)
{
    json_t *endpoint = NULL;
    if (!strncmp(url, "ssh://", 6)) {
        if (!fleet->host_key) {
            return err_set(e, CODE_CONFIG,
                "fleet.nix: broker.host_key is missing: the line that `ssh-keyscan -t ed25519 "
                "SERVER` "
                "prints, without the name in front");
        }
        endpoint = ssh_endpoint(url + 6, fleet->host_key);
    } else if (!strncmp(url, "tor://", 6)) {
        endpoint = tor_endpoint(url + 6);
    } else if (!strncmp(url, "tcp://", 6)) {
        endpoint = tcp_endpoint(url + 6);
    }
    if (!endpoint) {
        return err_set(e, CODE_CONFIG,
            "fleet.nix: broker.endpoints: \"%s\" is none of ssh://user@host[:port], "
            "tor://….onion[:pub[,rep]], tcp://host[:pub[,rep]]",
            url);
    }
    if (fleet->cache_forward && strncmp(url, "tcp://", 6) != 0) {
        json_object_set_new(endpoint, "cache_port", json_integer((json_int_t)fleet->cache_forward));
    }
    json_array_append_new(list, endpoint);
    return true;
}

bool server_node_config(const struct fleet *fleet, json_t **config, struct err *e)
{
    json_t *list = json_array();
    bool ok = fleet->endpoint_count > 0 ||
              err_set(e, CODE_CONFIG, "fleet.nix: broker.endpoints names no way to the broker");
    for (size_t i = 0; ok && i < fleet->endpoint_count; i++) {
        ok = put_endpoint(fleet, fleet->endpoints[i], list, e);
    }
    if (!ok) {
        json_decref(list);
        return false;
    }
    *config = json_object();
    put_trust(fleet, *config);
    if (fleet->epoch != 1) {
        // A new node must not be led back to an epoch that was left.
        json_object_set_new(*config, "epoch", json_integer((json_int_t)fleet->epoch));
    }
    json_object_set_new(*config, "endpoints", list);
    if (fleet->cache_forward) {
        json_object_set_new(*config, "cache_port", json_integer((json_int_t)fleet->cache_forward));
    }
    return true;
}

bool server_refresh(const struct fleet *fleet, struct err *e)
{
    CLEANUP(buf_clear) struct buf text = {0}, before = {0};
    CLEANUP_JSON *config = NULL;
    CLEANUP_FD root = -1;
    struct err ignored; // not there yet, or not what it should be: written anew
    if (!fs_open_dir(AT_FDCWD, fleet->root, &root, e)) {
        return false;
    }
    if (!fs_exists(root, "utils/bento.nix")) {
        return true;
    }
    if (!server_node_config(fleet, &config, e)) {
        return !fs_exists(root, "utils/node.json"); // a fleet that is still being described
    }
    json_text(config, &text);
    if (fs_read(root, "utils/node.json", NODE_JSON_BYTES_MAX, &before, &ignored) &&
        bytes_equal(buf_bytes(&before), buf_bytes(&text))) {
        return true;
    }
    if (!fs_write(root, "utils/node.json", buf_bytes(&text), 0644, e)) {
        return false;
    }
    fprintf(stderr, "wrote    utils/node.json, as fleet.nix says\n"); // stdout may be for a program
    return true;
}

bool server_authorized_key(
    const struct fleet *fleet, const struct fleet_node *node, struct buf *out)
{
    CLEANUP(buf_clear) struct buf line = {0};
    struct public_key key;
    struct err ignored; // fleet_open has judged it
    if (!node->tunnel_key_line ||
        !public_key_parse(bytes_of_text(node->tunnel_key_line), &key, &ignored)) {
        return false;
    }
    // Both permitopen and permitlisten: without the second a client may still open listeners on the
    // server.
    public_key_line(&key, &line);
    buf_printf(out,
        "restrict,port-forwarding,permitopen=\"127.0.0.1:%u\",permitopen=\"127.0.0.1:%u\",",
        PUB_PORT, REP_PORT);
    if (fleet->cache_forward) {
        buf_printf(out, "permitopen=\"127.0.0.1:%" PRIu64 "\",", fleet->cache_forward);
    }
    buf_printf(out, "permitlisten=\"127.0.0.1:1\",command=\"/bin/false\" %s %s\n", buf_text(&line),
        node->name);
    return true;
}

// ---- commands ----

static const char *directory;

static const struct cli_option options[] = {
    REPOSITORY_OPTION(&directory),
    {0},
};

static const struct cli broker_cli = {
    .program = "bento broker-config",
    .synopsis = "",
    .purpose = "Prints the configuration that bento-broker of this fleet needs.",
    .example = "bento broker-config | ssh root@broker tee /etc/bento-broker.json",
    .options = options,
};

static const struct cli keys_cli = {
    .program = "bento authorized-keys",
    .synopsis = "",
    .purpose = "Prints the authorized_keys of the account that the nodes' tunnels log in to, a "
               "line a node.",
    .example =
        "bento authorized-keys | ssh root@broker tee /etc/ssh/authorized_keys.d/bento-tunnel",
    .options = options,
};

static bool open_alone(
    const struct cli *this, int argc, char **argv, struct fleet *fleet, struct err *e)
{
    int words;
    char **word = cli_parse(this, argc, argv, &words);
    return words ? err_set(e, CODE_USAGE, "takes no arguments, but got %s", word[0])
                 : fleet_open_partial(directory, fleet, e);
}

int command_broker_config(int argc, char **argv)
{
    struct err e;
    struct fleet fleet;
    CLEANUP(buf_clear) struct buf text = {0};
    if (!open_alone(&broker_cli, argc, argv, &fleet, &e)) {
        return cli_fail(broker_cli.program, &e);
    }
    CLEANUP_JSON *json = broker_config(&fleet);
    json_text(json, &text);
    fputs(buf_text(&text), stdout);
    fleet_clear(&fleet);
    return 0;
}

int command_authorized_keys(int argc, char **argv)
{
    struct err e;
    struct fleet fleet;
    CLEANUP(buf_clear) struct buf text = {0};
    if (!open_alone(&keys_cli, argc, argv, &fleet, &e)) {
        return cli_fail(keys_cli.program, &e);
    }
    for (size_t i = 0; i < fleet.node_count; i++) {
        if (!server_authorized_key(&fleet, &fleet.nodes[i], &text)) {
            fprintf(stderr, "%s: %s has no tunnelKey, so it is left out\n", keys_cli.program,
                fleet.nodes[i].name);
        }
    }
    fputs(buf_text(&text), stdout);
    fleet_clear(&fleet);
    return 0;
}
