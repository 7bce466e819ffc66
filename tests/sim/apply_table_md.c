// Prints node/APPLY.md: what a node does, asked of apply_step itself. With a file, compares it.
//
// A fact is something that a decision may depend on. For each state and event, every combination of
// the facts that have a meaning there is built and stepped; facts without influence are dropped,
// and what remains for each outcome is said in as few conditions as possible. So no condition in
// the document is written by hand: a change of apply.c changes it.
#include "apply.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#define COMMAND "cmake --build \"$(sh script/build dev)\" --target apply-md"

#define NOW_MS 5000000u
#define OLD "/nix/store/old"
#define NEW "/nix/store/new"
#define STRANGE "/nix/store/strange"
enum { OLD_DIGEST = 1, NEW_DIGEST, FRESH_DIGEST, JUDGED_DIGEST, USED_UP_DIGEST, BEFORE_DIGEST };

// --- facts ---

// clang-format off
enum fact { FACT_BOOT, FACT_JOURNAL, FACT_CODE, FACT_OBTAINED, FACT_STATUS, FACT_REVERTED,
    FACT_ASKED, FACT_SAID, FACT_RUNNING, FACT_PROFILE, FACT_PLACES, FACT_REST, FACT_REASON,
    FACT_WINDOW, FACT_PROOF, FACT_ACTION, FACT_HEALTH, FACT_ATTEMPT, FACT_NEXT, FACT_BOOTED, FACT_BOOTS, FACT_UNPROVEN,
    FACT_KNOWN, FACT_KIND, FACT_LIVE, FACT_PLANNED, FACT_POLICY, FACT_RESORT, FACT_UPDATES, FACT_REBOOT, FACT_QUEUED, FACT_COUNT };
// Their values, as far as the code below needs names for them; 0 is the usual one.
enum { OBTAINED_BUILD = 1, OBTAINED_UNWANTED, OBTAINED_OTHER };
enum { STATUS_UNITS = 1, STATUS_ROLLBACK, STATUS_REBOOT, STATUS_SECRETS, STATUS_NEVER };
enum { REVERTED_THIRD = 2 };
enum { ASKED_FRESH, ASKED_APPLIED, ASKED_JUDGED, ASKED_USED_UP, ASKED_NONE, ASKED_SAME };
enum { REST_APPLIED, REST_FAILED, REST_BUILD, REST_NEXT };
enum { REASON_UNREACHED, REASON_REBOOT, REASON_OTHER };
enum { WINDOW_STAYS = 2 };
enum { PROOF_REACHED = 1, PROOF_HEALTHY };
enum { NEXT_SAME = 1, NEXT_OTHER };
enum { BOOTED_OLD = 1 };
enum { UNPROVEN_STARTED = 1 };
enum { POLICY_CALENDAR = 1, POLICY_BY_HAND };
enum { RESORT_TAKEN = 2 };
// clang-format on

#define VALUES_MAX 7
// What is said of each value and, where that is shorter, of its absence.
static const struct {
    const char *is[VALUES_MAX], *is_not[VALUES_MAX];
} facts[] = {
    [FACT_BOOT] = {{"bento-apply alone started again", "the machine restarted"}, {0}},
    [FACT_JOURNAL] = {{"the journal is whole", "the journal's trial alone can be read"}, {0}},
    [FACT_CODE] = {{"OK", "failed"}, {0}},
    [FACT_OBTAINED] = {{"OK", "BUILD or EVAL", "EXPECTED or LOCKOUT", "another code"}, {"failed"}},
    [FACT_STATUS] = {{"status 0", "units failed (status 4), tolerated",
                         "units failed (status 4), roll back", "status 100", "the secrets failed",
                         "it never began", "another status"},
        {0}},
    [FACT_REVERTED] = {{"OK", "failed", "failed for the third time"},
        {[REVERTED_THIRD] = "not failed three times"}},
    [FACT_ASKED] = {{"a configuration never tried", "the applied configuration",
                        "one that was judged", "one interrupted too often", "none for this node",
                        "the target again"},
        {[ASKED_NONE] = "any for this node", [ASKED_SAME] = "another than the target"}},
    [FACT_KNOWN] = {{"last report acknowledged", "last report not acknowledged"}, {0}},
    [FACT_KIND] = {{"of a release", "a self update"}, {0}},
    [FACT_LIVE] = {{"can be tried live", "cannot be tried live"}, {0}},
    [FACT_SAID] = {{"not said yet", "said already"}, {0}},
    [FACT_RUNNING] = {{"the new system runs", "the new system does not run"}, {0}},
    [FACT_PROFILE] = {{"the profile is the new system", "the profile is another"}, {0}},
    [FACT_PLACES] = {{"running system and profile known", "running system or profile unknown"},
        {0}},
    [FACT_REST] = {{"at rest, target applied", "at rest, target not applied",
                       "a failed build waits", "a newer release waits"},
        {"not at rest with the target applied", [REST_BUILD] = "no build waits"}},
    [FACT_REASON] = {{"reason CONNECTIVITY or DEADMAN", "reason REBOOT", "another reason"},
        {NULL, "reason not REBOOT"}},
    [FACT_WINDOW] = {{"may go back", "may not go back", "stays"},
        {[WINDOW_STAYS] = "inside the window"}},
    [FACT_PROOF] = {{"neither reached nor healthy", "reached, not healthy",
                        "healthy or nothing to check, not reached"},
        {NULL, "not reached", "not healthy"}},
    [FACT_ACTION] = {{"action switch", "action boot", "action dry"}, {0}},
    [FACT_HEALTH] = {{"no health commands", "health commands"}, {0}},
    [FACT_ATTEMPT] = {{"first attempt", "second attempt", "last attempt"},
        {"not the first attempt", NULL, "attempts left"}},
    [FACT_NEXT] = {{"nothing newer waits", "a newer release of the target waits",
                       "another configuration waits"},
        {"a newer release waits", NULL, "no other configuration waits"}},
    [FACT_BOOTED] = {{"what was installed runs", "what booted before runs"}, {0}},
    [FACT_BOOTS] = {{"boots left", "after too many boots"}, {0}},
    [FACT_UNPROVEN] = {{"nothing to prove", "the applied system started for the first time"}, {0}},
    [FACT_PLANNED] = {{"not restored yet", "restored"}, {0}},
    [FACT_POLICY] = {{"reboots when needed", "reboots by the calendar", "reboots by hand"}, {0}},
    [FACT_RESORT] = {{"no last resort", "last resort reboot", "last resort taken"}, {0}},
    [FACT_UPDATES] = {{"does not update itself", "updates itself"}, {0}},
    [FACT_REBOOT] = {{"no reboot due", "reboot due"}, {0}},
    [FACT_QUEUED] = {{"last report on disk", "last report not on disk"}, {0}},
};

struct point {
    enum apply_state state;
    enum apply_event_kind kind;
    unsigned value[FACT_COUNT];
};

static unsigned values_of(enum fact fact)
{
    unsigned count = 0;
    while (count < VALUES_MAX && facts[fact].is[count] != NULL) {
        count++;
    }
    return count;
}

static bool is_boot_trial(enum apply_state state)
{
    return state == APPLY_REBOOTING || state == APPLY_PROVING || state == APPLY_RESTORING;
}

static bool is_window(enum apply_state state)
{
    return state == APPLY_CONFIRMING || state == APPLY_PROVING;
}

// Where a configuration other than what is applied is on its way.
static bool is_on_its_way(enum apply_state state)
{
    return state != APPLY_IDLE && !is_boot_trial(state);
}

static bool takes_configurations(enum apply_state state, enum apply_event_kind kind)
{
    return kind == EVENT_RELEASE ||
           (kind == EVENT_TIMER && (state == APPLY_IDLE || is_window(state)));
}

static bool has_meaning(enum fact fact, enum apply_state state, enum apply_event_kind kind)
{
    bool after = state == APPLY_REVERTING || state == APPLY_RETURNING || state == APPLY_WAITING;
    switch (fact) {
    case FACT_BOOT:
        return kind == EVENT_BOOT;
    case FACT_JOURNAL: // of a journal that is not understood, IDLE and the trial are left
        return kind == EVENT_BOOT && state == APPLY_IDLE;
    case FACT_CODE:
        return kind == EVENT_ARMED || kind == EVENT_CHECKED || kind == EVENT_COMMITTED ||
               kind == EVENT_RESTORED || kind == EVENT_INSTALLED;
    case FACT_OBTAINED:
        return kind == EVENT_OBTAINED;
    case FACT_STATUS:
        return kind == EVENT_TRIED;
    case FACT_REVERTED:
        return kind == EVENT_REVERTED || (kind == EVENT_TIMER && state == APPLY_REVERTING);
    case FACT_ASKED:
        return takes_configurations(state, kind);
    case FACT_SAID:
        return kind == EVENT_REFUSED;
    case FACT_RUNNING:
        return kind == EVENT_OBTAINED || kind == EVENT_TRIED || kind == EVENT_CHECKED ||
               kind == EVENT_COMMITTED || kind == EVENT_INSTALLED ||
               (kind == EVENT_ACKED && is_window(state)) ||
               (kind == EVENT_BOOT && apply_in_trial(state) && !is_boot_trial(state));
    case FACT_PROFILE:
        return kind == EVENT_OBTAINED || kind == EVENT_COMMITTED || kind == EVENT_INSTALLED;
    case FACT_PLACES:
        return kind == EVENT_ACKED && state == APPLY_CHECKING;
    case FACT_REBOOT:
        return takes_configurations(state, kind) || kind == EVENT_BEAT || kind == EVENT_DUE ||
               kind == EVENT_COMMITTED || (kind == EVENT_ACKED && state == APPLY_IDLE) ||
               (kind == EVENT_BOOT && !apply_in_trial(state));
    case FACT_BOOTED:
        return is_boot_trial(state) && (kind == EVENT_BOOT || kind == EVENT_RESTORED);
    case FACT_BOOTS:
        return kind == EVENT_BOOT && (is_boot_trial(state) || state == APPLY_COMMITTING);
    case FACT_UNPROVEN:
        return kind == EVENT_REVERTED ||
               (kind == EVENT_BOOT && (!apply_in_trial(state) || state == APPLY_COMMITTING));
    case FACT_KNOWN:
        return state == APPLY_IDLE && kind == EVENT_DUE;
    case FACT_KIND:
        return (state == APPLY_OBTAINING && kind != EVENT_REFUSED && kind != EVENT_BEAT) ||
               (state == APPLY_REVERTING && kind == EVENT_REVERTED);
    case FACT_LIVE:
        return kind == EVENT_OBTAINED;
    case FACT_PLANNED:
        return state == APPLY_RESTORING && (kind == EVENT_BOOT || kind == EVENT_RESTORED);
    case FACT_POLICY:
        return state == APPLY_IDLE && (kind == EVENT_ACKED || kind == EVENT_DUE);
    case FACT_RESORT:
        return (state == APPLY_RETURNING && kind == EVENT_TIMER) || kind == EVENT_REVERTED;
    case FACT_UPDATES:
        return state == APPLY_IDLE && (kind == EVENT_UPDATE || kind == EVENT_ASKED);
    case FACT_REST:
        return state == APPLY_IDLE;
    case FACT_REASON:
        return after;
    case FACT_WINDOW:
    case FACT_PROOF:
        return is_window(state);
    case FACT_ACTION:
        return is_on_its_way(state) && state != APPLY_CONFIRMING && !after;
    case FACT_HEALTH:
        return (is_on_its_way(state) && state != APPLY_CONFIRMING && !after) ||
               (kind == EVENT_BOOT && state == APPLY_REBOOTING);
    case FACT_ATTEMPT:
        return is_on_its_way(state);
    case FACT_NEXT:
        return (after || apply_in_trial(state)) && kind != EVENT_BOOT && kind != EVENT_REFUSED;
    case FACT_QUEUED:
        return kind == EVENT_BOOT || kind == EVENT_BEAT;
    case FACT_COUNT:
        break;
    }
    ASSERT(!"a fact of the table");
}

// Combinations that do not occur.
static bool occurs(const struct point *p)
{
    const unsigned *value = p->value;
    bool trial = apply_in_trial(p->state);
    if (p->state == APPLY_IDLE && value[FACT_ASKED] == ASKED_SAME) {
        return value[FACT_REST] != REST_APPLIED; // that is ASKED_APPLIED
    }
    if (p->kind == EVENT_TIMER && p->state == APPLY_IDLE) {
        return value[FACT_ASKED] != ASKED_NONE || value[FACT_REST] != REST_NEXT;
    }
    if (p->kind == EVENT_TIMER && value[FACT_ASKED] == ASKED_SAME) {
        return false; // does not end a configuration that stays
    }
    if (p->kind == EVENT_TIMER && is_boot_trial(p->state) && value[FACT_ASKED] == ASKED_APPLIED) {
        return false; // it is the target there
    }
    if (p->kind == EVENT_RESTORED && value[FACT_PLANNED]) {
        return false;
    }
    if (p->kind == EVENT_COMMITTED && value[FACT_REBOOT] && value[FACT_RUNNING]) {
        return false; // it waits anyway
    }
    bool under_way = trial && p->state != APPLY_REVERTING;
    return (!under_way || value[FACT_ACTION] != ACTION_DRY) &&
           (p->state != APPLY_CHECKING || value[FACT_ACTION] == ACTION_SWITCH) &&
           (p->state != APPLY_RETURNING || value[FACT_REASON] != REASON_REBOOT) &&
           (p->state != APPLY_WAITING || value[FACT_REASON] == REASON_UNREACHED);
}

// --- a state and an event of given facts ---

static struct apply_config config_of(uint8_t digest, uint64_t release)
{
    struct apply_config config = {.epoch = 1, .release = release};
    memset(config.digest, digest, HASH_BYTES);
    memset(config.head_hash, (int)release, HASH_BYTES);
    return config;
}

static struct apply_config asked_config(const struct point *p)
{
    static const uint8_t digests[] = {[ASKED_FRESH] = FRESH_DIGEST,
        [ASKED_APPLIED] = OLD_DIGEST,
        [ASKED_JUDGED] = JUDGED_DIGEST,
        [ASKED_USED_UP] = USED_UP_DIGEST,
        [ASKED_NONE] = 0,
        [ASKED_SAME] = NEW_DIGEST};
    struct apply_config config = config_of(digests[p->value[FACT_ASKED]], 50);
    return config;
}

static void remember(struct apply *a, unsigned at, uint8_t digest, struct apply_memory memory)
{
    memset(memory.digest, digest, HASH_BYTES);
    a->memories[at] = memory;
}

static void set_rest(const struct point *p, struct apply *a)
{
    static const enum node_state said[] = {[REST_APPLIED] = NODE_UP_TO_DATE,
        [REST_FAILED] = NODE_FAILED,
        [REST_BUILD] = NODE_FAILED,
        [REST_NEXT] = NODE_ROLLED_BACK};
    unsigned rest = p->value[FACT_REST];
    a->report.state = said[rest];
    if (rest == REST_APPLIED) {
        a->target = a->applied;
    } else if (rest != REST_BUILD) {
        struct apply_memory judged = {
            .attempts = 1, .outcome = OUTCOME_FAILED, .code = CODE_SWITCH};
        remember(a, 0, NEW_DIGEST, judged);
    }
    if (rest == REST_NEXT) {
        a->next = asked_config(p);
    }
    a->builds = rest == REST_BUILD;
    a->deadline_ms = rest == REST_BUILD || rest == REST_NEXT ? NOW_MS : 0;
}

static void set_trial(const struct point *p, struct apply *a)
{
    memcpy(a->trial.digest, config_of(NEW_DIGEST, 0).digest, HASH_BYTES);
    a->trial.attempt = a->attempt;
    strcpy(a->trial.new_path, NEW);
    strcpy(a->trial.old_path, OLD);
    strcpy(a->trial.old_profile, OLD);
    a->reached = p->value[FACT_PROOF] == PROOF_REACHED;
    a->healthy = p->value[FACT_PROOF] == PROOF_HEALTHY;
    a->stays = p->value[FACT_WINDOW] == WINDOW_STAYS;
    a->planned = p->value[FACT_PLANNED];
    if (p->state == APPLY_RESTORING) {
        a->reason = CODE_HEALTH;
    }
    a->target.fallback_floor = p->value[FACT_WINDOW] > 0 ? 30 : 0;
}

// The trial failed: the old system is coming back, or is back.
static void set_after(const struct point *p, struct apply *a)
{
    static const enum code reasons[] = {[REASON_UNREACHED] = CODE_CONNECTIVITY,
        [REASON_REBOOT] = CODE_REBOOT,
        [REASON_OTHER] = CODE_UNITS};
    a->reason = reasons[p->value[FACT_REASON]];
    unsigned failed = p->kind == EVENT_TIMER ? 3 : 2; // before this step
    a->reverts = p->value[FACT_REVERTED] == REVERTED_THIRD ? failed : 0;
    a->resorted = p->value[FACT_RESORT] == RESORT_TAKEN;
    a->target.last_resort = p->value[FACT_RESORT] ? LAST_RESORT_REBOOT : LAST_RESORT_STAY;
    struct apply_memory memory = {.attempts = a->attempt, .code = a->reason};
    memory.outcome = p->state == APPLY_RETURNING ? OUTCOME_ROLLED_BACK
                     : p->state == APPLY_WAITING ? OUTCOME_INCONCLUSIVE
                                                 : OUTCOME_OPEN;
    remember(a, 0, NEW_DIGEST, memory);
}

// What is applied waits for its proof.
static void set_boot(const struct point *p, struct apply *a)
{
    static const enum reboot_policy policies[] = {
        REBOOT_WHEN_NEEDED, [POLICY_CALENDAR] = REBOOT_CALENDAR, [POLICY_BY_HAND] = REBOOT_BY_HAND};
    a->applied.reboot = policies[p->value[FACT_POLICY]];
    a->applied.self_update = p->value[FACT_UPDATES];
    a->boots = p->value[FACT_BOOTS] ? ATTEMPTS_MAX : 0;
    a->unproven = is_boot_trial(p->state) || p->value[FACT_UNPROVEN] == UNPROVEN_STARTED;
    a->started = p->value[FACT_UNPROVEN] == UNPROVEN_STARTED || p->state == APPLY_PROVING;
    strcpy(a->before_profile, STRANGE);
    a->before = config_of(BEFORE_DIGEST, 0);
    strcpy(a->before.path, STRANGE);
    if (is_boot_trial(p->state)) {
        strcpy(a->before_profile, OLD);
        strcpy(a->before.path, OLD);
        a->applied = a->target;
        a->attempt = 0;
    }
}

static void set_state(const struct point *p, struct apply *a)
{
    const unsigned *value = p->value;
    apply_init(a);
    a->state = p->state;
    a->boot_id[0] = 1;
    a->applied = config_of(OLD_DIGEST, 1);
    strcpy(a->applied.path, OLD);
    a->target = config_of(NEW_DIGEST, 30);
    strcpy(a->target.path, NEW);
    a->target.action = (enum action)value[FACT_ACTION];
    a->target.unit_failures =
        value[FACT_STATUS] == STATUS_ROLLBACK ? UNIT_FAILURES_ROLLBACK : UNIT_FAILURES_REPORT;
    a->target.has_health = value[FACT_HEALTH] || is_window(p->state);
    a->attempt = 1 + value[FACT_ATTEMPT];
    if (value[FACT_KIND]) {
        memcpy(a->target.digest, a->applied.digest, HASH_BYTES);
        a->target.automatic = true;
    }
    set_boot(p, a);
    a->report = (struct apply_report){.seq = 5000,
        .acked = !value[FACT_KNOWN],
        .state = NODE_BUILDING,
        .queued = value[FACT_QUEUED] == 0};
    a->deadline_ms = p->state == APPLY_OBTAINING || p->state == APPLY_WAITING ? 0 : NOW_MS;
    a->refused_hash[0] = 1;
    a->refused_code = value[FACT_SAID] ? CODE_SIGNER : CODE_OK;
    struct apply_memory memory = {.attempts = 1, .outcome = OUTCOME_ROLLED_BACK};
    memory.code = CODE_UNITS;
    remember(a, 1, JUDGED_DIGEST, memory);
    remember(a, 2, USED_UP_DIGEST, (struct apply_memory){.attempts = ATTEMPTS_MAX});
    if (has_meaning(FACT_NEXT, p->state, p->kind) && value[FACT_NEXT] > 0) {
        a->next = config_of(value[FACT_NEXT] == NEXT_SAME ? NEW_DIGEST : FRESH_DIGEST, 40);
    }
    if (p->state == APPLY_IDLE) {
        set_rest(p, a);
    } else if (has_meaning(FACT_REASON, p->state, p->kind)) {
        set_after(p, a);
    }
    if (apply_in_trial(p->state) || value[FACT_JOURNAL]) {
        set_trial(p, a);
    }
    if (is_window(p->state) && a->stays) { // ended by another configuration alone
        a->deadline_ms = value[FACT_NEXT] == NEXT_OTHER ? NOW_MS : 0;
        if (p->kind == EVENT_TIMER && value[FACT_NEXT] == NEXT_OTHER) {
            a->next = asked_config(p);
        }
    }
}

static enum code event_code(const struct point *p)
{
    static const enum code obtained[] = {CODE_OK, [OBTAINED_BUILD] = CODE_BUILD,
        [OBTAINED_UNWANTED] = CODE_EXPECTED, [OBTAINED_OTHER] = CODE_SWITCH};
    if (p->kind == EVENT_OBTAINED) {
        return obtained[p->value[FACT_OBTAINED]];
    }
    if (p->kind == EVENT_REFUSED) {
        return CODE_SIGNER;
    }
    return p->value[FACT_CODE] || p->value[FACT_REVERTED] ? CODE_IO : CODE_OK;
}

static void set_event(const struct point *p, const struct apply *a, struct apply_config *config,
    struct apply_event *ev)
{
    static const struct apply_rules rules = {.confirm_ms = 180000,
        .switch_ms = 600000,
        .return_ms = 900000,
        .commit_ms = 600000,
        .boot_ms = 300000};
    static const uint8_t refused_hash[HASH_BYTES] = {1};
    static const int statuses[] = {0, [STATUS_UNITS] = 4, [STATUS_ROLLBACK] = 4,
        [STATUS_REBOOT] = 100, [STATUS_SECRETS] = TRIED_SECRETS, [STATUS_NEVER] = TRIED_NEVER, 1};
    const unsigned *value = p->value;
    bool new_runs = has_meaning(FACT_RUNNING, p->state, p->kind) && value[FACT_RUNNING] == 0;
    bool new_profile = has_meaning(FACT_PROFILE, p->state, p->kind) && value[FACT_PROFILE] == 0;
    *config = asked_config(p);
    *ev = (struct apply_event){.kind = p->kind,
        .now_ms = NOW_MS,
        .unix_ns = UINT64_C(3600000000000), // an hour after the last self update
        .boot_id = {(uint8_t)(1 + value[FACT_BOOT])},
        .running = new_runs ? NEW : OLD,
        .profile = new_profile ? NEW : OLD,
        .specialisation = "",
        .boot_only = value[FACT_LIVE],
        .reboot_needed = value[FACT_REBOOT],
        .rules = &rules,
        .attempt = a->attempt,
        .config = config,
        .code = event_code(p),
        .refused_hash = refused_hash,
        .path = NEW,
        .status = statuses[value[FACT_STATUS]],
        .seq = a->report.seq};
    memcpy(ev->digest, a->target.digest, HASH_BYTES);
    if (is_boot_trial(p->state)) {
        bool is_back = value[FACT_BOOTED] == BOOTED_OLD;
        bool elsewhere = is_window(p->state) && p->kind != EVENT_BOOT && value[FACT_RUNNING];
        ev->running = is_back || elsewhere ? OLD : NEW;
        ev->profile = p->state == APPLY_RESTORING ? OLD : NEW;
    }
    if (value[FACT_PLACES]) {
        ev->running = "";
    }
}

// --- an outcome in words ---

struct step {
    struct apply now, next;
    struct apply_config config; // the event may point to it
    struct apply_event ev;
    struct apply_plan plan;
};

static void take(const struct point *p, struct step *s)
{
    set_state(p, &s->now);
    set_event(p, &s->now, &s->config, &s->ev);
    apply_step(&s->now, &s->ev, &s->next, &s->plan);
}

static void append(char *text, size_t size, const char *separator, const char *more)
{
    size_t len = strlen(text);
    int added = snprintf(text + len, size - len, "%s%s", len > 0 ? separator : "", more);
    ASSERT(added >= 0 && (size_t)added < size - len);
}

static enum apply_outcome remembered(const struct apply *a, const uint8_t *digest)
{
    for (unsigned i = 0; i < APPLY_MEMORIES; i++) {
        if (memcmp(a->memories[i].digest, digest, HASH_BYTES) == 0) {
            return a->memories[i].outcome;
        }
    }
    return OUTCOME_OPEN;
}

static bool planned(const struct step *s, enum apply_effect effect)
{
    for (unsigned i = 0; i < s->plan.count; i++) {
        if (s->plan.effects[i] == effect) {
            return true;
        }
    }
    return false;
}

static bool has_news(const struct step *s)
{
    return s->next.report.seq != s->now.report.seq;
}

// Effects, then in italics what else changes.
static void describe_effects(const struct step *s, char *text, size_t size)
{
    const struct apply *now = &s->now, *next = &s->next;
    for (unsigned i = 0; i < s->plan.count; i++) {
        if (s->plan.effects[i] != EFFECT_QUEUE || has_news(s)) {
            append(text, size, ", ", apply_effect_name(s->plan.effects[i]));
        }
    }
    uint8_t key[HASH_BYTES];
    apply_memory_key(&now->target, key);
    bool same_target = memcmp(now->target.digest, next->target.digest, HASH_BYTES) == 0;
    if (!now->target.automatic || !same_target) {
        memcpy(key, next->target.digest, HASH_BYTES);
    }
    enum apply_outcome outcome = remembered(next, key);
    bool keeps = !bytes_are_zero(next->next.digest, HASH_BYTES) &&
                 memcmp(next->next.head_hash, now->next.head_hash, HASH_BYTES) != 0;
    bool build_waits =
        now->state == APPLY_OBTAINING && next->state == APPLY_IDLE && next->deadline_ms > 0;
    bool revert_waits = next->state == now->state && next->reverts > now->reverts;
    bool applies = strcmp(now->applied.path, next->applied.path) != 0;
    bool unproven = next->unproven && !now->unproven;
    bool judges = outcome != OUTCOME_OPEN && outcome != remembered(now, key);
    const struct {
        bool holds;
        const char *words;
    } notes[] = {{next->reached && !now->reached && is_window(next->state), "*reached*"},
        {next->healthy && !now->healthy && is_window(next->state), "*healthy*"},
        {next->stays && !now->stays, "*stays*"}, {unproven, "*to be proved*"},
        {applies, "*applied*"}, {judges, "*judged*"}, {keeps, "*kept for later*"},
        {build_waits || revert_waits, "*again later*"}};
    for (size_t i = 0; i < sizeof notes / sizeof notes[0]; i++) {
        if (notes[i].holds) {
            append(text, size, ", ", notes[i].words);
        }
    }
}

static void describe_report(const struct step *s, char *text, size_t size)
{
    const struct apply_report *report = &s->next.report;
    if (!has_news(s)) {
        // Said once, at the head of the document, instead of in two rows for each state.
        bool lost = s->ev.kind == EVENT_BOOT && !s->now.report.queued;
        ASSERT(planned(s, EFFECT_QUEUE) == lost);
    } else if (s->ev.kind == EVENT_BEAT && report->state == s->now.report.state) {
        append(text, size, "", "the same, again");
    } else if ((s->ev.kind == EVENT_RELEASE || s->ev.kind == EVENT_TIMER) &&
               planned(s, EFFECT_QUEUE) && remembered(&s->now, report->digest) != OUTCOME_OPEN) {
        append(text, size, "", "as it was judged");
    } else {
        append(text, size, "", node_state_word(report->state));
        bool told = s->now.reason != CODE_OK && report->code == s->now.reason;
        const char *code = told                         ? "the reason"
                           : report->code == CODE_OK    ? ""
                           : report->code == s->ev.code ? "the code"
                                                        : code_name(report->code);
        append(text, size, code[0] != '\0' ? ", " : "", code);
    }
}

// Whether a step ends like another, perhaps after some other effects: how many, or -1.
static int effects_before(const struct step *s, const struct step *end)
{
    const struct apply_report *a = &s->next.report, *b = &end->next.report;
    int before = (int)s->plan.count - (int)end->plan.count;
    bool alike = before >= 0 && s->next.state == end->next.state && a->state == b->state &&
                 a->code == b->code && memcmp(a->digest, b->digest, HASH_BYTES) == 0 &&
                 has_news(s) &&
                 memcmp(&s->plan.effects[before], end->plan.effects,
                     end->plan.count * sizeof end->plan.effects[0]) == 0;
    return alike ? before : -1;
}

// "" if nothing happens.
static void describe(const struct step *s, char *text, size_t size)
{
    char effects[120] = "", report[80] = "";
    describe_effects(s, effects, sizeof effects);
    describe_report(s, report, sizeof report);
    bool same = s->next.state == s->now.state;
    text[0] = '\0';
    if (!same || effects[0] != '\0') {
        append(text, size, "", same ? "same" : apply_state_name(s->next.state));
        append(text, size, " | ", effects);
        append(text, size, " | ", report);
    }
}

// --- all combinations of facts for one state and event ---

#define POINTS_MAX 20000
#define OUTCOMES_MAX 48
#define UNDEFINED 255

struct table {
    enum apply_state state;
    enum apply_event_kind kind;
    unsigned count; // of the facts that matter
    enum fact facts[FACT_COUNT];
    unsigned points;
    uint8_t outcome[POINTS_MAX]; // by the values of the facts, the first one's fastest
    unsigned outcomes;
    char text[OUTCOMES_MAX][240];
};

// True where a configuration is taken up just as a node at rest takes up a release, so that this is
// said once. The text: effects before that.
static bool describe_taking_up(
    const struct point *p, const struct step *step, char *text, size_t size)
{
    static struct step rest;
    struct point at_rest = {.state = APPLY_IDLE, .kind = EVENT_RELEASE};
    at_rest.value[FACT_ASKED] = p->value[FACT_ASKED];
    at_rest.value[FACT_REBOOT] = p->value[FACT_REBOOT];
    bool judged = p->state == APPLY_IDLE && p->value[FACT_ASKED] == ASKED_SAME;
    at_rest.value[FACT_REST] = judged ? REST_FAILED : REST_APPLIED;
    if (!takes_configurations(p->state, p->kind) || !occurs(&at_rest) ||
        (p->state == APPLY_IDLE && p->kind == EVENT_RELEASE)) {
        return false;
    }
    take(&at_rest, &rest);
    int before = effects_before(step, &rest);
    text[0] = '\0';
    for (int i = 0; i < before; i++) {
        append(text, size, ", ", apply_effect_name(step->plan.effects[i]));
    }
    return before >= 0;
}

static uint8_t outcome_of(struct table *table, const struct point *p)
{
    static struct step step;
    if (!occurs(p)) {
        return UNDEFINED;
    }
    take(p, &step);
    char text[sizeof table->text[0]], before[80];
    if (describe_taking_up(p, &step, before, sizeof before)) {
        snprintf(text, sizeof text, "*as a RELEASE at rest* | %s | *as there*", before);
    } else {
        describe(&step, text, sizeof text);
    }
    unsigned i = 0;
    while (i < table->outcomes && strcmp(table->text[i], text) != 0) {
        i++;
    }
    ASSERT(i < OUTCOMES_MAX);
    if (i == table->outcomes) {
        strcpy(table->text[table->outcomes++], text);
    }
    return (uint8_t)i;
}

static void fill(struct table *table)
{
    table->count = table->outcomes = 0;
    table->points = 1;
    for (enum fact fact = 0; fact < FACT_COUNT; fact++) {
        if (has_meaning(fact, table->state, table->kind)) {
            table->facts[table->count++] = fact;
            table->points *= values_of(fact);
        }
    }
    ASSERT(table->points <= POINTS_MAX);
    for (unsigned at = 0; at < table->points; at++) {
        struct point p = {.state = table->state, .kind = table->kind};
        unsigned rest = at;
        for (unsigned i = 0; i < table->count; i++) {
            p.value[table->facts[i]] = rest % values_of(table->facts[i]);
            rest /= values_of(table->facts[i]);
        }
        table->outcome[at] = outcome_of(table, &p);
    }
}

// Drops the fact at an index if the outcome never depends on it.
static void drop_if_idle(struct table *table, unsigned index)
{
    static uint8_t without[POINTS_MAX];
    unsigned values = values_of(table->facts[index]), stride = 1;
    for (unsigned i = 0; i < index; i++) {
        stride *= values_of(table->facts[i]);
    }
    memset(without, UNDEFINED, sizeof without);
    for (unsigned at = 0; at < table->points; at++) {
        uint8_t *merged = &without[at / (stride * values) * stride + at % stride];
        if (*merged != UNDEFINED && table->outcome[at] != UNDEFINED &&
            *merged != table->outcome[at]) {
            return;
        }
        *merged = *merged == UNDEFINED ? table->outcome[at] : *merged;
    }
    table->points /= values;
    table->count--;
    memcpy(table->outcome, without, table->points);
    memmove(&table->facts[index], &table->facts[index + 1],
        (table->count - index) * sizeof table->facts[0]);
}

// --- conditions ---

// For each fact of the table the set of values that it may have, as bits.
struct condition {
    unsigned allowed[FACT_COUNT];
};

static unsigned all_values(const struct table *table, unsigned i)
{
    return (1u << values_of(table->facts[i])) - 1;
}

static bool holds(const struct table *table, const struct condition *c, unsigned at)
{
    for (unsigned i = 0; i < table->count; i++) {
        unsigned values = values_of(table->facts[i]);
        if ((c->allowed[i] >> (at % values) & 1) == 0) {
            return false;
        }
        at /= values;
    }
    return true;
}

// How much it explains of an outcome, beyond what is covered already, for the words that it takes.
// 0 if it also holds for another outcome.
static unsigned worth(
    const struct table *table, const struct condition *c, uint8_t outcome, const bool *covered)
{
    unsigned gain = 0, words = 1;
    for (unsigned at = 0; at < table->points; at++) {
        if (table->outcome[at] == UNDEFINED || (table->outcome[at] == outcome && covered[at])) {
            continue;
        }
        if (holds(table, c, at)) {
            if (table->outcome[at] != outcome) {
                return 0;
            }
            gain++;
        }
    }
    for (unsigned i = 0; i < table->count; i++) {
        unsigned named = (unsigned)__builtin_popcount(c->allowed[i]);
        words += c->allowed[i] == all_values(table, i) ? 0 : 10 + named;
    }
    return gain * 10000 / words;
}

static bool next_condition(const struct table *table, struct condition *c)
{
    for (unsigned i = 0; i < table->count; i++) {
        if (c->allowed[i]-- > 1) {
            return true;
        }
        c->allowed[i] = all_values(table, i);
    }
    return false;
}

static struct condition best_condition(
    const struct table *table, uint8_t outcome, const bool *covered)
{
    struct condition c = {{0}}, best = {{0}};
    for (unsigned i = 0; i < table->count; i++) {
        c.allowed[i] = all_values(table, i);
    }
    unsigned most = 0;
    do {
        unsigned w = worth(table, &c, outcome, covered);
        if (w > most) {
            most = w;
            best = c;
        }
    } while (next_condition(table, &c));
    ASSERT(most > 0); // a single point is a condition
    return best;
}

static void say_values(enum fact fact, unsigned allowed, char *text, size_t size)
{
    unsigned values = values_of(fact);
    for (unsigned v = 0; v < values; v++) {
        if (allowed == (((1u << values) - 1) ^ 1u << v) && facts[fact].is_not[v] != NULL) {
            append(text, size, "", facts[fact].is_not[v]);
            return;
        }
    }
    for (unsigned v = 0; v < values; v++) {
        if (allowed >> v & 1) {
            append(text, size, " or ", facts[fact].is[v]);
        }
    }
}

static void say_condition(
    const struct table *table, const struct condition *c, char *text, size_t size)
{
    char all[300] = "";
    for (unsigned i = 0; i < table->count; i++) {
        char words[200] = "";
        if (c->allowed[i] != all_values(table, i)) {
            say_values(table->facts[i], c->allowed[i], words, sizeof words);
            append(all, sizeof all, "; ", words);
        }
    }
    append(text, size, " **or** ", all);
}

static void say_when(const struct table *table, uint8_t outcome, char *text, size_t size)
{
    static bool covered[POINTS_MAX];
    memset(covered, 0, sizeof covered);
    text[0] = '\0';
    for (unsigned at = 0; at < table->points; at++) {
        while (table->outcome[at] == outcome && !covered[at]) { // others may be worth more
            struct condition c = best_condition(table, outcome, covered);
            say_condition(table, &c, text, size);
            for (unsigned i = 0; i < table->points; i++) {
                covered[i] = covered[i] || holds(table, &c, i);
            }
        }
    }
}

// --- the document ---

static void write_rows(FILE *out, enum apply_state state, enum apply_event_kind kind)
{
    static struct table table;
    table.state = state;
    table.kind = kind;
    fill(&table);
    for (unsigned i = table.count; i-- > 0;) {
        drop_if_idle(&table, i);
    }
    for (unsigned outcome = 0; outcome < table.outcomes; outcome++) {
        if (table.text[outcome][0] != '\0') {
            char when[1500];
            say_when(&table, (uint8_t)outcome, when, sizeof when);
            fprintf(out, "| %s | %s | %s |\n", apply_event_name(kind),
                when[0] != '\0' ? when : "always", table.text[outcome]);
        }
    }
}

static void write_list(FILE *out, const char *title, const char *const *items, unsigned count)
{
    fprintf(out, "\n## %s\n\n", title);
    for (unsigned i = 0; i < count; i++) {
        fputs(items[i], out);
    }
}

static void write_document(FILE *out)
{
    static const char *const states[] = {
#define TEXT(name, what) "- **" #name "**: " what "\n",
        APPLY_STATES(TEXT)};
    static const char *const events[] = {APPLY_EVENTS(TEXT)};
    static const char *const effects[] = {APPLY_EFFECTS(TEXT)};
    fputs(
        "# What a node does\n\n"
        "This is the state machine of `bento-apply`: what `apply_step()` of apply.c makes of each "
        "event in each state, which effects\nit starts and what the node reports. "
        "It is generated from the code, by trying every combination of the conditions named here."
        "\nWhen the test `sim/apply_md` finds it out of date, this writes it anew:\n"
        "`" COMMAND "`\n\n"
        "Conditions with a semicolon between them hold together. *The code* is the event's, *the "
        "reason* is why the old system\nis brought back. In italics under effects: what else is "
        "remembered; what was judged is not tried again by itself.\nLeft out is what changes "
        "nothing, such as the result of another attempt or the acknowledgement of an older report."
        "\nBOOT also queues the last report again if it is not on disk and no new one is made. "
        "SHOWN "
        "says again what the\nreport before a release that was refused had said; otherwise it "
        "changes nothing.\n",
        out);
    write_list(out, "States", states, APPLY_STATE_COUNT);
    write_list(out, "Events", events, APPLY_EVENT_COUNT);
    write_list(out, "Effects", effects, APPLY_EFFECT_COUNT);
    for (enum apply_state state = 0; state < APPLY_STATE_COUNT; state++) {
        fprintf(out, "\n## %s\n| event | when | next state | effects | says |\n|-|-|-|-|-|\n",
            apply_state_name(state));
        for (enum apply_event_kind kind = 0; kind < APPLY_EVENT_COUNT; kind++) {
            write_rows(out, state, kind);
        }
    }
}

// Prints the difference to a file; true if there is none.
static bool compare(const char *path)
{
    char command[4200];
    int len = snprintf(command, sizeof command, "diff -u '%s' -", path);
    ASSERT(len > 0 && (size_t)len < sizeof command);
    signal(SIGPIPE, SIG_IGN); // diff ends early without the file
    FILE *diff = popen(command, "w");
    ASSERT(diff != NULL);
    write_document(diff);
    return pclose(diff) == 0;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        write_document(stdout);
        return fflush(stdout) == 0 ? 0 : 1;
    }
    if (compare(argv[1])) {
        return 0;
    }
    fprintf(stderr, "%s is not what the code does. To write it anew: %s\n", argv[1], COMMAND);
    return 1;
}
