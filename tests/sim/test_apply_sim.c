// A small machine around apply_step(): jobs, profile, boot loader, secrets, dead man's switch, network,
// journal. It crashes at every boundary (before the journal is written, after it, after each
// effect, inside each job, before its result), as a restart of bento-apply, as a reboot and as a
// long absence, and must end with the new system confirmed or the old one restored.
//
// test_apply_sim [RUNS [SEED]]: how many random runs, and the first seed. A single run is told step
// by step.
#include "apply.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#ifdef __SANITIZE_ADDRESS__
#define RUNS 4000u
#else
#define RUNS 100000u
#endif

#define SECOND_MS UINT64_C(1000)
#define MINUTE_MS (60 * SECOND_MS)
#define TURNS_MAX 4000u
#define EVENTS_MAX 16u
#define DEADMAN_MS (rules.switch_ms + rules.confirm_ms + MINUTE_MS)
#define NEVER UINT64_MAX
// For one release: each attempt may ask three times for the reboot, once for that back, and once as
// the last resort.
#define REBOOTS_MAX (ATTEMPTS_MAX * 5)

// Configurations are numbers, and so are their systems. UPDATED is what a self update of any of them
// gives.
enum { NOTHING, OLD, NEW, OTHER, UPDATED, SYSTEMS };
static const char *const paths[SYSTEMS] = {
    "", "/nix/store/old", "/nix/store/new", "/nix/store/other", "/nix/store/updated"};

static const struct apply_rules rules = {.confirm_ms = 180 * SECOND_MS,
    .switch_ms = 600 * SECOND_MS,
    .return_ms = 900 * SECOND_MS,
    .commit_ms = 600 * SECOND_MS,
    .boot_ms = 300 * SECOND_MS};

// SLEEP: the machine is suspended, and the network takes a while when it wakes up.
enum crash { CRASH_RESTART, CRASH_REBOOT, CRASH_GONE, CRASH_SLEEP, CRASH_KINDS };
static const char *const crash_names[CRASH_KINDS] = {"restart", "reboot", "gone", "sleep"};

// How a system and its jobs behave.
struct behaviour {
    enum action action;
    enum unit_failures unit_failures;
    bool has_health, unhealthy, floored, unreachable, hangs;
    int switch_status;
    bool switch_in_vain; // ends with its status, but the old system still runs
    unsigned failing_builds, failing_commits, failing_reverts, failing_restores;
    // Through a boot
    enum reboot_policy reboot;
    enum last_resort last_resort;
    unsigned kernel; // OLD has 0
    bool boot_only;
    bool unreachable_after_boot, unhealthy_after_boot;
    unsigned panics; // so many of its boots end soon
    bool breaks;     // once it ran, nothing is reached until the next boot
    bool self_update;
    uint64_t confirm_ms;
    // Secrets
    bool same_system;         // as OLD: only the secrets differ
    unsigned failing_secrets; // with those in place that failed
};

struct scenario {
    const char *name;
    struct behaviour behaviour; // of NEW; of UPDATED if that is what comes
    bool update;                // instead of a release
    bool by_hand;               // NEW was tested by hand before
    bool waiting; // OTHER is installed for the next boot already, and not reached after it
    unsigned stubborn_boots, reboots_in_vain;
    uint64_t outage_from_ms, outage_until_ms;
    uint8_t expected; // the profile in the end
    bool pending;     // and it waits for its reboot
};

#define ALWAYS 1000000u
#define VIOLATION_BYTES 300

enum job_kind {
    JOB_OBTAIN,
    JOB_UPDATE,
    JOB_TRY,
    JOB_CHECK,
    JOB_COMMIT,
    JOB_REVERT,
    JOB_RESTORE,
    JOB_SECRETS,
    JOB_DEADMAN,
    JOBS
};
enum progress { NOT_STARTED, RUNS_NOW, ENDED };

struct job {
    enum progress progress;
    uint8_t digest;
    uint32_t attempt;
    unsigned at; // steps done
    uint64_t due_ms;
    enum code code;
    int status;
    uint8_t new_system, old_system, old_profile; // as its command line says
    uint8_t old_secrets;
    bool boot;
};

struct queued {
    enum apply_event_kind kind;
    uint8_t digest, system;
    uint32_t attempt;
    enum code code;
    int status;
    uint64_t seq;
};

typedef void step_function(const struct apply *now, const struct apply_event *event,
    struct apply *next, struct apply_plan *plan);

struct world {
    step_function *step;
    struct behaviour behaviour[SYSTEMS];
    uint64_t outage_from_ms, outage_until_ms;
    uint64_t awake_ms; // the network is back from a suspend
    // The machine
    uint64_t clock_ms, boot_ms; // of the world, and when this boot began; awake time
    uint64_t asleep_ms;
    uint8_t boot, running, booted, profile, boot_default;
    bool broken;
    uint64_t reboot_ms, panic_ms, due_ms; // NEVER: not in sight
    unsigned stubborn_boots;              // so many boots are into OLD, whatever the default
    unsigned reboots_in_vain;             // so many planned reboots do nothing
    uint8_t secrets;                      // of this configuration; gone with a boot
    struct job jobs[JOBS];
    bool armed, fired;
    uint64_t fires_ms;
    unsigned failing_starts; // of switches, by a systemd that does not answer
    uint8_t armed_digest;
    uint32_t armed_attempt;
    // The disk
    struct apply journal;
    struct apply_report outbox;
    bool delivered;
    uint64_t deliver_ms;
    // The process
    bool up;
    uint64_t back_ms;
    struct apply apply;
    struct queued events[EVENTS_MAX];
    unsigned event_count;
    // What the fleet wants
    uint8_t wanted;
    uint64_t head;
    uint8_t wanted_next; // comes at the boundary below
    unsigned next_at;
    uint64_t update_ms; // a self update is due
    unsigned updates_left;
    uint64_t beat_ms; // nothing happened for so long
    // Crashes
    unsigned boundaries, crash_at, crashes_left;
    enum crash kind;
    bool crashed;
    uint64_t random; // 0: only at crash_at
    // Judgement
    bool allowed[SYSTEMS];  // may be the profile
    bool started[SYSTEMS];  // has come through a boot
    bool unproven[SYSTEMS]; // installed for a boot, and has never come through one
    bool by_boot
        [SYSTEMS]; // installed that way; only then its boot shows other faults than its trial
    bool reached, healthy; // the attempt under way, or the boot
    unsigned tries[SYSTEMS];
    unsigned reboots; // planned, for this release
    bool slept_in_window;
    bool tells;
    bool by_hand; // what runs may differ from the profile in the end
    bool loose;   // may wait for ever
    const char *violation;
};

static void violated(struct world *w, const char *what)
{
    if (w->violation == NULL) {
        w->violation = what;
    }
}

static uint64_t random_next(uint64_t *random)
{
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    return *random;
}

static bool chance(uint64_t *random, unsigned of)
{
    return random_next(random) % of == 0;
}

static void digest_of(uint8_t system, uint8_t digest[HASH_BYTES])
{
    memset(digest, system, HASH_BYTES);
}

static uint8_t system_of(const char *path)
{
    uint8_t system = 0;
    while (system < SYSTEMS && strcmp(paths[system], path) != 0) {
        system++;
    }
    assert_true(system < SYSTEMS);
    return system;
}

// True if the machine or the process dies here.
static bool dies(struct world *w)
{
    unsigned here = w->boundaries++;
    if (here == w->next_at && w->wanted_next != NOTHING) {
        w->wanted = w->wanted_next;
        w->head++;
        w->reboots = 0;
    }
    if (w->random != 0 && w->crashes_left > 0 && chance(&w->random, 60)) {
        w->crashes_left--;
        w->kind = (enum crash)(random_next(&w->random) % CRASH_KINDS);
        w->crashed = true;
    }
    if (w->random != 0 && w->head < 4 && chance(&w->random, 120)) {
        w->wanted = (uint8_t)(OLD + random_next(&w->random) % 3);
        w->head++;
        w->reboots = 0;
    }
    if (w->random == 0 && here == w->crash_at) {
        w->crashed = true;
    }
    return w->crashed;
}

static bool since_boot(const struct world *w)
{
    return w->booted == w->running && w->by_boot[w->running];
}

static bool is_reachable(const struct world *w)
{
    bool outage = (w->clock_ms >= w->outage_from_ms && w->clock_ms < w->outage_until_ms) ||
                  w->clock_ms < w->awake_ms;
    const struct behaviour *behaviour = &w->behaviour[w->running];
    bool dead = behaviour->unreachable || (behaviour->unreachable_after_boot && since_boot(w));
    return !outage && !w->broken && !dead;
}

static bool is_healthy(const struct world *w)
{
    const struct behaviour *behaviour = &w->behaviour[w->running];
    return !behaviour->unhealthy && !(behaviour->unhealthy_after_boot && since_boot(w));
}

static bool reboot_needed(const struct world *w)
{
    return w->behaviour[w->profile].kernel != w->behaviour[w->booted].kernel;
}

static void push(struct world *w, struct queued event)
{
    if (w->up) {
        assert_true(w->event_count < EVENTS_MAX);
        w->events[w->event_count++] = event;
    }
}

static void check_disk(struct world *w)
{
    if (!w->allowed[w->profile]) {
        violated(w, "the profile is a system that was not confirmed");
    }
    if (!w->allowed[w->boot_default]) {
        violated(w, "the boot default is a system that was not confirmed");
    }
}

// --- jobs

static void job_result(struct world *w, enum job_kind kind)
{
    static const enum apply_event_kind results[JOBS] = {EVENT_OBTAINED, EVENT_OBTAINED, EVENT_TRIED,
        EVENT_CHECKED, EVENT_COMMITTED, EVENT_REVERTED, EVENT_RESTORED, EVENT_INSTALLED,
        EVENT_FIRED};
    const struct job *job = &w->jobs[kind];
    push(w, (struct queued){.kind = results[kind],
                .digest = job->digest,
                .system = job->new_system,
                .attempt = job->attempt,
                .code = job->code,
                .status = job->status});
}

static bool job_end(struct world *w, enum job_kind kind, enum code code)
{
    w->jobs[kind].progress = ENDED;
    w->jobs[kind].code = code;
    if (dies(w)) { // before its result
        return false;
    }
    job_result(w, kind);
    return true;
}

static bool fails_now(unsigned *failures)
{
    if (*failures == 0) {
        return false;
    }
    --*failures;
    return true;
}

static bool takes_lock(enum job_kind kind)
{
    return kind != JOB_OBTAIN && kind != JOB_UPDATE && kind != JOB_CHECK && kind != JOB_SECRETS;
}

static bool lock_is_free(const struct world *w, enum job_kind kind)
{
    for (enum job_kind other = JOB_OBTAIN; other < JOBS; other++) {
        const struct job *job = &w->jobs[other];
        if (takes_lock(other) && other != kind && job->progress == RUNS_NOW && job->at > 0) {
            return false;
        }
    }
    return true;
}

static void go_back(struct world *w, enum job_kind kind)
{
    const struct job *job = &w->jobs[kind];
    switch (job->at) {
    case 1:
        w->secrets = job->old_secrets;
        return;
    case 2:
        if (w->secrets != job->old_secrets) {
            violated(w, "went back without the secrets of what is back");
        }
        w->running = job->old_system;
        return;
    case 3:
        w->profile = job->old_profile;
        return;
    default:
        w->boot_default = job->old_profile;
        return;
    }
}

static void run_try(struct world *w, struct job *job)
{
    const struct behaviour *behaviour = &w->behaviour[job->new_system];
    if (job->at == 1 && w->fired) { // nobody guards it any more
        job->status = -1;
        (void)job_end(w, JOB_TRY, CODE_OK);
        return;
    }
    if (job->at == 1 && ++w->tries[job->new_system] > ATTEMPTS_MAX) {
        violated(w, "a configuration was tried too often");
    }
    if (job->at == 1) {
        w->secrets = job->digest;
        if (fails_now(&w->behaviour[job->digest].failing_secrets)) {
            job->status = TRIED_SECRETS;
            (void)job_end(w, JOB_TRY, CODE_OK);
            return;
        }
    }
    if (job->at == 2 && w->secrets != job->digest) {
        violated(w, "a switch without its secrets");
    }
    if (behaviour->hangs) {
        job->due_ms = NEVER;
    } else if (job->at == 2 && !behaviour->switch_in_vain) {
        w->running = job->new_system;
        w->broken = w->broken || behaviour->breaks;
    } else if (job->at == 3) {
        job->status = behaviour->switch_status;
        (void)job_end(w, JOB_TRY, CODE_OK);
    }
}

// Again after a boot into it, a commit changes nothing.
static void note_installed(struct world *w, uint8_t system)
{
    bool same_kernel = w->behaviour[system].kernel == w->behaviour[w->booted].kernel;
    if (w->booted != system) {
        w->by_boot[system] = !same_kernel || w->running != system;
        w->unproven[system] = w->by_boot[system] && !w->started[system];
    }
}

static void run_commit(struct world *w, struct job *job)
{
    struct behaviour *behaviour = &w->behaviour[job->new_system];
    bool runs = w->running == job->new_system || job->boot;
    if (job->at == 1 && !runs) {
        (void)job_end(w, JOB_COMMIT, CODE_COMMIT);
    } else if (job->at == 2) {
        w->profile = job->new_system;
    } else if (job->at == 3 && fails_now(&behaviour->failing_commits)) {
        (void)job_end(w, JOB_COMMIT, CODE_COMMIT);
    } else if (job->at == 3) {
        w->boot_default = job->new_system;
        note_installed(w, job->new_system);
    } else if (job->at == 4) {
        (void)job_end(w, JOB_COMMIT, CODE_OK);
    }
}

// What has ended stays said.
static void stop_job(struct world *w, enum job_kind kind)
{
    struct job *job = &w->jobs[kind];
    job->progress = job->progress == RUNS_NOW ? NOT_STARTED : job->progress;
}

static void run_revert(struct world *w, struct job *job)
{
    if (job->at == 1) {
        stop_job(w, JOB_TRY);
        stop_job(w, JOB_COMMIT);
        if (fails_now(&w->behaviour[job->new_system].failing_reverts)) {
            (void)job_end(w, JOB_REVERT, CODE_SWITCH);
            return;
        }
    }
    if (job->at <= 4) {
        go_back(w, JOB_REVERT);
    } else {
        (void)job_end(w, JOB_REVERT, CODE_OK);
    }
}

static void run_restore(struct world *w, struct job *job)
{
    if (job->at == 1 && fails_now(&w->behaviour[job->new_system].failing_restores)) {
        (void)job_end(w, JOB_RESTORE, CODE_COMMIT);
    } else if (job->at == 2) {
        w->profile = job->old_profile;
    } else if (job->at == 3) {
        w->boot_default = job->old_profile;
    } else if (job->at == 4) {
        (void)job_end(w, JOB_RESTORE, CODE_OK);
    }
}

// Those of the target, or of what runs by the journal of that moment.
static void run_secrets(struct world *w, struct job *job)
{
    uint8_t digest[HASH_BYTES] = {job->digest}, boot_id[16] = {w->boot};
    bool goes_back = w->fired || w->jobs[JOB_DEADMAN].progress == RUNS_NOW;
    bool known = job->digest != 0 ||
                 (!goes_back && apply_secrets_of(&w->journal, paths[w->running], boot_id, digest));
    if (job->at == 1) {
        w->secrets = known ? digest[0] : w->secrets;
        return;
    }
    bool fails = job->digest != 0 && fails_now(&w->behaviour[job->digest].failing_secrets);
    (void)job_end(w, JOB_SECRETS, fails ? CODE_SECRETS : CODE_OK);
}

// It is a process of its own: everything it needs came on its command line, but it obeys the
// trial on record.
static void run_deadman(struct world *w, struct job *job)
{
    const struct apply_trial *trial = &w->journal.trial;
    if (job->at == 1) {
        if (trial->digest[0] != job->digest || trial->attempt != job->attempt) {
            job->progress = NOT_STARTED;
            return;
        }
        stop_job(w, JOB_TRY);
    }
    if (job->at <= 4) {
        go_back(w, JOB_DEADMAN);
    } else {
        w->fired = true;
        (void)job_end(w, JOB_DEADMAN, CODE_OK);
    }
}

static void run_job(struct world *w, enum job_kind kind)
{
    struct job *job = &w->jobs[kind];
    struct behaviour *behaviour = &w->behaviour[job->new_system];
    job->due_ms = w->clock_ms + 5 * SECOND_MS;
    bool locks = takes_lock(kind);
    bool breaks = kind == JOB_REVERT || kind == JOB_DEADMAN; // stops the switch and takes its lock
    if (locks && job->at == 0 && !lock_is_free(w, kind)) {
        bool only_try = w->jobs[JOB_TRY].progress == RUNS_NOW && w->jobs[JOB_TRY].at > 0;
        bool own_commit = kind == JOB_REVERT && w->jobs[JOB_COMMIT].progress == RUNS_NOW;
        bool deadman = kind == JOB_REVERT && w->jobs[JOB_DEADMAN].progress == RUNS_NOW &&
                       w->jobs[JOB_DEADMAN].at > 0;
        if (!breaks || deadman || !(only_try || own_commit)) {
            return;
        }
    }
    job->at++;
    switch (kind) {
    case JOB_OBTAIN:
    case JOB_UPDATE:
        (void)job_end(w, kind, fails_now(&behaviour->failing_builds) ? CODE_BUILD : CODE_OK);
        break;
    case JOB_TRY:
        run_try(w, job);
        break;
    case JOB_CHECK:
        if (is_healthy(w) && w->running == job->new_system) {
            w->healthy = true;
        }
        (void)job_end(w, kind, is_healthy(w) ? CODE_OK : CODE_HEALTH);
        break;
    case JOB_COMMIT:
        run_commit(w, job);
        break;
    case JOB_REVERT:
        run_revert(w, job);
        break;
    case JOB_RESTORE:
        run_restore(w, job);
        break;
    case JOB_SECRETS:
        run_secrets(w, job);
        break;
    case JOB_DEADMAN:
        run_deadman(w, job);
        break;
    case JOBS:
        fail();
    }
    check_disk(w);
    if (!w->crashed) {
        (void)dies(w);
    }
}

// --- effects

static uint8_t secrets_of_old(const struct apply *a)
{
    uint8_t digest[HASH_BYTES] = {0};
    assert_true(apply_secrets_of_old(a, digest));
    return digest[0];
}

// The system that the configuration gives.
static uint8_t built_from(const struct world *w, uint8_t digest)
{
    return w->behaviour[digest].same_system ? OLD : digest;
}

static void start(struct world *w, enum job_kind kind)
{
    struct job *job = &w->jobs[kind];
    const struct apply *a = &w->apply;
    bool same = job->digest == a->target.digest[0] && job->attempt == a->attempt;
    bool again = kind == JOB_REVERT || kind == JOB_RESTORE;
    if (same && job->progress == RUNS_NOW && !again) {
        return;
    }
    if (same && job->progress == ENDED && kind == JOB_TRY) { // what a switch said stays said
        job_result(w, kind);
        return;
    }
    *job = (struct job){.progress = RUNS_NOW,
        .digest = a->target.digest[0],
        .attempt = a->attempt,
        .due_ms = w->clock_ms + 5 * SECOND_MS,
        .new_system = system_of(a->trial.new_path),
        .old_system = system_of(a->trial.old_path),
        .old_profile = system_of(a->trial.old_profile),
        .old_secrets = secrets_of_old(a),
        .boot = a->target.action == ACTION_BOOT};
    if (kind == JOB_OBTAIN) {
        job->new_system = built_from(w, a->target.digest[0]);
    } else if (kind == JOB_UPDATE) {
        job->new_system = UPDATED;
    }
}

// For the attempt under way; also one that is firing or has fired.
static bool is_armed(const struct world *w)
{
    bool any = w->armed || w->fired || w->jobs[JOB_DEADMAN].progress == RUNS_NOW;
    return any && w->armed_digest == w->apply.target.digest[0] &&
           w->armed_attempt == w->apply.attempt;
}

static void start_try(struct world *w)
{
    w->jobs[JOB_SECRETS].progress = NOT_STARTED;
    const struct job *job = &w->jobs[JOB_TRY];
    uint8_t system = system_of(w->apply.trial.new_path);
    bool fresh = job->progress == NOT_STARTED || job->digest != w->apply.target.digest[0] ||
                 job->attempt != w->apply.attempt;
    if (fresh) {
        if (!is_armed(w)) {
            violated(w, "a switch started without a dead man's switch");
        }
        bool way_back = w->apply.unproven && strcmp(w->apply.before_profile, paths[system]) == 0;
        w->allowed[system] = way_back || system == w->profile || system == w->boot_default;
        w->reached = false;
        w->healthy = !w->behaviour[w->apply.target.digest[0]].has_health;
        if (fails_now(&w->failing_starts)) {
            push(w, (struct queued){.kind = EVENT_TRIED,
                        .digest = w->apply.target.digest[0],
                        .attempt = w->apply.attempt,
                        .status = TRIED_NEVER});
            return;
        }
    }
    start(w, JOB_TRY);
}

static bool boots_only(const struct behaviour *behaviour)
{
    return behaviour->action == ACTION_BOOT || behaviour->boot_only ||
           behaviour->switch_status == 100;
}

// The proof is due when the commit is decided; what then happens to the machine does not undo it.
static void judge_commit(struct world *w)
{
    uint8_t system = system_of(w->apply.trial.new_path);
    bool proved = w->reached && w->healthy && w->jobs[JOB_TRY].new_system == system;
    bool boots = boots_only(&w->behaviour[system]) ||
                 w->behaviour[w->apply.target.digest[0]].action == ACTION_BOOT;
    if (!w->allowed[system] && !proved && !boots) {
        violated(w, "a commit started without a proof");
    }
    w->allowed[system] = true;
}

static void arm(struct world *w)
{
    if (!is_armed(w)) {
        w->armed = true;
        w->fires_ms = w->clock_ms + DEADMAN_MS;
        w->armed_digest = w->apply.target.digest[0];
        w->armed_attempt = w->apply.attempt;
        w->jobs[JOB_DEADMAN] = (struct job){.digest = w->armed_digest,
            .attempt = w->armed_attempt,
            .new_system = system_of(w->apply.trial.new_path),
            .old_system = system_of(w->apply.trial.old_path),
            .old_secrets = secrets_of_old(&w->apply),
            .old_profile = system_of(w->apply.trial.old_profile)};
    }
    push(w, (struct queued){
                .kind = EVENT_ARMED, .digest = w->armed_digest, .attempt = w->armed_attempt});
}

static void disarm(struct world *w)
{
    w->armed = w->fired = false;
    if (w->jobs[JOB_DEADMAN].at == 0) {
        w->jobs[JOB_DEADMAN].progress = NOT_STARTED;
    }
}

static void put_into_outbox(struct world *w)
{
    const struct apply_report *report = &w->apply.report;
    if (report->seq > w->outbox.seq) {
        w->outbox = *report;
        w->delivered = false;
        w->deliver_ms = w->clock_ms + SECOND_MS;
    } else if (report->seq < w->outbox.seq) {
        violated(w, "the number of a report went back");
    }
    push(w, (struct queued){.kind = EVENT_QUEUED, .seq = report->seq});
}

// Nothing of an earlier attempt under the same number may pass for a result of this one.
static void begin_attempt(struct world *w)
{
    for (enum job_kind kind = JOB_OBTAIN; kind < JOBS; kind++) {
        if (w->jobs[kind].progress == ENDED) {
            w->jobs[kind] = (struct job){0};
        }
    }
}

// SECRETS is about no configuration in particular.
static void start_secrets(struct world *w, bool of_target)
{
    w->jobs[JOB_SECRETS] = (struct job){.progress = RUNS_NOW,
        .digest = of_target ? w->apply.target.digest[0] : 0,
        .attempt = of_target ? w->apply.attempt : 0,
        .due_ms = w->clock_ms + 5 * SECOND_MS};
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static void plan_reboot(struct world *w)
{
    if (++w->reboots > REBOOTS_MAX) {
        violated(w, "too many planned reboots");
    }
    if (!fails_now(&w->reboots_in_vain)) {
        w->reboot_ms = w->clock_ms + 5 * SECOND_MS;
    }
}

static void start_effect(struct world *w, enum apply_effect effect)
{
    switch (effect) {
    case EFFECT_QUEUE:
    case EFFECT_REACH:
        put_into_outbox(w);
        return;
    case EFFECT_OBTAIN:
        begin_attempt(w);
        start(w, JOB_OBTAIN);
        return;
    case EFFECT_UPDATE:
        begin_attempt(w);
        start(w, JOB_UPDATE);
        return;
    case EFFECT_CANCEL:
        w->jobs[JOB_OBTAIN].progress = w->jobs[JOB_UPDATE].progress = NOT_STARTED;
        return;
    case EFFECT_ARM:
        arm(w);
        return;
    case EFFECT_DISARM:
        disarm(w);
        return;
    case EFFECT_TRY:
        start_try(w);
        return;
    case EFFECT_CHECK:
        start(w, JOB_CHECK);
        return;
    case EFFECT_COMMIT:
        start(w, JOB_COMMIT);
        return;
    case EFFECT_REVERT:
        start(w, JOB_REVERT);
        return;
    case EFFECT_RESTORE:
        start(w, JOB_RESTORE);
        return;
    case EFFECT_INSTALL:
    case EFFECT_SECRETS:
        start_secrets(w, effect == EFFECT_INSTALL);
        return;
    case EFFECT_SCHEDULE:
        w->due_ms = least(w->due_ms, w->clock_ms + 6 * 60 * MINUTE_MS);
        return;
    case EFFECT_REBOOT:
        plan_reboot(w);
        return;
    case APPLY_EFFECT_COUNT:
        break;
    }
    fail();
}

// --- the process

static struct apply_config config_of(const struct world *w)
{
    const struct behaviour *behaviour = &w->behaviour[w->wanted];
    struct apply_config config = {.epoch = 1,
        .release = w->head,
        .fallback_floor = behaviour->floored ? w->head : 0,
        .action = behaviour->action,
        .unit_failures = behaviour->unit_failures,
        .last_resort = behaviour->last_resort,
        .reboot = behaviour->reboot,
        .has_health = behaviour->has_health,
        .self_update = behaviour->self_update,
        .confirm_ms = behaviour->confirm_ms};
    digest_of(w->wanted, config.digest);
    memset(config.head_hash, (int)w->head, HASH_BYTES);
    return config;
}

static void tell(const struct world *w, const struct apply_event *ev, const struct apply *next,
    const struct apply_plan *plan)
{
    print_message("%6" PRIu64 "s running %u booted %u profile %u boots %u | %s %u/%u -> %s",
        w->clock_ms / 1000, w->running, w->booted, w->profile, w->boot_default,
        apply_event_name(ev->kind), ev->digest[0], ev->attempt, apply_state_name(next->state));
    for (unsigned i = 0; i < plan->count; i++) {
        print_message(" %s", apply_effect_name(plan->effects[i]));
    }
    print_message(" | %s %s\n", node_state_word(next->report.state), code_name(next->report.code));
}

// What must hold of a step by what the world knows.
static void judge_step(struct world *w, const struct apply *next)
{
    const struct apply *now = &w->apply;
    bool proven = now->state == APPLY_PROVING && now->unproven && !next->unproven &&
                  strcmp(now->applied.path, next->applied.path) == 0;
    if (proven && !(w->reached && (w->healthy || !next->applied.has_health))) {
        violated(w, "taken for proven without a proof");
    }
    bool asks = now->state != APPLY_REBOOTING && next->state == APPLY_REBOOTING;
    if (asks && !w->delivered) {
        violated(w, "a reboot that the collector does not know of");
    }
    bool is_new = next->report.seq != now->report.seq;
    bool ran_before = strcmp(now->trial.old_path, next->target.path) == 0; // its commit failed
    bool chosen = w->running == w->booted && w->booted != w->boot_default; // at the console
    bool goes_back = now->state != APPLY_RETURNING && next->state == APPLY_RETURNING;
    bool says_back = is_new && goes_back && !ran_before && !chosen;
    if (says_back && strcmp(next->target.path, paths[w->running]) == 0) {
        violated(w, "rolled back is said while the new system runs");
    }
    bool says_fine = is_new && next->report.state == NODE_UP_TO_DATE;
    if (says_fine && w->running != w->profile && next->unproven) {
        violated(w, "up to date is said before the reboot");
    }
}

// The loop of bento-apply: journal first, then the effects.
static void handle(struct world *w, const struct queued *queued)
{
    struct apply_config config = config_of(w);
    struct apply_event ev = {.kind = queued->kind,
        .now_ms = w->clock_ms - w->boot_ms,
        .asleep_ms = w->asleep_ms,
        .unix_ns = w->clock_ms * 1000000,
        .boot_id = {w->boot},
        .running = paths[w->running],
        .booted = paths[w->booted],
        .profile = paths[w->profile],
        .specialisation = "",
        .reboot_needed = reboot_needed(w),
        .rules = &rules,
        .attempt = queued->attempt,
        .config = &config,
        .code = queued->code,
        .path = paths[queued->system],
        .boot_only = w->behaviour[queued->system].boot_only,
        .status = queued->status,
        .seq = queued->seq};
    digest_of(queued->digest, ev.digest);
    w->beat_ms = w->clock_ms + 60 * MINUTE_MS;
    struct apply next;
    struct apply_plan plan;
    w->step(&w->apply, &ev, &next, &plan);
    if (w->tells) {
        tell(w, &ev, &next, &plan);
    }
    judge_step(w, &next);
    if (dies(w)) {
        return;
    }
    if (strcmp(next.applied.path, w->apply.applied.path) != 0) {
        w->tries[system_of(next.applied.path)] = 0; // a later return starts from a clean slate
    }
    if (next.applied.digest[0] != w->apply.applied.digest[0]) {
        w->tries[UPDATED] = 0; // it is another configuration's
    }
    bool commits = next.state == APPLY_COMMITTING && w->apply.state != APPLY_COMMITTING;
    w->apply = w->journal = next;
    if (commits) {
        judge_commit(w);
    }
    for (unsigned i = 0; !dies(w) && i < plan.count; i++) {
        start_effect(w, plan.effects[i]);
    }
}

static void process_starts(struct world *w)
{
    w->up = true;
    w->back_ms = NEVER;
    w->event_count = 0;
    w->apply = w->journal;
    if (w->fired) {
        job_result(w, JOB_DEADMAN);
    }
    push(w, (struct queued){.kind = EVENT_BOOT});
}

static void machine_restarts(struct world *w)
{
    w->clock_ms += MINUTE_MS;
    w->boot_ms = w->clock_ms;
    w->asleep_ms = 0;
    w->boot++;
    w->running = w->booted = w->boot_default;
    if (fails_now(&w->stubborn_boots)) { // the boot loader, or somebody at the console
        w->running = w->booted = OLD;
        w->by_hand = true;
    }
    w->reached = false;
    w->healthy = !w->behaviour[w->journal.applied.digest[0]].has_health;
    w->armed = w->broken = false;
    w->secrets = NOTHING;
    w->reboot_ms = w->due_ms = NEVER;
    bool panics = since_boot(w) && fails_now(&w->behaviour[w->booted].panics);
    w->panic_ms = panics ? w->clock_ms + 30 * SECOND_MS : NEVER;
    for (enum job_kind kind = JOB_OBTAIN; kind < JOBS; kind++) {
        if (w->jobs[kind].progress == RUNS_NOW) { // what has ended is on disk
            w->jobs[kind].progress = NOT_STARTED;
        }
    }
    process_starts(w);
}

static void machine_sleeps(struct world *w)
{
    bool window = w->journal.state == APPLY_CONFIRMING || w->journal.state == APPLY_PROVING;
    w->slept_in_window = w->slept_in_window || window;
    w->asleep_ms += 60 * MINUTE_MS;
    w->awake_ms = w->clock_ms + 45 * SECOND_MS;
}

static void recover(struct world *w)
{
    if (w->tells) {
        print_message("%6" PRIu64 "s %s\n", w->clock_ms / 1000, crash_names[w->kind]);
    }
    w->crashed = false;
    w->up = false;
    w->event_count = 0;
    switch (w->kind) {
    case CRASH_RESTART:
        process_starts(w);
        return;
    case CRASH_REBOOT:
        machine_restarts(w);
        return;
    case CRASH_GONE:
        w->back_ms = w->clock_ms + 40 * MINUTE_MS;
        return;
    case CRASH_SLEEP: // the process, too, so that the boundary is any other's
        machine_sleeps(w);
        process_starts(w);
        return;
    case CRASH_KINDS:
        break;
    }
    fail();
}

// --- time

static void deliver(struct world *w)
{
    w->delivered = true;
    bool asks = w->outbox.state == NODE_CONFIRMING || w->outbox.state == NODE_STAYS;
    const struct job *job = &w->jobs[JOB_TRY];
    bool tried = job->progress == ENDED && job->new_system == w->running &&
                 job->digest == w->outbox.digest[0] && job->attempt == w->outbox.attempt;
    bool booted = w->outbox.attempt == 0 && w->booted == w->running;
    if (asks && (tried || booted)) {
        w->reached = true;
        w->started[w->running] = w->started[w->running] || w->booted == w->running;
        w->unproven[w->running] = w->unproven[w->running] && w->booted != w->running;
    }
    if (w->outbox.state == NODE_ROLLED_BACK && w->booted == w->running) {
        w->unproven[w->running] = false; // what a restore brought back came through its boot
    }
    push(w, (struct queued){.kind = EVENT_ACKED, .seq = w->outbox.seq});
}

static bool is_new(const struct world *w)
{
    return w->apply.seen[0] != (uint8_t)w->head;
}

static bool hears(const struct world *w)
{
    return is_new(w) && is_reachable(w);
}

static uint64_t later(uint64_t due_ms, uint64_t clock_ms)
{
    return due_ms > clock_ms ? due_ms : clock_ms;
}

// A crash may lose an acknowledgement, or the calendar's timer, and a reboot may not happen, but not
// for ever: what is said once an hour brings them again.
static bool needs_beat(const struct world *w)
{
    const struct apply *a = &w->apply;
    bool lost = a->report.queued && !a->report.acked;
    bool rests = memcmp(a->applied.digest, a->target.digest, HASH_BYTES) == 0;
    bool forgot = rests && a->unproven && a->applied.reboot != REBOOT_BY_HAND &&
                  w->due_ms == NEVER && a->reboots < ATTEMPTS_MAX;
    return w->up && w->delivered && a->state == APPLY_IDLE && (lost || forgot);
}

// When something happens next by itself.
static uint64_t next_due(const struct world *w)
{
    uint64_t due = least(w->back_ms, least(w->reboot_ms, w->panic_ms));
    if (w->up) {
        due = least(due, w->due_ms);
    }
    if (needs_beat(w)) {
        due = least(due, w->beat_ms);
    }
    if (w->up && w->updates_left > 0) {
        due = least(due, w->update_ms);
    }
    for (enum job_kind kind = JOB_OBTAIN; kind < JOBS; kind++) {
        if (w->jobs[kind].progress == RUNS_NOW) {
            due = least(due, w->jobs[kind].due_ms);
        }
    }
    if (w->armed && w->jobs[JOB_DEADMAN].progress == NOT_STARTED) {
        due = least(due, w->fires_ms);
    }
    if (w->up && w->apply.deadline_ms != 0) {
        due = least(due, w->boot_ms + w->apply.deadline_ms);
    }
    bool waits = !w->delivered && w->outbox.seq != 0;
    if (waits && is_reachable(w)) {
        due = least(due, w->deliver_ms);
    }
    if (waits || is_new(w)) {
        if (w->clock_ms < w->awake_ms) {
            due = least(due, w->awake_ms);
        }
        if (w->clock_ms < w->outage_from_ms) {
            due = least(due, w->outage_from_ms);
        } else if (w->clock_ms < w->outage_until_ms) {
            due = least(due, w->outage_until_ms);
        }
    }
    return due == NEVER ? NEVER : later(due, w->clock_ms);
}

static void let_time_pass(struct world *w, uint64_t until_ms)
{
    w->clock_ms = until_ms;
    if (until_ms >= least(w->reboot_ms, w->panic_ms)) {
        machine_restarts(w);
        return;
    }
    if (!w->up && until_ms >= w->back_ms) {
        process_starts(w);
        return;
    }
    if (!w->delivered && w->outbox.seq != 0 && is_reachable(w) && until_ms >= w->deliver_ms) {
        deliver(w);
        return;
    }
    for (enum job_kind kind = JOB_OBTAIN; kind < JOBS; kind++) {
        if (w->jobs[kind].progress == RUNS_NOW && until_ms >= w->jobs[kind].due_ms) {
            run_job(w, kind);
            return;
        }
    }
    if (w->armed && until_ms >= w->fires_ms && w->jobs[JOB_DEADMAN].progress == NOT_STARTED) {
        w->armed = false;
        w->jobs[JOB_DEADMAN].progress = RUNS_NOW;
        w->jobs[JOB_DEADMAN].due_ms = until_ms;
        return;
    }
    if (w->up && w->apply.deadline_ms != 0 && until_ms >= w->boot_ms + w->apply.deadline_ms) {
        push(w, (struct queued){.kind = EVENT_TIMER});
        return;
    }
    if (w->up && until_ms >= w->due_ms) {
        w->due_ms = NEVER;
        push(w, (struct queued){.kind = EVENT_DUE});
        return;
    }
    if (needs_beat(w) && until_ms >= w->beat_ms) {
        push(w, (struct queued){.kind = EVENT_BEAT});
        return;
    }
    if (w->up && w->updates_left > 0 && until_ms >= w->update_ms) {
        w->updates_left--;
        w->update_ms = until_ms + 24 * 60 * MINUTE_MS;
        push(w, (struct queued){.kind = EVENT_UPDATE});
    }
}

// --- judgement

static enum node_state outcome_said(enum apply_outcome outcome)
{
    static const enum node_state said[] = {[OUTCOME_OPEN] = NODE_NEW,
        [OUTCOME_FAILED] = NODE_FAILED,
        [OUTCOME_ROLLED_BACK] = NODE_ROLLED_BACK,
        [OUTCOME_DRY] = NODE_DRY,
        [OUTCOME_INCONCLUSIVE] = NODE_INCONCLUSIVE};
    return said[outcome];
}

static enum node_state final_report(const struct world *w)
{
    uint8_t key[HASH_BYTES];
    if (w->apply.applied.digest[0] == w->wanted) {
        bool waits = reboot_needed(w) || (w->apply.unproven && w->running != w->profile);
        return waits ? NODE_REBOOT_PENDING : NODE_UP_TO_DATE;
    }
    digest_of(w->wanted, key);
    for (unsigned i = 0; i < APPLY_MEMORIES; i++) {
        if (memcmp(w->apply.memories[i].digest, key, HASH_BYTES) == 0) {
            return outcome_said(w->apply.memories[i].outcome);
        }
    }
    return NODE_NEW;
}

// Nothing is left to do at this moment.
static void judge_pause(struct world *w)
{
    const struct apply *a = &w->apply;
    bool stays = a->state == APPLY_CONFIRMING && a->stays;
    if (w->up && w->armed && (!apply_in_trial(a->state) || stays)) {
        violated(w, "a dead man's switch is armed outside of a trial");
    }
    bool rests = w->up && a->state == APPLY_IDLE;
    if (rests && w->unproven[w->boot_default] && !(a->unproven && a->before_profile[0] != '\0')) {
        violated(w, "a boot without a way back");
    }
}

// What of a self update is said last, where it failed: that of the release stands.
static bool is_about_update(const struct world *w)
{
    const struct apply_report *report = &w->apply.report;
    return report->automatic && !w->apply.applied.automatic && report->state != NODE_UP_TO_DATE;
}

static bool is_judged(const struct apply *a, uint8_t system)
{
    uint8_t digest[HASH_BYTES];
    digest_of(system, digest);
    for (unsigned i = 0; i < APPLY_MEMORIES; i++) {
        if (memcmp(a->memories[i].digest, digest, HASH_BYTES) == 0) {
            return a->memories[i].outcome != OUTCOME_OPEN;
        }
    }
    return false;
}

// Those of the configuration whose system runs.
static void judge_secrets(struct world *w)
{
    const struct apply *a = &w->apply;
    bool installed = a->unproven && strcmp(paths[w->running], a->applied.path) != 0;
    const struct apply_config *runs = installed ? &a->before : &a->applied;
    bool known = strcmp(paths[w->running], runs->path) == 0 && !a->unconfirmed;
    if (known && w->secrets != runs->digest[0]) {
        violated(w, "what runs does not have its secrets");
    }
}

static void judge_end(struct world *w)
{
    const struct apply *a = &w->apply;
    bool stays = (a->state == APPLY_CONFIRMING || a->state == APPLY_PROVING) && a->stays;
    bool waits = a->state == APPLY_WAITING && !is_reachable(w);
    if (w->loose && (stays || waits)) {
        return; // allowed to wait for ever
    }
    if (a->state != APPLY_IDLE) {
        violated(w, "came to rest in the middle");
    }
    judge_secrets(w);
    if (w->armed) {
        violated(w, "came to rest with an armed dead man's switch");
    }
    if (w->profile != system_of(a->applied.path) || w->boot_default != w->profile) {
        violated(w, "the profile is not the applied configuration");
    }
    if (w->running != w->profile && !a->unproven && !a->unconfirmed && !w->by_hand) {
        violated(w, "another system runs than the profile's");
    }
    if (w->booted == w->running && w->unproven[w->booted] && !w->loose) {
        violated(w, "runs since a boot without a proof");
    }
    if (is_judged(a, a->applied.digest[0])) {
        violated(w, "what is applied is judged, perhaps by its self update");
    }
    if (is_new(w) && !is_reachable(w)) {
        return;
    }
    if (a->report.digest[0] != w->wanted ||
        (a->report.state != final_report(w) && !is_about_update(w))) {
        violated(w, "the last report is wrong");
    }
    if (is_reachable(w) && (!w->delivered || w->outbox.seq != a->report.seq)) {
        violated(w, "the last report did not arrive");
    }
}

static void run(struct world *w)
{
    for (unsigned turn = 0; w->violation == NULL; turn++) {
        if (turn == TURNS_MAX) {
            // A system that may not be left and does not reach anybody cannot take the next one,
            // nor tell why it would like to reboot.
            bool asks = w->apply.state == APPLY_CHECKING || w->apply.state == APPLY_IDLE;
            bool stuck = w->loose && asks && !is_reachable(w);
            if (!stuck) {
                violated(w, "never comes to rest");
            }
            return;
        } else if (w->crashed) {
            recover(w);
        } else if (w->up && w->event_count > 0) {
            struct queued event = w->events[0];
            w->event_count--;
            memmove(&w->events[0], &w->events[1], w->event_count * sizeof event);
            handle(w, &event);
        } else if (w->up && hears(w)) {
            handle(w, &(struct queued){.kind = EVENT_RELEASE});
        } else {
            judge_pause(w);
            uint64_t due = next_due(w);
            if (due == NEVER) {
                judge_end(w);
                return;
            }
            let_time_pass(w, due);
        }
    }
}

// A machine that runs OLD, and a fleet that wants NEW.
static struct world world_new(step_function *step)
{
    struct world w = {.step = step,
        .clock_ms = MINUTE_MS,
        .boot = 1,
        .running = OLD,
        .booted = OLD,
        .profile = OLD,
        .boot_default = OLD,
        .secrets = OLD,
        .reboot_ms = NEVER,
        .panic_ms = NEVER,
        .due_ms = NEVER,
        .delivered = true,
        .wanted = NEW,
        .head = 2,
        .next_at = UINT32_MAX,
        .crash_at = UINT32_MAX,
        .back_ms = NEVER,
        .allowed = {[OLD] = true},
        .started = {[OLD] = true}};
    apply_init(&w.journal);
    w.journal.applied = (struct apply_config){.epoch = 1, .release = 1};
    digest_of(OLD, w.journal.applied.digest);
    strcpy(w.journal.applied.path, paths[OLD]);
    w.journal.target = w.journal.applied;
    w.journal.seen[0] = 1;
    w.journal.boot_id[0] = w.boot;
    process_starts(&w);
    return w;
}

static const struct scenario scenarios[] = {
    {.name = "good", .expected = NEW},
    {.name = "good with health", .behaviour = {.has_health = true}, .expected = NEW},
    {.name = "unreachable", .behaviour = {.unreachable = true}, .expected = OLD},
    {.name = "unhealthy", .behaviour = {.has_health = true, .unhealthy = true}, .expected = OLD},
    {.name = "switch fails", .behaviour = {.switch_status = 2}, .expected = OLD},
    {.name = "switch fails before anything changed",
        .behaviour = {.switch_status = 2, .switch_in_vain = true},
        .expected = OLD},
    {.name = "switch does nothing", .behaviour = {.switch_in_vain = true}, .expected = OLD},
    {.name = "switch hangs", .behaviour = {.hangs = true}, .expected = OLD},
    {.name = "units fail", .behaviour = {.switch_status = 4}, .expected = NEW},
    {.name = "units fail and that counts",
        .behaviour = {.switch_status = 4, .unit_failures = UNIT_FAILURES_ROLLBACK},
        .expected = OLD},
    {.name = "commit fails", .behaviour = {.failing_commits = 99}, .expected = OLD},
    {.name = "revert fails twice",
        .behaviour = {.switch_status = 2, .failing_reverts = 2},
        .expected = OLD},
    {.name = "build fails once", .behaviour = {.failing_builds = 1}, .expected = NEW},
    {.name = "build fails for a day", .behaviour = {.failing_builds = 8}, .expected = NEW},
    {.name = "for the next boot",
        .behaviour = {.action = ACTION_BOOT},
        .expected = NEW,
        .pending = true},
    {.name = "for the next boot, like another one before",
        .waiting = true,
        .behaviour = {.action = ACTION_BOOT},
        .expected = NEW,
        .pending = true},
    {.name = "good, while another one waits for its boot", .waiting = true, .expected = NEW},
    {.name = "tested by hand", .by_hand = true, .expected = NEW},
    {.name = "network down before",
        .outage_from_ms = MINUTE_MS,
        .outage_until_ms = 100 * MINUTE_MS,
        .expected = NEW},
    {.name = "network down in the window",
        .outage_from_ms = MINUTE_MS + 15 * SECOND_MS,
        .outage_until_ms = 100 * MINUTE_MS,
        .expected = NEW},
    {.name = "network down in the window, may not go back",
        .behaviour = {.floored = true, .has_health = true},
        .outage_from_ms = MINUTE_MS + 15 * SECOND_MS,
        .outage_until_ms = 100 * MINUTE_MS,
        .expected = NEW},
    {.name = "sleeps in a short window",
        .behaviour = {.confirm_ms = 30 * SECOND_MS},
        .expected = NEW},
    {.name = "kernel, rebooted by hand",
        .behaviour = {.kernel = 1},
        .expected = NEW,
        .pending = true},
    {.name = "kernel, rebooted when needed",
        .behaviour = {.kernel = 1, .reboot = REBOOT_WHEN_NEEDED, .has_health = true},
        .expected = NEW},
    {.name = "kernel, rebooted by the calendar",
        .behaviour = {.kernel = 1, .reboot = REBOOT_CALENDAR},
        .expected = NEW},
    {.name = "boot action, rebooted when needed",
        .behaviour = {.action = ACTION_BOOT, .reboot = REBOOT_WHEN_NEEDED},
        .expected = NEW},
    {.name = "cannot be tried live, rebooted when needed",
        .behaviour = {.boot_only = true, .reboot = REBOOT_WHEN_NEEDED},
        .expected = NEW},
    {.name = "switch asks for a reboot",
        .behaviour = {.switch_status = 100, .switch_in_vain = true, .reboot = REBOOT_WHEN_NEEDED},
        .expected = NEW},
    {.name = "unreachable after its boot",
        .behaviour = {.kernel = 1, .reboot = REBOOT_WHEN_NEEDED, .unreachable_after_boot = true},
        .expected = OLD},
    {.name = "unhealthy after its boot",
        .behaviour = {.action = ACTION_BOOT,
            .reboot = REBOOT_WHEN_NEEDED,
            .has_health = true,
            .unhealthy_after_boot = true},
        .expected = OLD},
    {.name = "unreachable after its boot, restore fails",
        .behaviour = {.kernel = 1,
            .reboot = REBOOT_WHEN_NEEDED,
            .unreachable_after_boot = true,
            .failing_restores = ALWAYS},
        .expected = OLD},
    {.name = "panics once",
        .behaviour = {.kernel = 1, .reboot = REBOOT_WHEN_NEEDED, .has_health = true, .panics = 1},
        .expected = NEW},
    {.name = "panics after every boot",
        .behaviour = {.kernel = 1,
            .reboot = REBOOT_WHEN_NEEDED,
            .unreachable_after_boot = true,
            .panics = ALWAYS},
        .expected = OLD},
    {.name = "boot loader starts the old one",
        .behaviour = {.kernel = 1, .reboot = REBOOT_WHEN_NEEDED},
        .stubborn_boots = ALWAYS,
        .expected = OLD},
    {.name = "reboots do nothing",
        .behaviour = {.kernel = 1, .reboot = REBOOT_WHEN_NEEDED},
        .reboots_in_vain = ALWAYS,
        .expected = NEW,
        .pending = true},
    {.name = "network down after the boot",
        .behaviour = {.kernel = 1, .reboot = REBOOT_WHEN_NEEDED},
        .outage_from_ms = 112 * SECOND_MS,
        .outage_until_ms = 100 * MINUTE_MS,
        .expected = NEW},
    {.name = "last resort",
        .behaviour = {.breaks = true, .last_resort = LAST_RESORT_REBOOT},
        .expected = OLD},
    {.name = "only secrets", .behaviour = {.same_system = true}, .expected = OLD},
    {.name = "only secrets, which fail",
        .behaviour = {.same_system = true, .failing_secrets = ALWAYS},
        .expected = OLD},
    {.name = "secrets fail before the switch",
        .behaviour = {.failing_secrets = ALWAYS},
        .expected = OLD},
    {.name = "secrets without owners after the switch",
        .behaviour = {.switch_status = TRIED_SECRETS},
        .expected = OLD},
    {.name = "good update", .update = true, .expected = UPDATED},
    {.name = "unreachable update",
        .update = true,
        .behaviour = {.unreachable = true},
        .expected = OLD},
    {.name = "update that does not build",
        .update = true,
        .behaviour = {.failing_builds = ALWAYS},
        .expected = OLD},
    {.name = "update with a kernel",
        .update = true,
        .behaviour = {.kernel = 1, .reboot = REBOOT_WHEN_NEEDED},
        .expected = UPDATED},
    {.name = "update that is unreachable after its boot",
        .update = true,
        .behaviour = {.kernel = 1, .reboot = REBOOT_WHEN_NEEDED, .unreachable_after_boot = true},
        .expected = OLD},
};
#define SCENARIOS (sizeof scenarios / sizeof scenarios[0])

// A node that runs the configuration OLD, which updates itself.
static void expect_update(struct world *w, const struct behaviour *updated)
{
    w->behaviour[UPDATED] = *updated;
    w->behaviour[OLD].self_update = true;
    w->behaviour[OLD].reboot = updated->reboot;
    w->wanted = OLD; // said again by a newer head
    w->update_ms = 2 * MINUTE_MS;
    w->updates_left = 2;
}

// OTHER is applied, and NEW is what the fleet wants then.
static void install_other(struct world *w)
{
    w->behaviour[OTHER].action = ACTION_BOOT;
    w->behaviour[OTHER].unreachable_after_boot = true;
    w->wanted = OTHER;
    run(w);
    w->wanted = NEW;
    w->head++;
    w->boundaries = 0;
}

static struct world world_of(const struct scenario *scenario, step_function *step)
{
    struct world w = world_new(step);
    if (scenario->waiting) {
        install_other(&w);
    }
    if (scenario->update) {
        expect_update(&w, &scenario->behaviour);
    } else {
        w.behaviour[NEW] = scenario->behaviour;
    }
    w.outage_from_ms = scenario->outage_from_ms;
    w.outage_until_ms = scenario->outage_until_ms;
    w.stubborn_boots = scenario->stubborn_boots;
    w.reboots_in_vain = scenario->reboots_in_vain;
    w.loose = scenario->behaviour.floored;
    if (scenario->by_hand) {
        w.running = NEW;
        w.by_hand = true;
        w.allowed[NEW] = true; // by whoever tested it
    }
    return w;
}

static void judge_scenario(struct world *w, const struct scenario *scenario)
{
    if (w->violation != NULL) {
        return;
    }
    // A dead man's switch that fired is a judgement: not tried again.
    bool late =
        w->kind == CRASH_SLEEP && !w->slept_in_window; // the network was, for a short window
    uint8_t before = scenario->waiting ? OTHER : OLD;
    bool either = (w->kind == CRASH_GONE || late) && w->profile == before;
    if (w->profile != scenario->expected && !either) {
        violated(w, "ended with the wrong system");
    }
    bool reboots = w->kind == CRASH_REBOOT && w->boundaries > w->crash_at;
    if (!either && !reboots && scenario->pending != w->apply.unproven) {
        violated(w, "ended before or after the reboot");
    }
    if (w->slept_in_window && w->tries[NEW] > 1) {
        violated(w, "a window ended while the machine slept");
    }
}

static struct world crash_at(
    const struct scenario *scenario, step_function *step, enum crash kind, unsigned boundary)
{
    struct world w = world_of(scenario, step);
    w.kind = kind;
    w.crash_at = boundary;
    run(&w);
    judge_scenario(&w, scenario);
    return w;
}

// Every crash of every scenario, up to the first one that violates something.
static bool crash_everywhere(step_function *step, char *violation, size_t size)
{
    for (size_t i = 0; i < SCENARIOS; i++) {
        for (enum crash kind = CRASH_RESTART; kind < CRASH_KINDS; kind++) {
            bool fired = true;
            for (unsigned k = 0; fired; k++) {
                struct world w = crash_at(&scenarios[i], step, kind, k);
                if (w.violation != NULL) {
                    snprintf(violation, size, "%s, %s at boundary %u: %s (in %s)",
                        scenarios[i].name, crash_names[kind], k, w.violation,
                        apply_state_name(w.apply.state));
                    return false;
                }
                fired = w.boundaries > k;
            }
        }
    }
    return true;
}

// --- tests

static void undisturbed_scenarios_end_as_expected(void **state)
{
    (void)state;
    for (size_t i = 0; i < SCENARIOS; i++) {
        struct world w = world_of(&scenarios[i], apply_step);
        run(&w);
        judge_scenario(&w, &scenarios[i]);
        if (w.violation != NULL) {
            fail_msg("%s: %s", scenarios[i].name, w.violation);
        }
    }
}

static void crash_at_every_boundary_ends_confirmed_or_restored(void **state)
{
    (void)state;
    char violation[VIOLATION_BYTES];
    if (!crash_everywhere(apply_step, violation, sizeof violation)) {
        fail_msg("%s", violation);
    }
}

static void newer_release_at_every_boundary_wins(void **state)
{
    (void)state;
    for (size_t i = 0; i < SCENARIOS; i++) {
        bool came = true;
        for (unsigned k = 0; came; k++) {
            struct world w = world_of(&scenarios[i], apply_step);
            w.wanted_next = OTHER;
            w.next_at = k;
            run(&w);
            came = w.boundaries > k;
            w.loose = false;
            if (w.violation == NULL && came && w.profile != OTHER) {
                violated(&w, "the newer release did not win");
            }
            if (w.violation != NULL) {
                fail_msg("%s, release at boundary %u: %s", scenarios[i].name, k, w.violation);
            }
        }
    }
}

static void reboot_in_every_attempt_gives_up(void **state)
{
    (void)state;
    // The boundaries of the attempts differ, so every pair of distances is tried.
    for (unsigned first = 0; first < 80; first++) {
        for (unsigned second = 1; second < 80; second += 3) {
            struct world w = world_of(&scenarios[0], apply_step);
            w.kind = CRASH_REBOOT;
            w.crash_at = first;
            unsigned turn = 0;
            while (w.violation == NULL && !w.crashed && turn++ < TURNS_MAX) {
                if (w.event_count > 0) {
                    struct queued event = w.events[0];
                    w.event_count--;
                    memmove(&w.events[0], &w.events[1], w.event_count * sizeof event);
                    handle(&w, &event);
                } else if (hears(&w)) {
                    handle(&w, &(struct queued){.kind = EVENT_RELEASE});
                } else if (next_due(&w) != NEVER) {
                    let_time_pass(&w, next_due(&w));
                } else {
                    break;
                }
            }
            w.crash_at = w.boundaries + second;
            run(&w);
            if (w.violation != NULL) {
                fail_msg("reboots at %u and %u later: %s", first, second, w.violation);
            }
            assert_int_equal(w.profile, NEW);
        }
    }
}

// Attempts are numbered anew then: what the first one left must not pass for the second one's.
static void configuration_that_comes_back_is_tried_anew(void **state)
{
    (void)state;
    struct world w = world_new(apply_step);
    w.loose = true;
    run(&w);
    w.behaviour[OTHER].action = ACTION_BOOT;
    w.wanted = OTHER;
    w.head++;
    run(&w);
    w.kind = CRASH_REBOOT;
    w.crashed = true;
    run(&w);
    assert_int_equal(w.running, OTHER);
    w.wanted = NEW;
    w.head++;
    run(&w);
    assert_null(w.violation);
    assert_int_equal(w.running, NEW);
    assert_int_equal(w.profile, NEW);
}

static void random_boot(uint64_t *random, struct behaviour *behaviour)
{
    behaviour->kernel = (unsigned)(random_next(random) % 3);
    behaviour->reboot = (enum reboot_policy)(random_next(random) % 3);
    behaviour->last_resort = (enum last_resort)(random_next(random) % 2);
    behaviour->boot_only = chance(random, 12);
    behaviour->unreachable_after_boot = chance(random, 6);
    behaviour->unhealthy_after_boot = chance(random, 8);
    behaviour->panics = chance(random, 8) ? (unsigned)(random_next(random) % 6) : 0;
    behaviour->breaks = chance(random, 12);
    behaviour->failing_restores = chance(random, 8) ? (unsigned)(random_next(random) % 3) : 0;
    behaviour->self_update = chance(random, 3);
    behaviour->confirm_ms = chance(random, 4) ? 30 * SECOND_MS : 0;
}

static struct behaviour random_behaviour(uint64_t *random)
{
    static const int statuses[] = {0, 0, 0, 0, 2, 4, 100, -1};
    struct behaviour behaviour = {.has_health = chance(random, 2),
        .unhealthy = chance(random, 6),
        .floored = chance(random, 8),
        .unreachable = chance(random, 6),
        .hangs = chance(random, 16),
        .switch_status = statuses[random_next(random) % 8],
        .switch_in_vain = chance(random, 16),
        .failing_builds = (unsigned)(chance(random, 6) ? random_next(random) % 5 : 0),
        .failing_commits = (unsigned)(chance(random, 8) ? random_next(random) % 3 : 0),
        .failing_reverts = (unsigned)(chance(random, 8) ? random_next(random) % 3 : 0)};
    if (chance(random, 10)) {
        behaviour.action = ACTION_BOOT;
    }
    random_boot(random, &behaviour);
    if (chance(random, 4)) {
        behaviour.unit_failures = UNIT_FAILURES_ROLLBACK;
    }
    return behaviour;
}

static struct world random_world(step_function *step, uint64_t seed)
{
    struct world w = world_new(step);
    uint64_t random = (seed + 1) * UINT64_C(0x9e3779b97f4a7c15);
    (void)random_next(&random);
    w.behaviour[NEW] = random_behaviour(&random);
    w.behaviour[OTHER] = random_behaviour(&random);
    w.behaviour[UPDATED] = random_behaviour(&random);
    w.behaviour[OLD].self_update = chance(&random, 3);
    w.behaviour[OLD].reboot = (enum reboot_policy)(random_next(&random) % 3);
    w.update_ms = w.clock_ms + random_next(&random) % (60 * MINUTE_MS);
    w.updates_left = (unsigned)(random_next(&random) % 3);
    w.stubborn_boots = chance(&random, 12) ? (unsigned)(random_next(&random) % 4) : 0;
    w.reboots_in_vain = chance(&random, 12) ? (unsigned)(random_next(&random) % 4) : 0;
    if (chance(&random, 3)) {
        w.outage_from_ms = w.clock_ms + random_next(&random) % (5 * MINUTE_MS);
        w.outage_until_ms = w.outage_from_ms + random_next(&random) % (120 * MINUTE_MS);
    }
    for (uint8_t system = NEW; system < SYSTEMS; system++) {
        const struct behaviour *behaviour = &w.behaviour[system];
        w.loose = w.loose || behaviour->floored || behaviour->breaks;
    }
    w.crashes_left = (unsigned)(random_next(&random) % 7);
    w.behaviour[NEW].same_system = chance(&random, 10);
    w.behaviour[OTHER].failing_secrets = (unsigned)(random_next(&random) % 8) / 5;
    w.failing_starts = seed % 16 == 5 ? (unsigned)(seed / 16 % 4) : 0; // draws nothing: see below
    w.random = random;
    return w;
}

static unsigned runs = RUNS;
static uint64_t first_seed;

static void random_runs_end_confirmed_or_restored(void **state)
{
    (void)state;
    unsigned ends[SYSTEMS] = {0};
    for (unsigned i = 0; i < runs; i++) {
        struct world w = random_world(apply_step, first_seed + i);
        w.tells = runs == 1;
        run(&w);
        if (w.violation != NULL) {
            fail_msg("seed %" PRIu64 ": %s (in %s, running %u, profile %u, wanted %u)",
                first_seed + i, w.violation, apply_state_name(w.apply.state), w.running, w.profile,
                w.wanted);
        }
        ends[w.profile]++;
    }
    print_message(
        "%u runs ended with old %u, new %u, other %u\n", runs, ends[OLD], ends[NEW], ends[OTHER]);
    // They must not all end the same way.
    assert_true(
        runs < 1000 || (ends[OLD] > runs / 50 && ends[NEW] > runs / 50 && ends[OTHER] > runs / 50));
}

// Runs that were long looked for: each broke something once, and does as long as random_world() draws the
// same.
static void runs_that_once_failed_do_not(void **state)
{
    (void)state;
    static const uint64_t seeds[] = {101533, 7152445, 7204414, 7223683, 7229423, 7646816, 7869946,
        8011058, 8144537, 8319852, 10794400, 11015890, 30172715, 30431402, 31397984, 63044217,
        80041918};
    for (size_t i = 0; i < sizeof seeds / sizeof seeds[0]; i++) {
        struct world w = random_world(apply_step, seeds[i]);
        run(&w);
        if (w.violation != NULL) {
            fail_msg("seed %" PRIu64 ": %s", seeds[i], w.violation);
        }
    }
}

// --- planted faults: what the simulator is worth

static void drop(struct apply_plan *plan, enum apply_effect effect)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < plan->count; i++) {
        if (plan->effects[i] != effect) {
            plan->effects[kept++] = plan->effects[i];
        }
    }
    plan->count = kept;
}

static void forgets_to_disarm(const struct apply *now, const struct apply_event *event,
    struct apply *next, struct apply_plan *plan)
{
    apply_step(now, event, next, plan);
    drop(plan, EFFECT_DISARM);
}

static void forgets_to_disarm_after_a_crash(const struct apply *now,
    const struct apply_event *event, struct apply *next, struct apply_plan *plan)
{
    (event->kind == EVENT_BOOT ? forgets_to_disarm : apply_step)(now, event, next, plan);
}

static void commits_before_reached(const struct apply *now, const struct apply_event *event,
    struct apply *next, struct apply_plan *plan)
{
    apply_step(now, event, next, plan);
    if (now->state == APPLY_TRYING && next->state == APPLY_CONFIRMING) {
        struct apply confirming = *next;
        struct apply_event acked = *event;
        acked.kind = EVENT_ACKED;
        acked.seq = confirming.report.seq;
        apply_step(&confirming, &acked, next, plan);
    }
}

static void takes_a_reboot_for_a_restart(const struct apply *now, const struct apply_event *event,
    struct apply *next, struct apply_plan *plan)
{
    struct apply_event same = *event;
    memcpy(same.boot_id, now->boot_id, sizeof same.boot_id);
    apply_step(now, &same, next, plan);
}

static void starts_nothing_again(const struct apply *now, const struct apply_event *event,
    struct apply *next, struct apply_plan *plan)
{
    apply_step(now, event, next, plan);
    if (event->kind == EVENT_BOOT && next->state == now->state) {
        plan->count = 0;
    }
}

static void tries_without_arming(const struct apply *now, const struct apply_event *event,
    struct apply *next, struct apply_plan *plan)
{
    apply_step(now, event, next, plan);
    if (now->state == APPLY_CHECKING && next->state == APPLY_ARMING) {
        struct apply arming = *next;
        struct apply_event armed = *event;
        armed.kind = EVENT_ARMED;
        armed.attempt = arming.attempt;
        memcpy(armed.digest, arming.target.digest, HASH_BYTES);
        apply_step(&arming, &armed, next, plan);
    }
}

// What is applied counts as proved once it has booted.
static void forgets_to_prove(const struct apply *now, const struct apply_event *event,
    struct apply *next, struct apply_plan *plan)
{
    struct apply proved = *now;
    bool boots = event->kind == EVENT_BOOT && strcmp(event->running, now->applied.path) == 0;
    proved.unproven = now->unproven && !boots;
    apply_step(&proved, event, next, plan);
}

// As if the commit under way were all there is.
static void commits_before_it_proves(const struct apply *now, const struct apply_event *event,
    struct apply *next, struct apply_plan *plan)
{
    struct apply proved = *now;
    proved.unproven = now->unproven && now->state != APPLY_COMMITTING;
    apply_step(event->kind == EVENT_BOOT ? &proved : now, event, next, plan);
    next->unproven = next->unproven || now->unproven;
}

static void restores_without_a_reboot(const struct apply *now, const struct apply_event *event,
    struct apply *next, struct apply_plan *plan)
{
    apply_step(now, event, next, plan);
    if (event->kind == EVENT_RESTORED && next->state == APPLY_RESTORING) { // takes it for done
        struct apply_event booted = *event;
        booted.kind = EVENT_BOOT;
        booted.boot_id[0]++;
        booted.running = next->trial.old_path;
        struct apply restored = *next;
        apply_step(&restored, &booted, next, plan);
        memcpy(next->boot_id, event->boot_id, sizeof next->boot_id);
    }
}

static void reboots_unacknowledged(const struct apply *now, const struct apply_event *event,
    struct apply *next, struct apply_plan *plan)
{
    struct apply eager = *now;
    struct apply_event acked = *event;
    bool queued = event->kind == EVENT_QUEUED && now->state == APPLY_IDLE;
    if (queued) {
        eager.report.queued = true;
        acked.kind = EVENT_ACKED;
        acked.seq = now->report.seq;
    }
    apply_step(&eager, &acked, next, plan);
}

static void judges_the_release_by_its_update(const struct apply *now,
    const struct apply_event *event, struct apply *next, struct apply_plan *plan)
{
    apply_step(now, event, next, plan);
    bool failed = now->target.automatic && next->state == APPLY_RETURNING;
    if (failed && now->state != APPLY_RETURNING) {
        memcpy(next->memories[0].digest, next->target.digest, HASH_BYTES);
    }
}

static void sleeps_through_its_window(const struct apply *now, const struct apply_event *event,
    struct apply *next, struct apply_plan *plan)
{
    struct apply_event awake = *event;
    awake.asleep_ms = now->asleep_ms;
    apply_step(now, &awake, next, plan);
}

static void forgets_the_way_back(const struct apply *now, const struct apply_event *event,
    struct apply *next, struct apply_plan *plan)
{
    apply_step(now, event, next, plan);
    next->unproven = false;
}

static void counts_no_boots(const struct apply *now, const struct apply_event *event,
    struct apply *next, struct apply_plan *plan)
{
    apply_step(now, event, next, plan);
    next->boots = 0;
}

static void counts_no_reboots(const struct apply *now, const struct apply_event *event,
    struct apply *next, struct apply_plan *plan)
{
    apply_step(now, event, next, plan);
    next->reboots = 0;
}

static void ends_rebooting_never(const struct apply *now, const struct apply_event *event,
    struct apply *next, struct apply_plan *plan)
{
    apply_step(now, event, next, plan);
    if (next->state == APPLY_REBOOTING || next->state == APPLY_RESTORING) {
        next->deadline_ms = 0;
    }
}

static void forgets_the_last_resort(const struct apply *now, const struct apply_event *event,
    struct apply *next, struct apply_plan *plan)
{
    apply_step(now, event, next, plan);
    if (next->state == APPLY_RETURNING) {
        drop(plan, EFFECT_REBOOT);
    }
}

static void forgets_the_secrets_at_a_boot(const struct apply *now, const struct apply_event *event,
    struct apply *next, struct apply_plan *plan)
{
    apply_step(now, event, next, plan);
    if (event->kind == EVENT_BOOT) {
        drop(plan, EFFECT_SECRETS);
    }
}

static void takes_failed_secrets_for_harmless(const struct apply *now,
    const struct apply_event *event, struct apply *next, struct apply_plan *plan)
{
    apply_step(now, event, next, plan);
    if (now->state == APPLY_INSTALLING) {
        drop(plan, EFFECT_SECRETS);
    }
}

static void applies_secrets_unseen(const struct apply *now, const struct apply_event *event,
    struct apply *next, struct apply_plan *plan)
{
    apply_step(now, event, next, plan);
    if (next->state == APPLY_INSTALLING && now->state != APPLY_INSTALLING) {
        struct apply installing = *next;
        struct apply_event installed = *event;
        installed.kind = EVENT_INSTALLED;
        apply_step(&installing, &installed, next, plan);
    }
}

static void planted_faults_are_found(void **state)
{
    (void)state;
    step_function *const faults[] = {forgets_to_disarm, forgets_to_disarm_after_a_crash,
        commits_before_reached, takes_a_reboot_for_a_restart, starts_nothing_again,
        tries_without_arming, forgets_to_prove, commits_before_it_proves, restores_without_a_reboot,
        reboots_unacknowledged, judges_the_release_by_its_update, sleeps_through_its_window,
        forgets_the_way_back, counts_no_boots, counts_no_reboots, ends_rebooting_never,
        forgets_the_last_resort, forgets_the_secrets_at_a_boot, takes_failed_secrets_for_harmless,
        applies_secrets_unseen};
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        char violation[VIOLATION_BYTES];
        assert_false(crash_everywhere(faults[i], violation, sizeof violation));
        print_message("fault %zu: %s\n", i, violation);
    }
}

// Attempts are forgotten only by this one, and only repeated crashes show it.
static void forgets_attempts(const struct apply *now, const struct apply_event *event,
    struct apply *next, struct apply_plan *plan)
{
    apply_step(now, event, next, plan);
    for (unsigned i = 0; i < APPLY_MEMORIES; i++) {
        next->memories[i].attempts = 0;
    }
    if (next->state == APPLY_OBTAINING && now->state == APPLY_REVERTING) {
        next->attempt = now->attempt > 1 ? 1 : 2;
    }
}

static void forgotten_attempts_are_found_by_random_runs(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 20000; seed++) {
        struct world w = random_world(forgets_attempts, seed);
        run(&w);
        if (w.violation != NULL) {
            print_message("seed %" PRIu64 ": %s\n", seed, w.violation);
            return;
        }
    }
    fail();
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        runs = (unsigned)strtoul(argv[1], NULL, 10);
    }
    if (argc > 2) {
        first_seed = strtoull(argv[2], NULL, 10);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(undisturbed_scenarios_end_as_expected),
        cmocka_unit_test(crash_at_every_boundary_ends_confirmed_or_restored),
        cmocka_unit_test(newer_release_at_every_boundary_wins),
        cmocka_unit_test(reboot_in_every_attempt_gives_up),
        cmocka_unit_test(configuration_that_comes_back_is_tried_anew),
        cmocka_unit_test(random_runs_end_confirmed_or_restored),
        cmocka_unit_test(runs_that_once_failed_do_not),
        cmocka_unit_test(planted_faults_are_found),
        cmocka_unit_test(forgotten_attempts_are_found_by_random_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
