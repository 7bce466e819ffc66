// What must hold of a new system before it is tried.
#include "actions.h"

#include "fs.h"
#include "system.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define MIB (1024ull * 1024)
#define STORE_FREE_BYTES (16 * MIB) // to set the profile, and for what an activation writes
#define BOOT_FREE_BYTES MIB         // beside kernel and initrd
#define FILE_BYTES_MAX (64u << 10)

struct candidate {
    const struct config *config;
    char path[PATH_MAX];
};

static void path_in(const char *toplevel, const char *name, char path[PATH_MAX + 64])
{
    snprintf(path, PATH_MAX + 64, "%.*s/%s", PATH_MAX - 1, toplevel, name);
}

static bool is_nixos(const struct candidate *c)
{
    char version[PATH_MAX + 64];
    path_in(c->path, "nixos-version", version);
    if (access(version, R_OK) != 0) {
        fprintf(stderr, "%s is no NixOS system: it has no nixos-version\n", c->path);
        return false;
    }
    return true;
}

static bool has_room(const char *folder, uint64_t needed)
{
    struct statvfs fs;
    if (statvfs(folder, &fs) != 0) {
        return true; // not there: a boot loader without it, then
    }
    uint64_t free = (uint64_t)fs.f_bavail * fs.f_frsize;
    if (free < needed) {
        fprintf(stderr, "%s has %llu KiB free, and %llu are needed: make room there\n", folder,
            (unsigned long long)free / 1024, (unsigned long long)needed / 1024);
        return false;
    }
    return true;
}

// vfat is made read-only after an error, and then the commit of what was tried would fail.
static bool is_writable(const char *folder)
{
    struct statvfs fs;
    if (statvfs(folder, &fs) != 0 || (fs.f_flag & ST_RDONLY) == 0) {
        return true;
    }
    fprintf(
        stderr, "%s is read-only: look why (dmesg), then mount -o remount,rw %s\n", folder, folder);
    return false;
}

// Bytes that the boot loader would copy: of a file that the profile's system does not have.
static uint64_t boot_bytes(const struct candidate *c, const char *name)
{
    char file[PATH_MAX + 64], installed[PATH_MAX + 64], real[PATH_MAX], real_installed[PATH_MAX];
    struct stat st;
    path_in(c->path, name, file);
    path_in(c->config->profile, name, installed);
    if (realpath(file, real) == NULL || stat(real, &st) != 0) {
        return 0;
    }
    bool there = realpath(installed, real_installed) != NULL && strcmp(real, real_installed) == 0;
    return there ? 0 : (uint64_t)st.st_size;
}

// The new system must have a bento that can go on from this state and would accept this very
// release: a bad rotation of the signers, or a system without bento, would be the last one that
// this machine ever got.
static bool bento_accepts(const struct candidate *c, const char *state)
{
    char program[PATH_MAX + 64], config[PATH_MAX + 64], envelope[PATH_MAX];
    path_in(c->path, "sw/bin/bento-apply", program);
    path_in(c->path, "etc/bento/node.json", config);
    snprintf(envelope, sizeof envelope, "%s/envelope", state);
    if (access(program, X_OK) != 0) {
        fprintf(stderr, "the new system has no bento-apply (%s): it could never be updated again\n",
            program);
        return false;
    }
    const char *argv[] = {program, "--config", access(config, R_OK) == 0 ? config : c->config->path,
        "selfcheck", envelope, NULL};
    return run_command(c->config, argv, NULL) == 0;
}

// --- what cannot be tried live ---

static bool read_both(
    const struct candidate *c, const char *name, struct buf *now, struct buf *then)
{
    char file[PATH_MAX + 64];
    struct err e;
    path_in(c->config->current_system, name, file);
    if (!fs_read_following(AT_FDCWD, file, FILE_BYTES_MAX, now, &e)) {
        return false;
    }
    path_in(c->path, name, file);
    return fs_read_following(AT_FDCWD, file, FILE_BYTES_MAX, then, &e);
}

// As nixpkgs has it: an object of components, of which one that both have must be the same; or just a
// list of store paths.
static bool inhibits(const struct buf *now, const struct buf *then)
{
    json_t *a = json_loadb((const char *)now->at, now->len, 0, NULL);
    json_t *b = json_loadb((const char *)then->at, then->len, 0, NULL);
    bool objects = json_is_object(a) && json_is_object(b);
    bool differ = !objects && !bytes_equal(buf_bytes(now), buf_bytes(then));
    const char *key;
    json_t *value;
    if (objects) {
        json_object_foreach(a, key, value)
        {
            json_t *other = json_object_get(b, key);
            differ = differ || (other != NULL && !json_equal(value, other));
        }
    }
    json_decref(a);
    json_decref(b);
    return differ;
}

static bool is_for_next_boot(const struct candidate *c)
{
    struct buf now[2] = {{0}, {0}}, then[2] = {{0}, {0}};
    bool inhibited =
        read_both(c, "switch-inhibitors", &now[0], &then[0]) && inhibits(&now[0], &then[0]);
    bool other_init = read_both(c, "init-interface-version", &now[1], &then[1]) &&
                      !bytes_equal(buf_bytes(&now[1]), buf_bytes(&then[1]));
    for (size_t i = 0; i < 2; i++) {
        buf_clear(&now[i]);
        buf_clear(&then[i]);
    }
    if (inhibited || other_init) {
        fprintf(stderr, "%s: it is installed for the next boot\n",
            inhibited ? "critical components differ (switch-inhibitors)"
                      : "another init interface");
    }
    return inhibited || other_init;
}

bool preflight_has_store(void)
{
    return has_room("/nix/store", STORE_FREE_BYTES);
}

int preflight(const struct invocation *call, const char *root)
{
    struct candidate c = {.config = call->config};
    if (realpath(root, c.path) == NULL) {
        fprintf(stderr, "%s: %m\n", root);
        return OBTAIN_EXIT_IO;
    }
    uint64_t boot = boot_bytes(&c, "kernel") + boot_bytes(&c, "initrd");
    if (!is_nixos(&c) || !preflight_has_store() || !is_writable(call->config->boot) ||
        !has_room(call->config->boot, boot + BOOT_FREE_BYTES)) {
        return OBTAIN_EXIT_BUILD;
    }
    if (!bento_accepts(&c, call->state)) {
        return OBTAIN_EXIT_LOCKOUT;
    }
    return is_for_next_boot(&c) ? OBTAIN_EXIT_BOOT_ONLY : 0;
}
