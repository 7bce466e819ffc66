#include "agent.h"

#include "log.h"
#include "snapshot.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

struct queued_event *agent_event(struct agent *agent, enum apply_event_kind kind)
{
    (void)agent;
    struct queued_event *queued = xcalloc(1, sizeof *queued);
    queued->event.kind = kind;
    return queued;
}

void agent_post(struct agent *agent, struct queued_event *event)
{
    *agent->last = event;
    agent->last = &event->next;
}

static void set_deadline(struct agent *agent)
{
    uint64_t deadline = agent->apply.deadline_ms, now = clock_monotonic_ms();
    if (deadline == 0) {
        loop_timer_stop(agent->deadline);
    } else {
        loop_timer_set(agent->deadline, deadline > now ? deadline - now : 1);
    }
}

void agent_look(const struct agent *agent, struct system_facts *facts)
{
    const struct apply *a = &agent->apply;
    const char *const toplevels[] = {
        a->target.path, a->applied.path, a->trial.old_path, a->trial.new_path, NULL};
    system_look(agent->config, toplevels, facts);
}

static void step(struct agent *agent, struct apply_event *event)
{
    struct system_facts facts;
    struct apply next;
    struct apply_plan plan;
    struct err e;
    agent_look(agent, &facts);
    event->now_ms = clock_monotonic_ms();
    event->unix_ns = clock_unix_ns();
    randombytes_buf(event->nonce, sizeof event->nonce);
    memcpy(event->boot_id, facts.boot_id, sizeof event->boot_id);
    event->asleep_ms = clock_boottime_ms() - event->now_ms;
    event->running = facts.running;
    event->booted = facts.began;
    event->profile = facts.profile;
    event->specialisation = facts.specialisation;
    event->reboot_needed = facts.reboot;
    event->rules = &agent->rules;

    apply_step(&agent->apply, event, &next, &plan);
    if (!journal_write(
            &agent->journal, &next, &e)) { // durable before any effect, or no effect at all
        log_err("stopped, nothing further is done error=\"%s\"", e.text);
        exit(EXIT_FAILURE);
    }
    if (next.state != agent->apply.state) {
        log_info("state from=%s to=%s event=%s", apply_state_name(agent->apply.state),
            apply_state_name(next.state), apply_event_name(event->kind));
    }
    agent->apply = next;
    for (unsigned i = 0; i < plan.count; i++) {
        effect_start(agent, plan.effects[i]);
    }
}

void agent_turn(struct agent *agent)
{
    if (agent->in_turn) {
        return; // an effect may call back at once; the rest of its plan comes first
    }
    agent->in_turn = true;
    while (agent->first != NULL) {
        struct queued_event *queued = agent->first;
        agent->first = queued->next;
        if (agent->first == NULL) {
            agent->last = &agent->first;
        }
        step(agent, &queued->event);
        free(queued);
    }
    agent->in_turn = false;
    set_deadline(agent);
    outbox_want(agent);
    snapshot_write(agent);
}

void agent_trigger(struct agent *agent)
{
    static struct log_limit limit = {.burst = 5, .seconds = 60};
    if (log_allowed(&limit, "updates asked for by hand")) {
        log_info("update asked for by hand state=%s", apply_state_name(agent->apply.state));
    }
    agent_post(agent, agent_event(agent, EVENT_ASKED));
    agent_turn(agent);
}
