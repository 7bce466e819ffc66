#include "substituter.h"

#include "nix.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NIX "nix", "--extra-experimental-features", "nix-command flakes"

// Of these Nix writes the signatures itself, next to what it copies.
static bool is_binary_cache(const char *url)
{
    static const char *const schemes[] = {"file://", "s3://", "http://", "https://"};
    for (size_t i = 0; i < sizeof(schemes) / sizeof(*schemes); i++) {
        if (!strncmp(url, schemes[i], strlen(schemes[i]))) {
            return true;
        }
    }
    return false;
}

// As the value of a parameter of a url.
static void append_escaped(struct buf *out, const char *text)
{
    for (; *text; text++) {
        if (isalnum((unsigned char)*text) || strchr("/._-", *text)) {
            buf_append(out, text, 1);
        } else {
            buf_printf(out, "%%%02X", (unsigned char)*text);
        }
    }
}

static void secret_key_path(const struct fleet *fleet, struct buf *path)
{
    const char *file = fleet->cache_secret_key;
    buf_printf(path, "%s%s%s", *file == '/' ? "" : fleet->root, *file == '/' ? "" : "/", file);
}

void substituter_target(const struct fleet *fleet, struct buf *target)
{
    CLEANUP(buf_clear) struct buf key = {0};
    buf_append_text(target, fleet->cache_upload);
    if (fleet->cache_secret_key && is_binary_cache(fleet->cache_upload)) {
        secret_key_path(fleet, &key);
        buf_append_text(target, strchr(fleet->cache_upload, '?') ? "&" : "?");
        buf_append_text(target, "secret-key=");
        append_escaped(target, buf_text(&key));
    }
}

static bool is_in_release(const struct parcel *parcel)
{
    return parcel->outcome == OUTCOME_CHANGED || parcel->outcome == OUTCOME_UNCHANGED;
}

// ---- copying ----

// What this machine has of the release, behind the words of a command; the caller frees the array.
static size_t add_systems(const struct assembly *assembly, const char *const *words,
    size_t word_count, const char ***argv)
{
    size_t count = 0;
    *argv = xcalloc(word_count + assembly->count + 1, sizeof(**argv));
    memcpy(*argv, words, word_count * sizeof(*words));
    for (size_t i = 0; i < assembly->count; i++) {
        const struct parcel *parcel = &assembly->parcels[i];
        if (is_in_release(parcel) && parcel->system.out && !access(parcel->system.out, F_OK)) {
            (*argv)[word_count + count++] = parcel->system.out;
        }
    }
    return count;
}

static bool run_for_systems(const struct assembly *assembly, const char *const *words,
    size_t word_count, const char *what, size_t *count, struct err *e)
{
    CLEANUP(buf_clear) struct buf out = {0};
    const char **argv;
    *count = add_systems(assembly, words, word_count, &argv);
    bool ok = !*count || nix_run(argv, what, CODE_IO, &out, NULL, e);
    free(argv);
    return ok;
}

static bool sign_in_store(const struct assembly *assembly, struct err *e)
{
    CLEANUP(buf_clear) struct buf key = {0};
    size_t count;
    secret_key_path(assembly->fleet, &key);
    const char *words[] = {NIX, "store", "sign", "--recursive", "--key-file", buf_text(&key)};
    return run_for_systems(
        assembly, words, sizeof(words) / sizeof(*words), "signing for the binary cache", &count, e);
}

static bool check_secret_key(const struct fleet *fleet, struct err *e)
{
    CLEANUP(buf_clear) struct buf key = {0};
    secret_key_path(fleet, &key);
    return access(buf_text(&key), R_OK) == 0 ||
           err_set(e, CODE_CONFIG,
               "broker.cache.secret_key: %s: %m (nix-store --generate-binary-cache-key NAME FILE "
               "FILE.pub makes one)",
               buf_text(&key));
}

static bool copy(const struct assembly *assembly, struct err *e)
{
    const struct fleet *fleet = assembly->fleet;
    CLEANUP(buf_clear) struct buf target = {0};
    size_t count;
    if (fleet->cache_secret_key && !check_secret_key(fleet, e)) {
        return false;
    }
    if (fleet->cache_secret_key && !is_binary_cache(fleet->cache_upload) &&
        !sign_in_store(assembly, e)) {
        return false;
    }
    substituter_target(fleet, &target);
    const char *words[] = {NIX, "copy", "--to", buf_text(&target)};
    if (!run_for_systems(assembly, words, sizeof(words) / sizeof(*words),
            "copying to the binary cache", &count, e)) {
        return false;
    }
    printf("copied %zu system%s to the binary cache\n", count, count == 1 ? "" : "s");
    fflush(stdout);
    return true;
}

// ---- asking ----

static bool holds(const char *store, const char *path, struct err *e)
{
    CLEANUP(buf_clear) struct buf out = {0};
    const char *argv[] = {NIX, "path-info", "--store", store, "--option",
        "narinfo-cache-negative-ttl", "0", path, NULL};
    return nix_run(argv, store, CODE_BUILD, &out, NULL, e);
}

// The url of a cache that is reached through tunnels means another machine here.
static const char *cache_as_seen_here(const struct fleet *fleet)
{
    return fleet->cache_upload    ? fleet->cache_upload
           : fleet->cache_forward ? NULL
                                  : fleet->cache_url;
}

static bool can_substitute(const struct fleet *fleet, const struct parcel *parcel, struct err *e)
{
    const struct fleet_node *node = parcel->host->node;
    const char *cache = cache_as_seen_here(fleet);
    struct err why = {0};
    if (cache && holds(cache, parcel->system.out, &why)) {
        return true;
    }
    for (size_t i = 0; i < node->substituter_count; i++) {
        if (holds(node->substituters[i], parcel->system.out, &why)) {
            return true;
        }
    }
    if (!cache && !node->substituter_count) {
        err_set(
            &why, CODE_CONFIG, "the cache can be reached by nodes only: say broker.cache.upload");
    }
    return err_set(e, CODE_BUILD,
        "%s may only substitute (substitute_only), and would not find %s: %s; nothing is published",
        node->name, parcel->system.out, why.text);
}

bool substituter_fill(const struct assembly *assembly, struct err *e)
{
    const struct fleet *fleet = assembly->fleet;
    if (fleet->cache_upload && !copy(assembly, e)) {
        return false;
    }
    for (size_t i = 0; i < assembly->count; i++) {
        const struct parcel *parcel = &assembly->parcels[i];
        bool only = is_in_release(parcel) && parcel->host->node->substitute_only;
        if (only && !can_substitute(fleet, parcel, e)) {
            return false;
        }
    }
    return true;
}
