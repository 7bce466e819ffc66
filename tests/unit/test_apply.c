// Traces of the state machine: what happened, what the node does about it.
#include "apply.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define OLD "/nix/store/old"
#define NEW "/nix/store/new"
#define OTHER "/nix/store/other"
#define MINUTE_MS (60 * 1000u)

static const struct apply_rules rules = {.confirm_ms = 180000,
    .switch_ms = 600000,
    .return_ms = 900000,
    .commit_ms = 600000,
    .boot_ms = 300000};

// A machine as far as apply_step() can see it.
struct node {
    struct apply a;
    struct apply_plan plan;
    uint64_t now_ms, unix_ns;
    uint8_t boot;
    const char *running, *profile, *specialisation;
    bool reboot_needed, boot_only;
    uint64_t asleep_ms;
};

static struct apply_event event_of(struct node *n, enum apply_event_kind kind)
{
    struct apply_event ev = {.kind = kind,
        .now_ms = n->now_ms,
        .unix_ns = ++n->unix_ns,
        .nonce = {(uint8_t)n->unix_ns},
        .boot_id = {n->boot},
        .running = n->running,
        .specialisation = n->specialisation != NULL ? n->specialisation : "",
        .reboot_needed = n->reboot_needed,
        .asleep_ms = n->asleep_ms,
        .boot_only = n->boot_only,
        .profile = n->profile,
        .rules = &rules,
        .attempt = n->a.attempt};
    memcpy(ev.digest, n->a.target.digest, HASH_BYTES);
    return ev;
}

static void step(struct node *n, const struct apply_event *ev)
{
    struct apply next;
    apply_step(&n->a, ev, &next, &n->plan);
    n->a = next;
}

static void boots(struct node *n)
{
    struct apply_event ev = event_of(n, EVENT_BOOT);
    step(n, &ev);
}

// The machine restarts: the boot default is what the profile says.
static void reboots(struct node *n)
{
    n->boot++;
    n->now_ms = 1000;
    n->asleep_ms = 0;
    n->running = n->profile;
    n->reboot_needed = false;
    boots(n);
}

// Into another system than the profile's: the boot loader, or somebody at the console.
static void reboots_into(struct node *n, const char *running)
{
    n->boot++;
    n->now_ms = 1000;
    n->running = running;
    boots(n);
}

static void hears(struct node *n, const struct apply_config *config)
{
    struct apply_event ev = event_of(n, EVENT_RELEASE);
    ev.config = config;
    step(n, &ev);
}

static void gets(struct node *n, enum apply_event_kind kind, enum code code)
{
    struct apply_event ev = event_of(n, kind);
    ev.code = code;
    step(n, &ev);
}

static void obtains(struct node *n, const char *path)
{
    struct apply_event ev = event_of(n, EVENT_OBTAINED);
    ev.path = path;
    step(n, &ev);
}

static void tries(struct node *n, const char *running, int status)
{
    n->running = running;
    struct apply_event ev = event_of(n, EVENT_TRIED);
    ev.status = status;
    step(n, &ev);
}

static void commits(struct node *n)
{
    static const char *const paths[] = {OLD, NEW, OTHER};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        n->profile = strcmp(paths[i], n->a.target.path) == 0 ? paths[i] : n->profile;
    }
    gets(n, EVENT_COMMITTED, CODE_OK);
}

static void reverts(struct node *n)
{
    n->running = OLD;
    n->profile = OLD;
    gets(n, EVENT_REVERTED, CODE_OK);
}

static void is_reached(struct node *n)
{
    struct apply_event ev = event_of(n, EVENT_ACKED);
    ev.seq = n->a.report.seq;
    step(n, &ev);
}

static void waits(struct node *n, uint64_t ms)
{
    n->now_ms += ms;
    struct apply_event ev = event_of(n, EVENT_TIMER);
    step(n, &ev);
}

static void refuses(struct node *n, uint8_t hash, enum code code)
{
    uint8_t refused[HASH_BYTES] = {hash};
    struct apply_event ev = event_of(n, EVENT_REFUSED);
    ev.code = code;
    ev.refused_hash = refused;
    step(n, &ev);
}

static struct apply_config config_of(uint8_t digest, uint64_t release)
{
    struct apply_config config = {.epoch = 1, .release = release};
    memset(config.digest, digest, HASH_BYTES);
    memset(config.head_hash, (int)release, HASH_BYTES);
    return config;
}

// "STATE: EFFECT EFFECT", as the whole outcome of the last step.
static void is_now(const struct node *n, const char *expected)
{
    char text[200];
    int at = snprintf(text, sizeof text, "%s:", apply_state_name(n->a.state));
    for (unsigned i = 0; i < n->plan.count; i++) {
        at += snprintf(
            text + at, sizeof text - (size_t)at, " %s", apply_effect_name(n->plan.effects[i]));
    }
    assert_string_equal(text, expected);
    bool has_trial = !bytes_are_zero(n->a.trial.digest, HASH_BYTES);
    assert_int_equal(has_trial, apply_in_trial(n->a.state));
}

static void says(const struct node *n, enum node_state state, enum code code)
{
    assert_string_equal(node_state_word(n->a.report.state), node_state_word(state));
    assert_string_equal(code_name(n->a.report.code), code_name(code));
}

// What is asked for runs already: only its secrets may be new.
static void finds_running(struct node *n, const char *path)
{
    obtains(n, path);
    is_now(n, "INSTALLING: INSTALL");
    gets(n, EVENT_INSTALLED, CODE_OK);
}

// Runs OLD, confirmed, as configuration 1 of release 1.
static struct node settled_node(void)
{
    struct node n = {.running = OLD, .profile = OLD, .boot = 1, .now_ms = 1000, .unix_ns = 1000};
    apply_init(&n.a);
    boots(&n);
    struct apply_config old = config_of(1, 1);
    hears(&n, &old);
    finds_running(&n, OLD);
    is_now(&n, "IDLE: QUEUE");
    says(&n, NODE_UP_TO_DATE, CODE_OK);
    return n;
}

static void goes_to_checking(struct node *n, const struct apply_config *config)
{
    hears(n, config);
    is_now(n, "OBTAINING: QUEUE OBTAIN");
    says(n, NODE_BUILDING, CODE_OK);
    obtains(n, config->digest[0] == 3 ? OTHER : NEW);
    is_now(n, "CHECKING: REACH");
    says(n, NODE_CHECKING, CODE_OK);
}

static void goes_to_trying(struct node *n, const struct apply_config *config)
{
    goes_to_checking(n, config);
    is_reached(n);
    is_now(n, "ARMING: ARM");
    gets(n, EVENT_ARMED, CODE_OK);
    is_now(n, "TRYING: TRY QUEUE");
    says(n, NODE_TRYING, CODE_OK);
}

static void goes_to_confirming(struct node *n, const struct apply_config *config)
{
    goes_to_trying(n, config);
    tries(n, NEW, 0);
    is_now(n, config->has_health ? "CONFIRMING: REACH CHECK" : "CONFIRMING: REACH");
    says(n, NODE_CONFIRMING, CODE_OK);
}

static void goes_to_committing(struct node *n, const struct apply_config *config)
{
    goes_to_confirming(n, config);
    is_reached(n);
    if (config->has_health) {
        gets(n, EVENT_CHECKED, CODE_OK);
    }
    is_now(n, "COMMITTING: QUEUE COMMIT");
}

// The old system is back and was reached; the verdict stands.
static void ends_rolled_back(struct node *n, enum code code)
{
    is_now(n, "REVERTING: QUEUE REVERT");
    says(n, NODE_REVERTING, code);
    reverts(n);
    is_now(n, "RETURNING: DISARM REACH");
    says(n, NODE_ROLLED_BACK, code);
    is_reached(n);
    is_now(n, "IDLE:");
}

// --- the normal way

static void good_configuration_is_up_to_date(void **state)
{
    (void)state;
    struct node n = settled_node();
    struct apply_config config = config_of(2, 2);
    goes_to_committing(&n, &config);
    says(&n, NODE_COMMITTING, CODE_OK);
    assert_string_equal(n.profile, OLD);
    commits(&n);
    is_now(&n, "IDLE: DISARM QUEUE");
    says(&n, NODE_UP_TO_DATE, CODE_OK);
    assert_memory_equal(n.a.applied.digest, config.digest, HASH_BYTES);
    assert_string_equal(n.a.applied.path, NEW);
}

static void phases_of_a_trial_are_timed(void **state)
{
    (void)state;
    struct node n = settled_node();
    struct apply_config config = config_of(2, 2);
    hears(&n, &config);
    n.now_ms += 11;
    obtains(&n, NEW);
    is_reached(&n);
    gets(&n, EVENT_ARMED, CODE_OK);
    n.now_ms += 22;
    tries(&n, NEW, 0);
    n.now_ms += 33;
    is_reached(&n);
    n.now_ms += 44;
    commits(&n);
    assert_int_equal(n.a.timings.obtain_ms, 11);
    assert_int_equal(n.a.timings.switch_ms, 22);
    assert_int_equal(n.a.timings.confirm_ms, 33);
    assert_int_equal(n.a.timings.commit_ms, 44);
}

static void restart_while_obtaining_keeps_the_timing_sane(void **state)
{
    (void)state;
    struct node n = settled_node();
    struct apply_config config = config_of(2, 2);
    n.now_ms = 1000 * MINUTE_MS;
    hears(&n, &config);
    reboots(&n);
    is_now(&n, "OBTAINING: OBTAIN QUEUE DISARM SECRETS");
    n.now_ms += 500;
    obtains(&n, NEW);
    assert_int_equal(n.a.timings.obtain_ms, 500);
}

static void fresh_node_without_configuration_is_new(void **state)
{
    (void)state;
    struct node n = {.running = OLD, .profile = OLD, .boot = 1};
    apply_init(&n.a);
    boots(&n);
    is_now(&n, "IDLE: DISARM SECRETS");
    struct apply_config none = config_of(0, 1);
    hears(&n, &none);
    is_now(&n, "IDLE: QUEUE");
    says(&n, NODE_NEW, CODE_OK);
}

static void release_of_another_host_is_only_noted(void **state)
{
    (void)state;
    struct node n = settled_node();
    struct apply_config same = config_of(1, 7);
    hears(&n, &same);
    is_now(&n, "IDLE: QUEUE");
    says(&n, NODE_UP_TO_DATE, CODE_OK);
    assert_int_equal(n.a.applied.release, 7);
    assert_string_equal(n.a.applied.path, OLD);
    assert_memory_equal(n.a.seen, same.head_hash, HASH_BYTES);
}

static void running_it_already_is_sync(void **state)
{
    (void)state;
    struct node n = settled_node();
    struct apply_config config = config_of(2, 2); // only a secret changed: same system
    hears(&n, &config);
    finds_running(&n, OLD);
    is_now(&n, "IDLE: QUEUE");
    says(&n, NODE_UP_TO_DATE, CODE_OK);
    assert_memory_equal(n.a.applied.digest, config.digest, HASH_BYTES);
}

// Whose secrets a system needs; 255: what is there is right.
static unsigned secrets_of(const struct node *n, const char *toplevel)
{
    uint8_t digest[HASH_BYTES], boot_id[16] = {n->boot};
    return apply_secrets_of(&n->a, toplevel, boot_id, digest) ? digest[0] : 255;
}

static unsigned secrets_to_go_back_to(const struct node *n)
{
    uint8_t digest[HASH_BYTES];
    return apply_secrets_of_old(&n->a, digest) ? digest[0] : 255;
}

static void secrets_that_cannot_be_installed_are_put_back(void **state)
{
    (void)state;
    struct node n = settled_node();
    struct apply_config config = config_of(2, 2);
    hears(&n, &config);
    obtains(&n, OLD);
    assert_int_equal(secrets_of(&n, OLD), 1);
    gets(&n, EVENT_INSTALLED, CODE_SECRETS);
    is_now(&n, "IDLE: QUEUE SECRETS");
    says(&n, NODE_FAILED, CODE_SECRETS);
    assert_int_equal(secrets_of(&n, OLD), 1);
    assert_int_equal(n.a.applied.digest[0], 1);
}

static void secrets_that_are_never_installed_time_out(void **state)
{
    (void)state;
    struct node n = settled_node();
    struct apply_config config = config_of(2, 2);
    hears(&n, &config);
    obtains(&n, OLD);
    waits(&n, 120000);
    is_now(&n, "IDLE: QUEUE SECRETS");
    says(&n, NODE_FAILED, CODE_TIMEOUT);
}

static void restart_while_installing_installs_again(void **state)
{
    (void)state;
    struct node n = settled_node();
    struct apply_config config = config_of(2, 2), newer = config_of(3, 3);
    hears(&n, &config);
    obtains(&n, OLD);
    boots(&n);
    is_now(&n, "INSTALLING: INSTALL QUEUE DISARM");
    hears(&n, &newer);
    is_now(&n, "INSTALLING:");
    gets(&n, EVENT_INSTALLED, CODE_OK);
    is_now(&n, "IDLE: QUEUE");
    assert_int_equal(n.a.applied.digest[0], 2);
    waits(&n, 1);
    is_now(&n, "OBTAINING: QUEUE OBTAIN");
}

static void switched_by_hand_while_installing_makes_it_a_trial(void **state)
{
    (void)state;
    struct node n = settled_node();
    struct apply_config config = config_of(2, 2);
    hears(&n, &config);
    obtains(&n, OLD);
    n.running = OTHER;
    gets(&n, EVENT_INSTALLED, CODE_OK);
    is_now(&n, "CHECKING: REACH");
}

static void secrets_of_a_trial_belong_to_its_system(void **state)
{
    (void)state;
    struct node n = settled_node();
    struct apply_config config = config_of(2, 2);
    goes_to_trying(&n, &config);
    assert_int_equal(secrets_of(&n, NEW), 2);
    assert_int_equal(secrets_of(&n, OLD), 1);
    assert_int_equal(secrets_to_go_back_to(&n), 1);
    tries(&n, NEW, TRIED_SECRETS);
    is_now(&n, "REVERTING: QUEUE REVERT");
    says(&n, NODE_REVERTING, CODE_SECRETS);
    assert_int_equal(secrets_of(&n, NEW), 255);
    assert_int_equal(secrets_of(&n, OLD), 1);
    n.boot++; // the journal is that of the boot before, as early as secrets are needed
    assert_int_equal(secrets_of(&n, OLD), 1);
    n.boot--;
    ends_rolled_back(&n, CODE_SECRETS);
}

static void secrets_of_what_waits_for_its_boot_come_with_it(void **state)
{
    (void)state;
    struct node n = settled_node();
    struct apply_config config = config_of(2, 2);
    config.action = ACTION_BOOT;
    hears(&n, &config);
    obtains(&n, NEW);
    is_now(&n, "COMMITTING: QUEUE COMMIT");
    assert_int_equal(secrets_of(&n, OLD), 1);
    commits(&n);
    assert_int_equal(secrets_of(&n, OLD), 1);
    assert_int_equal(secrets_of(&n, NEW), 2);
    reboots(&n);
    is_now(&n, "PROVING: REACH DISARM SECRETS");
    assert_int_equal(secrets_of(&n, NEW), 2);
    assert_int_equal(secrets_to_go_back_to(&n), 1);
}

static void secrets_of_an_unknown_journal_are_unknown(void **state)
{
    (void)state;
    struct node n = settled_node();
    struct apply_config config = config_of(2, 2);
    goes_to_trying(&n, &config);
    struct apply_trial trial = n.a.trial;
    apply_init(&n.a);
    n.a.trial = trial;
    boots(&n);
    is_now(&n, "REVERTING: QUEUE REVERT");
    assert_int_equal(secrets_to_go_back_to(&n), 255);
}

static void running_it_with_another_profile_is_committed(void **state)
{
    (void)state;
    struct node n = settled_node();
    n.running = NEW; // somebody tested it by hand
    struct apply_config config = config_of(2, 2);
    hears(&n, &config);
    finds_running(&n, NEW);
    is_now(&n, "COMMITTING: QUEUE COMMIT");
    commits(&n);
    is_now(&n, "IDLE: DISARM QUEUE");
    says(&n, NODE_UP_TO_DATE, CODE_OK);
}

static void running_it_since_an_unconfirmed_attempt_is_tried_again(void **state)
{
    (void)state;
    struct node n = settled_node();
    struct apply_config config = config_of(2, 2), remedy = config_of(3, 3);
    config.fallback_floor = 2;
    config.has_health = true;
    goes_to_confirming(&n, &config);
    gets(&n, EVENT_CHECKED, CODE_HEALTH);
    says(&n, NODE_STAYS, CODE_HEALTH);
    hears(&n, &remedy);
    waits(&n, 1);
    config = config_of(2, 4);
    hears(&n, &config); // the admin thinks better of it
    is_now(&n, "OBTAINING: CANCEL QUEUE OBTAIN");
    obtains(&n, NEW);
    is_now(&n, "ARMING: ARM"); // nothing was reached since
}

static void boot_action_waits_for_the_reboot(void **state)
{
    (void)state;
    struct node n = settled_node();
    struct apply_config config = config_of(2, 2);
    config.action = ACTION_BOOT;
    hears(&n, &config);
    obtains(&n, NEW);
    is_now(&n, "COMMITTING: QUEUE COMMIT");
    commits(&n);
    is_now(&n, "IDLE: DISARM QUEUE");
    says(&n, NODE_REBOOT_PENDING, CODE_OK);
    reboots(&n);
    is_now(&n, "PROVING: REACH DISARM SECRETS");
    says(&n, NODE_CONFIRMING, CODE_OK);
    is_reached(&n);
    is_now(&n, "IDLE: DISARM QUEUE");
    says(&n, NODE_UP_TO_DATE, CODE_OK);
}

static void dry_action_changes_nothing_and_is_done_once(void **state)
{
    (void)state;
    struct node n = settled_node();
    struct apply_config config = config_of(2, 2);
    config.action = ACTION_DRY;
    hears(&n, &config);
    obtains(&n, NEW);
    is_now(&n, "IDLE: QUEUE");
    says(&n, NODE_DRY, CODE_OK);
    config.release = 3;
    hears(&n, &config);
    is_now(&n, "IDLE: QUEUE");
    says(&n, NODE_DRY, CODE_OK);
    assert_int_equal(n.a.applied.release, 1);
}

// --- preflight

static void preflight_is_repeated_until_reached(void **state)
{
    (void)state;
    struct node n = settled_node();
    struct apply_config config = config_of(2, 2);
    goes_to_checking(&n, &config);
    for (int i = 0; i < 100; i++) {
        uint64_t seq = n.a.report.seq;
        waits(&n, MINUTE_MS);
        is_now(&n, "CHECKING: REACH");
        assert_true(n.a.report.seq > seq);
    }
    is_reached(&n);
    is_now(&n, "ARMING: ARM");
}

static void acknowledgement_of_an_older_report_is_not_reached(void **state)
{
    (void)state;
    struct node n = settled_node();
    struct apply_config config = config_of(2, 2);
    goes_to_checking(&n, &config);
    struct apply_event ev = event_of(&n, EVENT_ACKED);
    ev.seq = n.a.report.seq - 1;
    step(&n, &ev);
    is_now(&n, "CHECKING:");
}

static void nothing_to_go_back_to_is_not_tried(void **state)
{
    (void)state;
    struct node n = settled_node();
    struct apply_config config = config_of(2, 2);
    goes_to_checking(&n, &config);
    n.profile = "";
    is_reached(&n);
    is_now(&n, "IDLE: QUEUE");
    says(&n, NODE_FAILED, CODE_CONFIG);
}

static void dead_man_that_cannot_be_armed_is_not_tried(void **state)
{
    (void)state;
    struct node n = settled_node();
    struct apply_config config = config_of(2, 2);
    goes_to_checking(&n, &config);
    is_reached(&n);
    gets(&n, EVENT_ARMED, CODE_IO);
    is_now(&n, "IDLE: QUEUE");
    says(&n, NODE_FAILED, CODE_IO);
    waits(&n, 10 * MINUTE_MS); // systemd may be itself again
    is_now(&n, "OBTAINING: QUEUE OBTAIN");
    assert_int_equal(n.a.attempt, 2);
}

static void switch_that_never_began_says_nothing_about_its_configuration(void **state)
{
    (void)state;
    struct node n = settled_node();
    struct apply_config config = config_of(2, 2);
    goes_to_trying(&n, &config);
    for (unsigned attempt = 1; attempt < ATTEMPTS_MAX; attempt++) {
        tries(&n, OLD, TRIED_NEVER);
        is_now(&n, "REVERTING: QUEUE REVERT");
        says(&n, NODE_REVERTING, CODE_TIMEOUT);
        reverts(&n);
        is_now(&n, "OBTAINING: DISARM QUEUE OBTAIN");
        obtains(&n, NEW);
        is_reached(&n);
        gets(&n, EVENT_ARMED, CODE_OK);
        is_now(&n, "TRYING: TRY QUEUE");
    }
    tries(&n, OLD, TRIED_NEVER);
    reverts(&n);
    says(&n, NODE_ROLLED_BACK, CODE_ATTEMPTS);
}

static void dead_man_that_never_answers_is_not_tried(void **state)
{
    (void)state;
    struct node n = settled_node();
    struct apply_config config = config_of(2, 2);
    goes_to_checking(&n, &config);
    is_reached(&n);
    waits(&n, 2 * MINUTE_MS);
    is_now(&n, "IDLE: DISARM QUEUE");
    says(&n, NODE_FAILED, CODE_TIMEOUT);
    gets(&n, EVENT_ARMED, CODE_OK); // late
    is_now(&n, "IDLE:");
}

static void trial_records_where_to_go_back(void **state)
{
    (void)state;
    struct node n = settled_node();
    n.profile = OTHER; // the running system need not be the profile's
    struct apply_config config = config_of(2, 2);
    goes_to_checking(&n, &config);
    is_reached(&n);
    assert_string_equal(n.a.trial.new_path, NEW);
    assert_string_equal(n.a.trial.old_path, OLD);
    assert_string_equal(n.a.trial.old_profile, OTHER);
    assert_int_equal(n.a.trial.attempt, 1);
    assert_memory_equal(n.a.trial.digest, config.digest, HASH_BYTES);
}

// --- the switch

static void failing_switch_is_rolled_back(void **state)
{
    (void)state;
    static const int statuses[] = {1, 2, 3, 100, 137, -1};
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
        struct node n = settled_node();
        struct apply_config config = config_of(2, 2);
        goes_to_trying(&n, &config);
        tries(&n, NEW, statuses[i]);
        ends_rolled_back(&n, CODE_SWITCH);
    }
}

static void successful_switch_to_something_else_is_rolled_back(void **state)
{
    (void)state;
    struct node n = settled_node();
    struct apply_config config = config_of(2, 2);
    goes_to_trying(&n, &config);
    tries(&n, OLD, 0);
    ends_rolled_back(&n, CODE_SWITCH);
}

static void failing_units_are_judged_by_policy(void **state)
{
    (void)state;
    for (int policy = UNIT_FAILURES_REPORT; policy <= UNIT_FAILURES_ROLLBACK; policy++) {
        struct node n = settled_node();
        struct apply_config config = config_of(2, 2);
        config.unit_failures = (enum unit_failures)policy;
        goes_to_trying(&n, &config);
        tries(&n, NEW, 4);
        if (policy == UNIT_FAILURES_ROLLBACK) {
            ends_rolled_back(&n, CODE_UNITS);
        } else {
            is_now(&n, "CONFIRMING: REACH");
        }
    }
}

static void failing_units_without_the_new_system_are_a_failed_switch(void **state)
{
    (void)state;
    struct node n = settled_node();
    struct apply_config config = config_of(2, 2);
    goes_to_trying(&n, &config);
    tries(&n, OLD, 4);
    ends_rolled_back(&n, CODE_SWITCH);
}

static void switch_that_never_ends_is_rolled_back(void **state)
{
    (void)state;
    struct node n = settled_node();
    struct apply_config config = config_of(2, 2);
    goes_to_trying(&n, &config);
    waits(&n, rules.switch_ms - 1);
    is_now(&n, "TRYING:");
    waits(&n, 1);
    ends_rolled_back(&n, CODE_SWITCH);
}

// --- confirmation

static void missing_confirmation_is_rolled_back(void **state)
{
    (void)state;
    struct node n = settled_node();
    struct apply_config config = config_of(2, 2);
    goes_to_confirming(&n, &config);
    waits(&n, rules.confirm_ms - 1);
    is_now(&n, "CONFIRMING:");
    waits(&n, 1);
    ends_rolled_back(&n, CODE_CONNECTIVITY);
}

static void window_of_the_configuration_beats_the_nodes(void **state)
{
    (void)state;
    struct node n = settled_node();
    struct apply_config config = config_of(2, 2);
    config.confirm_ms = 2 * rules.confirm_ms;
    goes_to_confirming(&n, &config);
    waits(&n, 2 * rules.confirm_ms - 1);
    is_now(&n, "CONFIRMING:");
    waits(&n, 1);
    is_now(&n, "REVERTING: QUEUE REVERT");
}

static void failing_health_is_rolled_back(void **state)
{
    (void)state;
    struct node n = settled_node();
    struct apply_config config = config_of(2, 2);
    config.has_health = true;
    goes_to_confirming(&n, &config);
    is_reached(&n);
    is_now(&n, "CONFIRMING:");
    gets(&n, EVENT_CHECKED, CODE_HEALTH);
    ends_rolled_back(&n, CODE_HEALTH);
}

static void health_alone_is_not_enough(void **state)
{
    (void)state;
    struct node n = settled_node();
    struct apply_config config = config_of(2, 2);
    config.has_health = true;
    goes_to_confirming(&n, &config);
    gets(&n, EVENT_CHECKED, CODE_OK);
    is_now(&n, "CONFIRMING:");
    is_reached(&n);
    is_now(&n, "COMMITTING: QUEUE COMMIT");
}

static void health_without_an_answer_is_rolled_back(void **state)
{
    (void)state;
    struct node n = settled_node();
    struct apply_config config = config_of(2, 2);
    config.has_health = true;
    goes_to_confirming(&n, &config);
    is_reached(&n);
    waits(&n, rules.confirm_ms);
    ends_rolled_back(&n, CODE_HEALTH);
}

static void reached_under_the_old_system_confirms_nothing(void **state)
{
    (void)state;
    struct node n = settled_node();
    struct apply_config config = config_of(2, 2);
    goes_to_confirming(&n, &config);
    n.running = OLD; // the dead man's switch fired while bento-apply was gone
    boots(&n);
    is_now(&n, "CONFIRMING: ARM REACH");
    is_reached(&n);
    is_now(&n, "CONFIRMING:");
    gets(&n, EVENT_FIRED, CODE_OK);
    ends_rolled_back(&n, CODE_DEADMAN);
}

static void fired_dead_man_is_rolled_back(void **state)
{
    (void)state;
    for (int stage = 0; stage < 3; stage++) {
        struct node n = settled_node();
        struct apply_config config = config_of(2, 2);
        void (*const goes[])(struct node *, const struct apply_config *) = {
            goes_to_trying, goes_to_confirming, goes_to_committing};
        goes[stage](&n, &config);
        n.running = OLD;
        gets(&n, EVENT_FIRED, CODE_OK);
        ends_rolled_back(&n, CODE_DEADMAN);
        assert_int_equal(n.a.applied.release, 1);
    }
}

static void dead_man_that_fired_while_arming_guards_no_switch(void **state)
{
    (void)state;
    struct node n = settled_node();
    struct apply_config config = config_of(2, 2);
    goes_to_checking(&n, &config);
    is_reached(&n);
    gets(&n, EVENT_FIRED, CODE_OK); // bento-apply was gone since it was armed
    ends_rolled_back(&n, CODE_DEADMAN);
}

// --- commit

static void failing_commit_is_rolled_back(void **state)
{
    (void)state;
    struct node n = settled_node();
    struct apply_config config = config_of(2, 2);
    goes_to_committing(&n, &config);
    gets(&n, EVENT_COMMITTED, CODE_COMMIT);
    ends_rolled_back(&n, CODE_COMMIT);
    assert_int_equal(n.a.applied.release, 1);
}

static void commit_that_left_another_profile_is_rolled_back(void **state)
{
    (void)state;
    struct node n = settled_node();
    struct apply_config config = config_of(2, 2);
    goes_to_committing(&n, &config);
    n.running = OLD; // the dead man's switch fired right after the job
    gets(&n, EVENT_COMMITTED, CODE_OK);
    ends_rolled_back(&n, CODE_COMMIT);
}

static void commit_that_never_ends_is_rolled_back(void **state)
{
    (void)state;
    struct node n = settled_node();
    struct apply_config config = config_of(2, 2);
    goes_to_committing(&n, &config);
    waits(&n, 10 * MINUTE_MS);
    ends_rolled_back(&n, CODE_COMMIT);
}

// --- the way back

static void failing_revert_is_repeated_then_said(void **state)
{
    (void)state;
    struct node n = settled_node();
    struct apply_config config = config_of(2, 2);
    goes_to_trying(&n, &config);
    tries(&n, NEW, 2);
    for (int i = 0; i < 2; i++) {
        gets(&n, EVENT_REVERTED, CODE_SWITCH);
        is_now(&n, "REVERTING:");
        waits(&n, (unsigned)(i + 1) * MINUTE_MS - 1);
        is_now(&n, "REVERTING:");
        waits(&n, 1);
        is_now(&n, "REVERTING: REVERT");
    }
    gets(&n, EVENT_REVERTED, CODE_SWITCH);
    is_now(&n, "REVERTING: QUEUE"); // nobody may think that the old system runs
    says(&n, NODE_FAILED, CODE_SWITCH);
    for (int i = 0; i < 20; i++) { // and never given up
        waits(&n, 10 * MINUTE_MS);
        is_now(&n, "REVERTING: REVERT");
        gets(&n, EVENT_REVERTED, CODE_SWITCH);
        is_now(&n, "REVERTING:");
    }
    waits(&n, 10 * MINUTE_MS);
    reverts(&n);
    is_now(&n, "RETURNING: DISARM REACH");
    says(&n, NODE_ROLLED_BACK, CODE_SWITCH);
}

static void rolled_back_configuration_is_not_tried_again_by_a_new_head(void **state)
{
    (void)state;
    struct node n = settled_node();
    struct apply_config config = config_of(2, 2);
    goes_to_trying(&n, &config);
    tries(&n, NEW, 2);
    ends_rolled_back(&n, CODE_SWITCH);
    for (uint64_t release = 3; release < 23; release++) {
        config = config_of(2, release);
        hears(&n, &config);
        is_now(&n, "IDLE: QUEUE");
        says(&n, NODE_ROLLED_BACK, CODE_SWITCH);
    }
    struct apply_config remedy = config_of(3, 30);
    hears(&n, &remedy);
    is_now(&n, "OBTAINING: QUEUE OBTAIN");
}

static void not_reached_after_a_revert_is_inconclusive(void **state)
{
    (void)state;
    struct node n = settled_node();
    struct apply_config config = config_of(2, 2);
    goes_to_confirming(&n, &config);
    for (unsigned attempt = 1; attempt <= ATTEMPTS_MAX; attempt++) {
        assert_int_equal(n.a.attempt, attempt);
        waits(&n, rules.confirm_ms);
        is_now(&n, "REVERTING: QUEUE REVERT");
        reverts(&n);
        waits(&n, rules.return_ms);
        is_now(&n, "WAITING: REACH");
        says(&n, NODE_INCONCLUSIVE, CODE_CONNECTIVITY);
        waits(&n, 1000 * MINUTE_MS);
        is_now(&n, "WAITING:");
        is_reached(&n); // the network is back
        if (attempt < ATTEMPTS_MAX) {
            is_now(&n, "OBTAINING: QUEUE OBTAIN");
            obtains(&n, NEW);
            is_reached(&n);
            gets(&n, EVENT_ARMED, CODE_OK);
            tries(&n, NEW, 0);
            is_now(&n, "CONFIRMING: REACH");
        }
    }
    is_now(&n, "IDLE: QUEUE");
    says(&n, NODE_ROLLED_BACK, CODE_CONNECTIVITY);
    config.release = 3;
    hears(&n, &config);
    is_now(&n, "IDLE: QUEUE");
    says(&n, NODE_ROLLED_BACK, CODE_CONNECTIVITY);
}

static void judged_switch_is_conclusive_without_network(void **state)
{
    (void)state;
    struct node n = settled_node();
    struct apply_config config = config_of(2, 2);
    goes_to_trying(&n, &config);
    tries(&n, NEW, 2);
    reverts(&n);
    waits(&n, rules.return_ms);
    is_now(&n, "IDLE:");
    says(&n, NODE_ROLLED_BACK, CODE_SWITCH);
}

static void inconclusive_is_tried_again_as_the_newest_head_asks(void **state)
{
    (void)state;
    struct node n = settled_node();
    struct apply_config config = config_of(2, 2);
    goes_to_confirming(&n, &config);
    waits(&n, rules.confirm_ms);
    reverts(&n);
    waits(&n, rules.return_ms);
    struct apply_config newer = config_of(2, 9);
    hears(&n, &newer);
    is_now(&n, "WAITING:");
    is_reached(&n);
    is_now(&n, "OBTAINING: QUEUE OBTAIN");
    assert_int_equal(n.a.target.release, 9);
    assert_string_equal(n.a.target.path, NEW);
}

// --- releases in the middle

static void newer_release_cancels_a_running_build(void **state)
{
    (void)state;
    struct node n = settled_node();
    struct apply_config config = config_of(2, 2), newer = config_of(3, 3);
    hears(&n, &config);
    hears(&n, &newer);
    is_now(&n, "OBTAINING: CANCEL QUEUE OBTAIN");
    assert_memory_equal(n.a.target.digest, newer.digest, HASH_BYTES);
    struct apply_event late = event_of(&n, EVENT_OBTAINED);
    memcpy(late.digest, config.digest, HASH_BYTES);
    late.path = NEW;
    step(&n, &late);
    is_now(&n, "OBTAINING:");
}

static void release_without_us_cancels_a_running_build(void **state)
{
    (void)state;
    struct node n = settled_node();
    struct apply_config config = config_of(2, 2), none = config_of(0, 3);
    hears(&n, &config);
    hears(&n, &none);
    is_now(&n, "IDLE: CANCEL QUEUE");
    says(&n, NODE_NEW, CODE_OK);
}

static void newer_head_of_the_same_configuration_does_not_disturb_a_build(void **state)
{
    (void)state;
    struct node n = settled_node();
    struct apply_config config = config_of(2, 2), newer = config_of(2, 3);
    hears(&n, &config);
    hears(&n, &newer);
    is_now(&n, "OBTAINING:");
    assert_int_equal(n.a.target.release, 3);
    obtains(&n, NEW);
    is_now(&n, "CHECKING: REACH");
}

static void newer_release_never_disturbs_a_switch(void **state)
{
    (void)state;
    struct node n = settled_node();
    struct apply_config config = config_of(2, 2), newer = config_of(3, 3), newest = config_of(4, 4);
    goes_to_trying(&n, &config);
    hears(&n, &newer);
    is_now(&n, "TRYING:");
    tries(&n, NEW, 0);
    hears(&n, &newest);
    is_now(&n, "CONFIRMING:");
    is_reached(&n);
    commits(&n);
    is_now(&n, "IDLE: DISARM QUEUE");
    says(&n, NODE_UP_TO_DATE, CODE_OK);
    waits(&n, 1);
    is_now(&n, "OBTAINING: QUEUE OBTAIN");
    assert_memory_equal(n.a.target.digest, newest.digest, HASH_BYTES);
}

static void release_that_waited_is_forgotten_for_a_newer_one(void **state)
{
    (void)state;
    struct node n = settled_node();
    struct apply_config config = config_of(2, 2), newer = config_of(3, 3), newest = config_of(4, 4);
    goes_to_trying(&n, &config);
    hears(&n, &newer);
    tries(&n, NEW, 2);
    reverts(&n);
    is_now(&n, "RETURNING: DISARM REACH");
    hears(&n, &newest);
    is_now(&n, "OBTAINING: QUEUE OBTAIN");
    finds_running(&n, OLD);
    is_now(&n, "IDLE: QUEUE");
    assert_int_equal(n.a.applied.release, 4);
    waits(&n, 1000 * MINUTE_MS); // release 3 is not taken up after release 4
    is_now(&n, "IDLE:");
}

static void release_that_waited_for_a_revert_is_taken_up(void **state)
{
    (void)state;
    struct node n = settled_node();
    struct apply_config config = config_of(2, 2), newer = config_of(3, 3);
    goes_to_trying(&n, &config);
    hears(&n, &newer);
    tries(&n, NEW, 2);
    ends_rolled_back(&n, CODE_SWITCH);
    waits(&n, 1);
    is_now(&n, "OBTAINING: QUEUE OBTAIN");
    assert_memory_equal(n.a.target.digest, newer.digest, HASH_BYTES);
}

static void result_of_another_attempt_changes_nothing(void **state)
{
    (void)state;
    struct node n = settled_node();
    struct apply_config config = config_of(2, 2);
    goes_to_trying(&n, &config);
    struct apply before = n.a;
    n.running = NEW;
    struct apply_event ev = event_of(&n, EVENT_TRIED);
    ev.attempt++;
    step(&n, &ev);
    is_now(&n, "TRYING:");
    assert_memory_equal(&before, &n.a, sizeof before);
}

// --- builds

// A cache may be away for days. No release ever comes for a machine that is merely late.
static void failing_build_is_repeated_with_growing_pauses(void **state)
{
    (void)state;
    static const unsigned minutes[] = {10, 20, 40, 80, 160, 320, 320, 320};
    struct node n = settled_node();
    struct apply_config config = config_of(2, 2);
    hears(&n, &config);
    for (size_t i = 0; i < sizeof minutes / sizeof minutes[0]; i++) {
        enum code code = i % 2 == 0 ? CODE_BUILD : CODE_EVAL;
        gets(&n, EVENT_OBTAINED, code);
        is_now(&n, "IDLE: QUEUE");
        says(&n, NODE_FAILED, code);
        waits(&n, minutes[i] * MINUTE_MS - 1);
        is_now(&n, "IDLE:");
        waits(&n, 1);
        is_now(&n, "OBTAINING: QUEUE OBTAIN");
    }
    obtains(&n, NEW);
    is_now(&n, "CHECKING: REACH");
    assert_int_equal(n.a.report.attempt, 1); // nothing was tried yet
    assert_int_equal(n.a.builds, 0);
}

static void pauses_of_a_build_are_not_those_of_another(void **state)
{
    (void)state;
    struct node n = settled_node();
    struct apply_config config = config_of(2, 2), other = config_of(3, 3);
    hears(&n, &config);
    gets(&n, EVENT_OBTAINED, CODE_BUILD);
    waits(&n, 10 * MINUTE_MS);
    gets(&n, EVENT_OBTAINED, CODE_BUILD);
    hears(&n, &other);
    is_now(&n, "OBTAINING: QUEUE OBTAIN");
    gets(&n, EVENT_OBTAINED, CODE_BUILD);
    waits(&n, 10 * MINUTE_MS);
    is_now(&n, "OBTAINING: QUEUE OBTAIN");
}

static void new_head_does_not_hurry_a_build_that_waits(void **state)
{
    (void)state;
    struct node n = settled_node();
    struct apply_config config = config_of(2, 2), newer = config_of(2, 3);
    hears(&n, &config);
    gets(&n, EVENT_OBTAINED, CODE_BUILD);
    hears(&n, &newer);
    is_now(&n, "IDLE: QUEUE");
    says(&n, NODE_FAILED, CODE_BUILD);
    waits(&n, 10 * MINUTE_MS);
    is_now(&n, "OBTAINING: QUEUE OBTAIN");
    assert_int_equal(n.a.target.release, 3);
}

static void restart_does_not_lose_a_build_that_waits(void **state)
{
    (void)state;
    struct node n = settled_node();
    struct apply_config config = config_of(2, 2);
    n.now_ms = 10000 * MINUTE_MS;
    hears(&n, &config);
    gets(&n, EVENT_OBTAINED, CODE_BUILD);
    reboots(&n);
    is_now(&n, "IDLE: QUEUE DISARM SECRETS");
    waits(&n, 10 * MINUTE_MS);
    is_now(&n, "OBTAINING: QUEUE OBTAIN");
}

// --- restarts of bento-apply and of the machine

static void restarted_process_starts_the_effects_of_each_state_again(void **state)
{
    (void)state;
    struct apply_config config = config_of(2, 2);
    config.has_health = true;
    struct node n = settled_node();
    boots(&n);
    is_now(&n, "IDLE: QUEUE DISARM SECRETS");
    hears(&n, &config);
    boots(&n);
    is_now(&n, "OBTAINING: OBTAIN QUEUE DISARM SECRETS");
    obtains(&n, NEW);
    boots(&n);
    is_now(&n, "CHECKING: REACH DISARM SECRETS");
    is_reached(&n);
    boots(&n);
    is_now(&n, "ARMING: ARM QUEUE");
    gets(&n, EVENT_ARMED, CODE_OK);
    boots(&n);
    is_now(&n, "TRYING: ARM TRY QUEUE");
    tries(&n, NEW, 0);
    boots(&n);
    is_now(&n, "CONFIRMING: ARM CHECK REACH");
    is_reached(&n);
    boots(&n);
    is_now(&n, "CONFIRMING: ARM CHECK QUEUE");
    gets(&n, EVENT_CHECKED, CODE_OK);
    boots(&n);
    is_now(&n, "COMMITTING: COMMIT QUEUE SECRETS");
    commits(&n);
    boots(&n); // the dead man's switch is stopped even if we died just before it
    is_now(&n, "IDLE: QUEUE DISARM SECRETS");
}

static void queued_report_is_not_queued_again(void **state)
{
    (void)state;
    struct node n = settled_node();
    struct apply_event ev = event_of(&n, EVENT_QUEUED);
    ev.seq = n.a.report.seq - 1;
    step(&n, &ev);
    assert_false(n.a.report.queued);
    ev.seq = n.a.report.seq;
    step(&n, &ev);
    assert_true(n.a.report.queued);
    boots(&n);
    is_now(&n, "IDLE: DISARM SECRETS");
}

static void restarted_process_waits_for_the_rest_of_the_window_only(void **state)
{
    (void)state;
    struct node n = settled_node();
    struct apply_config config = config_of(2, 2);
    goes_to_confirming(&n, &config);
    waits(&n, rules.confirm_ms / 2);
    boots(&n);
    waits(&n, rules.confirm_ms / 2);
    ends_rolled_back(&n, CODE_CONNECTIVITY);
}

static void reboot_in_a_trial_brings_the_old_system_and_another_attempt(void **state)
{
    (void)state;
    void (*const goes[])(struct node *, const struct apply_config *) = {
        goes_to_trying, goes_to_confirming, goes_to_committing};
    for (size_t i = 0; i < sizeof goes / sizeof goes[0]; i++) {
        struct node n = settled_node();
        struct apply_config config = config_of(2, 2);
        goes[i](&n, &config);
        reboots(&n);
        is_now(&n, "REVERTING: QUEUE REVERT");
        says(&n, NODE_REVERTING, CODE_REBOOT);
        reverts(&n);
        is_now(&n, "OBTAINING: DISARM QUEUE OBTAIN");
        assert_int_equal(n.a.attempt, 2);
    }
}

static void reboot_while_arming_brings_another_attempt(void **state)
{
    (void)state;
    struct node n = settled_node();
    struct apply_config config = config_of(2, 2);
    goes_to_checking(&n, &config);
    is_reached(&n);
    reboots(&n);
    is_now(&n, "REVERTING: QUEUE REVERT");
    reverts(&n);
    is_now(&n, "OBTAINING: DISARM QUEUE OBTAIN");
}

static void reboot_into_the_new_system_while_committing_commits(void **state)
{
    (void)state;
    struct node n = settled_node();
    struct apply_config config = config_of(2, 2);
    goes_to_committing(&n, &config);
    n.profile = NEW; // and the boot loader had been written
    reboots(&n);
    is_now(&n, "COMMITTING: QUEUE COMMIT SECRETS");
    commits(&n);
    is_now(&n, "PROVING: DISARM REACH"); // it had been confirmed before that boot, not since
    is_reached(&n);
    is_now(&n, "IDLE: DISARM QUEUE");
    says(&n, NODE_UP_TO_DATE, CODE_OK);
}

static void reboot_while_reverting_reverts_to_the_end(void **state)
{
    (void)state;
    struct node n = settled_node();
    struct apply_config config = config_of(2, 2);
    n.now_ms = 1000 * MINUTE_MS;
    goes_to_trying(&n, &config);
    tries(&n, NEW, 2);
    reboots(&n);
    is_now(&n, "REVERTING: REVERT QUEUE");
    assert_true(n.a.deadline_ms <= n.now_ms + rules.switch_ms);
    reverts(&n);
    says(&n, NODE_ROLLED_BACK, CODE_SWITCH);
}

static void reboot_while_returning_waits_anew(void **state)
{
    (void)state;
    struct node n = settled_node();
    struct apply_config config = config_of(2, 2);
    goes_to_confirming(&n, &config);
    waits(&n, rules.confirm_ms);
    reverts(&n);
    reboots(&n);
    is_now(&n, "RETURNING: REACH DISARM SECRETS");
    says(&n, NODE_ROLLED_BACK, CODE_CONNECTIVITY);
    waits(&n, rules.return_ms);
    is_now(&n, "WAITING: REACH");
    reboots(&n);
    is_now(&n, "WAITING: REACH DISARM SECRETS");
}

static void reboots_in_every_trial_give_up(void **state)
{
    (void)state;
    struct node n = settled_node();
    struct apply_config config = config_of(2, 2);
    goes_to_trying(&n, &config);
    for (unsigned attempt = 1; attempt < ATTEMPTS_MAX; attempt++) {
        reboots(&n);
        reverts(&n);
        is_now(&n, "OBTAINING: DISARM QUEUE OBTAIN");
        obtains(&n, NEW);
        is_reached(&n);
        gets(&n, EVENT_ARMED, CODE_OK);
        is_now(&n, "TRYING: TRY QUEUE");
    }
    reboots(&n);
    reverts(&n);
    is_now(&n, "RETURNING: DISARM REACH");
    says(&n, NODE_ROLLED_BACK, CODE_ATTEMPTS);
    is_reached(&n);
    config.release = 3;
    hears(&n, &config);
    is_now(&n, "IDLE: QUEUE");
    says(&n, NODE_ROLLED_BACK, CODE_ATTEMPTS);
}

static void attempts_survive_a_release_in_between(void **state)
{
    (void)state;
    struct node n = settled_node();
    struct apply_config config = config_of(2, 2), between = config_of(1, 3);
    for (unsigned attempt = 1; attempt <= ATTEMPTS_MAX; attempt++) {
        goes_to_trying(&n, &config);
        assert_int_equal(n.a.attempt, attempt);
        hears(&n, &between);
        reboots(&n);
        reverts(&n);
        if (attempt < ATTEMPTS_MAX) {
            is_now(&n, "IDLE: DISARM");
            waits(&n, 1);
            is_now(&n, "IDLE: QUEUE"); // the old configuration is the one that runs
            says(&n, NODE_UP_TO_DATE, CODE_OK);
        }
    }
    says(&n, NODE_ROLLED_BACK, CODE_ATTEMPTS);
}

static void trial_of_an_unknown_journal_is_reverted(void **state)
{
    (void)state;
    struct node n = settled_node();
    struct apply_config config = config_of(2, 2);
    goes_to_confirming(&n, &config);
    struct apply_trial trial = n.a.trial;
    apply_init(&n.a); // the old bento after a revert from a newer one
    n.a.trial = trial;
    boots(&n);
    ends_rolled_back(&n, CODE_FORMAT);
    config.release = 3;
    hears(&n, &config);
    is_now(&n, "IDLE: QUEUE");
    says(&n, NODE_ROLLED_BACK, CODE_FORMAT);
}

// --- the fallback floor

static void floor_above_the_old_system_makes_the_new_one_stay(void **state)
{
    (void)state;
    struct node n = settled_node();
    struct apply_config config = config_of(2, 2);
    config.fallback_floor = 2;
    goes_to_confirming(&n, &config);
    waits(&n, rules.confirm_ms);
    is_now(&n, "CONFIRMING: DISARM REACH"); // else the dead man's switch would go back
    says(&n, NODE_STAYS, CODE_CONNECTIVITY);
    waits(&n, 1000 * MINUTE_MS);
    is_now(&n, "CONFIRMING:");
    boots(&n);
    is_now(&n, "CONFIRMING: REACH DISARM SECRETS");
    says(&n, NODE_STAYS, CODE_CONNECTIVITY);
    is_reached(&n); // the link is back
    is_now(&n, "COMMITTING: QUEUE COMMIT");
}

static void floor_at_the_old_system_allows_to_go_back(void **state)
{
    (void)state;
    struct node n = settled_node();
    struct apply_config config = config_of(2, 2);
    config.fallback_floor = 1;
    goes_to_confirming(&n, &config);
    waits(&n, rules.confirm_ms);
    ends_rolled_back(&n, CODE_CONNECTIVITY);
}

static void floor_holds_against_failing_health_too(void **state)
{
    (void)state;
    struct node n = settled_node();
    struct apply_config config = config_of(2, 2);
    config.fallback_floor = 2;
    config.has_health = true;
    goes_to_confirming(&n, &config);
    gets(&n, EVENT_CHECKED, CODE_HEALTH);
    is_now(&n, "CONFIRMING: DISARM REACH");
    says(&n, NODE_STAYS, CODE_HEALTH);
    is_reached(&n);
    is_now(&n, "CONFIRMING: CHECK"); // it may have failed for want of the network
    gets(&n, EVENT_CHECKED, CODE_OK);
    is_now(&n, "COMMITTING: QUEUE COMMIT");
}

static void floor_does_not_keep_a_failed_switch(void **state)
{
    (void)state;
    struct node n = settled_node();
    struct apply_config config = config_of(2, 2);
    config.fallback_floor = 2;
    goes_to_trying(&n, &config);
    tries(&n, OLD, 2);
    ends_rolled_back(&n, CODE_SWITCH);
}

static void what_stays_unhealthy_is_looked_at_again_with_every_beat(void **state)
{
    (void)state;
    struct node n = settled_node();
    struct apply_config config = config_of(2, 2), dry = config_of(3, 3);
    config.fallback_floor = 2;
    config.has_health = true;
    dry.action = ACTION_DRY;
    goes_to_confirming(&n, &config);
    is_reached(&n);
    gets(&n, EVENT_CHECKED, CODE_HEALTH);
    is_now(&n, "CONFIRMING: DISARM REACH");
    says(&n, NODE_STAYS, CODE_HEALTH);
    is_reached(&n);
    is_now(&n, "CONFIRMING: CHECK");
    gets(&n, EVENT_CHECKED, CODE_HEALTH);
    is_now(&n, "CONFIRMING:");
    hears(&n, &dry); // no remedy
    assert_int_equal(n.a.deadline_ms, 0);
    n.a.report.queued = true;
    gets(&n, EVENT_BEAT, CODE_OK);
    is_now(&n, "CONFIRMING: QUEUE");
    says(&n, NODE_STAYS, CODE_HEALTH);
    is_reached(&n);
    is_now(&n, "CONFIRMING: CHECK");
    gets(&n, EVENT_CHECKED, CODE_OK);
    is_now(&n, "COMMITTING: QUEUE COMMIT");
}

static void remedy_is_taken_by_a_system_that_stays(void **state)
{
    (void)state;
    for (int early = 0; early < 2; early++) {
        struct node n = settled_node();
        struct apply_config config = config_of(2, 2), remedy = config_of(3, 3);
        config.fallback_floor = remedy.fallback_floor = 2;
        config.has_health = true;
        goes_to_confirming(&n, &config);
        if (early) {
            hears(&n, &remedy); // in the window already
        }
        waits(&n, rules.confirm_ms);
        if (!early) {
            hears(&n, &remedy);
        }
        assert_int_equal(n.a.state, APPLY_CONFIRMING);
        waits(&n, 1);
        is_now(&n, "OBTAINING: DISARM QUEUE OBTAIN");
        assert_memory_equal(n.a.target.digest, remedy.digest, HASH_BYTES);
    }
}

// --- through a boot

static struct apply_config kernel_config(enum reboot_policy policy)
{
    struct apply_config config = config_of(2, 2);
    config.reboot = policy;
    return config;
}

// Confirmed and applied, but its kernel waits.
static struct node node_before_reboot(const struct apply_config *config)
{
    struct node n = settled_node();
    goes_to_committing(&n, config);
    n.reboot_needed = true;
    commits(&n);
    assert_int_equal(n.a.state, APPLY_IDLE);
    says(&n, NODE_REBOOT_PENDING, CODE_OK);
    assert_true(n.a.unproven);
    return n;
}

static struct node rebooting_node(const struct apply_config *config)
{
    struct node n = node_before_reboot(config);
    is_reached(&n);
    is_now(&n, "REBOOTING: REBOOT");
    return n;
}

static struct node proving_node(const struct apply_config *config)
{
    struct node n = rebooting_node(config);
    reboots(&n);
    is_now(&n, config->has_health ? "PROVING: REACH CHECK DISARM SECRETS"
                                  : "PROVING: REACH DISARM SECRETS");
    return n;
}

static void restores(struct node *n)
{
    n->profile = OLD;
    gets(n, EVENT_RESTORED, CODE_OK);
}

static void kernel_is_proved_after_its_reboot(void **state)
{
    (void)state;
    struct apply_config config = kernel_config(REBOOT_WHEN_NEEDED);
    config.has_health = true;
    struct node n = proving_node(&config);
    says(&n, NODE_CONFIRMING, CODE_OK);
    is_reached(&n);
    is_now(&n, "PROVING:");
    gets(&n, EVENT_CHECKED, CODE_OK);
    is_now(&n, "IDLE: DISARM QUEUE");
    says(&n, NODE_UP_TO_DATE, CODE_OK);
    assert_false(n.a.unproven);
    reboots(&n);
    is_now(&n, "IDLE: QUEUE DISARM SECRETS"); // once is enough
}

static void reboot_waits_for_the_acknowledgement(void **state)
{
    (void)state;
    struct apply_config config = kernel_config(REBOOT_WHEN_NEEDED);
    struct node n = node_before_reboot(&config);
    is_now(&n, "IDLE: DISARM QUEUE");
    struct apply_event ev = event_of(&n, EVENT_ACKED);
    ev.seq = n.a.report.seq - 1;
    step(&n, &ev);
    is_now(&n, "IDLE:");
    is_reached(&n);
    is_now(&n, "REBOOTING: REBOOT");
}

static void calendar_reboot_waits_for_its_time(void **state)
{
    (void)state;
    struct apply_config config = kernel_config(REBOOT_CALENDAR);
    struct node n = node_before_reboot(&config);
    is_now(&n, "IDLE: DISARM QUEUE SCHEDULE");
    gets(&n, EVENT_DUE, CODE_OK);
    is_now(&n, "IDLE: SCHEDULE"); // nobody knows of it yet: the next time
    is_reached(&n);
    is_now(&n, "IDLE:");
    gets(&n, EVENT_DUE, CODE_OK);
    is_now(&n, "REBOOTING: REBOOT");
    waits(&n, 10 * MINUTE_MS);
    is_now(&n, "IDLE: DISARM SCHEDULE");
}

static void reboot_by_hand_is_left_to_hands(void **state)
{
    (void)state;
    struct apply_config config = kernel_config(REBOOT_BY_HAND);
    struct node n = node_before_reboot(&config);
    is_reached(&n);
    is_now(&n, "IDLE:");
    gets(&n, EVENT_DUE, CODE_OK); // of an older policy
    is_now(&n, "IDLE:");
    reboots(&n);
    is_now(&n, "PROVING: REACH DISARM SECRETS");
}

static void reboots_that_do_nothing_are_asked_for_three_times(void **state)
{
    (void)state;
    struct apply_config config = kernel_config(REBOOT_WHEN_NEEDED);
    struct node n = rebooting_node(&config);
    for (int i = 0; i < 3; i++) {
        is_now(&n, "REBOOTING: REBOOT");
        waits(&n, 10 * MINUTE_MS - 1);
        is_now(&n, "REBOOTING:");
        waits(&n, 1);
        is_now(&n, "IDLE: DISARM");
        gets(&n, EVENT_QUEUED, CODE_OK);
        n.a.report.queued = true;
        gets(&n, EVENT_BEAT, CODE_OK);
        says(&n, NODE_REBOOT_PENDING, CODE_OK);
        is_reached(&n);
    }
    is_now(&n, "IDLE:");
}

static void unreached_after_its_boot_is_restored(void **state)
{
    (void)state;
    struct apply_config config = kernel_config(REBOOT_WHEN_NEEDED);
    struct node n = proving_node(&config);
    assert_int_equal(n.a.deadline_ms, n.now_ms + rules.boot_ms); // boots take longer
    waits(&n, rules.boot_ms);
    is_now(&n, "RESTORING: QUEUE RESTORE");
    says(&n, NODE_REVERTING, CODE_CONNECTIVITY);
    assert_string_equal(n.a.trial.old_profile, OLD);
    restores(&n);
    is_now(&n, "RESTORING: REBOOT");
    reboots(&n);
    is_now(&n, "RETURNING: DISARM REACH SECRETS");
    says(&n, NODE_ROLLED_BACK, CODE_CONNECTIVITY);
    assert_string_equal(n.a.applied.path, OLD);
    is_reached(&n);
    is_now(&n, "IDLE:");
    config = config_of(2, 3);
    hears(&n, &config);
    says(&n, NODE_ROLLED_BACK, CODE_CONNECTIVITY); // judged
}

static void unhealthy_after_its_boot_is_restored_at_once(void **state)
{
    (void)state;
    struct apply_config config = kernel_config(REBOOT_WHEN_NEEDED);
    config.has_health = true;
    struct node n = proving_node(&config);
    gets(&n, EVENT_CHECKED, CODE_HEALTH);
    is_now(&n, "RESTORING: QUEUE RESTORE");
    says(&n, NODE_REVERTING, CODE_HEALTH);
}

static void restore_that_fails_goes_back_without_a_boot(void **state)
{
    (void)state;
    for (int late = 0; late < 2; late++) {
        struct apply_config config = kernel_config(REBOOT_WHEN_NEEDED);
        struct node n = proving_node(&config);
        waits(&n, rules.boot_ms);
        if (late) {
            waits(&n, 10 * MINUTE_MS); // it never ended
        } else {
            gets(&n, EVENT_RESTORED, CODE_COMMIT);
        }
        is_now(&n, "REVERTING: QUEUE REVERT");
        reverts(&n);
        is_now(&n, "RETURNING: DISARM REACH");
        says(&n, NODE_ROLLED_BACK, CODE_CONNECTIVITY);
        assert_string_equal(n.a.applied.path, OLD);
    }
}

static void restart_while_restoring_restores_again(void **state)
{
    (void)state;
    struct apply_config config = kernel_config(REBOOT_WHEN_NEEDED);
    struct node n = proving_node(&config);
    waits(&n, rules.boot_ms);
    reboots_into(&n, NEW);
    is_now(&n, "RESTORING: RESTORE QUEUE DISARM SECRETS");
    n.running = OLD; // the boot loader was written already
    restores(&n);
    is_now(&n, "RETURNING: DISARM REACH");
}

static void restored_system_that_does_not_boot_is_switched_to(void **state)
{
    (void)state;
    struct apply_config config = kernel_config(REBOOT_WHEN_NEEDED);
    struct node n = proving_node(&config);
    waits(&n, rules.boot_ms);
    restores(&n);
    reboots_into(&n, NEW);
    is_now(&n, "REVERTING: QUEUE REVERT");
    gets(&n, EVENT_RESTORED, CODE_OK); // late
    is_now(&n, "REVERTING:");
}

static void system_that_goes_down_again_and_again_is_restored(void **state)
{
    (void)state;
    struct apply_config config = kernel_config(REBOOT_WHEN_NEEDED);
    struct node n = proving_node(&config);
    reboots(&n);
    is_now(&n, "PROVING: REACH DISARM SECRETS");
    reboots(&n);
    is_now(&n, "PROVING: REACH DISARM SECRETS");
    reboots(&n);
    is_now(&n, "RESTORING: QUEUE RESTORE DISARM SECRETS");
    says(&n, NODE_REVERTING, CODE_ATTEMPTS);
}

static void boot_loader_that_starts_the_old_one_is_rolled_back(void **state)
{
    (void)state;
    struct apply_config config = kernel_config(REBOOT_WHEN_NEEDED);
    struct node n = rebooting_node(&config);
    reboots_into(&n, OLD);
    is_now(&n, "REVERTING: QUEUE REVERT");
    says(&n, NODE_REVERTING, CODE_REBOOT);
    reverts(&n);
    is_now(&n, "RETURNING: DISARM REACH"); // not tried anew: it was not interrupted, it failed
    says(&n, NODE_ROLLED_BACK, CODE_REBOOT);
    assert_string_equal(n.a.applied.path, OLD);
}

static void floor_makes_an_unproven_system_stay(void **state)
{
    (void)state;
    struct apply_config config = kernel_config(REBOOT_WHEN_NEEDED), remedy = config_of(3, 3);
    config.fallback_floor = 2;
    struct node n = proving_node(&config);
    waits(&n, rules.boot_ms);
    is_now(&n, "PROVING: DISARM REACH");
    says(&n, NODE_STAYS, CODE_CONNECTIVITY);
    boots(&n);
    is_now(&n, "PROVING: REACH DISARM SECRETS");
    says(&n, NODE_STAYS, CODE_CONNECTIVITY);
    for (int i = 0; i < 5; i++) { // whoever can cut the power may not force it either
        reboots(&n);
        is_now(&n, "PROVING: REACH DISARM SECRETS");
    }
    waits(&n, rules.boot_ms);
    hears(&n, &remedy);
    waits(&n, 1);
    is_now(&n, "OBTAINING: DISARM QUEUE OBTAIN");
    obtains(&n, OTHER);
    is_now(&n, "ARMING: ARM"); // nobody can be reached
}

static void inconclusive_proofs_are_bounded(void **state)
{
    (void)state;
    struct apply_config config = kernel_config(REBOOT_WHEN_NEEDED);
    config.action = ACTION_BOOT;
    struct node n = settled_node();
    hears(&n, &config);
    for (unsigned attempt = 1; attempt <= 3; attempt++) {
        assert_int_equal(n.a.attempt, attempt);
        obtains(&n, NEW);
        commits(&n);
        is_reached(&n);
        reboots(&n);
        waits(&n, rules.boot_ms);
        restores(&n);
        reboots(&n);
        is_now(&n, "RETURNING: DISARM REACH SECRETS");
        waits(&n, rules.return_ms);
        is_now(&n, "WAITING: REACH");
        is_reached(&n);
    }
    is_now(&n, "IDLE: QUEUE");
    says(&n, NODE_ROLLED_BACK, CODE_CONNECTIVITY);
}

static void what_was_under_way_waits_for_the_proof(void **state)
{
    (void)state;
    struct apply_config config = kernel_config(REBOOT_BY_HAND), later = config_of(3, 3);
    struct node n = node_before_reboot(&config);
    goes_to_checking(&n, &later);
    reboots(&n);
    is_now(&n, "PROVING: REACH DISARM SECRETS");
    is_reached(&n);
    is_now(&n, "IDLE: DISARM QUEUE");
    waits(&n, 1);
    is_now(&n, "OBTAINING: QUEUE OBTAIN");
    assert_memory_equal(n.a.target.digest, later.digest, HASH_BYTES);
}

static void verdict_is_said_again_after_the_proof(void **state)
{
    (void)state;
    struct apply_config config = kernel_config(REBOOT_BY_HAND), later = config_of(3, 3);
    struct node n = node_before_reboot(&config);
    goes_to_trying(&n, &later);
    tries(&n, OTHER, 2);
    n.running = n.profile = NEW;
    gets(&n, EVENT_REVERTED, CODE_OK);
    says(&n, NODE_ROLLED_BACK, CODE_SWITCH);
    is_reached(&n);
    is_now(&n, "IDLE:");
    reboots(&n);
    is_now(&n, "PROVING: REACH DISARM SECRETS");
    is_reached(&n);
    says(&n, NODE_UP_TO_DATE, CODE_OK);
    waits(&n, 1);
    is_now(&n, "IDLE: QUEUE");
    says(&n, NODE_ROLLED_BACK, CODE_SWITCH);
    assert_memory_equal(n.a.report.digest, later.digest, HASH_BYTES);
}

// The boot in a trial was the first one of what it comes back to.
static void reboot_in_a_trial_into_an_unproven_system_proves_it_first(void **state)
{
    (void)state;
    struct apply_config config = kernel_config(REBOOT_BY_HAND), later = config_of(3, 3);
    struct node n = node_before_reboot(&config);
    goes_to_trying(&n, &later);
    reboots(&n);
    is_now(&n, "REVERTING: QUEUE REVERT");
    gets(&n, EVENT_REVERTED, CODE_OK);
    is_now(&n, "PROVING: DISARM REACH");
    is_reached(&n);
    waits(&n, 1);
    is_now(&n, "OBTAINING: QUEUE OBTAIN");
    assert_int_equal(n.a.attempt, 2);
}

// Switched to live, after a boot into another one: that boot proves nothing.
static void revert_to_an_unproven_system_is_no_boot_of_it(void **state)
{
    (void)state;
    struct apply_config config = kernel_config(REBOOT_BY_HAND), later = config_of(3, 3);
    struct node n = node_before_reboot(&config);
    goes_to_trying(&n, &later);
    reboots_into(&n, OLD);
    n.running = NEW;
    gets(&n, EVENT_REVERTED, CODE_OK);
    is_now(&n, "OBTAINING: DISARM QUEUE OBTAIN");
    assert_true(n.a.unproven);
}

static void newer_head_does_not_hide_the_reboot(void **state)
{
    (void)state;
    struct node n = settled_node();
    struct apply_config config = config_of(2, 2);
    n.boot_only = true;
    hears(&n, &config);
    obtains(&n, NEW);
    is_now(&n, "COMMITTING: QUEUE COMMIT"); // it cannot be tried live
    commits(&n);
    says(&n, NODE_REBOOT_PENDING, CODE_OK);
    config = config_of(2, 3);
    hears(&n, &config);
    says(&n, NODE_REBOOT_PENDING, CODE_OK);
}

static void hand_that_switches_elsewhere_causes_no_reboot(void **state)
{
    (void)state;
    struct apply_config config = kernel_config(REBOOT_WHEN_NEEDED);
    config.action = ACTION_BOOT;
    struct node n = settled_node();
    hears(&n, &config);
    obtains(&n, NEW);
    commits(&n);
    is_reached(&n);
    reboots(&n);
    is_reached(&n);
    n.running = OTHER; // by hand, to look for something
    config = config_of(2, 3);
    config.action = ACTION_BOOT;
    config.reboot = REBOOT_WHEN_NEEDED;
    hears(&n, &config);
    says(&n, NODE_UP_TO_DATE, CODE_OK);
    is_reached(&n);
    is_now(&n, "IDLE:");
}

static void way_back_from_a_boot_is_what_the_profile_was(void **state)
{
    (void)state;
    struct apply_config config = kernel_config(REBOOT_WHEN_NEEDED);
    struct node n = settled_node();
    n.running = OTHER; // by hand, over the profile OLD
    n.specialisation = "work";
    goes_to_committing(&n, &config);
    assert_string_equal(n.a.trial.old_path, OTHER);
    assert_string_equal(n.a.trial.specialisation, "work");
    n.reboot_needed = true;
    commits(&n);
    is_reached(&n);
    is_now(&n, "REBOOTING: REBOOT");
    assert_string_equal(n.a.trial.old_path, OLD);
    assert_string_equal(n.a.trial.old_profile, OLD);
    assert_string_equal(n.a.trial.specialisation, "");
}

static void panics_while_committing_are_counted(void **state)
{
    (void)state;
    struct node n = settled_node();
    struct apply_config config = config_of(2, 2);
    goes_to_committing(&n, &config);
    n.profile = NEW;
    for (int i = 0; i < 3; i++) {
        reboots(&n);
        is_now(&n, "COMMITTING: QUEUE COMMIT SECRETS");
    }
    reboots(&n);
    is_now(&n, "REVERTING: QUEUE REVERT");
    says(&n, NODE_REVERTING, CODE_ATTEMPTS);
}

static void reboot_without_a_way_back_points_nowhere_else(void **state)
{
    (void)state;
    struct node n = settled_node();
    struct apply_config config = kernel_config(REBOOT_WHEN_NEEDED);
    n.running = n.profile = NEW; // by hand, with its kernel
    n.reboot_needed = true;
    hears(&n, &config);
    finds_running(&n, NEW);
    is_now(&n, "IDLE: QUEUE");
    says(&n, NODE_REBOOT_PENDING, CODE_OK);
    assert_false(n.a.unproven);
    is_reached(&n);
    is_now(&n, "REBOOTING: REBOOT");
    assert_string_equal(n.a.trial.old_path, NEW);
    reboots(&n);
    is_now(&n, "IDLE: DISARM QUEUE SECRETS");
    says(&n, NODE_UP_TO_DATE, CODE_OK);
}

static void nothing_is_installed_for_a_boot_without_a_profile(void **state)
{
    (void)state;
    struct node n = settled_node();
    struct apply_config config = config_of(2, 2);
    config.action = ACTION_BOOT;
    n.profile = "";
    hears(&n, &config);
    obtains(&n, NEW);
    is_now(&n, "IDLE: QUEUE SECRETS");
    says(&n, NODE_FAILED, CODE_CONFIG);
}

// --- the last resort

static void last_resort_is_a_reboot_once(void **state)
{
    (void)state;
    struct node n = settled_node();
    struct apply_config config = config_of(2, 2);
    config.last_resort = LAST_RESORT_REBOOT;
    goes_to_trying(&n, &config);
    tries(&n, NEW, 2);
    reverts(&n);
    waits(&n, rules.return_ms);
    is_now(&n, "RETURNING: REBOOT");
    boots(&n);
    is_now(&n, "RETURNING: REACH REBOOT DISARM SECRETS"); // it had not happened
    reboots(&n);
    is_now(&n, "RETURNING: REACH DISARM SECRETS");
    waits(&n, rules.return_ms);
    is_now(&n, "IDLE:");
}

static void revert_that_fails_reboots_as_a_last_resort(void **state)
{
    (void)state;
    for (int old_default = 0; old_default < 2; old_default++) {
        struct node n = settled_node();
        struct apply_config config = config_of(2, 2);
        config.last_resort = LAST_RESORT_REBOOT;
        goes_to_trying(&n, &config);
        tries(&n, NEW, 2);
        n.profile = old_default ? OLD : NEW;
        for (unsigned i = 1; i <= 3; i++) {
            gets(&n, EVENT_REVERTED, CODE_SWITCH);
            if (i < 3) {
                waits(&n, i * MINUTE_MS);
            }
        }
        is_now(&n, old_default ? "REVERTING: QUEUE REBOOT" : "REVERTING: QUEUE");
    }
}

static void remedy_ends_a_revert_that_fails(void **state)
{
    (void)state;
    static const uint8_t asked[] = {3, 1, 2}; // another one, what ran before, the same again
    for (size_t i = 0; i < sizeof asked; i++) {
        struct node n = settled_node();
        struct apply_config config = config_of(2, 2), newer = config_of(asked[i], 3);
        goes_to_trying(&n, &config);
        tries(&n, NEW, 2);
        hears(&n, &newer);
        for (unsigned times = 1; times <= 3; times++) {
            gets(&n, EVENT_REVERTED, CODE_SWITCH);
            is_now(&n, times < 3 ? "REVERTING:" : "REVERTING: QUEUE");
            waits(&n, times * MINUTE_MS);
            bool ends = times == 3 && asked[i] == 3;
            is_now(&n, ends ? "IDLE: DISARM" : "REVERTING: REVERT");
        }
        if (asked[i] == 3) { // the new system still runs, and may not pass for confirmed
            waits(&n, 1);
            obtains(&n, NEW);
            is_now(&n, "CHECKING: REACH");
            is_reached(&n);
            assert_string_equal(n.a.trial.old_path, OLD);
        }
    }
}

// Forbidden to go back, then asked to.
static void release_of_what_ran_before_takes_back_what_stays(void **state)
{
    (void)state;
    struct node n = settled_node();
    struct apply_config config = config_of(2, 2), back = config_of(1, 3);
    config.fallback_floor = 2;
    goes_to_confirming(&n, &config);
    waits(&n, rules.confirm_ms);
    is_now(&n, "CONFIRMING: DISARM REACH");
    hears(&n, &back);
    waits(&n, 1);
    is_now(&n, "REVERTING: QUEUE REVERT");
    reverts(&n);
    says(&n, NODE_ROLLED_BACK, CODE_CONNECTIVITY);
    is_reached(&n);
    waits(&n, 1);
    is_now(&n, "IDLE: QUEUE");
    says(&n, NODE_UP_TO_DATE, CODE_OK);
    assert_string_equal(n.running, OLD);
}

// --- suspends

static void window_is_a_minute_longer_after_a_resume(void **state)
{
    (void)state;
    struct node n = settled_node();
    struct apply_config config = config_of(2, 2);
    goes_to_confirming(&n, &config);
    n.now_ms += rules.confirm_ms - 1000;
    n.asleep_ms += 60 * MINUTE_MS;
    waits(&n, 0);
    is_now(&n, "CONFIRMING:");
    waits(&n, MINUTE_MS - 1);
    is_now(&n, "CONFIRMING:");
    waits(&n, 1);
    is_now(&n, "REVERTING: QUEUE REVERT");
}

static void resume_early_in_the_window_changes_nothing(void **state)
{
    (void)state;
    struct node n = settled_node();
    struct apply_config config = config_of(2, 2);
    goes_to_confirming(&n, &config);
    n.asleep_ms += 60 * MINUTE_MS;
    waits(&n, 1000);
    waits(&n, rules.confirm_ms - 1001);
    is_now(&n, "CONFIRMING:");
    waits(&n, 1);
    is_now(&n, "REVERTING: QUEUE REVERT");
}

static void naps_do_not_prolong_the_window_for_ever(void **state)
{
    (void)state;
    struct node n = settled_node();
    struct apply_config config = config_of(2, 2);
    goes_to_confirming(&n, &config);
    uint64_t began = n.now_ms;
    while (n.a.state == APPLY_CONFIRMING) {
        n.asleep_ms += MINUTE_MS;
        waits(&n, MINUTE_MS / 2);
        assert_true(n.now_ms - began <= rules.confirm_ms + 6 * MINUTE_MS);
    }
    assert_true(n.now_ms - began >= rules.confirm_ms + 5 * MINUTE_MS);
}

// --- self updates

static struct node updating_node(void)
{
    struct node n = settled_node();
    struct apply_config config = config_of(1, 2);
    config.self_update = true;
    hears(&n, &config);
    n.unix_ns = UINT64_C(7000000000);
    gets(&n, EVENT_UPDATE, CODE_OK);
    is_now(&n, "OBTAINING: UPDATE");
    assert_int_equal(n.a.updated_s, 7);
    return n;
}

static void updates_to_committing(struct node *n)
{
    obtains(n, NEW);
    is_now(n, "CHECKING: REACH");
    is_reached(n);
    gets(n, EVENT_ARMED, CODE_OK);
    tries(n, NEW, 0);
    is_reached(n);
    is_now(n, "COMMITTING: QUEUE COMMIT");
}

static void self_update_goes_the_same_way(void **state)
{
    (void)state;
    struct node n = updating_node();
    boots(&n);
    is_now(&n, "OBTAINING: UPDATE QUEUE DISARM SECRETS");
    updates_to_committing(&n);
    commits(&n);
    is_now(&n, "IDLE: DISARM QUEUE");
    says(&n, NODE_UP_TO_DATE, CODE_OK);
    assert_true(n.a.report.automatic);
    struct apply_config config = config_of(1, 3); // of another host
    hears(&n, &config);
    says(&n, NODE_UP_TO_DATE, CODE_OK);
    assert_string_equal(n.a.applied.path, NEW); // keeps the update
    assert_true(n.a.report.automatic);
}

static void self_update_without_news_says_nothing(void **state)
{
    (void)state;
    struct node n = updating_node();
    uint64_t seq = n.a.report.seq;
    assert_string_equal(n.a.target.path, "");
    obtains(&n, OLD);
    is_now(&n, "IDLE:");
    assert_int_equal(n.a.report.seq, seq);
}

static void self_update_that_does_not_build_is_tried_the_next_night(void **state)
{
    (void)state;
    struct node n = updating_node();
    gets(&n, EVENT_OBTAINED, CODE_BUILD);
    is_now(&n, "IDLE: QUEUE");
    says(&n, NODE_FAILED, CODE_BUILD);
    assert_true(n.a.report.automatic);
    assert_int_equal(n.a.deadline_ms, 0);
    gets(&n, EVENT_UPDATE, CODE_OK);
    is_now(&n, "OBTAINING: UPDATE");
}

static void self_update_that_failed_is_no_failure_once_there_is_no_news(void **state)
{
    (void)state;
    struct node n = updating_node();
    gets(&n, EVENT_OBTAINED, CODE_EVAL); // no network
    says(&n, NODE_FAILED, CODE_EVAL);
    gets(&n, EVENT_UPDATE, CODE_OK);
    obtains(&n, OLD);
    is_now(&n, "IDLE: QUEUE");
    says(&n, NODE_UP_TO_DATE, CODE_OK);
    assert_false(n.a.report.automatic);
}

static void failed_self_update_says_nothing_about_the_release(void **state)
{
    (void)state;
    struct node n = updating_node();
    obtains(&n, NEW);
    is_reached(&n);
    gets(&n, EVENT_ARMED, CODE_OK);
    tries(&n, NEW, 2);
    ends_rolled_back(&n, CODE_SWITCH);
    assert_true(n.a.report.automatic);
    assert_string_equal(n.a.applied.path, OLD);
    gets(&n, EVENT_UPDATE, CODE_OK);
    obtains(&n, NEW);
    is_now(&n, "IDLE:"); // judged: not tried again
    struct apply_config other = config_of(3, 4), again = config_of(1, 5);
    hears(&n, &other);
    obtains(&n, OTHER);
    hears(&n, &again);
    says(&n, NODE_UP_TO_DATE, CODE_OK);
    gets(&n, EVENT_BEAT, CODE_OK);
    says(&n, NODE_UP_TO_DATE, CODE_OK);
}

static void interrupted_self_update_is_not_built_again(void **state)
{
    (void)state;
    struct node n = updating_node();
    obtains(&n, NEW);
    is_reached(&n);
    gets(&n, EVENT_ARMED, CODE_OK);
    reboots(&n);
    reverts(&n);
    is_now(&n, "CHECKING: DISARM REACH");
    assert_int_equal(n.a.attempt, 2);
    assert_string_equal(n.a.target.path, NEW);
}

static void release_for_another_host_does_not_stop_a_self_update(void **state)
{
    (void)state;
    struct node n = updating_node();
    struct apply_config config = config_of(1, 9);
    config.self_update = true;
    hears(&n, &config);
    is_now(&n, "OBTAINING: QUEUE");
    says(&n, NODE_UP_TO_DATE, CODE_OK);
    assert_false(n.a.report.automatic);
    updates_to_committing(&n);
    commits(&n);
    assert_int_equal(n.a.applied.release, 9);
}

static void release_stops_a_self_update(void **state)
{
    (void)state;
    struct node n = updating_node();
    struct apply_config config = config_of(2, 9);
    hears(&n, &config);
    is_now(&n, "OBTAINING: CANCEL QUEUE OBTAIN");
    assert_false(n.a.report.automatic);
}

static void self_update_waits_until_nothing_else_does(void **state)
{
    (void)state;
    struct apply_config config = kernel_config(REBOOT_BY_HAND), build = config_of(3, 3);
    config.self_update = true;
    struct node n = node_before_reboot(&config);
    gets(&n, EVENT_UPDATE, CODE_OK);
    is_now(&n, "IDLE:"); // what is unproven may be the one to go back from
    reboots(&n);
    gets(&n, EVENT_UPDATE, CODE_OK);
    is_now(&n, "PROVING:");
    is_reached(&n);
    hears(&n, &build);
    gets(&n, EVENT_UPDATE, CODE_OK);
    is_now(&n, "OBTAINING:");
    gets(&n, EVENT_OBTAINED, CODE_BUILD);
    gets(&n, EVENT_UPDATE, CODE_OK);
    is_now(&n, "IDLE:");
    gets(&n, EVENT_ASKED, CODE_OK); // hurries the build
    is_now(&n, "OBTAINING: QUEUE OBTAIN");
    assert_int_equal(n.a.attempt, 1);
}

static void without_the_policy_nobody_updates(void **state)
{
    (void)state;
    struct node n = settled_node();
    gets(&n, EVENT_UPDATE, CODE_OK);
    is_now(&n, "IDLE:");
    gets(&n, EVENT_ASKED, CODE_OK);
    is_now(&n, "IDLE:");
}

static void self_update_is_restored_after_a_bad_boot(void **state)
{
    (void)state;
    struct node n = updating_node();
    updates_to_committing(&n);
    n.reboot_needed = true;
    commits(&n);
    struct apply_config config = config_of(1, 6); // a floor above all but this very configuration
    config.fallback_floor = 6;
    hears(&n, &config);
    reboots(&n);
    is_now(&n, "PROVING: REACH DISARM SECRETS");
    waits(&n, rules.boot_ms);
    is_now(&n, "RESTORING: QUEUE RESTORE");
    restores(&n);
    reboots(&n);
    says(&n, NODE_ROLLED_BACK, CODE_CONNECTIVITY);
    assert_true(n.a.report.automatic);
    is_reached(&n);
    is_now(&n, "IDLE:");
    hears(&n, &config);
    says(&n, NODE_UP_TO_DATE, CODE_OK);
    assert_string_equal(n.a.applied.path, OLD);
}

static void update_of_what_could_not_be_tried_live_may_be(void **state)
{
    (void)state;
    struct node n = settled_node();
    struct apply_config config = config_of(2, 2);
    config.self_update = true;
    n.boot_only = true;
    hears(&n, &config);
    obtains(&n, NEW);
    commits(&n);
    reboots(&n);
    is_reached(&n);
    gets(&n, EVENT_UPDATE, CODE_OK);
    n.boot_only = false;
    obtains(&n, OTHER);
    is_now(&n, "CHECKING: REACH");
}

static void units_that_failed_are_reported_by_policy(void **state)
{
    (void)state;
    static const enum unit_failures policies[] = {UNIT_FAILURES_IGNORE, UNIT_FAILURES_REPORT};
    for (size_t i = 0; i < 2; i++) {
        struct node n = settled_node();
        struct apply_config config = config_of(2, 2);
        config.unit_failures = policies[i];
        goes_to_trying(&n, &config);
        tries(&n, NEW, 4);
        is_reached(&n);
        commits(&n);
        says(&n, NODE_UP_TO_DATE, i == 0 ? CODE_OK : CODE_UNITS);
    }
}

// --- reports

static void refused_release_is_reported_once(void **state)
{
    (void)state;
    struct node n = settled_node();
    refuses(&n, 1, CODE_SIGNER);
    is_now(&n, "IDLE: QUEUE");
    says(&n, NODE_REFUSED, CODE_SIGNER);
    assert_true(bytes_are_zero(n.a.report.digest, HASH_BYTES));
    refuses(&n, 1, CODE_SIGNER);
    is_now(&n, "IDLE:");
    refuses(&n, 1, CODE_EXPIRED);
    is_now(&n, "IDLE: QUEUE");
    refuses(&n, 2, CODE_EXPIRED);
    is_now(&n, "IDLE: QUEUE");
}

// Else a forged head would hide the state until the next release.
static void refusal_is_over_when_the_newest_release_is_shown_again(void **state)
{
    (void)state;
    struct node n = settled_node();
    gets(&n, EVENT_SHOWN, CODE_OK); // nothing was refused
    is_now(&n, "IDLE:");
    refuses(&n, 1, CODE_SIGNER);
    refuses(&n, 2, CODE_ROLLBACK);
    says(&n, NODE_REFUSED, CODE_ROLLBACK);
    n.a.report.queued = true;
    gets(&n, EVENT_BEAT, CODE_OK); // as long as nothing better is shown
    is_now(&n, "IDLE: QUEUE");
    says(&n, NODE_REFUSED, CODE_ROLLBACK);
    gets(&n, EVENT_SHOWN, CODE_OK);
    is_now(&n, "IDLE: QUEUE");
    says(&n, NODE_UP_TO_DATE, CODE_OK);
    assert_memory_equal(n.a.report.digest, n.a.applied.digest, HASH_BYTES);
    gets(&n, EVENT_SHOWN, CODE_OK);
    is_now(&n, "IDLE:");

    struct apply_config config = config_of(2, 2);
    hears(&n, &config);
    is_now(&n, "OBTAINING: QUEUE OBTAIN");
    refuses(&n, 3, CODE_SIGNER);
    gets(&n, EVENT_SHOWN, CODE_OK);
    is_now(&n, "OBTAINING: QUEUE");
    says(&n, NODE_BUILDING, CODE_OK);
}

static void refused_release_does_not_replace_a_report_that_must_arrive(void **state)
{
    (void)state;
    struct node n = settled_node();
    struct apply_config config = config_of(2, 2);
    goes_to_confirming(&n, &config);
    refuses(&n, 1, CODE_SIGNER);
    is_now(&n, "CONFIRMING:");
    is_reached(&n);
    commits(&n);
    refuses(&n, 1, CODE_SIGNER); // comes again with the next tick, and is said then
    is_now(&n, "IDLE: QUEUE");
    says(&n, NODE_REFUSED, CODE_SIGNER);
}

// What is out already may be refused, or be on its way: its name goes with its own outcome alone.
static void report_is_about_the_release_that_asked_for_it(void **state)
{
    (void)state;
    struct node n = settled_node();
    struct apply_config config = config_of(2, 2), next = config_of(3, 3), same = config_of(2, 4);
    goes_to_confirming(&n, &config);
    hears(&n, &next);
    assert_int_equal(apply_about(&n.a, &n.a.report)->release, 2);
    waits(&n, rules.confirm_ms);
    reverts(&n);
    says(&n, NODE_ROLLED_BACK, CODE_CONNECTIVITY);
    assert_int_equal(apply_about(&n.a, &n.a.report)->release, 2);
    hears(&n, &same); // judged: said again, of the newer head
    assert_int_equal(apply_about(&n.a, &n.a.report)->release, 2);
    is_reached(&n);
    waits(&n, 1);
    says(&n, NODE_ROLLED_BACK, CODE_CONNECTIVITY);
    assert_int_equal(apply_about(&n.a, &n.a.report)->release, 4);
    refuses(&n, 9, CODE_NOTICKET);
    assert_null(apply_about(&n.a, &n.a.report));
}

static void number_of_reports_grows_when_the_clock_stands_still(void **state)
{
    (void)state;
    struct node n = settled_node();
    struct apply_config config = config_of(2, 2);
    goes_to_checking(&n, &config);
    for (int i = 0; i < 10; i++) {
        uint64_t seq = n.a.report.seq;
        n.unix_ns = 0; // the clock went back to 1970
        waits(&n, MINUTE_MS);
        assert_int_equal(n.a.report.seq, seq + 1);
    }
}

static void report_carries_the_fresh_nonce(void **state)
{
    (void)state;
    struct node n = settled_node();
    struct apply_config config = config_of(2, 2);
    goes_to_checking(&n, &config);
    n.unix_ns = 0x76;
    waits(&n, MINUTE_MS);
    assert_int_equal(n.a.report.nonce[0], 0x77);
}

static void every_name_of_the_tables_is_known(void **state)
{
    (void)state;
    for (int i = 0; i < APPLY_STATE_COUNT; i++) {
        assert_true(strlen(apply_state_name((enum apply_state)i)) > 0);
    }
    for (int i = 0; i < APPLY_EVENT_COUNT; i++) {
        assert_true(strlen(apply_event_name((enum apply_event_kind)i)) > 0);
    }
    assert_string_equal(apply_effect_name(EFFECT_REVERT), "REVERT");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_configuration_is_up_to_date),
        cmocka_unit_test(phases_of_a_trial_are_timed),
        cmocka_unit_test(restart_while_obtaining_keeps_the_timing_sane),
        cmocka_unit_test(fresh_node_without_configuration_is_new),
        cmocka_unit_test(release_of_another_host_is_only_noted),
        cmocka_unit_test(running_it_already_is_sync),
        cmocka_unit_test(running_it_with_another_profile_is_committed),
        cmocka_unit_test(secrets_that_cannot_be_installed_are_put_back),
        cmocka_unit_test(secrets_that_are_never_installed_time_out),
        cmocka_unit_test(restart_while_installing_installs_again),
        cmocka_unit_test(switched_by_hand_while_installing_makes_it_a_trial),
        cmocka_unit_test(secrets_of_a_trial_belong_to_its_system),
        cmocka_unit_test(secrets_of_what_waits_for_its_boot_come_with_it),
        cmocka_unit_test(secrets_of_an_unknown_journal_are_unknown),
        cmocka_unit_test(running_it_since_an_unconfirmed_attempt_is_tried_again),
        cmocka_unit_test(boot_action_waits_for_the_reboot),
        cmocka_unit_test(dry_action_changes_nothing_and_is_done_once),
        cmocka_unit_test(preflight_is_repeated_until_reached),
        cmocka_unit_test(acknowledgement_of_an_older_report_is_not_reached),
        cmocka_unit_test(nothing_to_go_back_to_is_not_tried),
        cmocka_unit_test(dead_man_that_cannot_be_armed_is_not_tried),
        cmocka_unit_test(switch_that_never_began_says_nothing_about_its_configuration),
        cmocka_unit_test(dead_man_that_never_answers_is_not_tried),
        cmocka_unit_test(trial_records_where_to_go_back),
        cmocka_unit_test(failing_switch_is_rolled_back),
        cmocka_unit_test(successful_switch_to_something_else_is_rolled_back),
        cmocka_unit_test(failing_units_are_judged_by_policy),
        cmocka_unit_test(failing_units_without_the_new_system_are_a_failed_switch),
        cmocka_unit_test(switch_that_never_ends_is_rolled_back),
        cmocka_unit_test(missing_confirmation_is_rolled_back),
        cmocka_unit_test(window_of_the_configuration_beats_the_nodes),
        cmocka_unit_test(failing_health_is_rolled_back),
        cmocka_unit_test(health_alone_is_not_enough),
        cmocka_unit_test(health_without_an_answer_is_rolled_back),
        cmocka_unit_test(reached_under_the_old_system_confirms_nothing),
        cmocka_unit_test(fired_dead_man_is_rolled_back),
        cmocka_unit_test(dead_man_that_fired_while_arming_guards_no_switch),
        cmocka_unit_test(failing_commit_is_rolled_back),
        cmocka_unit_test(commit_that_left_another_profile_is_rolled_back),
        cmocka_unit_test(commit_that_never_ends_is_rolled_back),
        cmocka_unit_test(failing_revert_is_repeated_then_said),
        cmocka_unit_test(rolled_back_configuration_is_not_tried_again_by_a_new_head),
        cmocka_unit_test(not_reached_after_a_revert_is_inconclusive),
        cmocka_unit_test(judged_switch_is_conclusive_without_network),
        cmocka_unit_test(inconclusive_is_tried_again_as_the_newest_head_asks),
        cmocka_unit_test(newer_release_cancels_a_running_build),
        cmocka_unit_test(release_without_us_cancels_a_running_build),
        cmocka_unit_test(newer_head_of_the_same_configuration_does_not_disturb_a_build),
        cmocka_unit_test(newer_release_never_disturbs_a_switch),
        cmocka_unit_test(release_that_waited_is_forgotten_for_a_newer_one),
        cmocka_unit_test(release_that_waited_for_a_revert_is_taken_up),
        cmocka_unit_test(result_of_another_attempt_changes_nothing),
        cmocka_unit_test(failing_build_is_repeated_with_growing_pauses),
        cmocka_unit_test(pauses_of_a_build_are_not_those_of_another),
        cmocka_unit_test(new_head_does_not_hurry_a_build_that_waits),
        cmocka_unit_test(restart_does_not_lose_a_build_that_waits),
        cmocka_unit_test(restarted_process_starts_the_effects_of_each_state_again),
        cmocka_unit_test(queued_report_is_not_queued_again),
        cmocka_unit_test(restarted_process_waits_for_the_rest_of_the_window_only),
        cmocka_unit_test(reboot_in_a_trial_brings_the_old_system_and_another_attempt),
        cmocka_unit_test(reboot_while_arming_brings_another_attempt),
        cmocka_unit_test(reboot_into_the_new_system_while_committing_commits),
        cmocka_unit_test(reboot_while_reverting_reverts_to_the_end),
        cmocka_unit_test(reboot_while_returning_waits_anew),
        cmocka_unit_test(reboots_in_every_trial_give_up),
        cmocka_unit_test(attempts_survive_a_release_in_between),
        cmocka_unit_test(trial_of_an_unknown_journal_is_reverted),
        cmocka_unit_test(floor_above_the_old_system_makes_the_new_one_stay),
        cmocka_unit_test(floor_at_the_old_system_allows_to_go_back),
        cmocka_unit_test(floor_holds_against_failing_health_too),
        cmocka_unit_test(floor_does_not_keep_a_failed_switch),
        cmocka_unit_test(what_stays_unhealthy_is_looked_at_again_with_every_beat),
        cmocka_unit_test(remedy_is_taken_by_a_system_that_stays),
        cmocka_unit_test(kernel_is_proved_after_its_reboot),
        cmocka_unit_test(reboot_waits_for_the_acknowledgement),
        cmocka_unit_test(calendar_reboot_waits_for_its_time),
        cmocka_unit_test(reboot_by_hand_is_left_to_hands),
        cmocka_unit_test(reboots_that_do_nothing_are_asked_for_three_times),
        cmocka_unit_test(unreached_after_its_boot_is_restored),
        cmocka_unit_test(unhealthy_after_its_boot_is_restored_at_once),
        cmocka_unit_test(restore_that_fails_goes_back_without_a_boot),
        cmocka_unit_test(restart_while_restoring_restores_again),
        cmocka_unit_test(restored_system_that_does_not_boot_is_switched_to),
        cmocka_unit_test(system_that_goes_down_again_and_again_is_restored),
        cmocka_unit_test(boot_loader_that_starts_the_old_one_is_rolled_back),
        cmocka_unit_test(floor_makes_an_unproven_system_stay),
        cmocka_unit_test(inconclusive_proofs_are_bounded),
        cmocka_unit_test(what_was_under_way_waits_for_the_proof),
        cmocka_unit_test(verdict_is_said_again_after_the_proof),
        cmocka_unit_test(reboot_in_a_trial_into_an_unproven_system_proves_it_first),
        cmocka_unit_test(revert_to_an_unproven_system_is_no_boot_of_it),
        cmocka_unit_test(newer_head_does_not_hide_the_reboot),
        cmocka_unit_test(hand_that_switches_elsewhere_causes_no_reboot),
        cmocka_unit_test(way_back_from_a_boot_is_what_the_profile_was),
        cmocka_unit_test(panics_while_committing_are_counted),
        cmocka_unit_test(reboot_without_a_way_back_points_nowhere_else),
        cmocka_unit_test(nothing_is_installed_for_a_boot_without_a_profile),
        cmocka_unit_test(last_resort_is_a_reboot_once),
        cmocka_unit_test(revert_that_fails_reboots_as_a_last_resort),
        cmocka_unit_test(remedy_ends_a_revert_that_fails),
        cmocka_unit_test(release_of_what_ran_before_takes_back_what_stays),
        cmocka_unit_test(window_is_a_minute_longer_after_a_resume),
        cmocka_unit_test(resume_early_in_the_window_changes_nothing),
        cmocka_unit_test(naps_do_not_prolong_the_window_for_ever),
        cmocka_unit_test(self_update_goes_the_same_way),
        cmocka_unit_test(self_update_without_news_says_nothing),
        cmocka_unit_test(self_update_that_failed_is_no_failure_once_there_is_no_news),
        cmocka_unit_test(self_update_that_does_not_build_is_tried_the_next_night),
        cmocka_unit_test(failed_self_update_says_nothing_about_the_release),
        cmocka_unit_test(interrupted_self_update_is_not_built_again),
        cmocka_unit_test(release_for_another_host_does_not_stop_a_self_update),
        cmocka_unit_test(release_stops_a_self_update),
        cmocka_unit_test(self_update_waits_until_nothing_else_does),
        cmocka_unit_test(without_the_policy_nobody_updates),
        cmocka_unit_test(self_update_is_restored_after_a_bad_boot),
        cmocka_unit_test(update_of_what_could_not_be_tried_live_may_be),
        cmocka_unit_test(units_that_failed_are_reported_by_policy),
        cmocka_unit_test(refused_release_is_reported_once),
        cmocka_unit_test(refusal_is_over_when_the_newest_release_is_shown_again),
        cmocka_unit_test(refused_release_does_not_replace_a_report_that_must_arrive),
        cmocka_unit_test(report_is_about_the_release_that_asked_for_it),
        cmocka_unit_test(number_of_reports_grows_when_the_clock_stands_still),
        cmocka_unit_test(report_carries_the_fresh_nonce),
        cmocka_unit_test(every_name_of_the_tables_is_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
