// Effects of a plan as jobs, and the ends of jobs as events.
#include "actions.h"
#include "agent.h"
#include "decision.h"
#include "log.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OBTAIN_MS (24ull * 3600 * 1000) // builds take hours on a phone
#define CHECK_MS (10ull * 60 * 1000)
#define COMMIT_MS (10ull * 60 * 1000)
#define MARGIN_MS (60ull * 1000)

#define WORDS_MAX 12
#define NUMBER_BYTES 32

struct command {
    size_t count;
    const char *words[WORDS_MAX + 1];
    char digest[HASH_HEX_BYTES], attempt[NUMBER_BYTES], after[NUMBER_BYTES];
    char program[STORE_PATH_BYTES_MAX + 64];
};

static void add(struct command *command, const char *word)
{
    ASSERT(command->count < WORDS_MAX);
    command->words[command->count++] = word;
}

// Our own binary again, with one of its inner subcommands.
static void inner(struct command *command, const struct agent *agent, const char *subcommand)
{
    const struct apply *a = &agent->apply;
    hex_encode(a->target.digest, HASH_BYTES, command->digest);
    snprintf(command->attempt, sizeof command->attempt, "%u", a->attempt);
    add(command, agent->self);
    add(command, "--config");
    add(command, agent->config_path);
    add(command, subcommand);
    add(command, command->digest);
}

// How long the trial may take before the old system comes back without us.
static uint64_t deadman_ms(const struct agent *agent)
{
    uint64_t own = agent->apply.target.confirm_ms;
    return agent->rules.switch_ms + (own > 0 ? own : agent->rules.confirm_ms) + COMMIT_MS +
           MARGIN_MS;
}

static struct job_key current_key(const struct agent *agent)
{
    struct job_key key = {.attempt = agent->apply.attempt};
    memcpy(key.digest, agent->apply.target.digest, HASH_BYTES);
    return key;
}

static bool start(struct agent *agent, enum job_kind kind, const struct command *command,
    uint64_t limit_ms, bool again, struct err *e)
{
    struct job_key key = current_key(agent);
    char **environment CLEANUP(environment_free) = environment_new(agent->config, NULL);
    return jobs_start(agent->jobs, kind, &key, command->words, (const char *const *)environment,
        limit_ms, again, e);
}

static void forget_trial(struct agent *agent)
{
    static const enum job_kind kinds[] = {JOB_DEADMAN, JOB_TRY, JOB_CHECK, JOB_COMMIT, JOB_REVERT};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        jobs_forget(agent->jobs, kinds[i]);
    }
    static const struct job_key none;
    struct err e;
    if (!decision_write(agent->dir, &none, DECISION_NONE, &e)) {
        log_warning("old decision not forgotten error=\"%s\"", e.text);
    }
}

// The trial goes on record before its dead man's switch starts, which does nothing without it. One
// that is armed, or has fired, is left as it is.
static bool open_trial(struct agent *agent, const struct job_key *key, struct err *e)
{
    return decision_read(agent->dir, key) != DECISION_NONE ||
           decision_write(agent->dir, key, DECISION_OPEN, e);
}

static bool start_job(struct agent *agent, enum apply_effect effect, struct err *e)
{
    const struct apply *a = &agent->apply;
    const struct job_key key = current_key(agent);
    struct command command = {0};
    switch (effect) {
    case EFFECT_OBTAIN: // begins an attempt: what earlier ones left must not pass for its own
        forget_trial(agent);
        inner(&command, agent, "obtain");
        return start(agent, JOB_OBTAIN, &command, OBTAIN_MS, true, e);
    case EFFECT_CHECK:
        inner(&command, agent, "check");
        return start(agent, JOB_CHECK, &command, CHECK_MS, true, e);
    case EFFECT_TRY:
        inner(&command, agent, "try");
        add(&command, command.attempt);
        add(&command, a->trial.new_path);
        return start(agent, JOB_TRY, &command, agent->rules.switch_ms, false, e);
    case EFFECT_COMMIT:
        inner(&command, agent, "commit");
        add(&command, command.attempt);
        add(&command, a->trial.new_path);
        add(&command, a->trial.old_path);
        add(&command, a->trial.old_profile);
        return start(agent, JOB_COMMIT, &command, COMMIT_MS, true, e);
    case EFFECT_ARM:
        if (!open_trial(agent, &key, e)) {
            return false;
        }
        __attribute__((fallthrough));
    case EFFECT_REVERT:
        inner(&command, agent, "revert");
        add(&command, command.attempt);
        add(&command, a->trial.old_path);
        add(&command, a->trial.old_profile);
        if (effect == EFFECT_REVERT) {
            return start(agent, JOB_REVERT, &command, 2 * agent->rules.switch_ms, true, e);
        }
        snprintf(command.after, sizeof command.after, "%" PRIu64, deadman_ms(agent));
        add(&command, command.after);
        return start(
            agent, JOB_DEADMAN, &command, deadman_ms(agent) + 2 * agent->rules.switch_ms, true, e);
    case EFFECT_QUEUE:
    case EFFECT_REACH:
    case EFFECT_CANCEL:
    case EFFECT_DISARM:
    case APPLY_EFFECT_COUNT:
        break;
    }
    ASSERT(!"an effect with a job");
}

static struct queued_event *result(
    struct agent *agent, enum apply_event_kind kind, const struct job_key *key)
{
    struct queued_event *queued = agent_event(agent, kind);
    memcpy(queued->event.digest, key->digest, HASH_BYTES);
    queued->event.attempt = key->attempt;
    return queued;
}

static enum job_kind job_of(enum apply_effect effect)
{
    static const enum job_kind kinds[APPLY_EFFECT_COUNT] = {[EFFECT_OBTAIN] = JOB_OBTAIN,
        [EFFECT_CANCEL] = JOB_OBTAIN,
        [EFFECT_ARM] = JOB_DEADMAN,
        [EFFECT_DISARM] = JOB_DEADMAN,
        [EFFECT_TRY] = JOB_TRY,
        [EFFECT_CHECK] = JOB_CHECK,
        [EFFECT_COMMIT] = JOB_COMMIT,
        [EFFECT_REVERT] = JOB_REVERT};
    return kinds[effect];
}

static void start_or_fail(struct agent *agent, enum apply_effect effect)
{
    struct err e;
    struct job_key key = current_key(agent);
    bool started = start_job(agent, effect, &e);
    if (!started) {
        log_err("job not started kind=%s error=\"%s\"", job_word(job_of(effect)), e.text);
        snprintf(agent->failure, sizeof agent->failure, "%s", e.text);
    }
    if (effect == EFFECT_ARM) { // started: the wrapper runs and holds its lock
        struct queued_event *armed = result(agent, EVENT_ARMED, &key);
        armed->event.code = started ? CODE_OK : CODE_IO;
        agent_post(agent, armed);
    } else if (!started) {
        struct job_record lost = {.state = JOB_STATE_LOST, .key = key, .status = -1};
        effect_ended(agent, job_of(effect), &lost);
    }
}

void effect_start(struct agent *agent, enum apply_effect effect)
{
    log_debug("effect %s", apply_effect_name(effect));
    switch (effect) {
    case EFFECT_REACH:
        // Before the status itself: bento-node then renews its connection first, instead of
        // breaking off the very delivery that it is about.
        outbox_want(agent);
        outbox_queue(agent);
        return;
    case EFFECT_QUEUE:
        outbox_queue(agent);
        return;
    case EFFECT_CANCEL:
    case EFFECT_DISARM: // what it did is told by now, and must not be told again
        jobs_forget(agent->jobs, job_of(effect));
        return;
    case EFFECT_REVERT:
        jobs_stop(agent->jobs, JOB_COMMIT);
        start_or_fail(agent, effect);
        return;
    case EFFECT_OBTAIN:
    case EFFECT_ARM:
    case EFFECT_TRY:
    case EFFECT_CHECK:
    case EFFECT_COMMIT:
        start_or_fail(agent, effect);
        return;
    case APPLY_EFFECT_COUNT:
        break;
    }
    ASSERT(!"an effect of the table");
}

static enum code obtain_code(int status)
{
    switch (status) {
    case 0:
        return CODE_OK;
    case OBTAIN_EXIT_EVAL:
        return CODE_EVAL;
    case OBTAIN_EXIT_EXPECTED:
        return CODE_EXPECTED;
    case OBTAIN_EXIT_LOCKOUT:
        return CODE_LOCKOUT;
    default:
        return CODE_BUILD;
    }
}

static void root_of(
    const struct agent *agent, const struct job_key *key, char path[STORE_PATH_BYTES_MAX + 1])
{
    char hex[HASH_HEX_BYTES], link[PATH_MAX], real[PATH_MAX];
    hex_encode(key->digest, HASH_BYTES, hex);
    snprintf(link, sizeof link, "%s/apply/roots/%s", agent->config->state, hex);
    path[0] = '\0';
    if (realpath(link, real) != NULL && strlen(real) <= STORE_PATH_BYTES_MAX) {
        strcpy(path, real);
    }
}

void effect_ended(void *context, enum job_kind kind, const struct job_record *record)
{
    struct agent *agent = context;
    static const enum apply_event_kind events[JOB_KIND_COUNT] = {[JOB_OBTAIN] = EVENT_OBTAINED,
        [JOB_DEADMAN] = EVENT_FIRED,
        [JOB_TRY] = EVENT_TRIED,
        [JOB_CHECK] = EVENT_CHECKED,
        [JOB_COMMIT] = EVENT_COMMITTED,
        [JOB_REVERT] = EVENT_REVERTED};
    bool ended = record->state == JOB_STATE_ENDED;
    int status = ended ? record->status : -1;
    log_info("job ended kind=%s status=%d%s", job_word(kind), status, ended ? "" : " (lost)");
    if (kind == JOB_DEADMAN && status != 0) {
        return; // stopped, or it found the trial committed
    }
    struct queued_event *queued = result(agent, events[kind], &record->key);
    queued->event.status = status;
    queued->event.code = status == 0 ? CODE_OK : CODE_IO;
    if (kind == JOB_OBTAIN) {
        root_of(agent, &record->key, queued->path);
        queued->event.path = queued->path;
        queued->event.code =
            status == 0 && queued->path[0] == '\0' ? CODE_BUILD : obtain_code(status);
    }
    agent_post(agent, queued);
}

void effects_recall(struct agent *agent)
{
    struct job_record record;
    jobs_look(agent->jobs, JOB_DEADMAN, &record);
    if (record.state == JOB_STATE_ENDED) {
        effect_ended(agent, JOB_DEADMAN, &record);
    }
}
