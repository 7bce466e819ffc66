// bento flake-update: newer inputs for the flakes under hosts/.
//
// Nix works on a copy without secrets, since it puts a whole flake into the store, which everybody
// reads; only flake.lock comes back, in one piece.
#include "cli.h"
#include "commands.h"
#include "host.h"
#include "json.h"
#include "nix.h"
#include "progress.h"

#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROGRAM "bento flake-update"
#define LOCK_BYTES_MAX (16u << 20)
#define INPUTS_MAX 32

static const char *directory, *jobs_text;

static const struct cli_option options[] = {
    REPOSITORY_OPTION(&directory),
    {0, "jobs", "N", "flakes at once (default: one a processor)", &jobs_text, NULL},
    {0},
};

static const struct cli cli = {
    .program = PROGRAM,
    .synopsis = "[INPUT …]",
    .purpose = "Updates flake.lock of every flake under hosts/: all inputs, or only those named, "
               "where a flake has them. VERBOSE=1 shows what Nix says.",
    .example = "bento flake-update nixpkgs && bento diff",
    .options = options,
};

struct session {
    struct fleet fleet;
    struct hosts hosts;
    char **inputs;
    size_t input_count;
    bool new_syntax;
    struct pool *pool;
    struct progress *progress;
    size_t count, failed, matched;
};

// One flake.
struct update {
    struct session *session;
    const struct folder *folder;
    size_t row;
    size_t wanted_count;
    const char *wanted[INPUTS_MAX]; // none named: all
    struct buf copy, lock, log;
};

// ---- what it has ----

static bool read_lock(const char *root, const char *path, struct buf *lock, struct err *e)
{
    CLEANUP(buf_clear) struct buf whole = {0};
    buf_printf(&whole, "%s/%s", root, path);
    return !fs_exists(AT_FDCWD, buf_text(&whole)) ||
           fs_read_following(AT_FDCWD, buf_text(&whole), LOCK_BYTES_MAX, lock, e);
}

// Those of the named inputs that this flake locks.
static void pick_inputs(struct update *update)
{
    const struct session *s = update->session;
    struct err unreadable; // then Nix has to say so
    CLEANUP_JSON *lock = NULL;
    if (!update->lock.len ||
        !json_object_parse(buf_bytes(&update->lock), "flake.lock", &lock, &unreadable)) {
        return;
    }
    const char *root = json_string_value(json_object_get(lock, "root"));
    json_t *node = json_object_get(json_object_get(lock, "nodes"), root ? root : "root");
    json_t *inputs = json_object_get(node, "inputs");
    for (size_t i = 0; i < s->input_count && update->wanted_count < INPUTS_MAX; i++) {
        if (json_object_get(inputs, s->inputs[i])) {
            update->wanted[update->wanted_count++] = s->inputs[i];
        }
    }
}

// ---- on its way ----

static bool begin(void *context, struct err *e)
{
    struct update *update = context;
    CLEANUP(buf_clear) struct buf tree = {0};
    progress_phase(update->session->progress, update->row, "updating");
    return folder_copy(
        update->session->fleet.root, update->folder->name, buf_text(&update->copy), &tree, e);
}

static void on_line(void *context, struct bytes line)
{
    struct update *update = context;
    progress_clean(line, &update->log);
    buf_append_text(&update->log, "\n");
    progress_line(update->session->progress, update->row, line);
}

// A lock that is a link stays one: the file behind it is replaced.
static bool put_back(const struct update *update, struct bytes lock, struct err *e)
{
    CLEANUP(buf_clear) struct buf path = {0};
    buf_printf(&path, "%s/hosts/%s/flake.lock", update->session->fleet.root, update->folder->name);
    char *file = realpath(buf_text(&path), NULL);
    bool ok = fs_write(AT_FDCWD, file ? file : buf_text(&path), lock, 0644, e);
    free(file);
    return ok;
}

// Nix lists what it changed as "• Updated input 'nixpkgs':" and two lines below it.
static void tell_changes(struct buf *log, struct buf *out)
{
    bool told = false;
    const char *line = buf_text(log);
    while (*line) {
        size_t len = strcspn(line, "\n");
        const char *text = line + strspn(line, " ");
        told =
            !strncmp(text, "•", 3) || (told && (!strncmp(text, "'", 1) || !strncmp(text, "→", 3)));
        if (told) {
            buf_printf(out, "    %.*s\n", (int)len, line);
        }
        line += len + (line[len] == '\n');
    }
}

static bool take_lock(struct update *update, struct buf *text, struct err *e)
{
    CLEANUP(buf_clear) struct buf lock = {0};
    if (!read_lock(buf_text(&update->copy), "source/flake.lock", &lock, e)) {
        return false;
    }
    if (bytes_equal(buf_bytes(&lock), buf_bytes(&update->lock))) {
        buf_printf(text, "hosts/%s  nothing newer\n", update->folder->name);
        return true;
    }
    if (!put_back(update, buf_bytes(&lock), e)) {
        return false;
    }
    buf_printf(text, "hosts/%s  updated\n", update->folder->name);
    tell_changes(&update->log, text);
    return true;
}

static void on_done(void *context, struct pool_result *result)
{
    struct update *update = context;
    struct session *s = update->session;
    struct err e;
    CLEANUP(buf_clear) struct buf text = {0};
    bool ok = nix_check(result, &update->log, "nix flake update", CODE_EVAL, &e) &&
              take_lock(update, &text, &e);
    if (!ok && !result->stopped) {
        buf_printf(&text, "hosts/%s  FAILED  %s\n", update->folder->name, e.text);
        nix_tail(buf_bytes(&update->log), 20, "    ", &text);
    }
    s->failed += !ok;
    folder_copy_remove(buf_text(&update->copy));
    progress_over(s->progress, update->row, !ok, buf_text(&text));
}

// `nix flake update` takes inputs as words since 2.19; before, a flake.
static void queue(struct update *update)
{
    const struct session *s = update->session;
    const char *argv[2 * INPUTS_MAX + 10] = {
        "nix", "--extra-experimental-features", "nix-command flakes", "flake"};
    size_t count = 4;
    CLEANUP(buf_clear) struct buf url = {0};
    folder_copy_name(&update->copy);
    buf_printf(&url, "path:%s/source", buf_text(&update->copy));
    argv[count++] = s->new_syntax || !update->wanted_count ? "update" : "lock";
    for (size_t i = 0; i < update->wanted_count; i++) {
        if (!s->new_syntax) {
            argv[count++] = "--update-input";
        }
        argv[count++] = update->wanted[i];
    }
    if (s->new_syntax) {
        argv[count++] = "--flake";
    }
    argv[count++] = buf_text(&url);
    struct pool_task task = {.kind = POOL_STEP,
        .argv = argv,
        .begin = begin,
        .line = on_line,
        .done = on_done,
        .context = update};
    pool_add(s->pool, &task);
}

// ---- the whole ----

// "nix (Nix) 2.8.0"
static bool find_syntax(bool *new_syntax, struct err *e)
{
    CLEANUP(buf_clear) struct buf out = {0};
    const char *argv[] = {"nix", "--version", NULL};
    unsigned major = 0, minor = 0;
    if (!nix_run(argv, "nix --version", CODE_IO, &out, NULL, e)) {
        return false;
    }
    const char *number = strrchr(buf_text(&out), ' ');
    if (!number || sscanf(number, " %u.%u", &major, &minor) != 2) {
        return err_set(e, CODE_IO, "nix --version says %s", buf_text(&out));
    }
    *new_syntax = major > 2 || minor >= 19;
    return true;
}

static bool prepare(struct session *s, struct update *updates, struct err *e)
{
    for (size_t i = 0; i < s->hosts.folder_count; i++) {
        const struct folder *folder = &s->hosts.folders[i];
        struct update *update = &updates[s->count];
        CLEANUP(buf_clear) struct buf path = {0};
        if (folder->kind != KIND_FLAKE) {
            continue;
        }
        *update = (struct update){.session = s, .folder = folder, .row = s->count};
        buf_printf(&path, "hosts/%s/flake.lock", folder->name);
        if (!read_lock(s->fleet.root, buf_text(&path), &update->lock, e)) {
            return false;
        }
        pick_inputs(update);
        s->matched += update->wanted_count;
        if (update->wanted_count || !s->input_count) {
            s->count++;
        } else {
            buf_clear(&update->lock);
        }
    }
    if (!s->input_count && !s->count) {
        return err_set(e, CODE_NONE, "there is no flake under hosts/");
    }
    return s->count ||
           err_set(e, CODE_USAGE, "no flake under hosts/ has an input %s", s->inputs[0]);
}

static int run_updates(struct session *s, struct update *updates, unsigned jobs)
{
    const char **names = xcalloc(s->count + 1, sizeof(*names));
    s->pool = pool_new(jobs);
    for (size_t i = 0; i < s->count; i++) {
        names[i] = updates[i].folder->name;
    }
    s->progress = progress_new(pool_loop(s->pool), "flakes", names, s->count);
    for (size_t i = 0; i < s->count; i++) {
        queue(&updates[i]);
    }
    int signal = pool_run(s->pool);
    progress_free(s->progress);
    pool_free(s->pool);
    free(names);
    return signal;
}

static bool work(struct session *s, struct err *e)
{
    unsigned jobs;
    if (s->input_count > INPUTS_MAX) {
        return err_set(e, CODE_USAGE, "at most %d inputs", INPUTS_MAX);
    }
    if (!jobs_parse(jobs_text, &jobs, e) || !fleet_open_keyless(directory, &s->fleet, e) ||
        !hosts_scan(&s->fleet, &s->hosts, e) || !find_syntax(&s->new_syntax, e)) {
        return false;
    }
    struct update *updates = xcalloc(s->hosts.folder_count + 1, sizeof(*updates));
    bool ok = prepare(s, updates, e);
    int signal = ok ? run_updates(s, updates, jobs) : 0;
    for (size_t i = 0; i < s->hosts.folder_count; i++) {
        buf_clear(&updates[i].copy);
        buf_clear(&updates[i].lock);
        buf_clear(&updates[i].log);
    }
    free(updates);
    if (signal) {
        pool_die(signal);
    }
    return ok &&
           (!s->failed || err_set(e, CODE_EVAL, "%zu of %zu flakes failed", s->failed, s->count));
}

int command_flake_update(int argc, char **argv)
{
    int count, status = 0;
    struct err e;
    struct session s = {0};
    s.inputs = cli_parse(&cli, argc, argv, &count);
    s.input_count = (size_t)count;
    if (sodium_init() < 0) {
        err_set(&e, CODE_IO, "libsodium does not start");
        return cli_fail(PROGRAM, &e);
    }
    if (!work(&s, &e)) {
        status = cli_fail(PROGRAM, &e);
    }
    hosts_clear(&s.hosts);
    fleet_clear(&s.fleet);
    return status;
}
