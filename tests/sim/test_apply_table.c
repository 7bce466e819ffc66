// Every state with plausible data × every event with good, failing and foreign contents: what must
// hold of any single step.
#include "apply.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

// With the sanitizers every n-th state is enough to be quick; release builds take all.
#ifdef __SANITIZE_ADDRESS__
#define STRIDE 7u
#else
#define STRIDE 1u
#endif

#define NOW_MS 5000000u
#define OLD "/nix/store/old"
#define NEW "/nix/store/new"
#define STRANGE "/nix/store/strange"
#define OLD_DIGEST 1
#define NEW_DIGEST 2
#define NEXT_DIGEST 3

static const struct apply_rules rules = {.confirm_ms = 180000,
    .switch_ms = 600000,
    .return_ms = 900000,
    .commit_ms = 600000,
    .boot_ms = 300000};

// One step, with both ends.
struct taken {
    const struct apply *now;
    const struct apply_event *ev;
    const struct apply *next;
    const struct apply_plan *plan;
};

static uint64_t steps, states;

static _Noreturn void broken(const struct taken *t, const char *invariant)
{
    print_error("%s: %s -> %s on %s digest %u attempt %u code %s running %s profile %s plan",
        invariant, apply_state_name(t->now->state), apply_state_name(t->next->state),
        apply_event_name(t->ev->kind), t->ev->digest[0], t->ev->attempt, code_name(t->ev->code),
        t->ev->running, t->ev->profile);
    for (unsigned i = 0; i < t->plan->count; i++) {
        print_error(" %s", apply_effect_name(t->plan->effects[i]));
    }
    print_error("\n");
    fail_msg("%s", invariant);
    __builtin_unreachable();
}

static void require(const struct taken *t, bool holds, const char *invariant)
{
    if (!holds) {
        broken(t, invariant);
    }
}

static unsigned planned(const struct taken *t, enum apply_effect effect)
{
    unsigned count = 0;
    for (unsigned i = 0; i < t->plan->count; i++) {
        count += t->plan->effects[i] == effect;
    }
    return count;
}

static bool equal(const uint8_t *a, const uint8_t *b)
{
    return memcmp(a, b, HASH_BYTES) == 0;
}

static bool is_result(enum apply_event_kind kind)
{
    return kind == EVENT_OBTAINED || kind == EVENT_ARMED || kind == EVENT_TRIED ||
           kind == EVENT_CHECKED || kind == EVENT_COMMITTED || kind == EVENT_REVERTED ||
           kind == EVENT_FIRED || kind == EVENT_RESTORED || kind == EVENT_INSTALLED;
}

static bool stays(const struct apply *a)
{
    return (a->state == APPLY_CONFIRMING || a->state == APPLY_PROVING) && a->stays;
}

// A dead man's switch may be armed.
static bool is_guarded(const struct apply *a)
{
    return a->state == APPLY_ARMING || a->state == APPLY_TRYING || a->state == APPLY_COMMITTING ||
           a->state == APPLY_REVERTING || (a->state == APPLY_CONFIRMING && !a->stays);
}

static bool restarted(const struct taken *t)
{
    return t->ev->kind == EVENT_BOOT && memcmp(t->now->boot_id, t->ev->boot_id, 16) != 0;
}

// --- invariants

static void plan_is_within_bounds(const struct taken *t)
{
    require(t, t->plan->count <= APPLY_PLAN_MAX, "the plan is within bounds");
    for (int effect = 0; effect < APPLY_EFFECT_COUNT; effect++) {
        require(t, planned(t, (enum apply_effect)effect) <= 1, "an effect is planned once");
    }
    require(t, (unsigned)t->next->state < APPLY_STATE_COUNT, "the state is of the table");
}

static void reports_grow(const struct taken *t)
{
    unsigned reports = planned(t, EFFECT_QUEUE) + planned(t, EFFECT_REACH);
    bool is_new = t->next->report.seq != t->now->report.seq;
    require(t, reports <= 1, "one report a step");
    require(t, t->next->report.seq >= t->now->report.seq, "numbers of reports grow");
    require(t, !is_new || reports == 1, "a new report is sent");
    require(
        t, is_new || reports == 0 || t->ev->kind == EVENT_BOOT, "only BOOT sends a report again");
    require(t, !is_new || !t->next->report.queued, "a new report is not queued yet");
    require(
        t, !is_new || memcmp(t->next->report.nonce, t->ev->nonce, 16) == 0, "its nonce is fresh");
}

// An effect belongs to one state, and entering the state plans it.
static void effects_belong_to_their_state(const struct taken *t)
{
    static const struct {
        enum apply_effect effect;
        enum apply_state state;
    } owners[] = {{EFFECT_TRY, APPLY_TRYING}, {EFFECT_COMMIT, APPLY_COMMITTING},
        {EFFECT_REVERT, APPLY_REVERTING}, {EFFECT_RESTORE, APPLY_RESTORING},
        {EFFECT_INSTALL, APPLY_INSTALLING}};
    for (size_t i = 0; i < sizeof owners / sizeof owners[0]; i++) {
        bool is_planned = planned(t, owners[i].effect) == 1;
        bool enters = t->next->state == owners[i].state && t->now->state != owners[i].state;
        require(t, !is_planned || t->next->state == owners[i].state, "an effect is its state's");
        require(t, !enters || is_planned, "a state starts its effect");
    }
    bool obtains = planned(t, EFFECT_OBTAIN) + planned(t, EFFECT_UPDATE) == 1;
    bool begins = t->next->state == APPLY_OBTAINING && t->now->state != APPLY_OBTAINING;
    require(t, !begins || obtains, "obtaining starts one of its jobs");
    require(t, !obtains || t->next->state == APPLY_OBTAINING, "and nothing else does");
    require(t, !obtains || (planned(t, EFFECT_UPDATE) == 1) == t->next->target.automatic,
        "an update is the job of a self update");
    bool window = t->next->state == APPLY_CONFIRMING || t->next->state == APPLY_PROVING;
    require(t, planned(t, EFFECT_CHECK) == 0 || window, "checks belong to windows");
    bool guarded = t->next->state == APPLY_ARMING || t->next->state == APPLY_TRYING ||
                   (t->next->state == APPLY_CONFIRMING && !t->next->stays);
    require(t, planned(t, EFFECT_ARM) == 0 || guarded, "armed for a trial only");
    bool asks = t->next->state == APPLY_CHECKING || window || t->next->state == APPLY_RETURNING ||
                t->next->state == APPLY_WAITING;
    require(t, planned(t, EFFECT_REACH) == 0 || asks, "reaching is asked for where it matters");
    require(t, !asks || t->next->state == t->now->state || planned(t, EFFECT_REACH) == 1,
        "a state that waits to be reached asks for it");
}

static void trial_has_a_beginning_and_an_end(const struct taken *t)
{
    bool was = apply_in_trial(t->now->state), is = apply_in_trial(t->next->state);
    bool recorded = !bytes_are_zero(t->next->trial.digest, HASH_BYTES);
    require(t, recorded == is, "the trial is on record exactly while it is under way");
    if (is) {
        require(
            t, equal(t->next->trial.digest, t->next->target.digest), "the trial is the target's");
        require(t, t->next->trial.attempt == t->next->attempt, "the trial is this attempt's");
    }
    bool boot_trial = t->next->state == APPLY_PROVING || t->next->state == APPLY_RESTORING;
    if (was && is && !boot_trial) {
        require(t, memcmp(&t->now->trial, &t->next->trial, sizeof t->now->trial) == 0,
            "the trial does not change under way");
    }
    bool not_armed = t->now->state == APPLY_ARMING && t->ev->kind == EVENT_ARMED;
    require(
        t, !was || is || not_armed || planned(t, EFFECT_DISARM) == 1, "the end of a trial disarms");
    bool boots_outside = t->ev->kind == EVENT_BOOT && !is_guarded(t->next);
    require(t, !boots_outside || planned(t, EFFECT_DISARM) == 1, "BOOT outside of a trial disarms");
    require(t, planned(t, EFFECT_DISARM) == 0 || !is_guarded(t->next), "nothing else disarms");
}

static void switch_is_guarded(const struct taken *t)
{
    if (planned(t, EFFECT_TRY) == 0) {
        return;
    }
    bool armed =
        t->now->state == APPLY_ARMING && t->ev->kind == EVENT_ARMED && t->ev->code == CODE_OK;
    bool again = t->now->state == APPLY_TRYING && t->ev->kind == EVENT_BOOT && !restarted(t) &&
                 t->plan->effects[0] == EFFECT_ARM;
    require(t, armed || again, "a switch starts only after the dead man's");
    require(t, !armed || t->next->memories[0].attempts == t->next->attempt, "it is counted before");
    uint8_t key[HASH_BYTES];
    apply_memory_key(&t->next->target, key);
    require(t, !armed || equal(t->next->memories[0].digest, key), "and remembered");
}

static void commit_is_earned(const struct taken *t)
{
    if (planned(t, EFFECT_COMMIT) == 0) {
        return;
    }
    const struct apply *a = t->now;
    bool runs = strcmp(t->ev->running, t->next->target.path) == 0;
    bool confirmed = a->state == APPLY_CONFIRMING && t->next->reached && t->next->healthy && runs &&
                     (t->ev->kind == EVENT_ACKED || t->ev->kind == EVENT_CHECKED);
    bool boots = t->next->target.action == ACTION_BOOT;
    bool by_hand = a->state == APPLY_INSTALLING && t->ev->kind == EVENT_INSTALLED &&
                   (boots || (t->ev->code == CODE_OK && runs));
    bool without_trial =
        by_hand || (a->state == APPLY_OBTAINING && t->ev->kind == EVENT_OBTAINED && boots);
    bool needs_boot = a->state == APPLY_TRYING && t->ev->status == 100 && !runs && boots;
    bool again = a->state == APPLY_COMMITTING && t->ev->kind == EVENT_BOOT &&
                 (!restarted(t) || runs || boots);
    require(t, confirmed || without_trial || needs_boot || again, "a commit is earned");
    require(t, t->next->trial.old_profile[0] != '\0', "and there is something to go back to");
}

static void confirmation_is_earned(const struct taken *t)
{
    bool window = t->now->state == APPLY_CONFIRMING || t->now->state == APPLY_PROVING;
    if (!window || t->next->state != t->now->state || restarted(t)) {
        return;
    }
    bool acked = t->ev->kind == EVENT_ACKED && t->ev->seq == t->now->report.seq;
    bool checked = t->ev->kind == EVENT_CHECKED && t->ev->code == CODE_OK;
    require(t, !t->next->reached || t->now->reached || acked, "reached by an acknowledgement only");
    require(t, !t->next->healthy || t->now->healthy || checked, "healthy by a check only");
}

// The proof of what is applied failed, and it is not what is installed any more.
static bool is_judged(const struct taken *t)
{
    const struct apply *now = t->now;
    bool reverted = now->state == APPLY_REVERTING && t->ev->kind == EVENT_REVERTED;
    bool rebooted = now->state == APPLY_RESTORING && now->planned && restarted(t);
    bool restored = now->state == APPLY_RESTORING && t->ev->kind == EVENT_RESTORED;
    bool back = strcmp(t->ev->running, now->trial.old_path) == 0;
    return now->unproven && now->attempt == 0 &&
           equal(t->next->applied.digest, now->before.digest) &&
           (reverted ? t->ev->code == CODE_OK : back && (rebooted || restored));
}

static void applied_is_earned(const struct taken *t)
{
    bool same_path = strcmp(t->now->applied.path, t->next->applied.path) == 0;
    if (equal(t->now->applied.digest, t->next->applied.digest) && same_path) {
        return;
    }
    bool ok = t->ev->code == CODE_OK;
    bool committed = t->now->state == APPLY_COMMITTING && t->ev->kind == EVENT_COMMITTED && ok &&
                     strcmp(t->ev->profile, t->next->applied.path) == 0;
    bool sync = t->now->state == APPLY_INSTALLING && t->ev->kind == EVENT_INSTALLED && ok &&
                strcmp(t->ev->running, t->now->target.path) == 0 &&
                strcmp(t->ev->profile, t->now->target.path) == 0;
    require(t, committed || sync || is_judged(t), "applied by a commit, by sync or by a way back");
}

// A system that runs already gets secrets instead of a trial only where it is trusted.
static void install_is_earned(const struct taken *t)
{
    bool begins = t->next->state == APPLY_INSTALLING && t->now->state != APPLY_INSTALLING;
    bool found = t->now->state == APPLY_OBTAINING && t->ev->kind == EVENT_OBTAINED &&
                 t->ev->code == CODE_OK && strcmp(t->ev->running, t->ev->path) == 0;
    bool installed = strcmp(t->ev->profile, t->ev->path) == 0;
    require(t, !begins || (found && !t->now->unconfirmed),
        "what is only installed runs and is trusted");
    require(t, !begins || installed || t->next->attempt == 1, "and was not tried by us");
}

// What waits for its boot has a way back, and is done with after a proof, another commit or the way
// back only.
static void proof_is_earned(const struct taken *t)
{
    const struct apply *now = t->now, *next = t->next;
    require(t, !next->unproven || next->before_profile[0] != '\0', "unproven with a way back");
    bool keeps = strcmp(next->before_profile, now->before_profile) == 0;
    require(t, keeps || !now->unproven, "the way back of what is unproven stays");
    if (!now->unproven || next->unproven) {
        return;
    }
    bool proven = now->state == APPLY_PROVING && next->reached && next->healthy &&
                  strcmp(t->ev->running, now->applied.path) == 0 &&
                  (t->ev->kind == EVENT_ACKED || t->ev->kind == EVENT_CHECKED);
    bool replaced = t->ev->kind == EVENT_COMMITTED || t->ev->kind == EVENT_INSTALLED;
    require(t, proven || replaced || is_judged(t), "a proof is earned");
}

static void reboot_is_asked_for(const struct taken *t)
{
    const struct apply *now = t->now, *next = t->next;
    bool enters = next->state == APPLY_REBOOTING && now->state != APPLY_REBOOTING;
    require(t, !enters || planned(t, EFFECT_REBOOT) == 1, "rebooting reboots");
    if (planned(t, EFFECT_REBOOT) == 0) {
        return;
    }
    bool told = now->state == APPLY_IDLE && next->report.acked && next->reboots <= ATTEMPTS_MAX &&
                next->reboots == now->reboots + 1 && next->applied.reboot != REBOOT_BY_HAND &&
                strcmp(t->ev->profile, next->applied.path) == 0;
    bool again = t->ev->kind == EVENT_BOOT && !restarted(t) && next->state == now->state &&
                 (now->planned || now->state == APPLY_REBOOTING);
    bool restored = now->state == APPLY_RESTORING && t->ev->kind == EVENT_RESTORED &&
                    t->ev->code == CODE_OK && next->planned;
    bool resort = now->target.last_resort == LAST_RESORT_REBOOT;
    bool returning = resort && now->state == APPLY_RETURNING && !now->resorted && next->resorted;
    bool reverting = resort && now->state == APPLY_REVERTING && now->reverts == 2 &&
                     strcmp(t->ev->profile, now->trial.old_profile) == 0;
    require(t, told || again || restored || returning || reverting, "a reboot is asked for");
}

static void claims_are_true(const struct taken *t)
{
    const struct apply *next = t->next;
    if (next->report.seq == t->now->report.seq || t->ev->kind == EVENT_BEAT) {
        return;
    }
    bool runs = strcmp(t->ev->running, next->applied.path) == 0;
    bool fine = next->report.state == NODE_UP_TO_DATE;
    require(t, !fine || equal(next->report.digest, next->applied.digest), "of what is applied");
    require(t, !fine || !next->unproven || runs || strcmp(t->ev->profile, next->applied.path) != 0,
        "up to date only after the reboot");
    bool back = next->report.state == NODE_ROLLED_BACK && next->state == APPLY_RETURNING;
    bool earned = t->now->state == APPLY_RETURNING || is_judged(t) || t->ev->kind == EVENT_REVERTED;
    require(t, !back || earned, "rolled back is said once it is");
}

// Only what a verified release asked for is obtained, and nothing that was judged.
static void obtained_is_wanted(const struct taken *t)
{
    if (planned(t, EFFECT_OBTAIN) == 0) {
        return;
    }
    const uint8_t *digest = t->next->target.digest;
    bool asked = t->ev->kind == EVENT_RELEASE && equal(digest, t->ev->config->digest);
    bool known = equal(digest, t->now->target.digest) || equal(digest, t->now->next.digest);
    require(t, asked || known, "only what a release asked for is obtained");
    require(t, !bytes_are_zero(digest, HASH_BYTES), "nothing is not obtained");
    require(t, t->next->attempt >= 1 && t->next->attempt <= ATTEMPTS_MAX, "attempts are bounded");
    for (unsigned i = 0; i < APPLY_MEMORIES; i++) {
        const struct apply_memory *memory = &t->next->memories[i];
        if (equal(memory->digest, digest)) {
            require(t, memory->outcome == OUTCOME_OPEN, "what was judged is not obtained again");
        }
    }
}

static void foreign_result_changes_nothing(const struct taken *t)
{
    bool foreign =
        !equal(t->ev->digest, t->now->target.digest) || t->ev->attempt != t->now->attempt;
    if (is_result(t->ev->kind) && foreign) {
        require(t, t->plan->count == 0, "a foreign result plans nothing");
        require(
            t, memcmp(t->now, t->next, sizeof *t->now) == 0, "a foreign result changes nothing");
    }
}

static uint64_t longest_wait(const struct apply *a)
{
    uint64_t longest = 10 * 60 * 1000u;
    longest = rules.return_ms > longest ? rules.return_ms : longest;
    longest = a->target.confirm_ms > longest ? a->target.confirm_ms : longest;
    return a->state == APPLY_IDLE ? ATTEMPTS_MAX * longest : longest;
}

static void waiting_has_a_deadline(const struct taken *t)
{
    const struct apply *a = t->next;
    bool may_wait = a->state == APPLY_IDLE || a->state == APPLY_WAITING ||
                    a->state == APPLY_OBTAINING || stays(a);
    require(t, may_wait || a->deadline_ms > 0, "waiting has a deadline");
    bool is_fresh = a->state != t->now->state || restarted(t);
    require(t, !is_fresh || a->deadline_ms == 0 || a->deadline_ms > t->ev->now_ms, "it lies ahead");
    require(t, !is_fresh || a->deadline_ms <= t->ev->now_ms + longest_wait(a), "and not far");
    bool has_next = !bytes_are_zero(a->next.digest, HASH_BYTES);
    require(t, a->state != APPLY_IDLE || !has_next || a->deadline_ms > 0, "what waits is taken up");
}

static void switch_is_not_disturbed(const struct taken *t)
{
    bool news = t->ev->kind == EVENT_RELEASE || t->ev->kind == EVENT_REFUSED;
    if (news && apply_in_trial(t->now->state)) {
        require(t, t->next->state == t->now->state, "a trial is not disturbed by news");
        require(t, equal(t->now->target.digest, t->next->target.digest), "nor its target");
        require(t, planned(t, EFFECT_QUEUE) == t->plan->count, "nor by an effect");
    }
    if (t->ev->kind == EVENT_RELEASE) {
        require(t, equal(t->next->seen, t->ev->config->head_hash), "a release was seen");
        // A newer release leaves nothing older to be taken up later.
        bool none = bytes_are_zero(t->next->next.digest, HASH_BYTES);
        bool is_newest = equal(t->next->next.head_hash, t->ev->config->head_hash);
        require(t, none || is_newest, "no older release waits");
    }
}

static void judge(const struct taken *t)
{
    plan_is_within_bounds(t);
    reports_grow(t);
    effects_belong_to_their_state(t);
    trial_has_a_beginning_and_an_end(t);
    switch_is_guarded(t);
    commit_is_earned(t);
    confirmation_is_earned(t);
    applied_is_earned(t);
    install_is_earned(t);
    proof_is_earned(t);
    reboot_is_asked_for(t);
    claims_are_true(t);
    obtained_is_wanted(t);
    foreign_result_changes_nothing(t);
    waiting_has_a_deadline(t);
    switch_is_not_disturbed(t);
}

static void take(const struct apply *now, const struct apply_event *ev)
{
    static struct apply next, again;
    struct apply_plan plan, plan_again;
    memset(&next, 0xa5, sizeof next); // both are written whole
    memset(&again, 0x5a, sizeof again);
    apply_step(now, ev, &next, &plan);
    apply_step(now, ev, &again, &plan_again);
    struct taken t = {.now = now, .ev = ev, .next = &next, .plan = &plan};
    require(&t, memcmp(&next, &again, sizeof next) == 0, "the same gives the same");
    require(&t, memcmp(&plan, &plan_again, sizeof plan) == 0, "the same gives the same plan");
    judge(&t);
    steps++;
}

// --- events

static struct apply_config config_of(uint8_t digest, uint64_t release)
{
    struct apply_config config = {.epoch = 1, .release = release};
    memset(config.digest, digest, HASH_BYTES);
    memset(config.head_hash, (int)release, HASH_BYTES);
    return config;
}

static struct apply_event event_of(const struct apply *now, enum apply_event_kind kind)
{
    struct apply_event ev = {.kind = kind,
        .now_ms = NOW_MS,
        .unix_ns = now->report.seq, // a clock that stands still
        .nonce = {7},
        .boot_id = {now->boot_id[0]},
        .running = OLD,
        .profile = OLD,
        .specialisation = "",
        .rules = &rules,
        .attempt = now->attempt,
        .path = NEW};
    memcpy(ev.digest, now->target.digest, HASH_BYTES);
    return ev;
}

static const char *const places[] = {OLD, NEW, STRANGE, ""};

// In every place that the machine may be in.
static void take_everywhere(const struct apply *now, struct apply_event ev)
{
    for (size_t running = 0; running < 4; running++) {
        for (size_t profile = 0; profile < 4; profile++) {
            ev.running = places[running];
            ev.profile = places[profile];
            ev.reboot_needed = (running + profile) % 2 == 0;
            take(now, &ev);
        }
    }
}

static void take_foreign(const struct apply *now, struct apply_event ev)
{
    ev.attempt++;
    take(now, &ev);
    ev.attempt -= 2;
    take(now, &ev);
    ev.attempt++;
    memset(ev.digest, 99, HASH_BYTES);
    take(now, &ev);
    memset(ev.digest, 0, HASH_BYTES);
    take(now, &ev);
}

static void take_results(const struct apply *now)
{
    static const enum code failing[] = {CODE_BUILD, CODE_EVAL, CODE_EXPECTED, CODE_LOCKOUT,
        CODE_HEALTH, CODE_COMMIT, CODE_SWITCH, CODE_IO, CODE_TIMEOUT, CODE_BUSY};
    static const int statuses[] = {0, 1, 2, 3, 4, 100, 137, -1};
    for (int kind = 0; kind < APPLY_EVENT_COUNT; kind++) {
        struct apply_event ev = event_of(now, (enum apply_event_kind)kind);
        if (!is_result(ev.kind)) {
            continue;
        }
        take_foreign(now, ev);
        if (ev.kind == EVENT_TRIED) {
            for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
                ev.status = statuses[i];
                take_everywhere(now, ev);
            }
            continue;
        }
        take_everywhere(now, ev);
        ev.boot_only = true;
        take_everywhere(now, ev);
        for (size_t i = 0; i < sizeof failing / sizeof failing[0]; i++) {
            ev.code = failing[i];
            take(now, &ev);
        }
    }
}

static void take_news(const struct apply *now)
{
    static const uint8_t digests[] = {0, OLD_DIGEST, NEW_DIGEST, NEXT_DIGEST, 4};
    for (size_t i = 0; i < sizeof digests; i++) {
        struct apply_config config = config_of(digests[i], 50);
        struct apply_event ev = event_of(now, EVENT_RELEASE);
        ev.config = &config;
        take_everywhere(now, ev);
    }
    static const uint8_t hashes[2][HASH_BYTES] = {{1}, {2}};
    for (size_t i = 0; i < 2; i++) {
        struct apply_event ev = event_of(now, EVENT_REFUSED);
        ev.refused_hash = hashes[i];
        ev.code = CODE_SIGNER;
        take(now, &ev);
        ev.code = CODE_EXPIRED;
        take(now, &ev);
    }
}

static void take_all(const struct apply *now)
{
    take_results(now);
    take_news(now);
    static const enum apply_event_kind plain[] = {
        EVENT_BEAT, EVENT_UPDATE, EVENT_ASKED, EVENT_DUE, EVENT_SHOWN};
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++) {
        take_everywhere(now, event_of(now, plain[i]));
    }
    struct apply_event boot = event_of(now, EVENT_BOOT);
    take_everywhere(now, boot);
    boot.boot_id[0]++;
    boot.now_ms = 10;
    take_everywhere(now, boot);
    for (int off = -1; off <= 1; off++) {
        struct apply_event ev = event_of(now, EVENT_ACKED);
        ev.seq = now->report.seq + (uint64_t)off;
        take_everywhere(now, ev);
        ev.kind = EVENT_QUEUED;
        take(now, &ev);
        ev.kind = EVENT_TIMER;
        ev.now_ms = now->deadline_ms + (uint64_t)off;
        take_everywhere(now, ev);
        ev.asleep_ms = 3600000;
        take_everywhere(now, ev);
    }
}

// --- states

// A number is taken apart, digit by digit, into the choices of a state.
static unsigned choose(unsigned *number, unsigned of)
{
    unsigned digit = *number % of;
    *number /= of;
    return digit;
}

static void choose_memory(struct apply *a, unsigned choice)
{
    static const struct apply_memory memories[] = {{.outcome = OUTCOME_OPEN},
        {.attempts = 1, .outcome = OUTCOME_OPEN},
        {.attempts = ATTEMPTS_MAX, .outcome = OUTCOME_OPEN},
        {.attempts = 1, .outcome = OUTCOME_ROLLED_BACK, .code = CODE_CONNECTIVITY},
        {.attempts = 1, .outcome = OUTCOME_INCONCLUSIVE, .code = CODE_CONNECTIVITY},
        {.attempts = 1, .outcome = OUTCOME_FAILED, .code = CODE_EVAL}};
    a->memories[1] =
        (struct apply_memory){.attempts = 1, .outcome = OUTCOME_ROLLED_BACK, .code = CODE_UNITS};
    memset(a->memories[1].digest, NEXT_DIGEST, HASH_BYTES);
    if (choice > 0) {
        a->memories[0] = memories[choice];
        apply_memory_key(&a->target, a->memories[0].digest);
    }
}

static bool is_boot_trial(enum apply_state state)
{
    return state == APPLY_REBOOTING || state == APPLY_PROVING || state == APPLY_RESTORING;
}

static void set_unproven(struct apply *a)
{
    a->before = config_of(OLD_DIGEST, 1);
    strcpy(a->before.path, OLD);
    strcpy(a->before_profile, OLD);
    a->unproven = true;
}

// What is applied is to be proved.
static void choose_boot(struct apply *a, unsigned *number)
{
    a->applied = a->target;
    a->attempt = 0;
    a->started = a->state == APPLY_PROVING;
    a->boots = choose(number, 2) * ATTEMPTS_MAX;
    a->planned = choose(number, 2) == 1;
    set_unproven(a);
}

static void choose_trial(struct apply *a, unsigned *number)
{
    static const enum code reasons[] = {CODE_CONNECTIVITY, CODE_REBOOT, CODE_COMMIT, CODE_DEADMAN};
    if (is_boot_trial(a->state)) {
        choose_boot(a, number);
    } else if (choose(number, 2) == 1) { // the system before is itself unproven
        set_unproven(a);
        a->started = choose(number, 2) == 1;
    }
    if (apply_in_trial(a->state)) {
        memcpy(a->trial.digest, a->target.digest, HASH_BYTES);
        a->trial.attempt = a->attempt;
        strcpy(a->trial.new_path, NEW);
        strcpy(a->trial.old_path, OLD);
        strcpy(a->trial.old_profile, OLD);
    }
    if (a->state == APPLY_CONFIRMING || a->state == APPLY_PROVING) {
        unsigned proof = choose(number, 3); // both would have been committed
        a->reached = proof == 1;
        a->healthy = proof == 2 || !a->target.has_health;
        if (a->reached && a->healthy) {
            a->reached = false;
        }
        a->stays = choose(number, 2) == 1;
    }
    if (a->state == APPLY_REVERTING || a->state == APPLY_RETURNING || a->state == APPLY_WAITING) {
        a->reason = reasons[choose(number, 4)];
        a->reverts = choose(number, 4);
        a->resorted = choose(number, 2) == 1;
    }
    if (a->state == APPLY_RESTORING) {
        a->reason = CODE_CONNECTIVITY;
    }
}

static bool must_wait(const struct apply *a)
{
    return a->state != APPLY_IDLE && a->state != APPLY_OBTAINING && a->state != APPLY_WAITING &&
           !stays(a);
}

// What may wait for the end of the state; nothing waits for a build.
static void choose_next(struct apply *a, unsigned choice)
{
    static const uint8_t digests[] = {0, NEW_DIGEST, NEXT_DIGEST};
    bool keeps = a->state != APPLY_OBTAINING && a->state != APPLY_CHECKING;
    if (choice > 0 && keeps) {
        a->next = config_of(digests[choice], 40);
    }
    bool other = choice == 2 && keeps;
    bool due = other && (stays(a) || a->state == APPLY_IDLE);
    bool idle_next = choice > 0 && a->state == APPLY_IDLE;
    a->deadline_ms = must_wait(a) || due || idle_next ? NOW_MS + 1000 : 0;
}

static bool state_of(enum apply_state state, unsigned number, struct apply *a)
{
    apply_init(a);
    a->state = state;
    a->boot_id[0] = 1;
    a->applied = config_of(OLD_DIGEST, 1);
    strcpy(a->applied.path, OLD);
    a->target = config_of(NEW_DIGEST, 30);
    strcpy(a->target.path, NEW);
    a->refused_hash[0] = 1;
    a->refused_code = CODE_SIGNER;
    a->report = (struct apply_report){.seq = 5000, .state = NODE_BUILDING};
    a->target.action = (enum action)choose(&number, 3);
    a->attempt = 1 + choose(&number, ATTEMPTS_MAX);
    a->target.has_health = choose(&number, 2) == 1;
    a->target.fallback_floor = choose(&number, 2) * 30;
    a->target.unit_failures = (enum unit_failures)choose(&number, 3);
    a->target.last_resort = (enum last_resort)choose(&number, 2);
    a->target.reboot = a->applied.reboot = (enum reboot_policy)choose(&number, 3);
    a->applied.self_update = a->target.self_update = choose(&number, 2) == 1;
    a->report.acked = choose(&number, 2) == 1;
    bool on_its_way = state != APPLY_IDLE && !is_boot_trial(state);
    if (on_its_way && choose(&number, 3) == 0) { // of what is applied
        memcpy(a->target.digest, a->applied.digest, HASH_BYTES);
        a->target.automatic = true;
    }
    a->report.queued = choose(&number, 2) == 1;
    choose_memory(a, choose(&number, 6));
    unsigned next = choose(&number, 3);
    choose_trial(a, &number);
    choose_next(a, next);
    if (a->state == APPLY_IDLE && choose(&number, 2) == 1) {
        a->target = a->applied; // the usual rest
    } else if (a->state == APPLY_IDLE && next == 0 && a->attempt < ATTEMPTS_MAX &&
               choose(&number, 2) == 1 && a->memories[0].outcome == OUTCOME_OPEN) {
        a->deadline_ms = NOW_MS + 1000; // a build waits
    }
    // What is under way was not judged before; what has come back was.
    bool under_way = state == APPLY_OBTAINING || state == APPLY_CHECKING || apply_in_trial(state);
    enum apply_outcome outcome = a->memories[0].outcome;
    bool plausible = (!under_way || outcome == OUTCOME_OPEN) &&
                     (state != APPLY_RETURNING || outcome == OUTCOME_ROLLED_BACK) &&
                     (state != APPLY_WAITING || outcome == OUTCOME_INCONCLUSIVE);
    return number == 0 && plausible;
}

#define NUMBERS (3u * ATTEMPTS_MAX * 2 * 2 * 3 * 2 * 6 * 3 * 12 * 36 * 3 * 8)
#define PRIME 3571u

static void every_state_takes_every_event(void **state)
{
    (void)state;
    static struct apply now;
    for (int of = 0; of < APPLY_STATE_COUNT; of++) {
        // Coprime to all the choices: each stride sees all digits of all of them.
        uint64_t before = states;
        for (unsigned number = 0; number < NUMBERS; number += PRIME * STRIDE) {
            if (state_of((enum apply_state)of, number, &now)) {
                take_all(&now);
                states++;
            }
        }
        assert_true(states > before);
    }
    print_message(
        "%llu states, %llu steps\n", (unsigned long long)states, (unsigned long long)steps);
}

static void first_start_takes_every_event(void **state)
{
    (void)state;
    struct apply fresh;
    apply_init(&fresh);
    take_all(&fresh);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_state_takes_every_event),
        cmocka_unit_test(first_start_takes_every_event),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
