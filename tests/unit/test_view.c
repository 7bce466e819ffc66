// Each state that people see, with what must hold for it: the list is the specification.
#include "view.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define P "/nix/store/pppppppppppppppppppppppppppppppp-nixos-system-router-22.11"
#define Q "/nix/store/qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq-nixos-system-router-22.11"
#define NOW 1000000
#define POLL 900

// What differs from a node that is up to date with release 5 of epoch 1.
struct row {
    const char *situation;
    enum view_state state;
    enum view_severity severity;
    enum view_remote remote;
    // preconditions
    enum node_state said;
    enum code code;
    uint64_t epoch, release; // of the status; 0: as the head's
    uint32_t attempt;
    bool no_head, no_status, tampered, reboot, automatic, other_head, never_seen, not_in_release;
    const char *expected, *running, *profile; // NULL: P; "": empty
    // conclusions beside the state
    bool behind, settled, inconclusive, tells_code;
};

static const struct row rows[] = {
    // clang-format off
    {"enrolled, never reported", VIEW_NEW, SEVERITY_PENDING, REMOTE_NONE, .no_status = true},
    {"nothing published yet, never reported", VIEW_NEW, SEVERITY_PENDING, REMOTE_NONE, .no_status = true, .no_head = true},
    {"enrolled after the newest release", VIEW_NEW, SEVERITY_PENDING, REMOTE_NONE, .no_status = true, .not_in_release = true},
    {"has had no configuration yet", VIEW_NEW, SEVERITY_PENDING, REMOTE_NONE, NODE_NEW, .expected = "", .running = "", .settled = true},
    {"installed by hand, waits for its first release", VIEW_NEW, SEVERITY_PENDING, REMOTE_OTHER, NODE_NEW, .never_seen = true, .running = Q, .behind = true},
    {"reported, nothing published yet", VIEW_NEW, SEVERITY_PENDING, REMOTE_NONE, NODE_NEW, .never_seen = true, .no_head = true, .not_in_release = true, .settled = true},

    {"newer release out, runs the expected path", VIEW_SYNC_PENDING, SEVERITY_PENDING, REMOTE_SAME, NODE_UP_TO_DATE, .release = 4, .behind = true},
    {"newer release out, failed on the last, runs the expected path", VIEW_SYNC_PENDING, SEVERITY_PENDING, REMOTE_SAME, NODE_FAILED, CODE_BUILD, .release = 4, .behind = true},
    {"newer release out, runs another path", VIEW_REBUILD_PENDING, SEVERITY_PENDING, REMOTE_OTHER, NODE_UP_TO_DATE, .release = 4, .running = Q, .behind = true},
    {"newer release out, no path expected", VIEW_REBUILD_PENDING, SEVERITY_PENDING, REMOTE_UNPINNED, NODE_UP_TO_DATE, .release = 4, .expected = "", .behind = true},
    {"newer release out, builds an older one", VIEW_REBUILD_PENDING, SEVERITY_PENDING, REMOTE_OTHER, NODE_BUILDING, .release = 4, .running = Q, .behind = true},
    {"newer release out, rolled back the last", VIEW_REBUILD_PENDING, SEVERITY_PENDING, REMOTE_OTHER, NODE_ROLLED_BACK, CODE_HEALTH, .release = 4, .running = Q, .behind = true},
    {"newer epoch out, larger number in the old one", VIEW_SYNC_PENDING, SEVERITY_PENDING, REMOTE_SAME, NODE_UP_TO_DATE, .epoch = 1, .release = 9, .behind = true},
    {"newer release out, last one had expired", VIEW_REBUILD_PENDING, SEVERITY_PENDING, REMOTE_OTHER, NODE_REFUSED, CODE_EXPIRED, .release = 4, .running = Q, .behind = true},

    {"says fetching", VIEW_FETCHING, SEVERITY_PENDING, REMOTE_OTHER, NODE_FETCHING, .running = Q},
    {"says building", VIEW_BUILDING, SEVERITY_PENDING, REMOTE_OTHER, NODE_BUILDING, .running = Q},
    {"says checking", VIEW_CHECKING, SEVERITY_PENDING, REMOTE_OTHER, NODE_CHECKING, .running = Q},
    {"says trying", VIEW_TRYING, SEVERITY_PENDING, REMOTE_SAME, NODE_TRYING, .profile = Q},
    {"says confirming", VIEW_CONFIRMING, SEVERITY_PENDING, REMOTE_SAME, NODE_CONFIRMING, .profile = Q},
    {"says committing", VIEW_COMMITTING, SEVERITY_PENDING, REMOTE_SAME, NODE_COMMITTING, .profile = Q},
    {"says reverting", VIEW_REVERTING, SEVERITY_PENDING, REMOTE_OTHER, NODE_REVERTING, .running = Q, .profile = Q},

    {"applied, runs the expected path", VIEW_UP_TO_DATE, SEVERITY_DONE, REMOTE_SAME, NODE_UP_TO_DATE, .settled = true},
    {"applied, no path expected", VIEW_UP_TO_DATE, SEVERITY_DONE, REMOTE_UNPINNED, NODE_UP_TO_DATE, .expected = "", .running = Q, .profile = Q, .settled = true},
    {"self update built the expected path", VIEW_UP_TO_DATE, SEVERITY_DONE, REMOTE_SAME, NODE_UP_TO_DATE, .automatic = true, .settled = true},
    {"applied, some units failed", VIEW_UP_TO_DATE, SEVERITY_DONE, REMOTE_SAME, NODE_UP_TO_DATE, CODE_UNITS, .settled = true, .tells_code = true},
    {"has no profile to speak of", VIEW_UP_TO_DATE, SEVERITY_DONE, REMOTE_SAME, NODE_UP_TO_DATE, .profile = "", .settled = true},
    {"applied at its second attempt", VIEW_UP_TO_DATE, SEVERITY_DONE, REMOTE_SAME, NODE_UP_TO_DATE, .attempt = 2, .settled = true},
    {"self update built the expected path at its second attempt", VIEW_UP_TO_DATE, SEVERITY_DONE, REMOTE_SAME, NODE_UP_TO_DATE, .attempt = 2, .automatic = true, .settled = true},
    {"runs what its self update built", VIEW_AUTO_UPGRADED, SEVERITY_DONE, REMOTE_OTHER, NODE_UP_TO_DATE, .automatic = true, .running = Q, .profile = Q, .settled = true},
    {"runs what its self update built, no path expected", VIEW_AUTO_UPGRADED, SEVERITY_DONE, REMOTE_UNPINNED, NODE_UP_TO_DATE, .automatic = true, .expected = "", .settled = true},
    {"dry-activated", VIEW_DRY, SEVERITY_DONE, REMOTE_OTHER, NODE_DRY, .running = Q, .profile = Q, .settled = true},

    {"kernel is not the booted one", VIEW_REBOOT_PENDING, SEVERITY_PENDING, REMOTE_SAME, NODE_UP_TO_DATE, .reboot = true, .settled = true},
    {"kernel is not the booted one, some units failed", VIEW_REBOOT_PENDING, SEVERITY_PENDING, REMOTE_SAME, NODE_UP_TO_DATE, CODE_UNITS, .reboot = true, .settled = true, .tells_code = true},
    {"installed for the next boot", VIEW_REBOOT_PENDING, SEVERITY_PENDING, REMOTE_OTHER, NODE_REBOOT_PENDING, .reboot = true, .running = Q, .settled = true},
    {"self update waits for the next boot", VIEW_REBOOT_PENDING, SEVERITY_PENDING, REMOTE_OTHER, NODE_REBOOT_PENDING, .reboot = true, .automatic = true, .running = Q, .profile = Q, .settled = true},

    {"evaluation failed", VIEW_FAILING, SEVERITY_FAILING, REMOTE_OTHER, NODE_FAILED, CODE_EVAL, .running = Q, .profile = Q, .settled = true, .tells_code = true},
    {"build failed", VIEW_FAILING, SEVERITY_FAILING, REMOTE_OTHER, NODE_FAILED, CODE_BUILD, .running = Q, .profile = Q, .settled = true, .tells_code = true},
    {"commit failed", VIEW_FAILING, SEVERITY_FAILING, REMOTE_OTHER, NODE_FAILED, CODE_COMMIT, .running = Q, .profile = Q, .settled = true, .tells_code = true},
    {"not reached in the window", VIEW_ROLLED_BACK, SEVERITY_FAILING, REMOTE_OTHER, NODE_ROLLED_BACK, CODE_CONNECTIVITY, .running = Q, .profile = Q, .settled = true, .tells_code = true},
    {"dead man's switch fired", VIEW_ROLLED_BACK, SEVERITY_FAILING, REMOTE_OTHER, NODE_ROLLED_BACK, CODE_DEADMAN, .running = Q, .profile = Q, .settled = true, .tells_code = true},
    {"the network was gone anyway", VIEW_ROLLED_BACK, SEVERITY_FAILING, REMOTE_OTHER, NODE_INCONCLUSIVE, CODE_CONNECTIVITY, .running = Q, .profile = Q, .settled = true, .inconclusive = true, .tells_code = true},
    {"not reached, forbidden to go back", VIEW_STAYS, SEVERITY_FAILING, REMOTE_SAME, NODE_STAYS, CODE_CONNECTIVITY, .settled = true, .tells_code = true},
    {"refused the current release", VIEW_REFUSED, SEVERITY_FAILING, REMOTE_OTHER, NODE_REFUSED, CODE_LOCKOUT, .running = Q, .settled = true, .tells_code = true},
    {"refused an unauthentic head, so its floor stayed", VIEW_REFUSED, SEVERITY_FAILING, REMOTE_SAME, NODE_REFUSED, CODE_SIGNER, .release = 4, .behind = true, .tells_code = true},
    {"refused its first head", VIEW_REFUSED, SEVERITY_FAILING, REMOTE_OTHER, NODE_REFUSED, CODE_THRESHOLD, .never_seen = true, .running = Q, .behind = true, .tells_code = true},

    {"somebody tried another path by hand", VIEW_DRIFTED, SEVERITY_FAILING, REMOTE_OTHER, NODE_UP_TO_DATE, .running = Q, .settled = true},
    {"somebody installed another path for the next boot", VIEW_DRIFTED, SEVERITY_FAILING, REMOTE_SAME, NODE_UP_TO_DATE, .profile = Q, .settled = true},
    {"waits for a boot that would bring another path", VIEW_DRIFTED, SEVERITY_FAILING, REMOTE_OTHER, NODE_REBOOT_PENDING, .reboot = true, .running = Q, .profile = Q, .settled = true},
    {"drifted and needs a reboot", VIEW_DRIFTED, SEVERITY_FAILING, REMOTE_OTHER, NODE_UP_TO_DATE, .reboot = true, .running = Q, .settled = true},

    {"saw a newer release than the broker shows", VIEW_AHEAD, SEVERITY_FAILING, REMOTE_SAME, NODE_UP_TO_DATE, .release = 6},
    {"saw another head under the same number", VIEW_AHEAD, SEVERITY_FAILING, REMOTE_SAME, NODE_UP_TO_DATE, .other_head = true},
    {"saw a release, the broker has none", VIEW_AHEAD, SEVERITY_FAILING, REMOTE_NONE, NODE_UP_TO_DATE, .no_head = true, .not_in_release = true},
    {"stored status does not verify", VIEW_TAMPERED, SEVERITY_FAILING, REMOTE_NONE, .no_status = true, .tampered = true},
    // clang-format on
};

struct scene {
    struct head head;
    uint8_t head_hash[HASH_BYTES];
    struct roster_node node;
    struct status status;
    struct view_input input;
};

static struct bytes path(const char *text)
{
    return text ? bytes_of(text, strlen(text)) : bytes_of(P, strlen(P));
}

static void set_scene(const struct row *row, struct scene *s)
{
    *s = (struct scene){
        .head = {.epoch = row->epoch ? row->epoch + 1 : 1, .release = 5, .expires = NOW + 9}};
    memset(s->head_hash, 'h', HASH_BYTES);
    s->node.expected = path(row->expected);
    s->status = (struct status){
        .state = row->said, .code = row->code, .epoch = row->epoch ? row->epoch : 1};
    s->status.release = row->release ? row->release : 5;
    s->status.time = NOW - 20;
    s->status.attempt = row->attempt ? row->attempt : 1;
    s->status.reboot = row->reboot;
    s->status.automatic = row->automatic;
    s->status.running = path(row->running);
    s->status.profile = path(row->profile);
    memset(s->status.head_hash, row->other_head ? 'x' : 'h', HASH_BYTES);
    memset(s->status.digest, 'd', HASH_BYTES);
    memset(s->status.applied, 'd', HASH_BYTES);
    if (row->never_seen) {
        s->status.epoch = s->status.release = 0;
        memset(s->status.head_hash, 0, HASH_BYTES);
    }
    s->input = (struct view_input){.head = row->no_head ? NULL : &s->head,
        .head_hash = row->no_head ? NULL : s->head_hash,
        .node = row->not_in_release ? NULL : &s->node,
        .status = row->no_status ? NULL : &s->status,
        .tampered = row->tampered,
        .received_s = NOW - 10,
        .now_s = NOW,
        .poll_s = POLL};
}

static void every_situation_has_its_state(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct row *row = &rows[i];
        struct scene scene;
        set_scene(row, &scene);
        struct view v;
        view_of(&scene.input, &v);
        if (v.state != row->state)
            print_error("%s: %s instead of %s\n", row->situation, view_state_key(v.state),
                view_state_key(row->state));
        if (v.remote != row->remote || v.severity != row->severity || v.behind != row->behind ||
            v.settled != row->settled)
            print_error("%s: remote %s, %s, behind %d, settled %d\n", row->situation,
                view_remote_key(v.remote), view_severity_key(v.severity), v.behind, v.settled);
        assert_int_equal(v.state, row->state);
        assert_int_equal(v.severity, row->severity);
        assert_int_equal(v.remote, row->remote);
        assert_int_equal(v.behind, row->behind);
        assert_int_equal(v.settled, row->settled);
        assert_int_equal(v.inconclusive, row->inconclusive);
        assert_int_equal(v.code, row->tells_code ? row->code : CODE_OK);
        assert_false(v.silent);
    }
}

static void every_state_has_a_situation(void **unused)
{
    (void)unused;
    for (int state = 0; state < VIEW_STATE_COUNT; state++) {
        bool found = false;
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
            found |= (int)rows[i].state == state;
        if (!found)
            print_error("%s has no row\n", view_state_key((enum view_state)state));
        assert_true(found);
    }
}

static const struct row settled_row = {.said = NODE_UP_TO_DATE};

static struct view after(uint64_t seconds)
{
    struct scene scene;
    set_scene(&settled_row, &scene);
    scene.input.received_s = NOW - seconds;
    struct view v;
    view_of(&scene.input, &v);
    return v;
}

static void nothing_heard_for_two_and_a_half_polls_is_silent(void **unused)
{
    (void)unused;
    assert_false(after(POLL * 5 / 2).silent);
    struct view v = after(POLL * 5 / 2 + 1);
    assert_true(v.silent);
    assert_int_equal(v.state, VIEW_UP_TO_DATE); // beside the state, not instead of it
    assert_int_equal(v.severity, SEVERITY_FAILING);
}

static struct view signed_before(uint64_t seconds, uint64_t release)
{
    struct scene scene;
    set_scene(&settled_row, &scene);
    scene.status.time = NOW - seconds;
    scene.status.release = scene.head.release = release;
    struct view v;
    view_of(&scene.input, &v);
    return v;
}

static void old_status_said_to_have_come_just_now_is_silent(void **unused)
{
    (void)unused;
    assert_false(signed_before(POLL * 5 / 2, 5).silent);
    struct view v = signed_before(POLL * 5 / 2 + 1, 5);
    assert_true(v.silent);
    assert_int_equal(v.severity, SEVERITY_FAILING);
    assert_int_equal(v.heard_s, NOW - POLL * 5 / 2 - 1);
}

static void node_with_a_wrong_clock_is_as_fresh_as_its_release(void **unused)
{
    (void)unused;
    assert_false(signed_before(NOW, NOW - 60).silent);
    assert_true(signed_before(NOW, NOW - POLL * 3).silent);
    assert_false(signed_before((uint64_t)-3600, 5).silent);
}

static void broker_clock_ahead_of_ours_is_not_silent(void **unused)
{
    (void)unused;
    assert_false(after((uint64_t)-3600).silent);
}

static void machine_that_never_reported_is_not_silent(void **unused)
{
    (void)unused;
    struct scene scene;
    set_scene(&rows[0], &scene);
    scene.input.received_s = 0;
    struct view v;
    view_of(&scene.input, &v);
    assert_false(v.silent);
    assert_false(v.behind);
}

static void applied_needs_the_current_release_and_its_digest(void **unused)
{
    (void)unused;
    struct scene scene;
    struct view v;
    set_scene(&settled_row, &scene);
    view_of(&scene.input, &v);
    assert_true(v.applied);
    scene.status.applied[0] ^= 1;
    view_of(&scene.input, &v);
    assert_false(v.applied);
    set_scene(&settled_row, &scene);
    scene.status.release--;
    view_of(&scene.input, &v);
    assert_false(v.applied);
    set_scene(&settled_row, &scene);
    memset(scene.status.applied, 0, HASH_BYTES);
    memset(scene.status.digest, 0, HASH_BYTES);
    view_of(&scene.input, &v);
    assert_false(v.applied);
}

// Nothing that a node can say may be shown as good unless it says so about the current release.
static void no_word_about_another_release_is_shown_as_done(void **unused)
{
    (void)unused;
    for (int said = 0; said < NODE_STATE_COUNT; said++)
        for (int code = 0; code < CODE_COUNT; code++)
            for (unsigned bits = 0; bits < 8; bits++) {
                struct row row = {.said = (enum node_state)said,
                    .code = (enum code)code,
                    .release = bits & 1 ? 4 : 6,
                    .automatic = bits & 2,
                    .reboot = bits & 4};
                struct scene scene;
                set_scene(&row, &scene);
                struct view v;
                view_of(&scene.input, &v);
                assert_int_not_equal(v.severity, SEVERITY_DONE);
                assert_false(v.applied);
                assert_false(v.settled);
            }
}

// What --wait waits for.
static void only_what_comes_by_itself_is_pending(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct scene scene;
        struct view v;
        set_scene(&rows[i], &scene);
        view_of(&scene.input, &v);
        assert_int_equal(view_is_pending(&v), v.severity == SEVERITY_PENDING && !rows[i].settled);
        scene.input.now_s += POLL * 3;
        view_of(&scene.input, &v);
        assert_true(!scene.input.status || !view_is_pending(&v)); // nobody hears it
    }
}

static void words_are_complete_and_distinct(void **unused)
{
    (void)unused;
    for (int a = 0; a < VIEW_STATE_COUNT; a++) {
        assert_true(strlen(view_state_word((enum view_state)a)) > 0);
        assert_true(strlen(view_state_emoji((enum view_state)a)) > 0);
        for (int b = 0; b < a; b++)
            assert_string_not_equal(
                view_state_key((enum view_state)a), view_state_key((enum view_state)b));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_situation_has_its_state),
        cmocka_unit_test(every_state_has_a_situation),
        cmocka_unit_test(nothing_heard_for_two_and_a_half_polls_is_silent),
        cmocka_unit_test(old_status_said_to_have_come_just_now_is_silent),
        cmocka_unit_test(node_with_a_wrong_clock_is_as_fresh_as_its_release),
        cmocka_unit_test(broker_clock_ahead_of_ours_is_not_silent),
        cmocka_unit_test(machine_that_never_reported_is_not_silent),
        cmocka_unit_test(applied_needs_the_current_release_and_its_digest),
        cmocka_unit_test(no_word_about_another_release_is_shown_as_done),
        cmocka_unit_test(only_what_comes_by_itself_is_pending),
        cmocka_unit_test(words_are_complete_and_distinct),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
