// From spool/in to the event RELEASE or REFUSED. Everything that a stranger may have written passes
// through here and nowhere else: read once, checked by judge.h, and only then remembered.
#include "agent.h"

#include "floor.h"
#include "fs.h"
#include "judge.h"
#include "kept.h"
#include "log.h"
#include "reboot.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

bool intake_load_floor(struct agent *agent, struct err *e)
{
    if (!floor_load(agent->config, agent->dir, &agent->floor, e)) {
        return false;
    }
    if (agent->config->floor_copy != NULL) {
        fs_sweep(AT_FDCWD, agent->config->floor_copy);
    }
    // A copy that was lost is written again. Not so copies that contradict each other, and not a
    // minimum of the configuration alone: a typing error there must not burn every later number.
    struct floor none = {0}, known = agent->floor;
    return known.poisoned || !known.has_hash ||
           floor_raise(agent->config, agent->dir, &none, &known, e);
}

// --- one release ---

// What bento-node put there instead of a file is not an accident of ours.
static bool check_regular(int dir, const char *name, struct err *e)
{
    struct stat st;
    bool odd = fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISREG(st.st_mode);
    return odd ? err_set(e, CODE_FORMAT, "%.80s in the spool is no regular file", name) : true;
}

struct spooled {
    int dir; // of the release
    struct agent *agent;
};

static bool read_blob(struct agent *agent, size_t index, const uint8_t *hash, uint64_t len,
    struct buf *out, struct err *e)
{
    char name[HASH_HEX_BYTES];
    struct want_blob *blob = &agent->want.blobs[index];
    memcpy(blob->hash, hash, HASH_BYTES);
    blob->len = len;
    agent->want.blob_count = index + 1;
    hex_encode(hash, HASH_BYTES, name);
    return check_regular(agent->spool.blobs, name, e) &&
           fs_read(agent->spool.blobs, name, (size_t)len, out, e);
}

// bento-node made the folder complete: one without an envelope is as wrong as a damaged one.
static bool read_envelope(int dir, struct buf *out, struct err *e)
{
    if (!check_regular(dir, "envelope", e)) {
        return false;
    }
    bool ok = fs_read(dir, "envelope", ENVELOPE_BYTES_MAX, out, e);
    if (!ok && e->code == CODE_NONE) {
        e->code = CODE_FORMAT;
    }
    return ok;
}

static bool read_part(void *context, enum part part, const uint8_t hash[HASH_BYTES], uint64_t len,
    struct buf *out, struct err *e)
{
    const struct spooled *spooled = context;
    switch (part) {
    case PART_ENVELOPE:
        return read_envelope(spooled->dir, out, e);
    case PART_PROVEN:
        if (fs_exists(spooled->dir, "noticket")) {
            return err_set(e, CODE_NONE, "the broker has no ticket for this node");
        }
        return check_regular(spooled->dir, "proven", e) &&
               fs_read(spooled->dir, "proven", PROVEN_BYTES_MAX, out, e);
    case PART_BUNDLE:
        return read_blob(spooled->agent, 0, hash, len, out, e);
    case PART_TREE:
        return read_blob(spooled->agent, 1, hash, len, out, e);
    }
    ASSERT(!"a part of the list");
}

static enum verdict judge(struct agent *agent, int dir, struct judged *judged, struct err *e)
{
    struct spooled spooled = {.dir = dir, .agent = agent};
    const struct judge judge = {.config = agent->config,
        .dir = agent->dir,
        .floor = &agent->floor,
        .node_id = agent->node_id,
        .seen = agent->apply.seen,
        .unix_s = clock_unix_s(),
        .read = read_part,
        .context = &spooled};
    enum verdict verdict = judge_release(&judge, judged, e);
    if (verdict != VERDICT_READY) {
        return verdict;
    }
    // The envelope is what the new system's selfcheck is asked about.
    bool stored = kept_store(agent->kept, &judged->opened, buf_bytes(&judged->bundle),
                      buf_bytes(&judged->tree), e) &&
                  fs_write(agent->dir, "envelope", buf_bytes(&judged->envelope), 0600, e);
    return stored ? VERDICT_READY : VERDICT_LATER;
}

static void post_release(struct agent *agent, const struct judged *judged, bool empty)
{
    struct queued_event *queued = agent_event(agent, EVENT_RELEASE);
    struct apply_config *config = &queued->config;
    *config = (struct apply_config){.epoch = judged->head.epoch,
        .release = judged->head.release,
        .fallback_floor = judged->head.fallback_floor};
    memcpy(config->head_hash, judged->head_hash, HASH_BYTES);
    if (!empty) {
        const struct meta *meta = &judged->opened.bundle.meta;
        memcpy(config->digest, judged->opened.digest, HASH_BYTES);
        bytes_copy_text(meta->expected, config->path, sizeof config->path);
        config->action = meta->action;
        config->unit_failures = meta->unit_failures;
        config->last_resort = meta->last_resort;
        config->reboot = reboot_parse(meta->reboot).policy;
        config->self_update = meta->self_update;
        // With systemd there is always something to check: whose bento-node it is.
        config->has_health = meta->health_count > 0 || agent->runs_units;
        config->confirm_ms = (uint64_t)meta->confirm_s * 1000;
    }
    queued->event.config = config;
    log_info("release accepted epoch=%" PRIu64 " release=%" PRIu64 "%s", config->epoch,
        config->release, empty ? " (nothing for this node yet)" : "");
    agent_post(agent, queued);
}

static void post_refused(struct agent *agent, const struct judged *judged, const struct err *e)
{
    struct queued_event *queued = agent_event(agent, EVENT_REFUSED);
    memcpy(queued->refused_hash, judged->envelope_hash, HASH_BYTES);
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
    struct judged judged;
    struct err e;
    CLEANUP_FD dir = -1;
    if (!fs_open_dir(agent->spool.in, name, &dir, &e)) {
        log_warning("release folder not opened error=\"%s\"", e.text);
        return false;
    }
    enum verdict verdict = judge(agent, dir, &judged, &e);
    bool done = true;
    switch (verdict) {
    case VERDICT_READY:
    case VERDICT_EMPTY:
        post_release(
            agent, &judged, verdict == VERDICT_EMPTY); // its folder goes when it has been seen
        break;
    case VERDICT_SEEN:
        agent_post(agent, agent_event(agent, EVENT_SHOWN));
        remove_release(agent, name);
        break;
    case VERDICT_MISSING: // bento-node is told by outbox_want()
        break;
    case VERDICT_REFUSED:
        post_refused(agent, &judged, &e);
        remove_release(agent, name);
        done = false;
        break;
    case VERDICT_LATER:
        log_err("release not looked at, tried again later error=\"%s\"", e.text);
        break;
    }
    judged_clear(&judged);
    return done;
}

static int newest_first(const void *a, const void *b)
{
    uint64_t epoch[2] = {0, 0}, release[2] = {0, 0};
    (void)!spool_release_parse(*(char *const *)a, &epoch[0], &release[0]);
    (void)!spool_release_parse(*(char *const *)b, &epoch[1], &release[1]);
    return release_compare(epoch[1], release[1], epoch[0], release[0]);
}

// What no configuration of ours needs: ciphertexts, and the GC roots of their systems.
static void forget_old(struct agent *agent)
{
    const struct apply *a = &agent->apply;
    const uint8_t *needed[] = {
        a->target.digest, a->applied.digest, a->next.digest, a->before.digest};
    const size_t count = sizeof needed / sizeof needed[0];
    CLEANUP_FD roots = -1;
    struct err e;
    kept_forget(agent->kept, needed, count, agent->config->kept_releases);
    if (!fs_open_dir(agent->dir, "roots", &roots, &e)) {
        log_warning("old roots not removed error=\"%s\"", e.text);
        return;
    }
    kept_forget(roots, needed, count, agent->config->kept_releases);
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
    const char *const *taken = NULL;
    uint64_t epoch, release;
    for (size_t i = 0; i < names.count; i++) {
        const char *const *name = (const char *const *)&names.names[i];
        if (!spool_release_parse(*name, &epoch, &release)) {
            continue;
        }
        if (taken != NULL && newest_first(taken, name) < 0) {
            remove_release(agent, *name); // an older one: the newest stands for all
        } else if (take(agent, *name)) {
            taken = name;
        }
    }
    names_clear(&names);
    agent_turn(agent);
    forget_old(agent);
    outbox_want(agent);
}
