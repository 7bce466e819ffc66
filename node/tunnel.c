#include "tunnel.h"

#include "fs.h"
#include "log.h"
#include "proc.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define END_MS 2000
#define WORDS_MAX 80

enum forward { FORWARD_PUB, FORWARD_REP, FORWARD_CACHE, FORWARDS };

struct child {
    struct tunnel *tunnel;
    struct loop_watch *watch;
    pid_t pid;
    char program[64];
};

struct tunnel {
    struct loop *loop;
    const struct config *config;
    const struct endpoint *endpoint;
    tunnel_ended_fn *ended;
    void *context;
    char pub[160], rep[160];
    uint16_t ports[FORWARDS]; // ours, for it to listen on; 0: none, or not known
    size_t child_count;
    struct child children[FORWARDS];
};

// The words of one child; owned.
struct words {
    size_t count;
    char *argv[WORDS_MAX + 1];
};

static PRINTF_LIKE(2, 3) void put(struct words *words, const char *format, ...)
{
    char text[PATH_MAX + 64];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    ASSERT(words->count < WORDS_MAX);
    words->argv[words->count++] = xstrdup(text);
}

static void words_clear(struct words *words)
{
    while (words->count > 0) {
        free(words->argv[--words->count]);
    }
}

// --- children ---

static void on_child(void *context, int status)
{
    struct child *child = context;
    struct tunnel *tunnel = child->tunnel;
    char why[128];
    loop_remove(child->watch);
    child->watch = NULL;
    child->pid = 0;
    snprintf(why, sizeof why, "%s ended with %d", child->program, status);
    tunnel->ended(tunnel->context, why);
}

// In a session of its own, so that what it started (a ProxyCommand) ends with it.
static bool spawn_argv(struct tunnel *tunnel, const char *const *argv, struct err *e)
{
    char path[PATH_MAX + 8];
    snprintf(path, sizeof path, "PATH=%s", tunnel->config->child_path);
    const char *environment[] = {path, "HOME=/nonexistent", NULL};
    struct child *child = &tunnel->children[tunnel->child_count];
    struct proc_spec spec = PROC_SPEC;
    spec.argv = argv;
    spec.env = environment;
    spec.err = STDERR_FILENO; // its complaints belong into our log
    spec.new_session = true;
    spec.die_with_parent = true;
    int pidfd;
    if (!proc_spawn(&spec, &child->pid, &pidfd, e)) {
        return false;
    }
    child->tunnel = tunnel;
    snprintf(child->program, sizeof child->program, "%s", argv[0]);
    child->watch = loop_child(tunnel->loop, child->pid, pidfd, on_child, child);
    tunnel->child_count++;
    return true;
}

static bool spawn(struct tunnel *tunnel, const struct words *words, struct err *e)
{
    return spawn_argv(tunnel, (const char *const *)words->argv, e);
}

// --- local ports ---

// A port that is free now, or 0 and errno. The child says so and ends if somebody else takes it in
// between; the next try takes another.
static uint16_t try_port(uint16_t wanted)
{
    CLEANUP_FD fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}, .sin_port = htons(wanted)};
    socklen_t len = sizeof at;
    int yes = 1; // connections of the tunnel before may still be closing
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) != 0 ||
        bind(fd, (struct sockaddr *)&at, sizeof at) != 0 ||
        getsockname(fd, (struct sockaddr *)&at, &len) != 0) {
        return 0;
    }
    return ntohs(at.sin_port);
}

static bool take_ports(struct tunnel *tunnel, bool cache, struct err *e)
{
    for (enum forward i = FORWARD_PUB; i <= FORWARD_REP; i++) {
        tunnel->ports[i] = try_port(0);
        if (tunnel->ports[i] == 0) {
            return err_set(e, CODE_IO, "no free port on 127.0.0.1: %m");
        }
    }
    snprintf(tunnel->pub, sizeof tunnel->pub, "tcp://127.0.0.1:%u", tunnel->ports[FORWARD_PUB]);
    snprintf(tunnel->rep, sizeof tunnel->rep, "tcp://127.0.0.1:%u", tunnel->ports[FORWARD_REP]);
    if (cache) {
        // Anybody on this machine may have taken it: that must not cost us the broker.
        tunnel->ports[FORWARD_CACHE] = try_port((uint16_t)tunnel->config->cache_port);
        if (tunnel->ports[FORWARD_CACHE] == 0) {
            log_warning("tunnel without the binary cache port=%" PRIu64 " error=\"%m\"",
                tunnel->config->cache_port);
        }
    }
    return true;
}

static uint64_t far_port(const struct endpoint *endpoint, enum forward forward)
{
    const uint64_t ports[FORWARDS] = {endpoint->pub_port, endpoint->rep_port, endpoint->cache_port};
    return ports[forward];
}

// --- ssh ---

// The name that the broker's host key is looked up under, whatever the ssh_config makes of the host's.
#define HOST_KEY_ALIAS "bento-broker"

// The broker's host key, pinned: never trusted on first use.
static bool write_known_hosts(const struct tunnel *tunnel, struct err *e)
{
    char path[PATH_MAX];
    struct buf line CLEANUP(buf_clear) = {0};
    snprintf(path, sizeof path, "%s/node/known_hosts", tunnel->config->state);
    buf_printf(&line, HOST_KEY_ALIAS " %s\n", tunnel->endpoint->host_key);
    fs_sweep(AT_FDCWD, path);
    return fs_write(AT_FDCWD, path, buf_bytes(&line), 0600, e);
}

// Whatever of an ssh_config could take the ground from under us. The first mention of an option wins.
static const char *const pinned[] = {"GlobalKnownHostsFile=none", "KnownHostsCommand=none",
    "StrictHostKeyChecking=yes", "VerifyHostKeyDNS=no", "UpdateHostKeys=no", "IdentitiesOnly=yes",
    "IdentityAgent=none", "BatchMode=yes", "ControlMaster=no", "ControlPath=none",
    "ForkAfterAuthentication=no", "ClearAllForwardings=no", "ExitOnForwardFailure=yes",
    "PermitLocalCommand=no", "ForwardAgent=no", "ForwardX11=no", "Tunnel=no", "LogLevel=INFO",
    "ServerAliveInterval=0", "ConnectTimeout=30"};

static void ssh_words(const struct tunnel *tunnel, struct words *words)
{
    const struct endpoint *endpoint = tunnel->endpoint;
    const char *state = tunnel->config->state;
    put(words, "ssh");
    put(words, "-F");
    put(words, "%s", endpoint->ssh_config != NULL ? endpoint->ssh_config : "none");
    put(words, "-N");
    put(words, "-T");
    put(words, "-p");
    put(words, "%" PRIu64, endpoint->port);
    put(words, "-i");
    put(words, "%s/node/tunnel", state);
    put(words, "-o");
    put(words, "UserKnownHostsFile=%s/node/known_hosts", state);
    put(words, "-o");
    put(words, "HostKeyAlias=" HOST_KEY_ALIAS);
    for (size_t i = 0; i < sizeof pinned / sizeof pinned[0]; i++) {
        put(words, "-o");
        put(words, "%s", pinned[i]);
    }
    for (enum forward i = FORWARD_PUB; i < FORWARDS; i++) {
        if (tunnel->ports[i] != 0) {
            put(words, "-L");
            put(words, "127.0.0.1:%u:127.0.0.1:%" PRIu64, tunnel->ports[i], far_port(endpoint, i));
        }
    }
    put(words, "--");
    put(words, "%s@%s", endpoint->user, endpoint->host);
}

static bool start_ssh(struct tunnel *tunnel, struct err *e)
{
    const char *file = tunnel->endpoint->ssh_config;
    struct words words CLEANUP(words_clear) = {0};
    if ((file != NULL && !fs_check_private(AT_FDCWD, file, false, e)) ||
        !take_ports(tunnel, tunnel->endpoint->cache_port != 0, e) ||
        !write_known_hosts(tunnel, e)) {
        return false;
    }
    ssh_words(tunnel, &words);
    return spawn(tunnel, &words, e);
}

// --- tor ---

// More connections than bento-node has at a time: those that wait for Tor stay for a while.
#define SOCAT_CONNECTIONS "max-children=64"

static bool start_tor(struct tunnel *tunnel, struct err *e)
{
    const struct endpoint *endpoint = tunnel->endpoint;
    uint32_t user = randombytes_random();
    if (!take_ports(tunnel, endpoint->cache_port != 0, e)) {
        return false;
    }
    for (enum forward i = FORWARD_PUB; i < FORWARDS; i++) {
        struct words words CLEANUP(words_clear) = {0};
        if (tunnel->ports[i] == 0) {
            continue;
        }
        put(&words, "socat");
        put(&words, "TCP-LISTEN:%u,bind=127.0.0.1,reuseaddr,fork," SOCAT_CONNECTIONS,
            tunnel->ports[i]);
        put(&words,
            "SOCKS4A:127.0.0.1:%s:%" PRIu64 ",socksport=%" PRIu64 ",socksuser=bento-%08" PRIx32,
            endpoint->host, far_port(endpoint, i), endpoint->port, user);
        if (!spawn(tunnel, &words, e)) {
            return false;
        }
    }
    return true;
}

// --- command ---

// A word with the ports in the places of {pub}, {rep} and {cache}.
static void put_filled(const struct tunnel *tunnel, struct words *words, const char *word)
{
    static const char *const names[FORWARDS] = {"{pub}", "{rep}", "{cache}"};
    const uint64_t ports[FORWARDS] = {
        tunnel->ports[FORWARD_PUB], tunnel->ports[FORWARD_REP], tunnel->config->cache_port};
    struct buf filled CLEANUP(buf_clear) = {0};
    while (*word != '\0') {
        enum forward i = FORWARD_PUB;
        while (i < FORWARDS && strncmp(word, names[i], strlen(names[i])) != 0) {
            i++;
        }
        if (i == FORWARDS) {
            buf_append(&filled, word++, 1);
        } else {
            buf_printf(&filled, "%" PRIu64, ports[i]);
            word += strlen(names[i]);
        }
    }
    put(words, "%s", buf_text(&filled));
}

static bool start_command(struct tunnel *tunnel, struct err *e)
{
    const struct endpoint *endpoint = tunnel->endpoint;
    struct words words CLEANUP(words_clear) = {0};
    if (endpoint->pub != NULL) {
        return spawn_argv(tunnel, endpoint->argv, e);
    }
    if (!take_ports(tunnel, false, e)) {
        return false;
    }
    for (size_t i = 0; endpoint->argv[i] != NULL; i++) {
        put_filled(tunnel, &words, endpoint->argv[i]);
    }
    return spawn(tunnel, &words, e);
}

// --- all kinds ---

static bool start(struct tunnel *tunnel, struct err *e)
{
    const struct endpoint *endpoint = tunnel->endpoint;
    if (endpoint->pub != NULL) {
        snprintf(tunnel->pub, sizeof tunnel->pub, "%s", endpoint->pub);
        snprintf(tunnel->rep, sizeof tunnel->rep, "%s", endpoint->rep);
    }
    switch (endpoint->tunnel) {
    case TUNNEL_SSH:
        return start_ssh(tunnel, e);
    case TUNNEL_TOR:
        return start_tor(tunnel, e);
    case TUNNEL_COMMAND:
        return start_command(tunnel, e);
    case TUNNEL_NONE:
        return true;
    }
    ASSERT(!"a kind of tunnel");
}

struct tunnel *tunnel_open(struct loop *loop, const struct config *config,
    const struct endpoint *endpoint, tunnel_ended_fn *ended, void *context, struct err *e)
{
    struct tunnel *tunnel = xcalloc(1, sizeof *tunnel);
    *tunnel = (struct tunnel){
        .loop = loop, .config = config, .endpoint = endpoint, .ended = ended, .context = context};
    if (!start(tunnel, e)) {
        tunnel_close(tunnel);
        err_wrap(e, "tunnel");
        return NULL;
    }
    char name[ENDPOINT_NAME_BYTES];
    endpoint_name(endpoint, name);
    log_info("tunnel started endpoint=\"%s\" pub=%s rep=%s", name, tunnel->pub, tunnel->rep);
    return tunnel;
}

void tunnel_close(struct tunnel *tunnel)
{
    if (tunnel == NULL) {
        return;
    }
    for (size_t i = 0; i < tunnel->child_count; i++) {
        struct child *child = &tunnel->children[i];
        if (child->watch != NULL) {
            loop_remove(child->watch);
            kill(-child->pid, SIGTERM);
            proc_end(child->pid, END_MS); // at once: the next one may need its ports
        }
    }
    free(tunnel);
}

// Looked up in the kernel's table rather than tried: a connection would reach the broker, and a
// bind() could take the port away from the child at the wrong moment.
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
    for (enum forward i = FORWARD_PUB; i < FORWARDS; i++) {
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
