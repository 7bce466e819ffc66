#include "secrets.h"

#include "proc.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define SECRET_BYTES_MAX (16u << 20)
#define COMMAND_TIMEOUT_MS (120 * 1000) // somebody may have to type a passphrase

static struct buf secrets_path(const struct fleet *fleet, const struct host *host)
{
    struct buf path = {0};
    buf_printf(&path, "%s/hosts/%s/secrets", fleet->root, host->folder->name);
    if (host->folder->attributes.count > 1) {
        buf_printf(&path, "/%s", host->node->name);
    }
    return path;
}

static bool check_file(
    const struct fleet *fleet, int dir, const char *path, const char *name, struct err *e)
{
    struct stat st;
    const char *shown = path + strlen(fleet->root) + 1;
    if (fstatat(dir, name, &st, 0) != 0 || !S_ISREG(st.st_mode)) {
        return err_set(e, CODE_CONFIG, "%s/%s is not a regular file", shown, name);
    }
    if (strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") !=
            strlen(name) ||
        strlen(name) > SECRET_NAME_BYTES_MAX) {
        return err_set(e, CODE_CONFIG,
            "%s/%s: a secret's name is made of letters, digits, . _ and -", shown, name);
    }
    return true;
}

static const char *add_name(struct secrets *secrets, const char *name)
{
    secrets->names.names =
        realloc(secrets->names.names, (secrets->names.count + 1) * sizeof(char *));
    ASSERT(secrets->names.names);
    return secrets->names.names[secrets->names.count++] = xstrdup(name);
}

// Room for one more; *content is where its bytes go.
static struct secret *add_secret(struct secrets *secrets, const char *name, struct buf **content)
{
    size_t count = secrets->count++;
    ASSERT(count < SECRETS_MAX);
    secrets->list[count] = (struct secret){.name = bytes_of_text(add_name(secrets, name)),
        .owner = bytes_of_text("root"),
        .group = bytes_of_text("root"),
        .mode = 0400};
    *content = &secrets->contents[count];
    return &secrets->list[count];
}

static bool read_folder(
    const struct fleet *fleet, const struct host *host, struct secrets *secrets, struct err *e)
{
    CLEANUP(buf_clear) struct buf path = secrets_path(fleet, host);
    CLEANUP(names_clear) struct names names = {0};
    CLEANUP_FD dir = -1;
    if (!fs_exists(AT_FDCWD, buf_text(&path))) {
        return true;
    }
    if (!fs_open_dir(AT_FDCWD, buf_text(&path), &dir, e) || !fs_list(dir, &names, e)) {
        return false;
    }
    if (names.count > SECRETS_MAX) {
        return err_set(
            e, CODE_CONFIG, "%s: at most %u secrets a host", buf_text(&path), SECRETS_MAX);
    }
    for (size_t i = 0; i < names.count; i++) {
        const char *name = names.names[i];
        struct buf *content;
        if (*name == '.') {
            continue; // .gitignore and the like
        }
        if (!check_file(fleet, dir, buf_text(&path), name, e)) {
            return false;
        }
        struct secret *secret = add_secret(secrets, name, &content);
        if (!fs_read_following(dir, name, SECRET_BYTES_MAX, content, e)) {
            return err_wrap(e, "secret %s", name);
        }
        secret->content = buf_bytes(content);
    }
    return true;
}

// A file right in secrets/ of a folder with several hosts: nobody can tell whose it is.
static bool refuse_shared(const struct fleet *fleet, const struct host *host, struct err *e)
{
    CLEANUP(buf_clear) struct buf path = {0};
    CLEANUP(names_clear) struct names names = {0};
    CLEANUP_FD dir = -1;
    buf_printf(&path, "%s/hosts/%s/secrets", fleet->root, host->folder->name);
    if (host->folder->attributes.count < 2 || !fs_exists(AT_FDCWD, buf_text(&path))) {
        return true;
    }
    if (!fs_open_dir(AT_FDCWD, buf_text(&path), &dir, e) || !fs_list(dir, &names, e)) {
        return false;
    }
    for (size_t i = 0; i < names.count; i++) {
        struct stat st;
        if (*names.names[i] != '.' && fstatat(dir, names.names[i], &st, 0) == 0 &&
            !S_ISDIR(st.st_mode)) {
            return err_set(e, CODE_CONFIG,
                "hosts/%s/secrets/%s: several hosts live there, so put it into secrets/HOST/",
                host->folder->name, names.names[i]);
        }
    }
    return true;
}

static bool run_command(
    const struct fleet *fleet, const char *command, struct buf *content, struct err *e)
{
    struct proc_result result = {0};
    const char *argv[] = {
        "/bin/sh", "-c", command, NULL}; // the admin's own line, from the admin's own file
    if (!proc_run(argv, NULL, fleet->root, (struct bytes){0}, SECRET_BYTES_MAX, COMMAND_TIMEOUT_MS,
            true, &result, e)) {
        proc_result_clear(&result);
        return false;
    }
    bool ok = result.status == 0 ||
              err_set(e, CODE_CONFIG, "`%s` ended with status %d", command, result.status);
    if (ok) {
        buf_append(content, result.out.at, result.out.len);
    }
    proc_result_clear(&result);
    return ok;
}

static struct secret *find_secret(struct secrets *secrets, const char *name)
{
    for (size_t i = 0; i < secrets->count; i++) {
        if (bytes_equal_text(secrets->list[i].name, name)) {
            return &secrets->list[i];
        }
    }
    return NULL;
}

static bool apply_one(const struct fleet *fleet, const struct fleet_secret *given,
    struct secrets *secrets, struct err *e)
{
    struct secret *secret = find_secret(secrets, given->name);
    if (!secret && !given->file && !given->command) {
        return err_set(e, CODE_CONFIG,
            "no file secrets/%s in the host's folder, and fleet.nix names no file or command",
            given->name);
    }
    if (!secret && secrets->count == SECRETS_MAX) {
        return err_set(e, CODE_CONFIG, "at most %u secrets a host", SECRETS_MAX);
    }
    struct buf *content;
    if (!secret) {
        secret = add_secret(secrets, given->name, &content);
    } else {
        content = &secrets->contents[secret - secrets->list];
    }
    secret->owner = bytes_of_text(given->owner);
    secret->group = bytes_of_text(given->group);
    secret->mode = given->mode;
    if (given->file || given->command) {
        buf_clear(content);
    }
    if (given->file) {
        CLEANUP(buf_clear) struct buf path = {0};
        buf_printf(&path, "%s%s%s", *given->file == '/' ? "" : fleet->root,
            *given->file == '/' ? "" : "/", given->file);
        if (!fs_read_following(AT_FDCWD, buf_text(&path), SECRET_BYTES_MAX, content, e)) {
            return false;
        }
    }
    if (given->command && !run_command(fleet, given->command, content, e)) {
        return false;
    }
    secret->content = buf_bytes(content);
    return true;
}

bool secrets_gather(
    const struct fleet *fleet, const struct host *host, struct secrets *secrets, struct err *e)
{
    *secrets = (struct secrets){.list = xcalloc(SECRETS_MAX, sizeof(*secrets->list)),
        .contents = xcalloc(SECRETS_MAX, sizeof(*secrets->contents))};
    bool ok = refuse_shared(fleet, host, e) && read_folder(fleet, host, secrets, e);
    for (size_t i = 0; ok && i < host->node->secret_count; i++) {
        const struct fleet_secret *given = &host->node->secrets[i];
        ok = apply_one(fleet, given, secrets, e) || err_wrap(e, "secret %s", given->name);
    }
    if (!ok) {
        secrets_clear(secrets);
    }
    return ok;
}

void secrets_clear(struct secrets *secrets)
{
    for (size_t i = 0; i < secrets->count; i++) {
        buf_clear(&secrets->contents[i]);
    }
    free(secrets->contents);
    free(secrets->list);
    names_clear(&secrets->names);
    *secrets = (struct secrets){0};
}
