#include "view.h"

#include <string.h>

// Who holds the collector may say of an old status that it came just now. A node's own word for the
// time may be wrong as well, but a status is not older than the release that it names.
static uint64_t heard_at(const struct view_input *in)
{
    const struct status *s = in->status;
    uint64_t signed_s = s->time > s->release ? s->time : s->release;
    return signed_s < in->received_s ? signed_s : in->received_s;
}

// 2.5 polls: one may be lost, and they are jittered by 20 %.
static bool is_silent(uint64_t heard_s, const struct view_input *in)
{
    return in->now_s > heard_s && (in->now_s - heard_s) * 2 > in->poll_s * 5;
}

static enum view_remote remote_of(const struct view_input *in)
{
    if (!in->status || !in->node || in->status->running.len == 0)
        return REMOTE_NONE;
    if (in->node->expected.len == 0)
        return REMOTE_UNPINNED;
    return bytes_equal(in->status->running, in->node->expected) ? REMOTE_SAME : REMOTE_OTHER;
}

// Order of the newest head that the node reports and the current one: <0 behind, 0 the same, >0
// ahead.
static int head_order(const struct view_input *in)
{
    const struct status *s = in->status;
    if (!in->head)
        return release_compare(s->epoch, s->release, 0, 0);
    int order = release_compare(s->epoch, s->release, in->head->epoch, in->head->release);
    // Two heads under one number: somebody shows us another release than the nodes.
    if (order == 0 && memcmp(s->head_hash, in->head_hash, HASH_BYTES) != 0)
        return 1;
    return order;
}

// Codes of checks that come before the floor is raised: the report names the release before the
// refused one.
static bool refused_unseen(const struct status *s)
{
    return s->state == NODE_REFUSED && s->code <= CODE_EQUIVOCATION;
}

// Runs or boots something else than the release says. Nobody can tell where no path is expected.
static bool has_drifted(const struct view_input *in, bool for_next_boot)
{
    if (!in->node || in->node->expected.len == 0)
        return false;
    struct bytes expected = in->node->expected, profile = in->status->profile;
    bool boots_other = profile.len > 0 && !bytes_equal(profile, expected);
    return boots_other || (!for_next_boot && !bytes_equal(in->status->running, expected));
}

static enum view_state up_to_date(const struct view_input *in)
{
    bool built_itself = in->status->automatic && remote_of(in) != REMOTE_SAME;
    if (!built_itself && has_drifted(in, false))
        return VIEW_DRIFTED;
    if (in->status->reboot)
        return VIEW_REBOOT_PENDING;
    return built_itself ? VIEW_AUTO_UPGRADED : VIEW_UP_TO_DATE;
}

// The node's word about the current release.
static enum view_state current(const struct view_input *in)
{
    switch (in->status->state) {
    case NODE_NEW:
        return VIEW_NEW;
    case NODE_FETCHING:
        return VIEW_FETCHING;
    case NODE_BUILDING:
        return VIEW_BUILDING;
    case NODE_CHECKING:
        return VIEW_CHECKING;
    case NODE_TRYING:
        return VIEW_TRYING;
    case NODE_CONFIRMING:
        return VIEW_CONFIRMING;
    case NODE_COMMITTING:
        return VIEW_COMMITTING;
    case NODE_REVERTING:
        return VIEW_REVERTING;
    case NODE_UP_TO_DATE:
        return up_to_date(in);
    case NODE_REBOOT_PENDING:
        return !in->status->automatic && has_drifted(in, true) ? VIEW_DRIFTED : VIEW_REBOOT_PENDING;
    case NODE_DRY:
        return VIEW_DRY;
    case NODE_FAILED:
        return VIEW_FAILING;
    case NODE_ROLLED_BACK:
    case NODE_INCONCLUSIVE:
        return VIEW_ROLLED_BACK;
    case NODE_STAYS:
        return VIEW_STAYS;
    case NODE_REFUSED:
        return VIEW_REFUSED;
    case NODE_STATE_COUNT:
        break;
    }
    ASSERT(!"a decoded status has a state");
}

static enum view_state state_of(const struct view_input *in, enum view_remote remote)
{
    if (in->tampered)
        return VIEW_TAMPERED;
    if (!in->status)
        return VIEW_NEW;
    int order = head_order(in);
    if (order > 0)
        return VIEW_AHEAD;
    if (refused_unseen(in->status))
        return VIEW_REFUSED;
    if (order < 0 && in->status->state == NODE_NEW)
        return VIEW_NEW;
    if (order < 0)
        return remote == REMOTE_SAME ? VIEW_SYNC_PENDING : VIEW_REBUILD_PENDING;
    return current(in);
}

// A system that stays although units failed (the policy is to report them) is up to date, and says so.
static bool tells_code(enum view_state state, enum code code)
{
    bool bad = state == VIEW_FAILING || state == VIEW_ROLLED_BACK || state == VIEW_STAYS ||
               state == VIEW_REFUSED;
    bool good = state == VIEW_UP_TO_DATE || state == VIEW_AUTO_UPGRADED ||
                state == VIEW_REBOOT_PENDING || state == VIEW_DRIFTED;
    return bad || (good && code == CODE_UNITS);
}

void view_of(const struct view_input *in, struct view *view)
{
    *view = (struct view){.remote = remote_of(in), .heard_s = in->received_s};
    view->state = state_of(in, view->remote);
    view->severity = view_state_severity(view->state);
    if (!in->status)
        return;
    const struct status *s = in->status;
    view->heard_s = heard_at(in);
    view->silent = is_silent(view->heard_s, in);
    if (view->silent)
        view->severity = SEVERITY_FAILING;
    view->behind = head_order(in) < 0;
    bool same = head_order(in) == 0;
    view->applied = same && !bytes_are_zero(s->applied, HASH_BYTES) &&
                    memcmp(s->applied, s->digest, HASH_BYTES) == 0;
    view->settled = same && !node_state_is_live(s->state);
    view->code = tells_code(view->state, s->code) ? s->code : CODE_OK;
    view->inconclusive = view->state == VIEW_ROLLED_BACK && s->state == NODE_INCONCLUSIVE;
}

bool view_is_pending(const struct view *view)
{
    return view->severity == SEVERITY_PENDING && !view->settled;
}

static const struct {
    const char *key, *word, *emoji;
    enum view_severity severity;
} states[] = {
#define VIEW_STATE_ROW(name, key, word, emoji, severity) {key, word, emoji, SEVERITY_##severity},
    VIEW_STATES(VIEW_STATE_ROW)
#undef VIEW_STATE_ROW
};

const char *view_state_key(enum view_state state)
{
    return states[state].key;
}

const char *view_state_word(enum view_state state)
{
    return states[state].word;
}

const char *view_state_emoji(enum view_state state)
{
    return states[state].emoji;
}

enum view_severity view_state_severity(enum view_state state)
{
    return states[state].severity;
}

const char *view_severity_key(enum view_severity severity)
{
    return (const char *const[]){"done", "pending", "failing"}[severity];
}

const char *view_remote_key(enum view_remote remote)
{
    return (const char *const[]){"none", "same", "other", "unpinned"}[remote];
}

const char *view_remote_emoji(enum view_remote remote)
{
    return (const char *const[]){"", "💚", "🛑", "📌"}[remote];
}
