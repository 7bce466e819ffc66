// How many children of Nix run at once.
#pragma once

#include "err.h"

// The value of --jobs; NULL: 0. USAGE.
MUST_CHECK bool jobs_parse(const char *text, unsigned *jobs, struct err *e);
