// One line an event, to stderr: `applied release=43 took_ms=812`. With <N> prefixes when stderr is
// the journal's. err: someone must act; warning: we coped; info: one line a state change; debug:
// wire. Never keys, never payloads.
#pragma once

#include "err.h"

enum log_level {
    LOG_LEVEL_ERR = 3,
    LOG_LEVEL_WARNING = 4,
    LOG_LEVEL_INFO = 6,
    LOG_LEVEL_DEBUG = 7
};

// Level from BENTO_LOG=err|warning|info|debug (default info); prefixes when JOURNAL_STREAM names
// stderr.
void log_open(void);
// Characters from outside (control characters, invalid UTF-8) are escaped, the line is cut at 2
// KiB.
void log_line(enum log_level level, const char *format, ...) PRINTF_LIKE(2, 3);

// What log_line does to text from outside, for terminals too: control characters, invalid UTF-8 and
// characters that turn the direction of text become \\xNN; what does not fit room is cut, marked by
// "...". Returns the length.
size_t log_escape(const char *text, char *out, size_t room);

#define log_err(...) log_line(LOG_LEVEL_ERR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...) log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)

// At most `burst` lines in `seconds`, then one line that says how many were left out. {.burst = 5,
// .seconds = 60}
struct log_limit {
    unsigned burst, seconds;
    unsigned used, dropped;
    long long window_s;
};
// True if the caller may log now.
bool log_allowed(struct log_limit *limit, const char *what);
