// bento-pub: from the repository to a signed release at the broker.
#include "assemble.h"
#include "cli.h"
#include "follow.h"
#include "loop.h"
#include "newest.h"
#include "parcel_text.h"
#include "pool.h"
#include "proc.h"
#include "remote.h"
#include "select.h"
#include "server.h"
#include "sign.h"

#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PROGRAM "bento-pub"
#define WAIT_SECONDS 1800
#define CACHE_DAYS 30
#define ADMIN_SOCKET "/run/bento-broker/admin.sock"

static const char *directory, *key_file, *action, *wait_text, *jobs_text;
static bool wait_given, no_build, eval_only, retry, no_fallback, plan, fresh, all_or_nothing;

static const struct cli_option options[] = {
    {'C', "directory", "DIR", "the repository (default: BENTO_DIR, or here)", &directory, NULL},
    {0, "plan", NULL, "say what would change, send nothing", NULL, &plan},
    {0, "wait", "[=SECONDS]", "follow until every named host has reported (default 1800 s)",
        &wait_text, &wait_given},
    {0, "jobs", "N", "evaluations and builds at once (default: one a processor)", &jobs_text, NULL},
    {0, "all-or-nothing", NULL, "stop at the first host that fails and publish nothing", NULL,
        &all_or_nothing},
    {0, "no-build", NULL, "take the expected path from evaluation alone", NULL, &no_build},
    {0, "eval-only", NULL, NULL, NULL, &eval_only}, // --no-build
    {0, "retry", NULL, "let the named hosts try again what they rolled back", NULL, &retry},
    {0, "action", "ACTION", "switch, boot or dry (default: as fleet.nix says)", &action, NULL},
    {0, "no-fallback", NULL, "forbid going back below this release", NULL, &no_fallback},
    {0, "key", "FILE", "sign with this key (default: BENTO_KEY, the ssh-agent, ~/.ssh/id_*)",
        &key_file, NULL},
    {0, "fresh", NULL,
        "take nothing over from the broker's release, whose signers are not ours any more", NULL,
        &fresh},
    {0},
};

static const struct cli cli = {
    .program = PROGRAM,
    .synopsis = "[HOST|GLOB|@TAG …]",
    .purpose = "Builds hosts, seals their configurations, signs one release and uploads it. Only "
               "the named hosts change.\n"
               "VERBOSE=1 shows what Nix says.",
    .example = "bento-pub --plan\nbento-pub --wait router '@edge'",
    .options = options,
};

struct pub {
    struct fleet fleet;
    struct hosts hosts;
    struct cache cache;
    bool *chosen;
    struct remote *remote;
    struct remote_release raw;
    struct release previous;
    bool has_previous;
    uint8_t base[HASH_BYTES];
    unsigned jobs;
    struct assembly assembly;
    struct draft draft;
    struct buf envelope;
    int name_width;
};

// ---- before ----

static bool check_options(int words, uint64_t *wait_seconds, struct err *e)
{
    if (action && strcmp(action, "switch") != 0 && strcmp(action, "boot") != 0 &&
        strcmp(action, "dry") != 0) {
        return err_set(e, CODE_USAGE, "--action %s: it is one of switch, boot, dry", action);
    }
    if (retry && !words) {
        return err_set(e, CODE_USAGE, "--retry: name the hosts that shall try again");
    }
    if (fresh && words) {
        return err_set(e, CODE_USAGE,
            "--fresh takes nothing over, so it is for the whole fleet: name no hosts");
    }
    *wait_seconds = WAIT_SECONDS;
    if (wait_text) {
        char *end;
        errno = 0;
        *wait_seconds = strtoull(wait_text, &end, 10);
        if (errno || *end || !*wait_text || *wait_text == '-' || *wait_seconds > 7 * 86400) {
            return err_set(
                e, CODE_USAGE, "--wait=%s: a number of seconds, at most a week", wait_text);
        }
    }
    return true;
}

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
    return select_nodes(&pub->fleet, words, word_count, pub->chosen, e);
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
    const char *admin = pub->fleet.admin ? pub->fleet.admin : ADMIN_SOCKET;
    if (!remote_open(admin, &pub->remote, e) || !remote_get_release(pub->remote, &pub->raw, e)) {
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

static bool prepare(struct pub *pub, char **words, int word_count, struct err *e)
{
    if (!fleet_open(directory, &pub->fleet, e) || !choose(pub, words, word_count, e) ||
        !server_refresh(&pub->fleet, e) || !hosts_scan(&pub->fleet, &pub->hosts, e)) {
        return false;
    }
    hosts_load(&pub->fleet, &pub->hosts, pub->jobs);
    return hosts_match(&pub->fleet, &pub->hosts, e) &&
           cache_open(pub->fleet.trust.fleet, &pub->cache, e) && get_previous(pub, e);
}

// ---- what is printed ----

static void print_head(const struct pub *pub)
{
    const struct head *head = &pub->draft.head;
    char fleet[65], root[65], day[32];
    time_t expires = (time_t)head->expires;
    struct tm tm;
    hex_encode(head->fleet, 32, fleet);
    hex_encode(head->root, HASH_BYTES, root);
    strftime(day, sizeof(day), "%Y-%m-%d", gmtime_r(&expires, &tm));
    printf("signing release %" PRIu64 ", epoch %" PRIu64 ", of fleet %.8s…: %" PRIu64
           " nodes, root %.16s…, expires %s\n",
        head->release, head->epoch, fleet, head->tickets, root, day);
    fflush(stdout);
}

static void print_plan(const struct pub *pub)
{
    for (size_t i = 0; i < pub->assembly.count; i++) {
        const struct parcel *parcel = &pub->assembly.parcels[i];
        const struct roster_node *before =
            pub->has_previous ? roster_find(&pub->previous.roster, parcel->ticket.node_id) : NULL;
        if (parcel->outcome != OUTCOME_CHANGED) {
            continue;
        }
        printf("%-*s  would go from ", pub->name_width, parcel->host->node->name);
        if (before && before->expected.len) {
            parcel_print_path(before->expected);
        } else {
            printf("%s", before && before->has_tree ? "another configuration" : "nothing");
        }
        printf(" to ");
        parcel_print_path(buf_bytes(&parcel->expected));
        printf("\n");
    }
    printf("plan: ");
    parcel_print_total(&pub->assembly);
}

// ---- sending ----

static bool names_blob(const struct parcel *parcel, const uint8_t *hash)
{
    return (parcel->ticket.ct_len && !memcmp(parcel->ticket.ct_hash, hash, HASH_BYTES)) ||
           (parcel->has_tree && !memcmp(parcel->tree_hash, hash, HASH_BYTES));
}

static bool upload_one(struct pub *pub, const uint8_t *hash, struct err *e)
{
    CLEANUP(buf_clear) struct buf blob = {0};
    if (cache_get_blob(&pub->cache, hash, &blob, e)) {
        return remote_put_blob(pub->remote, hash, buf_bytes(&blob), e);
    }
    for (size_t i = 0; i < pub->assembly.count; i++) {
        const struct parcel *parcel = &pub->assembly.parcels[i];
        if (names_blob(parcel, hash) &&
            (parcel->outcome == OUTCOME_KEPT || parcel->outcome == OUTCOME_FAILED)) {
            return err_set(e, CODE_NONE,
                "the broker has lost the configuration of %s: deploy that host too",
                parcel->host->node->name);
        }
    }
    return false;
}

static bool upload(struct pub *pub, const struct release *release, struct err *e)
{
    size_t count, sent = 0;
    merkle_hash *blobs = release_blobs(release, &count);
    bool *missing = xcalloc(count + 1, sizeof(*missing));
    bool ok =
        !count || remote_missing_blobs(pub->remote, (const merkle_hash *)blobs, count, missing, e);
    for (size_t i = 0; ok && i < count; i++) {
        ok = !missing[i] || upload_one(pub, blobs[i], e);
        sent += missing[i];
    }
    if (ok && sent) {
        printf("uploaded %zu of %zu blobs\n", sent, count);
    }
    free(missing);
    free(blobs);
    return ok;
}

static bool publish(struct pub *pub, struct release *release, struct err *e)
{
    struct draft *draft = &pub->draft;
    struct bytes *tickets = xcalloc(draft->count, sizeof(*tickets));
    for (size_t i = 0; i < draft->count; i++) {
        tickets[i] = buf_bytes(&draft->tickets[i]);
    }
    struct bytes envelope = buf_bytes(&pub->envelope), roster = buf_bytes(&draft->roster);
    // What the broker and every admin will check, before anything leaves this machine.
    bool ok =
        release_verify(&pub->fleet.trust, envelope, roster, tickets, draft->count, release, e);
    if (!ok) {
        err_wrap(e, "the release just made");
    } else if (!upload(pub, release, e) || !remote_publish(pub->remote, pub->base, envelope, roster,
                                               tickets, draft->count, e)) {
        ok = false;
        release_clear(release);
        if (e->code == CODE_STALE) {
            err_set(
                e, CODE_STALE, "somebody else published meanwhile; nothing was changed: run again");
        }
    }
    free(tickets);
    return ok;
}

static void prune(const struct pub *pub, const struct release *release)
{
    size_t count;
    merkle_hash *blobs = release_blobs(release, &count);
    cache_prune(&pub->cache, (const merkle_hash *)blobs, count, CACHE_DAYS);
    free(blobs);
}

static bool wait_for_nodes(
    struct pub *pub, const struct release *release, uint64_t seconds, int *status, struct err *e)
{
    bool *watched = xcalloc(release->roster.count, sizeof(*watched));
    for (size_t i = 0; i < pub->assembly.count; i++) {
        const struct parcel *parcel = &pub->assembly.parcels[i];
        const struct roster_node *node = roster_find(&release->roster, parcel->ticket.node_id);
        watched[node - release->roster.nodes] =
            parcel->outcome == OUTCOME_CHANGED || parcel->outcome == OUTCOME_UNCHANGED;
    }
    struct follow follow = {.remote = pub->remote,
        .release = release,
        .watched = watched,
        .seconds = seconds,
        .name_width = pub->name_width};
    bool ok = follow_release(&follow, status, e);
    free(watched);
    return ok;
}

// ---- the whole ----

static bool run(struct pub *pub, char **words, int word_count, int *status, struct err *e)
{
    uint64_t wait_seconds = WAIT_SECONDS;
    if (!check_options(word_count, &wait_seconds, e) || !jobs_parse(jobs_text, &pub->jobs, e) ||
        !prepare(pub, words, word_count, e)) {
        return false;
    }
    pub->assembly = (struct assembly){.fleet = &pub->fleet,
        .hosts = &pub->hosts,
        .cache = &pub->cache,
        .previous = pub->has_previous ? &pub->previous : NULL,
        .action = action,
        .eval_only = no_build || eval_only,
        .retry = retry,
        .no_fallback = no_fallback,
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
    if (!assemble_draft(&pub->assembly, clock_unix_s(), &pub->draft, e)) {
        return false;
    }
    if (plan) {
        print_plan(pub);
        return true;
    }
    print_head(pub);
    struct release release;
    if (!sign_head(&pub->fleet, buf_bytes(&pub->draft.head_message), key_file, &pub->envelope, e) ||
        !publish(pub, &release, e)) {
        return false;
    }
    warn_of_older(&pub->fleet, &release); // remembered
    printf("release %" PRIu64 " published: ", release.head.release);
    parcel_print_total(&pub->assembly);
    fflush(stdout);
    prune(pub, &release);
    int waited = 0;
    bool ok = !wait_given || wait_for_nodes(pub, &release, wait_seconds, &waited, e);
    *status = *status ? *status : waited;
    release_clear(&release);
    return ok;
}

static void pub_clear(struct pub *pub)
{
    buf_clear(&pub->envelope);
    draft_clear(&pub->draft);
    assembly_clear(&pub->assembly);
    if (pub->has_previous) {
        release_clear(&pub->previous);
    }
    remote_release_clear(&pub->raw);
    remote_close(pub->remote);
    cache_close(&pub->cache);
    hosts_clear(&pub->hosts);
    fleet_clear(&pub->fleet);
    free(pub->chosen);
}

int main(int argc, char **argv)
{
    int word_count, status = 0;
    struct err e;
    proc_forbid_dump();
    char **words = cli_parse(&cli, argc, argv, &word_count);
    if (sodium_init() < 0) {
        err_set(&e, CODE_IO, "libsodium does not start");
        return cli_fail(PROGRAM, &e);
    }
    struct pub pub = {.cache = {-1, -1, -1}};
    if (!run(&pub, words, word_count, &status, &e)) {
        fflush(stdout);
        status = cli_fail(PROGRAM, &e);
    }
    pub_clear(&pub);
    return status;
}
