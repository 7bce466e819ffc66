#include "bus.h"

#include "fs.h"
#include "log.h"
#include "message.h"

#include <errno.h>
#include <netdb.h>
#include <nng/nng.h>
#include <nng/protocol/pubsub0/pub.h>
#include <nng/protocol/pubsub0/sub.h>
#include <nng/protocol/reqrep0/rep.h>
#include <nng/protocol/reqrep0/req.h>
#include <nng/transport/ipc/ipc.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

// Lifetimes. Each object is counted: one reference for its owner, one for each post on its way to
// the loop, one for each request that was handed out. Only nng's threads add references to an
// object that is not theirs, and only before its close returns: nng_close() and nng_aio_stop() wait
// for callbacks. A post that arrives after the close finds `closed` and just gives its reference
// back. The last reference is always given back in the loop's thread.

#define RECONNECT_MIN_MS                                                                           \
    1000 // a peer that closes after each handshake is dialled at this pace, not 28 times a second
#define RECONNECT_MAX_MS 30000
#define ANSWER_TIMEOUT_MS 10000
#define SUB_QUEUED_MAX 8 // messages of up to 1 MiB

static MUST_CHECK bool nng_failed(
    struct err *e, enum code code, const char *what, const char *url, int rv)
{
    return err_set(e, code, "cannot %s %s: %s", what, url, nng_strerror(rv));
}

static nng_msg *message_of(struct bytes content)
{
    nng_msg *message = NULL;
    int rv = nng_msg_alloc(&message, content.len);
    ASSERT(rv == 0); // out of memory, as in buf_append
    if (content.len > 0)
        memcpy(nng_msg_body(message), content.at, content.len);
    return message;
}

static struct bytes body_of(nng_msg *message)
{
    return bytes_of(nng_msg_body(message), nng_msg_len(message));
}

static bool is_closing(int rv)
{
    return rv == NNG_ECLOSED || rv == NNG_ECANCELED;
}

static MUST_CHECK bool start_dialing(nng_socket socket, const char *url, struct err *e)
{
    nng_dialer dialer;
    int rv = nng_socket_set_ms(socket, NNG_OPT_RECONNMINT, RECONNECT_MIN_MS);
    ASSERT(rv == 0);
    rv = nng_socket_set_ms(socket, NNG_OPT_RECONNMAXT, RECONNECT_MAX_MS);
    ASSERT(rv == 0);
    rv = nng_dialer_create(&dialer, socket, url);
    if (rv != 0)
        return nng_failed(e, CODE_CONFIG, "use the address", url, rv);
    rv = nng_dialer_start(dialer, NNG_FLAG_NONBLOCK);
    return rv == 0 || nng_failed(e, CODE_CONFIG, "dial", url, rv);
}

// ---- plain connections, to learn what nng does not tell

static MUST_CHECK bool address_of(
    const char *text, struct sockaddr_storage *to, socklen_t *len, struct err *e)
{
    nng_url *url = NULL;
    int rv = nng_url_parse(&url, text);
    if (rv != 0)
        return nng_failed(e, CODE_CONFIG, "use the address", text, rv);
    struct sockaddr_un local = {.sun_family = AF_UNIX};
    struct addrinfo *found = NULL, hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    bool ok = false;
    memset(to, 0, sizeof *to);
    if (strcmp(url->u_scheme, "ipc") == 0 && strlen(url->u_path) < sizeof local.sun_path) {
        strcpy(local.sun_path, url->u_path);
        memcpy(to, &local, sizeof local);
        *len = sizeof local;
        ok = true;
    } else if (strcmp(url->u_scheme, "tcp") != 0) {
        err_set(e, CODE_CONFIG, "cannot use the address %s: neither tcp:// nor ipc://", text);
    } else if ((rv = getaddrinfo(url->u_hostname, url->u_port, &hints, &found)) != 0) {
        err_set(e, CODE_UNREACHABLE, "cannot reach %s: %s", text, gai_strerror(rv));
    } else {
        memcpy(to, found->ai_addr, found->ai_addrlen);
        *len = found->ai_addrlen;
        ok = true;
    }
    if (found != NULL)
        freeaddrinfo(found);
    nng_url_free(url);
    return ok;
}

static int left_ms(uint64_t deadline_ms)
{
    uint64_t now = clock_monotonic_ms();
    return now < deadline_ms ? (int)(deadline_ms - now) : 1; // 0 would mean something else to nng
}

static bool wait_for(int fd, short events, uint64_t deadline_ms)
{
    struct pollfd polled = {.fd = fd, .events = events};
    int ready;
    do {
        ready = poll(&polled, 1, left_ms(deadline_ms));
    } while (ready < 0 && errno == EINTR);
    if (ready == 0)
        errno = ETIMEDOUT;
    return ready > 0;
}

// -1 and errno if nobody listens there.
static int connect_plainly(const struct sockaddr_storage *to, socklen_t len, uint64_t deadline_ms)
{
    CLEANUP_FD fd = socket(to->ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    if (connect(fd, (const struct sockaddr *)to, len) != 0) {
        int error = 0;
        socklen_t error_len = sizeof error;
        if (errno != EINPROGRESS || !wait_for(fd, POLLOUT, deadline_ms))
            return -1;
        if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &error_len) != 0)
            return -1;
        if (error != 0) {
            errno = error;
            return -1;
        }
    }
    int connected = fd;
    fd = -1;
    return connected;
}

#define HANDSHAKE_BYTES 8
#define PROTOCOL_REQ 0x0030
#define PROTOCOL_NONE 0xffff

static bool greet(int fd, uint16_t protocol)
{
    const uint8_t ours[HANDSHAKE_BYTES] = {
        0, 'S', 'P', 0, (uint8_t)(protocol >> 8), (uint8_t)protocol, 0, 0};
    return send(fd, ours, sizeof ours, MSG_NOSIGNAL) == (ssize_t)sizeof ours;
}

// Connects and shakes hands to the end. Anything less, and the listener of an nng before 1.6 may
// never accept again (see struct ear).
static bool knock(const struct sockaddr_storage *to, socklen_t len, uint64_t deadline_ms)
{
    CLEANUP_FD fd = connect_plainly(to, len, deadline_ms);
    uint8_t theirs[HANDSHAKE_BYTES];
    if (fd < 0 || !greet(fd, PROTOCOL_REQ))
        return false;
    for (size_t have = 0; have < sizeof theirs;) {
        if (!wait_for(fd, POLLIN, deadline_ms))
            return false;
        ssize_t got = recv(fd, theirs + have, sizeof theirs - have, 0);
        if (got == 0)
            errno = ECONNRESET;
        if (got <= 0)
            return false;
        have += (size_t)got;
    }
    return true;
}

// ---- listening

// nng before 1.6 takes a connection that was reset before its handshake for the closing of its own
// listener, and never accepts again: whoever can connect can silence a broker, without even trying.
// So the listener is asked once a second whether it still hears, by a connection of a protocol that
// does not exist, and is replaced if it does not. (It completes handshakes even then; only pipes do
// not come out of them.)
#define EAR_CHECK_MS 1000

struct ear {
    nng_socket socket;
    nng_listener listener;
    char *url;
    struct loop_watch *timer;
    struct sockaddr_storage address;
    socklen_t address_len;
    int probe;
    unsigned heard_before;
    atomic_uint heard; // pipes so far; nng's threads count
};

static MUST_CHECK bool ear_listen(struct ear *ear, struct err *e)
{
    bool local = strncmp(ear->url, "ipc://", 6) == 0;
    // nng would find out by a connection that it drops, which silences the other one (if it is
    // before 1.6).
    if (local && knock(&ear->address, ear->address_len, clock_monotonic_ms() + 1000))
        return err_set(e, CODE_IO, "cannot listen on %s: somebody does already", ear->url);
    int rv = nng_listener_create(&ear->listener, ear->socket, ear->url);
    if (rv != 0)
        return nng_failed(e, CODE_CONFIG, "use the address", ear->url, rv);
    if (local) {
        // Set between bind and listen, so nobody can slip in before. nng replaces stale sockets
        // itself.
        rv = nng_listener_set_int(ear->listener, NNG_OPT_IPC_PERMISSIONS, 0660);
        ASSERT(rv == 0);
    }
    rv = nng_listener_start(ear->listener, 0);
    if (rv == 0)
        return true;
    nng_listener_close(ear->listener);
    return nng_failed(e, CODE_IO, "listen on", ear->url, rv);
}

static void ear_check(void *context)
{
    struct ear *ear = context;
    unsigned heard = atomic_load(&ear->heard);
    bool deaf = ear->probe >= 0 && heard == ear->heard_before;
    if (ear->probe >= 0) {
        uint8_t theirs[HANDSHAKE_BYTES];
        ssize_t got = recv(ear->probe, theirs, sizeof theirs, 0);
        (void)got; // unread bytes would turn our close into a reset
        fd_closep(&ear->probe);
    }
    ear->heard_before = heard;
    ear->probe = connect_plainly(&ear->address, ear->address_len, clock_monotonic_ms() + 100);
    if (ear->probe >= 0)
        greet(ear->probe, PROTOCOL_NONE);
    else if (errno == ECONNREFUSED || errno == ENOENT)
        deaf = true; // it could not be replaced the last time
    if (deaf) {
        struct err e;
        fd_closep(&ear->probe);
        log_warning("listener_deaf url=%s", ear->url);
        nng_listener_close(ear->listener);
        if (!ear_listen(ear, &e))
            log_err("listen_failed url=%s error=\"%s\"", ear->url, e.text);
    }
    loop_timer_set(ear->timer, EAR_CHECK_MS);
}

static bool nng_is_before_1_6(void)
{
    unsigned major = 0, minor = 0;
    return sscanf(nng_version(), "%u.%u", &major, &minor) == 2 && major == 1 && minor < 6;
}

static MUST_CHECK bool ear_open(
    struct ear *ear, struct loop *loop, nng_socket socket, const char *url, struct err *e)
{
    ear->socket = socket;
    ear->url = xstrdup(url);
    ear->probe = -1;
    if (!address_of(url, &ear->address, &ear->address_len, e) || !ear_listen(ear, e))
        return false;
    if (nng_is_before_1_6()) {
        ear->timer = loop_timer(loop, true, ear_check, ear);
        loop_timer_set(ear->timer, EAR_CHECK_MS);
    }
    return true;
}

// Before the socket is closed.
static void ear_close(struct ear *ear)
{
    loop_remove(ear->timer);
    fd_closep(&ear->probe);
    free(ear->url);
}

static void set_receive_max(nng_socket socket, size_t max)
{
    ASSERT(max > 0); // 0 means unlimited to nng
    int rv = nng_socket_set_size(socket, NNG_OPT_RECVMAXSZ, max);
    ASSERT(rv == 0);
}

// Which pipes are up. nng calls REM_POST also for a pipe that never got its ADD_POST (a wrong
// protocol), and sometimes before it, so counting events would drift, at the will of whoever
// connects.
struct pipes {
    pthread_mutex_t lock;
    size_t count, room;
    unsigned up;
    struct pipe {
        int id;
        bool up;
    } * known;
};

enum pipe_change { PIPE_SAME, PIPE_UP, PIPE_DOWN };

// Under the lock.
static enum pipe_change pipes_note(struct pipes *pipes, int id, nng_pipe_ev event)
{
    size_t at = 0;
    while (at < pipes->count && pipes->known[at].id != id)
        at++;
    if (event == NNG_PIPE_EV_ADD_PRE) {
        if (pipes->count == pipes->room) {
            pipes->room = pipes->room == 0 ? 8 : 2 * pipes->room;
            pipes->known = realloc(pipes->known, pipes->room * sizeof *pipes->known);
            ASSERT(pipes->known != NULL);
        }
        pipes->known[pipes->count++] = (struct pipe){.id = id};
        return PIPE_SAME;
    }
    if (at == pipes->count)
        return PIPE_SAME;
    if (event == NNG_PIPE_EV_ADD_POST) {
        pipes->known[at].up = true;
        pipes->up++;
        return PIPE_UP;
    }
    bool was_up = pipes->known[at].up;
    pipes->known[at] = pipes->known[--pipes->count];
    pipes->up -= was_up;
    return was_up ? PIPE_DOWN : PIPE_SAME;
}

static void pipes_watch(nng_socket socket, nng_pipe_cb fn, void *context)
{
    for (nng_pipe_ev event = NNG_PIPE_EV_ADD_PRE; event < NNG_PIPE_EV_NUM; event++) {
        int rv = nng_pipe_notify(socket, event, fn, context);
        ASSERT(rv == 0);
    }
}

static void pipes_clear(struct pipes *pipes)
{
    pthread_mutex_destroy(&pipes->lock);
    free(pipes->known);
}

// nng 1.x can wait forever in nng_close(): if a pipe is closed between the header and the body of a
// message that is coming in, its receive is begun on a stopped aio, which never completes, and
// nng's only reaper thread waits for it. From then on nothing is reaped, so a daemon is better off
// starting anew than going on. Until it is fixed there, close with nothing coming in where you can.
#define CLOSE_TIMEOUT_S 5

struct closing {
    nng_socket socket;
    nng_aio *const *aios; // the caller's, who waits, or ends the program
    unsigned count;
};

static void *close_in_thread(void *context)
{
    struct closing *closing = context;
    nng_close(closing->socket);
    for (unsigned i = 0; i < closing->count; i++)
        nng_aio_stop(closing->aios[i]);
    free(closing);
    return NULL;
}

static bool close_in_time(nng_socket socket, nng_aio *const *aios, unsigned count)
{
    struct closing *closing = xmalloc(sizeof *closing);
    *closing = (struct closing){socket, aios, count};
    pthread_t thread;
    if (pthread_create(&thread, NULL, close_in_thread, closing) != 0) {
        close_in_thread(closing);
        return true;
    }
    struct timespec deadline;
    clock_gettime(CLOCK_MONOTONIC, &deadline);
    deadline.tv_sec += CLOSE_TIMEOUT_S;
    if (pthread_clockjoin_np(thread, NULL, CLOCK_MONOTONIC, &deadline) == 0)
        return true;
    pthread_detach(thread);
    log_err("bus_stuck seconds=%d", CLOSE_TIMEOUT_S);
    return false;
}

static bool is_ending;

void bus_ending(void)
{
    is_ending = true;
}

// After this nothing of nng calls back for the socket and what is under way on it. If that cannot be
// had, the process ends, to be started again.
static void close_socket(nng_socket socket, nng_aio *const *aios, unsigned count)
{
    if (close_in_time(socket, aios, count))
        return;
    if (is_ending)
        _exit(EXIT_SUCCESS);
    abort();
}

// ---- SUB

struct bus_sub {
    atomic_uint references;
    struct loop *loop;
    nng_socket socket;
    nng_aio *aio;
    nng_msg *message; // received, on its way to the loop
    bool closed;
    struct pipes pipes;
    bus_message_fn *fn;
    bus_link_fn *link;
    void *context;
};

static void sub_release(void *context)
{
    struct bus_sub *sub = context;
    if (atomic_fetch_sub(&sub->references, 1) > 1)
        return;
    if (sub->message != NULL)
        nng_msg_free(sub->message);
    nng_aio_free(sub->aio);
    pipes_clear(&sub->pipes);
    free(sub);
}

static void sub_post(struct bus_sub *sub, loop_fn *fn)
{
    atomic_fetch_add(&sub->references, 1);
    loop_post_owned(sub->loop, fn, sub_release, sub);
}

static void sub_deliver(void *context)
{
    struct bus_sub *sub = context;
    nng_msg *message = sub->message;
    sub->message = NULL;
    if (!sub->closed)
        sub->fn(sub->context, body_of(message));
    nng_msg_free(message);
    // Only now the next, so that a fast broker fills nng's bounded queue (which drops the oldest)
    // and not ours.
    if (!sub->closed)
        nng_recv_aio(sub->socket, sub->aio);
    sub_release(sub);
}

static void sub_up(void *context)
{
    struct bus_sub *sub = context;
    if (!sub->closed && sub->link != NULL)
        sub->link(sub->context, true);
    sub_release(sub);
}

static void sub_down(void *context)
{
    struct bus_sub *sub = context;
    if (!sub->closed && sub->link != NULL)
        sub->link(sub->context, false);
    sub_release(sub);
}

static void sub_received(void *context) // in a thread of nng
{
    struct bus_sub *sub = context;
    int rv = nng_aio_result(sub->aio);
    if (rv == 0) {
        sub->message = nng_aio_get_msg(sub->aio);
        sub_post(sub, sub_deliver);
    } else if (!is_closing(rv)) {
        nng_recv_aio(sub->socket, sub->aio);
    }
}

static void sub_pipe(nng_pipe pipe, nng_pipe_ev event, void *context) // in a thread of nng
{
    struct bus_sub *sub = context;
    pthread_mutex_lock(&sub->pipes.lock);
    enum pipe_change change = pipes_note(&sub->pipes, nng_pipe_id(pipe), event);
    if (change != PIPE_SAME) // under the lock, so that up and down keep their order
        sub_post(sub, change == PIPE_UP ? sub_up : sub_down);
    pthread_mutex_unlock(&sub->pipes.lock);
}

struct bus_sub *bus_sub_open(struct loop *loop, const char *url, size_t receive_max,
    bus_message_fn *fn, bus_link_fn *link, void *context, struct err *e)
{
    nng_socket socket;
    int rv = nng_sub0_open(&socket);
    if (rv != 0) {
        (void)!nng_failed(e, CODE_IO, "open a socket for", url, rv);
        return NULL;
    }
    struct bus_sub *sub = xcalloc(1, sizeof *sub);
    *sub = (struct bus_sub){.references = 1,
        .loop = loop,
        .socket = socket,
        .fn = fn,
        .link = link,
        .context = context};
    pthread_mutex_init(&sub->pipes.lock, NULL);
    rv = nng_aio_alloc(&sub->aio, sub_received, sub);
    ASSERT(rv == 0);
    set_receive_max(socket, receive_max);
    rv = nng_socket_set_int(socket, NNG_OPT_RECVBUF, SUB_QUEUED_MAX);
    ASSERT(rv == 0);
    rv = nng_socket_set(socket, NNG_OPT_SUB_SUBSCRIBE, TOPIC, TOPIC_BYTES);
    ASSERT(rv == 0);
    pipes_watch(socket, sub_pipe, sub);
    nng_aio_set_timeout(sub->aio, NNG_DURATION_INFINITE);
    nng_recv_aio(socket, sub->aio);
    if (!start_dialing(socket, url, e)) {
        bus_sub_close(sub);
        return NULL;
    }
    return sub;
}

void bus_sub_close(struct bus_sub *sub)
{
    if (sub == NULL)
        return;
    ASSERT(!sub->closed);
    sub->closed = true;
    close_socket(sub->socket, &sub->aio, 1);
    sub_release(sub);
}

// ---- PUB

struct bus_pub {
    nng_socket socket;
    struct ear ear;
    struct pipes pipes;
};

static void pub_pipe(nng_pipe pipe, nng_pipe_ev event, void *context) // in a thread of nng
{
    struct bus_pub *pub = context;
    if (event == NNG_PIPE_EV_ADD_PRE)
        atomic_fetch_add(&pub->ear.heard, 1);
    pthread_mutex_lock(&pub->pipes.lock);
    pipes_note(&pub->pipes, nng_pipe_id(pipe), event);
    pthread_mutex_unlock(&pub->pipes.lock);
}

struct bus_pub *bus_pub_open(struct loop *loop, const char *url, struct err *e)
{
    nng_socket socket;
    int rv = nng_pub0_open(&socket);
    if (rv != 0) {
        (void)!nng_failed(e, CODE_IO, "open a socket for", url, rv);
        return NULL;
    }
    struct bus_pub *pub = xcalloc(1, sizeof *pub);
    pub->socket = socket;
    pthread_mutex_init(&pub->pipes.lock, NULL);
    set_receive_max(socket, 1); // a subscriber has nothing to say
    pipes_watch(socket, pub_pipe, pub);
    if (!ear_open(&pub->ear, loop, socket, url, e)) {
        bus_pub_close(pub);
        return NULL;
    }
    return pub;
}

void bus_pub_send(struct bus_pub *pub, struct bytes message)
{
    nng_msg *copy = message_of(message);
    // PUB never waits: a subscriber whose queue is full loses its oldest, and learns of it from the
    // next tick.
    if (nng_sendmsg(pub->socket, copy, NNG_FLAG_NONBLOCK) != 0)
        nng_msg_free(copy);
}

unsigned bus_pub_subscribers(const struct bus_pub *pub)
{
    union {
        const struct pipes *shown;
        struct pipes *locked;
    } pipes = {.shown = &pub->pipes};
    pthread_mutex_lock(&pipes.locked->lock);
    unsigned up = pipes.locked->up;
    pthread_mutex_unlock(&pipes.locked->lock);
    return up;
}

void bus_pub_close(struct bus_pub *pub)
{
    if (pub == NULL)
        return;
    ear_close(&pub->ear);
    close_socket(pub->socket, NULL, 0); // waits for the pipes, so pub_pipe() is done
    pipes_clear(&pub->pipes);
    free(pub);
}

// ---- REQ

struct bus_req {
    atomic_uint references;
    struct loop *loop;
    char *url;
    nng_socket socket;
    nng_aio *aio;
    bool closed;
    // the call under way
    bool busy; // the loop's
    bool sent;
    int result;
    int timeout_ms;
    uint64_t deadline_ms;
    nng_msg *reply;
    bus_reply_fn *fn;
    void *context;
};

static void req_release(void *context)
{
    struct bus_req *req = context;
    if (atomic_fetch_sub(&req->references, 1) > 1)
        return;
    if (req->reply != NULL)
        nng_msg_free(req->reply);
    nng_aio_free(req->aio);
    free(req->url);
    free(req);
}

static void explain(struct err *e, const char *url, bool sent, int rv, int timeout_ms)
{
    if (rv == NNG_ETIMEDOUT && sent)
        (void)!err_set(e, CODE_TIMEOUT, "no answer from %s within %d ms", url, timeout_ms);
    else if (rv == NNG_ETIMEDOUT)
        (void)!err_set(e, CODE_UNREACHABLE, "no connection to %s within %d ms", url, timeout_ms);
    else
        (void)!err_set(
            e, CODE_UNREACHABLE, "the connection to %s broke: %s", url, nng_strerror(rv));
}

static void req_done(void *context)
{
    struct bus_req *req = context;
    if (!req->closed) {
        nng_msg *reply = req->reply;
        struct err e = {.code = CODE_OK};
        // Idle before the callback, which may call again or close.
        req->reply = NULL;
        req->busy = false;
        if (reply == NULL)
            explain(&e, req->url, req->sent, req->result, req->timeout_ms);
        req->fn(
            req->context, reply != NULL, reply != NULL ? body_of(reply) : (struct bytes){0}, &e);
        if (reply != NULL)
            nng_msg_free(reply);
    }
    req_release(req);
}

static void req_progress(void *context) // in a thread of nng
{
    struct bus_req *req = context;
    int rv = nng_aio_result(req->aio);
    if (rv == 0 && !req->sent) {
        req->sent = true;
        nng_aio_set_timeout(req->aio, left_ms(req->deadline_ms));
        nng_recv_aio(req->socket, req->aio);
        return;
    }
    if (rv == 0)
        req->reply = nng_aio_get_msg(req->aio);
    else if (!req->sent && nng_aio_get_msg(req->aio) != NULL)
        nng_msg_free(nng_aio_get_msg(req->aio));
    nng_aio_set_msg(req->aio, NULL);
    req->result = rv;
    atomic_fetch_add(&req->references, 1);
    loop_post_owned(req->loop, req_done, req_release, req);
}

static MUST_CHECK bool req_socket(
    nng_socket *socket, const char *url, size_t receive_max, struct err *e)
{
    int rv = nng_req0_open(socket);
    if (rv != 0)
        return nng_failed(e, CODE_IO, "open a socket for", url, rv);
    set_receive_max(*socket, receive_max);
    // Sent once: retries are ours, with an end. It also makes a broken connection an error instead
    // of a wait.
    rv = nng_socket_set_ms(*socket, NNG_OPT_REQ_RESENDTIME, NNG_DURATION_INFINITE);
    ASSERT(rv == 0);
    if (start_dialing(*socket, url, e))
        return true;
    nng_close(*socket); // never dialled
    return false;
}

struct bus_req *bus_req_open(struct loop *loop, const char *url, size_t receive_max, struct err *e)
{
    nng_socket socket;
    if (!req_socket(&socket, url, receive_max, e))
        return NULL;
    struct bus_req *req = xcalloc(1, sizeof *req);
    *req = (struct bus_req){.references = 1, .loop = loop, .url = xstrdup(url), .socket = socket};
    int rv = nng_aio_alloc(&req->aio, req_progress, req);
    ASSERT(rv == 0);
    return req;
}

void bus_req_call(
    struct bus_req *req, struct bytes request, int timeout_ms, bus_reply_fn *fn, void *context)
{
    ASSERT(!req->busy && !req->closed && timeout_ms > 0);
    req->busy = true;
    req->sent = false;
    req->fn = fn;
    req->context = context;
    req->timeout_ms = timeout_ms;
    req->deadline_ms = clock_monotonic_ms() + (uint64_t)timeout_ms;
    nng_aio_set_timeout(req->aio, timeout_ms);
    nng_aio_set_msg(req->aio, message_of(request));
    nng_send_aio(req->socket, req->aio);
}

void bus_req_close(struct bus_req *req)
{
    if (req == NULL)
        return;
    ASSERT(!req->closed);
    req->closed = true;
    close_socket(req->socket, &req->aio, 1);
    req_release(req);
}

// ---- one blocking request

// nng dials in the background and tells nobody why it fails. So the address is tried first: whoever
// mistyped it, or is not in the group of the socket, learns that at once.
static MUST_CHECK bool try_address(const char *url, uint64_t deadline_ms, struct err *e)
{
    struct sockaddr_storage to;
    socklen_t len;
    if (!address_of(url, &to, &len, e))
        return false;
    return knock(&to, len, deadline_ms) || err_set(e, CODE_UNREACHABLE, "cannot reach %s: %m", url);
}

bool bus_ask(const char *url, size_t receive_max, struct bytes request, int timeout_ms,
    struct buf *reply, struct err *e)
{
    ASSERT(timeout_ms > 0);
    uint64_t deadline_ms = clock_monotonic_ms() + (uint64_t)timeout_ms;
    nng_socket socket;
    if (!try_address(url, deadline_ms, e) || !req_socket(&socket, url, receive_max, e))
        return false;
    nng_msg *message = message_of(request), *answer = NULL;
    nng_socket_set_ms(socket, NNG_OPT_SENDTIMEO, left_ms(deadline_ms));
    int rv = nng_sendmsg(socket, message, 0);
    bool sent = rv == 0;
    if (sent) {
        nng_socket_set_ms(socket, NNG_OPT_RECVTIMEO, left_ms(deadline_ms));
        rv = nng_recvmsg(socket, &answer, 0);
    } else {
        nng_msg_free(message);
    }
    (void)close_in_time(
        socket, NULL, 0); // stuck or not: there is an answer, and the program ends soon
    if (rv != 0) {
        explain(e, url, sent, rv, timeout_ms);
        return false;
    }
    struct bytes body = body_of(answer);
    buf_append(reply, body.at, body.len);
    nng_msg_free(answer);
    return true;
}

// ---- REP

enum request_phase { REQUEST_RECEIVING, REQUEST_ANSWERING };

struct bus_request {
    struct bus_rep *rep;
    nng_ctx ctx;
    nng_aio *aio;
    enum request_phase phase; // of the aio
    nng_msg *message;         // received, on its way to the loop
    nng_pipe pipe;            // that asked
    bool open;                // handed out, to be answered; the loop's
};

// When something was asked over a connection, or answered, the last time.
struct callers {
    pthread_mutex_t lock;
    size_t count, room;
    struct caller {
        nng_pipe pipe;
        uint64_t active_ms;
        bool closed; // by us, at active_ms
    } * known;
};

struct bus_rep {
    atomic_uint references;
    struct loop *loop;
    nng_socket socket;
    struct ear ear;
    struct callers callers;
    struct loop_watch *sweep;
    unsigned idle_s;
    bool closed;
    bus_request_fn *fn;
    void *context;
    unsigned count;
    struct bus_request requests[];
};

static void rep_release(struct bus_rep *rep)
{
    if (atomic_fetch_sub(&rep->references, 1) > 1)
        return;
    for (unsigned i = 0; i < rep->count; i++) {
        if (rep->requests[i].message != NULL)
            nng_msg_free(rep->requests[i].message);
        nng_aio_free(rep->requests[i].aio);
    }
    pthread_mutex_destroy(&rep->callers.lock);
    free(rep->callers.known);
    free(rep);
}

static size_t caller_find(const struct callers *callers, nng_pipe pipe)
{
    size_t at = 0;
    while (at < callers->count && nng_pipe_id(callers->known[at].pipe) != nng_pipe_id(pipe))
        at++;
    return at;
}

// Any thread.
static void caller_is_active(struct callers *callers, nng_pipe pipe)
{
    pthread_mutex_lock(&callers->lock);
    size_t at = caller_find(callers, pipe);
    if (at < callers->count)
        callers->known[at].active_ms =
            callers->known[at].closed ? callers->known[at].active_ms : clock_monotonic_ms();
    pthread_mutex_unlock(&callers->lock);
}

static void caller_came(struct callers *callers, nng_pipe pipe)
{
    pthread_mutex_lock(&callers->lock);
    if (callers->count == callers->room) {
        callers->room = callers->room == 0 ? 8 : 2 * callers->room;
        callers->known = realloc(callers->known, callers->room * sizeof *callers->known);
        ASSERT(callers->known != NULL);
    }
    callers->known[callers->count++] =
        (struct caller){.pipe = pipe, .active_ms = clock_monotonic_ms()};
    pthread_mutex_unlock(&callers->lock);
}

static void caller_went(struct callers *callers, nng_pipe pipe)
{
    pthread_mutex_lock(&callers->lock);
    size_t at = caller_find(callers, pipe);
    if (at < callers->count)
        callers->known[at] = callers->known[--callers->count];
    pthread_mutex_unlock(&callers->lock);
}

enum sweeping { SWEPT, SWEPT_ONE, SWEPT_STUCK };

// One at a time, since nng_pipe_close() calls back. STUCK: one that was closed is still there, see
// close_socket().
static enum sweeping sweep_one(struct callers *callers, uint64_t idle_ms, nng_pipe *pipe)
{
    uint64_t now_ms = clock_monotonic_ms();
    enum sweeping found = SWEPT;
    pthread_mutex_lock(&callers->lock);
    for (size_t i = 0; i < callers->count && found == SWEPT; i++) {
        struct caller *caller = &callers->known[i];
        uint64_t since_ms = now_ms - caller->active_ms;
        if (caller->closed && since_ms > CLOSE_TIMEOUT_S * 1000) {
            found = SWEPT_STUCK;
        } else if (!caller->closed && since_ms >= idle_ms) {
            *caller = (struct caller){.pipe = caller->pipe, .active_ms = now_ms, .closed = true};
            *pipe = caller->pipe;
            found = SWEPT_ONE;
        }
    }
    pthread_mutex_unlock(&callers->lock);
    return found;
}

static void sweep(void *context)
{
    struct bus_rep *rep = context;
    uint64_t idle_ms = (uint64_t)rep->idle_s * 1000;
    nng_pipe pipe;
    enum sweeping found;
    while ((found = sweep_one(&rep->callers, idle_ms, &pipe)) == SWEPT_ONE)
        nng_pipe_close(pipe);
    if (found == SWEPT_STUCK) {
        log_err("bus_stuck url=%s", rep->ear.url);
        abort();
    }
    loop_timer_set(rep->sweep, idle_ms / 4 > 0 ? idle_ms / 4 : 1);
}

void bus_rep_close_idle(struct bus_rep *rep, unsigned idle_s)
{
    ASSERT(rep->sweep == NULL && idle_s > 0);
    rep->idle_s = idle_s;
    rep->sweep = loop_timer(rep->loop, true, sweep, rep);
    loop_timer_set(rep->sweep, (uint64_t)idle_s * 250);
}

static void request_dropped(void *context)
{
    struct bus_request *request = context;
    rep_release(request->rep);
}

static void request_deliver(void *context)
{
    struct bus_request *request = context;
    struct bus_rep *rep = request->rep;
    nng_msg *message = request->message;
    request->message = NULL;
    if (rep->closed) {
        rep_release(rep);
    } else {
        request->open = true;
        // Answered inside, it may be receiving again already: nothing of it is touched afterwards.
        rep->fn(rep->context, request, body_of(message));
    }
    nng_msg_free(message);
}

static void request_receive(struct bus_request *request)
{
    request->phase = REQUEST_RECEIVING;
    nng_aio_set_timeout(request->aio, NNG_DURATION_INFINITE);
    nng_ctx_recv(request->ctx, request->aio);
}

static void request_progress(void *context) // in a thread of nng
{
    struct bus_request *request = context;
    int rv = nng_aio_result(request->aio);
    if (request->phase == REQUEST_RECEIVING && rv == 0) {
        request->message = nng_aio_get_msg(request->aio);
        request->pipe = nng_msg_get_pipe(request->message);
        caller_is_active(&request->rep->callers, request->pipe);
        nng_aio_set_msg(request->aio, NULL);
        atomic_fetch_add(&request->rep->references, 1); // until it is answered
        loop_post_owned(request->rep->loop, request_deliver, request_dropped, request);
        return;
    }
    if (request->phase == REQUEST_ANSWERING && rv != 0) {
        nng_msg *answer = nng_aio_get_msg(request->aio);
        if (answer != NULL)
            nng_msg_free(answer);
        nng_aio_set_msg(request->aio, NULL);
        // A peer that asks on and on and never reads would occupy all of us.
        if (rv == NNG_ETIMEDOUT)
            nng_pipe_close(request->pipe);
    }
    if (!is_closing(rv))
        request_receive(request);
}

static void rep_pipe(nng_pipe pipe, nng_pipe_ev event, void *context) // in a thread of nng
{
    struct bus_rep *rep = context;
    if (event == NNG_PIPE_EV_ADD_PRE) {
        atomic_fetch_add(&rep->ear.heard, 1);
        caller_came(&rep->callers, pipe);
    } else if (event == NNG_PIPE_EV_REM_POST) {
        caller_went(&rep->callers, pipe);
    }
}

struct bus_rep *bus_rep_open(struct loop *loop, const char *url, size_t receive_max,
    unsigned parallel, bus_request_fn *fn, void *context, struct err *e)
{
    ASSERT(parallel > 0);
    nng_socket socket;
    int rv = nng_rep0_open(&socket);
    if (rv != 0) {
        (void)!nng_failed(e, CODE_IO, "open a socket for", url, rv);
        return NULL;
    }
    struct bus_rep *rep = xcalloc(1, sizeof *rep + parallel * sizeof rep->requests[0]);
    rep->references = 1;
    rep->loop = loop;
    rep->socket = socket;
    rep->fn = fn;
    rep->context = context;
    rep->count = parallel;
    pthread_mutex_init(&rep->callers.lock, NULL);
    set_receive_max(socket, receive_max);
    for (unsigned i = 0; i < parallel; i++) {
        struct bus_request *request = &rep->requests[i];
        request->rep = rep;
        rv = nng_aio_alloc(&request->aio, request_progress, request);
        ASSERT(rv == 0);
        rv = nng_ctx_open(&request->ctx, socket);
        ASSERT(rv == 0);
        request_receive(request);
    }
    pipes_watch(socket, rep_pipe, rep);
    if (!ear_open(&rep->ear, loop, socket, url, e)) {
        bus_rep_close(rep);
        return NULL;
    }
    return rep;
}

void bus_rep_answer(struct bus_request *request, struct bytes reply)
{
    struct bus_rep *rep = request->rep;
    ASSERT(request->open);
    request->open = false;
    if (!rep->closed) {
        request->phase = REQUEST_ANSWERING;
        caller_is_active(&rep->callers, request->pipe);
        nng_aio_set_timeout(request->aio, ANSWER_TIMEOUT_MS);
        nng_aio_set_msg(request->aio, message_of(reply));
        nng_ctx_send(request->ctx, request->aio);
    }
    rep_release(rep);
}

void bus_rep_close(struct bus_rep *rep)
{
    if (rep == NULL)
        return;
    ASSERT(!rep->closed);
    rep->closed = true;
    ear_close(&rep->ear);
    loop_remove(rep->sweep);
    nng_aio **aios = xcalloc(rep->count + 1, sizeof *aios);
    for (unsigned i = 0; i < rep->count; i++)
        aios[i] = rep->requests[i].aio;
    close_socket(rep->socket, aios, rep->count);
    free(aios);
    rep_release(rep);
}
