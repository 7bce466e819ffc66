#include "blobs.h"

#include "node_test.h"

static struct err e;

struct place {
    struct folder *folder;
    struct config config;
    struct spool spool;
    struct blobs blobs;
};

static int setup(void **state)
{
    struct place *place = xcalloc(1, sizeof *place);
    void *folder;
    if (folder_setup(&folder) != 0) {
        return -1;
    }
    place->folder = folder;
    config_in(place->folder->path, &place->config);
    *state = place;
    return spool_open(&place->config, &place->spool, &e) &&
                   blobs_open(&place->blobs, &place->config, &place->spool, &e)
               ? 0
               : -1;
}

static int teardown(void **state)
{
    struct place *place = *state;
    void *folder = place->folder;
    blobs_close(&place->blobs);
    spool_close(&place->spool);
    free(place);
    return folder_teardown(&folder);
}

#define with_place(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
#define LEN 1000u

static uint8_t content[LEN + 100];

static struct want_blob blob_of(uint64_t len)
{
    struct want_blob blob = {.len = len};
    for (size_t i = 0; i < sizeof content; i++) {
        content[i] = (uint8_t)(i * 7);
    }
    sha256(bytes_of(content, (size_t)len), blob.hash);
    return blob;
}

static bool add(
    struct place *place, const struct want_blob *blob, uint64_t from, uint64_t to, bool *done)
{
    return blobs_add(
        &place->blobs, blob, from, bytes_of(content + from, (size_t)(to - from)), done, &e);
}

static bool have(struct place *place, const uint8_t *hash)
{
    return blobs_look(&place->blobs, hash) == BLOB_SOUND;
}

static void assert_in_spool(struct place *place, const struct want_blob *blob)
{
    char name[HASH_HEX_BYTES];
    struct buf whole = {0};
    hex_encode(blob->hash, HASH_BYTES, name);
    assert_true(have(place, blob->hash));
    MUST(fs_read(place->spool.blobs, name, BLOB_BYTES_MAX, &whole, &e));
    assert_bytes(buf_bytes(&whole), bytes_of(content, (size_t)blob->len));
    buf_clear(&whole);
    assert_int_equal(count_entries(place->blobs.partial), 0);
}

static void whole_blob_goes_into_the_spool(void **state)
{
    struct want_blob blob = blob_of(LEN);
    bool done = false;
    assert_false(have(*state, blob.hash));
    MUST(add(*state, &blob, 0, LEN, &done));
    assert_true(done);
    assert_in_spool(*state, &blob);
}

static void pieces_are_put_together(void **state)
{
    struct place *place = *state;
    struct want_blob blob = blob_of(LEN);
    bool done = true;
    for (uint64_t at = 0; at < LEN; at += 100) {
        assert_int_equal(blobs_offset(&place->blobs, &blob), at);
        MUST(add(place, &blob, at, at + 100, &done));
        assert_int_equal(done, at + 100 == LEN);
        assert_int_equal(have(place, blob.hash), done);
    }
    assert_in_spool(place, &blob);
}

static void interrupted_download_goes_on_after_a_restart(void **state)
{
    struct place *place = *state;
    struct want_blob blob = blob_of(LEN);
    bool done;
    MUST(add(place, &blob, 0, 700, &done));
    blobs_close(&place->blobs);
    MUST(blobs_open(&place->blobs, &place->config, &place->spool, &e));
    assert_int_equal(blobs_offset(&place->blobs, &blob), 700);
    MUST(add(place, &blob, 700, LEN, &done));
    assert_true(done);
    assert_in_spool(place, &blob);
}

// What lies behind the offset is not trusted: a write may have been cut in the middle.
static void piece_is_written_over_what_lies_behind_it(void **state)
{
    struct place *place = *state;
    struct want_blob blob = blob_of(LEN);
    bool done;
    MUST(add(place, &blob, 0, 700, &done));
    MUST(add(place, &blob, 0, 300, &done));
    assert_int_equal(blobs_offset(&place->blobs, &blob), 300);
    MUST(add(place, &blob, 300, LEN, &done));
    assert_in_spool(place, &blob);
}

static void wrong_bytes_are_thrown_away(void **state)
{
    struct place *place = *state;
    struct want_blob blob = blob_of(LEN);
    bool done;
    content[500] ^= 1;
    MUST(add(place, &blob, 0, 999, &done));
    MUST_FAIL(add(place, &blob, 999, LEN, &done), CODE_HASH);
    assert_false(done);
    assert_false(have(place, blob.hash));
    assert_int_equal(blobs_offset(&place->blobs, &blob), 0);
    assert_int_equal(count_entries(place->blobs.partial), 0);
    content[500] ^= 1;
    MUST(add(place, &blob, 0, LEN, &done)); // and the right ones are taken afterwards
    assert_in_spool(place, &blob);
}

// In the spool, behind our back: noticed at the next look, and room is made for another download.
static void blob_that_rots_in_the_spool_is_missing_again(void **state)
{
    struct place *place = *state;
    struct want_blob blob = blob_of(LEN);
    char name[HASH_HEX_BYTES];
    bool done;
    hex_encode(blob.hash, HASH_BYTES, name);
    MUST(add(place, &blob, 0, LEN, &done));
    assert_int_equal(blobs_look(&place->blobs, blob.hash), BLOB_SOUND);
    int fd = openat(place->spool.blobs, name, O_WRONLY | O_CLOEXEC);
    assert_int_equal(pwrite(fd, "rot", 3, 100), 3);
    close(fd);
    assert_int_equal(blobs_look(&place->blobs, blob.hash), BLOB_CORRUPT);
    assert_int_equal(blobs_look(&place->blobs, blob.hash), BLOB_MISSING);
    MUST(add(place, &blob, 0, LEN, &done));
    assert_in_spool(place, &blob);
}

static void overtaken_halves_go_and_what_is_in_the_spool_stays(void **state)
{
    struct place *place = *state;
    struct want_blob half = blob_of(LEN), whole = blob_of(LEN - 1);
    bool done;
    MUST(add(place, &half, 0, 700, &done));
    MUST(add(place, &whole, 0, LEN - 1, &done));
    blobs_forget(&place->blobs, &half, 1, true);
    assert_int_equal(blobs_offset(&place->blobs, &half), 700);
    blobs_forget(&place->blobs, NULL, 0, true);
    assert_int_equal(blobs_offset(&place->blobs, &half), 0);
    assert_true(have(place, whole.hash));
    MUST(add(place, &half, 0, 700, &done));
    blobs_drop(&place->blobs, &half);
    assert_int_equal(blobs_offset(&place->blobs, &half), 0);
}

static void longer_than_announced_is_refused(void **state)
{
    struct place *place = *state;
    struct want_blob blob = blob_of(LEN);
    bool done;
    MUST_FAIL(add(place, &blob, 0, LEN + 1, &done), CODE_LENGTH);
    assert_int_equal(count_entries(place->blobs.partial), 0);
    MUST(add(place, &blob, 0, 999, &done));
    MUST_FAIL(add(place, &blob, 999, LEN + 1, &done), CODE_LENGTH);
    assert_int_equal(blobs_offset(&place->blobs, &blob), 999);  // what was good stays
    MUST_FAIL(add(place, &blob, 999, 999, &done), CODE_LENGTH); // nothing is no progress
    assert_false(have(place, blob.hash));
}

static void partial_as_long_as_the_blob_starts_again(void **state)
{
    struct place *place = *state;
    struct want_blob blob = blob_of(LEN), shorter = blob_of(LEN);
    bool done;
    shorter.len = 500; // another claim about the same name
    MUST(add(place, &blob, 0, 600, &done));
    assert_int_equal(blobs_offset(&place->blobs, &shorter), 0);
    MUST_FAIL(add(place, &shorter, 0, 500, &done), CODE_HASH);
    MUST(add(place, &blob, 0, LEN, &done));
    assert_in_spool(place, &blob);
}

static void link_in_the_place_of_a_partial_is_not_followed(void **state)
{
    struct place *place = *state;
    struct want_blob blob = blob_of(LEN);
    char name[HASH_HEX_BYTES];
    bool done;
    hex_encode(blob.hash, HASH_BYTES, name);
    put_file(place->folder->fd, "victim", "precious", 0600);
    assert_int_equal(symlinkat("../../victim", place->blobs.partial, name), 0);
    MUST_FAIL(add(place, &blob, 0, 100, &done), CODE_IO);
    struct buf victim = {0};
    MUST(fs_read(place->folder->fd, "victim", 100, &victim, &e));
    assert_true(is_text(&victim, "precious"));
    buf_clear(&victim);
}

static void forget_keeps_what_is_needed(void **state)
{
    struct place *place = *state;
    struct want_blob blobs[4]; // finished and partial, needed and not
    bool done;
    for (unsigned i = 0; i < 4; i++) {
        blobs[i] = blob_of(LEN - i);
        MUST(add(place, &blobs[i], 0, i < 2 ? LEN - i : 100, &done));
    }
    put_file(place->blobs.partial, "rubbish", "x", 0600);
    const struct want_blob needed[] = {blobs[0], blobs[2]};
    blobs_forget(&place->blobs, needed, 2, false);
    assert_true(have(place, blobs[0].hash));
    assert_false(have(place, blobs[1].hash));
    assert_int_equal(blobs_offset(&place->blobs, &blobs[2]), 100);
    assert_int_equal(blobs_offset(&place->blobs, &blobs[3]), 0);
    assert_int_equal(count_entries(place->blobs.partial), 1);
    blobs_forget(&place->blobs, NULL, 0, false);
    assert_int_equal(count_entries(place->blobs.partial), 0);
    assert_int_equal(count_entries(place->spool.blobs), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_place(whole_blob_goes_into_the_spool),
        with_place(pieces_are_put_together),
        with_place(interrupted_download_goes_on_after_a_restart),
        with_place(piece_is_written_over_what_lies_behind_it),
        with_place(wrong_bytes_are_thrown_away),
        with_place(blob_that_rots_in_the_spool_is_missing_again),
        with_place(overtaken_halves_go_and_what_is_in_the_spool_stays),
        with_place(longer_than_announced_is_refused),
        with_place(partial_as_long_as_the_blob_starts_again),
        with_place(link_in_the_place_of_a_partial_is_not_followed),
        with_place(forget_keeps_what_is_needed),
    };
    return cmocka_run_group_tests(tests, start_sodium, NULL);
}
