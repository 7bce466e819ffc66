#include "cli.h"

#include "log.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SCREEN_COLUMNS 80
#define HELP_COLUMN_MAX 30
#define GAP 2 // before an explanation

const char bento_version[] = BENTO_VERSION;

static _Noreturn void mistake(
    const struct cli *cli, const char *what, const char *word, const char *near)
{
    char shown[200];
    log_escape(word, shown, sizeof shown);
    fprintf(stderr, "%s: %s %s", cli->program, what, shown);
    if (near != NULL)
        fprintf(stderr, "; did you mean --%s?", near);
    fprintf(stderr, " (%s --help shows what there is)\n", cli->program);
    exit(EXIT_USAGE);
}

// Columns on a terminal, near enough: one a character.
static int columns(const char *text)
{
    int n = 0;
    for (; *text != '\0'; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

// Prints text in the columns from `indent` on; the cursor is at column `at`, not behind it. Newlines
// in the text are kept.
static void print_wrapped(const char *text, int indent, int at)
{
    printf("%*s", indent - at, "");
    at = indent;
    while (*text != '\0') {
        size_t len = strcspn(text, " \n");
        char word[256];
        snprintf(word, sizeof word, "%.*s", (int)len, text);
        int width = columns(word);
        if (at > indent && at + 1 + width > SCREEN_COLUMNS) {
            printf("\n%*s", indent, "");
            at = indent;
        } else if (at > indent) {
            putchar(' ');
            at++;
        }
        fputs(word, stdout);
        at += width;
        text += len;
        if (*text == '\n') {
            printf("\n%*s", indent, "");
            at = indent;
        }
        text += *text != '\0';
    }
    putchar('\n');
}

static bool value_is_optional(const struct cli_option *option)
{
    return option->value != NULL && option->value[0] == '[';
}

// "  -c, --config FILE"
static void describe(const struct cli_option *option, char *out, size_t room)
{
    char letter[8] = "    ";
    if (option->letter != 0)
        snprintf(letter, sizeof letter, "-%c, ", option->letter);
    const char *gap = option->value != NULL && !value_is_optional(option) ? " " : "";
    snprintf(out, room, "  %s--%s%s%s", letter, option->name, gap,
        option->value != NULL ? option->value : "");
}

static const char help_options[] = "  -h, --help, --version";

// Where the explanations start: behind the options, unless one is very long.
static int help_column(const struct cli *cli)
{
    int column = columns(help_options) + GAP;
    for (const struct cli_option *option = cli->options; option->name != NULL; option++) {
        char text[120];
        describe(option, text, sizeof text);
        int needed = columns(text) + GAP;
        if (option->help != NULL && needed > column && needed <= HELP_COLUMN_MAX)
            column = needed;
    }
    return column;
}

static void print_option(const struct cli_option *option, int column)
{
    char text[120];
    if (option->help == NULL)
        return;
    describe(option, text, sizeof text);
    fputs(text, stdout);
    int at = columns(text);
    if (at + GAP > column) {
        putchar('\n');
        at = 0;
    }
    print_wrapped(option->help, column, at);
}

static void print_commands(const struct cli_command *command)
{
    int column = 0;
    for (const struct cli_command *c = command; c->name != NULL; c++) {
        int needed = columns(c->name) + 2 * GAP;
        column = needed > column ? needed : column;
    }
    for (; command->name != NULL; command++)
        if (command->help != NULL)
            printf("%*s%-*s%s\n", GAP, "", column - GAP, command->name, command->help);
    putchar('\n');
}

_Noreturn void cli_help(const struct cli *cli, int status)
{
    bool has_synopsis = cli->synopsis != NULL && cli->synopsis[0] != '\0';
    printf("Usage: %s [OPTION…]%s%s\n", cli->program, has_synopsis ? " " : "",
        has_synopsis ? cli->synopsis : "");
    if (cli->purpose != NULL)
        print_wrapped(cli->purpose, 0, 0);
    putchar('\n');
    if (cli->commands != NULL)
        print_commands(cli->commands);
    int column = help_column(cli);
    for (const struct cli_option *option = cli->options; option->name != NULL; option++)
        print_option(option, column);
    printf("%-*sshow this, show the version\n", column, help_options);
    if (cli->example != NULL) {
        static const char word[] = "\nExample: ";
        fputs(word, stdout);
        print_wrapped(cli->example, sizeof word - 2, sizeof word - 2);
    }
    exit(fflush(stdout) == 0 ? status : EXIT_FAILURE);
}

static _Noreturn void print_version(const struct cli *cli)
{
    printf("%s %s\n", cli->program, bento_version);
    exit(fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE);
}

static size_t edit_distance(const char *a, const char *b)
{
    size_t a_len = strlen(a), b_len = strlen(b);
    size_t rows[3][65]; // two are for insertions, the third for two neighbours that were swapped
    if (a_len > 64 || b_len > 64)
        return SIZE_MAX;
    for (size_t j = 0; j <= b_len; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= a_len; i++) {
        size_t *now = rows[i % 3];
        const size_t *last = rows[(i - 1) % 3], *before = rows[(i + 1) % 3];
        now[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            size_t best = last[j - 1] + (a[i - 1] != b[j - 1]);
            best = last[j] + 1 < best ? last[j] + 1 : best;
            best = now[j - 1] + 1 < best ? now[j - 1] + 1 : best;
            bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            now[j] = swapped && before[j - 2] + 1 < best ? before[j - 2] + 1 : best;
        }
    }
    return rows[a_len % 3][b_len];
}

const char *cli_nearest(const char *typo, const char *const *names, size_t count)
{
    const char *nearest = NULL;
    size_t nearest_distance = 3, len = strlen(typo);
    for (size_t i = 0; i < count; i++) {
        size_t distance = edit_distance(typo, names[i]);
        // Something of the word must be left, or "-x" would be near to every two letters.
        if (distance < nearest_distance && distance < len) {
            nearest = names[i];
            nearest_distance = distance;
        }
    }
    return nearest;
}

bool cli_unknown(const char *kind, const char *word, const char *const *names, size_t count,
    const char *hint, struct err *e)
{
    const char *near = cli_nearest(word, names, count);
    return err_set(e, CODE_USAGE, "no %s %s%s%s%s", kind, word, near ? "; did you mean " : ": ",
        near ? near : hint, near ? "?" : "");
}

bool cli_find_command(
    const struct cli *cli, const char *name, const struct cli_command **command, struct err *e)
{
    const char *names[64];
    size_t count = 0;
    for (const struct cli_command *c = cli->commands; c->name != NULL; c++) {
        if (strcmp(c->name, name) == 0) {
            *command = c;
            return true;
        }
        if (c->help != NULL && count < sizeof names / sizeof *names)
            names[count++] = c->name;
    }
    return cli_unknown("command", name, names, count, "--help lists them", e);
}

static const char *nearest_option(const struct cli *cli, const char *typo)
{
    const char *names[66] = {"help", "version"};
    size_t count = 2;
    for (const struct cli_option *o = cli->options; o->name != NULL && count < 66; o++)
        names[count++] = o->name;
    return cli_nearest(typo, names, count);
}

// Takes one "--name", "--name=value". Returns how many of the next words belong to it.
static int take_long(const struct cli *cli, const char *word, const char *next)
{
    const char *name = word + 2, *value = strchr(name, '=');
    size_t len = value != NULL ? (size_t)(value - name) : strlen(name);
    const struct cli_option *option = cli->options;
    while (option->name != NULL &&
           (strlen(option->name) != len || strncmp(option->name, name, len) != 0))
        option++;
    if (option->name == NULL) {
        if (strcmp(name, "help") == 0)
            cli_help(cli, EXIT_SUCCESS);
        if (strcmp(name, "version") == 0)
            print_version(cli);
        char typo[65];
        snprintf(typo, sizeof typo, "%.*s", (int)(len < 64 ? len : 64), name);
        mistake(cli, "unknown option", word, nearest_option(cli, typo));
    }
    if (option->value == NULL) {
        if (value != NULL)
            mistake(cli, "an option without a value was given one:", word, NULL);
        *option->flag = true;
        return 0;
    }
    if (value_is_optional(option)) {
        *option->flag = true;
        if (value != NULL)
            *option->text = value + 1;
        return 0;
    }
    if (value == NULL && next == NULL)
        mistake(cli, "a value is missing after", word, NULL);
    *option->text = value != NULL ? value + 1 : next;
    return value == NULL;
}

// Takes "-a", "-ab", "-cVALUE", "-c VALUE". Returns as take_long().
static int take_short(const struct cli *cli, const char *word, const char *next)
{
    for (const char *letter = word + 1; *letter != '\0'; letter++) {
        const struct cli_option *option = cli->options;
        while (option->name != NULL && option->letter != *letter)
            option++;
        if (option->name == NULL && *letter == 'h')
            cli_help(cli, EXIT_SUCCESS);
        if (option->name == NULL)
            mistake(cli, "unknown option", word, NULL);
        if (option->value == NULL || value_is_optional(option)) {
            *option->flag = true;
            continue;
        }
        if (letter[1] != '\0') {
            *option->text = letter + 1;
            return 0;
        }
        if (next == NULL)
            mistake(cli, "a value is missing after", word, NULL);
        *option->text = next;
        return 1;
    }
    return 0;
}

char **cli_parse(const struct cli *cli, int argc, char **argv, int *words)
{
    int count = 0;
    bool options = true;
    for (int i = 1; i < argc; i++) {
        char *word = argv[i];
        if (!options || word[0] != '-' || word[1] == '\0') {
            argv[count++] = word; // never ahead of i
            options = options && !cli->options_first;
        } else if (strcmp(word, "--") == 0) {
            options = false;
        } else {
            const char *next = i + 1 < argc ? argv[i + 1] : NULL;
            i += word[1] == '-' ? take_long(cli, word, next) : take_short(cli, word, next);
        }
    }
    if (count < argc)
        argv[count] = NULL;
    *words = count;
    return argv;
}

int cli_fail(const char *program, const struct err *e)
{
    char text[2 * sizeof e->text];
    log_escape(e->text, text, sizeof text);
    fprintf(stderr, "%s: %s\n", program, text);
    return e->code == CODE_USAGE ? EXIT_USAGE : EXIT_FAILURE;
}
