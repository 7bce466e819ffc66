#include "bus.h"

#include "message.h"
#include "rt_test.h"

#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>

static struct err e;

static void too_late(void *context)
{
    (void)context;
    fail_msg("nothing happened for ten seconds");
}

static struct loop *new_loop(void)
{
    struct loop *loop = loop_new();
    loop_timer_set(loop_timer(loop, false, too_late, NULL), 10000);
    return loop;
}

static void stop(void *context)
{
    loop_stop(context);
}

// A port that nobody uses, below the range from which others get theirs by chance.
static uint16_t free_port(void)
{
    for (unsigned i = 0; i < 12000; i++) {
        uint16_t port = (uint16_t)(20000 + ((unsigned)getpid() * 31 + i) % 12000);
        struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
        to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        CLEANUP_FD fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (bind(fd, (struct sockaddr *)&to, sizeof to) == 0)
            return port;
    }
    fail_msg("no free port");
    return 0;
}

struct place {
    uint16_t port;
    char url[120];
};

static struct place tcp_place(void)
{
    struct place place = {.port = free_port()};
    snprintf(place.url, sizeof place.url, "tcp://127.0.0.1:%u", place.port);
    return place;
}

static struct place ipc_place(const struct folder *f)
{
    struct place place = {0};
    snprintf(place.url, sizeof place.url, "ipc://%s/socket", f->path);
    return place;
}

// ---- a peer made by hand

static void patient(int fd)
{
    struct timeval limit = {.tv_sec = 5};
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), 0);
}

static int raw_connect(uint16_t port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    patient(fd);
    return fd;
}

static int raw_listen(uint16_t port)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), yes = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(fd, 10), 0);
    patient(fd);
    return fd;
}

enum { SP_PUB = 0x20, SP_SUB = 0x21, SP_REQ = 0x30, SP_REP = 0x31 };

static void raw_send(int fd, const void *at, size_t len)
{
    assert_int_equal(send(fd, at, len, MSG_NOSIGNAL), len);
}

static void raw_receive(int fd, void *at, size_t len)
{
    assert_int_equal(recv(fd, at, len, MSG_WAITALL), len);
}

// Both sides of the handshake; FORMATS of SP over TCP.
static void raw_handshake(int fd, uint8_t protocol)
{
    uint8_t ours[8] = {0, 'S', 'P', 0, 0, protocol, 0, 0}, theirs[8];
    raw_send(fd, ours, sizeof ours);
    raw_receive(fd, theirs, sizeof theirs);
    assert_int_equal(memcmp(theirs, ours, 5), 0);
}

static void raw_length(int fd, uint64_t length)
{
    uint8_t bytes[8];
    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(length >> (56 - 8 * i));
    raw_send(fd, bytes, sizeof bytes);
}

// The other side hung up: the end of the stream, or a reset for what it did not read.
static bool raw_is_closed(int fd)
{
    char c;
    ssize_t got = recv(fd, &c, 1, 0);
    return got == 0 || (got < 0 && errno == ECONNRESET);
}

static size_t resident_kilobytes(void)
{
    struct buf text = {0};
    MUST(fs_read(AT_FDCWD, "/proc/self/status", 65536, &text, &e));
    const char *at = strstr(buf_text(&text), "VmRSS:");
    assert_non_null(at);
    size_t kilobytes = strtoul(at + 6, NULL, 10);
    buf_clear(&text);
    return kilobytes;
}

// ---- requests and replies

struct server {
    struct loop *loop;
    struct bus_rep *rep;
    int requests, hold; // hold: that many are kept before the last of them is answered first
    struct bus_request *held[4];
    char names[4][16];
};

static void answer_echo(void *context, struct bus_request *request, struct bytes message)
{
    struct server *server = context;
    struct buf reply = {0};
    server->requests++;
    buf_append_text(&reply, "re: ");
    buf_append(&reply, message.at, message.len);
    bus_rep_answer(request, buf_bytes(&reply));
    buf_clear(&reply);
}

struct client {
    struct loop *loop;
    struct bus_req *req;
    int calls, again;
    bool ok, close_inside;
    struct buf reply;
    struct err e;
};

static void got_reply(void *context, bool ok, struct bytes reply, const struct err *error)
{
    struct client *client = context;
    client->calls++;
    client->ok = ok;
    client->e = *error;
    client->reply.len = 0;
    buf_append(&client->reply, reply.at, reply.len);
    if (client->again > 0) {
        client->again--;
        bus_req_call(client->req, bytes_of_text("again"), 5000, got_reply, client);
        return;
    }
    if (client->close_inside) {
        bus_req_close(client->req);
        client->req = NULL;
    }
    loop_stop(client->loop);
}

static struct client new_client(struct loop *loop, const char *url)
{
    struct client client = {
        .loop = loop, .req = bus_req_open(loop, url, REQ_RECEIVE_BYTES_MAX, &e)};
    MUST(client.req != NULL);
    return client;
}

static void client_clear(struct client *client)
{
    bus_req_close(client->req);
    buf_clear(&client->reply);
}

static void request_is_answered_at(const char *url)
{
    struct server server = {.loop = new_loop()};
    server.rep = bus_rep_open(server.loop, url, REP_RECEIVE_BYTES_MAX, 4, answer_echo, &server, &e);
    MUST(server.rep != NULL);
    struct client client = new_client(server.loop, url);
    client.again = 20;
    bus_req_call(client.req, bytes_of_text("hello"), 5000, got_reply, &client);
    assert_int_equal(client.calls, 0); // never from inside the call
    loop_run(server.loop);
    assert_true(client.ok);
    assert_true(is_text(&client.reply, "re: again"));
    assert_int_equal(client.calls, 21);
    assert_int_equal(server.requests, 21);
    client_clear(&client);
    bus_rep_close(server.rep);
    loop_free(server.loop);
}

static void requests_are_answered_over_tcp(void **state)
{
    (void)state;
    request_is_answered_at(tcp_place().url);
}

static void requests_are_answered_over_ipc(void **state)
{
    request_is_answered_at(ipc_place(*state).url);
}

static void keep_then_answer_backwards(
    void *context, struct bus_request *request, struct bytes message)
{
    struct server *server = context;
    int n = server->requests++;
    snprintf(server->names[n], sizeof server->names[n], "%.*s", (int)message.len,
        (const char *)message.at);
    server->held[n] = request;
    if (server->requests == server->hold) {
        for (int i = server->hold - 1; i >= 0; i--)
            bus_rep_answer(server->held[i], bytes_of_text(server->names[i]));
    }
}

struct order {
    struct loop *loop;
    char seen[16];
};

struct one_in_order {
    struct order *order;
    char letter;
    unsigned all;
};

static void reply_in_order(void *context, bool ok, struct bytes reply, const struct err *error)
{
    struct one_in_order *one = context;
    (void)error;
    assert_true(ok && reply.len == 1 && reply.at[0] == (uint8_t)one->letter); // each its own
    size_t len = strlen(one->order->seen);
    one->order->seen[len] = one->letter;
    if (len + 1 == one->all)
        loop_stop(one->order->loop);
}

static void answers_find_their_clients_in_any_order(void **state)
{
    (void)state;
    struct place place = tcp_place();
    struct server server = {.loop = new_loop(), .hold = 3};
    server.rep = bus_rep_open(
        server.loop, place.url, REP_RECEIVE_BYTES_MAX, 3, keep_then_answer_backwards, &server, &e);
    MUST(server.rep != NULL);
    struct order order = {.loop = server.loop};
    struct one_in_order ones[3];
    struct client clients[3];
    for (int i = 0; i < 3; i++) {
        ones[i] = (struct one_in_order){.order = &order, .letter = (char)('a' + i), .all = 3};
        clients[i] = new_client(server.loop, place.url);
        bus_req_call(clients[i].req, bytes_of(&ones[i].letter, 1), 5000, reply_in_order, &ones[i]);
    }
    loop_run(server.loop);
    assert_int_equal(strlen(order.seen), 3);
    for (int i = 0; i < 3; i++)
        client_clear(&clients[i]);
    bus_rep_close(server.rep);
    loop_free(server.loop);
}

static void hold_one(void *context, struct bus_request *request, struct bytes message)
{
    struct server *server = context;
    (void)message;
    server->held[server->requests++] = request;
    loop_stop(server->loop);
}

static void no_more_than_parallel_are_under_way(void **state)
{
    (void)state;
    struct place place = tcp_place();
    struct server server = {.loop = new_loop()};
    server.rep =
        bus_rep_open(server.loop, place.url, REP_RECEIVE_BYTES_MAX, 1, hold_one, &server, &e);
    MUST(server.rep != NULL);
    struct client one = new_client(server.loop, place.url),
                  two = new_client(server.loop, place.url);
    bus_req_call(one.req, bytes_of_text("x"), 5000, got_reply, &one);
    bus_req_call(two.req, bytes_of_text("x"), 5000, got_reply, &two);
    loop_run(server.loop);
    assert_int_equal(server.requests, 1);
    bus_rep_answer(server.held[0], bytes_of_text("first"));
    // Now the answer arrives and the second request; each stops the loop once.
    loop_run(server.loop);
    while (server.requests < 2 || one.calls + two.calls < 1)
        loop_run(server.loop);
    bus_rep_answer(server.held[1], bytes_of_text("second"));
    while (one.calls + two.calls < 2)
        loop_run(server.loop);
    assert_true(one.ok && two.ok);
    assert_int_equal(server.requests, 2);
    client_clear(&one);
    client_clear(&two);
    bus_rep_close(server.rep);
    loop_free(server.loop);
}

static void nobody_there_is_unreachable(void **state)
{
    (void)state;
    struct place place = tcp_place();
    struct loop *loop = new_loop();
    struct client client = new_client(loop, place.url);
    bus_req_call(client.req, bytes_of_text("x"), 100, got_reply, &client);
    loop_run(loop);
    assert_int_equal(client.e.code, CODE_UNREACHABLE);
    assert_contains(client.e.text, place.url);
    assert_int_equal(client.reply.len, 0);
    assert_int_equal(client.calls, 1);
    client_clear(&client);
    loop_free(loop);
}

static void silence_is_a_timeout_and_a_late_answer_is_harmless(void **state)
{
    (void)state;
    struct place place = tcp_place();
    struct server server = {.loop = new_loop()};
    server.rep =
        bus_rep_open(server.loop, place.url, REP_RECEIVE_BYTES_MAX, 2, hold_one, &server, &e);
    MUST(server.rep != NULL);
    struct client client = new_client(server.loop, place.url);
    bus_req_call(client.req, bytes_of_text("x"), 300, got_reply, &client);
    while (client.calls == 0)
        loop_run(server.loop);
    assert_false(client.ok);
    assert_int_equal(client.e.code, CODE_TIMEOUT);
    assert_contains(client.e.text, place.url);
    assert_int_equal(server.requests, 1);
    client_clear(&client);
    bus_rep_close(server.rep);
    bus_rep_answer(server.held[0], bytes_of_text("too late")); // its memory lives until here
    loop_free(server.loop);
}

static void peer_that_hangs_up_is_unreachable_long_before_the_timeout(void **state)
{
    (void)state;
    struct place place = tcp_place();
    struct loop *loop = new_loop();
    int listener = raw_listen(place.port);
    struct client client = new_client(loop, place.url);
    bus_req_call(client.req, bytes_of_text("question"), 8000, got_reply, &client);
    int fd = accept(listener, NULL, NULL);
    assert_true(fd >= 0);
    patient(fd);
    raw_handshake(fd, SP_REP);
    uint8_t request[8 + 4 + 8];
    raw_receive(fd, request, sizeof request);
    assert_int_equal(memcmp(request + 12, "question", 8), 0);
    close(fd);
    uint64_t start = clock_monotonic_ms();
    loop_run(loop);
    assert_true(clock_monotonic_ms() - start < 4000);
    assert_false(client.ok);
    assert_int_equal(client.e.code, CODE_UNREACHABLE);
    close(listener);
    client_clear(&client);
    loop_free(loop);
}

static void peer_that_hangs_up_after_each_handshake_is_not_hammered(void **state)
{
    (void)state;
    struct place place = tcp_place();
    struct loop *loop = new_loop();
    int listener = raw_listen(place.port), dials = 0;
    struct client client = new_client(loop, place.url);
    uint64_t start = clock_monotonic_ms();
    for (;;) {
        uint64_t passed = clock_monotonic_ms() - start;
        struct pollfd polled = {.fd = listener, .events = POLLIN};
        if (passed >= 1200 || poll(&polled, 1, (int)(1200 - passed)) == 0)
            break;
        int fd = accept(listener, NULL, NULL);
        patient(fd);
        raw_handshake(fd, SP_REP);
        close(fd);
        dials++;
    }
    assert_true(dials >= 1);
    // 48 at nng's own pace. Half of the waits are none at all in 1.5 (a negative remainder), so
    // ours vary: some 5, more than 26 once in 10^4 runs.
    assert_true(dials <= 26);
    close(listener);
    client_clear(&client);
    loop_free(loop);
}

static size_t open_sockets(void)
{
    size_t count = 0;
    struct names names;
    int dir = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    MUST(fs_list(dir, &names, &e));
    for (size_t i = 0; i < names.count; i++) {
        char target[64];
        ssize_t len = readlinkat(dir, names.names[i], target, sizeof target);
        count += len > 7 && memcmp(target, "socket:", 7) == 0;
    }
    names_clear(&names);
    close(dir);
    return count;
}

static size_t sockets_at_start; // those that we were given

// Until nng has put away what was connected, and `wanted` are left. Closing while bytes come in can
// hang nng 1.x (bus.c says how), so tests that close with work under way first let the other side
// hang up.
static void wait_for_sockets(size_t wanted)
{
    uint64_t start = clock_monotonic_ms();
    while (open_sockets() != sockets_at_start + wanted) {
        assert_true(clock_monotonic_ms() - start < 5000);
        sched_yield();
    }
}

static void closed_call_is_dropped_without_its_callback(void **state)
{
    (void)state;
    struct place place = tcp_place();
    struct server server = {.loop = new_loop()};
    server.rep =
        bus_rep_open(server.loop, place.url, REP_RECEIVE_BYTES_MAX, 2, hold_one, &server, &e);
    MUST(server.rep != NULL);
    struct place nobody = tcp_place(); // another, now that the first is taken
    struct client client = new_client(server.loop, place.url);
    bus_req_call(client.req, bytes_of_text("x"), 5000, got_reply, &client);
    loop_run(server.loop);
    client_clear(&client); // sent, not answered
    bus_rep_answer(server.held[0], bytes_of_text("to nobody"));
    client = new_client(server.loop, nobody.url);
    bus_req_call(client.req, bytes_of_text("x"), 5000, got_reply, &client);
    client_clear(&client); // not even sent
    loop_post(server.loop, stop, server.loop);
    loop_run(server.loop);
    assert_int_equal(client.calls, 0);
    bus_rep_close(server.rep);
    loop_free(server.loop);
}

static void close_with_an_outcome_on_its_way_to_the_loop(void **state)
{
    (void)state;
    for (int i = 0; i < 8; i++) {
        struct loop *loop = new_loop();
        struct place place = tcp_place();
        int listener = raw_listen(place.port);
        struct client client = new_client(loop, place.url);
        bus_req_call(client.req, bytes_of_text("question"), 5000, got_reply, &client);
        int fd = accept(listener, NULL, NULL);
        patient(fd);
        raw_handshake(fd, SP_REP);
        uint8_t request[8 + 4 + 8];
        raw_receive(fd, request, sizeof request);
        close(listener); // before it redials
        close(fd);
        wait_for_sockets(0);
        // The failure waits in the loop now. Closed, nobody hears of it, whether the loop runs
        // again or is freed.
        client_clear(&client);
        loop_post(loop, stop, loop);
        if (i % 2 == 0)
            loop_run(loop);
        assert_int_equal(client.calls, 0);
        loop_free(loop);
    }
}

static void close_with_requests_on_their_way_to_the_loop(void **state)
{
    (void)state;
    struct place place = tcp_place();
    for (int i = 0; i < 8; i++) {
        struct server server = {.loop = new_loop()};
        server.rep =
            bus_rep_open(server.loop, place.url, REP_RECEIVE_BYTES_MAX, 4, hold_one, &server, &e);
        MUST(server.rep != NULL);
        for (int k = 0; k < 3; k++) {
            int fd = raw_connect(place.port);
            raw_handshake(fd, SP_REQ);
            raw_length(fd, 5);
            raw_send(fd, "\x80\0\0\1x", 5);
            shutdown(fd, SHUT_WR);
            assert_true(raw_is_closed(fd)); // so it was read to its end
            close(fd);
        }
        wait_for_sockets(1);
        if (i % 4 < 2)
            loop_run(server.loop); // one is handed out, the others wait
        int held = server.requests;
        bus_rep_close(server.rep);
        loop_post(server.loop, stop, server.loop);
        if (i % 2 == 0)
            loop_run(server.loop);
        assert_int_equal(server.requests, held); // none after the close
        for (int k = 0; k < held; k++)
            bus_rep_answer(server.held[k], bytes_of_text("too late"));
        loop_free(server.loop);
    }
}

static void client_may_be_closed_by_its_own_callback(void **state)
{
    (void)state;
    struct place place = tcp_place();
    struct server server = {.loop = new_loop()};
    server.rep =
        bus_rep_open(server.loop, place.url, REP_RECEIVE_BYTES_MAX, 4, answer_echo, &server, &e);
    MUST(server.rep != NULL);
    struct client client = new_client(server.loop, place.url);
    client.close_inside = true;
    bus_req_call(client.req, bytes_of_text("x"), 5000, got_reply, &client);
    loop_run(server.loop);
    assert_true(client.ok);
    client_clear(&client);
    bus_rep_close(server.rep);
    loop_free(server.loop);
}

// ---- hostile peers

static void garbage_is_disconnected_and_others_are_served(void **state)
{
    (void)state;
    struct place place = tcp_place();
    struct server server = {.loop = new_loop()};
    server.rep =
        bus_rep_open(server.loop, place.url, REP_RECEIVE_BYTES_MAX, 4, answer_echo, &server, &e);
    MUST(server.rep != NULL);
    static const struct {
        const void *at;
        size_t len;
    } garbage[] = {
        {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 27},
        {"\0SP\1\0\x30\0\0", 8}, // another version
        {"\0SP\0\0\x31\0\0", 8}, // REP to REP
        {"\0SP\0\0\x21\0\0", 8}, // SUB to REP
        {"\0SP\0\xff\xff\0\0", 8},
    };
    for (size_t i = 0; i < sizeof garbage / sizeof garbage[0]; i++) {
        int fd = raw_connect(place.port);
        raw_send(fd, garbage[i].at, garbage[i].len);
        uint8_t theirs[8];
        (void)!recv(fd, theirs, sizeof theirs, MSG_WAITALL); // its own side of the handshake
        assert_true(raw_is_closed(fd));
        close(fd);
    }
    // Right handshake, then requests without an id, or with one that is no request's.
    int fd = raw_connect(place.port);
    raw_handshake(fd, SP_REQ);
    raw_length(fd, 2);
    raw_send(fd, "xx", 2);
    assert_true(raw_is_closed(fd));
    close(fd);
    struct client client = new_client(server.loop, place.url);
    bus_req_call(client.req, bytes_of_text("fine"), 5000, got_reply, &client);
    loop_run(server.loop);
    assert_true(client.ok);
    assert_int_equal(server.requests, 1);
    client_clear(&client);
    bus_rep_close(server.rep);
    loop_free(server.loop);
}

// Connections that are reset before, after and without a handshake.
static void drop_connections(const struct sockaddr *to, socklen_t len)
{
    for (int i = 0; i < 300; i++) {
        int fd = socket(to->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        struct linger reset = {.l_onoff = 1};
        assert_int_equal(connect(fd, to, len), 0);
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        if (i % 3 == 1)
            shutdown(fd, SHUT_WR);
        if (i % 3 == 2)
            raw_send(fd, "\0SP", 3);
        close(fd);
    }
}

// As a node does: after a failure closed and opened anew.
static bool is_answered_in_the_end(struct loop *loop, const char *url)
{
    struct client client = {.loop = loop};
    uint64_t start = clock_monotonic_ms();
    while (!client.ok && clock_monotonic_ms() - start < 8000) {
        client.req = bus_req_open(loop, url, REQ_RECEIVE_BYTES_MAX, &e);
        MUST(client.req != NULL);
        bus_req_call(client.req, bytes_of_text("x"), 250, got_reply, &client);
        loop_run(loop);
        bus_req_close(client.req);
        client.req = NULL;
    }
    client_clear(&client);
    return client.ok;
}

static void dropped_connections_silence_no_listener(void **state)
{
    const struct folder *f = *state;
    struct place tcp = tcp_place(), ipc = ipc_place(f);
    struct server server = {.loop = loop_new()};
    struct bus_rep *reps[2];
    reps[0] =
        bus_rep_open(server.loop, tcp.url, REP_RECEIVE_BYTES_MAX, 4, answer_echo, &server, &e);
    MUST(reps[0] != NULL);
    reps[1] =
        bus_rep_open(server.loop, ipc.url, REP_RECEIVE_BYTES_MAX, 4, answer_echo, &server, &e);
    MUST(reps[1] != NULL);
    struct sockaddr_in inet = {.sin_family = AF_INET, .sin_port = htons(tcp.port)};
    inet.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    struct sockaddr_un local = {.sun_family = AF_UNIX};
    snprintf(local.sun_path, sizeof local.sun_path, "%s/socket", f->path);
    drop_connections((struct sockaddr *)&inet, sizeof inet);
    drop_connections((struct sockaddr *)&local, sizeof local);
    assert_true(is_answered_in_the_end(server.loop, tcp.url));
    assert_true(is_answered_in_the_end(server.loop, ipc.url));
    bus_rep_close(reps[0]);
    bus_rep_close(reps[1]);
    loop_free(server.loop);
}

static void claimed_length_costs_no_memory(void **state)
{
    (void)state;
    struct place place = tcp_place();
    struct server server = {.loop = new_loop()};
    server.rep = bus_rep_open(server.loop, place.url, 1000, 4, answer_echo, &server, &e);
    MUST(server.rep != NULL);
    size_t before = resident_kilobytes();
    static const uint64_t lengths[] = {1ull << 62, UINT64_MAX, 1ull << 30, 1001};
    for (size_t i = 0; i < 4; i++) {
        int fds[10];
        for (int k = 0; k < 10; k++) {
            fds[k] = raw_connect(place.port);
            raw_handshake(fds[k], SP_REQ);
            raw_length(fds[k], lengths[i]);
        }
        for (int k = 0; k < 10; k++) {
            assert_true(raw_is_closed(fds[k]));
            close(fds[k]);
        }
    }
    assert_true(resident_kilobytes() < before + 20000);
    // The limit itself is fine: 4 bytes of request id and 996 of ours.
    int fd = raw_connect(place.port);
    uint8_t request[1000] = {0x80, 0, 0, 1}, reply[8 + 4 + 4 + 996];
    raw_handshake(fd, SP_REQ);
    raw_length(fd, sizeof request);
    raw_send(fd, request, sizeof request);
    while (server.requests == 0) {
        loop_post(server.loop, stop, server.loop);
        loop_run(server.loop);
    }
    raw_receive(fd, reply, sizeof reply);
    assert_int_equal(memcmp(reply + 8, request, 4), 0);
    close(fd);
    bus_rep_close(server.rep);
    loop_free(server.loop);
}

static void reply_past_the_clients_limit_is_refused(void **state)
{
    (void)state;
    struct place place = tcp_place();
    struct loop *loop = new_loop();
    int listener = raw_listen(place.port);
    struct client client = new_client(loop, place.url);
    bus_req_call(client.req, bytes_of_text("question"), 8000, got_reply, &client);
    int fd = accept(listener, NULL, NULL);
    patient(fd);
    raw_handshake(fd, SP_REP);
    uint8_t request[8 + 4 + 8];
    raw_receive(fd, request, sizeof request);
    raw_length(fd, 1ull << 62);
    loop_run(loop);
    assert_false(client.ok);
    assert_int_equal(client.e.code, CODE_UNREACHABLE);
    close(fd);
    close(listener);
    client_clear(&client);
    loop_free(loop);
}

// ---- publish and subscribe

struct listener {
    struct loop *loop;
    struct bus_sub *sub;
    int ups, downs, messages;
    struct buf last;
};

static void got_message(void *context, struct bytes message)
{
    struct listener *l = context;
    l->messages++;
    l->last.len = 0;
    buf_append(&l->last, message.at, message.len);
    loop_stop(l->loop);
}

static void link_changed(void *context, bool up)
{
    struct listener *l = context;
    l->ups += up;
    l->downs += !up;
    loop_stop(l->loop);
}

static struct listener new_listener(struct loop *loop)
{
    return (struct listener){.loop = loop};
}

static void wait_for_subscribers(const struct bus_pub *pub, unsigned wanted)
{
    uint64_t start = clock_monotonic_ms();
    while (bus_pub_subscribers(pub) != wanted) {
        assert_true(clock_monotonic_ms() - start < 5000);
        sched_yield();
    }
}

static void subscriber_hears_its_topic_at(const char *url)
{
    struct loop *loop = new_loop();
    struct bus_pub *pub = bus_pub_open(loop, url, &e);
    MUST(pub != NULL);
    struct listener l = new_listener(loop), silent = new_listener(loop);
    l.sub = bus_sub_open(loop, url, PUBLISHED_BYTES_MAX, got_message, link_changed, &l, &e);
    MUST(l.sub != NULL);
    silent.sub = bus_sub_open(loop, url, PUBLISHED_BYTES_MAX, got_message, NULL, &silent, &e);
    MUST(silent.sub != NULL);
    while (l.ups == 0)
        loop_run(loop);
    wait_for_subscribers(pub, 2);
    bus_pub_send(pub, bytes_of_text("BNT0 not for us"));
    bus_pub_send(pub, bytes_of_text("BNT1 hello"));
    while (l.messages == 0 || silent.messages == 0)
        loop_run(loop);
    assert_true(is_text(&l.last, "BNT1 hello"));
    assert_int_equal(l.messages, 1);
    // The largest message there is.
    struct buf large = {0};
    buf_reserve(&large, PUBLISHED_BYTES_MAX);
    memset(large.at, 'x', PUBLISHED_BYTES_MAX);
    memcpy(large.at, TOPIC, TOPIC_BYTES);
    large.len = PUBLISHED_BYTES_MAX;
    bus_pub_send(pub, buf_bytes(&large));
    while (l.messages == 1 || silent.messages == 1)
        loop_run(loop);
    assert_true(bytes_equal(buf_bytes(&l.last), buf_bytes(&large)));
    buf_clear(&large);
    bus_sub_close(silent.sub);
    wait_for_subscribers(pub, 1);
    bus_pub_close(pub);
    while (l.downs == 0)
        loop_run(loop);
    assert_int_equal(l.ups, 1);
    bus_sub_close(l.sub);
    loop_free(loop);
    buf_clear(&l.last);
    buf_clear(&silent.last);
}

static void subscriber_hears_its_topic_over_tcp(void **state)
{
    (void)state;
    subscriber_hears_its_topic_at(tcp_place().url);
}

static void subscriber_hears_its_topic_over_ipc(void **state)
{
    subscriber_hears_its_topic_at(ipc_place(*state).url);
}

static void broken_link_is_dialled_again(void **state)
{
    (void)state;
    struct place place = tcp_place();
    struct loop *loop = new_loop();
    int listener =
        raw_listen(place.port); // stays, so that the first try succeeds: at most a second later
    struct listener l = new_listener(loop);
    l.sub = bus_sub_open(loop, place.url, PUBLISHED_BYTES_MAX, got_message, link_changed, &l, &e);
    MUST(l.sub != NULL);
    for (int i = 1; i <= 2; i++) {
        int fd = accept(listener, NULL, NULL);
        patient(fd);
        raw_handshake(fd, SP_PUB);
        while (l.ups < i)
            loop_run(loop);
        raw_length(fd, 8);
        raw_send(fd, "BNT1 one", 8);
        while (l.messages < i)
            loop_run(loop);
        close(fd);
        while (l.downs < i)
            loop_run(loop);
    }
    close(listener);
    bus_sub_close(l.sub);
    loop_free(loop);
    buf_clear(&l.last);
}

static void message_past_the_limit_breaks_the_link(void **state)
{
    (void)state;
    struct place place = tcp_place();
    struct loop *loop = new_loop();
    int listener = raw_listen(place.port);
    struct listener l = new_listener(loop);
    l.sub = bus_sub_open(loop, place.url, PUBLISHED_BYTES_MAX, got_message, link_changed, &l, &e);
    MUST(l.sub != NULL);
    int fd = accept(listener, NULL, NULL);
    patient(fd);
    raw_handshake(fd, SP_PUB);
    while (l.ups == 0)
        loop_run(loop);
    raw_length(fd, PUBLISHED_BYTES_MAX + 1);
    assert_true(raw_is_closed(fd));
    while (l.downs == 0)
        loop_run(loop);
    assert_int_equal(l.messages, 0);
    close(fd);
    close(listener);
    bus_sub_close(l.sub);
    loop_free(loop);
}

static void only_subscribers_are_counted(void **state)
{
    (void)state;
    struct place place = tcp_place();
    struct loop *loop = new_loop();
    struct bus_pub *pub = bus_pub_open(loop, place.url, &e);
    MUST(pub != NULL);
    // Peers of a wrong kind are refused after the handshake; the count must not drift by them.
    static const uint8_t wrong[] = {SP_REQ, SP_REP, SP_PUB};
    for (int i = 0; i < 9; i++) {
        int fd = raw_connect(place.port);
        uint8_t ours[8] = {0, 'S', 'P', 0, 0, wrong[i % 3], 0, 0}, theirs[8];
        raw_send(fd, ours, sizeof ours);
        (void)!recv(fd, theirs, sizeof theirs, MSG_WAITALL);
        assert_true(raw_is_closed(fd));
        close(fd);
    }
    int fds[20];
    for (int i = 0; i < 20; i++) {
        fds[i] = raw_connect(place.port);
        raw_handshake(fds[i], SP_SUB);
    }
    wait_for_subscribers(pub, 20);
    for (int i = 0; i < 15; i++)
        close(fds[i]);
    wait_for_subscribers(pub, 5);
    // A subscriber has nothing to say.
    raw_length(fds[15], 1ull << 62);
    assert_true(raw_is_closed(fds[15]));
    wait_for_subscribers(pub, 4);
    for (int i = 15; i < 20; i++)
        close(fds[i]);
    wait_for_subscribers(pub, 0);
    bus_pub_close(pub);
    loop_free(loop);
}

static void close_with_messages_on_their_way_to_the_loop(void **state)
{
    (void)state;
    struct place place = tcp_place();
    for (int i = 0; i < 8; i++) {
        struct loop *loop = new_loop();
        struct bus_pub *pub = bus_pub_open(loop, place.url, &e);
        MUST(pub != NULL);
        struct listener l = new_listener(loop);
        l.sub =
            bus_sub_open(loop, place.url, PUBLISHED_BYTES_MAX, got_message, link_changed, &l, &e);
        MUST(l.sub != NULL);
        wait_for_subscribers(pub, 1);
        for (int k = 0; k < 10; k++)
            bus_pub_send(pub, bytes_of_text("BNT1 hello"));
        if (i % 4 < 2)
            loop_run(loop);
        bus_pub_close(pub);
        wait_for_sockets(0);
        // Up, down and a message are in the loop, more in nng.
        int heard = l.messages + l.ups + l.downs;
        bus_sub_close(l.sub);
        loop_post(loop, stop, loop);
        if (i % 2 == 0) // or the loop is freed with everything in it
            loop_run(loop);
        assert_int_equal(l.messages + l.ups + l.downs, heard); // silence after the close
        loop_free(loop);
        buf_clear(&l.last);
    }
}

// ---- ipc sockets

static void ipc_socket_is_for_owner_and_group(void **state)
{
    const struct folder *f = *state;
    struct place place = ipc_place(f);
    struct loop *loop = new_loop();
    static const mode_t masks[] = {0, 0777};
    for (size_t i = 0; i < 2; i++) {
        mode_t before = umask(masks[i]);
        struct bus_pub *pub = bus_pub_open(loop, place.url, &e);
        umask(before);
        MUST(pub != NULL);
        struct stat st;
        assert_int_equal(fstatat(f->fd, "socket", &st, 0), 0);
        assert_true(S_ISSOCK(st.st_mode));
        assert_int_equal(st.st_mode & 0777, 0660);
        bus_pub_close(pub);
    }
    loop_free(loop);
}

static void stale_socket_is_replaced_and_a_live_one_is_not(void **state)
{
    const struct folder *f = *state;
    struct place place = ipc_place(f);
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    snprintf(at.sun_path, sizeof at.sun_path, "%s/socket", f->path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    close(fd); // as after a crash
    struct server server = {.loop = new_loop()};
    server.rep =
        bus_rep_open(server.loop, place.url, REP_RECEIVE_BYTES_MAX, 4, answer_echo, &server, &e);
    MUST(server.rep != NULL);
    struct bus_rep *second =
        bus_rep_open(server.loop, place.url, REP_RECEIVE_BYTES_MAX, 4, answer_echo, &server, &e);
    MUST_FAIL(second != NULL, CODE_IO);
    assert_contains(e.text, place.url);
    struct client client = new_client(server.loop, place.url);
    bus_req_call(client.req, bytes_of_text("x"), 5000, got_reply, &client);
    loop_run(server.loop);
    must(client.ok, &client.e, "call", __FILE__, __LINE__);
    client_clear(&client);
    bus_rep_close(server.rep);
    loop_free(server.loop);
}

static void bad_address_is_refused_at_once(void **state)
{
    (void)state;
    struct loop *loop = new_loop();
    static const char *const urls[] = {"nonsense", "gopher://x", ""};
    for (size_t i = 0; i < 3; i++) {
        struct server server = {.loop = loop};
        struct listener l = new_listener(loop);
        struct buf reply = {0};
        MUST_FAIL(bus_pub_open(loop, urls[i], &e) != NULL, CODE_CONFIG);
        MUST_FAIL(
            bus_rep_open(loop, urls[i], 1000, 1, answer_echo, &server, &e) != NULL, CODE_CONFIG);
        MUST_FAIL(
            bus_sub_open(loop, urls[i], 1000, got_message, NULL, &l, &e) != NULL, CODE_CONFIG);
        MUST_FAIL(bus_req_open(loop, urls[i], 1000, &e) != NULL, CODE_CONFIG);
        MUST_FAIL(bus_ask(urls[i], 1000, bytes_of_text("x"), 100, &reply, &e), CODE_CONFIG);
    }
    MUST_FAIL(bus_pub_open(loop, "ipc:///no/such/folder/socket", &e) != NULL, CODE_IO);
    assert_contains(e.text, "/no/such/folder/socket");
    loop_free(loop);
}

// ---- the blocking question

struct asker {
    struct loop *loop;
    char url[120];
    pthread_t thread;
    bool ok;
    struct buf reply;
    struct err e;
};

static void *ask(void *context)
{
    struct asker *asker = context;
    asker->ok =
        bus_ask(asker->url, 10000, bytes_of_text("question"), 5000, &asker->reply, &asker->e);
    loop_post(asker->loop, stop, asker->loop);
    return NULL;
}

static void question_is_answered_at(const char *url)
{
    struct server server = {.loop = new_loop()};
    server.rep = bus_rep_open(server.loop, url, REP_RECEIVE_BYTES_MAX, 4, answer_echo, &server, &e);
    MUST(server.rep != NULL);
    struct asker asker = {.loop = server.loop};
    strcpy(asker.url, url);
    buf_append_text(&asker.reply, "> ");
    assert_int_equal(pthread_create(&asker.thread, NULL, ask, &asker), 0);
    loop_run(server.loop);
    pthread_join(asker.thread, NULL);
    MUST(asker.ok);
    assert_true(is_text(&asker.reply, "> re: question")); // appended
    buf_clear(&asker.reply);
    bus_rep_close(server.rep);
    loop_free(server.loop);
}

static void question_is_answered(void **state)
{
    question_is_answered_at(ipc_place(*state).url);
    question_is_answered_at(tcp_place().url);
}

static void question_to_nobody_fails_at_once_with_the_reason(void **state)
{
    const struct folder *f = *state;
    struct place tcp = tcp_place(), ipc = ipc_place(f);
    struct buf reply = {0};
    uint64_t start = clock_monotonic_ms();
    MUST_FAIL(bus_ask(tcp.url, 1000, bytes_of_text("x"), 9000, &reply, &e), CODE_UNREACHABLE);
    assert_contains(e.text, tcp.url);
    assert_contains(e.text, strerror(ECONNREFUSED));
    MUST_FAIL(bus_ask(ipc.url, 1000, bytes_of_text("x"), 9000, &reply, &e), CODE_UNREACHABLE);
    assert_contains(e.text, ipc.url);
    assert_contains(e.text, strerror(ENOENT));
    assert_true(clock_monotonic_ms() - start < 4000);
}

static void question_to_the_silent_ends_at_its_deadline(void **state)
{
    (void)state;
    struct place place = tcp_place();
    struct buf reply = {0};
    int listener = raw_listen(place.port); // connects, and says nothing
    uint64_t start = clock_monotonic_ms();
    MUST_FAIL(bus_ask(place.url, 1000, bytes_of_text("x"), 200, &reply, &e), CODE_UNREACHABLE);
    uint64_t passed = clock_monotonic_ms() - start;
    assert_true(passed >= 190 && passed < 4000);
    close(listener);
}

// nng 1.5 itself leaks the pipes of a listener that went deaf, and a message that is sent to a
// subscriber who is just leaving. The tests that bring this about come last, after a look for leaks
// of our own.
int __lsan_do_recoverable_leak_check(void) __attribute__((weak));
int __lsan_is_turned_off(void);

static int leaks_are_nngs;

int __lsan_is_turned_off(void)
{
    return leaks_are_nngs;
}

int main(void)
{
    sockets_at_start = open_sockets();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_answered_over_tcp),
        with_folder(requests_are_answered_over_ipc),
        cmocka_unit_test(answers_find_their_clients_in_any_order),
        cmocka_unit_test(no_more_than_parallel_are_under_way),
        cmocka_unit_test(nobody_there_is_unreachable),
        cmocka_unit_test(silence_is_a_timeout_and_a_late_answer_is_harmless),
        cmocka_unit_test(peer_that_hangs_up_is_unreachable_long_before_the_timeout),
        cmocka_unit_test(peer_that_hangs_up_after_each_handshake_is_not_hammered),
        cmocka_unit_test(closed_call_is_dropped_without_its_callback),
        cmocka_unit_test(close_with_an_outcome_on_its_way_to_the_loop),
        cmocka_unit_test(close_with_requests_on_their_way_to_the_loop),
        cmocka_unit_test(client_may_be_closed_by_its_own_callback),
        cmocka_unit_test(garbage_is_disconnected_and_others_are_served),
        cmocka_unit_test(claimed_length_costs_no_memory),
        cmocka_unit_test(reply_past_the_clients_limit_is_refused),
        cmocka_unit_test(subscriber_hears_its_topic_over_tcp),
        with_folder(subscriber_hears_its_topic_over_ipc),
        cmocka_unit_test(broken_link_is_dialled_again),
        cmocka_unit_test(message_past_the_limit_breaks_the_link),
        cmocka_unit_test(only_subscribers_are_counted),
        with_folder(ipc_socket_is_for_owner_and_group),
        with_folder(stale_socket_is_replaced_and_a_live_one_is_not),
        cmocka_unit_test(bad_address_is_refused_at_once),
        with_folder(question_is_answered),
        with_folder(question_to_nobody_fails_at_once_with_the_reason),
        cmocka_unit_test(question_to_the_silent_ends_at_its_deadline),
    };
    const struct CMUnitTest leaking[] = {
        cmocka_unit_test(close_with_messages_on_their_way_to_the_loop),
        with_folder(dropped_connections_silence_no_listener),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (__lsan_do_recoverable_leak_check != NULL && __lsan_do_recoverable_leak_check() != 0)
        failed++;
    leaks_are_nngs = 1;
    return failed + cmocka_run_group_tests(leaking, NULL, NULL);
}
