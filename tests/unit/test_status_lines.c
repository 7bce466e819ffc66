// From signed statuses to what a person reads and what a script gets: a machine for every state that
// there is, all in one report.
#include "status_json.h"
#include "status_text.h"

#include "made.h"

#define RELEASE 1700000000
#define NOW (RELEASE + 3600)
#define P "/nix/store/pppppppppppppppppppppppppppppppp-nixos-system"
#define Q "/nix/store/qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq-nixos-system"

// What a machine says of the release, if not that it is up to date with it; its line without the runs
// of blanks, and what JSON says. Lines end with PENDING, if any, and HEARD.
struct machine {
    const char *name, *line, *json;
    const char *note; // a line below the table; NULL: none about it
    enum node_state said;
    enum code code;
    int64_t heard; // seconds ago; 0: 10
    bool mute, no_ticket, unpinned, forged, other_head, seen_less, seen_more, reboot, automatic;
    uint32_t attempt;
    const char *running, *profile; // NULL: P
    const char *log;
};

#define UP .said = NODE_UP_TO_DATE
// clang-format off
static const struct machine machines[] = {
    {"never-reported", "never-reported pppppppp - new machine ✨ 1h 0m", "new-machine pending -", NULL, .mute = true},
    {"enrolled-later", "enrolled-later - - new machine ✨", "new-machine pending -", "next: bento deploy enrolled-later", .mute = true, .no_ticket = true},
    {"synced", "synced pppppppp pppppppp 💚 sync pending 🚩 1h 0m 10s", "sync-pending pending - behind", NULL, UP, .seen_less = true},
    {"rebuilds", "rebuilds pppppppp qqqqqqqq 🛑 rebuild pending 🚩 1h 0m 10s", "rebuild-pending pending - behind", NULL, UP, .seen_less = true, .running = Q},
    {"fetches", "fetches pppppppp qqqqqqqq 🛑 fetching ⏳ 1h 0m 10s", "fetching pending -", NULL, NODE_FETCHING, .running = Q},
    {"builds", "builds pppppppp qqqqqqqq 🛑 building ⏳ 1h 0m 10s", "building pending -", NULL, NODE_BUILDING, .running = Q},
    {"checks", "checks pppppppp qqqqqqqq 🛑 checking ⏳ 1h 0m 10s", "checking pending -", NULL, NODE_CHECKING, .running = Q},
    {"tries", "tries pppppppp qqqqqqqq 🛑 trying ⏳ 1h 0m 10s", "trying pending -", NULL, NODE_TRYING, .running = Q},
    {"confirms", "confirms pppppppp pppppppp 💚 confirming ⏳ 1h 0m 10s", "confirming pending -", NULL, .said = NODE_CONFIRMING},
    {"commits", "commits pppppppp pppppppp 💚 committing ⏳ 1h 0m 10s", "committing pending -", NULL, .said = NODE_COMMITTING},
    {"reverts", "reverts pppppppp qqqqqqqq 🛑 reverting ⏳ 1h 0m 10s", "reverting pending -", NULL, NODE_REVERTING, .running = Q},
    {"good", "good pppppppp pppppppp 💚 up to date 💚 10s", "up-to-date done - applied", NULL, UP},
    {"good-unpinned", "good-unpinned unpinned qqqqqqqq 📌 up to date 💚 10s", "up-to-date done - applied", NULL, UP, .unpinned = true, .running = Q},
    {"good-but-units", "good-but-units pppppppp pppppppp 💚 up to date 💚 UNITS 10s", "up-to-date done UNITS applied", NULL, UP, CODE_UNITS},
    {"upgraded", "upgraded pppppppp qqqqqqqq 🛑 auto upgraded 🤖 10s", "auto-upgraded done - applied", NULL, UP, .automatic = true, .running = Q, .profile = Q},
    {"dry", "dry pppppppp qqqqqqqq 🛑 dry-activated 🧪 10s", "dry-activated done -", NULL, NODE_DRY, .running = Q, .profile = Q},
    {"reboots", "reboots pppppppp pppppppp 💚 reboot pending 🔁 10s", "reboot-pending pending - applied", NULL, UP, .reboot = true},
    {"boots-next", "boots-next pppppppp qqqqqqqq 🛑 reboot pending 🔁 10s", "reboot-pending pending - applied", NULL, NODE_REBOOT_PENDING, .reboot = true, .running = Q},
    {"fails", "fails pppppppp qqqqqqqq 🛑 failing 🔥 BUILD 10s", "failing failing BUILD", "| error: no such file", NODE_FAILED, CODE_BUILD, .running = Q, .log = "1\n2\n3\n4\nerror: no such file\n"},
    {"commit-fails", "commit-fails pppppppp qqqqqqqq 🛑 failing 🔥 COMMIT 10s", "failing failing COMMIT", "next: bento status --history commit-fails;", NODE_FAILED, CODE_COMMIT, .running = Q},
    {"back", "back pppppppp qqqqqqqq 🛑 rolled back ⏪ CONNECTIVITY 10s", "rolled-back failing CONNECTIVITY", "back: rolled back: the broker was not reached in the confirm window; the system before it runs", NODE_ROLLED_BACK, CODE_CONNECTIVITY, .running = Q},
    {"unclear", "unclear pppppppp qqqqqqqq 🛑 rolled back ⏪ inconclusive CONNECTIVITY 10s", "rolled-back failing CONNECTIVITY inconclusive", "and the network was gone there, too", NODE_INCONCLUSIVE, CODE_CONNECTIVITY, .running = Q},
    {"stuck", "stuck pppppppp pppppppp 💚 stays ⚠ CONNECTIVITY 10s", "stays failing CONNECTIVITY", "the new system runs, since it may not go back", NODE_STAYS, CODE_CONNECTIVITY, .heard = 10},
    {"refuses", "refuses pppppppp qqqqqqqq 🛑 refused ⛔ LOCKOUT 10s", "refused failing LOCKOUT", "refuses: refused: the new system's bento would not accept this fleet; nothing was switched", NODE_REFUSED, CODE_LOCKOUT, .running = Q},
    {"refuses-head", "refuses-head pppppppp qqqqqqqq 🛑 refused ⛔ SIGNER, behind 1h 0m 10s", "refused failing SIGNER behind", "refuses-head: refused: a signature", NODE_REFUSED, CODE_SIGNER, .seen_less = true, .running = Q},
    {"drifts", "drifts pppppppp qqqqqqqq 🛑 drifted 🔀 10s", "drifted failing - applied", "drifts: drifted: runs what somebody switched to by hand", UP, .running = Q},
    {"drifts-at-boot", "drifts-at-boot pppppppp pppppppp 💚 drifted 🔀 10s", "drifted failing - applied", "next: bento deploy --retry drifts-at-boot", UP, .profile = Q},
    {"knows-more", "knows-more pppppppp pppppppp 💚 ahead 👀 10s", "ahead failing -", "knows-more: ahead: it accepted release 1700000001 of epoch 1", UP, .seen_more = true},
    {"knows-another", "knows-another pppppppp pppppppp 💚 ahead 👀 10s", "ahead failing -", "knows-another: ahead", UP, .other_head = true},
    {"forged", "forged pppppppp - tampered ☠ 10s", "tampered failing -", "forged: tampered: its stored report", UP, .forged = true},
    {"asleep", "asleep pppppppp pppppppp 💚 up to date 💚, silent 💤 2h 46m", "up-to-date failing - silent applied", "asleep: silent: nothing heard for 2h 46m", UP, .heard = 10000},
    {"asleep-behind", "asleep-behind pppppppp qqqqqqqq 🛑 rebuild pending 🚩, silent 💤 1h 0m 2h 46m", "rebuild-pending failing - silent behind", "asleep-behind: silent", UP, .heard = 10000, .seen_less = true, .running = Q},
};
// clang-format on
#define MACHINES (sizeof machines / sizeof machines[0])
#define GONE MACHINES       // in the release, not in the repository
#define STRANGER (GONE + 1) // in neither
#define KEYS (STRANGER + 1)

struct scene {
    struct made_fleet *made;
    struct made_release *release;
    struct fleet fleet;
    struct report report;
    bool chosen[MACHINES];
};

static const struct machine *machine_of(size_t i)
{
    return i < MACHINES ? &machines[i] : NULL;
}

// The release of made.h, with names and expected paths.
static void sign_roster(struct scene *s)
{
    struct err e;
    struct roster roster;
    struct buf old = s->release->roster;
    s->release->roster = (struct buf){0};
    must(roster_decode(buf_bytes(&old), &roster, &e), &e);
    for (size_t i = 0; i < roster.count; i++) {
        const struct machine *m = machine_of(i);
        roster.nodes[i].name = bytes_of_text(m ? m->name : "gone");
        if (m && !m->unpinned)
            roster.nodes[i].expected = bytes_of_text(P);
    }
    must(roster_encode(&roster, &s->release->roster, &e), &e);
    sha256(buf_bytes(&s->release->roster), s->release->head.roster);
    sign_release(s->release, &s->made->admin, NAMESPACE_RELEASE);
    roster_clear(&roster);
    buf_clear(&old);
}

static void say(const struct scene *s, size_t i, const struct machine *m, struct buf *out)
{
    struct status status = {
        .seq = 7, .time = NOW - 10, .epoch = 1, .release = RELEASE, .speaks = 1};
    const char *running = m && m->running ? m->running : P;
    memcpy(status.fleet, s->made->trust.fleet, sizeof status.fleet);
    memcpy(status.node_id, s->made->nodes[i].id, HASH_BYTES);
    memcpy(status.head_hash, s->release->head_hash, HASH_BYTES);
    memset(status.digest, 'd', HASH_BYTES);
    status.state = m ? m->said : NODE_UP_TO_DATE;
    bool good = status.state == NODE_UP_TO_DATE || status.state == NODE_REBOOT_PENDING;
    memset(status.applied, good ? 'd' : 'o', HASH_BYTES);
    status.running = status.profile = status.booted = bytes_of_text(running);
    status.attempt = 1;
    if (m) {
        status.code = m->code;
        status.attempt = m->attempt ? m->attempt : 1;
        status.reboot = m->reboot;
        status.automatic = m->automatic;
        status.profile = bytes_of_text(m->profile ? m->profile : P);
        status.log = bytes_of_text(m->log ? m->log : "");
        status.release = (uint64_t)(RELEASE + m->seen_more - m->seen_less);
        status.head_hash[0] ^= m->other_head;
    }
    status_sign(&status, &s->made->nodes[i].key, out);
    if (m && m->forged)
        out->at[out->len - 1] ^= 1;
}

static void build(struct scene *s)
{
    struct err e;
    struct bytes tickets[KEYS];
    struct buf messages[KEYS] = {0};
    struct remote_status list[KEYS];
    struct remote_statuses statuses = {.list = list};
    for (size_t i = 0; i < STRANGER; i++)
        tickets[i] = buf_bytes(&s->release->ticket[i]);
    struct remote_release release = {.present = true,
        .envelope = buf_bytes(&s->release->envelope),
        .roster = buf_bytes(&s->release->roster),
        .ticket_count = STRANGER,
        .tickets = tickets};
    for (size_t i = 0; i < KEYS; i++) {
        const struct machine *m = machine_of(i);
        if (m && m->mute)
            continue;
        struct remote_status *raw = &list[statuses.count++];
        say(s, i, m, &messages[i]);
        memcpy(raw->node_id, s->made->nodes[i].id, HASH_BYTES);
        raw->received_s = NOW - (m && m->heard ? (uint64_t)m->heard : 10);
        raw->signed_message = buf_bytes(&messages[i]);
    }
    must(report_build(&release, &statuses, &s->fleet, NOW, &s->report, &e), &e);
    // What the report borrows must live as long as it: it can carry it itself.
    for (size_t i = 0; i < MACHINES; i++)
        s->report.rows[i].heard = messages[i];
    for (size_t i = MACHINES; i < KEYS; i++)
        buf_clear(&messages[i]);
}

static int set_up(void **state)
{
    struct scene *s = xcalloc(1, sizeof *s);
    s->made = make_fleet(KEYS);
    for (size_t i = 0; i < STRANGER; i++)
        if (i >= MACHINES || !machines[i].no_ticket)
            change_node(s->made, i, 100);
    s->made->node_count = STRANGER;
    s->release = make_release(s->made, 1, RELEASE, RELEASE + 90 * 86400);
    s->made->node_count = KEYS;
    sign_roster(s);
    s->fleet = (struct fleet){.trust = s->made->trust, .node_count = MACHINES};
    s->fleet.nodes = xcalloc(MACHINES, sizeof *s->fleet.nodes);
    for (size_t i = 0; i < MACHINES; i++) {
        s->fleet.nodes[i].name = machines[i].name;
        memcpy(s->fleet.nodes[i].node_id, s->made->nodes[i].id, HASH_BYTES);
        s->chosen[i] = true;
    }
    build(s);
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    struct scene *s = *state;
    report_clear(&s->report);
    free(s->fleet.nodes);
    free_release(s->release);
    free_fleet(s->made);
    free(s);
    return 0;
}

static struct rows_choice choose(const struct scene *s, bool all, bool failed)
{
    return (struct rows_choice){.chosen = s->chosen, .all = all, .failed = failed};
}

static struct status_page page_of(
    const struct scene *s, const struct rows_choice *choice, size_t width)
{
    struct status_page page = {0};
    status_page_draw(&s->report, choice, NOW, width, false, &page);
    return page;
}

// Runs of blanks become one.
static void squeeze(char *text)
{
    char *to = text;
    for (const char *c = text; *c; c++)
        if (*c != ' ' || c[1] != ' ')
            *to++ = *c;
    *to = '\0';
}

static void every_machine_has_its_line(void **state)
{
    struct scene *s = *state;
    struct rows_choice choice = choose(s, true, false);
    struct status_page page = page_of(s, &choice, 0);
    char *table = xstrdup(buf_text(&page.table));
    squeeze(table);
    for (size_t i = 0; i < MACHINES; i++) {
        char line[200];
        snprintf(line, sizeof line, "\n%s\n", machines[i].line);
        if (!strstr(table, line))
            fail_msg("no line `%s` in\n%s", machines[i].line, table);
    }
    free(table);
    status_page_clear(&page);
}

static void every_machine_that_needs_a_person_has_a_note(void **state)
{
    struct scene *s = *state;
    struct rows_choice choice = choose(s, false, true);
    struct status_page page = page_of(s, &choice, 0);
    const char *notes = buf_text(&page.notes);
    for (size_t i = 0; i < MACHINES; i++) {
        const struct machine *m = &machines[i];
        char name[80];
        snprintf(name, sizeof name, "\n  %s: ", m->name);
        bool first = strncmp(notes, name + 1, strlen(name + 1)) == 0;
        assert_int_equal(first || strstr(notes, name), m->note != NULL);
        if (m->note && !strstr(notes, m->note))
            fail_msg("no `%s` in\n%s", m->note, notes);
    }
    status_page_clear(&page);
}

static void set_word(const json_t *node, const char *key, const char *word, struct buf *text)
{
    if (json_is_true(json_object_get(node, key)))
        buf_printf(text, " %s", word);
}

static void every_machine_has_its_json(void **state)
{
    struct scene *s = *state;
    struct rows_choice choice = choose(s, false, false);
    json_t *report = status_json_report(&s->report, &choice),
           *nodes = json_object_get(report, "nodes");
    assert_int_equal(json_array_size(nodes), MACHINES);
    for (size_t i = 0; i < MACHINES; i++) {
        const json_t *node = json_array_get(nodes, i);
        const char *code = json_string_value(json_object_get(node, "code"));
        struct buf text = {0};
        buf_printf(&text, "%s %s %s", json_string_value(json_object_get(node, "state")),
            json_string_value(json_object_get(node, "severity")), *code ? code : "-");
        set_word(node, "inconclusive", "inconclusive", &text);
        set_word(node, "silent", "silent", &text);
        set_word(node, "behind", "behind", &text);
        set_word(node, "applied", "applied", &text);
        assert_string_equal(json_string_value(json_object_get(node, "name")), machines[i].name);
        assert_string_equal(buf_text(&text), machines[i].json);
        buf_clear(&text);
    }
    assert_string_equal(
        json_string_value(json_array_get(json_object_get(report, "removed"), 0)), "gone");
    assert_int_equal(json_integer_value(json_object_get(report, "strangers")), 1);
    json_decref(report);
}

static void every_state_has_a_machine(void **state)
{
    struct scene *s = *state;
    for (int i = 0; i < VIEW_STATE_COUNT; i++) {
        bool found = false;
        for (size_t row = 0; row < MACHINES; row++)
            found |= (int)s->report.rows[row].view.state == i;
        if (!found)
            fail_msg("no machine is %s", view_state_key((enum view_state)i));
    }
}

static void machines_that_left_are_told_once(void **state)
{
    struct scene *s = *state;
    struct rows_choice choice = choose(s, false, false);
    struct status_page page = page_of(s, &choice, 0);
    assert_non_null(
        strstr(buf_text(&page.notes), "not in fleet.nix any more: gone\n    next: bento deploy"));
    assert_null(strstr(buf_text(&page.notes), "of machines that left"));
    status_page_clear(&page);
    choice = choose(s, true, false);
    page = page_of(s, &choice, 0);
    assert_non_null(strstr(buf_text(&page.notes), "of machines that left: 1"));
    status_page_clear(&page);
    choice = choose(s, false, false);
    choice.named = true;
    page = page_of(s, &choice, 0);
    assert_null(strstr(buf_text(&page.notes), "fleet.nix any more"));
    status_page_clear(&page);
}

// Index of a machine's line, or -1.
static int place_of(const struct rows *rows, const char *name)
{
    for (size_t i = 0; i < rows->shown; i++)
        if (!strcmp(rows->list[i]->node->name, name))
            return (int)i;
    return -1;
}

static void worst_come_first_and_the_healthy_are_folded(void **state)
{
    struct scene *s = *state;
    struct rows rows;
    struct rows_choice choice = choose(s, false, false);
    assert_true(MACHINES > ROWS_MAX);
    rows_choose(&s->report, &choice, &rows);
    assert_int_equal(rows.count, MACHINES);
    assert_true(rows.shown <= ROWS_MAX);
    assert_string_equal(rows.list[0]->node->name, "forged");
    assert_true(place_of(&rows, "stuck") < place_of(&rows, "back"));
    assert_true(place_of(&rows, "back") < place_of(&rows, "fails"));
    assert_true(place_of(&rows, "asleep") < place_of(&rows, "commits"));
    assert_true(place_of(&rows, "commits") < place_of(&rows, "builds"));
    assert_int_equal(place_of(&rows, "good"), -1);
    rows_clear(&rows);
    struct status_page page = page_of(s, &choice, 0);
    assert_non_null(strstr(buf_text(&page.table), "\n… and "));
    assert_non_null(strstr(buf_text(&page.table), "3 up to date (--all shows them)\n"));
    status_page_clear(&page);
}

static void nothing_is_folded_of_few_or_of_named_machines(void **state)
{
    struct scene *s = *state;
    struct rows rows;
    struct rows_choice choice = choose(s, false, false);
    choice.named = true;
    rows_choose(&s->report, &choice, &rows);
    assert_int_equal(rows.shown, MACHINES);
    rows_clear(&rows);
    choice = choose(s, true, false);
    rows_choose(&s->report, &choice, &rows);
    assert_int_equal(rows.shown, MACHINES);
    rows_clear(&rows);
    choice = choose(s, false, false);
    for (size_t i = ROWS_MAX; i < MACHINES; i++)
        s->chosen[i] = false;
    rows_choose(&s->report, &choice, &rows);
    assert_int_equal(rows.shown, ROWS_MAX);
    rows_clear(&rows);
}

static void failed_shows_only_what_needs_a_person(void **state)
{
    struct scene *s = *state;
    struct rows rows;
    struct rows_choice choice = choose(s, false, true);
    rows_choose(&s->report, &choice, &rows);
    for (size_t i = 0; i < rows.count; i++)
        assert_int_equal(rows.list[i]->view.severity == SEVERITY_FAILING, i < rows.shown);
    json_t *report = status_json_report(&s->report, &choice);
    assert_int_equal(json_array_size(json_object_get(report, "nodes")), rows.shown);
    json_decref(report);
    rows_clear(&rows);
    for (size_t i = 0; i < MACHINES; i++)
        s->chosen[i] = !strcmp(machines[i].name, "good");
    struct status_page page = page_of(s, &choice, 0);
    assert_string_equal(buf_text(&page.table), "Nothing needs a person.\n");
    assert_string_equal(buf_text(&page.foot), "1 machine: 1 up to date\n");
    status_page_clear(&page);
}

static void summary_counts_each_machine_once(void **state)
{
    struct scene *s = *state;
    struct rows_choice choice = choose(s, false, false);
    struct status_page page = page_of(s, &choice, 0);
    unsigned total, sum = 0, n;
    char *foot = xstrdup(buf_text(&page.foot)), *rest = strchr(foot, ':');
    assert_int_equal(sscanf(foot, "%u machines", &total), 1);
    assert_non_null(strstr(foot, "; 2 silent\n"));
    *strchr(foot, ';') = '\0';
    for (char *word = strtok(rest, ","); word; word = strtok(NULL, ",")) {
        word += strcspn(word, "0123456789");
        assert_int_equal(sscanf(word, "%u", &n), 1);
        sum += n;
    }
    assert_int_equal(total, MACHINES);
    assert_int_equal(sum, MACHINES);
    free(foot);
    status_page_clear(&page);
}

int main(void)
{
#define WITH_SCENE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_SCENE(every_state_has_a_machine),
        WITH_SCENE(every_machine_has_its_line),
        WITH_SCENE(every_machine_that_needs_a_person_has_a_note),
        WITH_SCENE(every_machine_has_its_json),
        WITH_SCENE(machines_that_left_are_told_once),
        WITH_SCENE(worst_come_first_and_the_healthy_are_folded),
        WITH_SCENE(nothing_is_folded_of_few_or_of_named_machines),
        WITH_SCENE(failed_shows_only_what_needs_a_person),
        WITH_SCENE(summary_counts_each_machine_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
