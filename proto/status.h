// What a node says about itself, signed. PROTOCOL.md §status
#pragma once

#include "bounds.h"
#include "sshsig.h"
#include "wire.h"

// What a node may say it is doing or how it ended. The states that people see are derived by
// bento-status (DESIGN: a node cannot know that a newer release is out). name, word on the wire,
// live phase rather than an outcome
// clang-format off
#define NODE_STATES(X)                                                                             \
    X(NEW, "new", false)                       /* no configuration for this node yet */            \
    X(FETCHING, "fetching", true)              /* waiting for the tree */                          \
    X(BUILDING, "building", true)              /* substitutes, evaluates, builds */                \
    X(CHECKING, "checking", true)              /* preflight */                                     \
    X(TRYING, "trying", true)                  /* switch-to-configuration test runs */             \
    X(CONFIRMING, "confirming", true)          /* waits to be reached */                           \
    X(COMMITTING, "committing", true)          /* writes profile and boot loader */                \
    X(REVERTING, "reverting", true)            /* goes back to the old system */                   \
    X(UP_TO_DATE, "up-to-date", false)         /* runs the configuration of this release */        \
    X(REBOOT_PENDING, "reboot-pending", false) /* installed; kernel, initrd or modules wait */     \
    X(DRY, "dry", false)                       /* dry-activated only, as asked */                  \
    X(FAILED, "failed", false)                 /* code: EVAL, BUILD, SWITCH, COMMIT, … */          \
    X(ROLLED_BACK, "rolled-back", false)       /* code: CONNECTIVITY, HEALTH, UNITS, DEADMAN, … */ \
    X(INCONCLUSIVE, "inconclusive", false)     /* rolled back, but the network was gone anyway */  \
    X(STAYS, "stays", false)                   /* not reached, forbidden to go back */             \
    X(REFUSED, "refused", false)               /* code: the first check that failed */
// clang-format on

#define NODE_STATE_ENUM(name, word, live) NODE_##name,
enum node_state { NODE_STATES(NODE_STATE_ENUM) NODE_STATE_COUNT };
#undef NODE_STATE_ENUM
const char *node_state_word(enum node_state state);
bool node_state_is_live(enum node_state state);

// Milliseconds; 0: the phase did not run (absent on the wire).
struct timings {
    uint64_t commit_ms, confirm_ms, fetch_ms, obtain_ms, switch_ms;
};

struct status {
    uint8_t fleet[32];
    uint8_t node_id[HASH_BYTES];
    uint64_t seq;  // max(last + 1, unix nanoseconds)
    uint64_t time; // unix seconds
    uint8_t nonce[16];
    uint8_t head_hash[HASH_BYTES]; // the floor's, as are epoch and release; zeros if none
    uint64_t epoch, release;
    uint8_t digest[HASH_BYTES];  // the configuration this report is about; zeros: none
    uint8_t applied[HASH_BYTES]; // the configuration that runs; zeros: none
    uint32_t attempt;
    enum node_state state;
    enum code code;                        // CODE_OK is "" on the wire
    struct bytes running, booted, profile; // store paths, may be empty
    uint8_t boot_id[16];
    bool reboot, automatic;
    uint32_t speaks; // highest format version the node understands
    struct timings timings;
    struct bytes log; // at most STATUS_LOG_BYTES_MAX, any bytes
};

void status_encode(const struct status *status, struct buf *out);
MUST_CHECK bool status_decode(struct bytes message, struct status *status, struct err *e); // FORMAT
// Encodes, signs, appends the `signed` message.
void status_sign(const struct status *status, const struct secret_key *key, struct buf *out);
// A `signed` message: LENGTH, FORMAT, NAMESPACE, SIGNER (also when the key is not the node_id's or
// not ed25519), FLEET. Whether the node is in the roster is the caller's question. Bytes are
// borrowed from message.
MUST_CHECK bool status_verify(
    struct bytes message, const uint8_t fleet[32], struct status *status, struct err *e);
