#include "release.h"

#include <stdlib.h>
#include <string.h>

static bool open_roster(
    struct bytes message, const struct head *head, struct roster *roster, struct err *e)
{
    if (message.len > ROSTER_BYTES_MAX)
        return err_set(e, CODE_LENGTH, "roster: %zu bytes are too many", message.len);
    uint8_t hash[HASH_BYTES];
    sha256(message, hash);
    if (memcmp(hash, head->roster, HASH_BYTES) != 0)
        return err_set(e, CODE_HASH, "the roster is not the signed one");
    return roster_decode(message, roster, e);
}

static bool open_tickets(const struct bytes *messages, const struct roster *roster,
    struct ticket *tickets, struct err *e)
{
    for (size_t i = 0; i < roster->count; i++) {
        const struct roster_node *node = &roster->nodes[i];
        if (!ticket_decode(messages[i], &tickets[i], e))
            return err_wrap(e, "ticket of %.*s", (int)node->name.len, (const char *)node->name.at);
        if (memcmp(tickets[i].node_id, node->node_id, HASH_BYTES) != 0)
            return err_set(e, CODE_NOTMINE, "the ticket of %.*s is another node's",
                (int)node->name.len, (const char *)node->name.at);
    }
    return true;
}

static bool check_root(
    const struct bytes *messages, size_t count, const struct head *head, struct err *e)
{
    merkle_hash *leaves = xcalloc(count, sizeof(merkle_hash)), root;
    for (size_t i = 0; i < count; i++)
        merkle_leaf(messages[i], leaves[i]);
    merkle_root((const merkle_hash *)leaves, count, root);
    free(leaves);
    if (memcmp(root, head->root, HASH_BYTES) != 0)
        return err_set(e, CODE_PATH, "the tickets are not those that were signed");
    return true;
}

static bool check_lengths(const struct ticket *tickets, size_t count, struct err *e)
{
    for (size_t i = 0; i < count; i++) {
        if (tickets[i].ct_len > BLOB_BYTES_MAX)
            return err_set(e, CODE_LENGTH, "ticket %zu names a blob that is too long", i + 1);
    }
    return true;
}

bool release_verify(const struct trust *trust, struct bytes envelope, struct bytes roster,
    const struct bytes *tickets, size_t ticket_count, struct release *release, struct err *e)
{
    struct release found = {0};
    if (!trust_verify(trust, envelope, &found.head, found.head_hash, e) ||
        !open_roster(roster, &found.head, &found.roster, e))
        return false;
    if (ticket_count != found.head.tickets || found.roster.count != found.head.tickets) {
        err_set(e, CODE_LENGTH, "the head promises %llu tickets; %zu are here, for %zu nodes",
            (unsigned long long)found.head.tickets, ticket_count, found.roster.count);
        release_clear(&found);
        return false;
    }
    found.tickets = xcalloc(ticket_count, sizeof(found.tickets[0]));
    if (!open_tickets(tickets, &found.roster, found.tickets, e) ||
        !check_root(tickets, ticket_count, &found.head, e) ||
        !check_lengths(found.tickets, ticket_count, e)) {
        release_clear(&found);
        return false;
    }
    *release = found;
    return true;
}

void release_clear(struct release *release)
{
    roster_clear(&release->roster);
    free(release->tickets);
    *release = (struct release){0};
}

static int compare_hashes(const void *a, const void *b)
{
    return memcmp(a, b, HASH_BYTES);
}

merkle_hash *release_blobs(const struct release *release, size_t *count)
{
    size_t nodes = release->roster.count, all = 0, distinct = 0;
    merkle_hash *hashes = xcalloc(2 * nodes, sizeof(merkle_hash));
    for (size_t i = 0; i < nodes; i++) {
        if (release->tickets[i].ct_len != 0)
            memcpy(hashes[all++], release->tickets[i].ct_hash, HASH_BYTES);
        if (release->roster.nodes[i].has_tree)
            memcpy(hashes[all++], release->roster.nodes[i].tree_hash, HASH_BYTES);
    }
    if (all != 0)
        qsort(hashes, all, sizeof(merkle_hash), compare_hashes);
    for (size_t i = 0; i < all; i++) {
        if (distinct == 0 || memcmp(hashes[distinct - 1], hashes[i], HASH_BYTES) != 0)
            memmove(hashes[distinct++], hashes[i], HASH_BYTES);
    }
    *count = distinct;
    return hashes;
}
