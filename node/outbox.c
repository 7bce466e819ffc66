// Statuses: made and signed here, delivered by bento-node, removed once the collector has
// acknowledged them.
#include "agent.h"

#include "fs.h"
#include "keys.h"
#include "log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOG_BYTES (16u << 10)
#define SPEAKS 1u
#define BEAT_JITTER_PERCENT 20

// The job whose output a person wants to read with the report; JOB_KIND_COUNT: none.
static enum job_kind job_behind(const struct agent *agent, const struct apply_report *report)
{
    static const struct {
        enum code code;
        enum job_kind job;
    } sources[] = {
        {CODE_EVAL, JOB_OBTAIN},
        {CODE_BUILD, JOB_OBTAIN},
        {CODE_EXPECTED, JOB_OBTAIN},
        {CODE_LOCKOUT, JOB_OBTAIN},
        {CODE_SWITCH, JOB_TRY},
        {CODE_UNITS, JOB_TRY},
        {CODE_CONNECTIVITY, JOB_TRY},
        {CODE_DEADMAN, JOB_TRY},
        {CODE_HEALTH, JOB_CHECK},
        {CODE_COMMIT, JOB_COMMIT},
    };
    if (report->code == CODE_SECRETS) { // of a trial, or of a system that runs already
        return report->state == NODE_FAILED ? JOB_SECRETS : JOB_TRY;
    }
    bool dry = report->state == NODE_FAILED && agent->apply.target.action == ACTION_DRY;
    if (report->state == NODE_DRY || (dry && report->code == CODE_SWITCH)) {
        return JOB_OBTAIN;
    }
    if (report->state == NODE_FAILED && agent->apply.state == APPLY_REVERTING) {
        return JOB_REVERT;
    }
    for (size_t i = 0; i < sizeof sources / sizeof sources[0]; i++) {
        if (sources[i].code == report->code) {
            bool updated = sources[i].job == JOB_OBTAIN && report->automatic;
            return updated ? JOB_UPDATE : sources[i].job;
        }
    }
    return JOB_KIND_COUNT;
}

// A sentence of ours where there was no job.
void outbox_log(const struct agent *agent, const struct apply_report *report, struct buf *log)
{
    enum job_kind job = job_behind(agent, report);
    if (job != JOB_KIND_COUNT) {
        jobs_tail(agent->jobs, job, LOG_BYTES, log);
    } else if (report->code != CODE_OK) {
        buf_append_text(log, report->state == NODE_REFUSED ? agent->refusal : agent->failure);
    }
}

// The newest head that asked for what the report is about, else nothing would tell the outcome of one
// release from that of the next, which came meanwhile or was refused. Of a refusal, and of what no head
// is known for, the floor.
static void name_head(const struct agent *agent, struct status *status)
{
    const struct apply *a = &agent->apply;
    const struct apply_config *about = apply_about(a, &a->report);
    status->epoch = about != NULL ? about->epoch : agent->floor.epoch;
    status->release = about != NULL ? about->release : agent->floor.release;
    memcpy(
        status->head_hash, about != NULL ? about->head_hash : agent->floor.head_hash, HASH_BYTES);
}

static bool build(struct agent *agent, struct buf *signed_status, struct err *e)
{
    const struct apply *a = &agent->apply;
    const struct apply_report *report = &a->report;
    struct system_facts facts;
    agent_look(agent, &facts);
    struct buf log CLEANUP(buf_clear) = {0};
    outbox_log(agent, report, &log);
    struct status status = {.seq = report->seq,
        .time = clock_unix_s(),
        .attempt = report->attempt,
        .state = report->state,
        .code = report->code,
        .running = bytes_of_text(facts.running),
        .booted = bytes_of_text(facts.booted),
        .profile = bytes_of_text(facts.profile),
        .reboot = facts.reboot,
        .automatic = report->automatic,
        .speaks = SPEAKS,
        .timings = a->timings,
        .log = buf_bytes(&log)};
    memcpy(status.fleet, agent->config->trust.fleet, sizeof status.fleet);
    memcpy(status.node_id, agent->node_id, HASH_BYTES);
    memcpy(status.nonce, report->nonce, sizeof status.nonce);
    name_head(agent, &status);
    memcpy(status.digest, report->digest, HASH_BYTES);
    memcpy(status.applied, a->applied.digest, HASH_BYTES);
    memcpy(status.boot_id, facts.boot_id, sizeof status.boot_id);
    struct secret_key *identity CLEANUP(keys_free) = NULL;
    if (!keys_load_identity(agent->config, &identity, e)) {
        return false;
    }
    status_sign(&status, identity, signed_status);
    return true;
}

static void post_seq(struct agent *agent, enum apply_event_kind kind, uint64_t seq)
{
    struct queued_event *queued = agent_event(agent, kind);
    queued->event.seq = seq;
    agent_post(agent, queued);
}

// --- a node that is cut off for months ---

// What a queued status says, for finding out which of too many can be done without.
struct queued {
    const char *name;
    bool live;
    uint8_t says[HASH_BYTES]; // equal for statuses that say the same, at other times
};

static bool look_at(struct agent *agent, const char *name, struct queued *queued)
{
    struct buf text CLEANUP(buf_clear) = {0};
    struct buf same CLEANUP(buf_clear) = {0};
    struct status status;
    struct err e;
    *queued = (struct queued){.name = name};
    if (!fs_read(agent->spool.out, name, STATUS_BYTES_MAX, &text, &e) ||
        !status_verify(buf_bytes(&text), agent->config->trust.fleet, &status, &e)) {
        return false; // not ours: of no use to anybody
    }
    queued->live = node_state_is_live(status.state);
    status.seq = status.time = 0;
    memset(status.nonce, 0, sizeof status.nonce);
    status.timings = (struct timings){0};
    status.log = (struct bytes){0};
    status_encode(&status, &same);
    sha256(buf_bytes(&same), queued->says);
    return true;
}

static bool is_repeated(const struct queued *all, size_t count, size_t i)
{
    for (size_t later = i + 1; later < count; later++) {
        if (memcmp(all[i].says, all[later].says, HASH_BYTES) == 0) {
            return true;
        }
    }
    return false;
}

// Oldest first: those that a later one repeats, then live phases. The last one is always kept: somebody
// may be waiting for it.
static void drop(struct agent *agent, const struct queued *all, size_t count, size_t excess)
{
    struct err e;
    for (unsigned pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i + 1 < count && excess > 0; i++) {
            bool repeated = is_repeated(all, count, i);
            if (pass == 0 ? !repeated : repeated || !all[i].live) {
                continue;
            }
            if (!fs_remove(agent->spool.out, all[i].name, &e)) {
                log_warning("old status not removed error=\"%s\"", e.text);
                return;
            }
            excess--;
        }
    }
}

// Outcomes are never dropped; there are few, since a node that hears of no release has no new ones.
static void forget_oldest(struct agent *agent)
{
    struct names names;
    struct err e;
    uint64_t seq;
    size_t count = 0;
    if (!fs_list(agent->spool.out, &names, &e)) {
        return;
    }
    if (names.count > STATUSES_KEPT_PER_NODE) {
        struct queued *all = xcalloc(names.count, sizeof *all);
        for (size_t i = 0; i < names.count; i++) { // sorted by their padded numbers
            if (spool_status_parse(names.names[i], &seq) &&
                look_at(agent, names.names[i], &all[count])) {
                count++;
            }
        }
        if (count > STATUSES_KEPT_PER_NODE) {
            drop(agent, all, count, count - STATUSES_KEPT_PER_NODE);
        }
        free(all);
    }
    names_clear(&names);
}

void outbox_queue(struct agent *agent)
{
    const struct apply_report *report = &agent->apply.report;
    char name[STATUS_NAME_BYTES];
    spool_status_name(report->seq, name);
    struct buf signed_status CLEANUP(buf_clear) = {0};
    struct err e;
    // One that is there already was written before a crash: other bytes under its number would be
    // refused for ever.
    if (!fs_exists(agent->spool.out, name) &&
        (!build(agent, &signed_status, &e) ||
            !fs_write(agent->spool.out, name, buf_bytes(&signed_status), 0640, &e))) {
        log_err("status not queued state=%s error=\"%s\"", node_state_word(report->state), e.text);
        return; // tried again, see outbox_queue_missing()
    }
    log_info("status queued state=%s code=%s seq=%" PRIu64, node_state_word(report->state),
        code_name(report->code), report->seq);
    loop_timer_set(agent->beat, jitter(agent->config->poll_s * 1000, BEAT_JITTER_PERCENT));
    forget_oldest(agent);
    post_seq(agent, EVENT_QUEUED, report->seq);
}

void outbox_queue_missing(struct agent *agent)
{
    const struct apply_report *report = &agent->apply.report;
    if (report->seq != 0 && !report->queued) {
        outbox_queue(agent);
    }
}

bool outbox_is_empty(const struct agent *agent)
{
    struct names names;
    struct err e;
    uint64_t seq;
    bool empty = true;
    if (!fs_list(agent->spool.out, &names, &e)) {
        return false;
    }
    for (size_t i = 0; i < names.count && empty; i++) {
        empty = !spool_status_parse(names.names[i], &seq);
    }
    names_clear(&names);
    return empty;
}

static void collect(struct agent *agent, const struct ack *ack)
{
    char name[STATUS_NAME_BYTES];
    spool_status_name(ack->seq, name);
    struct buf signed_status CLEANUP(buf_clear) = {0};
    struct err e;
    if (!fs_read(agent->spool.out, name, STATUS_BYTES_MAX, &signed_status, &e)) {
        return; // collected before
    }
    uint8_t hash[HASH_BYTES];
    sha256(buf_bytes(&signed_status), hash);
    if (memcmp(hash, ack->hash, HASH_BYTES) != 0) {
        log_warning("acknowledgement of other bytes ignored seq=%" PRIu64, ack->seq);
        return;
    }
    if (unlinkat(agent->spool.out, name, 0) != 0) { // not synced: one that comes back is sent again
        log_warning("status not removed error=\"%m\"");
        return;
    }
    if (ack->refused) {
        log_err("status dropped, the collector refuses it for good seq=%" PRIu64, ack->seq);
        return;
    }
    log_debug("status acknowledged seq=%" PRIu64, ack->seq);
    post_seq(agent, EVENT_ACKED, ack->seq);
}

void outbox_collect(struct agent *agent)
{
    struct buf text CLEANUP(buf_clear) = {0};
    struct err e;
    if (!fs_read(agent->spool.in, "acked", ACKED_BYTES_MAX, &text, &e)) {
        return;
    }
    struct acks *acks = xcalloc(1, sizeof *acks);
    if (!acks_decode(buf_bytes(&text), acks, &e)) {
        log_warning("acknowledgements not understood error=\"%s\"", e.text);
        acks->count = 0;
    }
    for (size_t i = 0; i < acks->count; i++) {
        collect(agent, &acks->list[i]);
    }
    free(acks);
    agent_turn(agent);
}

void outbox_want(struct agent *agent)
{
    const struct apply *a = &agent->apply;
    struct want want = agent->want; // blobs: intake's
    memcpy(want.node_id, agent->node_id, HASH_BYTES);
    memcpy(want.seen, a->seen, HASH_BYTES);
    bool reaching = apply_is_reaching(a);
    want.reach_seq = reaching ? a->report.seq : 0;
    want.anew = reaching && a->state != APPLY_CHECKING;
    struct buf before CLEANUP(buf_clear) = {0};
    struct buf now CLEANUP(buf_clear) = {0};
    struct err e;
    want_encode(&want, &now);
    agent->want = want;
    if (fs_read(agent->spool.out, "want", WANT_BYTES_MAX, &before, &e) &&
        bytes_equal(buf_bytes(&before), buf_bytes(&now))) {
        return; // two fsyncs saved
    }
    if (!fs_replace(agent->spool.out, "want", buf_bytes(&now), 0640, &e)) {
        log_err("cannot tell bento-node what is wanted error=\"%s\"", e.text);
    }
}
