// The words between our own binary and the command it wraps:
//
//     SELF job DIR KIND UNIT LIMIT_MS DELAY_MS NAME=VALUE… -- COMMAND…
//
// UNIT is "-" for a child of bento-apply, which gets the locked record as its standard input and
// waits DELAY_MS itself. Else it is the name of the unit that runs it: it takes the lock itself, and
// only if the record still names that unit; then it tells systemd that it is ready.
#pragma once

#include "job.h"

#define WRAPPER_NO_UNIT "-"
#define WRAPPER_WORDS 8 // SELF … DELAY_MS, and the --

struct wrapper_numbers {
    char limit[24], delay[24];
};

// The whole argv; the words are borrowed, the array is the caller's to free.
const char **wrapper_argv(const char *self, const char *dir, const char *unit,
    const struct job_spec *spec, uint64_t delay_ms, struct wrapper_numbers *numbers);
