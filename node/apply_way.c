// The way of a configuration, from a release to a confirmed system or back. See apply_step.h.
#include "apply_step.h"

#include <string.h>

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

// --- from a release to its trial ---

void way_settle(struct step *s)
{
    struct apply *a = s->a;
    if (a->target.automatic) { // a self update is no wish of a release
        a->target = a->applied;
    }
    enter(s, APPLY_IDLE, has_next(a) ? 1 : 0);
}

void way_take_next(struct step *s)
{
    struct apply_config config = s->a->next;
    memset(&s->a->next, 0, sizeof s->a->next);
    way_begin(s, &config);
}

// *into is asked for by a newer head: what was found out about it stays.
static void renew(struct apply_config *into, const struct apply_config *config)
{
    struct apply_config known = *into;
    *into = *config;
    memcpy(into->path, known.path, sizeof into->path);
    into->automatic = known.automatic;
    into->units_failed = known.units_failed;
}

void way_renew(struct apply *a, const struct apply_config *config)
{
    renew(&a->target, config);
    if (a->target.automatic) {
        renew(&a->applied, config);
    }
}

static void begin_job(struct step *s, enum apply_effect effect)
{
    s->a->phase_ms = s->ev->now_ms;
    s->a->boots = 0;
    memset(&s->a->timings, 0, sizeof s->a->timings);
    enter(s, APPLY_OBTAINING, 0); // the job has its own limit
    plan_add(s, effect);
}

void way_obtain(struct step *s)
{
    report(s, NODE_BUILDING, CODE_OK);
    begin_job(s, EFFECT_OBTAIN);
}

// Not reported until there is something new: every night would look like a rebuild.
void way_begin_update(struct step *s)
{
    struct apply *a = s->a;
    bool free = a->state == APPLY_IDLE && a->deadline_ms == 0 && !has_next(a) && is_at_rest(a);
    if (!free || !a->applied.self_update || a->unproven) {
        return;
    }
    a->updated_s = unix_s(s);
    a->target = a->applied;
    a->target.automatic = true;
    a->target.action = a->applied.boot_only ? ACTION_SWITCH : a->applied.action;
    a->target.boot_only = false;
    path_set(a->target.path, "");
    a->attempt = ++a->updates;
    begin_job(s, EFFECT_UPDATE);
}

// A configuration that is not under way: what to do about it is decided by its digest alone.
void way_begin(struct step *s, const struct apply_config *config)
{
    struct apply *a = s->a;
    bool waits = a->unproven && a->applied.action == ACTION_BOOT; // no need to switch to it
    bool is_applied = digest_same(config->digest, a->applied.digest) && (!a->unconfirmed || waits);
    a->builds = 0;
    if (is_applied && !digest_is_none(config->digest)) {
        if (digest_same(a->before.digest, config->digest)) { // a self update waits for its boot
            renew(&a->before, config);
        }
        renew(&a->applied, config);
        a->target = a->applied;
        a->attempt = 0;
        if (must_prove(s)) { // a remedy was none
            way_prove(s);
        } else {
            report_applied(s);
        }
        return;
    }
    bool known = digest_same(config->digest, a->target.digest);
    char path[sizeof a->target.path];
    memcpy(path, a->target.path, sizeof path);
    a->target = *config;
    if (known && config->path[0] == '\0') {
        memcpy(a->target.path, path, sizeof path);
    }
    if (digest_is_none(config->digest)) {
        a->attempt = 0;
        report(s, NODE_NEW, CODE_OK);
        return;
    }
    const struct apply_memory *memory = memory_find(a, &a->target);
    a->attempt = memory != NULL ? memory->attempts : 0;
    if (memory != NULL && memory->outcome == OUTCOME_OPEN && memory->attempts >= ATTEMPTS_MAX) {
        memory_conclude(a, OUTCOME_FAILED, CODE_ATTEMPTS);
        memory = &a->memories[0];
    }
    if (memory != NULL && memory->outcome != OUTCOME_OPEN) {
        // Said again for the new head, not tried again.
        report(s, outcome_state(memory), memory->code);
        return;
    }
    a->attempt++;
    way_obtain(s);
}

void way_fail(struct step *s, enum code code)
{
    memory_conclude(s->a, OUTCOME_FAILED, code);
    report(s, failed_state(code), code);
    way_settle(s);
}

// Through no fault of the configuration, perhaps: TIMER tries again.
void way_fail_for_now(struct step *s, enum code code)
{
    struct apply *a = s->a;
    if (a->target.automatic) { // nothing is held against it: the next night has other inputs
        report(s, failed_state(code), code);
        way_settle(s);
    } else if (a->attempt >= ATTEMPTS_MAX || has_next(a)) {
        way_fail(s, code);
    } else {
        memory_touch(a)->attempts = a->attempt;
        report(s, NODE_FAILED, code);
        enter(s, APPLY_IDLE, BUILD_RETRY_MS * a->attempt);
    }
}

// The admin has evaluated it, and what cannot be fetched today, or found no room, may be there
// tomorrow. Nothing was tried, so it was no attempt.
static void obtain_later(struct step *s)
{
    struct apply *a = s->a;
    unsigned doubled = a->builds < BUILD_DOUBLED_MAX ? a->builds : BUILD_DOUBLED_MAX;
    report(s, NODE_FAILED, s->ev->code);
    if (has_next(a)) {
        way_settle(s);
        return;
    }
    a->builds++;
    enter(s, APPLY_IDLE, BUILD_RETRY_MS << doubled);
}

static void obtain_failed(struct step *s)
{
    enum code code = s->ev->code;
    if (s->a->target.automatic) {
        way_fail_for_now(s, code);
    } else if (code == CODE_BUILD || code == CODE_EVAL) {
        obtain_later(s);
    } else {
        way_fail(s, code);
    }
}

// A self update that gave another system. False if there is nothing to try.
static bool update_is_new(struct apply *a)
{
    const struct apply_memory *memory = memory_find(a, &a->target);
    a->attempt = 1 + (memory != NULL ? memory->attempts : 0);
    bool judged = memory != NULL && memory->outcome != OUTCOME_OPEN;
    return strcmp(a->target.path, a->applied.path) != 0 && !judged && a->attempt <= ATTEMPTS_MAX;
}

// The way back from what was left unconfirmed is to what was confirmed last; what is installed for a
// boot was not.
static void record_trial(struct step *s)
{
    struct apply *a = s->a;
    struct apply_trial *trial = &a->trial;
    const char *confirmed = a->unproven ? a->before_profile : s->ev->profile;
    memset(trial, 0, sizeof *trial);
    memcpy(trial->digest, a->target.digest, HASH_BYTES);
    trial->attempt = a->attempt;
    memcpy(trial->boot_id, s->ev->boot_id, sizeof trial->boot_id);
    path_set(trial->new_path, a->target.path);
    path_set(trial->old_path, a->unconfirmed ? confirmed : s->ev->running);
    path_set(trial->old_profile, s->ev->profile);
    if (!a->unconfirmed) {
        strncpy(trial->specialisation, s->ev->specialisation, SPECIALISATION_BYTES_MAX);
    }
    a->reached = a->healthy = a->stays = a->units_failed = a->resorted = false;
    a->reason = CODE_OK;
    a->reverts = 0;
}

// It cannot be tried live.
static void must_boot(struct apply *a)
{
    a->target.boot_only = a->target.boot_only || a->target.action != ACTION_BOOT;
    a->target.action = ACTION_BOOT;
}

void way_commit_untried(struct step *s)
{
    struct apply *a = s->a;
    if (s->ev->profile[0] == '\0') { // there is nothing to go back to
        way_install_failed(s, CODE_CONFIG);
        return;
    }
    record_trial(s);
    memory_touch(a)->attempts = a->attempt;
    way_commit(s);
}

void way_obtained(struct step *s)
{
    struct apply *a = s->a;
    const struct apply_event *ev = s->ev;
    a->timings.obtain_ms = ev->now_ms - a->phase_ms;
    a->units_failed = false;
    if (ev->code != CODE_OK) {
        obtain_failed(s);
        return;
    }
    a->builds = 0;
    path_set(a->target.path, ev->path);
    if (a->target.automatic && !update_is_new(a)) {
        bool failed = a->report.automatic && a->report.state == NODE_FAILED;
        bool same = strcmp(a->target.path, a->applied.path) == 0;
        bool rebooted = a->report.state == NODE_REBOOT_PENDING && !waits_for_reboot(s);
        way_settle(s);
        if ((failed && same) ||
            rebooted) { // an earlier one failed for want of the network, perhaps
            report_applied(s);
        }
        return;
    }
    if (a->target.action == ACTION_DRY) {
        memory_conclude(a, OUTCOME_DRY, CODE_OK);
        report(s, NODE_DRY, CODE_OK);
        way_settle(s);
        return;
    }
    if (ev->boot_only && !runs(s, a->target.path)) {
        must_boot(a);
    }
    // Somebody switched to it by hand. What runs since an attempt of ours was not confirmed, or what
    // this boot began with was not proved.
    bool doubted = a->unproven && a->started && !runs(s, a->before_profile);
    bool trusted = runs(s, a->target.path) && !a->unconfirmed && !doubted;
    bool untried = trusted && (is_profile(s, a->target.path) || a->attempt == 1);
    if (untried) {
        way_install(s);
    } else if (a->target.action == ACTION_BOOT) {
        way_commit_untried(s);
    } else if (a->cut_off) {
        way_arm(s); // nobody can be reached anyway, and this may be the remedy
    } else {
        way_check(s);
    }
}

void way_check(struct step *s)
{
    enter(s, APPLY_CHECKING, CHECK_MS);
    report_and_reach(s, NODE_CHECKING, CODE_OK);
}

void way_arm(struct step *s)
{
    if (s->ev->running[0] == '\0' || s->ev->profile[0] == '\0') {
        way_fail(s, CODE_CONFIG); // there is nothing to go back to
        return;
    }
    record_trial(s);
    enter(s, APPLY_ARMING, ARM_MS);
    plan_add(s, EFFECT_ARM);
}

void way_armed(struct step *s)
{
    struct apply *a = s->a;
    if (s->ev->code != CODE_OK) {
        way_fail_for_now(s, s->ev->code);
        return;
    }
    memory_touch(a)->attempts = a->attempt;
    a->phase_ms = s->ev->now_ms;
    enter(s, APPLY_TRYING, s->ev->rules->switch_ms);
    plan_add(s, EFFECT_TRY); // first: the report costs two syncs of the disk
    report(s, NODE_TRYING, CODE_OK);
}

// --- from the trial to the commit ---

// Opens the window in which the broker must be reached and the health commands must pass.
static void open_window(struct step *s, enum apply_state state)
{
    struct apply *a = s->a;
    a->phase_ms = s->ev->now_ms;
    a->reached = false;
    a->healthy = !a->target.has_health;
    enter(s, state, 0);
    a->deadline_ms = s->ev->now_ms + window_ms(s);
    report_and_reach(s, NODE_CONFIRMING, CODE_OK);
    if (a->target.has_health) {
        plan_add(s, EFFECT_CHECK);
    }
}

#define SWITCH_UNITS 4    // switch-to-configuration: some unit failed
#define SWITCH_REBOOT 100 // nothing was done, it takes a reboot

void way_tried(struct step *s)
{
    struct apply *a = s->a;
    bool units_failed = s->ev->status == SWITCH_UNITS;
    if (s->ev->status == SWITCH_REBOOT && !runs(s, a->target.path)) {
        must_boot(a);
        way_commit(s);
        plan_add(s, EFFECT_SECRETS); // it goes on with its own
    } else if (s->ev->status == TRIED_NEVER) {
        way_revert(s, CODE_TIMEOUT);
    } else if (s->ev->status == TRIED_SECRETS) {
        way_revert(s, CODE_SECRETS);
    } else if (!runs(s, a->target.path) || (s->ev->status != 0 && !units_failed)) {
        way_revert(s, CODE_SWITCH);
    } else if (units_failed && a->target.unit_failures == UNIT_FAILURES_ROLLBACK) {
        way_revert(s, CODE_UNITS);
    } else {
        a->units_failed = units_failed && a->target.unit_failures == UNIT_FAILURES_REPORT;
        a->timings.switch_ms = s->ev->now_ms - a->phase_ms;
        open_window(s, APPLY_CONFIRMING);
    }
}

void way_confirmed_maybe(struct step *s)
{
    struct apply *a = s->a;
    // After the dead man's switch fired it is the old system that is reached; FIRED is on its way.
    if (a->reached && a->healthy && runs(s, a->target.path)) {
        a->timings.confirm_ms = s->ev->now_ms - a->phase_ms;
        way_commit(s);
    }
}

void way_commit(struct step *s)
{
    s->a->phase_ms = s->ev->now_ms;
    enter(s, APPLY_COMMITTING, s->ev->rules->commit_ms);
    report(s, NODE_COMMITTING, CODE_OK);
    plan_add(s, EFFECT_COMMIT);
}

// What was applied before stays in mind until the new system has come through a boot. The machine
// may have started with it already: before the commit was over, or when the same system was another
// configuration's, without a trial then.
static void note_unproven(struct step *s, const struct apply_config *before)
{
    struct apply *a = s->a;
    bool tried = !digest_is_none(a->trial.digest);
    bool runs_now = runs(s, a->applied.path);
    bool installed = !runs_now && is_profile(s, a->applied.path);
    bool live = tried && a->target.action != ACTION_BOOT &&
                memcmp(a->trial.boot_id, s->ev->boot_id, sizeof a->trial.boot_id) == 0;
    a->started = a->started && !live;
    bool boots = installed || waits_for_reboot(s) || (a->started && runs_now);
    if (boots && !a->unproven && tried) {
        a->before = *before;
        path_set(a->before_profile, a->trial.old_profile);
    }
    a->unproven = boots && (a->unproven || tried);
}

static void clean_slate(struct apply *a, const struct apply_config *config)
{
    uint8_t key[HASH_BYTES];
    apply_memory_key(config, key);
    for (unsigned i = 0; i < APPLY_MEMORIES; i++) {
        if (digest_same(a->memories[i].digest, key)) {
            a->memories[i].attempts = 0;
            a->memories[i].outcome = OUTCOME_OPEN;
            a->memories[i].code = CODE_OK;
        }
    }
}

// A later return to a configuration starts from a clean slate. One that has yet to come through a
// boot may come back to its trial from there, so its attempts count until then.
void way_applied(struct step *s)
{
    struct apply *a = s->a;
    const struct apply_config before = a->applied;
    a->applied = a->target;
    a->applied.units_failed = a->units_failed;
    a->target = a->applied;
    a->reboots = 0;
    a->unconfirmed = a->unconfirmed && !runs(s, a->applied.path); // installed for the next boot
    a->updated_s = a->updated_s > 0 ? a->updated_s : unix_s(s); // the first one is due a day later
    note_unproven(s, &before);
    memory_conclude(a, OUTCOME_OPEN, CODE_OK);
    clean_slate(a, a->unproven ? &before : &a->applied);
    if (must_prove(s)) {
        way_prove(s);
    } else {
        report_applied(s);
        way_settle(s);
    }
}

// Going back is forbidden to a system older than the fallback floor: whoever can cut the network
// could force a downgrade.
static bool may_go_back_to(const struct apply *a, const struct apply_config *back)
{
    return a->target.fallback_floor == 0 ||
           (back->epoch == a->target.epoch && back->release >= a->target.fallback_floor);
}

// What booted last may be what was installed again.
static bool may_restore(const struct apply *a)
{
    return may_go_back_to(a, &a->before) && strcmp(a->before_profile, a->applied.path) != 0;
}

// The window is over without a proof, and the new system stays all the same. The dead man's switch
// must not do what is forbidden to us; a later configuration may be the remedy and is not kept
// waiting.
static void stay(struct step *s, enum code reason)
{
    struct apply *a = s->a;
    a->stays = true;
    a->cut_off = !a->reached;
    enter(s, a->state, may_help(a) ? 1 : 0);
    plan_add(s, EFFECT_DISARM);
    report_and_reach(s, NODE_STAYS, reason);
}

void way_not_confirmed(struct step *s, enum code reason)
{
    const struct apply *a = s->a;
    bool proves = a->state == APPLY_PROVING;
    if (!(proves ? may_restore(a) : may_go_back_to(a, &a->applied))) {
        stay(s, reason);
    } else if (proves) {
        way_restore(s, reason);
    } else {
        way_revert(s, reason);
    }
}

static bool next_is_applied(const struct apply *a)
{
    return digest_same(a->next.digest, a->applied.digest);
}

// In a trial the remedy may be what ran before, and no floor forbids a newer release.
void way_replace(struct step *s)
{
    struct apply *a = s->a;
    if (a->state == APPLY_CONFIRMING && next_is_applied(a)) {
        way_revert(s, a->reached ? CODE_HEALTH : CODE_CONNECTIVITY);
        return;
    }
    a->unconfirmed = a->state == APPLY_CONFIRMING;
    plan_add(s, EFFECT_DISARM);
    enter(s, APPLY_IDLE, 0);
    way_take_next(s);
}

// --- back ---

void way_revert(struct step *s, enum code reason)
{
    struct apply *a = s->a;
    if (a->reason == CODE_OK) {
        a->reason = reason;
    }
    enter(s, APPLY_REVERTING, s->ev->rules->switch_ms);
    report(s, NODE_REVERTING, a->reason);
    plan_add(s, EFFECT_REVERT);
}

// There is nothing to lose any more, unless going back is what is asked for.
void way_give_up_reverting(struct step *s)
{
    struct apply *a = s->a;
    if (a->reverts >= REVERTS_MAX && may_help(a) && !next_is_applied(a)) {
        a->unconfirmed = true;
        plan_add(s, EFFECT_DISARM);
        way_settle(s);
    } else {
        enter(s, APPLY_REVERTING, s->ev->rules->switch_ms);
        plan_add(s, EFFECT_REVERT);
    }
}

void way_try_again(struct step *s)
{
    s->a->attempt += s->a->builds == 0;
    if (s->a->target.automatic) {
        way_check(s); // it is built, and the release's own is not what is wanted
    } else {
        way_obtain(s);
    }
}

// What failed gave way to the same configuration: to its self update, or to itself as it ran before.
// Then it is applied, and said to be once that is reached.
static void forgive_applied(struct apply *a)
{
    if (!a->target.automatic && digest_same(a->target.digest, a->applied.digest)) {
        memory_conclude(a, OUTCOME_OPEN, CODE_OK);
        clean_slate(a, &a->target);
        a->next = has_next(a) ? a->next : a->target;
    }
}

// Judged, and not tried again by itself. Attempt 0 was the proof of what is applied.
static void judge_rolled_back(struct step *s)
{
    struct apply *a = s->a;
    memory_conclude(a, OUTCOME_ROLLED_BACK, a->reason);
    if (a->unproven && a->attempt == 0) {
        a->applied = a->before;
        a->unproven = a->started = false;
        clean_slate(a, &a->applied); // also if a release asked for it again meanwhile, in vain
    }
    forgive_applied(a);
    plan_add(s, EFFECT_DISARM);
    if (must_prove(s)) { // the machine restarted meanwhile; what was judged is said after the proof
        way_prove(s);
        return;
    }
    enter(s, APPLY_RETURNING, s->ev->rules->return_ms);
    report_and_reach(s, NODE_ROLLED_BACK, a->reason);
}

// The old system runs again. A switch that was merely interrupted, or never began, may be tried again;
// one that was judged is not. (Attempt 0 was not interrupted, it failed.)
void way_reverted(struct step *s)
{
    struct apply *a = s->a;
    bool interrupted = (a->reason == CODE_REBOOT || a->reason == CODE_TIMEOUT) && a->attempt > 0;
    a->unconfirmed = false;
    if (!interrupted || a->attempt >= ATTEMPTS_MAX) {
        a->reason = interrupted ? CODE_ATTEMPTS : a->reason;
        judge_rolled_back(s);
        return;
    }
    plan_add(s, EFFECT_DISARM);
    if (must_prove(s)) {
        way_prove(s);
    } else if (has_next(a)) {
        way_settle(s);
    } else {
        way_try_again(s);
    }
}

// It is tried again for ever: what else could be done? Said once, since nobody may think that the old
// system runs. A restart may help, if that is allowed: the old system is what boots.
void way_revert_failed(struct step *s)
{
    struct apply *a = s->a;
    a->reverts++;
    uint64_t times = a->reverts < 10 ? a->reverts : 10;
    enter(s, APPLY_REVERTING, REVERT_RETRY_MS * times);
    if (a->reverts != REVERTS_MAX) {
        return;
    }
    report(s, NODE_FAILED, CODE_SWITCH);
    if (a->target.last_resort == LAST_RESORT_REBOOT && is_profile(s, a->trial.old_profile)) {
        plan_add(s, EFFECT_REBOOT);
    }
}

// The old system is not reached either: if the network was the reason, the new one was not to blame.
void way_returned_in_vain(struct step *s)
{
    struct apply *a = s->a;
    a->planned = a->target.last_resort == LAST_RESORT_REBOOT && !a->resorted;
    if (a->planned) {
        a->resorted = true;
        enter(s, APPLY_RETURNING, s->ev->rules->return_ms);
        plan_add(s, EFFECT_REBOOT); // the old system is what boots
    } else if (a->reason == CODE_CONNECTIVITY || a->reason == CODE_DEADMAN) {
        memory_conclude(a, OUTCOME_INCONCLUSIVE, a->reason);
        enter(s, APPLY_WAITING, 0);
        report_and_reach(s, NODE_INCONCLUSIVE, a->reason);
    } else {
        way_settle(s);
    }
}

void way_reached_again(struct step *s)
{
    struct apply *a = s->a;
    if (has_remedy(a)) {
        way_settle(s);
        return;
    }
    const struct apply_memory *memory = memory_find(a, &a->target);
    a->attempt =
        memory != NULL ? memory->attempts : a->attempt; // attempt 0 was the last one's proof
    if (a->attempt < ATTEMPTS_MAX) {
        if (has_next(a)) {
            way_renew(a, &a->next);
        }
        memset(&a->next, 0, sizeof a->next);
        memory_conclude(a, OUTCOME_OPEN, CODE_OK);
        way_try_again(s);
    } else {
        memory_conclude(a, OUTCOME_ROLLED_BACK, a->reason);
        report(s, NODE_ROLLED_BACK, a->reason);
        way_settle(s);
    }
}

// --- through a boot ---

// The trial of a boot: attempt 0 of what is applied. The way back is what is put into the boot
// loader; without one it is the system itself.
static void record_boot_trial(struct step *s)
{
    struct apply *a = s->a;
    a->target = a->applied;
    a->attempt = 0;
    record_trial(s);
    if (a->unproven) {
        path_set(a->trial.old_path, a->before_profile);
        path_set(a->trial.old_profile, a->before_profile);
        memset(a->trial.specialisation, 0, sizeof a->trial.specialisation);
    }
}

static void reboot(struct step *s)
{
    s->a->reboots++;
    record_boot_trial(s);
    enter(s, APPLY_REBOOTING, REBOOT_MS);
    plan_add(s, EFFECT_REBOOT);
}

// After the collector knows why.
void way_reboot_maybe(struct step *s)
{
    const struct apply *a = s->a;
    bool free = a->state == APPLY_IDLE && a->deadline_ms == 0 && !has_next(a);
    if (free && a->report.acked && may_reboot(s)) {
        reboot(s);
    }
}

// The first start of what was installed. What else is wanted waits for the proof, also what was
// judged, to be said again.
void way_prove(struct step *s)
{
    struct apply *a = s->a;
    if (!has_next(a) && !is_at_rest(a)) {
        a->next = a->target;
    }
    if (a->state == APPLY_WAITING && digest_same(a->next.digest, a->target.digest)) {
        memory_conclude(a, OUTCOME_OPEN, CODE_OK);
    }
    record_boot_trial(s);
    a->boots++;
    if (a->boots > ATTEMPTS_MAX && may_restore(a)) { // it goes down again and again
        way_restore(s, CODE_ATTEMPTS);
    } else {
        open_window(s, APPLY_PROVING);
    }
}

void way_proven_maybe(struct step *s)
{
    struct apply *a = s->a;
    if (a->reached && a->healthy && runs(s, a->target.path)) {
        a->unproven = a->started = false;
        clean_slate(a, &a->applied);
        plan_add(s, EFFECT_DISARM);
        report_applied(s);
        way_settle(s);
    }
}

void way_restore(struct step *s, enum code reason)
{
    struct apply *a = s->a;
    if (a->reason == CODE_OK) {
        a->reason = reason;
    }
    a->planned = false;
    enter(s, APPLY_RESTORING, s->ev->rules->commit_ms);
    report(s, NODE_REVERTING, a->reason);
    plan_add(s, EFFECT_RESTORE);
}

void way_restored(struct step *s)
{
    if (runs(s, s->a->trial.old_path)) { // the machine restarted meanwhile
        way_back_from_boot(s);
        return;
    }
    s->a->planned = true;
    enter(s, APPLY_RESTORING, REBOOT_MS);
    plan_add(s, EFFECT_REBOOT);
}

// Then without a boot: better a mixture that can be reached than none.
void way_restore_failed(struct step *s)
{
    way_revert(s, s->a->reason);
}

void way_back_from_boot(struct step *s)
{
    s->a->planned = false;
    judge_rolled_back(s);
}
