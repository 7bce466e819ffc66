// What people see of a node: one pure function from signed facts to a state, its word and its
// weight. No I/O, no clock. DESIGN: the states of the collector. A node cannot know that a newer
// release is out, so its own word is only half of it.
//
// What bento-status --json makes of it: JSON.md.
#pragma once

#include "release.h"
#include "status.h"

enum view_severity {
    SEVERITY_DONE,
    SEVERITY_PENDING, // more is to come by itself, or somebody has to restart it
    SEVERITY_FAILING, // somebody should look
};

// name, word in JSON, word for people, emoji, severity. The worse, and the further
// on its way, the later: that is the order of rows.h.
// clang-format off
#define VIEW_STATES(X) \
    X(NEW, "new-machine", "new machine", "✨", PENDING)                  /* never reported, or has had no configuration yet */ \
    X(SYNC_PENDING, "sync-pending", "sync pending", "🚩", PENDING)       /* a newer head is out, the expected path runs */ \
    X(REBUILD_PENDING, "rebuild-pending", "rebuild pending", "🚩", PENDING) /* a newer head is out, not applied */ \
    X(FETCHING, "fetching", "fetching", "⏳", PENDING)                   /* this and the next six: the node says so, */ \
    X(BUILDING, "building", "building", "⏳", PENDING)                   /* for the current release */ \
    X(CHECKING, "checking", "checking", "⏳", PENDING) \
    X(TRYING, "trying", "trying", "⏳", PENDING) \
    X(CONFIRMING, "confirming", "confirming", "⏳", PENDING) \
    X(COMMITTING, "committing", "committing", "⏳", PENDING) \
    X(REVERTING, "reverting", "reverting", "⏳", PENDING) \
    X(UP_TO_DATE, "up-to-date", "up to date", "💚", DONE)                /* applied, runs the expected path */ \
    X(AUTO_UPGRADED, "auto-upgraded", "auto upgraded", "🤖", DONE)       /* runs what its self update built */ \
    X(DRY, "dry-activated", "dry-activated", "🧪", DONE)                 /* as asked, nothing was switched */ \
    X(REBOOT_PENDING, "reboot-pending", "reboot pending", "🔁", PENDING) /* up to date after the next boot */ \
    X(DRIFTED, "drifted", "drifted", "🔀", FAILING)                      /* applied, but runs or boots another path */ \
    X(REFUSED, "refused", "refused", "⛔", FAILING)                      /* with the code */ \
    X(FAILING, "failing", "failing", "🔥", FAILING)                      /* with the code */ \
    X(ROLLED_BACK, "rolled-back", "rolled back", "⏪", FAILING)          /* with the code, or inconclusive */ \
    X(STAYS, "stays", "stays", "⚠", FAILING)                             /* not reached, but forbidden to go back */ \
    X(AHEAD, "ahead", "ahead", "👀", FAILING)                            /* saw a head that this broker does not show */ \
    X(TAMPERED, "tampered", "tampered", "☠", FAILING)                    /* the stored status does not verify */
// clang-format on

#define VIEW_STATE_ENUM(name, key, word, emoji, severity) VIEW_##name,
enum view_state { VIEW_STATES(VIEW_STATE_ENUM) VIEW_STATE_COUNT };
#undef VIEW_STATE_ENUM
const char *view_state_key(enum view_state state);   // "up-to-date"
const char *view_state_word(enum view_state state);  // "up to date"
const char *view_state_emoji(enum view_state state); // "💚"
enum view_severity view_state_severity(enum view_state state);
const char *view_severity_key(enum view_severity severity);

enum view_remote {
    REMOTE_NONE,     // nothing to compare
    REMOTE_SAME,     // 💚 runs the expected path
    REMOTE_OTHER,    // 🛑
    REMOTE_UNPINNED, // 📌 nobody knows the path beforehand
};
const char *view_remote_key(enum view_remote remote);
const char *view_remote_emoji(enum view_remote remote); // "" for REMOTE_NONE

struct view_input {
    const struct head *head; // the current release, verified; NULL: nothing was ever published
    const uint8_t *head_hash;
    const struct roster_node *node; // NULL: not in that release
    const struct status *status;    // the newest one, verified as this node's; NULL: none
    bool tampered;                  // there is one, but it does not verify; status is NULL then
    uint64_t received_s;            // of the newest status; the broker's clock
    uint64_t now_s, poll_s;
};

struct view {
    enum view_state state;
    enum view_severity severity; // of the state, and SEVERITY_FAILING for a silent node
    enum code code;              // CODE_OK: there is nothing to add
    bool inconclusive;           // rolled back while the network was gone anyway
    enum view_remote remote;
    uint64_t heard_s; // the earlier of when the status came, as the broker says, and when the node
                      // signed it
    bool silent, behind;
    bool applied; // runs the configuration of the current release
    bool settled; // the current release is over and done for this node, well or not: nothing more
                  // comes by itself
};
void view_of(const struct view_input *input, struct view *view);
// More comes by itself: what --wait waits for. Not a machine that nobody hears, nor one that waits for
// a person to restart it.
bool view_is_pending(const struct view *view);
