// One machine's reports: --history and --log NODE[@REPORT].
#pragma once

#include "report.h"

// Newest first; reports in a row that say the same are one line with a count. Appends.
void status_history_draw(const struct remote_statuses *history, const uint8_t fleet[32],
    size_t width, bool color, struct buf *out);

// "router@17954" → "router", cut to the length of a name, and "17954"; or NULL: the newest one. USAGE.
#define LOG_NAME_BYTES 65
MUST_CHECK bool status_log_parse(
    const char *word, char name[LOG_NAME_BYTES], const char **digits, struct err *e);
// The report whose number begins with these digits; NULL: the newest one. NONE: there is none, or
// more than one. SIGNER: it does not verify.
MUST_CHECK bool status_log_find(const char *name, const struct remote_statuses *history,
    const uint8_t fleet[32], const char *digits, const struct remote_status **found, struct err *e);
// Its log, whole lines and escaped. NONE: it has none, and says which report has. Appends.
MUST_CHECK bool status_log_draw(const char *name, const struct remote_statuses *history,
    const uint8_t fleet[32], const struct remote_status *found, struct buf *out, struct err *e);
