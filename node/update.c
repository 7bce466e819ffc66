// A self update: what the applied configuration gives with the inputs of today. A flake's are
// updated in a copy; a classic configuration has what NIX_PATH leads to, which is evaluated again.
#include "actions.h"

#include "fs.h"
#include "kept.h"
#include "toplevel.h"

#include <fcntl.h>
#include <stdio.h>

static int update(
    const struct invocation *call, int state, const struct opened *opened, const char *root)
{
    const struct toplevel toplevel = {call->config, &opened->bundle.meta, root, ""};
    const char *argv[] = {
        "nix", "--extra-experimental-features", "nix-command flakes", "flake", "update", NULL};
    struct buf source CLEANUP(buf_clear) = {0};
    char path[PATH_MAX];
    struct err e;
    if (!opened->bundle.has_tree) {
        fprintf(stderr, "there is nothing to update: the system comes from a substituter alone\n");
        return OBTAIN_EXIT_EVAL;
    }
    if (!source_unpack(call->config, state, opened, path, &e)) {
        fprintf(stderr, "%s\n", e.text);
        return OBTAIN_EXIT_IO;
    }
    if (opened->bundle.meta.kind == KIND_FLAKE && run_command_in(call->config, path, argv) != 0) {
        return OBTAIN_EXIT_EVAL;
    }
    if (!source_add(call->config, state, path, &source, &e)) {
        fprintf(stderr, "%s\n", e.text);
        return OBTAIN_EXIT_IO;
    }
    return toplevel_build(&toplevel, buf_text(&source));
}

int action_update(const struct invocation *call)
{
    struct err e;
    struct opened opened = {0};
    char root[PATH_MAX];
    CLEANUP_FD state = -1;
    if (call->argc != 1) {
        fprintf(stderr, "usage: bento-apply update DIGEST\n");
        return 64;
    }
    if (!kept_load(call->config, call->argv[0], &opened, &e) ||
        !fs_open_dir(AT_FDCWD, call->state, &state, &e)) {
        fprintf(stderr, "%s\n", e.text);
        return OBTAIN_EXIT_IO;
    }
    snprintf(root, sizeof root, "%s/roots/%s.update", call->state, call->argv[0]);
    int status = update(call, state, &opened, root);
    opened_clear(&opened);
    return status == 0 ? preflight(call, root) : status;
}
