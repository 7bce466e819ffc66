// bento-apply as one object: what its loop thread owns. The way of a release through it:
//
//     spool/in → intake (judge.h) → event RELEASE → apply_step (apply.h) → journal → effects → jobs → event → …
//
// Events are queued and handled one at a time; a step is durable before its effects start
// (agent_turn).
#pragma once

#include "apply.h"
#include "config.h"
#include "job.h"
#include "journal.h"
#include "spool.h"
#include "system.h"
#include "verify.h"

struct agent {
    const struct config *config;
    const char *config_path;
    const char *self; // our own binary, in the store on NixOS: the old system's, while a trial runs
    struct loop *loop;
    int dir, kept; // state/apply, state/apply/kept
    struct spool spool;
    struct journal journal;
    struct jobs *jobs;
    struct apply apply;
    struct apply_rules rules;
    struct floor floor;
    uint8_t node_id[HASH_BYTES];
    struct want want;  // as written
    char refusal[480]; // the sentence of the last refusal, for its status
    char failure[480]; // the sentence of the last effect that could not be started
    struct loop_watch *deadline, *rescan, *beat, *update, *watchdog;
    bool runs_units; // jobs are systemd units
    bool in_turn;
    struct queued_event {
        struct apply_event event;
        struct apply_config config; // storage for event.config
        uint8_t refused_hash[HASH_BYTES];
        char path[STORE_PATH_BYTES_MAX + 1];
        struct queued_event *next;
    } * first, **last;
};

// Queues an event and handles the queue (agent.c). What happens inside a turn is queued behind it.
struct queued_event *agent_event(struct agent *agent, enum apply_event_kind kind);
void agent_post(struct agent *agent, struct queued_event *event);
void agent_turn(struct agent *agent);
// Somebody at the machine asks for an update.
void agent_trigger(struct agent *agent);

// What the machine runs, seen by somebody who knows the toplevels under way.
void agent_look(const struct agent *agent, struct system_facts *facts);

// effects.c: starts one effect of a plan.
void effect_start(struct agent *agent, enum apply_effect effect);
// effects.c: a job runs or waits for its time, or does neither; the dead man's switch is ARMED then.
void effect_started(void *context, enum job_kind kind, const struct job_key *key, bool ok);
// effects.c: a job has ended; turns it into its event.
void effect_ended(void *context, enum job_kind kind, const struct job_record *record);
// effects.c: what a dead man's switch did while we were away.
void effects_recall(struct agent *agent);
// Looks now and then whether the trial under way still has its dead man's switch, and arms another one.
void effects_guard(struct agent *agent);

// intake.c: looks through spool/in and posts RELEASE or REFUSED; safe to call at any time.
void intake_scan(struct agent *agent);
// The floor of both copies and the configured minimum; mends a copy that was lost.
MUST_CHECK bool intake_load_floor(struct agent *agent, struct err *e);

// outbox.c: the report of agent->apply as a signed status in spool/out; posts QUEUED.
void outbox_queue(struct agent *agent);
void outbox_queue_missing(struct agent *agent); // a report that found no room when it was made
// What its status says beyond the code: the end of the output of the job that the report is about,
// or a sentence of ours where there was no job.
void outbox_log(const struct agent *agent, const struct apply_report *report, struct buf *log);
// True if the collector has everything.
bool outbox_is_empty(const struct agent *agent);
// Reads spool/in/acked, removes what the collector has, posts ACKED.
void outbox_collect(struct agent *agent);
// Writes spool/out/want if it changed.
void outbox_want(struct agent *agent);
