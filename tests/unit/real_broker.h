// A real bento-broker in a folder of its own, for the tests of the admin's programs. BROKER is the
// path of the program, NODES how many nodes the fleet has.
#pragma once

#include "made.h"
#include "proc.h"
#include "remote.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define READY_MS 20000
#define FAR_FUTURE 9000000000

struct child {
    pid_t pid;
    int fd;
};

struct scene {
    char folder[64], admin[96];
    struct made_fleet *made;
    struct child broker, sshd;
    int sshd_port;
    char *path; // PATH before the test put its ssh there
};

static inline struct child start(const char *const *argv, const char *folder, const char *log)
{
    struct err e;
    struct child child;
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, log);
    CLEANUP_FD out = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    struct proc_spec spec = PROC_SPEC;
    spec.argv = argv;
    spec.out = spec.err = out;
    spec.die_with_parent = true;
    must(proc_spawn(&spec, &child.pid, &child.fd, &e), &e);
    return child;
}

static inline void end(struct child *child)
{
    if (child->pid <= 0)
        return;
    kill(child->pid, SIGTERM);
    while (waitpid(child->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    close(child->fd);
    *child = (struct child){0};
}

static inline void write_file(const struct scene *s, const char *name, mode_t mode,
    const char *format, ...) PRINTF_LIKE(4, 5);
static inline void write_file(
    const struct scene *s, const char *name, mode_t mode, const char *format, ...)
{
    char path[128], *text;
    struct err e;
    va_list args;
    va_start(args, format);
    assert_true(vasprintf(&text, format, args) >= 0);
    va_end(args);
    snprintf(path, sizeof path, "%s/%s", s->folder, name);
    must(fs_write(AT_FDCWD, path, bytes_of_text(text), mode, &e), &e);
    free(text);
}

// The broker says READY=1 the way it tells a service manager.
static inline void start_broker(struct scene *s)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s/notify", s->folder);
    CLEANUP_FD notify = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    unlink(address.sun_path);
    assert_int_equal(bind(notify, (const struct sockaddr *)&address, sizeof address), 0);
    setenv("NOTIFY_SOCKET", address.sun_path, 1);
    char config[128];
    snprintf(config, sizeof config, "%s/broker.json", s->folder);
    const char *argv[] = {BROKER, "--config", config, NULL};
    s->broker = start(argv, s->folder, "broker.log");
    unsetenv("NOTIFY_SOCKET");
    struct pollfd fds[] = {
        {.fd = notify, .events = POLLIN}, {.fd = s->broker.fd, .events = POLLIN}};
    assert_true(poll(fds, 2, READY_MS) > 0);
    if (fds[1].revents)
        fail_msg("the broker ended: see %s/broker.log", s->folder);
}

static inline int set_up(void **state)
{
    struct scene *s = xcalloc(1, sizeof *s);
    strcpy(s->folder, "/tmp/test_remote.XXXXXX");
    assert_non_null(mkdtemp(s->folder));
    snprintf(s->admin, sizeof s->admin, "%s/admin.sock", s->folder);
    s->made = make_fleet(NODES);
    char fleet[HASH_HEX_BYTES];
    struct buf line = {0};
    hex_encode(s->made->trust.fleet, 32, fleet);
    public_key_line(&s->made->admin.public, &line);
    write_file(s, "broker.json", 0600,
        "{\"fleet\": \"%s\", \"signers\": [\"%s admin\"], \"state\": \"%s/state\", \"admin\": "
        "\"%s\",\n"
        " \"pub\": \"ipc://%s/pub.sock\", \"rep\": \"ipc://%s/rep.sock\"}\n",
        fleet, buf_text(&line), s->folder, s->admin, s->folder, s->folder);
    buf_clear(&line);
    char path[128];
    snprintf(path, sizeof path, "%s/state", s->folder);
    assert_int_equal(mkdir(path, 0700), 0);
    start_broker(s);
    *state = s;
    return 0;
}

static inline int tear_down(void **state)
{
    struct scene *s = *state;
    struct err e;
    end(&s->sshd);
    end(&s->broker);
    if (s->path)
        setenv("PATH", s->path, 1);
    free(s->path);
    free_fleet(s->made);
    must(fs_remove_tree(AT_FDCWD, s->folder, &e), &e);
    free(s);
    return 0;
}

static inline struct remote *open_remote(const char *where)
{
    struct err e;
    struct remote *remote = NULL;
    must(remote_open(where, &remote, &e), &e);
    return remote;
}

static inline bool publish(
    struct remote *remote, const uint8_t *base, const struct made_release *release, struct err *e)
{
    struct bytes tickets[MADE_NODES_MAX];
    for (size_t i = 0; i < release->count; i++)
        tickets[i] = buf_bytes(&release->ticket[i]);
    return remote_publish(remote, base, buf_bytes(&release->envelope), buf_bytes(&release->roster),
        tickets, release->count, e);
}

static const uint8_t nothing[HASH_BYTES];
