#include "unit.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIMIT_MARGIN_S 30 // the wrapper enforces the limit; this is for one that cannot

void unit_name(const struct job_spec *spec, uint32_t random, char name[JOB_UNIT_BYTES])
{
    char hex[HASH_HEX_BYTES];
    hex_encode(spec->key.digest, HASH_BYTES, hex);
    snprintf(name, JOB_UNIT_BYTES, "bento-%s-%.8s-%u-%08x", job_word(spec->kind), hex,
        spec->key.attempt, random);
}

void words_clear(struct words *words)
{
    for (size_t i = 0; i < words->count; i++) {
        free(words->at[i]);
    }
    free(words->at);
    *words = (struct words){0};
}

static void add(struct words *words, const char *format, ...) PRINTF_LIKE(2, 3);
static void add(struct words *words, const char *format, ...)
{
    char **at = xcalloc(words->count + 2, sizeof *at);
    for (size_t i = 0; i < words->count; i++) {
        at[i] = words->at[i];
    }
    va_list arguments;
    va_start(arguments, format);
    int n = vasprintf(&at[words->count++], format, arguments);
    va_end(arguments);
    ASSERT(n >= 0);
    free(words->at);
    words->at = at;
}

// systemd replaces $NAME in the words of a command line; $$ stays a $.
static void add_escaped(struct words *words, const char *word)
{
    struct buf escaped CLEANUP(buf_clear) = {0};
    for (; *word != '\0'; word++) {
        buf_append(&escaped, word, 1);
        if (*word == '$') {
            buf_append(&escaped, word, 1);
        }
    }
    add(words, "%s", buf_text(&escaped));
}

static void add_timer(const struct job_spec *spec, struct words *words)
{
    if (spec->calendar != NULL) {
        add(words, "--on-calendar=%s", spec->calendar);
    } else if (spec->delay_ms > 0) {
        add(words, "--on-active=%" PRIu64 "ms", spec->delay_ms);
    } else {
        return;
    }
    add(words, "--timer-property=AccuracySec=1s"); // the default is a minute
    add(words, "--timer-property=Before=bento-apply.service");
    add(words, "--timer-property=IgnoreOnIsolate=yes");
}

void unit_run_words(
    const char *unit, const struct job_spec *spec, const char *const *wrapper, struct words *words)
{
    // Without --wait and --pipe, which need the message bus.
    static const char *const head[] = {"systemd-run", "--quiet", "--no-ask-password", "--collect",
        "--service-type=notify", "--property=NotifyAccess=main", "--property=KillMode=mixed",
        "--property=TimeoutStartSec=60", "--property=TimeoutStopSec=15",
        "--property=OOMPolicy=continue",
        // At a shutdown bento-apply is stopped first: it must not take the end of its jobs for theirs.
        "--property=Before=bento-apply.service", "--property=IgnoreOnIsolate=yes"};
    for (size_t i = 0; i < sizeof head / sizeof head[0]; i++) {
        add(words, "%s", head[i]);
    }
    add(words, "--property=RuntimeMaxSec=%" PRIu64, spec->limit_ms / 1000 + LIMIT_MARGIN_S);
    add(words, "--unit=%s", unit);
    add_timer(spec, words);
    add(words, "--");
    add(words, "%s", wrapper[0]);
    for (const char *const *word = wrapper + 1; *word != NULL; word++) {
        add_escaped(words, *word);
    }
}

static void add_both(const char *unit, struct words *words)
{
    add(words, "%s.timer", unit);
    add(words, "%s.service", unit);
}

void unit_stop_words(const char *unit, struct words *words)
{
    add(words, "systemctl");
    add(words, "--no-ask-password");
    add(words, "stop");
    add_both(unit, words);
}

void unit_kill_words(const char *unit, struct words *words)
{
    add(words, "systemctl");
    add(words, "--no-ask-password");
    add(words, "kill");
    add(words, "--signal=KILL");
    add(words, "%s.service", unit);
}

void unit_show_words(const char *unit, struct words *words)
{
    add(words, "systemctl");
    add(words, "show");
    add(words, "--property=Id,ActiveState");
    add_both(unit, words);
}

static bool is_there(const char *active_state)
{
    return strcmp(active_state, "inactive") != 0 && strcmp(active_state, "failed") != 0;
}

static bool ends_with(const char *text, const char *end)
{
    size_t len = strlen(text), end_len = strlen(end);
    return len >= end_len && strcmp(text + len - end_len, end) == 0;
}

enum unit_state unit_answer(struct bytes text)
{
    struct buf copy CLEANUP(buf_clear) = {0};
    buf_append(&copy, text.at, text.len);
    char *rest = xstrdup(buf_text(&copy)), *all = rest, *line;
    bool answered = false, waits = false, runs = false, is_timer = false;
    while ((line = strsep(&rest, "\n")) != NULL) {
        if (strncmp(line, "Id=", 3) == 0) {
            is_timer = ends_with(line, ".timer");
        } else if (strncmp(line, "ActiveState=", 12) == 0) {
            bool there = is_there(line + 12);
            answered = true;
            waits = waits || (there && is_timer);
            runs = runs || (there && !is_timer);
        }
    }
    free(all);
    return runs ? UNIT_RUNS : waits ? UNIT_WAITS : answered ? UNIT_ABSENT : UNIT_SILENT;
}
