// The journal's record, and the first step from whatever it says.
#include "journal.h"

#include "fuzz.h"

#include <string.h>

// Written, read and written again it is the same. Returns how long it is.
static size_t check_writing(const struct apply *apply)
{
    struct apply read;
    struct buf record = {0}, again = {0};
    struct err e = {0};
    journal_encode(apply, &record);
    ASSERT(journal_decode(buf_bytes(&record), &read, &e));
    journal_encode(&read, &again);
    fuzz_same(&again, buf_bytes(&record));
    size_t len = record.len;
    buf_clear(&record);
    return len;
}

// What is begun from it can be, too.
static void check_start(const struct apply *apply)
{
    static const struct apply_rules rules = {1000, 1000, 1000, 1000, 1000};
    struct apply_event boot = {.kind = EVENT_BOOT,
        .now_ms = 1,
        .unix_ns = 1,
        .running = "/nix/store/running",
        .profile = "/nix/store/profile",
        .specialisation = "work",
        .rules = &rules};
    struct apply next;
    struct apply_plan plan;
    apply_step(apply, &boot, &next, &plan);
    ASSERT(plan.count <= APPLY_PLAN_MAX);
    (void)check_writing(&next);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct bytes record = bytes_of(data, len);
    struct apply apply;
    struct buf again = {0};
    struct err e = {0};
    bool read = journal_decode(record, &apply, &e);
    check_start(&apply);
    if (!read)
        return fuzz_refused(&e); // nothing but the trial is left of it, if that
    if (check_writing(&apply) != len)
        return 0; // of an older bento, which had fewer fields
    journal_encode(&apply, &again);
    return fuzz_same(&again, record);
}
