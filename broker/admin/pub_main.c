// bento-pub: from the repository to a signed release at the broker.
#include "cli.h"
#include "loop.h"
#include "newest.h"
#include "parcel_text.h"
#include "plan.h"
#include "pool.h"
#include "proc.h"
#include "releases.h"
#include "rollout.h"
#include "select.h"
#include "server.h"
#include "sign.h"
#include "substituter.h"

#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PROGRAM "bento-pub"
#define WAIT_SECONDS 1800
#define GATE_SECONDS 600
#define SECONDS_MAX (7u * 86400)
#define CACHE_DAYS 30
#define NAMES_SHOWN 5

static const char *directory, *key_file, *action, *wait_text, *jobs_text, *spec, *gate_text,
    *revert_text;
static bool wait_given, no_build, retry, no_fallback, plan, fresh, all_or_nothing, list, json;

static const struct cli_option options[] = {
    REPOSITORY_OPTION(&directory),
    {0, "plan", NULL, "say what would change, be sent and be signed", NULL, &plan},
    {0, "wait", "[=SECONDS]", "follow until all have reported (default 1800 s)", &wait_text,
        &wait_given},
    {0, "waves", "SPEC", "in turn, each when the one before converged", &spec, NULL},
    {0, "gate", "SECONDS", "… and stayed so for that long (default 600)", &gate_text, NULL},
    {0, "releases", NULL, "list the releases that the broker keeps", NULL, &list},
    {0, "revert-to", "RELEASE", "give the hosts what they had in that release", &revert_text, NULL},
    {0, "json", NULL, "--plan and --releases for programs", NULL, &json},
    {0, "jobs", "N", "evaluations, builds at once (default: processors)", &jobs_text, NULL},
    {0, "all-or-nothing", NULL, "one host fails: stop, publish nothing", NULL, &all_or_nothing},
    {0, "no-build", NULL, "take the expected path from evaluation alone", NULL, &no_build},
    {0, "eval-only", NULL, NULL, NULL, &no_build},
    {0, "retry", NULL, "let the hosts try again what they rolled back", NULL, &retry},
    {0, "action", "ACTION", "switch, boot or dry (default: see fleet.nix)", &action, NULL},
    {0, "no-fallback", NULL, "forbid going back below this release", NULL, &no_fallback},
    {0, "key", "FILE", "sign with it (or BENTO_KEY, ssh-agent, ~/.ssh/id_*)", &key_file, NULL},
    {0, "fresh", NULL, "all anew: the broker's release is of old signers", NULL, &fresh},
    {0},
};

static const struct cli cli = {
    .program = PROGRAM,
    .synopsis = "[HOST|GLOB|@TAG …]",
    .purpose = "Builds, seals, signs and publishes a release; only the named hosts change.",
    .example = "bento-pub --plan router '@edge'\nbento-pub --waves '@canary,10%,rest' --gate 600",
    .options = options,
};

struct pub {
    // What was asked for
    uint64_t wait_seconds, gate_seconds, revert_to;
    unsigned jobs;
    struct buf again; // the command line
    // What there is
    struct fleet fleet;
    struct hosts hosts;
    struct cache cache;
    struct remote *remote;
    struct remote_release raw;
    struct release previous;
    bool has_previous;
    uint8_t base[HASH_BYTES];
    int name_width;
    // What is to become of it
    bool *chosen;
    struct waves waves;
    struct assembly assembly;
    struct releases releases;
    struct deployment deployment;
    size_t draft_count;
    struct draft *drafts; // one a wave, as are
    struct buf *envelopes;
    struct missing missing;
    struct rollout rollout;
};

// ---- the command line ----

static bool read_number(const char *option, const char *text, uint64_t max, const char *what,
    uint64_t *number, struct err *e)
{
    char *end;
    errno = 0;
    *number = strtoull(text, &end, 10);
    if (errno || *end || *text < '0' || *text > '9' || *number > max) {
        return err_set(e, CODE_USAGE, "%s%s: %s", option, text, what);
    }
    return true;
}

static bool read_numbers(struct pub *pub, struct err *e)
{
    static const char seconds[] = "a number of seconds, at most a week";
    pub->wait_seconds = WAIT_SECONDS;
    pub->gate_seconds = spec ? GATE_SECONDS : 0;
    return (!wait_text ||
               read_number("--wait=", wait_text, SECONDS_MAX, seconds, &pub->wait_seconds, e)) &&
           (!gate_text ||
               read_number("--gate ", gate_text, SECONDS_MAX, seconds, &pub->gate_seconds, e)) &&
           (!revert_text || read_number("--revert-to ", revert_text, UINT64_MAX - 1,
                                "the number of a release, see --releases", &pub->revert_to, e)) &&
           jobs_parse(jobs_text, &pub->jobs, e);
}

static bool check_options(int words, struct err *e)
{
    if (action && strcmp(action, "switch") != 0 && strcmp(action, "boot") != 0 &&
        strcmp(action, "dry") != 0) {
        return err_set(e, CODE_USAGE, "--action %s: it is one of switch, boot, dry", action);
    }
    if (retry && !words) {
        return err_set(e, CODE_USAGE, "--retry: name the hosts that shall try again");
    }
    if (fresh && (words || spec)) {
        return err_set(e, CODE_USAGE,
            "--fresh takes nothing over, so it is for the whole fleet at once: name no hosts and "
            "no "
            "waves");
    }
    if (revert_text && (retry || action || fresh)) {
        return err_set(e, CODE_USAGE, "--revert-to sends what was made then: %s cannot change it",
            retry    ? "--retry"
            : action ? "--action"
                     : "--fresh");
    }
    if (gate_text && !spec && !wait_given) {
        return err_set(e, CODE_USAGE, "--gate is for what waits: --waves or --wait");
    }
    if (json && !plan && !list) {
        return err_set(e, CODE_USAGE, "--json is for --plan and --releases");
    }
    return true;
}

// Words as a shell wants to have them.
static void quote(const char *word, struct buf *out)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "_@%+=:,./-";
    if (*word && word[strspn(word, plain)] == '\0') {
        buf_append_text(out, word);
        return;
    }
    buf_append_text(out, "'");
    for (const char *at = word; *at; at++) {
        if (*at == '\'') {
            buf_append_text(out, "'\\''");
        } else {
            buf_append(out, at, 1);
        }
    }
    buf_append_text(out, "'");
}

static void keep_command(int argc, char **argv, struct buf *out)
{
    buf_append_text(out, "bento deploy");
    for (int i = 1; i < argc; i++) {
        buf_append_text(out, " ");
        quote(argv[i], out);
    }
}

// ---- what there is ----

static bool choose(struct pub *pub, char **words, int word_count, struct err *e)
{
    pub->chosen = xcalloc(pub->fleet.node_count + 1, sizeof(*pub->chosen));
    if (!pub->fleet.node_count) {
        return err_set(e, CODE_CONFIG, "the fleet has no nodes yet: run `bento add-host NAME`");
    }
    for (size_t i = 0; i < pub->fleet.node_count; i++) {
        int len = (int)strlen(pub->fleet.nodes[i].name);
        pub->name_width = len > pub->name_width ? len : pub->name_width;
    }
    return select_nodes(&pub->fleet, words, word_count, pub->chosen, e) &&
           waves_parse(&pub->fleet, pub->chosen, spec, &pub->waves, e);
}

// Somebody should look at a broker that has gone back; publishing again is what mends it.
static void warn_of_older(const struct fleet *fleet, const struct release *release)
{
    struct err older;
    if (!newest_check(fleet->trust.fleet, release, &older)) {
        fprintf(stderr, "warning: %s\n", older.text);
    }
}

static bool get_previous(struct pub *pub, struct err *e)
{
    if (!remote_open(pub->fleet.admin, &pub->remote, e) ||
        !remote_get_release(pub->remote, &pub->raw, e)) {
        return false;
    }
    if (!pub->raw.present) {
        warn_of_older(&pub->fleet, NULL);
        return true;
    }
    if (fresh) {
        struct envelope envelope;
        if (!envelope_decode(pub->raw.envelope, &envelope, e)) {
            return err_wrap(e, "the broker's release");
        }
        sha256(envelope.head, pub->base);
        return true;
    }
    if (!release_verify(&pub->fleet.trust, pub->raw.envelope, pub->raw.roster, pub->raw.tickets,
            pub->raw.ticket_count, &pub->previous, e)) {
        return err_wrap(e,
            "the broker's release (if its signers were replaced, deploy everything with --fresh)");
    }
    pub->has_previous = true;
    warn_of_older(&pub->fleet, &pub->previous);
    memcpy(pub->base, pub->previous.head_hash, HASH_BYTES);
    return true;
}

static bool get_releases(struct pub *pub, struct err *e)
{
    return get_previous(pub, e) &&
           (pub->has_previous || err_set(e, CODE_NONE, "nothing was published yet")) &&
           releases_walk(pub->remote, &pub->fleet.trust, &pub->previous, &pub->releases, e);
}

// ---- what every host is to have ----

static bool build(struct pub *pub, int *status, struct err *e)
{
    if (!server_refresh(&pub->fleet, e) || !hosts_scan(&pub->fleet, &pub->hosts, e)) {
        return false;
    }
    hosts_load(&pub->fleet, &pub->hosts, pub->jobs);
    if (!hosts_match(&pub->fleet, &pub->hosts, e) ||
        !cache_open(pub->fleet.trust.fleet, &pub->cache, e) || !get_previous(pub, e)) {
        return false;
    }
    const struct release *previous = pub->has_previous ? &pub->previous : NULL;
    pub->assembly = (struct assembly){.fleet = &pub->fleet,
        .hosts = &pub->hosts,
        .cache = &pub->cache,
        .previous = previous,
        .action = action,
        .eval_only = no_build,
        .retry = retry,
        .all_or_nothing = all_or_nothing,
        .jobs = pub->jobs};
    assemble_parcels(&pub->assembly, pub->chosen);
    size_t good = assembly_count(&pub->assembly, OUTCOME_CHANGED) +
                  assembly_count(&pub->assembly, OUTCOME_UNCHANGED);
    size_t failed = assembly_count(&pub->assembly, OUTCOME_FAILED);
    *status = failed ? 1 : 0;
    if (failed && all_or_nothing) {
        return err_set(
            e, CODE_BUILD, "not all hosts can be built (--all-or-nothing): nothing is published");
    }
    if (!good) {
        return err_set(e, CODE_BUILD, "every named host failed: nothing is published");
    }
    deployment_of_parcels(&pub->assembly, previous, &pub->deployment);
    return true;
}

static bool revert(struct pub *pub, struct err *e)
{
    if (!cache_open(pub->fleet.trust.fleet, &pub->cache, e) || !get_releases(pub, e)) {
        return false;
    }
    const struct release *old = releases_find(&pub->releases, &pub->previous, pub->revert_to);
    if (!old) {
        return releases_refuse(&pub->releases, &pub->previous, pub->revert_to, e);
    }
    bool *absent = xcalloc(pub->fleet.node_count + 1, sizeof(*absent)), any = false;
    CLEANUP(buf_clear) struct buf names = {0};
    memcpy(absent, pub->chosen, pub->fleet.node_count * sizeof(*absent));
    deployment_of_release(&pub->fleet, pub->chosen, old, &pub->previous, &pub->deployment);
    for (size_t i = 0; i < pub->fleet.node_count; i++) {
        absent[i] = absent[i] && !pub->chosen[i];
        any = any || pub->chosen[i];
    }
    name_hosts(&pub->fleet, absent, NAMES_SHOWN, &names);
    free(absent);
    if (names.len) {
        fprintf(stderr, "note: without a configuration in release %" PRIu64 ", so as before: %s\n",
            pub->revert_to, buf_text(&names));
    }
    if (!any) {
        return err_set(e, CODE_CONFIG,
            "release %" PRIu64 " has no configuration for the named hosts", pub->revert_to);
    }
    return releases_warn(pub->remote, &pub->releases, &pub->previous, old, &pub->deployment, e);
}

// ---- waves ----

// The broker's machine goes last, if that makes a difference. Who does not wait is not kept waiting:
// then it does not go yet.
static void settle_last(struct pub *pub)
{
    struct waves *waves = &pub->waves;
    if (!waves->broker_last) {
        return;
    }
    const struct wave *last = &waves->list[waves->count - 1];
    bool others = false;
    for (size_t i = 0; i + 1 < waves->count; i++) {
        others = others || deployment_has_news(&pub->deployment, waves->list[i].members);
    }
    if (fresh || !others || !deployment_has_news(&pub->deployment, last->members)) {
        waves_join_last(waves);
    } else if (!spec && !wait_given && !plan) {
        fprintf(stderr,
            "note: the broker runs on %s, which goes last: `bento deploy %s` when the others have "
            "converged (--wait does both)\n",
            last->title, last->title);
        deployment_hold(&pub->deployment, last->members);
        waves_drop_last(waves);
    }
}

// Nobody would have tried it before the next wave gets it.
static bool check_waves(const struct pub *pub, struct err *e)
{
    for (size_t wave = 0; pub->waves.count > 1 && wave < pub->waves.count; wave++) {
        bool any = false;
        for (size_t i = 0; i < pub->deployment.count; i++) {
            enum change_kind kind = pub->deployment.changes[i].kind;
            any = any || (pub->waves.list[wave].members[i] && kind != CHANGE_FAILED &&
                             kind != CHANGE_KEPT);
        }
        if (!any) {
            return err_set(e, CODE_BUILD,
                "wave %zu (%s): nothing to send for any of its hosts; nothing is published",
                wave + 1, pub->waves.list[wave].title);
        }
    }
    return true;
}

static bool make_drafts(struct pub *pub, struct err *e)
{
    size_t count = pub->deployment.count;
    struct numbering numbering = {.fleet = &pub->fleet,
        .previous = pub->has_previous ? &pub->previous.head : NULL,
        .no_fallback = no_fallback,
        .now_s = clock_unix_s()};
    struct entry *entries = xcalloc(count + 1, sizeof(*entries));
    bool ok = true;
    pub->drafts = xcalloc(pub->waves.count, sizeof(*pub->drafts));
    pub->envelopes = xcalloc(pub->waves.count, sizeof(*pub->envelopes));
    for (size_t wave = 0; ok && wave < pub->waves.count; wave++) {
        deployment_entries(&pub->deployment, &pub->waves, wave + 1, entries);
        ok = draft_make(&numbering, entries, count, &pub->drafts[wave], e);
        pub->draft_count += ok;
        numbering.previous = &pub->drafts[wave].head;
    }
    free(entries);
    return ok;
}

static bool prepare(struct pub *pub, int *status, struct err *e)
{
    if (!(revert_text ? revert(pub, e) : build(pub, status, e))) {
        return false;
    }
    settle_last(pub);
    return check_waves(pub, e) && make_drafts(pub, e) &&
           missing_find(pub->remote, &pub->cache, pub->drafts, pub->draft_count, &pub->missing, e);
}

// ---- what is done with it ----

static bool show_plan(struct pub *pub, FILE *json_out, struct err *e)
{
    enum reboot *reboots = xcalloc(pub->deployment.count + 1, sizeof(*reboots));
    struct plan shown = {.deployment = &pub->deployment,
        .waves = &pub->waves,
        .drafts = pub->drafts,
        .missing = &pub->missing,
        .reboots = reboots,
        .name_width = pub->name_width};
    bool ok = plan_reboots(pub->remote, &pub->deployment, reboots, e);
    if (ok && json) {
        plan_print_json(&shown, json_out);
    } else if (ok) {
        plan_print(&shown);
    }
    free(reboots);
    return ok;
}

// All of them now, so that a token is touched while somebody is there.
static bool sign_all(struct pub *pub, struct err *e)
{
    printf("signing%s:\n", pub->waves.count > 1 ? " one release a wave" : "");
    for (size_t i = 0; i < pub->draft_count; i++) {
        plan_print_head(&pub->drafts[i].head);
        fflush(stdout);
        if (!sign_head(&pub->fleet, buf_bytes(&pub->drafts[i].head_message), key_file,
                &pub->envelopes[i], e)) {
            return false;
        }
    }
    return true;
}

static bool upload(struct pub *pub, struct err *e)
{
    if (!missing_check(&pub->missing, &pub->deployment, e) ||
        !missing_send(pub->remote, &pub->cache, &pub->missing, e)) {
        return false;
    }
    if (pub->missing.count) {
        printf("uploaded %zu of %zu blobs\n", pub->missing.count, pub->missing.needed);
    }
    return true;
}

static bool roll_out(struct pub *pub, struct err *e)
{
    pub->rollout = (struct rollout){.fleet = &pub->fleet,
        .remote = pub->remote,
        .deployment = &pub->deployment,
        .waves = &pub->waves,
        .drafts = pub->drafts,
        .envelopes = pub->envelopes,
        .base = pub->base,
        .replaced = pub->has_previous ? pub->previous.head.release : 0,
        .wait = wait_given || spec,
        .wait_seconds = pub->wait_seconds,
        .gate_seconds = pub->gate_seconds,
        .again = buf_text(&pub->again),
        .directory = directory,
        .name_width = pub->name_width};
    bool ok = rollout_run(&pub->rollout, e);
    if (pub->rollout.out) {
        const struct draft *last = &pub->drafts[pub->draft_count - 1];
        cache_prune(&pub->cache, (const merkle_hash *)last->blobs, last->blob_count, CACHE_DAYS);
    }
    return ok;
}

// A release that goes back builds nothing: what it needs was copied when it was new.
static bool fill_cache(const struct pub *pub, struct err *e)
{
    return pub->assembly.count == 0 || substituter_fill(&pub->assembly, e);
}

// What went out since has pushed it up the screen.
static void remind_of_failed(const struct pub *pub)
{
    CLEANUP(buf_clear) struct buf names = {0};
    bool *failed = xcalloc(pub->deployment.count + 1, sizeof(*failed));
    for (size_t i = 0; i < pub->deployment.count; i++) {
        failed[i] = pub->deployment.changes[i].kind == CHANGE_FAILED;
    }
    name_hosts(&pub->fleet, failed, NAMES_SHOWN, &names);
    free(failed);
    if (names.len) {
        fflush(stdout);
        fprintf(stderr,
            "FAILED, so nothing new for %s: why stands above; when mended: bento deploy\n",
            buf_text(&names));
    }
}

static bool show_releases(struct pub *pub, FILE *json_out, struct err *e)
{
    if (!get_releases(pub, e)) {
        return false;
    }
    if (json) {
        releases_print_json(&pub->releases, &pub->previous, json_out);
    } else {
        releases_print(&pub->releases, &pub->previous);
    }
    return true;
}

static bool run(
    struct pub *pub, char **words, int word_count, FILE *json_out, int *status, struct err *e)
{
    if (!check_options(word_count, e) || !read_numbers(pub, e) ||
        !fleet_open(directory, &pub->fleet, e)) {
        return false;
    }
    if (list) {
        return show_releases(pub, json_out, e);
    }
    if (!choose(pub, words, word_count, e) || !prepare(pub, status, e)) {
        return false;
    }
    if (plan) {
        return show_plan(pub, json_out, e);
    }
    bool ok = fill_cache(pub, e) && sign_all(pub, e) && upload(pub, e) && roll_out(pub, e);
    if (pub->rollout.out) {
        remind_of_failed(pub);
    }
    return ok;
}

static void pub_clear(struct pub *pub)
{
    rollout_clear(&pub->rollout);
    missing_clear(&pub->missing);
    for (size_t i = 0; i < pub->draft_count; i++) {
        buf_clear(&pub->envelopes[i]);
        draft_clear(&pub->drafts[i]);
    }
    free(pub->envelopes);
    free(pub->drafts);
    deployment_clear(&pub->deployment);
    releases_clear(&pub->releases);
    assembly_clear(&pub->assembly);
    waves_clear(&pub->waves);
    if (pub->has_previous) {
        release_clear(&pub->previous);
    }
    remote_release_clear(&pub->raw);
    remote_close(pub->remote);
    cache_close(&pub->cache);
    hosts_clear(&pub->hosts);
    fleet_clear(&pub->fleet);
    buf_clear(&pub->again);
    free(pub->chosen);
}

// Whatever else is printed is for people then, and goes to stderr.
static FILE *take_stdout(void)
{
    int fd = dup(STDOUT_FILENO);
    FILE *out = fd >= 0 && dup2(STDERR_FILENO, STDOUT_FILENO) >= 0 ? fdopen(fd, "w") : NULL;
    ASSERT(out);
    return out;
}

int main(int argc, char **argv)
{
    int word_count, status = 0;
    struct err e;
    struct pub pub = {.cache = {-1, -1, -1}};
    proc_forbid_dump();
    keep_command(argc, argv, &pub.again);
    char **words = cli_parse(&cli, argc, argv, &word_count);
    if (sodium_init() < 0) {
        err_set(&e, CODE_IO, "libsodium does not start");
        return cli_fail(PROGRAM, &e);
    }
    FILE *json_out = json ? take_stdout() : NULL;
    bool ok = run(&pub, words, word_count, json_out, &status, &e);
    fflush(stdout);
    if (!ok) {
        int failed = cli_fail(PROGRAM, &e);
        rollout_print_ways(&pub.rollout);
        status = pub.rollout.status ? pub.rollout.status : failed;
    } else if (!status) {
        status = pub.rollout.status;
    }
    if (json_out && fclose(json_out) != 0) {
        err_set(&e, CODE_IO, "stdout: %m");
        status = cli_fail(PROGRAM, &e);
    }
    pub_clear(&pub);
    return status;
}
