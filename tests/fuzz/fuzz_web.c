// The head of a request: its strings lie inside it and are what they promise to be.
#include "web.h"

#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

static void look(const char *text, const char *head, size_t len)
{
    ASSERT(text == NULL || (text >= head && text + strlen(text) < head + len));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct web_request request;
    char *head = xmalloc(len > 0 ? len : 1); // without a byte behind it
    if (len > 0)
        memcpy(head, data, len);
    if (web_parse(head, len, &request)) {
        ASSERT(request.method[0] >= 'A' && request.method[0] <= 'Z' && request.path[0] == '/');
        look(request.method, head, len);
        look(request.path, head, len);
        look(request.host, head, len);
        look(request.origin, head, len);
        look(request.fetch_site, head, len);
    }
    free(head);
    return 0;
}
