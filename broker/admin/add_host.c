#include "cli.h"
#include "commands.h"
#include "host.h"
#include "json.h"
#include "roster.h"
#include "server.h"
#include "template.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KEYS_BYTES_MAX 65536u
#define EXAMPLE_BYTES_MAX 65536u

static const char *directory, *keys_file;
static bool flake;

static const struct cli_option options[] = {
    REPOSITORY_OPTION(&directory),
    {0, "keys", "FILE",
        "what `bento-apply keys` printed on the machine; - is standard input (default)", &keys_file,
        NULL},
    {0, "flake", NULL, "start the host as a flake of its own (from example/flake.nix)", NULL,
        &flake},
    {0},
};

static const struct cli cli = {
    .program = "bento add-host",
    .synopsis = "NAME",
    .purpose = "Enrols a node: its keys go to nodes.json, what it must know first to "
               "NAME.bootstrap.json, and hosts/NAME is started from example/.",
    .example = "ssh root@router bento-apply keys | bento add-host router",
    .options = options,
};

struct enrolment {
    const char *name;
    struct buf key, tunnel_key; // lines without comment; tunnel_key may be empty
    struct fleet_text text;     // nodes: as it will be
    struct fleet fleet;         // as it will be
    bool make_host, broken_flake;
    const char *found_in; // the folder that holds it already
    struct hosts hosts;
};

// ---- the two lines ----

static const char *comment_of(const char *line)
{
    const char *space = strchr(line, ' ');
    space = space ? strchr(space + 1, ' ') : NULL;
    return space ? space + 1 : "";
}

static bool take_key(struct enrolment *new, const char *line, struct err *e)
{
    struct public_key key;
    if (!public_key_parse(bytes_of_text(line), &key, e)) {
        return err_wrap(e, "%.40s", line);
    }
    if (key.type != KEY_ED25519) {
        return err_set(e, CODE_CONFIG, "%.40s: a node's keys are ssh-ed25519", line);
    }
    bool tunnel = !strcmp(comment_of(line), "tunnel") ||
                  (new->key.len &&strcmp(comment_of(line), "identity") != 0);
    struct buf *slot = tunnel ? &new->tunnel_key : &new->key;
    if (slot->len) {
        return err_set(
            e, CODE_CONFIG, "more than one %s key was given", tunnel ? "tunnel" : "identity");
    }
    public_key_line(&key, slot);
    return true;
}

static bool read_stdin(struct buf *text, struct err *e)
{
    char chunk[4096];
    ssize_t len;
    if (isatty(STDIN_FILENO)) {
        fprintf(stderr, "Paste what `bento-apply keys` prints on the machine, then press ^D:\n");
    }
    while ((len = read(STDIN_FILENO, chunk, sizeof(chunk))) > 0 && text->len <= KEYS_BYTES_MAX) {
        buf_append(text, chunk, (size_t)len);
    }
    return len >= 0 || err_set(e, CODE_IO, "standard input: %m");
}

static bool read_keys(struct enrolment *new, struct err *e)
{
    CLEANUP(buf_clear) struct buf text = {0};
    bool from_stdin = !keys_file || !strcmp(keys_file, "-");
    if (!(from_stdin ? read_stdin(&text, e)
                     : fs_read_following(AT_FDCWD, keys_file, KEYS_BYTES_MAX, &text, e))) {
        return false;
    }
    char *lines = xstrdup(buf_text(&text)), *rest = lines;
    bool ok = true;
    for (char *line; ok && (line = strsep(&rest, "\n"));) {
        line[strcspn(line, "\r")] = 0;
        ok = !*line || take_key(new, line, e);
    }
    free(lines);
    if (ok && !new->key.len) {
        return err_set(e, CODE_CONFIG,
            "%s holds no identity key: give it what `bento-apply keys` prints",
            from_stdin ? "standard input" : keys_file);
    }
    return ok;
}

// ---- the repository as it will be ----

static bool is_same(const json_t *node, const char *attribute, const struct buf *line)
{
    const char *text = json_string_value(json_object_get(node, attribute));
    return text ? bytes_equal_text(buf_bytes(line), text) : line->len == 0;
}

static bool add_to_nodes(struct enrolment *new, struct err *e)
{
    CLEANUP_JSON *nodes = NULL;
    if (!new->text.nodes.len) {
        nodes = json_object();
    } else if (!json_object_parse(buf_bytes(&new->text.nodes), "nodes.json", &nodes, e)) {
        return false;
    }
    json_t *old = json_object_get(nodes, new->name);
    bool same_tunnel =
        !json_object_get(old, "tunnelKey") || is_same(old, "tunnelKey", &new->tunnel_key);
    if (old && (!is_same(old, "key", &new->key) || !same_tunnel)) {
        return err_set(e, CODE_CONFIG,
            "%s is enrolled already, with other keys: to replace them, `bento remove-host %s` "
            "first",
            new->name, new->name);
    }
    json_t *node = json_pack("{s:s}", "key", buf_text(&new->key));
    if (new->tunnel_key.len) {
        json_object_set_new(node, "tunnelKey", json_string(buf_text(&new->tunnel_key)));
    }
    json_object_set_new(nodes, new->name, node);
    buf_clear(&new->text.nodes);
    json_text(nodes, &new->text.nodes);
    return true;
}

static bool check_node(const struct enrolment *new, struct err *e)
{
    const struct fleet_node *node = fleet_find(&new->fleet, new->name);
    struct public_key given;
    ASSERT(node);
    if (!public_key_parse(buf_bytes(&new->key), &given, e)) {
        return false;
    }
    return public_key_same(&given, &node->key) ||
           err_set(
               e, CODE_CONFIG, "fleet.nix gives another key for %s: take it out there", new->name);
}

// Does a configuration for it lie under hosts/?
static bool look_for_host(struct enrolment *new, struct err *e)
{
    CLEANUP(buf_clear) struct buf path = {0};
    const struct fleet_node *node = fleet_find(&new->fleet, new->name);
    buf_printf(&path, "%s/hosts", new->fleet.root);
    new->make_host = true;
    if (!fs_exists(AT_FDCWD, buf_text(&path))) {
        return true;
    }
    if (!hosts_scan(&new->fleet, &new->hosts, e)) {
        return false;
    }
    for (size_t i = 0; i < new->hosts.folder_count; i++) {
        const struct folder *folder = &new->hosts.folders[i];
        if (!strcmp(folder->name, node->directory ? node->directory : new->name)) {
            new->found_in = folder->name;
        }
    }
    if (!new->found_in) {
        hosts_load(&new->fleet, &new->hosts, 0);
    }
    for (size_t i = 0; i < new->hosts.folder_count && !new->found_in; i++) {
        const struct folder *folder = &new->hosts.folders[i];
        new->broken_flake |= folder->broken && folder->kind == KIND_FLAKE;
        for (size_t j = 0; j < folder->attributes.count; j++) {
            if (!strcmp(
                    folder->attributes.names[j], node->attribute ? node->attribute : new->name)) {
                new->found_in = folder->name;
            }
        }
    }
    new->make_host = !new->found_in && !new->broken_flake;
    return true;
}

// ---- writing ----

// A file of example/, the repository's or ours, as the host's.
static bool copy_example(
    const struct enrolment *new, int root, int host, const char *name, struct err *e)
{
    CLEANUP(buf_clear) struct buf path = {0}, example = {0}, text = {0};
    buf_printf(&path, "example/%s", name);
    if (!fs_exists(root, buf_text(&path))) {
        buf_append_text(&example, template_text(buf_text(&path)));
    } else if (!fs_read_following(root, buf_text(&path), EXAMPLE_BYTES_MAX, &example, e)) {
        return false;
    }
    template_fill(buf_text(&example), "@name@", new->name, &text);
    return fs_write(host, name, buf_bytes(&text), 0644, e);
}

static bool fill_host(const struct enrolment *new, int root, const char *path, struct err *e)
{
    CLEANUP_FD host = -1;
    return fs_make_dir(root, path, 0755, true, e) && fs_open_dir(root, path, &host, e) &&
           (!fs_exists(root, "utils") || fs_symlink(host, "utils", "../../utils", e)) &&
           (!flake || copy_example(new, root, host, "flake.nix", e)) &&
           copy_example(new, root, host, "configuration.nix", e);
}

// Under a name that nobody takes for a host until it is complete.
static bool make_host(const struct enrolment *new, int root, struct err *e)
{
    CLEANUP(buf_clear) struct buf fresh = {0}, path = {0};
    buf_printf(&fresh, "hosts/.%s.new", new->name);
    buf_printf(&path, "hosts/%s", new->name);
    return fs_make_dir(root, "hosts", 0755, true, e) && fs_remove_tree(root, buf_text(&fresh), e) &&
           fill_host(new, root, buf_text(&fresh), e) &&
           fs_rename(root, buf_text(&fresh), root, buf_text(&path), e);
}

// nodes.json goes last: it is the enrolment. A run that was interrupted before can be repeated.
static bool write_all(const struct enrolment *new, const json_t *bootstrap, struct err *e)
{
    CLEANUP(buf_clear) struct buf text = {0}, name = {0};
    CLEANUP_FD root = -1;
    buf_printf(&name, "%s.bootstrap.json", new->name);
    json_text(bootstrap, &text);
    return fs_open_dir(AT_FDCWD, new->fleet.root, &root, e) &&
           (!new->make_host || make_host(new, root, e)) && server_refresh(&new->fleet, e) &&
           fs_write(root, buf_text(&name), buf_bytes(&text), 0644, e) &&
           fs_write(root, "nodes.json", buf_bytes(&new->text.nodes), 0644, e);
}

static void print_next(const struct enrolment *new)
{
    const char *name = new->name;
    const struct fleet_node *node = fleet_find(&new->fleet, name);
    char id[FINGERPRINT_BYTES];
    fingerprint(node->node_id, id);
    printf("enrolled %s, %s\n", name, id);
    if (new->make_host) {
        printf("wrote    hosts/%s\n", name);
    } else if (new->found_in) {
        printf("found    hosts/%s\n", new->found_in);
    } else {
        printf(
            "found    no host %s: a flake under hosts/ cannot be listed, so it may be in there\n",
            name);
    }
    printf("wrote    %s.bootstrap.json\n\nNext:\n", name);
    printf(
        "  1. put %s.bootstrap.json onto the machine; there: bento-apply bootstrap FILE\n", name);
    CLEANUP(buf_clear) struct buf line = {0};
    if (server_authorized_key(&new->fleet, node, &line)) {
        printf("  2. on the server, for the tunnel account (all lines: bento authorized-keys):\n%s",
            buf_text(&line));
    } else {
        printf("  2. only an identity key was given: if it dials through ssh, run add-host again\n"
               "     with both lines of `bento-apply keys`\n");
    }
    printf("  3. look at hosts/%s, then: bento deploy %s\n", new->found_in ? new->found_in : name,
        name);
}

static bool enrol(struct enrolment *new, struct err *e)
{
    CLEANUP_JSON *bootstrap = NULL;
    if (!name_is_clean(bytes_of_text(new->name)) || *new->name == '-') {
        return err_set(e, CODE_USAGE,
            "\"%s\": a node's name is made of a-z, 0-9 and -, at most %u, and does not start with "
            "-",
            new->name, NAME_BYTES_MAX);
    }
    return read_keys(new, e) && fleet_read(directory, &new->text, e) && add_to_nodes(new, e) &&
           fleet_parse(&new->text, true, &new->fleet, e) && check_node(new, e) &&
           look_for_host(new, e) && server_node_config(&new->fleet, &bootstrap, e) &&
           write_all(new, bootstrap, e);
}

int command_add_host(int argc, char **argv)
{
    int words, status = 0;
    struct err e;
    char **word = cli_parse(&cli, argc, argv, &words);
    struct enrolment new = {.name = words ? word[0] : ""};
    if (words != 1) {
        err_set(&e, CODE_USAGE, "name one node: bento add-host NAME --keys FILE");
        return cli_fail(cli.program, &e);
    }
    if (enrol(&new, &e)) {
        print_next(&new);
    } else {
        status = cli_fail(cli.program, &e);
    }
    hosts_clear(&new.hosts);
    fleet_clear(&new.fleet);
    fleet_text_clear(&new.text);
    buf_clear(&new.key);
    buf_clear(&new.tunnel_key);
    return status;
}
