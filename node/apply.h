// What a node does, as one pure function: state and event in, new state and plan out. No I/O, no
// clock, no malloc, no log. APPLY.md is the table of its transitions, generated from the code.
//
// The rule is test, confirm, commit. Profile and boot loader are written last, so that until the
// node has proved that it can be reached, a crash, a power cut or a reboot brings back the old
// system by construction. (Writing them first, as others do, keeps the bad system after a reboot in
// the window.)
//
// The caller makes the new state durable before it starts any effect of the plan. A crash is the
// event BOOT, which starts the effects of the state again: one recovery path, used at every start.
// Effects are therefore idempotent; they and the events that they cause carry (digest, attempt),
// and an event about another pair is ignored.
//
// What it relies on:
// - TRY, COMMIT, REVERT and the dead man's switch take one lock. With it, TRY and COMMIT fail if
// the dead man's switch of the
//   attempt has fired, and COMMIT unless the new system runs (or the action is to boot it). REVERT
//   first stops TRY and COMMIT, the dead man's switch stops TRY.
// - The dead man's switch does nothing unless the trial on record is its own (digest, attempt): the
// trial is zeros outside
//   of trials. That it fired is kept on disk until DISARM, and at a start comes before BOOT: BOOT
//   would start the switch again.
// - ARM leaves a dead man's switch of the same (digest, attempt) as it is, also one that fires or
// has fired.
// - DISARM stops every dead man's switch of ours, started or about to start, and is fine with none:
// BOOT plans it whenever
//   no trial is under way.
// - The secrets of a configuration are there before its system is switched to: TRY installs them, REVERT
//   and the dead man's switch those of what they go back to (apply_secrets_of_old).
// - SECRETS says nothing when it is done. INSTALL does nothing unless it can do all of it.
// - OBTAIN begins an attempt: what the jobs of an earlier one left (a switch's exit status above
// all) is forgotten, for the
//   numbers begin at 1 again after a configuration was applied. CANCEL drops the result of the job,
//   too.
//
// Everything remembered about a configuration is keyed by its config digest, never by the head: a
// release that changes some other host must neither retry nor disturb this one.
//
// What has been committed but not booted yet (another kernel, or `boot` instead of `switch`) is
// *unproven*: after the reboot it must be reached again (PROVING), or the profile of before is made
// the boot default again and the machine restarts once more (RESTORING). Until then the journal
// keeps what was applied before. Nothing is installed for a boot without such a way back. A boot into
// it while another one is being committed undoes that commit: the proof comes first, the other one
// after it.
//
// A self update is an attempt at the applied configuration with other inputs: the same digest,
// `automatic`, and a memory of its own (memory_key), so that its failure says nothing about the
// release.
#pragma once

#include "bundle.h"
#include "status.h"

#define APPLY_STATES(X)                                                                            \
    X(IDLE, "nothing under way")                                                                   \
    X(OBTAINING, "substitutes or evaluates and builds the toplevel")                               \
    X(CHECKING, "preflight: must be reached before anything changes")                              \
    X(ARMING, "starts the dead man's switch")                                                      \
    X(TRYING, "switch-to-configuration test runs")                                                 \
    X(CONFIRMING, "the new system runs and must be reached inside the window")                     \
    X(COMMITTING, "profile and boot loader are written")                                           \
    X(REVERTING, "the old system is brought back")                                                 \
    X(RETURNING, "the old system runs again and must be reached")                                  \
    X(WAITING, "not reached under the old system either: waits for the network")                   \
    X(REBOOTING, "the machine was asked to restart into the installed system")                     \
    X(PROVING, "a system runs for the first time since its boot, and must be reached")             \
    X(RESTORING, "the system that booted last is made the boot default, then the machine "         \
                 "restarts")                                                                       \
    X(INSTALLING, "what is asked for runs already, but its secrets may be new")

#define APPLY_EVENTS(X)                                                                            \
    X(BOOT, "bento-apply starts")                                                                  \
    X(RELEASE, "an authentic release with its configuration for this node is at hand")             \
    X(REFUSED, "a release failed a check")                                                         \
    X(SHOWN, "the newest release, which was handled already, was shown once more")                 \
    X(OBTAINED, "the obtain job ended")                                                            \
    X(ARMED, "the dead man's switch is running, or could not be started")                          \
    X(TRIED, "the switch ended")                                                                   \
    X(CHECKED, "the health commands ended")                                                        \
    X(COMMITTED, "the commit job ended")                                                           \
    X(REVERTED, "the revert job ended")                                                            \
    X(FIRED, "the dead man's switch has brought back the old system")                              \
    X(RESTORED, "the restore job ended")                                                           \
    X(INSTALLED, "the install job ended")                                                          \
    X(ACKED, "the collector has a status of ours")                                                 \
    X(QUEUED, "the report is on disk in the outbox")                                               \
    X(BEAT, "nothing was reported for a poll interval: the collector must hear that we live")      \
    X(TIMER, "the deadline of the state passed")                                                   \
    X(UPDATE, "a self update is due")                                                              \
    X(ASKED, "somebody at the machine asks for an update")                                         \
    X(DUE, "the calendar time for a reboot has come")

#define APPLY_EFFECTS(X)                                                                           \
    X(QUEUE, "sign the report and put it into the outbox")                                         \
    X(REACH, "the same, and ask bento-node to deliver it over a connection dialled from now on")   \
    X(OBTAIN, "start the obtain job")                                                              \
    X(CANCEL, "stop the obtain job")                                                               \
    X(ARM, "start the dead man's switch")                                                          \
    X(DISARM, "stop it")                                                                           \
    X(TRY, "start switch-to-configuration test")                                                   \
    X(CHECK, "start the health commands")                                                          \
    X(COMMIT, "start the commit job")                                                              \
    X(REVERT, "start the revert job")                                                              \
    X(UPDATE, "start the update job: the applied configuration with its inputs updated")           \
    X(RESTORE, "start the restore job: profile and boot loader as they were")                      \
    X(INSTALL, "start the install job: the secrets of the target, whose system runs")              \
    X(SECRETS, "see to it that the secrets of what runs are there")                                \
    X(SCHEDULE, "have DUE come at the calendar time that the policy names")                        \
    X(REBOOT, "restart the machine")

#define APPLY_ENUM_STATE(name, what) APPLY_##name,
#define APPLY_ENUM_EVENT(name, what) EVENT_##name,
#define APPLY_ENUM_EFFECT(name, what) EFFECT_##name,
enum apply_state { APPLY_STATES(APPLY_ENUM_STATE) APPLY_STATE_COUNT };
enum apply_event_kind { APPLY_EVENTS(APPLY_ENUM_EVENT) APPLY_EVENT_COUNT };
enum apply_effect { APPLY_EFFECTS(APPLY_ENUM_EFFECT) APPLY_EFFECT_COUNT };
#undef APPLY_ENUM_STATE
#undef APPLY_ENUM_EVENT
#undef APPLY_ENUM_EFFECT

const char *apply_state_name(enum apply_state state);
const char *apply_event_name(enum apply_event_kind event);
const char *apply_effect_name(enum apply_effect effect);

// When a system that waits for a reboot gets it. The calendar time itself is in the bundle.
enum reboot_policy { REBOOT_BY_HAND, REBOOT_WHEN_NEEDED, REBOOT_CALENDAR };

// One configuration, as a release asks for it. A digest of zeros means none.
struct apply_config {
    uint64_t epoch, release; // the newest head that carried it
    uint8_t head_hash[HASH_BYTES];
    uint64_t fallback_floor; // that head's
    uint8_t digest[HASH_BYTES];
    char path[STORE_PATH_BYTES_MAX +
              1];       // expected toplevel, "" if none; after OBTAINED the real one
    enum action action; // BOOT also if it turned out that it cannot be tried live: boot_only
    enum unit_failures unit_failures;
    enum last_resort last_resort;
    enum reboot_policy reboot;
    bool has_health;
    bool self_update;
    uint64_t confirm_ms; // 0: the node's default
    // Set here, not by releases:
    bool boot_only;    // this system is, the next one of a self update need not be
    bool automatic;    // path comes from a self update
    bool units_failed; // under this system, newly, and the policy is to report it
};

#define SPECIALISATION_BYTES_MAX 127u

// The frozen part: every version of bento can read it, see journal.h. Zeros unless
// apply_in_trial(); the event BOOT in another state with a trial means that only the trial could be
// read, and reverts it.
struct apply_trial {
    uint8_t digest[HASH_BYTES];
    uint32_t attempt;
    uint8_t boot_id[16];
    char new_path[STORE_PATH_BYTES_MAX + 1];
    char old_path[STORE_PATH_BYTES_MAX + 1];    // ran before
    char old_profile[STORE_PATH_BYTES_MAX + 1]; // the profile's target before
    // The specialisation that ran, "" for none: of the new system the same one is tried, if it has
    // one. All paths here and in events are those of the toplevel above it.
    char specialisation[SPECIALISATION_BYTES_MAX + 1];
};

enum apply_outcome {
    OUTCOME_OPEN,
    OUTCOME_FAILED,
    OUTCOME_ROLLED_BACK,
    OUTCOME_DRY, // a dry run was asked for and went well
    OUTCOME_INCONCLUSIVE,
};

struct apply_memory {
    uint8_t digest[HASH_BYTES]; // memory_key: of a self update SHA-256(digest, path)
    uint32_t attempts;          // counted before the switch starts
    enum apply_outcome outcome;
    enum code code;
};
#define APPLY_MEMORIES 8

struct apply_report {
    uint64_t seq; // 0: nothing was ever reported
    bool queued, acked;
    bool automatic;
    uint8_t nonce[16];
    enum node_state state;
    enum code code;
    uint8_t digest[HASH_BYTES];
    uint32_t attempt;
};

// All of it is persisted. Plain data without pointers.
struct apply {
    enum apply_state state;
    uint8_t boot_id[16];
    uint64_t deadline_ms; // of the state, awake time; 0: none
    struct apply_config target;
    uint32_t attempt;
    uint32_t builds;          // of the target, that failed in a row
    struct apply_config next; // came while a switch was under way; a newer one replaces it
    uint8_t seen[HASH_BYTES]; // head of the newest RELEASE: not handled twice
    struct apply_config applied;
    struct apply_trial trial;
    bool reached, healthy; // CONFIRMING, PROVING
    bool stays;            // CONFIRMING: the window is over, but going back is forbidden
    bool cut_off;          // it stayed unreached: a remedy is tried without a preflight
    bool unconfirmed;      // what runs was left by a trial that did not confirm it
    bool units_failed;     // the switch said so
    enum code reason;      // REVERTING and later: why
    uint32_t reverts;      // REVERTING: failed attempts to revert
    bool resorted;         // RETURNING, WAITING: the last resort was taken
    // applied is the boot default but has not come through a boot yet; before: what was applied when
    // the machine last started well, before_profile: the profile then.
    bool unproven;
    bool started; // this boot began with what was to be proved, and it has not been since
    struct apply_config before;
    char before_profile[STORE_PATH_BYTES_MAX + 1];
    bool planned;       // RESTORING, RETURNING: the reboot that comes is ours
    uint32_t reboots;   // asked for since applied
    uint32_t boots;     // into what is to be proved, since its last attempt began
    uint32_t updates;   // self updates begun: numbers their jobs
    uint64_t updated_s; // unix time of the last one
    uint64_t asleep_ms; // ev->asleep_ms when the window began or was last looked at
    struct apply_report report;
    struct apply_report hidden; // what was said before the refusals that were reported last
    struct timings timings;
    uint64_t phase_ms;                // when the current phase began, awake time
    uint8_t refused_hash[HASH_BYTES]; // what was refused last, so that it is reported once
    enum code refused_code;
    struct apply_memory memories[APPLY_MEMORIES]; // newest first
};

// By how much resumes of the machine prolong a window at the most.
#define APPLY_RESUMES_MS (5 * 60 * UINT64_C(1000))

// Constants of the node's configuration.
struct apply_rules {
    uint64_t confirm_ms, switch_ms, return_ms;
    uint64_t commit_ms; // above the limit of the job
    uint64_t boot_ms;   // the least that a window after a boot lasts
};

struct apply_event {
    enum apply_event_kind kind;
    // In every event:
    uint64_t now_ms;    // awake time of this boot
    uint64_t asleep_ms; // time that this boot spent suspended
    uint64_t unix_ns;   // for the next seq
    uint8_t nonce[16];  // fresh random
    uint8_t boot_id[16];
    const char *running, *profile; // store paths now; "" if unknown
    const char *booted;            // what this boot began with; NULL or "": what runs
    const char *specialisation;    // of running; "" if none
    bool reboot_needed; // kernel, initrd or modules of the profile are not the booted ones
    const struct apply_rules *rules;
    // OBTAINED, ARMED, TRIED, CHECKED, COMMITTED, REVERTED, FIRED, RESTORED, INSTALLED:
    uint8_t digest[HASH_BYTES];
    uint32_t attempt;
    // RELEASE: what it asks for
    const struct apply_config *config;
    // REFUSED, OBTAINED, ARMED, CHECKED, COMMITTED, REVERTED, RESTORED, INSTALLED: CODE_OK is
    // success
    enum code code;
    const uint8_t *refused_hash; // REFUSED: SHA-256 of what was refused
    const char *path;            // OBTAINED
    bool boot_only;              // OBTAINED: it cannot be tried live (inhibitors, another init)
    int status; // TRIED: exit status of the switch, TRIED_SECRETS or TRIED_NEVER; -1: none was left
    uint64_t seq; // ACKED, QUEUED
};

// The secrets could not be installed, or not for their owners.
#define TRIED_SECRETS 65
// The switch did not begin: systemd did not answer, say.
#define TRIED_NEVER (-2)

#define APPLY_PLAN_MAX 6
struct apply_plan {
    unsigned count;
    enum apply_effect effects[APPLY_PLAN_MAX];
};

// The configuration that a report is about, with the newest head that asked for it. NULL: a refusal, or
// its head is not known.
const struct apply_config *apply_about(const struct apply *a, const struct apply_report *report);
// Total: every event is legal in every state. *next and *plan are written whole.
void apply_step(const struct apply *now, const struct apply_event *event, struct apply *next,
    struct apply_plan *plan);
// {0} with state IDLE.
void apply_init(struct apply *apply);
// True while a trial is under way: between recording it and its end.
bool apply_in_trial(enum apply_state state);
// True while the report must be acknowledged over a connection dialled after it was made.
bool apply_is_reaching(const struct apply *apply);
// Whose secrets a toplevel needs that runs or is about to: the configuration's digest, zeros for none.
// Those of a trial as soon as it is on record. False: what is installed is right, whatever it is.
bool apply_secrets_of(const struct apply *apply, const char *toplevel, const uint8_t boot_id[16],
    uint8_t digest[HASH_BYTES]);
// The same of what the trial goes back to. False: nothing but the trial is known.
bool apply_secrets_of_old(const struct apply *apply, uint8_t digest[HASH_BYTES]);
// Under what an attempt at this configuration is remembered.
void apply_memory_key(const struct apply_config *config, uint8_t key[HASH_BYTES]);
