#include "status_show.h"

#include "loop.h"
#include "status_json.h"
#include "status_text.h"
#include "terminal.h"

#include <stdlib.h>

static void put(struct buf *text)
{
    fwrite(buf_text(text), 1, text->len, stdout);
}

static void show_text(const struct rows_choice *choice, const struct report *report)
{
    struct status_page page = {0};
    status_page_draw(report, choice, clock_unix_s(), terminal_size(stdout).width,
        terminal_may_color(stdout), &page);
    put(&page.head);
    put(&page.table);
    put(&page.notes);
    put(&page.foot);
    status_page_clear(&page);
}

bool status_show(const struct show *show, const struct report *report, struct err *e)
{
    if (show->json)
        status_json_print(status_json_report(report, &show->choice), true);
    else
        show_text(&show->choice, report);
    return status_flush(e);
}

int status_exit(const struct show *show, const struct report *report)
{
    if (report->warning[0])
        return EXIT_FAILING; // what the broker shows is not all there is
    switch (rows_worst(report, show->choice.chosen)) {
    case SEVERITY_DONE:
        return EXIT_SUCCESS;
    case SEVERITY_PENDING:
        return EXIT_PENDING;
    case SEVERITY_FAILING:
        return EXIT_FAILING;
    }
    return EXIT_FAILURE;
}

bool status_flush(struct err *e)
{
    return (fflush(stdout) == 0 && !ferror(stdout)) || err_set(e, CODE_IO, "stdout: %m");
}
