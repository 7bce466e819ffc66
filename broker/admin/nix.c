#include "nix.h"

#include "proc.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OUTPUT_BYTES_MAX (32u << 20)
#define NO_TIMEOUT (-1) // nobody knows how long a build takes; whoever waits can press ^C

bool nix_verbose(void)
{
    const char *value = getenv("VERBOSE");
    return value && *value && strcmp(value, "0") != 0;
}

static bool fail(struct buf *log, int status, const char *what, enum code code, struct err *e)
{
    char reason[400];
    nix_reason(buf_bytes(log), reason, sizeof(reason));
    if (status > 128) {
        return err_set(e, code, "%s: Nix was killed by signal %d%s", what, status - 128,
            status - 128 == SIGKILL ? ", for want of memory?" : "");
    }
    return err_set(e, code, "%s: %s", what, *reason ? reason : "Nix failed and did not say why");
}

bool nix_run(const char *const *argv, const char *what, enum code code, struct buf *out,
    struct buf *log, struct err *e)
{
    struct proc_result result = {0};
    if (!proc_run(argv, NULL, NULL, (struct bytes){0}, OUTPUT_BYTES_MAX, NO_TIMEOUT, nix_verbose(),
            &result, e)) {
        proc_result_clear(&result);
        return err_wrap(e, "%s", what);
    }
    if (log) {
        buf_append(log, result.err.at, result.err.len);
    }
    bool ok = result.status == 0;
    if (ok) {
        buf_append(out, result.out.at, result.out.len);
    } else {
        fail(&result.err, result.status, what, code, e);
    }
    proc_result_clear(&result);
    return ok;
}

bool nix_eval_file(const char *path, struct buf *json, struct err *e)
{
    // With -f Nix evaluates impurely, as it must for a file outside the store.
    const char *argv[] = {"nix", "--extra-experimental-features", "nix-command flakes", "eval",
        "--json", "-f", path, NULL};
    return nix_run(argv, "fleet.nix", CODE_CONFIG, json, NULL, e);
}

// What Nix says when the lock lacks something depends on its version.
static const char *unlocked_input(struct buf *log)
{
    static const char *const signs[] = {
        "not writing modified lock file", "requires lock file changes", "will not write lock file"};
    const char *text = buf_text(log);
    for (size_t i = 0; i < sizeof(signs) / sizeof(*signs); i++) {
        if (strstr(text, signs[i])) {
            return text;
        }
    }
    return NULL;
}

static bool refuse_unlocked(const char *text, struct err *e)
{
    const char *input = strstr(text, "input '");
    if (!input) {
        return err_set(
            e, CODE_EVAL, "flake.lock is missing or incomplete: run `nix flake lock` there");
    }
    input += strlen("input '");
    return err_set(e, CODE_EVAL,
        "flake.lock is missing or incomplete (input %.*s): run `nix flake lock` there",
        (int)strcspn(input, "'"), input);
}

bool nix_check(const struct pool_result *result, struct buf *log, const char *what, enum code code,
    struct err *e)
{
    if (result->stopped) {
        return err_set(e, code, "stopped");
    }
    if (*result->failure.text) {
        *e = result->failure;
        return false;
    }
    return result->status == 0 || fail(log, result->status, what, code, e);
}

bool nix_check_locked(struct buf *log, struct err *e)
{
    const char *unlocked = unlocked_input(log);
    return !unlocked || refuse_unlocked(unlocked, e);
}

void nix_eval_argv(const char *installable, const char *function, const char *argv[NIX_EVAL_WORDS])
{
    const char *const words[NIX_EVAL_WORDS] = {"nix", "--extra-experimental-features",
        "nix-command flakes", "eval", "--json", installable, "--apply", function,
        "--no-update-lock-file", "--no-write-lock-file", "--option", "use-registries", "false",
        "--option", "accept-flake-config", "false"};
    memcpy(argv, words, sizeof(words));
}

void nix_quote(struct buf *out, const char *text)
{
    buf_append_text(out, "\"");
    for (; *text; text++) {
        if (strchr("\"\\$", *text)) {
            buf_append_text(out, "\\");
        }
        buf_append(out, text, 1);
    }
    buf_append_text(out, "\"");
}

struct line {
    const char *at;
    size_t len;
};

// The next line without leading spaces; false at the end.
static bool next_line(struct bytes *rest, struct line *line)
{
    if (!rest->len) {
        return false;
    }
    const char *at = (const char *)rest->at;
    const char *end = memchr(at, '\n', rest->len);
    size_t len = end ? (size_t)(end - at) : rest->len;
    *line = (struct line){at, len};
    size_t used = end ? len + 1 : len;
    *rest = bytes_of(rest->at + used, rest->len - used);
    return true;
}

static struct line trimmed(struct line line)
{
    while (line.len && (*line.at == ' ' || *line.at == '\t')) {
        line.at++, line.len--;
    }
    return line;
}

static bool starts_with(struct line line, const char *start)
{
    return line.len >= strlen(start) && !memcmp(line.at, start, strlen(start));
}

void nix_reason(struct bytes output, char *text, size_t room)
{
    struct line line, error = {0}, where = {0}, last = {0};
    while (next_line(&output, &line)) {
        line = trimmed(line);
        if (starts_with(line, "error:") && line.len > strlen("error: ")) {
            error = line;
            where = (struct line){0};
            if (starts_with(line, "error: builder for")) {
                break; // what follows only says that others depend on it
            }
        } else if (starts_with(line, "at /") && !where.len) {
            where = line;
        }
        last = line.len ? line : last;
    }
    if (starts_with(error, "error: ")) {
        error.at += strlen("error: "), error.len -= strlen("error: ");
    }
    error = error.len ? error : last;
    snprintf(text, room, "%.*s%s%.*s", (int)error.len, error.len ? error.at : "",
        where.len ? " " : "", (int)where.len, where.len ? where.at : "");
    size_t len = strlen(text);
    if (len && text[len - 1] == ':') {
        text[len - 1] = 0; // "at FILE:3:5:"
    }
}

void nix_tail(struct bytes output, unsigned lines, const char *prefix, struct buf *out)
{
    struct bytes rest = output;
    struct line line;
    unsigned count = 0;
    while (next_line(&rest, &line)) {
        count++;
    }
    for (unsigned i = 0; next_line(&output, &line); i++) {
        if (i + lines >= count) {
            buf_printf(out, "%s%.*s\n", prefix, (int)line.len, line.at);
        }
    }
}
