#include "sign.h"

#include "fs.h"
#include "proc.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SIGN_TIMEOUT_MS (300 * 1000) // somebody looks for a token
#define TEXT_FILE_BYTES_MAX 65536u

struct signing {
    const struct fleet *fleet;
    char folder[64]; // temporary, 0700: the head, public keys of the agent
    size_t count;
    struct public_key keys[SIGNATURES_MAX];
    struct buf signatures[SIGNATURES_MAX];
    struct buf problems; // why candidates did not sign
};

// Its place among the fleet's signers, SIGNERS_MAX if it is none.
static size_t signer_index(const struct fleet *fleet, const struct public_key *key)
{
    for (size_t i = 0; i < fleet->trust.signer_count; i++) {
        if (public_key_same(&fleet->trust.signers[i], key)) {
            return i;
        }
    }
    return SIGNERS_MAX;
}

static bool is_joining(const struct fleet *fleet, const struct public_key *key)
{
    size_t i = signer_index(fleet, key);
    return i < SIGNERS_MAX && fleet->joining[i];
}

// Signatures that every node counts.
static size_t count_settled(const struct signing *signing)
{
    size_t count = 0;
    for (size_t i = 0; i < signing->count; i++) {
        count += !is_joining(signing->fleet, &signing->keys[i]);
    }
    return count;
}

static bool is_enough(const struct signing *signing)
{
    return count_settled(signing) >= signing->fleet->trust.threshold;
}

static bool has_signed(const struct signing *signing, const struct public_key *key)
{
    for (size_t i = 0; i < signing->count; i++) {
        if (public_key_same(&signing->keys[i], key)) {
            return true;
        }
    }
    return false;
}

// A signer that has not signed yet, and whose signature is of use.
static bool is_wanted(const struct signing *signing, const struct public_key *key)
{
    const struct fleet *fleet = signing->fleet;
    if (signer_index(fleet, key) == SIGNERS_MAX || has_signed(signing, key)) {
        return false;
    }
    size_t settled = count_settled(signing);
    return is_joining(fleet, key)
               ? signing->count - settled + fleet->trust.threshold < SIGNATURES_MAX
               : settled < fleet->trust.threshold;
}

static void note(struct signing *signing, const char *what, const char *why)
{
    buf_printf(&signing->problems, "%s%s: %s", signing->problems.len ? "; " : "", what, why);
}

// One run of ssh-keygen; -U: the secret half must be in the agent.
static bool run_keygen(
    struct signing *signing, const char *key_file, bool agent, struct buf *blob, struct err *e)
{
    CLEANUP(buf_clear) struct buf head = {0}, armor = {0}, path = {0};
    struct proc_result result = {0};
    buf_printf(&head, "%s/head", signing->folder);
    buf_printf(&path, "%s/head.sig", signing->folder);
    const char *argv[] = {"ssh-keygen", "-Y", "sign", "-q", "-n", NAMESPACE_RELEASE, "-f", key_file,
        agent ? "-U" : buf_text(&head), agent ? buf_text(&head) : NULL, NULL};
    if (!fs_remove(AT_FDCWD, buf_text(&path), e) ||
        !proc_run(argv, NULL, NULL, (struct bytes){0}, TEXT_FILE_BYTES_MAX, SIGN_TIMEOUT_MS, true,
            &result, e)) {
        proc_result_clear(&result);
        return false;
    }
    int status = result.status;
    proc_result_clear(&result);
    if (status != 0) {
        return err_set(e, CODE_SIGNER, "ssh-keygen -Y sign ended with status %d", status);
    }
    return fs_read(AT_FDCWD, buf_text(&path), TEXT_FILE_BYTES_MAX, &armor, e) &&
           sshsig_from_armor(buf_bytes(&armor), blob, e);
}

static bool try_key(struct signing *signing, const char *key_file, bool agent, struct err *e)
{
    CLEANUP(buf_clear) struct buf blob = {0};
    struct sshsig signature;
    if (!run_keygen(signing, key_file, agent, &blob, e) ||
        !sshsig_decode(buf_bytes(&blob), &signature, e)) {
        return false;
    }
    if (signer_index(signing->fleet, &signature.key) == SIGNERS_MAX) {
        return err_set(e, CODE_SIGNER, "is not among the signers of this fleet (`bento signers`)");
    }
    if (!is_wanted(signing, &signature.key)) {
        return true;
    }
    signing->keys[signing->count] = signature.key;
    buf_append(&signing->signatures[signing->count++], blob.at, blob.len);
    return true;
}

static void try_agent(struct signing *signing)
{
    const char *argv[] = {"ssh-add", "-L", NULL};
    struct proc_result result = {0};
    struct err e;
    const char *socket = getenv("SSH_AUTH_SOCK");
    if (!socket || !*socket) {
        return;
    }
    if (!proc_run(
            argv, NULL, NULL, (struct bytes){0}, TEXT_FILE_BYTES_MAX, 10000, false, &result, &e)) {
        note(signing, "ssh-agent", e.text);
        proc_result_clear(&result);
        return;
    }
    char *text = xstrdup(result.status == 0 ? buf_text(&result.out) : ""), *rest = text;
    proc_result_clear(&result);
    for (char *line; (line = strsep(&rest, "\n"));) {
        struct public_key key;
        CLEANUP(buf_clear) struct buf path = {0}, clean = {0};
        if (!public_key_parse(bytes_of_text(line), &key, &e) || !is_wanted(signing, &key)) {
            continue;
        }
        buf_printf(&path, "%s/agent%zu.pub", signing->folder, signing->count);
        public_key_line(&key, &clean);
        buf_append_text(&clean, "\n");
        if (!fs_write(AT_FDCWD, buf_text(&path), buf_bytes(&clean), 0600, &e) ||
            !try_key(signing, buf_text(&path), true, &e)) {
            note(signing, "ssh-agent", e.text);
        }
    }
    free(text);
}

static bool is_wanted_file(const struct signing *signing, const char *path)
{
    CLEANUP(buf_clear) struct buf text = {0};
    struct public_key key;
    struct err ignored; // not a key for us, so it is not asked
    if (!fs_read_following(AT_FDCWD, path, TEXT_FILE_BYTES_MAX, &text, &ignored)) {
        return false;
    }
    struct bytes line = buf_bytes(&text);
    while (line.len && line.at[line.len - 1] == '\n') {
        line.len--;
    }
    return public_key_parse(line, &key, &ignored) && is_wanted(signing, &key);
}

static void try_home(struct signing *signing)
{
    CLEANUP(buf_clear) struct buf ssh = {0};
    CLEANUP(names_clear) struct names names = {0};
    CLEANUP_FD dir = -1;
    struct err e;
    const char *home = getenv("HOME");
    buf_printf(&ssh, "%s/.ssh", home ? home : "");
    if (!home || !fs_open_dir(AT_FDCWD, buf_text(&ssh), &dir, &e) || !fs_list(dir, &names, &e)) {
        return;
    }
    for (size_t i = 0; i < names.count; i++) {
        const char *name = names.names[i];
        size_t len = strlen(name);
        CLEANUP(buf_clear) struct buf path = {0};
        buf_printf(&path, "%s/%s", buf_text(&ssh), name);
        if (strncmp(name, "id_", 3) != 0 || len < 5 || strcmp(name + len - 4, ".pub") != 0 ||
            !is_wanted_file(signing, buf_text(&path))) {
            continue;
        }
        path.len -= 4; // the secret half lies beside it
        if (!fs_exists(AT_FDCWD, buf_text(&path)) ||
            !try_key(signing, buf_text(&path), false, &e)) {
            note(signing, buf_text(&path),
                fs_exists(AT_FDCWD, buf_text(&path)) ? e.text : "is not there");
        }
    }
}

static bool collect(struct signing *signing, const char *key_file, struct err *e)
{
    const char *from_environment = getenv("BENTO_KEY");
    const char *named = key_file                                ? key_file
                        : from_environment && *from_environment ? from_environment
                                                                : NULL;
    if (named && !fs_exists(AT_FDCWD, named)) {
        return err_set(
            e, CODE_CONFIG, "%s: no such key file: give --key the private key of a signer", named);
    }
    if (named && !try_key(signing, named, false, e)) {
        return err_wrap(e, "%s", named); // asked for by name: nothing else will do
    }
    try_agent(signing);
    try_home(signing);
    if (is_enough(signing)) {
        return true;
    }
    if (signing->count > count_settled(signing)) {
        note(signing, "a key that was just added", "counts for nothing until every node has it");
    }
    return err_set(e, CODE_SIGNER,
        "%zu of %u signatures: no%s key of a signer in the ssh-agent or ~/.ssh; name one with "
        "--key FILE%s%s%s",
        count_settled(signing), signing->fleet->trust.threshold, signing->count ? " other" : "",
        signing->problems.len ? " (" : "", buf_text(&signing->problems),
        signing->problems.len ? ")" : "");
}

bool sign_head(const struct fleet *fleet, struct bytes head, const char *key_file,
    struct buf *envelope, struct err *e)
{
    struct signing signing = {.fleet = fleet};
    CLEANUP(buf_clear) struct buf path = {0}, message = {0};
    struct envelope whole = {.head = head};
    struct head checked;
    uint8_t hash[HASH_BYTES];
    snprintf(signing.folder, sizeof(signing.folder), "/tmp/bento-XXXXXX");
    if (!mkdtemp(signing.folder)) {
        return err_set(e, CODE_IO, "%s: %m", signing.folder);
    }
    buf_printf(&path, "%s/head", signing.folder);
    bool ok = fs_write(AT_FDCWD, buf_text(&path), head, 0600, e) && collect(&signing, key_file, e);
    if (ok) {
        whole.signature_count = signing.count;
        for (size_t i = 0; i < signing.count; i++) {
            whole.signatures[i] = buf_bytes(&signing.signatures[i]);
        }
        envelope_encode(&whole, &message);
        ok = trust_verify(&fleet->trust, buf_bytes(&message), &checked, hash, e) ||
             err_wrap(e, "own signature");
    }
    if (ok) {
        buf_append(envelope, message.at, message.len);
    }
    for (size_t i = 0; i < SIGNATURES_MAX; i++) {
        buf_clear(&signing.signatures[i]);
    }
    buf_clear(&signing.problems);
    struct err ignored; // holds nothing secret
    if (!fs_remove_tree(AT_FDCWD, signing.folder, &ignored)) {
        fprintf(stderr, "warning: %s stays behind: %s\n", signing.folder, ignored.text);
    }
    return ok;
}
