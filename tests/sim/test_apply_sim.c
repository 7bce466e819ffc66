// A small machine around apply_step(): jobs, profile, boot loader, dead man's switch, network,
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
#define RUNS 20000u
#else
#define RUNS 100000u
#endif

#define SECOND_MS UINT64_C(1000)
#define MINUTE_MS (60 * SECOND_MS)
#define TURNS_MAX 4000u
#define EVENTS_MAX 16u
#define DEADMAN_MS (rules.switch_ms + rules.confirm_ms + MINUTE_MS)
#define NEVER UINT64_MAX

// Configurations are numbers, and so are their systems.
enum { NOTHING, OLD, NEW, OTHER, SYSTEMS };
static const char *const paths[SYSTEMS] = {
    "", "/nix/store/old", "/nix/store/new", "/nix/store/other"};

static const struct apply_rules rules = {
    .confirm_ms = 180 * SECOND_MS, .switch_ms = 600 * SECOND_MS, .return_ms = 900 * SECOND_MS};

enum crash { CRASH_RESTART, CRASH_REBOOT, CRASH_GONE, CRASH_KINDS };
static const char *const crash_names[CRASH_KINDS] = {"restart", "reboot", "gone"};

// How a system and its jobs behave.
struct behaviour {
    enum action action;
    enum unit_failures unit_failures;
    bool has_health, unhealthy, floored, unreachable, hangs;
    int switch_status;
    bool switch_in_vain; // ends with its status, but the old system still runs
    unsigned failing_builds, failing_commits, failing_reverts;
};

enum expected { ENDS_NEW, ENDS_OLD, ENDS_EITHER };

struct scenario {
    const char *name;
    struct behaviour behaviour; // of NEW
    bool by_hand;               // NEW was tested by hand before
    uint64_t outage_from_ms, outage_until_ms;
    enum expected expected;
};

enum job_kind { JOB_OBTAIN, JOB_TRY, JOB_CHECK, JOB_COMMIT, JOB_REVERT, JOB_DEADMAN, JOBS };
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
};

struct queued {
    enum apply_event_kind kind;
    uint8_t digest;
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
    // The machine
    uint64_t clock_ms, boot_ms; // of the world, and when this boot began
    uint8_t boot, running, profile, boot_default;
    struct job jobs[JOBS];
    bool armed, fired;
    uint64_t fires_ms;
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
    // Crashes
    unsigned boundaries, crash_at, crashes_left;
    enum crash kind;
    bool crashed;
    uint64_t random; // 0: only at crash_at
    // Judgement
    bool allowed[SYSTEMS]; // may be the profile
    bool reached, healthy; // the attempt under way
    unsigned tries[SYSTEMS];
    bool tells;
    bool loose; // what runs may differ from the profile in the end
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
    }
    if (w->random != 0 && w->crashes_left > 0 && chance(&w->random, 60)) {
        w->crashes_left--;
        w->kind = (enum crash)(random_next(&w->random) % CRASH_KINDS);
        w->crashed = true;
    }
    if (w->random != 0 && w->head < 4 && chance(&w->random, 120)) {
        w->wanted = (uint8_t)(OLD + random_next(&w->random) % 3);
        w->head++;
    }
    if (w->random == 0 && here == w->crash_at) {
        w->crashed = true;
    }
    return w->crashed;
}

static bool is_reachable(const struct world *w)
{
    bool outage = w->clock_ms >= w->outage_from_ms && w->clock_ms < w->outage_until_ms;
    return !outage && !w->behaviour[w->running].unreachable;
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
    static const enum apply_event_kind results[JOBS] = {
        EVENT_OBTAINED, EVENT_TRIED, EVENT_CHECKED, EVENT_COMMITTED, EVENT_REVERTED, EVENT_FIRED};
    const struct job *job = &w->jobs[kind];
    push(w, (struct queued){.kind = results[kind],
                .digest = job->digest,
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

static bool lock_is_free(const struct world *w, enum job_kind kind)
{
    for (enum job_kind other = JOB_OBTAIN; other < JOBS; other++) {
        bool locks =
            other == JOB_TRY || other == JOB_COMMIT || other == JOB_REVERT || other == JOB_DEADMAN;
        const struct job *job = &w->jobs[other];
        if (locks && other != kind && job->progress == RUNS_NOW && job->at > 0) {
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
        w->running = job->old_system;
        return;
    case 2:
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
    if (behaviour->hangs) {
        job->due_ms = NEVER;
    } else if (job->at == 2 && !behaviour->switch_in_vain) {
        w->running = job->new_system;
    } else if (job->at == 3) {
        job->status = behaviour->switch_status;
        (void)job_end(w, JOB_TRY, CODE_OK);
    }
}

static void run_commit(struct world *w, struct job *job)
{
    struct behaviour *behaviour = &w->behaviour[job->new_system];
    bool runs = w->running == job->new_system || behaviour->action == ACTION_BOOT;
    if (job->at == 1 && !runs) {
        (void)job_end(w, JOB_COMMIT, CODE_COMMIT);
    } else if (job->at == 2) {
        w->profile = job->new_system;
    } else if (job->at == 3 && fails_now(&behaviour->failing_commits)) {
        (void)job_end(w, JOB_COMMIT, CODE_COMMIT);
    } else if (job->at == 3) {
        w->boot_default = job->new_system;
    } else if (job->at == 4) {
        (void)job_end(w, JOB_COMMIT, CODE_OK);
    }
}

static void run_revert(struct world *w, struct job *job)
{
    if (job->at == 1) {
        w->jobs[JOB_TRY].progress = w->jobs[JOB_COMMIT].progress = NOT_STARTED;
        if (fails_now(&w->behaviour[job->new_system].failing_reverts)) {
            (void)job_end(w, JOB_REVERT, CODE_SWITCH);
            return;
        }
    }
    if (job->at <= 3) {
        go_back(w, JOB_REVERT);
    } else {
        (void)job_end(w, JOB_REVERT, CODE_OK);
    }
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
        w->jobs[JOB_TRY].progress = NOT_STARTED;
    }
    if (job->at <= 3) {
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
    bool locks = kind != JOB_OBTAIN && kind != JOB_CHECK;
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
        (void)job_end(w, kind, fails_now(&behaviour->failing_builds) ? CODE_BUILD : CODE_OK);
        break;
    case JOB_TRY:
        run_try(w, job);
        break;
    case JOB_CHECK:
        if (!behaviour->unhealthy && w->running == job->new_system) {
            w->healthy = true;
        }
        (void)job_end(w, kind, behaviour->unhealthy ? CODE_HEALTH : CODE_OK);
        break;
    case JOB_COMMIT:
        run_commit(w, job);
        break;
    case JOB_REVERT:
        run_revert(w, job);
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

static void start(struct world *w, enum job_kind kind)
{
    struct job *job = &w->jobs[kind];
    const struct apply *a = &w->apply;
    bool same = job->digest == a->target.digest[0] && job->attempt == a->attempt;
    if (same && job->progress == RUNS_NOW && kind != JOB_REVERT) {
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
        .new_system = a->target.digest[0],
        .old_system = system_of(a->trial.old_path),
        .old_profile = system_of(a->trial.old_profile)};
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
    const struct job *job = &w->jobs[JOB_TRY];
    uint8_t system = w->apply.target.digest[0];
    bool fresh =
        job->progress == NOT_STARTED || job->digest != system || job->attempt != w->apply.attempt;
    if (fresh) {
        if (!is_armed(w)) {
            violated(w, "a switch started without a dead man's switch");
        }
        w->allowed[system] = system == w->profile || system == w->boot_default;
        w->reached = false;
        w->healthy = !w->behaviour[system].has_health;
    }
    start(w, JOB_TRY);
}

static void start_commit(struct world *w)
{
    uint8_t system = w->apply.target.digest[0];
    bool proved = w->reached && w->healthy && w->jobs[JOB_TRY].digest == system;
    bool boots = w->behaviour[system].action == ACTION_BOOT;
    if (!w->allowed[system] && !proved && !boots) {
        violated(w, "a commit started without a proof");
    }
    w->allowed[system] = true;
    start(w, JOB_COMMIT);
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
            .new_system = w->armed_digest,
            .old_system = system_of(w->apply.trial.old_path),
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
    case EFFECT_CANCEL:
        w->jobs[JOB_OBTAIN].progress = NOT_STARTED;
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
        start_commit(w);
        return;
    case EFFECT_REVERT:
        start(w, JOB_REVERT);
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
        .has_health = behaviour->has_health};
    digest_of(w->wanted, config.digest);
    memset(config.head_hash, (int)w->head, HASH_BYTES);
    return config;
}

static void tell(const struct world *w, const struct apply_event *ev, const struct apply *next,
    const struct apply_plan *plan)
{
    print_message("%6" PRIu64 "s running %u profile %u boots %u | %s %u/%u -> %s",
        w->clock_ms / 1000, w->running, w->profile, w->boot_default, apply_event_name(ev->kind),
        ev->digest[0], ev->attempt, apply_state_name(next->state));
    for (unsigned i = 0; i < plan->count; i++) {
        print_message(" %s", apply_effect_name(plan->effects[i]));
    }
    print_message(" | %s %s\n", node_state_word(next->report.state), code_name(next->report.code));
}

// The loop of bento-apply: journal first, then the effects.
static void handle(struct world *w, const struct queued *queued)
{
    struct apply_config config = config_of(w);
    struct apply_event ev = {.kind = queued->kind,
        .now_ms = w->clock_ms - w->boot_ms,
        .unix_ns = w->clock_ms * 1000000,
        .boot_id = {w->boot},
        .running = paths[w->running],
        .profile = paths[w->profile],
        .rules = &rules,
        .attempt = queued->attempt,
        .config = &config,
        .code = queued->code,
        .path = paths[queued->digest],
        .status = queued->status,
        .seq = queued->seq};
    digest_of(queued->digest, ev.digest);
    struct apply next;
    struct apply_plan plan;
    w->step(&w->apply, &ev, &next, &plan);
    if (w->tells) {
        tell(w, &ev, &next, &plan);
    }
    if (dies(w)) {
        return;
    }
    if (next.applied.digest[0] != w->apply.applied.digest[0]) {
        w->tries[next.applied.digest[0]] = 0; // a later return starts from a clean slate
    }
    w->apply = w->journal = next;
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

static void recover(struct world *w)
{
    if (w->tells) {
        print_message("%6" PRIu64 "s %s\n", w->clock_ms / 1000, crash_names[w->kind]);
    }
    w->crashed = false;
    w->up = false;
    w->event_count = 0;
    if (w->kind == CRASH_REBOOT) {
        w->clock_ms += MINUTE_MS;
        w->boot_ms = w->clock_ms;
        w->boot++;
        w->running = w->boot_default;
        w->armed = false;
        for (enum job_kind kind = JOB_OBTAIN; kind < JOBS; kind++) {
            if (w->jobs[kind].progress == RUNS_NOW) { // what has ended is on disk
                w->jobs[kind].progress = NOT_STARTED;
            }
        }
    }
    if (w->kind == CRASH_GONE) {
        w->back_ms = w->clock_ms + 40 * MINUTE_MS;
    } else {
        process_starts(w);
    }
}

// --- time

static void deliver(struct world *w)
{
    w->delivered = true;
    bool asks = w->outbox.state == NODE_CONFIRMING || w->outbox.state == NODE_STAYS;
    const struct job *job = &w->jobs[JOB_TRY];
    if (asks && w->outbox.digest[0] == w->running && job->progress == ENDED &&
        job->digest == w->running && job->attempt == w->outbox.attempt) {
        w->reached = true;
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

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

// When something happens next by itself.
static uint64_t next_due(const struct world *w)
{
    uint64_t due = w->back_ms;
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
    if (w->apply.applied.digest[0] == w->wanted) {
        bool waits = w->apply.applied.action == ACTION_BOOT && w->profile == w->wanted &&
                     w->running != w->wanted;
        return waits ? NODE_REBOOT_PENDING : NODE_UP_TO_DATE;
    }
    for (unsigned i = 0; i < APPLY_MEMORIES; i++) {
        if (w->apply.memories[i].digest[0] == w->wanted) {
            return outcome_said(w->apply.memories[i].outcome);
        }
    }
    return NODE_NEW;
}

// Nothing is left to do at this moment.
static void judge_pause(struct world *w)
{
    bool stays = w->apply.state == APPLY_CONFIRMING && w->apply.stays;
    if (w->up && w->armed && (!apply_in_trial(w->apply.state) || stays)) {
        violated(w, "a dead man's switch is armed outside of a trial");
    }
}

static void judge_end(struct world *w)
{
    const struct apply *a = &w->apply;
    bool stays = a->state == APPLY_CONFIRMING && a->stays;
    bool waits = a->state == APPLY_WAITING && w->behaviour[w->running].unreachable;
    if (w->loose && (stays || waits)) {
        return; // allowed to wait for ever
    }
    if (a->state != APPLY_IDLE) {
        violated(w, "came to rest in the middle");
    }
    if (w->armed) {
        violated(w, "came to rest with an armed dead man's switch");
    }
    if (w->profile != a->applied.digest[0] || w->boot_default != w->profile) {
        violated(w, "the profile is not the applied configuration");
    }
    if (w->running != w->profile && !w->loose) {
        violated(w, "another system runs than the profile's");
    }
    if (is_new(w) && w->behaviour[w->running].unreachable) {
        return;
    }
    if (a->report.state != final_report(w) || a->report.digest[0] != w->wanted) {
        violated(w, "the last report is wrong");
    }
    bool excused = w->behaviour[w->running].unreachable;
    if (!excused && (!w->delivered || w->outbox.seq != a->report.seq)) {
        violated(w, "the last report did not arrive");
    }
}

static void run(struct world *w)
{
    for (unsigned turn = 0; w->violation == NULL; turn++) {
        if (turn == TURNS_MAX) {
            // A system that may not be left and does not reach anybody cannot take the next one.
            bool stuck = w->loose && w->apply.state == APPLY_CHECKING && !is_reachable(w);
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
        .profile = OLD,
        .boot_default = OLD,
        .delivered = true,
        .wanted = NEW,
        .head = 2,
        .next_at = UINT32_MAX,
        .crash_at = UINT32_MAX,
        .back_ms = NEVER,
        .allowed = {[OLD] = true}};
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
    {.name = "good", .expected = ENDS_NEW},
    {.name = "good with health", .behaviour = {.has_health = true}, .expected = ENDS_NEW},
    {.name = "unreachable", .behaviour = {.unreachable = true}, .expected = ENDS_OLD},
    {.name = "unhealthy",
        .behaviour = {.has_health = true, .unhealthy = true},
        .expected = ENDS_OLD},
    {.name = "switch fails", .behaviour = {.switch_status = 2}, .expected = ENDS_OLD},
    {.name = "switch fails before anything changed",
        .behaviour = {.switch_status = 2, .switch_in_vain = true},
        .expected = ENDS_OLD},
    {.name = "switch does nothing", .behaviour = {.switch_in_vain = true}, .expected = ENDS_OLD},
    {.name = "switch hangs", .behaviour = {.hangs = true}, .expected = ENDS_OLD},
    {.name = "units fail", .behaviour = {.switch_status = 4}, .expected = ENDS_NEW},
    {.name = "units fail and that counts",
        .behaviour = {.switch_status = 4, .unit_failures = UNIT_FAILURES_ROLLBACK},
        .expected = ENDS_OLD},
    {.name = "commit fails", .behaviour = {.failing_commits = 99}, .expected = ENDS_OLD},
    {.name = "revert fails twice",
        .behaviour = {.switch_status = 2, .failing_reverts = 2},
        .expected = ENDS_OLD},
    {.name = "build fails once", .behaviour = {.failing_builds = 1}, .expected = ENDS_NEW},
    {.name = "build fails", .behaviour = {.failing_builds = 99}, .expected = ENDS_OLD},
    {.name = "for the next boot", .behaviour = {.action = ACTION_BOOT}, .expected = ENDS_NEW},
    {.name = "tested by hand", .by_hand = true, .expected = ENDS_NEW},
    {.name = "network down before",
        .outage_from_ms = MINUTE_MS,
        .outage_until_ms = 100 * MINUTE_MS,
        .expected = ENDS_NEW},
    {.name = "network down in the window",
        .outage_from_ms = MINUTE_MS + 15 * SECOND_MS,
        .outage_until_ms = 100 * MINUTE_MS,
        .expected = ENDS_NEW},
    {.name = "network down in the window, may not go back",
        .behaviour = {.floored = true, .has_health = true},
        .outage_from_ms = MINUTE_MS + 15 * SECOND_MS,
        .outage_until_ms = 100 * MINUTE_MS,
        .expected = ENDS_NEW},
};
#define SCENARIOS (sizeof scenarios / sizeof scenarios[0])

static struct world world_of(const struct scenario *scenario, step_function *step)
{
    struct world w = world_new(step);
    w.behaviour[NEW] = scenario->behaviour;
    w.outage_from_ms = scenario->outage_from_ms;
    w.outage_until_ms = scenario->outage_until_ms;
    w.loose = scenario->behaviour.action == ACTION_BOOT;
    if (scenario->by_hand) {
        w.running = NEW;
        w.loose = true;
        w.allowed[NEW] = true; // by whoever tested it
    }
    return w;
}

static void judge_scenario(struct world *w, const struct scenario *scenario)
{
    // A dead man's switch that fired is a judgement: not tried again.
    bool either = scenario->expected == ENDS_EITHER || w->kind == CRASH_GONE;
    uint8_t expected = scenario->expected == ENDS_NEW ? NEW : OLD;
    if (w->violation == NULL && w->profile != expected && !(either && w->profile == OLD)) {
        violated(w, "ended with the wrong system");
    }
}

// Every crash of every scenario; how many violate something.
static unsigned crash_everywhere(step_function *step, bool tells)
{
    unsigned violations = 0;
    for (size_t i = 0; i < SCENARIOS; i++) {
        for (enum crash kind = CRASH_RESTART; kind < CRASH_KINDS; kind++) {
            bool fired = true;
            for (unsigned k = 0; fired; k++) {
                struct world w = world_of(&scenarios[i], step);
                w.kind = kind;
                w.crash_at = k;
                run(&w);
                judge_scenario(&w, &scenarios[i]);
                fired = w.boundaries > k && w.violation == NULL;
                if (w.violation != NULL) {
                    violations++;
                    fired = w.boundaries > k && k < 500;
                }
                if (w.violation != NULL && tells) {
                    print_error("%s, %s at boundary %u: %s (in %s, running %u profile %u)\n",
                        scenarios[i].name, crash_names[kind], k, w.violation,
                        apply_state_name(w.apply.state), w.running, w.profile);
                }
            }
        }
    }
    return violations;
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
    assert_int_equal(crash_everywhere(apply_step, true), 0);
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
    if (chance(&random, 3)) {
        w.outage_from_ms = w.clock_ms + random_next(&random) % (5 * MINUTE_MS);
        w.outage_until_ms = w.outage_from_ms + random_next(&random) % (120 * MINUTE_MS);
    }
    for (uint8_t system = NEW; system < SYSTEMS; system++) {
        const struct behaviour *behaviour = &w.behaviour[system];
        w.loose = w.loose || behaviour->floored || behaviour->action == ACTION_BOOT;
    }
    w.crashes_left = (unsigned)(random_next(&random) % 7);
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

// --- planted faults: what the simulator is worth

static void forgets_to_disarm(const struct apply *now, const struct apply_event *event,
    struct apply *next, struct apply_plan *plan)
{
    apply_step(now, event, next, plan);
    unsigned kept = 0;
    for (unsigned i = 0; i < plan->count; i++) {
        if (plan->effects[i] != EFFECT_DISARM) {
            plan->effects[kept++] = plan->effects[i];
        }
    }
    plan->count = kept;
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

static void planted_faults_are_found(void **state)
{
    (void)state;
    step_function *const faults[] = {forgets_to_disarm, forgets_to_disarm_after_a_crash,
        commits_before_reached, takes_a_reboot_for_a_restart, starts_nothing_again,
        tries_without_arming};
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        unsigned found = crash_everywhere(faults[i], false);
        print_message("fault %zu: %u violations\n", i, found);
        assert_true(found > 0);
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
        cmocka_unit_test(planted_faults_are_found),
        cmocka_unit_test(forgotten_attempts_are_found_by_random_runs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
