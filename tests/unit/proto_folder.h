// A temporary folder and real programs in it, for the tests that meet OpenSSH itself.
#pragma once

#include "proto_test.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char folder[] = "/tmp/bento-proto.XXXXXX";

static int make_folder(void **state)
{
    (void)state;
    return sodium_init() < 0 || mkdtemp(folder) == NULL || chdir(folder) != 0 ? -1 : 0;
}

static int remove_folder(void **state)
{
    (void)state;
    char command[sizeof(folder) + 16];
    snprintf(command, sizeof(command), "rm -rf '%s'", folder);
    return chdir("/") != 0 || system(command) != 0 ? -1 : 0;
}

static inline struct buf read_whole(const char *name)
{
    struct buf out = {0};
    char part[4096];
    FILE *file = fopen(name, "rb");
    assert_non_null(file);
    for (size_t n; (n = fread(part, 1, sizeof(part), file)) != 0;)
        buf_append(&out, part, n);
    fclose(file);
    return out;
}

static inline void write_whole(const char *name, struct bytes content)
{
    FILE *file = fopen(name, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(content.at, 1, content.len, file), content.len);
    assert_int_equal(fclose(file), 0);
}
