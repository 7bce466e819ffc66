// bento-apply: the part of a node that acts. Root, no network, no socket; it meets bento-node in
// the spool only.
#include "actions.h"
#include "agent.h"
#include "cli.h"
#include "commands.h"
#include "fs.h"
#include "keys.h"
#include "log.h"
#include "notify.h"
#include "proc.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#define RESCAN_MS 30000
#define UPDATE_LOOK_MS (15u * 60 * 1000)
#define UPDATE_FIRST_MS (3u * 60 * 1000) // a network takes its time after a boot
#define JITTER_PERCENT 20
#define DEFAULT_CONFIG "/etc/bento/node.json"

// Taken away first: what cannot be taken away would ask for ever.
static void look_for_trigger(struct agent *agent)
{
    struct err e;
    if (fs_exists(agent->spool.in, "trigger") && fs_remove(agent->spool.in, "trigger", &e)) {
        agent_trigger(agent);
    }
}

static void on_spool(void *context)
{
    struct agent *agent = context;
    outbox_collect(agent);
    outbox_queue_missing(agent);
    look_for_trigger(agent);
    intake_scan(agent);
    effects_guard(agent);
    loop_timer_set(agent->rescan, RESCAN_MS);
}

struct inotify {
    struct agent *agent;
    int fd;
};

// inotify only wakes; what it says is not looked at.
static void on_inotify(void *context)
{
    struct inotify *inotify = context;
    char events[4096];
    while (read(inotify->fd, events, sizeof events) > 0) {
    }
    on_spool(inotify->agent);
}

static void on_deadline(void *context)
{
    struct agent *agent = context;
    agent_post(agent, agent_event(agent, EVENT_TIMER));
    agent_turn(agent);
    intake_scan(agent);
}

// While statuses wait for the network, another one would tell nothing new.
static void on_beat(void *context)
{
    struct agent *agent = context;
    loop_timer_set(agent->beat, agent->config->poll_s * 1000);
    if (outbox_is_empty(agent)) {
        agent_post(agent, agent_event(agent, EVENT_BEAT));
        agent_turn(agent);
    }
}

// Looked at now and then, since a laptop may sleep when one is due; in time awake, since in the moment
// when it wakes up there is no network yet.
static void look_for_update_in(struct agent *agent, uint64_t most_ms)
{
    uint64_t look_ms = agent->config->self_update_s * 1000 / 4;
    loop_timer_set(agent->update, jitter(look_ms < most_ms ? look_ms : most_ms, JITTER_PERCENT));
}

static void on_update(void *context)
{
    struct agent *agent = context;
    uint64_t interval_s = agent->config->self_update_s;
    look_for_update_in(agent, UPDATE_LOOK_MS);
    const struct apply *a = &agent->apply;
    uint64_t now_s = clock_unix_s();
    bool due =
        now_s >= a->updated_s + interval_s || now_s < a->updated_s; // the clock was wrong then
    if (a->applied.self_update && due) {
        agent_post(agent, agent_event(agent, EVENT_UPDATE));
        agent_turn(agent);
    }
}

static void on_started(void *context, enum job_kind kind, const struct job_key *key, bool ok)
{
    effect_started(context, kind, key, ok);
    agent_turn(context);
}

static void on_ended(void *context, enum job_kind kind, const struct job_record *record)
{
    effect_ended(context, kind, record);
    agent_turn(context);
}

static void on_stop(void *context)
{
    loop_stop(((struct agent *)context)->loop);
}

// Folders of state/apply, root's alone.
static bool open_state(struct agent *agent, struct err *e)
{
    static const char *const folders[] = {"apply", "apply/jobs", "apply/kept", "apply/roots"};
    CLEANUP_FD state = -1;
    if (!spool_open(agent->config, &agent->spool, e) ||
        !fs_check_private_dir(AT_FDCWD, agent->config->state, false, e) ||
        !fs_open_dir(AT_FDCWD, agent->config->state, &state, e)) {
        return false;
    }
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        if (!fs_exists(state, folders[i]) && !fs_make_dir(state, folders[i], 0700, false, e)) {
            return false;
        }
    }
    struct stat st;
    if (!fs_open_dir(state, "apply", &agent->dir, e) ||
        !fs_open_dir(state, "apply/kept", &agent->kept, e)) {
        return false;
    }
    if (fstat(agent->dir, &st) != 0 || st.st_uid != geteuid() || (st.st_mode & 077) != 0) {
        return err_set(e, CODE_CONFIG, "%s/apply must be ours alone: chmod 700 and chown it",
            agent->config->state);
    }
    fs_sweep(agent->dir, "floor");
    fs_sweep(agent->spool.out, "want");
    return true;
}

static bool load_id(struct agent *agent, struct err *e)
{
    struct secret_key *identity CLEANUP(keys_free) = NULL;
    if (!keys_load_identity(agent->config, &identity, e)) {
        return false;
    }
    public_key_id(&identity->public, agent->node_id);
    return true;
}

// The blobs of the newest configuration, as the last run wanted them: bento-node drops what nobody
// wants.
static void recall_want(struct agent *agent)
{
    struct buf text CLEANUP(buf_clear) = {0};
    struct err e;
    if (!fs_read(agent->spool.out, "want", WANT_BYTES_MAX, &text, &e) ||
        !want_decode(buf_bytes(&text), &agent->want, &e)) {
        agent->want = (struct want){0};
    }
}

static bool watch_spool(struct agent *agent, struct inotify *inotify, struct err *e)
{
    char path[PATH_MAX];
    *inotify = (struct inotify){.agent = agent, .fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK)};
    snprintf(path, sizeof path, "%s/spool/in", agent->config->state);
    bool ok = inotify->fd >= 0 && inotify_add_watch(inotify->fd, path, IN_MOVED_TO) >= 0;
    snprintf(path, sizeof path, "%s/spool/in/blobs", agent->config->state);
    if (!ok || inotify_add_watch(inotify->fd, path, IN_MOVED_TO) < 0) {
        return err_set(e, CODE_IO, "cannot watch %s: %m", path);
    }
    loop_fd(agent->loop, inotify->fd, on_inotify, inotify);
    return true;
}

// The life of the daemon, in order.
static bool serve(struct agent *agent, enum job_runner runner, struct err *e)
{
    const struct job_listener listener = {on_started, on_ended, agent};
    char jobs[PATH_MAX];
    struct inotify inotify;
    CLEANUP_FD lock = -1;
    agent->last = &agent->first;
    agent->loop = loop_new();
    agent->deadline = loop_timer(agent->loop, true, on_deadline, agent);
    agent->rescan = loop_timer(agent->loop, true, on_spool, agent);
    agent->beat = loop_timer(agent->loop, false, on_beat, agent);
    loop_timer_set(agent->beat, agent->config->poll_s * 1000);
    agent->update = loop_timer(agent->loop, true, on_update, agent);
    loop_signal(agent->loop, SIGTERM, on_stop, agent);
    loop_signal(agent->loop, SIGINT, on_stop, agent);
    snprintf(jobs, sizeof jobs, "%s/apply/jobs", agent->config->state);
    if (!open_state(agent, e) || !fs_lock(agent->dir, "lock", false, &lock, e) ||
        !keys_ensure(agent->config, e) || !load_id(agent, e) || !intake_load_floor(agent, e) ||
        !journal_open(&agent->journal, agent->dir, &agent->apply, e) ||
        !watch_spool(agent, &inotify, e)) {
        return false;
    }
    agent->jobs = jobs_open(agent->loop, runner, jobs, agent->self, &listener, e);
    if (agent->jobs == NULL) {
        return false;
    }
    recall_want(agent);
    effects_recall(agent); // before BOOT, which would start a switch again that was reverted
    agent_post(agent, agent_event(agent, EVENT_BOOT));
    agent_turn(agent);
    on_spool(agent);
    look_for_update_in(agent, UPDATE_FIRST_MS);
    notify_ready();
    notify_feed_watchdog(agent->loop, &agent->watchdog);
    log_info("bento-apply ready state=%s", apply_state_name(agent->apply.state));
    loop_run(agent->loop);
    notify_stopping();
    return true;
}

static void agent_clear(struct agent *agent)
{
    jobs_close(agent->jobs);
    journal_close(&agent->journal);
    spool_close(&agent->spool);
    fd_closep(&agent->dir);
    fd_closep(&agent->kept);
    loop_free(agent->loop);
}

static int daemon_main(
    const struct config *config, const char *config_path, const char *self, bool no_systemd)
{
    struct agent agent = {.config = config,
        .config_path = config_path,
        .self = self,
        .dir = -1,
        .kept = -1,
        .spool = {-1, -1, -1},
        .runs_units = !no_systemd,
        .rules = {.confirm_ms = config->confirm_s * 1000,
            .switch_ms = config->switch_s * 1000,
            .return_ms = config->return_s * 1000,
            .commit_ms = (config->commit_s + config->margin_s / 2) * 1000,
            .boot_ms = config->boot_s * 1000}};
    struct err e;
    if (!no_systemd && !has_systemd()) {
        err_set(&e, CODE_USAGE,
            "systemd does not run here: start it with --no-systemd, then jobs are plain children");
        return cli_fail("bento-apply", &e);
    }
    bool ok = serve(&agent, no_systemd ? JOB_RUNNER_SESSION : JOB_RUNNER_SYSTEMD, &e);
    agent_clear(&agent);
    return ok ? EXIT_SUCCESS : cli_fail("bento-apply", &e);
}

static int print_keys(const struct config *config)
{
    struct agent agent = {.config = config, .dir = -1, .kept = -1, .spool = {-1, -1, -1}};
    struct err e;
    bool ok = open_state(&agent, &e) && keys_ensure(config, &e) && keys_print(config, &e);
    spool_close(&agent.spool);
    fd_closep(&agent.dir);
    fd_closep(&agent.kept);
    return ok ? EXIT_SUCCESS : cli_fail("bento-apply", &e);
}

// What bento-apply calls itself with: not for people, so without help.
static const struct {
    const char *name;
    int (*run)(const struct invocation *);
} steps[] = {{"obtain", action_obtain}, {"update", action_update}, {"check", action_check},
    {"try", action_try}, {"commit", action_commit}, {"revert", action_revert},
    {"restore", action_restore}, {"install", action_install}, {"secrets", action_secrets},
    {"reboot", action_reboot}, {"due", action_due}};
#define STEP_COUNT (sizeof steps / sizeof steps[0])

static size_t find_step(const char *name)
{
    size_t i = 0;
    while (i < STEP_COUNT && strcmp(name, steps[i].name) != 0) {
        i++;
    }
    return i;
}

static int take_step(const struct config *config, int argc, char **argv)
{
    char state[PATH_MAX];
    snprintf(state, sizeof state, "%s/apply", config->state);
    const struct invocation call = {
        .config = config, .state = state, .argc = argc - 1, .argv = argv + 1};
    return steps[find_step(argv[0])].run(&call);
}

static const struct cli_command commands[] = {
    {"keys", "print the public lines of this machine, for bento add-host", NULL, NULL},
    {"bootstrap", "FILE: install what bento add-host wrote", NULL, NULL},
    {"secrets", "[SYSTEM]: install the secrets of the system that runs", NULL, NULL},
    {"selfcheck", "ENVELOPE: would this machine believe that release?", NULL, NULL},
    {"verify", "a node's verdict about files (bento-apply verify --help)", NULL, NULL},
    {0},
};

int main(int argc, char **argv)
{
    log_open();
    proc_forbid_dump();
    umask(0077);
    if (sodium_init() < 0) {
        log_err("libsodium does not start");
        return EXIT_FAILURE;
    }
    if (argc > 1 && strcmp(argv[1], "job") == 0) {
        return job_main(
            argc - 1, argv + 1); // before anything else: its arguments are not ours to parse
    }
    if (argc > 1 && strcmp(argv[1], "verify") == 0) {
        return verify_main(argc - 1, argv + 1); // needs no configuration, has options of its own
    }
    const char *path = DEFAULT_CONFIG;
    bool no_systemd = false, force = false;
    const struct cli_option options[] = {
        {'c', "config", "FILE", "the node's configuration (default " DEFAULT_CONFIG ")", &path,
            NULL},
        {0, "no-systemd", NULL, "run jobs as plain child processes, where there is no systemd",
            NULL, &no_systemd},
        {0, "force", NULL, "bootstrap: replace the configuration of another fleet", NULL, &force},
        {0, NULL, NULL, NULL, NULL, NULL},
    };
    const struct cli cli = {.program = "bento-apply",
        .synopsis = "[COMMAND …]",
        .purpose = "Verifies releases, builds, switches, confirms, and goes back if the broker "
                   "cannot be reached: as a service, without a command.",
        .example = "bento-apply keys | ssh admin@desk bento add-host laptop --keys -",
        .options = options,
        .commands = commands};
    int words;
    struct err e;
    const struct cli_command *command;
    argv = cli_parse(&cli, argc, argv, &words);
    bool is_step = words > 0 && find_step(argv[0]) < STEP_COUNT;
    if (words > 0 && !is_step && !cli_find_command(&cli, argv[0], &command, &e)) {
        return cli_fail(cli.program, &e);
    }
    if (words > 0 && strcmp(argv[0], "bootstrap") == 0) {
        return bootstrap_main(path, force, words, argv);
    }
    if (words > 0 && strcmp(argv[0], "selfcheck") == 0) {
        return selfcheck_main(path, words, argv);
    }
    bool keys = words == 1 && strcmp(argv[0], "keys") == 0;
    char self[PATH_MAX], config_path[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    struct config config;
    if (words > 1 && !is_step) {
        err_set(&e, CODE_USAGE, "%s takes no arguments", argv[0]);
        return cli_fail(cli.program, &e);
    }
    if (keys &&
        access(path, F_OK) != 0) { // a new machine shows its keys before it belongs to a fleet
        config_defaults(path, &config);
        return print_keys(&config);
    }
    if (n < 0 || realpath(path, config_path) == NULL) {
        err_set(&e, CODE_CONFIG, "cannot read %s: %m", path);
        return cli_fail("bento-apply", &e);
    }
    self[n] = '\0';
    if (!config_open(config_path, &config, &e)) {
        return cli_fail("bento-apply", &e);
    }
    int status = keys         ? print_keys(&config)
                 : words == 0 ? daemon_main(&config, config_path, self, no_systemd)
                              : take_step(&config, words, argv);
    config_clear(&config);
    return status;
}
