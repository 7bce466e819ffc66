// bento-status as its users meet it: the real program, a real bento-broker, true signatures, a
// repository with a fleet.json.
#define NODES 4
#include "real_broker.h"

#include "bus.h"
#include "message.h"

#include <jansson.h>

#define RUNNING "/nix/store/abcdefgh000000000000000000000000-nixos-system"

// The fleet.json of the scene: node-0 … node-3, node-1 with the tag `edge`.
static void write_repository(const struct scene *s)
{
    char fleet[HASH_HEX_BYTES];
    struct buf nodes = {0}, line = {0};
    hex_encode(s->made->trust.fleet, 32, fleet);
    for (int i = 0; i < NODES; i++) {
        public_key_line(&s->made->nodes[i].key.public, &line);
        buf_printf(&nodes, "%s\"node-%d\": {\"key\": \"%s\", \"tags\": [%s]}", i ? ", " : "", i,
            buf_text(&line), i == 1 ? "\"edge\"" : "");
        buf_clear(&line);
    }
    public_key_line(&s->made->admin.public, &line);
    write_file(s, "fleet.json", 0644,
        "{\"fleet\": \"%s\", \"signers\": [\"%s admin\"], \"broker\": {\"admin\": \"%s\"}, "
        "\"nodes\": {%s}}",
        fleet, buf_text(&line), s->admin, buf_text(&nodes));
    buf_clear(&nodes);
    buf_clear(&line);
}

static int set_up_all(void **state)
{
    set_up(state);
    struct scene *s = *state;
    for (size_t i = 0; i < NODES; i++)
        change_node(s->made, i, 100);
    write_repository(s);
    return 0;
}

static struct made_release *publish_all(
    struct scene *s, const uint8_t *base, uint64_t number, uint64_t expires)
{
    struct err e;
    CLEANUP(remote_closep) struct remote *remote = open_remote(s->admin);
    for (size_t i = 0; i < NODES; i++) {
        uint8_t hash[HASH_BYTES];
        sha256(buf_bytes(&s->made->nodes[i].bundle), hash);
        must(remote_put_blob(remote, hash, buf_bytes(&s->made->nodes[i].bundle), &e), &e);
    }
    struct made_release *release = make_release(s->made, 1, number, expires);
    must(publish(remote, base, release, &e), &e);
    return release;
}

static void deliver(struct scene *s, size_t node, const struct made_release *release,
    enum node_state state, enum code code, const char *log)
{
    struct err e;
    char url[128];
    struct buf request = {0}, reply = {0}, message = {0};
    struct status status = {
        .seq = clock_unix_ns(), .time = clock_unix_s(), .epoch = 1, .speaks = 1};
    status.release = release->head.release;
    status.state = state;
    status.code = code;
    status.running = bytes_of_text(RUNNING);
    status.log = bytes_of_text(log);
    memcpy(status.fleet, s->made->trust.fleet, sizeof status.fleet);
    memcpy(status.node_id, s->made->nodes[node].id, HASH_BYTES);
    memcpy(status.head_hash, release->head_hash, HASH_BYTES);
    memset(status.digest, 'd', HASH_BYTES);
    memset(status.applied, state == NODE_UP_TO_DATE ? 'd' : 'o', HASH_BYTES);
    status_sign(&status, &s->made->nodes[node].key, &message);
    snprintf(url, sizeof url, "ipc://%s/rep.sock", s->folder);
    request_put_open(&request, OP_PUT_STATUS, 1);
    wire_put_bin(&request, buf_bytes(&message));
    must(bus_ask(url, REQ_RECEIVE_BYTES_MAX, buf_bytes(&request), READY_MS, &reply, &e), &e);
    struct wire_in in;
    enum code answer;
    size_t elements;
    must(reply_open(buf_bytes(&reply), &in, &answer, &elements, &e), &e);
    assert_string_equal(code_name(answer), "OK");
    buf_clear(&request);
    buf_clear(&reply);
    buf_clear(&message);
}

// Runs bento-status on the scene's repository with up to four more words.
static struct proc_result ask_status(
    const struct scene *s, const char *a, const char *b, const char *c)
{
    struct err e;
    struct proc_result result;
    const char *argv[] = {STATUS, "-C", s->folder, a, a ? b : NULL, a && b ? c : NULL, NULL};
    must(proc_run(argv, NULL, NULL, bytes_of(NULL, 0), 1 << 20, READY_MS, false, &result, &e), &e);
    return result;
}

static void expect(const struct scene *s, const char *a, const char *b, const char *c, int status,
    const char *const *words)
{
    struct proc_result result = ask_status(s, a, b, c);
    const char *out = buf_text(&result.out), *errors = buf_text(&result.err);
    if (result.status != status)
        fail_msg("exit %d instead of %d\n%s%s", result.status, status, out, errors);
    for (size_t i = 0; words[i]; i++)
        if (!strstr(out, words[i]) && !strstr(errors, words[i]))
            fail_msg("no `%s` in\n%s%s", words[i], out, errors);
    proc_result_clear(&result);
}
#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void no_release_yet_says_what_to_do(void **state)
{
    expect(*state, NULL, NULL, NULL, 2,
        WORDS("No release yet", "bento deploy", "4 machines: 4 new machine"));
}

static void all_up_to_date_is_success(void **state)
{
    struct scene *s = *state;
    struct made_release *r = publish_all(s, nothing, clock_unix_s(), FAR_FUTURE);
    for (size_t i = 0; i < NODES; i++)
        deliver(s, i, r, NODE_UP_TO_DATE, CODE_OK, "");
    expect(s, NULL, NULL, NULL, 0,
        WORDS("4 machines: 4 up to date", "node-3", "unpinned", "abcdefgh 📌", "up to date 💚",
            "(epoch 1)", "expires in"));
    free_release(r);
}

static void newer_release_is_pending(void **state)
{
    struct scene *s = *state;
    struct made_release *r = publish_all(s, nothing, clock_unix_s() - 5, FAR_FUTURE);
    for (size_t i = 0; i < NODES; i++)
        deliver(s, i, r, NODE_UP_TO_DATE, CODE_OK, "");
    struct made_release *next = publish_all(s, r->head_hash, clock_unix_s(), FAR_FUTURE);
    deliver(s, 2, next, NODE_UP_TO_DATE, CODE_OK, "");
    expect(s, NULL, NULL, NULL, 2,
        WORDS("4 machines: 3 rebuild pending, 1 up to date", "rebuild pending 🚩"));
    expect(s, "node-2", NULL, NULL, 0, WORDS("1 machine: 1 up to date"));
    free_release(r);
    free_release(next);
}

static void failing_node_shows_its_code_and_its_last_lines(void **state)
{
    struct scene *s = *state;
    struct made_release *r = publish_all(s, nothing, clock_unix_s(), FAR_FUTURE);
    deliver(s, 1, r, NODE_FAILED, CODE_EVAL, "one\ntwo\nthree\nfour \033[31m\n");
    expect(s, "@edge", NULL, NULL, 3,
        WORDS("failing 🔥 EVAL", "node-1: failing: the evaluation failed; nothing was switched",
            "    | two\n", "    | four \\x1b[31m\n", "next: bento status --log node-1;",
            "1 machine: 1 failing"));
    expect(s, "node-[02]", NULL, NULL, 2, WORDS("2 machines: 2 new machine"));
    expect(s, "--log", "node-1", NULL, 0, WORDS("one\ntwo\nthree\nfour \\x1b[31m\n"));
    free_release(r);
}

static void history_tells_every_report(void **state)
{
    struct scene *s = *state;
    struct made_release *r = publish_all(s, nothing, clock_unix_s(), FAR_FUTURE);
    deliver(s, 0, r, NODE_BUILDING, CODE_OK, "");
    deliver(s, 0, r, NODE_ROLLED_BACK, CODE_CONNECTIVITY, "");
    expect(s, "--history", "node-0", NULL, 0, WORDS("building", "rolled back CONNECTIVITY"));
    expect(s, "--history", "node-1", NULL, 0, WORDS("node-1 has never reported"));
    struct proc_result result = ask_status(s, "--json", "--history", "node-0");
    json_t *list = json_loads(buf_text(&result.out), JSON_REJECT_DUPLICATES, NULL);
    assert_int_equal(json_array_size(list), 2);
    assert_string_equal(
        json_string_value(json_object_get(json_array_get(list, 0), "state")), "rolled-back");
    json_decref(list);
    proc_result_clear(&result);
    free_release(r);
}

static void json_is_json(void **state)
{
    struct scene *s = *state;
    struct made_release *r = publish_all(s, nothing, clock_unix_s(), FAR_FUTURE);
    deliver(s, 3, r, NODE_UP_TO_DATE, CODE_OK, "");
    struct proc_result result = ask_status(s, "--json", "node-3", NULL);
    assert_int_equal(result.status, 0);
    json_t *report = json_loads(buf_text(&result.out), JSON_REJECT_DUPLICATES, NULL);
    json_t *node = json_array_get(json_object_get(report, "nodes"), 0);
    assert_string_equal(json_string_value(json_object_get(node, "state")), "up-to-date");
    assert_string_equal(json_string_value(json_object_get(node, "running")), RUNNING);
    assert_true(json_is_true(json_object_get(node, "applied")));
    json_decref(report);
    proc_result_clear(&result);
    free_release(r);
}

static void release_that_expires_soon_warns(void **state)
{
    struct scene *s = *state;
    uint64_t now_s = clock_unix_s();
    struct made_release *far = publish_all(s, nothing, now_s, now_s + 15 * 86400);
    struct proc_result result = ask_status(s, NULL, NULL, NULL);
    assert_null(strstr(buf_text(&result.out), "warning"));
    proc_result_clear(&result);
    struct made_release *near =
        publish_all(s, far->head_hash, now_s + 1, now_s + 13 * 86400 - 1800);
    expect(s, NULL, NULL, NULL, 2, WORDS("warning", "expires in 12d 23h", "bento deploy"));
    free_release(far);
    free_release(near);
}

static void mistakes_are_told_apart(void **state)
{
    struct scene *s = *state;
    expect(s, "node-9", NULL, NULL, 64, WORDS("node-9", "did you mean"));
    expect(s, "--log", "nod-1", NULL, 64, WORDS("did you mean"));
    expect(s, "--log", "node-1", "node-2", 64, WORDS("one machine"));
    expect(s, "--no-such-option", NULL, NULL, 64, WORDS("--help"));
    expect(s, "--log", "node-1", NULL, 1, WORDS("never reported"));
    end(&s->broker);
    expect(s, NULL, NULL, NULL, 1, WORDS("admin.sock", "bento-broker"));
}

// The program redraws for a report that comes in while it watches, and leaves on SIGTERM.
static void watch_shows_a_report_as_it_comes(void **state)
{
    struct scene *s = *state;
    struct err e;
    struct made_release *r = publish_all(s, nothing, clock_unix_s(), FAR_FUTURE);
    int pipes[2];
    assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
    const char *argv[] = {STATUS, "-C", s->folder, "--watch", NULL};
    struct child child;
    struct proc_spec spec = PROC_SPEC;
    spec.argv = argv;
    spec.out = pipes[1];
    spec.die_with_parent = true;
    must(proc_spawn(&spec, &child.pid, &child.fd, &e), &e);
    close(pipes[1]);
    struct buf seen = {0};
    bool delivered = false;
    for (;;) {
        char piece[4096];
        struct pollfd ready = {.fd = pipes[0], .events = POLLIN};
        assert_true(poll(&ready, 1, READY_MS) > 0);
        ssize_t n = read(pipes[0], piece, sizeof piece);
        assert_true(n > 0);
        buf_append(&seen, piece, (size_t)n);
        const char *text = buf_text(&seen);
        if (!delivered && strstr(text, "4 machines: 4 new machine")) {
            deliver(s, 0, r, NODE_UP_TO_DATE, CODE_OK, "");
            delivered = true;
        }
        if (strstr(text, "4 machines: 3 new machine, 1 up to date"))
            break;
    }
    kill(child.pid, SIGTERM);
    int status;
    assert_int_equal(waitpid(child.pid, &status, 0), child.pid);
    assert_int_equal(proc_status(status), 2);
    close(child.fd);
    close(pipes[0]);
    buf_clear(&seen);
    free_release(r);
}

int main(void)
{
#define WITH_BROKER(test) cmocka_unit_test_setup_teardown(test, set_up_all, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_BROKER(no_release_yet_says_what_to_do),
        WITH_BROKER(all_up_to_date_is_success),
        WITH_BROKER(newer_release_is_pending),
        WITH_BROKER(failing_node_shows_its_code_and_its_last_lines),
        WITH_BROKER(history_tells_every_report),
        WITH_BROKER(json_is_json),
        WITH_BROKER(release_that_expires_soon_warns),
        WITH_BROKER(mistakes_are_told_apart),
        WITH_BROKER(watch_shows_a_report_as_it_comes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
