// What the tests of the runtime share: a folder of their own, sentences in failures, waiting with a
// deadline.
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MUST(call) must(call, &e, #call, __FILE__, __LINE__)
#define MUST_FAIL(call, wanted) must_fail(call, wanted, &e, #call, __FILE__, __LINE__)

static inline void must(bool ok, const struct err *e, const char *call, const char *file, int line)
{
    if (!ok) {
        print_error("%s: %s %s\n", call, code_name(e->code), e->text);
        _fail(file, line);
    }
}

static inline void must_fail(
    bool ok, enum code wanted, const struct err *e, const char *call, const char *file, int line)
{
    if (ok || e->code != wanted) {
        print_error("%s: %s %s, wanted %s\n", call, ok ? "succeeded" : code_name(e->code),
            ok ? "" : e->text, code_name(wanted));
        _fail(file, line);
    }
}

#define assert_contains(text, part) contains(text, part, __FILE__, __LINE__)

static inline void contains(const char *text, const char *part, const char *file, int line)
{
    if (strstr(text, part) == NULL) {
        print_error("\"%s\" does not contain \"%s\"\n", text, part);
        _fail(file, line);
    }
}

static inline bool is_text(const struct buf *b, const char *text)
{
    return b->len == strlen(text) && memcmp(b->at, text, b->len) == 0;
}

// A fresh folder as *state (struct folder *), gone after the test.
struct folder {
    char path[64];
    int fd;
};

static inline int folder_setup(void **state)
{
    struct folder *folder = calloc(1, sizeof *folder);
    strcpy(folder->path, "/tmp/bento-test-XXXXXX");
    if (folder == NULL || mkdtemp(folder->path) == NULL)
        return -1;
    folder->fd = open(folder->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    *state = folder;
    return folder->fd < 0 ? -1 : 0;
}

static inline int folder_teardown(void **state)
{
    struct folder *folder = *state;
    struct err e;
    close(folder->fd);
    bool ok = fs_remove_tree(AT_FDCWD, folder->path, &e);
    if (!ok)
        print_error("%s\n", e.text);
    free(folder);
    return ok ? 0 : -1;
}

#define with_folder(test) cmocka_unit_test_setup_teardown(test, folder_setup, folder_teardown)

static inline void put_file(int dir, const char *name, const char *content, mode_t mode)
{
    int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, content, strlen(content)), strlen(content));
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

static inline size_t count_entries(int dir)
{
    struct err e;
    struct names names;
    MUST(fs_list(dir, &names, &e));
    size_t count = names.count;
    names_clear(&names);
    return count;
}

static inline bool write_map(const char *path, const char *line)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool written = fd >= 0 && write(fd, line, strlen(line)) == (ssize_t)strlen(line);
    if (fd >= 0)
        close(fd);
    return written;
}

// Mounts of our own, and whatever else of `more`: as root, else in a user namespace where we are who we were.
static inline bool own_mounts(int more)
{
    char uid[64], gid[64];
    snprintf(uid, sizeof uid, "%u %u 1", (unsigned)geteuid(), (unsigned)geteuid());
    snprintf(gid, sizeof gid, "%u %u 1", (unsigned)getegid(), (unsigned)getegid());
    bool own = unshare(CLONE_NEWNS | more) == 0 ||
               (unshare(CLONE_NEWUSER | CLONE_NEWNS | more) == 0 &&
                   write_map("/proc/self/setgroups", "deny") &&
                   write_map("/proc/self/uid_map", uid) && write_map("/proc/self/gid_map", gid));
    return own && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

// Runs fn in a child whose mounts are its own, with a tmpfs of `kilobytes` on `path`. Skips where
// that is not allowed.
static inline void on_small_disk(const char *path, unsigned kilobytes, void (*fn)(const char *path))
{
    enum { DONE = 0, FAILED = 1, NOT_ALLOWED = 77 };
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        char size[32];
        snprintf(size, sizeof size, "size=%uk", kilobytes);
        bool allowed = own_mounts(0) && mount("tmpfs", path, "tmpfs", 0, size) == 0;
        if (!allowed) {
            print_message("no small disk here: mount: %s\n", strerror(errno));
            _exit(NOT_ALLOWED);
        }
        fn(path);
        exit(DONE);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == NOT_ALLOWED)
        skip();
    assert_int_equal(status, 0);
}

// In the child of on_small_disk() cmocka cannot report.
#define CHILD_ASSERT(condition)                                                                    \
    ((condition)                                                                                   \
            ? (void)0                                                                              \
            : (void)(fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition), _exit(1)))

static inline void fill_disk(int dir)
{
    int fd = openat(dir, "filler", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    char block[4096] = {0};
    CHILD_ASSERT(fd >= 0);
    while (write(fd, block, sizeof block) > 0)
        ;
    CHILD_ASSERT(errno == ENOSPC);
    close(fd);
}

// True once the descriptor is readable; false after five seconds.
static inline bool becomes_ready(int fd)
{
    struct pollfd polled = {.fd = fd, .events = POLLIN};
    return poll(&polled, 1, 5000) == 1;
}

// Runs fn in a child, returns its exit status (128 + signal), and what it printed.
static inline int run_apart(void (*fn)(void *), void *context, struct buf *out, struct buf *err)
{
    int out_pipe[2], err_pipe[2];
    assert_int_equal(pipe2(out_pipe, O_CLOEXEC), 0);
    assert_int_equal(pipe2(err_pipe, O_CLOEXEC), 0);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(out_pipe[1], STDOUT_FILENO);
        dup2(err_pipe[1], STDERR_FILENO);
        fn(context);
        exit(0);
    }
    close(out_pipe[1]);
    close(err_pipe[1]);
    // Less than a pipe holds, so one after the other will do.
    struct buf *into[2] = {out, err};
    int from[2] = {out_pipe[0], err_pipe[0]};
    for (int i = 0; i < 2; i++) {
        char block[4096];
        ssize_t got;
        while ((got = read(from[i], block, sizeof block)) > 0)
            buf_append(into[i], block, (size_t)got);
        close(from[i]);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
