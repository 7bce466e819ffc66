#include "journal.h"

#include "log.h"
#include "wire.h"

#include <string.h>

// Tests build a bento of the future with another one: what it reads of ours, and we of its.
#ifndef JOURNAL_VERSION
#define JOURNAL_VERSION 1u
#endif
#define JOURNAL_FIELDS 41
#define JOURNAL_FIELDS_MIN 39 // as it began; what came since stands behind these
#define TRIAL_FIELDS 9        // frozen
#define CONFIG_FIELDS 12
#define REPORT_FIELDS 9
#define MEMORY_FIELDS 4

enum {
    HAS_HEALTH = 1,
    SELF_UPDATE = 2,
    AUTOMATIC = 4,
    UNITS_FAILED = 8,
    BOOT_ONLY = 16,
    ALL_FLAGS = 31,
};

static void put_config(struct buf *out, const struct apply_config *config)
{
    uint64_t flags = (config->has_health ? HAS_HEALTH : 0) |
                     (config->self_update ? SELF_UPDATE : 0) | (config->automatic ? AUTOMATIC : 0) |
                     (config->units_failed ? UNITS_FAILED : 0) |
                     (config->boot_only ? BOOT_ONLY : 0);
    wire_put_array(out, CONFIG_FIELDS);
    wire_put_u64(out, config->epoch);
    wire_put_u64(out, config->release);
    wire_put_hash(out, config->head_hash);
    wire_put_u64(out, config->fallback_floor);
    wire_put_hash(out, config->digest);
    wire_put_text(out, config->path);
    wire_put_u64(out, config->action);
    wire_put_u64(out, config->unit_failures);
    wire_put_u64(out, config->last_resort);
    wire_put_u64(out, config->reboot);
    wire_put_u64(out, config->confirm_ms);
    wire_put_u64(out, flags);
}

static void get_config(struct wire_in *in, struct apply_config *config)
{
    wire_array(in, CONFIG_FIELDS, CONFIG_FIELDS);
    config->epoch = wire_u64(in, UINT64_MAX);
    config->release = wire_u64(in, UINT64_MAX);
    wire_bin_copy(in, config->head_hash, HASH_BYTES);
    config->fallback_floor = wire_u64(in, UINT64_MAX);
    wire_bin_copy(in, config->digest, HASH_BYTES);
    wire_str_copy(in, config->path, sizeof config->path);
    config->action = (enum action)wire_u64(in, ACTION_DRY);
    config->unit_failures = (enum unit_failures)wire_u64(in, UNIT_FAILURES_ROLLBACK);
    config->last_resort = (enum last_resort)wire_u64(in, LAST_RESORT_REBOOT);
    config->reboot = (enum reboot_policy)wire_u64(in, REBOOT_CALENDAR);
    config->confirm_ms = wire_u64(in, UINT64_MAX);
    uint64_t flags = wire_u64(in, ALL_FLAGS);
    config->has_health = flags & HAS_HEALTH;
    config->self_update = flags & SELF_UPDATE;
    config->automatic = flags & AUTOMATIC;
    config->units_failed = flags & UNITS_FAILED;
    config->boot_only = flags & BOOT_ONLY;
}

static void put_trial(struct buf *out, const struct apply_trial *trial)
{
    wire_put_open(out, TRIAL_FIELDS, "bento-trial");
    wire_put_hash(out, trial->digest);
    wire_put_u64(out, trial->attempt);
    wire_put_bin(out, bytes_of(trial->boot_id, sizeof trial->boot_id));
    wire_put_text(out, trial->new_path);
    wire_put_text(out, trial->old_path);
    wire_put_text(out, trial->old_profile);
    wire_put_text(out, trial->specialisation);
}

static void get_trial(struct wire_in *in, struct apply_trial *trial)
{
    wire_open(in, TRIAL_FIELDS, "bento-trial");
    wire_bin_copy(in, trial->digest, HASH_BYTES);
    trial->attempt = (uint32_t)wire_u64(in, UINT32_MAX);
    wire_bin_copy(in, trial->boot_id, sizeof trial->boot_id);
    wire_str_copy(in, trial->new_path, sizeof trial->new_path);
    wire_str_copy(in, trial->old_path, sizeof trial->old_path);
    wire_str_copy(in, trial->old_profile, sizeof trial->old_profile);
    wire_str_copy(in, trial->specialisation, sizeof trial->specialisation);
}

static void put_report(struct buf *out, const struct apply_report *report)
{
    wire_put_array(out, REPORT_FIELDS);
    wire_put_u64(out, report->seq);
    wire_put_bool(out, report->queued);
    wire_put_bool(out, report->acked);
    wire_put_bool(out, report->automatic);
    wire_put_bin(out, bytes_of(report->nonce, sizeof report->nonce));
    wire_put_u64(out, report->state);
    wire_put_u64(out, report->code);
    wire_put_hash(out, report->digest);
    wire_put_u64(out, report->attempt);
}

static void get_report(struct wire_in *in, struct apply_report *report)
{
    wire_array(in, REPORT_FIELDS, REPORT_FIELDS);
    report->seq = wire_u64(in, UINT64_MAX);
    report->queued = wire_bool(in);
    report->acked = wire_bool(in);
    report->automatic = wire_bool(in);
    wire_bin_copy(in, report->nonce, sizeof report->nonce);
    report->state = (enum node_state)wire_u64(in, NODE_STATE_COUNT - 1);
    report->code = (enum code)wire_u64(in, CODE_COUNT - 1);
    wire_bin_copy(in, report->digest, HASH_BYTES);
    report->attempt = (uint32_t)wire_u64(in, UINT32_MAX);
}

static void put_memories(struct buf *out, const struct apply *apply)
{
    wire_put_array(out, APPLY_MEMORIES);
    for (unsigned i = 0; i < APPLY_MEMORIES; i++) {
        const struct apply_memory *memory = &apply->memories[i];
        wire_put_array(out, MEMORY_FIELDS);
        wire_put_hash(out, memory->digest);
        wire_put_u64(out, memory->attempts);
        wire_put_u64(out, memory->outcome);
        wire_put_u64(out, memory->code);
    }
}

static void get_memories(struct wire_in *in, struct apply *apply)
{
    wire_array(in, APPLY_MEMORIES, APPLY_MEMORIES);
    for (unsigned i = 0; i < APPLY_MEMORIES; i++) {
        struct apply_memory *memory = &apply->memories[i];
        wire_array(in, MEMORY_FIELDS, MEMORY_FIELDS);
        wire_bin_copy(in, memory->digest, HASH_BYTES);
        memory->attempts = (uint32_t)wire_u64(in, UINT32_MAX);
        memory->outcome = (enum apply_outcome)wire_u64(in, OUTCOME_INCONCLUSIVE);
        memory->code = (enum code)wire_u64(in, CODE_COUNT - 1);
    }
}

void journal_encode(const struct apply *apply, struct buf *out)
{
    put_trial(out, &apply->trial);
    wire_put_array(out, JOURNAL_FIELDS);
    wire_put_text(out, "bento-journal");
    wire_put_u64(out, JOURNAL_VERSION);
    wire_put_u64(out, apply->state);
    wire_put_bin(out, bytes_of(apply->boot_id, sizeof apply->boot_id));
    wire_put_u64(out, apply->deadline_ms);
    put_config(out, &apply->target);
    wire_put_u64(out, apply->attempt);
    put_config(out, &apply->next);
    wire_put_hash(out, apply->seen);
    put_config(out, &apply->applied);
    wire_put_bool(out, apply->reached);
    wire_put_bool(out, apply->healthy);
    wire_put_bool(out, apply->stays);
    wire_put_bool(out, apply->cut_off);
    wire_put_bool(out, apply->unconfirmed);
    wire_put_bool(out, apply->units_failed);
    wire_put_u64(out, apply->reason);
    wire_put_u64(out, apply->reverts);
    wire_put_bool(out, apply->resorted);
    wire_put_bool(out, apply->unproven);
    wire_put_bool(out, apply->started);
    put_config(out, &apply->before);
    wire_put_text(out, apply->before_profile);
    wire_put_bool(out, apply->planned);
    wire_put_u64(out, apply->reboots);
    wire_put_u64(out, apply->boots);
    wire_put_u64(out, apply->updates);
    wire_put_u64(out, apply->updated_s);
    wire_put_u64(out, apply->asleep_ms);
    put_report(out, &apply->report);
    wire_put_u64(out, apply->timings.commit_ms);
    wire_put_u64(out, apply->timings.confirm_ms);
    wire_put_u64(out, apply->timings.fetch_ms);
    wire_put_u64(out, apply->timings.obtain_ms);
    wire_put_u64(out, apply->timings.switch_ms);
    wire_put_u64(out, apply->phase_ms);
    wire_put_hash(out, apply->refused_hash);
    wire_put_u64(out, apply->refused_code);
    put_memories(out, apply);
    put_report(out, &apply->hidden);
    wire_put_u64(out, apply->builds);
}

static void get_rest(struct wire_in *in, struct apply *apply)
{
    size_t fields = wire_array(in, JOURNAL_FIELDS_MIN, JOURNAL_FIELDS);
    wire_literal(in, "bento-journal");
    uint64_t version = wire_u64(in, JOURNAL_VERSION);
    wire_require(in, version > 0, "of version 0");
    apply->state = (enum apply_state)wire_u64(in, APPLY_STATE_COUNT - 1);
    wire_bin_copy(in, apply->boot_id, sizeof apply->boot_id);
    apply->deadline_ms = wire_u64(in, UINT64_MAX);
    get_config(in, &apply->target);
    apply->attempt = (uint32_t)wire_u64(in, UINT32_MAX);
    get_config(in, &apply->next);
    wire_bin_copy(in, apply->seen, HASH_BYTES);
    get_config(in, &apply->applied);
    apply->reached = wire_bool(in);
    apply->healthy = wire_bool(in);
    apply->stays = wire_bool(in);
    apply->cut_off = wire_bool(in);
    apply->unconfirmed = wire_bool(in);
    apply->units_failed = wire_bool(in);
    apply->reason = (enum code)wire_u64(in, CODE_COUNT - 1);
    apply->reverts = (uint32_t)wire_u64(in, UINT32_MAX);
    apply->resorted = wire_bool(in);
    apply->unproven = wire_bool(in);
    apply->started = wire_bool(in);
    get_config(in, &apply->before);
    wire_str_copy(in, apply->before_profile, sizeof apply->before_profile);
    apply->planned = wire_bool(in);
    apply->reboots = (uint32_t)wire_u64(in, UINT32_MAX);
    apply->boots = (uint32_t)wire_u64(in, UINT32_MAX);
    apply->updates = (uint32_t)wire_u64(in, UINT32_MAX);
    apply->updated_s = wire_u64(in, UINT64_MAX);
    apply->asleep_ms = wire_u64(in, UINT64_MAX);
    get_report(in, &apply->report);
    apply->timings.commit_ms = wire_u64(in, UINT64_MAX);
    apply->timings.confirm_ms = wire_u64(in, UINT64_MAX);
    apply->timings.fetch_ms = wire_u64(in, UINT64_MAX);
    apply->timings.obtain_ms = wire_u64(in, UINT64_MAX);
    apply->timings.switch_ms = wire_u64(in, UINT64_MAX);
    apply->phase_ms = wire_u64(in, UINT64_MAX);
    wire_bin_copy(in, apply->refused_hash, HASH_BYTES);
    apply->refused_code = (enum code)wire_u64(in, CODE_COUNT - 1);
    get_memories(in, apply);
    if (fields > JOURNAL_FIELDS_MIN) {
        get_report(in, &apply->hidden);
    }
    if (fields > JOURNAL_FIELDS_MIN + 1) {
        apply->builds = (uint32_t)wire_u64(in, UINT32_MAX);
    }
}

bool journal_decode(struct bytes record, struct apply *apply, struct err *e)
{
    apply_init(apply);
    struct wire_in in = wire_in(record);
    get_trial(&in, &apply->trial);
    if (in.fault != NULL) {
        apply_init(apply);
        return wire_end(&in, "trial", e);
    }
    struct apply_trial trial = apply->trial;
    get_rest(&in, apply);
    if (!wire_end(&in, "journal", e)) {
        apply_init(apply);
        apply->trial = trial;
        return false;
    }
    return true;
}

bool journal_open(struct journal *journal, int dir, struct apply *apply, struct err *e)
{
    *journal = (struct journal){0};
    apply_init(apply);
    if (!slots_open(&journal->slots, dir, "journal", JOURNAL_BYTES_MAX, e)) {
        return false;
    }
    if (!slots_read(&journal->slots, &journal->last, e)) {
        if (e->code != CODE_NONE) {
            slots_close(&journal->slots);
            return false;
        }
        return true;
    }
    if (!journal_decode(buf_bytes(&journal->last), apply, e)) {
        log_warning("journal not understood, started from scratch error=\"%s\"", e->text);
    }
    return true;
}

bool journal_look(int dir, struct apply *apply, struct err *e)
{
    struct slots slots;
    struct buf record CLEANUP(buf_clear) = {0};
    apply_init(apply);
    if (!fs_exists(dir, "journal")) {
        return err_set(e, CODE_NONE, "there is no journal"); // opening would make it
    }
    if (!slots_open(&slots, dir, "journal", JOURNAL_BYTES_MAX, e)) {
        return err_wrap(e, "journal");
    }
    bool read = slots_read(&slots, &record, e);
    slots_close(&slots);
    return read && (journal_decode(buf_bytes(&record), apply, e) || err_wrap(e, "journal"));
}

bool journal_write(struct journal *journal, const struct apply *apply, struct err *e)
{
    struct buf record CLEANUP(buf_clear) = {0};
    journal_encode(apply, &record);
    if (bytes_equal(buf_bytes(&record), buf_bytes(&journal->last))) {
        return true;
    }
    if (!slots_write(&journal->slots, buf_bytes(&record), e)) {
        return err_wrap(e, "journal");
    }
    buf_clear(&journal->last);
    journal->last = record;
    record = (struct buf){0};
    return true;
}

void journal_close(struct journal *journal)
{
    slots_close(&journal->slots);
    buf_clear(&journal->last);
}
