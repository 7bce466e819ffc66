#include "job_file.h"

#include "fs.h"
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define CLAIM_MS 10
#define CLAIM_ROUNDS 300 // three seconds
#define NO_UNIT "-"
#define REVOKED (-1) // in the place of a pid
#define CHECK_DIGITS 16
#define READ_ROUNDS 20 // a millisecond each

const char *job_word(enum job_kind kind)
{
#define JOB_WORD(name, word) [JOB_##name] = word,
    static const char *const words[] = {JOB_KINDS(JOB_WORD)};
    return words[kind];
}

int job_file_open(int dir, enum job_kind kind)
{
    return openat(dir, job_word(kind), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
}

bool job_file_preallocate(int dir, enum job_kind kind, struct err *e)
{
    CLEANUP_FD fd = job_file_open(dir, kind);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0) {
        return err_set(e, CODE_IO, "cannot open the job file %s: %m", job_word(kind));
    }
    if (st.st_size >= JOB_FILE_BYTES) {
        return true;
    }
    if (st.st_size == 0) {
        fs_rewrite_in_place(fd);
    }
    char blank[JOB_FILE_BYTES];
    memset(blank, ' ', sizeof blank);
    size_t missing = sizeof blank - (size_t)st.st_size;
    if (pwrite(fd, blank, missing, st.st_size) != (ssize_t)missing || fsync(fd) != 0) {
        return err_set(e, CODE_IO, "cannot preallocate the job file %s: %m", job_word(kind));
    }
    return fs_sync_dir(dir, e);
}

int job_file_claim(int dir, enum job_kind kind)
{
    int fd = job_file_open(dir, kind);
    for (unsigned round = 0; fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0; round++) {
        struct job_record record;
        job_file_read_locked(fd, &record);
        if (record.state == JOB_STATE_RUNNING || round == CLAIM_ROUNDS) {
            fd_closep(&fd);
            errno = EWOULDBLOCK;
            break;
        }
        poll(NULL, 0, CLAIM_MS);
    }
    return fd;
}

bool job_file_is_locked(int fd)
{
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        return true;
    }
    flock(fd, LOCK_UN);
    return false;
}

// Goes into the argv of systemctl.
static bool is_unit(const char *name)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789-";
    return strncmp(name, "bento-", 6) == 0 && name[strspn(name, allowed)] == '\0';
}

static enum job_state state_of(const struct job_record *record, bool locked)
{
    if (record->status >= 0) {
        return JOB_STATE_ENDED;
    }
    if (locked) {
        return JOB_STATE_RUNNING;
    }
    if (record->pid == 0) { // no wrapper ever ran, so nothing of it did
        return record->unit[0] != '\0' ? JOB_STATE_PENDING : JOB_STATE_NONE;
    }
    return JOB_STATE_LOST;
}

static void check_of(const char *text, size_t len, char check[CHECK_DIGITS + 1])
{
    uint8_t hash[HASH_BYTES];
    char hex[HASH_HEX_BYTES];
    sha256(bytes_of((const uint8_t *)text, len), hash);
    hex_encode(hash, HASH_BYTES, hex);
    memcpy(check, hex, CHECK_DIGITS);
    check[CHECK_DIGITS] = '\0';
}

// Takes the check off; versions before 3 have none.
static bool is_whole(char *line, int version)
{
    char check[CHECK_DIGITS + 1];
    char *last = strrchr(line, ' ');
    if (version < 3 || last == NULL) {
        return version >= 1;
    }
    check_of(line, (size_t)(last - line), check);
    *last = '\0';
    return strcmp(last + 1, check) == 0;
}

// False if it is not of one piece.
static bool read_line(int fd, struct job_record *record)
{
    char line[JOB_FILE_BYTES + 1] = "", hex[HASH_HEX_BYTES], unit[JOB_UNIT_BYTES] = NO_UNIT;
    int version, pid, status, session = 0;
    struct job_key key;
    if (pread(fd, line, JOB_FILE_BYTES, 0) < 0) {
        return false;
    }
    line[strcspn(line, "\n")] = '\0'; // a version 1 is shorter, what follows is not its
    for (size_t len = strlen(line); len > 0 && line[len - 1] == ' '; len--) {
        line[len - 1] = '\0';
    }
    if (line[0] == '\0') { // never written, or cleared
        return true;
    }
    if (sscanf(line, "%d ", &version) != 1 || !is_whole(line, version) ||
        sscanf(line, "%d %64s %u %d %d %d %95s", &version, hex, &key.attempt, &pid, &status,
            &session, unit) < 5 ||
        !hex_decode(hex, strlen(hex), key.digest, HASH_BYTES)) {
        return false;
    }
    *record = (struct job_record){.key = key, .pid = pid, .session = session, .status = status};
    if (is_unit(unit)) {
        strcpy(record->unit, unit);
    }
    record->state = JOB_STATE_PENDING; // or another one
    return true;
}

static void parse(int fd, bool locked, struct job_record *record)
{
    *record = (struct job_record){.state = JOB_STATE_NONE};
    for (unsigned round = 0; !read_line(fd, record) && round < READ_ROUNDS; round++) {
        poll(NULL, 0, 1); // it is being written
    }
    if (record->state != JOB_STATE_NONE) {
        record->state = state_of(record, locked);
    }
}

void job_file_read(int fd, struct job_record *record)
{
    // Before reading: what ends in between has then written its status.
    bool locked = job_file_is_locked(fd);
    parse(fd, locked, record);
}

void job_file_read_locked(int fd, struct job_record *record)
{
    parse(fd, true, record);
}

static bool write_line(int fd, const char *text, struct err *e)
{
    char line[JOB_FILE_BYTES];
    size_t len = strlen(text);
    ASSERT(len < sizeof line);
    memset(line, ' ', sizeof line);
    memcpy(line, text, len);
    line[sizeof line - 1] = '\n';
    if (pwrite(fd, line, sizeof line, 0) != (ssize_t)sizeof line || fdatasync(fd) != 0) {
        return err_set(e, CODE_IO, "cannot record a job: %m");
    }
    return true;
}

bool job_file_write(int fd, const struct job_record *record, struct err *e)
{
    char hex[HASH_HEX_BYTES], text[JOB_FILE_BYTES], check[CHECK_DIGITS + 1];
    hex_encode(record->key.digest, HASH_BYTES, hex);
    int n = snprintf(text, sizeof text, "3 %s %u %d %d %d %s", hex, record->key.attempt,
        (int)record->pid, record->status, (int)record->session,
        record->unit[0] != '\0' ? record->unit : NO_UNIT);
    ASSERT(n > 0 && (size_t)n + 1 + CHECK_DIGITS < sizeof text);
    check_of(text, (size_t)n, check);
    text[n] = ' ';
    strcpy(text + n + 1, check);
    return write_line(fd, text, e);
}

bool job_file_clear(int fd, struct err *e)
{
    return write_line(fd, "", e);
}

bool job_file_revoke(int dir, enum job_kind kind)
{
    CLEANUP_FD fd = job_file_open(dir, kind);
    if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) != 0) {
        return false;
    }
    struct job_record record;
    struct err e;
    parse(fd, false, &record);
    if (record.state != JOB_STATE_PENDING) {
        return false;
    }
    record.unit[0] = '\0';
    record.pid = REVOKED; // a wrapper that comes now finds that it is not meant
    if (!job_file_write(fd, &record, &e)) {
        log_warning("job not taken back kind=%s error=\"%s\"", job_word(kind), e.text);
        return false;
    }
    return true;
}
