// Whether the new system is well: its own bento-node runs, and the health commands pass.
#include "actions.h"

#include "kept.h"
#include "secrets.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define COMMAND_MS 30000
#define ROUND_SECONDS 2

static bool is_same_file(const char *a, const char *b)
{
    char real_a[PATH_MAX], real_b[PATH_MAX];
    return realpath(a, real_a) != NULL && realpath(b, real_b) != NULL &&
           strcmp(real_a, real_b) == 0;
}

// That the broker was reached is a proof only if it is the new system that reached it.
static bool node_is_new(const struct config *config, const char *toplevel)
{
    const char *argv[] = {
        "systemctl", "show", "--property=MainPID", "--value", "--", config->node_unit, NULL};
    struct buf pid CLEANUP(buf_clear) = {0};
    char running[64], own[PATH_MAX], installed[PATH_MAX];
    int status;
    if (!has_systemd() || config->node_unit[0] == '\0') {
        return true;
    }
    bool known = run_collect(config, argv, &pid, &status);
    snprintf(running, sizeof running, "/proc/%.20s/exe", buf_text(&pid));
    snprintf(own, sizeof own, "%s/sw/bin/bento-node", toplevel);
    if (!known || !is_same_file(running, own)) {
        fprintf(stderr, "%s does not run the new system's %s\n", config->node_unit, own);
        return false;
    }
    snprintf(installed, sizeof installed, "%s/etc/bento/node.json", toplevel);
    if (access(installed, F_OK) == 0 && !is_same_file(config->path, installed)) {
        fprintf(stderr, "%s is not the new system's %s\n", config->path, installed);
        return false;
    }
    return true;
}

static bool run_one(const struct config *config, const struct argv *command)
{
    char *words[ARGV_MAX + 1] = {NULL};
    for (size_t i = 0; i < command->count; i++) {
        words[i] = strndup((const char *)command->words[i].at, command->words[i].len);
        ASSERT(words[i] != NULL);
    }
    int status = run_limited(config, (const char *const *)words, COMMAND_MS);
    if (status != 0) {
        fprintf(stderr, "health command %s ended with %d\n", words[0], status);
    }
    for (size_t i = 0; i < command->count; i++) {
        free(words[i]);
    }
    return status == 0;
}

// They were installed, but perhaps for nobody: a system that was booted brings its users along only then.
static bool secrets_are_owned(const struct bundle *bundle)
{
    struct err e;
    bool owned = secrets_check_owners(bundle, &e);
    if (!owned) {
        fprintf(stderr, "%s\n", e.text);
    }
    return owned;
}

static bool is_well(const struct invocation *call, const struct bundle *bundle)
{
    const struct meta *meta = &bundle->meta;
    bool ok = node_is_new(call->config, call->argv[1]) && secrets_are_owned(bundle);
    for (size_t i = 0; i < meta->health_count && ok; i++) {
        ok = run_one(call->config, &meta->health[i]);
    }
    return ok;
}

int action_check(const struct invocation *call)
{
    struct err e;
    struct opened opened = {0};
    if (call->argc != 2) {
        fprintf(stderr, "usage: bento-apply check DIGEST NEW\n");
        return 64;
    }
    if (!kept_load(call->config, call->argv[0], &opened, &e)) {
        fprintf(stderr, "%s\n", e.text);
        return 1;
    }
    // What has just been started may take a while; the end of the window ends us.
    while (!is_well(call, &opened.bundle)) {
        nanosleep(&(struct timespec){.tv_sec = ROUND_SECONDS}, NULL);
    }
    opened_clear(&opened);
    return 0;
}
