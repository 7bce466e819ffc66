#include "fleet.h"

#include "conf.h"
#include "fs.h"
#include "json.h"
#include "nix.h"
#include "roster.h"
#include "rotation.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FLEET_JSON_BYTES_MAX (16u << 20)

// ---- one node ----

static void read_word(struct conf_object *object, const char *key, const char **value,
    const char *const *allowed, const char *list)
{
    if (!conf_text(object, key, value)) {
        return;
    }
    for (; *allowed; allowed++) {
        if (!strcmp(*value, *allowed)) {
            return;
        }
    }
    conf_fault(object, key, "\"%s\" is not one of %s", *value, list);
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void read_tags(struct conf_object *object, struct fleet_node *node)
{
    const char *tags[TAGS_MAX];
    size_t count = conf_texts(object, "tags", tags, TAGS_MAX);
    if (!count) {
        return;
    }
    qsort(tags, count, sizeof(*tags), compare_texts);
    node->tag_count = 0;
    for (size_t i = 0; i < count; i++) {
        if (!name_is_clean(bytes_of_text(tags[i]))) {
            conf_fault(object, "tags", "\"%s\": a tag is made of a-z, 0-9 and -", tags[i]);
        } else if (!i || strcmp(tags[i], tags[i - 1]) != 0) {
            node->tags[node->tag_count++] = tags[i];
        }
    }
}

static void read_health(struct conf_object *object, struct fleet_node *node)
{
    size_t count = conf_count(object, "health");
    if (count > LIST_MAX) {
        conf_fault(object, "health", "at most %u commands", LIST_MAX);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        struct conf_object *command = conf_at(object, "health", i);
        struct fleet_argv *argv = &node->health[i];
        argv->count = command ? conf_texts(command, "command", argv->words, ARGV_MAX) : 0;
        if (!argv->count) {
            conf_fault(
                object, "health", "write each command as { command = [ \"prog\" \"argument\" ]; }");
        }
    }
    node->health_count = count ? count : node->health_count;
}

static void read_mode(struct conf_object *object, uint32_t *mode)
{
    const char *text;
    if (!conf_text(object, "mode", &text)) {
        return;
    }
    char *end;
    unsigned long value = strtoul(text, &end, 8);
    if (!*text || *end || value > 0777 || strspn(text, "01234567") != strlen(text)) {
        conf_fault(object, "mode", "\"%s\" is not an octal mode like \"0400\"", text);
    } else {
        *mode = (uint32_t)value;
    }
}

static bool secret_name_is_clean(const char *name)
{
    size_t len = strlen(name);
    return len >= 1 && len <= SECRET_NAME_BYTES_MAX && strcmp(name, ".") != 0 &&
           strcmp(name, "..") != 0 &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == len;
}

static struct fleet_secret *secret_slot(struct fleet_node *node, const char *name)
{
    size_t at = 0;
    while (at < node->secret_count && strcmp(node->secrets[at].name, name) < 0) {
        at++;
    }
    if (at < node->secret_count && !strcmp(node->secrets[at].name, name)) {
        return &node->secrets[at];
    }
    struct fleet_secret *grown = xcalloc(node->secret_count + 1, sizeof(*grown));
    if (node->secret_count) {
        memcpy(grown, node->secrets, at * sizeof(*grown));
        memcpy(grown + at + 1, node->secrets + at, (node->secret_count - at) * sizeof(*grown));
    }
    free(node->secrets);
    node->secrets = grown;
    node->secret_count++;
    grown[at] = (struct fleet_secret){.name = name, .owner = "root", .group = "root", .mode = 0400};
    return &grown[at];
}

static void read_secrets(struct conf_object *object, struct fleet_node *node)
{
    struct conf_object *secrets = conf_object(object, "secrets");
    const char **names;
    size_t count = secrets ? conf_keys(secrets, &names) : 0;
    for (size_t i = 0; i < count; i++) {
        struct conf_object *one = conf_object(secrets, names[i]);
        if (!secret_name_is_clean(names[i])) {
            conf_fault(secrets, names[i],
                "a secret's name is made of letters, digits, . _ and -, at most %u",
                SECRET_NAME_BYTES_MAX);
        }
        if (!one) {
            continue;
        }
        struct fleet_secret *secret = secret_slot(node, names[i]);
        bool file = conf_text(one, "file", &secret->file);
        bool command = conf_text(one, "command", &secret->command);
        if (file && command) {
            conf_fault(one, "command", "give file or command, not both");
        } else if (file) {
            secret->command = NULL;
        } else if (command) {
            secret->file = NULL;
        }
        conf_text(one, "owner", &secret->owner);
        conf_text(one, "group", &secret->group);
        read_mode(one, &secret->mode);
    }
}

// Everything that may stand in `defaults` as well as in a node.
static void read_attributes(struct conf_object *object, struct fleet_node *node)
{
    static const char *const actions[] = {"switch", "boot", "dry", NULL};
    static const char *const failures[] = {"report", "ignore", "rollback", NULL};
    static const char *const resorts[] = {"stay", "reboot", NULL};
    read_tags(object, node);
    conf_text(object, "system", &node->system);
    conf_text(object, "reboot", &node->reboot);
    conf_text(object, "ssh", &node->ssh);
    read_word(object, "action", &node->action, actions, "switch, boot, dry");
    read_word(object, "unit_failures", &node->unit_failures, failures, "report, ignore, rollback");
    read_word(object, "last_resort", &node->last_resort, resorts, "stay, reboot");
    conf_u64(object, "window", 10, 86400, &node->window_s);
    conf_bool(object, "substitute_only", &node->substitute_only);
    const char *list[LIST_MAX];
    size_t count = conf_texts(object, "substituters", list, LIST_MAX);
    if (count) {
        memcpy(node->substituters, list, count * sizeof(*list));
        node->substituter_count = count;
    }
    read_health(object, node);
    struct conf_object *nixpkgs = conf_object(object, "nixpkgs");
    if (nixpkgs) {
        conf_need_text(nixpkgs, "url", &node->nixpkgs_url);
        conf_need_text(nixpkgs, "sha256", &node->nixpkgs_sha256);
    }
    read_secrets(object, node);
}

static void read_key(struct conf_object *object, struct fleet_node *node)
{
    struct err e;
    if (!conf_text(object, "key", &node->key_line)) {
        return;
    }
    if (!public_key_parse(bytes_of_text(node->key_line), &node->key, &e)) {
        conf_fault(object, "key", "%s", e.text);
    } else if (node->key.type != KEY_ED25519) {
        conf_fault(object, "key", "the key of a node must be ssh-ed25519");
    } else {
        public_key_id(&node->key, node->node_id);
    }
    struct public_key tunnel;
    if (!conf_text(object, "tunnelKey", &node->tunnel_key_line)) {
        return;
    }
    if (!public_key_parse(bytes_of_text(node->tunnel_key_line), &tunnel, &e)) {
        conf_fault(object, "tunnelKey", "%s", e.text);
    } else if (tunnel.type != KEY_ED25519 || public_key_same(&tunnel, &node->key)) {
        conf_fault(
            object, "tunnelKey", "must be an ssh-ed25519 key of its own, not the node's identity");
    }
}

static void copy_defaults(const struct fleet_node *defaults, struct fleet_node *node)
{
    *node = *defaults;
    node->secrets = NULL;
    if (defaults->secret_count) {
        node->secrets = xcalloc(defaults->secret_count, sizeof(*node->secrets));
        memcpy(node->secrets, defaults->secrets, defaults->secret_count * sizeof(*node->secrets));
    }
}

static void drop_node(struct fleet *fleet)
{
    struct fleet_node *node = &fleet->nodes[--fleet->node_count];
    free(node->secrets);
    *node = (struct fleet_node){0};
}

static int compare_nodes(const void *a, const void *b)
{
    return strcmp(((const struct fleet_node *)a)->name, ((const struct fleet_node *)b)->name);
}

// Nodes without a key.
enum keyless { KEYLESS_REFUSED, KEYLESS_LEFT_OUT, KEYLESS_TAKEN };

static void read_nodes(struct conf_object *root, enum keyless keyless, struct fleet *fleet)
{
    struct fleet_node defaults = {0};
    struct conf_object *object = conf_object(root, "defaults");
    if (object) {
        read_attributes(object, &defaults);
    }
    struct conf_object *nodes = conf_object(root, "nodes");
    const char **names;
    size_t count = nodes ? conf_keys(nodes, &names) : 0;
    fleet->nodes = xcalloc(count + 1, sizeof(*fleet->nodes));
    for (size_t i = 0; i < count; i++) {
        object = conf_object(nodes, names[i]);
        if (!name_is_clean(bytes_of_text(names[i]))) {
            conf_fault(nodes, names[i], "a node's name is made of a-z, 0-9 and -, at most %u",
                NAME_BYTES_MAX);
        }
        if (!object) {
            continue;
        }
        struct fleet_node *node = &fleet->nodes[fleet->node_count++];
        copy_defaults(&defaults, node);
        node->name = names[i];
        conf_text(object, "directory", &node->directory);
        conf_text(object, "attribute", &node->attribute);
        read_attributes(object, node);
        read_key(object, node);
        if (!node->key_line && keyless == KEYLESS_LEFT_OUT) {
            drop_node(fleet);
        } else if (!node->key_line && keyless == KEYLESS_REFUSED) {
            conf_fault(object, "key", "%s has no key: run `bento add-host %s`", names[i], names[i]);
        }
    }
    free(defaults.secrets);
    defaults.secrets = NULL;
    defaults.secret_count = 0;
    fleet->defaults = defaults;
}

void fleet_add_node(struct fleet *fleet, const char *name)
{
    size_t size = (fleet->node_count + 1) * sizeof(*fleet->nodes);
    fleet->nodes = realloc(fleet->nodes, size);
    ASSERT(fleet->nodes != NULL);
    struct fleet_node *node = &fleet->nodes[fleet->node_count++];
    *node = fleet->defaults;
    node->name = name;
    qsort(fleet->nodes, fleet->node_count, sizeof(*fleet->nodes), compare_nodes);
}

// ---- the fleet ----

// One port for both ends of the forward: on the server and on every node the cache has the same url.
static void read_cache(struct conf_object *cache, struct fleet *fleet)
{
    static const char here[] = "http://127.0.0.1:";
    bool forward = false;
    conf_need_text(cache, "key", &fleet->cache_key);
    conf_bool(cache, "forward", &forward);
    conf_text(cache, "upload", &fleet->cache_upload);
    if (conf_text(cache, "secret_key", &fleet->cache_secret_key) && !fleet->cache_upload) {
        conf_fault(cache, "upload",
            "is missing: where to copy the signed systems, as `nix copy --to` takes it");
    }
    if (!conf_need_text(cache, "url", &fleet->cache_url) || !forward) {
        return;
    }
    char *end = NULL;
    if (strncmp(fleet->cache_url, here, strlen(here)) == 0) {
        fleet->cache_forward = strtoul(fleet->cache_url + strlen(here), &end, 10);
    }
    if (!end || (*end && *end != '/') || fleet->cache_forward < 1 || fleet->cache_forward > 65535) {
        conf_fault(cache, "url", "with forward it is %sPORT, the cache's port on the server", here);
    }
}

static void read_broker(struct conf_object *root, struct fleet *fleet)
{
    struct conf_object *broker = conf_object(root, "broker");
    fleet->admin = ADMIN_SOCKET;
    if (!broker) {
        return;
    }
    fleet->endpoint_count = conf_texts(broker, "endpoints", fleet->endpoints, LIST_MAX);
    conf_text(broker, "admin", &fleet->admin);
    conf_text(broker, "host", &fleet->broker_host);
    struct public_key key;
    struct err e;
    if (conf_text(broker, "host_key", &fleet->host_key) &&
        !public_key_parse(bytes_of_text(fleet->host_key), &key, &e)) {
        conf_fault(broker, "host_key", "%s", e.text);
    }
    struct conf_object *cache = conf_object(broker, "cache");
    if (cache) {
        read_cache(cache, fleet);
    }
}

static void read_trust(struct conf_object *root, struct fleet *fleet)
{
    struct err e;
    uint64_t threshold = 1;
    const char *id;
    if (conf_text(root, "fleet", &id) && !strcmp(id, "@fleet@")) {
        conf_fault(root, "fleet", "this is the template: `bento init` makes a repository of it");
        return;
    }
    if (!conf_need_hex(root, "fleet", fleet->trust.fleet, sizeof(fleet->trust.fleet))) {
        return;
    }
    size_t count = conf_texts(root, "signers", fleet->signer_lines, SIGNERS_MAX);
    for (size_t i = 0; i < count; i++) {
        if (!trust_add(&fleet->trust, fleet->signer_lines[i], &e)) {
            conf_fault(root, "signers", "number %zu: %s", i + 1, e.text);
            return;
        }
    }
    conf_u64(root, "threshold", 1, SIGNATURES_MAX, &threshold);
    fleet->trust.threshold = (unsigned)threshold;
    conf_bool(root, "require_pin", &fleet->trust.require_pin);
    if (!count) {
        conf_fault(root, "signers",
            "names nobody: put the public key line of each admin there "
            "(cat ~/.ssh/id_ed25519.pub; ssh-keygen -t ed25519 makes one)");
    } else if (!trust_check(&fleet->trust, &e)) {
        conf_fault(root, "threshold", "%s", e.text);
    }
}

static bool check_keys_are_distinct(const struct fleet *fleet, struct err *e)
{
    for (size_t i = 0; i < fleet->node_count; i++) {
        for (size_t j = i + 1; j < fleet->node_count; j++) {
            const struct fleet_node *a = &fleet->nodes[i], *b = &fleet->nodes[j];
            if (a->key_line && b->key_line && !memcmp(a->node_id, b->node_id, HASH_BYTES)) {
                return err_set(e, CODE_CONFIG,
                    "%s and %s have the same key: every node needs one of its own", a->name,
                    b->name);
            }
        }
    }
    return true;
}

// nodes.json fills in what fleet.nix does not say; it is written by add-host and holds keys,
// nothing else.
static bool merge_nodes(json_t *fleet, struct bytes nodes_json, struct err *e)
{
    CLEANUP_JSON *machine = NULL;
    if (!nodes_json.len) {
        return true;
    }
    if (!json_object_parse(nodes_json, "nodes.json", &machine, e)) {
        return false;
    }
    json_t *nodes = json_object_get(fleet, "nodes");
    if (!nodes) {
        nodes = json_object();
        json_object_set_new(fleet, "nodes", nodes);
    }
    if (!json_is_object(nodes)) {
        return err_set(e, CODE_CONFIG, "fleet.nix: nodes must be an attribute set");
    }
    const char *name, *key;
    json_t *given, *value;
    json_object_foreach(machine, name, given)
    {
        json_object_foreach(given, key, value)
        {
            if (strcmp(key, "key") != 0 && strcmp(key, "tunnelKey") != 0) {
                return err_set(e, CODE_CONFIG,
                    "nodes.json: %s.%s: only key and tunnelKey stand there, the rest belongs into "
                    "fleet.nix",
                    name, key);
            }
        }
        json_t *node = json_object_get(nodes, name);
        if (!node) {
            json_object_set(nodes, name, given);
        } else if (json_is_object(node) && json_is_object(given)) {
            json_object_update_missing(node, given);
        }
    }
    return true;
}

static bool parse(
    const struct fleet_text *text, enum keyless keyless, struct fleet *fleet, struct err *e)
{
    CLEANUP_JSON *merged = NULL;
    CLEANUP(buf_clear) struct buf whole = {0};
    CLEANUP(rotation_clear) struct rotation rotation = {0};
    if (!json_object_parse(buf_bytes(&text->fleet), "fleet.nix", &merged, e) ||
        !merge_nodes(merged, buf_bytes(&text->nodes), e) ||
        !rotation_parse(buf_bytes(&text->signers), &rotation, e)) {
        return false;
    }
    rotation_merge(&rotation, merged);
    json_text(merged, &whole);
    struct conf *conf = conf_parse(buf_bytes(&whole), "fleet.nix", e);
    if (!conf) {
        return false;
    }
    *fleet =
        (struct fleet){.root = xstrdup(text->root), .epoch = 1, .expires_days = 90, .conf = conf};
    struct conf_object *root = conf_root(conf);
    read_trust(root, fleet);
    for (size_t i = 0; i < fleet->trust.signer_count; i++) {
        fleet->joining[i] = rotation_has(&rotation, ROTATION_JOINING, &fleet->trust.signers[i]);
    }
    conf_u64(root, "epoch", 1, UINT32_MAX, &fleet->epoch);
    conf_u64(root, "expires_days", 1, 3650, &fleet->expires_days);
    read_broker(root, fleet);
    read_nodes(root, keyless, fleet);
    if (!conf_end(conf, e)) {
        fleet_clear(fleet);
        return false;
    }
    qsort(fleet->nodes, fleet->node_count, sizeof(*fleet->nodes), compare_nodes);
    if (!check_keys_are_distinct(fleet, e)) {
        fleet_clear(fleet);
        return false;
    }
    return true;
}

bool fleet_parse(const struct fleet_text *text, bool partial, struct fleet *fleet, struct err *e)
{
    return parse(text, partial ? KEYLESS_LEFT_OUT : KEYLESS_REFUSED, fleet, e);
}

static bool read_fleet_json(const char *root, struct buf *json, struct err *e)
{
    CLEANUP(buf_clear) struct buf path = {0};
    buf_printf(&path, "%s/fleet.nix", root);
    if (fs_exists(AT_FDCWD, buf_text(&path))) {
        return nix_eval_file(buf_text(&path), json, e);
    }
    buf_clear(&path);
    buf_printf(&path, "%s/fleet.json", root);
    if (fs_exists(AT_FDCWD, buf_text(&path))) {
        return fs_read_following(AT_FDCWD, buf_text(&path), FLEET_JSON_BYTES_MAX, json, e);
    }
    return err_set(e, CODE_CONFIG,
        "no fleet.nix in %s: run `bento init`, or name the repository with -C DIR", root);
}

// A file beside fleet.nix that a command writes. None is an empty one.
static bool read_beside(const char *root, const char *name, struct buf *text, struct err *e)
{
    CLEANUP(buf_clear) struct buf path = {0};
    buf_printf(&path, "%s/%s", root, name);
    return !fs_exists(AT_FDCWD, buf_text(&path)) ||
           fs_read_following(AT_FDCWD, buf_text(&path), FLEET_JSON_BYTES_MAX, text, e);
}

bool fleet_read(const char *directory, struct fleet_text *text, struct err *e)
{
    const char *from_environment = getenv("BENTO_DIR");
    const char *where = directory                               ? directory
                        : from_environment && *from_environment ? from_environment
                                                                : ".";
    *text = (struct fleet_text){.root = realpath(where, NULL)};
    if (!text->root) {
        return err_set(e, CODE_CONFIG, "%s: %m: name the repository with -C DIR", where);
    }
    bool ok = read_fleet_json(text->root, &text->fleet, e) &&
              read_beside(text->root, "nodes.json", &text->nodes, e) &&
              read_beside(text->root, "signers.json", &text->signers, e);
    if (!ok) {
        fleet_text_clear(text);
    }
    return ok;
}

void fleet_text_clear(struct fleet_text *text)
{
    free(text->root);
    buf_clear(&text->fleet);
    buf_clear(&text->nodes);
    buf_clear(&text->signers);
    *text = (struct fleet_text){0};
}

static bool open_fleet(
    const char *directory, enum keyless keyless, struct fleet *fleet, struct err *e)
{
    CLEANUP(fleet_text_clear) struct fleet_text text;
    return fleet_read(directory, &text, e) && parse(&text, keyless, fleet, e);
}

bool fleet_open(const char *directory, struct fleet *fleet, struct err *e)
{
    return open_fleet(directory, KEYLESS_REFUSED, fleet, e);
}

bool fleet_open_partial(const char *directory, struct fleet *fleet, struct err *e)
{
    return open_fleet(directory, KEYLESS_LEFT_OUT, fleet, e);
}

bool fleet_open_keyless(const char *directory, struct fleet *fleet, struct err *e)
{
    return open_fleet(directory, KEYLESS_TAKEN, fleet, e);
}

void fleet_clear(struct fleet *fleet)
{
    for (size_t i = 0; i < fleet->node_count; i++) {
        free(fleet->nodes[i].secrets);
    }
    free(fleet->nodes);
    free(fleet->root);
    conf_free(fleet->conf);
    *fleet = (struct fleet){0};
}

const struct fleet_node *fleet_find(const struct fleet *fleet, const char *name)
{
    for (size_t i = 0; i < fleet->node_count; i++) {
        if (!strcmp(fleet->nodes[i].name, name)) {
            return &fleet->nodes[i];
        }
    }
    return NULL;
}
