#include "tree.h"

#include "proto_test.h"

#include <stdio.h>

static bool recode_tree(struct bytes message, struct buf *out, struct err *e)
{
    struct tree tree;
    if (!tree_decode(message, &tree, e))
        return false;
    bool ok = tree_encode(&tree, out, e);
    assert_true(ok);
    tree_clear(&tree);
    return true;
}
static const struct parser tree_parser = {recode_tree, CODE_ARCHIVE};

static void golden_tree_says_what_was_put_in(void **state)
{
    (void)state;
    struct buf golden = from_hex(GOLDEN_TREE);
    struct tree tree;
    struct err e;
    assert_true(tree_decode(buf_bytes(&golden), &tree, &e));
    assert_int_equal(tree.count, 4);
    assert_true(bytes_equal_text(tree.files[1].path, "a/b"));
    assert_true(tree.files[1].executable);
    assert_int_equal(tree.files[1].content.len, 0);
    assert_true(bytes_equal_text(tree.files[2].content, "{ }"));
    assert_false(tree.files[2].executable);
    assert_bytes(tree.files[3].content, bytes_of("\0\xff", 2));
    tree_clear(&tree);
    assert_null(tree.files);
    buf_clear(&golden);
}

static void damaged_tree_is_refused_or_another_tree(void **state)
{
    (void)state;
    survives_every_damage(&tree_parser, GOLDEN_TREE);
}

// Writes the message as it stands, rules or not.
static struct buf message_of(const char *const *paths, size_t count)
{
    struct buf out = {0};
    wire_put_open(&out, 3, "bento-tree");
    wire_put_array(&out, count);
    for (size_t i = 0; i < count; i++) {
        wire_put_array(&out, 3);
        wire_put_text(&out, paths[i]);
        wire_put_bool(&out, false);
        wire_put_bin(&out, bytes_of_text("x"));
    }
    return out;
}

static bool encodes(const char *const *paths, size_t count, struct buf *out)
{
    struct tree_file files[8] = {0};
    struct tree tree = {count, files};
    struct err e;
    for (size_t i = 0; i < count; i++) {
        files[i].path = bytes_of_text(paths[i]);
        files[i].content = bytes_of_text("x");
    }
    bool ok = tree_encode(&tree, out, &e);
    if (!ok) {
        assert_code(e, CODE_ARCHIVE);
        assert_int_equal(out->len, 0);
    }
    return ok;
}

static void unclean_path_is_refused_both_ways(void **state)
{
    (void)state;
    const char *bad[] = {"", "/", "/a", "a/", "a//b", ".", "..", "./a", "../a", "a/.", "a/..",
        "a/./b", "a/../b", "a\n", "a\x7f", "\xff", "a/\xc0\xaf"};
    const char *good[] = {
        "a", "a/b", "...", ".a", "..a", "a..", "a/...", "a b", "\xc3\xbc", "-", "a\\b"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct buf message = message_of(&bad[i], 1), out = {0};
        assert_false(tree_path_is_clean(bytes_of_text(bad[i])));
        assert_refused(&tree_parser, buf_bytes(&message));
        assert_false(encodes(&bad[i], 1, &out));
        buf_clear(&message);
    }
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct buf message = message_of(&good[i], 1);
        assert_true(tree_path_is_clean(bytes_of_text(good[i])));
        assert_recodes(&tree_parser, buf_bytes(&message));
        buf_clear(&message);
    }
    assert_false(tree_path_is_clean(bytes_of("a\0b", 3)));
}

static void path_and_component_at_their_limits(void **state)
{
    (void)state;
    char path[TREE_PATH_BYTES_MAX + 2];
    memset(path, 'a', sizeof(path));
    assert_true(tree_path_is_clean(bytes_of(path, TREE_NAME_BYTES_MAX)));
    assert_false(tree_path_is_clean(bytes_of(path, TREE_NAME_BYTES_MAX + 1)));
    path[255] = '/';
    path[511] = '/'; // at the end it is not clean, so shift by one
    assert_false(tree_path_is_clean(bytes_of(path, 512)));
    path[511] = 'a';
    path[510] = '/';
    assert_true(tree_path_is_clean(bytes_of(path, 512)));
    assert_false(tree_path_is_clean(bytes_of(path, 513)));
}

static void file_that_is_a_folder_too_is_refused_also_behind_a_neighbour(void **state)
{
    (void)state;
    static const struct {
        size_t count;
        const char *paths[4]; // in order
        bool good;
    } cases[] = {
        {2, {"a", "a/b"}, false},
        {3, {"a", "a-b", "a/b"}, false}, // `-` sorts before `/`
        {4, {"a", "a!", "a-b", "a/b/c"}, false},
        {3, {"a-b", "a/b", "a/b/c"}, false},
        {3, {"a-b", "a/b", "a0"}, true},
        {3, {"a", "a-b", "b/a"}, true},
        {2, {"a/b", "a/b-c"}, true},
        {3, {"a/b", "a/b-c", "a/b/c"}, false},
        {2, {"a", "a"}, false},
        {2, {"b", "a"}, false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct buf message = message_of(cases[i].paths, cases[i].count);
        if (cases[i].good)
            assert_recodes(&tree_parser, buf_bytes(&message));
        else
            assert_refused(&tree_parser, buf_bytes(&message));
        buf_clear(&message);
    }
}

static void files_are_sorted_when_encoded(void **state)
{
    (void)state;
    const char *mixed[] = {"b", "a/b", "a-b"}, *sorted[] = {"a-b", "a/b", "b"};
    const char *twice[] = {"b", "a", "b"}, *trap[] = {"a/b", "a-b", "a"};
    struct buf out = {0}, want = message_of(sorted, 3);
    assert_true(encodes(mixed, 3, &out));
    assert_bytes(buf_bytes(&out), buf_bytes(&want));
    buf_clear(&out);
    assert_false(encodes(twice, 3, &out));
    assert_false(encodes(trap, 3, &out));
    buf_clear(&want);
}

static void empty_tree_round_trips(void **state)
{
    (void)state;
    struct buf message = message_of(NULL, 0);
    assert_recodes(&tree_parser, buf_bytes(&message));
    buf_clear(&message);
}

static void number_of_files_at_its_limit(void **state)
{
    (void)state;
    struct tree tree = {TREE_FILES_MAX + 1, calloc(TREE_FILES_MAX + 1, sizeof(struct tree_file))};
    char(*names)[24] = calloc(TREE_FILES_MAX + 1, sizeof(*names));
    struct buf out = {0}, message = {0};
    struct err e;
    assert_true(tree.files != NULL && names != NULL);
    wire_put_open(&message, 3, "bento-tree");
    wire_put_array(&message, TREE_FILES_MAX + 1);
    for (size_t i = 0; i < tree.count; i++) {
        snprintf(names[i], sizeof(names[i]), "%05zu", i);
        tree.files[i].path = bytes_of_text(names[i]);
        wire_put_array(&message, 3);
        wire_put_text(&message, names[i]);
        wire_put_bool(&message, false);
        wire_put_bin(&message, (struct bytes){0});
    }
    assert_false(tree_encode(&tree, &out, &e));
    assert_code(e, CODE_LENGTH);
    assert_refused(&tree_parser, buf_bytes(&message));
    tree.count--;
    assert_true(tree_encode(&tree, &out, &e));
    assert_recodes(&tree_parser, buf_bytes(&out));
    free(names);
    tree_clear(&tree);
    buf_clear(&out);
    buf_clear(&message);
}

static void tree_larger_than_a_blob_is_refused(void **state)
{
    (void)state;
    // Never read: the lengths alone decide.
    struct tree_file files[2] = {
        {.path = bytes_of_text("a"), .content = bytes_of("", BLOB_BYTES_MAX / 2)},
        {.path = bytes_of_text("b"), .content = bytes_of("", BLOB_BYTES_MAX / 2)}};
    struct tree tree = {2, files};
    struct buf out = {0};
    struct err e;
    assert_false(tree_encode(&tree, &out, &e));
    assert_code(e, CODE_LENGTH);
    files[0].content.len = SIZE_MAX;
    assert_false(tree_encode(&tree, &out, &e));
    assert_code(e, CODE_LENGTH);
    assert_int_equal(out.len, 0);
    assert_false(tree_decode(bytes_of("", BLOB_BYTES_MAX - 15), &tree, &e));
    assert_code(e, CODE_ARCHIVE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_tree_says_what_was_put_in),
        cmocka_unit_test(damaged_tree_is_refused_or_another_tree),
        cmocka_unit_test(unclean_path_is_refused_both_ways),
        cmocka_unit_test(path_and_component_at_their_limits),
        cmocka_unit_test(file_that_is_a_folder_too_is_refused_also_behind_a_neighbour),
        cmocka_unit_test(files_are_sorted_when_encoded),
        cmocka_unit_test(empty_tree_round_trips),
        cmocka_unit_test(number_of_files_at_its_limit),
        cmocka_unit_test(tree_larger_than_a_blob_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
