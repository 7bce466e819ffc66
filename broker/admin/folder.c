#include "folder.h"

#include "json.h"
#include "nix.h"
#include "progress.h"
#include "tree.h"
#include "treefs.h"

#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

// One folder on its way.
struct loading {
    struct pool *pool;
    const char *root;
    struct folder *folder;
    struct folder_calls calls;
    struct buf temporary; // path of a folder
};

static void tell_phase(const struct loading *loading, const char *phase)
{
    if (loading->calls.phase) {
        loading->calls.phase(loading->calls.context, phase);
    }
}

static void on_line(void *context, struct bytes line)
{
    struct loading *loading = context;
    struct buf *log = &loading->folder->log;
    progress_clean(line, log);
    buf_append_text(log, "\n");
    if (loading->calls.line) {
        loading->calls.line(loading->calls.context, line);
    }
}

static void finish(struct loading *loading, bool ok)
{
    loading->folder->broken = !ok;
    if (loading->calls.done) {
        loading->calls.done(loading->calls.context);
    }
    buf_clear(&loading->temporary);
    free(loading);
}

// ---- locks ----

static bool is_local(const json_t *locked)
{
    const char *type = json_string_value(json_object_get(locked, "type"));
    const char *path = json_string_value(json_object_get(locked, "path"));
    const char *url = json_string_value(json_object_get(locked, "url"));
    if (type && !strcmp(type, "path")) {
        return !path || *path == '/' || !strncmp(path, "..", 2); // "./sub" lies in the tree itself
    }
    return url && (*url == '/' || !strncmp(url, "file:", 5));
}

static bool check_lock(struct bytes message, struct err *e)
{
    struct tree tree = {0};
    CLEANUP_JSON *lock = NULL;
    bool ok = true;
    if (!tree_decode(message, &tree, e)) {
        return false;
    }
    for (size_t i = 0; i < tree.count; i++) {
        if (bytes_equal_text(tree.files[i].path, "flake.lock")) {
            ok = json_object_parse(tree.files[i].content, "flake.lock", &lock, e);
        }
    }
    const char *name;
    json_t *node;
    json_object_foreach(json_object_get(lock, "nodes"), name, node)
    {
        if (is_local(json_object_get(node, "locked"))) {
            ok = err_set(e, CODE_EVAL,
                "input %s is locked to a path on this machine, which the node does not have: "
                "use a URL, or put it inside the folder",
                name);
            break;
        }
    }
    tree_clear(&tree);
    return ok;
}

// ---- what a flake offers ----

static bool take_names(struct folder *folder, struct bytes out, struct err *e)
{
    json_error_t error;
    CLEANUP_JSON *list = json_loadb((const char *)out.at, out.len, 0, &error);
    if (!list) {
        return err_set(
            e, CODE_EVAL, "evaluation: Nix printed something that is not JSON: %s", error.text);
    }
    size_t count = json_array_size(list);
    folder->attributes =
        (struct names){.count = count, .names = xcalloc(count + 1, sizeof(char *))};
    for (size_t i = 0; i < count; i++) {
        folder->attributes.names[i] = xstrdup(json_string_value(json_array_get(list, i)));
    }
    return count > 0 || err_set(e, CODE_EVAL, "the flake has no nixosConfigurations");
}

static void on_listed(void *context, struct pool_result *result)
{
    struct loading *loading = context;
    struct folder *folder = loading->folder;
    struct err *e = &folder->failure;
    bool ok = nix_check_locked(&folder->log, e) &&
              nix_check(result, &folder->log, "evaluation", CODE_EVAL, e) &&
              take_names(folder, buf_bytes(&result->out), e);
    finish(loading, ok);
}

static void list(struct loading *loading)
{
    CLEANUP(buf_clear) struct buf installable = {0};
    const char *argv[NIX_EVAL_WORDS];
    buf_printf(&installable, "path:%s#nixosConfigurations", loading->folder->source);
    nix_eval_argv(buf_text(&installable), "builtins.attrNames", argv);
    tell_phase(loading, "listing");
    struct pool_task task = {
        .kind = POOL_STEP, .argv = argv, .line = on_line, .done = on_listed, .context = loading};
    pool_add(loading->pool, &task);
}

// ---- into the store ----

void folder_copy_name(struct buf *path)
{
    const char *where = getenv("TMPDIR");
    uint8_t random[8];
    char hex[2 * sizeof(random) + 1];
    randombytes_buf(random, sizeof(random));
    hex_encode(random, sizeof(random), hex);
    buf_printf(path, "%s/bento-%s", where && *where == '/' ? where : "/tmp", hex);
}

bool folder_copy(
    const char *root, const char *name, const char *path, struct buf *tree, struct err *e)
{
    CLEANUP(buf_clear) struct buf below = {0};
    CLEANUP_FD dir = -1;
    buf_printf(&below, "hosts/%s", name);
    if (!treefs_pack(root, buf_text(&below), tree, e)) {
        return false;
    }
    if (mkdir(path, 0700) != 0) {
        return err_set(e, CODE_IO, "%s: %m", path);
    }
    return fs_open_dir(AT_FDCWD, path, &dir, e) && treefs_unpack(buf_bytes(tree), dir, "source", e);
}

void folder_copy_remove(const char *path)
{
    struct err left;
    if (!fs_remove_tree(AT_FDCWD, path, &left)) {
        fprintf(stderr, "warning: %s stays behind: %s\n", path, left.text);
    }
}

// Right before `nix-store --add` runs, so that the disk holds no more copies than there are jobs.
static bool unpack(void *context, struct err *e)
{
    struct loading *loading = context;
    struct folder *folder = loading->folder;
    tell_phase(loading, "packing");
    if (!folder_copy(
            loading->root, folder->name, buf_text(&loading->temporary), &folder->tree, e)) {
        return false;
    }
    sha256(buf_bytes(&folder->tree), folder->tree_hash);
    return true;
}

static void on_added(void *context, struct pool_result *result)
{
    struct loading *loading = context;
    struct folder *folder = loading->folder;
    struct err *e = &folder->failure;
    folder_copy_remove(buf_text(&loading->temporary));
    if (!nix_check(result, &folder->log, "nix-store --add", CODE_EVAL, e)) {
        finish(loading, false);
        return;
    }
    const char *text = buf_text(&result->out);
    folder->source = strndup(text, strcspn(text, "\n"));
    if (folder->kind == KIND_CLASSIC) {
        finish(loading, true);
    } else if (!check_lock(buf_bytes(&folder->tree), e)) {
        finish(loading, false);
    } else {
        list(loading);
    }
}

void folder_load(
    struct pool *pool, const char *root, struct folder *folder, const struct folder_calls *calls)
{
    struct loading *loading = xcalloc(1, sizeof(*loading));
    CLEANUP(buf_clear) struct buf source = {0};
    *loading = (struct loading){.pool = pool, .root = root, .folder = folder, .calls = *calls};
    folder_copy_name(&loading->temporary);
    buf_printf(&source, "%s/source", buf_text(&loading->temporary));
    const char *argv[] = {"nix-store", "--add", buf_text(&source), NULL};
    struct pool_task task = {.kind = POOL_STEP,
        .argv = argv,
        .begin = unpack,
        .line = on_line,
        .done = on_added,
        .context = loading};
    pool_add(pool, &task);
}

void folder_clear(struct folder *folder)
{
    free(folder->name);
    free(folder->reboot);
    free(folder->source);
    buf_clear(&folder->tree);
    buf_clear(&folder->log);
    names_clear(&folder->attributes);
}
