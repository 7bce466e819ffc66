#include "treefs.h"

#include "fs.h"
#include "seal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

// The encrypted tree must fit a blob.
#define TREE_BYTES_MAX (BLOB_BYTES_MAX - BLOB_OVERHEAD_BYTES)
// Folders without files cost nothing in a tree, but links can multiply them without end.
#define ENTRIES_VISITED_MAX (2 * TREE_FILES_MAX)
#define DEPTH_MAX (TREE_PATH_BYTES_MAX / 2)

struct packed {
    char *path;
    bool executable;
    struct buf content;
};

struct folder {
    const struct folder *above;
    dev_t device;
    ino_t inode;
    const char *link; // that led to it, NULL if none did
};

struct packer {
    char root[PATH_MAX]; // the repository, resolved
    size_t count, room, bytes, visited;
    struct packed *files;
};

static bool is_inside(const char *root, const char *path)
{
    size_t len = strlen(root);
    return strncmp(path, root, len) == 0 &&
           (path[len] == '\0' || path[len] == '/' || root[1] == '\0');
}

// A component of the path, below the root, is `name`.
static bool has_component(const char *root, const char *path, const char *name)
{
    size_t len = strlen(name);
    for (const char *at = path + strlen(root); (at = strstr(at, name)) != NULL; at += len) {
        if (at[-1] == '/' && (at[len] == '/' || at[len] == '\0'))
            return true;
    }
    return false;
}

static bool is_left_out(const char *name, bool top)
{
    if (strcmp(name, ".git") == 0 || strcmp(name, "result") == 0 ||
        strncmp(name, "result-", 7) == 0)
        return true;
    return top && (strcmp(name, "secrets") == 0 || strcmp(name, "SELF_UPDATE") == 0 ||
                      strcmp(name, "REBOOT") == 0);
}

// Where a symlink of the repository leads.
static MUST_CHECK bool follow(
    const struct packer *packer, const char *link, char target[PATH_MAX], struct err *e)
{
    if (realpath(link, target) == NULL) {
        if (errno == ENOENT)
            return err_set(
                e, CODE_CONFIG, "%s is a symlink to something that does not exist", link);
        if (errno == ELOOP)
            return err_set(e, CODE_CONFIG, "%s is a symlink that loops", link);
        return err_set(e, CODE_IO, "cannot follow the symlink %s: %m", link);
    }
    if (!is_inside(packer->root, target))
        return err_set(e, CODE_CONFIG, "%.180s is a symlink that leaves the repository, to %.180s",
            link, target);
    // What is apart from the tree so that it never enters the store must not come in by another
    // door.
    if (has_component(packer->root, target, "secrets") ||
        has_component(packer->root, target, ".git"))
        return err_set(
            e, CODE_CONFIG, "%.180s is a symlink to %.180s, which is never packed", link, target);
    return true;
}

static MUST_CHECK bool pack_file(
    struct packer *packer, const char *real, const char *path, bool executable, struct err *e)
{
    if (packer->count == TREE_FILES_MAX)
        return err_set(
            e, CODE_LENGTH, "there are more than %u files (at %s)", TREE_FILES_MAX, path);
    if (packer->count == packer->room) {
        packer->room = packer->room == 0 ? 64 : 2 * packer->room;
        packer->files = realloc(packer->files, packer->room * sizeof *packer->files);
        ASSERT(packer->files != NULL);
    }
    struct buf content = {0};
    if (!fs_read(AT_FDCWD, real, TREE_BYTES_MAX - packer->bytes, &content, e)) {
        buf_clear(&content);
        if (e->code == CODE_LENGTH)
            return err_set(e, CODE_LENGTH, "the files are larger than %u MiB together (at %s)",
                BLOB_BYTES_MAX >> 20, path);
        return false;
    }
    packer->bytes += content.len;
    packer->files[packer->count++] =
        (struct packed){.path = xstrdup(path), .executable = executable, .content = content};
    return true;
}

static MUST_CHECK bool pack_folder(struct packer *packer, const char *real, const char *path,
    const char *link, const struct folder *above, unsigned depth, struct err *e);

// A folder that is met again inside of itself: some link led back up. The last one on the way is
// named.
static MUST_CHECK bool check_loop(const char *source, bool is_link, const struct stat *st,
    const struct folder *above, struct err *e)
{
    const char *link = is_link ? source : NULL;
    for (const struct folder *f = above; f != NULL; f = f->above) {
        if (f->device == st->st_dev && f->inode == st->st_ino)
            return err_set(e, CODE_CONFIG,
                "%s is a symlink that loops: it leads to a folder above it",
                link != NULL ? link : source);
        if (link == NULL)
            link = f->link;
    }
    return true;
}

// Entry `name` of folder `real`, which is `path` in the tree.
static MUST_CHECK bool pack_entry(struct packer *packer, const char *real, const char *path,
    const char *name, const struct folder *above, unsigned depth, struct err *e)
{
    char source[PATH_MAX], entry[TREE_PATH_BYTES_MAX + 1], target[PATH_MAX];
    const char *slash = path[0] != '\0' ? "/" : "";
    if ((size_t)snprintf(source, sizeof source, "%s/%s", real, name) >= sizeof source ||
        (size_t)snprintf(entry, sizeof entry, "%s%s%s", path, slash, name) >= sizeof entry)
        return err_set(e, CODE_LENGTH, "a path is longer than %u bytes: %s%s%s",
            TREE_PATH_BYTES_MAX, path, slash, name);
    if (!tree_path_is_clean(bytes_of_text(entry)))
        return err_set(e, CODE_CONFIG,
            "%s has a name that cannot be packed (control characters, or not UTF-8)", source);
    struct stat st;
    if (lstat(source, &st) != 0)
        return err_set(e, CODE_IO, "cannot look at %s: %m", source);
    bool link = S_ISLNK(st.st_mode);
    if (link) {
        if (!follow(packer, source, target, e))
            return false;
        if (stat(target, &st) != 0)
            return err_set(e, CODE_IO, "cannot look at %s: %m", target);
    }
    const char *found = link ? target : source;
    if (S_ISREG(st.st_mode))
        return pack_file(packer, found, entry, (st.st_mode & S_IXUSR) != 0, e);
    if (!S_ISDIR(st.st_mode))
        return err_set(
            e, CODE_CONFIG, "%s is neither file nor folder, and cannot be packed", source);
    if (!check_loop(source, link, &st, above, e))
        return false;
    return pack_folder(packer, found, entry, link ? source : NULL, above, depth + 1, e);
}

static bool pack_folder(struct packer *packer, const char *real, const char *path, const char *link,
    const struct folder *above, unsigned depth, struct err *e)
{
    if (depth > DEPTH_MAX)
        return err_set(e, CODE_LENGTH, "%s is deeper than %u folders", real, DEPTH_MAX);
    CLEANUP_FD dir = -1;
    struct names names;
    struct stat st;
    if (!fs_open_dir(AT_FDCWD, real, &dir, e) || !fs_list(dir, &names, e))
        return false;
    if (fstat(dir, &st) != 0) {
        names_clear(&names);
        return err_set(e, CODE_IO, "cannot look at %s: %m", real);
    }
    struct folder here = {.above = above, .device = st.st_dev, .inode = st.st_ino, .link = link};
    // Another host's folder may be linked; its secrets stay out as ours do.
    bool top = above == NULL || link != NULL;
    bool ok = true;
    for (size_t i = 0; ok && i < names.count; i++) {
        if (is_left_out(names.names[i], top))
            continue;
        if (++packer->visited > ENTRIES_VISITED_MAX)
            ok = err_set(e, CODE_LENGTH, "there are more than %u entries below %s",
                ENTRIES_VISITED_MAX, packer->root);
        ok = ok && pack_entry(packer, real, path, names.names[i], &here, depth, e);
    }
    names_clear(&names);
    return ok;
}

static MUST_CHECK bool pack_encode(const struct packer *packer, struct buf *out, struct err *e)
{
    struct tree tree = {.count = packer->count};
    tree.files = xcalloc(packer->count + 1, sizeof *tree.files);
    for (size_t i = 0; i < packer->count; i++) {
        const struct packed *file = &packer->files[i];
        tree.files[i] = (struct tree_file){.path = bytes_of_text(file->path),
            .executable = file->executable,
            .content = buf_bytes(&file->content)};
    }
    size_t before = out->len;
    bool ok = tree_encode(&tree, out, e);
    if (ok && out->len - before > TREE_BYTES_MAX)
        ok = err_set(
            e, CODE_LENGTH, "the files are larger than %u MiB together", BLOB_BYTES_MAX >> 20);
    if (!ok)
        out->len = before;
    free(tree.files);
    return ok;
}

bool treefs_pack(const char *repository, const char *path, struct buf *tree, struct err *e)
{
    struct packer *packer = xcalloc(1, sizeof *packer);
    char joined[2 * PATH_MAX], start[PATH_MAX];
    bool ok = realpath(repository, packer->root) != NULL;
    if (!ok)
        err_set(e, CODE_IO, "cannot open the repository %s: %m", repository);
    int len = snprintf(joined, sizeof joined, "%s/%s", path[0] == '/' ? "" : packer->root, path);
    if (ok && (size_t)len >= sizeof joined)
        ok = err_set(e, CODE_LENGTH, "the path of the folder is too long: %s", path);
    if (ok && realpath(joined, start) == NULL)
        ok = err_set(e, CODE_IO, "cannot open the folder %s: %m", joined);
    if (ok && !is_inside(packer->root, start))
        ok = err_set(
            e, CODE_CONFIG, "%.200s is not inside the repository %.200s", joined, packer->root);
    ok = ok && pack_folder(packer, start, "", NULL, NULL, 0, e) && pack_encode(packer, tree, e);
    for (size_t i = 0; i < packer->count; i++) {
        free(packer->files[i].path);
        buf_clear(&packer->files[i].content);
    }
    free(packer->files);
    free(packer);
    return ok;
}

// Nothing that we open can be outside of the fresh folder, whatever the path says and whoever else
// is at work in it.
static int open_beneath(int dir, const char *path, uint64_t flags, uint64_t mode)
{
    struct open_how how = {.flags = flags | O_CLOEXEC | O_NOFOLLOW,
        .mode = mode,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
    int fd;
    do {
        fd = (int)syscall(SYS_openat2, dir, path, &how, sizeof how);
    } while (
        fd < 0 && (errno == EINTR || errno == EAGAIN)); // EAGAIN: a rename raced with the check
    return fd;
}

// The folder of a file, made as needed. The caller closes *dir.
static MUST_CHECK bool make_folders(int top, const char *path, int *dir, struct err *e)
{
    CLEANUP_FD now = open_beneath(top, ".", O_RDONLY | O_DIRECTORY, 0);
    char name[TREE_NAME_BYTES_MAX + 1];
    const char *slash;
    for (; now >= 0 && (slash = strchr(path, '/')) != NULL; path = slash + 1) {
        snprintf(name, sizeof name, "%.*s", (int)(slash - path), path);
        bool made = mkdirat(now, name, 0700) == 0;
        if (!made && errno != EEXIST)
            return err_set(e, CODE_IO, "cannot make the folder %s: %m", name);
        int below = open_beneath(now, name, O_RDONLY | O_DIRECTORY, 0);
        if (below >= 0 && made && fchmod(below, 0755) != 0)
            fd_closep(&below);
        close(now);
        now = below;
    }
    if (now < 0)
        return err_set(e, CODE_IO, "cannot open a folder of %s: %m", path);
    *dir = now;
    now = -1;
    return true;
}

static MUST_CHECK bool unpack_file(
    int dir, const char *name, const struct tree_file *file, struct err *e)
{
    CLEANUP_FD fd = open_beneath(dir, name, O_WRONLY | O_CREAT | O_EXCL, 0600);
    struct bytes rest = file->content;
    while (fd >= 0 && rest.len > 0) {
        ssize_t put = write(fd, rest.at, rest.len);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            break;
        rest.at += put;
        rest.len -= (size_t)put;
    }
    if (fd < 0 || rest.len > 0 || fchmod(fd, file->executable ? 0755 : 0644) != 0)
        return err_set(e, CODE_IO, "cannot write %s: %m", name);
    return true;
}

static MUST_CHECK bool unpack_all(const struct tree *tree, int top, struct err *e)
{
    CLEANUP_FD dir = -1;
    char last[TREE_PATH_BYTES_MAX + 1] = ""; // the folder that is open, with its slash
    for (size_t i = 0; i < tree->count; i++) {
        const struct tree_file *file = &tree->files[i];
        char path[TREE_PATH_BYTES_MAX + 1];
        ASSERT(file->path.len <
               sizeof path); // tree_decode saw to it, and to everything else about paths
        memcpy(path, file->path.at, file->path.len);
        path[file->path.len] = '\0';
        char *slash = strrchr(path, '/');
        size_t folder = slash != NULL ? (size_t)(slash - path) + 1 : 0;
        if (dir < 0 || strlen(last) != folder || memcmp(last, path, folder) != 0) {
            fd_closep(&dir);
            if (!make_folders(top, path, &dir, e))
                return err_wrap(e, "unpacking %s", path);
            memcpy(last, path, folder);
            last[folder] = '\0';
        }
        if (!unpack_file(dir, path + folder, file, e))
            return err_wrap(e, "unpacking %s", path);
    }
    return true;
}

bool treefs_unpack(struct bytes message, int dir, const char *name, struct err *e)
{
    struct tree tree;
    ASSERT(strchr(name, '/') == NULL && strcmp(name, ".") != 0 && strcmp(name, "..") != 0);
    if (!tree_decode(message, &tree, e))
        return false;
    if (mkdirat(dir, name, 0700) != 0) {
        err_set(e, CODE_IO, "cannot make the fresh folder %s: %m", name);
        tree_clear(&tree);
        return false;
    }
    CLEANUP_FD top = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    bool ok = top >= 0 || err_set(e, CODE_IO, "cannot open the fresh folder %s: %m", name);
    ok = ok && unpack_all(&tree, top, e);
    // Opened to others only when it is whole.
    if (ok && fchmod(top, 0755) != 0)
        ok = err_set(e, CODE_IO, "cannot open the folder %s to readers: %m", name);
    tree_clear(&tree);
    struct err ignored;
    if (!ok && !fs_remove_tree(dir, name, &ignored))
        err_wrap(e, "%s is left behind (%.100s)", name, ignored.text);
    return ok;
}
