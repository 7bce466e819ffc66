#include "waves.h"

#include "select.h"

#include <stdlib.h>
#include <string.h>

#define REST "rest"
#define NAMES_SHOWN 5

// What is being taken apart.
struct sorting {
    const struct fleet *fleet;
    size_t chosen_count;
    bool *left; // chosen, and in no wave yet
};

static size_t count_set(const bool *set, size_t count)
{
    size_t found = 0;
    for (size_t i = 0; i < count; i++) {
        found += set[i];
    }
    return found;
}

void name_hosts(const struct fleet *fleet, const bool *set, size_t max, struct buf *out)
{
    size_t all = count_set(set, fleet->node_count), named = 0;
    for (size_t i = 0; i < fleet->node_count; i++) {
        if (!set[i]) {
            continue;
        }
        if (named == max && all > max) {
            buf_printf(out, " and %zu more", all - named);
            return;
        }
        buf_printf(out, "%s%s", named++ ? ", " : "", fleet->nodes[i].name);
    }
}

// ---- one word ----

static bool is_percentage(const char *word, size_t *percent)
{
    char *end;
    size_t len = strlen(word);
    if (len < 2 || word[len - 1] != '%' || strspn(word, "0123456789") != len - 1) {
        return false;
    }
    *percent = strtoul(word, &end, 10);
    return true;
}

static int compare_ids(const void *a, const void *b)
{
    const struct fleet_node *const *left = a, *const *right = b;
    return memcmp((*left)->node_id, (*right)->node_id, HASH_BYTES);
}

static bool take_percentage(
    const struct sorting *sorting, size_t percent, bool *members, struct err *e)
{
    const struct fleet *fleet = sorting->fleet;
    if (percent < 1 || percent > 100) {
        return err_set(e, CODE_USAGE, "--waves: %zu%%: from 1%% to 100%%", percent);
    }
    const struct fleet_node **order = xcalloc(fleet->node_count, sizeof(struct fleet_node *));
    size_t count = 0, wanted = (sorting->chosen_count * percent + 99) / 100;
    for (size_t i = 0; i < fleet->node_count; i++) {
        if (sorting->left[i]) {
            order[count++] = &fleet->nodes[i];
        }
    }
    qsort(order, count, sizeof(struct fleet_node *), compare_ids);
    for (size_t i = 0; i < count && i < wanted; i++) {
        members[order[i] - fleet->nodes] = true;
    }
    free(order);
    return true;
}

static bool take_word(const struct sorting *sorting, char *word, bool *members, struct err *e)
{
    size_t percent;
    if (!*word) {
        return err_set(e, CODE_USAGE,
            "--waves: nothing where a wave should be; it is like '@canary,10%%,rest'");
    }
    if (!strcmp(word, REST)) {
        memcpy(members, sorting->left, sorting->fleet->node_count * sizeof(*members));
        return true;
    }
    if (is_percentage(word, &percent)) {
        return take_percentage(sorting, percent, members, e);
    }
    if (!select_nodes(sorting->fleet, &word, 1, members, e)) {
        return err_wrap(e, "--waves");
    }
    for (size_t i = 0; i < sorting->fleet->node_count; i++) {
        members[i] = members[i] && sorting->left[i];
    }
    return true;
}

// ---- all of them ----

// Takes members.
static void add_wave(struct waves *waves, const char *title, bool *members)
{
    struct wave *list = xcalloc(waves->count + 1, sizeof(*list));
    if (waves->count) {
        memcpy(list, waves->list, waves->count * sizeof(*list));
    }
    free(waves->list);
    waves->list = list;
    list[waves->count++] = (struct wave){
        .title = xstrdup(title), .size = count_set(members, waves->fleet_size), .members = members};
}

static bool add_word(struct waves *waves, const struct sorting *sorting, char *word, struct err *e)
{
    bool *members = xcalloc(waves->fleet_size + 1, sizeof(*members));
    bool ok = take_word(sorting, word, members, e);
    if (ok && !count_set(members, waves->fleet_size)) {
        ok = err_set(e, CODE_USAGE,
            "--waves: `%s` is an empty wave: all its hosts are in an earlier wave, not named, or "
            "the broker's machine, which goes last by itself",
            word);
    }
    if (!ok) {
        free(members);
        return false;
    }
    for (size_t i = 0; i < waves->fleet_size; i++) {
        sorting->left[i] = sorting->left[i] && !members[i];
    }
    add_wave(waves, word, members);
    return true;
}

static bool add_words(
    struct waves *waves, const struct sorting *sorting, const char *spec, struct err *e)
{
    char *text = xstrdup(spec), *rest = text;
    bool ok = true;
    for (char *word; ok && (word = strsep(&rest, ","));) {
        ok = add_word(waves, sorting, word, e);
    }
    free(text);
    if (ok && count_set(sorting->left, waves->fleet_size)) {
        CLEANUP(buf_clear) struct buf names = {0};
        name_hosts(sorting->fleet, sorting->left, NAMES_SHOWN, &names);
        return err_set(
            e, CODE_USAGE, "--waves: %s: in no wave; end with `,rest`", buf_text(&names));
    }
    return ok;
}

// The broker's machine, if it is chosen together with others; NULL: nobody goes last.
static bool find_last(const struct fleet *fleet, const bool *chosen, size_t chosen_count,
    const struct fleet_node **last, struct err *e)
{
    *last = NULL;
    if (!fleet->broker_host) {
        return true;
    }
    const struct fleet_node *host = fleet_find(fleet, fleet->broker_host);
    if (!host) {
        return err_set(
            e, CODE_CONFIG, "fleet.nix: broker.host: no node is called %s", fleet->broker_host);
    }
    if (chosen[host - fleet->nodes] && chosen_count > 1) {
        *last = host;
    }
    return true;
}

bool waves_parse(const struct fleet *fleet, const bool *chosen, const char *spec,
    struct waves *waves, struct err *e)
{
    struct sorting sorting = {.fleet = fleet, .chosen_count = count_set(chosen, fleet->node_count)};
    const struct fleet_node *last;
    *waves = (struct waves){.fleet_size = fleet->node_count};
    if (!find_last(fleet, chosen, sorting.chosen_count, &last, e)) {
        return false;
    }
    sorting.left = xcalloc(fleet->node_count + 1, sizeof(*sorting.left));
    memcpy(sorting.left, chosen, fleet->node_count * sizeof(*chosen));
    if (last) {
        sorting.left[last - fleet->nodes] = false;
    }
    bool ok = add_words(waves, &sorting, spec ? spec : REST, e);
    free(sorting.left);
    if (!ok) {
        waves_clear(waves);
        return false;
    }
    if (last) {
        bool *members = xcalloc(fleet->node_count + 1, sizeof(*members));
        members[last - fleet->nodes] = true;
        add_wave(waves, last->name, members);
        waves->broker_last = true;
    }
    return true;
}

void waves_join_last(struct waves *waves)
{
    ASSERT(waves->count > 1);
    struct wave *to = &waves->list[waves->count - 2], *from = &waves->list[waves->count - 1];
    for (size_t i = 0; i < waves->fleet_size; i++) {
        to->members[i] = to->members[i] || from->members[i];
    }
    to->size += from->size;
    waves_drop_last(waves);
}

void waves_drop_last(struct waves *waves)
{
    ASSERT(waves->count > 1);
    struct wave *last = &waves->list[--waves->count];
    free(last->title);
    free(last->members);
    waves->broker_last = false;
}

void waves_clear(struct waves *waves)
{
    for (size_t i = 0; i < waves->count; i++) {
        free(waves->list[i].title);
        free(waves->list[i].members);
    }
    free(waves->list);
    *waves = (struct waves){0};
}
