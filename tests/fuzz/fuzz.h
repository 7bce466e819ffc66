// What the fuzz targets share. A target is one parser: any bytes must neither crash it nor make it
// leak or allocate without bound, and what it accepts must encode to the very same bytes, so that
// no two messages mean the same. A broken promise ends the process by ASSERT, which libFuzzer
// reports with the input.
#pragma once

#include "bytes.h"

// libFuzzer calls it with a block of exactly len bytes, so that reading too far is seen. Returns 0.
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

// Accepted: the encoding is the message again. Clears it. Returns 0.
int fuzz_same(struct buf *again, struct bytes message);
// Refused: the error has a code and a sentence. Returns 0.
int fuzz_refused(const struct err *e);

// An empty folder of this process, in memory if there is such a place, which goes with it.
int fuzz_folder(void);
// Its path.
const char *fuzz_folder_path(void);
