// A small HTTP/1.1 server for a page that is looked at on this machine: loopback only, in the loop,
// one request a connection, bodies never looked at. A connection ends after WEB_CONNECTION_MS,
// whatever its client does, and the oldest one ends when there are too many.
//
// Why not nng's HTTP server: before 1.6 it writes behind its buffer for a path that ends in %41,
// before any of our code sees the request, and every web page can make a browser ask for such a
// path on localhost. No version of it limits connections, their time or their header lines.
#pragma once

#include "bytes.h"
#include "loop.h"

#define WEB_HEAD_BYTES_MAX 8192u
#define WEB_CONNECTIONS_MAX 32u
#define WEB_CONNECTION_MS 5000u

// Borrowed for the call. Fields that were not sent are NULL.
struct web_request {
    const char *method, *path; // as sent: with its query, not decoded
    const char *host, *origin, *fetch_site;
};

struct web_answer {
    unsigned status;
    const char *type;     // of the body
    const char *location; // 303; else NULL
    const char *allow;    // 405: the methods that are; else NULL
    struct buf body;      // cleared by the server, which leaves it out for HEAD
};

// Fills the answer, which comes as a 200 without a body.
typedef void web_fn(void *context, const struct web_request *request, struct web_answer *answer);

struct web;
// Listens on 127.0.0.1, and on ::1 where there is such an address. IO if one of them is taken.
MUST_CHECK struct web *web_open(
    struct loop *loop, uint16_t port, web_fn *fn, void *context, struct err *e);
void web_close(struct web *web); // NULL is fine

// The head of a request, up to and with its empty line; becomes the strings of *request. False
// unless it is strictly HTTP/1.0 or 1.1: CRLF, a path of visible ASCII that begins with /, no field
// continued on another line, none of those above twice.
MUST_CHECK bool web_parse(char *head, size_t len, struct web_request *request);
