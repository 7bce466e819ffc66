// Which systemd units have failed: before a switch and after it.
#pragma once

#include "config.h"

// Names of the units that have failed or are being restarted after a failure, one a line. False if
// systemd does not say.
MUST_CHECK bool units_failed(const struct config *config, struct buf *names);
// The names of `after` that are not in `before`, with spaces between them.
void units_added(struct buf *before, struct buf *after, struct buf *added);
