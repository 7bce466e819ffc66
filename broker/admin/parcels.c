#include "parcels.h"

#include "draft.h"
#include "loop.h"
#include "parcel_text.h"
#include "progress.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// One host on its way to its parcel.
struct work {
    struct works *works;
    struct parcel *parcel;
    size_t row;
    uint64_t since_ms, worked_ms; // since when it works, 0: it waits; how long before that
    struct build build;
};

struct works {
    const struct assembly *assembly;
    struct pool *pool;
    struct progress *progress;
    size_t count;
    struct work *list;
};

static void keep_time(struct work *work, bool works)
{
    uint64_t now = clock_monotonic_ms();
    work->worked_ms += work->since_ms ? now - work->since_ms : 0;
    work->since_ms = works ? now : 0;
}

static void on_phase(void *context, const char *phase)
{
    struct work *work = context;
    keep_time(work, phase != NULL);
    progress_phase(work->works->progress, work->row, phase);
}

static void on_line(void *context, struct bytes line)
{
    const struct work *work = context;
    progress_line(work->works->progress, work->row, line);
}

static enum outcome outcome_of(const struct assembly *assembly, const struct parcel *parcel)
{
    if (!assembly->cache) {
        return OUTCOME_BUILT;
    }
    const struct ticket *before = parcel_previous_ticket(assembly, parcel);
    return before && ticket_same(before, &parcel->ticket) ? OUTCOME_UNCHANGED : OUTCOME_CHANGED;
}

// Says what became of it; of those that were only stopped nothing.
static void settle(struct work *work, bool ok)
{
    const struct assembly *assembly = work->works->assembly;
    struct parcel *parcel = work->parcel;
    CLEANUP(buf_clear) struct buf line = {0};
    if (ok) {
        parcel->outcome = outcome_of(assembly, parcel);
    } else {
        parcel->outcome = OUTCOME_FAILED;
        parcel_keep(assembly, parcel);
    }
    keep_time(work, false);
    parcel->seconds = (double)work->worked_ms / 1000;
    if (!parcel->stopped) {
        parcel_line(assembly, parcel, assembly->name_width, &line);
    }
    progress_over(work->works->progress, work->row, !ok, buf_text(&line));
    if (!ok && assembly->all_or_nothing) {
        pool_stop(work->works->pool);
    }
}

static void on_built(void *context, bool ok)
{
    struct work *work = context;
    struct parcel *parcel = work->parcel;
    struct build *build = &work->build;
    const struct assembly *assembly = work->works->assembly;
    parcel->system = build->system;
    parcel->log = build->log;
    parcel->failure = build->failure;
    parcel->evaluated_only = build->evaluated_only;
    parcel->stopped = build->stopped;
    parcel->to_build = build->to_build;
    parcel->to_fetch = build->to_fetch;
    build->system = (struct system){0};
    build->log = (struct buf){0};
    settle(work, ok && (!assembly->cache || parcel_seal(assembly, parcel, &parcel->failure)));
}

static void prepare_build(struct work *work)
{
    const struct host *host = work->parcel->host;
    const struct assembly *assembly = work->works->assembly;
    bool flake = host->folder->kind == KIND_FLAKE;
    work->build = (struct build){.source = host->folder->source,
        .attribute = flake ? host->attribute : NULL,
        .nixpkgs_url = host->node->nixpkgs_url,
        .nixpkgs_sha256 = host->node->nixpkgs_sha256,
        .depth = assembly->eval_only ? BUILD_EVALUATE
                 : assembly->dry     ? BUILD_DRY
                                     : BUILD_ALL,
        .phase = on_phase,
        .line = on_line,
        .done = on_built,
        .context = work};
}

// The hosts of one folder that are not lost already.
static void queue_folder(const struct works *works, const struct folder *folder)
{
    struct build **builds = xcalloc(works->count + 1, sizeof(struct build *));
    size_t count = 0;
    for (size_t i = 0; i < works->count; i++) {
        struct work *work = &works->list[i];
        if (work->parcel->host->folder == folder && work->parcel->outcome != OUTCOME_FAILED) {
            prepare_build(work);
            builds[count++] = &work->build;
        }
    }
    if (folder->kind == KIND_FLAKE) {
        build_flake(works->pool, builds, count);
    } else {
        for (size_t i = 0; i < count; i++) {
            build_classic(works->pool, builds[i]);
        }
    }
    free(builds);
}

// What can fail before anything is built.
static bool precheck(const struct assembly *assembly, struct parcel *parcel)
{
    const struct folder *folder = parcel->host->folder;
    if (folder->broken) {
        parcel->failure = folder->failure;
        buf_append(&parcel->log, folder->log.at, folder->log.len);
        return false;
    }
    return !assembly->cache || parcel_gather(assembly, parcel, &parcel->failure);
}

static void run_works(struct works *works)
{
    const struct assembly *assembly = works->assembly;
    const char **names = xcalloc(works->count + 1, sizeof(*names));
    bool *sound = xcalloc(works->count + 1, sizeof(*sound));
    for (size_t i = 0; i < works->count; i++) {
        names[i] = works->list[i].parcel->host->node->name;
        sound[i] = precheck(assembly, works->list[i].parcel); // may ask on the terminal
    }
    works->pool = pool_new(assembly->jobs);
    works->progress = progress_new(pool_loop(works->pool), "hosts", names, works->count);
    for (size_t i = 0; i < works->count; i++) {
        if (!sound[i]) {
            settle(&works->list[i], false);
        }
    }
    for (size_t i = 0; i < assembly->hosts->folder_count; i++) {
        queue_folder(works, &assembly->hosts->folders[i]);
    }
    int signal = pool_run(works->pool);
    progress_free(works->progress);
    pool_free(works->pool);
    free(names);
    free(sound);
    if (signal) {
        fprintf(stderr, "interrupted: nothing was changed\n");
        pool_die(signal);
    }
}

static void init_parcels(struct assembly *assembly, const bool *chosen)
{
    assembly->count = assembly->hosts->count;
    assembly->parcels = xcalloc(assembly->count + 1, sizeof(*assembly->parcels));
    randombytes_buf(assembly->retry_nonce, sizeof(assembly->retry_nonce));
    for (size_t i = 0; i < assembly->count; i++) {
        struct parcel *parcel = &assembly->parcels[i];
        parcel->host = &assembly->hosts->list[i];
        parcel->selected = chosen[i];
        if (!chosen[i]) {
            parcel_keep(assembly, parcel);
            continue;
        }
        int width = (int)strlen(parcel->host->node->name);
        assembly->name_width = width > assembly->name_width ? width : assembly->name_width;
    }
}

void assemble_parcels(struct assembly *assembly, const bool *chosen)
{
    init_parcels(assembly, chosen);
    struct works works = {
        .assembly = assembly, .list = xcalloc(assembly->count + 1, sizeof(*works.list))};
    for (size_t i = 0; i < assembly->count; i++) {
        if (chosen[i]) {
            works.list[works.count] =
                (struct work){.works = &works, .parcel = &assembly->parcels[i], .row = works.count};
            works.count++;
        }
    }
    run_works(&works);
    for (size_t i = 0; i < works.count; i++) {
        build_clear(&works.list[i].build);
    }
    free(works.list);
    parcel_print_failures(assembly);
}

size_t assembly_count(const struct assembly *assembly, enum outcome outcome)
{
    size_t count = 0;
    for (size_t i = 0; i < assembly->count; i++) {
        count += assembly->parcels[i].outcome == outcome;
    }
    return count;
}

void assembly_clear(struct assembly *assembly)
{
    for (size_t i = 0; i < assembly->count; i++) {
        parcel_clear(&assembly->parcels[i]);
    }
    free(assembly->parcels);
    assembly->parcels = NULL;
    assembly->count = 0;
}
