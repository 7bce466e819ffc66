// What a deployment would do, for people and for programs, before anything is signed or sent.
//
// bento-pub --plan --json prints:
//
//     {"nodes": [{…}, …], "removed": ["gamma"], "blobs": [{…}, …], "bytes": 412, "heads": [{…}, …]}
//
// nodes, one for each node of the fleet:
//     name
//     change      "new", "rebuild", "sync", "unchanged", "failed" or "not named": CHANGE_KINDS
//     from, to    expected store path in the release before and in the new one; null: none, or nobody
//                 can know it
//     reboot      true, false; null: cannot be told here
//     wave        1 for those that get it first; null: it changes nothing for this node
//     error       why it failed; else null
// removed         names of nodes that the release before had
// blobs           what the broker misses: hash, bytes (null: not here either), for (whose it is)
// bytes           of all of them
// heads           what would be signed, one a wave: hosts, fleet, epoch, release, expires,
//                 fallback_floor, tickets, root, roster. Number, expiry and nonce are chosen again when
//                 it is signed.
#pragma once

#include "upload.h"

#include <stdio.h>

enum reboot { REBOOT_NO, REBOOT_LIKELY, REBOOT_UNKNOWN };

// Whether a node that booted `booted` (NULL: nobody knows) restarts for `system`: kernel, initrd and
// kernel-modules, as far as these paths are in this machine's store. `before` stands in for a booted
// system that is not. Looks at the links, nothing else.
enum reboot reboot_of(const char *system, const char *booted, const char *before);

struct plan {
    const struct deployment *deployment;
    const struct waves *waves;
    const struct draft *drafts; // one a wave
    const struct missing *missing;
    const enum reboot *reboots; // one a node
    int name_width;
};
// Asks for the newest statuses, and fills one a node.
MUST_CHECK bool plan_reboots(struct remote *remote, const struct deployment *deployment,
    enum reboot *reboots, struct err *e);
void plan_print(const struct plan *plan);
void plan_print_json(const struct plan *plan, FILE *out);

// All that is signed, in two lines.
void plan_print_head(const struct head *head);
// "2 rebuild, 1 unchanged". Appends.
void plan_total(const struct deployment *deployment, struct buf *out);
// "412 B", "2.7 kB". Room for 32.
void bytes_text(uint64_t bytes, char text[32]);
