#include "trust.h"

#include <string.h>

bool trust_add(struct trust *trust, const char *line, struct err *e)
{
    struct public_key key;
    if (!public_key_parse(bytes_of_text(line), &key, e))
        return err_wrap(e, "signer %zu", trust->signer_count + 1);
    if (trust->signer_count == SIGNERS_MAX)
        return err_set(e, CODE_CONFIG, "more than %u signers", SIGNERS_MAX);
    for (size_t i = 0; i < trust->signer_count; i++) {
        if (public_key_same(&trust->signers[i], &key))
            return err_set(e, CODE_CONFIG, "signers %zu and %zu are the same key", i + 1,
                trust->signer_count + 1);
    }
    trust->signers[trust->signer_count++] = key;
    return true;
}

bool trust_check(const struct trust *trust, struct err *e)
{
    if (trust->signer_count == 0)
        return err_set(e, CODE_CONFIG, "there are no signers");
    if (trust->threshold == 0)
        return err_set(e, CODE_CONFIG, "the threshold is 0: nothing unsigned is ever accepted");
    if (trust->threshold > trust->signer_count)
        return err_set(e, CODE_CONFIG, "the threshold is %u, but there are only %zu signers",
            trust->threshold, trust->signer_count);
    if (trust->threshold > SIGNATURES_MAX)
        return err_set(e, CODE_CONFIG,
            "the threshold is %u, but a release carries at most %u signatures", trust->threshold,
            SIGNATURES_MAX);
    return true;
}

// Which signer made it, SIGNERS_MAX if none. The whole key counts: a signer's token is not a
// signer's file.
static size_t signer_of(const struct trust *trust, const struct public_key *key)
{
    for (size_t i = 0; i < trust->signer_count; i++) {
        const struct public_key *signer = &trust->signers[i];
        if (signer->type == key->type && public_key_same(signer, key) &&
            strcmp(signer->application, key->application) == 0)
            return i;
    }
    return SIGNERS_MAX;
}

// Every signature must be a good one; only those of distinct signers count.
static bool verify_signatures(
    const struct trust *trust, const struct envelope *envelope, struct err *e)
{
    bool signed_by[SIGNERS_MAX + 1] = {false};
    unsigned known = 0;
    for (size_t i = 0; i < envelope->signature_count; i++) {
        struct sshsig sig;
        if (!sshsig_decode(envelope->signatures[i], &sig, e) ||
            !sshsig_verify(&sig, NAMESPACE_RELEASE, envelope->head, trust->require_pin, e))
            return err_wrap(e, "signature %zu", i + 1);
        size_t signer = signer_of(trust, &sig.key);
        if (signer < trust->signer_count && !signed_by[signer])
            known++;
        signed_by[signer] = true;
    }
    if (known == 0)
        return err_set(e, CODE_SIGNER, "signed by nobody we know");
    if (known < trust->threshold)
        return err_set(e, CODE_THRESHOLD, "signed by %u of our signers, %u are required", known,
            trust->threshold);
    return true;
}

bool trust_verify(const struct trust *trust, struct bytes envelope, struct head *head,
    uint8_t head_hash[HASH_BYTES], struct err *e)
{
    struct envelope opened;
    struct head found;
    if (!envelope_decode(envelope, &opened, e) || !verify_signatures(trust, &opened, e) ||
        !head_decode(opened.head, &found, e))
        return false;
    if (memcmp(found.fleet, trust->fleet, sizeof(found.fleet)) != 0)
        return err_set(e, CODE_FLEET, "the release is another fleet's");
    *head = found;
    sha256(opened.head, head_hash);
    return true;
}
