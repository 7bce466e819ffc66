#include "bundle.h"

#include <sodium.h>
#include <stdlib.h>

#define TYPE_BUNDLE "bento-bundle"
#define PLAIN_BYTES_MAX (BLOB_BYTES_MAX - BLOB_OVERHEAD_BYTES)
#define META_KEYS_MAX 17
#define OWNER_BYTES_MAX 64

static const char *const actions[] = {
    [ACTION_SWITCH] = "switch", [ACTION_BOOT] = "boot", [ACTION_DRY] = "dry"};
static const char *const kinds[] = {[KIND_FLAKE] = "flake", [KIND_CLASSIC] = "classic"};
static const char *const last_resorts[] = {
    [LAST_RESORT_STAY] = "stay", [LAST_RESORT_REBOOT] = "reboot"};
static const char *const unit_failures[] = {[UNIT_FAILURES_REPORT] = "report",
    [UNIT_FAILURES_IGNORE] = "ignore",
    [UNIT_FAILURES_ROLLBACK] = "rollback"};

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

// ---- meta, written

// A map's number of pairs stands in front of it, so the pairs are gathered first.
struct pairs {
    struct buf out;
    size_t count;
};

static struct buf *key(struct pairs *map, const char *name)
{
    wire_put_text(&map->out, name);
    map->count++;
    return &map->out;
}

static void put_str(struct pairs *map, const char *name, struct bytes value)
{
    if (value.len != 0)
        wire_put_str(key(map, name), value);
}

static void put_word(struct pairs *map, const char *name, const char *const *words, unsigned value)
{
    if (value != 0)
        wire_put_text(key(map, name), words[value]);
}

static void put_true(struct pairs *map, const char *name, bool value)
{
    if (value)
        wire_put_bool(key(map, name), true);
}

static void put_strs(struct buf *out, const struct bytes *values, size_t count)
{
    wire_put_array(out, count);
    for (size_t i = 0; i < count; i++)
        wire_put_str(out, values[i]);
}

static void put_list(struct pairs *map, const char *name, const struct bytes *values, size_t count)
{
    ASSERT(count <= LIST_MAX);
    if (count != 0)
        put_strs(key(map, name), values, count);
}

static void put_health(struct pairs *map, const struct meta *meta)
{
    ASSERT(meta->health_count <= LIST_MAX);
    if (meta->health_count == 0)
        return;
    struct buf *out = key(map, "health");
    wire_put_array(out, meta->health_count);
    for (size_t i = 0; i < meta->health_count; i++) {
        ASSERT(meta->health[i].count <= ARGV_MAX);
        put_strs(out, meta->health[i].words, meta->health[i].count);
    }
}

static void put_nixpkgs(struct pairs *map, const struct meta *meta)
{
    struct bytes pair[] = {meta->nixpkgs_url, meta->nixpkgs_sha256};
    if (pair[0].len != 0 || pair[1].len != 0)
        put_strs(key(map, "nixpkgs"), pair, 2);
}

// Keys in ascending order.
static void put_meta(const struct meta *meta, struct buf *out)
{
    struct pairs map = {0};
    ASSERT(meta->action < COUNT_OF(actions) && meta->kind < COUNT_OF(kinds) &&
           meta->last_resort < COUNT_OF(last_resorts) &&
           meta->unit_failures < COUNT_OF(unit_failures));
    put_word(&map, "action", actions, meta->action);
    put_str(&map, "attribute", meta->attribute);
    if (meta->confirm_s != 0)
        wire_put_u64(key(&map, "confirm"), meta->confirm_s);
    put_str(&map, "expected", meta->expected);
    put_health(&map, meta);
    put_str(&map, "host", meta->host);
    put_word(&map, "kind", kinds, meta->kind);
    put_word(&map, "last_resort", last_resorts, meta->last_resort);
    put_nixpkgs(&map, meta);
    put_list(&map, "public_keys", meta->public_keys, meta->public_key_count);
    put_str(&map, "reboot", meta->reboot);
    if (meta->has_retry)
        wire_put_bin(key(&map, "retry"), bytes_of(meta->retry, sizeof(meta->retry)));
    put_true(&map, "self_update", meta->self_update);
    put_true(&map, "substitute_only", meta->substitute_only);
    put_list(&map, "substituters", meta->substituters, meta->substituter_count);
    put_str(&map, "system", meta->system);
    put_word(&map, "unit_failures", unit_failures, meta->unit_failures);
    wire_put_map(out, map.count);
    buf_append(out, map.out.at, map.out.len);
    buf_clear(&map.out);
}

// ---- meta, read: nothing that stands here may be the default

static struct bytes take_str(struct wire_in *in, size_t max)
{
    struct bytes value = wire_str(in, max);
    wire_require(in, value.len != 0, "an empty string in meta");
    return value;
}

static unsigned take_word(struct wire_in *in, const char *const *words, size_t count)
{
    struct bytes value = wire_str(in, TEXT_BYTES_MAX);
    for (unsigned i = 1; i < count; i++) {
        if (bytes_equal_text(value, words[i]))
            return i;
    }
    wire_require(in, false, "an unknown or a default word in meta");
    return 0;
}

static bool take_true(struct wire_in *in)
{
    bool value = wire_bool(in);
    wire_require(in, value, "a default in meta");
    return value;
}

static size_t take_list(struct wire_in *in, struct bytes values[LIST_MAX])
{
    size_t count = wire_array(in, 1, LIST_MAX);
    for (size_t i = 0; i < count; i++)
        values[i] = take_str(in, TEXT_BYTES_MAX);
    return count;
}

static void take_health(struct wire_in *in, struct meta *meta)
{
    meta->health_count = wire_array(in, 1, LIST_MAX);
    for (size_t i = 0; i < meta->health_count; i++) {
        struct argv *argv = &meta->health[i];
        argv->count = wire_array(in, 1, ARGV_MAX);
        for (size_t j = 0; j < argv->count; j++)
            argv->words[j] = j == 0 ? take_str(in, TEXT_BYTES_MAX) : wire_str(in, TEXT_BYTES_MAX);
    }
}

static void take_pair(struct wire_in *in, struct bytes name, struct meta *meta)
{
    if (bytes_equal_text(name, "action")) {
        meta->action = (enum action)take_word(in, actions, COUNT_OF(actions));
    } else if (bytes_equal_text(name, "attribute")) {
        meta->attribute = take_str(in, TEXT_BYTES_MAX);
    } else if (bytes_equal_text(name, "confirm")) {
        meta->confirm_s = (uint32_t)wire_u64(in, UINT32_MAX);
        wire_require(in, meta->confirm_s != 0, "a default in meta");
    } else if (bytes_equal_text(name, "expected")) {
        meta->expected = take_str(in, STORE_PATH_BYTES_MAX);
    } else if (bytes_equal_text(name, "health")) {
        take_health(in, meta);
    } else if (bytes_equal_text(name, "host")) {
        meta->host = take_str(in, TEXT_BYTES_MAX);
    } else if (bytes_equal_text(name, "kind")) {
        meta->kind = (enum kind)take_word(in, kinds, COUNT_OF(kinds));
    } else if (bytes_equal_text(name, "last_resort")) {
        meta->last_resort = (enum last_resort)take_word(in, last_resorts, COUNT_OF(last_resorts));
    } else if (bytes_equal_text(name, "nixpkgs")) {
        wire_array(in, 2, 2);
        meta->nixpkgs_url = take_str(in, TEXT_BYTES_MAX);
        meta->nixpkgs_sha256 = take_str(in, TEXT_BYTES_MAX);
    } else if (bytes_equal_text(name, "public_keys")) {
        meta->public_key_count = take_list(in, meta->public_keys);
    } else if (bytes_equal_text(name, "reboot")) {
        meta->reboot = take_str(in, TEXT_BYTES_MAX);
    } else if (bytes_equal_text(name, "retry")) {
        wire_bin_copy(in, meta->retry, sizeof(meta->retry));
        meta->has_retry = true;
    } else if (bytes_equal_text(name, "self_update")) {
        meta->self_update = take_true(in);
    } else if (bytes_equal_text(name, "substitute_only")) {
        meta->substitute_only = take_true(in);
    } else if (bytes_equal_text(name, "substituters")) {
        meta->substituter_count = take_list(in, meta->substituters);
    } else if (bytes_equal_text(name, "system")) {
        meta->system = take_str(in, TEXT_BYTES_MAX);
    } else if (bytes_equal_text(name, "unit_failures")) {
        meta->unit_failures =
            (enum unit_failures)take_word(in, unit_failures, COUNT_OF(unit_failures));
    } else {
        wire_require(in, false, "an unknown key in meta");
    }
}

static void take_meta(struct wire_in *in, struct meta *meta)
{
    struct bytes last = {0};
    size_t pairs = wire_map(in, META_KEYS_MAX);
    for (size_t i = 0; i < pairs && in->fault == NULL; i++)
        take_pair(in, wire_key(in, &last), meta);
}

// ---- secrets

static bool secret_name_is_clean(struct bytes name)
{
    if (name.len == 0 || name.len > SECRET_NAME_BYTES_MAX || bytes_equal_text(name, ".") ||
        bytes_equal_text(name, ".."))
        return false;
    for (size_t i = 0; i < name.len; i++) {
        uint8_t c = name.at[i];
        bool letter = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
        if (!letter && !(c >= '0' && c <= '9') && c != '.' && c != '_' && c != '-')
            return false;
    }
    return true;
}

static int compare_secrets(const void *a, const void *b)
{
    return bytes_compare(((const struct secret *)a)->name, ((const struct secret *)b)->name);
}

static void sort_secrets(struct secret *secrets, size_t count)
{
    if (count != 0)
        qsort(secrets, count, sizeof(secrets[0]), compare_secrets);
}

static void put_secrets(const struct secret *secrets, size_t count, struct buf *out)
{
    wire_put_array(out, count);
    for (size_t i = 0; i < count; i++) {
        wire_put_array(out, 5);
        wire_put_str(out, secrets[i].name);
        wire_put_str(out, secrets[i].owner);
        wire_put_str(out, secrets[i].group);
        wire_put_u64(out, secrets[i].mode);
        wire_put_bin(out, secrets[i].content);
    }
}

static void take_secrets(struct wire_in *in, struct bundle *bundle)
{
    bundle->secret_count = wire_array(in, 0, SECRETS_MAX);
    bundle->secrets = xcalloc(bundle->secret_count, sizeof(bundle->secrets[0]));
    for (size_t i = 0; i < bundle->secret_count && in->fault == NULL; i++) {
        struct secret *secret = &bundle->secrets[i];
        wire_array(in, 5, 5);
        secret->name = wire_str(in, SECRET_NAME_BYTES_MAX);
        secret->owner = wire_str(in, OWNER_BYTES_MAX);
        secret->group = wire_str(in, OWNER_BYTES_MAX);
        secret->mode = (uint32_t)wire_u64(in, 0777);
        secret->content = wire_bin(in, 0, PLAIN_BYTES_MAX);
        wire_require(in, secret_name_is_clean(secret->name), "the name of a secret is not clean");
        wire_require(in, i == 0 || compare_secrets(secret - 1, secret) < 0,
            "the secrets are not strictly ascending");
    }
}

// ---- bundle

static void put_tree(const struct bundle *bundle, struct buf *out)
{
    if (!bundle->has_tree) {
        wire_put_nil(out);
        return;
    }
    wire_put_array(out, 3);
    wire_put_hash(out, bundle->tree_hash);
    wire_put_u64(out, bundle->tree_len);
    wire_put_bin(out, bytes_of(bundle->tree_key, sizeof(bundle->tree_key)));
}

static void take_tree(struct wire_in *in, struct bundle *bundle)
{
    bundle->has_tree = !wire_nil(in);
    if (!bundle->has_tree)
        return;
    wire_array(in, 3, 3);
    wire_bin_copy(in, bundle->tree_hash, sizeof(bundle->tree_hash));
    bundle->tree_len = wire_u64(in, BLOB_BYTES_MAX);
    wire_bin_copy(in, bundle->tree_key, sizeof(bundle->tree_key));
    wire_require(in, bundle->tree_len > BLOB_OVERHEAD_BYTES, "a tree without content");
}

bool bundle_encode(struct bundle *bundle, struct buf *out, struct err *e)
{
    struct buf message = {0};
    sort_secrets(bundle->secrets, bundle->secret_count);
    wire_put_open(&message, 5, TYPE_BUNDLE);
    put_meta(&bundle->meta, &message);
    put_secrets(bundle->secrets, bundle->secret_count, &message);
    put_tree(bundle, &message);

    // The rules stand in one place only, the decoder: what it takes here every node takes.
    struct bundle again;
    bool ok = bundle_decode(buf_bytes(&message), &again, e);
    if (ok) {
        bundle_clear(&again);
        buf_append(out, message.at, message.len);
    }
    buf_clear(&message);
    return ok;
}

bool bundle_decode(struct bytes message, struct bundle *bundle, struct err *e)
{
    if (message.len > PLAIN_BYTES_MAX)
        return err_set(e, CODE_ARCHIVE, "bundle: %zu bytes are too many", message.len);
    struct wire_in in = wire_in(message);
    struct bundle found = {0};
    wire_open(&in, 5, TYPE_BUNDLE);
    take_meta(&in, &found.meta);
    take_secrets(&in, &found);
    take_tree(&in, &found);
    if (!wire_end(&in, "bundle", e)) {
        e->code = CODE_ARCHIVE;
        bundle_clear(&found);
        return false;
    }
    *bundle = found;
    return true;
}

void bundle_clear(struct bundle *bundle)
{
    free(bundle->secrets);
    sodium_memzero(bundle, sizeof(*bundle)); // the tree's key
}

void bundle_digest(
    const struct bundle *bundle, const uint8_t *tree_plain_hash, uint8_t digest[HASH_BYTES])
{
    // Sorted like on the wire, whether or not it was encoded already.
    struct secret *sorted = xcalloc(bundle->secret_count, sizeof(sorted[0]));
    for (size_t i = 0; i < bundle->secret_count; i++)
        sorted[i] = bundle->secrets[i];
    sort_secrets(sorted, bundle->secret_count);

    struct buf message = {0};
    wire_put_array(&message, 3);
    put_meta(&bundle->meta, &message);
    put_secrets(sorted, bundle->secret_count, &message);
    if (tree_plain_hash != NULL)
        wire_put_hash(&message, tree_plain_hash);
    else
        wire_put_nil(&message);
    sha256(buf_bytes(&message), digest);
    buf_clear(&message);
    free(sorted);
}
