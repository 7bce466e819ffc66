#include "build.h"

#include "json.h"
#include "nix.h"
#include "tree.h"
#include "treefs.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void system_clear(struct system *system)
{
    free(system->out);
    free(system->derivation);
    *system = (struct system){0};
}

// The one line that a Nix command printed.
static char *take_line(struct buf *out)
{
    const char *text = buf_text(out);
    return strndup(text, strcspn(text, "\n"));
}

static bool make_temporary(char path[64], int *dir, struct err *e)
{
    snprintf(path, 64, "/tmp/bento-XXXXXX");
    return mkdtemp(path) ? fs_open_dir(AT_FDCWD, path, dir, e)
                         : err_set(e, CODE_IO, "%s: %m", path);
}

bool build_source(struct bytes tree, char **source, struct err *e)
{
    char path[64], folder[96];
    struct err ignored;
    CLEANUP_FD dir = -1;
    CLEANUP(buf_clear) struct buf out = {0};
    if (!make_temporary(path, &dir, e)) {
        return false;
    }
    snprintf(folder, sizeof(folder), "%s/source", path);
    const char *argv[] = {"nix-store", "--add", folder, NULL};
    bool ok = treefs_unpack(tree, dir, "source", e) &&
              nix_run(argv, "nix-store --add", CODE_EVAL, &out, NULL, e);
    if (ok) {
        *source = take_line(&out);
    }
    if (!fs_remove_tree(AT_FDCWD, path, &ignored)) {
        fprintf(stderr, "warning: %s stays behind: %s\n", path, ignored.text);
    }
    return ok;
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

bool build_check_lock(struct bytes message, struct err *e)
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

// ---- evaluation ----

bool build_list(const char *source, struct names *attributes, struct buf *log, struct err *e)
{
    CLEANUP_JSON *list = NULL;
    if (!nix_eval_flake(source, "nixosConfigurations", "builtins.attrNames", &list, log, e)) {
        return false;
    }
    size_t count = json_array_size(list);
    *attributes = (struct names){.count = count, .names = xcalloc(count + 1, sizeof(char *))};
    for (size_t i = 0; i < count; i++) {
        attributes->names[i] = xstrdup(json_string_value(json_array_get(list, i)));
    }
    return count > 0 || err_set(e, CODE_EVAL, "the flake has no nixosConfigurations");
}

static bool evaluate_some(const char *source, const char *const *attributes, size_t count,
    struct system *systems, struct buf *log, struct err *e)
{
    CLEANUP_JSON *list = NULL;
    CLEANUP(buf_clear) struct buf function = {0};
    buf_append_text(&function,
        "configurations: map (name: let top = configurations.${name}.config.system.build.toplevel; "
        "in [ top.outPath top.drvPath ]) [");
    for (size_t i = 0; i < count; i++) {
        buf_append_text(&function, " ");
        nix_quote(&function, attributes[i]);
    }
    buf_append_text(&function, " ]");
    if (!nix_eval_flake(source, "nixosConfigurations", buf_text(&function), &list, log, e)) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        json_t *pair = json_array_get(list, i);
        const char *out = json_string_value(json_array_get(pair, 0));
        const char *derivation = json_string_value(json_array_get(pair, 1));
        if (!out || !derivation) {
            return err_set(
                e, CODE_EVAL, "evaluation: %s: toplevel is not a derivation", attributes[i]);
        }
        systems[i] = (struct system){xstrdup(out), xstrdup(derivation)};
    }
    return true;
}

void build_evaluate_flake(const char *source, const char *const *attributes, size_t count,
    struct system *systems, bool *failed, struct err *errors, struct buf *logs)
{
    memset(failed, 0, count * sizeof(*failed));
    if (count == 1) {
        failed[0] = !evaluate_some(source, attributes, 1, systems, &logs[0], &errors[0]);
        return;
    }
    struct err ignored; // told again, for the host that it belongs to
    if (evaluate_some(source, attributes, count, systems, NULL, &ignored)) {
        return;
    }
    for (size_t i = 0; i < count; i++) {
        system_clear(&systems[i]);
        failed[i] = !evaluate_some(source, attributes + i, 1, systems + i, &logs[i], &errors[i]);
    }
}

static bool fetch_nixpkgs(
    const char *url, const char *sha256, struct buf *option, struct buf *log, struct err *e)
{
    CLEANUP(buf_clear) struct buf expression = {0}, out = {0};
    buf_append_text(&expression, "builtins.fetchTarball { url = ");
    nix_quote(&expression, url);
    buf_append_text(&expression, "; sha256 = ");
    nix_quote(&expression, sha256);
    buf_append_text(&expression, "; }");
    const char *argv[] = {
        "nix-instantiate", "--eval", "--json", "--expr", buf_text(&expression), NULL};
    if (!nix_run(argv, "nixpkgs", CODE_EVAL, &out, log, e)) {
        return false;
    }
    json_error_t error;
    CLEANUP_JSON *path = json_loadb((const char *)out.at, out.len, JSON_DECODE_ANY, &error);
    if (!json_is_string(path)) {
        return err_set(e, CODE_EVAL, "nixpkgs: %s is not a tarball that Nix can unpack", url);
    }
    buf_printf(option, "nixpkgs=%s", json_string_value(path));
    return true;
}

bool build_evaluate_classic(const char *source, const char *nixpkgs_url, const char *nixpkgs_sha256,
    struct system *system, struct buf *log, struct err *e)
{
    CLEANUP(buf_clear) struct buf configuration = {0}, nixpkgs = {0}, out = {0}, path = {0};
    buf_printf(&configuration, "nixos-config=%s/configuration.nix", source);
    if (nixpkgs_url && !fetch_nixpkgs(nixpkgs_url, nixpkgs_sha256, &nixpkgs, log, e)) {
        return false;
    }
    const char *argv[] = {"nix-instantiate", "<nixpkgs/nixos>", "-A", "system", "-I",
        buf_text(&configuration), nixpkgs_url ? "-I" : NULL,
        nixpkgs_url ? buf_text(&nixpkgs) : NULL, NULL};
    if (!nix_run(argv, "evaluation", CODE_EVAL, &out, log, e)) {
        return false;
    }
    char *derivation = take_line(&out);
    const char *query[] = {"nix-store", "--query", "--outputs", derivation, NULL};
    if (!nix_run(query, "evaluation", CODE_EVAL, &path, log, e)) {
        free(derivation);
        return false;
    }
    *system = (struct system){take_line(&path), derivation};
    return true;
}

bool build_realise(const struct system *system, struct buf *log, struct err *e)
{
    CLEANUP(buf_clear) struct buf out = {0};
    const char *argv[] = {"nix-store", "--realise", system->derivation, NULL};
    return nix_run(argv, "build", CODE_BUILD, &out, log, e);
}
