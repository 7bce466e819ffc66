#include "cli.h"
#include "commands.h"
#include "fs.h"
#include "host.h"
#include "json.h"
#include "select.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

static const char *directory;

static const struct cli_option options[] = {
    REPOSITORY_OPTION(&directory),
    {0},
};

static const struct cli cli = {
    .program = "bento remove-host",
    .synopsis = "NAME",
    .purpose =
        "Takes a node out of the fleet: its keys out of nodes.json, its folder from hosts/ to "
        "removed/. The machine keeps the system that it has.",
    .example = "bento remove-host old-laptop && bento deploy",
    .options = options,
};

struct removal {
    const struct fleet_node *node;
    struct fleet_text text; // nodes: as it will be
    struct fleet fleet;
    struct hosts hosts;
    const struct folder *folder; // where it lives; NULL: in none that we know of
    bool shared;                 // by other hosts: the folder stays
};

static bool take_out_of_nodes(struct removal *old, struct err *e)
{
    CLEANUP_JSON *fleet = NULL, *nodes = NULL;
    const char *name = old->node->name;
    if (!json_object_parse(buf_bytes(&old->text.fleet), "fleet.nix", &fleet, e)) {
        return false;
    }
    if (old->text.nodes.len) {
        if (!json_object_parse(buf_bytes(&old->text.nodes), "nodes.json", &nodes, e)) {
            return false;
        }
    }
    bool is_ours = json_object_get(nodes, name);
    if (json_object_get(json_object_get(fleet, "nodes"), name)) {
        return err_set(e, CODE_CONFIG, "fleet.nix is yours to edit: take nodes.%s out of it%s",
            name,
            is_ours ? ", then run this again" : " and move its folder out of hosts/, that is all");
    }
    json_object_del(nodes, name);
    buf_clear(&old->text.nodes);
    json_text(nodes, &old->text.nodes);
    return true;
}

// A flake of several hosts, or a folder that several nodes are built from.
static void look_for_others(struct removal *old)
{
    for (size_t i = 0; i < old->fleet.node_count; i++) {
        const struct fleet_node *node = &old->fleet.nodes[i];
        old->shared |=
            node != old->node && node->directory && !strcmp(node->directory, old->folder->name);
    }
    if (old->folder->kind == KIND_CLASSIC || old->shared) {
        return;
    }
    hosts_load(&old->fleet, &old->hosts, 0);
    // One that cannot be listed may hold anybody.
    old->shared = old->folder->broken || old->folder->attributes.count > 1;
}

static bool find_folder(struct removal *old, struct err *e)
{
    CLEANUP(buf_clear) struct buf hosts = {0};
    const char *name = old->node->directory ? old->node->directory : old->node->name;
    buf_printf(&hosts, "%s/hosts", old->fleet.root);
    if (!fs_exists(AT_FDCWD, buf_text(&hosts))) {
        return true;
    }
    if (!hosts_scan(&old->fleet, &old->hosts, e)) {
        return false;
    }
    for (size_t i = 0; i < old->hosts.folder_count; i++) {
        if (!strcmp(old->hosts.folders[i].name, name)) {
            old->folder = &old->hosts.folders[i];
        }
    }
    if (old->folder) {
        look_for_others(old);
    }
    return true;
}

static bool move_folder(const struct removal *old, int root, struct err *e)
{
    CLEANUP(buf_clear) struct buf from = {0}, to = {0};
    buf_printf(&from, "hosts/%s", old->folder->name);
    buf_printf(&to, "removed/%s", old->folder->name);
    if (fs_exists(root, buf_text(&to))) {
        return err_set(e, CODE_CONFIG, "%s is in the way: move it elsewhere", buf_text(&to));
    }
    return fs_make_dir(root, "removed", 0755, false, e) &&
           fs_rename(root, buf_text(&from), root, buf_text(&to), e);
}

// nodes.json goes last: a run that was interrupted before can be repeated.
static bool write_all(const struct removal *old, struct err *e)
{
    CLEANUP(buf_clear) struct buf bootstrap = {0};
    CLEANUP_FD root = -1;
    buf_printf(&bootstrap, "%s.bootstrap.json", old->node->name);
    return fs_open_dir(AT_FDCWD, old->fleet.root, &root, e) &&
           (!old->folder || old->shared || move_folder(old, root, e)) &&
           fs_remove(root, buf_text(&bootstrap), e) &&
           fs_write(root, "nodes.json", buf_bytes(&old->text.nodes), 0644, e);
}

static void print_next(const struct removal *old)
{
    const char *name = old->node->name;
    printf("removed  %s from nodes.json\n", name);
    if (old->folder && !old->shared) {
        printf("moved    hosts/%s to removed/%s\n", old->folder->name, old->folder->name);
    }
    printf("\nNext:\n");
    if (!old->folder || old->shared) {
        printf("  0. take it out of %s%s, which other hosts may need\n",
            old->folder ? "hosts/" : "the flake that holds it",
            old->folder ? old->folder->name : "");
    }
    printf("  1. bento deploy             releases are without it from then on\n"
           "  2. bento authorized-keys    anew into the tunnel account's authorized_keys on the\n"
           "     server: then it cannot dial in any more\n"
           "The machine keeps the system that it has; bento does not touch it again.\n");
}

static bool remove_host(const char *name, struct removal *old, struct err *e)
{
    if (!fleet_read(directory, &old->text, e) || !fleet_parse(&old->text, true, &old->fleet, e) ||
        !select_node(&old->fleet, name, &old->node, e)) {
        return false;
    }
    if (old->fleet.broker_host && !strcmp(old->fleet.broker_host, name)) {
        return err_set(e, CODE_CONFIG,
            "%s is where the broker runs: name another broker.host in fleet.nix first, or none",
            name);
    }
    return take_out_of_nodes(old, e) && find_folder(old, e) && write_all(old, e);
}

int command_remove_host(int argc, char **argv)
{
    int words, status = 0;
    struct err e;
    struct removal old = {0};
    char **word = cli_parse(&cli, argc, argv, &words);
    if (words != 1) {
        err_set(&e, CODE_USAGE, "name one node: bento remove-host NAME");
        return cli_fail(cli.program, &e);
    }
    if (remove_host(word[0], &old, &e)) {
        print_next(&old);
    } else {
        status = cli_fail(cli.program, &e);
    }
    hosts_clear(&old.hosts);
    fleet_clear(&old.fleet);
    fleet_text_clear(&old.text);
    return status;
}
