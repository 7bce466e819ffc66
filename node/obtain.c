// The toplevel of a configuration: substituted if anybody has it, else evaluated, compared and only
// then built.
#include "actions.h"

#include "fs.h"
#include "kept.h"
#include "toplevel.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>

struct obtain {
    const struct config *config;
    const struct meta *meta;
    int state;           // state/apply
    char root[PATH_MAX]; // the GC root to make
    char expected[STORE_PATH_BYTES_MAX + 1];
};

static void join(struct buf *out, const struct bytes *words, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        buf_append(out, " ", i > 0);
        buf_append(out, words[i].at, words[i].len);
    }
}

// 1: from the machine's own store or a substituter. Costs some 30 ms when nobody has it.
static bool substitute(struct obtain *o)
{
    struct buf urls CLEANUP(buf_clear) = {0};
    struct buf keys CLEANUP(buf_clear) = {0};
    join(&urls, o->meta->substituters, o->meta->substituter_count);
    join(&keys, o->meta->public_keys, o->meta->public_key_count);
    const char *argv[] = {"nix-store", "--realise", o->expected, "--add-root", o->root,
        "--indirect", "--option", "extra-substituters", buf_text(&urls), "--option",
        "extra-trusted-public-keys", buf_text(&keys), "--option", "narinfo-cache-negative-ttl", "0",
        "--option", "stalled-download-timeout", "60", "--max-jobs", "0", NULL};
    return run_command(o->config, argv, NULL) == 0;
}

static int obtain(struct obtain *o, const struct opened *opened)
{
    if (!preflight_has_store()) {
        return OBTAIN_EXIT_BUILD; // tried again later, when there may be room
    }
    if (o->expected[0] != '\0' && substitute(o)) {
        return 0;
    }
    if (o->meta->substitute_only || !opened->bundle.has_tree) {
        fprintf(
            stderr, "no substituter has %s, and building it here is not allowed\n", o->expected);
        return OBTAIN_EXIT_BUILD;
    }
    const struct toplevel toplevel = {o->config, o->meta, o->root, o->expected};
    struct buf source CLEANUP(buf_clear) = {0};
    char path[PATH_MAX];
    struct err e;
    if (!source_unpack(o->config, o->state, opened, path, &e) ||
        !source_add(o->config, o->state, path, &source, &e)) {
        fprintf(stderr, "%s\n", e.text);
        return OBTAIN_EXIT_IO;
    }
    return toplevel_build(&toplevel, buf_text(&source));
}

// What would happen, for the log: that is all that was asked for.
static int dry_activate(const struct obtain *o)
{
    char program[PATH_MAX + 64];
    snprintf(program, sizeof program, "%s/bin/switch-to-configuration", o->root);
    const char *argv[] = {program, "dry-activate", NULL};
    return run_command(o->config, argv, NULL) == 0 ? 0 : OBTAIN_EXIT_DRY;
}

int action_obtain(const struct invocation *call)
{
    struct err e;
    struct opened opened = {0};
    struct obtain o = {.config = call->config, .meta = &opened.bundle.meta};
    CLEANUP_FD state = -1;
    if (call->argc != 1) {
        fprintf(stderr, "usage: bento-apply obtain DIGEST\n");
        return 64;
    }
    if (!kept_load(call->config, call->argv[0], &opened, &e) ||
        !fs_open_dir(AT_FDCWD, call->state, &state, &e)) {
        fprintf(stderr, "%s\n", e.text);
        return OBTAIN_EXIT_IO;
    }
    o.state = state;
    snprintf(o.root, sizeof o.root, "%s/roots/%s", call->state, call->argv[0]);
    bytes_copy_text(o.meta->expected, o.expected, sizeof o.expected);
    int status = obtain(&o, &opened);
    if (status == 0 && o.meta->action == ACTION_DRY) {
        status = dry_activate(&o);
    } else if (status == 0) {
        status = preflight(call, o.root);
    }
    opened_clear(&opened);
    return status;
}
