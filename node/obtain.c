// The toplevel of a configuration: substituted if anybody has it, else evaluated, compared and only
// then built.
#include "actions.h"

#include "fs.h"
#include "kept.h"
#include "treefs.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

// The files, and nothing else, as a store path: the same on the admin's machine and here.
static bool add_source(
    struct obtain *o, const struct opened *opened, struct buf *source, struct err *e)
{
    char path[PATH_MAX];
    int status;
    snprintf(path, sizeof path, "%s/apply/work/source", o->config->state);
    CLEANUP_FD work = -1;
    if (!fs_remove_tree(o->state, "work", e) || !fs_make_dir(o->state, "work", 0700, false, e) ||
        !fs_open_dir(o->state, "work", &work, e) ||
        !treefs_unpack(buf_bytes(&opened->tree_plain), work, "source", e)) {
        return false;
    }
    const char *argv[] = {"nix-store", "--add", path, NULL};
    if (!run_collect(o->config, argv, source, &status)) {
        return err_set(e, CODE_IO, "nix-store --add failed with %d", status);
    }
    return fs_remove_tree(o->state, "work", e);
}

static int judge(const struct obtain *o, struct buf *path)
{
    if (path->len == 0 || path->len > STORE_PATH_BYTES_MAX) {
        fprintf(stderr, "the evaluation gave no store path\n");
        return OBTAIN_EXIT_EVAL;
    }
    if (o->expected[0] != '\0' && !bytes_equal_text(buf_bytes(path), o->expected)) {
        fprintf(stderr, "evaluates to %s, the signed release expects %s\n", buf_text(path),
            o->expected);
        return OBTAIN_EXIT_EXPECTED;
    }
    return 0;
}

static int build_flake(struct obtain *o, const char *source)
{
    struct buf installable CLEANUP(buf_clear) = {0};
    struct buf path CLEANUP(buf_clear) = {0};
    int status;
    buf_printf(&installable, "path:%s#nixosConfigurations.\"%.*s\".config.system.build.toplevel",
        source, (int)o->meta->attribute.len, (const char *)o->meta->attribute.at);
    buf_append_text(&path, "");
    struct buf out_path CLEANUP(buf_clear) = {0};
    buf_printf(&out_path, "%s.outPath", buf_text(&installable));
    const char *eval[] = {"nix", "--extra-experimental-features", "nix-command flakes", "eval",
        "--raw", buf_text(&out_path), "--no-update-lock-file", "--no-write-lock-file",
        "--no-use-registries", NULL};
    if (!run_collect(o->config, eval, &path, &status)) {
        return OBTAIN_EXIT_EVAL;
    }
    int verdict = judge(o, &path);
    if (verdict != 0) {
        return verdict;
    }
    const char *build[] = {"nix", "--extra-experimental-features", "nix-command flakes", "build",
        buf_text(&installable), "--no-update-lock-file", "--no-write-lock-file",
        "--no-use-registries", "--out-link", o->root, NULL};
    return run_command(o->config, build, NULL) == 0 ? 0 : OBTAIN_EXIT_BUILD;
}

// Pinned nixpkgs: fetched by hash. Unpinned: whatever the machine's NIX_PATH says, trusted on the
// admin's signed word.
static bool fetch_nixpkgs(const struct obtain *o, struct buf *path)
{
    struct buf words[2] = {{0}, {0}};
    struct buf text CLEANUP(buf_clear) = {0};
    int status;
    buf_append(&words[0], o->meta->nixpkgs_url.at, o->meta->nixpkgs_url.len);
    buf_append(&words[1], o->meta->nixpkgs_sha256.at, o->meta->nixpkgs_sha256.len);
    const char *argv[] = {"nix-prefetch-url", "--unpack", "--print-path", "--", buf_text(&words[0]),
        buf_text(&words[1]), NULL};
    bool ok = run_collect(o->config, argv, &text, &status);
    const char *line = ok ? strrchr(buf_text(&text), '\n') : NULL; // hash, then path
    if (line != NULL) {
        buf_printf(path, "nixpkgs=%s", line + 1);
    }
    buf_clear(&words[0]);
    buf_clear(&words[1]);
    return line != NULL;
}

static int build_classic(struct obtain *o, const char *source)
{
    struct buf config CLEANUP(buf_clear) = {0};
    struct buf nixpkgs CLEANUP(buf_clear) = {0};
    struct buf drv CLEANUP(buf_clear) = {0};
    struct buf path CLEANUP(buf_clear) = {0};
    char drv_root[PATH_MAX + 8];
    int status;
    buf_printf(&config, "nixos-config=%s/configuration.nix", source);
    snprintf(drv_root, sizeof drv_root, "%s.drv", o->root);
    const char *instantiate[16] = {"nix-instantiate", "<nixpkgs/nixos>", "-A", "system", "-I",
        buf_text(&config), "--add-root", drv_root, "--indirect"};
    if (o->meta->nixpkgs_url.len > 0) {
        if (!fetch_nixpkgs(o, &nixpkgs)) {
            return OBTAIN_EXIT_BUILD;
        }
        instantiate[9] = "-I";
        instantiate[10] = buf_text(&nixpkgs);
    }
    if (!run_collect(o->config, instantiate, &drv, &status)) {
        return OBTAIN_EXIT_EVAL;
    }
    const char *query[] = {"nix-store", "--query", "--outputs", drv_root, NULL};
    if (!run_collect(o->config, query, &path, &status)) {
        return OBTAIN_EXIT_EVAL;
    }
    int verdict = judge(o, &path);
    if (verdict == 0) {
        const char *realise[] = {
            "nix-store", "--realise", drv_root, "--add-root", o->root, "--indirect", NULL};
        verdict = run_command(o->config, realise, NULL) == 0 ? 0 : OBTAIN_EXIT_BUILD;
    }
    unlink(drv_root);
    return verdict;
}

static int obtain(struct obtain *o, const struct opened *opened)
{
    if (o->expected[0] != '\0' && substitute(o)) {
        return 0;
    }
    if (o->meta->substitute_only || !opened->bundle.has_tree) {
        fprintf(
            stderr, "no substituter has %s, and building it here is not allowed\n", o->expected);
        return OBTAIN_EXIT_BUILD;
    }
    struct buf source CLEANUP(buf_clear) = {0};
    struct err e;
    if (!add_source(o, opened, &source, &e)) {
        fprintf(stderr, "%s\n", e.text);
        return OBTAIN_EXIT_IO;
    }
    return o->meta->kind == KIND_CLASSIC ? build_classic(o, buf_text(&source))
                                         : build_flake(o, buf_text(&source));
}

// The new system must have a bento that can go on from this state and would accept this very
// release: a bad rotation of the signers, or a system without bento, would be the last one that
// this machine ever got.
static int ask_new_system(const struct obtain *o, const struct invocation *call)
{
    char program[PATH_MAX + 32], config[PATH_MAX + 32], envelope[PATH_MAX], own[PATH_MAX];
    if (realpath(o->root, own) == NULL) {
        fprintf(stderr, "%s: %m\n", o->root);
        return OBTAIN_EXIT_IO;
    }
    snprintf(program, sizeof program, "%s/sw/bin/bento-apply", own);
    snprintf(config, sizeof config, "%s/etc/bento/node.json", own);
    snprintf(envelope, sizeof envelope, "%s/envelope", call->state);
    if (access(program, X_OK) != 0) {
        fprintf(stderr, "the new system has no bento-apply (%s): it could never be updated again\n",
            program);
        return OBTAIN_EXIT_LOCKOUT;
    }
    const char *argv[] = {program, "--config", access(config, R_OK) == 0 ? config : o->config->path,
        "selfcheck", envelope, NULL};
    return run_command(o->config, argv, NULL) == 0 ? 0 : OBTAIN_EXIT_LOCKOUT;
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
    status = status == 0 ? ask_new_system(&o, call) : status;
    opened_clear(&opened);
    return status;
}
