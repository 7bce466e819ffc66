#include "commands.h"

#include "cli.h"
#include "floor.h"
#include "fs.h"
#include "journal.h"
#include "keys.h"
#include "spool.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// The whole of it, not only the frozen trial: a journal that is started from scratch forgets what
// was tried how often.
static bool check_journal(int dir, struct err *e)
{
    struct apply apply;
    return journal_look(dir, &apply, e) || e->code == CODE_NONE;
}

// Tickets are for the identity that has run until now.
static bool check_identity(const struct config *config, int state, struct err *e)
{
    struct secret_key *identity CLEANUP(keys_free) = NULL;
    struct buf text CLEANUP(buf_clear) = {0};
    struct want want;
    struct err ignored;
    uint8_t id[HASH_BYTES];
    if (!keys_load_identity(config, &identity, e)) {
        return false;
    }
    public_key_id(&identity->public, id);
    bool known = fs_read(state, "spool/out/want", WANT_BYTES_MAX, &text, &ignored) &&
                 want_decode(buf_bytes(&text), &want, &ignored);
    if (known && memcmp(id, want.node_id, HASH_BYTES) != 0) {
        char now[FINGERPRINT_BYTES], then[FINGERPRINT_BYTES];
        fingerprint(id, now);
        fingerprint(want.node_id, then);
        return err_set(
            e, CODE_CONFIG, "its identity would be %s, the fleet knows this node as %s", now, then);
    }
    return true;
}

// Whether the new configuration believes the head. The floor has to be readable, but is not what
// the head is held against: a newer one may have come since, and its tickets been withheld. Nor is
// expiry a lock-out: the next release has another.
static bool check_head(const struct config *config, int dir, const char *path, struct err *e)
{
    struct buf envelope CLEANUP(buf_clear) = {0};
    const struct floor configured = {.epoch = config->epoch, .release = config->minimum_release};
    struct floor floor, raised;
    struct head head;
    uint8_t head_hash[HASH_BYTES];
    return floor_load(config, dir, &floor, e) &&
           fs_read_following(AT_FDCWD, path, ENVELOPE_BYTES_MAX, &envelope, e) &&
           verify_head(
               &config->trust, &configured, buf_bytes(&envelope), &head, head_hash, &raised, e);
}

static bool check(const struct config *config, const char *envelope, struct err *e)
{
    CLEANUP_FD state = -1;
    CLEANUP_FD dir = -1;
    return fs_open_dir(AT_FDCWD, config->state, &state, e) &&
           fs_open_dir(state, "apply", &dir, e) && check_journal(dir, e) &&
           check_identity(config, state, e) && check_head(config, dir, envelope, e);
}

int selfcheck_main(const char *config_path, int argc, char **argv)
{
    struct config config;
    struct err e;
    if (argc != 2) {
        err_set(&e, CODE_USAGE, "name a release: bento-apply selfcheck ENVELOPE");
        return cli_fail("bento-apply", &e);
    }
    bool opened = config_open(config_path, &config, &e);
    bool ok = opened && check(&config, argv[1], &e);
    if (opened) {
        config_clear(&config);
    }
    if (!ok) {
        printf("%s: %s: %s\n", code_name(CODE_LOCKOUT), code_name(e.code), e.text);
        return EXIT_FAILURE;
    }
    puts("OK");
    return EXIT_SUCCESS;
}
