// What bento-status makes of a release and of statuses: true keys, true signatures.
#include "report.h"

#include "made.h"
#include "status_json.h"

#define NODES 6
#define NOW 1700000100

// Node i is "node-i". Statuses stand in the order of the nodes, which is that of the ids.
struct scene {
    struct made_fleet *made;
    struct made_release *release;
    struct bytes tickets[NODES];
    struct remote_release raw_release;
    struct fleet fleet;
    struct fleet_node nodes[NODES];
    char names[NODES][16];
    struct buf messages[NODES];
    struct remote_status list[NODES];
    struct remote_statuses raw_statuses;
    struct report report;
};

static void publish(struct scene *s, size_t node_count)
{
    s->made->node_count = node_count;
    s->release = make_release(s->made, 1, 1700000000, 1800000000);
    s->made->node_count = NODES;
    s->raw_release = (struct remote_release){.present = true,
        .envelope = buf_bytes(&s->release->envelope),
        .roster = buf_bytes(&s->release->roster),
        .ticket_count = node_count,
        .tickets = s->tickets};
    for (size_t i = 0; i < node_count; i++)
        s->tickets[i] = buf_bytes(&s->release->ticket[i]);
}

static int set_up(void **state)
{
    struct scene *s = xcalloc(1, sizeof *s);
    s->made = make_fleet(NODES);
    s->fleet = (struct fleet){.trust = s->made->trust, .node_count = NODES, .nodes = s->nodes};
    for (size_t i = 0; i < NODES; i++) {
        change_node(s->made, i, 100);
        snprintf(s->names[i], sizeof s->names[i], "node-%d", (int)i);
        s->nodes[i].name = s->names[i];
        memcpy(s->nodes[i].node_id, s->made->nodes[i].id, HASH_BYTES);
    }
    s->raw_statuses.list = s->list;
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    struct scene *s = *state;
    s->report.raw_release = (struct remote_release){0};
    s->report.raw_statuses = (struct remote_statuses){0};
    report_clear(&s->report);
    for (size_t i = 0; i < NODES; i++)
        buf_clear(&s->messages[i]);
    if (s->release)
        free_release(s->release);
    free_fleet(s->made);
    free(s);
    return 0;
}

// Node `node` says that it is up to date with the release, and what is in `log`.
static struct remote_status *report_good(struct scene *s, size_t node, const char *log)
{
    struct status status = {
        .seq = 7, .time = NOW - 20, .epoch = 1, .release = 1700000000, .speaks = 1};
    status.state = NODE_UP_TO_DATE;
    status.running = bytes_of_text("/nix/store/abcdefghijklmnopqrstuvwxyz012345-nixos-system");
    status.log = bytes_of_text(log);
    memcpy(status.fleet, s->made->trust.fleet, sizeof status.fleet);
    memcpy(status.node_id, s->made->nodes[node].id, HASH_BYTES);
    memset(status.digest, 'd', HASH_BYTES);
    memset(status.applied, 'd', HASH_BYTES);
    if (s->release)
        memcpy(status.head_hash, s->release->head_hash, HASH_BYTES);
    struct remote_status *raw = &s->list[s->raw_statuses.count];
    struct buf *message = &s->messages[s->raw_statuses.count++];
    status_sign(&status, &s->made->nodes[node].key, message);
    memcpy(raw->node_id, s->made->nodes[node].id, HASH_BYTES);
    raw->received_s = NOW - 10;
    raw->signed_message = buf_bytes(message);
    return raw;
}

static bool build(struct scene *s, struct err *e)
{
    return report_build(&s->raw_release, &s->raw_statuses, &s->fleet, NOW, &s->report, e);
}

static enum view_state state_of(const struct scene *s, size_t node)
{
    return s->report.rows[node].view.state;
}

static void signed_word_of_every_node_is_up_to_date(void **state)
{
    struct scene *s = *state;
    struct err e;
    publish(s, NODES);
    for (size_t i = 0; i < NODES; i++)
        report_good(s, i, "");
    must(build(s, &e), &e);
    assert_int_equal(s->report.row_count, NODES);
    for (size_t i = 0; i < NODES; i++) {
        assert_int_equal(state_of(s, i), VIEW_UP_TO_DATE);
        assert_true(s->report.rows[i].has_ticket && s->report.rows[i].view.applied);
        assert_string_equal(s->report.rows[i].node->name, s->names[i]);
    }
}

static void flipped_bit_in_a_status_is_tampered(void **state)
{
    struct scene *s = *state;
    struct err e;
    publish(s, NODES);
    report_good(s, 0, "");
    report_good(s, 1, "");
    s->messages[0].at[s->messages[0].len - 1] ^= 1;
    must(build(s, &e), &e);
    assert_int_equal(state_of(s, 0), VIEW_TAMPERED);
    assert_int_equal(state_of(s, 1), VIEW_UP_TO_DATE);
    assert_int_equal(state_of(s, 2), VIEW_NEW);
}

static void status_of_another_node_under_this_id_is_tampered(void **state)
{
    struct scene *s = *state;
    struct err e;
    publish(s, NODES);
    memcpy(report_good(s, 3, "")->node_id, s->made->nodes[2].id, HASH_BYTES);
    must(build(s, &e), &e);
    assert_int_equal(state_of(s, 2), VIEW_TAMPERED);
    assert_int_equal(state_of(s, 3), VIEW_NEW);
}

static void status_of_another_fleet_is_tampered(void **state)
{
    struct scene *s = *state;
    struct err e;
    publish(s, NODES);
    s->made->trust.fleet[0] ^= 1;
    report_good(s, 0, "");
    s->made->trust.fleet[0] ^= 1;
    must(build(s, &e), &e);
    assert_int_equal(state_of(s, 0), VIEW_TAMPERED);
}

static void release_by_somebody_else_is_refused(void **state)
{
    struct scene *s = *state;
    struct err e;
    struct secret_key stranger;
    publish(s, NODES);
    make_key(&stranger);
    sign_release(s->release, &stranger, NAMESPACE_RELEASE);
    s->raw_release.envelope = buf_bytes(&s->release->envelope);
    must_fail(build(s, &e), &e, CODE_SIGNER);
}

static void roster_that_was_not_signed_is_refused(void **state)
{
    struct scene *s = *state;
    struct err e;
    publish(s, NODES);
    s->release->roster.at[s->release->roster.len - 1] ^= 1;
    must_fail(build(s, &e), &e, CODE_HASH);
}

static void no_release_yet_shows_new_machines(void **state)
{
    struct scene *s = *state;
    struct err e;
    must(build(s, &e), &e);
    assert_false(s->report.published);
    for (size_t i = 0; i < NODES; i++)
        assert_int_equal(state_of(s, i), VIEW_NEW);
}

static void node_enrolled_after_the_release_is_new(void **state)
{
    struct scene *s = *state;
    struct err e;
    publish(s, NODES - 1);
    must(build(s, &e), &e);
    assert_null(s->report.rows[NODES - 1].in_release);
    assert_int_equal(state_of(s, NODES - 1), VIEW_NEW);
}

static void removed_nodes_and_strangers_are_counted(void **state)
{
    struct scene *s = *state;
    struct err e;
    publish(s, NODES - 1);
    s->fleet.node_count = NODES - 2; // node-4: only in the release, node-5: nowhere
    report_good(s, NODES - 2, "");
    report_good(s, NODES - 1, "");
    must(build(s, &e), &e);
    assert_int_equal(s->report.row_count, NODES - 2);
    assert_int_equal(s->report.removed_count, 1);
    assert_true(bytes_equal_text(s->report.removed[0]->name, "node-4"));
    assert_int_equal(s->report.stranger_count, 1);
}

// The text of a key of the first node.
static const char *text_at(json_t *report, const char *key)
{
    return json_string_value(
        json_object_get(json_array_get(json_object_get(report, "nodes"), 0), key));
}

static void json_tells_the_chosen_rows(void **state)
{
    struct scene *s = *state;
    struct err e;
    publish(s, NODES);
    report_good(s, 2, "");
    must(build(s, &e), &e);
    bool chosen[NODES] = {false, false, true, true};
    struct rows_choice choice = {.chosen = chosen};
    json_t *report = status_json_report(&s->report, &choice);
    assert_int_equal(json_integer_value(json_object_get(report, "release")), 1700000000);
    assert_int_equal(json_array_size(json_object_get(report, "nodes")), 2);
    assert_string_equal(text_at(report, "name"), "node-2");
    assert_string_equal(text_at(report, "state"), "up-to-date");
    assert_string_equal(text_at(report, "remote"), "unpinned");
    assert_string_equal(
        text_at(report, "running"), "/nix/store/abcdefghijklmnopqrstuvwxyz012345-nixos-system");
    json_t *other = json_array_get(json_object_get(report, "nodes"), 1);
    assert_string_equal(json_string_value(json_object_get(other, "state")), "new-machine");
    assert_true(json_is_null(json_object_get(other, "received")));
    assert_true(json_is_null(json_object_get(other, "running")));
    json_decref(report);
}

static bool take(struct scene *s, const struct remote_status *raw)
{
    return report_take(&s->report, raw->signed_message, NOW);
}

static void event_of_a_node_changes_its_row(void **state)
{
    struct scene *s = *state;
    struct err e;
    publish(s, NODES);
    must(build(s, &e), &e);
    assert_int_equal(state_of(s, 3), VIEW_NEW);
    struct remote_status *raw = report_good(s, 3, "its log");
    assert_true(take(s, raw));
    buf_clear(&s->messages[0]); // the row has its own
    assert_int_equal(state_of(s, 3), VIEW_UP_TO_DATE);
    assert_int_equal(s->report.rows[3].received_s, NOW);
    assert_true(bytes_equal_text(s->report.rows[3].status.log, "its log"));
    assert_int_equal(state_of(s, 2), VIEW_NEW);
}

static void event_that_is_not_newer_changes_nothing(void **state)
{
    struct scene *s = *state;
    struct err e;
    publish(s, NODES);
    struct remote_status *raw = report_good(s, 3, "");
    must(build(s, &e), &e);
    assert_false(take(s, raw));
    assert_int_equal(s->report.rows[3].received_s, NOW - 10);
}

static void event_that_does_not_verify_changes_nothing(void **state)
{
    struct scene *s = *state;
    struct err e;
    publish(s, NODES);
    must(build(s, &e), &e);
    struct remote_status *raw = report_good(s, 3, "");
    for (size_t i = 0; i < s->messages[0].len; i++) {
        s->messages[0].at[i] ^= 1;
        assert_false(take(s, raw));
        s->messages[0].at[i] ^= 1;
    }
    assert_int_equal(state_of(s, 3), VIEW_NEW);
    assert_true(take(s, raw));
}

static void event_mends_a_tampered_row(void **state)
{
    struct scene *s = *state;
    struct err e;
    publish(s, NODES);
    report_good(s, 3, "");
    s->messages[0].at[s->messages[0].len - 1] ^= 1;
    must(build(s, &e), &e);
    assert_int_equal(state_of(s, 3), VIEW_TAMPERED);
    assert_true(take(s, report_good(s, 3, "")));
    assert_int_equal(state_of(s, 3), VIEW_UP_TO_DATE);
}

static void report_that_grows_old_is_silent(void **state)
{
    struct scene *s = *state;
    struct err e;
    publish(s, NODES);
    report_good(s, 3, "");
    must(build(s, &e), &e);
    assert_false(s->report.rows[3].view.silent);
    report_age(&s->report, NOW + 3 * POLL_SECONDS);
    assert_true(s->report.rows[3].view.silent);
}

static void assert_escaped(const char *text, const char *expected)
{
    struct buf out = {0};
    text_escape(bytes_of_text(text), &out);
    assert_string_equal(buf_text(&out), expected);
    buf_clear(&out);
}

static void logs_cannot_drive_a_terminal(void **state)
{
    (void)state;
    assert_escaped("error: a\n\tb é 💚\n", "error: a\n\tb é 💚\n");
    assert_escaped("\033[2J\r\x7f", "\\x1b[2J\\x0d\\x7f");
    assert_escaped("\xc2\x9b"
                   "31m",
        "\\xc2\\x9b"
        "31m"); // CSI as one character
    assert_escaped("\xff\xe2\x82", "\\xff\\xe2\\x82");
    assert_escaped("a\xe2\x80\xae"
                   "b",
        "a\\xe2\\x80\\xae"
        "b");
}

static void tail_is_the_last_lines(void **state)
{
    (void)state;
    assert_true(bytes_equal_text(text_tail(bytes_of_text("a\nb\nc\n\n"), 2), "b\nc"));
    assert_true(bytes_equal_text(text_tail(bytes_of_text("a\nb"), 2), "a\nb"));
    assert_true(bytes_equal_text(text_tail(bytes_of_text("a"), 1), "a"));
    assert_int_equal(text_tail(bytes_of_text("\n\n"), 3).len, 0);
}

static void durations_are_two_units(void **state)
{
    (void)state;
    static const struct {
        uint64_t seconds;
        const char *text;
    } rows[] = {{0, "0s"}, {59, "59s"}, {60, "1m 0s"}, {168, "2m 48s"}, {3600, "1h 0m"},
        {86399, "23h 59m"}, {86400, "1d 0h"}, {UINT64_MAX, "213503982334601d 7h"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[DURATION_BYTES];
        duration_text(rows[i].seconds, text);
        assert_string_equal(text, rows[i].text);
    }
}

static void short_path_is_the_start_of_the_hash(void **state)
{
    (void)state;
    char text[SHORT_PATH_BYTES];
    short_path(bytes_of_text("/nix/store/r7ips2c6x0000000000000000000000-nixos"), text);
    assert_string_equal(text, "r7ips2c6");
    short_path(bytes_of_text("/nix/store/ab"), text);
    assert_string_equal(text, "ab");
    short_path(bytes_of_text(""), text);
    assert_string_equal(text, "-");
}

int main(void)
{
#define WITH_SCENE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_SCENE(signed_word_of_every_node_is_up_to_date),
        WITH_SCENE(flipped_bit_in_a_status_is_tampered),
        WITH_SCENE(status_of_another_node_under_this_id_is_tampered),
        WITH_SCENE(status_of_another_fleet_is_tampered),
        WITH_SCENE(release_by_somebody_else_is_refused),
        WITH_SCENE(roster_that_was_not_signed_is_refused),
        WITH_SCENE(no_release_yet_shows_new_machines),
        WITH_SCENE(node_enrolled_after_the_release_is_new),
        WITH_SCENE(removed_nodes_and_strangers_are_counted),
        WITH_SCENE(json_tells_the_chosen_rows),
        WITH_SCENE(event_of_a_node_changes_its_row),
        WITH_SCENE(event_that_is_not_newer_changes_nothing),
        WITH_SCENE(event_that_does_not_verify_changes_nothing),
        WITH_SCENE(event_mends_a_tampered_row),
        WITH_SCENE(report_that_grows_old_is_silent),
        cmocka_unit_test(logs_cannot_drive_a_terminal),
        cmocka_unit_test(tail_is_the_last_lines),
        cmocka_unit_test(durations_are_two_units),
        cmocka_unit_test(short_path_is_the_start_of_the_hash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
