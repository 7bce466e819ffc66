#include "journal.h"

#include "node_test.h"

static struct err e;

static void text_of(char *path, size_t room, const char *name, size_t len)
{
    memset(path, 0, room);
    assert_true(len < room);
    memset(path, 'x', len);
    memcpy(path, name, strlen(name));
}

static void legalise(struct apply_config *config, const char *name, enum action action)
{
    text_of(config->path, sizeof config->path, name, 60);
    config->action = action;
    config->unit_failures = (enum unit_failures)(UNIT_FAILURES_ROLLBACK - (unsigned)action);
    config->last_resort = (enum last_resort)(action % 2);
    config->reboot = (enum reboot_policy)(REBOOT_CALENDAR - (unsigned)action);
    config->has_health = config->self_update = config->automatic = false;
    config->units_failed = config->boot_only = false;
}

// Padding holds nothing. (gcc 12 leaves that behind the last member alone.)
static void tidy(struct apply *a)
{
    size_t end = offsetof(struct apply, memories) + sizeof a->memories;
    __builtin_clear_padding(a);
    memset((uint8_t *)a + end, 0, sizeof *a - end);
}

// Every byte another one, then what has to be legal made so: a field that is forgotten or swapped
// shows, also one that is not there yet today.
static void fill(struct apply *a)
{
    uint8_t *at = (uint8_t *)a;
    for (size_t i = 0; i < sizeof *a; i++) {
        at[i] = (uint8_t)(1 + i % 251);
    }
    a->state = APPLY_COMMITTING;
    legalise(&a->target, "/nix/store/target", ACTION_BOOT);
    legalise(&a->next, "/nix/store/next", ACTION_DRY);
    legalise(&a->applied, "/nix/store/applied", ACTION_SWITCH);
    legalise(&a->before, "/nix/store/before", ACTION_BOOT);
    text_of(a->trial.new_path, sizeof a->trial.new_path, "/nix/store/new", 50);
    text_of(a->trial.old_path, sizeof a->trial.old_path, "/nix/store/old", 51);
    text_of(a->trial.old_profile, sizeof a->trial.old_profile, "/nix/store/profile", 52);
    text_of(a->trial.specialisation, sizeof a->trial.specialisation, "work", 20);
    text_of(a->before_profile, sizeof a->before_profile, "/nix/store/before-profile", 53);
    a->reached = a->healthy = a->stays = a->cut_off = a->unconfirmed = a->units_failed = false;
    a->resorted = a->unproven = a->started = a->planned = false;
    a->report.queued = a->report.acked = a->report.automatic = false;
    a->reason = CODE_HEALTH;
    a->report.state = NODE_TRYING;
    a->report.code = CODE_UNITS;
    a->hidden.queued = a->hidden.acked = a->hidden.automatic = false;
    a->hidden.state = NODE_ROLLED_BACK;
    a->hidden.code = CODE_COMMIT;
    a->refused_code = CODE_ROLLBACK;
    for (unsigned i = 0; i < APPLY_MEMORIES; i++) {
        a->memories[i].outcome = (enum apply_outcome)(i % (OUTCOME_INCONCLUSIVE + 1));
        a->memories[i].code = (enum code)(CODE_EVAL + i);
    }
    tidy(a);
}

static void assert_same(struct apply *a, struct apply *b)
{
    tidy(a);
    tidy(b);
    assert_memory_equal(a, b, sizeof *a);
}

static void round_trip(struct apply *a)
{
    struct buf record = {0};
    struct apply back;
    memset(&back, 0xee, sizeof back);
    journal_encode(a, &record);
    MUST(journal_decode(buf_bytes(&record), &back, &e));
    assert_same(&back, a);
    buf_clear(&record);
}

static void every_field_round_trips(void **state)
{
    (void)state;
    struct apply a;
    fill(&a);
    round_trip(&a);
    bool *const flags[] = {&a.target.has_health, &a.next.has_health, &a.applied.has_health,
        &a.before.has_health, &a.target.self_update, &a.target.automatic, &a.target.units_failed,
        &a.target.boot_only, &a.reached, &a.healthy, &a.stays, &a.cut_off, &a.unconfirmed,
        &a.units_failed, &a.resorted, &a.unproven, &a.started, &a.planned, &a.report.queued,
        &a.report.acked, &a.report.automatic, &a.hidden.queued, &a.hidden.acked,
        &a.hidden.automatic};
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        *flags[i] = true;
        round_trip(&a);
        *flags[i] = false;
    }
    apply_init(&a);
    round_trip(&a);
}

// Else the selfcheck of a new bento would refuse the release that brings it.
static void journal_of_an_older_bento_is_read(void **state)
{
    (void)state;
    static const uint8_t head[] = {0xdc, 0, 41, 0xad, 'b', 'e', 'n', 't', 'o', '-', 'j'};
    static const size_t later[] = {[39] = 61, [40] = 1}; // bytes of what is not in it
    struct apply a, back;
    fill(&a);
    a.builds = 0;
    memset(&a.hidden, 0, sizeof a.hidden);
    for (uint8_t fields = 39; fields <= 40; fields++) {
        struct buf record = {0};
        journal_encode(&a, &record);
        uint8_t *rest = memmem(record.at, record.len, head, sizeof head);
        assert_non_null(rest);
        rest[2] = fields;
        MUST(journal_decode(bytes_of(record.at, record.len - later[fields]), &back, &e));
        assert_same(&back, &a);
        buf_clear(&record);
    }
}

static void every_state_and_code_round_trips(void **state)
{
    (void)state;
    struct apply a;
    fill(&a);
    for (unsigned i = 0; i < APPLY_STATE_COUNT; i++) {
        a.state = (enum apply_state)i;
        round_trip(&a);
    }
    for (unsigned i = 0; i < CODE_COUNT; i++) {
        a.reason = a.report.code = a.refused_code = a.memories[3].code = (enum code)i;
        round_trip(&a);
    }
    for (unsigned i = 0; i < NODE_STATE_COUNT; i++) {
        a.report.state = a.hidden.state = (enum node_state)i;
        round_trip(&a);
    }
}

// The largest numbers and the longest paths fit the slot: nothing can stop a revert.
static void largest_record_is_written(void **state)
{
    struct folder *folder = *state;
    struct journal journal;
    struct apply a, back;
    memset(&a, 0xff, sizeof a);
    char *const paths[] = {a.target.path, a.next.path, a.applied.path, a.before.path,
        a.before_profile, a.trial.new_path, a.trial.old_path, a.trial.old_profile};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        text_of(paths[i], STORE_PATH_BYTES_MAX + 1, "/nix/store/", STORE_PATH_BYTES_MAX);
    }
    text_of(a.trial.specialisation, sizeof a.trial.specialisation, "", SPECIALISATION_BYTES_MAX);
    struct apply_config *const configs[] = {&a.target, &a.next, &a.applied, &a.before};
    for (size_t i = 0; i < sizeof configs / sizeof configs[0]; i++) {
        configs[i]->action = ACTION_DRY;
        configs[i]->unit_failures = UNIT_FAILURES_ROLLBACK;
        configs[i]->last_resort = LAST_RESORT_REBOOT;
        configs[i]->reboot = REBOOT_CALENDAR;
        configs[i]->has_health = configs[i]->self_update = configs[i]->automatic = true;
        configs[i]->units_failed = configs[i]->boot_only = true;
    }
    a.state = APPLY_WAITING;
    a.reached = a.healthy = a.stays = a.cut_off = a.unconfirmed = a.units_failed = true;
    a.resorted = a.unproven = a.started = a.planned = true;
    a.report.queued = a.report.acked = a.report.automatic = true;
    a.reason = a.report.code = a.refused_code = CODE_COUNT - 1;
    a.report.state = NODE_STATE_COUNT - 1;
    a.hidden = a.report;
    for (unsigned i = 0; i < APPLY_MEMORIES; i++) {
        a.memories[i].outcome = OUTCOME_INCONCLUSIVE;
        a.memories[i].code = CODE_COUNT - 1;
    }
    MUST(journal_open(&journal, folder->fd, &back, &e));
    MUST(journal_write(&journal, &a, &e));
    journal_close(&journal);
    MUST(journal_open(&journal, folder->fd, &back, &e));
    assert_same(&back, &a);
    journal_close(&journal);
}

static void first_start_is_idle(void **state)
{
    struct folder *folder = *state;
    struct journal journal;
    struct apply fresh, a;
    memset(&a, 0xee, sizeof a);
    apply_init(&fresh);
    MUST(journal_open(&journal, folder->fd, &a, &e));
    assert_same(&a, &fresh);
    journal_close(&journal);
}

static void what_was_written_is_read_by_the_next_start(void **state)
{
    struct folder *folder = *state;
    struct journal journal;
    struct apply a, back;
    fill(&a);
    for (unsigned turn = 0; turn < 5; turn++) {
        MUST(journal_open(&journal, folder->fd, &back, &e));
        a.attempt = turn;
        MUST(journal_write(&journal, &a, &e));
        journal_close(&journal);
        MUST(journal_open(&journal, folder->fd, &back, &e));
        assert_same(&back, &a);
        journal_close(&journal);
    }
}

static struct buf file_of(const struct folder *folder)
{
    struct buf out = {0};
    MUST(fs_read(folder->fd, "journal", 1 << 20, &out, &e));
    return out;
}

static void same_state_is_not_written_again(void **state)
{
    struct folder *folder = *state;
    struct journal journal;
    struct apply a, back;
    fill(&a);
    MUST(journal_open(&journal, folder->fd, &back, &e));
    MUST(journal_write(&journal, &a, &e));
    struct buf before = file_of(folder);
    MUST(journal_write(&journal, &a, &e));
    struct buf after = file_of(folder);
    assert_bytes(buf_bytes(&after), buf_bytes(&before));
    journal_close(&journal);
    MUST(journal_open(&journal, folder->fd, &back, &e)); // nor by the next start
    MUST(journal_write(&journal, &back, &e));
    buf_clear(&after);
    after = file_of(folder);
    assert_bytes(buf_bytes(&after), buf_bytes(&before));
    journal_close(&journal);
    buf_clear(&before);
    buf_clear(&after);
}

static void assert_only_trial(struct apply *got, const struct apply *full)
{
    struct apply expected;
    apply_init(&expected);
    expected.trial = full->trial;
    assert_same(got, &expected);
}

static size_t trial_bytes(const struct buf *record)
{
    const void *rest = memmem(record->at, record->len, "bento-journal", strlen("bento-journal"));
    assert_non_null(rest);
    return (size_t)((const uint8_t *)rest - record->at) - 4; // headers of array 16 and str
}

static void damaged_rest_keeps_the_trial(void **state)
{
    (void)state;
    struct apply a, back;
    struct buf record = {0};
    fill(&a);
    journal_encode(&a, &record);
    size_t trial = trial_bytes(&record);
    for (size_t len = trial; len < record.len; len++) {
        uint8_t *exact = malloc(len); // so that the sanitizer sees every byte read too far
        assert_non_null(exact);
        memcpy(exact, record.at, len);
        memset(&back, 0xee, sizeof back);
        MUST_FAIL(journal_decode(bytes_of(exact, len), &back, &e), CODE_FORMAT);
        assert_only_trial(&back, &a);
        free(exact);
    }
    buf_append(&record, "", 1);
    MUST_FAIL(journal_decode(buf_bytes(&record), &back, &e), CODE_FORMAT);
    assert_only_trial(&back, &a);
    buf_clear(&record);
}

static void damaged_trial_is_a_fresh_start(void **state)
{
    (void)state;
    struct apply a, back, fresh;
    struct buf record = {0};
    fill(&a);
    apply_init(&fresh);
    journal_encode(&a, &record);
    for (size_t len = 0; len < trial_bytes(&record); len++) {
        memset(&back, 0xee, sizeof back);
        MUST_FAIL(journal_decode(bytes_of(record.at, len), &back, &e), CODE_FORMAT);
        assert_same(&back, &fresh);
    }
    buf_clear(&record);
}

// A record of a newer bento, as the old one finds it after a revert.
static void make_unknown(const struct apply *a, struct buf *record)
{
    journal_encode(a, record);
    uint8_t *version = record->at + trial_bytes(record) + 4 + strlen("bento-journal");
    assert_int_equal(*version, 1);
    *version = 2;
    buf_append_text(record, "fields of the future");
}

static void unknown_version_keeps_the_trial(void **state)
{
    struct folder *folder = *state;
    struct journal journal;
    struct apply a, back;
    struct buf record = {0};
    fill(&a);
    make_unknown(&a, &record);
    MUST_FAIL(journal_decode(buf_bytes(&record), &back, &e), CODE_FORMAT);
    assert_only_trial(&back, &a);

    MUST(journal_open(&journal, folder->fd, &back, &e));
    MUST(slots_write(&journal.slots, buf_bytes(&record), &e));
    journal_close(&journal);
    MUST(journal_open(&journal, folder->fd, &back, &e));
    assert_only_trial(&back, &a);
    MUST(journal_write(&journal, &back, &e)); // and can be written over
    journal_close(&journal);
    MUST(journal_open(&journal, folder->fd, &a, &e));
    assert_same(&a, &back);
    journal_close(&journal);
    buf_clear(&record);
}

static void illegal_values_are_refused(void **state)
{
    (void)state;
    struct apply a, back;
    for (unsigned which = 0; which < 6; which++) {
        struct buf record = {0};
        fill(&a);
        switch (which) {
        case 0:
            a.state = APPLY_STATE_COUNT;
            break;
        case 1:
            a.target.action = ACTION_DRY + 1;
            break;
        case 2:
            a.next.unit_failures = UNIT_FAILURES_ROLLBACK + 1;
            break;
        case 3:
            a.reason = CODE_COUNT;
            break;
        case 4:
            a.memories[APPLY_MEMORIES - 1].outcome = OUTCOME_INCONCLUSIVE + 1;
            break;
        default:
            a.report.state = NODE_STATE_COUNT;
            break;
        }
        journal_encode(&a, &record);
        MUST_FAIL(journal_decode(buf_bytes(&record), &back, &e), CODE_FORMAT);
        assert_only_trial(&back, &a);
        buf_clear(&record);
    }
}

static void damage_slot(const struct folder *folder, unsigned which)
{
    struct stat st;
    int fd = openat(folder->fd, "journal", O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(pwrite(fd, "\xff\xff", 2, (off_t)which * st.st_size / 2 + 200), 2);
    close(fd);
}

static void damaged_slot_leaves_the_one_before(void **state)
{
    struct folder *folder = *state;
    struct journal journal;
    struct apply a, back;
    fill(&a);
    MUST(journal_open(&journal, folder->fd, &back, &e));
    for (unsigned attempt = 1; attempt <= 2; attempt++) { // into slots 0 and 1
        a.attempt = attempt;
        MUST(journal_write(&journal, &a, &e));
    }
    journal_close(&journal);
    damage_slot(folder, 1);
    MUST(journal_open(&journal, folder->fd, &back, &e));
    assert_int_equal(back.attempt, 1);
    journal_close(&journal);
}

static void both_slots_damaged_is_a_fresh_start(void **state)
{
    struct folder *folder = *state;
    struct journal journal;
    struct apply a, back, fresh;
    apply_init(&fresh);
    fill(&a);
    MUST(journal_open(&journal, folder->fd, &back, &e));
    MUST(journal_write(&journal, &a, &e));
    a.attempt++;
    MUST(journal_write(&journal, &a, &e));
    journal_close(&journal);
    damage_slot(folder, 0);
    damage_slot(folder, 1);
    MUST(journal_open(&journal, folder->fd, &back, &e));
    assert_same(&back, &fresh);
    MUST(journal_write(&journal, &a, &e));
    journal_close(&journal);
    MUST(journal_open(&journal, folder->fd, &back, &e));
    assert_same(&back, &a);
    journal_close(&journal);
}

static void write_on_full_disk(const char *path)
{
    struct journal journal;
    struct apply a, back;
    int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHILD_ASSERT(dir >= 0 && journal_open(&journal, dir, &back, &e));
    fill_disk(dir);
    fill(&a);
    for (unsigned turn = 0; turn < 4; turn++) {
        a.attempt = turn;
        CHILD_ASSERT(journal_write(&journal, &a, &e));
    }
    journal_close(&journal);
    CHILD_ASSERT(journal_open(&journal, dir, &back, &e));
    CHILD_ASSERT(back.attempt == 3);
    journal_close(&journal);
    close(dir);
}

static void full_disk_stops_nothing(void **state)
{
    struct folder *folder = *state;
    on_small_disk(folder->path, 256, write_on_full_disk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_field_round_trips),
        cmocka_unit_test(journal_of_an_older_bento_is_read),
        cmocka_unit_test(every_state_and_code_round_trips),
        with_folder(largest_record_is_written),
        with_folder(first_start_is_idle),
        with_folder(what_was_written_is_read_by_the_next_start),
        with_folder(same_state_is_not_written_again),
        cmocka_unit_test(damaged_rest_keeps_the_trial),
        cmocka_unit_test(damaged_trial_is_a_fresh_start),
        with_folder(unknown_version_keeps_the_trial),
        cmocka_unit_test(illegal_values_are_refused),
        with_folder(damaged_slot_leaves_the_one_before),
        with_folder(both_slots_damaged_is_a_fresh_start),
        with_folder(full_disk_stops_nothing),
    };
    return cmocka_run_group_tests(tests, start_sodium, NULL);
}
