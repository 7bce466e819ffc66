// Where ssh shall go to reach a broker, taken apart: ssh://[user@]host[:port][/path/of/admin.sock].
#pragma once

#include "err.h"

#include <sys/un.h>

#define SOCKET_PATH_MAX (sizeof(((struct sockaddr_un *)0)->sun_path) - 1)

struct place {
    char *destination, *port,
        *socket; // [user@]host; port may be NULL; the broker's own if not said
};
// CONFIG if it is not one. Nothing in it can become an option of ssh.
MUST_CHECK bool place_parse(const char *where, struct place *place, struct err *e);
void place_clear(struct place *place);
// A path that ssh takes as it stands inside of -L.
bool place_socket_is_clean(const char *path);
