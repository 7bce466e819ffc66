#include "parcel.h"

#include "parcels.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

// ---- what the node is told ----

static struct bytes text_or_empty(const char *text)
{
    return text ? bytes_of_text(text) : (struct bytes){0};
}

static bool equals(const char *text, const char *word)
{
    return text && !strcmp(text, word);
}

// Without a pinned nixpkgs a classic host uses whatever its own channel is: nobody here can foresee
// the path.
static bool is_foreseeable(const struct host *host)
{
    return host->folder->kind == KIND_FLAKE || host->node->nixpkgs_url;
}

static void fill_lists(const struct fleet *fleet, const struct fleet_node *node, struct meta *meta)
{
    for (size_t i = 0; i < node->substituter_count; i++) {
        meta->substituters[meta->substituter_count++] = bytes_of_text(node->substituters[i]);
    }
    if (fleet->cache_url && meta->substituter_count < LIST_MAX) {
        meta->substituters[meta->substituter_count++] = bytes_of_text(fleet->cache_url);
        meta->public_keys[meta->public_key_count++] = bytes_of_text(fleet->cache_key);
    }
    meta->health_count = node->health_count;
    for (size_t i = 0; i < node->health_count; i++) {
        meta->health[i].count = node->health[i].count;
        for (size_t j = 0; j < node->health[i].count; j++) {
            meta->health[i].words[j] = bytes_of_text(node->health[i].words[j]);
        }
    }
}

static void fill_meta(
    const struct assembly *assembly, const struct parcel *parcel, struct meta *meta)
{
    const struct host *host = parcel->host;
    const struct fleet_node *node = host->node;
    const char *action = assembly->action ? assembly->action : node->action;
    *meta = (struct meta){
        .action = equals(action, "boot")  ? ACTION_BOOT
                  : equals(action, "dry") ? ACTION_DRY
                                          : ACTION_SWITCH,
        .attribute =
            host->folder->kind == KIND_FLAKE ? bytes_of_text(host->attribute) : (struct bytes){0},
        .confirm_s = (uint32_t)node->window_s,
        .expected = buf_bytes(&parcel->expected),
        .host = bytes_of_text(node->name),
        .kind = host->folder->kind,
        .last_resort = equals(node->last_resort, "reboot") ? LAST_RESORT_REBOOT : LAST_RESORT_STAY,
        .nixpkgs_url = text_or_empty(node->nixpkgs_url),
        .nixpkgs_sha256 = text_or_empty(node->nixpkgs_sha256),
        .reboot = text_or_empty(node->reboot ? node->reboot : host->folder->reboot),
        .has_retry = assembly->retry,
        .self_update = host->folder->self_update,
        .substitute_only = node->substitute_only,
        .system = text_or_empty(node->system),
        .unit_failures = equals(node->unit_failures, "ignore")     ? UNIT_FAILURES_IGNORE
                         : equals(node->unit_failures, "rollback") ? UNIT_FAILURES_ROLLBACK
                                                                   : UNIT_FAILURES_REPORT,
    };
    memcpy(meta->retry, assembly->retry_nonce, sizeof(meta->retry));
    fill_lists(assembly->fleet, node, meta);
}

// ---- sealing ----

static bool seal_tree(const struct assembly *assembly, const struct folder *folder,
    struct bundle *bundle, struct err *e)
{
    struct cached_tree tree = {0};
    if (!cache_get_tree(assembly->cache, folder->tree_hash, &tree)) {
        CLEANUP(buf_clear) struct buf blob = {0};
        if (folder->tree.len > BLOB_BYTES_MAX - BLOB_OVERHEAD_BYTES) {
            return err_set(e, CODE_LENGTH, "hosts/%s packs to %zu MiB, more than %u", folder->name,
                folder->tree.len >> 20, BLOB_BYTES_MAX >> 20);
        }
        blob_new_key(tree.key);
        blob_seal(buf_bytes(&folder->tree), tree.key, &blob);
        sha256(buf_bytes(&blob), tree.ct_hash);
        tree.ct_len = blob.len;
        if (!cache_put_tree(assembly->cache, folder->tree_hash, &tree, buf_bytes(&blob), e)) {
            return false;
        }
    }
    bundle->has_tree = true;
    memcpy(bundle->tree_hash, tree.ct_hash, HASH_BYTES);
    bundle->tree_len = tree.ct_len;
    memcpy(bundle->tree_key, tree.key, BLOB_KEY_BYTES);
    return true;
}

static bool seal_bundle(
    const struct assembly *assembly, struct bundle *bundle, struct parcel *parcel, struct err *e)
{
    const struct fleet_node *node = parcel->host->node;
    const uint8_t *tree_hash = bundle->has_tree ? bundle->tree_hash : NULL;
    CLEANUP(buf_clear) struct buf message = {0}, blob = {0};
    if (!bundle_encode(bundle, &message, e)) {
        return false;
    }
    bundle_digest(
        bundle, bundle->has_tree ? parcel->host->folder->tree_hash : NULL, parcel->digest);
    if (cache_get_ticket(
            assembly->cache, node->node_id, parcel->digest, tree_hash, &parcel->ticket)) {
        return true;
    }
    if (message.len > BLOB_BYTES_MAX - BLOB_OVERHEAD_BYTES) {
        return err_set(e, CODE_LENGTH, "its secrets are %zu MiB, more than %u", message.len >> 20,
            BLOB_BYTES_MAX >> 20);
    }
    uint8_t key[BLOB_KEY_BYTES];
    struct ticket ticket = {0};
    blob_new_key(key);
    blob_seal(buf_bytes(&message), key, &blob);
    memcpy(ticket.node_id, node->node_id, HASH_BYTES);
    sha256(buf_bytes(&blob), ticket.ct_hash);
    ticket.ct_len = blob.len;
    bool ok =
        key_seal(key, &node->key, ticket.sealed, e) &&
        cache_put_ticket(assembly->cache, &ticket, parcel->digest, tree_hash, buf_bytes(&blob), e);
    explicit_bzero(key, sizeof(key));
    if (ok) {
        parcel->ticket = ticket;
    }
    return ok;
}

bool parcel_gather(const struct assembly *assembly, struct parcel *parcel, struct err *e)
{
    return secrets_gather(assembly->fleet, parcel->host, &parcel->secrets, e);
}

bool parcel_seal(const struct assembly *assembly, struct parcel *parcel, struct err *e)
{
    const struct host *host = parcel->host;
    struct bundle *bundle = xcalloc(1, sizeof(*bundle)); // too large for a stack
    buf_append_text(&parcel->directory, host->folder->name);
    if (is_foreseeable(host)) {
        buf_append_text(&parcel->expected, parcel->system.out);
    }
    fill_meta(assembly, parcel, &bundle->meta);
    bool ok = true;
    if (host->node->substitute_only && (!bundle->meta.substituter_count || !is_foreseeable(host))) {
        ok = err_set(e, CODE_CONFIG, "substitute_only needs a substituter (or broker.cache)%s",
            is_foreseeable(host) ? "" : " and a pinned nixpkgs");
    }
    bundle->secret_count = parcel->secrets.count;
    bundle->secrets = parcel->secrets.list;
    ok = ok && (host->node->substitute_only || seal_tree(assembly, host->folder, bundle, e)) &&
         seal_bundle(assembly, bundle, parcel, e);
    parcel->has_tree = bundle->has_tree;
    memcpy(parcel->tree_hash, bundle->tree_hash, HASH_BYTES);
    secrets_clear(&parcel->secrets);
    explicit_bzero(bundle, sizeof(*bundle));
    free(bundle);
    return ok;
}

// ---- the release before ----

const struct ticket *parcel_previous_ticket(
    const struct assembly *assembly, const struct parcel *parcel)
{
    const struct release *previous = assembly->previous;
    const struct roster_node *node =
        previous ? roster_find(&previous->roster, parcel->host->node->node_id) : NULL;
    return node ? &previous->tickets[node - previous->roster.nodes] : NULL;
}

void parcel_keep(const struct assembly *assembly, struct parcel *parcel)
{
    const struct fleet_node *node = parcel->host->node;
    const struct ticket *ticket = parcel_previous_ticket(assembly, parcel);
    buf_clear(&parcel->expected);
    buf_clear(&parcel->directory);
    parcel->has_tree = false;
    parcel->ticket = (struct ticket){0};
    memcpy(parcel->ticket.node_id, node->node_id, HASH_BYTES);
    if (!ticket) {
        buf_append_text(&parcel->directory, parcel->host->folder->name);
        return;
    }
    const struct roster_node *old = roster_find(&assembly->previous->roster, node->node_id);
    parcel->ticket = *ticket;
    buf_append(&parcel->expected, old->expected.at, old->expected.len);
    buf_append(&parcel->directory, old->directory.at, old->directory.len);
    parcel->has_tree = old->has_tree;
    memcpy(parcel->tree_hash, old->tree_hash, HASH_BYTES);
}

void parcel_clear(struct parcel *parcel)
{
    buf_clear(&parcel->log);
    buf_clear(&parcel->expected);
    buf_clear(&parcel->directory);
    system_clear(&parcel->system);
    secrets_clear(&parcel->secrets);
}
