#include "fuzz.h"

#include "fs.h"

#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);

static char path[64];
static int folder = -1;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    return sodium_init() < 0 ? 1 : 0;
}

int fuzz_same(struct buf *again, struct bytes message)
{
    ASSERT(bytes_equal(buf_bytes(again), message));
    buf_clear(again);
    return 0;
}

int fuzz_refused(const struct err *e)
{
    ASSERT(e->code != CODE_OK && e->code < CODE_COUNT);
    ASSERT(e->text[0] != '\0' && memchr(e->text, '\0', sizeof e->text) != NULL);
    return 0;
}

static void remove_folder(void)
{
    struct err e;
    (void)!fs_remove_tree(AT_FDCWD, path, &e);
}

const char *fuzz_folder_path(void)
{
    fuzz_folder();
    return path;
}

int fuzz_folder(void)
{
    struct err e;
    if (folder >= 0)
        return folder;
    const char *memory = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    strcat(strcpy(path, memory), "/bento-fuzz.XXXXXX");
    ASSERT(mkdtemp(path) != NULL && fs_open_dir(AT_FDCWD, path, &folder, &e));
    atexit(remove_folder);
    return folder;
}
