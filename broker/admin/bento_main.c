// bento: the front door of the admin's side. The big two are programs of their own.
#include "cli.h"
#include "commands.h"

#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct command {
    const char *name;
    int (*run)(int argc, char **argv); // or
    const char *program;               // to be executed instead
    const char *help;
};

static const struct command commands[] = {
    {"init", command_init, NULL, "start a fleet's repository here"},
    {"add-host", command_add_host, NULL, "enrol a node"},
    {"build", command_build, NULL, "build hosts; try or switch one at once"},
    {"diff", command_diff, NULL, "what nodes run against what they would get"},
    {"flake-update", command_flake_update, NULL, "newer inputs for the flakes under hosts/"},
    {"deploy", NULL, "bento-pub", "build, sign and publish (bento-pub)"},
    {"status", NULL, "bento-status", "what every node runs (bento-status)"},
    {"broker-config", command_broker_config, NULL, "print the broker's configuration"},
    {"authorized-keys", command_authorized_keys, NULL,
        "print the tunnel account's authorized_keys"},
};
#define COMMAND_COUNT (sizeof(commands) / sizeof(*commands))

static int print_help(FILE *out, int status)
{
    fprintf(out, "bento COMMAND [ARGUMENTS]: keeps a fleet of NixOS machines up to date.\n\n");
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        fprintf(out, "  %-16s %s\n", commands[i].name, commands[i].help);
    }
    fprintf(out,
        "\nbento COMMAND --help tells more. All take -C DIR (or BENTO_DIR), the repository.\n");
    return status;
}

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

static int refuse(const char *word)
{
    const char *names[COMMAND_COUNT];
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        names[i] = commands[i].name;
    }
    const char *near = cli_nearest(word, names, COMMAND_COUNT);
    struct err e;
    err_set(&e, CODE_USAGE, "no command %s%s%s; `bento --help` lists them", word,
        near ? "; did you mean " : "", near ? near : "");
    return cli_fail("bento", &e);
}

int main(int argc, char **argv)
{
    // `bento -C DIR COMMAND`, as git has it.
    while (argc > 2 && !strcmp(argv[1], "-C")) {
        setenv("BENTO_DIR", argv[2], 1);
        argv += 2;
        argc -= 2;
    }
    if (argc < 2 || !strcmp(argv[1], "--help") || !strcmp(argv[1], "help") ||
        !strcmp(argv[1], "-h")) {
        return argc < 2 ? print_help(stderr, EXIT_USAGE) : print_help(stdout, 0);
    }
    if (!strcmp(argv[1], "--version")) {
        printf("bento %s\n", bento_version);
        return 0;
    }
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        const struct command *command = &commands[i];
        if (!strcmp(argv[1], command->name)) {
            return command->run ? command->run(argc - 1, argv + 1)
                                : execute(command->program, argv + 1);
        }
    }
    return refuse(argv[1]);
}
