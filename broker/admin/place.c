#include "place.h"

#include "bounds.h"
#include "bytes.h"

#include <stdlib.h>
#include <string.h>

static bool only(const char *text, const char *allowed)
{
    return text[0] && text[strspn(text, allowed)] == '\0';
}

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

static bool user_is_clean(const char *user)
{
    return user[0] != '-' && only(user, LETTERS DIGITS "._+@-");
}

static bool host_is_clean(const char *host)
{
    return host[0] != '-' && only(host, LETTERS DIGITS "._:-");
}

// A colon would end the path inside of -L, % and $ would be expanded there.
bool place_socket_is_clean(const char *path)
{
    return path[0] == '/' && only(path, LETTERS DIGITS "/._+@-") &&
           strlen(path) <= SOCKET_PATH_MAX && strrchr(path, '/')[1] != '\0';
}

static bool port_is_clean(const char *port)
{
    return strlen(port) <= 5 && only(port, DIGITS) && atoi(port) >= 1 && atoi(port) <= 65535;
}

// Splits "host[:port]" or "[v6][:port]" in place.
static bool host_split(char *text, char **host, char **port)
{
    *port = NULL;
    *host = text;
    char *rest;
    if (text[0] == '[') {
        *host = text + 1;
        char *end = strchr(text, ']');
        if (!end)
            return false;
        *end = '\0';
        rest = end + 1;
        if (*rest != '\0' && *rest != ':')
            return false;
    } else {
        rest = text + strcspn(text, ":");
    }
    if (*rest == ':') {
        *rest = '\0';
        *port = rest + 1;
    }
    return true;
}

bool place_parse(const char *where, struct place *place, struct err *e)
{
    *place = (struct place){0};
    char *text = xstrdup(where + strlen("ssh://"));
    char *slash = strchr(text, '/');
    place->socket = xstrdup(slash ? slash : ADMIN_SOCKET);
    if (slash)
        *slash = '\0';
    char *at = strrchr(text, '@');
    char *user = at ? text : NULL;
    if (at)
        *at = '\0';
    char *host, *port;
    bool ok = host_split(at ? at + 1 : text, &host, &port) && host_is_clean(host) &&
              (!user || user_is_clean(user)) && (!port || port_is_clean(port)) &&
              place_socket_is_clean(place->socket);
    if (ok) {
        struct buf destination = {0};
        buf_printf(&destination, "%s%s%s", user ? user : "", user ? "@" : "", host);
        place->destination = xstrdup(buf_text(&destination));
        place->port = port ? xstrdup(port) : NULL;
        buf_clear(&destination);
    } else {
        err_set(e, CODE_CONFIG, "`%s` is not ssh://[user@]host[:port][/path/of/admin.sock]", where);
        place_clear(place);
    }
    free(text);
    return ok;
}

void place_clear(struct place *place)
{
    free(place->destination);
    free(place->port);
    free(place->socket);
    *place = (struct place){0};
}
