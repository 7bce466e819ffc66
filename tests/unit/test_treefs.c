#include "treefs.h"

#include "rt_test.h"

#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

static struct err e;

static void make(const struct folder *f, const char *path, const char *content, mode_t mode)
{
    char folder[200];
    snprintf(folder, sizeof folder, "%s", path);
    char *slash = strrchr(folder, '/');
    if (slash != NULL) {
        *slash = '\0';
        MUST(fs_make_dir(f->fd, folder, 0755, true, &e));
    }
    put_file(f->fd, path, content, mode);
}

static void link_to(const struct folder *f, const char *target, const char *path)
{
    assert_int_equal(symlinkat(target, f->fd, path), 0);
}

// "path mode content" of every file of the tree, one a line.
static struct buf listing(struct bytes message)
{
    struct tree tree;
    struct buf out = {0};
    MUST(tree_decode(message, &tree, &e));
    for (size_t i = 0; i < tree.count; i++) {
        const struct tree_file *file = &tree.files[i];
        buf_append(&out, file->path.at, file->path.len);
        buf_append_text(&out, file->executable ? " x " : " - ");
        buf_append(&out, file->content.at, file->content.len);
        buf_append_text(&out, "\n");
    }
    tree_clear(&tree);
    return out;
}

static void packs_as(const struct folder *f, const char *path, const char *wanted)
{
    struct buf tree = {0};
    MUST(treefs_pack(f->path, path, &tree, &e));
    struct buf got = listing(buf_bytes(&tree));
    assert_string_equal(buf_text(&got), wanted);
    buf_clear(&got);
    buf_clear(&tree);
}

static void pack_fails(const struct folder *f, const char *path, enum code code, const char *part)
{
    struct buf tree = {0};
    buf_append_text(&tree, "before");
    MUST_FAIL(treefs_pack(f->path, path, &tree, &e), code);
    assert_contains(e.text, part);
    assert_true(is_text(&tree, "before"));
    buf_clear(&tree);
}

static void files_are_packed_in_order_of_their_bytes(void **state)
{
    const struct folder *f = *state;
    make(f, "hosts/x/a/b", "2", 0644);
    make(f, "hosts/x/a-b", "1", 0755); // '-' sorts before '/'
    make(f, "hosts/x/flake.nix", "{ }", 0600);
    make(f, "hosts/x/only-group", "", 0611); // the owner's bit counts
    MUST(fs_make_dir(f->fd, "hosts/x/empty/inside", 0755, true, &e));
    packs_as(f, "hosts/x", "a-b x 1\na/b - 2\nflake.nix - { }\nonly-group - \n");
    char absolute[200];
    snprintf(absolute, sizeof absolute, "%s/hosts/x", f->path);
    packs_as(f, absolute, "a-b x 1\na/b - 2\nflake.nix - { }\nonly-group - \n");
}

static void left_out_at_the_top_or_anywhere(void **state)
{
    const struct folder *f = *state;
    static const char *const out[] = {"secrets/key", "SELF_UPDATE", "REBOOT", ".git/config",
        "result", "result-1/x", "sub/.git/config", "sub/result", "sub/result-doc", "sub/deep/.git"};
    static const char *const in[] = {
        "a", "resulting", "secrets-not", "sub/REBOOT", "sub/SELF_UPDATE", "sub/secrets/ours"};
    char path[200];
    for (size_t i = 0; i < sizeof out / sizeof out[0]; i++) {
        snprintf(path, sizeof path, "x/%s", out[i]);
        make(f, path, "no", 0644);
    }
    for (size_t i = 0; i < sizeof in / sizeof in[0]; i++) {
        snprintf(path, sizeof path, "x/%s", in[i]);
        make(f, path, "yes", 0644);
    }
    link_to(f, "/nix/store/whatever", "x/result-link"); // not even looked at
    packs_as(f, "x",
        "a - yes\nresulting - yes\nsecrets-not - yes\nsub/REBOOT - yes\n"
        "sub/SELF_UPDATE - yes\nsub/secrets/ours - yes\n");
}

static void links_of_the_repository_are_followed(void **state)
{
    const struct folder *f = *state;
    char absolute[200];
    make(f, "utils/lib/a.nix", "a", 0644);
    make(f, "utils/run", "r", 0755);
    make(f, "utils/secrets/key", "no", 0600);
    make(f, "hosts/x/flake.nix", "f", 0644);
    link_to(f, "../../utils", "hosts/x/utils");
    link_to(f, "../../utils/run", "hosts/x/run");
    link_to(f, "utils/lib/a.nix", "hosts/x/through-a-link");
    snprintf(absolute, sizeof absolute, "%s/utils/lib", f->path);
    link_to(f, absolute, "hosts/x/absolute");
    packs_as(f, "hosts/x",
        "absolute/a.nix - a\nflake.nix - f\nrun x r\nthrough-a-link - a\n"
        "utils/lib/a.nix - a\nutils/run x r\n");
    // The folder itself, and the way to the repository, may be links too.
    link_to(f, "x", "hosts/alias");
    packs_as(f, "hosts/alias",
        "absolute/a.nix - a\nflake.nix - f\nrun x r\nthrough-a-link - a\n"
        "utils/lib/a.nix - a\nutils/run x r\n");
}

static void link_that_leaves_dangles_or_loops_is_named(void **state)
{
    const struct folder *f = *state;
    make(f, "repo/x/a", "a", 0644);
    make(f, "repo-other/file", "out", 0644); // shares the beginning of its name
    make(f, "repo/secrets/key", "k", 0600);
    struct folder repo = *f;
    strcat(repo.path, "/repo");
    static const struct {
        const char *target, *part;
        enum code code;
    } cases[] = {
        {"/etc/passwd", "leaves the repository", CODE_CONFIG},
        {"../../repo-other/file", "leaves the repository", CODE_CONFIG},
        {"../../repo-other", "leaves the repository", CODE_CONFIG},
        {"../..", "leaves the repository", CODE_CONFIG},
        {"nothing", "does not exist", CODE_CONFIG},
        {"link", "loops", CODE_CONFIG},
        {".", "loops", CODE_CONFIG},
        {"..", "loops", CODE_CONFIG},
        {"../secrets/key", "never packed", CODE_CONFIG},
        {"../secrets", "never packed", CODE_CONFIG},
        {"/dev/null", "leaves the repository", CODE_CONFIG},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        link_to(f, cases[i].target, "repo/x/link");
        pack_fails(&repo, "x", cases[i].code, cases[i].part);
        assert_contains(e.text, "/x/link");
        MUST(fs_remove(f->fd, "repo/x/link", &e));
    }
    // Two folders that lead to each other.
    MUST(fs_make_dir(f->fd, "repo/x/p", 0755, false, &e));
    MUST(fs_make_dir(f->fd, "repo/y", 0755, false, &e));
    link_to(f, "../../y", "repo/x/p/to-y");
    link_to(f, "../x/p", "repo/y/to-p");
    pack_fails(&repo, "x", CODE_CONFIG, "loops");
    pack_fails(&repo, "../repo-other", CODE_CONFIG, "not inside");
    pack_fails(&repo, "missing", CODE_IO, "missing");
    pack_fails(&repo, "x/a", CODE_IO, "x/a");
}

static void what_is_neither_file_nor_folder_is_named(void **state)
{
    const struct folder *f = *state;
    make(f, "x/sub/a", "a", 0644);
    assert_int_equal(mkfifoat(f->fd, "x/sub/fifo", 0600), 0);
    pack_fails(f, "x", CODE_CONFIG, "x/sub/fifo");
    MUST(fs_remove(f->fd, "x/sub/fifo", &e));
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    snprintf(to.sun_path, sizeof to.sun_path, "%s/x/sub/socket", f->path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&to, sizeof to), 0);
    close(fd);
    pack_fails(f, "x", CODE_CONFIG, "x/sub/socket");
    MUST(fs_remove(f->fd, "x/sub/socket", &e));
    make(f, "x/sub/new\nline", "a", 0644);
    pack_fails(f, "x", CODE_CONFIG, "x/sub/new\nline");
    MUST(fs_remove(f->fd, "x/sub/new\nline", &e));
    make(f, "x/sub/\xff", "a", 0644);
    pack_fails(f, "x", CODE_CONFIG, "x/sub/\xff");
}

static void links_that_multiply_come_to_an_end(void **state)
{
    const struct folder *f = *state;
    // Forty levels of two links each: 2^40 folders with not one file.
    MUST(fs_make_dir(f->fd, "x/0", 0755, true, &e));
    for (int i = 1; i <= 40; i++) {
        char path[64], target[64];
        snprintf(path, sizeof path, "x/%d", i);
        MUST(fs_make_dir(f->fd, path, 0755, false, &e));
        snprintf(target, sizeof target, "../%d", i - 1);
        for (int twin = 0; twin < 2; twin++) {
            snprintf(path, sizeof path, "x/%d/%c", i, 'a' + twin);
            link_to(f, target, path);
        }
    }
    pack_fails(f, "x/40", CODE_LENGTH, "entries");
}

static void too_long_or_too_much_is_refused(void **state)
{
    const struct folder *f = *state;
    char path[1000] = "x";
    for (int i = 0; i < 4; i++) { // 4 × 130 + 1 > 512
        size_t len = strlen(path);
        path[len] = '/';
        memset(path + len + 1, 'a' + i, 130);
        path[len + 131] = '\0';
    }
    MUST(fs_make_dir(f->fd, path, 0755, true, &e));
    strcat(path, "/file");
    put_file(f->fd, path, "a", 0644);
    pack_fails(f, "x", CODE_LENGTH, "512");
    MUST(fs_remove_tree(f->fd, "x", &e));
    // A sparse file of the largest size and a byte more.
    MUST(fs_make_dir(f->fd, "x", 0755, false, &e));
    int fd = openat(f->fd, "x/large", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    assert_int_equal(ftruncate(fd, BLOB_BYTES_MAX), 0);
    close(fd);
    pack_fails(f, "x", CODE_LENGTH, "64 MiB");
}

static mode_t mode_of(int dir, const char *name)
{
    struct stat st;
    assert_int_equal(fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW), 0);
    return st.st_mode & 07777;
}

static void unpacked_tree_packs_to_the_same_bytes(void **state)
{
    const struct folder *f = *state;
    struct buf tree = {0}, again = {0};
    make(f, "x/a/b/c/deep", "deep", 0640);
    make(f, "x/a/b2", "b2", 0700);
    make(f, "x/a-b", "", 0755);
    make(f, "x/ünï", "utf-8", 0400);
    make(f, "utils/u", "u", 0711);
    link_to(f, "../utils", "x/z");
    MUST(treefs_pack(f->path, "x", &tree, &e));
    static const mode_t masks[] = {0, 022, 077};
    for (size_t i = 0; i < 3; i++) {
        mode_t before = umask(masks[i]);
        MUST(treefs_unpack(buf_bytes(&tree), f->fd, "source", &e));
        umask(before);
        assert_int_equal(mode_of(f->fd, "source"), 0755);
        assert_int_equal(mode_of(f->fd, "source/a/b/c"), 0755);
        assert_int_equal(mode_of(f->fd, "source/a/b/c/deep"), 0644);
        assert_int_equal(mode_of(f->fd, "source/a/b2"), 0755);
        assert_int_equal(mode_of(f->fd, "source/z"), 0755); // a folder now
        again.len = 0;
        MUST(treefs_pack(f->path, "source", &again, &e));
        assert_true(bytes_equal(buf_bytes(&tree), buf_bytes(&again)));
        MUST(fs_remove_tree(f->fd, "source", &e));
    }
    buf_clear(&tree);
    buf_clear(&again);
}

static struct buf tree_of(const char *path)
{
    struct buf out = {0};
    wire_put_open(&out, 3, "bento-tree");
    wire_put_array(&out, 1);
    wire_put_array(&out, 3);
    wire_put_text(&out, path);
    wire_put_bool(&out, false);
    wire_put_bin(&out, bytes_of_text("gotcha"));
    return out;
}

static void path_that_leads_out_is_refused_and_nothing_is_left(void **state)
{
    const struct folder *f = *state;
    static const char *const paths[] = {
        "../escaped", "a/../../escaped", "/tmp/escaped", "a//b", "./a", "a/.", ""};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        struct buf tree = tree_of(paths[i]);
        MUST_FAIL(treefs_unpack(buf_bytes(&tree), f->fd, "source", &e), CODE_ARCHIVE);
        assert_int_equal(count_entries(f->fd), 0);
        buf_clear(&tree);
    }
    struct buf good = tree_of("a");
    MUST(treefs_unpack(buf_bytes(&good), f->fd, "source", &e));
    good.len--;
    MUST_FAIL(treefs_unpack(buf_bytes(&good), f->fd, "cut", &e), CODE_ARCHIVE);
    assert_int_equal(count_entries(f->fd), 1);
    buf_clear(&good);
}

static void existing_name_is_refused_and_left_alone(void **state)
{
    const struct folder *f = *state;
    struct buf tree = tree_of("a");
    make(f, "outside/a", "precious", 0644);
    make(f, "source/a", "old", 0644);
    MUST_FAIL(treefs_unpack(buf_bytes(&tree), f->fd, "source", &e), CODE_IO);
    assert_contains(e.text, "source");
    link_to(f, "outside", "link");
    MUST_FAIL(treefs_unpack(buf_bytes(&tree), f->fd, "link", &e), CODE_IO);
    link_to(f, "made-by-a-link", "dangling");
    MUST_FAIL(treefs_unpack(buf_bytes(&tree), f->fd, "dangling", &e), CODE_IO);
    struct buf got = {0};
    MUST(fs_read(f->fd, "source/a", 100, &got, &e));
    MUST(fs_read(f->fd, "outside/a", 100, &got, &e));
    assert_true(is_text(&got, "oldprecious"));
    assert_int_equal(count_entries(f->fd), 4);
    buf_clear(&got);
    buf_clear(&tree);
}

static void unpack_on_full_disk(const char *path)
{
    int dir = open(path, O_RDONLY | O_DIRECTORY);
    struct buf tree = {0}, content = {0};
    struct tree_file files[40];
    char names[40][16];
    buf_reserve(&content, 4096);
    memset(content.at, 'x', 4096);
    for (int i = 0; i < 40; i++) {
        snprintf(names[i], sizeof names[i], "a/%02d/file", i);
        files[i] = (struct tree_file){
            .path = bytes_of_text(names[i]), .content = bytes_of(content.at, 4096)};
    }
    struct tree t = {.count = 40, .files = files};
    CHILD_ASSERT(tree_encode(&t, &tree, &e));
    CHILD_ASSERT(!treefs_unpack(buf_bytes(&tree), dir, "source", &e));
    CHILD_ASSERT(e.code == CODE_IO && strstr(e.text, strerror(ENOSPC)) != NULL);
    struct names left;
    CHILD_ASSERT(fs_list(dir, &left, &e) && left.count == 0);
    names_clear(&left);
    buf_clear(&tree);
    buf_clear(&content);
    close(dir);
}

static void failure_in_the_middle_leaves_nothing(void **state)
{
    const struct folder *f = *state;
    on_small_disk(f->path, 64, unpack_on_full_disk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_folder(files_are_packed_in_order_of_their_bytes),
        with_folder(left_out_at_the_top_or_anywhere),
        with_folder(links_of_the_repository_are_followed),
        with_folder(link_that_leaves_dangles_or_loops_is_named),
        with_folder(what_is_neither_file_nor_folder_is_named),
        with_folder(links_that_multiply_come_to_an_end),
        with_folder(too_long_or_too_much_is_refused),
        with_folder(unpacked_tree_packs_to_the_same_bytes),
        with_folder(path_that_leads_out_is_refused_and_nothing_is_left),
        with_folder(existing_name_is_refused_and_left_alone),
        with_folder(failure_in_the_middle_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
