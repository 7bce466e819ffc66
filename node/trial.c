// The steps of a trial that change the system: try, commit, revert, and the dead man's switch,
// which is a revert that waits.
#include "actions.h"

#include "decision.h"

#include "apply.h"
#include "failed_units.h"
#include "fs.h"
#include "secrets.h"
#include "system.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define END_SWITCH_MS 30000
#define OTHER_SWITCH_MS 120000
#define OTHER_SWITCH_LOOK_MS 200
#define SWITCH_EXIT_UNITS 4 // of switch-to-configuration: some unit failed

struct trial {
    const struct config *config;
    int state; // state/apply
    int lock;
    struct job_key key;
    const char *new_path, *old_path, *old_profile;
    const char *specialisation; // "" for none
    const char *secrets;        // digest of the configuration whose they are; "" if unknown
    bool boot;                  // commit: for the next boot, it need not run
};

static bool trial_open(const struct invocation *call, struct trial *t, struct err *e)
{
    if (!hex_decode(call->argv[0], strlen(call->argv[0]), t->key.digest, HASH_BYTES)) {
        return err_set(e, CODE_USAGE, "'%s' is no config digest", call->argv[0]);
    }
    t->config = call->config;
    t->key.attempt = (uint32_t)strtoul(call->argv[1], NULL, 10);
    return fs_open_dir(AT_FDCWD, call->state, &t->state, e);
}

static int trial_close(struct trial *t, int status, const struct err *e)
{
    if (status != 0) {
        fprintf(stderr, "%s\n", e->text);
    }
    fd_closep(&t->lock);
    fd_closep(&t->state);
    return status;
}

static bool runs(const struct trial *t, const char *path)
{
    const char *const toplevels[] = {path, NULL};
    struct system_facts facts;
    system_look(t->config, toplevels, &facts);
    return strcmp(facts.running, path) == 0;
}

static bool profile_is(const struct trial *t, const char *path)
{
    struct system_facts facts;
    system_look(t->config, NULL, &facts);
    return strcmp(facts.profile, path) == 0;
}

static bool set_profile(const struct trial *t, const char *path)
{
    const char *argv[] = {"nix-env", "--profile", t->config->profile, "--set", path, NULL};
    return run_command(t->config, argv, NULL) == 0;
}

// Somebody may switch by hand just now, and switch-to-configuration gives up at once then. Who takes
// longer than that makes it fail as it would.
static void await_other_switch(void)
{
    CLEANUP_FD fd = open("/run/nixos/switch-to-configuration.lock", O_RDONLY | O_CLOEXEC);
    uint64_t until = clock_monotonic_ms() + OTHER_SWITCH_MS;
    bool said = false;
    while (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK &&
           clock_monotonic_ms() < until) {
        if (!said) {
            fprintf(stderr, "another switch is under way: waiting for its end\n");
        }
        said = true;
        poll(NULL, 0, OTHER_SWITCH_LOOK_MS);
    }
}

// checks: NULL, or NIXOS_NO_CHECK=1 on the way back, which nothing may stop.
static int switch_to(const struct trial *t, const char *path, const char *how, const char *checks)
{
    char program[PATH_MAX + 64];
    snprintf(program, sizeof program, "%s/bin/switch-to-configuration", path);
    const char *argv[] = {program, how, NULL};
    await_other_switch();
    return run_command(t->config, argv, checks);
}

// Profile first, then the boot loader, which reads it.
static bool install(const struct trial *t, const char *path)
{
    return set_profile(t, path) && switch_to(t, path, "boot", NULL) == 0;
}

// The toplevel, or its specialisation if it has the one that ran.
static int switch_variant(const struct trial *t, const char *toplevel, const char *checks)
{
    char path[PATH_MAX];
    system_variant(toplevel, t->specialisation, path);
    return switch_to(t, path, "test", checks);
}

// A unit that had failed before is not this system's fault.
static int judge_units(const struct trial *t, struct buf *before)
{
    struct buf after CLEANUP(buf_clear) = {0};
    struct buf fresh CLEANUP(buf_clear) = {0};
    if (!has_systemd() || !units_failed(t->config, &after)) {
        return SWITCH_EXIT_UNITS;
    }
    units_added(before, &after, &fresh);
    if (fresh.len == 0) {
        fprintf(stderr, "the units that failed had failed before\n");
        return 0;
    }
    fprintf(stderr, "failed now, and not before: %s\n", buf_text(&fresh));
    return SWITCH_EXIT_UNITS;
}

// What is acknowledged from here on was delivered by the new system's own.
static void restart_node(const struct trial *t)
{
    const char *argv[] = {"systemctl", "restart", "--", t->config->node_unit, NULL};
    if (has_systemd() && t->config->node_unit[0] != '\0' &&
        run_command(t->config, argv, NULL) != 0) {
        fprintf(stderr, "%s could not be restarted\n", t->config->node_unit);
    }
}

static int try(struct trial *t, struct err *e)
{
    struct buf before CLEANUP(buf_clear) = {0};
    if (decision_read(t->state, &t->key) == DECISION_REVERT) {
        err_set(e, CODE_DEADMAN, "reverted before the switch could start");
        return 1;
    }
    if (has_systemd() && !units_failed(t->config, &before)) {
        fprintf(stderr, "it is not known which units had failed before\n");
    }
    if (!secrets_install_of(t->config, t->secrets, OWNERS_MAY_COME, e)) {
        return TRIED_SECRETS;
    }
    int status = switch_variant(t, t->new_path, NULL);
    // Again: users have come and gone.
    if (runs(t, t->new_path) && !secrets_install_of(t->config, t->secrets, OWNERS_KNOWN, e)) {
        return TRIED_SECRETS;
    }
    err_set(e, CODE_SWITCH, "switch-to-configuration ended with %d", status);
    if (status == SWITCH_EXIT_UNITS) {
        status = judge_units(t, &before);
    }
    if (status == 0 || status == SWITCH_EXIT_UNITS) {
        restart_node(t);
    }
    return status;
}

int action_try(const struct invocation *call)
{
    struct trial t = {.state = -1, .lock = -1, .specialisation = "", .secrets = ""};
    struct err e;
    if (call->argc != 3 && call->argc != 4) {
        fprintf(stderr, "usage: bento-apply try DIGEST ATTEMPT NEW [SPECIALISATION]\n");
        return 64;
    }
    t.new_path = call->argv[2];
    t.secrets = call->argv[0];
    if (call->argc == 4) {
        t.specialisation = call->argv[3];
    }
    int status = trial_open(call, &t, &e) ? try(&t, &e) : 1;
    return trial_close(&t, status, &e);
}

static int commit(struct trial *t, struct err *e)
{
    if (!fs_lock(t->state, "turn.lock", true, &t->lock, e)) {
        return 1;
    }
    enum decision decision = decision_read(t->state, &t->key);
    if (decision == DECISION_REVERT ||
        (decision == DECISION_OPEN && !t->boot && !runs(t, t->new_path))) {
        err_set(e, CODE_DEADMAN, "reverted before it could be committed");
        return 1;
    }
    if (!decision_write(t->state, &t->key, DECISION_COMMIT, e)) {
        return 1;
    }
    if (install(t, t->new_path)) {
        return 0;
    }
    struct err second;
    if (!install(t, t->old_profile)) { // left as DECISION_COMMIT: revert() writes it again
        fprintf(stderr, "the old boot entry could not be written again either\n");
    } else if (!decision_write(t->state, &t->key, DECISION_REVERT, &second)) {
        fprintf(stderr, "%s\n", second.text);
    }
    err_set(e, CODE_COMMIT, "profile or boot loader not written, the old ones were put back");
    return 1;
}

int action_commit(const struct invocation *call)
{
    struct trial t = {.state = -1, .lock = -1, .specialisation = "", .secrets = ""};
    struct err e;
    t.boot = call->argc == 6 && strcmp(call->argv[5], "boot") == 0;
    if (call->argc != 5 && !t.boot) {
        fprintf(stderr, "usage: bento-apply commit DIGEST ATTEMPT NEW OLD OLDPROFILE [boot]\n");
        return 64;
    }
    t.new_path = call->argv[2];
    t.old_path = call->argv[3];
    t.old_profile = call->argv[4];
    int status = trial_open(call, &t, &e) ? commit(&t, &e) : 1;
    return trial_close(&t, status, &e);
}

// What the dead man's switch may still do: only its own trial, and only while nothing is decided.
static bool may_fire(const struct trial *t, struct err *e)
{
    switch (decision_read(t->state, &t->key)) {
    case DECISION_OPEN:
    case DECISION_REVERT: // begun before, and interrupted
        return true;
    case DECISION_COMMIT:
        return err_set(e, CODE_BUSY, "committed in time, nothing to do");
    case DECISION_NONE:
        break;
    }
    return err_set(e, CODE_BUSY, "the trial is over, nothing to do");
}

static void end_job(const struct trial *t, enum job_kind kind)
{
    struct err e;
    int jobs = -1;
    if (!fs_open_dir(t->state, "jobs", &jobs, &e) || !job_end(jobs, kind, END_SWITCH_MS, &e)) {
        fprintf(stderr, "%s\n", e.text); // its lock may be free all the same: go on
    }
    fd_closep(&jobs);
}

// The old system is better off without its secrets than not back.
static void bring_back_secrets(const struct trial *t)
{
    char digest[HASH_HEX_BYTES], own[HASH_HEX_BYTES];
    struct err e;
    hex_encode(t->key.digest, HASH_BYTES, own);
    snprintf(digest, sizeof digest, "%s", t->secrets);
    secrets_recall(t->config, t->old_path, own, digest);
    if (digest[0] == '\0') {
        fprintf(stderr, "it is not known which secrets are those of %s\n", t->old_path);
    } else if (!secrets_install_of(t->config, digest, OWNERS_MAY_COME, &e)) {
        fprintf(stderr, "%s\n", e.text);
    }
}

static int revert(struct trial *t, bool deadman, struct err *e)
{
    if (deadman && !may_fire(t, e)) {
        return REVERT_EXIT_OVER;
    }
    end_job(t, JOB_TRY); // it holds the switch's own lock
    if (!fs_lock(t->state, "turn.lock", true, &t->lock, e)) {
        return 1;
    }
    if (deadman && !may_fire(t, e)) { // decided while we waited for the lock
        return REVERT_EXIT_OVER;
    }
    // A commit or a revert that was cut short may have left the old profile and the new boot entry.
    bool installed =
        decision_read(t->state, &t->key) == DECISION_OPEN && profile_is(t, t->old_profile);
    if (!decision_write(t->state, &t->key, DECISION_REVERT, e)) {
        fprintf(stderr, "%s\n", e->text); // going back matters more than remembering it
    }
    installed = installed || install(t, t->old_profile);
    // Also if it is the current one: a switch that was ended in the middle has stopped units
    // already.
    bring_back_secrets(t);
    int status = switch_variant(t, t->old_path, "NIXOS_NO_CHECK=1");
    bring_back_secrets(t); // for users that are back
    restart_node(t);
    if (!runs(t, t->old_path)) {
        err_set(e, CODE_SWITCH, "%s is not back, switch-to-configuration ended with %d",
            t->old_path, status);
        return 1;
    }
    if (!installed) {
        err_set(e, CODE_COMMIT, "%s runs, but profile and boot entry of %s could not be restored",
            t->old_path, t->old_profile);
        return 1;
    }
    return 0;
}

int action_revert(const struct invocation *call)
{
    struct trial t = {.state = -1, .lock = -1, .specialisation = "", .secrets = ""};
    struct err e;
    if (call->argc < 4 || call->argc > 7) {
        fprintf(stderr, "usage: bento-apply revert DIGEST ATTEMPT OLD OLDPROFILE [now|deadman "
                        "[SPECIALISATION [SECRETS]]]\n");
        return 64;
    }
    t.old_path = call->argv[2];
    t.old_profile = call->argv[3];
    bool deadman = call->argc > 4 && strcmp(call->argv[4], "now") != 0;
    if (call->argc > 5) {
        t.specialisation = call->argv[5];
    }
    if (call->argc > 6) {
        t.secrets = call->argv[6];
    }
    int status = trial_open(call, &t, &e) ? revert(&t, deadman, &e) : 1;
    for (unsigned again = 1; status == 1 && deadman && again < DEADMAN_TRIES; again++) {
        fprintf(stderr, "%s; tried again in %u s\n", e.text, DEADMAN_AGAIN_S);
        fd_closep(&t.lock);
        sleep(DEADMAN_AGAIN_S);
        status = revert(&t, deadman, &e);
    }
    return trial_close(&t, status, &e);
}

int action_restore(const struct invocation *call)
{
    struct trial t = {
        .config = call->config, .state = -1, .lock = -1, .specialisation = "", .secrets = ""};
    struct err e;
    if (call->argc != 1) {
        fprintf(stderr, "usage: bento-apply restore OLDPROFILE\n");
        return 64;
    }
    int status = 1;
    if (fs_open_dir(AT_FDCWD, call->state, &t.state, &e) &&
        fs_lock(t.state, "turn.lock", true, &t.lock, &e)) {
        status = install(&t, call->argv[0]) ? 0 : 1;
        err_set(&e, CODE_COMMIT, "%s is not the boot default again", call->argv[0]);
    }
    return trial_close(&t, status, &e);
}
