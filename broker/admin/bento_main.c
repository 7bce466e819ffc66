// bento: the front door of the admin's side. The big two are programs of their own.
#include "cli.h"
#include "commands.h"
#include "fleet.h"

#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct cli_command commands[] = {
    {"init", "start a fleet's repository", command_init, NULL},
    {"add-host", "enrol a node", command_add_host, NULL},
    {"remove-host", "take a node out of the fleet", command_remove_host, NULL},
    {"ssh", "log in to a node, or run a command there", command_ssh, NULL},
    {"build", "build hosts; try or switch one at once", command_build, NULL},
    {"diff", "what nodes run against what they would get", command_diff, NULL},
    {"flake-update", "newer inputs for the flakes under hosts/", command_flake_update, NULL},
    {"signers", "whose signature counts: list, add, retire", command_signers, NULL},
    {"deploy", "build, sign and publish (bento-pub)", NULL, "bento-pub"},
    {"status", "what every node runs (bento-status)", NULL, "bento-status"},
    {"broker-config", "print the broker's configuration", command_broker_config, NULL},
    {"authorized-keys", "print the tunnel account's authorized_keys", command_authorized_keys,
        NULL},
    {0},
};

// Next to this executable, where it was installed or built; else in PATH.
static int execute(const char *program, char **argv)
{
    char self[PATH_MAX], path[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
    argv[0] = strdup(program);
    if (len > 0) {
        self[len] = 0;
        int used = snprintf(path, sizeof(path), "%s/%s", dirname(self), program);
        if (used > 0 && (size_t)used < sizeof(path)) {
            execv(path, argv);
        }
    }
    execvp(program, argv);
    struct err e;
    err_set(&e, CODE_IO, "%s: %m: it should lie beside bento", program);
    free(argv[0]);
    return cli_fail("bento", &e);
}

int main(int argc, char **argv)
{
    const char *directory = NULL;
    const struct cli_option options[] = {
        REPOSITORY_OPTION(&directory),
        {0},
    };
    const struct cli cli = {
        .program = "bento",
        .synopsis = "COMMAND …",
        .purpose = "Keeps a fleet of NixOS machines up to date. `bento COMMAND --help` tells more.",
        .example = "bento init ~/fleet",
        .options = options,
        .commands = commands,
        .options_first = true,
    };
    int words;
    struct err e;
    const struct cli_command *command;
    char **word = cli_parse(&cli, argc, argv, &words);
    if (!words || !strcmp(word[0], "help")) {
        cli_help(&cli, words ? EXIT_SUCCESS : EXIT_USAGE);
    }
    if (directory) {
        setenv("BENTO_DIR", directory, 1);
    }
    if (!cli_find_command(&cli, word[0], &command, &e)) {
        return cli_fail(cli.program, &e);
    }
    return command->run ? command->run(words, word) : execute(command->program, word);
}
