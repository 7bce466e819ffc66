#include "remote.h"

#include "bus.h"
#include "fs.h"
#include "message.h"
#include "place.h"
#include "proc.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOGIN_MS 180000 // people type passphrases, tokens wait for a touch
#define FIRST_ASK_MS 10000
#define LISTEN_MS 2000   // between bind and listen: far too long
#define ANSWER_MS 120000 // and a millisecond more for every 32 bytes that go out
#define ENDING_MS 5000
#define MISSING_BATCH 4096
#define RESTARTS_MAX 3
#define REPLY_TEXT_MAX 480

struct remote {
    char *where, *admin_url, *events_url;
    char *folder; // NULL: the sockets are on this machine
    pid_t ssh;    // 0: none
    int ssh_fd;   // its pidfd
};

// ".../admin.sock" → ".../events.sock"
static char *events_beside(const char *admin)
{
    struct buf path = {0};
    buf_append(&path, admin, (size_t)(strrchr(admin, '/') - admin));
    buf_append_text(&path, "/events.sock");
    char *copy = xstrdup(buf_text(&path));
    buf_clear(&path);
    return copy;
}

static char *joined(const char *a, const char *b)
{
    struct buf text = {0};
    buf_printf(&text, "%s%s", a, b);
    char *copy = xstrdup(buf_text(&text));
    buf_clear(&text);
    return copy;
}

static void use_sockets(struct remote *r, const char *admin)
{
    char *events = events_beside(admin);
    r->admin_url = joined("ipc://", admin);
    r->events_url = joined("ipc://", events);
    free(events);
}

static bool open_local(struct remote *r, struct err *e)
{
    if (strlen(r->where) > SOCKET_PATH_MAX)
        return err_set(e, CODE_CONFIG, "%s: longer than a socket's path may be", r->where);
    // Not by connecting: nng 1.5 stops accepting on a Unix socket when a peer leaves before the
    // handshake is over.
    bool there = access(r->where, R_OK | W_OK) == 0;
    if (!there && errno == EACCES)
        return err_set(
            e, CODE_UNREACHABLE, "%s: not allowed: you must be in the group bento-admin", r->where);
    if (!there)
        return err_set(
            e, CODE_UNREACHABLE, "%s: %m: is bento-broker running on this machine?", r->where);
    use_sockets(r, r->where);
    return true;
}

// A folder that only we can enter, short enough for a socket's path.
static bool make_folder(struct remote *r, struct err *e)
{
    const char *base[] = {getenv("XDG_RUNTIME_DIR"), getenv("TMPDIR"), "/tmp"};
    for (size_t i = 0; i < sizeof base / sizeof base[0]; i++) {
        if (!base[i] || !place_socket_is_clean(base[i]) || strlen(base[i]) > 64)
            continue;
        char *folder = joined(base[i], "/bento-XXXXXX");
        if (mkdtemp(folder)) {
            r->folder = folder;
            return true;
        }
        free(folder);
    }
    return err_set(e, CODE_IO, "no folder for the forwarded sockets: %m (set TMPDIR)");
}

static bool ssh_start(struct remote *r, const struct place *place, struct err *e)
{
    char *events = events_beside(place->socket);
    struct buf admin_forward = {0}, events_forward = {0};
    buf_printf(&admin_forward, "%s/admin.sock:%s", r->folder, place->socket);
    buf_printf(&events_forward, "%s/events.sock:%s", r->folder, events);
    free(events);
    // A connection of our own: one that is shared with other sessions would keep our forwards when
    // we are gone.
    const char *argv[32] = {"ssh", "-N", "-T", "-o", "ExitOnForwardFailure=yes", "-o",
        "ControlPath=none", "-o", "ConnectTimeout=30", "-o", "ServerAliveInterval=15", "-L",
        buf_text(&admin_forward), "-L", buf_text(&events_forward)};
    size_t n = 15;
    if (place->port) {
        argv[n++] = "-p";
        argv[n++] = place->port;
    }
    argv[n++] = "--";
    argv[n++] = place->destination;
    struct proc_spec spec = PROC_SPEC;
    spec.argv = argv;
    spec.err = STDERR_FILENO;
    spec.die_with_parent = true; // and no session of its own: prompts need our terminal
    bool ok = proc_spawn(&spec, &r->ssh, &r->ssh_fd, e);
    buf_clear(&admin_forward);
    buf_clear(&events_forward);
    return ok;
}

bool remote_is_gone(const struct remote *remote)
{
    struct pollfd fd = {.fd = remote->ssh_fd, .events = POLLIN};
    return remote->ssh > 0 && poll(&fd, 1, 0) > 0;
}

static bool sockets_are_there(const struct remote *r)
{
    char *admin = joined(r->folder, "/admin.sock"), *events = joined(r->folder, "/events.sock");
    bool there = fs_exists(AT_FDCWD, admin) && fs_exists(AT_FDCWD, events);
    free(admin);
    free(events);
    return there;
}

// Until ssh has made both sockets, which it does after the login.
static bool ssh_wait(struct remote *r, const char *destination, struct err *e)
{
    CLEANUP_FD watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (watch < 0 || inotify_add_watch(watch, r->folder, IN_CREATE) < 0)
        return err_set(e, CODE_IO, "inotify: %m");
    uint64_t deadline_ms = clock_monotonic_ms() + LOGIN_MS;
    while (!sockets_are_there(r)) {
        uint64_t now_ms = clock_monotonic_ms();
        if (now_ms >= deadline_ms)
            return err_set(e, CODE_UNREACHABLE, "ssh to %s: no connection within %d s", destination,
                LOGIN_MS / 1000);
        struct pollfd fds[] = {
            {.fd = watch, .events = POLLIN}, {.fd = r->ssh_fd, .events = POLLIN}};
        if (poll(fds, 2, (int)(deadline_ms - now_ms)) < 0 && errno != EINTR)
            return err_set(e, CODE_IO, "poll: %m");
        if (fds[1].revents)
            return err_set(e, CODE_UNREACHABLE,
                "ssh to %s ended before it forwarded anything: `ssh %s true` should say why",
                destination, destination);
        char events[4096];
        while (fds[0].revents && read(watch, events, sizeof events) > 0)
            ;
    }
    return true;
}

// ssh listens at once; whether the broker is behind it shows only when something is asked.
static bool first_ask(struct remote *r, const struct place *place, struct err *e)
{
    struct buf request = {0}, reply = {0};
    struct err why;
    uint64_t deadline_ms = clock_monotonic_ms() + LISTEN_MS;
    request_put_open(&request, OP_GET_HEAD, 0);
    bool answered;
    for (;;) {
        answered = bus_ask(
            r->admin_url, ADMIN_RECEIVE_BYTES_MAX, buf_bytes(&request), FIRST_ASK_MS, &reply, &why);
        // Refused at once is what happens between a socket's bind and its listen, which no event
        // tells apart.
        if (answered || clock_monotonic_ms() >= deadline_ms || why.code != CODE_UNREACHABLE)
            break;
        struct pollfd ended = {.fd = r->ssh_fd, .events = POLLIN};
        if (poll(&ended, 1, 50) > 0)
            break;
    }
    buf_clear(&request);
    buf_clear(&reply);
    return answered || err_set(e, CODE_UNREACHABLE,
                           "ssh works, but no broker answers at %s on %s: is bento-broker running "
                           "there, and are you in "
                           "its group bento-admin?",
                           place->socket, place->destination);
}

static bool open_ssh(struct remote *r, struct err *e)
{
    struct place place;
    if (!place_parse(r->where, &place, e))
        return false;
    bool ok = make_folder(r, e) && ssh_start(r, &place, e) && ssh_wait(r, place.destination, e);
    if (ok) {
        char *admin = joined(r->folder, "/admin.sock");
        use_sockets(r, admin);
        free(admin);
        ok = first_ask(r, &place, e);
    }
    place_clear(&place);
    return ok;
}

bool remote_open(const char *where, struct remote **remote, struct err *e)
{
    struct remote *r = xcalloc(1, sizeof *r);
    r->where = xstrdup(where);
    r->ssh_fd = -1;
    bool ok;
    if (strncmp(where, "ssh://", strlen("ssh://")) == 0)
        ok = open_ssh(r, e);
    else if (where[0] == '/')
        ok = open_local(r, e);
    else
        ok = err_set(e, CODE_CONFIG,
            "broker.admin is `%s`: it must be ssh://[user@]host or the path of admin.sock", where);
    if (!ok) {
        remote_close(r);
        return false;
    }
    *remote = r;
    return true;
}

static void ssh_end(struct remote *r)
{
    kill(r->ssh, SIGTERM); // not reaped yet, so the number is still its own
    struct pollfd fd = {.fd = r->ssh_fd, .events = POLLIN};
    int n;
    do
        n = poll(&fd, 1, ENDING_MS);
    while (n < 0 && errno == EINTR);
    if (n <= 0)
        kill(r->ssh, SIGKILL);
    proc_wait(r->ssh);
    close(r->ssh_fd);
}

void remote_close(struct remote *r)
{
    if (!r)
        return;
    if (r->ssh > 0)
        ssh_end(r);
    struct err ignored; // a folder that stays behind is empty and private: not worth a word
    if (r->folder && !fs_remove_tree(AT_FDCWD, r->folder, &ignored))
        rmdir(r->folder);
    free(r->folder);
    free(r->where);
    free(r->admin_url);
    free(r->events_url);
    free(r);
}

void remote_closep(struct remote **remote)
{
    remote_close(*remote);
    *remote = NULL;
}

const char *remote_events_url(const struct remote *remote)
{
    return remote->events_url;
}

// One question and the opened reply; *in and what is read from it is borrowed from *reply.
struct answer {
    struct buf raw;
    struct wire_in in;
    enum code code;
    size_t elements;
};

static bool ask(
    struct remote *r, struct buf *request, enum op op, struct answer *answer, struct err *e)
{
    *answer = (struct answer){0};
    int timeout_ms = ANSWER_MS + (int)(request->len / 32);
    bool ok = bus_ask(
        r->admin_url, ADMIN_RECEIVE_BYTES_MAX, buf_bytes(request), timeout_ms, &answer->raw, e);
    buf_clear(request);
    if (!ok && (remote_is_gone(r) || (r->ssh > 0 && e->code == CODE_UNREACHABLE)))
        return err_set(e, CODE_UNREACHABLE,
            "lost the connection to %s: run again, an upload goes on where it stopped", r->where);
    if (!ok)
        return err_wrap(e, "broker %s", r->where);
    if (!reply_open(buf_bytes(&answer->raw), &answer->in, &answer->code, &answer->elements, e)) {
        buf_clear(&answer->raw);
        return err_wrap(e, "the broker's answer to %s", op_name(op));
    }
    return true;
}

// What the broker answers when it does not do as asked: REFUSED code, text, or a bare code.
static bool refusal(struct answer *answer, enum op op, struct err *e)
{
    struct wire_in *in = &answer->in;
    if (answer->code == CODE_REFUSED && answer->elements == 2) {
        struct bytes name = wire_str(in, REPLY_TEXT_MAX), text = wire_str(in, REPLY_TEXT_MAX);
        enum code code = CODE_REFUSED;
        wire_require(
            in, in->fault || code_parse((const char *)name.at, name.len, &code), "unknown code");
        if (!wire_end(in, "the broker's refusal", e))
            return false;
        return err_set(e, code, "the broker refused: %.*s", (int)text.len, (const char *)text.at);
    }
    if (answer->code == CODE_OK)
        return err_set(e, CODE_FORMAT, "the broker's answer to %s has %zu parts", op_name(op),
            answer->elements);
    if (answer->code == CODE_BAD)
        return err_set(
            e, CODE_BAD, "the broker does not know %s: it is of another version", op_name(op));
    return err_set(e, answer->code, "the broker answered %s to %s: %s", code_name(answer->code),
        op_name(op), code_when(answer->code));
}

static bool expect_ok(struct answer *answer, enum op op, size_t elements, struct err *e)
{
    if (answer->code == CODE_OK && answer->elements == elements)
        return true;
    refusal(answer, op, e);
    buf_clear(&answer->raw);
    return false;
}

static bool judge(struct answer *answer, enum op op, struct err *e)
{
    return wire_end(&answer->in, "answer", e) ||
           err_wrap(e, "the broker's answer to %s", op_name(op));
}

static bool ask_release(struct remote *remote, struct buf *request, enum op op,
    struct remote_release *release, struct err *e)
{
    struct answer answer;
    if (!ask(remote, request, op, &answer, e))
        return false;
    struct remote_release r = {.present = answer.code != CODE_NONE, .raw = answer.raw};
    if (r.present) {
        if (!expect_ok(&answer, op, 3, e))
            return false;
        r.envelope = wire_bin(&answer.in, 1, ENVELOPE_BYTES_MAX);
        r.roster = wire_bin(&answer.in, 1, ROSTER_BYTES_MAX);
        r.ticket_count = wire_array(&answer.in, 1, TICKETS_MAX);
        // Two bytes of header and one of content at least: a length that the message cannot hold
        // allocates nothing.
        wire_require(
            &answer.in, r.ticket_count <= answer.in.rest.len / 3, "more tickets than bytes");
        if (answer.in.fault)
            r.ticket_count = 0;
        r.tickets = xcalloc(r.ticket_count + 1, sizeof *r.tickets);
        for (size_t i = 0; i < r.ticket_count; i++)
            r.tickets[i] = wire_bin(&answer.in, 1, PROVEN_BYTES_MAX);
    }
    if (!judge(&answer, op, e)) {
        remote_release_clear(&r);
        return false;
    }
    *release = r;
    return true;
}

bool remote_get_release(struct remote *remote, struct remote_release *release, struct err *e)
{
    struct buf request = {0};
    request_put_open(&request, OP_GET_RELEASE, 0);
    return ask_release(remote, &request, OP_GET_RELEASE, release, e);
}

bool remote_get_earlier(struct remote *remote, const uint8_t head_hash[HASH_BYTES],
    struct remote_release *release, struct err *e)
{
    struct buf request = {0};
    request_put_open(&request, OP_GET_EARLIER, 1);
    wire_put_hash(&request, head_hash);
    return ask_release(remote, &request, OP_GET_EARLIER, release, e);
}

void remote_release_clear(struct remote_release *release)
{
    free(release->tickets);
    buf_clear(&release->raw);
    *release = (struct remote_release){0};
}

// Sets missing[i] for the hashes of one answer; *from remembers the last hit, since answers usually
// keep our order.
static bool mark_missing(
    const merkle_hash *hashes, size_t count, const uint8_t *hash, size_t *from, bool *missing)
{
    for (size_t k = 0; k < count; k++) {
        size_t i = (*from + k) % count;
        if (memcmp(hashes[i], hash, HASH_BYTES) == 0) {
            missing[i] = true;
            *from = i;
            return true;
        }
    }
    return false;
}

static bool missing_batch(
    struct remote *remote, const merkle_hash *hashes, size_t count, bool *missing, struct err *e)
{
    struct buf request = {0};
    request_put_open(&request, OP_MISSING_BLOBS, 1);
    wire_put_array(&request, count);
    for (size_t i = 0; i < count; i++)
        wire_put_hash(&request, hashes[i]);
    struct answer answer;
    if (!ask(remote, &request, OP_MISSING_BLOBS, &answer, e) ||
        !expect_ok(&answer, OP_MISSING_BLOBS, 1, e))
        return false;
    size_t n = wire_array(&answer.in, 0, count), from = 0;
    for (size_t i = 0; i < n && !answer.in.fault; i++) {
        struct bytes hash = wire_bin(&answer.in, HASH_BYTES, HASH_BYTES);
        wire_require(&answer.in,
            answer.in.fault || mark_missing(hashes, count, hash.at, &from, missing),
            "a hash that nobody asked for");
    }
    bool ok = judge(&answer, OP_MISSING_BLOBS, e);
    buf_clear(&answer.raw);
    return ok;
}

bool remote_missing_blobs(
    struct remote *remote, const merkle_hash *hashes, size_t count, bool *missing, struct err *e)
{
    bool *found = xcalloc(count + 1, sizeof *found);
    bool ok = true;
    for (size_t i = 0; ok && i < count; i += MISSING_BATCH) {
        size_t n = count - i < MISSING_BATCH ? count - i : MISSING_BATCH;
        ok = missing_batch(remote, hashes + i, n, found + i, e);
    }
    if (ok && count)
        memcpy(missing, found, count * sizeof *found);
    free(found);
    return ok;
}

static bool put_chunk(struct remote *remote, const uint8_t *hash, struct bytes blob, size_t offset,
    uint64_t *have, struct err *e)
{
    size_t n = blob.len - offset < CHUNK_BYTES_MAX ? blob.len - offset : CHUNK_BYTES_MAX;
    struct buf request = {0};
    request_put_open(&request, OP_PUT_BLOB, 4);
    wire_put_hash(&request, hash);
    wire_put_u64(&request, blob.len);
    wire_put_u64(&request, offset);
    wire_put_bin(&request, bytes_of(blob.at + offset, n));
    struct answer answer;
    if (!ask(remote, &request, OP_PUT_BLOB, &answer, e) || !expect_ok(&answer, OP_PUT_BLOB, 1, e))
        return false;
    *have = wire_u64(&answer.in, blob.len);
    bool ok = judge(&answer, OP_PUT_BLOB, e);
    buf_clear(&answer.raw);
    return ok;
}

bool remote_put_blob(
    struct remote *remote, const uint8_t hash[HASH_BYTES], struct bytes blob, struct err *e)
{
    // Whatever we send, the answer is how much the broker holds: the first one tells where to go
    // on, one that goes back that the broker forgot, which may happen now and then but not for
    // ever.
    uint64_t offset = 0;
    unsigned restarts = 0;
    while (offset < blob.len) {
        uint64_t have;
        if (!put_chunk(remote, hash, blob, (size_t)offset, &have, e))
            return false;
        if (have <= offset && ++restarts > RESTARTS_MAX)
            return err_set(e, CODE_REFUSED,
                "the broker does not keep what is uploaded (%" PRIu64 " of %zu bytes)", have,
                blob.len);
        offset = have;
    }
    return true;
}

bool remote_publish(struct remote *remote, const uint8_t base[HASH_BYTES], struct bytes envelope,
    struct bytes roster, const struct bytes *tickets, size_t ticket_count, struct err *e)
{
    struct buf request = {0};
    request_put_open(&request, OP_PUBLISH, 4);
    wire_put_hash(&request, base);
    wire_put_bin(&request, envelope);
    wire_put_bin(&request, roster);
    wire_put_array(&request, ticket_count);
    for (size_t i = 0; i < ticket_count; i++)
        wire_put_bin(&request, tickets[i]);
    struct answer answer;
    if (!ask(remote, &request, OP_PUBLISH, &answer, e)) {
        if (e->code == CODE_TIMEOUT)
            return err_wrap(
                e, "no answer, so the release may or may not be out: look at bento-status");
        return false;
    }
    bool ok = false;
    if (answer.code == CODE_STALE && answer.elements == 1) {
        struct bytes newest = wire_bin(&answer.in, 1, ENVELOPE_BYTES_MAX);
        if (judge(&answer, OP_PUBLISH, e)) {
            // Ours is the newest: a request that was delivered twice, and the first one counted.
            ok = bytes_equal(newest, envelope) ||
                 err_set(e, CODE_STALE,
                     "somebody else published in the meantime: look at it and deploy again");
        }
    } else if (answer.code == CODE_OK && answer.elements == 0) {
        ok = judge(&answer, OP_PUBLISH, e);
    } else {
        refusal(&answer, OP_PUBLISH, e);
    }
    buf_clear(&answer.raw);
    return ok;
}

// The page joins *s, which owns it from now on.
static void take_page(struct remote_statuses *s, struct buf page)
{
    struct buf *pages = xcalloc(s->page_count + 1, sizeof *pages);
    if (s->page_count)
        memcpy(pages, s->pages, s->page_count * sizeof *pages);
    free(s->pages);
    pages[s->page_count++] = page;
    s->pages = pages;
}

static struct remote_status *make_room(struct remote_statuses *s, size_t more)
{
    struct remote_status *list = xcalloc(s->count + more + 1, sizeof *list);
    if (s->count)
        memcpy(list, s->list, s->count * sizeof *list);
    free(s->list);
    s->list = list;
    return list + s->count;
}

void remote_statuses_clear(struct remote_statuses *statuses)
{
    for (size_t i = 0; i < statuses->page_count; i++)
        buf_clear(&statuses->pages[i]);
    free(statuses->pages);
    free(statuses->list);
    *statuses = (struct remote_statuses){0};
}

// Number of entries that the page can hold, each of at least `least` bytes.
static size_t entry_count(struct wire_in *in, size_t least)
{
    size_t n = wire_array(in, 0, TICKETS_MAX);
    wire_require(in, n <= in->rest.len / least, "more entries than bytes");
    return in->fault ? 0 : n;
}

static bool statuses_page(
    struct remote *remote, struct remote_statuses *s, bool *more, struct err *e)
{
    static const uint8_t start[HASH_BYTES];
    const uint8_t *after = s->count ? s->list[s->count - 1].node_id : start;
    struct buf request = {0};
    request_put_open(&request, OP_GET_STATUSES, 1);
    wire_put_hash(&request, after);
    struct answer answer;
    if (!ask(remote, &request, OP_GET_STATUSES, &answer, e) ||
        !expect_ok(&answer, OP_GET_STATUSES, 2, e))
        return false;
    struct wire_in *in = &answer.in;
    take_page(s, answer.raw);
    *more = wire_bool(in);
    size_t n = entry_count(in, HASH_BYTES + 5);
    struct remote_status *list = make_room(s, n);
    for (size_t i = 0; i < n && !in->fault; i++) {
        wire_array(in, 3, 3);
        wire_bin_copy(in, list[i].node_id, HASH_BYTES);
        list[i].received_s = wire_u64(in, UINT64_MAX);
        list[i].signed_message = wire_bin(in, 0, STATUS_BYTES_MAX);
        const uint8_t *previous = s->count ? s->list[s->count - 1].node_id : start;
        wire_require(in, in->fault || memcmp(previous, list[i].node_id, HASH_BYTES) < 0,
            "node_ids do not ascend");
        s->count++;
    }
    wire_require(in, in->fault || n > 0 || !*more, "an empty page that is not the last");
    return judge(&answer, OP_GET_STATUSES, e);
}

bool remote_get_statuses(struct remote *remote, struct remote_statuses *statuses, struct err *e)
{
    struct remote_statuses s = {0};
    bool more = true;
    while (more)
        if (!statuses_page(remote, &s, &more, e)) {
            remote_statuses_clear(&s);
            return false;
        }
    *statuses = s;
    return true;
}

// The number of a stored status, to ask for those before it. Not verified: a broker that lies here
// only shortens its own answer. UINT64_MAX if the bytes are no status at all.
static uint64_t seq_of(struct bytes message)
{
    struct wire_in in = wire_in(message);
    wire_open(&in, 4, "bento-signed");
    struct bytes body = wire_bin(&in, 0, STATUS_BYTES_MAX);
    struct status status;
    struct err ignored;
    return !in.fault && status_decode(body, &status, &ignored) ? status.seq : UINT64_MAX;
}

static bool history_page(struct remote *remote, const uint8_t *node_id, size_t max,
    struct remote_statuses *s, uint64_t *before, bool *more, struct err *e)
{
    struct buf request = {0};
    request_put_open(&request, OP_GET_HISTORY, 2);
    wire_put_hash(&request, node_id);
    wire_put_u64(&request, *before);
    struct answer answer;
    if (!ask(remote, &request, OP_GET_HISTORY, &answer, e) ||
        !expect_ok(&answer, OP_GET_HISTORY, 2, e))
        return false;
    struct wire_in *in = &answer.in;
    take_page(s, answer.raw);
    *more = wire_bool(in);
    size_t n = entry_count(in, 4);
    struct remote_status *list = make_room(s, n);
    uint64_t lowest = *before;
    for (size_t i = 0; i < n && !in->fault; i++) {
        wire_array(in, 2, 2);
        memcpy(list[i].node_id, node_id, HASH_BYTES);
        list[i].received_s = wire_u64(in, UINT64_MAX);
        list[i].signed_message = wire_bin(in, 0, STATUS_BYTES_MAX);
        uint64_t seq = seq_of(list[i].signed_message);
        lowest = seq < lowest ? seq : lowest;
        s->count += s->count < max;
    }
    // A page that leads nowhere (bytes that are no status) ends the walk instead of repeating it
    // for ever.
    *more = *more && s->count < max && lowest < *before;
    *before = lowest;
    return judge(&answer, OP_GET_HISTORY, e);
}

bool remote_get_history(struct remote *remote, const uint8_t node_id[HASH_BYTES], size_t max,
    struct remote_statuses *statuses, struct err *e)
{
    struct remote_statuses s = {0};
    uint64_t before = UINT64_MAX;
    bool more = true;
    while (more)
        if (!history_page(remote, node_id, max, &s, &before, &more, e)) {
            remote_statuses_clear(&s);
            return false;
        }
    *statuses = s;
    return true;
}
