// Try, commit, revert and the dead man's switch as real processes on a real Nix profile:
// bento-apply (BENTO_APPLY) in mounts and a network of this test's own, with systems made by
// tests/fleet (FLEET).
#include "decision.h"

#include "journal.h"
#include "node_test.h"
#include "proc.h"

#include <net/if.h>
#include <signal.h>
#include <sys/inotify.h>

static struct err e;

#define FLEET_ID "0909090909090909090909090909090909090909090909090909090909090909"
// Of no configuration: one without secrets.
#define DIGEST "0000000000000000000000000000000000000000000000000000000000000000"
#define NEXT "0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a"
#define PATIENCE_MS 30000
#define ROUNDS 8

static struct {
    char path[64]; // everything is below it
    bool usable;
    int state; // state/apply
    char self[96], config[96], profile[96];
    char old[320], new[320], bad_boot[320], hangs[320];
} lab;

static struct job_key key = {.attempt = 1};

// --- a machine of its own

static bool bind_over(const char *name, const char *target)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", lab.path, name);
    return mount(path, target, NULL, MS_BIND, NULL) == 0;
}

static bool enter(void)
{
    return own_mounts(CLONE_NEWNET) && bind_over("nix", "/nix") && bind_over("boot", "/boot") &&
           mount("tmpfs", "/run", "tmpfs", 0, "mode=755") == 0 &&
           bind_over("os-release", "/etc/os-release");
}

static void put(const char *name, const char *content)
{
    int dir = open(lab.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    put_file(dir, name, content, 0644);
    close(dir);
}

static void make(const char *name)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", lab.path, name);
    assert_int_equal(mkdir(path, 0755), 0);
}

static void run_or_fail(const char *const *argv, struct proc_result *result)
{
    MUST(proc_run(argv, NULL, NULL, (struct bytes){0}, 1 << 20, PATIENCE_MS, false, result, &e));
    if (result->status != 0) {
        fail_msg("%s ended with %d: %s", argv[0], result->status, buf_text(&result->err));
    }
}

// A system of that mode; its store path.
static void build_system(const char *mode, char path[320])
{
    struct buf expression = {0};
    struct proc_result result;
    char link[128];
    static unsigned count;
    buf_printf(&expression,
        "(import %s/utils/mksystem.nix { hostName = \"trial\"; mode = \"%s\"; text = \"%u\"; })"
        ".config.system.build.toplevel",
        FLEET, mode, count);
    snprintf(link, sizeof link, "%s/system-%u", lab.path, count++);
    run_or_fail((const char *const[]){"nix", "build", "-o", link, "--impure", "--expr",
                    buf_text(&expression), NULL},
        &result);
    proc_result_clear(&result);
    char real[PATH_MAX];
    assert_non_null(realpath(link, real));
    snprintf(path, 320, "%.300s", real);
    buf_clear(&expression);
}

static void write_config(void)
{
    struct buf json = {0};
    buf_printf(&json,
        "{\"fleet\": \"%s\", \"signers\": [\"%s\"], \"state\": \"%s\", \"profile\": \"%s\","
        " \"path\": \"/usr/sbin:/usr/bin:/sbin:/bin\", \"endpoints\":"
        " [{\"tunnel\": \"none\", \"pub\": \"tcp://127.0.0.1:1\", \"rep\": "
        "\"tcp://127.0.0.1:2\"}]}",
        FLEET_ID, line_of_key(1), lab.path, lab.profile);
    put("node.json", buf_text(&json));
    buf_clear(&json);
}

static int lab_setup(void **state)
{
    (void)state;
    struct proc_result result;
    char conf[96];
    memset(key.digest, 0, HASH_BYTES);
    if (start_sodium(NULL) != 0 || access(BENTO_APPLY, X_OK) != 0) {
        return -1;
    }
    strcpy(lab.path, "/tmp/bento-trial-XXXXXX");
    if (mkdtemp(lab.path) == NULL || chmod(lab.path, 0755) != 0) {
        return -1;
    }
    make("nix");
    make("boot");
    make("apply");
    make("apply/jobs");
    put("os-release", "ID=nixos\n");
    put("nix.conf", "sandbox = false\nexperimental-features = nix-command flakes\n"
                    "substituters =\nbuild-users-group =\nflake-registry =\n");
    snprintf(conf, sizeof conf, "%s", lab.path);
    setenv("NIX_CONF_DIR", conf, 1);
    setenv("HOME", conf, 1);
    unsetenv("NIX_REMOTE");
    unsetenv("NIX_PATH");
    if (access("/nix", F_OK) != 0 || access("/usr/bin/nix-env", X_OK) != 0 || !enter()) {
        print_message("skipped: no nix here, or no namespaces\n");
        return 0;
    }
    lab.usable = true;
    snprintf(lab.self, sizeof lab.self, "%s", BENTO_APPLY);
    snprintf(lab.config, sizeof lab.config, "%s/node.json", lab.path);
    snprintf(lab.profile, sizeof lab.profile, "/nix/var/nix/profiles/system");
    write_config();
    build_system("ok", lab.old);
    build_system("ok", lab.new);
    build_system("fail-boot", lab.bad_boot);
    build_system("hang", lab.hangs);
    run_or_fail((const char *const[]){"mkdir", "-p", "/nix/var/nix/profiles", NULL}, &result);
    proc_result_clear(&result);
    char apply[96];
    snprintf(apply, sizeof apply, "%s/apply", lab.path);
    lab.state = open(apply, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return lab.state < 0 ? -1 : 0;
}

static int lab_teardown(void **state)
{
    (void)state;
    if (lab.usable) {
        umount2("/nix", MNT_DETACH);
        umount2("/boot", MNT_DETACH);
        close(lab.state);
    }
    // Store paths are read-only.
    struct proc_result result;
    bool ok = proc_run((const char *const[]){"/bin/sh", "-c", "chmod -R u+w \"$0\"; rm -rf \"$0\"",
                           lab.path, NULL},
        NULL, NULL, (struct bytes){0}, 1000, PATIENCE_MS, false, &result, &e);
    proc_result_clear(&result);
    return ok ? 0 : -1;
}

// --- what there is to see

static const char *real_of(const char *link)
{
    static char real[4][PATH_MAX];
    static unsigned turn;
    char *here = real[turn++ % 4];
    return realpath(link, here) != NULL ? here : "";
}

#define assert_runs(path) assert_string_equal(real_of("/run/current-system"), path)
#define assert_profile(path) assert_string_equal(real_of(lab.profile), path)

// What the boot loader would boot.
static void assert_boots(const char *path)
{
    struct buf entry = {0};
    char line[400];
    MUST(fs_read(AT_FDCWD, "/boot/loader/entries/nixos.conf", 4096, &entry, &e));
    snprintf(line, sizeof line, "options init=%s/init\n", path);
    assert_contains(buf_text(&entry), line);
    buf_clear(&entry);
}

static unsigned switches(const char *path, const char *action)
{
    struct buf log = {0};
    char begin[64], system[400];
    unsigned count = 0;
    if (!fs_read(AT_FDCWD, "/run/bento-test/switch.log", 1 << 20, &log, &e)) {
        return 0;
    }
    snprintf(begin, sizeof begin, " begin action=%s ", action);
    snprintf(system, sizeof system, " system=%s", path);
    char *rest, *text = strdup(buf_text(&log));
    for (char *line = strtok_r(text, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        count += strstr(line, begin) != NULL && strstr(line, system) != NULL;
    }
    free(text);
    buf_clear(&log);
    return count;
}

// --- steps

static void be_switched_to(const char *path, const char *how)
{
    struct proc_result result;
    char program[400];
    snprintf(program, sizeof program, "%s/bin/switch-to-configuration", path);
    run_or_fail((const char *const[]){program, how, NULL}, &result);
    proc_result_clear(&result);
}

static void set_profile(const char *path)
{
    struct proc_result result;
    run_or_fail((const char *const[]){"nix-env", "-p", lab.profile, "--set", path, NULL}, &result);
    proc_result_clear(&result);
}

static void decide(enum decision decision)
{
    MUST(decision_write(lab.state, &key, decision, &e));
}

#define assert_decision(expected) assert_int_equal(decision_read(lab.state, &key), expected)

// The old system is installed and ran; the new one runs, on trial.
static void begin_trial(const char *path)
{
    if (!lab.usable) {
        skip();
    }
    unlink("/run/bento-test/switch.log");
    set_profile(lab.old);
    be_switched_to(lab.old, "boot");
    be_switched_to(lab.old, "test");
    if (path != NULL) {
        be_switched_to(path, "test");
    }
    decide(DECISION_OPEN);
}

struct step {
    const char *argv[16];
    struct proc_result result;
    pid_t pid;
    int pidfd;
};

static struct step step_of(const char *subcommand, const char *const *words)
{
    struct step step = {.argv = {lab.self, "--config", lab.config, subcommand, DIGEST, "1"}};
    for (size_t i = 0; words[i] != NULL; i++) {
        step.argv[6 + i] = words[i];
    }
    return step;
}

#define STEP(subcommand, ...) step_of(subcommand, (const char *const[]){__VA_ARGS__, NULL})
#define COMMIT(path) STEP("commit", path, lab.old, lab.old)
#define REVERT STEP("revert", lab.old, lab.old)
#define DEADMAN STEP("revert", lab.old, lab.old, "0")

static int run_step(struct step step)
{
    MUST(proc_run(
        step.argv, NULL, NULL, (struct bytes){0}, 1 << 20, PATIENCE_MS, false, &step.result, &e));
    int status = step.result.status;
    proc_result_clear(&step.result);
    return status;
}

static void start_step(struct step *step)
{
    struct proc_spec spec = PROC_SPEC;
    spec.argv = step->argv;
    MUST(proc_spawn(&spec, &step->pid, &step->pidfd, &e));
}

static int end_step(struct step *step)
{
    struct pollfd gone = {.fd = step->pidfd, .events = POLLIN};
    int status;
    assert_int_equal(poll(&gone, 1, PATIENCE_MS), 1);
    assert_int_equal(waitpid(step->pid, &status, 0), step->pid);
    close(step->pidfd);
    return proc_status(status);
}

// --- commit

static void commit_writes_profile_and_boot_loader(void **state)
{
    (void)state;
    begin_trial(lab.new);
    assert_profile(lab.old);
    assert_boots(lab.old);
    assert_int_equal(run_step(COMMIT(lab.new)), 0);
    assert_runs(lab.new);
    assert_profile(lab.new);
    assert_boots(lab.new);
    assert_decision(DECISION_COMMIT);
    assert_int_equal(run_step(COMMIT(lab.new)), 0); // again after a crash
    assert_profile(lab.new);
    assert_boots(lab.new);
}

static void failed_boot_loader_puts_the_old_profile_back(void **state)
{
    (void)state;
    begin_trial(lab.bad_boot);
    assert_int_equal(run_step(COMMIT(lab.bad_boot)), 1);
    assert_profile(lab.old);
    assert_boots(lab.old);
    assert_runs(lab.bad_boot); // what runs is the revert's
    assert_decision(DECISION_REVERT);
    assert_int_equal(run_step(REVERT), 0);
    assert_runs(lab.old);
}

// After a revert by somebody else it is the old system that runs.
static void commit_needs_the_new_system_to_run(void **state)
{
    (void)state;
    begin_trial(NULL);
    assert_int_equal(run_step(COMMIT(lab.new)), 1);
    assert_profile(lab.old);
    assert_boots(lab.old);
    assert_int_equal(switches(lab.new, "boot"), 0);
}

static void commit_after_a_revert_does_nothing(void **state)
{
    (void)state;
    begin_trial(lab.new);
    assert_int_equal(run_step(REVERT), 0);
    assert_int_equal(run_step(COMMIT(lab.new)), 1);
    assert_runs(lab.old);
    assert_profile(lab.old);
    assert_boots(lab.old);
    assert_int_equal(switches(lab.new, "boot"), 0);
}

// --- revert

static void revert_brings_back_system_profile_and_boot_entry(void **state)
{
    (void)state;
    begin_trial(lab.new);
    assert_int_equal(run_step(COMMIT(lab.new)), 0);
    assert_int_equal(run_step(REVERT), 0); // bento-apply may, also after a commit
    assert_runs(lab.old);
    assert_profile(lab.old);
    assert_boots(lab.old);
    assert_decision(DECISION_REVERT);
    assert_int_equal(run_step(REVERT), 0); // and again after a crash
    assert_runs(lab.old);
}

// The profile is the old one already, the boot loader's entry is not: a commit was cut short while
// it put things back.
static void revert_after_half_a_commit_writes_the_boot_entry(void **state)
{
    (void)state;
    begin_trial(lab.new);
    be_switched_to(lab.new, "boot");
    decide(DECISION_COMMIT);
    assert_profile(lab.old);
    assert_boots(lab.new);
    assert_int_equal(run_step(REVERT), 0);
    assert_boots(lab.old);
    assert_profile(lab.old);
    assert_runs(lab.old);
}

// A switch that was ended in the middle has stopped units, though the old system is still the
// current one.
static void revert_switches_even_if_the_old_system_is_current(void **state)
{
    (void)state;
    begin_trial(NULL);
    unsigned before = switches(lab.old, "test");
    assert_int_equal(run_step(REVERT), 0);
    assert_int_equal(switches(lab.old, "test"), before + 1);
    assert_runs(lab.old);
}

static void revert_does_not_go_back_by_generation_numbers(void **state)
{
    (void)state;
    begin_trial(lab.new);
    set_profile(lab.bad_boot); // a bad one between old and new
    set_profile(lab.old);
    assert_int_equal(run_step(COMMIT(lab.new)), 0);
    assert_int_equal(run_step(REVERT), 0);
    assert_profile(lab.old);
}

static void revert_to_a_system_that_is_gone_fails(void **state)
{
    (void)state;
    begin_trial(lab.new);
    assert_int_equal(run_step(STEP("revert", "/nix/store/gone", lab.old)), 1);
    assert_runs(lab.new);
    assert_decision(DECISION_REVERT);
    assert_int_equal(run_step(COMMIT(lab.new)), 1);
}

// --- the dead man's switch

static void dead_man_acts_without_bento_apply(void **state)
{
    (void)state;
    begin_trial(lab.new);
    assert_int_equal(run_step(DEADMAN), 0);
    assert_runs(lab.old);
    assert_profile(lab.old);
    assert_boots(lab.old);
    assert_decision(DECISION_REVERT);
}

static void dead_man_leaves_a_commit_alone(void **state)
{
    (void)state;
    begin_trial(lab.new);
    assert_int_equal(run_step(COMMIT(lab.new)), 0);
    assert_int_equal(run_step(DEADMAN), 3);
    assert_runs(lab.new);
    assert_profile(lab.new);
    assert_boots(lab.new);
    assert_decision(DECISION_COMMIT);
}

static void dead_man_of_another_trial_does_nothing(void **state)
{
    (void)state;
    begin_trial(lab.new);
    struct step other = DEADMAN;
    other.argv[4] = NEXT;
    assert_int_equal(run_step(other), 3);
    other = DEADMAN;
    other.argv[5] = "2";
    assert_int_equal(run_step(other), 3);
    assert_runs(lab.new);
    assert_decision(DECISION_OPEN);
}

// Whoever decides first has decided; the other one does nothing.
static void commit_and_dead_man_never_both_act(void **state)
{
    (void)state;
    unsigned committed = 0;
    for (unsigned round = 0; round < ROUNDS; round++) {
        begin_trial(lab.new);
        struct step commit = COMMIT(lab.new), deadman = DEADMAN;
        start_step(round % 2 == 0 ? &commit : &deadman);
        start_step(round % 2 == 0 ? &deadman : &commit);
        int commit_status = end_step(&commit), deadman_status = end_step(&deadman);
        bool stays = commit_status == 0;
        committed += stays;
        assert_int_equal(commit_status, stays ? 0 : 1);
        assert_int_equal(deadman_status, stays ? 3 : 0);
        assert_runs(stays ? lab.new : lab.old);
        assert_profile(stays ? lab.new : lab.old);
        assert_boots(stays ? lab.new : lab.old);
        assert_decision(stays ? DECISION_COMMIT : DECISION_REVERT);
        assert_int_equal(switches(lab.new, "boot"), stays ? 1 : 0);
    }
    print_message("committed %u of %u\n", committed, ROUNDS);
}

// --- try

static void try_switches_and_passes_the_status_on(void **state)
{
    (void)state;
    begin_trial(NULL);
    assert_int_equal(run_step(STEP("try", lab.new)), 0);
    assert_runs(lab.new);
    assert_profile(lab.old);
    assert_boots(lab.old);
    assert_int_equal(run_step(STEP("try", "/nix/store/gone")), 127);
}

static void try_after_a_revert_does_nothing(void **state)
{
    (void)state;
    begin_trial(NULL);
    decide(DECISION_REVERT);
    assert_int_equal(run_step(STEP("try", lab.new)), 1);
    assert_runs(lab.old);
    assert_int_equal(switches(lab.new, "test"), 0);
}

// --- a switch that hangs

struct waiting {
    struct loop *loop;
    int notify;
    bool told;
    struct job_record record;
};

static void on_try_ended(void *context, enum job_kind kind, const struct job_record *record)
{
    struct waiting *waiting = context;
    assert_int_equal(kind, JOB_TRY);
    waiting->told = true;
    waiting->record = *record;
    loop_stop(waiting->loop);
}

static void on_try_started(void *context, enum job_kind kind, const struct job_key *of, bool ok)
{
    (void)context;
    (void)kind;
    (void)of;
    assert_true(ok);
}

static void on_run_changed(void *context)
{
    struct waiting *waiting = context;
    char events[4096];
    while (read(waiting->notify, events, sizeof events) > 0) {
    }
    if (strcmp(real_of("/run/current-system"), lab.hangs) == 0) {
        loop_stop(waiting->loop);
    }
}

static void on_patience(void *context)
{
    loop_stop(((struct waiting *)context)->loop);
}

static void revert_ends_a_hanging_switch(struct step revert)
{
    begin_trial(NULL);
    struct waiting waiting = {
        .loop = loop_new(), .notify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK)};
    struct loop_watch *patience = loop_timer(waiting.loop, false, on_patience, &waiting);
    char folder[96];
    snprintf(folder, sizeof folder, "%s/apply/jobs", lab.path);
    assert_true(
        inotify_add_watch(waiting.notify, "/run", IN_CREATE | IN_MOVED_TO | IN_DELETE) >= 0);
    loop_fd(waiting.loop, waiting.notify, on_run_changed, &waiting);
    const struct job_listener listener = {on_try_started, on_try_ended, &waiting};
    struct jobs *jobs =
        jobs_open(waiting.loop, JOB_RUNNER_SESSION, folder, lab.self, &listener, &e);
    assert_non_null(jobs);
    jobs_forget(jobs, JOB_TRY);
    struct step try = STEP("try", lab.hangs);
    const char *environment[] = {"PATH=/usr/sbin:/usr/bin:/sbin:/bin", NULL};
    const struct job_spec spec = {
        .kind = JOB_TRY, .key = key, .argv = try.argv, .env = environment, .limit_ms = 600000};
    MUST(jobs_start(jobs, &spec, &e));
    loop_timer_set(patience, PATIENCE_MS);
    loop_run(waiting.loop); // until it hangs
    assert_false(waiting.told);
    assert_runs(lab.hangs);

    assert_int_equal(run_step(revert), 0);
    assert_runs(lab.old);
    loop_run(waiting.loop);
    assert_true(waiting.told);
    assert_int_equal(waiting.record.state, JOB_STATE_ENDED);
    assert_int_not_equal(waiting.record.status, 0);
    assert_decision(DECISION_REVERT);
    jobs_close(jobs);
    loop_free(waiting.loop);
    close(waiting.notify);
}

static void a_revert_ends_a_hanging_switch(void **state)
{
    (void)state;
    revert_ends_a_hanging_switch(REVERT);
}

static void the_dead_man_ends_a_hanging_switch(void **state)
{
    (void)state;
    revert_ends_a_hanging_switch(DEADMAN);
}

static void wrong_arguments_are_a_matter_of_usage(void **state)
{
    (void)state;
    begin_trial(NULL);
    assert_int_equal(run_step(STEP("commit", lab.new)), 64);
    assert_int_equal(run_step(STEP("revert", lab.old)), 64);
    struct step bad = REVERT;
    bad.argv[4] = "not-a-digest";
    assert_int_not_equal(run_step(bad), 0);
    assert_runs(lab.old);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commit_writes_profile_and_boot_loader),
        cmocka_unit_test(failed_boot_loader_puts_the_old_profile_back),
        cmocka_unit_test(commit_needs_the_new_system_to_run),
        cmocka_unit_test(commit_after_a_revert_does_nothing),
        cmocka_unit_test(revert_brings_back_system_profile_and_boot_entry),
        cmocka_unit_test(revert_after_half_a_commit_writes_the_boot_entry),
        cmocka_unit_test(revert_switches_even_if_the_old_system_is_current),
        cmocka_unit_test(revert_does_not_go_back_by_generation_numbers),
        cmocka_unit_test(revert_to_a_system_that_is_gone_fails),
        cmocka_unit_test(dead_man_acts_without_bento_apply),
        cmocka_unit_test(dead_man_leaves_a_commit_alone),
        cmocka_unit_test(dead_man_of_another_trial_does_nothing),
        cmocka_unit_test(commit_and_dead_man_never_both_act),
        cmocka_unit_test(try_switches_and_passes_the_status_on),
        cmocka_unit_test(try_after_a_revert_does_nothing),
        cmocka_unit_test(a_revert_ends_a_hanging_switch),
        cmocka_unit_test(the_dead_man_ends_a_hanging_switch),
        cmocka_unit_test(wrong_arguments_are_a_matter_of_usage),
    };
    return cmocka_run_group_tests(tests, lab_setup, lab_teardown);
}
