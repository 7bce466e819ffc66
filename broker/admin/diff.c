// bento diff: what each node runs against what it would get.
#include "cli.h"
#include "commands.h"
#include "loop.h"
#include "nix.h"
#include "parcel_text.h"
#include "proc.h"
#include "report.h"
#include "select.h"

#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PROGRAM "bento diff"

static const char *directory, *jobs_text;

static const struct cli_option options[] = {
    REPOSITORY_OPTION(&directory),
    {0, "jobs", "N", "evaluations and builds at once (default: one a processor)", &jobs_text, NULL},
    {0},
};

static const struct cli cli = {
    .program = PROGRAM,
    .synopsis = "[HOST|GLOB|@TAG …]",
    .purpose =
        "Builds hosts and shows how their packages differ from what their nodes run: what the "
        "node's newest status says if that is in this machine's store, else what the last release "
        "expected. With nvd where it is installed, else with nix store diff-closures.",
    .example = "bento diff router",
    .options = options,
};

struct session {
    unsigned jobs;
    struct fleet fleet;
    struct hosts hosts;
    bool *chosen;
    struct remote *remote;
    struct report report;
    struct assembly assembly;
    bool no_nvd;
};

static bool prepare(struct session *s, char **words, int count, struct err *e)
{
    if (!jobs_parse(jobs_text, &s->jobs, e) ||
        !hosts_open(directory, s->jobs, &s->fleet, &s->hosts, e)) {
        return false;
    }
    s->chosen = xcalloc(s->fleet.node_count + 1, sizeof(*s->chosen));
    return select_nodes(&s->fleet, words, count, s->chosen, e) &&
           remote_open(s->fleet.admin, &s->remote, e) &&
           report_fetch(s->remote, &s->fleet, clock_unix_s(), &s->report, e);
}

// ---- what it runs ----

static bool is_here(struct bytes path)
{
    char text[512];
    if (!path.len || path.len >= sizeof(text)) {
        return false;
    }
    bytes_copy_text(path, text, sizeof(text));
    struct err absent;
    CLEANUP(buf_clear) struct buf out = {0};
    const char *argv[] = {"nix-store", "--check-validity", text, NULL};
    return !strncmp(text, "/nix/store/", 11) && fs_exists(AT_FDCWD, text) &&
           nix_run(argv, "nix-store", CODE_IO, &out, NULL, &absent);
}

// What to compare with, and how it is known; empty if it is not here, and why.
static struct bytes old_path(const struct report_row *row, const char **how)
{
    struct bytes running = row->has_status ? row->status.running : (struct bytes){0};
    struct bytes expected = row->in_release ? row->in_release->expected : (struct bytes){0};
    if (is_here(running)) {
        *how = "runs";
        return running;
    }
    if (is_here(expected)) {
        *how = running.len ? "runs something that is not in this store; the last release expects"
                           : "has not reported; the last release expects";
        return expected;
    }
    *how = row->tampered ? "has a status that does not verify: nothing to compare with"
           : running.len ? "runs something that is not in this store: nothing to compare with"
                         : "has not reported what it runs: nothing to compare with";
    return (struct bytes){0};
}

// ---- the difference ----

// In front of the user. False: it is not installed.
static bool run_nvd(const char *old, const char *new, int *status)
{
    const char *argv[] = {"nvd", "diff", old, new, NULL};
    struct proc_spec spec = {.argv = argv, .in = -1, .out = STDOUT_FILENO, .err = STDERR_FILENO};
    CLEANUP_FD pidfd = -1;
    pid_t pid;
    struct err absent;
    if (!proc_spawn(&spec, &pid, &pidfd, &absent)) {
        return false;
    }
    *status = proc_wait(pid);
    return true;
}

static bool run_nix(const char *old, const char *new, struct err *e)
{
    const char *argv[] = {"nix", "--extra-experimental-features", "nix-command", "store",
        "diff-closures", old, new, NULL};
    CLEANUP(buf_clear) struct buf out = {0}, lines = {0};
    if (!nix_run(argv, "nix store diff-closures", CODE_IO, &out, NULL, e)) {
        return false;
    }
    nix_tail(buf_bytes(&out), UINT32_MAX, "  ", &lines);
    fputs(
        lines.len ? buf_text(&lines) : "  the same packages, configured in another way\n", stdout);
    return true;
}

static bool show_difference(struct session *s, const char *old, const char *new, struct err *e)
{
    int status = 0;
    fflush(stdout);
    if (!s->no_nvd && run_nvd(old, new, &status)) {
        return status == 0 || err_set(e, CODE_IO, "nvd ended with status %d", status);
    }
    s->no_nvd = true;
    return run_nix(old, new, e);
}

static bool show_host(struct session *s, size_t index, struct err *e)
{
    const struct parcel *parcel = &s->assembly.parcels[index];
    const char *how, *new = parcel->system.out;
    char old[512] = "";
    struct bytes path = old_path(&s->report.rows[index], &how);
    printf("\n%s %s", parcel->host->node->name, how);
    if (!path.len) {
        printf("\n");
        return true;
    }
    bytes_copy_text(path, old, sizeof(old));
    printf(" ");
    parcel_print_path(path);
    if (!strcmp(old, new)) {
        printf(", and would get the same\n");
        return true;
    }
    printf(", and would get ");
    parcel_print_path(bytes_of_text(new));
    printf("\n");
    if (!is_here(bytes_of_text(new))) {
        printf("  which cannot be built here: it is for another kind of machine\n");
        return true;
    }
    return show_difference(s, old, new, e);
}

static bool work(struct session *s, char **words, int count, struct err *e)
{
    if (!prepare(s, words, count, e)) {
        return false;
    }
    s->assembly = (struct assembly){.fleet = &s->fleet, .hosts = &s->hosts, .jobs = s->jobs};
    assemble_parcels(&s->assembly, s->chosen);
    for (size_t i = 0; i < s->assembly.count; i++) {
        if (s->assembly.parcels[i].outcome == OUTCOME_BUILT && !show_host(s, i, e)) {
            return false;
        }
    }
    size_t failed = assembly_count(&s->assembly, OUTCOME_FAILED);
    return !failed || err_set(e, CODE_BUILD, "%zu hosts failed", failed);
}

int command_diff(int argc, char **argv)
{
    int count, status = 0;
    struct err e;
    struct session s = {0};
    char **words = cli_parse(&cli, argc, argv, &count);
    if (sodium_init() < 0) {
        err_set(&e, CODE_IO, "libsodium does not start");
        return cli_fail(PROGRAM, &e);
    }
    if (!work(&s, words, count, &e)) {
        fflush(stdout);
        status = cli_fail(PROGRAM, &e);
    }
    assembly_clear(&s.assembly);
    report_clear(&s.report);
    remote_close(s.remote);
    hosts_clear(&s.hosts);
    fleet_clear(&s.fleet);
    free(s.chosen);
    return status;
}
