#include "failed_units.h"

#include "actions.h"

#include <string.h>

// A unit's name is the first word of its line.
static struct bytes next_name(const char **text)
{
    const char *name = *text + strspn(*text, " \n");
    size_t len = strcspn(name, " \n");
    const char *end = strchr(name + len, '\n');
    *text = end != NULL ? end + 1 : name + strlen(name);
    return bytes_of(name, len);
}

bool units_failed(const struct config *config, struct buf *names)
{
    const char *argv[] = {"systemctl", "list-units", "--all", "--full", "--plain", "--no-legend",
        "--no-pager", "--state=failed,auto-restart", NULL};
    struct buf lines CLEANUP(buf_clear) = {0};
    int status;
    if (!run_collect(config, argv, &lines, &status)) {
        return false;
    }
    const char *text = buf_text(&lines);
    for (struct bytes name = next_name(&text); name.len > 0; name = next_name(&text)) {
        buf_append(names, name.at, name.len);
        buf_append_text(names, "\n");
    }
    return true;
}

static bool contains(struct buf *names, struct bytes wanted)
{
    const char *text = buf_text(names);
    for (struct bytes name = next_name(&text); name.len > 0; name = next_name(&text)) {
        if (bytes_equal(name, wanted)) {
            return true;
        }
    }
    return false;
}

void units_added(struct buf *before, struct buf *after, struct buf *added)
{
    const char *text = buf_text(after);
    for (struct bytes name = next_name(&text); name.len > 0; name = next_name(&text)) {
        if (!contains(before, name)) {
            buf_append_text(added, added->len > 0 ? " " : "");
            buf_append(added, name.at, name.len);
        }
    }
}
