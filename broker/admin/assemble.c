#include "assemble.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define DAY_SECONDS 86400u

static bool number_release(
    const struct assembly *assembly, uint64_t now_s, struct head *head, struct err *e)
{
    const struct fleet *fleet = assembly->fleet;
    const struct release *previous = assembly->previous;
    memcpy(head->fleet, fleet->trust.fleet, sizeof(head->fleet));
    head->epoch = fleet->epoch;
    head->release = now_s;
    if (previous && previous->head.epoch > fleet->epoch) {
        return err_set(e, CODE_EPOCH,
            "the broker's release is of epoch %" PRIu64 ", fleet.nix says %" PRIu64,
            previous->head.epoch, fleet->epoch);
    }
    if (previous && previous->head.epoch == fleet->epoch) {
        head->fallback_floor =
            previous->head.fallback_floor; // a promise that the next release does not take back
        if (previous->head.release > now_s + DAY_SECONDS) {
            return err_set(e, CODE_CONFIG,
                "the broker's release %" PRIu64
                " lies more than a day in the future: is this machine's clock right?",
                previous->head.release);
        }
        if (previous->head.release >= now_s) {
            head->release = previous->head.release + 1;
        }
    }
    head->expires = now_s + fleet->expires_days * DAY_SECONDS;
    if (head->expires <= head->release) {
        head->expires = head->release + DAY_SECONDS;
    }
    if (assembly->no_fallback) {
        head->fallback_floor = head->release;
    }
    randombytes_buf(head->nonce, sizeof(head->nonce));
    return true;
}

static bool write_roster(const struct assembly *assembly, struct buf *message, struct err *e)
{
    struct roster roster = {
        .count = assembly->count, .nodes = xcalloc(assembly->count, sizeof(*roster.nodes))};
    for (size_t i = 0; i < assembly->count; i++) {
        const struct parcel *parcel = &assembly->parcels[i];
        const struct fleet_node *node = parcel->host->node;
        struct roster_node *entry = &roster.nodes[i];
        memcpy(entry->node_id, node->node_id, HASH_BYTES);
        entry->name = bytes_of_text(node->name);
        entry->tag_count = node->tag_count;
        for (size_t j = 0; j < node->tag_count; j++) {
            entry->tags[j] = bytes_of_text(node->tags[j]);
        }
        entry->expected = buf_bytes(&parcel->expected);
        entry->directory = buf_bytes(&parcel->directory);
        entry->has_tree = parcel->has_tree;
        memcpy(entry->tree_hash, parcel->tree_hash, HASH_BYTES);
    }
    bool ok = roster_encode(&roster, message, e);
    free(roster.nodes);
    return ok;
}

static int compare_parcels(const void *a, const void *b)
{
    const struct parcel *const *left = a, *const *right = b;
    return memcmp((*left)->ticket.node_id, (*right)->ticket.node_id, HASH_BYTES);
}

static void write_tickets(const struct assembly *assembly, struct draft *draft)
{
    const struct parcel **order = xcalloc(assembly->count, sizeof(struct parcel *));
    merkle_hash *leaves = xcalloc(assembly->count, sizeof(*leaves));
    draft->count = assembly->count;
    draft->tickets = xcalloc(assembly->count, sizeof(*draft->tickets));
    for (size_t i = 0; i < assembly->count; i++) {
        order[i] = &assembly->parcels[i];
    }
    qsort(order, assembly->count, sizeof(struct parcel *), compare_parcels);
    for (size_t i = 0; i < assembly->count; i++) {
        ticket_encode(&order[i]->ticket, &draft->tickets[i]);
        merkle_leaf(buf_bytes(&draft->tickets[i]), leaves[i]);
    }
    draft->head.tickets = assembly->count;
    merkle_root(leaves, assembly->count, draft->head.root);
    free(leaves);
    free(order);
}

bool assemble_draft(
    const struct assembly *assembly, uint64_t now_s, struct draft *draft, struct err *e)
{
    *draft = (struct draft){0};
    if (!assembly->count) {
        return err_set(e, CODE_CONFIG, "the fleet has no nodes yet: run `bento add-host NAME`");
    }
    if (!number_release(assembly, now_s, &draft->head, e) ||
        !write_roster(assembly, &draft->roster, e)) {
        draft_clear(draft);
        return false;
    }
    write_tickets(assembly, draft);
    sha256(buf_bytes(&draft->roster), draft->head.roster);
    head_encode(&draft->head, &draft->head_message);
    return true;
}

void draft_clear(struct draft *draft)
{
    buf_clear(&draft->head_message);
    buf_clear(&draft->roster);
    for (size_t i = 0; i < draft->count; i++) {
        buf_clear(&draft->tickets[i]);
    }
    free(draft->tickets);
    *draft = (struct draft){0};
}
