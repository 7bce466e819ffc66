// The node's configuration file.
#include "config.h"

#include "fs.h"
#include "fuzz.h"

#include <stdio.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct config config;
    struct err e = {0};
    char path[128];
    ASSERT(fs_write(fuzz_folder(), "node.json", bytes_of(data, len), 0600, &e));
    snprintf(path, sizeof path, "%s/node.json", fuzz_folder_path());
    if (!config_open(path, &config, &e))
        return fuzz_refused(&e);
    ASSERT(config.trust.signer_count >= 1 && config.trust.threshold >= 1);
    ASSERT(config.trust.threshold <= config.trust.signer_count);
    ASSERT(config.endpoint_count >= 1 && config.endpoint_count <= LIST_MAX);
    for (size_t i = 0; i < config.endpoint_count; i++) {
        const struct endpoint *endpoint = &config.endpoints[i];
        bool ssh = endpoint->tunnel == TUNNEL_SSH;
        ASSERT(ssh || (endpoint->pub != NULL && endpoint->rep != NULL));
        ASSERT(!ssh || (endpoint->host[0] != '-' && endpoint->user[0] != '-'));
        ASSERT(endpoint->tunnel != TUNNEL_COMMAND || endpoint->argv[0] != NULL);
    }
    config_clear(&config);
    return 0;
}
