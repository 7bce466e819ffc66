// The files of one folder as one canonical message. PROTOCOL.md §tree. Folders on disk: rt/treefs.h
#pragma once

#include "bounds.h"
#include "wire.h"

struct tree_file {
    struct bytes path; // relative, clean; borrowed
    bool executable;
    struct bytes content; // borrowed
};

struct tree {
    size_t count;
    // Strictly ascending by path; the array is owned, what it points to is borrowed.
    struct tree_file *files;
};

// Sorts files by path and appends the message. ARCHIVE if a path is bad, double, or a file is
// another's folder; LENGTH.
MUST_CHECK bool tree_encode(struct tree *tree, struct buf *out, struct err *e);
// ARCHIVE. On success the caller calls tree_clear(); message must outlive *tree.
MUST_CHECK bool tree_decode(struct bytes message, struct tree *tree, struct err *e);
void tree_clear(struct tree *tree);
// Relative, no empty component, no `.` or `..`, no control characters, within the limits.
bool tree_path_is_clean(struct bytes path);
