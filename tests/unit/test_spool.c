#include "spool.h"

#include "node_test.h"
#include "wire.h"

static struct err e;

static void release_names_round_trip(void **state)
{
    (void)state;
    static const uint64_t numbers[] = {0, 1, 1732360000, UINT64_MAX};
    uint8_t hash[HASH_BYTES];
    char name[RELEASE_NAME_BYTES];
    uint64_t epoch, release;
    memset(hash, 0xa7, sizeof hash);
    for (size_t i = 0; i < 4; i++) {
        for (size_t j = 0; j < 4; j++) {
            spool_release_name(numbers[i], numbers[j], hash, name);
            assert_true(spool_release_parse(name, &epoch, &release));
            assert_true(epoch == numbers[i] && release == numbers[j]);
        }
    }
    spool_release_name(1, 1732360000, hash, name);
    assert_string_equal(name, "1.1732360000.a7a7a7a7a7a7a7a7");
}

static void other_names_are_no_releases(void **state)
{
    (void)state;
    static const char *const bad[] = {"", ".", "..", "new", "acked", "blobs", "1", "1.2", "1.2.",
        "1.2.0123456789abcde", "1.2.0123456789abcdef0", "1.2.0123456789ABCDEF",
        "1.2.0123456789abcdef.new", "1.2.0123456789abcdef/", "1..0123456789abcdef",
        ".2.0123456789abcdef", "01.2.0123456789abcdef", "1.02.0123456789abcdef",
        "-1.2.0123456789abcdef", "1.-2.0123456789abcdef", "1.+2.0123456789abcdef",
        "1. 2.0123456789abcdef", " 1.2.0123456789abcdef",
        "1.18446744073709551616.0123456789abcdef"};
    uint64_t epoch, release;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (spool_release_parse(bad[i], &epoch, &release)) {
            fail_msg("'%s' was taken", bad[i]);
        }
    }
}

static void status_names_round_trip_and_sort_as_numbers(void **state)
{
    (void)state;
    static const uint64_t seqs[] = {0, 1, 9, 10, 1732360000000000000, UINT64_MAX};
    char before[STATUS_NAME_BYTES] = "", name[STATUS_NAME_BYTES];
    uint64_t seq;
    for (size_t i = 0; i < sizeof seqs / sizeof seqs[0]; i++) {
        spool_status_name(seqs[i], name);
        assert_true(spool_status_parse(name, &seq));
        assert_true(seq == seqs[i]);
        assert_true(strcmp(before, name) < 0);
        strcpy(before, name);
    }
    static const char *const bad[] = {"", "want", "state.json", "1.status",
        "00000000000000000001.statut", "00000000000000000001.status.tmp",
        "0000000000000000001.status", "-0000000000000000001.status", " 0000000000000000001.status",
        "99999999999999999999.status", "0000000000000000000x.status"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(spool_status_parse(bad[i], &seq));
    }
}

static bool recode_want(struct bytes message, struct buf *out, struct err *fault)
{
    struct want want;
    if (!want_decode(message, &want, fault)) {
        return false;
    }
    want_encode(&want, out);
    return true;
}

static void want_round_trips_and_no_damage_gets_through(void **state)
{
    (void)state;
    const struct parser parser = {recode_want, CODE_FORMAT};
    struct want want, back;
    for (size_t count = 0; count <= WANT_BLOBS_MAX; count++) {
        struct buf message = {0};
        memset(&want, 0, sizeof want);
        memset(want.node_id, 1, HASH_BYTES);
        memset(want.seen, 2, HASH_BYTES);
        want.blob_count = count;
        for (size_t i = 0; i < count; i++) {
            memset(want.blobs[i].hash, (int)(3 + i), HASH_BYTES);
            want.blobs[i].len = 1000 + i;
        }
        want.reach_seq = UINT64_MAX;
        want.anew = count == 1;
        want_encode(&want, &message);
        assert_true(message.len <= WANT_BYTES_MAX);
        MUST(want_decode(buf_bytes(&message), &back, &e));
        assert_memory_equal(&back, &want, sizeof want);
        assert_recodes(&parser, buf_bytes(&message));
        every_truncation_is_refused(&parser, buf_bytes(&message));
        trailing_byte_is_refused(&parser, buf_bytes(&message));
        every_flip_is_refused_or_recodes(&parser, buf_bytes(&message));
        buf_clear(&message);
    }
}

static void want_of_another_version_is_refused(void **state)
{
    (void)state;
    struct want want = {0}, back;
    struct buf message = {0};
    want_encode(&want, &message);
    uint8_t *version = message.at + 1 + 1 + strlen("bento-want"); // array, str header, name
    assert_int_equal(*version, 1);
    *version = 2;
    MUST_FAIL(want_decode(buf_bytes(&message), &back, &e), CODE_FORMAT);
    buf_clear(&message);
}

static bool recode_acks(struct bytes message, struct buf *out, struct err *fault)
{
    struct acks *acks = xcalloc(1, sizeof *acks);
    bool ok = acks_decode(message, acks, fault);
    if (ok) {
        acks_encode(acks, out);
    } else {
        assert_int_equal(acks->count, 0);
    }
    free(acks);
    return ok;
}

static void acks_round_trip_and_no_damage_gets_through(void **state)
{
    (void)state;
    const struct parser parser = {recode_acks, CODE_FORMAT};
    struct acks *acks = xcalloc(1, sizeof *acks);
    for (size_t count = 0; count <= 3; count++) {
        struct buf message = {0};
        acks->count = count;
        for (size_t i = 0; i < count; i++) {
            acks->list[i].seq = UINT64_MAX - i;
            memset(acks->list[i].hash, (int)(7 + i), HASH_BYTES);
            acks->list[i].refused = i == 1;
        }
        acks_encode(acks, &message);
        assert_recodes(&parser, buf_bytes(&message));
        every_truncation_is_refused(&parser, buf_bytes(&message));
        trailing_byte_is_refused(&parser, buf_bytes(&message));
        every_flip_is_refused_or_recodes(&parser, buf_bytes(&message));
        buf_clear(&message);
    }
    free(acks);
}

static void most_acks_fit_their_file_and_one_more_is_refused(void **state)
{
    (void)state;
    struct acks *acks = xcalloc(1, sizeof *acks), *back = xcalloc(1, sizeof *back);
    struct buf message = {0};
    acks->count = ACKS_MAX;
    for (size_t i = 0; i < ACKS_MAX; i++) {
        acks->list[i].seq = UINT64_MAX - i;
    }
    acks_encode(acks, &message);
    assert_true(message.len <= ACKED_BYTES_MAX);
    MUST(acks_decode(buf_bytes(&message), back, &e));
    assert_memory_equal(back, acks, sizeof *acks);
    buf_clear(&message);

    wire_put_open(&message, 3, "bento-acked");
    wire_put_array(&message, ACKS_MAX + 1);
    for (size_t i = 0; i <= ACKS_MAX; i++) {
        static const uint8_t hash[HASH_BYTES];
        wire_put_array(&message, 3);
        wire_put_u64(&message, i);
        wire_put_hash(&message, hash);
        wire_put_bool(&message, false);
    }
    MUST_FAIL(acks_decode(buf_bytes(&message), back, &e), CODE_FORMAT);
    buf_clear(&message);
    free(acks);
    free(back);
}

static mode_t mode_of(int dir, const char *name)
{
    struct stat st;
    assert_int_equal(fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW), 0);
    return st.st_mode & 07777;
}

static void folders_are_made_with_their_modes(void **state)
{
    struct folder *folder = *state;
    struct config config;
    struct spool spool;
    umask(0077);
    config_in(folder->path, &config);
    MUST(spool_open(&config, &spool, &e));
    assert_int_equal(mode_of(folder->fd, "node"), 0700);
    assert_int_equal(mode_of(folder->fd, "spool"), 0755);
    assert_int_equal(mode_of(folder->fd, "spool/in"), 0700);
    assert_int_equal(mode_of(folder->fd, "spool/in/blobs"), 0700);
    assert_int_equal(mode_of(folder->fd, "spool/out"), 02750);
    spool_close(&spool);
    MUST(spool_open(&config, &spool, &e)); // and are there the next time
    spool_close(&spool);
}

// A crash may have come between making a folder and giving it to bento-node.
static void folders_half_made_are_mended(void **state)
{
    struct folder *folder = *state;
    struct config config;
    struct spool spool;
    struct stat st;
    if (geteuid() != 0) {
        skip();
    }
    config_in(folder->path, &config);
    config.node_user = "nobody";
    assert_int_equal(mkdirat(folder->fd, "node", 0700), 0);
    assert_int_equal(mkdirat(folder->fd, "spool", 0700), 0);
    MUST(spool_open(&config, &spool, &e));
    spool_close(&spool);
    assert_int_equal(fstatat(folder->fd, "node", &st, 0), 0);
    assert_int_equal(st.st_uid, 65534);
    assert_int_equal(mode_of(folder->fd, "spool"), 0755);
    assert_int_equal(fstatat(folder->fd, "spool/in", &st, 0), 0);
    assert_int_equal(st.st_uid, 65534);
    assert_int_equal(fstatat(folder->fd, "spool/out", &st, 0), 0);
    assert_int_equal(st.st_uid, 0);
    assert_int_equal(st.st_gid, 65534);
}

// bento-node owns in/: what it puts in the place of blobs must not get root's chmod.
static void link_in_place_of_a_folder_is_refused(void **state)
{
    struct folder *folder = *state;
    struct config config;
    struct spool spool;
    config_in(folder->path, &config);
    MUST(spool_open(&config, &spool, &e));
    spool_close(&spool);
    assert_int_equal(mkdirat(folder->fd, "victim", 0755), 0);
    assert_int_equal(fchmodat(folder->fd, "victim", 0755, 0), 0);
    assert_int_equal(unlinkat(folder->fd, "spool/in/blobs", AT_REMOVEDIR), 0);
    assert_int_equal(symlinkat("../../victim", folder->fd, "spool/in/blobs"), 0);
    MUST_FAIL(spool_open(&config, &spool, &e), CODE_IO);
    assert_int_equal(mode_of(folder->fd, "victim"), 0755);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(release_names_round_trip),
        cmocka_unit_test(other_names_are_no_releases),
        cmocka_unit_test(status_names_round_trip_and_sort_as_numbers),
        cmocka_unit_test(want_round_trips_and_no_damage_gets_through),
        cmocka_unit_test(want_of_another_version_is_refused),
        cmocka_unit_test(acks_round_trip_and_no_damage_gets_through),
        cmocka_unit_test(most_acks_fit_their_file_and_one_more_is_refused),
        with_folder(folders_are_made_with_their_modes),
        with_folder(folders_half_made_are_mended),
        with_folder(link_in_place_of_a_folder_is_refused),
    };
    return cmocka_run_group_tests(tests, start_sodium, NULL);
}
