#include "proc.h"

#include "rt_test.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>

static struct err e;

#define ARGV(...) ((const char *const[]){__VA_ARGS__, NULL})
#define SHELL(script) ARGV("/bin/sh", "-c", script)

static bool run(const char *const *argv, struct proc_result *result)
{
    return proc_run(argv, NULL, NULL, bytes_of(NULL, 0), 65536, 10000, false, result, &e);
}

static void output_and_status_come_back(void **state)
{
    (void)state;
    struct proc_result r;
    MUST(run(SHELL("echo out; echo err >&2; exit 3"), &r));
    assert_true(is_text(&r.out, "out\n"));
    assert_true(is_text(&r.err, "err\n"));
    assert_int_equal(r.status, 3);
    assert_false(r.timed_out);
    proc_result_clear(&r);
    MUST(run(SHELL("kill -KILL $$"), &r));
    assert_int_equal(r.status, 128 + SIGKILL);
    proc_result_clear(&r);
}

static void missing_program_is_an_error_that_names_it(void **state)
{
    (void)state;
    struct proc_result r;
    MUST_FAIL(run(ARGV("no-such-program-at-all"), &r), CODE_IO);
    assert_contains(e.text, "no-such-program-at-all");
    proc_result_clear(&r);
    MUST_FAIL(run(ARGV("/no/such/program"), &r), CODE_IO);
    assert_contains(e.text, "/no/such/program");
    assert_contains(e.text, strerror(ENOENT));
    MUST_FAIL(run(ARGV("/etc/passwd"), &r), CODE_IO);
    assert_contains(e.text, strerror(EACCES));
    // Nobody is left to be reaped.
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
}

static void missing_folder_is_an_error_that_names_it(void **state)
{
    (void)state;
    struct proc_result r;
    MUST_FAIL(proc_run(ARGV("true"), NULL, "/no/such/folder", bytes_of(NULL, 0), 100, 10000, false,
                  &r, &e),
        CODE_IO);
    assert_contains(e.text, "/no/such/folder");
}

static void arguments_are_not_a_shells(void **state)
{
    (void)state;
    struct proc_result r;
    MUST(run(ARGV("printf", "%s|", "a b", "$HOME", "`id`", "", "*"), &r));
    assert_true(is_text(&r.out, "a b|$HOME|`id`||*|"));
    proc_result_clear(&r);
}

static void environment_and_folder_are_those_given(void **state)
{
    const struct folder *f = *state;
    struct proc_result r;
    const char *const env[] = {"PATH=/usr/bin:/bin", "ONLY=this", NULL};
    MUST(proc_run(ARGV("env"), env, NULL, bytes_of(NULL, 0), 1000, 10000, false, &r, &e));
    assert_true(is_text(&r.out, "PATH=/usr/bin:/bin\nONLY=this\n"));
    proc_result_clear(&r);
    MUST(proc_run(SHELL("pwd -P"), env, f->path, bytes_of(NULL, 0), 1000, 10000, false, &r, &e));
    assert_contains(buf_text(&r.out), f->path);
    proc_result_clear(&r);
    // The PATH of that environment decides, and nothing relative in it.
    char path[100];
    snprintf(path, sizeof path, "PATH=:.:%s", f->path);
    const char *const own[] = {path, NULL};
    MUST_FAIL(
        proc_run(ARGV("own"), own, NULL, bytes_of(NULL, 0), 1000, 10000, false, &r, &e), CODE_IO);
    put_file(f->fd, "own", "#!/bin/sh\necho mine\n", 0700);
    MUST(proc_run(ARGV("own"), own, NULL, bytes_of(NULL, 0), 1000, 10000, false, &r, &e));
    assert_true(is_text(&r.out, "mine\n"));
    proc_result_clear(&r);
}

static void input_of_a_megabyte_is_fed(void **state)
{
    (void)state;
    struct proc_result r;
    size_t len = 1 << 20;
    uint8_t *input = malloc(len);
    for (size_t i = 0; i < len; i++)
        input[i] = (uint8_t)(i * 7 + i / 251);
    MUST(proc_run(ARGV("cat"), NULL, NULL, bytes_of(input, len), len, 10000, false, &r, &e));
    assert_true(bytes_equal(buf_bytes(&r.out), bytes_of(input, len)));
    proc_result_clear(&r);
    // And nothing breaks if it is not read.
    MUST(proc_run(ARGV("true"), NULL, NULL, bytes_of(input, len), len, 10000, false, &r, &e));
    assert_int_equal(r.status, 0);
    proc_result_clear(&r);
    free(input);
}

static void output_past_the_limit_is_dropped_and_the_child_ends(void **state)
{
    (void)state;
    struct proc_result r;
    MUST(proc_run(SHELL("head -c 1000000 /dev/zero; head -c 300000 /dev/zero >&2; exit 7"), NULL,
        NULL, bytes_of(NULL, 0), 1000, 10000, false, &r, &e));
    assert_int_equal(r.out.len, 1000);
    assert_int_equal(r.err.len, 1000);
    assert_int_equal(r.status, 7);
    proc_result_clear(&r);
}

static void deadline_kills_the_whole_group(void **state)
{
    (void)state;
    struct proc_result r;
    MUST_FAIL(proc_run(SHELL("sleep 100 & echo $!; wait"), NULL, NULL, bytes_of(NULL, 0), 1000, 300,
                  false, &r, &e),
        CODE_TIMEOUT);
    assert_true(r.timed_out);
    assert_contains(e.text, "/bin/sh");
    pid_t grandchild = atoi(buf_text(&r.out)); // what came before the deadline is there
    assert_true(grandchild > 1);
    int pidfd = (int)syscall(SYS_pidfd_open, grandchild, 0);
    if (pidfd >= 0) // else it is reaped already
        assert_true(becomes_ready(pidfd));
    else
        assert_int_equal(errno, ESRCH);
    close(pidfd);
    proc_result_clear(&r);
}

static void grandchild_that_keeps_the_pipes_is_not_waited_for(void **state)
{
    (void)state;
    struct proc_result r;
    MUST(run(SHELL("sleep 100 & echo $!"), &r));
    pid_t grandchild = atoi(buf_text(&r.out));
    assert_int_equal(kill(grandchild, SIGKILL), 0);
    proc_result_clear(&r);
}

static void child_starts_with_clean_signals_and_descriptors(void **state)
{
    (void)state;
    struct proc_result r;
    sigset_t some, before;
    sigemptyset(&some);
    sigaddset(&some, SIGTERM);
    sigaddset(&some, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &some, &before);
    signal(SIGPIPE, SIG_IGN);
    int careless = open("/dev/null", O_RDONLY); // without O_CLOEXEC
    assert_true(fcntl(careless, F_DUPFD, 200) == 200);
    MUST(run(SHELL("cat /proc/self/status; ls /proc/self/fd"), &r));
    close(200);
    close(careless);
    signal(SIGPIPE, SIG_DFL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    const char *text = buf_text(&r.out);
    assert_contains(text, "SigBlk:\t0000000000000000\n");
    assert_contains(text, "SigIgn:\t0000000000000000\n");
    assert_null(strstr(text, "\n200\n"));
    proc_result_clear(&r);
}

static void streams_may_be_crossed_or_closed(void **state)
{
    const struct folder *f = *state;
    struct buf got = {0};
    put_file(f->fd, "log", "", 0600);
    int log = openat(f->fd, "log", O_RDWR | O_APPEND | O_CLOEXEC);
    struct proc_spec spec = PROC_SPEC;
    pid_t pid;
    int pidfd, status;
    spec.argv = SHELL("cat; echo to-out; echo to-err >&2"); // its stdin is /dev/null
    spec.out = spec.err = log;
    MUST(proc_spawn(&spec, &pid, &pidfd, &e));
    assert_true(becomes_ready(pidfd));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(proc_status(status), 0);
    close(pidfd);
    close(log);
    MUST(fs_read(f->fd, "log", 100, &got, &e));
    assert_true(is_text(&got, "to-out\nto-err\n"));
    buf_clear(&got);
}

static void new_session_is_its_own_group(void **state)
{
    (void)state;
    struct proc_spec spec = PROC_SPEC;
    pid_t pid;
    int pidfd, status;
    spec.argv = ARGV("sleep", "100");
    spec.new_session = true;
    MUST(proc_spawn(&spec, &pid, &pidfd, &e));
    assert_int_equal(getsid(pid), pid);
    assert_int_equal(kill(-pid, SIGTERM), 0);
    assert_true(becomes_ready(pidfd));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(proc_status(status), 128 + SIGTERM);
    close(pidfd);
}

static void child_dies_with_its_parent_if_told_so(void **state)
{
    (void)state;
    int told[2], go[2];
    assert_int_equal(pipe2(told, O_CLOEXEC), 0);
    assert_int_equal(pipe2(go, O_CLOEXEC), 0);
    pid_t middle = fork();
    if (middle == 0) {
        struct proc_spec spec = PROC_SPEC;
        pid_t pid = -1;
        int pidfd;
        spec.argv = ARGV("sleep", "100");
        spec.die_with_parent = true;
        char c;
        bool ok = proc_spawn(&spec, &pid, &pidfd, &e) && write(told[1], &pid, sizeof pid) > 0 &&
                  read(go[0], &c, 1) == 1;
        _exit(ok ? 0 : 1);
    }
    pid_t pid = -1;
    assert_int_equal(read(told[0], &pid, sizeof pid), sizeof pid);
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    assert_true(pidfd >= 0);
    struct pollfd polled = {.fd = pidfd, .events = POLLIN};
    assert_int_equal(poll(&polled, 1, 0), 0); // alive as long as its parent is
    assert_int_equal(write(go[1], "x", 1), 1);
    assert_true(becomes_ready(pidfd));
    assert_int_equal(waitpid(middle, NULL, 0), middle);
    close(pidfd);
    for (int i = 0; i < 2; i++) {
        close(told[i]);
        close(go[i]);
    }
}

static void ignored_sigchld_loses_no_status(void **state)
{
    (void)state;
    struct proc_result r;
    signal(SIGCHLD, SIG_IGN); // as some parents leave it to us
    MUST(run(SHELL("exit 5"), &r));
    assert_int_equal(r.status, 5);
    proc_result_clear(&r);
}

static void child_that_somebody_else_reaped_is_no_success(void **state)
{
    (void)state;
    pid_t pid = fork();
    if (pid == 0) {
        _exit(0);
    }
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_int_equal(proc_wait(pid), PROC_UNKNOWN);
}

static void no_descriptor_is_left_behind(void **state)
{
    (void)state;
    struct proc_result r;
    int before = dup(0);
    close(before);
    MUST(run(SHELL("true"), &r));
    proc_result_clear(&r);
    MUST_FAIL(run(ARGV("/no/such/program"), &r), CODE_IO);
    MUST_FAIL(run(ARGV("no-such-program"), &r), CODE_IO);
    int after = dup(0);
    close(after);
    assert_int_equal(before, after);
}

static void aborted(bool forbid, int *status)
{
    char folder[] = "/tmp/test_proc.XXXXXX", command[64];
    assert_non_null(mkdtemp(folder));
    pid_t pid = fork();
    if (pid == 0) {
        struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};
        signal(SIGABRT, SIG_DFL);
        if (setrlimit(RLIMIT_CORE, &limit) != 0 || chdir(folder) != 0)
            _exit(1);
        if (forbid)
            proc_forbid_dump();
        kill(getpid(), SIGABRT);
        _exit(1);
    }
    assert_int_equal(waitpid(pid, status, 0), pid);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    assert_int_equal(system(command), 0);
    assert_true(WIFSIGNALED(*status));
}

static void forbidden_dump_leaves_no_core(void **state)
{
    (void)state;
    int status;
    aborted(true, &status);
    assert_false(WCOREDUMP(status));
    aborted(false, &status);
    if (!WCOREDUMP(status))
        print_message("this machine dumps no cores at all\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(output_and_status_come_back),
        cmocka_unit_test(missing_program_is_an_error_that_names_it),
        cmocka_unit_test(missing_folder_is_an_error_that_names_it),
        cmocka_unit_test(arguments_are_not_a_shells),
        with_folder(environment_and_folder_are_those_given),
        cmocka_unit_test(input_of_a_megabyte_is_fed),
        cmocka_unit_test(output_past_the_limit_is_dropped_and_the_child_ends),
        cmocka_unit_test(deadline_kills_the_whole_group),
        cmocka_unit_test(grandchild_that_keeps_the_pipes_is_not_waited_for),
        cmocka_unit_test(child_starts_with_clean_signals_and_descriptors),
        with_folder(streams_may_be_crossed_or_closed),
        cmocka_unit_test(new_session_is_its_own_group),
        cmocka_unit_test(child_dies_with_its_parent_if_told_so),
        cmocka_unit_test(ignored_sigchld_loses_no_status),
        cmocka_unit_test(child_that_somebody_else_reaped_is_no_success),
        cmocka_unit_test(no_descriptor_is_left_behind),
        cmocka_unit_test(forbidden_dump_leaves_no_core),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
