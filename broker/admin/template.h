// The first files of a repository, from nixos/template, which flake.nix offers as well: put into the
// program when it is built.
#pragma once

#include "bytes.h"

struct template_file {
    const char *path; // in the repository
    const char *text;
};
extern const struct template_file template_files[]; // a path of NULL ends it

// The text of a file that is known to be there.
const char *template_text(const char *path);
// text with `with` for every `word`, which looks like @name@. Appends.
void template_fill(const char *text, const char *word, const char *with, struct buf *out);
