#include "draft.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define DAY_SECONDS 86400u

bool entry_of_release(const struct release *release, const struct fleet_node *node,
    const char *directory, struct entry *entry)
{
    const struct roster_node *old = release ? roster_find(&release->roster, node->node_id) : NULL;
    *entry = (struct entry){.node = node, .directory = bytes_of_text(directory)};
    memcpy(entry->ticket.node_id, node->node_id, HASH_BYTES);
    if (!old) {
        return false;
    }
    entry->ticket = release->tickets[old - release->roster.nodes];
    entry->expected = old->expected;
    entry->directory = old->directory;
    entry->has_tree = old->has_tree;
    memcpy(entry->tree_hash, old->tree_hash, HASH_BYTES);
    return true;
}

bool ticket_same(const struct ticket *a, const struct ticket *b)
{
    return a->ct_len == b->ct_len && !memcmp(a->node_id, b->node_id, HASH_BYTES) &&
           !memcmp(a->ct_hash, b->ct_hash, HASH_BYTES) &&
           !memcmp(a->sealed, b->sealed, SEALED_KEY_BYTES);
}

// ---- head ----

static bool follow_previous(
    const struct head *previous, uint64_t now_s, struct head *head, struct err *e)
{
    if (previous->epoch > head->epoch) {
        return err_set(e, CODE_EPOCH,
            "the broker's release is of epoch %" PRIu64 ", fleet.nix says %" PRIu64,
            previous->epoch, head->epoch);
    }
    if (previous->epoch < head->epoch) {
        return true;
    }
    head->fallback_floor = previous->fallback_floor;
    if (previous->release > now_s + DAY_SECONDS) {
        return err_set(e, CODE_CONFIG,
            "the broker's release %" PRIu64
            " lies more than a day in the future: is this machine's clock right?",
            previous->release);
    }
    if (previous->release >= now_s) {
        head->release = previous->release + 1;
    }
    return true;
}

static bool number_head(const struct numbering *numbering, struct head *head, struct err *e)
{
    const struct fleet *fleet = numbering->fleet;
    memcpy(head->fleet, fleet->trust.fleet, sizeof(head->fleet));
    head->epoch = fleet->epoch;
    head->release = numbering->now_s;
    if (numbering->previous && !follow_previous(numbering->previous, numbering->now_s, head, e)) {
        return false;
    }
    head->expires = numbering->now_s + fleet->expires_days * DAY_SECONDS;
    if (head->expires <= head->release) {
        head->expires = head->release + DAY_SECONDS;
    }
    if (numbering->no_fallback) {
        head->fallback_floor = head->release;
    }
    randombytes_buf(head->nonce, sizeof(head->nonce));
    return true;
}

// ---- what it covers ----

static bool write_roster(
    const struct entry *entries, size_t count, struct buf *message, struct err *e)
{
    struct roster roster = {.count = count, .nodes = xcalloc(count, sizeof(*roster.nodes))};
    for (size_t i = 0; i < count; i++) {
        const struct fleet_node *node = entries[i].node;
        struct roster_node *line = &roster.nodes[i];
        memcpy(line->node_id, node->node_id, HASH_BYTES);
        line->name = bytes_of_text(node->name);
        line->tag_count = node->tag_count;
        for (size_t j = 0; j < node->tag_count; j++) {
            line->tags[j] = bytes_of_text(node->tags[j]);
        }
        line->expected = entries[i].expected;
        line->directory = entries[i].directory;
        line->has_tree = entries[i].has_tree;
        memcpy(line->tree_hash, entries[i].tree_hash, HASH_BYTES);
    }
    bool ok = roster_encode(&roster, message, e);
    free(roster.nodes);
    return ok;
}

static int compare_entries(const void *a, const void *b)
{
    const struct entry *const *left = a, *const *right = b;
    return memcmp((*left)->ticket.node_id, (*right)->ticket.node_id, HASH_BYTES);
}

static void write_tickets(const struct entry *entries, struct draft *draft)
{
    const struct entry **order = xcalloc(draft->count, sizeof(struct entry *));
    merkle_hash *leaves = xcalloc(draft->count, sizeof(*leaves));
    draft->tickets = xcalloc(draft->count, sizeof(*draft->tickets));
    for (size_t i = 0; i < draft->count; i++) {
        order[i] = &entries[i];
    }
    qsort(order, draft->count, sizeof(struct entry *), compare_entries);
    for (size_t i = 0; i < draft->count; i++) {
        ticket_encode(&order[i]->ticket, &draft->tickets[i]);
        merkle_leaf(buf_bytes(&draft->tickets[i]), leaves[i]);
    }
    draft->head.tickets = draft->count;
    merkle_root(leaves, draft->count, draft->head.root);
    free(leaves);
    free(order);
}

static int compare_hashes(const void *a, const void *b)
{
    return memcmp(a, b, HASH_BYTES);
}

size_t hashes_distinct(merkle_hash *hashes, size_t count)
{
    size_t distinct = 0;
    qsort(hashes, count, HASH_BYTES, compare_hashes);
    for (size_t i = 0; i < count; i++) {
        if (!distinct || memcmp(hashes[distinct - 1], hashes[i], HASH_BYTES) != 0) {
            memmove(hashes[distinct++], hashes[i], HASH_BYTES);
        }
    }
    return distinct;
}

static void list_blobs(const struct entry *entries, struct draft *draft)
{
    draft->blobs = xcalloc(2 * draft->count + 1, sizeof(*draft->blobs));
    size_t all = 0;
    for (size_t i = 0; i < draft->count; i++) {
        if (entries[i].ticket.ct_len) {
            memcpy(draft->blobs[all++], entries[i].ticket.ct_hash, HASH_BYTES);
        }
        if (entries[i].has_tree) {
            memcpy(draft->blobs[all++], entries[i].tree_hash, HASH_BYTES);
        }
    }
    draft->blob_count = hashes_distinct(draft->blobs, all);
}

bool draft_make(const struct numbering *numbering, const struct entry *entries, size_t count,
    struct draft *draft, struct err *e)
{
    *draft = (struct draft){0};
    if (!count) {
        return err_set(e, CODE_CONFIG, "the fleet has no nodes yet: run `bento add-host NAME`");
    }
    if (!number_head(numbering, &draft->head, e) ||
        !write_roster(entries, count, &draft->roster, e)) {
        draft_clear(draft);
        return false;
    }
    draft->count = count;
    write_tickets(entries, draft);
    list_blobs(entries, draft);
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
    free(draft->blobs);
    *draft = (struct draft){0};
}
