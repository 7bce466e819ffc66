// The report for people, on stdout.
#pragma once

#include "report.h"

// Release, table of the chosen rows, what needs explaining, a line that sums it up.
void status_text_print(const struct report *report, const bool *chosen, uint64_t now_s);
// --history: newest first.
void status_text_print_history(const struct remote_statuses *history, const uint8_t fleet[32]);
