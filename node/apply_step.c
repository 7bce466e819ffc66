// Small steps, memory and reports: see apply_step.h.
#include "apply_step.h"

#include <string.h>

// --- small steps ---

bool digest_same(const uint8_t *a, const uint8_t *b)
{
    return memcmp(a, b, HASH_BYTES) == 0;
}

bool digest_is_none(const uint8_t *digest)
{
    return bytes_are_zero(digest, HASH_BYTES);
}

void path_set(char path[STORE_PATH_BYTES_MAX + 1], const char *to)
{
    size_t len = strnlen(to, STORE_PATH_BYTES_MAX);
    memmove(path, to, len); // an event may point into the state
    memset(path + len, 0, STORE_PATH_BYTES_MAX + 1 - len);
}

uint64_t unix_s(const struct step *s)
{
    return s->ev->unix_ns / UINT64_C(1000000000);
}

bool runs(const struct step *s, const char *path)
{
    return strcmp(s->ev->running, path) == 0;
}

bool is_profile(const struct step *s, const char *path)
{
    return strcmp(s->ev->profile, path) == 0;
}

void plan_add(struct step *s, enum apply_effect effect)
{
    ASSERT(s->plan->count < APPLY_PLAN_MAX);
    s->plan->effects[s->plan->count++] = effect;
}

void enter(struct step *s, enum apply_state state, uint64_t limit_ms)
{
    s->a->state = state;
    s->a->deadline_ms = limit_ms > 0 ? s->ev->now_ms + limit_ms : 0;
    s->a->asleep_ms = s->ev->asleep_ms;
    if (!apply_in_trial(state)) { // the record says whether there is something to go back from
        memset(&s->a->trial, 0, sizeof s->a->trial);
    }
}

uint64_t window_ms(const struct step *s)
{
    const struct apply_config *target = &s->a->target;
    uint64_t window = target->confirm_ms > 0 ? target->confirm_ms : s->ev->rules->confirm_ms;
    bool boots = s->a->state == APPLY_PROVING; // services and the network come up first
    return boots && s->ev->rules->boot_ms > window ? s->ev->rules->boot_ms : window;
}

bool is_at_rest(const struct apply *a)
{
    return !digest_is_none(a->applied.digest) && digest_same(a->applied.digest, a->target.digest);
}

bool has_next(const struct apply *a)
{
    return !digest_is_none(a->next.digest);
}

bool has_remedy(const struct apply *a)
{
    return has_next(a) && !digest_same(a->next.digest, a->target.digest);
}

bool must_prove(const struct step *s)
{
    return s->a->unproven && s->a->started && runs(s, s->a->applied.path);
}

// --- memory of configurations ---

const struct apply_memory *memory_find(const struct apply *a, const struct apply_config *config)
{
    uint8_t key[HASH_BYTES];
    apply_memory_key(config, key);
    for (unsigned i = 0; i < APPLY_MEMORIES; i++) {
        if (digest_same(a->memories[i].digest, key)) {
            return &a->memories[i];
        }
    }
    return NULL;
}

bool may_help(const struct apply *a)
{
    const struct apply_memory *memory = memory_find(a, &a->next);
    return has_remedy(a) && a->next.action != ACTION_DRY &&
           (memory == NULL || memory->outcome == OUTCOME_OPEN);
}

struct apply_memory *memory_touch(struct apply *a)
{
    struct apply_memory found = {.outcome = OUTCOME_OPEN};
    apply_memory_key(&a->target, found.digest);
    unsigned at = APPLY_MEMORIES - 1;
    for (unsigned i = 0; i < APPLY_MEMORIES; i++) {
        if (digest_same(a->memories[i].digest, found.digest)) {
            found = a->memories[i];
            at = i;
            break;
        }
    }
    memmove(&a->memories[1], &a->memories[0], at * sizeof a->memories[0]);
    a->memories[0] = found;
    return &a->memories[0];
}

void memory_conclude(struct apply *a, enum apply_outcome outcome, enum code code)
{
    struct apply_memory *memory = memory_touch(a);
    memory->outcome = outcome;
    memory->code = code;
}

// --- reports ---

void report_as(struct step *s, enum apply_effect how, enum node_state state, enum code code,
    const uint8_t *digest)
{
    struct apply_report *report = &s->a->report;
    report->seq = s->ev->unix_ns > report->seq ? s->ev->unix_ns : report->seq + 1;
    report->queued = report->acked = false;
    report->automatic = s->a->target.automatic;
    memcpy(report->nonce, s->ev->nonce, sizeof report->nonce);
    report->state = state;
    report->code = code;
    memcpy(report->digest, digest, HASH_BYTES);
    report->attempt = s->a->attempt;
    plan_add(s, how);
}

void report(struct step *s, enum node_state state, enum code code)
{
    report_as(s, EFFECT_QUEUE, state, code, s->a->target.digest);
}

void report_and_reach(struct step *s, enum node_state state, enum code code)
{
    report_as(s, EFFECT_REACH, state, code, s->a->target.digest);
}

// Installed for the next boot, or its kernel waits. Once it has come through a boot, another system
// may run because somebody switched by hand: that is up to date here, and shown as drifted by the
// paths in the status.
bool waits_for_reboot(const struct step *s)
{
    const struct apply *a = s->a;
    bool installed = a->unproven && !runs(s, a->applied.path);
    return is_profile(s, a->applied.path) && (installed || s->ev->reboot_needed);
}

bool may_reboot(const struct step *s)
{
    return waits_for_reboot(s) && is_at_rest(s->a) && s->a->reboots < ATTEMPTS_MAX;
}

void schedule_maybe(struct step *s)
{
    if (s->a->applied.reboot == REBOOT_CALENDAR && may_reboot(s)) {
        plan_add(s, EFFECT_SCHEDULE);
    }
}

void report_applied(struct step *s)
{
    const struct apply_config *applied = &s->a->applied;
    bool waits = waits_for_reboot(s);
    report(s, waits ? NODE_REBOOT_PENDING : NODE_UP_TO_DATE,
        applied->units_failed ? CODE_UNITS : CODE_OK);
    s->a->report.automatic = applied->automatic; // also while an update of it is under way
    schedule_maybe(s);
}
