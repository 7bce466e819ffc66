#include "parcel_text.h"

#include "nix.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOG_LINES 20

void parcel_path(struct bytes path, struct buf *out)
{
    const char *text = (const char *)path.at,
               *slash = path.len ? memrchr(text, '/', path.len) : NULL;
    int len = slash ? (int)(path.len - (size_t)(slash + 1 - text)) : 0;
    if (len > 33) {
        buf_printf(out, "%.8s…%.*s", slash + 1, len - 32, slash + 33);
    } else if (path.len) {
        buf_append(out, path.at, path.len);
    } else {
        buf_append_text(out, "what its own nixpkgs gives");
    }
}

void parcel_print_path(struct bytes path)
{
    CLEANUP(buf_clear) struct buf text = {0};
    parcel_path(path, &text);
    fputs(buf_text(&text), stdout);
}

// Whole for scripts; on a terminal a line should be one line.
static void built_path(const struct parcel *parcel, struct buf *out)
{
    if (isatty(STDOUT_FILENO)) {
        parcel_path(bytes_of_text(parcel->system.out), out);
    } else {
        buf_append_text(out, parcel->system.out);
    }
}

void parcel_line(
    const struct assembly *assembly, const struct parcel *parcel, int name_width, struct buf *out)
{
    buf_printf(out, "%-*s  ", name_width, parcel->host->node->name);
    switch (parcel->outcome) {
    case OUTCOME_KEPT:
        buf_append_text(out, "not named");
        break;
    case OUTCOME_FAILED:
        buf_printf(out, "FAILED%s",
            !assembly->cache        ? ""
            : parcel->ticket.ct_len ? "     keeps its previous configuration"
                                    : "     stays without a configuration");
        break;
    case OUTCOME_BUILT:
        if (assembly->dry) {
            buf_printf(out, "would build %u, fetch %u", parcel->to_build, parcel->to_fetch);
        } else {
            buf_append_text(out, "built      ");
            built_path(parcel, out);
        }
        break;
    case OUTCOME_UNCHANGED:
    case OUTCOME_CHANGED:
        buf_printf(out, "%-9s  ", parcel->outcome == OUTCOME_CHANGED ? "changed" : "unchanged");
        parcel_path(bytes_of_text(parcel->system.out), out);
        break;
    }
    bool told = assembly->dry; // it builds nothing anyway
    buf_printf(out, "%s  %.1f s\n", parcel->evaluated_only && !told ? "  (evaluated only)" : "",
        parcel->seconds);
}

// Broken in the same way: two hosts of one broken flake.
static bool same_failure(const struct parcel *a, const struct parcel *b)
{
    return b->outcome == OUTCOME_FAILED && !b->stopped && a->host->folder == b->host->folder &&
           !strcmp(a->failure.text, b->failure.text) &&
           bytes_equal(buf_bytes(&a->log), buf_bytes(&b->log));
}

static bool told_before(const struct assembly *assembly, size_t index)
{
    for (size_t i = 0; i < index; i++) {
        if (same_failure(&assembly->parcels[i], &assembly->parcels[index])) {
            return true;
        }
    }
    return false;
}

static void print_failure(const struct assembly *assembly, size_t index)
{
    const struct parcel *parcel = &assembly->parcels[index];
    CLEANUP(buf_clear) struct buf tail = {0};
    nix_tail(buf_bytes(&parcel->log), LOG_LINES, "    ", &tail);
    fprintf(stderr, "\n%s", parcel->host->node->name);
    for (size_t i = index + 1; i < assembly->count; i++) {
        if (same_failure(parcel, &assembly->parcels[i])) {
            fprintf(stderr, ", %s", assembly->parcels[i].host->node->name);
        }
    }
    fprintf(stderr, ": %s\n%s", parcel->failure.text, buf_text(&tail));
}

void parcel_print_failures(const struct assembly *assembly)
{
    fflush(stdout);
    for (size_t i = 0; i < assembly->count; i++) {
        const struct parcel *parcel = &assembly->parcels[i];
        if (parcel->outcome == OUTCOME_FAILED && !parcel->stopped && !told_before(assembly, i)) {
            print_failure(assembly, i);
        }
    }
}

void parcel_print_total(const struct assembly *assembly)
{
    static const struct {
        enum outcome outcome;
        const char *word;
    } words[] = {{OUTCOME_BUILT, "built"}, {OUTCOME_CHANGED, "changed"},
        {OUTCOME_UNCHANGED, "unchanged"}, {OUTCOME_FAILED, "failed"}, {OUTCOME_KEPT, "not named"}};
    const char *separator = "";
    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
        size_t count = assembly_count(assembly, words[i].outcome);
        if (count && (assembly->cache || words[i].outcome != OUTCOME_KEPT)) {
            printf("%s%zu %s", separator, count, words[i].word);
            separator = ", ";
        }
    }
    printf("\n");
}
