#include "fs.h"

#include "rt_test.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

static struct err e;

static void read_appends_a_regular_file(void **state)
{
    const struct folder *f = *state;
    struct buf out = {0};
    put_file(f->fd, "a", "hello", 0600);
    put_file(f->fd, "empty", "", 0600);
    buf_append_text(&out, "> ");
    MUST(fs_read(f->fd, "a", 5, &out, &e)); // just as large as allowed
    MUST(fs_read(f->fd, "empty", 0, &out, &e));
    assert_true(is_text(&out, "> hello"));
    buf_clear(&out);
}

static void larger_file_is_refused_and_leaves_the_buffer(void **state)
{
    const struct folder *f = *state;
    struct buf out = {0};
    put_file(f->fd, "a", "hello", 0600);
    buf_append_text(&out, "> ");
    MUST_FAIL(fs_read(f->fd, "a", 4, &out, &e), CODE_LENGTH);
    assert_contains(e.text, f->path);
    MUST_FAIL(fs_read(f->fd, "a", 0, &out, &e), CODE_LENGTH);
    assert_true(is_text(&out, "> "));
    buf_clear(&out);
}

static void file_that_hides_its_size_is_bounded_too(void **state)
{
    (void)state;
    struct buf out = {0};
    MUST(fs_read(AT_FDCWD, "/proc/self/status", 65536, &out, &e)); // st_size is 0
    assert_contains(buf_text(&out), "Pid:");
    MUST_FAIL(fs_read(AT_FDCWD, "/proc/self/status", out.len - 100, &out, &e), CODE_LENGTH);
    buf_clear(&out);
}

static void missing_file_is_none(void **state)
{
    const struct folder *f = *state;
    struct buf out = {0};
    MUST_FAIL(fs_read(f->fd, "nothing", 10, &out, &e), CODE_NONE);
    assert_contains(e.text, "nothing");
}

static void what_is_no_regular_file_is_refused_at_once(void **state)
{
    const struct folder *f = *state;
    struct buf out = {0};
    put_file(f->fd, "target", "x", 0600);
    assert_int_equal(symlinkat("target", f->fd, "link"), 0);
    assert_int_equal(mkfifoat(f->fd, "fifo", 0600), 0); // would block without O_NONBLOCK
    assert_int_equal(mkdirat(f->fd, "dir", 0700), 0);
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    snprintf(to.sun_path, sizeof to.sun_path, "%s/socket", f->path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&to, sizeof to), 0);
    static const char *const names[] = {"link", "fifo", "dir", "socket"};
    for (size_t i = 0; i < 4; i++) {
        MUST_FAIL(fs_read(f->fd, names[i], 10, &out, &e), CODE_IO);
        assert_contains(e.text, names[i]);
    }
    MUST_FAIL(fs_read(AT_FDCWD, "/dev/zero", 10, &out, &e), CODE_IO);
    MUST(fs_read_following(f->fd, "link", 10, &out, &e));
    assert_true(is_text(&out, "x"));
    MUST_FAIL(fs_read_following(f->fd, "fifo", 10, &out, &e), CODE_IO);
    close(fd);
    buf_clear(&out);
}

static mode_t mode_of(int dir, const char *name)
{
    struct stat st;
    assert_int_equal(fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW), 0);
    return st.st_mode & 07777;
}

static void write_replaces_whatever_the_umask(void **state)
{
    const struct folder *f = *state;
    struct buf out = {0};
    static const mode_t masks[] = {0, 022, 0777};
    for (size_t i = 0; i < 3; i++) {
        mode_t before = umask(masks[i]);
        MUST(fs_write(f->fd, "a", bytes_of_text("first"), 0640, &e));
        MUST(fs_write(f->fd, "a", bytes_of_text("second"), 0604, &e));
        umask(before);
        assert_int_equal(mode_of(f->fd, "a"), 0604);
    }
    MUST(fs_read(f->fd, "a", 100, &out, &e));
    assert_true(is_text(&out, "second"));
    assert_int_equal(count_entries(f->fd), 1);
    buf_clear(&out);
}

static void write_replaces_a_symlink_and_not_its_target(void **state)
{
    const struct folder *f = *state;
    struct buf out = {0};
    put_file(f->fd, "target", "precious", 0600);
    assert_int_equal(symlinkat("target", f->fd, "a"), 0);
    MUST(fs_write(f->fd, "a", bytes_of_text("new"), 0600, &e));
    MUST(fs_read(f->fd, "a", 100, &out, &e));
    MUST(fs_read(f->fd, "target", 100, &out, &e));
    assert_true(is_text(&out, "newprecious"));
    buf_clear(&out);
}

static void write_with_folders_in_the_path_and_a_long_name(void **state)
{
    const struct folder *f = *state;
    char path[PATH_MAX], name[NAME_MAX + 1];
    memset(name, 'n', NAME_MAX); // its temporary name must not be too long
    name[NAME_MAX] = '\0';
    MUST(fs_make_dir(f->fd, "sub", 0700, false, &e));
    snprintf(path, sizeof path, "%s/sub/%s", f->path, name);
    MUST(fs_write(AT_FDCWD, path, bytes_of_text("x"), 0600, &e));
    assert_true(fs_exists(AT_FDCWD, path));
    MUST_FAIL(fs_write(f->fd, "missing/a", bytes_of_text("x"), 0600, &e), CODE_IO);
    assert_contains(e.text, "missing/a");
    MUST_FAIL(fs_write(f->fd, "sub/", bytes_of_text("x"), 0600, &e), CODE_IO);
    MUST_FAIL(fs_write(f->fd, "", bytes_of_text("x"), 0600, &e), CODE_IO);
}

static void failed_write_leaves_the_old_file_and_nothing_else(void **state)
{
    const struct folder *f = *state;
    struct buf out = {0};
    MUST(fs_write(f->fd, "a", bytes_of_text("old"), 0600, &e));
    struct rlimit before, small = {.rlim_cur = 1000};
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small.rlim_max = before.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    static const uint8_t large[5000];
    bool ok = fs_write(f->fd, "a", bytes_of(large, sizeof large), 0600, &e);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, SIG_DFL);
    MUST_FAIL(ok, CODE_IO);
    assert_contains(e.text, f->path);
    assert_contains(e.text, strerror(EFBIG));
    MUST(fs_read(f->fd, "a", 100, &out, &e));
    assert_true(is_text(&out, "old"));
    assert_int_equal(count_entries(f->fd), 1);
    // A folder in the way: the rename fails last.
    MUST(fs_make_dir(f->fd, "d", 0700, false, &e));
    MUST_FAIL(fs_write(f->fd, "d", bytes_of_text("x"), 0600, &e), CODE_IO);
    assert_int_equal(count_entries(f->fd), 2);
    buf_clear(&out);
}

// Killed by its own limit, in the middle of a write.
static void be_killed_while_writing(int dir)
{
    static const uint8_t large[5000];
    pid_t pid = fork();
    if (pid == 0) {
        struct rlimit none = {0}, small = {1000, 1000};
        (void)setrlimit(RLIMIT_CORE, &none);
        (void)setrlimit(RLIMIT_FSIZE, &small);
        (void)!fs_write(dir, "a", bytes_of(large, sizeof large), 0600, &e);
        _exit(1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGXFSZ);
}

static void sweep_removes_what_killed_writers_left_and_nothing_else(void **state)
{
    const struct folder *f = *state;
    CLEANUP_FD living = -1;
    MUST(fs_write(f->fd, "a", bytes_of_text("whole"), 0600, &e));
    put_file(f->fd, ".hidden", "x", 0600);
    MUST(fs_lock(f->fd, ".b.tmp-1-00000001", false, &living, &e)); // as a writer holds it
    be_killed_while_writing(f->fd);
    be_killed_while_writing(f->fd);
    assert_int_equal(count_entries(f->fd), 5);
    fs_sweep(f->fd, "a");
    assert_int_equal(count_entries(f->fd), 3);
    assert_true(fs_exists(f->fd, ".b.tmp-1-00000001"));
    assert_true(fs_exists(f->fd, ".hidden"));
    assert_true(fs_exists(f->fd, "a"));
    fs_sweep(f->fd, "missing/a"); // nothing to do
}

static void write_on_full_disk(const char *path)
{
    int dir = open(path, O_RDONLY | O_DIRECTORY);
    struct buf out = {0};
    CHILD_ASSERT(fs_write(dir, "a", bytes_of_text("old"), 0600, &e));
    fill_disk(dir);
    CHILD_ASSERT(!fs_write(dir, "a", bytes_of_text("new"), 0600, &e));
    CHILD_ASSERT(e.code == CODE_IO && strstr(e.text, strerror(ENOSPC)) != NULL);
    CHILD_ASSERT(strstr(e.text, path) != NULL);
    CHILD_ASSERT(fs_read(dir, "a", 100, &out, &e) && is_text(&out, "old"));
    struct names names;
    CHILD_ASSERT(fs_list(dir, &names, &e) && names.count == 2); // and the filler
    names_clear(&names);
    buf_clear(&out);
    close(dir);
}

static void full_disk_is_said_and_the_old_file_stays(void **state)
{
    const struct folder *f = *state;
    on_small_disk(f->path, 64, write_on_full_disk);
}

static void folders_are_made_with_their_parents(void **state)
{
    const struct folder *f = *state;
    mode_t before = umask(0077);
    MUST(fs_make_dir(f->fd, "a/b//c/", 02750, true, &e));
    umask(before);
    assert_int_equal(mode_of(f->fd, "a"), 0755);
    assert_int_equal(mode_of(f->fd, "a/b/c"), 02750);
    MUST(fs_make_dir(f->fd, "a/b/c", 0700, true, &e)); // stays as it is
    assert_int_equal(mode_of(f->fd, "a/b/c"), 02750);
    MUST_FAIL(fs_make_dir(f->fd, "x/y", 0700, false, &e), CODE_IO);
    put_file(f->fd, "file", "", 0600);
    MUST_FAIL(fs_make_dir(f->fd, "file", 0700, false, &e), CODE_IO);
    MUST_FAIL(fs_make_dir(f->fd, "file/below", 0700, true, &e), CODE_IO);
    assert_contains(e.text, "file");
}

static void folder_behind_a_link_opens_only_by_a_callers_path(void **state)
{
    const struct folder *f = *state;
    int dir = -1;
    char path[100];
    MUST(fs_make_dir(f->fd, "d", 0700, false, &e));
    assert_int_equal(symlinkat("d", f->fd, "link"), 0);
    MUST_FAIL(fs_open_dir(f->fd, "link", &dir, &e), CODE_IO);
    assert_int_equal(dir, -1);
    snprintf(path, sizeof path, "%s/link", f->path);
    MUST(fs_open_dir(AT_FDCWD, path, &dir, &e));
    close(dir);
}

static void remove_and_rename(void **state)
{
    const struct folder *f = *state;
    MUST(fs_make_dir(f->fd, "d", 0700, false, &e));
    put_file(f->fd, "a", "1", 0600);
    put_file(f->fd, "d/b", "2", 0600);
    MUST(fs_rename(f->fd, "a", f->fd, "d/b", &e)); // replaces
    assert_false(fs_exists(f->fd, "a"));
    struct buf out = {0};
    MUST(fs_read(f->fd, "d/b", 10, &out, &e));
    assert_true(is_text(&out, "1"));
    MUST(fs_remove(f->fd, "d/b", &e));
    MUST(fs_remove(f->fd, "d/b", &e)); // absent is fine
    assert_false(fs_exists(f->fd, "d/b"));
    MUST_FAIL(fs_rename(f->fd, "a", f->fd, "b", &e), CODE_IO);
    MUST_FAIL(fs_remove(f->fd, "d", &e), CODE_IO);
    buf_clear(&out);
}

static void tree_is_removed_and_links_are_not_followed(void **state)
{
    const struct folder *f = *state;
    MUST(fs_make_dir(f->fd, "outside", 0700, false, &e));
    put_file(f->fd, "outside/precious", "x", 0600);
    MUST(fs_make_dir(f->fd, "t/a/b/c", 0700, true, &e));
    MUST(fs_make_dir(f->fd, "t/a/.removed-0/x", 0700, true, &e)); // a name that removing uses
    MUST(fs_make_dir(f->fd, "t/.removed-0/x", 0700, true, &e));
    put_file(f->fd, "t/.removed-1", "x", 0600);
    put_file(f->fd, "t/a/b/file", "x", 0400);
    assert_int_equal(symlinkat("../../outside", f->fd, "t/a/link"), 0);
    assert_int_equal(symlinkat("../outside", f->fd, "t/link"), 0);
    assert_int_equal(mkfifoat(f->fd, "t/a/b/c/fifo", 0600), 0);
    assert_int_equal(fchmodat(f->fd, "t/a/b", 0500, 0), 0);
    assert_int_equal(fchmodat(f->fd, "t/a", 0500, 0), 0);
    MUST(fs_remove_tree(f->fd, "t", &e));
    assert_false(fs_exists(f->fd, "t"));
    assert_true(fs_exists(f->fd, "outside/precious"));
    // The top itself may be a link or a file.
    assert_int_equal(symlinkat("outside", f->fd, "t"), 0);
    MUST(fs_remove_tree(f->fd, "t", &e));
    assert_true(fs_exists(f->fd, "outside/precious"));
    MUST(fs_remove_tree(f->fd, "outside/precious", &e));
    MUST(fs_remove_tree(f->fd, "t", &e)); // absent is fine
    assert_int_equal(count_entries(f->fd), 1);
}

static void tree_of_any_depth_is_removed_with_few_descriptors(void **state)
{
    const struct folder *f = *state;
    int dir = dup(f->fd);
    for (int depth = 0; depth < 1200; depth++) {
        assert_int_equal(mkdirat(dir, "d", 0700), 0);
        int below = openat(dir, "d", O_RDONLY | O_DIRECTORY);
        assert_true(below >= 0);
        put_file(below, "file", "x", 0600);
        close(dir);
        dir = below;
    }
    close(dir);
    struct rlimit before, few;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    few = (struct rlimit){.rlim_cur = 16, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    bool ok = fs_remove_tree(f->fd, "d", &e);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    MUST(ok);
    assert_int_equal(count_entries(f->fd), 0);
}

static void links_are_read_to_their_end(void **state)
{
    const struct folder *f = *state;
    char target[PATH_MAX], wanted[PATH_MAX], path[PATH_MAX];
    put_file(f->fd, "system-42", "x", 0600);
    assert_int_equal(symlinkat("system-42", f->fd, "system-42-link"), 0);
    assert_int_equal(symlinkat("system-42-link", f->fd, "system"), 0);
    snprintf(wanted, sizeof wanted, "%s/system-42", f->path);
    MUST(fs_readlink(f->fd, "system", target, sizeof target, &e));
    assert_string_equal(target, wanted);
    snprintf(path, sizeof path, "%s/system", f->path);
    MUST(fs_readlink(AT_FDCWD, path, target, sizeof target, &e));
    assert_string_equal(target, wanted);
    // The end need not be there.
    MUST(fs_remove(f->fd, "system-42", &e));
    MUST(fs_readlink(f->fd, "system", target, sizeof target, &e));
    assert_string_equal(target, wanted);
    assert_int_equal(symlinkat("/nix/store/gone", f->fd, "dangling"), 0);
    MUST(fs_readlink(f->fd, "dangling", target, sizeof target, &e));
    assert_string_equal(target, "/nix/store/gone");
    // No link.
    put_file(f->fd, "file", "x", 0600);
    MUST(fs_readlink(f->fd, "file", target, sizeof target, &e));
    assert_string_equal(target, "");
    MUST(fs_readlink(f->fd, "nothing", target, sizeof target, &e));
    assert_string_equal(target, "");
    // Faults.
    assert_int_equal(symlinkat("loop", f->fd, "loop"), 0);
    MUST_FAIL(fs_readlink(f->fd, "loop", target, sizeof target, &e), CODE_IO);
    MUST_FAIL(fs_readlink(f->fd, "dangling", target, strlen("/nix/store/gone"), &e), CODE_IO);
    MUST(fs_readlink(f->fd, "dangling", target, strlen("/nix/store/gone") + 1, &e));
}

static void link_is_replaced_whole(void **state)
{
    struct folder *folder = *state;
    char target[PATH_MAX];
    put_file(folder->fd, ".here.tmp", "left by a crash", 0644);
    MUST(fs_symlink(folder->fd, "here", "/nix/store/one", &e));
    MUST(fs_symlink(folder->fd, "here", "/nix/store/two", &e));
    ssize_t len = readlinkat(folder->fd, "here", target, sizeof target - 1);
    assert_true(len > 0);
    target[len] = '\0';
    assert_string_equal(target, "/nix/store/two");
    assert_int_equal(count_entries(folder->fd), 1);
    assert_int_equal(mkdirat(folder->fd, "taken", 0700), 0);
    MUST_FAIL(fs_symlink(folder->fd, "taken", "/nix/store/two", &e), CODE_IO);
    assert_contains(e.text, "taken");
}

static void names_are_sorted(void **state)
{
    const struct folder *f = *state;
    struct names names;
    MUST(fs_list(f->fd, &names, &e));
    assert_int_equal(names.count, 0);
    names_clear(&names);
    for (int i = 99; i >= 0; i--) {
        char name[8];
        snprintf(name, sizeof name, "%02d", i);
        put_file(f->fd, name, "", 0600);
    }
    put_file(f->fd, ".hidden", "", 0600);
    for (int round = 0; round < 2; round++) { // the second must start from the top again
        MUST(fs_list(f->fd, &names, &e));
        assert_int_equal(names.count, 101);
        assert_string_equal(names.names[0], ".hidden");
        assert_string_equal(names.names[1], "00");
        assert_string_equal(names.names[100], "99");
        names_clear(&names);
    }
}

static void second_lock_is_busy_until_the_first_is_closed(void **state)
{
    const struct folder *f = *state;
    int first = -1, second = -1;
    MUST(fs_lock(f->fd, "lock", false, &first, &e));
    MUST_FAIL(fs_lock(f->fd, "lock", false, &second, &e), CODE_BUSY);
    assert_int_equal(second, -1);
    assert_contains(e.text, "lock");
    close(first);
    MUST(fs_lock(f->fd, "lock", true, &second, &e));
    close(second);
}

static void private_check_names_file_and_remedy(void **state)
{
    const struct folder *f = *state;
    char remedy[200];
    put_file(f->fd, "c", "x", 0644);
    MUST(fs_check_private(f->fd, "c", false, &e));
    MUST_FAIL(fs_check_private(f->fd, "c", true, &e), CODE_CONFIG);
    snprintf(remedy, sizeof remedy, "chmod go= %s/c", f->path);
    assert_contains(e.text, remedy);
    assert_int_equal(fchmodat(f->fd, "c", 0600, 0), 0);
    MUST(fs_check_private(f->fd, "c", true, &e));
    static const mode_t writable[] = {0620, 0602, 0666};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(fchmodat(f->fd, "c", writable[i], 0), 0);
        MUST_FAIL(fs_check_private(f->fd, "c", false, &e), CODE_CONFIG);
        snprintf(remedy, sizeof remedy, "chmod go-w %s/c", f->path);
        assert_contains(e.text, remedy);
    }
    // The final file counts, not the link.
    assert_int_equal(symlinkat("c", f->fd, "link"), 0);
    MUST_FAIL(fs_check_private(f->fd, "link", false, &e), CODE_CONFIG);
    MUST_FAIL(fs_check_private(f->fd, "missing", false, &e), CODE_CONFIG);
    assert_contains(e.text, "missing");
    MUST_FAIL(fs_check_private(AT_FDCWD, f->path, false, &e), CODE_CONFIG);
    if (geteuid() != 0)
        return;
    assert_int_equal(fchmodat(f->fd, "c", 0600, 0), 0);
    assert_int_equal(fchownat(f->fd, "c", 12345, 0, 0), 0);
    MUST_FAIL(fs_check_private(f->fd, "c", false, &e), CODE_CONFIG);
    assert_contains(e.text, "12345");
    assert_contains(e.text, "chown root");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_folder(read_appends_a_regular_file),
        with_folder(larger_file_is_refused_and_leaves_the_buffer),
        with_folder(file_that_hides_its_size_is_bounded_too),
        with_folder(missing_file_is_none),
        with_folder(what_is_no_regular_file_is_refused_at_once),
        with_folder(write_replaces_whatever_the_umask),
        with_folder(write_replaces_a_symlink_and_not_its_target),
        with_folder(write_with_folders_in_the_path_and_a_long_name),
        with_folder(failed_write_leaves_the_old_file_and_nothing_else),
        with_folder(sweep_removes_what_killed_writers_left_and_nothing_else),
        with_folder(full_disk_is_said_and_the_old_file_stays),
        with_folder(folders_are_made_with_their_parents),
        with_folder(folder_behind_a_link_opens_only_by_a_callers_path),
        with_folder(remove_and_rename),
        with_folder(tree_is_removed_and_links_are_not_followed),
        with_folder(tree_of_any_depth_is_removed_with_few_descriptors),
        with_folder(links_are_read_to_their_end),
        with_folder(link_is_replaced_whole),
        with_folder(names_are_sorted),
        with_folder(second_lock_is_busy_until_the_first_is_closed),
        with_folder(private_check_names_file_and_remedy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
