#include "web.h"

#include "fs.h"
#include "log.h"

#include <errno.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define PAUSE_MS 1000 // after a connection that could not be accepted
#define BACKLOG 32
#define SEND_BYTES (16 << 10) // what the kernel holds for a client that does not read

// --- requests ---

// Ends the line at *at and moves on to the next; NULL if there is none or it holds what is no text.
static char *next_line(char **at, const char *end)
{
    char *line = *at;
    for (char *c = line; c < end; c++) {
        if (*c == '\r' && c + 1 < end && c[1] == '\n') {
            *c = '\0';
            *at = c + 2;
            return line;
        }
        if (((unsigned char)*c < 0x20 && *c != '\t') || *c == 0x7f) {
            return NULL;
        }
    }
    return NULL;
}

static bool parse_first(char *line, struct web_request *request)
{
    char *path = strchr(line, ' ');
    char *version = path != NULL ? strchr(path + 1, ' ') : NULL;
    if (version == NULL) {
        return false;
    }
    *path++ = '\0';
    *version++ = '\0';
    request->method = line;
    request->path = path;
    for (const char *c = path; *c != '\0'; c++) {
        if (*c < 0x21 || *c > 0x7e) {
            return false;
        }
    }
    return line[0] != '\0' && line[strspn(line, "ABCDEFGHIJKLMNOPQRSTUVWXYZ")] == '\0' &&
           path[0] == '/' && (strcmp(version, "HTTP/1.1") == 0 || strcmp(version, "HTTP/1.0") == 0);
}

static char *trim(char *value)
{
    value += strspn(value, " \t");
    size_t len = strlen(value);
    while (len > 0 && (value[len - 1] == ' ' || value[len - 1] == '\t')) {
        len--;
    }
    value[len] = '\0';
    return value;
}

static bool parse_field(char *line, struct web_request *request)
{
    const struct {
        const char *name;
        const char **value;
    } known[] = {{"Host", &request->host}, {"Origin", &request->origin},
        {"Sec-Fetch-Site", &request->fetch_site}};
    char *colon = strchr(line, ':');
    if (colon == NULL || colon == line || strcspn(line, " \t") < (size_t)(colon - line)) {
        return false;
    }
    *colon = '\0';
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strcasecmp(line, known[i].name) == 0) {
            if (*known[i].value != NULL) {
                return false;
            }
            *known[i].value = trim(colon + 1);
        }
    }
    return true;
}

bool web_parse(char *head, size_t len, struct web_request *request)
{
    char *at = head, *line = next_line(&at, head + len);
    *request = (struct web_request){0};
    if (line == NULL || !parse_first(line, request)) {
        return false;
    }
    while ((line = next_line(&at, head + len)) != NULL) {
        if (line[0] == '\0') {
            return at == head + len;
        }
        if (!parse_field(line, request)) {
            return false;
        }
    }
    return false;
}

// --- connections ---

struct connection {
    struct connection *next; // newer
    struct web *web;
    int fd;
    struct loop_watch *ready, *deadline;
    enum { READING, WRITING, DRAINING } phase;
    struct buf head, answer;
    size_t looked_at; // bytes of the head that hold no empty line
    size_t sent;
};

struct web {
    struct loop *loop;
    web_fn *fn;
    void *context;
    struct listener {
        int fd;
        struct loop_watch *ready;
    } listeners[2];
    struct loop_watch *pause;
    struct connection *oldest;
    unsigned count;
};

static void connection_end(struct connection *connection)
{
    struct connection **at = &connection->web->oldest;
    while (*at != connection) {
        at = &(*at)->next;
    }
    *at = connection->next;
    connection->web->count--;
    loop_remove(connection->ready);
    loop_remove(connection->deadline);
    close(connection->fd);
    buf_clear(&connection->head);
    buf_clear(&connection->answer);
    free(connection);
}

static void on_deadline(void *context)
{
    connection_end(context);
}

static const char *reason(unsigned status)
{
    switch (status) {
    case 200:
        return "OK";
    case 303:
        return "See Other";
    case 400:
        return "Bad Request";
    case 403:
        return "Forbidden";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 431:
        return "Request Header Fields Too Large";
    default:
        return "Error";
    }
}

// same-origin, not no-referrer: with that one, browsers say `Origin: null` when our own form is
// sent.
#define FIELDS                                                                                     \
    "Connection: close\r\n"                                                                        \
    "Cache-Control: no-store\r\n"                                                                  \
    "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; " \
    "frame-ancestors 'none'; base-uri 'none'\r\n"                                                  \
    "X-Frame-Options: DENY\r\n"                                                                    \
    "X-Content-Type-Options: nosniff\r\n"                                                          \
    "Cross-Origin-Resource-Policy: same-origin\r\n"                                                \
    "Referrer-Policy: same-origin\r\n"

static void answer_put(struct buf *out, const struct web_answer *answer, bool with_body)
{
    buf_printf(out, "HTTP/1.1 %u %s\r\n" FIELDS "Content-Type: %s\r\nContent-Length: %zu\r\n",
        answer->status, reason(answer->status), answer->type, answer->body.len);
    if (answer->location != NULL) {
        buf_printf(out, "Location: %s\r\n", answer->location);
    }
    if (answer->allow != NULL) {
        buf_printf(out, "Allow: %s\r\n", answer->allow);
    }
    buf_append_text(out, "\r\n");
    if (with_body) {
        buf_append(out, answer->body.at, answer->body.len);
    }
}

// What is closed with unread bytes is reset, and the answer may be lost with it: so the rest is
// read and dropped, until the client closes or the time is over.
static void drain(struct connection *connection)
{
    char dropped[4096];
    ssize_t got = recv(connection->fd, dropped, sizeof dropped, 0);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) {
        connection_end(connection);
    }
}

static void write_on(struct connection *connection)
{
    struct bytes left = {
        connection->answer.at + connection->sent, connection->answer.len - connection->sent};
    ssize_t sent = send(connection->fd, left.at, left.len, MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN && errno != EINTR) {
        connection_end(connection);
        return;
    }
    connection->sent += sent > 0 ? (size_t)sent : 0;
    bool done = connection->sent == connection->answer.len;
    connection->phase = done ? DRAINING : WRITING;
    loop_fd_turn(connection->ready, !done);
    if (done) {
        shutdown(connection->fd, SHUT_WR);
    }
}

static void respond(struct connection *connection, size_t head_len)
{
    struct web_request request = {0};
    struct web_answer answer = {.status = 200, .type = "text/plain; charset=utf-8"};
    bool body = true;
    if (head_len == 0) {
        answer.status = 431;
    } else if (!web_parse((char *)connection->head.at, head_len, &request)) {
        answer.status = 400;
    } else {
        body = strcmp(request.method, "HEAD") != 0;
        connection->web->fn(connection->web->context, &request, &answer);
    }
    answer_put(&connection->answer, &answer, body);
    buf_clear(&answer.body);
    buf_clear(&connection->head);
    write_on(connection);
}

static void read_on(struct connection *connection)
{
    char block[WEB_HEAD_BYTES_MAX];
    struct buf *head = &connection->head;
    ssize_t got = recv(connection->fd, block, sizeof block - head->len, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (got <= 0) {
        connection_end(connection);
        return;
    }
    buf_append(head, block, (size_t)got);
    const uint8_t *from = head->at + connection->looked_at;
    const uint8_t *end = memmem(from, head->len - connection->looked_at, "\r\n\r\n", 4);
    if (end != NULL) {
        respond(connection, (size_t)(end - head->at) + 4);
    } else if (head->len == WEB_HEAD_BYTES_MAX) {
        respond(connection, 0);
    } else {
        connection->looked_at = head->len < 3 ? 0 : head->len - 3;
    }
}

static void on_ready(void *context)
{
    struct connection *connection = context;
    switch (connection->phase) {
    case READING:
        read_on(connection);
        break;
    case WRITING:
        write_on(connection);
        break;
    case DRAINING:
        drain(connection);
        break;
    }
}

// --- listening ---

static void connection_begin(struct web *web, int fd)
{
    struct connection *connection = xcalloc(1, sizeof *connection);
    *connection = (struct connection){.web = web, .fd = fd};
    connection->ready = loop_fd(web->loop, fd, on_ready, connection);
    connection->deadline = loop_timer(web->loop, true, on_deadline, connection);
    loop_timer_set(connection->deadline, WEB_CONNECTION_MS);
    if (web->count == WEB_CONNECTIONS_MAX) {
        connection_end(web->oldest);
    }
    struct connection **at = &web->oldest;
    while (*at != NULL) {
        at = &(*at)->next;
    }
    *at = connection;
    web->count++;
}

static void watch_listeners(struct web *web, bool watched);

// One a turn: whoever connects on and on gets no more of the loop than others.
static void accept_one(struct web *web, int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd >= 0) {
        connection_begin(web, fd);
    } else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
        watch_listeners(web, false); // it stays readable: waiting for it would be no waiting
        loop_timer_set(web->pause, PAUSE_MS);
    }
}

static void on_first(void *context)
{
    struct web *web = context;
    accept_one(web, web->listeners[0].fd);
}

static void on_second(void *context)
{
    struct web *web = context;
    accept_one(web, web->listeners[1].fd);
}

static void watch_listeners(struct web *web, bool watched)
{
    loop_fn *const fns[] = {on_first, on_second};
    for (size_t i = 0; i < 2; i++) {
        struct listener *listener = &web->listeners[i];
        loop_remove(listener->ready);
        listener->ready =
            watched && listener->fd >= 0 ? loop_fd(web->loop, listener->fd, fns[i], web) : NULL;
    }
}

static void on_pause_over(void *context)
{
    watch_listeners(context, true);
}

static MUST_CHECK bool listen_on(
    const struct sockaddr *address, socklen_t len, const char *name, int *fd, struct err *e)
{
    const int yes = 1, send_bytes = SEND_BYTES; // which connections inherit
    *fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    // Where there is no IPv6 there is nothing to listen on, and nobody else can.
    if (*fd < 0 && errno == EAFNOSUPPORT) {
        return true;
    }
    if (*fd >= 0 && setsockopt(*fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) == 0 &&
        setsockopt(*fd, SOL_SOCKET, SO_SNDBUF, &send_bytes, sizeof send_bytes) == 0 &&
        (address->sa_family == AF_INET ||
            setsockopt(*fd, IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof yes) == 0) &&
        bind(*fd, address, len) == 0 && listen(*fd, BACKLOG) == 0) {
        return true;
    }
    int error = errno;
    fd_closep(fd);
    return (address->sa_family == AF_INET6 && error == EADDRNOTAVAIL) ||
           err_set(e, CODE_IO, "cannot listen on %s: %s", name, strerror(error));
}

struct web *web_open(struct loop *loop, uint16_t port, web_fn *fn, void *context, struct err *e)
{
    const struct sockaddr_in four = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const struct sockaddr_in6 six = {
        .sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    struct web *web = xcalloc(1, sizeof *web);
    *web = (struct web){.loop = loop, .fn = fn, .context = context};
    web->listeners[1].fd = -1;
    web->pause = loop_timer(loop, true, on_pause_over, web);
    if (!listen_on(
            (const struct sockaddr *)&four, sizeof four, "127.0.0.1", &web->listeners[0].fd, e) ||
        !listen_on((const struct sockaddr *)&six, sizeof six, "::1", &web->listeners[1].fd, e)) {
        web_close(web);
        return NULL;
    }
    watch_listeners(web, true);
    return web;
}

void web_close(struct web *web)
{
    if (web == NULL) {
        return;
    }
    while (web->oldest != NULL) {
        connection_end(web->oldest);
    }
    watch_listeners(web, false);
    loop_remove(web->pause);
    fd_closep(&web->listeners[0].fd);
    fd_closep(&web->listeners[1].fd);
    free(web);
}
