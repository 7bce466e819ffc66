// From spool/in to the event RELEASE or REFUSED. Everything that a stranger may have written passes
// through here and nowhere else: read once, checked by verify.h, and only then remembered.
#include "agent.h"

#include "fs.h"
#include "kept.h"
#include "keys.h"
#include "log.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// --- the floor: durable before anything else happens ---

static bool read_floor(int at, const char *path, struct floor *floor, struct err *e)
{
    struct buf text CLEANUP(buf_clear) = {0};
    if (!fs_read(at, path, 256, &text, e)) {
        *floor = (struct floor){0};
        return e->code == CODE_NONE;
    }
    return floor_decode(buf_bytes(&text), floor, e);
}

// The folder of the second copy: nobody else makes it.
static bool make_copy_folder(const char *copy, struct err *e)
{
    char folder[PATH_MAX];
    snprintf(folder, sizeof folder, "%s", copy);
    char *slash = strrchr(folder, '/');
    if (slash == NULL || slash == folder) {
        return true;
    }
    *slash = '\0';
    return fs_exists(AT_FDCWD, folder) || fs_make_dir(AT_FDCWD, folder, 0755, true, e);
}

bool intake_load_floor(struct agent *agent, struct err *e)
{
    struct floor own, copy;
    struct floor configured = {
        .epoch = agent->config->epoch, .release = agent->config->minimum_release};
    if (!make_copy_folder(agent->config->floor_copy, e) ||
        !read_floor(agent->dir, "floor", &own, e) ||
        !read_floor(AT_FDCWD, agent->config->floor_copy, &copy, e)) {
        return err_wrap(e, "floor (move the damaged file away if the other copy is good)");
    }
    own = floor_merge(&own, &copy);
    agent->floor = floor_merge(&own, &configured);
    return true;
}

static bool floor_same(const struct floor *a, const struct floor *b)
{
    return a->epoch == b->epoch && a->release == b->release && a->has_hash == b->has_hash &&
           memcmp(a->head_hash, b->head_hash, HASH_BYTES) == 0;
}

static bool raise_floor(struct agent *agent, const struct floor *raised, struct err *e)
{
    if (floor_same(&agent->floor, raised)) {
        return true;
    }
    struct buf text CLEANUP(buf_clear) = {0};
    floor_encode(raised, &text);
    if (!fs_write(agent->dir, "floor", buf_bytes(&text), 0600, e) ||
        !fs_write(AT_FDCWD, agent->config->floor_copy, buf_bytes(&text), 0600, e)) {
        return err_wrap(e, "floor");
    }
    agent->floor = *raised;
    return true;
}

// --- one release ---

enum verdict {
    VERDICT_READY,   // opened
    VERDICT_EMPTY,   // authentic, nothing for this node yet
    VERDICT_MISSING, // authentic so far, a blob has to be fetched
    VERDICT_SEEN,    // handled before
    VERDICT_REFUSED, // *e has the code
    VERDICT_LATER,   // we could not look (IO); *e says why
};

struct arrival {
    struct head head;
    uint8_t head_hash[HASH_BYTES];
    uint8_t refused_hash[HASH_BYTES]; // SHA-256 of the envelope
    struct opened opened;
};

static bool read_part(int dir, const char *name, size_t max, struct buf *out, struct err *e)
{
    if (fs_read(dir, name, max, out, e)) {
        return true;
    }
    // bento-node made the folder complete: a part that is not there or too long is not an accident
    // of ours
    if (e->code == CODE_NONE) {
        e->code = CODE_FORMAT;
    }
    return false;
}

static enum verdict judge_error(const struct err *e)
{
    return e->code == CODE_IO || e->code == CODE_CONFIG ? VERDICT_LATER : VERDICT_REFUSED;
}

static void want_blob(struct agent *agent, size_t index, const uint8_t *hash, uint64_t len)
{
    struct want_blob *blob = &agent->want.blobs[index];
    memcpy(blob->hash, hash, HASH_BYTES);
    blob->len = len;
    agent->want.blob_count = index + 1;
}

static bool read_blob(struct agent *agent, const uint8_t *hash, struct buf *blob, struct err *e)
{
    char name[HASH_HEX_BYTES];
    hex_encode(hash, HASH_BYTES, name);
    return fs_read(agent->spool.blobs, name, BLOB_BYTES_MAX, blob, e);
}

static enum verdict open_ticket(
    struct agent *agent, struct arrival *arrival, const struct ticket *ticket, struct err *e)
{
    struct buf bundle CLEANUP(buf_clear) = {0};
    struct buf tree CLEANUP(buf_clear) = {0};
    struct secret_key *identity CLEANUP(keys_free) = NULL;
    want_blob(agent, 0, ticket->ct_hash, ticket->ct_len);
    if (!read_blob(agent, ticket->ct_hash, &bundle, e)) {
        return e->code == CODE_NONE ? VERDICT_MISSING : judge_error(e);
    }
    if (!keys_load_identity(agent->config, &identity, e) ||
        !verify_bundle(ticket, buf_bytes(&bundle), identity, &arrival->opened, e)) {
        return judge_error(e);
    }
    const struct bundle *opened = &arrival->opened.bundle;
    if (opened->has_tree) {
        want_blob(agent, 1, opened->tree_hash, opened->tree_len);
        if (!read_blob(agent, opened->tree_hash, &tree, e)) {
            return e->code == CODE_NONE ? VERDICT_MISSING : judge_error(e);
        }
    }
    if (!verify_tree(&arrival->opened, buf_bytes(&tree), e) ||
        !kept_store(agent->kept, &arrival->opened, buf_bytes(&bundle), buf_bytes(&tree), e)) {
        return judge_error(e);
    }
    return VERDICT_READY;
}

// PROTOCOL.md §checks, in order.
static enum verdict judge(struct agent *agent, int dir, struct arrival *arrival, struct err *e)
{
    struct buf envelope CLEANUP(buf_clear) = {0};
    struct buf proven CLEANUP(buf_clear) = {0};
    struct floor raised;
    struct ticket ticket;
    if (!read_part(dir, "envelope", ENVELOPE_BYTES_MAX, &envelope, e)) {
        return judge_error(e);
    }
    sha256(buf_bytes(&envelope), arrival->refused_hash);
    if (!verify_head(&agent->config->trust, &agent->floor, buf_bytes(&envelope), &arrival->head,
            arrival->head_hash, &raised, e)) {
        return VERDICT_REFUSED;
    }
    if (memcmp(arrival->head_hash, agent->apply.seen, HASH_BYTES) == 0) {
        return VERDICT_SEEN;
    }
    if (!raise_floor(agent, &raised, e)) {
        return VERDICT_LATER;
    }
    if (!verify_expiry(&arrival->head, clock_unix_s(), e)) {
        return VERDICT_REFUSED;
    }
    if (fs_exists(dir, "noticket")) {
        err_set(e, CODE_NOTICKET, "release %" PRIu64 " came without this node's ticket",
            arrival->head.release);
        return VERDICT_REFUSED;
    }
    if (!read_part(dir, "proven", PROVEN_BYTES_MAX, &proven, e) ||
        !proven_verify(buf_bytes(&proven), &arrival->head, agent->node_id, &ticket, e)) {
        return judge_error(e);
    }
    return ticket.ct_len == 0 ? VERDICT_EMPTY : open_ticket(agent, arrival, &ticket, e);
}

static void post_release(struct agent *agent, const struct arrival *arrival, bool empty)
{
    struct queued_event *queued = agent_event(agent, EVENT_RELEASE);
    struct apply_config *config = &queued->config;
    *config = (struct apply_config){.epoch = arrival->head.epoch,
        .release = arrival->head.release,
        .fallback_floor = arrival->head.fallback_floor};
    memcpy(config->head_hash, arrival->head_hash, HASH_BYTES);
    if (!empty) {
        const struct meta *meta = &arrival->opened.bundle.meta;
        memcpy(config->digest, arrival->opened.digest, HASH_BYTES);
        bytes_copy_text(meta->expected, config->path, sizeof config->path);
        config->action = meta->action;
        config->unit_failures = meta->unit_failures;
        config->has_health = meta->health_count > 0;
        config->confirm_ms = (uint64_t)meta->confirm_s * 1000;
    }
    queued->event.config = config;
    log_info("release accepted epoch=%" PRIu64 " release=%" PRIu64 "%s", config->epoch,
        config->release, empty ? " (nothing for this node yet)" : "");
    agent_post(agent, queued);
}

static void post_refused(struct agent *agent, const struct arrival *arrival, const struct err *e)
{
    struct queued_event *queued = agent_event(agent, EVENT_REFUSED);
    memcpy(queued->refused_hash, arrival->refused_hash, HASH_BYTES);
    queued->event.refused_hash = queued->refused_hash;
    queued->event.code = e->code;
    snprintf(agent->refusal, sizeof agent->refusal, "%s", e->text);
    log_warning("release refused code=%s reason=\"%s\"", code_name(e->code), e->text);
    agent_post(agent, queued);
}

static void remove_release(struct agent *agent, const char *name)
{
    struct err e;
    if (!fs_remove_tree(agent->spool.in, name, &e)) {
        log_warning("release folder not removed error=\"%s\"", e.text);
    }
}

// Returns true if nothing older needs to be looked at.
static bool take(struct agent *agent, const char *name)
{
    struct arrival arrival = {0};
    struct err e;
    CLEANUP_FD dir = -1;
    if (!fs_open_dir(agent->spool.in, name, &dir, &e)) {
        log_warning("release folder not opened error=\"%s\"", e.text);
        return false;
    }
    enum verdict verdict = judge(agent, dir, &arrival, &e);
    bool done = true;
    switch (verdict) {
    case VERDICT_READY:
    case VERDICT_EMPTY:
        post_release(
            agent, &arrival, verdict == VERDICT_EMPTY); // its folder goes when it has been seen
        break;
    case VERDICT_SEEN:
        remove_release(agent, name);
        break;
    case VERDICT_MISSING: // bento-node is told by outbox_want()
        break;
    case VERDICT_REFUSED:
        post_refused(agent, &arrival, &e);
        remove_release(agent, name);
        done = false;
        break;
    case VERDICT_LATER:
        log_err("release not looked at, tried again later error=\"%s\"", e.text);
        break;
    }
    opened_clear(&arrival.opened);
    return done;
}

static int newest_first(const void *a, const void *b)
{
    uint64_t epoch[2] = {0, 0}, release[2] = {0, 0};
    (void)!spool_release_parse(*(char *const *)a, &epoch[0], &release[0]);
    (void)!spool_release_parse(*(char *const *)b, &epoch[1], &release[1]);
    return release_compare(epoch[1], release[1], epoch[0], release[0]);
}

void intake_scan(struct agent *agent)
{
    struct names names;
    struct err e;
    if (!fs_list(agent->spool.in, &names, &e)) {
        log_err("spool not readable error=\"%s\"", e.text);
        return;
    }
    qsort(names.names, names.count, sizeof *names.names, newest_first);
    bool done = false;
    uint64_t epoch, release;
    for (size_t i = 0; i < names.count; i++) {
        if (!spool_release_parse(names.names[i], &epoch, &release)) {
            continue;
        }
        if (done) {
            remove_release(agent, names.names[i]); // an older one: the newest stands for all
        } else {
            done = take(agent, names.names[i]);
        }
    }
    names_clear(&names);
    agent_turn(agent);
    const struct apply *a = &agent->apply;
    const uint8_t *needed[] = {a->target.digest, a->applied.digest, a->next.digest};
    kept_forget(agent->kept, needed, 3);
    outbox_want(agent);
}
