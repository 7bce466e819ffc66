#include "newest.h"

#include "rt_test.h"

static struct err e;
static const uint8_t fleet[32] = {1};

static int cache_setup(void **state)
{
    int failed = folder_setup(state);
    const struct folder *f = *state;
    return failed || setenv("XDG_CACHE_HOME", f->path, 1) != 0;
}

static bool shown(uint64_t epoch, uint64_t number, uint8_t hash)
{
    struct release release = {.head = {.epoch = epoch, .release = number}};
    release.head_hash[0] = hash;
    return newest_check(fleet, &release, &e);
}

static void newer_releases_are_remembered(void **state)
{
    (void)state;
    assert_true(newest_check(fleet, NULL, &e)); // nothing was ever published
    assert_true(shown(1, 10, 1));
    assert_true(shown(1, 10, 1));
    assert_true(shown(1, 20, 2));
    assert_true(shown(2, 5, 3)); // the epoch comes first
}

static void broker_that_goes_back_is_noticed(void **state)
{
    (void)state;
    assert_true(shown(1, 20, 2));
    assert_false(shown(1, 10, 1));
    assert_int_equal(e.code, CODE_ROLLBACK);
    assert_false(newest_check(fleet, NULL, &e));
    assert_int_equal(e.code, CODE_ROLLBACK);
    assert_false(shown(1, 20, 9));
    assert_int_equal(e.code, CODE_EQUIVOCATION);
    assert_true(shown(1, 20, 2)); // and none of that was remembered
}

static void other_fleet_has_its_own_memory(void **state)
{
    (void)state;
    static const uint8_t other[32] = {2};
    struct release release = {.head = {.epoch = 1, .release = 5}};
    assert_true(shown(1, 20, 2));
    assert_true(newest_check(other, &release, &e));
}

static void damaged_memory_is_none(void **state)
{
    const struct folder *f = *state;
    char path[256], hex[HASH_HEX_BYTES];
    hex_encode(fleet, 32, hex);
    snprintf(path, sizeof path, "bento/%s/newest", hex);
    assert_true(shown(1, 20, 2));
    put_file(f->fd, path, "garbage", 0600);
    assert_true(shown(1, 10, 1));
    assert_false(shown(1, 5, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            newer_releases_are_remembered, cache_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(
            broker_that_goes_back_is_noticed, cache_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(
            other_fleet_has_its_own_memory, cache_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(damaged_memory_is_none, cache_setup, folder_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
