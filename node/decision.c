#include "decision.h"

#include "fs.h"
#include "wire.h"

#include <string.h>

#define FILE_NAME "decision"
#define RECORD_BYTES_MAX 128

enum decision decision_read(int dir, const struct job_key *key)
{
    struct slots slots;
    struct buf record CLEANUP(buf_clear) = {0};
    struct err e;
    struct job_key found = {0};
    if (!slots_open(&slots, dir, FILE_NAME, RECORD_BYTES_MAX, &e)) {
        return DECISION_NONE;
    }
    bool read = slots_read(&slots, &record, &e);
    slots_close(&slots);
    struct wire_in in = wire_in(buf_bytes(&record));
    wire_open(&in, 5, "bento-decision");
    wire_bin_copy(&in, found.digest, HASH_BYTES);
    found.attempt = (uint32_t)wire_u64(&in, UINT32_MAX);
    uint64_t decision = wire_u64(&in, DECISION_REVERT);
    bool ours = read && wire_end(&in, "decision", &e) &&
                memcmp(found.digest, key->digest, HASH_BYTES) == 0 && found.attempt == key->attempt;
    return ours ? (enum decision)decision : DECISION_NONE;
}

bool decision_write(int dir, const struct job_key *key, enum decision decision, struct err *e)
{
    struct slots slots;
    struct buf record CLEANUP(buf_clear) = {0};
    wire_put_open(&record, 5, "bento-decision");
    wire_put_hash(&record, key->digest);
    wire_put_u64(&record, key->attempt);
    wire_put_u64(&record, decision);
    if (!slots_open(&slots, dir, FILE_NAME, RECORD_BYTES_MAX, e)) {
        return false;
    }
    bool written = slots_write(&slots, buf_bytes(&record), e);
    slots_close(&slots);
    return written;
}
