#include "page.h"

#include "fs.h"
#include "log.h"
#include "status.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define ASK_EVERY_MS 5000

// --- who asks ---

// A name that nobody but this machine answers to, with our port: whoever else had a name for
// 127.0.0.1 could read the page with a script of their own (DNS rebinding).
static bool is_ours(const char *authority, uint64_t port)
{
    static const char *const names[] = {"localhost", "127.0.0.1", "[::1]"};
    char ours[32];
    for (size_t i = 0; authority != NULL && i < sizeof names / sizeof names[0]; i++) {
        snprintf(ours, sizeof ours, "%s:%" PRIu64, names[i], port);
        if (strcasecmp(authority, ours) == 0) {
            return true;
        }
    }
    return false;
}

// Browsers say where a form comes from; other programs need not, for no web page can use them. The
// pages of other ports are `same-site` and still not ours.
static bool is_from_us(const struct web_request *request)
{
    static const char scheme[] = "http://";
    if (request->origin != NULL) {
        return strncasecmp(request->origin, scheme, sizeof scheme - 1) == 0 &&
               strcasecmp(request->origin + sizeof scheme - 1, request->host) == 0;
    }
    return request->fetch_site == NULL || strcmp(request->fetch_site, "same-origin") == 0 ||
           strcmp(request->fetch_site, "none") == 0;
}

// --- what there is to show ---

static const char *tunnel_word(enum tunnel_kind tunnel)
{
    switch (tunnel) {
    case TUNNEL_NONE:
        return "none";
    case TUNNEL_SSH:
        return "ssh";
    case TUNNEL_TOR:
        return "tor";
    case TUNNEL_COMMAND:
        return "command";
    }
    return "none";
}

// An empty object if there is nothing yet.
static json_t *state_of(const struct page_facts *facts)
{
    json_t *state = json_loadb((const char *)facts->state.at, facts->state.len, 0, NULL);
    if (!json_is_object(state)) {
        json_decref(state);
        state = json_object();
    }
    return state;
}

static const char *text_of(const json_t *state, const char *key)
{
    const char *text = json_string_value(json_object_get(state, key));
    return text != NULL ? text : "";
}

static uint64_t number_of(const json_t *state, const char *key)
{
    json_int_t number = json_integer_value(json_object_get(state, key));
    return number > 0 ? (uint64_t)number : 0;
}

static const char *sentence_of(const char *word)
{
    static const char *const sentences[NODE_STATE_COUNT] = {
        [NODE_NEW] = "Waits for its first configuration.",
        [NODE_FETCHING] = "An update is on its way: its files are being fetched.",
        [NODE_BUILDING] = "An update is being downloaded or built.",
        [NODE_CHECKING] = "An update is ready; first the connection is checked.",
        [NODE_TRYING] = "The new system is being started.",
        [NODE_CONFIRMING] = "The new system runs, and must prove that it can be reached.",
        [NODE_COMMITTING] = "The new system is good and is being made permanent.",
        [NODE_REVERTING] = "The new system is being taken back.",
        [NODE_UP_TO_DATE] = "Up to date.",
        [NODE_REBOOT_PENDING] = "Up to date after the next restart of this machine.",
        [NODE_DRY] = "The last update was a rehearsal, as asked: nothing was changed.",
        [NODE_FAILED] = "The last update failed. The system before it runs on.",
        [NODE_ROLLED_BACK] = "The last update was taken back. The system before it runs again.",
        [NODE_INCONCLUSIVE] =
            "The last update was taken back while the network was gone; it will be "
            "tried again.",
        [NODE_STAYS] = "The new system cannot be reached, but must not be taken back.",
        [NODE_REFUSED] = "A release was refused: it failed a check.",
    };
    for (unsigned i = 0; i < NODE_STATE_COUNT; i++) {
        if (strcmp(word, node_state_word(i)) == 0) {
            return sentences[i];
        }
    }
    return "Nothing is known yet: bento-apply has not said anything.";
}

// --- HTML ---

static void put_escaped(struct buf *out, const char *text)
{
    for (; *text != '\0'; text++) {
        switch (*text) {
        case '&':
            buf_append_text(out, "&amp;");
            break;
        case '<':
            buf_append_text(out, "&lt;");
            break;
        case '>':
            buf_append_text(out, "&gt;");
            break;
        case '"':
            buf_append_text(out, "&quot;");
            break;
        case '\'':
            buf_append_text(out, "&#39;");
            break;
        default:
            buf_append(out, text, 1);
        }
    }
}

static void put_row(struct buf *out, const char *name, const char *value)
{
    if (value[0] != '\0') {
        buf_printf(out, "<dt>%s<dd>", name);
        put_escaped(out, value);
        buf_append_text(out, "\n");
    }
}

static void put_time(struct buf *out, const char *name, uint64_t at_s, uint64_t now_s)
{
    char date[48];
    struct tm tm;
    time_t at = (time_t)at_s;
    if (at_s == 0 || gmtime_r(&at, &tm) == NULL) {
        return;
    }
    strftime(date, sizeof date, "%Y-%m-%d %H:%M:%S UTC", &tm);
    uint64_t ago = now_s > at_s ? now_s - at_s : 0;
    const char *unit = ago < 120 ? "s" : ago < 7200 ? "min" : ago < 172800 ? "h" : "d";
    uint64_t seconds = ago < 120 ? 1 : ago < 7200 ? 60 : ago < 172800 ? 3600 : 86400;
    buf_printf(out, "<dt>%s<dd>%s (%" PRIu64 " %s ago)\n", name, date, ago / seconds, unit);
}

static const char before[] =
    "<!DOCTYPE html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n"
    "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
    "<style>\n"
    "body { font: 1rem/1.5 sans-serif; max-width: 50rem; margin: 0 auto; padding: 1rem }\n"
    "dd { margin: 0 0 .5rem; overflow-wrap: anywhere }\n"
    "dt { font-weight: bold }\n"
    "pre { overflow-x: auto; padding: .5rem; border: 1px solid }\n"
    "button { font: inherit; padding: .5rem 1rem }\n"
    "</style>\n";

static void put_page(struct buf *out, const struct page_facts *facts, const json_t *state)
{
    const struct link_view *link = &facts->link;
    const char *host = text_of(state, "host"), *log = text_of(state, "log");
    char release[64];
    snprintf(release, sizeof release, "%" PRIu64 " (epoch %" PRIu64 ")",
        number_of(state, "release"), number_of(state, "epoch"));
    buf_append_text(out, before);
    buf_append_text(out, "<title>bento: ");
    put_escaped(out, host);
    buf_append_text(out, "</title>\n<h1>");
    put_escaped(out, host[0] != '\0' ? host : "bento");
    buf_printf(out, "</h1>\n<p>%s\n<dl>\n", sentence_of(text_of(state, "state")));
    put_row(out, "State", text_of(state, "state"));
    put_row(out, "Reason", text_of(state, "code"));
    put_time(out, "Since", number_of(state, "since"), facts->now_s);
    put_row(out, "Newest release", number_of(state, "release") > 0 ? release : "none yet");
    put_row(out, "Running system", text_of(state, "running"));
    put_row(out, "Wanted system", text_of(state, "target"));
    put_row(out, "Restart", json_is_true(json_object_get(state, "reboot")) ? "needed" : "");
    put_row(out, "Broker", link->endpoint);
    put_row(out, "Connection", link->connected ? "up" : "down");
    put_time(out, "Last heard of", link->heard_s, facts->now_s);
    put_time(out, "Last report", number_of(state, "reported"), facts->now_s);
    put_time(out, "Asked for an update", facts->asked_s, facts->now_s);
    buf_append_text(out, "</dl>\n<form method=\"post\" action=\"/update\">"
                         "<button>Ask for an update now</button></form>\n");
    if (log[0] != '\0') {
        buf_append_text(out, "<h2>Log</h2>\n<pre>");
        put_escaped(out, log);
        buf_append_text(out, "</pre>\n");
    }
    buf_append_text(out, "</html>\n");
}

// --- answers ---

static void put_json(struct buf *out, const struct page_facts *facts, json_t *state)
{
    const struct link_view *link = &facts->link;
    json_object_set_new(state, "link",
        json_pack("{s:s, s:s, s:b, s:I}", "endpoint", link->endpoint, "tunnel",
            tunnel_word(link->tunnel), "connected", (int)link->connected, "heard",
            (json_int_t)link->heard_s));
    char *text = json_dumps(state, JSON_INDENT(1));
    if (text != NULL) {
        buf_printf(out, "%s\n", text);
    }
    free(text);
}

static void refuse(struct web_answer *answer, unsigned status, const char *why)
{
    answer->status = status;
    buf_printf(&answer->body, "%s\n", why);
}

enum resource { RESOURCE_PAGE, RESOURCE_JSON, RESOURCE_LOG, RESOURCE_UPDATE, RESOURCE_COUNT };

static enum resource find(const char *path)
{
    static const char *const paths[RESOURCE_COUNT] = {"/", "/status.json", "/log", "/update"};
    enum resource at = 0;
    while (at < RESOURCE_COUNT && strcmp(path, paths[at]) != 0) {
        at++;
    }
    return at;
}

static void show(enum resource resource, const struct page_facts *facts, struct web_answer *answer)
{
    json_t *state = state_of(facts);
    if (resource == RESOURCE_PAGE) {
        answer->type = "text/html; charset=utf-8";
        put_page(&answer->body, facts, state);
    } else if (resource == RESOURCE_JSON) {
        answer->type = "application/json";
        put_json(&answer->body, facts, state);
    } else {
        buf_append_text(&answer->body, text_of(state, "log"));
    }
    json_decref(state);
}

bool page_answer(
    const struct page_facts *facts, const struct web_request *request, struct web_answer *answer)
{
    enum resource resource = find(request->path);
    bool post = resource == RESOURCE_UPDATE;
    if (!is_ours(request->host, facts->port)) {
        refuse(answer, 403, "This page answers to the name localhost only.");
    } else if (resource == RESOURCE_COUNT) {
        refuse(answer, 404, "There is no such page.");
    } else if (post ? strcmp(request->method, "POST") != 0
                    : strcmp(request->method, "GET") != 0 && strcmp(request->method, "HEAD") != 0) {
        answer->allow = post ? "POST" : "GET, HEAD";
        refuse(answer, 405, "This cannot be done here.");
    } else if (post && !is_from_us(request)) {
        refuse(answer, 403, "Only this node's own page may ask for an update.");
    } else if (post) {
        answer->status = 303;
        answer->location = "/";
        return true;
    } else {
        show(resource, facts, answer);
    }
    return false;
}

// --- in bento-node ---

struct page {
    struct web *web;
    const struct config *config;
    const struct spool *spool;
    struct link *link;
    page_asked_fn *asked;
    void *context;
    uint64_t asked_s, asked_ms; // unix, and awake time
};

static void ask(struct page *page)
{
    struct err e;
    uint64_t now_ms = clock_monotonic_ms();
    if (page->asked_s != 0 && now_ms - page->asked_ms < ASK_EVERY_MS) {
        return;
    }
    page->asked_ms = now_ms;
    page->asked_s = clock_unix_s();
    log_info("update asked for by hand");
    if (!fs_replace(page->spool->in, "trigger", (struct bytes){0}, 0600, &e)) {
        log_err("bento-apply cannot be told of it error=\"%s\"", e.text);
    }
    page->asked(page->context);
}

static void on_request(void *context, const struct web_request *request, struct web_answer *answer)
{
    struct page *page = context;
    struct buf state CLEANUP(buf_clear) = {0};
    struct err e;
    if (!fs_read(page->spool->out, "state.json", STATE_BYTES_MAX, &state, &e)) {
        buf_clear(&state); // bento-apply has not been here yet
    }
    struct page_facts facts = {.port = page->config->page_port,
        .now_s = clock_unix_s(),
        .state = buf_bytes(&state),
        .asked_s = page->asked_s};
    link_look(page->link, &facts.link);
    if (page_answer(&facts, request, answer)) {
        ask(page);
    }
}

struct page *page_open(struct loop *loop, const struct config *config, const struct spool *spool,
    struct link *link, page_asked_fn *asked, void *context)
{
    if (config->page_port == 0) {
        return NULL;
    }
    struct err e;
    struct page *page = xcalloc(1, sizeof *page);
    *page = (struct page){
        .config = config, .spool = spool, .link = link, .asked = asked, .context = context};
    page->web = web_open(loop, (uint16_t)config->page_port, on_request, page, &e);
    if (page->web == NULL) {
        log_warning("no local page: set page_port to a free one, or to 0 port=%" PRIu64
                    " error=\"%s\"",
            config->page_port, e.text);
        free(page);
        return NULL;
    }
    return page;
}

void page_close(struct page *page)
{
    if (page != NULL) {
        web_close(page->web);
        free(page);
    }
}
