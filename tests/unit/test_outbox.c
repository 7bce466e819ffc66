// Statuses of a node that is cut off for long: what is kept and what can be done without; and what becomes of one that the
// collector will never take.
#include "agent.h"

#include "fs.h"
#include "keys.h"
#include "node_test.h"
#include "proc.h"

#include <sodium.h>

static struct err e;

struct place {
    struct folder *folder;
    struct config config;
    struct agent agent;
    struct secret_key *identity;
    char key_path[128];
    uint64_t seq;
};

static void nothing(void *context)
{
    (void)context;
}

static int setup(void **state)
{
    struct place *place = xcalloc(1, sizeof *place);
    struct agent *agent = &place->agent;
    void *folder;
    if (sodium_init() < 0 || folder_setup(&folder) != 0) {
        return -1;
    }
    *state = place;
    place->folder = folder;
    place->seq = 1000;
    config_in(place->folder->path, &place->config);
    snprintf(place->key_path, sizeof place->key_path, "%s/identity", place->folder->path);
    place->config.identity = place->key_path;
    const char *argv[] = {
        "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", place->key_path, NULL};
    struct proc_result result;
    MUST(proc_run(argv, NULL, NULL, (struct bytes){0}, 4096, 20000, false, &result, &e));
    assert_int_equal(result.status, 0);
    proc_result_clear(&result);
    MUST(keys_load_identity(&place->config, &place->identity, &e));
    agent->config = &place->config;
    agent->loop = loop_new();
    agent->beat = loop_timer(agent->loop, false, nothing, NULL);
    agent->deadline = loop_timer(agent->loop, false, nothing, NULL);
    agent->last = &agent->first;
    public_key_id(&place->identity->public, agent->node_id);
    MUST(spool_open(&place->config, &agent->spool, &e));
    return 0;
}

static void drop_events(struct agent *agent)
{
    while (agent->first != NULL) {
        struct queued_event *event = agent->first;
        agent->first = event->next;
        free(event);
    }
    agent->last = &agent->first;
}

static int teardown(void **state)
{
    struct place *place = *state;
    void *folder = place->folder;
    drop_events(&place->agent);
    keys_free(&place->identity);
    spool_close(&place->agent.spool);
    loop_free(place->agent.loop);
    free(place);
    return folder_teardown(&folder);
}

// An older one, as the last runs have left them. about: which release.
static uint64_t left(struct place *place, enum node_state says, uint64_t about)
{
    struct status status = {.seq = ++place->seq,
        .time = place->seq,
        .epoch = 1,
        .release = about,
        .state = says,
        .code = says == NODE_REFUSED ? CODE_SIGNER : CODE_OK,
        .speaks = 1};
    char name[STATUS_NAME_BYTES];
    struct buf text = {0};
    memcpy(status.node_id, place->agent.node_id, HASH_BYTES);
    status.nonce[0] = (uint8_t)place->seq;
    status_sign(&status, place->identity, &text);
    spool_status_name(status.seq, name);
    int fd = openat(place->agent.spool.out, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, text.at, text.len), text.len);
    close(fd);
    buf_clear(&text);
    return status.seq;
}

static uint64_t queue(struct place *place, enum node_state says)
{
    place->agent.apply.report.seq = ++place->seq;
    place->agent.apply.report.state = says;
    outbox_queue(&place->agent);
    drop_events(&place->agent);
    return place->seq;
}

static bool is_there(struct place *place, uint64_t seq)
{
    char name[STATUS_NAME_BYTES];
    spool_status_name(seq, name);
    return fs_exists(place->agent.spool.out, name);
}

static void thousand_statuses_are_kept(void **state)
{
    struct place *place = *state;
    uint64_t first = left(place, NODE_BUILDING, 1);
    for (unsigned i = 0; i < STATUSES_KEPT_PER_NODE - 2; i++) {
        left(place, NODE_BUILDING, 2 + i);
    }
    queue(place, NODE_UP_TO_DATE);
    assert_int_equal(count_entries(place->agent.spool.out), STATUSES_KEPT_PER_NODE);
    assert_true(is_there(place, first));
}

// Repetitions before live phases, live phases before outcomes, the oldest first.
static void what_is_said_again_goes_first_then_live_phases_and_outcomes_never(void **state)
{
    struct place *place = *state;
    uint64_t outcome = left(place, NODE_ROLLED_BACK, 1);
    uint64_t live = left(place, NODE_TRYING, 2);
    uint64_t refusal = left(place, NODE_REFUSED, 3);
    uint64_t again = left(place, NODE_REFUSED, 3);
    for (unsigned i = 0; i < STATUSES_KEPT_PER_NODE - 4; i++) {
        left(place, NODE_FAILED, 4 + i);
    }
    queue(place, NODE_UP_TO_DATE);
    assert_false(is_there(place, refusal));
    assert_true(is_there(place, again));
    assert_true(is_there(place, live));
    queue(place, NODE_FAILED);
    assert_false(is_there(place, live));
    assert_true(is_there(place, outcome));
    assert_int_equal(count_entries(place->agent.spool.out), STATUSES_KEPT_PER_NODE);
    queue(place, NODE_STAYS); // nothing but outcomes: one more than a thousand
    assert_true(is_there(place, outcome));
    assert_int_equal(count_entries(place->agent.spool.out), STATUSES_KEPT_PER_NODE + 1);
}

// Somebody may wait for just this one.
static void newest_is_kept_although_it_is_a_live_phase(void **state)
{
    struct place *place = *state;
    for (unsigned i = 0; i < STATUSES_KEPT_PER_NODE; i++) {
        left(place, NODE_FAILED, 1 + i);
    }
    assert_true(is_there(place, queue(place, NODE_CONFIRMING)));
}

static void status_that_is_refused_for_good_is_dropped_without_counting_as_acknowledged(
    void **state)
{
    struct place *place = *state;
    uint64_t seq = queue(place, NODE_UP_TO_DATE);
    char name[STATUS_NAME_BYTES];
    struct buf text = {0}, acked = {0};
    struct acks *acks = xcalloc(1, sizeof *acks);
    spool_status_name(seq, name);
    MUST(fs_read(place->agent.spool.out, name, STATUS_BYTES_MAX, &text, &e));
    acks->count = 1;
    acks->list[0] = (struct ack){.seq = seq, .refused = true};
    acks_encode(acks, &acked); // of other bytes: nothing happens
    MUST(fs_write(place->agent.spool.in, "acked", buf_bytes(&acked), 0600, &e));
    outbox_collect(&place->agent);
    assert_true(is_there(place, seq));
    sha256(buf_bytes(&text), acks->list[0].hash);
    buf_clear(&acked);
    acks_encode(acks, &acked);
    MUST(fs_write(place->agent.spool.in, "acked", buf_bytes(&acked), 0600, &e));
    outbox_collect(&place->agent);
    assert_false(is_there(place, seq));
    assert_null(place->agent.first); // no event
    assert_true(outbox_is_empty(&place->agent));
    buf_clear(&text);
    buf_clear(&acked);
    free(acks);
}

#define with_place(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_place(thousand_statuses_are_kept),
        with_place(what_is_said_again_goes_first_then_live_phases_and_outcomes_never),
        with_place(newest_is_kept_although_it_is_a_live_phase),
        with_place(status_that_is_refused_for_good_is_dropped_without_counting_as_acknowledged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
