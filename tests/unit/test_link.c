// When bento-node takes its way to the broker for dead: the real link, over real sockets, with a clock that can be set on as if
// the machine had slept (the linker puts slept() in the place of clock_boottime_ms).
#include "link.h"

#include "loop.h"
#include "node_test.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

uint64_t __real_clock_boottime_ms(void);
uint64_t __wrap_clock_boottime_ms(void);

static uint64_t slept_ms;

uint64_t __wrap_clock_boottime_ms(void)
{
    return __real_clock_boottime_ms() + slept_ms;
}

static struct err e;

// A broker in our own loop.
struct broker {
    struct bus_pub *pub;
    struct bus_rep *rep;
    char pub_url[64], rep_url[64];
    bool silent;
    unsigned asked;
};

struct place {
    struct folder *folder;
    struct config config;
    struct loop *loop;
    struct broker brokers[2];
    struct link *link;
    struct loop_watch *patience, *tick;
    unsigned connected, ticks, awaited;
    unsigned *counter;
};

static uint16_t free_port(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof at;
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    close(fd);
    return ntohs(at.sin_port);
}

static void on_request(void *context, struct bus_request *request, struct bytes message)
{
    struct broker *broker = context;
    struct buf reply = {0};
    (void)message;
    broker->asked++;
    reply_put_open(&reply, CODE_NONE, 0);
    bus_rep_answer(request, buf_bytes(&reply));
    buf_clear(&reply);
}

static void on_tick_due(void *context)
{
    struct place *place = context;
    struct buf tick = {0};
    tick_encode(1, 1, &tick);
    for (size_t i = 0; i < 2; i++) {
        if (place->brokers[i].pub != NULL && !place->brokers[i].silent) {
            bus_pub_send(place->brokers[i].pub, buf_bytes(&tick));
        }
    }
    buf_clear(&tick);
    loop_timer_set(place->tick, 50);
}

static void count(struct place *place, unsigned *counter)
{
    ++*counter;
    if (counter == place->counter && *counter >= place->awaited) {
        loop_stop(place->loop);
    }
}

static void on_connected(void *context)
{
    struct place *place = context;
    count(place, &place->connected);
}

static void on_tick(void *context, uint64_t epoch, uint64_t release)
{
    struct place *place = context;
    (void)epoch;
    (void)release;
    count(place, &place->ticks);
}

static void on_release(void *context, const struct published *message)
{
    (void)context;
    (void)message;
}

static void on_patience(void *context)
{
    loop_stop(((struct place *)context)->loop);
}

// Runs until the counter has grown by one; false after that time.
static bool one_more_within(struct place *place, unsigned *counter, uint64_t ms)
{
    unsigned before = *counter;
    place->counter = counter;
    place->awaited = before + 1;
    loop_timer_set(place->patience, ms);
    loop_run(place->loop);
    place->counter = NULL;
    return *counter > before;
}

static void broker_open(struct place *place, size_t i)
{
    struct broker *broker = &place->brokers[i];
    broker->pub = bus_pub_open(place->loop, broker->pub_url, &e);
    broker->rep = bus_rep_open(
        place->loop, broker->rep_url, REP_RECEIVE_BYTES_MAX, 4, on_request, broker, &e);
    assert_non_null(broker->pub);
    assert_non_null(broker->rep);
}

static void broker_close(struct broker *broker)
{
    bus_rep_close(broker->rep);
    bus_pub_close(broker->pub);
    broker->rep = NULL;
    broker->pub = NULL;
}

static int setup(void **state)
{
    struct place *place = xcalloc(1, sizeof *place);
    void *folder;
    if (folder_setup(&folder) != 0) {
        return -1;
    }
    slept_ms = 0;
    place->folder = folder;
    place->loop = loop_new();
    place->patience = loop_timer(place->loop, true, on_patience, place);
    place->tick = loop_timer(place->loop, true, on_tick_due, place);
    config_in(place->folder->path, &place->config);
    place->config.endpoint_count = 2;
    for (size_t i = 0; i < 2; i++) {
        struct broker *broker = &place->brokers[i];
        snprintf(broker->pub_url, sizeof broker->pub_url, "tcp://127.0.0.1:%u", free_port());
        snprintf(broker->rep_url, sizeof broker->rep_url, "tcp://127.0.0.1:%u", free_port());
        place->config.endpoints[i] = (struct endpoint){
            .tunnel = TUNNEL_NONE, .pub = broker->pub_url, .rep = broker->rep_url};
    }
    assert_int_equal(mkdirat(place->folder->fd, "node", 0700), 0);
    loop_timer_set(place->tick, 50);
    *state = place;
    return 0;
}

static int teardown(void **state)
{
    struct place *place = *state;
    void *folder = place->folder;
    link_close(place->link);
    broker_close(&place->brokers[0]);
    broker_close(&place->brokers[1]);
    loop_free(place->loop);
    free(place);
    return folder_teardown(&folder);
}

static void link_start(struct place *place)
{
    const struct link_events events = {on_connected, on_release, on_tick, place};
    place->link = link_open(place->loop, &place->config, &events);
}

static const char *remembered(struct place *place)
{
    static char text[ENDPOINT_NAME_BYTES];
    struct buf content = {0};
    MUST(fs_read(place->folder->fd, "node/endpoint", sizeof text, &content, &e));
    snprintf(text, sizeof text, "%s", buf_text(&content));
    buf_clear(&content);
    return text;
}

#define LONG_MS 20000

static void alive_endpoint_is_remembered_and_is_the_first_after_a_restart(void **state)
{
    struct place *place = *state;
    put_file(place->folder->fd, "node/endpoint", place->brokers[1].pub_url, 0600);
    broker_open(place, 0);
    broker_open(place, 1);
    place->brokers[0].silent = true; // ticks can only come from the second one
    link_start(place);
    assert_true(one_more_within(place, &place->ticks, LONG_MS));
    assert_string_equal(remembered(place), place->brokers[1].pub_url);
    link_close(place->link);
    put_file(place->folder->fd, "node/endpoint", "ssh://of-an-older-configuration", 0600);
    place->brokers[0].silent = false;
    place->brokers[1].silent = true;
    link_start(place);
    assert_true(one_more_within(place, &place->ticks, LONG_MS));
    assert_string_equal(remembered(place), place->brokers[0].pub_url);
}

static void silence_of_two_and_a_half_ticks_leads_to_the_next_endpoint(void **state)
{
    struct place *place = *state;
    place->config.tick_s = 1;
    broker_open(place, 0);
    broker_open(place, 1);
    link_start(place);
    assert_true(one_more_within(place, &place->ticks, LONG_MS));
    place->brokers[0].silent = true;
    uint64_t started_ms = clock_monotonic_ms();
    while (one_more_within(place, &place->ticks, 1000)) { // what was on its way
        if (clock_monotonic_ms() - started_ms > 2000) {
            break;
        }
    }
    assert_true(one_more_within(place, &place->ticks, LONG_MS));
    assert_string_equal(remembered(place), place->brokers[1].pub_url);
}

static void restarted_broker_is_redialled_and_asked(void **state)
{
    struct place *place = *state;
    uint64_t source;
    place->config.endpoint_count = 1;
    broker_open(place, 0);
    link_start(place);
    assert_true(one_more_within(place, &place->ticks, LONG_MS));
    source = link_source(place->link);
    broker_close(&place->brokers[0]);
    broker_open(place, 0);
    assert_true(one_more_within(place, &place->connected, LONG_MS));
    assert_int_equal(link_source(place->link), source); // the same tunnel
}

// link.c looks at the clocks every 30 s of the one that runs on in a sleep, so at once after a long one. A
// test cannot make the kernel's timers jump, so this one waits for the look.
static void sleep_without_an_answer_gives_the_tunnel_up(void **state)
{
    struct place *place = *state;
    uint64_t source;
    place->config.endpoint_count = 1;
    broker_open(place, 0);
    link_start(place);
    assert_true(one_more_within(place, &place->ticks, LONG_MS));
    source = link_source(place->link);
    slept_ms = 3600000;
    place->brokers[0].silent = true;
    assert_true(one_more_within(place, &place->connected, 40000)); // the head is asked for
    uint64_t woke_ms = clock_monotonic_ms();
    assert_true(one_more_within(place, &place->connected, LONG_MS)); // over a new tunnel
    assert_int_equal(link_source(place->link), source + 1);
    uint64_t waited_ms = clock_monotonic_ms() - woke_ms;
    assert_true(waited_ms > 9000 && waited_ms < 15000);
}

static void blamed_endpoint_is_left_for_the_next_one(void **state)
{
    struct place *place = *state;
    broker_open(place, 0);
    broker_open(place, 1);
    link_start(place);
    assert_true(one_more_within(place, &place->ticks, LONG_MS));
    assert_string_equal(remembered(place), place->brokers[0].pub_url);
    err_set(&e, CODE_HASH, "wrong");
    link_blame(place->link, &e);
    assert_true(one_more_within(place, &place->ticks, LONG_MS));
    assert_string_equal(remembered(place), place->brokers[1].pub_url);
}

static void only_endpoint_is_kept_whatever_it_did(void **state)
{
    struct place *place = *state;
    place->config.endpoint_count = 1;
    broker_open(place, 0);
    link_start(place);
    assert_true(one_more_within(place, &place->ticks, LONG_MS));
    uint64_t source = link_source(place->link);
    err_set(&e, CODE_HASH, "wrong");
    link_blame(place->link, &e);
    assert_true(one_more_within(place, &place->ticks, LONG_MS));
    assert_int_equal(link_source(place->link), source);
}

#define with_place(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_place(alive_endpoint_is_remembered_and_is_the_first_after_a_restart),
        with_place(silence_of_two_and_a_half_ticks_leads_to_the_next_endpoint),
        with_place(restarted_broker_is_redialled_and_asked),
        with_place(sleep_without_an_answer_gives_the_tunnel_up),
        with_place(blamed_endpoint_is_left_for_the_next_one),
        with_place(only_endpoint_is_kept_whatever_it_did),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
