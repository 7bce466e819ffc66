#include "build.h"

#include "json.h"
#include "nix.h"
#include "progress.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

void system_clear(struct system *system)
{
    free(system->out);
    free(system->derivation);
    *system = (struct system){0};
}

void build_clear(struct build *build)
{
    system_clear(&build->system);
    buf_clear(&build->log);
    buf_clear(&build->nixpkgs);
}

// The one line that a Nix command printed.
static char *take_line(struct buf *out)
{
    const char *text = buf_text(out);
    return strndup(text, strcspn(text, "\n"));
}

static void append_clean(struct buf *log, struct bytes line)
{
    progress_clean(line, log);
    buf_append_text(log, "\n");
}

static void on_line(void *context, struct bytes line)
{
    struct build *build = context;
    append_clean(&build->log, line);
    build->line(build->context, line);
}

// Of any step: false, and the build is over, if it failed.
static bool step_is_done(
    struct build *build, const struct pool_result *result, const char *what, enum code code)
{
    if (nix_check(result, &build->log, what, code, &build->failure)) {
        return true;
    }
    build->stopped = result->stopped;
    build->done(build->context, false);
    return false;
}

// ---- build ----

// Nix says so in words only, and in other words since 2.30.
static bool is_foreign(struct build *build)
{
    const char *log = buf_text(&build->log);
    return strstr(log, "is required to build") ||
           strstr(log, "required system or feature not available");
}

static void on_built(void *context, struct pool_result *result)
{
    struct build *build = context;
    if (!result->stopped && result->status != 0 && is_foreign(build)) {
        build->evaluated_only = true;
        build->done(build->context, true);
    } else if (step_is_done(build, result, "build", CODE_BUILD)) {
        build->done(build->context, true);
    }
}

// "these 3 derivations will be built:", and a line each; the same with "fetched".
static void count_paths(struct build *build)
{
    unsigned *number = NULL;
    const char *line = buf_text(&build->log);
    while (*line) {
        size_t len = strcspn(line, "\n");
        if (memmem(line, len, "will be built", 13)) {
            number = &build->to_build;
        } else if (memmem(line, len, "will be fetched", 15)) {
            number = &build->to_fetch;
        } else if (number && !strncmp(line, "  /", 3)) {
            ++*number;
        } else {
            number = NULL;
        }
        line += len + (line[len] == '\n');
    }
}

static void on_dry_run(void *context, struct pool_result *result)
{
    struct build *build = context;
    if (step_is_done(build, result, "dry build", CODE_BUILD)) {
        build->evaluated_only = true;
        count_paths(build);
        build->done(build->context, true);
    }
}

static bool begin_build(void *context, struct err *e)
{
    (void)e;
    const struct build *build = context;
    build->phase(build->context, "building");
    return true;
}

static void realise(struct build *build)
{
    if (build->depth == BUILD_EVALUATE) {
        build->evaluated_only = true;
        build->done(build->context, true);
        return;
    }
    build->phase(build->context, NULL);
    bool dry = build->depth == BUILD_DRY;
    const char *argv[] = {
        "nix-store", "--realise", build->system.derivation, dry ? "--dry-run" : NULL, NULL};
    struct pool_task task = {.kind = POOL_BUILD,
        .argv = argv,
        .begin = begin_build,
        .line = on_line,
        .done = dry ? on_dry_run : on_built,
        .context = build};
    pool_add(build->pool, &task);
}

// ---- flakes ----

// Hosts that are evaluated in one process. It says on stderr how far it is, between what Nix itself
// says: "trace: MARK begin", then "trace: MARK end OUT DERIVATION", for one after the other.
struct group {
    struct pool *pool;
    struct pool_child *child;
    char mark[40]; // random: no configuration says it
    size_t count, begun, ended;
    struct buf log; // before the first begins
    struct build *builds[];
};

static void evaluate(struct pool *pool, struct build *const *builds, size_t count);

static void begin_host(struct group *group)
{
    struct build *build = group->builds[group->begun++];
    build->phase(build->context, "evaluating");
    if (group->ended > 0 && pool_memory_is_short(pool_available_kib())) {
        pool_end(group->child);
    }
}

static void end_host(struct group *group, const char *paths)
{
    struct build *build = group->builds[group->ended++];
    size_t len = strcspn(paths, " ");
    build->system.out = strndup(paths, len);
    build->system.derivation = xstrdup(paths[len] ? paths + len + 1 : "");
    realise(build);
}

static void on_group_line(void *context, struct bytes line)
{
    struct group *group = context;
    CLEANUP(buf_clear) struct buf clean = {0};
    progress_clean(line, &clean);
    const char *mark = strstr(buf_text(&clean), group->mark);
    const char *word = mark ? mark + strlen(group->mark) : "";
    if (!strcmp(word, " begin") && group->begun == group->ended && group->begun < group->count) {
        begin_host(group);
    } else if (!strncmp(word, " end ", 5) && group->ended < group->begun) {
        end_host(group, word + 5);
    } else if (group->begun == group->ended) {
        append_clean(&group->log, line);
    } else {
        on_line(group->builds[group->ended], line);
    }
}

static bool begin_group(void *context, struct err *e)
{
    (void)e;
    const struct group *group = context;
    group->builds[0]->phase(group->builds[0]->context, "evaluating");
    return true;
}

// All that have not ended share what was said.
static void fail_rest(struct group *group, const struct pool_result *result)
{
    for (size_t i = group->ended; i < group->count; i++) {
        struct build *build = group->builds[i];
        buf_append(&build->log, group->log.at, group->log.len);
        if (step_is_done(build, result, "evaluation", CODE_EVAL)) {
            err_set(&build->failure, CODE_EVAL, "evaluation: Nix ended before it was done");
            build->done(build->context, false);
        }
    }
}

static void on_group_done(void *context, struct pool_result *result)
{
    struct group *group = context;
    struct build **rest = group->builds + group->ended;
    size_t count = group->count - group->ended;
    if (result->stopped && !pool_is_stopped(group->pool)) {
        evaluate(group->pool, rest, count); // memory was short
    } else if (result->stopped || group->begun == group->ended) {
        fail_rest(group, result);
    } else {
        // The one that it ended with is to blame. The others once more, without it.
        if (step_is_done(rest[0], result, "evaluation", CODE_EVAL)) {
            err_set(&rest[0]->failure, CODE_EVAL, "evaluation: Nix ended before it was done");
            rest[0]->done(rest[0]->context, false);
        }
        evaluate(group->pool, rest + 1, (count - 1) / 2);
        evaluate(group->pool, rest + 1 + (count - 1) / 2, count - 1 - (count - 1) / 2);
    }
    buf_clear(&group->log);
    free(group);
}

static void write_function(const struct group *group, struct buf *function)
{
    buf_printf(function,
        "configurations: builtins.foldl' (before: name: builtins.trace \"%s begin\" (let top = "
        "configurations.${name}.config.system.build.toplevel; in builtins.trace \"%s end "
        "${top.outPath} ${top.drvPath}\" before)) null [",
        group->mark, group->mark);
    for (size_t i = 0; i < group->count; i++) {
        buf_append_text(function, " ");
        nix_quote(function, group->builds[i]->attribute);
    }
    buf_append_text(function, " ]");
}

static void evaluate(struct pool *pool, struct build *const *builds, size_t count)
{
    if (!count) {
        return;
    }
    CLEANUP(buf_clear) struct buf function = {0}, installable = {0};
    const char *argv[NIX_EVAL_WORDS];
    uint8_t random[12];
    struct group *group = xcalloc(1, sizeof(*group) + count * sizeof(*builds));
    group->pool = pool;
    group->count = count;
    memcpy(group->builds, builds, count * sizeof(*builds));
    randombytes_buf(random, sizeof(random));
    strcpy(group->mark, "bento-");
    hex_encode(random, sizeof(random), group->mark + strlen(group->mark));
    write_function(group, &function);
    buf_printf(&installable, "path:%s#nixosConfigurations", builds[0]->source);
    nix_eval_argv(buf_text(&installable), buf_text(&function), argv);
    struct pool_task task = {.kind = POOL_EVALUATION,
        .argv = argv,
        .begin = begin_group,
        .line = on_group_line,
        .done = on_group_done,
        .context = group};
    group->child = pool_add(pool, &task);
}

void build_flake(struct pool *pool, struct build *const *builds, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        builds[i]->pool = pool;
    }
    evaluate(pool, builds, count);
}

// ---- classic ----

static bool begin_evaluation(void *context, struct err *e)
{
    (void)e;
    const struct build *build = context;
    build->phase(build->context, "evaluating");
    return true;
}

static void add_step(struct build *build, enum pool_kind kind, const char *const *argv,
    void (*done)(void *context, struct pool_result *result))
{
    struct pool_task task = {.kind = kind,
        .argv = argv,
        .begin = begin_evaluation,
        .line = on_line,
        .done = done,
        .context = build};
    pool_add(build->pool, &task);
}

static void on_queried(void *context, struct pool_result *result)
{
    struct build *build = context;
    if (step_is_done(build, result, "evaluation", CODE_EVAL)) {
        build->system.out = take_line(&result->out);
        realise(build);
    }
}

static void on_instantiated(void *context, struct pool_result *result)
{
    struct build *build = context;
    if (step_is_done(build, result, "evaluation", CODE_EVAL)) {
        build->system.derivation = take_line(&result->out);
        const char *argv[] = {"nix-store", "--query", "--outputs", build->system.derivation, NULL};
        add_step(build, POOL_STEP, argv, on_queried);
    }
}

static void instantiate(struct build *build)
{
    CLEANUP(buf_clear) struct buf configuration = {0};
    buf_printf(&configuration, "nixos-config=%s/configuration.nix", build->source);
    bool pinned = build->nixpkgs.len > 0;
    const char *argv[] = {"nix-instantiate", "<nixpkgs/nixos>", "-A", "system", "-I",
        buf_text(&configuration), pinned ? "-I" : NULL, pinned ? buf_text(&build->nixpkgs) : NULL,
        NULL};
    add_step(build, POOL_EVALUATION, argv, on_instantiated);
}

static void on_nixpkgs(void *context, struct pool_result *result)
{
    struct build *build = context;
    if (!step_is_done(build, result, "nixpkgs", CODE_EVAL)) {
        return;
    }
    json_error_t error;
    CLEANUP_JSON *path =
        json_loadb((const char *)result->out.at, result->out.len, JSON_DECODE_ANY, &error);
    if (!json_is_string(path)) {
        err_set(&build->failure, CODE_EVAL, "nixpkgs: %s is not a tarball that Nix can unpack",
            build->nixpkgs_url);
        build->done(build->context, false);
        return;
    }
    buf_printf(&build->nixpkgs, "nixpkgs=%s", json_string_value(path));
    instantiate(build);
}

void build_classic(struct pool *pool, struct build *build)
{
    build->pool = pool;
    if (!build->nixpkgs_url) {
        instantiate(build);
        return;
    }
    CLEANUP(buf_clear) struct buf expression = {0};
    buf_append_text(&expression, "builtins.fetchTarball { url = ");
    nix_quote(&expression, build->nixpkgs_url);
    buf_append_text(&expression, "; sha256 = ");
    nix_quote(&expression, build->nixpkgs_sha256);
    buf_append_text(&expression, "; }");
    const char *argv[] = {
        "nix-instantiate", "--eval", "--json", "--expr", buf_text(&expression), NULL};
    add_step(build, POOL_STEP, argv, on_nixpkgs);
}
