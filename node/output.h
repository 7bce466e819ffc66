// What a job prints, `jobs/KIND.out`: bounded, the end is what is kept. A full disk loses output and
// nothing else.
#pragma once

#include "job.h"

#define OUTPUT_KEPT_BYTES                                                                          \
    (512u << 10) // at least so much of the end; the file is never twice as large

struct output {
    int fd; // -1: everything is dropped
    size_t len;
};

void output_open(struct output *output, int dir, enum job_kind kind); // an empty one
void output_add(struct output *output, struct bytes text);
void output_close(struct output *output); // durable
void output_tail(int dir, enum job_kind kind, size_t max, struct buf *out);
