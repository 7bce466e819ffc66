#include "cli.h"
#include "commands.h"
#include "fs.h"
#include "sshkey.h"

#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *directory;

static const struct cli_option options[] = {
    {'C', "directory", "DIR", "the repository (default: BENTO_DIR, or here)", &directory, NULL},
    {0},
};

static const struct cli cli = {
    .program = "bento init",
    .synopsis = "[DIR]",
    .purpose =
        "Starts a fleet's repository: its id, fleet.nix, folders. Never overwrites anything.",
    .example = "bento init ~/fleet",
    .options = options,
};

static const char fleet_nix[] =
    "# A fleet of NixOS machines, kept up to date by bento. Plain data: this file is evaluated on "
    "its own.\n"
    "{\n"
    "  # The fleet's identity. Everything that is signed carries it; it never changes.\n"
    "  fleet = \"%s\";\n"
    "\n"
    "  # Who may sign a release: public key lines of the admins (ssh-ed25519 or "
    "sk-ssh-ed25519@openssh.com).\n"
    "  signers = [\n"
    "%s"
    "  ];\n"
    "  # threshold = 2;       # how many of them must sign; default 1\n"
    "  # expires_days = 90;   # after that a release is not installed any more\n"
    "\n"
    "  broker = {\n"
    "    # How the nodes reach the broker, tried in turn.\n"
    "    endpoints = [ \"ssh://bento-tunnel@broker.example.org\" ];\n"
    "    # The ssh host key of that server, one line: ssh-keyscan -t ed25519 broker.example.org | "
    "cut -d' ' -f2-\n"
    "    # host_key = \"ssh-ed25519 AAAA…\";\n"
    "    # How you reach it: the socket on the server itself, or ssh://admin@broker.example.org\n"
    "    admin = \"/run/bento-broker/admin.sock\";\n"
    "  };\n"
    "\n"
    "  # For every node, unless it says otherwise:\n"
    "  defaults = {\n"
    "    # tags = [ \"home\" ];\n"
    "    # window = 180;                  # seconds to prove that a new system reaches the broker\n"
    "    # last_resort = \"reboot\";        # servers; \"stay\" for laptops\n"
    "    # health = [ { command = [ \"systemctl\" \"is-active\" \"sshd\" ]; } ];\n"
    "  };\n"
    "\n"
    "  # `bento add-host NAME` enrols a node; its keys stand in nodes.json, all else may be said "
    "here.\n"
    "  nodes = {\n"
    "    # router = { tags = [ \"edge\" ]; secrets.wifi = { file = \"private/wifi\"; mode = "
    "\"0400\"; }; };\n"
    "  };\n"
    "}\n";

static const char utils_nix[] =
    "# What all hosts have in common. A host links this folder (utils -> ../../utils) and imports "
    "it:\n"
    "# links of the repository are followed when a host's files are packed.\n"
    "{ ... }:\n"
    "{\n"
    "}\n";

static const char gitignore[] = "# built systems, and what must not leave this machine\n"
                                "result\n"
                                "result-*\n"
                                "/hosts/*/secrets/\n"
                                "/*.bootstrap.json\n";

// The admin's own key, as a line of fleet.nix; a comment that says what to put there if there is
// none.
static void write_signers(struct buf *out)
{
    CLEANUP(buf_clear) struct buf path = {0}, text = {0};
    struct err ignored; // no key yet: fleet.nix says what to do, and so do we
    struct public_key key;
    const char *home = getenv("HOME");
    buf_printf(&path, "%s/.ssh/id_ed25519.pub", home ? home : "");
    if (fs_read_following(AT_FDCWD, buf_text(&path), 4096, &text, &ignored)) {
        struct bytes line = bytes_of(text.at, strcspn(buf_text(&text), "\n"));
        if (public_key_parse(line, &key, &ignored) && !memchr(line.at, '"', line.len) &&
            !memchr(line.at, '\\', line.len) && !memchr(line.at, '$', line.len)) {
            buf_printf(out, "    \"%.*s\"\n", (int)line.len, (const char *)line.at);
            return;
        }
    }
    buf_append_text(out, "    # \"ssh-ed25519 AAAA… you\"   the line of ~/.ssh/id_ed25519.pub; "
                         "ssh-keygen -t ed25519 makes one\n");
}

static bool write_new(int dir, const char *name, const char *text, struct err *e)
{
    if (fs_exists(dir, name)) {
        printf("kept     %s\n", name);
        return true;
    }
    if (!fs_write(dir, name, bytes_of_text(text), 0644, e)) {
        return false;
    }
    printf("wrote    %s\n", name);
    return true;
}

static bool init_fleet(const char *path, bool *has_signer, struct err *e)
{
    CLEANUP(buf_clear) struct buf signers = {0}, text = {0};
    CLEANUP_FD dir = -1;
    uint8_t fleet[32];
    char hex[65];
    if (!fs_make_dir(AT_FDCWD, path, 0755, true, e) || !fs_open_dir(AT_FDCWD, path, &dir, e)) {
        return false;
    }
    if (fs_exists(dir, "fleet.nix") || fs_exists(dir, "fleet.json")) {
        return err_set(e, CODE_CONFIG, "%s is a fleet's repository already", path);
    }
    randombytes_buf(fleet, sizeof(fleet));
    hex_encode(fleet, sizeof(fleet), hex);
    write_signers(&signers);
    *has_signer = memmem(signers.at, signers.len, "# ", 2) == NULL;
    buf_printf(&text, fleet_nix, hex, buf_text(&signers));
    // fleet.nix goes last: a run that was interrupted can be repeated.
    return fs_make_dir(dir, "hosts", 0755, true, e) && fs_make_dir(dir, "utils", 0755, true, e) &&
           write_new(dir, "utils/default.nix", utils_nix, e) &&
           write_new(dir, ".gitignore", gitignore, e) &&
           write_new(dir, "fleet.nix", buf_text(&text), e);
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
    if (words > 1) {
        err_set(&e, CODE_USAGE, "one folder, please");
        return cli_fail("bento init", &e);
    }
    if (sodium_init() < 0 || !init_fleet(path, &has_signer, &e)) {
        return cli_fail("bento init", &e);
    }
    printf(
        "\nNext:\n"
        "  1. look through fleet.nix%s; set broker.endpoints, host_key and admin\n"
        "  2. bento broker-config > broker.json      and start bento-broker with it on the server\n"
        "  3. bento add-host NAME --keys FILE        for each machine; FILE: what `bento-apply "
        "keys` prints there\n",
        has_signer ? "" : ", and put your public key into signers");
    return 0;
}
