// Command lines from a table that also prints the help, which fits a screen of 24 lines. Exit status: 0 done, 1 failed, 64 usage (in
// every program).
#pragma once

#include "err.h"

#define EXIT_USAGE 64

struct cli_option {
    char letter;       // 0: none
    const char *name;  // "config"; NULL ends the table
    const char *value; // NULL: a flag; else its name in the help, "FILE". "[=SECONDS]": the value
                       // may be left out (and is given with = only); then flag is set in any case,
                       // text if there is one
    const char *help;  // NULL: another name for something, which the help does not show
    const char **text; // where a value goes
    bool *flag;        // where a flag goes
};

// A program with commands lists them in its help; calling them is its own affair.
struct cli_command {
    const char *name; // NULL ends the table
    const char *help;
    int (*run)(int argc, char **argv); // argv[0] is the name
    const char *program;               // or what to execute instead
};

struct cli {
    const char *program;                // "bento-pub"
    const char *synopsis;               // "[HOST…|GLOB|@TAG…]"
    const char *purpose;                // one or two sentences
    const char *example;                // a line or two
    const struct cli_option *options;   // --help and --version are added
    const struct cli_command *commands; // or NULL
    bool
        options_first; // the first word ends the options: what follows is another program's command
};

// Parses; options and words may be mixed, `--` ends options, --name=value works. On return
// argv[0..*words-1] holds the words (argv itself is reordered). --help and --version print and exit
// 0. On a mistake: prints one line with what to do, exits 64.
char **cli_parse(const struct cli *cli, int argc, char **argv, int *words);
// What --help prints, for other ways to ask for it.
_Noreturn void cli_help(const struct cli *cli, int status);
// The command of that name. USAGE: names the nearest.
MUST_CHECK bool cli_find_command(
    const struct cli *cli, const char *name, const struct cli_command **command, struct err *e);
// "bento-pub: …" on stderr, bounded and escaped; returns 1, so that `return cli_fail(&e)` reads
// well. 64 for CODE_USAGE.
int cli_fail(const char *program, const struct err *e);
// Nearest of `count` names to a typo (edit distance ≤ 2), or NULL.
const char *cli_nearest(const char *typo, const char *const *names, size_t count);
// USAGE: "no KIND WORD; did you mean NAME?", or with `hint` ("bento --help lists them") where no name is
// near. Returns false.
bool cli_unknown(const char *kind, const char *word, const char *const *names, size_t count,
    const char *hint, struct err *e);
extern const char bento_version[];
