#include "plan.h"

#include "json.h"
#include "parcel_text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define NAMES_SHOWN 8

// ---- reboot ----

static bool has_system(const char *path)
{
    CLEANUP(buf_clear) struct buf kernel = {0};
    char target[4096];
    buf_printf(&kernel, "%s/kernel", path ? path : "");
    return path && readlink(buf_text(&kernel), target, sizeof(target)) > 0;
}

static bool same_link(const char *a, const char *b, const char *name)
{
    CLEANUP(buf_clear) struct buf path_a = {0}, path_b = {0};
    char target_a[4096], target_b[4096];
    buf_printf(&path_a, "%s/%s", a, name);
    buf_printf(&path_b, "%s/%s", b, name);
    ssize_t len_a = readlink(buf_text(&path_a), target_a, sizeof(target_a)),
            len_b = readlink(buf_text(&path_b), target_b, sizeof(target_b));
    return len_a == len_b && (len_a < 0 || !memcmp(target_a, target_b, (size_t)len_a));
}

enum reboot reboot_of(const char *system, const char *booted, const char *before)
{
    const char *old = has_system(booted) ? booted : before;
    if (system && booted && !strcmp(system, booted)) {
        return REBOOT_NO;
    }
    if (!has_system(system) || !has_system(old)) {
        return REBOOT_UNKNOWN;
    }
    bool same = same_link(old, system, "kernel") && same_link(old, system, "initrd") &&
                same_link(old, system, "kernel-modules");
    return same ? REBOOT_NO : REBOOT_LIKELY;
}

static char *text_of(struct bytes path)
{
    return path.len ? strndup((const char *)path.at, path.len) : NULL;
}

static void find_booted(const struct deployment *deployment, const struct remote_statuses *statuses,
    struct bytes *booted)
{
    for (size_t i = 0; i < statuses->count; i++) {
        struct status status;
        struct err ignored; // a forged one says nothing
        if (!status_verify(statuses->list[i].signed_message, deployment->fleet->trust.fleet,
                &status, &ignored)) {
            continue;
        }
        for (size_t j = 0; j < deployment->count; j++) {
            if (!memcmp(deployment->changes[j].node->node_id, status.node_id, HASH_BYTES)) {
                booted[j] = status.booted;
            }
        }
    }
}

bool plan_reboots(
    struct remote *remote, const struct deployment *deployment, enum reboot *reboots, struct err *e)
{
    struct remote_statuses statuses = {0};
    if (!remote_get_statuses(remote, &statuses, e)) {
        return false;
    }
    struct bytes *booted = xcalloc(deployment->count + 1, sizeof(*booted));
    find_booted(deployment, &statuses, booted);
    for (size_t i = 0; i < deployment->count; i++) {
        const struct change *change = &deployment->changes[i];
        bool switches = change->kind == CHANGE_NEW || change->kind == CHANGE_REBUILD;
        char *running = text_of(booted[i]), *before = text_of(change->before.expected);
        reboots[i] = switches ? reboot_of(change->system, running, before) : REBOOT_NO;
        free(running);
        free(before);
    }
    free(booted);
    remote_statuses_clear(&statuses);
    return true;
}

// ---- words ----

void bytes_text(uint64_t bytes, char text[32])
{
    static const char *const units[] = {"kB", "MB", "GB"};
    double value = (double)bytes / 1000;
    size_t unit = 0;
    if (bytes < 1000) {
        snprintf(text, 32, "%" PRIu64 " B", bytes);
        return;
    }
    for (; value >= 1000 && unit < 2; unit++) {
        value /= 1000;
    }
    snprintf(text, 32, "%.1f %s", value, units[unit]);
}

void plan_total(const struct deployment *deployment, struct buf *out)
{
    const char *separator = "";
    for (int kind = 0; kind < CHANGE_KIND_COUNT; kind++) {
        size_t count = deployment_count(deployment, (enum change_kind)kind);
        if (count) {
            buf_printf(out, "%s%zu %s", separator, count, change_kind_word((enum change_kind)kind));
            separator = ", ";
        }
    }
    if (deployment->removed_count) {
        buf_printf(out, "%s%zu removed", separator, deployment->removed_count);
    }
}

void plan_print_head(const struct head *head)
{
    char fleet[HASH_HEX_BYTES], root[HASH_HEX_BYTES], roster[HASH_HEX_BYTES], day[32];
    time_t expires = (time_t)head->expires;
    struct tm tm;
    hex_encode(head->fleet, 32, fleet);
    hex_encode(head->root, HASH_BYTES, root);
    hex_encode(head->roster, HASH_BYTES, roster);
    strftime(day, sizeof(day), "%Y-%m-%d", gmtime_r(&expires, &tm));
    printf("  release %" PRIu64 ", epoch %" PRIu64 ", of fleet %.8s…: %" PRIu64
           " nodes, expires %s, ",
        head->release, head->epoch, fleet, head->tickets, day);
    if (head->fallback_floor) {
        printf("no way back below release %" PRIu64 "\n", head->fallback_floor);
    } else {
        printf("nodes may go back\n");
    }
    printf("  tickets %.16s…, roster %.16s…\n", root, roster);
}

// ---- for people ----

static void print_change(const struct plan *plan, size_t i)
{
    static const char *const reboots[] = {[REBOOT_NO] = "",
        [REBOOT_LIKELY] = "  reboot likely",
        [REBOOT_UNKNOWN] = "  reboot unknown"};
    const struct change *change = &plan->deployment->changes[i];
    CLEANUP(buf_clear) struct buf line = {0};
    buf_printf(
        &line, "%-*s  %-9s", plan->name_width, change->node->name, change_kind_word(change->kind));
    if (change->kind == CHANGE_NEW || change->kind == CHANGE_REBUILD) {
        buf_append_text(&line, "  ");
        if (change->kind == CHANGE_REBUILD) {
            parcel_path(change->before.expected, &line);
            buf_append_text(&line, " → ");
        }
        parcel_path(change->after.expected, &line);
    } else if (change->kind == CHANGE_SYNC) {
        buf_append_text(&line, "  ");
        parcel_path(change->after.expected, &line);
    } else if (change->kind == CHANGE_FAILED) {
        buf_printf(&line, "  keeps what it had: %s", change->parcel->failure.text);
    }
    printf("%s%s\n", buf_text(&line), reboots[plan->reboots[i]]);
}

static void print_missing(const struct plan *plan)
{
    const struct missing *missing = plan->missing;
    char total[32];
    bytes_text(missing->bytes, total);
    printf("to send: %zu of %zu blobs, %s\n", missing->count, missing->needed, total);
    for (size_t i = 0; i < missing->count; i++) {
        const struct missing_blob *blob = &missing->list[i];
        CLEANUP(buf_clear) struct buf owner = {0};
        char hash[HASH_HEX_BYTES], size[32];
        hex_encode(blob->hash, HASH_BYTES, hash);
        bytes_text(blob->bytes, size);
        deployment_blob_owner(plan->deployment, blob->hash, &owner);
        printf("  %.8s…  %9s  %s\n", hash, blob->bytes ? size : "not here", buf_text(&owner));
    }
}

static void print_heads(const struct plan *plan)
{
    printf("to sign (number, expiry and nonce are chosen again then):\n");
    for (size_t i = 0; i < plan->waves->count; i++) {
        CLEANUP(buf_clear) struct buf names = {0};
        const struct wave *wave = &plan->waves->list[i];
        name_hosts(plan->deployment->fleet, wave->members, NAMES_SHOWN, &names);
        if (plan->waves->count > 1) {
            printf("wave %zu of %zu, %s: %s\n", i + 1, plan->waves->count, wave->title,
                buf_text(&names));
        }
        plan_print_head(&plan->drafts[i].head);
    }
}

void plan_print(const struct plan *plan)
{
    CLEANUP(buf_clear) struct buf total = {0};
    for (size_t i = 0; i < plan->deployment->count; i++) {
        print_change(plan, i);
    }
    for (size_t i = 0; i < plan->deployment->removed_count; i++) {
        struct bytes name = plan->deployment->removed[i];
        printf("%-*.*s  removed\n", plan->name_width, (int)name.len, (const char *)name.at);
    }
    plan_total(plan->deployment, &total);
    printf("plan: %s\n", buf_text(&total));
    print_missing(plan);
    print_heads(plan);
}

// ---- for programs ----

static json_t *wave_of(const struct plan *plan, size_t node)
{
    for (size_t i = 0; i < plan->waves->count; i++) {
        if (plan->waves->list[i].members[node]) {
            return json_number(i + 1);
        }
    }
    return json_null();
}

static json_t *change_json(const struct plan *plan, size_t i)
{
    const struct change *change = &plan->deployment->changes[i];
    bool failed = change->kind == CHANGE_FAILED;
    json_t *object = json_object();
    json_put(object, "name", json_string(change->node->name));
    json_put(object, "change", json_string(change_kind_word(change->kind)));
    json_put(object, "from", json_text_or_null(change->before.expected));
    json_put(object, "to", json_text_or_null(change->after.expected));
    json_put(object, "reboot",
        plan->reboots[i] == REBOOT_UNKNOWN ? json_null()
                                           : json_boolean(plan->reboots[i] == REBOOT_LIKELY));
    json_put(object, "wave", change_is_news(change->kind) ? wave_of(plan, i) : json_null());
    json_put(object, "error", failed ? json_string(change->parcel->failure.text) : json_null());
    return object;
}

static json_t *blob_json(const struct plan *plan, const struct missing_blob *blob)
{
    CLEANUP(buf_clear) struct buf owner = {0};
    json_t *object = json_object();
    deployment_blob_owner(plan->deployment, blob->hash, &owner);
    json_put(object, "hash", json_hash(blob->hash));
    json_put(object, "bytes", blob->bytes ? json_number(blob->bytes) : json_null());
    json_put(object, "for", json_string(buf_text(&owner)));
    return object;
}

static json_t *head_json(const struct plan *plan, size_t wave)
{
    const struct head *head = &plan->drafts[wave].head;
    json_t *object = json_object(), *hosts = json_array();
    for (size_t i = 0; i < plan->deployment->count; i++) {
        if (plan->waves->list[wave].members[i]) {
            json_add(hosts, json_string(plan->deployment->changes[i].node->name));
        }
    }
    json_put(object, "hosts", hosts);
    json_put(object, "fleet", json_hash(head->fleet));
    json_put(object, "epoch", json_number(head->epoch));
    json_put(object, "release", json_number(head->release));
    json_put(object, "expires", json_number(head->expires));
    json_put(object, "fallback_floor", json_number(head->fallback_floor));
    json_put(object, "tickets", json_number(head->tickets));
    json_put(object, "root", json_hash(head->root));
    json_put(object, "roster", json_hash(head->roster));
    return object;
}

void plan_print_json(const struct plan *plan, FILE *out)
{
    const struct deployment *deployment = plan->deployment;
    CLEANUP_JSON *root = json_object();
    CLEANUP(buf_clear) struct buf text = {0};
    json_t *nodes = json_array(), *removed = json_array(), *blobs = json_array(),
           *heads = json_array();
    for (size_t i = 0; i < deployment->count; i++) {
        json_add(nodes, change_json(plan, i));
    }
    for (size_t i = 0; i < deployment->removed_count; i++) {
        json_add(removed, json_text_or_null(deployment->removed[i]));
    }
    for (size_t i = 0; i < plan->missing->count; i++) {
        json_add(blobs, blob_json(plan, &plan->missing->list[i]));
    }
    for (size_t i = 0; i < plan->waves->count; i++) {
        json_add(heads, head_json(plan, i));
    }
    json_put(root, "nodes", nodes);
    json_put(root, "removed", removed);
    json_put(root, "blobs", blobs);
    json_put(root, "bytes", json_number(plan->missing->bytes));
    json_put(root, "heads", heads);
    json_text(root, &text);
    fputs(buf_text(&text), out);
}
