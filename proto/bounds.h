// The one table of limits; PROTOCOL.md §limits is the same table. Bytes unless the name says
// otherwise.
#pragma once

// Not called limits.h: gcc's own <limits.h> would find that one instead of the system's, even with
// -iquote.
#include <stdint.h>

#define ENVELOPE_BYTES_MAX (8u << 10)
#define PROVEN_BYTES_MAX (1u << 10)
#define CHUNK_BYTES_MAX (256u << 10)
// What GET_BLOB answers at once: over a link of 1 KiB/s, the floor, about a minute of it.
#define BLOB_CHUNK_BYTES (64u << 10)
#define BLOB_BYTES_MAX (64u << 20)
#define TREE_FILES_MAX 20000u
#define TREE_PATH_BYTES_MAX 512u
#define TREE_NAME_BYTES_MAX 255u
#define STATUS_BYTES_MAX (128u << 10)
#define STATUS_LOG_BYTES_MAX (64u << 10)
#define ROSTER_BYTES_MAX (16u << 20)
#define PUBLISHED_BYTES_MAX (1u << 20) // with the 4 bytes of the topic
// Message × subscribers; above it only the envelope goes out.
#define PUBLISHED_FANOUT_BYTES_MAX (16u << 20)
#define SIGNATURES_MAX 4u
#define SIGNERS_MAX 32u
#define PATH_HASHES_MAX 20u
#define TICKETS_MAX (1u << 20)
#define ATTEMPTS_MAX 3u
#define STATUSES_KEPT_PER_NODE 1000u
#define RELEASES_KEPT 10u

#define SECRETS_MAX 1000u
#define SECRET_NAME_BYTES_MAX 64u
#define NAME_BYTES_MAX 63u // of a node, a tag
#define STORE_PATH_BYTES_MAX 300u
#define TEXT_BYTES_MAX 1024u // attribute, url, key and the like
#define LIST_MAX 16u         // substituters, public keys, health commands
#define ARGV_MAX 32u
#define TAGS_MAX 32u

// Receive limits of the sockets: the largest legal message plus its frame. PROTOCOL.md §operations
#define REP_RECEIVE_BYTES_MAX (132u << 10)
#define REQ_RECEIVE_BYTES_MAX (260u << 10)
#define ADMIN_RECEIVE_BYTES_MAX (160u << 20)

#define TICK_SECONDS 150u
#define POLL_SECONDS 1800u
#define PUB_PORT 23686u // spells BENTO on a telephone
#define REP_PORT 23687u
#define CACHE_PORT 23688u // a binary cache, on the node
#define ADMIN_SOCKET "/run/bento-broker/admin.sock"
