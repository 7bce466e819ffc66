// The report for scripts; view.h says what stands in it.
#pragma once

#include "report.h"

#include <stdio.h>

// chosen: which rows.
void status_json_print(const struct report *report, const bool *chosen, FILE *out);
// --history: an array, newest first; an entry that does not verify is {"received": …, "state":
// "tampered"}.
void status_json_print_history(
    const struct remote_statuses *history, const uint8_t fleet[32], FILE *out);
