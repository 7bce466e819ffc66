#include "rotation.h"

#include "json.h"

#include <stdlib.h>
#include <string.h>

static const char *const list_names[ROTATION_LISTS] = {
    [ROTATION_ADDED] = "added",
    [ROTATION_JOINING] = "joining",
    [ROTATION_RETIRED] = "retired",
};

static bool append(struct rotation *rotation, enum rotation_list list, const struct public_key *key,
    const char *line, struct err *e)
{
    size_t count = rotation->count[list];
    if (count == SIGNERS_MAX) {
        return err_set(
            e, CODE_CONFIG, "signers.json: at most %u keys in %s", SIGNERS_MAX, list_names[list]);
    }
    rotation->keys[list][count] = (struct rotation_key){.key = *key, .line = xstrdup(line)};
    rotation->count[list]++;
    return true;
}

static bool read_list(
    struct rotation *rotation, enum rotation_list list, const json_t *lines, struct err *e)
{
    if (lines && !json_is_array(lines)) {
        return err_set(e, CODE_CONFIG, "signers.json: %s is not a list", list_names[list]);
    }
    for (size_t i = 0; i < json_array_size(lines); i++) {
        const char *line = json_string_value(json_array_get(lines, i));
        struct public_key key;
        if (!line || !public_key_parse(bytes_of_text(line), &key, e)) {
            return err_set(
                e, CODE_CONFIG, "signers.json: %s: key %zu is none", list_names[list], i + 1);
        }
        if (!append(rotation, list, &key, line, e)) {
            return false;
        }
    }
    return true;
}

static bool read_epoch(struct rotation *rotation, const json_t *epoch, struct err *e)
{
    json_int_t value = json_integer_value(epoch); // 0 if it is none
    if (epoch && (value < 1 || value > UINT32_MAX)) {
        return err_set(e, CODE_CONFIG, "signers.json: epoch is not a number from 1 on");
    }
    rotation->epoch = (uint64_t)value;
    return true;
}

static bool is_known(const char *name)
{
    for (enum rotation_list list = 0; list < ROTATION_LISTS; list++) {
        if (!strcmp(name, list_names[list])) {
            return true;
        }
    }
    return !strcmp(name, "epoch");
}

bool rotation_parse(struct bytes text, struct rotation *rotation, struct err *e)
{
    CLEANUP_JSON *json = NULL;
    *rotation = (struct rotation){0};
    if (!text.len) {
        return true;
    }
    if (!json_object_parse(text, "signers.json", &json, e)) {
        return false;
    }
    const char *name;
    json_t *value;
    bool ok = true;
    json_object_foreach(json, name, value)
    {
        ok = ok && (is_known(name) || err_set(e, CODE_CONFIG,
                                          "signers.json: %s: no such thing belongs there", name));
    }
    for (enum rotation_list list = 0; ok && list < ROTATION_LISTS; list++) {
        ok = read_list(rotation, list, json_object_get(json, list_names[list]), e);
    }
    ok = ok && read_epoch(rotation, json_object_get(json, "epoch"), e);
    if (!ok) {
        rotation_clear(rotation);
    }
    return ok;
}

void rotation_text(const struct rotation *rotation, struct buf *out)
{
    CLEANUP_JSON *json = json_object();
    for (enum rotation_list list = 0; list < ROTATION_LISTS; list++) {
        json_t *lines = json_array();
        for (size_t i = 0; i < rotation->count[list]; i++) {
            json_array_append_new(lines, json_string(rotation->keys[list][i].line));
        }
        json_object_set_new(json, list_names[list], lines);
    }
    if (rotation->epoch) {
        json_object_set_new(json, "epoch", json_integer((json_int_t)rotation->epoch));
    }
    json_text(json, out);
}

void rotation_clear(struct rotation *rotation)
{
    for (enum rotation_list list = 0; list < ROTATION_LISTS; list++) {
        for (size_t i = 0; i < rotation->count[list]; i++) {
            free(rotation->keys[list][i].line);
        }
    }
    *rotation = (struct rotation){0};
}

bool rotation_has(
    const struct rotation *rotation, enum rotation_list list, const struct public_key *key)
{
    for (size_t i = 0; i < rotation->count[list]; i++) {
        if (public_key_same(&rotation->keys[list][i].key, key)) {
            return true;
        }
    }
    return false;
}

static void take_out(
    struct rotation *rotation, enum rotation_list list, const struct public_key *key)
{
    struct rotation_key *keys = rotation->keys[list];
    for (size_t i = 0; i < rotation->count[list]; i++) {
        if (public_key_same(&keys[i].key, key)) {
            free(keys[i].line);
            memmove(keys + i, keys + i + 1, (--rotation->count[list] - i) * sizeof(*keys));
            return;
        }
    }
}

bool rotation_put(struct rotation *rotation, enum rotation_list list, const struct public_key *key,
    const char *line, struct err *e)
{
    CLEANUP(buf_clear) struct buf copy = {0}; // line may be one of ours
    buf_append_text(&copy, line);
    for (enum rotation_list other = 0; other < ROTATION_LISTS; other++) {
        take_out(rotation, other, key);
    }
    return append(rotation, list, key, buf_text(&copy), e);
}

// A line that is not a key stays, for whoever reads the signers to complain about.
static bool line_is(const char *line, const struct rotation *rotation, enum rotation_list list)
{
    struct public_key key;
    struct err ignored;
    return line && public_key_parse(bytes_of_text(line), &key, &ignored) &&
           rotation_has(rotation, list, &key);
}

void rotation_merge(const struct rotation *rotation, json_t *fleet)
{
    json_t *given = json_object_get(fleet, "signers");
    if (given && !json_is_array(given)) {
        return; // whoever reads it says so
    }
    json_t *merged = json_array();
    for (size_t i = 0; i < json_array_size(given); i++) {
        json_t *line = json_array_get(given, i);
        bool again = false;
        for (enum rotation_list list = 0; list < ROTATION_LISTS; list++) {
            again |= line_is(json_string_value(line), rotation, list);
        }
        if (!again) {
            json_array_append(merged, line);
        }
    }
    for (enum rotation_list list = 0; list < ROTATION_RETIRED; list++) {
        for (size_t i = 0; i < rotation->count[list]; i++) {
            json_array_append_new(merged, json_string(rotation->keys[list][i].line));
        }
    }
    json_object_set_new(fleet, "signers", merged);
    if ((json_int_t)rotation->epoch > json_integer_value(json_object_get(fleet, "epoch"))) {
        json_object_set_new(fleet, "epoch", json_integer((json_int_t)rotation->epoch));
    }
}
