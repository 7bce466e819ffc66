// Having a head signed by `ssh-keygen -Y sign`, so that agents, passphrases and tokens work as
// everywhere else. No secret key is ever read here.
#pragma once

#include "fleet.h"

// Collects as many signatures of settled signers as the fleet's threshold asks for, and those of
// joining ones (rotation.h) that are at hand, from in turn: key_file (NULL:
// BENTO_KEY, or none), signers in the ssh-agent, ~/.ssh/id_*.pub that are signers. Prompts go to
// the terminal. Appends the envelope, checked with trust_verify. SIGNER with what was looked at if
// there are too few.
MUST_CHECK bool sign_head(const struct fleet *fleet, struct bytes head, const char *key_file,
    struct buf *envelope, struct err *e);
