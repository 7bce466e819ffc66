// Files that survive. Every write is tmp + fsync + rename + fsync of the folder; every read refuses
// symlinks, fifos and anything larger than expected, and reads once.
#pragma once

#include "bytes.h"

#include <sys/types.h>

void fd_closep(int *fd);
#define CLEANUP_FD CLEANUP(fd_closep) int

// Opens a folder; IO. A path relative to a descriptor is not followed if it is a symlink, a path of
// the caller's (AT_FDCWD) is.
MUST_CHECK bool fs_open_dir(int at, const char *path, int *dir, struct err *e);
// The last component only if parents is false; those above it get 0755. An existing folder stays as
// it is. The mode is exact, whatever the umask. Durable.
MUST_CHECK bool fs_make_dir(int at, const char *path, mode_t mode, bool parents, struct err *e);
// Regular file of at most max bytes, O_NOFOLLOW | O_NONBLOCK. IO, NONE if it does not exist, LENGTH
// if larger. Appends to out.
MUST_CHECK bool fs_read(int at, const char *path, size_t max, struct buf *out, struct err *e);
// Follows a symlink (configuration and keys that Nix links). Otherwise as fs_read.
MUST_CHECK bool fs_read_following(
    int at, const char *path, size_t max, struct buf *out, struct err *e);
// Atomic replace. The file is either the old or the new one, durable when this returns true.
MUST_CHECK bool fs_write(
    int at, const char *path, struct bytes content, mode_t mode, struct err *e);
// The same for what can be made again: readers see the old or the new one, but after a power cut there
// may be an empty one. Saves two syncs of the disk.
MUST_CHECK bool fs_replace(
    int at, const char *path, struct bytes content, mode_t mode, struct err *e);
// Atomic replace of a symlink. Durable.
MUST_CHECK bool fs_symlink(int at, const char *path, const char *target, struct err *e);
// Removes the temporary files that killed writers left in the folder of `path`; those of living ones
// stay. To be called at start, or a program that is killed again and again fills the disk. What
// cannot be removed stays for the next time.
void fs_sweep(int at, const char *path);
// Durable removal of a file; absent is fine.
MUST_CHECK bool fs_remove(int at, const char *path, struct err *e);
// Durable rename inside or between folders.
MUST_CHECK bool fs_rename(
    int from_dir, const char *from, int to_dir, const char *to, struct err *e);
// rm -r without following anything; absent is fine.
MUST_CHECK bool fs_remove_tree(int at, const char *path, struct err *e);
MUST_CHECK bool fs_sync_dir(int dir, struct err *e);
bool fs_exists(int at, const char *path);
// readlink -f without the final target having to exist in the store; "" if it is no link or not
// there at all.
MUST_CHECK bool fs_readlink(int at, const char *path, char *target, size_t room, struct err *e);
// Names in a folder, sorted, without . and ..; caller frees with names_clear.
struct names {
    size_t count;
    char **names;
};
MUST_CHECK bool fs_list(int dir, struct names *names, struct err *e);
void names_clear(struct names *names);
// Advisory lock on a file that is created if needed; BUSY if held. Released by closing *fd.
MUST_CHECK bool fs_lock(int at, const char *path, bool wait, int *fd, struct err *e);
// Owner is root or us and nobody else may write (and, if secret, read); follows links, checks the
// final file. CONFIG says which file and which chmod mends it.
MUST_CHECK bool fs_check_private(int at, const char *path, bool secret, struct err *e);
// The same of a folder: who may write it may replace what is in it.
MUST_CHECK bool fs_check_private_dir(int at, const char *path, bool secret, struct err *e);

// For a new, empty file that is to be rewritten on a full disk: on btrfs a rewrite would need new blocks.
// Others do not know the flag.
void fs_rewrite_in_place(int fd);

// A small record that can be rewritten on a full disk: two checksummed slots in a file preallocated
// once, fdatasync.
struct slots {
    int fd;
    size_t slot_bytes;
    uint64_t generation; // of the newest valid slot
    unsigned newest;     // 0 or 1
};
// Creates it with room for records of max bytes. IO; an existing one of another size is an error
// (CONFIG).
MUST_CHECK bool slots_open(
    struct slots *slots, int at, const char *path, size_t max, struct err *e);
// The newest valid record; NONE if there is none yet. Both slots damaged is NONE too, and logged by
// the caller.
MUST_CHECK bool slots_read(struct slots *slots, struct buf *out, struct err *e);
// Durable when it returns true; a crash at any moment leaves the old or the new record.
MUST_CHECK bool slots_write(struct slots *slots, struct bytes record, struct err *e);
void slots_close(struct slots *slots);
