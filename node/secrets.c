#include "secrets.h"

#include "fs.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/magic.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define NUMBER_BYTES 24
#define OWNERLESS_MODE 0400

// A secret as a file.
struct placed {
    const struct secret *secret;
    char name[SECRET_NAME_BYTES_MAX + 1];
    uid_t uid;
    gid_t gid;
    mode_t mode;
};

// --- whose: "" is root ---

static bool find_user(struct bytes name, uid_t *uid)
{
    char text[128];
    bytes_copy_text(name, text, sizeof text);
    const struct passwd *found = name.len > 0 ? getpwnam(text) : NULL;
    *uid = found != NULL ? found->pw_uid : 0;
    return found != NULL || name.len == 0;
}

static bool find_group(struct bytes name, gid_t *gid)
{
    char text[128];
    bytes_copy_text(name, text, sizeof text);
    const struct group *found = name.len > 0 ? getgrnam(text) : NULL;
    *gid = found != NULL ? found->gr_gid : 0;
    return found != NULL || name.len == 0;
}

static bool refuse(const struct secret *secret, const char *kind, struct bytes name, struct err *e)
{
    return err_set(e, CODE_SECRETS,
        "secret %.*s: this machine has no %s '%.*s': make it, or correct the secret's %s in "
        "fleet.nix",
        (int)secret->name.len, (const char *)secret->name.at, kind, (int)name.len,
        (const char *)name.at, kind[0] == 'u' ? "owner" : "group");
}

static bool check_owner(const struct secret *secret, struct err *e)
{
    uid_t uid;
    gid_t gid;
    if (!find_user(secret->owner, &uid)) {
        return refuse(secret, "user", secret->owner, e);
    }
    return find_group(secret->group, &gid) || refuse(secret, "group", secret->group, e);
}

bool secrets_check_owners(const struct bundle *bundle, struct err *e)
{
    for (size_t i = 0; i < bundle->secret_count; i++) {
        if (!check_owner(&bundle->secrets[i], e)) {
            return false;
        }
    }
    return true;
}

static struct placed place(const struct secret *secret)
{
    struct placed placed = {.secret = secret, .mode = (mode_t)secret->mode};
    bytes_copy_text(secret->name, placed.name, sizeof placed.name);
    bool known = find_user(secret->owner, &placed.uid) && find_group(secret->group, &placed.gid);
    if (!known) {
        placed.uid = 0;
        placed.gid = 0;
        placed.mode = OWNERLESS_MODE;
    }
    return placed;
}

// --- where ---

static bool is_memory(const char *folder, long type)
{
    struct statfs fs;
    return statfs(folder, &fs) == 0 && fs.f_type == type;
}

// A ramfs of its own. Where that may not be mounted, a tmpfs that is there will do.
static bool ensure_memory(const char *folder, struct err *e)
{
    if (!fs_exists(AT_FDCWD, folder) && !fs_make_dir(AT_FDCWD, folder, 0755, true, e)) {
        return false;
    }
    if (is_memory(folder, RAMFS_MAGIC) || mount("bento-secrets", folder, "ramfs",
                                              MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0755") == 0) {
        return true;
    }
    int cause = errno;
    if (is_memory(folder, TMPFS_MAGIC)) {
        return true;
    }
    errno = cause;
    return err_set(e, CODE_SECRETS,
        "%s is on a disk, and a ramfs cannot be mounted there (%m): `secrets` in the node's "
        "configuration has to be a path below /run",
        folder);
}

// --- a folder of secrets ---

static bool fill(int fd, const struct placed *placed)
{
    const struct bytes content = placed->secret->content;
    for (size_t done = 0; done < content.len;) {
        ssize_t n = write(fd, content.at + done, content.len - done);
        if (n < 0 && errno != EINTR) {
            return false;
        }
        done += n > 0 ? (size_t)n : 0;
    }
    return fchown(fd, placed->uid, placed->gid) == 0 && fchmod(fd, placed->mode) == 0;
}

static bool write_one(int dir, const struct placed *placed, struct err *e)
{
    CLEANUP_FD fd =
        openat(dir, placed->name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    return (fd >= 0 && fill(fd, placed)) ||
           err_set(e, CODE_SECRETS, "secret %s cannot be installed: %m", placed->name);
}

static bool is_there(int dir, const struct placed *placed)
{
    struct stat st;
    struct buf content CLEANUP(buf_clear) = {0};
    struct err e;
    return fstatat(dir, placed->name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
           st.st_uid == placed->uid && st.st_gid == placed->gid &&
           (st.st_mode & 07777) == placed->mode &&
           fs_read(dir, placed->name, placed->secret->content.len, &content, &e) &&
           bytes_equal(buf_bytes(&content), placed->secret->content);
}

static bool are_there(int store, const char *number, const struct placed *placed, size_t count)
{
    struct names names = {0};
    struct err e;
    CLEANUP_FD dir = -1;
    if (number[0] == '\0' || !fs_open_dir(store, number, &dir, &e) || !fs_list(dir, &names, &e)) {
        return false;
    }
    bool same = names.count == count;
    names_clear(&names);
    for (size_t i = 0; i < count && same; i++) {
        same = is_there(dir, &placed[i]);
    }
    return same;
}

static bool write_all(
    int store, const char *number, const struct placed *placed, size_t count, struct err *e)
{
    CLEANUP_FD dir = -1;
    if (!fs_make_dir(store, number, 0755, false, e) || !fs_open_dir(store, number, &dir, e)) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (!write_one(dir, &placed[i], e)) {
            return false;
        }
    }
    return true;
}

// --- the folders and the link ---

// Of the folder that the link leads to; "" if it leads nowhere.
static void read_number(const struct config *config, char number[NUMBER_BYTES])
{
    char target[PATH_MAX];
    ssize_t n = readlink(config->secrets, target, sizeof target - 1);
    target[n < 0 ? 0 : n] = '\0';
    const char *slash = strrchr(target, '/');
    snprintf(number, NUMBER_BYTES, "%s", slash != NULL ? slash + 1 : "");
}

// What a change that was cut short left, and what was replaced.
static bool sweep(int store, const char *keep, struct err *e)
{
    struct names names = {0};
    bool ok = fs_list(store, &names, e);
    for (size_t i = 0; i < names.count && ok; i++) {
        ok = strcmp(names.names[i], keep) == 0 || fs_remove_tree(store, names.names[i], e);
    }
    names_clear(&names);
    return ok;
}

static bool move_link(const struct config *config, const char *number, struct err *e)
{
    const char *slash = strrchr(config->secrets, '/');
    char target[PATH_MAX];
    snprintf(target, sizeof target, "%s.d/%s", slash != NULL ? slash + 1 : config->secrets, number);
    struct stat st;
    bool other = lstat(config->secrets, &st) == 0 && !S_ISLNK(st.st_mode);
    if (other && rmdir(config->secrets) != 0) { // an empty folder may be made for us by somebody
        return err_set(e, CODE_SECRETS, "%s is in the way: bento makes a link there, remove it",
            config->secrets);
    }
    return fs_symlink(AT_FDCWD, config->secrets, target, e);
}

static bool replace(const struct config *config, int store, const char *number,
    const struct placed *placed, size_t count, struct err *e)
{
    char fresh[NUMBER_BYTES];
    snprintf(fresh, sizeof fresh, "%lu", strtoul(number, NULL, 10) + 1);
    bool moved = sweep(store, number, e) && write_all(store, fresh, placed, count, e) &&
                 move_link(config, fresh, e);
    struct err second;
    char kept[NUMBER_BYTES];
    read_number(config, kept);
    if (!sweep(store, kept, &second)) {
        fprintf(stderr, "%s\n", second.text);
    }
    return moved;
}

static bool install(
    const struct config *config, const struct placed *placed, size_t count, struct err *e)
{
    char folder[PATH_MAX], number[NUMBER_BYTES];
    CLEANUP_FD store = -1;
    snprintf(folder, sizeof folder, "%s.d", config->secrets);
    if (!ensure_memory(folder, e) || !fs_open_dir(AT_FDCWD, folder, &store, e)) {
        return false;
    }
    read_number(config, number);
    return are_there(store, number, placed, count) ||
           replace(config, store, number, placed, count, e);
}

bool secrets_install(const struct config *config, const struct bundle *bundle, struct err *e)
{
    size_t count = bundle != NULL ? bundle->secret_count : 0;
    if (count == 0 && !fs_exists(AT_FDCWD, config->secrets)) {
        return true; // most machines have none
    }
    struct placed *placed = xcalloc(count + 1, sizeof *placed);
    for (size_t i = 0; i < count; i++) {
        placed[i] = place(&bundle->secrets[i]);
    }
    bool ok = install(config, placed, count, e);
    free(placed);
    if (!ok) {
        e->code = CODE_SECRETS;
    }
    return ok;
}
