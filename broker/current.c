#include "current.h"

#include "release.h"

#include <stdlib.h>
#include <string.h>

bool tickets_split(struct bytes message, struct bytes **tickets, size_t *count, struct err *e)
{
    struct wire_in in = wire_in(message);
    size_t n = wire_array(&in, 0, TICKETS_MAX);
    // Nothing is allocated for elements that cannot be there.
    wire_require(&in, n <= message.len, "tickets are missing");
    if (in.fault)
        return wire_end(&in, "tickets", e);
    struct bytes *list = xcalloc(n + 1, sizeof *list);
    for (size_t i = 0; i < n; i++)
        list[i] = wire_bin(&in, 0, PROVEN_BYTES_MAX);
    if (!wire_end(&in, "tickets", e)) {
        free(list);
        return false;
    }
    *tickets = list;
    *count = n;
    return true;
}

// Level by level; the last of an odd number goes up as it is. That is RFC 9162's tree.
static void build_levels(struct current *c)
{
    size_t n = c->roster.count;
    c->levels[0] = xcalloc(n, sizeof(merkle_hash));
    c->counts[0] = n;
    for (size_t i = 0; i < n; i++)
        merkle_leaf(c->tickets[i], c->levels[0][i]);
    for (c->level_count = 1; n > 1; c->level_count++) {
        const merkle_hash *below = c->levels[c->level_count - 1];
        size_t above = (n + 1) / 2;
        merkle_hash *level = xcalloc(above, sizeof(merkle_hash));
        // The root over one or two hashes is what an inner node is made of them.
        for (size_t i = 0; i < above; i++)
            merkle_root(&below[2 * i], 2 * i + 1 < n ? 2 : 1, level[i]);
        c->levels[c->level_count] = level;
        c->counts[c->level_count] = n = above;
    }
}

static bool check_tickets(const struct current *c, struct err *e)
{
    for (size_t i = 0; i < c->roster.count; i++) {
        struct ticket ticket;
        if (!ticket_decode(c->tickets[i], &ticket, e))
            return false;
        if (memcmp(ticket.node_id, c->roster.nodes[i].node_id, HASH_BYTES) != 0)
            return err_set(e, CODE_NOTMINE, "ticket %zu is not of the node at its place", i);
    }
    return true;
}

static bool open_parts(struct current *c, struct err *e)
{
    struct envelope envelope;
    size_t count = 0;
    if (!envelope_decode(c->envelope, &envelope, e) || !head_decode(envelope.head, &c->head, e) ||
        !roster_decode(buf_bytes(&c->raw.roster), &c->roster, e))
        return false;
    sha256(envelope.head, c->head_hash);
    if (!tickets_split(buf_bytes(&c->raw.tickets), &c->tickets, &count, e))
        return false;
    if (count == 0 || count != c->roster.count || count != c->head.tickets)
        return err_set(e, CODE_LENGTH, "head, roster and tickets do not belong together");
    if (!check_tickets(c, e))
        return false;
    build_levels(c);
    if (memcmp(c->levels[c->level_count - 1][0], c->head.root, HASH_BYTES) != 0)
        return err_set(e, CODE_PATH, "the tickets are not those of this head");
    return true;
}

bool current_open(struct current *current, struct store_release *raw, struct err *e)
{
    struct current c = {.present = true, .raw = *raw, .envelope = buf_bytes(&raw->envelope)};
    if (!open_parts(&c, e)) {
        c.raw = (struct store_release){0};
        current_clear(&c);
        return false;
    }
    *raw = (struct store_release){0};
    *current = c;
    return true;
}

bool current_load(struct current *current, struct store *store, struct err *e)
{
    CLEANUP(store_release_clear) struct store_release raw = {0};
    if (!store_newest(store, &raw, e)) {
        *current = (struct current){0};
        return e->code == CODE_NONE;
    }
    return current_open(current, &raw, e) ||
           err_wrap(e, "the newest release in " STORE_FILE " is damaged, restore a backup");
}

void current_clear(struct current *current)
{
    roster_clear(&current->roster);
    free(current->tickets);
    for (unsigned i = 0; i < current->level_count; i++)
        free(current->levels[i]);
    store_release_clear(&current->raw);
    *current = (struct current){0};
}

void current_proven(const struct current *current, size_t index, struct proven *proven)
{
    ASSERT(current->present && index < current->roster.count);
    *proven = (struct proven){.ticket = current->tickets[index], .index = index};
    for (unsigned level = 0; level + 1 < current->level_count; level++, index /= 2) {
        size_t sibling = index ^ 1;
        if (sibling < current->counts[level])
            memcpy(proven->path[proven->path_len++], current->levels[level][sibling], HASH_BYTES);
    }
}

bool current_find(const struct current *current, const uint8_t node_id[HASH_BYTES], size_t *index)
{
    const struct roster_node *node =
        current->present ? roster_find(&current->roster, node_id) : NULL;
    if (node)
        *index = (size_t)(node - current->roster.nodes);
    return node;
}

merkle_hash *current_blobs(const struct current *current, size_t *count)
{
    struct release release = {.head = current->head, .roster = current->roster};
    release.tickets = xcalloc(current->roster.count + 1, sizeof *release.tickets);
    for (size_t i = 0; i < current->roster.count; i++) {
        struct err e;
        bool ok = ticket_decode(current->tickets[i], &release.tickets[i], &e);
        ASSERT(ok); // current_open() decoded them all
    }
    merkle_hash *blobs = release_blobs(&release, count);
    free(release.tickets);
    return blobs;
}
