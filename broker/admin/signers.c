#include "cli.h"
#include "commands.h"
#include "fs.h"
#include "laggards.h"
#include "rotation.h"
#include "server.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY_BYTES_MAX 65536u

static const char *directory;
static bool openssh, force;

static const struct cli_option options[] = {
    REPOSITORY_OPTION(&directory),
    {0, "openssh", NULL, "print them as allowed_signers, for ssh-keygen -Y verify", NULL, &openssh},
    {0, "force", NULL, "leave behind the nodes that lag: they need new bootstrap files", NULL,
        &force},
    {0},
};

static const struct cli cli = {
    .program = "bento signers",
    .synopsis = "[list | add KEY | retire KEY]",
    .purpose =
        "Whose signature makes a release. add: both sign until every node has reported; again, to "
        "finish. retire: raises the epoch as well, refused while a node would be left behind. KEY: "
        "a public key line or its file; to retire also its comment or fingerprint.",
    .example = "bento signers add new.pub && bento deploy --wait\n"
               "bento signers retire alice@old-desk && bento deploy --wait",
    .options = options,
};

// The key that a command is about.
struct subject {
    struct public_key key;
    char *line;
};

static void subject_clear(struct subject *subject)
{
    free(subject->line);
}

static const char *comment_of(const char *line)
{
    const char *space = strchr(line, ' ');
    space = space ? strchr(space + 1, ' ') : NULL;
    return space ? space + 1 : "";
}

static void print_fingerprint(const struct public_key *key, char text[FINGERPRINT_BYTES])
{
    uint8_t id[HASH_BYTES];
    public_key_id(key, id);
    fingerprint(id, text);
}

// ---- which key ----

// A line, or a file that holds one.
static bool read_key(const char *word, struct subject *subject, struct err *e)
{
    CLEANUP(buf_clear) struct buf text = {0};
    if (fs_exists(AT_FDCWD, word)) {
        if (!fs_read_following(AT_FDCWD, word, KEY_BYTES_MAX, &text, e)) {
            return false;
        }
    } else {
        buf_append_text(&text, word);
    }
    subject->line = xstrdup(buf_text(&text));
    subject->line[strcspn(subject->line, "\r\n")] = 0;
    return public_key_parse(bytes_of_text(subject->line), &subject->key, e) ||
           err_set(e, CODE_USAGE,
               "%s is neither a public key line (\"ssh-ed25519 AAAA… you\") nor a file with one",
               word);
}

// A signer by comment or fingerprint, or as above.
static bool find_signer(
    const struct fleet *fleet, const char *word, struct subject *subject, struct err *e)
{
    const char *comments[SIGNERS_MAX];
    size_t count = fleet->trust.signer_count;
    for (size_t i = 0; i < count; i++) {
        char id[FINGERPRINT_BYTES];
        print_fingerprint(&fleet->trust.signers[i], id);
        comments[i] = comment_of(fleet->signer_lines[i]);
        if (!strcmp(word, id) || !strcmp(word, comments[i])) {
            subject->key = fleet->trust.signers[i];
            subject->line = xstrdup(fleet->signer_lines[i]);
            return true;
        }
    }
    struct err ignored; // it was a name, then
    if (!read_key(word, subject, &ignored)) {
        return cli_unknown("signer", word, comments, count, "`bento signers` lists them", e);
    }
    for (size_t i = 0; i < count; i++) {
        if (public_key_same(&fleet->trust.signers[i], &subject->key)) {
            return true;
        }
    }
    return err_set(e, CODE_CONFIG, "that key is not a signer: `bento signers` lists them");
}

// ---- list ----

static void print_list(const struct fleet *fleet)
{
    bool joins = false;
    for (size_t i = 0; i < fleet->trust.signer_count; i++) {
        char id[FINGERPRINT_BYTES];
        print_fingerprint(&fleet->trust.signers[i], id);
        joins |= fleet->joining[i];
        printf("%-8s %s %s\n", fleet->joining[i] ? "joining" : "signer", id,
            comment_of(fleet->signer_lines[i]));
    }
    if (joins) {
        printf(
            "One that joins signs along, and counts when every node has it: bento signers add\n");
    }
    printf("%u must sign; epoch %llu\n", fleet->trust.threshold, (unsigned long long)fleet->epoch);
}

// A principal is a pattern: what would be special in one becomes a dash.
static void print_openssh(const struct fleet *fleet)
{
    for (size_t i = 0; i < fleet->trust.signer_count; i++) {
        CLEANUP(buf_clear) struct buf line = {0};
        const char *comment = comment_of(fleet->signer_lines[i]);
        for (const char *c = *comment ? comment : "admin"; *c; c++) {
            putchar(strchr(" \t,*?!\"#", *c) ? '-' : *c);
        }
        public_key_line(&fleet->trust.signers[i], &line);
        printf(" namespaces=\"%s\" %s\n", NAMESPACE_RELEASE, buf_text(&line));
    }
}

// ---- add, retire ----

// The rotation is written when the fleet that it makes is a good one; utils/node.json follows.
static bool save(struct fleet_text *text, const struct rotation *rotation, struct err *e)
{
    struct fleet fleet;
    CLEANUP_FD root = -1;
    buf_clear(&text->signers);
    rotation_text(rotation, &text->signers);
    if (!fleet_parse(text, true, &fleet, e)) {
        return false;
    }
    bool ok = fs_open_dir(AT_FDCWD, fleet.root, &root, e) &&
              fs_write(root, "signers.json", buf_bytes(&text->signers), 0644, e);
    if (ok) {
        printf("wrote    signers.json\n");
        ok = server_refresh(&fleet, e);
    }
    fleet_clear(&fleet);
    return ok;
}

// True: nobody lags, or they are to be left behind.
static bool all_are_up(const struct fleet *fleet, const struct public_key *leaving, struct err *e)
{
    CLEANUP(laggards_clear) struct laggards laggards = {0};
    if (!fleet->node_count) {
        return true;
    }
    bool asked = laggards_find(fleet, leaving, &laggards, e);
    if (!asked) {
        bool goes_on = force && e->code != CODE_EPOCH; // which would leave behind all of them
        if (goes_on) {
            fprintf(stderr, "warning: %s\n", e->text);
        }
        return goes_on;
    }
    if (laggards.count) {
        fflush(stdout);
        fprintf(stderr, "%s", buf_text(&laggards.lines));
    }
    return !laggards.count || force ||
           err_set(e, CODE_REFUSED,
               "%zu of %zu nodes would be left behind; nothing was changed. Wait for them, take "
               "them "
               "out with `bento remove-host`, or say --force",
               laggards.count, fleet->node_count);
}

static void print_next(const char *last)
{
    printf("\nNext:\n"
           "  1. bento broker-config    anew to the server, and restart bento-broker there\n"
           "  2. bento deploy --wait    to all nodes\n"
           "%s",
        last);
}

static bool add(const struct fleet *fleet, struct fleet_text *text, struct rotation *rotation,
    const struct subject *subject, struct err *e)
{
    bool known = false, joining = false;
    for (size_t i = 0; i < fleet->trust.signer_count; i++) {
        if (public_key_same(&fleet->trust.signers[i], &subject->key)) {
            known = true;
            joining = fleet->joining[i];
        }
    }
    if (known && !joining) {
        printf("It is a signer already, and every node knows it.\n");
        return true;
    }
    if (joining && !all_are_up(fleet, NULL, e)) {
        return false;
    }
    bool settled = joining || !fleet->node_count;
    if (!rotation_put(rotation, settled ? ROTATION_ADDED : ROTATION_JOINING, &subject->key,
            subject->line, e) ||
        !save(text, rotation, e)) {
        return false;
    }
    if (settled) {
        printf("Every node knows it: from now on it may sign alone.\n");
    } else {
        print_next("     It signs along where it is at hand: ssh-agent, ~/.ssh or --key.\n"
                   "  3. bento signers add KEY  again: from then on it may sign alone; or\n"
                   "     bento signers retire KEY, the old one\n");
    }
    return true;
}

static bool retire(const struct fleet *fleet, struct fleet_text *text, struct rotation *rotation,
    const struct subject *subject, struct err *e)
{
    if (fleet->trust.signer_count - 1 < fleet->trust.threshold) {
        return err_set(e, CODE_CONFIG,
            "it would leave %zu signers, and %u must sign: add another one first",
            fleet->trust.signer_count - 1, fleet->trust.threshold);
    }
    if (!all_are_up(fleet, &subject->key, e) ||
        !rotation_put(rotation, ROTATION_RETIRED, &subject->key, subject->line, e)) {
        return false;
    }
    while (rotation->count[ROTATION_JOINING]) {
        const struct rotation_key *key = &rotation->keys[ROTATION_JOINING][0];
        struct public_key copy = key->key;
        if (!rotation_put(rotation, ROTATION_ADDED, &copy, key->line, e)) {
            return false;
        }
    }
    rotation->epoch = fleet->epoch + 1;
    if (!save(text, rotation, e)) {
        return false;
    }
    print_next("     With this release they forget the old key, and all that it signed.\n");
    return true;
}

static bool change(char **word, struct fleet_text *text, const struct fleet *fleet, struct err *e)
{
    CLEANUP(rotation_clear) struct rotation rotation = {0};
    CLEANUP(subject_clear) struct subject subject = {0};
    bool adds = !strcmp(word[0], "add");
    return rotation_parse(buf_bytes(&text->signers), &rotation, e) &&
           (adds ? read_key(word[1], &subject, e) : find_signer(fleet, word[1], &subject, e)) &&
           (adds ? add : retire)(fleet, text, &rotation, &subject, e);
}

static bool check_words(char **word, int words, struct err *e)
{
    static const char *const names[] = {"list", "add", "retire"};
    if (!words || !strcmp(word[0], "list")) {
        return words < 2 || err_set(e, CODE_USAGE, "list takes no key");
    }
    if (strcmp(word[0], "add") != 0 && strcmp(word[0], "retire") != 0) {
        return cli_unknown("command", word[0], names, 3, "list, add KEY or retire KEY", e);
    }
    return (words == 2 && !openssh) ||
           err_set(e, CODE_USAGE, "name one key: bento signers %s KEY", word[0]);
}

int command_signers(int argc, char **argv)
{
    int words, status = 0;
    struct err e;
    CLEANUP(fleet_text_clear) struct fleet_text text = {0};
    struct fleet fleet = {0};
    char **word = cli_parse(&cli, argc, argv, &words);
    if (!check_words(word, words, &e) || !fleet_read(directory, &text, &e) ||
        !fleet_parse(&text, true, &fleet, &e)) {
        return cli_fail(cli.program, &e);
    }
    if (words == 2) {
        status = change(word, &text, &fleet, &e) ? 0 : cli_fail(cli.program, &e);
    } else if (openssh) {
        print_openssh(&fleet);
    } else {
        print_list(&fleet);
    }
    fleet_clear(&fleet);
    return status;
}
