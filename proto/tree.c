#include "tree.h"

#include "seal.h"

#include <stdlib.h>
#include <string.h>

#define TYPE_TREE "bento-tree"
#define PLAIN_BYTES_MAX (BLOB_BYTES_MAX - BLOB_OVERHEAD_BYTES)

static bool component_is_clean(struct bytes component)
{
    return component.len >= 1 && component.len <= TREE_NAME_BYTES_MAX &&
           !bytes_equal_text(component, ".") && !bytes_equal_text(component, "..");
}

bool tree_path_is_clean(struct bytes path)
{
    if (path.len == 0 || path.len > TREE_PATH_BYTES_MAX || !wire_text_is_clean(path))
        return false;
    size_t start = 0;
    for (size_t i = 0; i <= path.len; i++) {
        if (i < path.len && path.at[i] != '/')
            continue;
        if (!component_is_clean(bytes_of(path.at + start, i - start)))
            return false;
        start = i + 1;
    }
    return true;
}

static int compare_files(const void *a, const void *b)
{
    return bytes_compare(((const struct tree_file *)a)->path, ((const struct tree_file *)b)->path);
}

// Whether a folder of this path is a file of the tree. Looking at neighbours only would miss `a`,
// `a-b`, `a/b`.
static bool lies_below_a_file(const struct tree *tree, struct bytes path)
{
    for (size_t i = 0; i < path.len; i++) {
        struct tree_file folder = {.path = bytes_of(path.at, i)};
        if (path.at[i] == '/' &&
            bsearch(&folder, tree->files, tree->count, sizeof(folder), compare_files) != NULL)
            return true;
    }
    return false;
}

static bool tree_check(const struct tree *tree, struct err *e)
{
    for (size_t i = 0; i < tree->count; i++) {
        if (!tree_path_is_clean(tree->files[i].path))
            return err_set(e, CODE_ARCHIVE, "tree: the path of file %zu is not clean", i + 1);
        if (i > 0 && compare_files(&tree->files[i - 1], &tree->files[i]) >= 0)
            return err_set(e, CODE_ARCHIVE, "tree: the paths are not strictly ascending (%.*s)",
                (int)tree->files[i].path.len, (const char *)tree->files[i].path.at);
    }
    for (size_t i = 0; i < tree->count; i++) {
        struct bytes path = tree->files[i].path;
        if (lies_below_a_file(tree, path))
            return err_set(e, CODE_ARCHIVE, "tree: a folder of %.*s is a file too", (int)path.len,
                (const char *)path.at);
    }
    return true;
}

static bool too_large(struct err *e)
{
    return err_set(e, CODE_LENGTH, "tree: more than %u bytes altogether", PLAIN_BYTES_MAX);
}

bool tree_encode(struct tree *tree, struct buf *out, struct err *e)
{
    if (tree->count > TREE_FILES_MAX)
        return err_set(
            e, CODE_LENGTH, "tree: %zu files, more than %u", tree->count, TREE_FILES_MAX);
    if (tree->count != 0)
        qsort(tree->files, tree->count, sizeof(tree->files[0]), compare_files);
    if (!tree_check(tree, e))
        return false;
    size_t bytes = 64; // the header; a file's own is at most 16
    for (size_t i = 0; i < tree->count; i++) {
        const struct tree_file *file = &tree->files[i];
        if (file->content.len > PLAIN_BYTES_MAX)
            return too_large(e);
        bytes += 16 + file->path.len + file->content.len;
    }
    if (bytes > PLAIN_BYTES_MAX)
        return too_large(e);

    wire_put_open(out, 3, TYPE_TREE);
    wire_put_array(out, tree->count);
    for (size_t i = 0; i < tree->count; i++) {
        const struct tree_file *file = &tree->files[i];
        wire_put_array(out, 3);
        wire_put_str(out, file->path);
        wire_put_bool(out, file->executable);
        wire_put_bin(out, file->content);
    }
    return true;
}

bool tree_decode(struct bytes message, struct tree *tree, struct err *e)
{
    if (message.len > PLAIN_BYTES_MAX)
        return err_set(e, CODE_ARCHIVE, "tree: %zu bytes are too many", message.len);
    struct wire_in in = wire_in(message);
    struct tree found = {0};
    wire_open(&in, 3, TYPE_TREE);
    found.count = wire_array(&in, 0, TREE_FILES_MAX);
    found.files = xcalloc(found.count, sizeof(found.files[0]));
    for (size_t i = 0; i < found.count && in.fault == NULL; i++) {
        struct tree_file *file = &found.files[i];
        wire_array(&in, 3, 3);
        file->path = wire_str(&in, TREE_PATH_BYTES_MAX);
        file->executable = wire_bool(&in);
        file->content = wire_bin(&in, 0, PLAIN_BYTES_MAX);
    }
    if (!wire_end(&in, "tree", e) || !tree_check(&found, e)) {
        e->code = CODE_ARCHIVE;
        tree_clear(&found);
        return false;
    }
    *tree = found;
    return true;
}

void tree_clear(struct tree *tree)
{
    free(tree->files);
    *tree = (struct tree){0};
}
