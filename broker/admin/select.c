#include "select.h"

#include "cli.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

static bool has_tag(const struct fleet_node *node, const char *tag)
{
    for (size_t i = 0; i < node->tag_count; i++) {
        if (!strcmp(node->tags[i], tag)) {
            return true;
        }
    }
    return false;
}

static bool word_matches(const struct fleet_node *node, const char *word)
{
    return *word == '@' ? has_tag(node, word + 1) : fnmatch(word, node->name, 0) == 0;
}

// The nearest name, or for @TAG the nearest tag; NULL if nothing is near.
static const char *nearest(const struct fleet *fleet, const char *word)
{
    const char **names = xcalloc(fleet->node_count * (TAGS_MAX + 1) + 1, sizeof(*names));
    size_t count = 0;
    for (size_t i = 0; i < fleet->node_count; i++) {
        const struct fleet_node *node = &fleet->nodes[i];
        if (*word != '@') {
            names[count++] = node->name;
            continue;
        }
        for (size_t j = 0; j < node->tag_count; j++) {
            names[count++] = node->tags[j];
        }
    }
    const char *found = cli_nearest(*word == '@' ? word + 1 : word, names, count);
    free(names);
    return found;
}

static bool refuse_word(const struct fleet *fleet, const char *word, struct err *e)
{
    const char *at = *word == '@' ? "@" : "";
    const char *near = nearest(fleet, word);
    if (near) {
        return err_set(e, CODE_USAGE, "%s: no such %s; did you mean %s%s?", word,
            *at ? "tag" : "host", at, near);
    }
    return err_set(e, CODE_USAGE, "%s: no %s of this fleet matches; `bento status` lists them",
        word, *at ? "tag" : "host");
}

static bool add_word(const struct fleet *fleet, const char *word, bool *chosen, struct err *e)
{
    bool any = false;
    for (size_t i = 0; i < fleet->node_count; i++) {
        if (word_matches(&fleet->nodes[i], word)) {
            chosen[i] = any = true;
        }
    }
    return any || refuse_word(fleet, word, e);
}

bool select_node(
    const struct fleet *fleet, const char *name, const struct fleet_node **node, struct err *e)
{
    *node = fleet_find(fleet, name);
    return *node || refuse_word(fleet, name, e);
}

bool select_nodes(
    const struct fleet *fleet, char *const *words, int word_count, bool *chosen, struct err *e)
{
    const char *only = getenv("NAME");
    memset(chosen, 0, fleet->node_count * sizeof(*chosen));
    if (word_count == 0 && only && *only) {
        return fleet_find(fleet, only) ? add_word(fleet, only, chosen, e)
                                       : refuse_word(fleet, only, e);
    }
    if (word_count == 0) {
        memset(chosen, 1, fleet->node_count * sizeof(*chosen));
        return true;
    }
    for (int i = 0; i < word_count; i++) {
        if (!add_word(fleet, words[i], chosen, e)) {
            return false;
        }
    }
    return true;
}
