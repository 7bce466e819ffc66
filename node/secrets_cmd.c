// Which secrets are installed: by digest, or of the system that runs.
#include "actions.h"

#include "apply.h"
#include "decision.h"
#include "fs.h"
#include "journal.h"
#include "kept.h"
#include "secrets.h"
#include "system.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

// One at a time: what is chosen under the lock is chosen after whoever had it before is done.
static bool lock_secrets(const struct config *config, int *lock, struct err *e)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/apply/secrets.lock", config->state);
    return fs_lock(AT_FDCWD, path, true, lock, e);
}

static bool install_of(
    const struct config *config, const char *digest_hex, enum owners owners, struct err *e)
{
    struct opened opened = {0};
    if (strspn(digest_hex, "0") == HASH_HEX_BYTES - 1) {
        return secrets_install(config, NULL, e);
    }
    if (!kept_load(config, digest_hex, &opened, e)) {
        return err_wrap(e, "secrets");
    }
    bool ok = (owners == OWNERS_MAY_COME || secrets_check_owners(&opened.bundle, e)) &&
              secrets_install(config, &opened.bundle, e);
    opened_clear(&opened);
    return ok;
}

bool secrets_install_of(
    const struct config *config, const char *digest_hex, enum owners owners, struct err *e)
{
    CLEANUP_FD lock = -1;
    return lock_secrets(config, &lock, e) && install_of(config, digest_hex, owners, e);
}

// --- by system ---

struct root {
    const char *name;
    struct timespec made;
};

static bool is_newer(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec != b->tv_sec ? a->tv_sec > b->tv_sec : a->tv_nsec > b->tv_nsec;
}

static bool leads_to(const char *folder, const char *name, const char *toplevel)
{
    char link[PATH_MAX], real[PATH_MAX];
    int n = snprintf(link, sizeof link, "%s/%s", folder, name);
    return n < (int)sizeof link && realpath(link, real) != NULL && strcmp(real, toplevel) == 0;
}

bool secrets_find(const struct config *config, const char *toplevel, const char *except,
    char digest_hex[HASH_HEX_BYTES], struct err *e)
{
    char folder[PATH_MAX];
    CLEANUP_FD dir = -1;
    struct names names CLEANUP(names_clear) = {0};
    struct root newest = {0};
    snprintf(folder, sizeof folder, "%s/apply/roots", config->state);
    if (!fs_open_dir(AT_FDCWD, folder, &dir, e) || !fs_list(dir, &names, e)) {
        return false;
    }
    for (size_t i = 0; i < names.count; i++) {
        const char *name = names.names[i];
        struct stat st;
        bool ours =
            strlen(name) == HASH_HEX_BYTES - 1 && (except == NULL || strcmp(name, except) != 0) &&
            leads_to(folder, name, toplevel) && fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
        if (ours && (newest.name == NULL || is_newer(&st.st_mtim, &newest.made))) {
            newest = (struct root){name, st.st_mtim};
        }
    }
    if (newest.name == NULL) {
        return err_set(e, CODE_NONE, "it is not known which secrets are those of %s", toplevel);
    }
    snprintf(digest_hex, HASH_HEX_BYTES, "%s", newest.name);
    return true;
}

void secrets_recall(const struct config *config, const char *toplevel, const char *except,
    char digest_hex[HASH_HEX_BYTES])
{
    char found[HASH_HEX_BYTES];
    struct err e;
    bool none = digest_hex[strspn(digest_hex, "0")] == '\0';
    if (none && secrets_find(config, toplevel, except, found, &e)) {
        memcpy(digest_hex, found, sizeof found);
    }
}

// By a revert or the dead man's switch, of which the journal need not know yet: they install those of
// what comes back.
static bool is_going_back(const struct apply *apply, const char *toplevel, int dir)
{
    struct job_key key = {.attempt = apply->trial.attempt};
    memcpy(key.digest, apply->trial.digest, HASH_BYTES);
    return strcmp(toplevel, apply->trial.new_path) == 0 &&
           decision_read(dir, &key) == DECISION_REVERT;
}

// What the journal says now; where it says nothing that is understood, the GC roots do. "": what is
// installed is right.
static bool choose(const struct invocation *call, int dir, const struct apply *apply,
    bool understood, char digest_hex[HASH_HEX_BYTES], struct err *e)
{
    const char *const toplevels[] = {apply->target.path, apply->applied.path, apply->before.path,
        apply->trial.old_path, apply->trial.new_path, NULL};
    struct config config = *call->config;
    struct system_facts facts;
    uint8_t digest[HASH_BYTES];
    char target[HASH_HEX_BYTES];
    if (call->argc > 0) {
        config.current_system = call->argv[0]; // as if it ran already
    }
    system_look(&config, toplevels, &facts);
    if (!understood) {
        return secrets_find(call->config, facts.running, NULL, digest_hex, e);
    }
    digest_hex[0] = '\0';
    if (!is_going_back(apply, facts.running, dir) &&
        apply_secrets_of(apply, facts.running, facts.boot_id, digest)) {
        hex_encode(digest, HASH_BYTES, digest_hex);
        hex_encode(
            apply->target.digest, HASH_BYTES, target); // if it is not the applied one, it failed
        secrets_recall(call->config, facts.running, target, digest_hex);
    }
    return true;
}

static bool install_for(const struct invocation *call, int dir, struct err *e)
{
    struct apply apply;
    char digest[HASH_HEX_BYTES];
    bool understood = journal_look(dir, &apply, e);
    if (!understood && e->code == CODE_NONE) {
        return true; // a machine that has never seen a release
    }
    if (!understood) {
        fprintf(stderr, "%s\n", e->text);
    }
    if (!choose(call, dir, &apply, understood, digest, e)) {
        return false;
    }
    return digest[0] == '\0' || (install_of(call->config, digest, OWNERS_MAY_COME, e) &&
                                    install_of(call->config, digest, OWNERS_KNOWN, e));
}

int action_secrets(const struct invocation *call)
{
    struct err e;
    if (call->argc > 1) {
        fprintf(stderr, "usage: bento-apply secrets [SYSTEM]\n");
        return 64;
    }
    if (!fs_exists(AT_FDCWD, call->state)) {
        return 0; // bento-apply has never run here
    }
    CLEANUP_FD dir = -1;
    CLEANUP_FD lock = -1;
    if (!fs_open_dir(AT_FDCWD, call->state, &dir, &e) || !lock_secrets(call->config, &lock, &e) ||
        !install_for(call, dir, &e)) {
        fprintf(stderr, "%s\n", e.text);
        return 1;
    }
    return 0;
}

int action_install(const struct invocation *call)
{
    struct err e;
    if (call->argc != 1) {
        fprintf(stderr, "usage: bento-apply install DIGEST\n");
        return 64;
    }
    if (!secrets_install_of(call->config, call->argv[0], OWNERS_KNOWN, &e)) {
        fprintf(stderr, "%s\n", e.text);
        return 1;
    }
    return 0;
}
