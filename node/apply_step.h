// Inside of the state machine: one step under way (apply_step.c), and the way of a configuration
// through it (apply_way.c). apply.c takes the events apart and calls what stands here; nobody else
// does.
#pragma once

#include "apply.h"

// The arguments of apply_step, passed around whole.
struct step {
    struct apply *a;
    const struct apply_event *ev;
    struct apply_plan *plan;
};

#define SECOND_MS UINT64_C(1000)
#define CHECK_MS (60 * SECOND_MS)       // one preflight attempt
#define ARM_MS (120 * SECOND_MS)        // systemd may be executing itself anew
#define INSTALL_MS (120 * SECOND_MS)    // looking up an owner may ask the network
#define REBOOT_MS (10 * 60 * SECOND_MS) // services may take their time to stop
#define REVERT_RETRY_MS                                                                            \
    (60 * SECOND_MS) // after a revert or restore that failed, times their number
#define BUILD_RETRY_MS (10 * 60 * SECOND_MS) // times the attempt; of a build: doubled each time
#define BUILD_DOUBLED_MAX 5                  // five hours, then
#define RESUME_MS (60 * SECOND_MS)           // of a window that are left after a resume
#define ASKED_S 10u                          // between two self updates that somebody asks for
#define REVERTS_MAX 3u

// --- small steps ---

bool digest_same(const uint8_t *a, const uint8_t *b);
bool digest_is_none(const uint8_t *digest);
void path_set(char path[STORE_PATH_BYTES_MAX + 1], const char *to);
uint64_t unix_s(const struct step *s);
bool runs(const struct step *s, const char *path);
bool is_profile(const struct step *s, const char *path);
void plan_add(struct step *s, enum apply_effect effect);
// limit_ms 0: no deadline. Outside of trials the trial is forgotten.
void enter(struct step *s, enum apply_state state, uint64_t limit_ms);
uint64_t window_ms(const struct step *s); // of the state CONFIRMING or PROVING
// Nothing is wanted that is not applied.
bool is_at_rest(const struct apply *a);
bool has_next(const struct apply *a);
// Something else than the target waits.
bool has_remedy(const struct apply *a);
// What is applied runs, for the first time since its boot.
bool must_prove(const struct step *s);
// Installed for the next boot, or its kernel waits.
bool waits_for_reboot(const struct step *s);
// It waits, and a reboot of ours was asked for and has not been tried too often.
bool may_reboot(const struct step *s);

// --- memory and reports ---

const struct apply_memory *memory_find(const struct apply *a, const struct apply_config *config);
// Moved to the front; the oldest is forgotten for a new one.
struct apply_memory *memory_touch(struct apply *a);
bool may_help(const struct apply *a); // a remedy that was not judged
void memory_conclude(struct apply *a, enum apply_outcome outcome, enum code code); // of the target
void report_as(struct step *s, enum apply_effect how, enum node_state state, enum code code,
    const uint8_t *digest);
void report(struct step *s, enum node_state state, enum code code);
void report_and_reach(struct step *s, enum node_state state, enum code code);
// Up to date, or waiting for its reboot.
void report_applied(struct step *s);
void schedule_maybe(struct step *s); // a reboot by the calendar, if one is waited for

// --- the way of a configuration, in order ---

void way_begin(struct step *s, const struct apply_config *config);
void way_begin_update(struct step *s);
// A newer head asks for the target, or for what the target is a self update of.
void way_renew(struct apply *a, const struct apply_config *config);
void way_obtain(struct step *s);
void way_obtained(struct step *s);
void way_commit_untried(struct step *s);
void way_check(struct step *s);
void way_arm(struct step *s);
void way_armed(struct step *s);
void way_tried(struct step *s);
void way_confirmed_maybe(struct step *s);
// Not reached in the window, or not healthy: back, where that is allowed.
void way_not_confirmed(struct step *s, enum code reason);
void way_replace(struct step *s);           // it stays, and something else waits
void way_give_up_reverting(struct step *s); // and something else waits
void way_commit(struct step *s);
void way_applied(struct step *s);
void way_fail(struct step *s, enum code code);
void way_fail_for_now(struct step *s, enum code code);
// Nothing is under way any more. What came in the meantime is taken by the TIMER that is due at
// once: a step makes one report at the most.
void way_settle(struct step *s);
void way_take_next(struct step *s);

void way_revert(struct step *s, enum code reason);
void way_reverted(struct step *s);
void way_revert_failed(struct step *s);
void way_try_again(struct step *s); // the same target, another attempt
void way_returned_in_vain(struct step *s);
void way_reached_again(struct step *s); // WAITING

// What runs is what is asked for: only its secrets may be new. apply_secrets.c
void way_install(struct step *s);
void way_installed(struct step *s);
void way_install_failed(struct step *s, enum code code);

void way_reboot_maybe(struct step *s);
void way_prove(struct step *s);
void way_proven_maybe(struct step *s);
void way_restore(struct step *s, enum code reason);
void way_restored(struct step *s); // the job ended well
void way_restore_failed(struct step *s);
void way_back_from_boot(struct step *s); // what booted last runs again
