// What the tests of the node share: a configuration and keys made from seeds.
#pragma once

#include "config.h"
#include "proto_test.h"
#include "rt_test.h"

// "ssh-ed25519 AAAA…" of the key of that seed. Static, for one at a time.
static inline const char *line_of_key(uint8_t seed)
{
    static char text[4][256];
    static unsigned turn;
    struct secret_key key;
    struct buf line = {0};
    key_from_seed(seed, &key);
    public_key_line(&key.public, &line);
    char *here = text[turn++ % 4];
    snprintf(here, sizeof text[0], "%s", buf_text(&line));
    buf_clear(&line);
    return here;
}

// The defaults with a state folder of the test's; no account of another's.
static inline void config_in(const char *path, struct config *config)
{
    config_defaults("test", config);
    config->state = path;
    config->node_user = "no-such-user-in-tests";
}
