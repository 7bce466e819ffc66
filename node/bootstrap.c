#include "commands.h"

#include "cli.h"
#include "config.h"
#include "fs.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

// What stands there now must be this fleet's, or nothing.
static bool may_replace(const char *path, const struct config *fresh, struct err *e)
{
    struct stat st;
    struct buf text CLEANUP(buf_clear) = {0};
    struct config old;
    if (lstat(path, &st) != 0) {
        return true;
    }
    if (S_ISLNK(st.st_mode)) {
        return err_set(e, CODE_REFUSED,
            "%s is a link, so something else manages it (Nix?): change it there, or use --force",
            path);
    }
    if (!fs_read(AT_FDCWD, path, CONFIG_BYTES_MAX, &text, e) ||
        !config_parse(buf_bytes(&text), path, &old, e)) {
        return err_wrap(e, "there is a configuration that cannot be read (--force replaces it)");
    }
    bool same = memcmp(old.trust.fleet, fresh->trust.fleet, sizeof old.trust.fleet) == 0;
    config_clear(&old);
    return same ? true
                : err_set(e, CODE_REFUSED,
                      "%s belongs to another fleet: this machine is a node of that one. --force "
                      "replaces it",
                      path);
}

static bool make_folder(const char *path, struct err *e)
{
    char folder[PATH_MAX];
    snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    if (slash == NULL || slash == folder) {
        return true;
    }
    *slash = '\0';
    return fs_exists(AT_FDCWD, folder) || fs_make_dir(AT_FDCWD, folder, 0755, true, e);
}

// Read once: the bytes that were checked are the bytes that are installed. Whose file it was does
// not matter, since whoever calls this has chosen it; in place it is ours.
static bool install(const char *from, const char *path, bool force, struct err *e)
{
    struct buf text CLEANUP(buf_clear) = {0};
    struct config fresh;
    if (!fs_read_following(AT_FDCWD, from, CONFIG_BYTES_MAX, &text, e) ||
        !config_parse(buf_bytes(&text), from, &fresh, e)) {
        return false;
    }
    bool ok = (force || may_replace(path, &fresh, e)) && make_folder(path, e) &&
              fs_write(AT_FDCWD, path, buf_bytes(&text), 0644, e);
    if (ok) {
        char fleet[HASH_HEX_BYTES];
        hex_encode(fresh.trust.fleet, sizeof fresh.trust.fleet, fleet);
        printf("installed %s\nfleet %s, %zu signer%s, %u must sign\n", path, fleet,
            fresh.trust.signer_count, fresh.trust.signer_count == 1 ? "" : "s",
            fresh.trust.threshold);
    }
    config_clear(&fresh);
    return ok;
}

int bootstrap_main(const char *config_path, bool force, int argc, char **argv)
{
    struct err e;
    if (argc != 2) {
        err_set(&e, CODE_USAGE,
            "name the file that `bento add-host` wrote: bento-apply bootstrap FILE");
        return cli_fail("bento-apply", &e);
    }
    if (!install(argv[1], config_path, force, &e)) {
        return cli_fail("bento-apply", &e);
    }
    printf("next: start bento-apply and bento-node; then deploy from the admin's machine, and\n"
           "      `bento status` shows this node\n");
    return EXIT_SUCCESS;
}
