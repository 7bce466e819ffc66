// signers.json: what `bento signers` has written beside fleet.nix, which is its owner's.
//
//     { "added": [LINE…], "joining": [LINE…], "retired": [LINE…], "epoch": N }
//
// The fleet's signers are those of fleet.nix, the added and the joining ones, without the retired;
// its epoch is the larger of the two. So that no node is ever handed a release that it cannot
// believe, whatever it was given last:
//
// * A key that joins stands in every node's configuration from the next deploy on. Until all nodes
//   have it, it signs along but counts for nothing: releases are signed by settled keys.
// * A key is retired only when all nodes believe enough of the others. With it the epoch goes up by
//   one, which makes void whatever a thief of that key has numbered far ahead. A node follows one
//   epoch at a time, so all must have reached the last one first.
#pragma once

#include "bounds.h"
#include "sshkey.h"

#include <jansson.h>

enum rotation_list { ROTATION_ADDED, ROTATION_JOINING, ROTATION_RETIRED, ROTATION_LISTS };

struct rotation {
    size_t count[ROTATION_LISTS];
    struct rotation_key {
        struct public_key key;
        char *line; // with its comment; owned
    } keys[ROTATION_LISTS][SIGNERS_MAX];
    uint64_t epoch; // 0: fleet.nix says it
};

// An empty text is an empty rotation. CONFIG: what is wrong with the file.
MUST_CHECK bool rotation_parse(struct bytes text, struct rotation *rotation, struct err *e);
void rotation_text(const struct rotation *rotation, struct buf *out);
void rotation_clear(struct rotation *rotation);

bool rotation_has(
    const struct rotation *rotation, enum rotation_list list, const struct public_key *key);
// Moves the key to a list, out of the others. CONFIG: the list is full.
MUST_CHECK bool rotation_put(struct rotation *rotation, enum rotation_list list,
    const struct public_key *key, const char *line, struct err *e);
// What fleet.nix says, as JSON, with what this changes: signers and epoch.
void rotation_merge(const struct rotation *rotation, json_t *fleet);
