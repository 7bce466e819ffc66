#include "ticket.h"

#include <string.h>

#define TYPE_TICKET "bento-ticket"
#define TYPE_PROVEN "bento-proven"

void ticket_encode(const struct ticket *ticket, struct buf *out)
{
    wire_put_open(out, 6, TYPE_TICKET);
    wire_put_hash(out, ticket->node_id);
    wire_put_hash(out, ticket->ct_hash);
    wire_put_u64(out, ticket->ct_len);
    wire_put_bin(out, bytes_of(ticket->sealed, sizeof(ticket->sealed)));
}

bool ticket_decode(struct bytes message, struct ticket *ticket, struct err *e)
{
    struct wire_in in = wire_in(message);
    struct ticket found;
    wire_open(&in, 6, TYPE_TICKET);
    wire_bin_copy(&in, found.node_id, sizeof(found.node_id));
    wire_bin_copy(&in, found.ct_hash, sizeof(found.ct_hash));
    found.ct_len = wire_u64(&in, UINT64_MAX);
    wire_bin_copy(&in, found.sealed, sizeof(found.sealed));
    if (found.ct_len == 0)
        wire_require(&in,
            bytes_are_zero(found.ct_hash, sizeof(found.ct_hash)) &&
                bytes_are_zero(found.sealed, sizeof(found.sealed)),
            "an empty ticket that is not all zero");
    else
        wire_require(&in, found.ct_len > BLOB_OVERHEAD_BYTES, "a blob without content");
    if (!wire_end(&in, "ticket", e))
        return false;
    *ticket = found;
    return true;
}

void proven_encode(const struct proven *proven, struct buf *out)
{
    ASSERT(proven->path_len <= PATH_HASHES_MAX);
    wire_put_open(out, 5, TYPE_PROVEN);
    wire_put_bin(out, proven->ticket);
    wire_put_u64(out, proven->index);
    wire_put_array(out, proven->path_len);
    for (size_t i = 0; i < proven->path_len; i++)
        wire_put_hash(out, proven->path[i]);
}

bool proven_decode(struct bytes message, struct proven *proven, struct err *e)
{
    if (message.len > PROVEN_BYTES_MAX)
        return err_set(e, CODE_LENGTH, "proven ticket: %zu bytes are too many", message.len);
    struct wire_in in = wire_in(message);
    struct proven found = {0};
    wire_open(&in, 5, TYPE_PROVEN);
    found.ticket = wire_bin(&in, 0, PROVEN_BYTES_MAX);
    found.index = wire_u64(&in, UINT64_MAX);
    found.path_len = wire_array(&in, 0, PATH_HASHES_MAX);
    for (size_t i = 0; i < found.path_len; i++)
        wire_bin_copy(&in, found.path[i], HASH_BYTES);
    if (!wire_end(&in, "proven ticket", e))
        return false;
    *proven = found;
    return true;
}

bool proven_verify(struct bytes message, const struct head *head, const uint8_t node_id[HASH_BYTES],
    struct ticket *ticket, struct err *e)
{
    struct proven proven;
    struct ticket found;
    if (!proven_decode(message, &proven, e) || !ticket_decode(proven.ticket, &found, e))
        return false;
    if (memcmp(found.node_id, node_id, HASH_BYTES) != 0)
        return err_set(e, CODE_NOTMINE, "the ticket is another node's");
    merkle_hash leaf;
    merkle_leaf(proven.ticket, leaf);
    const merkle_hash *path = (const merkle_hash *)proven.path;
    if (!merkle_verify(proven.index, head->tickets, leaf, path, proven.path_len, head->root))
        return err_set(e, CODE_PATH, "the ticket is not part of this release");
    if (found.ct_len > BLOB_BYTES_MAX)
        return err_set(e, CODE_LENGTH, "the ticket names a blob that is too long");
    *ticket = found;
    return true;
}
