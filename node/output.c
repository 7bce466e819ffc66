#include "output.h"

#include "fs.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static void name_of(enum job_kind kind, char name[32])
{
    snprintf(name, 32, "%s.out", job_word(kind));
}

void output_open(struct output *output, int dir, enum job_kind kind)
{
    char name[32];
    name_of(kind, name);
    const int flags = O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC;
    *output = (struct output){.fd = openat(dir, name, flags, 0600)};
}

// Moves the end to the front. In place: needs no room on the disk.
static void drop_head(struct output *output)
{
    uint8_t *end = xmalloc(OUTPUT_KEPT_BYTES);
    ssize_t n =
        pread(output->fd, end, OUTPUT_KEPT_BYTES, (off_t)output->len - (off_t)OUTPUT_KEPT_BYTES);
    ssize_t put = n > 0 ? pwrite(output->fd, end, (size_t)n, 0) : 0;
    output->len = put > 0 ? (size_t)put : 0;
    (void)!ftruncate(output->fd, (off_t)output->len);
    free(end);
}

void output_add(struct output *output, struct bytes text)
{
    if (output->fd < 0) {
        return;
    }
    if (output->len + text.len >= 2 * OUTPUT_KEPT_BYTES) {
        drop_head(output);
    }
    ssize_t put = pwrite(output->fd, text.at, text.len, (off_t)output->len);
    output->len += put > 0 ? (size_t)put : 0;
}

void output_close(struct output *output)
{
    if (output->fd >= 0) {
        (void)!fsync(output->fd);
    }
    fd_closep(&output->fd);
}

void output_tail(int dir, enum job_kind kind, size_t max, struct buf *out)
{
    char name[32];
    name_of(kind, name);
    CLEANUP_FD fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0) {
        return;
    }
    off_t from = st.st_size > (off_t)max ? st.st_size - (off_t)max : 0;
    buf_reserve(out, max);
    ssize_t n = pread(fd, out->at + out->len, max, from);
    if (n > 0) {
        out->len += (size_t)n;
    }
}
