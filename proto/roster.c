#include "roster.h"

#include <stdlib.h>
#include <string.h>

#define TYPE_ROSTER "bento-roster"
#define NODE_BYTES_MIN 40u // encoded: a node_id alone takes 34

bool name_is_clean(struct bytes name)
{
    if (name.len == 0 || name.len > NAME_BYTES_MAX)
        return false;
    for (size_t i = 0; i < name.len; i++) {
        uint8_t c = name.at[i];
        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-')
            return false;
    }
    return true;
}

static int compare_nodes(const void *a, const void *b)
{
    return memcmp(((const struct roster_node *)a)->node_id,
        ((const struct roster_node *)b)->node_id, HASH_BYTES);
}

static int compare_names(const void *a, const void *b)
{
    return bytes_compare(*(const struct bytes *)a, *(const struct bytes *)b);
}

static bool names_are_unique(const struct roster *roster)
{
    struct bytes *names = xcalloc(roster->count, sizeof(names[0]));
    for (size_t i = 0; i < roster->count; i++)
        names[i] = roster->nodes[i].name;
    if (roster->count != 0)
        qsort(names, roster->count, sizeof(names[0]), compare_names);
    bool unique = true;
    for (size_t i = 1; i < roster->count; i++)
        unique = unique && !bytes_equal(names[i - 1], names[i]);
    free(names);
    return unique;
}

static void put_node(const struct roster_node *node, struct buf *out)
{
    ASSERT(node->tag_count <= TAGS_MAX);
    wire_put_array(out, 6);
    wire_put_hash(out, node->node_id);
    wire_put_str(out, node->name);
    wire_put_array(out, node->tag_count);
    for (size_t i = 0; i < node->tag_count; i++)
        wire_put_str(out, node->tags[i]);
    if (node->expected.len != 0)
        wire_put_str(out, node->expected);
    else
        wire_put_nil(out);
    wire_put_str(out, node->directory);
    if (node->has_tree)
        wire_put_hash(out, node->tree_hash);
    else
        wire_put_nil(out);
}

static void take_node(struct wire_in *in, struct roster_node *node)
{
    wire_array(in, 6, 6);
    wire_bin_copy(in, node->node_id, sizeof(node->node_id));
    node->name = wire_str(in, NAME_BYTES_MAX);
    wire_require(in, name_is_clean(node->name), "a name is not [a-z0-9-]{1,63}");
    node->tag_count = wire_array(in, 0, TAGS_MAX);
    for (size_t i = 0; i < node->tag_count; i++) {
        node->tags[i] = wire_str(in, NAME_BYTES_MAX);
        wire_require(in, name_is_clean(node->tags[i]), "a tag is not [a-z0-9-]{1,63}");
        wire_require(in, i == 0 || bytes_compare(node->tags[i - 1], node->tags[i]) < 0,
            "the tags are not strictly ascending");
    }
    if (!wire_nil(in)) {
        node->expected = wire_str(in, STORE_PATH_BYTES_MAX);
        wire_require(in, node->expected.len != 0, "an empty expected path");
    }
    node->directory = wire_str(in, TREE_PATH_BYTES_MAX);
    node->has_tree = !wire_nil(in);
    if (node->has_tree)
        wire_bin_copy(in, node->tree_hash, sizeof(node->tree_hash));
}

bool roster_encode(struct roster *roster, struct buf *out, struct err *e)
{
    struct buf message = {0};
    if (roster->count != 0)
        qsort(roster->nodes, roster->count, sizeof(roster->nodes[0]), compare_nodes);
    wire_put_open(&message, 3, TYPE_ROSTER);
    wire_put_array(&message, roster->count);
    for (size_t i = 0; i < roster->count; i++)
        put_node(&roster->nodes[i], &message);

    // The rules stand in one place only, the decoder.
    struct roster again;
    bool ok = roster_decode(buf_bytes(&message), &again, e);
    if (ok) {
        roster_clear(&again);
        buf_append(out, message.at, message.len);
    }
    buf_clear(&message);
    return ok;
}

bool roster_decode(struct bytes message, struct roster *roster, struct err *e)
{
    if (message.len > ROSTER_BYTES_MAX)
        return err_set(e, CODE_LENGTH, "roster: %zu bytes are too many", message.len);
    struct wire_in in = wire_in(message);
    struct roster found = {0};
    wire_open(&in, 3, TYPE_ROSTER);
    found.count = wire_array(&in, 0, TICKETS_MAX);
    // Before the allocation: a node is large here, and a message should not claim more of them than
    // it has bytes for.
    wire_require(&in, found.count <= in.rest.len / NODE_BYTES_MIN, "ends too early");
    if (in.fault != NULL)
        found.count = 0;
    found.nodes = xcalloc(found.count, sizeof(found.nodes[0]));
    for (size_t i = 0; i < found.count && in.fault == NULL; i++) {
        take_node(&in, &found.nodes[i]);
        wire_require(&in, i == 0 || compare_nodes(&found.nodes[i - 1], &found.nodes[i]) < 0,
            "the nodes are not strictly ascending");
    }
    wire_require(&in, in.fault != NULL || names_are_unique(&found), "two nodes have one name");
    if (!wire_end(&in, "roster", e)) {
        roster_clear(&found);
        return false;
    }
    *roster = found;
    return true;
}

void roster_clear(struct roster *roster)
{
    free(roster->nodes);
    *roster = (struct roster){0};
}

const struct roster_node *roster_find(
    const struct roster *roster, const uint8_t node_id[HASH_BYTES])
{
    struct roster_node wanted = {0};
    memcpy(wanted.node_id, node_id, HASH_BYTES);
    if (roster->count == 0)
        return NULL;
    return bsearch(&wanted, roster->nodes, roster->count, sizeof(wanted), compare_nodes);
}
