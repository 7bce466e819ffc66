#include "store.h"

#include "fs.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define NOW 1700000000u

// A store in a folder of its own, for one test.
struct fixture {
    char folder[64];
    struct store *store;
};

static const uint8_t none[HASH_BYTES];

static void must(bool ok, const struct err *e)
{
    if (!ok)
        fail_msg("%s: %s", code_name(e->code), e->text);
}
static void must_fail(bool ok, const struct err *e, enum code code)
{
    assert_false(ok);
    assert_string_equal(code_name(e->code), code_name(code));
}

static void reopen(struct fixture *f)
{
    struct err e;
    store_close(f->store);
    f->store = NULL;
    must(store_open(f->folder, &f->store, &e), &e);
}

static int setup(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);
    strcpy(f->folder, "/tmp/test_store.XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    reopen(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    struct err e;
    store_close(f->store);
    must(fs_remove_tree(AT_FDCWD, f->folder, &e), &e);
    free(f);
    return 0;
}

static void name(uint64_t number, uint8_t hash[HASH_BYTES])
{
    sha256(bytes_of(&number, sizeof number), hash);
}

static bool publish(struct fixture *f, uint64_t base, uint64_t head, uint64_t epoch,
    uint64_t release, const merkle_hash *blobs, size_t blob_count, uint64_t now_s, struct err *e)
{
    uint8_t base_hash[HASH_BYTES] = {0}, head_hash[HASH_BYTES];
    if (base)
        name(base, base_hash);
    name(head, head_hash);
    char envelope[32];
    snprintf(envelope, sizeof envelope, "envelope %d", (int)head);
    struct store_publication publication = {
        .base = base_hash,
        .head_hash = head_hash,
        .epoch = epoch,
        .release = release,
        .envelope = bytes_of_text(envelope),
        .roster = bytes_of_text("roster"),
        .tickets = bytes_of_text("tickets"),
        .blobs = blobs,
        .blob_count = blob_count,
        .now_s = now_s,
    };
    return store_publish(f->store, &publication, e);
}

// Clears it.
static void release_is(struct store_release *release, uint64_t head)
{
    char envelope[32];
    snprintf(envelope, sizeof envelope, "envelope %d", (int)head);
    assert_string_equal(buf_text(&release->envelope), envelope);
    assert_string_equal(buf_text(&release->roster), "roster");
    assert_string_equal(buf_text(&release->tickets), "tickets");
    store_release_clear(release);
}

static void newest_is(struct fixture *f, uint64_t head)
{
    struct err e;
    struct store_release release;
    must(store_newest(f->store, &release, &e), &e);
    release_is(&release, head);
}

// Bytes that differ from place to place, and their name.
static struct buf make_blob(size_t len, unsigned seed, uint8_t hash[HASH_BYTES])
{
    struct buf b = {0};
    for (size_t i = 0; i < len; i++) {
        seed = seed * 1664525u + 1013904223u;
        uint8_t byte = (uint8_t)(seed >> 24);
        buf_append(&b, &byte, 1);
    }
    sha256(buf_bytes(&b), hash);
    return b;
}

static void upload(
    struct fixture *f, struct bytes blob, const uint8_t *hash, size_t chunk_len, uint64_t now_s)
{
    struct err e;
    uint64_t have = 0;
    while (have < blob.len) {
        size_t n = blob.len - have < chunk_len ? blob.len - have : chunk_len;
        must(store_blob_put(
                 f->store, hash, blob.len, have, bytes_of(blob.at + have, n), now_s, &have, &e),
            &e);
    }
}

static bool is_whole(struct fixture *f, const uint8_t *hash)
{
    struct err e;
    bool whole;
    must(store_blob_is_whole(f->store, hash, &whole, &e), &e);
    return whole;
}

static void upload_small(struct fixture *f, unsigned seed, uint64_t now_s, merkle_hash hash)
{
    struct buf blob = make_blob(100, seed, hash);
    upload(f, buf_bytes(&blob), hash, 1000, now_s);
    assert_true(is_whole(f, hash));
    buf_clear(&blob);
}

static void empty_store_has_no_release(void **state)
{
    struct fixture *f = *state;
    struct err e;
    struct store_release release;
    must_fail(store_newest(f->store, &release, &e), &e, CODE_NONE);
}

static void published_release_is_there_after_reopening(void **state)
{
    struct fixture *f = *state;
    struct err e;
    must(publish(f, 0, 1, 1, 100, NULL, 0, NOW, &e), &e);
    reopen(f);
    newest_is(f, 1);
}

static void stale_base_is_refused_and_changes_nothing(void **state)
{
    struct fixture *f = *state;
    struct err e;
    must_fail(publish(f, 7, 1, 1, 100, NULL, 0, NOW, &e), &e, CODE_STALE);
    must(publish(f, 0, 1, 1, 100, NULL, 0, NOW, &e), &e);
    must_fail(publish(f, 0, 2, 1, 101, NULL, 0, NOW, &e), &e, CODE_STALE);
    must_fail(publish(f, 7, 2, 1, 101, NULL, 0, NOW, &e), &e, CODE_STALE);
    newest_is(f, 1);
    must(publish(f, 1, 2, 1, 101, NULL, 0, NOW, &e), &e);
    newest_is(f, 2);
}

static void older_number_is_rollback(void **state)
{
    struct fixture *f = *state;
    struct err e;
    must(publish(f, 0, 1, 1, 100, NULL, 0, NOW, &e), &e);
    must_fail(publish(f, 1, 2, 1, 99, NULL, 0, NOW, &e), &e, CODE_ROLLBACK);
    newest_is(f, 1);
}

static void same_number_with_another_head_is_equivocation(void **state)
{
    struct fixture *f = *state;
    struct err e;
    must(publish(f, 0, 1, 1, 100, NULL, 0, NOW, &e), &e);
    must_fail(publish(f, 1, 2, 1, 100, NULL, 0, NOW, &e), &e, CODE_EQUIVOCATION);
    newest_is(f, 1);
}

static void epoch_grows_by_one_at_most(void **state)
{
    struct fixture *f = *state;
    struct err e;
    must(publish(f, 0, 1, 5, UINT64_MAX, NULL, 0, NOW, &e), &e); // any first one
    must_fail(publish(f, 1, 2, 7, 1, NULL, 0, NOW, &e), &e, CODE_EPOCH);
    must_fail(publish(f, 1, 2, 4, 1, NULL, 0, NOW, &e), &e, CODE_EPOCH);
    must_fail(publish(f, 1, 2, 0, 1, NULL, 0, NOW, &e), &e, CODE_EPOCH);
    must(publish(f, 1, 2, 6, 1, NULL, 0, NOW, &e), &e);
    newest_is(f, 2);
}

static void numbers_are_ordered_as_unsigned(void **state)
{
    struct fixture *f = *state;
    struct err e;
    must(publish(f, 0, 1, 1, INT64_MAX, NULL, 0, NOW, &e), &e);
    must(publish(f, 1, 2, 1, (uint64_t)INT64_MAX + 1, NULL, 0, NOW, &e), &e);
    must_fail(publish(f, 2, 3, 1, INT64_MAX, NULL, 0, NOW, &e), &e, CODE_ROLLBACK);
    must(publish(f, 2, 3, 1, UINT64_MAX, NULL, 0, NOW, &e), &e);
    newest_is(f, 3);
}

static void missing_blob_refuses_the_whole_release(void **state)
{
    struct fixture *f = *state;
    struct err e;
    merkle_hash blobs[2];
    upload_small(f, 1, NOW, blobs[0]);
    struct buf half = make_blob(100, 2, blobs[1]);
    uint64_t have;
    must(store_blob_put(f->store, blobs[1], 100, 0, bytes_of(half.at, 99), NOW, &have, &e), &e);
    must_fail(publish(f, 0, 1, 1, 100, blobs, 2, NOW, &e), &e, CODE_NONE);
    struct store_release release;
    must_fail(store_newest(f->store, &release, &e), &e, CODE_NONE);
    must(
        store_blob_put(f->store, blobs[1], 100, 99, bytes_of(half.at + 99, 1), NOW, &have, &e), &e);
    must(publish(f, 0, 1, 1, 100, blobs, 2, NOW, &e), &e);
    buf_clear(&half);
}

static void earlier_releases_are_walked_back_to_the_last_one_kept(void **state)
{
    struct fixture *f = *state;
    struct err e;
    struct store_release release;
    merkle_hash hash;
    for (uint64_t i = 1; i <= RELEASES_KEPT + 2; i++)
        must(publish(f, i - 1, i, 1, i, NULL, 0, NOW, &e), &e);
    for (uint64_t i = RELEASES_KEPT + 2; i > 3; i--) {
        name(i, hash);
        must(store_earlier(f->store, hash, &release, &e), &e);
        release_is(&release, i - 1);
    }
    name(3, hash);
    must_fail(store_earlier(f->store, hash, &release, &e), &e, CODE_NONE);
    name(99, hash); // nobody published that
    must_fail(store_earlier(f->store, hash, &release, &e), &e, CODE_NONE);
}

static void eleventh_release_forgets_what_only_the_first_needed(void **state)
{
    struct fixture *f = *state;
    struct err e;
    merkle_hash blobs[3]; // of the first, of all, of none
    for (unsigned i = 0; i < 3; i++)
        upload_small(f, i, NOW, blobs[i]);
    const uint64_t later = NOW + UPLOAD_KEPT_S + 1;
    must(publish(f, 0, 1, 1, 1, blobs, 2, NOW, &e), &e);
    assert_true(is_whole(f, blobs[2]));
    for (unsigned i = 2; i <= RELEASES_KEPT; i++)
        must(publish(f, i - 1, i, 1, i, &blobs[1], 1, later, &e), &e);
    assert_true(is_whole(f, blobs[0]));
    assert_false(is_whole(f, blobs[2]));
    must(publish(f, RELEASES_KEPT, 11, 1, 11, &blobs[1], 1, later, &e), &e);
    assert_false(is_whole(f, blobs[0]));
    assert_true(is_whole(f, blobs[1]));
}

static void upload_under_way_survives_a_publication(void **state)
{
    struct fixture *f = *state;
    struct err e;
    merkle_hash half, whole;
    struct buf blob = make_blob(100, 1, half);
    uint64_t have;
    must(store_blob_put(f->store, half, 100, 0, bytes_of(blob.at, 60), NOW, &have, &e), &e);
    upload_small(f, 2, NOW, whole);
    must(publish(f, 0, 1, 1, 1, NULL, 0, NOW + UPLOAD_KEPT_S, &e), &e);
    assert_true(is_whole(f, whole));
    must(store_blob_put(f->store, half, 100, 0, bytes_of(NULL, 0), NOW, &have, &e), &e);
    assert_int_equal(have, 60);
    must(publish(f, 1, 2, 1, 2, NULL, 0, NOW + UPLOAD_KEPT_S + 1, &e), &e);
    assert_false(is_whole(f, whole));
    must(store_blob_put(f->store, half, 100, 60, bytes_of(blob.at + 60, 40), NOW, &have, &e), &e);
    assert_int_equal(have, 0); // forgotten: starts anew
    buf_clear(&blob);
}

static void upload_goes_on_after_a_restart(void **state)
{
    struct fixture *f = *state;
    struct err e;
    uint8_t hash[HASH_BYTES];
    struct buf blob = make_blob(70000, 3, hash);
    uint64_t have;
    must(store_blob_put(f->store, hash, blob.len, 0, bytes_of(blob.at, 50000), NOW, &have, &e), &e);
    assert_int_equal(have, 50000);
    assert_false(is_whole(f, hash));
    reopen(f);
    struct buf out = {0};
    uint64_t total;
    must_fail(store_blob_read(f->store, hash, 0, 10, &total, &out, &e), &e, CODE_NONE);
    must(store_blob_put(
             f->store, hash, blob.len, 50000, bytes_of(blob.at + 50000, 20000), NOW, &have, &e),
        &e);
    assert_int_equal(have, 70000);
    assert_true(is_whole(f, hash));
    buf_clear(&blob);
}

static void chunk_out_of_place_is_not_stored(void **state)
{
    struct fixture *f = *state;
    struct err e;
    uint8_t hash[HASH_BYTES];
    struct buf blob = make_blob(100, 4, hash);
    uint64_t have;
    must(store_blob_put(f->store, hash, 100, 10, bytes_of(blob.at, 20), NOW, &have, &e), &e);
    assert_int_equal(have, 0);
    must(store_blob_put(f->store, hash, 100, 0, bytes_of(blob.at, 20), NOW, &have, &e), &e);
    must(store_blob_put(f->store, hash, 100, 0, bytes_of(blob.at, 20), NOW, &have, &e), &e);
    assert_int_equal(have, 20);
    upload(f, bytes_of(blob.at, 100), hash, 100, NOW);
    buf_clear(&blob);
}

static void chunk_beyond_the_end_is_refused(void **state)
{
    struct fixture *f = *state;
    struct err e;
    uint8_t hash[HASH_BYTES];
    struct buf blob = make_blob(100, 4, hash);
    uint64_t have = 77;
    struct bytes all = buf_bytes(&blob);
    must_fail(store_blob_put(f->store, hash, 99, 0, all, NOW, &have, &e), &e, CODE_LENGTH);
    must_fail(store_blob_put(f->store, hash, 100, 1, all, NOW, &have, &e), &e, CODE_LENGTH);
    must_fail(
        store_blob_put(f->store, hash, 100, UINT64_MAX, all, NOW, &have, &e), &e, CODE_LENGTH);
    must_fail(
        store_blob_put(f->store, hash, 0, 0, bytes_of(NULL, 0), NOW, &have, &e), &e, CODE_LENGTH);
    must_fail(store_blob_put(f->store, hash, BLOB_BYTES_MAX + 1, 0, all, NOW, &have, &e), &e,
        CODE_LENGTH);
    assert_int_equal(have, 77);
    buf_clear(&blob);
}

static void wrong_bytes_are_refused_and_forgotten(void **state)
{
    struct fixture *f = *state;
    struct err e;
    uint8_t hash[HASH_BYTES];
    struct buf blob = make_blob(100, 5, hash);
    uint64_t have;
    blob.at[50] ^= 1;
    must_fail(
        store_blob_put(f->store, hash, 100, 0, buf_bytes(&blob), NOW, &have, &e), &e, CODE_HASH);
    assert_false(is_whole(f, hash));
    blob.at[50] ^= 1;
    upload(f, buf_bytes(&blob), hash, 30, NOW);
    assert_true(is_whole(f, hash));
    buf_clear(&blob);
}

static void another_total_starts_the_upload_anew(void **state)
{
    struct fixture *f = *state;
    struct err e;
    uint8_t hash[HASH_BYTES];
    struct buf blob = make_blob(100, 6, hash);
    uint64_t have;
    must(store_blob_put(f->store, hash, 5000, 0, bytes_of(blob.at, 50), NOW, &have, &e), &e);
    must(store_blob_put(f->store, hash, 100, 0, buf_bytes(&blob), NOW, &have, &e), &e);
    assert_true(is_whole(f, hash));
    buf_clear(&blob);
}

static void whole_blob_is_not_changed_by_another_upload(void **state)
{
    struct fixture *f = *state;
    struct err e;
    merkle_hash hash;
    upload_small(f, 7, NOW, hash);
    uint64_t have;
    must(store_blob_put(f->store, hash, 5000, 0, bytes_of("x", 1), NOW, &have, &e), &e);
    assert_int_equal(have, 100);
    assert_true(is_whole(f, hash));
}

static void any_offset_reads_the_same_bytes(void **state)
{
    struct fixture *f = *state;
    struct err e;
    uint8_t hash[HASH_BYTES];
    struct buf blob = make_blob(3000, 8, hash);
    upload(f, buf_bytes(&blob), hash, 700, NOW);
    for (size_t offset = 0; offset <= 3100; offset += 50) {
        for (size_t max = 0; max < 3200; max += 399) {
            struct buf out = {0};
            uint64_t total;
            must(store_blob_read(f->store, hash, offset, max, &total, &out, &e), &e);
            assert_int_equal(total, 3000);
            size_t left = offset < 3000 ? 3000 - offset : 0;
            assert_int_equal(out.len, max < left ? max : left);
            if (out.len > 0)
                assert_memory_equal(out.at, blob.at + offset, out.len);
            buf_clear(&out);
        }
    }
    buf_clear(&blob);
}

static struct store_status make_status(uint64_t node, uint64_t seq, const char *bytes)
{
    struct store_status status = {
        .seq = seq,
        .epoch = 1,
        .release = UINT64_MAX,
        .received_s = NOW,
        .state = "up-to-date",
        .code = "",
        .signed_message = bytes_of_text(bytes),
    };
    name(node, status.node_id);
    return status;
}

static struct store_status put(struct fixture *f, uint64_t node, uint64_t seq, const char *bytes)
{
    struct err e;
    struct store_status status = make_status(node, seq, bytes);
    must(store_put_statuses(f->store, &status, 1, &e), &e);
    return status;
}

// Collects what a query hands out, up to a number.
struct seen {
    unsigned count, max;
    uint8_t last[HASH_BYTES];
    char text[8192];
};
static bool see(void *context, const uint8_t node_id[HASH_BYTES], uint64_t received_s,
    struct bytes signed_message)
{
    struct seen *seen = context;
    if (seen->count == seen->max)
        return false;
    assert_int_equal(received_s, NOW);
    memcpy(seen->last, node_id, HASH_BYTES);
    size_t used = strlen(seen->text);
    snprintf(seen->text + used, sizeof seen->text - used, "%s%.*s", seen->count++ ? " " : "",
        (int)signed_message.len, (const char *)signed_message.at);
    return true;
}

static void repeated_status_is_stored_once(void **state)
{
    struct fixture *f = *state;
    struct err e;
    assert_int_equal(put(f, 1, 10, "a").outcome, STORE_NEW);
    reopen(f);
    assert_int_equal(put(f, 1, 10, "a").outcome, STORE_KNOWN);
    struct seen seen = {.max = 10};
    uint8_t id[HASH_BYTES];
    name(1, id);
    bool more;
    must(store_history(f->store, id, UINT64_MAX, see, &seen, &more, &e), &e);
    assert_string_equal(seen.text, "a");
    assert_false(more);
}

static void other_bytes_under_one_number_are_refused(void **state)
{
    struct fixture *f = *state;
    struct err e;
    put(f, 1, 10, "a");
    put(f, 1, UINT64_MAX, "b");
    put(f, 2, 99, "c");
    struct store_status status = put(f, 1, 10, "x");
    assert_int_equal(status.outcome, STORE_OTHER);
    assert_true(status.highest == UINT64_MAX);
    struct seen seen = {.max = 10};
    bool more;
    must(store_history(f->store, status.node_id, UINT64_MAX, see, &seen, &more, &e), &e);
    assert_string_equal(seen.text, "b a");
}

static void one_batch_judges_its_own_duplicates(void **state)
{
    struct fixture *f = *state;
    struct err e;
    struct store_status list[] = {make_status(1, 5, "a"), make_status(1, 5, "a"),
        make_status(1, 5, "b"), make_status(1, 4, "late"), make_status(2, 5, "b")};
    must(store_put_statuses(f->store, list, 5, &e), &e);
    assert_int_equal(list[0].outcome, STORE_NEW);
    assert_int_equal(list[1].outcome, STORE_KNOWN);
    assert_int_equal(list[2].outcome, STORE_OTHER);
    assert_int_equal(list[2].highest, 5);
    assert_int_equal(list[3].outcome, STORE_NEW);
    assert_int_equal(list[4].outcome, STORE_NEW);
}

static void the_newest_thousand_of_a_node_are_kept(void **state)
{
    struct fixture *f = *state;
    struct err e;
    enum { COUNT = STATUSES_KEPT_PER_NODE + 5 };
    struct store_status *list = xcalloc(COUNT, sizeof *list);
    for (uint64_t i = 0; i < COUNT; i++)
        list[i] = make_status(1, i + 1, "s");
    put(f, 2, 1, "other");
    must(store_put_statuses(f->store, list, COUNT, &e), &e);
    struct seen seen = {.max = 5000};
    bool more;
    must(store_history(f->store, list[0].node_id, UINT64_MAX, see, &seen, &more, &e), &e);
    assert_int_equal(seen.count, STATUSES_KEPT_PER_NODE);
    seen = (struct seen){.max = 5000};
    must(store_history(f->store, list[0].node_id, 7, see, &seen, &more, &e), &e);
    assert_string_equal(seen.text, "s"); // number 6 is the oldest
    assert_int_equal(put(f, 2, 1, "other").outcome, STORE_KNOWN);
    free(list);
}

static void newest_of_each_node_comes_in_pages(void **state)
{
    struct fixture *f = *state;
    struct err e;
    bool more;
    for (uint64_t node = 1; node <= 5; node++) {
        char text[16];
        for (uint64_t seq = 3; seq >= 1; seq--) {
            snprintf(text, sizeof text, "%d.%d", (int)node, (int)seq);
            put(f, node, seq, text);
        }
    }
    struct seen seen = {.max = 2};
    must(store_newest_statuses(f->store, none, see, &seen, &more, &e), &e);
    assert_true(more);
    assert_int_equal(seen.count, 2);
    seen.max = 5;
    must(store_newest_statuses(f->store, seen.last, see, &seen, &more, &e), &e);
    assert_false(more);
    assert_int_equal(seen.count, 5);
    for (int node = 1; node <= 5; node++) {
        char text[16];
        snprintf(text, sizeof text, "%d.3", node);
        assert_non_null(strstr(seen.text, text));
    }
}

static void history_goes_back_in_pages(void **state)
{
    struct fixture *f = *state;
    struct err e;
    bool more;
    put(f, 1, 1, "a");
    put(f, 1, 2, "b");
    put(f, 1, UINT64_MAX - 1, "c");
    put(f, 1, UINT64_MAX, "d");
    put(f, 2, 3, "z");
    uint8_t id[HASH_BYTES];
    name(1, id);
    struct seen seen = {.max = 2};
    must(store_history(f->store, id, UINT64_MAX, see, &seen, &more, &e), &e);
    assert_string_equal(seen.text, "d c");
    assert_true(more);
    seen.max = 5;
    must(store_history(f->store, id, UINT64_MAX - 1, see, &seen, &more, &e), &e);
    assert_string_equal(seen.text, "d c b a");
    assert_false(more);
}

// user_version stands at offset 60 of the file, big-endian (SQLite file format §1.3).
static void patch(struct fixture *f, off_t at, const char *bytes, size_t len)
{
    store_close(f->store);
    f->store = NULL;
    char path[96];
    snprintf(path, sizeof path, "%s/" STORE_FILE, f->folder);
    CLEANUP_FD fd = open(path, O_WRONLY);
    assert_int_equal(pwrite(fd, bytes, len, at), len);
}

static struct buf read_file(struct fixture *f)
{
    struct err e;
    struct buf content = {0};
    char path[96];
    snprintf(path, sizeof path, "%s/" STORE_FILE, f->folder);
    must(fs_read(AT_FDCWD, path, 1 << 24, &content, &e), &e);
    return content;
}

static void refused_and_untouched(struct fixture *f, enum code code, const char *word)
{
    struct err e;
    struct buf before = read_file(f);
    must_fail(store_open(f->folder, &f->store, &e), &e, code);
    assert_non_null(strstr(e.text, word));
    struct buf after = read_file(f);
    assert_true(bytes_equal(buf_bytes(&before), buf_bytes(&after)));
    buf_clear(&before);
    buf_clear(&after);
}

static void newer_schema_is_refused_and_untouched(void **state)
{
    struct fixture *f = *state;
    patch(f, 60, "\0\0\0\x63", 4);
    refused_and_untouched(f, CODE_CONFIG, "upgrade bento");
    patch(f, 60, "\0\0\0\x01", 4);
    reopen(f);
}

static void foreign_database_is_refused_and_untouched(void **state)
{
    struct fixture *f = *state;
    patch(f, 60, "\0\0\0\0", 4); // tables, but no schema of ours
    refused_and_untouched(f, CODE_CONFIG, "not a database of bento-broker");
}

static void garbage_is_refused_and_untouched(void **state)
{
    struct fixture *f = *state;
    patch(f, 0, "not SQLite format", 17);
    refused_and_untouched(f, CODE_IO, "not a database: restore a backup");
}

static void missing_folder_is_named(void **state)
{
    (void)state;
    struct err e;
    struct store *store;
    assert_false(store_open("/nonexistent/folder", &store, &e));
    assert_non_null(strstr(e.text, "/nonexistent/folder"));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(empty_store_has_no_release),
        T(published_release_is_there_after_reopening),
        T(stale_base_is_refused_and_changes_nothing),
        T(older_number_is_rollback),
        T(same_number_with_another_head_is_equivocation),
        T(epoch_grows_by_one_at_most),
        T(numbers_are_ordered_as_unsigned),
        T(missing_blob_refuses_the_whole_release),
        T(eleventh_release_forgets_what_only_the_first_needed),
        T(upload_under_way_survives_a_publication),
        T(upload_goes_on_after_a_restart),
        T(chunk_out_of_place_is_not_stored),
        T(chunk_beyond_the_end_is_refused),
        T(wrong_bytes_are_refused_and_forgotten),
        T(another_total_starts_the_upload_anew),
        T(whole_blob_is_not_changed_by_another_upload),
        T(any_offset_reads_the_same_bytes),
        T(repeated_status_is_stored_once),
        T(other_bytes_under_one_number_are_refused),
        T(one_batch_judges_its_own_duplicates),
        T(earlier_releases_are_walked_back_to_the_last_one_kept),
        T(the_newest_thousand_of_a_node_are_kept),
        T(newest_of_each_node_comes_in_pages),
        T(history_goes_back_in_pages),
        T(newer_schema_is_refused_and_untouched),
        T(foreign_database_is_refused_and_untouched),
        T(garbage_is_refused_and_untouched),
        T(missing_folder_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
