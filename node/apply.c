#include "apply.h"

#include <string.h>

#define SECOND_MS 1000u
#define CHECK_MS (60 * SECOND_MS)            // one preflight attempt
#define ARM_MS (30 * SECOND_MS)              // the dead man's switch starts at once or not at all
#define COMMIT_MS (10 * 60 * SECOND_MS)      // boot loaders copy kernels onto slow disks
#define REVERT_RETRY_MS (60 * SECOND_MS)     // after a revert that failed
#define BUILD_RETRY_MS (10 * 60 * SECOND_MS) // times the attempt
#define REVERTS_MAX 3u

#define NAME_STATE(name, what) [APPLY_##name] = #name,
#define NAME_EVENT(name, what) [EVENT_##name] = #name,
#define NAME_EFFECT(name, what) [EFFECT_##name] = #name,

const char *apply_state_name(enum apply_state state)
{
    static const char *const names[] = {APPLY_STATES(NAME_STATE)};
    return names[state];
}

const char *apply_event_name(enum apply_event_kind event)
{
    static const char *const names[] = {APPLY_EVENTS(NAME_EVENT)};
    return names[event];
}

const char *apply_effect_name(enum apply_effect effect)
{
    static const char *const names[] = {APPLY_EFFECTS(NAME_EFFECT)};
    return names[effect];
}

void apply_init(struct apply *apply)
{
    memset(apply, 0, sizeof *apply);
    apply->state = APPLY_IDLE;
}

bool apply_in_trial(enum apply_state state)
{
    return state == APPLY_ARMING || state == APPLY_TRYING || state == APPLY_CONFIRMING ||
           state == APPLY_COMMITTING || state == APPLY_REVERTING;
}

// One step under way: the arguments of apply_step, passed around whole.
struct step {
    struct apply *a;
    const struct apply_event *ev;
    struct apply_plan *plan;
};

static bool same(const uint8_t *a, const uint8_t *b)
{
    return memcmp(a, b, HASH_BYTES) == 0;
}

static bool is_none(const uint8_t *digest)
{
    return bytes_are_zero(digest, HASH_BYTES);
}

static void path_set(char path[STORE_PATH_BYTES_MAX + 1], const char *to)
{
    size_t len = strnlen(to, STORE_PATH_BYTES_MAX);
    memmove(path, to, len); // an event may point into the state
    memset(path + len, 0, STORE_PATH_BYTES_MAX + 1 - len);
}

static void plan_add(struct step *s, enum apply_effect effect)
{
    ASSERT(s->plan->count < APPLY_PLAN_MAX);
    s->plan->effects[s->plan->count++] = effect;
}

static void enter(struct step *s, enum apply_state state, uint64_t limit_ms)
{
    s->a->state = state;
    s->a->deadline_ms = limit_ms > 0 ? s->ev->now_ms + limit_ms : 0;
    if (!apply_in_trial(state)) { // the record says whether there is something to go back from
        memset(&s->a->trial, 0, sizeof s->a->trial);
    }
}

// --- memory of configurations ---

static const struct apply_memory *memory_find(const struct apply *a, const uint8_t *digest)
{
    for (unsigned i = 0; i < APPLY_MEMORIES; i++) {
        if (same(a->memories[i].digest, digest)) {
            return &a->memories[i];
        }
    }
    return NULL;
}

// The memory of a digest, moved to the front; the oldest is forgotten for a new one.
static struct apply_memory *memory_touch(struct apply *a, const uint8_t *digest)
{
    struct apply_memory found = {.outcome = OUTCOME_OPEN};
    memcpy(found.digest, digest, HASH_BYTES);
    unsigned at = APPLY_MEMORIES - 1;
    for (unsigned i = 0; i < APPLY_MEMORIES; i++) {
        if (same(a->memories[i].digest, digest)) {
            found = a->memories[i];
            at = i;
            break;
        }
    }
    memmove(&a->memories[1], &a->memories[0], at * sizeof a->memories[0]);
    a->memories[0] = found;
    return &a->memories[0];
}

static void memory_conclude(struct apply *a, enum apply_outcome outcome, enum code code)
{
    struct apply_memory *memory = memory_touch(a, a->target.digest);
    memory->outcome = outcome;
    memory->code = code;
}

// --- reports ---

static void report_as(struct step *s, enum apply_effect how, enum node_state state, enum code code,
    const uint8_t *digest)
{
    struct apply_report *report = &s->a->report;
    report->seq = s->ev->unix_ns > report->seq ? s->ev->unix_ns : report->seq + 1;
    report->queued = false;
    memcpy(report->nonce, s->ev->nonce, sizeof report->nonce);
    report->state = state;
    report->code = code;
    memcpy(report->digest, digest, HASH_BYTES);
    report->attempt = s->a->attempt;
    plan_add(s, how);
}

static void report(struct step *s, enum node_state state, enum code code)
{
    report_as(s, EFFECT_QUEUE, state, code, s->a->target.digest);
}

static void report_and_reach(struct step *s, enum node_state state, enum code code)
{
    report_as(s, EFFECT_REACH, state, code, s->a->target.digest);
}

// --- the way of a configuration ---

static void begin(struct step *s, const struct apply_config *config);

// Nothing is under way any more. What came in the meantime is taken by the TIMER that is due at
// once: a step makes one report at the most.
static void settle(struct step *s)
{
    enter(s, APPLY_IDLE, is_none(s->a->next.digest) ? 0 : 1);
}

static void take_next(struct step *s)
{
    struct apply_config config = s->a->next;
    memset(&s->a->next, 0, sizeof s->a->next);
    begin(s, &config);
}

static void obtain(struct step *s)
{
    s->a->phase_ms = s->ev->now_ms;
    memset(&s->a->timings, 0, sizeof s->a->timings);
    enter(s, APPLY_OBTAINING, 0); // the job has its own limit
    report(s, NODE_BUILDING, CODE_OK);
    plan_add(s, EFFECT_OBTAIN);
}

// The new system is not the signed one, or would lock this fleet out: refused, like a release that
// fails a check.
static enum node_state failed_state(enum code code)
{
    return code == CODE_EXPECTED || code == CODE_LOCKOUT ? NODE_REFUSED : NODE_FAILED;
}

static enum node_state outcome_state(const struct apply_memory *memory)
{
    switch (memory->outcome) {
    case OUTCOME_ROLLED_BACK:
        return NODE_ROLLED_BACK;
    case OUTCOME_INCONCLUSIVE:
        return NODE_INCONCLUSIVE;
    case OUTCOME_DRY:
        return NODE_DRY;
    case OUTCOME_FAILED:
    case OUTCOME_OPEN:
        break;
    }
    return failed_state(memory->code);
}

// Installed for the next boot, or running. Another system than the applied one may also run because
// somebody switched by hand: that is up to date here, and shown as drifted by the paths in the
// status.
static void report_applied(struct step *s)
{
    const struct apply *a = s->a;
    bool waits = a->applied.action == ACTION_BOOT && strcmp(s->ev->profile, a->applied.path) == 0 &&
                 strcmp(s->ev->running, a->applied.path) != 0;
    report(s, waits ? NODE_REBOOT_PENDING : NODE_UP_TO_DATE, CODE_OK);
}

// A configuration that is not under way: what to do about it is decided by its digest alone.
static void begin(struct step *s, const struct apply_config *config)
{
    struct apply *a = s->a;
    bool new_target = !same(config->digest, a->target.digest);
    char path[sizeof a->target.path];
    memcpy(path, a->target.path, sizeof path);
    a->target = *config;
    if (!new_target && config->path[0] == '\0') {
        memcpy(a->target.path, path, sizeof path);
    }
    if (is_none(config->digest)) {
        a->attempt = 0;
        report(s, NODE_NEW, CODE_OK);
        return;
    }
    if (same(config->digest, a->applied.digest)) {
        memcpy(path, a->applied.path, sizeof path);
        a->applied = *config;
        memcpy(a->applied.path, path, sizeof path);
        report_applied(s);
        return;
    }
    const struct apply_memory *memory = memory_find(a, config->digest);
    a->attempt = memory != NULL ? memory->attempts : 0;
    if (memory != NULL && memory->outcome == OUTCOME_OPEN && memory->attempts >= ATTEMPTS_MAX) {
        memory_conclude(a, OUTCOME_FAILED, CODE_ATTEMPTS);
        memory = &a->memories[0];
    }
    if (memory != NULL && memory->outcome != OUTCOME_OPEN) {
        report(
            s, outcome_state(memory), memory->code); // said again for the new head, not tried again
        return;
    }
    a->attempt++;
    obtain(s);
}

static void fail(struct step *s, enum code code)
{
    memory_conclude(s->a, OUTCOME_FAILED, code);
    report(s, failed_state(code), code);
    settle(s);
}

static void applied(struct step *s)
{
    struct apply *a = s->a;
    a->applied = a->target;
    memory_conclude(a, OUTCOME_OPEN, CODE_OK); // a later return to it starts from a clean slate
    a->memories[0].attempts = 0;
    report_applied(s);
    settle(s);
}

static void record_trial(struct step *s)
{
    struct apply *a = s->a;
    struct apply_trial *trial = &a->trial;
    memset(trial, 0, sizeof *trial);
    memcpy(trial->digest, a->target.digest, HASH_BYTES);
    trial->attempt = a->attempt;
    memcpy(trial->boot_id, s->ev->boot_id, sizeof trial->boot_id);
    path_set(trial->new_path, a->target.path);
    path_set(trial->old_path, s->ev->running);
    path_set(trial->old_profile, s->ev->profile);
    a->reached = a->healthy = a->stays = false;
    a->reason = CODE_OK;
    a->reverts = 0;
}

static void commit(struct step *s)
{
    s->a->phase_ms = s->ev->now_ms;
    enter(s, APPLY_COMMITTING, COMMIT_MS);
    report(s, NODE_COMMITTING, CODE_OK);
    plan_add(s, EFFECT_COMMIT);
}

static void check(struct step *s)
{
    enter(s, APPLY_CHECKING, CHECK_MS);
    report_and_reach(s, NODE_CHECKING, CODE_OK);
}

static void obtained(struct step *s)
{
    struct apply *a = s->a;
    const struct apply_event *ev = s->ev;
    a->timings.obtain_ms = ev->now_ms - a->phase_ms;
    if (ev->code != CODE_OK) {
        bool again = ev->code == CODE_BUILD && a->attempt < ATTEMPTS_MAX && is_none(a->next.digest);
        if (!again) {
            fail(s, ev->code);
            return;
        }
        memory_touch(a, a->target.digest)->attempts = a->attempt;
        report(s, NODE_FAILED, ev->code);
        enter(s, APPLY_IDLE,
            BUILD_RETRY_MS * a->attempt); // a download may have failed: TIMER tries again
        return;
    }
    path_set(a->target.path, ev->path);
    if (a->target.action == ACTION_DRY) {
        memory_conclude(a, OUTCOME_DRY, CODE_OK);
        report(s, NODE_DRY, CODE_OK);
        settle(s);
        return;
    }
    bool runs = strcmp(ev->running, a->target.path) == 0;
    if (runs && strcmp(ev->profile, a->target.path) == 0) {
        applied(s);
    } else if ((runs && a->attempt == 1) || a->target.action == ACTION_BOOT) {
        // Somebody switched to it by hand. What runs since an attempt of ours was not confirmed.
        record_trial(s);
        commit(s);
    } else {
        check(s);
    }
}

static void confirm(struct step *s)
{
    struct apply *a = s->a;
    a->timings.switch_ms = s->ev->now_ms - a->phase_ms;
    a->phase_ms = s->ev->now_ms;
    a->reached = false;
    a->healthy = !a->target.has_health;
    enter(s, APPLY_CONFIRMING,
        a->target.confirm_ms > 0 ? a->target.confirm_ms : s->ev->rules->confirm_ms);
    report_and_reach(s, NODE_CONFIRMING, CODE_OK);
    if (a->target.has_health) {
        plan_add(s, EFFECT_CHECK);
    }
}

static void confirmed_maybe(struct step *s)
{
    struct apply *a = s->a;
    // After the dead man's switch fired it is the old system that is reached; FIRED is on its way.
    bool runs = strcmp(s->ev->running, a->target.path) == 0;
    if (a->reached && a->healthy && runs) {
        a->timings.confirm_ms = s->ev->now_ms - a->phase_ms;
        commit(s);
    }
}

static void revert(struct step *s, enum code reason)
{
    struct apply *a = s->a;
    if (a->reason == CODE_OK) {
        a->reason = reason;
    }
    enter(s, APPLY_REVERTING, s->ev->rules->switch_ms);
    report(s, NODE_REVERTING, a->reason);
    plan_add(s, EFFECT_REVERT);
}

// The old system runs again. A switch that was merely interrupted may be tried again; one that was
// judged is not.
static void reverted(struct step *s)
{
    struct apply *a = s->a;
    bool interrupted = a->reason == CODE_REBOOT;
    if (interrupted && a->attempt < ATTEMPTS_MAX) {
        plan_add(s, EFFECT_DISARM);
        if (!is_none(a->next.digest)) {
            settle(s);
            return;
        }
        a->attempt++;
        obtain(s);
        return;
    }
    if (interrupted) {
        a->reason = CODE_ATTEMPTS;
    }
    memory_conclude(a, OUTCOME_ROLLED_BACK, a->reason);
    plan_add(s, EFFECT_DISARM);
    enter(s, APPLY_RETURNING, s->ev->rules->return_ms);
    report_and_reach(s, NODE_ROLLED_BACK, a->reason);
}

// Going back is forbidden to a system older than the fallback floor: whoever can cut the network
// could force a downgrade.
static bool may_go_back(const struct apply *a)
{
    return a->target.fallback_floor == 0 ||
           (a->applied.epoch == a->target.epoch && a->applied.release >= a->target.fallback_floor);
}

// The window is over without a proof, and the new system stays all the same. The dead man's switch
// must not do what is forbidden to us; a later configuration may be the remedy and is not kept
// waiting.
static void stay(struct step *s)
{
    struct apply *a = s->a;
    bool remedy = !is_none(a->next.digest) && !same(a->next.digest, a->target.digest);
    a->stays = true;
    enter(s, APPLY_CONFIRMING, remedy ? 1 : 0);
    plan_add(s, EFFECT_DISARM);
    report_and_reach(s, NODE_STAYS, a->reached ? CODE_HEALTH : CODE_CONNECTIVITY);
}

static void tried(struct step *s)
{
    struct apply *a = s->a;
    bool runs = strcmp(s->ev->running, a->target.path) == 0;
    bool units_failed = s->ev->status == 4;
    if (!runs || (s->ev->status != 0 && !units_failed)) {
        revert(s, CODE_SWITCH);
    } else if (units_failed && a->target.unit_failures == UNIT_FAILURES_ROLLBACK) {
        revert(s, CODE_UNITS);
    } else {
        confirm(s);
    }
}

// --- events ---

// A newer head asks for the same configuration.
static void renew(struct apply *a, const struct apply_config *config)
{
    char path[sizeof a->target.path];
    memcpy(path, a->target.path, sizeof path);
    a->target = *config;
    memcpy(a->target.path, path, sizeof path);
}

static void on_release(struct step *s)
{
    struct apply *a = s->a;
    const struct apply_config *config = s->ev->config;
    bool same_target = same(config->digest, a->target.digest);
    memcpy(a->seen, config->head_hash, HASH_BYTES);
    switch (a->state) {
    case APPLY_IDLE:
        if (same_target && a->deadline_ms != 0 &&
            is_none(a->next.digest)) { // its build waits for the next attempt
            renew(a, config);
            report(s, NODE_FAILED, CODE_BUILD);
            return;
        }
        memset(&a->next, 0, sizeof a->next);
        enter(s, APPLY_IDLE, 0);
        begin(s, config);
        return;
    case APPLY_OBTAINING:
    case APPLY_CHECKING:
        if (same_target) {
            renew(a, config);
            return;
        }
        plan_add(s, EFFECT_CANCEL);
        enter(s, APPLY_IDLE, 0);
        begin(s, config);
        return;
    case APPLY_RETURNING: // another one came over the network, so the network is there
    case APPLY_WAITING:
        if (same_target) {
            a->next = *config;
            return;
        }
        memset(&a->next, 0, sizeof a->next); // older than this one
        enter(s, APPLY_IDLE, 0);
        begin(s, config);
        return;
    case APPLY_CONFIRMING:
        a->next = *config;
        if (a->stays) {
            enter(s, APPLY_CONFIRMING, same_target ? 0 : 1);
        }
        return;
    case APPLY_ARMING:
    case APPLY_TRYING:
    case APPLY_COMMITTING:
    case APPLY_REVERTING:
        a->next = *config;
        return;
    case APPLY_STATE_COUNT:
        break;
    }
    ASSERT(!"a state of the table");
}

static void on_refused(struct step *s)
{
    struct apply *a = s->a;
    if (a->refused_code == s->ev->code && same(a->refused_hash, s->ev->refused_hash)) {
        return;
    }
    if (a->state == APPLY_CHECKING || a->state == APPLY_CONFIRMING || a->state == APPLY_RETURNING ||
        a->state == APPLY_WAITING) {
        return; // the report on its way is the one that must be acknowledged; said the next time
    }
    a->refused_code = s->ev->code;
    memcpy(a->refused_hash, s->ev->refused_hash, HASH_BYTES);
    static const uint8_t none[HASH_BYTES];
    report_as(s, EFFECT_QUEUE, NODE_REFUSED, s->ev->code, none);
}

static void on_acked(struct step *s)
{
    struct apply *a = s->a;
    if (s->ev->seq != a->report.seq) {
        return;
    }
    switch (a->state) {
    case APPLY_CHECKING:
        if (s->ev->running[0] == '\0' || s->ev->profile[0] == '\0') {
            fail(s, CODE_CONFIG); // there is nothing to go back to
            return;
        }
        record_trial(s);
        enter(s, APPLY_ARMING, ARM_MS);
        plan_add(s, EFFECT_ARM);
        return;
    case APPLY_CONFIRMING:
        a->reached = true;
        confirmed_maybe(s);
        if (a->state == APPLY_CONFIRMING && a->stays && !a->healthy) {
            plan_add(s, EFFECT_CHECK); // it may have failed for want of the network
        }
        return;
    case APPLY_RETURNING:
        settle(s);
        return;
    case APPLY_WAITING: // the network is back: the new system was perhaps not to blame
        if (!is_none(a->next.digest) && !same(a->next.digest, a->target.digest)) {
            settle(s);
        } else if (a->attempt < ATTEMPTS_MAX) {
            if (!is_none(a->next.digest)) {
                renew(a, &a->next);
            }
            memset(&a->next, 0, sizeof a->next);
            memory_conclude(a, OUTCOME_OPEN, CODE_OK);
            a->attempt++;
            obtain(s);
        } else {
            memory_conclude(a, OUTCOME_ROLLED_BACK, a->reason);
            report(s, NODE_ROLLED_BACK, a->reason);
            settle(s);
        }
        return;
    case APPLY_IDLE:
    case APPLY_OBTAINING:
    case APPLY_ARMING:
    case APPLY_TRYING:
    case APPLY_COMMITTING:
    case APPLY_REVERTING:
        return;
    case APPLY_STATE_COUNT:
        break;
    }
    ASSERT(!"a state of the table");
}

static void on_timer(struct step *s)
{
    struct apply *a = s->a;
    if (a->deadline_ms == 0 || s->ev->now_ms < a->deadline_ms) {
        return;
    }
    switch (a->state) {
    case APPLY_IDLE:
        enter(s, APPLY_IDLE, 0);
        if (!is_none(a->next.digest)) {
            take_next(s);
        } else { // a build waited for its next attempt
            a->attempt++;
            obtain(s);
        }
        return;
    case APPLY_CHECKING:
        check(s);
        return;
    case APPLY_ARMING:
        plan_add(s, EFFECT_DISARM);
        fail(s, CODE_TIMEOUT);
        return;
    case APPLY_TRYING:
        revert(s, CODE_SWITCH);
        return;
    case APPLY_CONFIRMING:
        if (a->stays) {
            plan_add(s, EFFECT_DISARM);
            enter(s, APPLY_IDLE, 0);
            take_next(s);
        } else if (may_go_back(a)) {
            revert(s, a->reached ? CODE_HEALTH : CODE_CONNECTIVITY);
        } else {
            stay(s);
        }
        return;
    case APPLY_COMMITTING:
        revert(s, CODE_COMMIT);
        return;
    case APPLY_REVERTING:
        revert(s, a->reason);
        return;
    case APPLY_RETURNING:
        if (a->reason == CODE_CONNECTIVITY || a->reason == CODE_DEADMAN) {
            memory_conclude(a, OUTCOME_INCONCLUSIVE, a->reason);
            enter(s, APPLY_WAITING, 0);
            report_and_reach(s, NODE_INCONCLUSIVE, a->reason);
        } else {
            settle(s);
        }
        return;
    case APPLY_OBTAINING:
    case APPLY_WAITING:
        return;
    case APPLY_STATE_COUNT:
        break;
    }
    ASSERT(!"a state of the table");
}

// The machine was restarted. Until the commit the boot default was the old system, so that is what
// should run now.
static void on_restart(struct step *s)
{
    struct apply *a = s->a;
    switch (a->state) {
    case APPLY_IDLE:
        if (a->deadline_ms != 0) {
            enter(s, APPLY_IDLE, is_none(a->next.digest) ? BUILD_RETRY_MS : 1);
        } else if (!is_none(a->applied.digest) && same(a->applied.digest, a->target.digest)) {
            report_applied(s); // what waited for the reboot may run now
        }
        return;
    case APPLY_ARMING:
    case APPLY_TRYING:
    case APPLY_CONFIRMING:
        revert(s, CODE_REBOOT);
        return;
    case APPLY_COMMITTING:
        if (strcmp(s->ev->running, a->trial.new_path) == 0) {
            commit(s);
        } else {
            revert(s, CODE_REBOOT);
        }
        return;
    case APPLY_REVERTING:
    case APPLY_OBTAINING:
    case APPLY_CHECKING:
    case APPLY_RETURNING:
    case APPLY_WAITING:
        return;
    case APPLY_STATE_COUNT:
        break;
    }
    ASSERT(!"a state of the table");
}

// Starts the effects of the state again.
static void resume(struct step *s)
{
    struct apply *a = s->a;
    switch (a->state) {
    case APPLY_IDLE:
        break;
    case APPLY_OBTAINING:
        plan_add(s, EFFECT_OBTAIN);
        break;
    case APPLY_CHECKING:
        check(s);
        return;
    case APPLY_ARMING:
        enter(s, APPLY_ARMING, ARM_MS);
        plan_add(s, EFFECT_ARM);
        break;
    case APPLY_TRYING:
        plan_add(s, EFFECT_ARM); // never a switch without it
        plan_add(s, EFFECT_TRY);
        break;
    case APPLY_CONFIRMING:
        if (!a->stays) {
            plan_add(s, EFFECT_ARM);
        }
        if (a->target.has_health && !a->healthy) {
            plan_add(s, EFFECT_CHECK);
        }
        if (!a->reached) {
            report_and_reach(
                s, a->stays ? NODE_STAYS : NODE_CONFIRMING, a->stays ? CODE_CONNECTIVITY : CODE_OK);
            return;
        }
        break;
    case APPLY_COMMITTING:
        plan_add(s, EFFECT_COMMIT);
        break;
    case APPLY_REVERTING:
        enter(s, APPLY_REVERTING, s->ev->rules->switch_ms);
        plan_add(s, EFFECT_REVERT);
        break;
    case APPLY_RETURNING:
        enter(s, APPLY_RETURNING, s->ev->rules->return_ms);
        report_and_reach(s, NODE_ROLLED_BACK, a->reason);
        return;
    case APPLY_WAITING:
        report_and_reach(s, NODE_INCONCLUSIVE, a->reason);
        return;
    case APPLY_STATE_COUNT:
        ASSERT(!"a state of the table");
    }
    if (a->report.seq != 0 && !a->report.queued) {
        plan_add(s, EFFECT_QUEUE);
    }
}

// The rest of the journal was not understood, as after a revert from a newer bento: all that is
// known is what to go back to. Whether the trial was confirmed is not.
static void revert_unknown(struct step *s)
{
    struct apply *a = s->a;
    memcpy(a->target.digest, a->trial.digest, HASH_BYTES);
    memcpy(a->target.path, a->trial.new_path, sizeof a->target.path);
    a->attempt = a->trial.attempt;
    revert(s, CODE_FORMAT);
}

static void on_boot(struct step *s)
{
    struct apply *a = s->a;
    bool restarted = memcmp(a->boot_id, s->ev->boot_id, sizeof a->boot_id) != 0;
    memcpy(a->boot_id, s->ev->boot_id, sizeof a->boot_id);
    if (!apply_in_trial(a->state) && !is_none(a->trial.digest)) {
        revert_unknown(s);
        return;
    }
    enum apply_state before = a->state;
    if (restarted) {
        a->phase_ms = s->ev->now_ms; // the clock began anew
        on_restart(s);
    }
    if (!restarted || (a->state == before && s->plan->count == 0)) {
        resume(s);
    }
    if (!apply_in_trial(a->state) || (a->state == APPLY_CONFIRMING && a->stays)) {
        plan_add(s, EFFECT_DISARM); // perhaps we died just before it
    }
}

// Results of jobs: only those about the attempt under way count.
static void on_result(struct step *s)
{
    struct apply *a = s->a;
    const struct apply_event *ev = s->ev;
    if (!same(ev->digest, a->target.digest) || ev->attempt != a->attempt) {
        return;
    }
    if (ev->kind == EVENT_OBTAINED && a->state == APPLY_OBTAINING) {
        obtained(s);
    } else if (ev->kind == EVENT_ARMED && a->state == APPLY_ARMING) {
        if (ev->code != CODE_OK) {
            fail(s, ev->code);
            return;
        }
        memory_touch(a, a->target.digest)->attempts = a->attempt;
        a->phase_ms = ev->now_ms;
        enter(s, APPLY_TRYING, ev->rules->switch_ms);
        plan_add(s, EFFECT_TRY); // first: the report costs two syncs of the disk
        report(s, NODE_TRYING, CODE_OK);
    } else if (ev->kind == EVENT_TRIED && a->state == APPLY_TRYING) {
        tried(s);
    } else if (ev->kind == EVENT_CHECKED && a->state == APPLY_CONFIRMING) {
        if (ev->code == CODE_OK) {
            a->healthy = true;
            confirmed_maybe(s);
        } else if (may_go_back(a)) {
            revert(s, CODE_HEALTH);
        }
    } else if (ev->kind == EVENT_COMMITTED && a->state == APPLY_COMMITTING) {
        a->timings.commit_ms = ev->now_ms - a->phase_ms;
        // The dead man's switch may have fired right after the job.
        bool committed = ev->code == CODE_OK && strcmp(ev->profile, a->target.path) == 0;
        if (committed) {
            plan_add(s, EFFECT_DISARM);
            applied(s);
        } else {
            revert(s, CODE_COMMIT);
        }
    } else if (ev->kind == EVENT_REVERTED && a->state == APPLY_REVERTING) {
        if (ev->code == CODE_OK || ++a->reverts >= REVERTS_MAX) {
            reverted(s);
        } else {
            enter(s, APPLY_REVERTING, REVERT_RETRY_MS); // TIMER reverts again
        }
    } else if (ev->kind == EVENT_FIRED &&
               (a->state == APPLY_ARMING || a->state == APPLY_TRYING ||
                   a->state == APPLY_CONFIRMING || a->state == APPLY_COMMITTING)) {
        revert(s, CODE_DEADMAN); // it is done, but a switch may have been started again since
    }
}

// Says the last thing again. Where an acknowledgement is waited for, delivery goes on anyway.
static void on_beat(struct step *s)
{
    const struct apply_report last = s->a->report;
    bool quiet = s->a->state == APPLY_IDLE || s->a->state == APPLY_OBTAINING;
    if (!quiet || last.seq == 0 || !last.queued) {
        return;
    }
    if (last.state == NODE_UP_TO_DATE || last.state == NODE_REBOOT_PENDING) {
        report_applied(s); // which of the two may have changed by a reboot
    } else {
        report_as(s, EFFECT_QUEUE, last.state, last.code, last.digest);
    }
}

void apply_step(const struct apply *now, const struct apply_event *event, struct apply *next,
    struct apply_plan *plan)
{
    *next = *now;
    memset(plan, 0, sizeof *plan);
    struct step s = {.a = next, .ev = event, .plan = plan};
    switch (event->kind) {
    case EVENT_BOOT:
        on_boot(&s);
        return;
    case EVENT_RELEASE:
        on_release(&s);
        return;
    case EVENT_REFUSED:
        on_refused(&s);
        return;
    case EVENT_ACKED:
        on_acked(&s);
        return;
    case EVENT_QUEUED:
        next->report.queued = next->report.queued || event->seq == next->report.seq;
        return;
    case EVENT_BEAT:
        on_beat(&s);
        return;
    case EVENT_TIMER:
        on_timer(&s);
        return;
    case EVENT_OBTAINED:
    case EVENT_ARMED:
    case EVENT_TRIED:
    case EVENT_CHECKED:
    case EVENT_COMMITTED:
    case EVENT_REVERTED:
    case EVENT_FIRED:
        on_result(&s);
        return;
    case APPLY_EVENT_COUNT:
        break;
    }
    ASSERT(!"an event of the table");
}
