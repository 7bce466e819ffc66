#include "cli.h"
#include "commands.h"
#include "fleet.h"
#include "fs.h"
#include "nix.h"
#include "sshkey.h"
#include "template.h"

#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *directory;

static const struct cli_option options[] = {
    REPOSITORY_OPTION(&directory),
    {0},
};

static const struct cli cli = {
    .program = "bento init",
    .synopsis = "[DIR]",
    .purpose =
        "Starts a fleet's repository: its id in a commented fleet.nix, an example of a host, files "
        "that hosts share. Never overwrites anything; run again after an interruption, it goes on.",
    .example = "bento init ~/fleet",
    .options = options,
};

// Where the admin's key goes in the template of fleet.nix: the line that says what to put there.
static const char no_signer[] =
    "    # \"ssh-ed25519 AAAA… you\"   the line of ~/.ssh/id_ed25519.pub (ssh-keygen -t ed25519)\n";

// The admin's own key, as a line of fleet.nix; false if there is none.
static bool find_signer(struct buf *out)
{
    CLEANUP(buf_clear) struct buf path = {0}, text = {0};
    struct err ignored; // no key yet: fleet.nix says what to do, and so do we
    struct public_key key;
    const char *home = getenv("HOME");
    buf_printf(&path, "%s/.ssh/id_ed25519.pub", home ? home : "");
    if (!fs_read_following(AT_FDCWD, buf_text(&path), 4096, &text, &ignored)) {
        return false;
    }
    char *line = xstrdup(buf_text(&text));
    line[strcspn(line, "\r\n")] = 0;
    bool found = public_key_parse(bytes_of_text(line), &key, &ignored);
    if (found) {
        buf_append_text(out, "    ");
        nix_quote(out, line);
        buf_append_text(out, "\n");
    }
    free(line);
    return found;
}

static bool write_fleet(int dir, bool *has_signer, struct err *e)
{
    CLEANUP(buf_clear) struct buf signer = {0}, with_id = {0}, text = {0};
    uint8_t fleet[32];
    char hex[65];
    randombytes_buf(fleet, sizeof(fleet));
    hex_encode(fleet, sizeof(fleet), hex);
    *has_signer = find_signer(&signer);
    template_fill(template_text("fleet.nix"), "@fleet@", hex, &with_id);
    template_fill(
        buf_text(&with_id), no_signer, *has_signer ? buf_text(&signer) : no_signer, &text);
    return fs_write(dir, "fleet.nix", buf_bytes(&text), 0644, e);
}

static bool write_file(int dir, const struct template_file *file, struct err *e)
{
    const char *slash = strrchr(file->path, '/');
    CLEANUP(buf_clear) struct buf folder = {0};
    buf_append(&folder, file->path, slash ? (size_t)(slash - file->path) : 0);
    if (fs_exists(dir, file->path)) {
        printf("kept     %s\n", file->path);
        return true;
    }
    if ((slash && !fs_make_dir(dir, buf_text(&folder), 0755, true, e)) ||
        !fs_write(dir, file->path, bytes_of_text(file->text), 0644, e)) {
        return false;
    }
    printf("wrote    %s\n", file->path);
    return true;
}

// `nix flake init` puts the template there as it is: then the id is still to be made.
static bool is_template(int dir)
{
    CLEANUP(buf_clear) struct buf text = {0};
    struct err ignored; // it is something else
    const char *template = template_text("fleet.nix");
    return fs_read(dir, "fleet.nix", strlen(template), &text, &ignored) &&
           bytes_equal_text(buf_bytes(&text), template);
}

static bool init_fleet(const char *path, bool *has_signer, struct err *e)
{
    CLEANUP_FD dir = -1;
    if (!fs_make_dir(AT_FDCWD, path, 0755, true, e) || !fs_open_dir(AT_FDCWD, path, &dir, e)) {
        return false;
    }
    if (fs_exists(dir, "fleet.json") || (fs_exists(dir, "fleet.nix") && !is_template(dir))) {
        return err_set(e, CODE_CONFIG,
            "%s is a fleet's repository already: go on with `bento add-host NAME`", path);
    }
    // fleet.nix goes last: a run that was interrupted can be repeated.
    for (const struct template_file *file = template_files; file->path; file++) {
        if (strcmp(file->path, "fleet.nix") != 0 && !write_file(dir, file, e)) {
            return false;
        }
    }
    if (!write_fleet(dir, has_signer, e)) {
        return false;
    }
    printf("wrote    fleet.nix\n");
    return true;
}

int command_init(int argc, char **argv)
{
    int words;
    struct err e;
    bool has_signer = false;
    char **word = cli_parse(&cli, argc, argv, &words);
    const char *environment = getenv("BENTO_DIR");
    const char *path = words                         ? word[0]
                       : directory                   ? directory
                       : environment && *environment ? environment
                                                     : ".";
    if (words > 1 || (words && directory)) {
        err_set(&e, CODE_USAGE, "one folder, please: bento init DIR");
        return cli_fail(cli.program, &e);
    }
    if (sodium_init() < 0 || !init_fleet(path, &has_signer, &e)) {
        return cli_fail(cli.program, &e);
    }
    printf("\nNext:\n"
           "  1. look through fleet.nix: set broker.endpoints, host_key and admin%s;\n"
           "     in utils/bento.nix, say where bento's sources come from\n"
           "  2. bento broker-config > broker.json     for bento-broker on the server\n"
           "  3. bento add-host NAME --keys FILE       for each machine; FILE holds what\n"
           "     `bento-apply keys` prints there\n",
        has_signer ? "" : ",\n     put your public key into signers");
    return 0;
}
