#include "keys.h"

#include "fs.h"
#include "proc.h"
#include "system.h"

#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define HOST_KEY "/etc/ssh/ssh_host_ed25519_key"
#define KEY_BYTES_MAX 16384

static void identity_path(const struct config *config, char path[PATH_MAX])
{
    if (config->identity != NULL) {
        snprintf(path, PATH_MAX, "%s", config->identity);
        return;
    }
    // Once made, ours stays: a release that turns on sshd must not change who this node is.
    snprintf(path, PATH_MAX, "%s/apply/identity", config->state);
    if (access(path, F_OK) != 0 && access(HOST_KEY, R_OK) == 0) {
        snprintf(path, PATH_MAX, HOST_KEY);
    }
}

static bool load(const char *path, struct secret_key **key, struct err *e)
{
    struct buf pem CLEANUP(buf_clear) = {0};
    if (!fs_check_private(AT_FDCWD, path, true, e) ||
        !fs_read_following(AT_FDCWD, path, KEY_BYTES_MAX, &pem, e)) {
        return err_wrap(e, "key");
    }
    struct secret_key *loaded = sodium_malloc(sizeof *loaded);
    ASSERT(loaded != NULL);
    if (!secret_key_parse(buf_bytes(&pem), loaded, e)) {
        sodium_free(loaded);
        return err_wrap(e, "key %s", path);
    }
    *key = loaded;
    return true;
}

bool keys_load_identity(const struct config *config, struct secret_key **identity, struct err *e)
{
    char path[PATH_MAX];
    identity_path(config, path);
    return load(path, identity, e);
}

void keys_free(struct secret_key **identity)
{
    if (*identity != NULL) {
        sodium_free(*identity); // wipes
        *identity = NULL;
    }
}

// ssh-keygen writes PATH and PATH.pub. Made in a folder that is root's alone, given away and then
// renamed: a crash leaves no half key, and bento-node cannot put a link in our way. owner: NULL for
// ourselves.
static bool make(const struct config *config, const char *path, const char *comment,
    const struct passwd *owner, struct err *e)
{
    char fresh[PATH_MAX];
    snprintf(fresh, sizeof fresh, "%s/apply/%s.new", config->state, comment);
    if (unlink(fresh) != 0 && access(fresh, F_OK) == 0) {
        return err_set(e, CODE_IO, "cannot remove %s: %m", fresh);
    }
    char **environment CLEANUP(environment_free) = environment_new(config, NULL);
    const char *argv[] = {
        "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", fresh, NULL};
    struct proc_result result;
    if (!proc_run(argv, (const char *const *)environment, NULL, (struct bytes){0}, 4096, 30000,
            false, &result, e)) {
        return err_wrap(e, "key %s", path);
    }
    bool made = result.status == 0;
    if (!made) {
        err_set(e, CODE_IO, "cannot make the key %s: %s", path, buf_text(&result.err));
    }
    proc_result_clear(&result);
    char public[PATH_MAX + 4];
    snprintf(public, sizeof public, "%s.pub", fresh);
    unlink(public);
    if (made && owner != NULL && chown(fresh, owner->pw_uid, owner->pw_gid) != 0) {
        made = err_set(e, CODE_IO, "cannot give %s to %s: %m", fresh, owner->pw_name);
    }
    return made && fs_rename(AT_FDCWD, fresh, AT_FDCWD, path, e);
}

bool keys_ensure(const struct config *config, struct err *e)
{
    char path[PATH_MAX];
    identity_path(config, path);
    if (config->identity == NULL && access(path, F_OK) != 0 &&
        !make(config, path, "identity", NULL, e)) {
        return false;
    }
    snprintf(path, sizeof path, "%s/node/tunnel", config->state);
    const struct passwd *owner = geteuid() == 0 ? getpwnam(config->node_user) : NULL;
    return access(path, F_OK) == 0 || make(config, path, "tunnel", owner, e);
}

static bool print_line(const struct secret_key *key, const char *comment)
{
    struct buf line CLEANUP(buf_clear) = {0};
    public_key_line(&key->public, &line);
    return printf("%s %s\n", buf_text(&line), comment) > 0;
}

bool keys_print(const struct config *config, struct err *e)
{
    struct secret_key *identity CLEANUP(keys_free) = NULL;
    struct secret_key *tunnel CLEANUP(keys_free) = NULL;
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/node/tunnel", config->state);
    if (!keys_load_identity(config, &identity, e)) {
        return false;
    }
    // The tunnel key is bento-node's, so it passes no check for a file of root's.
    struct buf pem CLEANUP(buf_clear) = {0};
    tunnel = sodium_malloc(sizeof *tunnel);
    ASSERT(tunnel != NULL);
    if (!fs_read(AT_FDCWD, path, KEY_BYTES_MAX, &pem, e) ||
        !secret_key_parse(buf_bytes(&pem), tunnel, e)) {
        return err_wrap(e, "key %s", path);
    }
    if (!print_line(identity, "identity") || !print_line(tunnel, "tunnel")) {
        return err_set(e, CODE_IO, "cannot write to standard output: %m");
    }
    return true;
}
