// What a deployment changes, node by node: what it had in the release before, what it is to have.
// Pure.
#pragma once

#include "draft.h"
#include "parcels.h"
#include "waves.h"

// name, word for people and for JSON
#define CHANGE_KINDS(X)                                                                            \
    X(NEW, "new")             /* its first configuration */                                        \
    X(REBUILD, "rebuild")     /* another system, or nobody knows which */                          \
    X(SYNC, "sync")           /* another configuration that gives the same system */               \
    X(UNCHANGED, "unchanged") /* the ticket it had */                                              \
    X(FAILED, "failed")       /* keeps what it had, because it does not build */                   \
    X(KEPT, "not named")      /* keeps what it had */

#define CHANGE_KIND_ENUM(name, word) CHANGE_##name,
enum change_kind { CHANGE_KINDS(CHANGE_KIND_ENUM) CHANGE_KIND_COUNT };
#undef CHANGE_KIND_ENUM
const char *change_kind_word(enum change_kind kind);

struct change {
    const struct fleet_node *node;
    enum change_kind kind;
    struct entry before, after;  // without a configuration: ct_len 0
    const char *system;          // the new system's store path; NULL: not known here
    const struct parcel *parcel; // how it was built; NULL: it was not
};

struct deployment {
    const struct fleet *fleet;
    size_t count;
    struct change *changes; // one for every node, in the fleet's order
    size_t removed_count;
    struct bytes *removed; // names of nodes that the release before had and the fleet has not
};

// Of a node that was meant: from two entries.
enum change_kind change_kind_of(const struct entry *before, const struct entry *after);
bool change_is_news(enum change_kind kind); // the node gets another ticket

// Borrow from all that they are given. before: the release that is replaced, NULL if there is none
// or nothing of it counts.
void deployment_of_parcels(
    const struct assembly *assembly, const struct release *before, struct deployment *deployment);
// Chosen nodes get back what they had in `old`; those that had nothing there keep what they have,
// and are not chosen any more.
void deployment_of_release(const struct fleet *fleet, bool *chosen, const struct release *old,
    const struct release *before, struct deployment *deployment);
void deployment_clear(struct deployment *deployment);

size_t deployment_count(const struct deployment *deployment, enum change_kind kind);
bool deployment_has_news(const struct deployment *deployment, const bool *members);
// The nodes of the first `waves` waves have what is new, the others what they had. entries: one for
// every node.
void deployment_entries(const struct deployment *deployment, const struct waves *waves,
    size_t wave_count, struct entry *entries);
// They keep what they have after all.
void deployment_hold(struct deployment *deployment, const bool *members);
// "configuration of alpha", "files of hosts/servers": whose blob that is. Appends; false: nobody's.
bool deployment_blob_owner(
    const struct deployment *deployment, const uint8_t hash[HASH_BYTES], struct buf *out);
