#include "pool.h"

#include <errno.h>
#include <stdlib.h>

#define JOBS_MAX 256

bool jobs_parse(const char *text, unsigned *jobs, struct err *e)
{
    *jobs = 0;
    if (!text) {
        return true;
    }
    char *end;
    errno = 0;
    unsigned long number = strtoul(text, &end, 10);
    if (errno || *end || *text < '0' || *text > '9' || number < 1 || number > JOBS_MAX) {
        return err_set(e, CODE_USAGE, "--jobs %s: a number from 1 to %d", text, JOBS_MAX);
    }
    *jobs = (unsigned)number;
    return true;
}
