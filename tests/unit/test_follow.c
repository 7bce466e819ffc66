// Following a release: a real broker, true signatures, nodes that report before and while somebody
// waits.
#define NODES 3
#include "real_broker.h"

#include "bus.h"
#include "follow.h"
#include "message.h"

#include <pthread.h>

static struct made_release *made;
static struct release release;
static struct remote *broker;

static int set_up_release(void **state)
{
    struct err e;
    set_up(state);
    struct scene *s = *state;
    broker = open_remote(s->admin);
    for (size_t i = 0; i < NODES; i++) {
        uint8_t hash[HASH_BYTES];
        change_node(s->made, i, 100);
        sha256(buf_bytes(&s->made->nodes[i].bundle), hash);
        must(remote_put_blob(broker, hash, buf_bytes(&s->made->nodes[i].bundle), &e), &e);
    }
    made = make_release(s->made, 1, 1000, FAR_FUTURE);
    must(publish(broker, nothing, made, &e), &e);
    struct bytes tickets[NODES];
    for (size_t i = 0; i < NODES; i++)
        tickets[i] = buf_bytes(&made->ticket[i]);
    must(release_verify(&s->made->trust, buf_bytes(&made->envelope), buf_bytes(&made->roster),
             tickets, NODES, &release, &e),
        &e);
    return 0;
}

static int tear_down_release(void **state)
{
    release_clear(&release);
    remote_close(broker);
    free_release(made);
    return tear_down(state);
}

static void deliver_of(
    const struct scene *s, uint64_t number, size_t node, enum node_state state, enum code code)
{
    struct err e;
    char url[128];
    struct buf request = {0}, reply = {0}, message = {0};
    struct status status = {.seq = clock_unix_ns(),
        .time = clock_unix_s(),
        .epoch = 1,
        .release = number,
        .speaks = 1,
        .state = state,
        .code = code};
    memcpy(status.fleet, s->made->trust.fleet, sizeof status.fleet);
    memcpy(status.node_id, s->made->nodes[node].id, HASH_BYTES);
    memcpy(status.head_hash, made->head_hash, HASH_BYTES);
    memset(status.digest, 'd', HASH_BYTES);
    memset(status.applied, state == NODE_UP_TO_DATE ? 'd' : 'o', HASH_BYTES);
    status_sign(&status, &s->made->nodes[node].key, &message);
    snprintf(url, sizeof url, "ipc://%s/rep.sock", s->folder);
    request_put_open(&request, OP_PUT_STATUS, 1);
    wire_put_bin(&request, buf_bytes(&message));
    must(bus_ask(url, REQ_RECEIVE_BYTES_MAX, buf_bytes(&request), READY_MS, &reply, &e), &e);
    struct wire_in in;
    enum code answer;
    size_t elements;
    must(reply_open(buf_bytes(&reply), &in, &answer, &elements, &e), &e);
    assert_string_equal(code_name(answer), "OK");
    buf_clear(&request);
    buf_clear(&reply);
    buf_clear(&message);
}

static void deliver(const struct scene *s, size_t node, enum node_state state, enum code code)
{
    deliver_of(s, made->head.release, node, state, code);
}

static void ends_with(int expected, const bool *watched, uint64_t seconds)
{
    struct err e;
    struct followed followed;
    struct follow follow = {.remote = broker,
        .release = &release,
        .watched = watched,
        .seconds = seconds,
        .name_width = 8,
        .interrupt = -1};
    must(follow_release(&follow, &followed, &e), &e);
    assert_int_equal(followed.status, expected);
}

static void all_converged_ends_at_once(void **state)
{
    for (size_t i = 0; i < NODES; i++)
        deliver(*state, i, NODE_UP_TO_DATE, CODE_OK);
    uint64_t start = clock_monotonic_ms();
    ends_with(0, (const bool[]){true, true, true}, 60);
    assert_true(clock_monotonic_ms() - start < 30000);
}

static void nodes_that_nobody_named_are_not_waited_for(void **state)
{
    deliver(*state, 1, NODE_UP_TO_DATE, CODE_OK);
    deliver(*state, 2, NODE_FAILED, CODE_BUILD);
    ends_with(0, (const bool[]){false, true, false}, 60);
}

static void one_that_rolled_back_is_a_failure(void **state)
{
    deliver(*state, 0, NODE_UP_TO_DATE, CODE_OK);
    deliver(*state, 1, NODE_ROLLED_BACK, CODE_CONNECTIVITY);
    ends_with(3, (const bool[]){true, true, false}, 60);
}

static void one_that_is_still_at_it_is_pending_at_the_deadline(void **state)
{
    deliver(*state, 0, NODE_UP_TO_DATE, CODE_OK);
    deliver(*state, 1, NODE_CONFIRMING, CODE_OK);
    ends_with(2, (const bool[]){true, true, false}, 1);
}

static void *report(void *scene)
{
    static const enum node_state steps[] = {
        NODE_BUILDING, NODE_TRYING, NODE_CONFIRMING, NODE_UP_TO_DATE};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
        for (size_t node = 0; node < NODES; node++)
            deliver(scene, node, steps[i], CODE_OK);
    return NULL;
}

static void reports_that_come_meanwhile_are_heard(void **state)
{
    pthread_t reporter;
    assert_int_equal(pthread_create(&reporter, NULL, report, *state), 0);
    ends_with(0, (const bool[]){true, true, true}, 60);
    assert_int_equal(pthread_join(reporter, NULL), 0);
}

// ---- waves

// All nodes are in it.
static void wave_ends(uint64_t gate_seconds, int interrupt, enum follow_end expected, int status,
    struct followed *followed)
{
    struct err e;
    struct follow follow = {.remote = broker,
        .release = &release,
        .watched = (const bool[]){true, true, true},
        .seconds = 60,
        .name_width = 8,
        .interrupt = interrupt,
        .wave = true,
        .gate_seconds = gate_seconds};
    must(follow_release(&follow, followed, &e), &e);
    assert_int_equal(followed->end, expected);
    assert_int_equal(followed->status, status);
}

static void converge(const struct scene *s)
{
    for (size_t i = 0; i < NODES; i++)
        deliver(s, i, NODE_UP_TO_DATE, CODE_OK);
}

static void first_failure_ends_a_wave(void **state)
{
    struct followed followed;
    deliver(*state, 1, NODE_ROLLED_BACK, CODE_CONNECTIVITY);
    wave_ends(600, -1, FOLLOW_FAILED, 3, &followed);
    assert_true(bytes_equal(followed.bad.name, release.roster.nodes[1].name));
    assert_non_null(strstr(followed.why, "rolled back: CONNECTIVITY"));
}

static void wave_is_over_when_the_gate_is(void **state)
{
    struct followed followed;
    converge(*state);
    uint64_t start = clock_monotonic_ms();
    wave_ends(1, -1, FOLLOW_DONE, 0, &followed);
    assert_true(clock_monotonic_ms() - start >= 1000);
}

static void reboot_that_waits_does_not_hold_a_wave(void **state)
{
    struct followed followed;
    converge(*state);
    deliver(*state, 0, NODE_REBOOT_PENDING, CODE_OK);
    wave_ends(0, -1, FOLLOW_DONE, 2, &followed);
}

static void *fail_later(void *scene)
{
    deliver(scene, 0, NODE_TRYING, CODE_OK);
    deliver(scene, 0, NODE_ROLLED_BACK, CODE_HEALTH);
    return NULL;
}

static void what_fails_in_the_gate_ends_the_wave(void **state)
{
    struct followed followed;
    pthread_t reporter;
    converge(*state);
    assert_int_equal(pthread_create(&reporter, NULL, fail_later, *state), 0);
    wave_ends(600, -1, FOLLOW_FAILED, 3, &followed);
    assert_int_equal(pthread_join(reporter, NULL), 0);
}

static void foreign_release_ends_a_wave(void **state)
{
    struct followed followed;
    deliver(*state, 0, NODE_UP_TO_DATE, CODE_OK);
    deliver_of(*state, made->head.release + 1, 2, NODE_UP_TO_DATE, CODE_OK);
    wave_ends(600, -1, FOLLOW_OVERTAKEN, 2, &followed);
    assert_true(bytes_equal(followed.bad.name, release.roster.nodes[2].name));
}

static void who_wants_to_leave_may(void **state)
{
    struct followed followed;
    int fds[2];
    deliver(*state, 0, NODE_UP_TO_DATE, CODE_OK);
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(write(fds[1], "!", 1), 1);
    wave_ends(600, fds[0], FOLLOW_INTERRUPTED, 2, &followed);
    close(fds[0]);
    close(fds[1]);
}

#define T(test) cmocka_unit_test_setup_teardown(test, set_up_release, tear_down_release)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(all_converged_ends_at_once),
        T(nodes_that_nobody_named_are_not_waited_for),
        T(one_that_rolled_back_is_a_failure),
        T(one_that_is_still_at_it_is_pending_at_the_deadline),
        T(reports_that_come_meanwhile_are_heard),
        T(first_failure_ends_a_wave),
        T(wave_is_over_when_the_gate_is),
        T(reboot_that_waits_does_not_hold_a_wave),
        T(what_fails_in_the_gate_ends_the_wave),
        T(foreign_release_ends_a_wave),
        T(who_wants_to_leave_may),
    };
    assert_true(sodium_init() >= 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
