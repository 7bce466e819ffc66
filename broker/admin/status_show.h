// A report on stdout, as a table or as JSON, and the exit status that it is worth.
#pragma once

#include "rows.h"

enum { EXIT_PENDING = 2, EXIT_FAILING = 3 };

struct show {
    struct rows_choice choice;
    bool json;
};
MUST_CHECK bool status_show(const struct show *show, const struct report *report, struct err *e);
int status_exit(const struct show *show, const struct report *report);
// IO if stdout did not take all that was printed.
MUST_CHECK bool status_flush(struct err *e);
