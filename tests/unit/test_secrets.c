// Secrets as files, in a mount namespace of our own where that may be had.
#include "secrets.h"

#include "node_test.h"

#include <grp.h>
#include <pwd.h>
#include <sys/vfs.h>

#define NOBODY "no-such-user-in-tests"

// A place in memory.
struct place {
    char path[64], link[96], store[96];
    struct config config;
    char owner[64], group[64];
};

static int place_setup(void **state)
{
    struct place *place = calloc(1, sizeof *place);
    strcpy(place->path, "/dev/shm/bento-test-XXXXXX");
    if (place == NULL || mkdtemp(place->path) == NULL) {
        return -1;
    }
    snprintf(place->link, sizeof place->link, "%s/secrets", place->path);
    snprintf(place->store, sizeof place->store, "%s/secrets.d", place->path);
    config_defaults("test", &place->config);
    place->config.secrets = place->link;
    snprintf(place->owner, sizeof place->owner, "%s", getpwuid(geteuid())->pw_name);
    snprintf(place->group, sizeof place->group, "%s", getgrgid(getegid())->gr_name);
    *state = place;
    return 0;
}

static int place_teardown(void **state)
{
    struct place *place = *state;
    struct err e;
    (void)umount2(place->store, MNT_DETACH);
    bool removed = fs_remove_tree(AT_FDCWD, place->path, &e);
    free(place);
    return removed ? 0 : -1;
}

static struct secret secret_of(const struct place *place, const char *name, const char *content)
{
    return (struct secret){.name = bytes_of_text(name),
        .owner = bytes_of_text(place->owner),
        .group = bytes_of_text(place->group),
        .mode = 0440,
        .content = bytes_of_text(content)};
}

static void installs(const struct place *place, struct secret *secrets, size_t count)
{
    struct bundle bundle = {.secrets = secrets, .secret_count = count};
    struct err e;
    MUST(secrets_install(&place->config, &bundle, &e));
}

static void holds(const struct place *place, const char *name, const char *content)
{
    char path[PATH_MAX];
    struct buf text = {0};
    struct err e;
    snprintf(path, sizeof path, "%s/%s", place->link, name);
    MUST(fs_read(AT_FDCWD, path, 1000, &text, &e));
    assert_true(is_text(&text, content));
    buf_clear(&text);
}

static bool has(const struct place *place, const char *name)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", place->link, name);
    return fs_exists(AT_FDCWD, path);
}

static void target_of(const struct place *place, char target[PATH_MAX])
{
    ssize_t n = readlink(place->link, target, PATH_MAX - 1);
    assert_true(n > 0);
    target[n] = '\0';
}

// How many sets there are.
static size_t sets_of(const struct place *place)
{
    struct names names;
    struct err e;
    CLEANUP_FD dir = -1;
    MUST(fs_open_dir(AT_FDCWD, place->store, &dir, &e));
    MUST(fs_list(dir, &names, &e));
    size_t count = names.count;
    names_clear(&names);
    return count;
}

static void installed_secrets_have_owner_and_mode_in_memory(void **state)
{
    struct place *place = *state;
    struct secret secrets[] = {secret_of(place, "db", "one"), secret_of(place, "empty", "")};
    struct stat st;
    struct statfs fs;
    char path[PATH_MAX];
    installs(place, secrets, 2);
    holds(place, "db", "one");
    holds(place, "empty", "");
    snprintf(path, sizeof path, "%s/db", place->link);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0440);
    assert_int_equal(st.st_uid, geteuid());
    assert_int_equal(st.st_gid, getegid());
    assert_int_equal(statfs(path, &fs), 0);
    assert_true(fs.f_type == 0x858458f6 || fs.f_type == 0x01021994); // ramfs, tmpfs
}

static void same_secrets_are_left_alone(void **state)
{
    struct place *place = *state;
    struct secret secrets[] = {secret_of(place, "db", "one")};
    char first[PATH_MAX], second[PATH_MAX];
    installs(place, secrets, 1);
    target_of(place, first);
    installs(place, secrets, 1);
    target_of(place, second);
    assert_string_equal(first, second);
}

static void change_makes_a_new_set_and_removes_the_old_one(void **state)
{
    struct place *place = *state;
    struct secret secrets[] = {secret_of(place, "db", "one"), secret_of(place, "wifi", "two")};
    char first[PATH_MAX], second[PATH_MAX];
    installs(place, secrets, 2);
    target_of(place, first);
    secrets[0].content = bytes_of_text("ONE");
    installs(place, secrets, 2);
    target_of(place, second);
    assert_string_not_equal(first, second);
    holds(place, "db", "ONE");
    holds(place, "wifi", "two");
    assert_int_equal(sets_of(place), 1);
}

static void removed_secrets_disappear(void **state)
{
    struct place *place = *state;
    struct secret secrets[] = {secret_of(place, "db", "one"), secret_of(place, "wifi", "two")};
    struct err e;
    installs(place, secrets, 2);
    installs(place, secrets + 1, 1);
    assert_false(has(place, "db"));
    holds(place, "wifi", "two");
    MUST(secrets_install(&place->config, NULL, &e));
    assert_false(has(place, "wifi"));
}

static void no_secrets_make_no_folder(void **state)
{
    struct place *place = *state;
    struct err e;
    MUST(secrets_install(&place->config, NULL, &e));
    assert_false(fs_exists(AT_FDCWD, place->link));
    assert_false(fs_exists(AT_FDCWD, place->store));
}

static void meddled_secrets_are_put_right(void **state)
{
    struct place *place = *state;
    struct secret secrets[] = {secret_of(place, "db", "one")};
    struct stat st;
    char path[PATH_MAX];
    installs(place, secrets, 1);
    snprintf(path, sizeof path, "%s/db", place->link);
    assert_int_equal(chmod(path, 0666), 0);
    installs(place, secrets, 1);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0440);
}

static void leftovers_of_a_killed_install_go(void **state)
{
    struct place *place = *state;
    struct secret secrets[] = {secret_of(place, "db", "one")};
    char path[PATH_MAX];
    installs(place, secrets, 1);
    snprintf(path, sizeof path, "%s/2", place->store);
    assert_int_equal(mkdir(path, 0755), 0);
    secrets[0].content = bytes_of_text("two");
    installs(place, secrets, 1);
    holds(place, "db", "two");
    assert_int_equal(sets_of(place), 1);
}

static void unknown_owner_is_named_and_his_file_roots_alone(void **state)
{
    struct place *place = *state;
    struct secret secrets[] = {secret_of(place, "db", "one")};
    struct bundle bundle = {.secrets = secrets, .secret_count = 1};
    struct stat st;
    struct err e;
    char path[PATH_MAX];
    MUST(secrets_check_owners(&bundle, &e));
    secrets[0].group = bytes_of_text(NOBODY);
    MUST_FAIL(secrets_check_owners(&bundle, &e), CODE_SECRETS);
    assert_contains(e.text, "no group '" NOBODY "'");
    secrets[0].group = bytes_of_text(place->group);
    secrets[0].owner = bytes_of_text(NOBODY);
    MUST_FAIL(secrets_check_owners(&bundle, &e), CODE_SECRETS);
    assert_contains(e.text, "secret db: this machine has no user '" NOBODY "'");
    assert_null(strstr(e.text, "one"));
    if (geteuid() != 0) {
        return; // nobody else can give files to root
    }
    installs(place, secrets, 1);
    snprintf(path, sizeof path, "%s/db", place->link);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0400);
    assert_int_equal(st.st_uid, 0);
    secrets[0].owner = bytes_of_text(place->owner); // he has come
    installs(place, secrets, 1);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0440);
}

static void folder_in_the_way_is_left_alone(void **state)
{
    struct place *place = *state;
    struct secret secrets[] = {secret_of(place, "db", "one")};
    struct bundle bundle = {.secrets = secrets, .secret_count = 1};
    struct err e;
    char inside[PATH_MAX];
    snprintf(inside, sizeof inside, "%s/mine", place->link);
    assert_int_equal(mkdir(place->link, 0755), 0);
    assert_int_equal(mkdir(inside, 0755), 0);
    MUST_FAIL(secrets_install(&place->config, &bundle, &e), CODE_SECRETS);
    assert_contains(e.text, "is in the way");
    assert_int_equal(sets_of(place), 0);
    assert_int_equal(rmdir(inside), 0);
    MUST(secrets_install(&place->config, &bundle, &e)); // an empty one is replaced
    holds(place, "db", "one");
}

int main(void)
{
    if (unshare(CLONE_NEWNS) == 0) {
        (void)!mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
    }
#define IN_PLACE(test) cmocka_unit_test_setup_teardown(test, place_setup, place_teardown)
    const struct CMUnitTest tests[] = {
        IN_PLACE(installed_secrets_have_owner_and_mode_in_memory),
        IN_PLACE(same_secrets_are_left_alone),
        IN_PLACE(change_makes_a_new_set_and_removes_the_old_one),
        IN_PLACE(removed_secrets_disappear),
        IN_PLACE(no_secrets_make_no_folder),
        IN_PLACE(meddled_secrets_are_put_right),
        IN_PLACE(leftovers_of_a_killed_install_go),
        IN_PLACE(unknown_owner_is_named_and_his_file_roots_alone),
        IN_PLACE(folder_in_the_way_is_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
