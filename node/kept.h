// Configurations that passed every check, as ciphertext: kept/DIGEST/{ticket,bundle,tree}. For
// jobs, for restarts, and for going back. They are opened anew each time, so that nothing of a
// bundle lies on the disk in clear.
#pragma once

#include "config.h"
#include "verify.h"

// Durable when it returns true; one that is there already is left as it is.
MUST_CHECK bool kept_store(
    int kept, const struct opened *opened, struct bytes bundle, struct bytes tree, struct err *e);
// Checks and opens it again. opened_clear() on success.
MUST_CHECK bool kept_open(int kept, const uint8_t digest[HASH_BYTES],
    const struct secret_key *identity, struct opened *opened, struct err *e);
// The same for a job: by the digest in hex, from the folder of the configuration, with the identity
// from its file.
MUST_CHECK bool kept_load(
    const struct config *config, const char *digest_hex, struct opened *opened, struct err *e);
// Removes all but the needed ones, whose names begin with one of their digests, and the `spare`
// newest of the others, which a later release may ask for again.
void kept_forget(int kept, const uint8_t *const *needed, size_t count, size_t spare);
