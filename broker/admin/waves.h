// Which hosts get a release first. Pure: a fleet and words come in, an order goes out, and whatever
// is wrong with it is told before anything is built.
//
//     @canary,10%,rest      waves from left to right, each one word:
//                           HOST, a glob, @TAG   those of them that are in no earlier wave
//                           N%                   so many of all chosen hosts, rounded up, out of those
//                                                that are left, by node_id: a fair sample, and the
//                                                same one every time
//                           rest                 all that are left
//
// The machine that the broker runs on (broker.host in fleet.nix) is taken out of all of them and is
// a last wave of its own: it must not become what cuts off everybody else.
#pragma once

#include "fleet.h"

struct wave {
    char *title; // the word, for people
    size_t size;
    bool *members; // in the fleet's order
};

struct waves {
    size_t count;
    struct wave *list;
    size_t fleet_size;
    bool broker_last; // the last one is the broker's machine, because it goes alone
};

// spec NULL: everybody at once, but for the broker's machine. chosen: the hosts that are meant, in
// the fleet's order. USAGE: an unknown word (names the nearest), an empty wave, hosts that are in
// none. CONFIG: broker.host is no node.
MUST_CHECK bool waves_parse(const struct fleet *fleet, const bool *chosen, const char *spec,
    struct waves *waves, struct err *e);
// The last wave goes together with the one before it.
void waves_join_last(struct waves *waves);
// Nobody is in the last wave any more. Its hosts are in none.
void waves_drop_last(struct waves *waves);
void waves_clear(struct waves *waves);
// "alpha, beta and 3 more": at most `max` names of those that are set. Appends.
void name_hosts(const struct fleet *fleet, const bool *set, size_t max, struct buf *out);
