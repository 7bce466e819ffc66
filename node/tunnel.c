#include "tunnel.h"

#include "fs.h"
#include "log.h"
#include "proc.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct tunnel {
    struct loop_watch *child;
    pid_t pid;
    tunnel_ended_fn *ended;
    void *context;
    char pub[160], rep[160];
    uint16_t ports[2]; // that ssh listens on once it is through; 0: not known
};

#define SSH_WORDS_MAX 40
#define END_MS 2000

struct ssh_command {
    const char *argv[SSH_WORDS_MAX + 1];
    char key[PATH_MAX], port[16], hosts[PATH_MAX + 32], to[600], pub[64], rep[64];
};

static void on_child(void *context, int status)
{
    struct tunnel *tunnel = context;
    loop_remove(tunnel->child);
    tunnel->child = NULL;
    tunnel->pid = 0;
    log_warning("tunnel ended status=%d", status);
    tunnel->ended(tunnel->context, status);
}

// A port that is free now. ssh says so and ends if somebody else took it in between; the next try
// takes another.
static bool free_port(uint16_t *port, struct err *e)
{
    CLEANUP_FD fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof at;
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at) != 0 ||
        getsockname(fd, (struct sockaddr *)&at, &len) != 0) {
        return err_set(e, CODE_IO, "no free port on 127.0.0.1: %m");
    }
    *port = ntohs(at.sin_port);
    return true;
}

// The broker's host key, pinned: never trusted on first use.
static bool write_known_hosts(
    const struct config *config, const struct endpoint *endpoint, struct err *e)
{
    char path[PATH_MAX];
    struct buf line CLEANUP(buf_clear) = {0};
    snprintf(path, sizeof path, "%s/node/known_hosts", config->state);
    if (endpoint->port == 22) {
        buf_printf(&line, "%s %s\n", endpoint->host, endpoint->host_key);
    } else {
        buf_printf(
            &line, "[%s]:%" PRIu64 " %s\n", endpoint->host, endpoint->port, endpoint->host_key);
    }
    return fs_write(AT_FDCWD, path, buf_bytes(&line), 0600, e);
}

static void ssh_command(struct ssh_command *c, const struct config *config,
    const struct endpoint *endpoint, uint16_t pub, uint16_t rep)
{
    snprintf(c->key, sizeof c->key, "%s/node/tunnel", config->state);
    snprintf(c->port, sizeof c->port, "%" PRIu64, endpoint->port);
    snprintf(c->hosts, sizeof c->hosts, "UserKnownHostsFile=%s/node/known_hosts", config->state);
    snprintf(c->to, sizeof c->to, "%s@%s", endpoint->user, endpoint->host);
    snprintf(c->pub, sizeof c->pub, "127.0.0.1:%u:127.0.0.1:%" PRIu64, pub, endpoint->pub_port);
    snprintf(c->rep, sizeof c->rep, "127.0.0.1:%u:127.0.0.1:%" PRIu64, rep, endpoint->rep_port);
    const char *argv[] = {"ssh", "-F", "none", "-N", "-T", "-p", c->port, "-i", c->key, "-o",
        c->hosts, "-o", "GlobalKnownHostsFile=none", "-o", "StrictHostKeyChecking=yes", "-o",
        "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "-o", "BatchMode=yes", "-o",
        "ExitOnForwardFailure=yes", "-o", "ServerAliveInterval=0", "-o", "ConnectTimeout=30", "-L",
        c->pub, "-L", c->rep, "--", c->to, NULL};
    _Static_assert(sizeof argv / sizeof argv[0] <= SSH_WORDS_MAX + 1, "room for the words");
    memcpy(c->argv, argv, sizeof argv);
}

static bool spawn(struct tunnel *tunnel, struct loop *loop, const struct config *config,
    const char *const *argv, struct err *e)
{
    char path[PATH_MAX + 8];
    snprintf(path, sizeof path, "PATH=%s", config->child_path);
    const char *environment[] = {path, "HOME=/nonexistent", NULL};
    struct proc_spec spec = PROC_SPEC;
    spec.argv = argv;
    spec.env = environment;
    spec.err = STDERR_FILENO; // its complaints belong into our log
    spec.die_with_parent = true;
    int pidfd;
    if (!proc_spawn(&spec, &tunnel->pid, &pidfd, e)) {
        return false;
    }
    tunnel->child = loop_child(loop, tunnel->pid, pidfd, on_child, tunnel);
    return true;
}

static bool open_ssh(struct tunnel *tunnel, struct loop *loop, const struct config *config,
    const struct endpoint *endpoint, struct err *e)
{
    struct ssh_command command;
    uint16_t pub, rep;
    if (!free_port(&pub, e) || !free_port(&rep, e) || !write_known_hosts(config, endpoint, e)) {
        return false;
    }
    snprintf(tunnel->pub, sizeof tunnel->pub, "tcp://127.0.0.1:%u", pub);
    snprintf(tunnel->rep, sizeof tunnel->rep, "tcp://127.0.0.1:%u", rep);
    tunnel->ports[0] = pub;
    tunnel->ports[1] = rep;
    ssh_command(&command, config, endpoint, pub, rep);
    return spawn(tunnel, loop, config, command.argv, e);
}

static bool start(struct tunnel *tunnel, struct loop *loop, const struct config *config,
    const struct endpoint *endpoint, struct err *e)
{
    switch (endpoint->tunnel) {
    case TUNNEL_SSH:
        return open_ssh(tunnel, loop, config, endpoint, e);
    case TUNNEL_COMMAND:
    case TUNNEL_NONE:
        snprintf(tunnel->pub, sizeof tunnel->pub, "%s", endpoint->pub);
        snprintf(tunnel->rep, sizeof tunnel->rep, "%s", endpoint->rep);
        return endpoint->tunnel == TUNNEL_NONE || spawn(tunnel, loop, config, endpoint->argv, e);
    }
    ASSERT(!"a kind of tunnel");
}

struct tunnel *tunnel_open(struct loop *loop, const struct config *config,
    const struct endpoint *endpoint, tunnel_ended_fn *ended, void *context, struct err *e)
{
    struct tunnel *tunnel = xcalloc(1, sizeof *tunnel);
    tunnel->ended = ended;
    tunnel->context = context;
    if (!start(tunnel, loop, config, endpoint, e)) {
        free(tunnel);
        err_wrap(e, "tunnel");
        return NULL;
    }
    log_info("tunnel started pid=%d pub=%s rep=%s", (int)tunnel->pid, tunnel->pub, tunnel->rep);
    return tunnel;
}

void tunnel_close(struct tunnel *tunnel)
{
    if (tunnel == NULL) {
        return;
    }
    if (tunnel->child != NULL) {
        loop_remove(tunnel->child);
        proc_end(tunnel->pid, END_MS); // at once: the next one may need its ports
    }
    free(tunnel);
}

// Looked up in the kernel's table rather than tried: a connection would reach the broker, and a
// bind() could take the port away from ssh at the wrong moment.
static bool is_listened_on(uint16_t port)
{
    char line[256], listening[64];
    bool found = false;
    FILE *table = fopen("/proc/net/tcp", "re");
    if (table == NULL) {
        return true; // no table: dial, and leave the rest to nng
    }
    snprintf(
        listening, sizeof listening, ": %08X:%04X 00000000:0000 0A ", htonl(INADDR_LOOPBACK), port);
    while (!found && fgets(line, sizeof line, table) != NULL) {
        found = strstr(line, listening) != NULL;
    }
    fclose(table);
    return found;
}

bool tunnel_is_up(const struct tunnel *tunnel)
{
    for (size_t i = 0; i < sizeof tunnel->ports / sizeof tunnel->ports[0]; i++) {
        if (tunnel->ports[i] != 0 && !is_listened_on(tunnel->ports[i])) {
            return false;
        }
    }
    return true;
}

const char *tunnel_pub_url(const struct tunnel *tunnel)
{
    return tunnel->pub;
}

const char *tunnel_rep_url(const struct tunnel *tunnel)
{
    return tunnel->rep;
}
