#include "merkle.h"

#include "proto_test.h"

#define LEAVES 70

static void make_leaves(merkle_hash *leaves, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint8_t ticket[2] = {(uint8_t)i, (uint8_t)(i >> 8)};
        merkle_leaf(bytes_of(ticket, sizeof(ticket)), leaves[i]);
    }
}

static void root_of(size_t count, merkle_hash root)
{
    merkle_hash leaves[LEAVES];
    make_leaves(leaves, count);
    merkle_root((const merkle_hash *)leaves, count, root);
}

static void hash_is(const merkle_hash hash, const char *hex)
{
    char text[HASH_HEX_BYTES];
    hex_encode(hash, HASH_BYTES, text);
    assert_string_equal(text, hex);
}

// The test data of RFC 6962's reference implementation, whose tree RFC 9162 kept.
static void roots_are_those_of_certificate_transparency(void **state)
{
    (void)state;
    const char *inputs[] = {"", "00", "10", "2021", "3031", "40414243", "5051525354555657",
        "606162636465666768696a6b6c6d6e6f"};
    const char *roots[] = {"6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"};
    merkle_hash leaves[8], root;
    for (size_t i = 0; i < 8; i++) {
        struct buf input = from_hex(inputs[i]);
        merkle_leaf(buf_bytes(&input), leaves[i]);
        merkle_root((const merkle_hash *)leaves, i + 1, root);
        hash_is(root, roots[i]);
        buf_clear(&input);
    }
}

static void every_path_of_every_size_verifies(void **state)
{
    (void)state;
    merkle_hash leaves[LEAVES], root, path[PATH_HASHES_MAX];
    make_leaves(leaves, LEAVES);
    const merkle_hash *all = (const merkle_hash *)leaves;
    for (size_t n = 1; n <= LEAVES; n++) {
        merkle_root(all, n, root);
        for (size_t i = 0; i < n; i++) {
            size_t len = merkle_path(all, n, i, path);
            assert_true(len <= 7);
            assert_true(merkle_verify(i, n, leaves[i], (const merkle_hash *)path, len, root));
        }
    }
}

static void wrong_index_leaf_and_length_of_path_are_refused(void **state)
{
    (void)state;
    merkle_hash leaves[LEAVES], root, path[PATH_HASHES_MAX + 1];
    make_leaves(leaves, LEAVES);
    const merkle_hash *all = (const merkle_hash *)leaves, *way = (const merkle_hash *)path;
    memset(path, 0, sizeof(path));
    for (size_t n = 1; n <= LEAVES; n++) {
        merkle_root(all, n, root);
        for (size_t i = 0; i < n; i++) {
            size_t len = merkle_path(all, n, i, path);
            for (size_t j = 0; j < n + 2; j++) {
                if (j != i) // the size is right, so the index is bound
                    assert_false(merkle_verify(j, n, leaves[i], way, len, root));
            }
            assert_false(merkle_verify(i, n, leaves[(i + 1) % LEAVES], way, len, root));
            assert_false(merkle_verify(i, n, leaves[i], way, len + 1, root));
            if (len > 0)
                assert_false(merkle_verify(i, n, leaves[i], way, len - 1, root));
            assert_false(merkle_verify(UINT64_MAX, n, leaves[i], way, len, root));
            assert_false(merkle_verify(i, 0, leaves[i], way, len, root));
        }
    }
}

static void path_for_another_size_does_not_meet_that_root(void **state)
{
    (void)state;
    merkle_hash leaves[LEAVES], path[PATH_HASHES_MAX], other_root;
    make_leaves(leaves, LEAVES);
    const merkle_hash *all = (const merkle_hash *)leaves;
    for (size_t n = 1; n <= 20; n++) {
        for (size_t m = 1; m <= 20; m++) {
            merkle_root(all, m, other_root);
            for (size_t i = 0; i < n && m != n; i++) {
                size_t len = merkle_path(all, n, i, path);
                assert_false(
                    merkle_verify(i, m, leaves[i], (const merkle_hash *)path, len, other_root));
            }
        }
    }
}

static void flipped_path_leaf_or_root_is_refused(void **state)
{
    (void)state;
    merkle_hash leaves[11], root, path[PATH_HASHES_MAX];
    make_leaves(leaves, 11);
    merkle_root((const merkle_hash *)leaves, 11, root);
    for (size_t i = 0; i < 11; i++) {
        size_t len = merkle_path((const merkle_hash *)leaves, 11, i, path);
        uint8_t *parts[PATH_HASHES_MAX + 2] = {leaves[i], root};
        for (size_t j = 0; j < len; j++)
            parts[2 + j] = path[j];
        for (size_t bit = 0; bit < (2 + len) * 256; bit++) {
            uint8_t *at = parts[bit / 256] + bit % 256 / 8;
            *at ^= (uint8_t)(1u << bit % 8);
            assert_false(merkle_verify(i, 11, leaves[i], (const merkle_hash *)path, len, root));
            *at ^= (uint8_t)(1u << bit % 8);
        }
    }
}

static void inner_node_is_no_leaf(void **state)
{
    (void)state;
    merkle_hash leaves[2], root, claimed;
    uint8_t both[64];
    make_leaves(leaves, 2);
    merkle_root((const merkle_hash *)leaves, 2, root);
    memcpy(both, leaves, sizeof(both));
    merkle_leaf(bytes_of(both, sizeof(both)), claimed);
    assert_false(merkle_verify(0, 1, claimed, NULL, 0, root));
    merkle_hash one;
    root_of(1, one);
    assert_true(merkle_verify(0, 1, leaves[0], NULL, 0, one));
}

static void path_longer_than_the_size_allows_is_refused_even_if_it_meets_the_root(void **state)
{
    (void)state;
    merkle_hash leaves[2], root;
    make_leaves(leaves, 2);
    merkle_root((const merkle_hash *)leaves, 2, root);
    // A head that says one ticket over the root of two: the hashes fit, the size does not.
    assert_true(merkle_verify(1, 2, leaves[1], (const merkle_hash *)leaves, 1, root));
    assert_false(merkle_verify(0, 1, leaves[1], (const merkle_hash *)leaves, 1, root));
}

static void path_is_as_long_as_the_tree_is_deep(void **state)
{
    (void)state;
    size_t count = 1u << 12; // the largest would take seconds; the shape is the same
    merkle_hash *leaves = calloc(count, sizeof(merkle_hash)), root, path[PATH_HASHES_MAX];
    assert_non_null(leaves);
    make_leaves(leaves, count);
    merkle_root((const merkle_hash *)leaves, count, root);
    size_t len = merkle_path((const merkle_hash *)leaves, count, count - 1, path);
    assert_int_equal(len, 12);
    assert_true(
        merkle_verify(count - 1, count, leaves[count - 1], (const merkle_hash *)path, len, root));
    free(leaves);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(roots_are_those_of_certificate_transparency),
        cmocka_unit_test(every_path_of_every_size_verifies),
        cmocka_unit_test(wrong_index_leaf_and_length_of_path_are_refused),
        cmocka_unit_test(path_for_another_size_does_not_meet_that_root),
        cmocka_unit_test(flipped_path_leaf_or_root_is_refused),
        cmocka_unit_test(inner_node_is_no_leaf),
        cmocka_unit_test(path_longer_than_the_size_allows_is_refused_even_if_it_meets_the_root),
        cmocka_unit_test(path_is_as_long_as_the_tree_is_deep),
    };
    return cmocka_run_group_tests(tests, start_sodium, NULL);
}
