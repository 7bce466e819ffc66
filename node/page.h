// The node's page, http://localhost:51337/: its state, the last lines of its log, and a button that
// asks for an update. It is shown to whoever can use this machine, and to nobody else: a web page
// from elsewhere can neither read it (Host: a name of its own for 127.0.0.1 is refused) nor press
// the button (Origin).
//
//     GET /             for people          GET /status.json   for programs
//     GET /log          the log alone       POST /update       the button; answers 303 to /
#pragma once

#include "link.h"
#include "web.h"

struct page;
typedef void page_asked_fn(void *context);

// A port that is taken is a warning, no reason not to run: NULL then, and if there is to be no
// page. asked: the button was pressed, for the first time in five seconds; spool/in/trigger says so
// to bento-apply.
struct page *page_open(struct loop *loop, const struct config *config, const struct spool *spool,
    struct link *link, page_asked_fn *asked, void *context);
void page_close(struct page *page); // NULL is fine

// What an answer is made from.
struct page_facts {
    uint64_t port, now_s;
    struct bytes state; // bento-apply's snapshot, as read
    struct link_view link;
    uint64_t asked_s; // when the button was pressed last; 0: never
};

// Pure. True: an update was asked for.
bool page_answer(
    const struct page_facts *facts, const struct web_request *request, struct web_answer *answer);
