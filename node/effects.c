// Effects of a plan as jobs, and the ends of jobs as events.
#include "actions.h"
#include "agent.h"
#include "decision.h"
#include "fs.h"
#include "kept.h"
#include "keys.h"
#include "log.h"
#include "reboot.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OBTAIN_MS (24ull * 3600 * 1000) // builds take hours on a phone
#define SECRETS_MS (60ull * 1000)
#define CHECK_MS (10ull * 60 * 1000)

#define WORDS_MAX 12
#define NUMBER_BYTES 32

// A job to be started: our own binary again, with one of its inner subcommands.
struct command {
    struct job_spec spec;
    size_t count;
    const char *words[WORDS_MAX + 1];
    char digest[HASH_HEX_BYTES], attempt[NUMBER_BYTES], variant[PATH_MAX], secrets[HASH_HEX_BYTES];
    struct buf calendar;
};

static void add(struct command *command, const char *word)
{
    ASSERT(command->count < WORDS_MAX);
    command->words[command->count++] = word;
}

static void command_init(struct command *command, const struct agent *agent, enum job_kind kind,
    const char *subcommand, uint64_t limit_ms)
{
    const struct apply *a = &agent->apply;
    *command = (struct command){.spec = {.kind = kind, .limit_ms = limit_ms, .again = true}};
    hex_encode(a->target.digest, HASH_BYTES, command->digest);
    snprintf(command->attempt, sizeof command->attempt, "%u", a->attempt);
    add(command, agent->self);
    add(command, "--config");
    add(command, agent->config_path);
    add(command, subcommand);
}

static void add_key(struct command *command)
{
    add(command, command->digest);
    add(command, command->attempt);
}

static uint64_t commit_ms(const struct agent *agent)
{
    return agent->config->commit_s * 1000;
}

// How long the trial may take before the old system comes back without us.
static uint64_t deadman_ms(const struct agent *agent)
{
    uint64_t own = agent->apply.target.confirm_ms;
    return agent->rules.switch_ms + (own > 0 ? own : agent->rules.confirm_ms) +
           (agent->config->commit_s + agent->config->margin_s) * 1000;
}

// The window that is left, which a sleep may prolong: TIMER ends it. One that has no end lets a check go
// on for a while.
static uint64_t check_ms(const struct agent *agent)
{
    uint64_t deadline = agent->apply.deadline_ms, now = clock_monotonic_ms();
    return deadline > now ? deadline - now + APPLY_RESUMES_MS : CHECK_MS;
}

static struct job_key current_key(const struct agent *agent)
{
    struct job_key key = {.attempt = agent->apply.attempt};
    memcpy(key.digest, agent->apply.target.digest, HASH_BYTES);
    return key;
}

// SECRETS is about what runs, and its end no result that is waited for.
static struct job_key key_of(const struct agent *agent, enum apply_effect effect)
{
    return effect == EFFECT_SECRETS ? (struct job_key){0} : current_key(agent);
}

// The policy of the applied configuration, as its bundle says it; *text holds what it borrows.
static struct reboot reboot_policy(const struct agent *agent, struct buf *text)
{
    struct secret_key *identity CLEANUP(keys_free) = NULL;
    struct opened opened = {0};
    struct err e;
    if (!keys_load_identity(agent->config, &identity, &e) ||
        !kept_open(agent->kept, agent->apply.applied.digest, identity, &opened, &e)) {
        log_warning("reboot policy not known error=\"%s\"", e.text);
        return (struct reboot){.policy = REBOOT_BY_HAND};
    }
    buf_append(text, opened.bundle.meta.reboot.at, opened.bundle.meta.reboot.len);
    opened_clear(&opened);
    return reboot_parse(buf_bytes(text));
}

static void forget_ended(struct agent *agent, enum job_kind kind)
{
    struct job_record record;
    jobs_look(agent->jobs, kind, &record);
    if (record.state == JOB_STATE_ENDED) {
        jobs_forget(agent->jobs, kind);
    }
}

static void forget_trial(struct agent *agent)
{
    static const enum job_kind kinds[] = {
        JOB_DEADMAN, JOB_TRY, JOB_CHECK, JOB_COMMIT, JOB_REVERT, JOB_RESTORE, JOB_REBOOT, JOB_DUE};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        jobs_forget(agent->jobs, kinds[i]);
    }
    static const struct job_key none;
    struct err e;
    if (!decision_write(agent->dir, &none, DECISION_NONE, &e)) {
        log_warning("old decision not forgotten error=\"%s\"", e.text);
    }
}

// A root of its own for a system that there may be a way back to; "" for none.
static bool pin(const struct agent *agent, const char *name, const char *toplevel, struct err *e)
{
    char path[PATH_MAX], now[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", agent->config->gcroots, name);
    ssize_t n = readlink(path, now, sizeof now);
    if (n > 0 && (size_t)n == strlen(toplevel) && memcmp(now, toplevel, (size_t)n) == 0) {
        return true; // the disk may be full by now
    }
    if (toplevel[0] == '\0') {
        return !fs_exists(AT_FDCWD, path) || fs_remove(AT_FDCWD, path, e);
    }
    return fs_make_dir(AT_FDCWD, agent->config->gcroots, 0755, true, e) &&
           fs_symlink(AT_FDCWD, path, toplevel, e);
}

// What there is to go back to may not be collected as garbage in the meantime.
static bool pin_ways_back(const struct agent *agent, struct err *e)
{
    const struct apply *a = &agent->apply;
    return pin(agent, "old", a->trial.old_path, e) &&
           pin(agent, "old-profile", a->trial.old_profile, e) &&
           pin(agent, "before", a->unproven ? a->before_profile : "", e);
}

static void unpin(const struct agent *agent)
{
    struct err e;
    if (!pin_ways_back(agent, &e)) {
        log_warning("old roots not removed error=\"%s\"", e.text);
    }
}

// The trial goes on record before its dead man's switch starts, which does nothing without it. One
// that is armed, or has fired, is left as it is.
static bool open_trial(struct agent *agent, const struct job_key *key, struct err *e)
{
    return pin_ways_back(agent, e) && (decision_read(agent->dir, key) != DECISION_NONE ||
                                          decision_write(agent->dir, key, DECISION_OPEN, e));
}

// --- a command each ---

static void command_obtain(struct command *command, struct agent *agent, bool update)
{
    forget_trial(agent); // begins an attempt: what earlier ones left must not pass for its own
    command_init(
        command, agent, update ? JOB_UPDATE : JOB_OBTAIN, update ? "update" : "obtain", OBTAIN_MS);
    add(command, command->digest);
}

static void command_try(struct command *command, const struct agent *agent)
{
    const struct apply_trial *trial = &agent->apply.trial;
    command_init(command, agent, JOB_TRY, "try", agent->rules.switch_ms);
    command->spec.again = false;
    add_key(command);
    add(command, trial->new_path);
    add(command, trial->specialisation);
}

static void command_check(struct command *command, const struct agent *agent)
{
    const struct apply_trial *trial = &agent->apply.trial;
    command_init(command, agent, JOB_CHECK, "check", check_ms(agent));
    system_variant(trial->new_path, trial->specialisation, command->variant);
    add(command, command->digest);
    add(command, command->variant);
}

static bool command_commit(struct command *command, const struct agent *agent, struct err *e)
{
    const struct apply *a = &agent->apply;
    command_init(command, agent, JOB_COMMIT, "commit", commit_ms(agent));
    add_key(command);
    add(command, a->trial.new_path);
    add(command, a->trial.old_path);
    add(command, a->trial.old_profile);
    if (a->target.action == ACTION_BOOT) {
        add(command, "boot");
    }
    return pin_ways_back(agent, e);
}

// The dead man's switch is a revert that waits: in its timer, or its wrapper, which survive all of us.
static void command_revert(struct command *command, const struct agent *agent, bool deadman)
{
    const struct apply_trial *trial = &agent->apply.trial;
    uint64_t once_ms = 2 * agent->rules.switch_ms;
    uint64_t limit_ms = deadman ? DEADMAN_TRIES * (once_ms + DEADMAN_AGAIN_S * 1000) : once_ms;
    command_init(command, agent, deadman ? JOB_DEADMAN : JOB_REVERT, "revert", limit_ms);
    command->spec.delay_ms = deadman ? deadman_ms(agent) : 0;
    add_key(command);
    add(command, trial->old_path);
    add(command, trial->old_profile);
    add(command, deadman ? "deadman" : "now");
    add(command, trial->specialisation);
    uint8_t secrets[HASH_BYTES];
    if (apply_secrets_of_old(&agent->apply, secrets)) {
        hex_encode(secrets, HASH_BYTES, command->secrets);
    }
    add(command, command->secrets);
}

static void command_install(struct command *command, const struct agent *agent)
{
    command_init(command, agent, JOB_SECRETS, "install", SECRETS_MS);
    add(command, command->digest);
}

static void command_restore(struct command *command, const struct agent *agent)
{
    command_init(command, agent, JOB_RESTORE, "restore", commit_ms(agent));
    add(command, agent->apply.trial.old_profile);
}

// Into another kernel without the firmware only where the owner asked for it, and forward only.
static void command_reboot(struct command *command, const struct agent *agent)
{
    struct buf text CLEANUP(buf_clear) = {0};
    bool forward = agent->apply.state == APPLY_REBOOTING;
    command_init(command, agent, JOB_REBOOT, "reboot", commit_ms(agent));
    if (forward && reboot_policy(agent, &text).kexec) {
        add(command, "kexec");
    }
}

static bool command_due(struct command *command, const struct agent *agent, struct err *e)
{
    struct buf text CLEANUP(buf_clear) = {0};
    struct reboot reboot = reboot_policy(agent, &text);
    command_init(command, agent, JOB_DUE, "due", CHECK_MS);
    if (reboot.policy != REBOOT_CALENDAR) {
        return err_set(e, CODE_CONFIG, "its reboot policy names no calendar time");
    }
    buf_append(&command->calendar, reboot.calendar.at, reboot.calendar.len);
    command->spec.calendar = buf_text(&command->calendar);
    return true;
}

static bool command_of(
    struct command *command, struct agent *agent, enum apply_effect effect, struct err *e)
{
    const struct job_key key = current_key(agent);
    switch (effect) {
    case EFFECT_OBTAIN:
    case EFFECT_UPDATE:
        command_obtain(command, agent, effect == EFFECT_UPDATE);
        return true;
    case EFFECT_CHECK:
        command_check(command, agent);
        return true;
    case EFFECT_TRY:
        command_try(command, agent);
        return true;
    case EFFECT_COMMIT:
        return command_commit(command, agent, e);
    case EFFECT_ARM:
        command_revert(command, agent, true);
        return open_trial(agent, &key, e);
    case EFFECT_REVERT:
        command_revert(command, agent, false);
        return true;
    case EFFECT_RESTORE:
        command_restore(command, agent);
        return true;
    case EFFECT_INSTALL:
        command_install(command, agent);
        return true;
    case EFFECT_SECRETS:
        command_init(command, agent, JOB_SECRETS, "secrets", SECRETS_MS);
        return true;
    case EFFECT_REBOOT:
        command_reboot(command, agent);
        return true;
    case EFFECT_SCHEDULE:
        return command_due(command, agent, e);
    case EFFECT_QUEUE:
    case EFFECT_REACH:
    case EFFECT_CANCEL:
    case EFFECT_DISARM:
    case APPLY_EFFECT_COUNT:
        break;
    }
    ASSERT(!"an effect with a job");
}

static bool start_job(struct agent *agent, enum apply_effect effect, struct err *e)
{
    struct command command = {0};
    bool ok = command_of(&command, agent, effect, e);
    if (ok) {
        char **environment CLEANUP(environment_free) = environment_new(agent->config, NULL);
        command.spec.key = key_of(agent, effect);
        command.spec.argv = command.words;
        command.spec.env = (const char *const *)environment;
        ok = jobs_start(agent->jobs, &command.spec, e);
    }
    buf_clear(&command.calendar);
    return ok;
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
        [EFFECT_ARM] = JOB_DEADMAN,
        [EFFECT_TRY] = JOB_TRY,
        [EFFECT_CHECK] = JOB_CHECK,
        [EFFECT_COMMIT] = JOB_COMMIT,
        [EFFECT_REVERT] = JOB_REVERT,
        [EFFECT_UPDATE] = JOB_UPDATE,
        [EFFECT_RESTORE] = JOB_RESTORE,
        [EFFECT_INSTALL] = JOB_SECRETS,
        [EFFECT_SECRETS] = JOB_SECRETS,
        [EFFECT_SCHEDULE] = JOB_DUE,
        [EFFECT_REBOOT] = JOB_REBOOT};
    return kinds[effect];
}

void effect_started(void *context, enum job_kind kind, const struct job_key *key, bool ok)
{
    struct agent *agent = context;
    if (kind != JOB_DEADMAN) {
        return; // of the others only the end counts
    }
    struct queued_event *armed = result(agent, EVENT_ARMED, key);
    armed->event.code = ok ? CODE_OK : CODE_IO;
    agent_post(agent, armed);
}

static void start_or_fail(struct agent *agent, enum apply_effect effect)
{
    struct err e;
    struct job_key key = key_of(agent, effect);
    if (start_job(agent, effect, &e)) {
        return;
    }
    log_err("job not started kind=%s error=\"%s\"", job_word(job_of(effect)), e.text);
    snprintf(agent->failure, sizeof agent->failure, "%s", e.text);
    if (effect == EFFECT_ARM) {
        effect_started(agent, JOB_DEADMAN, &key, false);
    } else {
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
        jobs_forget(agent->jobs, JOB_OBTAIN);
        jobs_forget(agent->jobs, JOB_UPDATE);
        return;
    case EFFECT_DISARM: // what it did is told by now, and must not be told again
        jobs_forget(agent->jobs, JOB_DEADMAN);
        unpin(agent);
        return;
    case EFFECT_REVERT:
        jobs_stop(agent->jobs, JOB_COMMIT);
        start_or_fail(agent, effect);
        return;
    case EFFECT_REBOOT: // again, if an earlier one did not happen
    case EFFECT_INSTALL:
    case EFFECT_SECRETS:
        jobs_forget(agent->jobs, job_of(effect));
        start_or_fail(agent, effect);
        return;
    case EFFECT_CHECK: // what passed in an earlier boot proves nothing of this one
        forget_ended(agent, JOB_CHECK);
        start_or_fail(agent, effect);
        return;
    case EFFECT_TRY: // installs others, and may not be overtaken
        jobs_stop(agent->jobs, JOB_SECRETS);
        start_or_fail(agent, effect);
        return;
    case EFFECT_OBTAIN:
    case EFFECT_UPDATE:
    case EFFECT_ARM:
    case EFFECT_COMMIT:
    case EFFECT_RESTORE:
    case EFFECT_SCHEDULE:
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
    case OBTAIN_EXIT_BOOT_ONLY:
        return CODE_OK;
    case OBTAIN_EXIT_EVAL:
        return CODE_EVAL;
    case OBTAIN_EXIT_EXPECTED:
        return CODE_EXPECTED;
    case OBTAIN_EXIT_LOCKOUT:
        return CODE_LOCKOUT;
    case OBTAIN_EXIT_DRY:
        return CODE_SWITCH;
    default:
        return CODE_BUILD;
    }
}

// Where the GC root of an obtain or update job leads; "" if it is not there.
static void root_of(const struct agent *agent, enum job_kind kind, const struct job_key *key,
    char path[STORE_PATH_BYTES_MAX + 1])
{
    char hex[HASH_HEX_BYTES], link[PATH_MAX], real[PATH_MAX];
    hex_encode(key->digest, HASH_BYTES, hex);
    snprintf(link, sizeof link, "%s/apply/roots/%s%s", agent->config->state, hex,
        kind == JOB_UPDATE ? ".update" : "");
    path[0] = '\0';
    if (realpath(link, real) != NULL && strlen(real) <= STORE_PATH_BYTES_MAX) {
        strcpy(path, real);
    }
}

static void add_toplevel(struct agent *agent, struct queued_event *queued, enum job_kind kind,
    const struct job_record *record, int status)
{
    root_of(agent, kind, &record->key, queued->path);
    queued->event.path = queued->path;
    queued->event.code = obtain_code(status);
    queued->event.boot_only = status == OBTAIN_EXIT_BOOT_ONLY;
    if (queued->event.code == CODE_OK && queued->path[0] == '\0') {
        queued->event.code = CODE_BUILD;
    }
}

// The new system may run, and nothing but the dead man's switch would bring back the old one without
// us.
static bool is_guarded(const struct agent *agent, const struct job_key *key)
{
    const struct apply *a = &agent->apply;
    bool guarded = a->state == APPLY_TRYING || (a->state == APPLY_CONFIRMING && !a->stays) ||
                   a->state == APPLY_COMMITTING;
    return guarded && a->target.action != ACTION_BOOT && key->attempt == a->attempt &&
           memcmp(key->digest, a->target.digest, HASH_BYTES) == 0;
}

void effect_ended(void *context, enum job_kind kind, const struct job_record *record)
{
    struct agent *agent = context;
    static const enum apply_event_kind events[JOB_KIND_COUNT] = {[JOB_OBTAIN] = EVENT_OBTAINED,
        [JOB_UPDATE] = EVENT_OBTAINED,
        [JOB_DEADMAN] = EVENT_FIRED,
        [JOB_TRY] = EVENT_TRIED,
        [JOB_CHECK] = EVENT_CHECKED,
        [JOB_COMMIT] = EVENT_COMMITTED,
        [JOB_REVERT] = EVENT_REVERTED,
        [JOB_RESTORE] = EVENT_RESTORED,
        [JOB_SECRETS] = EVENT_INSTALLED,
        [JOB_DUE] = EVENT_DUE};
    bool ended = record->state == JOB_STATE_ENDED;
    int status = ended ? record->status : -1;
    log_info("job ended kind=%s status=%d%s", job_word(kind), status, ended ? "" : " (lost)");
    if (kind == JOB_DEADMAN && !ended && is_guarded(agent, &record->key)) {
        log_err("somebody stopped the dead man's switch: armed again");
        effect_start(agent, EFFECT_ARM);
        return;
    }
    if (kind == JOB_DEADMAN && status != 0 && status != REVERT_EXIT_OVER) {
        log_err("the dead man's switch did not bring back the old system status=%d", status);
    }
    bool silent = (kind == JOB_DEADMAN || kind == JOB_DUE) && status != 0;
    if (silent || kind == JOB_REBOOT) {
        return; // stopped, or it found the trial committed; a reboot shows by itself, or its state ends
    }
    struct queued_event *queued = result(agent, events[kind], &record->key);
    bool never = kind == JOB_TRY && !ended && record->pid <= 0; // taken back before it began
    queued->event.status = never ? TRIED_NEVER : status;
    queued->event.code = status == 0 ? CODE_OK : kind == JOB_SECRETS ? CODE_SECRETS : CODE_IO;
    if (kind == JOB_OBTAIN || kind == JOB_UPDATE) {
        add_toplevel(agent, queued, kind, record, status);
    } else if (kind == JOB_DUE) {
        jobs_forget(agent->jobs, JOB_DUE); // the next one is another
    }
    agent_post(agent, queued);
}

void effects_guard(struct agent *agent)
{
    const struct job_key key = current_key(agent);
    struct job_record record;
    jobs_look(agent->jobs, JOB_DEADMAN, &record);
    bool gone = record.state == JOB_STATE_NONE || record.state == JOB_STATE_LOST;
    if (is_guarded(agent, &key) && gone) {
        log_err("there is no dead man's switch: armed again");
        effect_start(agent, EFFECT_ARM);
    }
}

// Also one that is at it: the old system's bento-apply starts in the middle of its own return.
void effects_recall(struct agent *agent)
{
    struct job_record record;
    jobs_look(agent->jobs, JOB_DEADMAN, &record);
    bool fires = record.state == JOB_STATE_RUNNING &&
                 decision_read(agent->dir, &record.key) == DECISION_REVERT;
    if (record.state == JOB_STATE_ENDED) {
        effect_ended(agent, JOB_DEADMAN, &record);
    } else if (fires) {
        agent_post(agent, result(agent, EVENT_FIRED, &record.key));
    }
}
