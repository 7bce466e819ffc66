// The journal's record, and the first step from whatever it says.
#include "journal.h"

#include "fuzz.h"

#include <string.h>

// What is begun from it can be written and read again.
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
    struct apply next, read;
    struct apply_plan plan;
    struct buf record = {0}, again = {0};
    struct err e = {0};
    apply_step(apply, &boot, &next, &plan);
    ASSERT(plan.count <= APPLY_PLAN_MAX);
    journal_encode(&next, &record);
    ASSERT(journal_decode(buf_bytes(&record), &read, &e));
    journal_encode(&read, &again);
    fuzz_same(&again, buf_bytes(&record));
    buf_clear(&record);
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
    // Not the same bytes if an older bento wrote it, which had fewer fields.
    struct apply read_again;
    struct buf third = {0};
    journal_encode(&apply, &again);
    ASSERT(journal_decode(buf_bytes(&again), &read_again, &e));
    journal_encode(&read_again, &third);
    fuzz_same(&third, buf_bytes(&again));
    if (again.len == record.len)
        return fuzz_same(&again, record);
    buf_clear(&again);
    return 0;
}
