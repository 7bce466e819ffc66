// Requests in, replies out: one table says for each operation of message.h who may call it, how
// long it may be, and who handles it. What is not in the table is answered BAD, what does not parse
// is answered with the code of its fault; neither touches anything, and both are counted.
//
// Knows no socket: a request is bytes and an opaque token that goes back with the answer.
// The bodies of requests and replies stand in PROTOCOL.md §operations.
#pragma once

#include "collector.h"
#include "publish.h"

enum who {
    WHO_PUBLIC, // anybody who can reach the REP port: operations 1..4
    WHO_ADMIN,  // the admin socket: all
};

// A page of GET_STATUSES or GET_HISTORY, about.
#define PAGE_BYTES_MAX (4u << 20)

struct inbox {
    struct store *store;
    struct publisher *publisher;
    struct collector *collector;
    answer_fn *answer; // called once a request, from inbox_take() or later from collector_commit()
    uint64_t taken, refused;
    struct log_limit log_limit;
};

void inbox_take(struct inbox *inbox, enum who who, struct bytes message, void *request);
