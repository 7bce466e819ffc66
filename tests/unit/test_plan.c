// Whether a system needs a reboot, as far as this machine's store can tell.
#include "plan.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "/tmp/bento-test-plan-XXXXXX";

// A system of which only the links count.
static char *make_system(const char *name, const char *kernel, const char *modules)
{
    struct buf path = {0}, link = {0};
    const char *const links[][2] = {
        {"kernel", kernel}, {"initrd", "/nix/store/initrd"}, {"kernel-modules", modules}};
    buf_printf(&path, "%s/%s", folder, name);
    assert_int_equal(mkdir(buf_text(&path), 0700), 0);
    for (size_t i = 0; i < 3; i++) {
        buf_printf(&link, "%s/%s", buf_text(&path), links[i][0]);
        assert_int_equal(symlink(links[i][1], buf_text(&link)), 0);
        buf_clear(&link);
    }
    char *text = xstrdup(buf_text(&path));
    buf_clear(&path);
    return text;
}

static void kernel_initrd_and_modules_decide(void **state)
{
    (void)state;
    char *old = make_system("old", "/nix/store/1", "/nix/store/m"),
         *same = make_system("same", "/nix/store/1", "/nix/store/m"),
         *kernel = make_system("kernel", "/nix/store/2", "/nix/store/m"),
         *modules = make_system("modules", "/nix/store/1", "/nix/store/n");
    const char *gone = "/nix/store/nowhere";
    assert_int_equal(reboot_of(same, old, NULL), REBOOT_NO);
    assert_int_equal(reboot_of(kernel, old, NULL), REBOOT_LIKELY);
    assert_int_equal(reboot_of(modules, old, NULL), REBOOT_LIKELY);
    // What booted is known better than what should have been booted.
    assert_int_equal(reboot_of(kernel, kernel, old), REBOOT_NO);
    assert_int_equal(reboot_of(same, kernel, old), REBOOT_LIKELY);
    // What is not in this store is not known here.
    assert_int_equal(reboot_of(same, gone, old), REBOOT_NO);
    assert_int_equal(reboot_of(kernel, NULL, old), REBOOT_LIKELY);
    assert_int_equal(reboot_of(kernel, gone, gone), REBOOT_UNKNOWN);
    assert_int_equal(reboot_of(kernel, NULL, NULL), REBOOT_UNKNOWN);
    assert_int_equal(reboot_of(gone, old, old), REBOOT_UNKNOWN);
    assert_int_equal(reboot_of(NULL, old, old), REBOOT_UNKNOWN);
    assert_int_equal(reboot_of(gone, gone, NULL), REBOOT_NO);
    free(old);
    free(same);
    free(kernel);
    free(modules);
}

static void bytes_are_readable(void **state)
{
    (void)state;
    static const struct {
        uint64_t bytes;
        const char *text;
    } cases[] = {{0, "0 B"}, {999, "999 B"}, {1000, "1.0 kB"}, {2712, "2.7 kB"},
        {12345678, "12.3 MB"}, {5000000000000, "5000.0 GB"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        char text[32];
        bytes_text(cases[i].bytes, text);
        assert_string_equal(text, cases[i].text);
    }
}

static int remove_folder(void **state)
{
    (void)state;
    struct err e;
    return fs_remove_tree(AT_FDCWD, folder, &e) ? 0 : 1;
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : 1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kernel_initrd_and_modules_decide),
        cmocka_unit_test(bytes_are_readable),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
