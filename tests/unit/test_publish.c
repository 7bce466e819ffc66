#include "publish.h"

#include "made.h"
#include "message.h"

#define NOW 1700000000u
#define LATER (NOW + 86400u)

// A publisher with nothing published, a fleet of three nodes whose blobs are uploaded.
struct fixture {
    struct made_store made;
    struct made_fleet *fleet;
    struct publisher publisher;
    unsigned announced;
    // what announce saw
    unsigned subscribers;
    bool whole;
    struct buf message;
};

static const uint8_t none[HASH_BYTES];

static void announce(void *context, const struct current *previous, const struct current *now)
{
    struct fixture *f = context;
    f->announced++;
    buf_clear(&f->message);
    publish_encode(f->made.store, previous, now, f->subscribers, &f->whole, &f->message);
}

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);
    make_store(&f->made);
    f->fleet = make_fleet(3);
    for (size_t i = 0; i < 3; i++)
        change_node(f->fleet, i, 100);
    change_tree(f->fleet, 0, 5000);
    upload_all(f->made.store, f->fleet, NOW);
    f->publisher = (struct publisher){
        .store = f->made.store, .trust = &f->fleet->trust, .announce = announce, .context = f};
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    current_clear(&f->publisher.current);
    buf_clear(&f->message);
    free_fleet(f->fleet);
    free_store(&f->made);
    free(f);
    return 0;
}

static bool publish_over(
    struct fixture *f, const uint8_t *base, const struct made_release *release, struct err *e)
{
    struct publish_request request = {.base = base,
        .envelope = buf_bytes(&release->envelope),
        .roster = buf_bytes(&release->roster),
        .tickets = buf_bytes(&release->tickets)};
    return publish_release(&f->publisher, &request, NOW, e);
}

static bool publish(struct fixture *f, const struct made_release *release, struct err *e)
{
    const struct current *current = &f->publisher.current;
    return publish_over(f, current->present ? current->head_hash : none, release, e);
}

// Publishes the fleet as it is now.
static void publish_fleet(struct fixture *f, uint64_t number)
{
    struct err e;
    struct made_release *release = make_release(f->fleet, 1, number, LATER);
    must(publish(f, release, &e), &e);
    free_release(release);
}

// Nothing was stored, nothing announced, the current one is what it was.
static void refused(struct fixture *f, struct made_release *release, enum code code)
{
    struct err e;
    unsigned announced = f->announced;
    bool present = f->publisher.current.present;
    must_fail(publish(f, release, &e), &e, code);
    assert_int_equal(f->announced, announced);
    assert_int_equal(f->publisher.current.present, present);
    struct store_release stored;
    if (!present)
        must_fail(store_newest(f->made.store, &stored, &e), &e, CODE_NONE);
    free_release(release);
}

static void good_release_becomes_the_current_one(void **state)
{
    struct fixture *f = *state;
    struct err e;
    publish_fleet(f, NOW);
    assert_int_equal(f->announced, 1);
    struct current loaded;
    must(current_load(&loaded, f->made.store, &e), &e);
    assert_true(loaded.present);
    assert_int_equal(loaded.head.release, NOW);
    assert_memory_equal(loaded.head_hash, f->publisher.current.head_hash, HASH_BYTES);
    current_clear(&loaded);
}

static void same_release_again_is_fine_and_silent(void **state)
{
    struct fixture *f = *state;
    struct err e;
    struct made_release *release = make_release(f->fleet, 1, NOW, LATER);
    must(publish_over(f, none, release, &e), &e);
    must(publish_over(f, none, release, &e), &e);
    assert_int_equal(f->announced, 1);
    free_release(release);
}

static void strangers_signature_is_refused(void **state)
{
    struct fixture *f = *state;
    struct secret_key stranger;
    make_key(&stranger);
    struct made_release *release = make_release(f->fleet, 1, NOW, LATER);
    sign_release(release, &stranger, NAMESPACE_RELEASE);
    refused(f, release, CODE_SIGNER);
}

static void signature_of_another_namespace_is_refused(void **state)
{
    struct fixture *f = *state;
    struct made_release *release = make_release(f->fleet, 1, NOW, LATER);
    sign_release(release, &f->fleet->admin, "git");
    refused(f, release, CODE_NAMESPACE);
}

static void another_fleets_release_is_refused(void **state)
{
    struct fixture *f = *state;
    struct made_release *release = make_release(f->fleet, 1, NOW, LATER);
    release->head.fleet[0] ^= 1;
    sign_release(release, &f->fleet->admin, NAMESPACE_RELEASE);
    refused(f, release, CODE_FLEET);
}

static void expired_release_is_refused_at_the_very_second(void **state)
{
    struct fixture *f = *state;
    refused(f, make_release(f->fleet, 1, NOW - 10, NOW), CODE_EXPIRED);
    struct made_release *release = make_release(f->fleet, 1, NOW - 10, NOW + 1);
    struct err e;
    must(publish(f, release, &e), &e);
    free_release(release);
}

static void changed_ticket_is_refused(void **state)
{
    struct fixture *f = *state;
    struct made_release *release = make_release(f->fleet, 1, NOW, LATER);
    release->tickets.at[release->tickets.len - 1] ^= 1;
    refused(f, release, CODE_PATH);
}

static void changed_roster_is_refused(void **state)
{
    struct fixture *f = *state;
    struct made_release *release = make_release(f->fleet, 1, NOW, LATER);
    release->roster.at[release->roster.len - 1] ^= 1;
    refused(f, release, CODE_HASH);
}

static void every_truncation_is_refused(void **state)
{
    struct fixture *f = *state;
    struct err e;
    struct made_release *release = make_release(f->fleet, 1, NOW, LATER);
    struct buf *parts[] = {&release->envelope, &release->roster, &release->tickets};
    for (size_t part = 0; part < 3; part++) {
        size_t whole = parts[part]->len;
        for (size_t len = 0; len < whole; len++) {
            parts[part]->len = len;
            assert_false(publish(f, release, &e));
        }
        parts[part]->len = whole;
    }
    assert_int_equal(f->announced, 0);
    must(publish(f, release, &e), &e);
    free_release(release);
}

static void missing_bundle_or_tree_is_refused(void **state)
{
    struct fixture *f = *state;
    change_node(f->fleet, 1, 200);
    refused(f, make_release(f->fleet, 1, NOW, LATER), CODE_NONE);
    upload_blob(f->made.store, &f->fleet->nodes[1].bundle, NOW);
    change_tree(f->fleet, 2, 200);
    refused(f, make_release(f->fleet, 1, NOW, LATER), CODE_NONE);
    upload_blob(f->made.store, &f->fleet->nodes[2].tree, NOW);
    publish_fleet(f, NOW);
}

static void second_publisher_on_the_same_base_is_stale(void **state)
{
    struct fixture *f = *state;
    struct err e;
    publish_fleet(f, NOW);
    struct made_release *release = make_release(f->fleet, 1, NOW + 1, LATER);
    must_fail(publish_over(f, none, release, &e), &e, CODE_STALE);
    free_release(release);
    assert_int_equal(f->announced, 1);
}

static void order_of_releases_is_enforced(void **state)
{
    struct fixture *f = *state;
    publish_fleet(f, NOW);
    refused(f, make_release(f->fleet, 1, NOW, LATER), CODE_EQUIVOCATION);
    refused(f, make_release(f->fleet, 1, NOW - 1, LATER), CODE_ROLLBACK);
    refused(f, make_release(f->fleet, 3, NOW + 1, LATER), CODE_EPOCH);
}

static void decision_follows_the_table(void **state)
{
    (void)state;
    const uint64_t mib = 1 << 20;
    const struct {
        uint64_t bytes, subscribers;
        bool whole;
    } table[] = {
        {0, 0, true},
        {1000, 0, true},
        {mib, 0, true},
        {mib + 1, 0, false},
        {mib, 1, true},
        {mib, 16, true},
        {mib, 17, false},
        {mib - 1, 16, true},
        {mib / 2, 32, true},
        {mib / 2, 33, false},
        {mib / 2 + 1, 32, false},
        {1, 16 * mib, true},
        {1, 16 * mib + 1, false},
        {300, UINT64_MAX, false},
        {UINT64_MAX, 1, false},
        {UINT64_MAX, UINT64_MAX, false},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (publish_goes_whole(table[i].bytes, table[i].subscribers) != table[i].whole)
            fail_msg("row %zu", i);
}

static struct published decode(struct fixture *f)
{
    struct err e;
    struct published published;
    must(published_decode(buf_bytes(&f->message), &published, &e), &e);
    assert_true(bytes_equal(published.envelope, f->publisher.current.envelope));
    return published;
}

static bool has_blob(const struct published *published, const struct buf *blob)
{
    for (size_t i = 0; i < published->blob_count; i++)
        if (bytes_equal(published->blobs[i], buf_bytes(blob)))
            return true;
    return false;
}

static void first_release_goes_out_with_everything(void **state)
{
    struct fixture *f = *state;
    struct err e;
    f->subscribers = 3;
    publish_fleet(f, NOW);
    assert_true(f->whole);
    struct published published = decode(f);
    assert_int_equal(published.proven_count, 3);
    assert_int_equal(published.blob_count, 4);
    for (size_t i = 0; i < 3; i++) {
        struct ticket ticket;
        const struct made_node *node = &f->fleet->nodes[i];
        must(proven_verify(published.proven[i], &f->publisher.current.head, node->id, &ticket, &e),
            &e);
        assert_true(has_blob(&published, &node->bundle));
    }
    assert_true(has_blob(&published, &f->fleet->nodes[0].tree));
    published_clear(&published);
}

static void only_what_changed_goes_out(void **state)
{
    struct fixture *f = *state;
    struct err e;
    publish_fleet(f, NOW);
    change_node(f->fleet, 1, 300);
    upload_all(f->made.store, f->fleet, NOW);
    publish_fleet(f, NOW + 1);
    assert_true(f->whole);
    struct published published = decode(f);
    struct ticket ticket;
    assert_int_equal(published.proven_count, 1);
    must(proven_verify(
             published.proven[0], &f->publisher.current.head, f->fleet->nodes[1].id, &ticket, &e),
        &e);
    assert_int_equal(published.blob_count, 1);
    assert_true(has_blob(&published, &f->fleet->nodes[1].bundle));
    published_clear(&published);
}

static void renewal_without_changes_carries_the_envelope_only(void **state)
{
    struct fixture *f = *state;
    publish_fleet(f, NOW);
    publish_fleet(f, NOW + 1);
    assert_true(f->whole);
    struct published published = decode(f);
    assert_int_equal(published.proven_count, 0);
    assert_int_equal(published.blob_count, 0);
    published_clear(&published);
}

static void dear_release_goes_out_as_envelope(void **state)
{
    struct fixture *f = *state;
    change_tree(f->fleet, 1, 2 << 20); // larger than a message
    upload_all(f->made.store, f->fleet, NOW);
    publish_fleet(f, NOW);
    assert_false(f->whole);
    struct published published = decode(f);
    assert_int_equal(published.proven_count + published.blob_count, 0);
    published_clear(&published);

    f->subscribers = 20000; // each message would be some 900 bytes
    change_node(f->fleet, 1, 400);
    upload_all(f->made.store, f->fleet, NOW);
    publish_fleet(f, NOW + 1);
    assert_false(f->whole);
    f->subscribers = 200;
    change_node(f->fleet, 1, 400);
    upload_all(f->made.store, f->fleet, NOW);
    publish_fleet(f, NOW + 2);
    assert_true(f->whole);
}

static void paths_are_those_of_the_reference_for_any_size(void **state)
{
    (void)state;
    struct err e;
    const size_t sizes[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65, 100, 199};
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        size_t n = sizes[s];
        struct made_fleet *fleet = make_fleet(n);
        struct made_release *release = make_release(fleet, 1, NOW, LATER);
        merkle_hash leaves[MADE_NODES_MAX], path[PATH_HASHES_MAX];
        for (size_t i = 0; i < n; i++)
            merkle_leaf(buf_bytes(&release->ticket[i]), leaves[i]);
        struct store_release raw = {
            .envelope = release->envelope, .roster = release->roster, .tickets = release->tickets};
        struct current current;
        must(current_open(&current, &raw, &e), &e);
        release->envelope = release->roster = release->tickets = (struct buf){0};
        for (size_t i = 0; i < n; i++) {
            struct proven proven;
            size_t len = merkle_path((const merkle_hash *)leaves, n, i, path);
            current_proven(&current, i, &proven);
            assert_int_equal(proven.path_len, len);
            assert_memory_equal(proven.path, path, len * HASH_BYTES);
        }
        current_clear(&current);
        free_release(release);
        free_fleet(fleet);
    }
}

static void damaged_stored_release_is_not_opened(void **state)
{
    struct fixture *f = *state;
    struct err e;
    struct made_release *release = make_release(f->fleet, 1, NOW, LATER);
    struct store_release raw = {
        .envelope = release->envelope, .roster = release->roster, .tickets = release->tickets};
    struct current current;
    raw.tickets.at[raw.tickets.len - 1] ^= 1;
    must_fail(current_open(&current, &raw, &e), &e, CODE_PATH);
    raw.tickets.len--;
    must_fail(current_open(&current, &raw, &e), &e, CODE_FORMAT);
    assert_ptr_equal(raw.tickets.at, release->tickets.at); // still ours
    free_release(release);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(good_release_becomes_the_current_one),
        T(same_release_again_is_fine_and_silent),
        T(strangers_signature_is_refused),
        T(signature_of_another_namespace_is_refused),
        T(another_fleets_release_is_refused),
        T(expired_release_is_refused_at_the_very_second),
        T(changed_ticket_is_refused),
        T(changed_roster_is_refused),
        T(every_truncation_is_refused),
        T(missing_bundle_or_tree_is_refused),
        T(second_publisher_on_the_same_base_is_stale),
        T(order_of_releases_is_enforced),
        T(decision_follows_the_table),
        T(first_release_goes_out_with_everything),
        T(only_what_changed_goes_out),
        T(renewal_without_changes_carries_the_envelope_only),
        T(dear_release_goes_out_as_envelope),
        T(paths_are_those_of_the_reference_for_any_size),
        T(damaged_stored_release_is_not_opened),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
