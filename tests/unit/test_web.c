#include "web.h"

#include "rt_test.h"

static char head[WEB_HEAD_BYTES_MAX];
static struct web_request request;

static bool parse(const char *text)
{
    size_t len = strlen(text);
    assert_true(len <= sizeof head);
    memcpy(head, text, len); // without a NUL behind it
    return web_parse(head, len, &request);
}

#define GOOD                                                                                       \
    "POST /update?a=%41 HTTP/1.1\r\nHost: localhost:51337\r\nhost-name: x\r\nORIGIN:\thttp://a "   \
    "\r\n"                                                                                         \
    "Accept: a\xc3\xa4\r\nEmpty:\r\nSec-Fetch-Site: none\r\n\r\n"

static void fields_are_found_whatever_their_case(void **state)
{
    (void)state;
    assert_true(parse(GOOD));
    assert_string_equal(request.method, "POST");
    assert_string_equal(request.path, "/update?a=%41");
    assert_string_equal(request.host, "localhost:51337");
    assert_string_equal(request.origin, "http://a");
    assert_string_equal(request.fetch_site, "none");
}

static void fields_that_were_not_sent_are_null(void **state)
{
    (void)state;
    assert_true(parse("GET / HTTP/1.0\r\n\r\n"));
    assert_null(request.host);
    assert_null(request.origin);
    assert_null(request.fetch_site);
    assert_true(parse("GET / HTTP/1.0\r\nOrigin:\r\n\r\n"));
    assert_string_equal(request.origin, "");
}

static void every_truncation_is_refused(void **state)
{
    (void)state;
    for (size_t len = 0; len < sizeof GOOD - 1; len++) {
        memcpy(head, GOOD, len);
        assert_false(web_parse(head, len, &request));
    }
    assert_false(parse(GOOD "x"));
}

static void what_is_not_strictly_http_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "\r\n\r\n",
        "GET /\r\n\r\n",
        "GET  / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1 \r\n\r\n",
        "GET / HTTP/2.0\r\n\r\n",
        "get / HTTP/1.1\r\n\r\n",
        " / HTTP/1.1\r\n\r\n",
        "GET index HTTP/1.1\r\n\r\n",
        "GET http://localhost:51337/ HTTP/1.1\r\n\r\n",
        "GET /\x01 HTTP/1.1\r\n\r\n",
        "GET /\xc3\xa4 HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\n\n",
        "GET / HTTP/1.1\r\nHost: a\n\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\r\n\r\n",
        "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        "GET / HTTP/1.1\r\n: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost\r\n\r\n",
        "GET / HTTP/1.1\r\nX: a\r\n Host: b\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (parse(bad[i])) {
            fail_msg("number %zu was taken", i);
        }
    }
    static const char nul[] = "GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n";
    memcpy(head, nul, sizeof nul - 1);
    assert_false(web_parse(head, sizeof nul - 1, &request));
}

// Who looks at the first and who at the last would see two hosts.
static void field_twice_is_refused(void **state)
{
    (void)state;
    assert_false(parse("GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n"));
    assert_false(parse("GET / HTTP/1.1\r\nOrigin: a\r\nOrigin: b\r\n\r\n"));
    assert_false(parse("GET / HTTP/1.1\r\nSec-Fetch-Site: none\r\nSec-Fetch-Site: x\r\n\r\n"));
    assert_true(parse("GET / HTTP/1.1\r\nAccept: a\r\nAccept: b\r\n\r\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_are_found_whatever_their_case),
        cmocka_unit_test(fields_that_were_not_sent_are_null),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(what_is_not_strictly_http_is_refused),
        cmocka_unit_test(field_twice_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
