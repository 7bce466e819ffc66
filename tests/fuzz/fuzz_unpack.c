// A tree from a stranger, unpacked: it is there exactly, or not at all, and nothing beside it was
// touched.
#include "treefs.h"

#include "fs.h"
#include "fuzz.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void assert_only(int dir, const char *name)
{
    struct names names;
    struct err e = {0};
    ASSERT(fs_list(dir, &names, &e));
    ASSERT(names.count == (name != NULL ? 1 : 0));
    ASSERT(name == NULL || strcmp(names.names[0], name) == 0);
    names_clear(&names);
}

static void assert_is(int top, const struct tree_file *file)
{
    struct buf content = {0};
    struct stat st;
    struct err e = {0};
    char path[TREE_PATH_BYTES_MAX + 1];
    bytes_copy_text(file->path, path, sizeof path);
    ASSERT(fs_read(top, path, BLOB_BYTES_MAX, &content, &e));
    ASSERT(fstatat(top, path, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode));
    ASSERT((st.st_mode & 07777) == (file->executable ? 0755 : 0644) && st.st_nlink == 1);
    fuzz_same(&content, file->content);
}

static void assert_is_all(int top, struct bytes message)
{
    struct tree tree;
    struct err e = {0};
    ASSERT(tree_decode(message, &tree, &e));
    for (size_t i = 0; i < tree.count; i++)
        assert_is(top, &tree.files[i]);
    if (tree.count == 0)
        assert_only(top, NULL);
    tree_clear(&tree);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static int inner = -1; // a folder in a folder, to see what climbs out
    struct err e = {0};
    if (inner < 0) {
        ASSERT(fs_make_dir(fuzz_folder(), "inner", 0755, false, &e));
        ASSERT(fs_open_dir(fuzz_folder(), "inner", &inner, &e));
    }
    bool ok = treefs_unpack(bytes_of(data, len), inner, "source", &e);
    assert_only(fuzz_folder(), "inner");
    assert_only(inner, ok ? "source" : NULL);
    if (!ok)
        return fuzz_refused(&e);
    CLEANUP_FD top = -1;
    ASSERT(fs_open_dir(inner, "source", &top, &e));
    assert_is_all(top, bytes_of(data, len));
    ASSERT(fs_remove_tree(inner, "source", &e));
    return 0;
}
