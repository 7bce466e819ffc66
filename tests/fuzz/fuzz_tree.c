#include "tree.h"

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct bytes message = bytes_of(data, len);
    struct buf again = {0};
    struct tree tree;
    struct err e = {0};
    if (!tree_decode(message, &tree, &e))
        return fuzz_refused(&e);
    ASSERT(tree_encode(&tree, &again, &e));
    tree_clear(&tree);
    return fuzz_same(&again, message);
}
