#include "terminal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

struct terminal_size terminal_size(FILE *out)
{
    struct winsize size = {0};
    if (!isatty(fileno(out))) {
        return (struct terminal_size){0};
    }
    if (ioctl(fileno(out), TIOCGWINSZ, &size) != 0 || !size.ws_col || !size.ws_row) {
        return (struct terminal_size){.width = 80, .height = 24};
    }
    return (struct terminal_size){.width = size.ws_col, .height = size.ws_row};
}

bool terminal_may_draw(FILE *out)
{
    const char *term = getenv("TERM");
    return isatty(fileno(out)) && term && strcmp(term, "dumb") != 0;
}

bool terminal_may_color(FILE *out)
{
    const char *no = getenv("NO_COLOR");
    return terminal_may_draw(out) && !(no && *no);
}
