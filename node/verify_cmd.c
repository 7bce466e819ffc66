// `bento-apply verify`: a node's verdict about files that somebody names, without network, daemon
// or configuration. What makes a node lies in one folder D, which must be root's or ours and
// writable by nobody else, as must be every file in it:
//
//     fleet             the fleet's id, 64 hex digits
//     signers           public key lines, one a line
//     threshold         how many of them have to sign (default 1)
//     require_pin       `true` or `false` (default)
//     identity          the node's private key, as ssh-keygen -t ed25519 writes it; mode 0600
//     floor             highest release seen; made and raised here as a node would
//     epoch, minimum_release    a start for the floor, where there is none (default 0)
//
// Prints the code of the first check that failed, or OK; exit status 0 for OK only. BLOB and TREE
// may be left out: then OK says that they are what a node would fetch next.
#include "commands.h"

#include "cli.h"
#include "floor.h"
#include "fs.h"
#include "judge.h"
#include "keys.h"
#include "loop.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_MAX (64u << 10)

struct node {
    int dir; // D
    struct config config;
    char identity[PATH_MAX];
    struct floor floor;
    uint8_t node_id[HASH_BYTES];
};

static bool parse_number(const char *text, uint64_t *number)
{
    char *end;
    errno = 0;
    *number = strtoull(text, &end, 10);
    return text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0;
}

// A file of D, without its final newline. NONE if there is none.
static bool read_text(const struct node *node, const char *name, struct buf *text, struct err *e)
{
    if (!fs_exists(node->dir, name)) {
        return err_set(e, CODE_NONE, "there is no file %s in the state folder", name);
    }
    if (!fs_check_private(node->dir, name, false, e) ||
        !fs_read(node->dir, name, TEXT_MAX, text, e)) {
        return false;
    }
    if (text->len > 0 && text->at[text->len - 1] == '\n') {
        text->len--;
    }
    if (memchr(text->at, '\0', text->len) != NULL) {
        return err_set(e, CODE_CONFIG, "%s holds a NUL", name);
    }
    buf_text(text); // terminated
    return true;
}

// Absent: stays as it is.
static bool read_number(
    const struct node *node, const char *name, uint64_t max, uint64_t *number, struct err *e)
{
    struct buf text CLEANUP(buf_clear) = {0};
    if (!read_text(node, name, &text, e)) {
        return e->code == CODE_NONE;
    }
    if (!parse_number(buf_text(&text), number) || *number > max) {
        return err_set(e, CODE_CONFIG, "%s must hold one number", name);
    }
    return true;
}

static bool read_signers(const struct node *node, struct trust *trust, struct err *e)
{
    struct buf text CLEANUP(buf_clear) = {0};
    if (!read_text(node, "signers", &text, e)) {
        return false;
    }
    char *rest = (char *)text.at;
    while (rest != NULL) {
        if (!trust_add(trust, strsep(&rest, "\n"), e)) {
            return err_wrap(e, "signers");
        }
    }
    return true;
}

static bool read_trust(const struct node *node, struct trust *trust, struct err *e)
{
    struct buf fleet CLEANUP(buf_clear) = {0};
    struct buf pin CLEANUP(buf_clear) = {0};
    uint64_t threshold = 1;
    if (!read_text(node, "fleet", &fleet, e) || !read_signers(node, trust, e) ||
        !read_number(node, "threshold", SIGNATURES_MAX, &threshold, e)) {
        return false;
    }
    if (!hex_decode((const char *)fleet.at, fleet.len, trust->fleet, sizeof trust->fleet)) {
        return err_set(e, CODE_CONFIG, "fleet must hold 64 hex digits");
    }
    trust->threshold = (unsigned)threshold;
    if (read_text(node, "require_pin", &pin, e)) {
        trust->require_pin = bytes_equal_text(buf_bytes(&pin), "true");
        if (!trust->require_pin && !bytes_equal_text(buf_bytes(&pin), "false")) {
            return err_set(e, CODE_CONFIG, "require_pin must hold true or false");
        }
    } else if (e->code != CODE_NONE) {
        return false;
    }
    return trust_check(trust, e);
}

static bool open_node(const char *path, struct node *node, struct err *e)
{
    struct secret_key *identity CLEANUP(keys_free) = NULL;
    struct config *config = &node->config;
    config_defaults(path, config);
    snprintf(node->identity, sizeof node->identity, "%s/identity", path);
    config->identity = node->identity;
    config->floor_copy = NULL;
    if (!fs_check_private_dir(AT_FDCWD, path, false, e) ||
        !fs_open_dir(AT_FDCWD, path, &node->dir, e) || !read_trust(node, &config->trust, e) ||
        !read_number(node, "epoch", UINT64_MAX, &config->epoch, e) ||
        !read_number(node, "minimum_release", UINT64_MAX, &config->minimum_release, e) ||
        !keys_load_identity(config, &identity, e) ||
        !floor_load(config, node->dir, &node->floor, e)) {
        if (e->code == CODE_NONE) {
            e->code = CODE_CONFIG;
        }
        return err_wrap(e, "%.200s", path);
    }
    public_key_id(&identity->public, node->node_id);
    fs_sweep(node->dir, "floor");
    return true;
}

// The words of the command line: ENVELOPE PROVEN [BLOB [TREE]].
struct files {
    int count;
    char **paths;
};

static bool read_file(void *context, enum part part, const uint8_t hash[HASH_BYTES], uint64_t len,
    struct buf *out, struct err *e)
{
    static const size_t limits[] = {[PART_ENVELOPE] = ENVELOPE_BYTES_MAX,
        [PART_PROVEN] = PROVEN_BYTES_MAX,
        [PART_BUNDLE] = BLOB_BYTES_MAX,
        [PART_TREE] = BLOB_BYTES_MAX};
    const struct files *files = context;
    (void)hash;
    bool is_blob = part == PART_BUNDLE || part == PART_TREE;
    if ((int)part >= files->count || files->paths[part][0] == '\0') {
        return err_set(e, CODE_NONE, "not given");
    }
    bool ok = fs_read_following(
        AT_FDCWD, files->paths[part], is_blob ? (size_t)len : limits[part], out, e);
    if (!ok && e->code == CODE_NONE && part != PART_PROVEN) {
        e->code = CODE_IO; // named, but not there
    }
    return ok;
}

static int verify(const char *state, uint64_t unix_s, struct files *files, struct err *e)
{
    struct node node = {.dir = -1};
    struct judged judged;
    if (!open_node(state, &node, e)) {
        fd_closep(&node.dir);
        return cli_fail("bento-apply", e);
    }
    const struct judge judge = {.config = &node.config,
        .dir = node.dir,
        .floor = &node.floor,
        .node_id = node.node_id,
        .unix_s = unix_s,
        .read = read_file,
        .context = files};
    enum verdict verdict = judge_release(&judge, &judged, e);
    judged_clear(&judged);
    fd_closep(&node.dir);
    bool refused = verdict == VERDICT_REFUSED || verdict == VERDICT_LATER;
    puts(refused ? code_name(e->code) : "OK");
    if (verdict == VERDICT_MISSING) {
        fprintf(stderr, "bento-apply: authentic so far; what the ticket names was not all given\n");
    }
    return refused ? cli_fail("bento-apply", e) : EXIT_SUCCESS;
}

int verify_main(int argc, char **argv)
{
    const char *state = NULL, *now = NULL;
    const struct cli_option options[] = {
        {0, "state", "DIR", "fleet, signers, threshold, identity and floor of the node", &state,
            NULL},
        {0, "now", "SECONDS", "what the node's clock says, in unix seconds (default: ours)", &now,
            NULL},
        {0, NULL, NULL, NULL, NULL, NULL},
    };
    const struct cli cli = {.program = "bento-apply verify",
        .synopsis = "ENVELOPE PROVEN [BLOB [TREE]]",
        .purpose = "Says what a node would say to a release: OK, or the code of the first check "
                   "that fails.",
        .example = "bento-apply verify --state node --now 1764000000 envelope proven blob tree",
        .options = options};
    int words;
    uint64_t unix_s = clock_unix_s();
    struct err e;
    argv = cli_parse(&cli, argc, argv, &words);
    if (state == NULL || words < 1 || words > 4) {
        err_set(&e, CODE_USAGE,
            "name the node's state and the files: bento-apply verify --state DIR ENVELOPE PROVEN "
            "[BLOB [TREE]]");
        return cli_fail("bento-apply", &e);
    }
    if (now != NULL && !parse_number(now, &unix_s)) {
        err_set(&e, CODE_USAGE, "--now takes unix seconds, not '%.100s'", now);
        return cli_fail("bento-apply", &e);
    }
    return verify(state, unix_s, &(struct files){words, argv}, &e);
}
