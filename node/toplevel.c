#include "toplevel.h"

#include "actions.h"
#include "fs.h"
#include "treefs.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

bool source_unpack(const struct config *config, int state, const struct opened *opened,
    char path[PATH_MAX], struct err *e)
{
    snprintf(path, PATH_MAX, "%s/apply/work/source", config->state);
    CLEANUP_FD work = -1;
    return fs_remove_tree(state, "work", e) && fs_make_dir(state, "work", 0700, false, e) &&
           fs_open_dir(state, "work", &work, e) &&
           treefs_unpack(buf_bytes(&opened->tree_plain), work, "source", e);
}

bool source_add(
    const struct config *config, int state, const char *path, struct buf *source, struct err *e)
{
    const char *argv[] = {"nix-store", "--add", path, NULL};
    int status;
    if (!run_collect(config, argv, source, &status)) {
        return err_set(e, CODE_IO, "nix-store --add failed with %d", status);
    }
    return fs_remove_tree(state, "work", e);
}

static int judge(const struct toplevel *t, struct buf *path)
{
    if (path->len == 0 || path->len > STORE_PATH_BYTES_MAX) {
        fprintf(stderr, "the evaluation gave no store path\n");
        return OBTAIN_EXIT_EVAL;
    }
    if (t->expected[0] != '\0' && !bytes_equal_text(buf_bytes(path), t->expected)) {
        fprintf(stderr, "evaluates to %s, the signed release expects %s\n", buf_text(path),
            t->expected);
        return OBTAIN_EXIT_EXPECTED;
    }
    return 0;
}

static int build_flake(const struct toplevel *t, const char *source)
{
    struct buf installable CLEANUP(buf_clear) = {0};
    struct buf path CLEANUP(buf_clear) = {0};
    int status;
    buf_printf(&installable, "path:%s#nixosConfigurations.\"%.*s\".config.system.build.toplevel",
        source, (int)t->meta->attribute.len, (const char *)t->meta->attribute.at);
    buf_append_text(&path, "");
    struct buf out_path CLEANUP(buf_clear) = {0};
    buf_printf(&out_path, "%s.outPath", buf_text(&installable));
    const char *eval[] = {"nix", "--extra-experimental-features", "nix-command flakes", "eval",
        "--raw", buf_text(&out_path), "--no-update-lock-file", "--no-write-lock-file",
        "--no-use-registries", NULL};
    if (!run_collect(t->config, eval, &path, &status)) {
        return OBTAIN_EXIT_EVAL;
    }
    int verdict = judge(t, &path);
    if (verdict != 0) {
        return verdict;
    }
    const char *build[] = {"nix", "--extra-experimental-features", "nix-command flakes", "build",
        buf_text(&installable), "--no-update-lock-file", "--no-write-lock-file",
        "--no-use-registries", "--out-link", t->root, NULL};
    return run_command(t->config, build, NULL) == 0 ? 0 : OBTAIN_EXIT_BUILD;
}

// Pinned nixpkgs: fetched by hash. Unpinned: whatever the machine's NIX_PATH says, trusted on the
// admin's signed word.
static bool fetch_nixpkgs(const struct toplevel *t, struct buf *path)
{
    struct buf words[2] = {{0}, {0}};
    struct buf text CLEANUP(buf_clear) = {0};
    int status;
    buf_append(&words[0], t->meta->nixpkgs_url.at, t->meta->nixpkgs_url.len);
    buf_append(&words[1], t->meta->nixpkgs_sha256.at, t->meta->nixpkgs_sha256.len);
    const char *argv[] = {"nix-prefetch-url", "--unpack", "--print-path", "--", buf_text(&words[0]),
        buf_text(&words[1]), NULL};
    bool ok = run_collect(t->config, argv, &text, &status);
    const char *line = ok ? strrchr(buf_text(&text), '\n') : NULL; // hash, then path
    if (line != NULL) {
        buf_printf(path, "nixpkgs=%s", line + 1);
    }
    buf_clear(&words[0]);
    buf_clear(&words[1]);
    return line != NULL;
}

static int build_classic(const struct toplevel *t, const char *source)
{
    struct buf config CLEANUP(buf_clear) = {0};
    struct buf nixpkgs CLEANUP(buf_clear) = {0};
    struct buf drv CLEANUP(buf_clear) = {0};
    struct buf path CLEANUP(buf_clear) = {0};
    char drv_root[PATH_MAX + 8];
    int status;
    buf_printf(&config, "nixos-config=%s/configuration.nix", source);
    snprintf(drv_root, sizeof drv_root, "%s.drv", t->root);
    const char *instantiate[16] = {"nix-instantiate", "<nixpkgs/nixos>", "-A", "system", "-I",
        buf_text(&config), "--add-root", drv_root, "--indirect"};
    if (t->meta->nixpkgs_url.len > 0) {
        if (!fetch_nixpkgs(t, &nixpkgs)) {
            return OBTAIN_EXIT_BUILD;
        }
        instantiate[9] = "-I";
        instantiate[10] = buf_text(&nixpkgs);
    }
    if (!run_collect(t->config, instantiate, &drv, &status)) {
        return OBTAIN_EXIT_EVAL;
    }
    const char *query[] = {"nix-store", "--query", "--outputs", drv_root, NULL};
    if (!run_collect(t->config, query, &path, &status)) {
        return OBTAIN_EXIT_EVAL;
    }
    int verdict = judge(t, &path);
    if (verdict == 0) {
        const char *realise[] = {
            "nix-store", "--realise", drv_root, "--add-root", t->root, "--indirect", NULL};
        verdict = run_command(t->config, realise, NULL) == 0 ? 0 : OBTAIN_EXIT_BUILD;
    }
    unlink(drv_root);
    return verdict;
}

int toplevel_build(const struct toplevel *t, const char *source)
{
    return t->meta->kind == KIND_CLASSIC ? build_classic(t, source) : build_flake(t, source);
}
