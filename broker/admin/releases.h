// The releases that the broker still keeps, and going back to one of them. Each is verified with the
// fleet's trust of today, like any other.
//
// bento-pub --releases --json prints {"releases": [{…}, …]}, newest first:
//
//     release, epoch, expires, fallback_floor, nodes    as signed; nodes: how many
//     new, changed, removed    names, against the release before it; null: that one is not kept any more
#pragma once

#include "change.h"
#include "remote.h"

#include <stdio.h>

struct releases {
    size_t count;
    struct kept_release {
        struct remote_release raw;
        struct release release; // verified
    } * list;                   // newest first
    bool cut;                   // the broker has more, but they do not verify today: why
    struct err why;
};

// From `newest`, which is verified and not in the list, back. FORMAT: the broker's order is none.
MUST_CHECK bool releases_walk(struct remote *remote, const struct trust *trust,
    const struct release *newest, struct releases *releases, struct err *e);
void releases_clear(struct releases *releases);
// The one with that number, also the newest; NULL: not kept.
const struct release *releases_find(
    const struct releases *releases, const struct release *newest, uint64_t number);
// CONFIG: there is none of that number; says which there are.
bool releases_refuse(
    const struct releases *releases, const struct release *newest, uint64_t number, struct err *e);

void releases_print(const struct releases *releases, const struct release *newest);
void releases_print_json(const struct releases *releases, const struct release *newest, FILE *out);

// Nodes do not try again by themselves what they have rolled back: warns of those chosen ones whose
// reports say that they have done so with what they had in `old`.
MUST_CHECK bool releases_warn(struct remote *remote, const struct releases *releases,
    const struct release *newest, const struct release *old, const struct deployment *deployment,
    struct err *e);
