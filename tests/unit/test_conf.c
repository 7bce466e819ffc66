#include "conf.h"

#include "rt_test.h"

static struct err e;

static struct conf *parsed(const char *text)
{
    struct conf *conf = conf_parse(bytes_of_text(text), "node.json", &e);
    MUST(conf != NULL);
    return conf;
}

static void refused(const char *text, const char *part)
{
    struct conf *conf = conf_parse(bytes_of_text(text), "node.json", &e);
    MUST_FAIL(conf != NULL, CODE_CONFIG);
    assert_contains(e.text, "node.json");
    assert_contains(e.text, part);
}

static void every_kind_of_value_is_read(void **state)
{
    (void)state;
    struct conf *conf CLEANUP(conf_freep) =
        parsed("{\"text\": \"schön\", \"number\": 9007199254740993, \"yes\": true, \"no\": false,"
               " \"list\": [\"a\", \"b\"], \"inner\": {\"x\": 1}, \"many\": [{\"y\": 2}, {\"y\": "
               "3}], \"id\": \"00ff\"}");
    struct conf_object *root = conf_root(conf);
    const char *text = NULL, *list[2];
    uint64_t number = 0, x = 0, y[2] = {0};
    bool yes = false, no = true;
    uint8_t id[2];
    assert_true(conf_text(root, "text", &text));
    assert_string_equal(text, "schön");
    assert_true(conf_u64(root, "number", 0, UINT64_MAX, &number));
    assert_true(number == 9007199254740993u);
    assert_true(conf_bool(root, "yes", &yes) && yes);
    assert_true(conf_bool(root, "no", &no) && !no);
    assert_int_equal(conf_texts(root, "list", list, 2), 2);
    assert_string_equal(list[1], "b");
    assert_true(conf_u64(conf_object(root, "inner"), "x", 0, 5, &x));
    assert_int_equal(conf_count(root, "many"), 2);
    for (size_t i = 0; i < 2; i++)
        assert_true(conf_u64(conf_at(root, "many", i), "y", 0, 5, &y[i]));
    assert_int_equal(y[1], 3);
    assert_null(conf_at(root, "many", 2));
    assert_true(conf_need_hex(root, "id", id, 2));
    assert_int_equal(id[1], 0xff);
    MUST(conf_end(conf, &e));
}

static void absent_key_leaves_the_default(void **state)
{
    (void)state;
    struct conf *conf CLEANUP(conf_freep) = parsed("{}");
    struct conf_object *root = conf_root(conf);
    const char *text = "default", *list[1];
    uint64_t number = 7;
    bool flag = true;
    assert_false(conf_text(root, "a", &text));
    assert_false(conf_u64(root, "b", 10, 20, &number)); // a default may lie outside
    assert_false(conf_bool(root, "c", &flag));
    assert_null(conf_object(root, "d"));
    assert_int_equal(conf_texts(root, "e", list, 1), 0);
    assert_int_equal(conf_count(root, "f"), 0);
    assert_false(conf_text(conf_object(root, "d"), "g", &text)); // NULL all the way
    assert_string_equal(text, "default");
    assert_int_equal(number, 7);
    assert_true(flag);
    MUST(conf_end(conf, &e));
}

static void unknown_key_is_named_with_the_nearest(void **state)
{
    (void)state;
    struct conf *conf CLEANUP(conf_freep) = parsed("{\"fleet\": \"x\", \"tick_secnods\": 5}");
    const char *text;
    uint64_t number;
    conf_text(conf_root(conf), "fleet", &text);
    conf_u64(conf_root(conf), "tick_seconds", 0, 9, &number);
    MUST_FAIL(conf_end(conf, &e), CODE_CONFIG);
    assert_contains(e.text, "node.json");
    assert_contains(e.text, "tick_secnods");
    assert_contains(e.text, "\"tick_seconds\"");
}

static void unknown_key_inside_is_named_with_its_place(void **state)
{
    (void)state;
    struct conf *conf CLEANUP(conf_freep) = parsed("{\"endpoints\": [{}, {\"elephant\": 1}]}");
    const char *text;
    for (size_t i = 0; i < conf_count(conf_root(conf), "endpoints"); i++)
        conf_text(conf_at(conf_root(conf), "endpoints", i), "host", &text);
    MUST_FAIL(conf_end(conf, &e), CODE_CONFIG);
    assert_contains(e.text, "endpoints[1].elephant");
    assert_contains(e.text, "known here: host");
}

static void object_asked_for_twice_remembers_both(void **state)
{
    (void)state;
    struct conf *conf CLEANUP(conf_freep) = parsed("{\"broker\": {\"a\": \"1\", \"b\": \"2\"}}");
    const char *text;
    conf_text(conf_object(conf_root(conf), "broker"), "a", &text);
    conf_text(conf_object(conf_root(conf), "broker"), "b", &text);
    MUST(conf_end(conf, &e));
}

static void duplicate_keys_and_broken_text_are_refused(void **state)
{
    (void)state;
    refused("{\"a\": 1, \"a\": 2}", "\"a\"");
    refused("{\"a\": 1,\n \"b\" 2}", "line 2, column");
    refused("{\"a\": 1} x", "line 1");
    refused("[1]", "object");
    refused("", "line 1");
    refused("{\"a\": \"\xff\"}", "line 1");
    refused("{\"a\": \"\\u0000\"}", "line 1");
    refused("{\"a\": 99999999999999999999}", "line 1");
    // A text with a NUL inside is not cut there.
    struct conf *conf = conf_parse(bytes_of("{}\0{}", 5), "node.json", &e);
    MUST_FAIL(conf != NULL, CODE_CONFIG);
    char deep[5001];
    memset(deep, '[', 5000);
    deep[5000] = '\0';
    refused(deep, "line 1");
}

// One getter on {"k": VALUE}: it must fail, leave its target alone, and say what it wanted.
static void wants(const char *value, int getter, const char *wanted)
{
    char text[200];
    snprintf(text, sizeof text, "{\"k\": %s}", value);
    struct conf *conf CLEANUP(conf_freep) = parsed(text);
    struct conf_object *root = conf_root(conf);
    const char *s = "untouched", *list[1] = {"untouched"};
    uint64_t n = 77;
    bool b = true;
    uint8_t hex[2] = {1, 2};
    switch (getter) {
    case 't':
        assert_false(conf_text(root, "k", &s));
        break;
    case 'n':
        assert_false(conf_u64(root, "k", 1, 65535, &n));
        break;
    case 'b':
        assert_false(conf_bool(root, "k", &b));
        break;
    case 'o':
        assert_null(conf_object(root, "k"));
        break;
    case 'l':
        assert_int_equal(conf_texts(root, "k", list, 1), 0);
        break;
    case 'c':
        assert_int_equal(conf_count(root, "k"), 0);
        break;
    case 'a':
        assert_null(conf_at(root, "k", 0));
        break;
    default:
        assert_false(conf_need_hex(root, "k", hex, 2));
        break;
    }
    assert_string_equal(s, "untouched");
    assert_string_equal(list[0], "untouched");
    assert_true(n == 77 && b && hex[0] == 1);
    MUST_FAIL(conf_end(conf, &e), CODE_CONFIG);
    assert_contains(e.text, "node.json: k");
    assert_contains(e.text, wanted);
}

static void wrong_type_says_what_is_wanted(void **state)
{
    (void)state;
    wants("5", 't', "wants a string, but has a number");
    wants("null", 't', "null");
    wants("\"5\"", 'n', "wants a whole number from 1 to 65535, but has a string");
    wants("1.5", 'n', "fraction");
    wants("0", 'n', "but has 0");
    wants("65536", 'n', "but has 65536");
    wants("-1", 'n', "but has -1");
    wants("1", 'b', "true or false");
    wants("[]", 'o', "wants an object");
    wants("\"a\"", 'l', "wants an array of strings");
    wants("[\"a\", \"b\"]", 'l', "at most 1");
    wants("[1]", 'l', "k[0]");
    wants("{}", 'c', "wants an array of objects");
    wants("[5]", 'a', "k[0]");
    wants("\"00F0\"", 'h', "4 lower-case hex digits");
    wants("\"00f\"", 'h', "4 lower-case hex digits");
    wants("\"00f00\"", 'h', "4 lower-case hex digits");
}

static void missing_key_is_a_fault_and_the_first_fault_wins(void **state)
{
    (void)state;
    struct conf *conf CLEANUP(conf_freep) =
        parsed("{\"number\": \"x\", \"fine\": \"y\", \"stray\": 1}");
    struct conf_object *root = conf_root(conf);
    const char *text = "untouched";
    uint64_t number;
    assert_false(conf_need_text(root, "fleet", &text));
    assert_false(conf_u64(root, "number", 0, 1, &number));
    assert_false(conf_text(root, "fine", &text)); // sticky
    conf_fault(root, "fine", "is not so fine");
    MUST_FAIL(conf_end(conf, &e), CODE_CONFIG);
    assert_string_equal(e.text, "node.json: fleet: is missing");
    assert_string_equal(text, "untouched");
}

static void rule_of_the_caller_is_told_with_its_place(void **state)
{
    (void)state;
    struct conf *conf CLEANUP(conf_freep) = parsed("{\"inner\": {\"port\": 0}}");
    struct conf_object *inner = conf_object(conf_root(conf), "inner");
    uint64_t port;
    conf_u64(inner, "port", 0, 1, &port);
    conf_fault(inner, "port", "%d is taken", 0);
    MUST_FAIL(conf_end(conf, &e), CODE_CONFIG);
    assert_string_equal(e.text, "node.json: inner.port: 0 is taken");
}

static void keys_of_a_map_are_sorted_and_known(void **state)
{
    (void)state;
    struct conf *conf CLEANUP(conf_freep) =
        parsed("{\"nodes\": {\"web\": {}, \"db\": {}, \"a\": {\"stray\": 1}}, \"none\": {}}");
    const char **keys;
    struct conf_object *nodes = conf_object(conf_root(conf), "nodes");
    assert_int_equal(conf_keys(nodes, &keys), 3);
    assert_string_equal(keys[0], "a");
    assert_string_equal(keys[1], "db");
    assert_string_equal(keys[2], "web");
    const char **none;
    assert_int_equal(conf_keys(conf_object(conf_root(conf), "none"), &none), 0);
    assert_int_equal(conf_keys(NULL, &none), 0);
    for (size_t i = 0; i < 3; i++)
        conf_object(nodes, keys[i]);
    MUST_FAIL(conf_end(conf, &e), CODE_CONFIG); // but not what is inside of them
    assert_contains(e.text, "nodes.a.stray");
}

static void file_is_read_through_links_and_bounded(void **state)
{
    const struct folder *f = *state;
    char path[100];
    put_file(f->fd, "real.json", "{\"a\": 1}", 0600);
    assert_int_equal(symlinkat("real.json", f->fd, "link.json"), 0);
    snprintf(path, sizeof path, "%s/link.json", f->path);
    struct conf *conf = conf_open(path, &e);
    MUST(conf != NULL);
    MUST_FAIL(conf_end(conf, &e), CODE_CONFIG);
    assert_contains(e.text, path);
    conf_free(conf);
    snprintf(path, sizeof path, "%s/missing.json", f->path);
    MUST_FAIL(conf_open(path, &e) != NULL, CODE_CONFIG);
    assert_contains(e.text, path);
    snprintf(path, sizeof path, "%s/large.json", f->path);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(ftruncate(fd, (1 << 20) + 1), 0);
    close(fd);
    MUST_FAIL(conf_open(path, &e) != NULL, CODE_CONFIG);
    assert_contains(e.text, "larger");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_value_is_read),
        cmocka_unit_test(absent_key_leaves_the_default),
        cmocka_unit_test(unknown_key_is_named_with_the_nearest),
        cmocka_unit_test(unknown_key_inside_is_named_with_its_place),
        cmocka_unit_test(object_asked_for_twice_remembers_both),
        cmocka_unit_test(duplicate_keys_and_broken_text_are_refused),
        cmocka_unit_test(wrong_type_says_what_is_wanted),
        cmocka_unit_test(missing_key_is_a_fault_and_the_first_fault_wins),
        cmocka_unit_test(rule_of_the_caller_is_told_with_its_place),
        cmocka_unit_test(keys_of_a_map_are_sorted_and_known),
        with_folder(file_is_read_through_links_and_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
