// A node's two keys: the identity, which signs and opens and which only bento-apply reads, and the
// tunnel key, which opens the ssh tunnel and nothing else and belongs to bento-node.
#pragma once

#include "config.h"
#include "sshkey.h"

// In locked memory (sodium_malloc); free with keys_free. Read from disk each time it is needed,
// kept for as short as possible. CONFIG says which file and what to do.
MUST_CHECK bool keys_load_identity(
    const struct config *config, struct secret_key **identity, struct err *e);
void keys_free(struct secret_key **identity);
// Makes what is missing of the two: the identity unless the host has an ssh_host_ed25519_key, the
// tunnel key always.
MUST_CHECK bool keys_ensure(const struct config *config, struct err *e);
// The two public lines that `bento add-host` takes.
MUST_CHECK bool keys_print(const struct config *config, struct err *e);
