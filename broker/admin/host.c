#include "host.h"

#include "progress.h"
#include "server.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool read_reboot(int dir, struct folder *folder, struct err *e)
{
    CLEANUP(buf_clear) struct buf text = {0};
    if (!fs_exists(dir, "REBOOT")) {
        return true;
    }
    if (!fs_read_following(dir, "REBOOT", TEXT_BYTES_MAX, &text, e)) {
        return err_wrap(e, "hosts/%s/REBOOT", folder->name);
    }
    const char *start = buf_text(&text);
    start += strspn(start, " \t\n");
    size_t len = strcspn(start, "\n");
    folder->reboot = len ? strndup(start, len) : xstrdup("when-needed");
    return true;
}

static bool read_folder(int hosts_dir, const char *name, struct folder *folder, struct err *e)
{
    *folder = (struct folder){.name = xstrdup(name)};
    CLEANUP_FD dir = -1;
    if (!fs_open_dir(hosts_dir, name, &dir, e)) {
        return err_wrap(e, "hosts/%s", name);
    }
    if (fs_exists(dir, "flake.nix")) {
        folder->kind = KIND_FLAKE;
    } else if (fs_exists(dir, "configuration.nix")) {
        folder->kind = KIND_CLASSIC;
    } else {
        return err_set(e, CODE_CONFIG,
            "hosts/%s holds neither configuration.nix nor flake.nix: add one, or move the folder "
            "out of hosts/",
            name);
    }
    folder->self_update = fs_exists(dir, "SELF_UPDATE");
    return read_reboot(dir, folder, e);
}

static bool is_folder(int dir, const char *name)
{
    struct stat st;
    return *name != '.' && fstatat(dir, name, &st, 0) == 0 && S_ISDIR(st.st_mode);
}

bool hosts_scan(const struct fleet *fleet, struct hosts *hosts, struct err *e)
{
    CLEANUP(buf_clear) struct buf path = {0};
    CLEANUP(names_clear) struct names names = {0};
    CLEANUP_FD dir = -1;
    buf_printf(&path, "%s/hosts", fleet->root);
    if (!fs_open_dir(AT_FDCWD, buf_text(&path), &dir, e) || !fs_list(dir, &names, e)) {
        return err_set(e, CODE_CONFIG,
            "no folder hosts/ in %s: `bento add-host NAME` makes the first one", fleet->root);
    }
    *hosts = (struct hosts){.folders = xcalloc(names.count + 1, sizeof(*hosts->folders))};
    for (size_t i = 0; i < names.count; i++) {
        if (is_folder(dir, names.names[i]) &&
            !read_folder(dir, names.names[i], &hosts->folders[hosts->folder_count++], e)) {
            hosts_clear(hosts);
            return false;
        }
    }
    return true;
}

// Rows of the progress are folders here.
struct loading {
    struct progress *progress;
    size_t row;
};

static void on_phase(void *context, const char *phase)
{
    const struct loading *loading = context;
    progress_phase(loading->progress, loading->row, phase);
}

static void on_line(void *context, struct bytes line)
{
    const struct loading *loading = context;
    progress_line(loading->progress, loading->row, line);
}

static void on_loaded(void *context)
{
    const struct loading *loading = context;
    progress_over(loading->progress, loading->row, false, "");
}

void hosts_load(const struct fleet *fleet, struct hosts *hosts, unsigned jobs)
{
    size_t count = hosts->folder_count;
    const char **names = xcalloc(count + 1, sizeof(*names));
    struct loading *loadings = xcalloc(count + 1, sizeof(*loadings));
    struct pool *pool = pool_new(jobs);
    for (size_t i = 0; i < count; i++) {
        names[i] = hosts->folders[i].name;
    }
    struct progress *progress = progress_new(pool_loop(pool), "folders", names, count);
    for (size_t i = 0; i < count; i++) {
        loadings[i] = (struct loading){progress, i};
        struct folder_calls calls = {on_phase, on_line, on_loaded, &loadings[i]};
        folder_load(pool, fleet->root, &hosts->folders[i], &calls);
    }
    int signal = pool_run(pool);
    progress_free(progress);
    pool_free(pool);
    free(loadings);
    free(names);
    if (signal) {
        pool_die(signal);
    }
}

// ---- matching ----

static bool folder_has(const struct folder *folder, const char *attribute)
{
    for (size_t i = 0; i < folder->attributes.count; i++) {
        if (!strcmp(folder->attributes.names[i], attribute)) {
            return true;
        }
    }
    return false;
}

static bool folder_offers(const struct folder *folder, const struct fleet_node *node)
{
    if (node->directory) {
        return !strcmp(folder->name, node->directory);
    }
    if (folder->kind == KIND_CLASSIC) {
        return !strcmp(folder->name, node->name);
    }
    return folder_has(folder, node->attribute ? node->attribute : node->name);
}

// The attribute of a node in the folder that is its own: named, or of its own name, or the only one
// there is.
static bool pick_attribute(const struct fleet_node *node, struct host *host, struct err *e)
{
    const struct folder *folder = host->folder;
    host->attribute = node->attribute ? node->attribute : node->name;
    if (folder->kind == KIND_CLASSIC || folder->broken || folder_has(folder, host->attribute)) {
        return true;
    }
    if (!node->attribute && folder->attributes.count == 1) {
        host->attribute = folder->attributes.names[0];
        return true;
    }
    return err_set(e, CODE_CONFIG, "%s: hosts/%s has no nixosConfigurations.%s", node->name,
        folder->name, host->attribute);
}

// A flake that cannot be listed may hold the node: the one of its name, else any.
static struct folder *guess_broken(const struct hosts *hosts, const struct fleet_node *node)
{
    struct folder *guess = NULL;
    for (size_t i = 0; i < hosts->folder_count; i++) {
        struct folder *folder = &hosts->folders[i];
        if (folder->broken && folder->kind == KIND_FLAKE &&
            (!guess || !strcmp(folder->name, node->name))) {
            guess = folder;
        }
    }
    return guess;
}

static bool match_node(
    const struct hosts *hosts, const struct fleet_node *node, struct host *host, struct err *e)
{
    *host = (struct host){.node = node};
    for (size_t i = 0; i < hosts->folder_count; i++) {
        struct folder *folder = &hosts->folders[i];
        if (!folder_offers(folder, node)) {
            continue;
        }
        if (host->folder) {
            return err_set(e, CODE_CONFIG,
                "%s is in hosts/%s and in hosts/%s: set nodes.%s.directory in fleet.nix",
                node->name, host->folder->name, folder->name, node->name);
        }
        host->folder = folder;
    }
    if (host->folder) {
        return pick_attribute(node, host, e);
    }
    if (node->directory) {
        return err_set(e, CODE_CONFIG, "%s: there is no hosts/%s", node->name, node->directory);
    }
    host->folder = guess_broken(hosts, node);
    host->attribute = node->attribute ? node->attribute : node->name;
    return host->folder || err_set(e, CODE_CONFIG,
                               "node %s has no host: make hosts/%s/configuration.nix, or take the "
                               "node out of fleet.nix and nodes.json",
                               node->name, node->name);
}

static bool is_claimed(
    const struct hosts *hosts, const struct folder *folder, const char *attribute)
{
    for (size_t i = 0; i < hosts->count; i++) {
        const struct host *host = &hosts->list[i];
        if (host->folder == folder && (!attribute || !strcmp(host->attribute, attribute))) {
            return true;
        }
    }
    return false;
}

// The first configuration that no node is for: its name, or NULL.
static const char *unclaimed(const struct hosts *hosts, const struct folder **where)
{
    for (size_t i = 0; i < hosts->folder_count; i++) {
        const struct folder *folder = *where = &hosts->folders[i];
        if (folder->kind == KIND_CLASSIC && !is_claimed(hosts, folder, NULL)) {
            return folder->name;
        }
        for (size_t j = 0; j < folder->attributes.count; j++) {
            if (!is_claimed(hosts, folder, folder->attributes.names[j])) {
                return folder->attributes.names[j];
            }
        }
    }
    return NULL;
}

static bool match_nodes(const struct fleet *fleet, struct hosts *hosts, struct err *e)
{
    free(hosts->list);
    hosts->list = xcalloc(fleet->node_count + 1, sizeof(*hosts->list));
    hosts->count = 0;
    for (size_t i = 0; i < fleet->node_count; i++) {
        if (!match_node(hosts, &fleet->nodes[i], &hosts->list[hosts->count++], e)) {
            return false;
        }
    }
    return true;
}

bool hosts_match(const struct fleet *fleet, struct hosts *hosts, struct err *e)
{
    const struct folder *folder;
    if (!match_nodes(fleet, hosts, e)) {
        return false;
    }
    const char *name = unclaimed(hosts, &folder);
    return !name ||
           err_set(e, CODE_CONFIG, "host %s (hosts/%s) has no node: run `bento add-host %s`", name,
               folder->name, name);
}

static bool match_all(struct fleet *fleet, struct hosts *hosts, struct err *e)
{
    const struct folder *folder;
    const char *name;
    do {
        if (!match_nodes(fleet, hosts, e)) {
            return false;
        }
        name = unclaimed(hosts, &folder);
        if (name) {
            fleet_add_node(fleet, name);
        }
    } while (name);
    return true;
}

bool hosts_open(
    const char *directory, unsigned jobs, struct fleet *fleet, struct hosts *hosts, struct err *e)
{
    if (!fleet_open_keyless(directory, fleet, e) || !server_refresh(fleet, e) ||
        !hosts_scan(fleet, hosts, e)) {
        return false;
    }
    hosts_load(fleet, hosts, jobs);
    return match_all(fleet, hosts, e);
}

void hosts_clear(struct hosts *hosts)
{
    for (size_t i = 0; i < hosts->folder_count; i++) {
        folder_clear(&hosts->folders[i]);
    }
    free(hosts->folders);
    free(hosts->list);
    *hosts = (struct hosts){0};
}
