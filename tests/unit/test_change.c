// What a deployment changes, and the release that each wave gets: from entries to drafts.
#include "change.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NODES 3
#define NOW 1700000000u

static struct fleet_node nodes[] = {{.name = "alpha", .node_id = {9}},
    {.name = "beta", .node_id = {5}}, {.name = "gamma", .node_id = {7}}};
static struct fleet fleet = {.node_count = NODES, .nodes = nodes, .epoch = 1, .expires_days = 90};

// An entry with the `version`th configuration of the node; 0: none.
static struct entry entry_of(size_t node, uint8_t version, const char *expected)
{
    struct entry entry = {.node = &nodes[node],
        .expected = bytes_of_text(expected),
        .directory = bytes_of_text(nodes[node].name)};
    memcpy(entry.ticket.node_id, nodes[node].node_id, HASH_BYTES);
    if (version) {
        entry.ticket.ct_len = 100;
        entry.ticket.ct_hash[0] = version;
        entry.ticket.ct_hash[1] = (uint8_t)node;
        entry.ticket.sealed[0] = version;
        entry.has_tree = true;
        entry.tree_hash[0] = 0xee; // all share their files
    }
    return entry;
}

static void must(bool ok, const struct err *e)
{
    if (!ok)
        fail_msg("%s", e->text);
}

// As a release of the fleet, or of the first `count` nodes of it.
static void make_release(
    const struct entry *entries, size_t count, struct draft *draft, struct release *release)
{
    struct err e;
    struct numbering numbering = {.fleet = &fleet, .now_s = NOW};
    must(draft_make(&numbering, entries, count, draft, &e), &e);
    *release =
        (struct release){.head = draft->head, .tickets = xcalloc(count, sizeof(struct ticket))};
    must(roster_decode(buf_bytes(&draft->roster), &release->roster, &e), &e);
    for (size_t i = 0; i < count; i++)
        must(ticket_decode(buf_bytes(&draft->tickets[i]), &release->tickets[i], &e), &e);
}

static void kind_follows_from_ticket_and_path(void **state)
{
    (void)state;
    struct entry none = entry_of(0, 0, ""), one = entry_of(0, 1, "/nix/store/1"),
                 same = entry_of(0, 2, "/nix/store/1"), other = entry_of(0, 2, "/nix/store/2"),
                 unpinned = entry_of(0, 3, ""), unpinned_too = entry_of(0, 4, "");
    assert_int_equal(change_kind_of(&none, &one), CHANGE_NEW);
    assert_int_equal(change_kind_of(&one, &one), CHANGE_UNCHANGED);
    assert_int_equal(change_kind_of(&one, &same), CHANGE_SYNC);
    assert_int_equal(change_kind_of(&one, &other), CHANGE_REBUILD);
    assert_int_equal(change_kind_of(&unpinned, &unpinned_too), CHANGE_REBUILD);
    assert_int_equal(change_kind_of(&one, &unpinned), CHANGE_REBUILD);
}

static void hosts_of_later_waves_keep_what_they_have(void **state)
{
    (void)state;
    struct change changes[NODES];
    struct deployment deployment = {.fleet = &fleet, .count = NODES, .changes = changes};
    const bool all[NODES] = {true, true, true};
    struct waves waves;
    struct entry entries[NODES];
    struct err e;
    for (size_t i = 0; i < NODES; i++)
        changes[i] = (struct change){.node = &nodes[i],
            .kind = CHANGE_REBUILD,
            .before = entry_of(i, 1, "/nix/store/1"),
            .after = entry_of(i, 2, "/nix/store/2")};
    must(waves_parse(&fleet, all, "beta,alpha,rest", &waves, &e), &e);
    static const char *const expected[] = {"121", "221", "222"};
    for (size_t wave = 0; wave < waves.count; wave++) {
        deployment_entries(&deployment, &waves, wave + 1, entries);
        for (size_t i = 0; i < NODES; i++)
            assert_int_equal(entries[i].ticket.ct_hash[0], expected[wave][i] - '0');
    }
    deployment_hold(&deployment, waves.list[2].members);
    assert_int_equal(changes[2].kind, CHANGE_KEPT);
    assert_false(deployment_has_news(&deployment, waves.list[2].members));
    assert_true(deployment_has_news(&deployment, waves.list[1].members));
    deployment_entries(&deployment, &waves, waves.count, entries);
    assert_int_equal(entries[2].ticket.ct_hash[0], 1);
    waves_clear(&waves);
}

static void going_back_is_for_those_who_were_there(void **state)
{
    (void)state;
    struct entry then[] = {entry_of(0, 1, "/nix/store/1"), entry_of(1, 0, "")},
                 now[] = {entry_of(0, 2, "/nix/store/2"), entry_of(1, 2, "/nix/store/2"),
                     entry_of(2, 2, "/nix/store/2")};
    struct draft old_draft, new_draft;
    struct release old, newest;
    make_release(then, 2, &old_draft, &old);
    make_release(now, 3, &new_draft, &newest);
    bool chosen[NODES] = {true, true, true};
    struct deployment deployment;
    deployment_of_release(&fleet, chosen, &old, &newest, &deployment);
    assert_true(chosen[0] && !chosen[1] && !chosen[2]); // beta had nothing, gamma was not there
    assert_int_equal(deployment.changes[0].kind, CHANGE_REBUILD);
    assert_int_equal(deployment.changes[0].after.ticket.ct_hash[0], 1);
    assert_true(bytes_equal_text(deployment.changes[0].after.expected, "/nix/store/1"));
    assert_int_equal(deployment.changes[1].kind, CHANGE_KEPT);
    assert_int_equal(deployment.changes[2].after.ticket.ct_hash[0], 2);
    struct buf owner = {0};
    uint8_t blob[HASH_BYTES] = {1, 0};
    assert_true(deployment_blob_owner(&deployment, blob, &owner));
    assert_string_equal(buf_text(&owner), "configuration of alpha");
    buf_clear(&owner);
    blob[0] = 77;
    assert_false(deployment_blob_owner(&deployment, blob, &owner));
    deployment_clear(&deployment);
    // A node that left the fleet.
    fleet.node_count = 2;
    deployment_of_release(&fleet, chosen, &old, &newest, &deployment);
    assert_int_equal(deployment.removed_count, 1);
    assert_true(bytes_equal_text(deployment.removed[0], "gamma"));
    deployment_clear(&deployment);
    fleet.node_count = NODES;
    release_clear(&old);
    release_clear(&newest);
    draft_clear(&old_draft);
    draft_clear(&new_draft);
}

static void draft_names_each_blob_once(void **state)
{
    (void)state;
    struct entry entries[] = {entry_of(0, 1, ""), entry_of(1, 1, ""), entry_of(2, 0, "")};
    struct numbering numbering = {.fleet = &fleet, .now_s = NOW};
    struct draft draft;
    struct err e;
    must(draft_make(&numbering, entries, NODES, &draft, &e), &e);
    assert_int_equal(draft.blob_count, 3); // two bundles, one tree
    for (size_t i = 1; i < draft.blob_count; i++)
        assert_true(memcmp(draft.blobs[i - 1], draft.blobs[i], HASH_BYTES) < 0);
    assert_int_equal(draft.head.tickets, NODES);
    draft_clear(&draft);
}

// The head that follows `previous`, NULL if it must not.
static bool numbered(
    const struct head *previous, bool no_fallback, struct head *head, struct err *e)
{
    struct entry entry = entry_of(0, 1, "");
    struct numbering numbering = {
        .fleet = &fleet, .previous = previous, .no_fallback = no_fallback, .now_s = NOW};
    struct draft draft;
    if (!draft_make(&numbering, &entry, 1, &draft, e))
        return false;
    *head = draft.head;
    draft_clear(&draft);
    return true;
}

static void numbers_ascend_whatever_the_clock_says(void **state)
{
    (void)state;
    struct err e;
    struct head head, previous = {.epoch = 1, .release = NOW + 100, .fallback_floor = 5};
    must(numbered(NULL, false, &head, &e), &e);
    assert_int_equal(head.release, NOW);
    assert_int_equal(head.expires, NOW + 90 * 86400);
    must(numbered(&previous, false, &head, &e), &e);
    assert_int_equal(head.release, NOW + 101);
    assert_int_equal(head.fallback_floor, 5);
    must(numbered(&previous, true, &head, &e), &e);
    assert_int_equal(head.fallback_floor, NOW + 101);
    previous.release = NOW + 2 * 86400;
    assert_false(numbered(&previous, false, &head, &e));
    assert_int_equal(e.code, CODE_CONFIG);
    previous.epoch = 2;
    assert_false(numbered(&previous, false, &head, &e));
    assert_int_equal(e.code, CODE_EPOCH);
    fleet.epoch = 3;
    must(numbered(&previous, false, &head, &e), &e);
    assert_int_equal(head.release, NOW);
    assert_int_equal(head.fallback_floor, 0);
    fleet.epoch = 1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kind_follows_from_ticket_and_path),
        cmocka_unit_test(hosts_of_later_waves_keep_what_they_have),
        cmocka_unit_test(going_back_is_for_those_who_were_there),
        cmocka_unit_test(draft_names_each_blob_once),
        cmocka_unit_test(numbers_ascend_whatever_the_clock_says),
    };
    unsetenv("NAME");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
