// A slots file with any content: the first half of the input is the one slot, the second the other.
// The first byte says which get a right checksum, since a fuzzer does not find one.
#include "fs.h"

#include "fuzz.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define SLOT_BYTES 4096u
#define HEADER_BYTES 64u

static void mend(uint8_t slot[SLOT_BYTES])
{
    uint64_t record_len = 0;
    struct buf covered = {0};
    for (size_t i = 8; i > 0; i--)
        record_len = record_len << 8 | slot[24 + i - 1];
    if (record_len > SLOT_BYTES - HEADER_BYTES)
        return;
    buf_append(&covered, slot, 32);
    buf_append(&covered, slot + HEADER_BYTES, (size_t)record_len);
    sha256(buf_bytes(&covered), slot + 32);
    buf_clear(&covered);
}

static void make_file(uint8_t which, struct bytes content)
{
    static uint8_t slots[2][SLOT_BYTES];
    size_t half = content.len / 2 < SLOT_BYTES ? content.len / 2 : SLOT_BYTES;
    memset(slots, 0, sizeof slots);
    for (size_t i = 0; i < 2 && half > 0; i++)
        memcpy(slots[i], content.at + i * (content.len / 2), half);
    for (size_t i = 0; i < 2; i++) {
        if ((which & 1u << i) != 0)
            mend(slots[i]);
    }
    int fd = openat(fuzz_folder(), "slots", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    ASSERT(fd >= 0 && pwrite(fd, slots, sizeof slots, 0) == sizeof slots);
    close(fd);
}

static void assert_holds(struct bytes record)
{
    struct slots slots;
    struct buf found = {0};
    struct err e = {0};
    ASSERT(slots_open(&slots, fuzz_folder(), "slots", 1000, &e));
    ASSERT(slots_read(&slots, &found, &e));
    fuzz_same(&found, record);
    slots_close(&slots);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct slots slots;
    struct buf found = {0};
    struct err e = {0};
    if (len == 0)
        return 0;
    make_file(data[0], bytes_of(data + 1, len - 1));
    ASSERT(slots_open(&slots, fuzz_folder(), "slots", 1000, &e));
    bool any = slots_read(&slots, &found, &e);
    ASSERT(any || (e.code == CODE_NONE && found.len == 0));
    ASSERT(found.len <= SLOT_BYTES - HEADER_BYTES);
    // Whatever was there: what is written is what is read, now and later.
    for (unsigned i = 0; i < 3; i++) {
        struct bytes record = bytes_of_text(&"new"[i]);
        ASSERT(slots_write(&slots, record, &e));
        assert_holds(record);
    }
    slots_close(&slots);
    buf_clear(&found);
    return 0;
}
