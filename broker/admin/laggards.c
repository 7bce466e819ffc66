#include "laggards.h"

#include "cache.h"
#include "loop.h"
#include "remote.h"
#include "report.h"
#include "treefs.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct search {
    const struct fleet *fleet;
    const struct public_key *leaving;
    struct report report;
    struct cache cache;
};

static bool stays(const struct search *search, const struct public_key *signer)
{
    return !search->leaving || !public_key_same(signer, search->leaving);
}

// ---- the newest release ----

static bool has_signed(const struct envelope *envelope, const struct public_key *signer)
{
    for (size_t i = 0; i < envelope->signature_count; i++) {
        struct sshsig signature;
        struct err ignored; // the release was verified
        if (sshsig_decode(envelope->signatures[i], &signature, &ignored) &&
            public_key_same(&signature.key, signer)) {
            return true;
        }
    }
    return false;
}

static bool check_signatures(const struct search *search, struct err *e)
{
    const struct trust *trust = &search->fleet->trust;
    struct envelope envelope;
    unsigned signed_by = 0;
    if (!search->report.published) {
        return err_set(e, CODE_NONE, "there is no release yet: run `bento deploy` first");
    }
    if (search->report.release.head.epoch < search->fleet->epoch) {
        return err_set(e, CODE_EPOCH,
            "epoch %" PRIu64 " is not deployed yet, and nodes follow one at a time: run `bento "
            "deploy --wait` first",
            search->fleet->epoch);
    }
    if (!envelope_decode(search->report.raw_release.envelope, &envelope, e)) {
        return false;
    }
    for (size_t i = 0; i < trust->signer_count; i++) {
        signed_by += stays(search, &trust->signers[i]) && has_signed(&envelope, &trust->signers[i]);
    }
    return !search->leaving || signed_by >= trust->threshold ||
           err_set(e, CODE_SIGNER,
               "those who stay have made %u of %u signatures of the newest release: run `bento "
               "deploy` with their keys at hand (ssh-agent, ~/.ssh or --key)",
               signed_by, trust->threshold);
}

// ---- one node ----

static bool is_up(const struct report_row *row)
{
    enum view_state state = row->view.state;
    return row->view.applied && (state == VIEW_UP_TO_DATE || state == VIEW_AUTO_UPGRADED ||
                                    state == VIEW_REBOOT_PENDING);
}

static bool names(struct bytes tree, const struct public_key *signer)
{
    CLEANUP(buf_clear) struct buf line = {0};
    public_key_line(signer, &line);
    return memmem(tree.at, tree.len, line.at, line.len);
}

// What lies in its folder now is what it was given, and names those who stay.
static bool check_folder(
    const struct search *search, const struct roster_node *node, struct buf *why)
{
    CLEANUP(buf_clear) struct buf path = {0}, tree = {0};
    const struct trust *trust = &search->fleet->trust;
    struct cached_tree sealed;
    uint8_t hash[HASH_BYTES];
    struct err e;
    buf_printf(&path, "hosts/%.*s", (int)node->directory.len, (const char *)node->directory.at);
    if (!treefs_pack(search->fleet->root, buf_text(&path), &tree, &e)) {
        buf_append_text(why, e.text);
        return false;
    }
    sha256(buf_bytes(&tree), hash);
    if (!cache_get_tree(&search->cache, hash, &sealed) ||
        memcmp(sealed.ct_hash, node->tree_hash, HASH_BYTES) != 0) {
        buf_printf(why, "%s was not deployed as it is now: bento deploy --wait", buf_text(&path));
        return false;
    }
    for (size_t i = 0; i < trust->signer_count; i++) {
        if (stays(search, &trust->signers[i]) && !names(buf_bytes(&tree), &trust->signers[i])) {
            buf_printf(why, "%s does not name signer %zu: does it import utils/bento.nix?",
                buf_text(&path), i + 1);
            return false;
        }
    }
    return true;
}

static bool check_row(const struct search *search, const struct report_row *row, struct buf *why)
{
    if (!row->in_release) {
        buf_append_text(why, "is not in the newest release: bento deploy --wait");
        return false;
    }
    if (!row->has_status) {
        buf_append_text(why, row->tampered ? "its report does not verify" : "has never reported");
        return false;
    }
    if (!is_up(row) || row->status.epoch != search->fleet->epoch) {
        buf_printf(why, "%s, release %" PRIu64 ", epoch %" PRIu64, view_state_word(row->view.state),
            row->status.release, row->status.epoch);
        return false;
    }
    return !row->in_release->has_tree || check_folder(search, row->in_release, why);
}

static void look(const struct search *search, struct laggards *laggards)
{
    for (size_t i = 0; i < search->report.row_count; i++) {
        const struct report_row *row = &search->report.rows[i];
        CLEANUP(buf_clear) struct buf why = {0};
        if (!check_row(search, row, &why)) {
            laggards->count++;
            buf_printf(&laggards->lines, "  %-12s %s\n", row->node->name, buf_text(&why));
        }
    }
}

bool laggards_find(const struct fleet *fleet, const struct public_key *leaving,
    struct laggards *laggards, struct err *e)
{
    struct search search = {.fleet = fleet, .leaving = leaving, .cache = {-1, -1, -1}};
    CLEANUP(remote_closep) struct remote *remote = NULL;
    *laggards = (struct laggards){0};
    if (!remote_open(fleet->admin, &remote, e) ||
        !report_fetch(remote, fleet, clock_unix_s(), &search.report, e)) {
        return false;
    }
    bool ok = cache_open(fleet->trust.fleet, &search.cache, e) && check_signatures(&search, e);
    if (ok) {
        look(&search, laggards);
    }
    cache_close(&search.cache);
    report_clear(&search.report);
    return ok;
}

void laggards_clear(struct laggards *laggards)
{
    buf_clear(&laggards->lines);
}
