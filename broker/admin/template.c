#include "template.h"

#include <string.h>

const char *template_text(const char *path)
{
    for (const struct template_file *file = template_files; file->path; file++) {
        if (!strcmp(file->path, path)) {
            return file->text;
        }
    }
    ASSERT(!"the template has that file");
}

void template_fill(const char *text, const char *word, const char *with, struct buf *out)
{
    for (const char *found; (found = strstr(text, word)); text = found + strlen(word)) {
        buf_append(out, text, (size_t)(found - text));
        buf_append_text(out, with);
    }
    buf_append_text(out, text);
}
