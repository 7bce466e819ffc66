// The record of how a trial ends: one that says something about this trial was written for it.
#include "decision.h"

#include "fs.h"
#include "fuzz.h"
#include "world.h"

#define RECORD_BYTES_MAX 128

static void write_record(struct bytes record)
{
    struct slots slots;
    struct err e = {0};
    ASSERT(slots_open(&slots, fuzz_folder(), "decision", RECORD_BYTES_MAX, &e));
    ASSERT(slots_write(&slots, record, &e));
    slots_close(&slots);
}

static void read_record(struct buf *record)
{
    struct slots slots;
    struct err e = {0};
    ASSERT(slots_open(&slots, fuzz_folder(), "decision", RECORD_BYTES_MAX, &e));
    ASSERT(slots_read(&slots, record, &e));
    slots_close(&slots);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct job_key key;
    struct buf again = {0};
    struct err e = {0};
    if (len > RECORD_BYTES_MAX)
        return 0;
    world_trial(key.digest, &key.attempt);
    write_record(bytes_of(data, len));
    enum decision decision = decision_read(fuzz_folder(), &key);
    ASSERT(decision <= DECISION_REVERT);
    if (decision == DECISION_NONE)
        return 0;
    ASSERT(decision_write(fuzz_folder(), &key, decision, &e));
    read_record(&again);
    return fuzz_same(&again, bytes_of(data, len));
}
