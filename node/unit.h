// What systemd-run and systemctl are asked for the unit of a job, as text: no I/O.
#pragma once

#include "job.h"

// "bento-try-0a1b2c3d-1-5e6f7a8b": never the same twice, so that what is left of one attempt cannot
// stand in the way of the next.
void unit_name(const struct job_spec *spec, uint32_t random, char name[JOB_UNIT_BYTES]);

// A command line; {0} is an empty one.
struct words {
    char **at; // NULL at the end, once there is a word
    size_t count;
};
void words_clear(struct words *words);

// systemd-run for the wrapper as a service, or as a timer and its service if there is a delay or a
// calendar. It ends with 0 when the wrapper has said that it is ready, or when the timer runs.
void unit_run_words(
    const char *unit, const struct job_spec *spec, const char *const *wrapper, struct words *words);
void unit_stop_words(const char *unit, struct words *words); // ends when nothing is left of it
void unit_kill_words(const char *unit, struct words *words);
void unit_show_words(const char *unit, struct words *words);

// The answer to unit_show_words().
enum unit_state {
    UNIT_SILENT, // no answer
    UNIT_ABSENT,
    UNIT_WAITS, // its timer runs
    UNIT_RUNS,  // the service is there: starting, running or ending
};
enum unit_state unit_answer(struct bytes text);
