#include "merkle.h"

#include <sodium.h>
#include <string.h>

static void hash_parts(uint8_t prefix, struct bytes a, struct bytes b, merkle_hash out)
{
    crypto_hash_sha256_state state;
    crypto_hash_sha256_init(&state);
    crypto_hash_sha256_update(&state, &prefix, 1);
    if (a.len != 0)
        crypto_hash_sha256_update(&state, a.at, a.len);
    if (b.len != 0)
        crypto_hash_sha256_update(&state, b.at, b.len);
    crypto_hash_sha256_final(&state, out);
}

static void inner(const merkle_hash left, const merkle_hash right, merkle_hash out)
{
    hash_parts(1, bytes_of(left, HASH_BYTES), bytes_of(right, HASH_BYTES), out);
}

// The largest power of two below count, count ≥ 2.
static size_t split(size_t count)
{
    size_t left = 1;
    while (left * 2 < count)
        left *= 2;
    return left;
}

void merkle_leaf(struct bytes ticket, merkle_hash leaf)
{
    hash_parts(0, ticket, (struct bytes){0}, leaf);
}

void merkle_root(const merkle_hash *leaves, size_t count, merkle_hash root)
{
    ASSERT(count >= 1);
    if (count == 1) {
        memcpy(root, leaves[0], HASH_BYTES);
        return;
    }
    merkle_hash left, right;
    size_t middle = split(count);
    merkle_root(leaves, middle, left);
    merkle_root(leaves + middle, count - middle, right);
    inner(left, right, root);
}

size_t merkle_path(
    const merkle_hash *leaves, size_t count, size_t index, merkle_hash path[PATH_HASHES_MAX])
{
    ASSERT(index < count && count <= TICKETS_MAX);
    if (count == 1)
        return 0;
    size_t middle = split(count), len;
    if (index < middle) {
        len = merkle_path(leaves, middle, index, path);
        merkle_root(leaves + middle, count - middle, path[len]);
    } else {
        len = merkle_path(leaves + middle, count - middle, index - middle, path);
        merkle_root(leaves, middle, path[len]);
    }
    return len + 1;
}

bool merkle_verify(uint64_t index, uint64_t size, const merkle_hash leaf, const merkle_hash *path,
    size_t path_len, const merkle_hash root)
{
    if (index >= size)
        return false;
    uint64_t at = index, last = size - 1; // RFC 9162 §2.1.3.2: fn, sn
    merkle_hash hash;
    memcpy(hash, leaf, HASH_BYTES);
    for (size_t i = 0; i < path_len; i++) {
        if (last == 0)
            return false;
        if ((at & 1) != 0 || at == last) {
            inner(path[i], hash, hash);
            while ((at & 1) == 0 && at != 0) {
                at >>= 1;
                last >>= 1;
            }
        } else {
            inner(hash, path[i], hash);
        }
        at >>= 1;
        last >>= 1;
    }
    return last == 0 && memcmp(hash, root, HASH_BYTES) == 0;
}
