#include "cli.h"
#include "commands.h"
#include "select.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WORDS_MAX 256

static const char *directory;

static const struct cli_option options[] = {
    REPOSITORY_OPTION(&directory),
    {0},
};

static const struct cli cli = {
    .program = "bento ssh",
    .synopsis = "NAME [COMMAND…]",
    .purpose = "Logs in to a node, or runs a command there, with the ssh line that fleet.nix "
               "records for it: nodes.NAME.ssh, what you would type after ssh.",
    .example = "bento ssh router\nbento ssh router journalctl -u bento-apply -n 20",
    .options = options,
    .options_first = true,
};

// The words of the recorded line, cut apart in place, then the command's. A quote has no meaning in it.
static bool join(char *line, char **command, int count, char **argv, struct err *e)
{
    static char ssh[] = "ssh";
    size_t used = 0;
    argv[used++] = ssh;
    for (char *word; (word = strsep(&line, " \t"));) {
        if (!*word || (used == 1 && !strcmp(word, "ssh"))) {
            continue;
        }
        if (used + (size_t)count >= WORDS_MAX) {
            return err_set(e, CODE_USAGE, "more than %d words: put them into a script", WORDS_MAX);
        }
        argv[used++] = word;
    }
    memcpy(argv + used, command, (size_t)count * sizeof(*argv));
    argv[used + (size_t)count] = NULL;
    return true;
}

// Returns only if it failed.
static void become_ssh(const char *line, char **command, int count, struct err *e)
{
    char *words = xstrdup(line), *argv[WORDS_MAX + 1];
    if (join(words, command, count, argv, e)) {
        execvp("ssh", argv);
        err_set(e, CODE_IO, "ssh: %m: is it installed?");
    }
    free(words);
}

static void log_in(char **word, int words, struct err *e)
{
    struct fleet fleet;
    const struct fleet_node *node;
    if (!fleet_open_partial(directory, &fleet, e)) {
        return;
    }
    if (select_node(&fleet, word[0], &node, e)) {
        if (node->ssh) {
            become_ssh(node->ssh, word + 1, words - 1, e);
        } else {
            err_set(e, CODE_CONFIG,
                "fleet.nix does not say how to reach %s: put nodes.%s.ssh = \"root@ADDRESS\"; "
                "there",
                node->name, node->name);
        }
    }
    fleet_clear(&fleet);
}

int command_ssh(int argc, char **argv)
{
    int words;
    struct err e;
    char **word = cli_parse(&cli, argc, argv, &words);
    if (!words) {
        err_set(&e, CODE_USAGE, "name a node: bento ssh NAME [COMMAND…]");
    } else {
        log_in(word, words, &e); // returns only if it failed
    }
    return cli_fail(cli.program, &e);
}
