// bento build: builds hosts, and tries or switches one of them at once, without a release.
#include "cli.h"
#include "commands.h"
#include "parcel_text.h"
#include "proc.h"
#include "select.h"

#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PROGRAM "bento build"
#define WORDS_MAX 64
#define SYSTEM_PROFILE "/nix/var/nix/profiles/system"

enum mode { MODE_BUILD, MODE_DRY, MODE_TEST, MODE_SWITCH };
static const char *const mode_words[] = {"build", "dry-build", "test", "switch"};

static const char *directory, *jobs_text;

static const struct cli_option options[] = {
    REPOSITORY_OPTION(&directory),
    {0, "jobs", "N",
        "children of Nix at once (default: one a processor); another evaluation begins only while "
        "1 GiB is free for it and for each that runs",
        &jobs_text, NULL},
    {0},
};

static const struct cli cli = {
    .program = PROGRAM,
    .synopsis = "[build|dry-build|test|switch] [HOST|GLOB|@TAG …]",
    .purpose =
        "Builds hosts here, enrolled or not; no broker is needed. dry-build says what would be "
        "built and fetched. test and switch activate one host, after asking: at TARGET_IP over "
        "ssh, or this machine if it is that host.\n"
        "Environment: NAME=HOST, VERBOSE=1 (all that Nix says), TARGET_IP=[USER@]ADDRESS, "
        "NIX_SSHOPTS.",
    .example = "bento build 'web*' @edge\nTARGET_IP=192.168.1.4 bento build test router",
    .options = options,
};

struct session {
    enum mode mode;
    unsigned jobs;
    struct fleet fleet;
    struct hosts hosts;
    bool *chosen;
    struct assembly assembly;
};

// ---- build ----

static enum mode take_mode(char ***words, int *count)
{
    for (size_t i = 0; *count > 0 && i < sizeof(mode_words) / sizeof(*mode_words); i++) {
        if (!strcmp(**words, mode_words[i])) {
            ++*words;
            --*count;
            return (enum mode)i;
        }
    }
    return MODE_BUILD;
}

static bool prepare(struct session *s, char **words, int count, struct err *e)
{
    if (!jobs_parse(jobs_text, &s->jobs, e) ||
        !hosts_open(directory, s->jobs, &s->fleet, &s->hosts, e)) {
        return false;
    }
    s->chosen = xcalloc(s->fleet.node_count + 1, sizeof(*s->chosen));
    return select_nodes(&s->fleet, words, count, s->chosen, e);
}

static bool build(struct session *s, struct err *e)
{
    s->assembly = (struct assembly){
        .fleet = &s->fleet, .hosts = &s->hosts, .dry = s->mode == MODE_DRY, .jobs = s->jobs};
    assemble_parcels(&s->assembly, s->chosen);
    size_t failed = assembly_count(&s->assembly, OUTCOME_FAILED);
    parcel_print_total(&s->assembly);
    return !failed || err_set(e, CODE_BUILD, "%zu of %zu hosts failed", failed,
                          failed + assembly_count(&s->assembly, OUTCOME_BUILT));
}

// ---- test, switch ----

// Where to: TARGET_IP as ssh takes it, or NULL for this machine.
static const char *target(char text[HOST_NAME_MAX + 64])
{
    const char *given = getenv("TARGET_IP");
    if (!given || !*given) {
        return NULL;
    }
    snprintf(text, HOST_NAME_MAX + 64, "%s%s", strchr(given, '@') ? "" : "root@", given);
    return text;
}

static bool is_this_machine(const struct host *host)
{
    char name[HOST_NAME_MAX + 1] = "";
    gethostname(name, sizeof(name) - 1);
    name[strcspn(name, ".")] = 0;
    return !strcmp(name, host->node->name) || (host->attribute && !strcmp(name, host->attribute));
}

// The one host that is meant.
static const struct host *only_host(const struct session *s, struct err *e)
{
    const struct host *found = NULL;
    size_t count = 0;
    for (size_t i = 0; i < s->hosts.count; i++) {
        if (s->chosen[i]) {
            found = &s->hosts.list[i];
            count++;
        }
    }
    if (count != 1) {
        err_set(
            e, CODE_USAGE, "%s activates one host, not %zu: name it", mode_words[s->mode], count);
        return NULL;
    }
    return found;
}

static bool may_activate(const struct session *s, struct err *e)
{
    char text[HOST_NAME_MAX + 64];
    const struct host *host = only_host(s, e);
    if (!host) {
        return false;
    }
    if (!isatty(STDIN_FILENO)) {
        return err_set(e, CODE_USAGE, "%s asks before it changes a machine: run it on a terminal",
            mode_words[s->mode]);
    }
    const char *where = target(text);
    if (where && *where == '-') {
        return err_set(e, CODE_USAGE, "TARGET_IP=%s: not an address", where);
    }
    return where || is_this_machine(host) ||
           err_set(e, CODE_CONFIG, "%s is not this machine: say where it is, TARGET_IP=ADDRESS",
               host->node->name);
}

static bool ask(const char *name, const char *where, const char *out, const struct session *s)
{
    char answer[16] = "";
    printf("%s %s (%s) to %s now? [y/N] ", s->mode == MODE_TEST ? "Test" : "Switch", name,
        where ? where : "this machine", out);
    fflush(stdout);
    return fgets(answer, sizeof(answer), stdin) && (*answer == 'y' || *answer == 'Y');
}

// Runs it in front of the user.
static bool run(const char *const *argv, const char *what, struct err *e)
{
    struct proc_spec spec = {
        .argv = argv, .in = STDIN_FILENO, .out = STDOUT_FILENO, .err = STDERR_FILENO};
    CLEANUP_FD pidfd = -1;
    pid_t pid;
    if (!proc_spawn(&spec, &pid, &pidfd, e)) {
        return false;
    }
    int status = proc_wait(pid);
    return status == 0 || err_set(e, CODE_SWITCH, "%s ended with status %d", what, status);
}

// NIX_SSHOPTS is split at spaces, as Nix does it.
static bool run_ssh(const char *where, const char *command, const char *what, struct err *e)
{
    const char *given = getenv("NIX_SSHOPTS"), *argv[WORDS_MAX + 4] = {"ssh"};
    char *options_text = xstrdup(given ? given : ""), *rest = options_text, *word;
    size_t count = 1;
    while ((word = strsep(&rest, " ")) && count < WORDS_MAX) {
        if (*word) {
            argv[count++] = word;
        }
    }
    argv[count++] = where;
    argv[count++] = command;
    bool ok = run(argv, what, e);
    free(options_text);
    return ok;
}

static bool copy_there(const char *where, const char *out, struct err *e)
{
    const char *argv[] = {"nix-copy-closure", "--to", where, out, NULL};
    return run(argv, "nix-copy-closure", e);
}

// In the profile first, as nixos-rebuild does: the boot loader's menu is made from it.
static bool activate(const struct session *s, const char *where, const char *out, struct err *e)
{
    const char *word = mode_words[s->mode];
    bool as_root = where ? !strncmp(where, "root@", 5) : geteuid() == 0;
    const char *sudo = as_root ? "" : "sudo ";
    CLEANUP(buf_clear) struct buf command = {0};
    if (s->mode == MODE_SWITCH) {
        buf_printf(&command, "%snix-env -p " SYSTEM_PROFILE " --set '%s' && ", sudo, out);
    }
    buf_printf(&command, "%s'%s/bin/switch-to-configuration' %s", sudo, out, word);
    if (where) {
        return copy_there(where, out, e) && run_ssh(where, buf_text(&command), word, e);
    }
    const char *argv[] = {"/bin/sh", "-c", buf_text(&command), NULL};
    return run(argv, word, e);
}

static bool ask_and_activate(const struct session *s, struct err *e)
{
    char text[HOST_NAME_MAX + 64];
    const char *where = target(text);
    const struct host *host = only_host(s, e);
    const struct parcel *parcel = &s->assembly.parcels[host - s->hosts.list];
    if (parcel->evaluated_only) {
        return err_set(e, CODE_BUILD, "%s cannot be built here: it is for another kind of machine",
            host->node->name);
    }
    return (ask(host->node->name, where, parcel->system.out, s) ||
               err_set(e, CODE_BUILD, "nothing was changed")) &&
           activate(s, where, parcel->system.out, e);
}

static bool work(struct session *s, char **words, int count, struct err *e)
{
    bool activates = s->mode == MODE_TEST || s->mode == MODE_SWITCH;
    return prepare(s, words, count, e) && (!activates || may_activate(s, e)) && build(s, e) &&
           (!activates || ask_and_activate(s, e));
}

int command_build(int argc, char **argv)
{
    int count;
    struct err e;
    struct session s = {0};
    char **words = cli_parse(&cli, argc, argv, &count);
    s.mode = take_mode(&words, &count);
    int status = 0;
    if (sodium_init() < 0) {
        err_set(&e, CODE_IO, "libsodium does not start");
        return cli_fail(PROGRAM, &e);
    }
    if (!work(&s, words, count, &e)) {
        status = cli_fail(PROGRAM, &e);
    }
    assembly_clear(&s.assembly);
    hosts_clear(&s.hosts);
    fleet_clear(&s.fleet);
    free(s.chosen);
    return status;
}
