#include "err.h"

// Also in release builds: __assert_fail() is the one way to say something and die that needs no I/O
// of our own.
#undef NDEBUG
#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define CODE_NAME(name, when) [CODE_##name] = #name,
static const char *const names[CODE_COUNT] = {CODES(CODE_NAME)};
#undef CODE_NAME

#define CODE_WHEN(name, when) [CODE_##name] = when,
static const char *const whens[CODE_COUNT] = {CODES(CODE_WHEN)};
#undef CODE_WHEN

void assert_failed(const char *condition, const char *file, int line)
{
    __assert_fail(condition, file, (unsigned)line, "bento");
}

const char *code_name(enum code code)
{
    ASSERT((unsigned)code < CODE_COUNT);
    return names[code];
}

const char *code_when(enum code code)
{
    ASSERT((unsigned)code < CODE_COUNT);
    return whens[code];
}

bool code_parse(const char *name, size_t length, enum code *code)
{
    for (unsigned i = 0; i < CODE_COUNT; i++) {
        if (strlen(names[i]) == length && memcmp(names[i], name, length) == 0) {
            *code = (enum code)i;
            return true;
        }
    }
    return false;
}

bool err_set(struct err *e, enum code code, const char *format, ...)
{
    // An argument may be the old text (err_set(e, code, "…: %s", e->text)), so it is not written in
    // place.
    char text[sizeof(e->text)] = "";
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    e->code = code;
    memcpy(e->text, text, sizeof(text));
    return false;
}

bool err_wrap(struct err *e, const char *format, ...)
{
    char text[sizeof(e->text)] = "";
    va_list args;
    va_start(args, format);
    int len = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    // What does not fit is cut: the context says more than the end of a long sentence.
    if (len >= 0 && (size_t)len < sizeof(text) &&
        snprintf(text + len, sizeof(text) - (size_t)len, ": %s", e->text) < 0)
        text[len] = '\0';
    memcpy(e->text, text, sizeof(text));
    return false;
}
