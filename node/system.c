#include "system.h"

#include "fs.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void resolve(const char *link, char out[STORE_PATH_BYTES_MAX + 1])
{
    char real[PATH_MAX];
    out[0] = '\0';
    if (realpath(link, real) != NULL && strlen(real) <= STORE_PATH_BYTES_MAX) {
        strcpy(out, real);
    }
}

static bool differs(const char *a, const char *b, const char *name)
{
    char left[PATH_MAX], right[PATH_MAX], real_left[PATH_MAX], real_right[PATH_MAX];
    snprintf(left, sizeof left, "%s/%s", a, name);
    snprintf(right, sizeof right, "%s/%s", b, name);
    if (realpath(left, real_left) == NULL || realpath(right, real_right) == NULL) {
        return false;
    }
    return strcmp(real_left, real_right) != 0;
}

static void read_boot_id(uint8_t boot_id[16])
{
    struct buf text CLEANUP(buf_clear) = {0};
    struct err e;
    memset(boot_id, 0, 16);
    if (!fs_read(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 64, &text, &e)) {
        return;
    }
    char hex[33];
    size_t n = 0;
    for (size_t i = 0; i < text.len && n < 32; i++) {
        if (text.at[i] != '-' && text.at[i] != '\n') {
            hex[n++] = (char)text.at[i];
        }
    }
    if (!hex_decode(hex, n, boot_id, 16)) {
        memset(boot_id, 0, 16);
    }
}

// The name of the specialisation of a toplevel that resolves to path.
static bool find_specialisation(const char *toplevel, const char *path, char name[NAME_MAX + 1])
{
    char folder[PATH_MAX], real[PATH_MAX];
    snprintf(folder, sizeof folder, "%s/specialisation", toplevel);
    DIR *dir = opendir(folder);
    bool found = false;
    struct dirent *entry;
    while (dir != NULL && !found && (entry = readdir(dir)) != NULL) {
        char link[PATH_MAX + NAME_MAX + 2];
        snprintf(link, sizeof link, "%s/%s", folder, entry->d_name);
        found = entry->d_name[0] != '.' && realpath(link, real) != NULL && strcmp(real, path) == 0;
        if (found) {
            snprintf(name, NAME_MAX + 1, "%s", entry->d_name);
        }
    }
    if (dir != NULL) {
        closedir(dir);
    }
    return found;
}

// Of a path that is a specialisation of the toplevel, the toplevel and its name.
static void look_above(
    const char *toplevel, char path[STORE_PATH_BYTES_MAX + 1], char specialisation[NAME_MAX + 1])
{
    char name[NAME_MAX + 1];
    bool open = specialisation[0] == '\0' && path[0] != '\0';
    if (open && toplevel[0] != '\0' && strcmp(toplevel, path) != 0 &&
        find_specialisation(toplevel, path, name)) {
        snprintf(path, STORE_PATH_BYTES_MAX + 1, "%s", toplevel);
        memcpy(specialisation, name, sizeof name);
    }
}

static void look_above_all(const char *toplevel, struct system_facts *facts)
{
    look_above(toplevel, facts->running, facts->specialisation);
    look_above(toplevel, facts->began, facts->began_specialisation);
}

void system_variant(const char *toplevel, const char *specialisation, char path[PATH_MAX])
{
    char link[PATH_MAX + NAME_MAX];
    snprintf(link, sizeof link, "%s/specialisation/%s", toplevel, specialisation);
    if (specialisation[0] == '\0' || realpath(link, path) == NULL) {
        snprintf(path, PATH_MAX, "%s", toplevel);
    }
}

void system_look(
    const struct config *config, const char *const *toplevels, struct system_facts *facts)
{
    memset(facts, 0, sizeof *facts);
    resolve(config->current_system, facts->running);
    resolve(config->booted_system, facts->booted);
    resolve(config->profile, facts->profile);
    strcpy(facts->began, facts->booted);
    look_above_all(facts->profile, facts);
    for (; toplevels != NULL && *toplevels != NULL; toplevels++) {
        look_above_all(*toplevels, facts);
    }
    read_boot_id(facts->boot_id);
    char next[PATH_MAX]; // a specialisation may have a kernel of its own
    system_variant(config->profile, facts->began_specialisation, next);
    facts->reboot = differs(config->booted_system, next, "kernel") ||
                    differs(config->booted_system, next, "initrd") ||
                    differs(config->booted_system, next, "kernel-modules");
}

char **environment_new(const struct config *config, const char *extra)
{
    static const char *const passed[] = {"HOME", "LOCALE_ARCHIVE", "NIX_PATH", "NIX_CONF_DIR",
        "NIX_REMOTE", "NIX_SSL_CERT_FILE", "NIX_STATE_DIR", "TMPDIR", "TZDIR"};
    size_t max = sizeof passed / sizeof passed[0] + 4;
    char **environment = xcalloc(max, sizeof *environment);
    size_t n = 0;
    char *text;
    ASSERT(asprintf(&text, "PATH=%s", config->child_path) > 0);
    environment[n++] = text;
    for (size_t i = 0; i < sizeof passed / sizeof passed[0]; i++) {
        const char *value = getenv(passed[i]);
        if (value == NULL && strcmp(passed[i], "HOME") == 0) {
            value = "/root"; // nix refuses to work without one
        }
        if (value != NULL) {
            ASSERT(asprintf(&text, "%s=%s", passed[i], value) > 0);
            environment[n++] = text;
        }
    }
    environment[n++] = xstrdup("NIXOS_INSTALL_BOOTLOADER=0");
    if (extra != NULL) {
        environment[n++] = xstrdup(extra);
    }
    return environment;
}

void environment_free(char ***environment)
{
    for (char **each = *environment; each != NULL && *each != NULL; each++) {
        free(*each);
    }
    free(*environment);
    *environment = NULL;
}
