// The terminal behind a stream: whether it can be drawn on, in colours, and how large it is now.
#pragma once

#include <stdbool.h>
#include <stdio.h>

struct terminal_size {
    unsigned width, height; // columns and lines; both 0: it is no terminal
};
// 80 and 24 for a terminal that does not say.
struct terminal_size terminal_size(FILE *out);
// out is a terminal that knows escape sequences.
bool terminal_may_draw(FILE *out);
// The same, and NO_COLOR (https://no-color.org) is unset or empty.
bool terminal_may_color(FILE *out);
