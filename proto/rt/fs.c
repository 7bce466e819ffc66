#include "fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

void fd_closep(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

// What a person would call the file: with its folder, if it is known by descriptor only.
struct where {
    char text[PATH_MAX];
};

static struct where where(int at, const char *path)
{
    struct where w = {""};
    char link[64], folder[PATH_MAX / 2] = "";
    if (at != AT_FDCWD && path[0] != '/') {
        snprintf(link, sizeof link, "/proc/self/fd/%d", at);
        ssize_t len = readlink(link, folder, sizeof folder - 2);
        if (len > 0) {
            folder[len] = '/';
            folder[len + 1] = '\0';
        }
    }
    snprintf(w.text, sizeof w.text, "%s%.2000s", folder, path);
    return w;
}

static MUST_CHECK bool fail(struct err *e, const char *what, int at, const char *path)
{
    int saved = errno;
    struct where w = where(at, path);
    errno = saved;
    return err_set(e, CODE_IO, "cannot %s %s: %m", what, w.text);
}

// Folder and last component of a path. `dir` is opened; *name points into path.
static MUST_CHECK bool open_parent(
    int at, const char *path, int *dir, const char **name, struct err *e)
{
    const char *slash = strrchr(path, '/');
    *name = slash != NULL ? slash + 1 : path;
    if (**name == '\0') {
        errno = EINVAL;
        return fail(e, "use the name", at, path);
    }
    char folder[PATH_MAX] = ".";
    if (slash != NULL) {
        size_t len = slash == path ? 1 : (size_t)(slash - path);
        if (len >= sizeof folder) {
            errno = ENAMETOOLONG;
            return fail(e, "open the folder of", at, path);
        }
        memcpy(folder, path, len);
        folder[len] = '\0';
    }
    *dir = openat(at, folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*dir < 0)
        return fail(e, "open the folder of", at, path);
    return true;
}

bool fs_open_dir(int at, const char *path, int *dir, struct err *e)
{
    int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC | (at == AT_FDCWD ? 0 : O_NOFOLLOW);
    int fd = openat(at, path, flags);
    if (fd < 0)
        return fail(e, "open the folder", at, path);
    *dir = fd;
    return true;
}

static MUST_CHECK bool make_one_dir(int at, const char *path, mode_t mode, struct err *e)
{
    struct stat st;
    if (mkdirat(at, path, 0700) != 0) {
        if (errno == EEXIST && fstatat(at, path, &st, 0) == 0) {
            if (S_ISDIR(st.st_mode))
                return true;
            errno = ENOTDIR;
        }
        return fail(e, "make the folder", at, path);
    }
    CLEANUP_FD fd = openat(at, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fchmod(fd, mode) != 0)
        return fail(e, "make the folder", at, path);
    CLEANUP_FD parent = -1;
    const char *name;
    return open_parent(at, path, &parent, &name, e) && fs_sync_dir(parent, e);
}

bool fs_make_dir(int at, const char *path, mode_t mode, bool parents, struct err *e)
{
    char part[PATH_MAX];
    size_t len = strlen(path);
    while (len > 1 && path[len - 1] == '/')
        len--;
    if (len == 0 || len >= sizeof part) {
        errno = len == 0 ? ENOENT : ENAMETOOLONG;
        return fail(e, "make the folder", at, path);
    }
    memcpy(part, path, len);
    part[len] = '\0';
    for (size_t i = 1; parents && i < len; i++) {
        if (part[i] != '/' || part[i - 1] == '/')
            continue;
        part[i] = '\0';
        if (!make_one_dir(at, part, 0755, e))
            return false;
        part[i] = '/';
    }
    return make_one_dir(at, part, mode, e);
}

static MUST_CHECK bool read_all(
    int fd, int at, const char *path, size_t max, struct buf *out, struct err *e)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return fail(e, "read", at, path);
    if (!S_ISREG(st.st_mode))
        return err_set(e, CODE_IO, "cannot read %s: not a regular file", where(at, path).text);
    size_t expected = st.st_size > 0 ? (size_t)st.st_size : 0;
    size_t before = out->len;
    // One byte more than it claims: a file that grows meanwhile is caught, not cut.
    size_t step = expected < max ? expected + 1 : 1;
    while (expected <= max && out->len - before <= max) {
        buf_reserve(out, step);
        ssize_t got = read(fd, out->at + out->len, step);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            out->len = before;
            return fail(e, "read", at, path);
        }
        if (got == 0)
            return true;
        out->len += (size_t)got;
        size_t have = out->len - before;
        step = have < expected ? expected - have + 1 : 4096;
        if (step > max - have + 1 && have <= max)
            step = max - have + 1;
    }
    out->len = before;
    return err_set(e, CODE_LENGTH, "%s is larger than %zu bytes", where(at, path).text, max);
}

static MUST_CHECK bool open_and_read(
    int at, const char *path, int flags, size_t max, struct buf *out, struct err *e)
{
    // O_NONBLOCK: opening a fifo must not wait for its writer.
    CLEANUP_FD fd = openat(at, path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC | flags);
    if (fd < 0) {
        if (errno == ENOENT)
            return err_set(e, CODE_NONE, "%s does not exist", where(at, path).text);
        if (errno == ELOOP && flags != 0)
            return err_set(e, CODE_IO, "cannot read %s: it is a symlink", where(at, path).text);
        return fail(e, "read", at, path);
    }
    return read_all(fd, at, path, max, out, e);
}

bool fs_read(int at, const char *path, size_t max, struct buf *out, struct err *e)
{
    return open_and_read(at, path, O_NOFOLLOW, max, out, e);
}

bool fs_read_following(int at, const char *path, size_t max, struct buf *out, struct err *e)
{
    return open_and_read(at, path, 0, max, out, e);
}

static bool write_all(int fd, struct bytes content)
{
    while (content.len > 0) {
        ssize_t put = write(fd, content.at, content.len);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return false;
        content.at += put;
        content.len -= (size_t)put;
    }
    return true;
}

#define TMP_MARK ".tmp-"

// A new file beside `name`, for whom it will be renamed. Its lock tells fs_sweep() that we live.
static int open_tmp(int dir, const char *name, char tmp[NAME_MAX + 1])
{
    for (int attempt = 0; attempt < 16; attempt++) {
        uint32_t salt = 0;
        if (getrandom(&salt, sizeof salt, 0) != sizeof salt)
            return -1;
        snprintf(tmp, NAME_MAX + 1, ".%.200s" TMP_MARK "%d-%08x", name, (int)getpid(), salt);
        int fd = openat(dir, tmp, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd < 0 && errno != EEXIST)
            return -1;
        struct stat st;
        if (fd >= 0 && flock(fd, LOCK_EX) == 0 && fstat(fd, &st) == 0 && st.st_nlink > 0)
            return fd;
        fd_closep(&fd); // swept before it was locked
    }
    return -1;
}

static MUST_CHECK bool replace(
    int at, const char *path, struct bytes content, mode_t mode, bool durable, struct err *e)
{
    CLEANUP_FD dir = -1;
    const char *name;
    char tmp[NAME_MAX + 1];
    if (!open_parent(at, path, &dir, &name, e))
        return false;
    CLEANUP_FD fd = open_tmp(dir, name, tmp);
    if (fd < 0)
        return fail(e, "write", at, path);
    bool written = write_all(fd, content) && fchmod(fd, mode) == 0 &&
                   (!durable || fsync(fd) == 0) && renameat(dir, tmp, dir, name) == 0;
    if (!written) {
        bool failed = fail(e, "write", at, path);
        unlinkat(dir, tmp, 0);
        return failed;
    }
    return !durable || fs_sync_dir(dir, e);
}

bool fs_write(int at, const char *path, struct bytes content, mode_t mode, struct err *e)
{
    return replace(at, path, content, mode, true, e);
}

bool fs_replace(int at, const char *path, struct bytes content, mode_t mode, struct err *e)
{
    return replace(at, path, content, mode, false, e);
}

void fs_sweep(int at, const char *path)
{
    CLEANUP_FD dir = -1;
    const char *name;
    struct names names;
    struct err e;
    if (!open_parent(at, path, &dir, &name, &e) || !fs_list(dir, &names, &e))
        return;
    for (size_t i = 0; i < names.count; i++) {
        const char *tmp = names.names[i];
        if (tmp[0] != '.' || strstr(tmp, TMP_MARK) == NULL)
            continue;
        CLEANUP_FD fd = openat(dir, tmp, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
            unlinkat(dir, tmp, 0);
    }
    names_clear(&names);
}

bool fs_remove(int at, const char *path, struct err *e)
{
    CLEANUP_FD dir = -1;
    const char *name;
    if (!open_parent(at, path, &dir, &name, e))
        return false;
    if (unlinkat(dir, name, 0) == 0)
        return fs_sync_dir(dir, e);
    return errno == ENOENT || fail(e, "remove", at, path);
}

bool fs_rename(int from_dir, const char *from, int to_dir, const char *to, struct err *e)
{
    CLEANUP_FD source = -1;
    CLEANUP_FD target = -1;
    const char *from_name, *to_name;
    if (!open_parent(from_dir, from, &source, &from_name, e) ||
        !open_parent(to_dir, to, &target, &to_name, e))
        return false;
    if (renameat(source, from_name, target, to_name) != 0) {
        int saved = errno;
        struct where a = where(from_dir, from), b = where(to_dir, to);
        errno = saved;
        return err_set(e, CODE_IO, "cannot rename %.200s to %.200s: %m", a.text, b.text);
    }
    // The new name first: after a crash between the two it is rather in both folders than in none.
    return fs_sync_dir(target, e) && fs_sync_dir(source, e);
}

bool fs_symlink(int at, const char *path, const char *target, struct err *e)
{
    CLEANUP_FD folder = -1;
    const char *name;
    char fresh[NAME_MAX + 1];
    if (!open_parent(at, path, &folder, &name, e))
        return false;
    snprintf(fresh, sizeof fresh, ".%.200s.tmp", name);
    if ((unlinkat(folder, fresh, 0) != 0 && errno != ENOENT) ||
        symlinkat(target, folder, fresh) != 0 || renameat(folder, fresh, folder, name) != 0)
        return fail(e, "make the link", at, path);
    return fs_sync_dir(folder, e);
}

bool fs_sync_dir(int dir, struct err *e)
{
    return fsync(dir) == 0 || fail(e, "sync the folder", dir, ".");
}

bool fs_exists(int at, const char *path)
{
    return faccessat(at, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

// Removal without recursion: what is below a folder's folders is moved up to the top first, so that
// neither a depth of thousands nor a swap by somebody else can lead us anywhere. Two descriptors
// are open, whatever is in there.
struct removal {
    int top;
    dev_t device;
    unsigned moved;
};

static int open_below(int dir, const char *name)
{
    return openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static DIR *list_open(int dir)
{
    int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = copy < 0 ? NULL : fdopendir(copy);
    if (list == NULL && copy >= 0)
        close(copy);
    return list;
}

// The next entry but . and ..; NULL at the end (errno 0) or on an error.
static struct dirent *list_next(DIR *list)
{
    for (;;) {
        errno = 0;
        struct dirent *entry = readdir(list);
        if (entry == NULL || (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0))
            return entry;
    }
}

// Removes a file or an empty folder. False with ENOTEMPTY for a folder with something in it.
static bool remove_simple(int dir, const char *name)
{
    if (unlinkat(dir, name, 0) == 0 || errno == ENOENT)
        return true;
    if (errno != EISDIR && errno != EPERM)
        return false;
    if (unlinkat(dir, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
        return true;
    if (errno == EEXIST)
        errno = ENOTEMPTY;
    return false;
}

static bool move_up(struct removal *r, int dir, const char *name)
{
    for (int attempt = 0; attempt < 1000; attempt++) {
        char up[32];
        snprintf(up, sizeof up, ".removed-%u", r->moved++);
        if (renameat(dir, name, r->top, up) == 0)
            return true;
        if (errno == EACCES && attempt == 0) { // a read-only folder of our own
            CLEANUP_FD below = open_below(dir, name);
            if (below < 0 || fchmod(below, 0700) != 0)
                return false;
        } else if (errno != ENOTEMPTY && errno != EEXIST && errno != ENOTDIR && errno != EISDIR) {
            return false;
        }
    }
    return false;
}

// Empties folder `name` of the top and removes it.
static bool remove_folder(struct removal *r, const char *name)
{
    CLEANUP_FD dir = open_below(r->top, name);
    struct stat st;
    if (dir < 0 || fstat(dir, &st) != 0)
        return false;
    if (st.st_dev != r->device) {
        errno = EXDEV;
        return false;
    }
    if ((st.st_mode & 0700) != 0700 && fchmod(dir, 0700) != 0)
        return false;
    DIR *list = list_open(dir);
    if (list == NULL)
        return false;
    bool ok = true;
    struct dirent *entry;
    while (ok && (entry = list_next(list)) != NULL)
        ok = remove_simple(dir, entry->d_name) ||
             (errno == ENOTEMPTY && move_up(r, dir, entry->d_name));
    ok = ok && errno == 0;
    int saved = errno;
    closedir(list);
    errno = saved;
    // Somebody may have added to it meanwhile; the next round sees to that.
    return ok && (unlinkat(r->top, name, AT_REMOVEDIR) == 0 || errno == ENOTEMPTY);
}

static bool remove_round(struct removal *r, bool *empty)
{
    DIR *list = list_open(r->top);
    if (list == NULL)
        return false;
    bool ok = true;
    *empty = true;
    struct dirent *entry;
    while (ok && (entry = list_next(list)) != NULL) {
        *empty = false;
        ok = remove_simple(r->top, entry->d_name) ||
             (errno == ENOTEMPTY && remove_folder(r, entry->d_name));
        errno = ok ? 0 : errno;
    }
    ok = ok && errno == 0;
    int saved = errno;
    closedir(list);
    errno = saved;
    return ok;
}

bool fs_remove_tree(int at, const char *path, struct err *e)
{
    CLEANUP_FD parent = -1;
    const char *name;
    if (!open_parent(at, path, &parent, &name, e))
        return false;
    if (!remove_simple(parent, name)) {
        struct removal r = {.moved = 0};
        struct stat st;
        if (errno != ENOTEMPTY)
            return fail(e, "remove", at, path);
        CLEANUP_FD top = open_below(parent, name);
        if (top < 0 || fstat(top, &st) != 0)
            return fail(e, "remove", at, path);
        if ((st.st_mode & 0700) != 0700 && fchmod(top, 0700) != 0)
            return fail(e, "remove", at, path);
        r.top = top;
        r.device = st.st_dev;
        for (bool empty = false; !empty;) {
            if (!remove_round(&r, &empty))
                return fail(e, "remove", at, path);
        }
        if (unlinkat(parent, name, AT_REMOVEDIR) != 0 && errno != ENOENT)
            return fail(e, "remove", at, path);
    }
    return fs_sync_dir(parent, e);
}

bool fs_readlink(int at, const char *path, char *target, size_t room, struct err *e)
{
    char now[PATH_MAX], link[PATH_MAX];
    struct stat st;
    bool found = fstatat(at, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
    if (!found && errno != ENOENT && errno != ENOTDIR)
        return fail(e, "read the link", at, path);
    now[0] = '\0';
    if (found && S_ISLNK(st.st_mode)) {
        char full[PATH_MAX];
        snprintf(full, sizeof full, "%s", where(at, path).text);
        if (realpath(full, now) == NULL) {
            if (errno != ENOENT)
                return fail(e, "follow the link", at, path);
            // It dangles: as far as there are links.
            strcpy(now, full);
            for (int hops = 0; hops < 40; hops++) {
                ssize_t len = readlink(now, link, sizeof link - 1);
                if (len < 0)
                    break;
                link[len] = '\0';
                char *slash = strrchr(now, '/');
                size_t keep = link[0] == '/' || slash == NULL ? 0 : (size_t)(slash - now) + 1;
                if (keep + (size_t)len >= sizeof now) {
                    errno = ENAMETOOLONG;
                    return fail(e, "follow the link", at, path);
                }
                memcpy(now + keep, link, (size_t)len + 1);
            }
        }
    }
    if (strlen(now) >= room) {
        errno = ENAMETOOLONG;
        return fail(e, "follow the link", at, path);
    }
    strcpy(target, now);
    return true;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

bool fs_list(int dir, struct names *names, struct err *e)
{
    DIR *list = list_open(dir);
    if (list == NULL)
        return fail(e, "list the folder", dir, ".");
    struct names found = {0};
    size_t room = 0;
    struct dirent *entry;
    while ((entry = list_next(list)) != NULL) {
        if (found.count == room) {
            room = room == 0 ? 32 : 2 * room;
            found.names = realloc(found.names, room * sizeof *found.names);
            ASSERT(found.names != NULL);
        }
        found.names[found.count++] = xstrdup(entry->d_name);
    }
    int saved = errno;
    closedir(list);
    if (saved != 0) {
        names_clear(&found);
        errno = saved;
        return fail(e, "list the folder", dir, ".");
    }
    if (found.count > 0)
        qsort(found.names, found.count, sizeof *found.names, compare_names);
    *names = found;
    return true;
}

void names_clear(struct names *names)
{
    for (size_t i = 0; i < names->count; i++)
        free(names->names[i]);
    free(names->names);
    *names = (struct names){0};
}

bool fs_lock(int at, const char *path, bool wait, int *fd, struct err *e)
{
    CLEANUP_FD lock =
        openat(at, path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
    if (lock < 0)
        return fail(e, "open the lock", at, path);
    int rc;
    do {
        rc = flock(lock, LOCK_EX | (wait ? 0 : LOCK_NB));
    } while (rc != 0 && errno == EINTR);
    if (rc != 0 && errno == EWOULDBLOCK)
        return err_set(e, CODE_BUSY, "somebody else holds the lock %s", where(at, path).text);
    if (rc != 0)
        return fail(e, "lock", at, path);
    *fd = lock;
    lock = -1;
    return true;
}

static bool check_private(
    int at, const char *path, mode_t type, bool secret, const char *what, struct err *e)
{
    struct stat st;
    if (fstatat(at, path, &st, 0) != 0) {
        int saved = errno;
        struct where w = where(at, path);
        errno = saved;
        return err_set(e, CODE_CONFIG, "cannot look at %s: %m", w.text);
    }
    struct where w = where(at, path);
    if ((st.st_mode & S_IFMT) != type)
        return err_set(e, CODE_CONFIG, "%s is not a %s", w.text, what);
    if (st.st_uid != 0 && st.st_uid != geteuid())
        return err_set(e, CODE_CONFIG,
            "%.200s belongs to user %u, who could change it at will: chown root %.200s", w.text,
            (unsigned)st.st_uid, w.text);
    if (secret && (st.st_mode & 077) != 0)
        return err_set(e, CODE_CONFIG, "%.200s is secret, but others may open it: chmod go= %.200s",
            w.text, w.text);
    if ((st.st_mode & 022) != 0)
        return err_set(
            e, CODE_CONFIG, "others may write %.200s: chmod go-w %.200s", w.text, w.text);
    return true;
}

bool fs_check_private(int at, const char *path, bool secret, struct err *e)
{
    return check_private(at, path, S_IFREG, secret, "regular file", e);
}

bool fs_check_private_dir(int at, const char *path, bool secret, struct err *e)
{
    return check_private(at, path, S_IFDIR, secret, "folder", e);
}

// A slot: 64 bytes of header, then the record. Numbers are little-endian. Frozen: other versions of
// bento read it.
//   0 "bentoslt"   8 u32 version 1   12 u32 zero   16 u64 generation   24 u64 length   32 SHA-256
//   of 0..31 and the record
#define SLOT_HEADER_BYTES 64u
#define SLOT_ALIGN 4096u // slots share no block, so a torn write of one leaves the other alone
#define SLOT_VERSION 1u

static const char slot_magic[8] = {'b', 'e', 'n', 't', 'o', 's', 'l', 't'};

static void put_le(uint8_t *at, uint64_t value, size_t len)
{
    for (size_t i = 0; i < len; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

static uint64_t get_le(const uint8_t *at, size_t len)
{
    uint64_t value = 0;
    for (size_t i = 0; i < len; i++)
        value |= (uint64_t)at[i] << (8 * i);
    return value;
}

static void slot_encode(struct buf *slot, uint64_t generation, struct bytes record)
{
    uint8_t head[32] = {0}, hash[HASH_BYTES];
    memcpy(head, slot_magic, sizeof slot_magic);
    put_le(head + 8, SLOT_VERSION, 4);
    put_le(head + 16, generation, 8);
    put_le(head + 24, record.len, 8);
    struct buf covered = {0};
    buf_append(&covered, head, sizeof head);
    buf_append(&covered, record.at, record.len);
    sha256(buf_bytes(&covered), hash);
    buf_append(slot, head, sizeof head);
    buf_append(slot, hash, sizeof hash);
    buf_append(slot, record.at, record.len);
    buf_clear(&covered);
}

// Generation of a slot, 0 if it is empty, torn or damaged, or so large that none could follow.
static uint64_t slot_judge(struct bytes slot, struct bytes *record)
{
    if (slot.len < SLOT_HEADER_BYTES || memcmp(slot.at, slot_magic, sizeof slot_magic) != 0)
        return 0;
    uint64_t length = get_le(slot.at + 24, 8);
    if (length > slot.len - SLOT_HEADER_BYTES)
        return 0;
    *record = bytes_of(slot.at + SLOT_HEADER_BYTES, (size_t)length);
    uint64_t generation = get_le(slot.at + 16, 8);
    struct buf again = {0};
    slot_encode(&again, generation, *record); // covers the hash, the version and the zeros alike
    bool same = memcmp(again.at, slot.at, SLOT_HEADER_BYTES) == 0;
    buf_clear(&again);
    return same && generation != UINT64_MAX ? generation : 0;
}

static bool read_slot(const struct slots *slots, unsigned which, struct buf *out)
{
    buf_reserve(out, slots->slot_bytes);
    while (out->len < slots->slot_bytes) {
        ssize_t got = pread(slots->fd, out->at + out->len, slots->slot_bytes - out->len,
            (off_t)(which * slots->slot_bytes + out->len));
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        out->len += (size_t)got;
    }
    return true;
}

#define SCANS_MAX 20

// They start again at 1, so that what is written next is always newer. 0 stands for none.
static uint64_t generation_after(uint64_t generation)
{
    return generation + 1 < UINT64_MAX ? generation + 1 : 1;
}

static bool is_newer(uint64_t generation, uint64_t than)
{
    return generation != 0 && (than == 0 || (int64_t)(generation - than) > 0);
}

// Looks at both. A slot that the disk cannot read is as good as a torn one.
static void slots_scan(struct slots *slots, struct buf *newest)
{
    slots->generation = 0;
    slots->newest = 1; // so that the first write goes to slot 0
    for (unsigned which = 0; which < 2; which++) {
        struct buf slot = {0};
        struct bytes record;
        uint64_t generation =
            read_slot(slots, which, &slot) ? slot_judge(buf_bytes(&slot), &record) : 0;
        if (is_newer(generation, slots->generation)) {
            slots->generation = generation;
            slots->newest = which;
            if (newest != NULL) {
                newest->len = 0;
                buf_append(newest, record.at, record.len);
            }
        }
        buf_clear(&slot);
    }
}

void fs_rewrite_in_place(int fd)
{
    int flags;
    if (ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0) {
        flags |= FS_NOCOW_FL;
        (void)ioctl(fd, FS_IOC_SETFLAGS, &flags);
    }
}

// All or nothing: it gets its name when every block of it is on disk.
static MUST_CHECK bool slots_create(int at, const char *path, size_t slot_bytes, struct err *e)
{
    CLEANUP_FD dir = -1;
    const char *name;
    char tmp[NAME_MAX + 1];
    if (!open_parent(at, path, &dir, &name, e))
        return false;
    CLEANUP_FD fd = open_tmp(dir, name, tmp);
    if (fd < 0)
        return fail(e, "make", at, path);
    fs_rewrite_in_place(fd);
    size_t size = 2 * slot_bytes;
    int rc = posix_fallocate(fd, 0, (off_t)size); // an errno, not -1
    if (rc != 0)
        errno = rc;
    bool ok = rc == 0;
    // Real zeros: preallocated extents are converted on their first write, which takes room again.
    uint8_t *zeros = xcalloc(1, slot_bytes);
    ok = ok && write_all(fd, bytes_of(zeros, slot_bytes)) &&
         write_all(fd, bytes_of(zeros, slot_bytes));
    int saved = errno;
    free(zeros);
    errno = saved;
    ok = ok && fsync(fd) == 0;
    if (ok && renameat2(dir, tmp, dir, name, RENAME_NOREPLACE) == 0)
        return fs_sync_dir(dir, e);
    bool raced = ok && errno == EEXIST;
    bool done = raced || fail(e, "make", at, path);
    unlinkat(dir, tmp, 0);
    return done;
}

bool slots_open(struct slots *slots, int at, const char *path, size_t max, struct err *e)
{
    size_t slot_bytes = (SLOT_HEADER_BYTES + max + SLOT_ALIGN - 1) / SLOT_ALIGN * SLOT_ALIGN;
    int flags = O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
    CLEANUP_FD fd = openat(at, path, flags);
    if (fd < 0 && errno == ENOENT) {
        if (!slots_create(at, path, slot_bytes, e))
            return false;
        fd = openat(at, path, flags);
    }
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0)
        return fail(e, "open", at, path);
    if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != 2 * slot_bytes)
        return err_set(e, CODE_CONFIG, "%s should be a file of %zu bytes, but has %lld",
            where(at, path).text, 2 * slot_bytes, (long long)st.st_size);
    *slots = (struct slots){.fd = fd, .slot_bytes = slot_bytes};
    slots_scan(slots, NULL);
    fd = -1;
    return true;
}

bool slots_read(struct slots *slots, struct buf *out, struct err *e)
{
    struct buf record = {0};
    uint64_t before;
    unsigned rounds = 0;
    do { // somebody may be writing, and may have written more than once while one slot was read
        before = slots->generation;
        slots_scan(slots, &record);
    } while (slots->generation != before && ++rounds < SCANS_MAX);
    if (slots->generation != 0)
        buf_append(out, record.at, record.len);
    buf_clear(&record);
    return slots->generation != 0 || err_set(e, CODE_NONE, "no valid record is stored");
}

bool slots_write(struct slots *slots, struct bytes record, struct err *e)
{
    if (record.len > slots->slot_bytes - SLOT_HEADER_BYTES)
        return err_set(e, CODE_LENGTH, "a record of %zu bytes does not fit its slot", record.len);
    unsigned older = 1 - slots->newest;
    struct buf slot = {0};
    uint64_t generation = generation_after(slots->generation);
    slot_encode(&slot, generation, record);
    size_t done = 0;
    while (done < slot.len) {
        ssize_t put = pwrite(
            slots->fd, slot.at + done, slot.len - done, (off_t)(older * slots->slot_bytes + done));
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            break;
        done += (size_t)put;
    }
    bool ok = done == slot.len && fdatasync(slots->fd) == 0;
    int saved = errno;
    buf_clear(&slot);
    errno = saved;
    if (!ok)
        return err_set(e, CODE_IO, "cannot write a record: %m");
    slots->generation = generation;
    slots->newest = older;
    return true;
}

void slots_close(struct slots *slots)
{
    if (slots->slot_bytes != 0)
        close(slots->fd);
    *slots = (struct slots){.fd = -1};
}
