#include "cli.h"

#include "bytes.h"
#include "rt_test.h"

struct given {
    const char *config, *key, *seconds;
    bool verbose, json, wait;
    int words;
    char **argv;
};

#define ARGS_MAX 16

static void parse(struct given *given, char **argv)
{
    const struct cli_option options[] = {
        {'c', "config", "FILE",
            "the configuration, of which there is a great deal to be said, so that it fills more "
            "than a line",
            &given->config, NULL},
        {0, "key", "FILE", "sign with this one", &given->key, NULL},
        {'v', "verbose", NULL, "say more", NULL, &given->verbose},
        {'j', "json", NULL, "for machines", NULL, &given->json},
        {0, "wait", "[=SECONDS]", "follow until all reported", &given->seconds, &given->wait},
        {0, "follow", "[=SECONDS]", NULL, &given->seconds, &given->wait},
        {0},
    };
    const struct cli cli = {.program = "bento-pub",
        .synopsis = "[HOST…|GLOB|@TAG…]",
        .purpose = "Builds, seals and signs a release of the named hosts, or of all, and hands it "
                   "to the broker.",
        .example = "bento-pub --wait router\nbento-pub @servers",
        .options = options};
    int argc = 0;
    while (argv[argc] != NULL)
        argc++;
    given->argv = cli_parse(&cli, argc, argv, &given->words);
}

// Parses space-separated words in this process.
static struct given parse_text(char *text, char *argv[ARGS_MAX])
{
    struct given given = {0};
    int argc = 0;
    argv[argc++] = (char[]){"bento-pub"};
    for (char *save, *word = strtok_r(text, " ", &save); word != NULL;
         word = strtok_r(NULL, " ", &save))
        argv[argc++] = word;
    argv[argc] = NULL;
    parse(&given, argv);
    return given;
}

static void options_and_words_mix(void **state)
{
    (void)state;
    char text[] = "router -v --config=a.json @servers --key k --json web-*", *argv[ARGS_MAX];
    struct given g = parse_text(text, argv);
    assert_string_equal(g.config, "a.json");
    assert_string_equal(g.key, "k");
    assert_true(g.verbose && g.json);
    assert_int_equal(g.words, 3);
    assert_string_equal(g.argv[0], "router");
    assert_string_equal(g.argv[1], "@servers");
    assert_string_equal(g.argv[2], "web-*");
    assert_null(g.argv[3]);
}

static void short_options_join_and_take_values_either_way(void **state)
{
    (void)state;
    char text[] = "-vjcx.json", more[] = "-c y.json -v", *argv[ARGS_MAX];
    struct given g = parse_text(text, argv);
    assert_true(g.verbose && g.json);
    assert_string_equal(g.config, "x.json");
    g = parse_text(more, argv);
    assert_true(g.verbose);
    assert_string_equal(g.config, "y.json");
    assert_int_equal(g.words, 0);
}

static void first_word_may_end_the_options(void **state)
{
    (void)state;
    bool verbose = false;
    const struct cli_option options[] = {{'v', "verbose", NULL, "say more", NULL, &verbose}, {0}};
    const struct cli cli = {.program = "bento ssh", .options = options, .options_first = true};
    char *argv[] = {(char[]){"bento ssh"}, (char[]){"-v"}, (char[]){"router"}, (char[]){"ls"},
        (char[]){"-v"}, (char[]){"--all"}, NULL};
    int words;
    char **word = cli_parse(&cli, 6, argv, &words);
    assert_true(verbose);
    assert_int_equal(words, 4);
    assert_string_equal(word[2], "-v");
    assert_string_equal(word[3], "--all");
}

static void unknown_name_is_told_the_nearest_or_where_they_are(void **state)
{
    (void)state;
    static const char *const names[] = {"list", "retire"};
    struct err e;
    assert_false(cli_unknown("command", "retre", names, 2, "try --help", &e));
    assert_int_equal(e.code, CODE_USAGE);
    assert_string_equal(e.text, "no command retre; did you mean retire?");
    assert_false(cli_unknown("command", "elephant", names, 2, "try --help", &e));
    assert_string_equal(e.text, "no command elephant: try --help");
}

static void two_dashes_end_the_options(void **state)
{
    (void)state;
    char text[] = "-v -- --json -c - --", *argv[ARGS_MAX];
    struct given g = parse_text(text, argv);
    assert_true(g.verbose && !g.json);
    assert_int_equal(g.words, 4);
    assert_string_equal(g.argv[0], "--json");
    assert_string_equal(g.argv[3], "--");
    char dash[] = "-";
    g = parse_text(dash, argv);
    assert_int_equal(g.words, 1);
}

static void optional_value_comes_with_an_equals_sign_only(void **state)
{
    (void)state;
    char with[] = "--wait=60 x", without[] = "--wait x", *argv[ARGS_MAX];
    struct given g = parse_text(with, argv);
    assert_true(g.wait);
    assert_string_equal(g.seconds, "60");
    g = parse_text(without, argv);
    assert_true(g.wait);
    assert_null(g.seconds);
    assert_int_equal(g.words, 1);
}

static void parse_apart(void *context)
{
    char *argv[ARGS_MAX];
    parse_text(context, argv);
}

static void mistake(const char *words, const char *part)
{
    struct buf out = {0}, err = {0};
    char text[200];
    snprintf(text, sizeof text, "%s", words);
    assert_int_equal(run_apart(parse_apart, text, &out, &err), 64);
    assert_contains(buf_text(&err), "bento-pub: ");
    assert_contains(buf_text(&err), part);
    assert_ptr_equal(strchr(buf_text(&err), '\n'), buf_text(&err) + err.len - 1); // one line
    assert_int_equal(out.len, 0);
    buf_clear(&out);
    buf_clear(&err);
}

static void mistakes_are_one_line_and_status_64(void **state)
{
    (void)state;
    mistake("--cofnig x", "did you mean --config?");
    mistake("--versoin", "did you mean --version?");
    mistake("--elephant", "unknown option --elephant");
    mistake("-x", "unknown option -x");
    mistake("-vx", "unknown option -vx");
    mistake("--config", "a value is missing after --config");
    mistake("-c", "a value is missing after -c");
    mistake("--json=yes", "--json=yes");
    mistake("--conf x", "unknown option --conf"); // no guessing from beginnings
    mistake("--\x1b[31m", "\\x1b[31m");
}

static void help_fits_a_screen_and_is_aligned(void **state)
{
    (void)state;
    char text[] = "--help";
    struct buf out = {0}, err = {0};
    assert_int_equal(run_apart(parse_apart, text, &out, &err), 0);
    assert_int_equal(err.len, 0);
    const char *help = buf_text(&out);
    assert_contains(help, "Usage: bento-pub [OPTION…] [HOST…|GLOB|@TAG…]\nBuilds, seals");
    assert_contains(help, "\n  -c, --config FILE      the configuration");
    assert_contains(help, "\n                         said, so");
    assert_contains(help, "\n      --wait[=SECONDS]   follow");
    assert_contains(help, "\n  -h, --help, --version  show");
    assert_contains(help, "\n\nExample: bento-pub --wait router\n         bento-pub @servers\n");
    assert_null(strstr(help, "--follow")); // another name of --wait
    unsigned lines = 0, width = 0;
    for (const char *c = help; *c != '\0'; c++) {
        width = *c == '\n' ? 0 : width + (((unsigned char)*c & 0xc0) != 0x80);
        lines += *c == '\n';
        assert_true(width <= 80);
    }
    assert_true(lines <= 24);
    buf_clear(&out);
    buf_clear(&err);
}

static void version_is_printed(void **state)
{
    (void)state;
    char text[] = "x --version --elephant";
    struct buf out = {0}, err = {0};
    assert_int_equal(run_apart(parse_apart, text, &out, &err), 0);
    assert_contains(buf_text(&out), "bento-pub ");
    assert_contains(buf_text(&out), bento_version);
    buf_clear(&out);
    buf_clear(&err);
}

static void fail_apart(void *context)
{
    exit(cli_fail("bento-pub", context));
}

static void failure_is_escaped_and_has_its_status(void **state)
{
    (void)state;
    struct err e;
    struct buf out = {0}, err = {0};
    err_set(&e, CODE_SIGNER, "signed by \x1b[2Jnobody\n");
    assert_int_equal(run_apart(fail_apart, &e, &out, &err), 1);
    assert_string_equal(buf_text(&err), "bento-pub: signed by \\x1b[2Jnobody\\x0a\n");
    err.len = 0;
    err_set(&e, CODE_USAGE, "which host?");
    assert_int_equal(run_apart(fail_apart, &e, &out, &err), 64);
    buf_clear(&out);
    buf_clear(&err);
}

static void nearest_name_is_at_most_two_mistakes_away(void **state)
{
    (void)state;
    static const char *const names[] = {"deploy", "status", "build", "diff", "a"};
    static const struct {
        const char *typo, *nearest;
    } cases[] = {{"deply", "deploy"}, {"dpeloy", "deploy"}, {"deplooyy", "deploy"},
        {"statsu", "status"}, {"dif", "diff"}, {"deploy", "deploy"}, {"elephant", NULL},
        {"stxxus", "status"}, {"sxxxus", NULL}, {"", NULL}, {"xy", NULL}, {"b", NULL}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const char *nearest = cli_nearest(cases[i].typo, names, 5);
        if (cases[i].nearest == NULL)
            assert_null(nearest);
        else
            assert_string_equal(nearest, cases[i].nearest);
    }
    char huge[500];
    memset(huge, 'a', sizeof huge - 1);
    huge[sizeof huge - 1] = '\0';
    assert_null(cli_nearest(huge, names, 5));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_and_words_mix),
        cmocka_unit_test(short_options_join_and_take_values_either_way),
        cmocka_unit_test(first_word_may_end_the_options),
        cmocka_unit_test(unknown_name_is_told_the_nearest_or_where_they_are),
        cmocka_unit_test(two_dashes_end_the_options),
        cmocka_unit_test(optional_value_comes_with_an_equals_sign_only),
        cmocka_unit_test(mistakes_are_one_line_and_status_64),
        cmocka_unit_test(help_fits_a_screen_and_is_aligned),
        cmocka_unit_test(version_is_printed),
        cmocka_unit_test(failure_is_escaped_and_has_its_status),
        cmocka_unit_test(nearest_name_is_at_most_two_mistakes_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
