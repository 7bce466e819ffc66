#include "fs.h"

#include "rt_test.h"

#include <signal.h>
#include <sys/resource.h>

static struct err e;

#define MAX 1000
#define FILE_BYTES 8192 // two slots of one block
#define HEADER 64

static void write_record(struct slots *slots, const char *text)
{
    MUST(slots_write(slots, bytes_of_text(text), &e));
}

static bool holds(struct slots *slots, const char *text)
{
    struct buf out = {0};
    bool ok = slots_read(slots, &out, &e) && is_text(&out, text);
    buf_clear(&out);
    return ok;
}

static void fresh_file_has_no_record(void **state)
{
    const struct folder *f = *state;
    struct slots slots;
    struct buf out = {0};
    struct stat st;
    MUST(slots_open(&slots, f->fd, "trial", MAX, &e));
    MUST_FAIL(slots_read(&slots, &out, &e), CODE_NONE);
    slots_close(&slots);
    assert_int_equal(fstatat(f->fd, "trial", &st, 0), 0);
    assert_int_equal(st.st_size, FILE_BYTES);
    assert_true(st.st_blocks * 512 >= FILE_BYTES); // really there
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(count_entries(f->fd), 1);
}

static void newest_record_is_read_also_after_reopening(void **state)
{
    const struct folder *f = *state;
    struct slots slots, other;
    char text[32];
    MUST(slots_open(&slots, f->fd, "trial", MAX, &e));
    for (int i = 0; i < 10; i++) {
        snprintf(text, sizeof text, "record %d%s", i, i % 3 == 0 ? " longer" : "");
        write_record(&slots, text);
        assert_true(holds(&slots, text));
        MUST(slots_open(&other, f->fd, "trial", MAX, &e));
        assert_true(holds(&other, text));
        slots_close(&other);
    }
    slots_close(&slots);
}

static void record_fits_exactly_or_is_refused(void **state)
{
    const struct folder *f = *state;
    struct slots slots;
    struct buf out = {0};
    static uint8_t large[4096];
    memset(large, 7, sizeof large);
    MUST(slots_open(&slots, f->fd, "trial", 4096 - HEADER, &e));
    MUST(slots_write(&slots, bytes_of(large, 4096 - HEADER), &e));
    MUST_FAIL(slots_write(&slots, bytes_of(large, 4096 - HEADER + 1), &e), CODE_LENGTH);
    MUST(slots_read(&slots, &out, &e));
    assert_int_equal(out.len, 4096 - HEADER);
    out.len = 0;
    MUST(slots_write(&slots, bytes_of(NULL, 0), &e)); // an empty record is a record
    MUST(slots_read(&slots, &out, &e));
    assert_int_equal(out.len, 0);
    buf_clear(&out);
    slots_close(&slots);
}

static void file_of_another_size_is_an_error(void **state)
{
    const struct folder *f = *state;
    struct slots slots;
    MUST(slots_open(&slots, f->fd, "trial", MAX, &e));
    slots_close(&slots);
    MUST_FAIL(slots_open(&slots, f->fd, "trial", 5000, &e), CODE_CONFIG);
    assert_contains(e.text, "trial");
    assert_int_equal(symlinkat("trial", f->fd, "link"), 0);
    MUST_FAIL(slots_open(&slots, f->fd, "link", MAX, &e), CODE_IO);
}

static void load(int dir, uint8_t image[FILE_BYTES])
{
    int fd = openat(dir, "trial", O_RDONLY);
    assert_int_equal(pread(fd, image, FILE_BYTES, 0), FILE_BYTES);
    close(fd);
}

static void store(int dir, const uint8_t image[FILE_BYTES])
{
    int fd = openat(dir, "trial", O_WRONLY);
    assert_int_equal(pwrite(fd, image, FILE_BYTES, 0), FILE_BYTES);
    close(fd);
}

static bool opens_with(int dir, const char *text)
{
    struct slots slots;
    MUST(slots_open(&slots, dir, "trial", MAX, &e));
    bool ok = holds(&slots, text);
    slots_close(&slots);
    return ok;
}

static void every_damaged_byte_of_the_newest_falls_back_to_the_older(void **state)
{
    const struct folder *f = *state;
    struct slots slots;
    uint8_t image[FILE_BYTES];
    MUST(slots_open(&slots, f->fd, "trial", MAX, &e));
    write_record(&slots, "older");         // slot 0
    write_record(&slots, "newest record"); // slot 1
    slots_close(&slots);
    load(f->fd, image);
    for (size_t i = 4096; i < 4096 + HEADER + strlen("newest record"); i++) {
        for (unsigned bit = 0; bit < 8; bit++) {
            image[i] ^= (uint8_t)(1u << bit);
            store(f->fd, image);
            assert_true(opens_with(f->fd, "older"));
            image[i] ^= (uint8_t)(1u << bit);
        }
    }
    // What lies past the record does not count; damage to the older does not either.
    image[4096 + HEADER + strlen("newest record")] ^= 1;
    image[20] ^= 1;
    store(f->fd, image);
    assert_true(opens_with(f->fd, "newest record"));
    // Both damaged: none.
    image[4096 + 20] ^= 1;
    store(f->fd, image);
    struct buf out = {0};
    MUST(slots_open(&slots, f->fd, "trial", MAX, &e));
    MUST_FAIL(slots_read(&slots, &out, &e), CODE_NONE);
    write_record(&slots, "back in use");
    slots_close(&slots);
    assert_true(opens_with(f->fd, "back in use"));
}

// Of the record in a slot, with a checksum that is right.
static void set_generation(uint8_t slot[4096], const char *record, uint8_t lowest)
{
    struct buf covered = {0};
    memset(slot + 16, 0xff, 8);
    slot[16] = lowest;
    buf_append(&covered, slot, 32);
    buf_append_text(&covered, record);
    sha256(buf_bytes(&covered), slot + 32);
    buf_clear(&covered);
}

static void generations_never_end(void **state)
{
    const struct folder *f = *state;
    static const char *const records[] = {"a", "b", "c", "d", "e"};
    struct slots slots;
    uint8_t image[FILE_BYTES];
    MUST(slots_open(&slots, f->fd, "trial", MAX, &e));
    write_record(&slots, "older");
    write_record(&slots, "newest");
    slots_close(&slots);
    load(f->fd, image);
    set_generation(image, "older", 0xfb);
    set_generation(image + 4096, "newest", 0xfc);
    store(f->fd, image);
    assert_true(opens_with(f->fd, "newest"));
    MUST(slots_open(&slots, f->fd, "trial", MAX, &e));
    for (size_t i = 0; i < sizeof records / sizeof records[0]; i++) {
        write_record(&slots, records[i]);
        assert_true(opens_with(f->fd, records[i]));
    }
    slots_close(&slots);
}

// What is written never has it.
static void last_possible_generation_does_not_count(void **state)
{
    const struct folder *f = *state;
    struct slots slots;
    uint8_t image[FILE_BYTES];
    MUST(slots_open(&slots, f->fd, "trial", MAX, &e));
    write_record(&slots, "older");
    write_record(&slots, "newest");
    slots_close(&slots);
    load(f->fd, image);
    set_generation(image + 4096, "newest", 0xff);
    store(f->fd, image);
    assert_true(opens_with(f->fd, "older"));
    MUST(slots_open(&slots, f->fd, "trial", MAX, &e));
    write_record(&slots, "another");
    slots_close(&slots);
    assert_true(opens_with(f->fd, "another"));
}

static void torn_write_leaves_the_old_or_the_new(void **state)
{
    const struct folder *f = *state;
    struct slots slots;
    uint8_t before[FILE_BYTES], after[FILE_BYTES], torn[FILE_BYTES];
    MUST(slots_open(&slots, f->fd, "trial", MAX, &e));
    write_record(&slots, "first, a rather long record");
    write_record(&slots, "second");
    load(f->fd, before);
    write_record(&slots, "third, another record"); // over the first, in slot 0
    load(f->fd, after);
    slots_close(&slots);
    size_t len = HEADER + strlen("third, another record");
    assert_int_equal(memcmp(before + 4096, after + 4096, 4096), 0);
    for (size_t cut = 0; cut <= len; cut++) {
        // The front arrived, or the back.
        for (int front = 0; front < 2; front++) {
            memcpy(torn, before, FILE_BYTES);
            memcpy(torn + (front ? 0 : cut), after + (front ? 0 : cut), front ? cut : len - cut);
            store(f->fd, torn);
            bool whole = memcmp(torn, after, len) == 0;
            assert_true(opens_with(f->fd, whole ? "third, another record" : "second"));
            // And the file is usable: the next write goes over the torn slot, not over the good
            // one.
            if (whole || cut % 8 != 0)
                continue;
            MUST(slots_open(&slots, f->fd, "trial", MAX, &e));
            assert_int_equal(slots.newest, 1);
            write_record(&slots, "fourth");
            slots_close(&slots);
            assert_true(opens_with(f->fd, "fourth"));
        }
    }
}

static void failed_creation_leaves_nothing(void **state)
{
    const struct folder *f = *state;
    struct slots slots;
    struct rlimit before, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = (struct rlimit){.rlim_cur = 6000, .rlim_max = before.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    bool ok = slots_open(&slots, f->fd, "trial", MAX, &e);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, SIG_DFL);
    MUST_FAIL(ok, CODE_IO);
    assert_contains(e.text, "trial");
    assert_int_equal(count_entries(f->fd), 0);
}

static void write_slots_on_full_disk(const char *path)
{
    int dir = open(path, O_RDONLY | O_DIRECTORY);
    struct slots slots, late;
    CHILD_ASSERT(slots_open(&slots, dir, "trial", MAX, &e));
    fill_disk(dir);
    // What slots are for: everything else fails here.
    CHILD_ASSERT(!fs_write(dir, "a", bytes_of_text("x"), 0600, &e));
    for (int i = 0; i < 4; i++) {
        char text[32];
        snprintf(text, sizeof text, "record %d", i);
        CHILD_ASSERT(slots_write(&slots, bytes_of_text(text), &e));
        CHILD_ASSERT(holds(&slots, text));
    }
    slots_close(&slots);
    CHILD_ASSERT(slots_open(&slots, dir, "trial", MAX, &e) && holds(&slots, "record 3"));
    slots_close(&slots);
    CHILD_ASSERT(!slots_open(&late, dir, "too-late", MAX, &e));
    CHILD_ASSERT(e.code == CODE_IO && strstr(e.text, strerror(ENOSPC)) != NULL);
    struct names names;
    CHILD_ASSERT(fs_list(dir, &names, &e) && names.count == 2); // trial and the filler
    names_clear(&names);
    close(dir);
}

static void full_disk_does_not_stop_a_write(void **state)
{
    const struct folder *f = *state;
    on_small_disk(f->path, 64, write_slots_on_full_disk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_folder(fresh_file_has_no_record),
        with_folder(newest_record_is_read_also_after_reopening),
        with_folder(record_fits_exactly_or_is_refused),
        with_folder(file_of_another_size_is_an_error),
        with_folder(every_damaged_byte_of_the_newest_falls_back_to_the_older),
        with_folder(generations_never_end),
        with_folder(last_possible_generation_does_not_count),
        with_folder(torn_write_leaves_the_old_or_the_new),
        with_folder(failed_creation_leaves_nothing),
        with_folder(full_disk_does_not_stop_a_write),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
