#include "parcel.h"

#include "parcel_text.h"
#include "secrets.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

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

static bool bundle_host(const struct assembly *assembly, struct parcel *parcel, struct err *e)
{
    const struct host *host = parcel->host;
    struct bundle *bundle = xcalloc(1, sizeof(*bundle)); // too large for a stack
    struct secrets secrets = {0};
    if (is_foreseeable(host)) {
        buf_append_text(&parcel->expected, parcel->system.out);
    }
    fill_meta(assembly, parcel, &bundle->meta);
    bool ok = true;
    if (host->node->substitute_only && (!bundle->meta.substituter_count || !is_foreseeable(host))) {
        ok = err_set(e, CODE_CONFIG, "substitute_only needs a substituter (or broker.cache)%s",
            is_foreseeable(host) ? "" : " and a pinned nixpkgs");
    }
    ok = ok && secrets_gather(assembly->fleet, host, &secrets, e);
    bundle->secret_count = secrets.count;
    bundle->secrets = secrets.list;
    ok = ok && (host->node->substitute_only || seal_tree(assembly, host->folder, bundle, e)) &&
         seal_bundle(assembly, bundle, parcel, e);
    parcel->has_tree = bundle->has_tree;
    memcpy(parcel->tree_hash, bundle->tree_hash, HASH_BYTES);
    secrets_clear(&secrets);
    explicit_bzero(bundle, sizeof(*bundle));
    free(bundle);
    return ok;
}

// ---- one host ----

static const struct ticket *previous_ticket(
    const struct assembly *assembly, const uint8_t node_id[HASH_BYTES])
{
    const struct release *previous = assembly->previous;
    const struct roster_node *node = previous ? roster_find(&previous->roster, node_id) : NULL;
    return node ? &previous->tickets[node - previous->roster.nodes] : NULL;
}

// The node stays as it was in the previous release, roster entry and all.
static void keep_previous(const struct assembly *assembly, struct parcel *parcel)
{
    const struct fleet_node *node = parcel->host->node;
    const struct ticket *ticket = previous_ticket(assembly, node->node_id);
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

static bool tickets_equal(const struct ticket *a, const struct ticket *b)
{
    return a->ct_len == b->ct_len && !memcmp(a->node_id, b->node_id, HASH_BYTES) &&
           !memcmp(a->ct_hash, b->ct_hash, HASH_BYTES) &&
           !memcmp(a->sealed, b->sealed, SEALED_KEY_BYTES);
}

// Nix says so in words only, and in other words since 2.30.
static bool is_foreign(struct parcel *parcel)
{
    const char *log = buf_text(&parcel->log);
    return strstr(log, "is required to build") ||
           strstr(log, "required system or feature not available");
}

static bool build_host(const struct assembly *assembly, struct parcel *parcel, struct err *e)
{
    if (assembly->eval_only) {
        parcel->evaluated_only = true;
        return true;
    }
    if (build_realise(&parcel->system, &parcel->log, e)) {
        return true;
    }
    parcel->evaluated_only = is_foreign(parcel);
    return parcel->evaluated_only;
}

static void finish(const struct assembly *assembly, struct parcel *parcel, bool ok, double start)
{
    const struct ticket *before = previous_ticket(assembly, parcel->host->node->node_id);
    if (ok) {
        parcel->outcome =
            before && tickets_equal(before, &parcel->ticket) ? OUTCOME_UNCHANGED : OUTCOME_CHANGED;
    } else {
        parcel->outcome = OUTCOME_FAILED;
        keep_previous(assembly, parcel);
    }
    parcel->seconds += now_seconds() - start;
    CLEANUP(buf_clear) struct buf line = {0};
    parcel_line(assembly, parcel, assembly->name_width, &line);
    fputs(buf_text(&line), stdout);
    fflush(stdout);
}

static void complete(const struct assembly *assembly, struct parcel *parcel, bool evaluated)
{
    double start = now_seconds();
    buf_append_text(&parcel->directory, parcel->host->folder->name);
    bool ok = evaluated && build_host(assembly, parcel, &parcel->failure) &&
              bundle_host(assembly, parcel, &parcel->failure);
    finish(assembly, parcel, ok, start);
}

// ---- one folder ----

static void assemble_flake(const struct assembly *assembly, const struct folder *folder,
    struct parcel **parcels, size_t count)
{
    const char **attributes = xcalloc(count, sizeof(*attributes));
    struct system *systems = xcalloc(count, sizeof(*systems));
    bool *failed = xcalloc(count, sizeof(*failed));
    struct err *errors = xcalloc(count, sizeof(*errors));
    struct buf *logs = xcalloc(count, sizeof(*logs));
    double start = now_seconds();
    for (size_t i = 0; i < count; i++) {
        attributes[i] = parcels[i]->host->attribute;
    }
    build_evaluate_flake(folder->source, attributes, count, systems, failed, errors, logs);
    for (size_t i = 0; i < count; i++) {
        struct parcel *parcel = parcels[i];
        parcel->system = systems[i];
        parcel->failure = errors[i];
        parcel->log = logs[i];
        parcel->seconds = (now_seconds() - start) / (double)count; // its share
    }
    for (size_t i = 0; i < count; i++) {
        complete(assembly, parcels[i], !failed[i]);
    }
    free(attributes);
    free(systems);
    free(failed);
    free(errors);
    free(logs);
}

static void assemble_classic(
    const struct assembly *assembly, const struct folder *folder, struct parcel *parcel)
{
    const struct fleet_node *node = parcel->host->node;
    double start = now_seconds();
    bool ok = build_evaluate_classic(folder->source, node->nixpkgs_url, node->nixpkgs_sha256,
        &parcel->system, &parcel->log, &parcel->failure);
    parcel->seconds = now_seconds() - start;
    complete(assembly, parcel, ok);
}

static void assemble_folder(const struct assembly *assembly, const struct folder *folder)
{
    struct parcel **parcels = xcalloc(assembly->count + 1, sizeof(struct parcel *));
    size_t count = 0;
    for (size_t i = 0; i < assembly->count; i++) {
        struct parcel *parcel = &assembly->parcels[i];
        if (parcel->selected && parcel->host->folder == folder) {
            parcels[count++] = parcel;
        }
    }
    for (size_t i = 0; i < count && folder->broken; i++) {
        parcels[i]->failure = folder->failure;
        buf_append(&parcels[i]->log, folder->log.at, folder->log.len);
        finish(assembly, parcels[i], false, now_seconds());
    }
    for (size_t i = 0; i < count && !folder->broken && folder->kind == KIND_CLASSIC; i++) {
        assemble_classic(assembly, folder, parcels[i]);
    }
    if (count && !folder->broken && folder->kind == KIND_FLAKE) {
        assemble_flake(assembly, folder, parcels, count);
    }
    free(parcels);
}

void assemble_parcels(struct assembly *assembly, const bool *chosen)
{
    assembly->count = assembly->hosts->count;
    assembly->parcels = xcalloc(assembly->count + 1, sizeof(*assembly->parcels));
    randombytes_buf(assembly->retry_nonce, sizeof(assembly->retry_nonce));
    for (size_t i = 0; i < assembly->count; i++) {
        struct parcel *parcel = &assembly->parcels[i];
        parcel->host = &assembly->hosts->list[i];
        parcel->selected = chosen[i];
        int width = (int)strlen(parcel->host->node->name);
        assembly->name_width = width > assembly->name_width ? width : assembly->name_width;
        if (!chosen[i]) {
            keep_previous(assembly, parcel);
        }
    }
    for (size_t i = 0; i < assembly->hosts->folder_count; i++) {
        assemble_folder(assembly, &assembly->hosts->folders[i]);
    }
    parcel_print_failures(assembly);
}

size_t assembly_count(const struct assembly *assembly, enum outcome outcome)
{
    size_t count = 0;
    for (size_t i = 0; i < assembly->count; i++) {
        count += assembly->parcels[i].outcome == outcome;
    }
    return count;
}

void assembly_clear(struct assembly *assembly)
{
    for (size_t i = 0; i < assembly->count; i++) {
        struct parcel *parcel = &assembly->parcels[i];
        buf_clear(&parcel->log);
        buf_clear(&parcel->expected);
        buf_clear(&parcel->directory);
        system_clear(&parcel->system);
    }
    free(assembly->parcels);
    assembly->parcels = NULL;
    assembly->count = 0;
}
