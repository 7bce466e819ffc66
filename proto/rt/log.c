#include "log.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LINE_BYTES_MAX 2048

// The only mutable state at file scope in the project: how loud to be, and for whom.
static enum log_level log_threshold = LOG_LEVEL_INFO;
static bool log_prefixed;

void log_open(void)
{
    static const struct {
        const char *name;
        enum log_level level;
    } levels[] = {
        {"err", LOG_LEVEL_ERR},
        {"warning", LOG_LEVEL_WARNING},
        {"info", LOG_LEVEL_INFO},
        {"debug", LOG_LEVEL_DEBUG},
    };
    const char *wanted = getenv("BENTO_LOG");
    for (size_t i = 0; wanted != NULL && i < sizeof levels / sizeof levels[0]; i++) {
        if (strcmp(wanted, levels[i].name) == 0)
            log_threshold = levels[i].level;
    }

    // The variable is inherited by whoever redirects stderr, hence the comparison.
    const char *journal = getenv("JOURNAL_STREAM");
    unsigned long long device, inode;
    struct stat st;
    log_prefixed = journal != NULL && sscanf(journal, "%llu:%llu", &device, &inode) == 2 &&
                   fstat(STDERR_FILENO, &st) == 0 && st.st_dev == device && st.st_ino == inode;
}

// Length of the printable UTF-8 character at the start of text, 0 if it must be escaped.
static size_t printable(const unsigned char *at)
{
    if (at[0] < 0x80)
        return at[0] >= 0x20 && at[0] != 0x7f;
    size_t len = at[0] >= 0xf0 ? 4 : at[0] >= 0xe0 ? 3 : 2;
    if (at[0] < 0xc2 || at[0] > 0xf4)
        return 0;
    uint32_t c = at[0] & (0xffu >> (len + 1));
    for (size_t i = 1; i < len; i++) {
        if ((at[i] & 0xc0) != 0x80) // also stops at the NUL
            return 0;
        c = c << 6 | (at[i] & 0x3fu);
    }
    bool overlong = (len == 3 && c < 0x800) || (len == 4 && c < 0x10000);
    bool control = c < 0xa0 || c == 0x2028 || c == 0x2029;
    bool turning = (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
    bool surrogate = c >= 0xd800 && c <= 0xdfff;
    return overlong || control || turning || surrogate || c > 0x10ffff ? 0 : len;
}

size_t log_escape(const char *text, char *out, size_t room)
{
    ASSERT(room >= 4);
    size_t used = 0, safe = 0; // safe: where a cut leaves room for the mark
    const unsigned char *at = (const unsigned char *)text;
    while (*at != '\0') {
        char hex[5];
        size_t len = printable(at);
        const void *piece = at;
        size_t piece_len = len;
        if (len == 0) {
            snprintf(hex, sizeof hex, "\\x%02x", *at);
            piece = hex;
            piece_len = 4;
            len = 1;
        }
        if (used + piece_len > room - 1) {
            memcpy(out + safe, "...", 4);
            return safe + 3;
        }
        memcpy(out + used, piece, piece_len);
        used += piece_len;
        if (used <= room - 4)
            safe = used;
        at += len;
    }
    out[used] = '\0';
    return used;
}

void log_line(enum log_level level, const char *format, ...)
{
    if (level > log_threshold)
        return;
    char raw[LINE_BYTES_MAX + 1], line[LINE_BYTES_MAX + 8];
    va_list args;
    va_start(args, format);
    vsnprintf(raw, sizeof raw, format, args);
    va_end(args);

    size_t used = 0;
    if (log_prefixed)
        used = (size_t)snprintf(line, sizeof line, "<%d>", (int)level);
    used += log_escape(raw, line + used, LINE_BYTES_MAX - used);
    line[used++] = '\n';
    // One write, so that lines of several processes do not mix. If nobody can be told, nobody is
    // told.
    ssize_t written = write(STDERR_FILENO, line, used);
    (void)written;
}

bool log_allowed(struct log_limit *limit, const char *what)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    bool fresh = limit->used == 0 && limit->dropped == 0;
    if (fresh || now.tv_sec - limit->window_s >= (long long)limit->seconds) {
        if (limit->dropped > 0)
            log_warning(
                "left_out what=%s lines=%u seconds=%u", what, limit->dropped, limit->seconds);
        limit->used = limit->dropped = 0;
        limit->window_s = now.tv_sec;
    }
    if (limit->used < limit->burst) {
        limit->used++;
        return true;
    }
    limit->dropped++;
    return false;
}
