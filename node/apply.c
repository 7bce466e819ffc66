// The events: what each of them does in each state. How a configuration goes its way is in
// apply_way.c.
#include "apply_step.h"
#include "head.h"

#include <string.h>

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
    switch (state) {
    case APPLY_ARMING:
    case APPLY_TRYING:
    case APPLY_CONFIRMING:
    case APPLY_COMMITTING:
    case APPLY_REVERTING:
    case APPLY_REBOOTING:
    case APPLY_PROVING:
    case APPLY_RESTORING:
        return true;
    case APPLY_IDLE:
    case APPLY_OBTAINING:
    case APPLY_CHECKING:
    case APPLY_RETURNING:
    case APPLY_WAITING:
    case APPLY_INSTALLING:
    case APPLY_STATE_COUNT:
        break;
    }
    return false;
}

bool apply_is_reaching(const struct apply *a)
{
    bool windows = a->state == APPLY_CONFIRMING || a->state == APPLY_PROVING;
    return a->state == APPLY_CHECKING || a->state == APPLY_RETURNING || a->state == APPLY_WAITING ||
           (windows && !a->reached);
}

void apply_memory_key(const struct apply_config *config, uint8_t key[HASH_BYTES])
{
    memcpy(key, config->digest, HASH_BYTES);
    if (config->automatic) {
        uint8_t both[HASH_BYTES + STORE_PATH_BYTES_MAX];
        size_t len = strlen(config->path);
        memcpy(both, config->digest, HASH_BYTES);
        memcpy(both + HASH_BYTES, config->path, len);
        sha256(bytes_of(both, HASH_BYTES + len), key);
    }
}

// Of a release, which never became a configuration.
static bool is_refusal(const struct apply_report *report)
{
    return report->state == NODE_REFUSED && digest_is_none(report->digest);
}

const struct apply_config *apply_about(const struct apply *a, const struct apply_report *report)
{
    const struct apply_config *const configs[] = {&a->target, &a->applied, &a->before};
    const struct apply_config *about = NULL;
    if (is_refusal(report)) {
        return NULL;
    }
    for (size_t i = 0; i < sizeof configs / sizeof configs[0]; i++) {
        bool is_it = configs[i]->release != 0 && digest_same(configs[i]->digest, report->digest);
        if (is_it && (about == NULL || release_compare(configs[i]->epoch, configs[i]->release,
                                           about->epoch, about->release) > 0)) {
            about = configs[i];
        }
    }
    return about;
}

static void on_release(struct step *s)
{
    struct apply *a = s->a;
    const struct apply_config *config = s->ev->config;
    bool same_target = digest_same(config->digest, a->target.digest);
    memcpy(a->seen, config->head_hash, HASH_BYTES);
    switch (a->state) {
    case APPLY_IDLE:
        if (same_target && a->deadline_ms != 0 && !has_next(a)) {
            way_renew(a, config); // its build waits for the next attempt
            report(s, NODE_FAILED, a->report.state == NODE_FAILED ? a->report.code : CODE_BUILD);
            return;
        }
        memset(&a->next, 0, sizeof a->next);
        enter(s, APPLY_IDLE, 0);
        way_begin(s, config);
        return;
    case APPLY_OBTAINING:
    case APPLY_CHECKING:
        if (same_target) {
            way_renew(a, config);
            if (a->target.automatic && a->state == APPLY_OBTAINING) {
                report_applied(s); // for the new head; an update takes hours
            }
            return;
        }
        plan_add(s, EFFECT_CANCEL);
        way_settle(s);
        way_begin(s, config);
        return;
    case APPLY_RETURNING: // another one came over the network, so the network is there
    case APPLY_WAITING:
        if (same_target) {
            a->next = *config;
            return;
        }
        memset(&a->next, 0, sizeof a->next); // older than this one
        way_settle(s);
        way_begin(s, config);
        return;
    case APPLY_CONFIRMING:
    case APPLY_PROVING:
        a->next = *config;
        if (a->stays) {
            enter(s, a->state, may_help(a) ? 1 : 0);
        }
        return;
    case APPLY_ARMING:
    case APPLY_TRYING:
    case APPLY_COMMITTING:
    case APPLY_REVERTING:
    case APPLY_REBOOTING:
    case APPLY_RESTORING:
    case APPLY_INSTALLING:
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
    if (a->refused_code == s->ev->code && digest_same(a->refused_hash, s->ev->refused_hash)) {
        return;
    }
    if (apply_is_reaching(a) || a->state == APPLY_CONFIRMING || a->state == APPLY_PROVING) {
        return; // the report on its way is the one that must be acknowledged; said the next time
    }
    if (!is_refusal(&a->report)) {
        a->hidden = a->report;
    }
    a->refused_code = s->ev->code;
    memcpy(a->refused_hash, s->ev->refused_hash, HASH_BYTES);
    static const uint8_t none[HASH_BYTES];
    report_as(s, EFFECT_QUEUE, NODE_REFUSED, s->ev->code, none);
}

static void say_again(struct step *s, const struct apply_report *said)
{
    const struct apply_report last = *said;
    bool applied = last.state == NODE_UP_TO_DATE || last.state == NODE_REBOOT_PENDING;
    if (applied && is_at_rest(s->a)) {
        report_applied(s); // which of the two may have changed by a reboot
    } else {
        report_as(s, EFFECT_QUEUE, last.state, last.code, last.digest);
        s->a->report.automatic = last.automatic;
    }
}

// What was refused is not what there is: the broker shows what this node follows.
static void on_shown(struct step *s)
{
    const struct apply *a = s->a;
    if (is_refusal(&a->report) && a->hidden.seq != 0) {
        say_again(s, &a->hidden);
    }
}

static void reached(struct step *s)
{
    struct apply *a = s->a;
    a->reached = true;
    if (a->state == APPLY_PROVING) {
        way_proven_maybe(s);
    } else {
        way_confirmed_maybe(s);
    }
    bool waits = a->state == APPLY_PROVING || a->state == APPLY_CONFIRMING;
    if (waits && a->stays && !a->healthy) {
        plan_add(s, EFFECT_CHECK); // it may have failed for want of the network
    }
}

static void on_acked(struct step *s)
{
    struct apply *a = s->a;
    if (s->ev->seq != a->report.seq) {
        return;
    }
    a->report.acked = true;
    a->cut_off = false;
    switch (a->state) {
    case APPLY_IDLE:
        if (a->applied.reboot == REBOOT_WHEN_NEEDED) {
            way_reboot_maybe(s);
        }
        return;
    case APPLY_CHECKING:
        way_arm(s);
        return;
    case APPLY_CONFIRMING:
    case APPLY_PROVING:
        reached(s);
        return;
    case APPLY_RETURNING:
        way_settle(s);
        return;
    case APPLY_WAITING: // the network is back: the new system was perhaps not to blame
        way_reached_again(s);
        return;
    case APPLY_OBTAINING:
    case APPLY_ARMING:
    case APPLY_TRYING:
    case APPLY_COMMITTING:
    case APPLY_REVERTING:
    case APPLY_REBOOTING:
    case APPLY_RESTORING:
    case APPLY_INSTALLING:
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
        if (has_next(a)) {
            way_take_next(s);
        } else { // a build waited for its next attempt
            way_try_again(s);
        }
        return;
    case APPLY_CHECKING:
        way_check(s);
        return;
    case APPLY_ARMING:
        plan_add(s, EFFECT_DISARM);
        way_fail_for_now(s, CODE_TIMEOUT);
        return;
    case APPLY_TRYING:
        way_revert(s, CODE_SWITCH);
        return;
    case APPLY_CONFIRMING:
    case APPLY_PROVING:
        if (a->stays) {
            way_replace(s);
        } else {
            way_not_confirmed(s, a->reached ? CODE_HEALTH : CODE_CONNECTIVITY);
        }
        return;
    case APPLY_COMMITTING:
        way_revert(s, CODE_COMMIT);
        return;
    case APPLY_REVERTING:
        way_give_up_reverting(s);
        return;
    case APPLY_RETURNING:
        way_returned_in_vain(s);
        return;
    case APPLY_REBOOTING: // it did not happen; a later acknowledgement asks again
        plan_add(s, EFFECT_DISARM);
        way_settle(s);
        schedule_maybe(s);
        return;
    case APPLY_RESTORING:
        way_restore_failed(s);
        return;
    case APPLY_INSTALLING:
        way_install_failed(s, CODE_TIMEOUT);
        return;
    case APPLY_OBTAINING:
    case APPLY_WAITING:
        return;
    case APPLY_STATE_COUNT:
        break;
    }
    ASSERT(!"a state of the table");
}

// After a planned reboot something else runs than what was installed: the boot loader, or somebody at
// the console, chose the old system.
static void on_other_boot(struct step *s)
{
    struct apply *a = s->a;
    if (a->unproven) {
        way_revert(s, CODE_REBOOT);
    } else {
        plan_add(s, EFFECT_DISARM);
        report_applied(s);
        way_settle(s);
    }
}

// The window goes on: its effects, as far as they are not done.
static void resume_window(struct step *s)
{
    struct apply *a = s->a;
    if (a->state == APPLY_CONFIRMING && !a->stays) {
        plan_add(s, EFFECT_ARM);
    }
    if (a->target.has_health && !a->healthy) {
        plan_add(s, EFFECT_CHECK);
    }
    if (!a->reached) {
        report_and_reach(
            s, a->stays ? NODE_STAYS : NODE_CONFIRMING, a->stays ? CODE_CONNECTIVITY : CODE_OK);
    }
}

// Starts the effects of the state again.
static void resume(struct step *s)
{
    struct apply *a = s->a;
    switch (a->state) {
    case APPLY_IDLE:
        break;
    case APPLY_OBTAINING:
        plan_add(s, a->target.automatic ? EFFECT_UPDATE : EFFECT_OBTAIN);
        break;
    case APPLY_CHECKING:
        way_check(s);
        break;
    case APPLY_ARMING:
        enter(s, APPLY_ARMING, ARM_MS);
        plan_add(s, EFFECT_ARM);
        break;
    case APPLY_TRYING:
        plan_add(s, EFFECT_ARM); // never a switch without it
        plan_add(s, EFFECT_TRY);
        break;
    case APPLY_CONFIRMING:
    case APPLY_PROVING:
        resume_window(s);
        break;
    case APPLY_COMMITTING:
        // The dead man's switch has its own.
        enter(s, APPLY_COMMITTING, s->ev->rules->commit_ms);
        plan_add(s, EFFECT_COMMIT);
        break;
    case APPLY_REVERTING:
        enter(s, APPLY_REVERTING, s->ev->rules->switch_ms);
        plan_add(s, EFFECT_REVERT);
        break;
    case APPLY_RETURNING:
        enter(s, APPLY_RETURNING, s->ev->rules->return_ms);
        report_and_reach(s, NODE_ROLLED_BACK, a->reason);
        if (a->planned) {
            plan_add(s, EFFECT_REBOOT);
        }
        break;
    case APPLY_WAITING:
        report_and_reach(s, NODE_INCONCLUSIVE, a->reason);
        break;
    case APPLY_REBOOTING:
        plan_add(s, EFFECT_REBOOT);
        break;
    case APPLY_RESTORING:
        enter(s, APPLY_RESTORING, a->planned ? REBOOT_MS : s->ev->rules->commit_ms);
        plan_add(s, a->planned ? EFFECT_REBOOT : EFFECT_RESTORE);
        break;
    case APPLY_INSTALLING:
        way_install(s);
        break;
    case APPLY_STATE_COUNT:
        ASSERT(!"a state of the table");
    }
}

// The machine came up in what was installed before: that has to be proved first. The commit is undone,
// and what runs stays.
static void undo_commit_here(struct step *s)
{
    struct apply_trial *trial = &s->a->trial;
    path_set(trial->old_path, s->ev->running);
    strncpy(trial->specialisation, s->ev->specialisation, SPECIALISATION_BYTES_MAX);
    way_revert(s, CODE_REBOOT);
}

// Its commit was interrupted by a boot, perhaps by its own doing.
static void on_restart_committing(struct step *s)
{
    struct apply *a = s->a;
    bool is_new = runs(s, a->trial.new_path);
    a->boots += is_new;
    if (a->boots > ATTEMPTS_MAX) {
        way_revert(s, CODE_ATTEMPTS);
    } else if (must_prove(s) && !is_new) {
        undo_commit_here(s);
    } else if (is_new || a->target.action == ACTION_BOOT) {
        way_commit(s);
    } else {
        way_revert(s, CODE_REBOOT);
    }
}

static void on_restart_restoring(struct step *s)
{
    struct apply *a = s->a;
    if (!a->planned) {
        return; // how far the job came is not known: again
    }
    if (runs(s, a->trial.old_path) && strcmp(s->ev->profile, a->trial.old_profile) == 0) {
        way_back_from_boot(s);
    } else {
        way_restore_failed(s);
    }
}

// The machine was restarted. Until the commit the boot default was the old system, so that is what
// should run now. That one may have been unproven itself.
static void on_restart(struct step *s)
{
    struct apply *a = s->a;
    switch (a->state) {
    case APPLY_IDLE:
        if (must_prove(s)) {
            way_prove(s);
        } else if (a->deadline_ms != 0) {
            enter(s, APPLY_IDLE, has_next(a) ? 1 : BUILD_RETRY_MS);
        } else if (is_at_rest(a)) {
            report_applied(s); // what waited for the reboot may run now
        }
        return;
    case APPLY_ARMING:
    case APPLY_TRYING:
    case APPLY_CONFIRMING:
        way_revert(s, CODE_REBOOT);
        return;
    case APPLY_COMMITTING:
        on_restart_committing(s);
        return;
    case APPLY_OBTAINING:
    case APPLY_CHECKING:
    case APPLY_RETURNING:
    case APPLY_WAITING:
    case APPLY_INSTALLING:
        a->planned = false;
        if (must_prove(s)) {
            way_prove(s);
        }
        return;
    case APPLY_REBOOTING:
    case APPLY_PROVING:
        if (must_prove(s)) {
            way_prove(s);
        } else {
            on_other_boot(s);
        }
        return;
    case APPLY_RESTORING:
        on_restart_restoring(s);
        return;
    case APPLY_REVERTING:
        return;
    case APPLY_STATE_COUNT:
        break;
    }
    ASSERT(!"a state of the table");
}

static bool plans(const struct step *s, enum apply_effect effect)
{
    for (unsigned i = 0; i < s->plan->count; i++) {
        if (s->plan->effects[i] == effect) {
            return true;
        }
    }
    return false;
}

// By a dead man's switch.
static bool is_guarded(const struct apply *a)
{
    return a->state == APPLY_ARMING || a->state == APPLY_TRYING || a->state == APPLY_COMMITTING ||
           a->state == APPLY_REVERTING || (a->state == APPLY_CONFIRMING && !a->stays);
}

// In the other states, what is under way installs them, or has.
static bool needs_secrets(const struct apply *a)
{
    return (!is_guarded(a) || a->state == APPLY_COMMITTING) && a->state != APPLY_INSTALLING;
}

// The rest of the journal was not understood, as after a revert from a newer bento: all that is
// known is what to go back to. Whether the trial was confirmed is not.
static void revert_unknown(struct step *s)
{
    struct apply *a = s->a;
    memcpy(a->target.digest, a->trial.digest, HASH_BYTES);
    memcpy(a->target.path, a->trial.new_path, sizeof a->target.path);
    a->attempt = a->trial.attempt;
    way_revert(s, CODE_FORMAT);
}

// The boot was the first one into it. What runs now may be another one already: a revert goes on while
// nobody looks.
static bool began_with_installed(const struct step *s)
{
    const struct apply *a = s->a;
    bool known = s->ev->booted != NULL && s->ev->booted[0] != '\0';
    const char *began = known ? s->ev->booted : s->ev->running;
    return (a->state == APPLY_COMMITTING && strcmp(began, a->trial.new_path) == 0) ||
           (a->unproven && strcmp(began, a->applied.path) == 0);
}

static void on_boot(struct step *s)
{
    struct apply *a = s->a;
    bool restarted = memcmp(a->boot_id, s->ev->boot_id, sizeof a->boot_id) != 0;
    memcpy(a->boot_id, s->ev->boot_id, sizeof a->boot_id);
    a->unconfirmed = a->unconfirmed && !restarted;
    if (!apply_in_trial(a->state) && !digest_is_none(a->trial.digest)) {
        revert_unknown(s);
        return;
    }
    enum apply_state before = a->state;
    if (restarted) {
        a->started = began_with_installed(s);
        a->phase_ms = s->ev->now_ms; // the clocks began anew
        a->asleep_ms = s->ev->asleep_ms;
        on_restart(s);
    }
    if (!restarted || (a->state == before && s->plan->count == 0)) {
        resume(s);
        bool said = plans(s, EFFECT_QUEUE) || plans(s, EFFECT_REACH);
        if (a->report.seq != 0 && !a->report.queued && !said) {
            plan_add(s, EFFECT_QUEUE);
        }
    }
    if (!is_guarded(a) && !plans(s, EFFECT_DISARM)) {
        plan_add(s, EFFECT_DISARM); // perhaps we died just before it
    }
    if (needs_secrets(a)) {
        plan_add(s, EFFECT_SECRETS);
    }
}

static void checked(struct step *s)
{
    struct apply *a = s->a;
    if (s->ev->code == CODE_OK) {
        a->healthy = true;
        (a->state == APPLY_PROVING ? way_proven_maybe : way_confirmed_maybe)(s);
    } else if (!a->stays) {
        way_not_confirmed(s, CODE_HEALTH);
    }
}

static void committed(struct step *s)
{
    struct apply *a = s->a;
    a->timings.commit_ms = s->ev->now_ms - a->phase_ms;
    // The dead man's switch may have fired right after the job.
    if (s->ev->code == CODE_OK && strcmp(s->ev->profile, a->target.path) == 0) {
        plan_add(s, EFFECT_DISARM);
        way_applied(s);
    } else {
        way_revert(s, CODE_COMMIT);
    }
}

// Results of jobs: only those about the attempt under way count.
static void on_result(struct step *s)
{
    struct apply *a = s->a;
    const struct apply_event *ev = s->ev;
    if (!digest_same(ev->digest, a->target.digest) || ev->attempt != a->attempt) {
        return;
    }
    bool guarded = a->state == APPLY_ARMING || a->state == APPLY_TRYING ||
                   a->state == APPLY_CONFIRMING || a->state == APPLY_COMMITTING;
    bool window = a->state == APPLY_CONFIRMING || a->state == APPLY_PROVING;
    if (ev->kind == EVENT_OBTAINED && a->state == APPLY_OBTAINING) {
        way_obtained(s);
    } else if (ev->kind == EVENT_ARMED && a->state == APPLY_ARMING) {
        way_armed(s);
    } else if (ev->kind == EVENT_TRIED && a->state == APPLY_TRYING) {
        way_tried(s);
    } else if (ev->kind == EVENT_CHECKED && window) {
        checked(s);
    } else if (ev->kind == EVENT_COMMITTED && a->state == APPLY_COMMITTING) {
        committed(s);
    } else if (ev->kind == EVENT_REVERTED && a->state == APPLY_REVERTING) {
        (ev->code == CODE_OK ? way_reverted : way_revert_failed)(s);
    } else if (ev->kind == EVENT_RESTORED && a->state == APPLY_RESTORING && !a->planned) {
        (ev->code == CODE_OK ? way_restored : way_restore_failed)(s);
    } else if (ev->kind == EVENT_INSTALLED && a->state == APPLY_INSTALLING) {
        way_installed(s);
    } else if (ev->kind == EVENT_FIRED && guarded) {
        way_revert(s, CODE_DEADMAN); // it is done, but a switch may have been started again since
    }
}

// Nothing may happen for days: who stays, reached but not healthy, is looked at again when that is
// acknowledged.
static bool is_quiet(const struct apply *a)
{
    bool window = a->state == APPLY_CONFIRMING || a->state == APPLY_PROVING;
    return a->state == APPLY_IDLE || a->state == APPLY_OBTAINING ||
           (window && a->stays && a->reached) ||
           (a->state == APPLY_REVERTING && a->reverts >= REVERTS_MAX);
}

// Says the last thing again. Where an acknowledgement is waited for, delivery goes on anyway.
static void on_beat(struct step *s)
{
    const struct apply_report *last = &s->a->report;
    if (is_quiet(s->a) && last->seq != 0 && last->queued) {
        say_again(s, last);
    }
}

// A build that waits for its next attempt need not; else what the owner of the machine wants is what
// the applied configuration gives today.
static void on_asked(struct step *s)
{
    struct apply *a = s->a;
    if (a->state == APPLY_IDLE && a->deadline_ms != 0 && !has_next(a)) {
        enter(s, APPLY_IDLE, 0);
        way_try_again(s);
    } else if (unix_s(s) >= a->updated_s + ASKED_S || unix_s(s) < a->updated_s) {
        way_begin_update(s); // not at every word of bento-node's
    }
}

static void on_due(struct step *s)
{
    if (s->a->applied.reboot != REBOOT_CALENDAR) {
        return; // of a policy that is no more
    }
    way_reboot_maybe(s);
    if (s->a->state == APPLY_IDLE) {
        schedule_maybe(s); // the next time, then
    }
}

// A machine that slept inside a window has a minute from when it woke, not what was left.
static void note_resume(struct step *s)
{
    struct apply *a = s->a;
    bool window = a->state == APPLY_CONFIRMING || a->state == APPLY_PROVING;
    bool same_boot = memcmp(a->boot_id, s->ev->boot_id, sizeof a->boot_id) == 0;
    if (!window || a->deadline_ms == 0 || !same_boot ||
        s->ev->asleep_ms < a->asleep_ms + SECOND_MS) {
        return;
    }
    uint64_t until = s->ev->now_ms + RESUME_MS;
    uint64_t latest = a->phase_ms + window_ms(s) + APPLY_RESUMES_MS;
    until = until < latest ? until : latest;
    a->asleep_ms = s->ev->asleep_ms;
    a->deadline_ms = until > a->deadline_ms ? until : a->deadline_ms;
}

void apply_step(const struct apply *now, const struct apply_event *event, struct apply *next,
    struct apply_plan *plan)
{
    *next = *now;
    memset(plan, 0, sizeof *plan);
    struct step s = {.a = next, .ev = event, .plan = plan};
    note_resume(&s);
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
    case EVENT_SHOWN:
        on_shown(&s);
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
    case EVENT_UPDATE:
        way_begin_update(&s);
        return;
    case EVENT_ASKED:
        on_asked(&s);
        return;
    case EVENT_DUE:
        on_due(&s);
        return;
    case EVENT_OBTAINED:
    case EVENT_ARMED:
    case EVENT_TRIED:
    case EVENT_CHECKED:
    case EVENT_COMMITTED:
    case EVENT_REVERTED:
    case EVENT_FIRED:
    case EVENT_RESTORED:
    case EVENT_INSTALLED:
        on_result(&s);
        return;
    case APPLY_EVENT_COUNT:
        break;
    }
    ASSERT(!"an event of the table");
}
