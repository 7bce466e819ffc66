#include "page.h"

#include "rt_test.h"

#define NOW 1795532587u

static struct web_answer answer;
static bool asked;

static const char state_text[] =
    "{\"version\":1,\"host\":\"<b>&'\\\"\",\"state\":\"rolled-back\",\"code\":\"HEALTH\","
    "\"epoch\":1,\"release\":1795432587,\"running\":\"/nix/store/abc-nixos\",\"reboot\":true,"
    "\"since\":1795532287,\"reported\":1795532580,\"log\":\"</pre><script>alert(1)</script>\\n\"}";

static struct page_facts facts;

static void ask(const char *method, const char *path, const char *host, const char *origin,
    const char *fetch_site)
{
    const struct web_request request = {method, path, host, origin, fetch_site};
    buf_clear(&answer.body);
    answer = (struct web_answer){.status = 200, .type = "text/plain"};
    asked = page_answer(&facts, &request, &answer);
}

static const char *get(const char *path)
{
    ask("GET", path, "localhost:51337", NULL, NULL);
    return buf_text(&answer.body);
}

static int start(void **state)
{
    (void)state;
    facts = (struct page_facts){.port = 51337,
        .now_s = NOW,
        .state = bytes_of_text(state_text),
        .link = {TUNNEL_SSH, "server.example", true, NOW - 7200}};
    return 0;
}

static int end(void **state)
{
    (void)state;
    buf_clear(&answer.body);
    return 0;
}

static void page_says_what_goes_on(void **state)
{
    (void)state;
    const char *page = get("/");
    assert_int_equal(answer.status, 200);
    assert_string_equal(answer.type, "text/html; charset=utf-8");
    assert_contains(page, "The last update was taken back.");
    assert_contains(page, "<dd>HEALTH");
    assert_contains(page, "1795432587 (epoch 1)");
    assert_contains(page, "(5 min ago)");
    assert_contains(page, "(7 s ago)");
    assert_contains(page, "(2 h ago)");
    assert_contains(page, "/nix/store/abc-nixos");
    assert_contains(page, "<dt>Restart<dd>needed");
    assert_contains(page, "server.example");
    assert_contains(page, "<form method=\"post\" action=\"/update\"><button>");
    assert_false(asked);
}

static void nothing_from_outside_becomes_markup(void **state)
{
    (void)state;
    facts.link.endpoint = "<i>";
    const char *page = get("/");
    assert_null(strstr(page, "<script"));
    assert_null(strstr(page, "<b>"));
    assert_null(strstr(page, "<i>"));
    assert_contains(page, "<h1>&lt;b&gt;&amp;&#39;&quot;</h1>");
    assert_contains(page, "&lt;/pre&gt;&lt;script&gt;alert(1)");
}

static void log_is_plain_text(void **state)
{
    (void)state;
    assert_string_equal(get("/log"), "</pre><script>alert(1)</script>\n");
    assert_string_equal(answer.type, "text/plain");
}

static void json_is_the_snapshot_and_the_link(void **state)
{
    (void)state;
    const char *json = get("/status.json");
    assert_string_equal(answer.type, "application/json");
    assert_contains(json, "\"state\": \"rolled-back\"");
    assert_contains(json, "\"release\": 1795432587");
    assert_contains(json, "\"endpoint\": \"server.example\"");
    assert_contains(json, "\"tunnel\": \"ssh\"");
    assert_contains(json, "\"connected\": true");
    assert_contains(json, "\"heard\": 1795525387");
}

// No snapshot yet, half a one, or one of another form.
static void without_a_snapshot_it_says_so(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "", "{", "[]", "7", "{\"state\": 7, \"log\": {}}", "{\"state\": \"of a later version\"}"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        facts.state = bytes_of_text(texts[i]);
        assert_contains(get("/"), "Nothing is known yet");
        assert_contains(get("/status.json"), "\"connected\": true");
        assert_string_equal(get("/log"), "");
    }
}

static void other_paths_and_methods_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *method, *path;
        unsigned status;
    } table[] = {
        {"GET", "/", 200},
        {"HEAD", "/", 200},
        {"HEAD", "/log", 200},
        {"POST", "/", 405},
        {"DELETE", "/status.json", 405},
        {"GET", "/update", 405},
        {"HEAD", "/update", 405},
        {"OPTIONS", "/update", 405},
        {"GET", "/index.html", 404},
        {"GET", "//", 404},
        {"GET", "/?", 404},
        {"GET", "/%6cog", 404},
        {"GET", "/../log", 404},
        {"POST", "/update/", 404},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        ask(table[i].method, table[i].path, "localhost:51337", NULL, NULL);
        assert_int_equal(answer.status, table[i].status);
        assert_int_equal(answer.allow != NULL, table[i].status == 405);
        assert_false(asked);
    }
}

static void only_names_of_this_machine_are_answered(void **state)
{
    (void)state;
    static const char *const good[] = {
        "localhost:51337", "LocalHost:51337", "127.0.0.1:51337", "[::1]:51337"};
    static const char *const bad[] = {NULL, "", "localhost", "localhost:51338", "localhost:513370",
        "localhost:51337.", "localhost.:51337", "127.0.0.2:51337", "0.0.0.0:51337", "::1:51337",
        "[::1]", "localhost:51337, evil.example", "evil.example:51337",
        "localhost:51337@evil.example", "localhost.evil.example:51337"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        ask("GET", "/", good[i], NULL, NULL);
        assert_int_equal(answer.status, 200);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        ask("GET", "/", bad[i], NULL, NULL);
        assert_int_equal(answer.status, 403);
        ask("POST", "/update", bad[i], NULL, NULL);
        assert_int_equal(answer.status, 403);
        assert_false(asked);
        assert_null(strstr(buf_text(&answer.body), "rolled"));
    }
}

static void only_our_own_page_presses_the_button(void **state)
{
    (void)state;
    static const struct {
        const char *origin, *site;
        bool taken;
    } table[] = {
        {NULL, NULL, true},
        {NULL, "none", true},
        {NULL, "same-origin", true},
        {NULL, "same-site", false},
        {NULL, "cross-site", false},
        {NULL, "", false},
        {"http://localhost:51337", NULL, true},
        {"http://localhost:51337", "same-origin", true},
        {"HTTP://LOCALHOST:51337", NULL, true},
        {"http://127.0.0.1:51337", NULL, false}, // not the host that was asked
        {"https://localhost:51337", NULL, false},
        {"http://localhost:8080", NULL, false},
        {"http://localhost", NULL, false},
        {"http://localhost:51337.evil.example", NULL, false},
        {"http://evil.example", NULL, false},
        {"http://evil.example", "same-origin", false},
        {"http:", NULL, false},
        {"null", NULL, false},
        {"", NULL, false},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        ask("POST", "/update", "localhost:51337", table[i].origin, table[i].site);
        assert_int_equal(asked, table[i].taken);
        assert_int_equal(answer.status, table[i].taken ? 303 : 403);
    }
    ask("POST", "/update", "[::1]:51337", "http://[::1]:51337", NULL);
    assert_true(asked);
    assert_string_equal(answer.location, "/");
}

#define with_facts(test) cmocka_unit_test_setup_teardown(test, start, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_facts(page_says_what_goes_on),
        with_facts(nothing_from_outside_becomes_markup),
        with_facts(log_is_plain_text),
        with_facts(json_is_the_snapshot_and_the_link),
        with_facts(without_a_snapshot_it_says_so),
        with_facts(other_paths_and_methods_are_refused),
        with_facts(only_names_of_this_machine_are_answered),
        with_facts(only_our_own_page_presses_the_button),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
