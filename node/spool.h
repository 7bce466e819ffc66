// The folder between bento-node, which talks, and bento-apply, which acts. Neither trusts what the
// other left half-done: everything enters by rename, is read once, and carries a version. inotify
// only wakes; both rescan.
//
//     in/   bento-node's     EPOCH.RELEASE.HEAD16/   envelope, and proven or an empty `noticket`
//                            blobs/HEX               ciphertexts by the hash that names them
//                            acked                   which statuses the collector has, or will never take
//                            trigger                 somebody at the machine asks for an update; its presence says it
//     out/  bento-apply's    SEQ.status              signed, until acked
//                            want                    what bento-apply has seen, lacks, and is to be reached with
//                            state.json              the node's state, for its page (snapshot.h)
#pragma once

#include "bounds.h"
#include "bytes.h"
#include "config.h"

#define STATE_BYTES_MAX (64u << 10)

struct spool {
    int in, blobs, out; // folders
};

// Opens the folders; makes those that are missing (state/ 0755, spool/ 0755, in/ and node/ for the
// node user, out/ setgid for its group) where we may. IO.
MUST_CHECK bool spool_open(const struct config *config, struct spool *spool, struct err *e);
void spool_close(struct spool *spool);

#define RELEASE_NAME_BYTES 80
// "1.1732360000.0123456789abcdef" for its folder in in/.
void spool_release_name(uint64_t epoch, uint64_t release, const uint8_t head_hash[HASH_BYTES],
    char name[RELEASE_NAME_BYTES]);
MUST_CHECK bool spool_release_parse(const char *name, uint64_t *epoch, uint64_t *release);

#define STATUS_NAME_BYTES 32
void spool_status_name(uint64_t seq, char name[STATUS_NAME_BYTES]);
MUST_CHECK bool spool_status_parse(const char *name, uint64_t *seq);

#define WANT_BLOBS_MAX 2
#define WANT_BYTES_MAX 4096u
#define ACKED_BYTES_MAX (ACKS_MAX * 64u)
struct want {
    uint8_t node_id[HASH_BYTES]; // whose tickets to ask for: bento-node cannot read the identity
    uint8_t seen[HASH_BYTES];    // head that bento-apply has taken; zeros: none
    size_t blob_count;
    struct want_blob {
        uint8_t hash[HASH_BYTES];
        uint64_t len;
    } blobs[WANT_BLOBS_MAX]; // of the newest configuration: fetch what is missing, drop all others
    // reach_seq ≠ 0: deliver this status over a connection dialled after this want was seen; with
    // anew, over a tunnel started after it too (the system changed under the old one).
    uint64_t reach_seq;
    bool anew;
};
void want_encode(const struct want *want, struct buf *out);
MUST_CHECK bool want_decode(struct bytes message, struct want *want, struct err *e);

#define ACKS_MAX 4096
struct ack {
    uint64_t seq;
    uint8_t hash[HASH_BYTES]; // SHA-256 of the signed status
    bool refused;             // for good: it is not stored, and there is no use in sending it again
};
struct acks {
    size_t count;
    struct ack list[ACKS_MAX];
};
void acks_encode(const struct acks *acks, struct buf *out);
MUST_CHECK bool acks_decode(struct bytes message, struct acks *acks, struct err *e);
