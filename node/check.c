#include "actions.h"

#include "kept.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool run_one(const struct config *config, const struct argv *command)
{
    char *words[ARGV_MAX + 1] = {NULL};
    for (size_t i = 0; i < command->count; i++) {
        words[i] = strndup((const char *)command->words[i].at, command->words[i].len);
        ASSERT(words[i] != NULL);
    }
    int status = run_command(config, (const char *const *)words, NULL);
    if (status != 0) {
        fprintf(stderr, "health command %s ended with %d\n", words[0], status);
    }
    for (size_t i = 0; i < command->count; i++) {
        free(words[i]);
    }
    return status == 0;
}

int action_check(const struct invocation *call)
{
    struct err e;
    struct opened opened = {0};
    if (call->argc != 1) {
        fprintf(stderr, "usage: bento-apply check DIGEST\n");
        return 64;
    }
    if (!kept_load(call->config, call->argv[0], &opened, &e)) {
        fprintf(stderr, "%s\n", e.text);
        return 1;
    }
    bool ok = true;
    for (size_t i = 0; i < opened.bundle.meta.health_count && ok; i++) {
        ok = run_one(call->config, &opened.bundle.meta.health[i]);
    }
    opened_clear(&opened);
    return ok ? 0 : 1;
}
