#include "change.h"

#include <stdlib.h>
#include <string.h>

#define CHANGE_KIND_WORD(name, word) word,
static const char *const words[] = {CHANGE_KINDS(CHANGE_KIND_WORD)};
#undef CHANGE_KIND_WORD

const char *change_kind_word(enum change_kind kind)
{
    return words[kind];
}

enum change_kind change_kind_of(const struct entry *before, const struct entry *after)
{
    if (ticket_same(&before->ticket, &after->ticket)) {
        return CHANGE_UNCHANGED;
    }
    if (!before->ticket.ct_len) {
        return CHANGE_NEW;
    }
    return after->expected.len && bytes_equal(before->expected, after->expected) ? CHANGE_SYNC
                                                                                 : CHANGE_REBUILD;
}

bool change_is_news(enum change_kind kind)
{
    return kind == CHANGE_NEW || kind == CHANGE_REBUILD || kind == CHANGE_SYNC;
}

static bool is_in_fleet(const struct fleet *fleet, const uint8_t node_id[HASH_BYTES])
{
    for (size_t i = 0; i < fleet->node_count; i++) {
        if (!memcmp(fleet->nodes[i].node_id, node_id, HASH_BYTES)) {
            return true;
        }
    }
    return false;
}

static void open_deployment(
    const struct fleet *fleet, const struct release *before, struct deployment *deployment)
{
    *deployment = (struct deployment){.fleet = fleet,
        .count = fleet->node_count,
        .changes = xcalloc(fleet->node_count + 1, sizeof(*deployment->changes))};
    size_t had = before ? before->roster.count : 0;
    deployment->removed = xcalloc(had + 1, sizeof(*deployment->removed));
    for (size_t i = 0; i < had; i++) {
        const struct roster_node *node = &before->roster.nodes[i];
        if (!is_in_fleet(fleet, node->node_id)) {
            deployment->removed[deployment->removed_count++] = node->name;
        }
    }
}

static enum change_kind kind_of_outcome(const struct parcel *parcel, const struct change *change)
{
    switch (parcel->outcome) {
    case OUTCOME_KEPT:
        return CHANGE_KEPT;
    case OUTCOME_FAILED:
        return CHANGE_FAILED;
    case OUTCOME_BUILT:
    case OUTCOME_UNCHANGED:
    case OUTCOME_CHANGED:
        break;
    }
    return change_kind_of(&change->before, &change->after);
}

static struct entry entry_of_parcel(const struct parcel *parcel)
{
    struct entry entry = {.node = parcel->host->node,
        .ticket = parcel->ticket,
        .expected = buf_bytes(&parcel->expected),
        .directory = buf_bytes(&parcel->directory),
        .has_tree = parcel->has_tree};
    memcpy(entry.tree_hash, parcel->tree_hash, HASH_BYTES);
    return entry;
}

void deployment_of_parcels(
    const struct assembly *assembly, const struct release *before, struct deployment *deployment)
{
    open_deployment(assembly->fleet, before, deployment);
    for (size_t i = 0; i < deployment->count; i++) {
        const struct parcel *parcel = &assembly->parcels[i];
        struct change *change = &deployment->changes[i];
        change->node = parcel->host->node;
        change->parcel = parcel;
        change->system = parcel->system.out;
        change->after = entry_of_parcel(parcel);
        entry_of_release(before, change->node, parcel->host->folder->name, &change->before);
        change->kind = kind_of_outcome(parcel, change);
    }
}

// Where a node that no release knows has its files; only people read it.
static const char *directory_of(const struct fleet_node *node)
{
    return node->directory ? node->directory : node->name;
}

void deployment_of_release(const struct fleet *fleet, bool *chosen, const struct release *old,
    const struct release *before, struct deployment *deployment)
{
    open_deployment(fleet, before, deployment);
    for (size_t i = 0; i < deployment->count; i++) {
        const struct fleet_node *node = &fleet->nodes[i];
        struct change *change = &deployment->changes[i];
        change->node = node;
        entry_of_release(before, node, directory_of(node), &change->before);
        chosen[i] = chosen[i] && entry_of_release(old, node, directory_of(node), &change->after) &&
                    change->after.ticket.ct_len;
        if (!chosen[i]) {
            change->after = change->before;
        }
        change->kind = chosen[i] ? change_kind_of(&change->before, &change->after) : CHANGE_KEPT;
    }
}

void deployment_clear(struct deployment *deployment)
{
    free(deployment->changes);
    free(deployment->removed);
    *deployment = (struct deployment){0};
}

size_t deployment_count(const struct deployment *deployment, enum change_kind kind)
{
    size_t count = 0;
    for (size_t i = 0; i < deployment->count; i++) {
        count += deployment->changes[i].kind == kind;
    }
    return count;
}

bool deployment_has_news(const struct deployment *deployment, const bool *members)
{
    for (size_t i = 0; i < deployment->count; i++) {
        if (members[i] && change_is_news(deployment->changes[i].kind)) {
            return true;
        }
    }
    return false;
}

void deployment_entries(const struct deployment *deployment, const struct waves *waves,
    size_t wave_count, struct entry *entries)
{
    for (size_t i = 0; i < deployment->count; i++) {
        entries[i] = deployment->changes[i].before;
    }
    for (size_t wave = 0; wave < wave_count; wave++) {
        for (size_t i = 0; i < deployment->count; i++) {
            if (waves->list[wave].members[i]) {
                entries[i] = deployment->changes[i].after;
            }
        }
    }
}

void deployment_hold(struct deployment *deployment, const bool *members)
{
    for (size_t i = 0; i < deployment->count; i++) {
        if (members[i]) {
            deployment->changes[i].after = deployment->changes[i].before;
            deployment->changes[i].kind = CHANGE_KEPT;
        }
    }
}

static bool names_blob(const struct entry *entry, const uint8_t *hash, struct buf *out)
{
    if (entry->ticket.ct_len && !memcmp(entry->ticket.ct_hash, hash, HASH_BYTES)) {
        buf_printf(out, "configuration of %s", entry->node->name);
        return true;
    }
    if (entry->has_tree && !memcmp(entry->tree_hash, hash, HASH_BYTES)) {
        buf_printf(out, "files of hosts/%.*s", (int)entry->directory.len,
            (const char *)entry->directory.at);
        return true;
    }
    return false;
}

bool deployment_blob_owner(
    const struct deployment *deployment, const uint8_t hash[HASH_BYTES], struct buf *out)
{
    for (size_t i = 0; i < deployment->count; i++) {
        const struct change *change = &deployment->changes[i];
        if (names_blob(&change->after, hash, out) || names_blob(&change->before, hash, out)) {
            return true;
        }
    }
    return false;
}
