// A folder to a tree and back: the one packer and unpacker that bento-pub and bento-apply share.
// PROTOCOL.md §tree
//
// Reproducible, or comparing with the expected path is worth nothing: regular files only, symlinks
// of the repository followed, executable = the owner's x bit, no empty folders.
#pragma once

#include "tree.h"

// Packs folder `path` of the repository rooted at `repository` (absolute; a symlink that leaves it,
// dangles or loops is an error that names it). Left out at the top: secrets/, SELF_UPDATE, REBOOT;
// anywhere: .git, result, result-*. Appends the tree message.
MUST_CHECK bool treefs_pack(
    const char *repository, const char *path, struct buf *tree, struct err *e);
// Writes the files into the fresh folder `name` under `dir` (openat2 BENEATH | NO_SYMLINKS, modes
// 0644/0755 whatever the umask, folders 0755). ARCHIVE or IO; what was written is gone after a
// failure. fsync is the caller's affair.
MUST_CHECK bool treefs_unpack(struct bytes tree, int dir, const char *name, struct err *e);
