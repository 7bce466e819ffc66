#include "config.h"

#include "node_test.h"

static struct err e;

#define FLEET "0101010101010101010101010101010101010101010101010101010101010101"
#define ENDPOINT                                                                                   \
    "{\"tunnel\": \"none\", \"pub\": \"tcp://127.0.0.1:1\", \"rep\": \"tcp://127.0.0.1:2\"}"

static bool open_text(const struct folder *folder, const char *json, struct config *config)
{
    char path[128];
    snprintf(path, sizeof path, "%s/node.json", folder->path);
    put_file(folder->fd, "node.json", json, 0644);
    return config_open(path, config, &e);
}

// Members of the root object behind fleet, signers and endpoints.
static bool open_with(
    const struct folder *folder, const char *endpoint, const char *more, struct config *config)
{
    struct buf json = {0};
    buf_printf(&json, "{\"fleet\": \"%s\", \"signers\": [\"%s admin\"], \"endpoints\": [%s]%s}",
        FLEET, line_of_key(1), endpoint, more);
    bool ok = open_text(folder, buf_text(&json), config);
    buf_clear(&json);
    return ok;
}

// One line that names the file and the key, and says what is wrong.
static void refused(bool opened, const char *key, const char *part)
{
    assert_false(opened);
    assert_code(e, CODE_CONFIG);
    assert_contains(e.text, "node.json");
    assert_contains(e.text, key);
    assert_contains(e.text, part);
    assert_null(strchr(e.text, '\n'));
}

static void smallest_configuration_has_the_defaults(void **state)
{
    struct config config;
    MUST(open_with(*state, ENDPOINT, "", &config));
    assert_int_equal(config.trust.signer_count, 1);
    assert_int_equal(config.trust.threshold, 1);
    assert_filled(config.trust.fleet, 1, 32);
    assert_string_equal(config.state, "/var/lib/bento");
    assert_string_equal(config.profile, "/nix/var/nix/profiles/system");
    assert_int_equal(config.confirm_s, 180);
    assert_int_equal(config.switch_s, 600);
    assert_int_equal(config.page_port, 51337);
    assert_int_equal(config.endpoint_count, 1);
    assert_int_equal(config.endpoints[0].tunnel, TUNNEL_NONE);
    assert_string_equal(config.endpoints[0].rep, "tcp://127.0.0.1:2");
    config_clear(&config);
}

static void every_key_is_understood(void **state)
{
    struct config config;
    struct buf ssh = {0};
    buf_printf(&ssh,
        "{\"tunnel\": \"ssh\", \"host\": \"server.example\", \"host_key\": \"%s\"},"
        "{\"tunnel\": \"ssh\", \"host\": \"2001:db8::1\", \"port\": 2222, \"user\": \"tunnel\","
        " \"host_key\": \"%s\", \"pub_port\": 1, \"rep_port\": 2},"
        "{\"tunnel\": \"command\", \"argv\": [\"corkscrew\", \"-x\"], \"pub\": \"tcp://a:1\","
        " \"rep\": \"tcp://a:2\"}",
        line_of_key(9), line_of_key(9));
    MUST(open_with(*state, buf_text(&ssh),
        ", \"threshold\": 1, \"require_pin\": true, \"epoch\": 3, \"minimum_release\": 4,"
        " \"state\": \"/s\", \"secrets\": \"/x\", \"floor_copy\": \"/f\", \"identity\": \"/i\","
        " \"node_user\": \"n\", \"profile\": \"/p\", \"current_system\": \"/c\","
        " \"booted_system\": \"/b\", \"path\": \"/bin\", \"confirm_seconds\": 5,"
        " \"switch_seconds\": 6, \"return_seconds\": 7, \"poll_seconds\": 8, \"tick_seconds\": 9,"
        " \"commit_seconds\": 10, \"margin_seconds\": 11, \"boot_seconds\": 12,"
        " \"self_update_seconds\": 60, \"kept_releases\": 4, \"boot\": \"/bo\", \"gcroots\": "
        "\"/g\","
        " \"node_unit\": \"u\", \"page_port\": 1024",
        &config));
    assert_true(config.trust.require_pin);
    assert_int_equal(config.epoch, 3);
    assert_int_equal(config.minimum_release, 4);
    assert_string_equal(config.state, "/s");
    assert_string_equal(config.secrets, "/x");
    assert_string_equal(config.floor_copy, "/f");
    assert_string_equal(config.identity, "/i");
    assert_string_equal(config.node_user, "n");
    assert_string_equal(config.profile, "/p");
    assert_string_equal(config.current_system, "/c");
    assert_string_equal(config.booted_system, "/b");
    assert_string_equal(config.child_path, "/bin");
    assert_int_equal(config.confirm_s, 5);
    assert_int_equal(config.switch_s, 6);
    assert_int_equal(config.return_s, 7);
    assert_int_equal(config.poll_s, 8);
    assert_int_equal(config.tick_s, 9);
    assert_int_equal(config.commit_s, 10);
    assert_int_equal(config.margin_s, 11);
    assert_int_equal(config.page_port, 1024);
    assert_int_equal(config.boot_s, 12);
    assert_int_equal(config.self_update_s, 60);
    assert_int_equal(config.kept_releases, 4);
    assert_string_equal(config.boot, "/bo");
    assert_string_equal(config.gcroots, "/g");
    assert_string_equal(config.node_unit, "u");
    assert_int_equal(config.endpoint_count, 3);
    assert_string_equal(config.endpoints[0].user, "bento-tunnel");
    assert_int_equal(config.endpoints[0].port, 22);
    assert_int_equal(config.endpoints[0].pub_port, PUB_PORT);
    assert_int_equal(config.endpoints[0].rep_port, REP_PORT);
    assert_string_equal(config.endpoints[1].host, "2001:db8::1");
    assert_string_equal(config.endpoints[1].user, "tunnel");
    assert_int_equal(config.endpoints[1].port, 2222);
    assert_int_equal(config.endpoints[1].pub_port, 1);
    assert_int_equal(config.endpoints[1].rep_port, 2);
    assert_string_equal(config.endpoints[2].argv[1], "-x");
    assert_null(config.endpoints[2].argv[2]);
    config_clear(&config);
    buf_clear(&ssh);
}

static void unknown_key_is_named(void **state)
{
    struct config config;
    refused(open_with(*state, ENDPOINT, ", \"tresholds\": 1", &config), "tresholds", "");
    refused(open_with(*state, "{\"tunnel\": \"none\", \"pub\": \"a\", \"rep\": \"b\", \"prot\": 1}",
                "", &config),
        "endpoints", "prot");
}

static void page_port_is_none_or_one_that_needs_no_rights(void **state)
{
    struct config config;
    MUST(open_with(*state, ENDPOINT, ", \"page_port\": 0", &config));
    assert_int_equal(config.page_port, 0);
    config_clear(&config);
    refused(open_with(*state, ENDPOINT, ", \"page_port\": 80", &config), "page_port", "1023");
    refused(open_with(*state, ENDPOINT, ", \"page_port\": 65536", &config), "page_port", "");
}

static void missing_key_is_named(void **state)
{
    struct config config;
    struct buf json = {0};
    buf_printf(&json, "{\"signers\": [\"%s\"], \"endpoints\": [%s]}", line_of_key(1), ENDPOINT);
    refused(open_text(*state, buf_text(&json), &config), "fleet", "missing");
    buf_clear(&json);
    refused(open_text(*state, "{\"fleet\": \"" FLEET "\", \"endpoints\": [" ENDPOINT "]}", &config),
        "signers", "no signers");
    buf_printf(&json, "{\"fleet\": \"" FLEET "\", \"signers\": [\"%s\"]}", line_of_key(1));
    refused(open_text(*state, buf_text(&json), &config), "endpoints", "ways to the broker");
    buf_clear(&json);
    refused(open_with(*state, "{\"tunnel\": \"none\", \"pub\": \"tcp://a:1\"}", "", &config), "rep",
        "missing");
    refused(
        open_with(*state, "{\"tunnel\": \"command\", \"pub\": \"a\", \"rep\": \"b\"}", "", &config),
        "argv", "missing");
    refused(
        open_with(*state, "{\"pub\": \"a\", \"rep\": \"b\"}", "", &config), "tunnel", "missing");
    refused(open_with(*state, "{\"tunnel\": \"tor\"}", "", &config), "host", "missing");
    refused(open_with(*state, "{\"tunnel\": \"i2p\"}", "", &config), "tunnel", "i2p");
}

#define ONION "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa27.onion"

static void tor_endpoint_has_the_brokers_ports_and_the_local_socks_port(void **state)
{
    struct config config;
    char name[ENDPOINT_NAME_BYTES];
    MUST(open_with(*state,
        "{\"tunnel\": \"tor\", \"host\": \"" ONION "\"},"
        "{\"tunnel\": \"tor\", \"host\": \"" ONION "\", \"socks_port\": 9150,"
        " \"pub_port\": 1, \"rep_port\": 2, \"cache_port\": 3}",
        ", \"cache_port\": 4", &config));
    const struct endpoint *tor = config.endpoints;
    assert_int_equal(tor[0].tunnel, TUNNEL_TOR);
    assert_int_equal(tor[0].port, 9050);
    assert_int_equal(tor[0].pub_port, PUB_PORT);
    assert_int_equal(tor[0].rep_port, REP_PORT);
    assert_int_equal(tor[0].cache_port, 0);
    assert_null(tor[0].pub);
    assert_int_equal(tor[1].port, 9150);
    assert_int_equal(tor[1].pub_port, 1);
    assert_int_equal(tor[1].rep_port, 2);
    assert_int_equal(tor[1].cache_port, 3);
    assert_int_equal(config.cache_port, 4);
    endpoint_name(&tor[1], name);
    assert_string_equal(name, "tor://" ONION ":1");
    config_clear(&config);
}

// What would leave Tor, or be more than a word for socat.
static void only_onion_services_are_reached_through_tor(void **state)
{
    static const char *const bad[] = {"server.example", "127.0.0.1", "a.onion", ONION ".example",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa2:.onion", ""};
    struct config config;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct buf endpoint = {0};
        buf_printf(&endpoint, "{\"tunnel\": \"tor\", \"host\": \"%s\"}", bad[i]);
        refused(open_with(*state, buf_text(&endpoint), "", &config), "host", "onion service");
        buf_clear(&endpoint);
    }
}

static void command_names_its_local_ports_or_its_own(void **state)
{
    struct config config;
    char name[ENDPOINT_NAME_BYTES];
    MUST(open_with(*state,
        "{\"tunnel\": \"command\", \"argv\": [\"vpn\", \"-l{pub},{rep}\", \"{cache}\"]}", "",
        &config));
    assert_null(config.endpoints[0].pub);
    endpoint_name(&config.endpoints[0], name);
    assert_string_equal(name, "command vpn -l{pub},{rep} {cache}");
    config_clear(&config);
    refused(
        open_with(*state, "{\"tunnel\": \"command\", \"argv\": [\"vpn\", \"{pub}\"]}", "", &config),
        "argv", "{rep}");
    refused(open_with(*state,
                "{\"tunnel\": \"command\", \"argv\": [\"vpn\", \"{pub}\", \"{rep}\"],"
                " \"pub\": \"tcp://a:1\"}",
                "", &config),
        "pub", "");
}

static void ssh_config_is_an_absolute_path(void **state)
{
    struct config config;
    struct buf endpoint = {0};
    buf_printf(&endpoint,
        "{\"tunnel\": \"ssh\", \"host\": \"a\", \"host_key\": \"%s\", \"ssh_config\": \"/x\"}",
        line_of_key(9));
    MUST(open_with(*state, buf_text(&endpoint), "", &config));
    assert_string_equal(config.endpoints[0].ssh_config, "/x");
    config_clear(&config);
    buf_clear(&endpoint);
    buf_printf(&endpoint,
        "{\"tunnel\": \"ssh\", \"host\": \"a\", \"host_key\": \"%s\", \"ssh_config\": \"x\"}",
        line_of_key(9));
    refused(open_with(*state, buf_text(&endpoint), "", &config), "ssh_config", "absolute path");
    buf_clear(&endpoint);
}

// What would be an option, or more than a word, in the argv of ssh.
static void bad_host_or_user_is_refused(void **state)
{
    static const char *const bad[] = {"-oProxyCommand=touch /tmp/x", "-l", "", "a b", "a\\nb",
        "a;b", "$(reboot)", "`x`", "user@host", "a/b", "a%h", "a\\u0000b"};
    struct config config;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        for (unsigned user = 0; user < 2; user++) {
            struct buf endpoint = {0};
            buf_printf(&endpoint,
                "{\"tunnel\": \"ssh\", \"host\": \"%s\", \"user\": \"%s\", \"host_key\": \"%s\"}",
                user ? "server" : bad[i], user ? bad[i] : "bento-tunnel", line_of_key(9));
            assert_false(open_with(*state, buf_text(&endpoint), "", &config));
            assert_code(e, CODE_CONFIG);
            assert_contains(e.text, "node.json");
            buf_clear(&endpoint);
        }
    }
    refused(open_with(*state,
                "{\"tunnel\": \"ssh\", \"host\": \"-oProxyCommand=x\", \"host_key\": \"x\"}", "",
                &config),
        "endpoints[0].host", "-oProxyCommand");
}

static void bad_host_key_is_refused(void **state)
{
    struct config config;
    refused(
        open_with(*state, "{\"tunnel\": \"ssh\", \"host\": \"a\", \"host_key\": \"ssh-rsa AAAA\"}",
            "", &config),
        "host_key", "");
    struct buf endpoint = {0};
    buf_printf(&endpoint, "{\"tunnel\": \"ssh\", \"host\": \"a\", \"host_key\": \"%s\\n* %s\"}",
        line_of_key(8),
        line_of_key(9)); // a second line in known_hosts
    refused(open_with(*state, buf_text(&endpoint), "", &config), "host_key", "");
    buf_clear(&endpoint);
}

static bool open_signers(
    const struct folder *folder, const char *second, const char *more, struct config *config)
{
    struct buf json = {0};
    buf_printf(&json,
        "{\"fleet\": \"%s\", \"signers\": [\"%s admin\", \"%s other\"], \"endpoints\": [%s]%s}",
        FLEET, line_of_key(1), second, ENDPOINT, more);
    bool ok = open_text(folder, buf_text(&json), config);
    buf_clear(&json);
    return ok;
}

static void signer_twice_is_refused(void **state)
{
    struct config config;
    refused(open_signers(*state, line_of_key(1), "", &config), "signers", "same key");
    refused(open_signers(*state, "ssh-rsa AAAA", "", &config), "signers", "");
}

static void threshold_is_between_one_and_the_signers(void **state)
{
    struct config config;
    MUST(open_signers(*state, line_of_key(2), ", \"threshold\": 2", &config));
    assert_int_equal(config.trust.threshold, 2);
    config_clear(&config);
    refused(open_signers(*state, line_of_key(2), ", \"threshold\": 3", &config), "signers",
        "threshold is 3");
    refused(open_signers(*state, line_of_key(2), ", \"threshold\": 0", &config), "threshold", "");
    refused(
        open_signers(*state, line_of_key(2), ", \"threshold\": \"1\"", &config), "threshold", "");
}

static void file_that_others_may_write_is_refused(void **state)
{
    struct folder *folder = *state;
    struct config config;
    char path[128];
    snprintf(path, sizeof path, "%s/node.json", folder->path);
    MUST(open_with(folder, ENDPOINT, "", &config));
    config_clear(&config);
    static const mode_t modes[] = {0664, 0646, 0666};
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        assert_int_equal(chmod(path, modes[i]), 0);
        refused(config_open(path, &config, &e), "others may write", "chmod go-w");
    }
}

static void file_of_somebody_else_is_refused(void **state)
{
    struct folder *folder = *state;
    struct config config;
    char path[128];
    if (geteuid() != 0) {
        skip();
    }
    snprintf(path, sizeof path, "%s/node.json", folder->path);
    MUST(open_with(folder, ENDPOINT, "", &config));
    config_clear(&config);
    assert_int_equal(chown(path, 65534, 65534), 0);
    refused(config_open(path, &config, &e), "65534", "chown root");
}

static void missing_file_is_named(void **state)
{
    struct folder *folder = *state;
    struct config config;
    char path[128];
    snprintf(path, sizeof path, "%s/node.json", folder->path);
    refused(config_open(path, &config, &e), "node.json", "");
}

static void damaged_json_is_refused(void **state)
{
    struct config config;
    refused(open_text(*state, "{\"fleet\": ", &config), "node.json", "");
    refused(open_text(*state, "[]", &config), "node.json", "");
    refused(open_with(*state, ENDPOINT, ", \"state\": \"/a\", \"state\": \"/b\"", &config), "", "");
    refused(open_with(*state, "\"ssh://server\"", "", &config), "endpoints", "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_folder(smallest_configuration_has_the_defaults),
        with_folder(every_key_is_understood),
        with_folder(unknown_key_is_named),
        with_folder(page_port_is_none_or_one_that_needs_no_rights),
        with_folder(missing_key_is_named),
        with_folder(tor_endpoint_has_the_brokers_ports_and_the_local_socks_port),
        with_folder(only_onion_services_are_reached_through_tor),
        with_folder(command_names_its_local_ports_or_its_own),
        with_folder(ssh_config_is_an_absolute_path),
        with_folder(bad_host_or_user_is_refused),
        with_folder(bad_host_key_is_refused),
        with_folder(signer_twice_is_refused),
        with_folder(threshold_is_between_one_and_the_signers),
        with_folder(file_that_others_may_write_is_refused),
        with_folder(file_of_somebody_else_is_refused),
        with_folder(missing_file_is_named),
        with_folder(damaged_json_is_refused),
    };
    return cmocka_run_group_tests(tests, start_sodium, NULL);
}
