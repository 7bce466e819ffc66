#include "spool.h"

#include "fs.h"
#include "wire.h"

#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

// By descriptor: in a folder of bento-node's the name may be something else the next moment.
static bool give(int at, const char *name, uid_t uid, gid_t gid, mode_t mode, struct err *e)
{
    CLEANUP_FD dir = -1;
    if (!fs_open_dir(at, name, &dir, e)) {
        return false;
    }
    if (geteuid() == 0 && fchown(dir, uid, gid) != 0) {
        return err_set(e, CODE_IO, "cannot give %s to bento-node: %m", name);
    }
    if (fchmod(dir, mode) != 0) {
        return err_set(e, CODE_IO, "cannot set the mode of %s: %m", name);
    }
    return true;
}

// Only bento-apply, which is root, can make folders for somebody else; where both run as one user
// either may come first.
static bool make_folders(int state, const struct config *config, struct err *e)
{
    const struct passwd *pw = geteuid() == 0 ? getpwnam(config->node_user) : NULL;
    uid_t uid = pw != NULL ? pw->pw_uid : geteuid();
    gid_t gid = pw != NULL ? pw->pw_gid : getegid();
    struct {
        const char *name;
        uid_t uid;
        mode_t mode;
    } folders[] = {
        {"node", uid, 0700},
        {"spool", geteuid(), 0755},
        {"spool/in", uid, 0700},
        {"spool/in/blobs", uid, 0700},
        {"spool/out", geteuid(), 02750},
    };
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        // As root always: a crash may have come between making it and giving it away.
        if (geteuid() != 0 && fs_exists(state, folders[i].name)) {
            continue;
        }
        if (!fs_make_dir(state, folders[i].name, 0700, false, e) ||
            !give(state, folders[i].name, folders[i].uid, gid, folders[i].mode, e)) {
            return false;
        }
    }
    return true;
}

bool spool_open(const struct config *config, struct spool *spool, struct err *e)
{
    *spool = (struct spool){-1, -1, -1};
    CLEANUP_FD state = -1;
    if (!fs_exists(AT_FDCWD, config->state) &&
        !fs_make_dir(AT_FDCWD, config->state, 0755, true, e)) {
        return false;
    }
    if (!fs_open_dir(AT_FDCWD, config->state, &state, e) || !make_folders(state, config, e)) {
        return false;
    }
    if (!fs_open_dir(state, "spool/in", &spool->in, e) ||
        !fs_open_dir(state, "spool/in/blobs", &spool->blobs, e) ||
        !fs_open_dir(state, "spool/out", &spool->out, e)) {
        spool_close(spool);
        return err_wrap(e, "state folder %s", config->state);
    }
    return true;
}

void spool_close(struct spool *spool)
{
    fd_closep(&spool->in);
    fd_closep(&spool->blobs);
    fd_closep(&spool->out);
}

void spool_release_name(uint64_t epoch, uint64_t release, const uint8_t head_hash[HASH_BYTES],
    char name[RELEASE_NAME_BYTES])
{
    char hex[17];
    hex_encode(head_hash, 8, hex);
    snprintf(name, RELEASE_NAME_BYTES, "%" PRIu64 ".%" PRIu64 ".%s", epoch, release, hex);
}

bool spool_release_parse(const char *name, uint64_t *epoch, uint64_t *release)
{
    char hex[17], same[RELEASE_NAME_BYTES];
    uint8_t hash[HASH_BYTES] = {0};
    if (sscanf(name, "%" SCNu64 ".%" SCNu64 ".%16[0-9a-f]", epoch, release, hex) != 3 ||
        !hex_decode(hex, strlen(hex), hash, 8)) {
        return false;
    }
    spool_release_name(*epoch, *release, hash, same); // scanf takes signs, spaces and what is left
    return strcmp(name, same) == 0;
}

void spool_status_name(uint64_t seq, char name[STATUS_NAME_BYTES])
{
    snprintf(
        name, STATUS_NAME_BYTES, "%020" PRIu64 ".status", seq); // padded: names sort as numbers
}

bool spool_status_parse(const char *name, uint64_t *seq)
{
    char same[STATUS_NAME_BYTES];
    if (sscanf(name, "%20" SCNu64, seq) != 1) {
        return false;
    }
    spool_status_name(*seq, same);
    return strcmp(name, same) == 0;
}

void want_encode(const struct want *want, struct buf *out)
{
    wire_put_open(out, 7, "bento-want");
    wire_put_hash(out, want->node_id);
    wire_put_hash(out, want->seen);
    wire_put_array(out, want->blob_count);
    for (size_t i = 0; i < want->blob_count; i++) {
        wire_put_array(out, 2);
        wire_put_hash(out, want->blobs[i].hash);
        wire_put_u64(out, want->blobs[i].len);
    }
    wire_put_u64(out, want->reach_seq);
    wire_put_bool(out, want->anew);
}

bool want_decode(struct bytes message, struct want *want, struct err *e)
{
    *want = (struct want){0};
    struct wire_in in = wire_in(message);
    wire_open(&in, 7, "bento-want");
    wire_bin_copy(&in, want->node_id, HASH_BYTES);
    wire_bin_copy(&in, want->seen, HASH_BYTES);
    want->blob_count = wire_array(&in, 0, WANT_BLOBS_MAX);
    for (size_t i = 0; i < want->blob_count; i++) {
        wire_array(&in, 2, 2);
        wire_bin_copy(&in, want->blobs[i].hash, HASH_BYTES);
        want->blobs[i].len = wire_u64(&in, BLOB_BYTES_MAX);
    }
    want->reach_seq = wire_u64(&in, UINT64_MAX);
    want->anew = wire_bool(&in);
    return wire_end(&in, "want", e);
}

void acks_encode(const struct acks *acks, struct buf *out)
{
    wire_put_open(out, 3, "bento-acked");
    wire_put_array(out, acks->count);
    for (size_t i = 0; i < acks->count; i++) {
        wire_put_array(out, 3);
        wire_put_u64(out, acks->list[i].seq);
        wire_put_hash(out, acks->list[i].hash);
        wire_put_bool(out, acks->list[i].refused);
    }
}

bool acks_decode(struct bytes message, struct acks *acks, struct err *e)
{
    struct wire_in in = wire_in(message);
    wire_open(&in, 3, "bento-acked");
    acks->count = wire_array(&in, 0, ACKS_MAX);
    for (size_t i = 0; i < acks->count && in.fault == NULL; i++) {
        wire_array(&in, 3, 3);
        acks->list[i].seq = wire_u64(&in, UINT64_MAX);
        wire_bin_copy(&in, acks->list[i].hash, HASH_BYTES);
        acks->list[i].refused = wire_bool(&in);
    }
    if (!wire_end(&in, "acked", e)) {
        acks->count = 0;
        return false;
    }
    return true;
}
