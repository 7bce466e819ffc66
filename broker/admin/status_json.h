// The report for scripts; JSON.md says what stands in it.
#pragma once

#include "rows.h"

#include <jansson.h>

// The caller owns what these return.
json_t *status_json_report(const struct report *report, const struct rows_choice *choice);
// --history: newest first.
json_t *status_json_history(const struct remote_statuses *history, const uint8_t fleet[32]);
// --log: one event, with its name and log.
json_t *status_json_log(const char *name, const struct remote_status *raw, const uint8_t fleet[32]);
// On stdout, and frees it. pretty: over many lines; else one document a line.
void status_json_print(json_t *value, bool pretty);
