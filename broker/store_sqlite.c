#include "store.h"

#include "fs.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sodium.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// migrations[n] moves a file from schema n to n + 1. Never edit one that was released: add another.
static const char *const migrations[] = {
    "CREATE TABLE releases ("
    "  id INTEGER PRIMARY KEY," // order of publication
    "  epoch BLOB NOT NULL CHECK (length(epoch) = 8),"
    "  release BLOB NOT NULL CHECK (length(release) = 8),"
    "  head_hash BLOB NOT NULL UNIQUE CHECK (length(head_hash) = 32),"
    "  published INTEGER NOT NULL,"
    "  envelope BLOB NOT NULL,"
    "  roster BLOB NOT NULL,"
    "  tickets BLOB NOT NULL) STRICT;"
    "CREATE TABLE blobs ("
    "  id INTEGER PRIMARY KEY,"
    "  hash BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),"
    "  total INTEGER NOT NULL,"
    "  have INTEGER NOT NULL,"
    "  complete INTEGER NOT NULL,"
    "  touched INTEGER NOT NULL) STRICT;"
    "CREATE TABLE chunks ("
    "  blob INTEGER NOT NULL REFERENCES blobs ON DELETE CASCADE,"
    "  start INTEGER NOT NULL,"
    "  data BLOB NOT NULL,"
    "  PRIMARY KEY (blob, start)) STRICT;"
    // No cascade towards blobs: SQLite itself refuses to forget one that a kept release names.
    "CREATE TABLE release_blobs ("
    "  release INTEGER NOT NULL REFERENCES releases ON DELETE CASCADE,"
    "  blob INTEGER NOT NULL REFERENCES blobs,"
    "  PRIMARY KEY (release, blob)) STRICT, WITHOUT ROWID;"
    "CREATE INDEX release_blobs_by_blob ON release_blobs (blob);"
    "CREATE TABLE statuses ("
    "  id INTEGER PRIMARY KEY,"
    "  node_id BLOB NOT NULL CHECK (length(node_id) = 32),"
    "  seq BLOB NOT NULL CHECK (length(seq) = 8),"
    "  received INTEGER NOT NULL,"
    "  epoch INTEGER NOT NULL,"
    "  release INTEGER NOT NULL,"
    "  state TEXT NOT NULL,"
    "  code TEXT NOT NULL,"
    "  signed BLOB NOT NULL) STRICT;"
    "CREATE UNIQUE INDEX statuses_by_node ON statuses (node_id, seq DESC);",
};
#define SCHEMA ((int)(sizeof migrations / sizeof migrations[0]))

// Every statement there is; prepared once, when the store opens.
#define STATEMENTS(X)                                                                              \
    X(BEGIN, "BEGIN IMMEDIATE")                                                                    \
    X(COMMIT, "COMMIT")                                                                            \
    X(ROLLBACK, "ROLLBACK")                                                                        \
    X(NEWEST, "SELECT envelope, roster, tickets FROM releases ORDER BY id DESC LIMIT 1")           \
    X(EARLIER, "SELECT envelope, roster, tickets FROM releases WHERE id <"                         \
               " (SELECT id FROM releases WHERE head_hash = ?1) ORDER BY id DESC LIMIT 1")         \
    X(NEWEST_HEAD, "SELECT head_hash, epoch, release FROM releases ORDER BY id DESC LIMIT 1")      \
    X(ADD_RELEASE, "INSERT INTO releases (epoch, release, head_hash, published, envelope, roster," \
                   " tickets) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")                                \
    X(ADD_RELEASE_BLOB, "INSERT INTO release_blobs (release, blob)"                                \
                        " SELECT ?1, id FROM blobs WHERE hash = ?2 AND complete")                  \
    X(DROP_RELEASES, "DELETE FROM releases WHERE id <="                                            \
                     " (SELECT id FROM releases ORDER BY id DESC LIMIT 1 OFFSET ?1)")              \
    X(DROP_BLOBS, "DELETE FROM blobs WHERE touched < ?1"                                           \
                  " AND NOT EXISTS (SELECT 1 FROM release_blobs WHERE blob = blobs.id)")           \
    X(BLOB, "SELECT id, total, have, complete FROM blobs WHERE hash = ?1")                         \
    X(ADD_BLOB, "INSERT INTO blobs (hash, total, have, complete, touched)"                         \
                " VALUES (?1, ?2, 0, 0, ?3)")                                                      \
    X(TOUCH_BLOB, "UPDATE blobs SET have = ?2, complete = ?3, touched = ?4 WHERE id = ?1")         \
    X(DROP_BLOB, "DELETE FROM blobs WHERE id = ?1")                                                \
    X(ADD_CHUNK, "INSERT INTO chunks (blob, start, data) VALUES (?1, ?2, ?3)")                     \
    X(CHUNKS, "SELECT start, data FROM chunks WHERE blob = ?1 AND start >="                        \
              " coalesce((SELECT max(start) FROM chunks WHERE blob = ?1 AND start <= ?2), 0)"      \
              " ORDER BY start")                                                                   \
    X(STATUS, "SELECT signed FROM statuses WHERE node_id = ?1 AND seq = ?2")                       \
    X(HIGHEST, "SELECT seq FROM statuses WHERE node_id = ?1 ORDER BY seq DESC LIMIT 1")            \
    X(ADD_STATUS, "INSERT INTO statuses (node_id, seq, received, epoch, release, state, code,"     \
                  " signed) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")                              \
    X(DROP_STATUSES, "DELETE FROM statuses WHERE node_id = ?1 AND seq <= (SELECT seq FROM"         \
                     " statuses WHERE node_id = ?1 ORDER BY seq DESC LIMIT 1 OFFSET ?2)")          \
    X(NEXT_NODE, "SELECT node_id, received, signed FROM statuses WHERE node_id > ?1"               \
                 " ORDER BY node_id, seq DESC LIMIT 1")                                            \
    X(HISTORY, "SELECT node_id, received, signed FROM statuses WHERE node_id = ?1 AND seq < ?2"    \
               " ORDER BY seq DESC")                                                               \
    X(HISTORY_ALL, "SELECT node_id, received, signed FROM statuses WHERE node_id = ?1"             \
                   " ORDER BY seq DESC")

#define STATEMENT_ENUM(name, sql) Q_##name,
enum statement { STATEMENTS(STATEMENT_ENUM) STATEMENT_COUNT };
#define STATEMENT_SQL(name, sql) sql,
static const char *const statement_sql[] = {STATEMENTS(STATEMENT_SQL)};

struct store {
    sqlite3 *db;
    sqlite3_stmt *statements[STATEMENT_COUNT];
};

// SQLite's last word, as an error. Always false.
static bool db_failed(struct store *s, const char *doing, struct err *e)
{
    int code = sqlite3_errcode(s->db);
    const char *hint = code == SQLITE_NOTADB || code == SQLITE_CORRUPT
                           ? ": restore a backup, or move it away"
                           : "";
    return err_set(e, CODE_IO, STORE_FILE ": %s: %s%s", doing, sqlite3_errmsg(s->db), hint);
}

static void reset(sqlite3_stmt **statement)
{
    sqlite3_reset(*statement);
    sqlite3_clear_bindings(*statement);
}
// A statement that is ready again when its name goes out of scope.
#define QUERY(store, which) CLEANUP(reset) sqlite3_stmt *q = (store)->statements[which]

static void bind_bytes(sqlite3_stmt *q, int index, struct bytes value)
{
    // A NULL pointer would bind NULL.
    sqlite3_bind_blob64(q, index, value.at ? value.at : (const uint8_t *)"", value.len, NULL);
}

static void bind_hash(sqlite3_stmt *q, int index, const uint8_t *hash)
{
    sqlite3_bind_blob(q, index, hash, HASH_BYTES, NULL);
}

static void bind_u64(sqlite3_stmt *q, int index, uint64_t value)
{
    uint8_t big_endian[8];
    for (int i = 0; i < 8; i++)
        big_endian[i] = (uint8_t)(value >> (56 - 8 * i));
    sqlite3_bind_blob(q, index, big_endian, 8, SQLITE_TRANSIENT);
}

// For columns that nothing compares: SQLite's integers end at 2^63 - 1.
static void bind_number(sqlite3_stmt *q, int index, uint64_t value)
{
    sqlite3_bind_int64(q, index, value > INT64_MAX ? INT64_MAX : (int64_t)value);
}

static struct bytes column_bytes(sqlite3_stmt *q, int index)
{
    const void *at = sqlite3_column_blob(q, index);
    return bytes_of(at, (size_t)sqlite3_column_bytes(q, index));
}

static uint64_t column_u64(sqlite3_stmt *q, int index)
{
    struct bytes b = column_bytes(q, index);
    uint64_t value = 0;
    for (size_t i = 0; i < b.len; i++)
        value = value << 8 | b.at[i];
    return value;
}

static bool run(struct store *s, sqlite3_stmt *q, const char *doing, struct err *e)
{
    return sqlite3_step(q) == SQLITE_DONE || db_failed(s, doing, e);
}

// *row: there is one.
static bool step(struct store *s, sqlite3_stmt *q, bool *row, const char *doing, struct err *e)
{
    int rc = sqlite3_step(q);
    *row = rc == SQLITE_ROW;
    return rc == SQLITE_ROW || rc == SQLITE_DONE || db_failed(s, doing, e);
}

static bool begin(struct store *s, struct err *e)
{
    QUERY(s, Q_BEGIN);
    return run(s, q, "begin", e);
}

// Ends the transaction: commits if all went well so far, else undoes it. Returns whether it stands.
static bool finish(struct store *s, bool ok, struct err *e)
{
    if (ok) {
        QUERY(s, Q_COMMIT);
        ok = run(s, q, "commit", e);
    }
    // After some errors (a full disk) SQLite has rolled back by itself.
    if (!ok && !sqlite3_get_autocommit(s->db)) {
        QUERY(s, Q_ROLLBACK);
        (void)sqlite3_step(q);
    }
    return ok;
}

static bool exec(struct store *s, const char *sql, const char *doing, struct err *e)
{
    return sqlite3_exec(s->db, sql, NULL, NULL, NULL) == SQLITE_OK || db_failed(s, doing, e);
}

static bool ask_number(struct store *s, const char *sql, int *value, struct err *e)
{
    sqlite3_stmt *q = NULL;
    bool ok =
        sqlite3_prepare_v2(s->db, sql, -1, &q, NULL) == SQLITE_OK && sqlite3_step(q) == SQLITE_ROW;
    if (ok)
        *value = sqlite3_column_int(q, 0);
    else
        db_failed(s, "read", e);
    sqlite3_finalize(q);
    return ok;
}

// Nothing is written before it is known that the file is ours and not newer than we are.
static bool check_schema(struct store *s, int *version, struct err *e)
{
    int tables;
    if (!ask_number(s, "PRAGMA user_version", version, e) ||
        !ask_number(s, "SELECT count(*) FROM sqlite_schema", &tables, e))
        return false;
    if (*version > SCHEMA)
        return err_set(e, CODE_CONFIG,
            STORE_FILE " has schema %d, this bento knows %d: upgrade bento; the file was not"
                       " touched",
            *version, SCHEMA);
    if (*version < 0 || (*version == 0 && tables > 0))
        return err_set(e, CODE_CONFIG,
            STORE_FILE " is not a database of bento-broker: move it away, or name another state"
                       " folder");
    return true;
}

static bool migrate(struct store *s, int version, struct err *e)
{
    for (; version < SCHEMA; version++) {
        char done[64];
        snprintf(done, sizeof done, "PRAGMA user_version = %d", version + 1);
        if (!exec(s, "BEGIN IMMEDIATE", "begin", e))
            return false;
        if (!exec(s, migrations[version], "migrate", e) || !exec(s, done, "migrate", e) ||
            !exec(s, "COMMIT", "migrate", e)) {
            sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
            return false;
        }
    }
    return true;
}

static bool prepare(struct store *s, struct err *e)
{
    for (int i = 0; i < STATEMENT_COUNT; i++)
        if (sqlite3_prepare_v3(s->db, statement_sql[i], -1, SQLITE_PREPARE_PERSISTENT,
                &s->statements[i], NULL) != SQLITE_OK)
            return db_failed(s, "prepare", e);
    return true;
}

static bool open_file(struct store *s, const char *folder, struct err *e)
{
    CLEANUP_FD dir = -1;
    if (!fs_open_dir(AT_FDCWD, folder, &dir, e))
        return false;
    CLEANUP(buf_clear) struct buf path = {0};
    buf_printf(&path, "%s/" STORE_FILE, folder);
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    if (sqlite3_open_v2(buf_text(&path), &s->db, flags, NULL) != SQLITE_OK)
        return db_failed(s, "open", e);
    // Somebody with a sqlite3 prompt may hold the lock for a moment.
    sqlite3_busy_timeout(s->db, 2000);
    // Closing a refused file must not write its WAL back into it.
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    int version;
    if (!check_schema(s, &version, e))
        return false;
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
    return exec(s,
               "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;"
               "PRAGMA journal_size_limit = 16777216; PRAGMA trusted_schema = OFF",
               "set up", e) &&
           migrate(s, version, e) && prepare(s, e) && fs_sync_dir(dir, e);
}

bool store_open(const char *folder, struct store **store, struct err *e)
{
    struct store *s = xcalloc(1, sizeof *s);
    if (!open_file(s, folder, e)) {
        store_close(s);
        return err_wrap(e, "%s", folder);
    }
    *store = s;
    return true;
}

void store_close(struct store *store)
{
    if (!store)
        return;
    for (int i = 0; i < STATEMENT_COUNT; i++)
        sqlite3_finalize(store->statements[i]);
    sqlite3_close(store->db);
    free(store);
}

static void append(struct buf *out, struct bytes b)
{
    buf_append(out, b.at, b.len);
}

static void take_release(sqlite3_stmt *q, struct store_release *release)
{
    *release = (struct store_release){0};
    append(&release->envelope, column_bytes(q, 0));
    append(&release->roster, column_bytes(q, 1));
    append(&release->tickets, column_bytes(q, 2));
}

bool store_newest(struct store *store, struct store_release *release, struct err *e)
{
    QUERY(store, Q_NEWEST);
    bool row;
    if (!step(store, q, &row, "read the newest release", e))
        return false;
    if (!row)
        return err_set(e, CODE_NONE, "nothing was published yet");
    take_release(q, release);
    return true;
}

bool store_earlier(struct store *store, const uint8_t head_hash[HASH_BYTES],
    struct store_release *release, struct err *e)
{
    QUERY(store, Q_EARLIER);
    bool row;
    bind_hash(q, 1, head_hash);
    if (!step(store, q, &row, "read an earlier release", e))
        return false;
    if (!row)
        return err_set(e, CODE_NONE, "no release before that one is kept");
    take_release(q, release);
    return true;
}

void store_release_clear(struct store_release *release)
{
    buf_clear(&release->envelope);
    buf_clear(&release->roster);
    buf_clear(&release->tickets);
}

// May this head follow the newest one?
static bool check_successor(struct store *s, const struct store_publication *p, struct err *e)
{
    QUERY(s, Q_NEWEST_HEAD);
    bool row;
    if (!step(s, q, &row, "read the newest head", e))
        return false;
    if (!row)
        return bytes_are_zero(p->base, HASH_BYTES) ||
               err_set(e, CODE_STALE, "nothing was published here, but the base is not empty");
    if (!bytes_equal(column_bytes(q, 0), bytes_of(p->base, HASH_BYTES)))
        return err_set(e, CODE_STALE, "another release was published in between");
    uint64_t epoch = column_u64(q, 1), release = column_u64(q, 2);
    if (p->epoch < epoch || p->epoch - epoch > 1)
        return err_set(
            e, CODE_EPOCH, "epoch %" PRIu64 " cannot follow epoch %" PRIu64, p->epoch, epoch);
    if (p->epoch > epoch || p->release > release)
        return true;
    if (p->release < release)
        return err_set(
            e, CODE_ROLLBACK, "release %" PRIu64 " is older than %" PRIu64, p->release, release);
    return err_set(e, CODE_EQUIVOCATION, "another head is published as release %" PRIu64, release);
}

static bool add_release(struct store *s, const struct store_publication *p, struct err *e)
{
    QUERY(s, Q_ADD_RELEASE);
    bind_u64(q, 1, p->epoch);
    bind_u64(q, 2, p->release);
    bind_hash(q, 3, p->head_hash);
    bind_number(q, 4, p->now_s);
    bind_bytes(q, 5, p->envelope);
    bind_bytes(q, 6, p->roster);
    bind_bytes(q, 7, p->tickets);
    return run(s, q, "store the release", e);
}

static bool add_release_blobs(struct store *s, const struct store_publication *p, struct err *e)
{
    sqlite3_int64 release = sqlite3_last_insert_rowid(s->db);
    for (size_t i = 0; i < p->blob_count; i++) {
        QUERY(s, Q_ADD_RELEASE_BLOB);
        sqlite3_bind_int64(q, 1, release);
        bind_hash(q, 2, p->blobs[i]);
        if (!run(s, q, "store the release", e))
            return false;
        if (sqlite3_changes(s->db) != 1) {
            char hex[HASH_HEX_BYTES];
            hex_encode(p->blobs[i], HASH_BYTES, hex);
            return err_set(e, CODE_NONE, "blob %s was not uploaded", hex);
        }
    }
    return true;
}

static bool forget_old(struct store *s, uint64_t now_s, struct err *e)
{
    {
        QUERY(s, Q_DROP_RELEASES);
        sqlite3_bind_int64(q, 1, RELEASES_KEPT);
        if (!run(s, q, "forget old releases", e))
            return false;
    }
    QUERY(s, Q_DROP_BLOBS);
    bind_number(q, 1, now_s > UPLOAD_KEPT_S ? now_s - UPLOAD_KEPT_S : 0);
    return run(s, q, "forget old blobs", e);
}

bool store_publish(struct store *store, const struct store_publication *publication, struct err *e)
{
    if (!begin(store, e))
        return false;
    bool ok = check_successor(store, publication, e) && add_release(store, publication, e) &&
              add_release_blobs(store, publication, e) && forget_old(store, publication->now_s, e);
    return finish(store, ok, e);
}

struct blob_row {
    sqlite3_int64 id; // 0: there is none
    uint64_t total, have;
    bool complete;
};

static bool find_blob(struct store *s, const uint8_t *hash, struct blob_row *blob, struct err *e)
{
    QUERY(s, Q_BLOB);
    bind_hash(q, 1, hash);
    bool row;
    if (!step(s, q, &row, "look for a blob", e))
        return false;
    *blob = (struct blob_row){0};
    if (row)
        *blob = (struct blob_row){
            .id = sqlite3_column_int64(q, 0),
            .total = (uint64_t)sqlite3_column_int64(q, 1),
            .have = (uint64_t)sqlite3_column_int64(q, 2),
            .complete = sqlite3_column_int(q, 3) != 0,
        };
    return true;
}

bool store_blob_is_whole(
    struct store *store, const uint8_t hash[HASH_BYTES], bool *whole, struct err *e)
{
    struct blob_row blob;
    if (!find_blob(store, hash, &blob, e))
        return false;
    *whole = blob.complete;
    return true;
}

static bool drop_blob(struct store *s, sqlite3_int64 id, struct err *e)
{
    QUERY(s, Q_DROP_BLOB);
    sqlite3_bind_int64(q, 1, id);
    return run(s, q, "forget an upload", e);
}

static bool add_blob(struct store *s, const uint8_t *hash, uint64_t total, uint64_t now_s,
    struct blob_row *blob, struct err *e)
{
    QUERY(s, Q_ADD_BLOB);
    bind_hash(q, 1, hash);
    bind_number(q, 2, total);
    bind_number(q, 3, now_s);
    if (!run(s, q, "start an upload", e))
        return false;
    *blob = (struct blob_row){.id = sqlite3_last_insert_rowid(s->db), .total = total};
    return true;
}

static bool add_chunk(struct store *s, struct blob_row *blob, struct bytes chunk, struct err *e)
{
    QUERY(s, Q_ADD_CHUNK);
    sqlite3_bind_int64(q, 1, blob->id);
    bind_number(q, 2, blob->have);
    bind_bytes(q, 3, chunk);
    if (!run(s, q, "store a chunk", e))
        return false;
    blob->have += chunk.len;
    return true;
}

// Of the whole blob, a chunk at a time.
static bool hash_blob(struct store *s, sqlite3_int64 id, uint8_t hash[HASH_BYTES], struct err *e)
{
    QUERY(s, Q_CHUNKS);
    sqlite3_bind_int64(q, 1, id);
    sqlite3_bind_int64(q, 2, 0);
    crypto_hash_sha256_state state;
    crypto_hash_sha256_init(&state);
    for (;;) {
        bool row;
        if (!step(s, q, &row, "read a blob", e))
            return false;
        if (!row)
            break;
        struct bytes chunk = column_bytes(q, 1);
        crypto_hash_sha256_update(&state, chunk.at, chunk.len);
    }
    crypto_hash_sha256_final(&state, hash);
    return true;
}

static bool touch_blob(struct store *s, const struct blob_row *blob, uint64_t now_s, struct err *e)
{
    QUERY(s, Q_TOUCH_BLOB);
    sqlite3_bind_int64(q, 1, blob->id);
    bind_number(q, 2, blob->have);
    sqlite3_bind_int(q, 3, blob->complete);
    bind_number(q, 4, now_s);
    return run(s, q, "store a chunk", e);
}

struct upload {
    const uint8_t *hash;
    uint64_t total, offset;
    struct bytes chunk;
    uint64_t now_s, have;
    bool wrong; // all of it is here, and it is something else
};

static bool put_chunk(struct store *s, struct upload *up, struct err *e)
{
    struct blob_row blob;
    if (!find_blob(s, up->hash, &blob, e))
        return false;
    // A first chunk with a wrong total must not block the right one until it is forgotten.
    if (blob.id && !blob.complete && blob.total != up->total) {
        if (!drop_blob(s, blob.id, e))
            return false;
        blob.id = 0;
    }
    if (!blob.id && !add_blob(s, up->hash, up->total, up->now_s, &blob, e))
        return false;
    if (!blob.complete && up->offset == blob.have && up->chunk.len > 0 &&
        !add_chunk(s, &blob, up->chunk, e))
        return false;
    up->have = blob.have;
    if (!blob.complete && blob.have == blob.total) {
        uint8_t hash[HASH_BYTES];
        if (!hash_blob(s, blob.id, hash, e))
            return false;
        up->wrong = memcmp(hash, up->hash, HASH_BYTES) != 0;
        if (up->wrong)
            return drop_blob(s, blob.id, e);
        blob.complete = true;
    }
    return touch_blob(s, &blob, up->now_s, e);
}

bool store_blob_put(struct store *store, const uint8_t hash[HASH_BYTES], uint64_t total,
    uint64_t offset, struct bytes chunk, uint64_t now_s, uint64_t *have, struct err *e)
{
    if (total == 0 || total > BLOB_BYTES_MAX)
        return err_set(e, CODE_LENGTH, "a blob has 1 to %u bytes", BLOB_BYTES_MAX);
    if (offset > total || chunk.len > total - offset)
        return err_set(e, CODE_LENGTH, "the chunk goes beyond the end of its blob");
    struct upload up = {
        .hash = hash, .total = total, .offset = offset, .chunk = chunk, .now_s = now_s};
    if (!begin(store, e) || !finish(store, put_chunk(store, &up, e), e))
        return false;
    if (up.wrong)
        return err_set(e, CODE_HASH, "the bytes that were uploaded are not those of this name");
    *have = up.have;
    return true;
}

bool store_blob_read(struct store *store, const uint8_t hash[HASH_BYTES], uint64_t offset,
    size_t max, uint64_t *total, struct buf *out, struct err *e)
{
    struct blob_row blob;
    if (!find_blob(store, hash, &blob, e))
        return false;
    if (!blob.complete)
        return err_set(e, CODE_NONE, "there is no such blob");
    *total = blob.total;
    if (offset >= blob.total)
        return true;
    size_t before = out->len;
    QUERY(store, Q_CHUNKS);
    sqlite3_bind_int64(q, 1, blob.id);
    bind_number(q, 2, offset);
    while (max > 0) {
        bool row;
        if (!step(store, q, &row, "read a blob", e)) {
            out->len = before;
            return false;
        }
        if (!row)
            break;
        struct bytes chunk = column_bytes(q, 1);
        uint64_t start = (uint64_t)sqlite3_column_int64(q, 0);
        size_t skip = offset > start ? (size_t)(offset - start) : 0;
        ASSERT(skip <= chunk.len);
        size_t take = chunk.len - skip < max ? chunk.len - skip : max;
        buf_append(out, chunk.at + skip, take);
        max -= take;
    }
    return true;
}

static bool find_status(struct store *s, struct store_status *status, bool *found, struct err *e)
{
    QUERY(s, Q_STATUS);
    bind_hash(q, 1, status->node_id);
    bind_u64(q, 2, status->seq);
    if (!step(s, q, found, "look for a status", e))
        return false;
    if (*found)
        status->outcome =
            bytes_equal(column_bytes(q, 0), status->signed_message) ? STORE_KNOWN : STORE_OTHER;
    return true;
}

static bool find_highest(struct store *s, struct store_status *status, struct err *e)
{
    QUERY(s, Q_HIGHEST);
    bind_hash(q, 1, status->node_id);
    bool row;
    if (!step(s, q, &row, "look for a status", e))
        return false;
    status->highest = row ? column_u64(q, 0) : 0;
    return true;
}

static bool add_status(struct store *s, struct store_status *status, struct err *e)
{
    status->outcome = STORE_NEW;
    {
        QUERY(s, Q_ADD_STATUS);
        bind_hash(q, 1, status->node_id);
        bind_u64(q, 2, status->seq);
        bind_number(q, 3, status->received_s);
        bind_number(q, 4, status->epoch);
        bind_number(q, 5, status->release);
        sqlite3_bind_text(q, 6, status->state, -1, NULL);
        sqlite3_bind_text(q, 7, status->code, -1, NULL);
        bind_bytes(q, 8, status->signed_message);
        if (!run(s, q, "store a status", e))
            return false;
    }
    QUERY(s, Q_DROP_STATUSES);
    bind_hash(q, 1, status->node_id);
    sqlite3_bind_int64(q, 2, STATUSES_KEPT_PER_NODE);
    return run(s, q, "forget old statuses", e);
}

static bool put_status(struct store *s, struct store_status *status, struct err *e)
{
    bool found;
    if (!find_status(s, status, &found, e))
        return false;
    if (!found)
        return add_status(s, status, e);
    return status->outcome != STORE_OTHER || find_highest(s, status, e);
}

bool store_put_statuses(struct store *store, struct store_status *list, size_t count, struct err *e)
{
    if (!begin(store, e))
        return false;
    bool ok = true;
    for (size_t i = 0; ok && i < count; i++)
        ok = put_status(store, &list[i], e);
    return finish(store, ok, e);
}

// Hands the row that q stands on to fn.
static bool hand_status(sqlite3_stmt *q, store_status_fn *fn, void *context)
{
    struct bytes node_id = column_bytes(q, 0);
    ASSERT(node_id.len == HASH_BYTES); // the table's CHECK
    return fn(context, node_id.at, (uint64_t)sqlite3_column_int64(q, 1), column_bytes(q, 2));
}

bool store_newest_statuses(struct store *store, const uint8_t after[HASH_BYTES],
    store_status_fn *fn, void *context, bool *more, struct err *e)
{
    uint8_t last[HASH_BYTES];
    memcpy(last, after, HASH_BYTES);
    for (*more = false; !*more;) {
        QUERY(store, Q_NEXT_NODE);
        bind_hash(q, 1, last);
        bool row;
        if (!step(store, q, &row, "read statuses", e))
            return false;
        if (!row)
            return true;
        *more = !hand_status(q, fn, context);
        memcpy(last, sqlite3_column_blob(q, 0), HASH_BYTES);
    }
    return true;
}

bool store_history(struct store *store, const uint8_t node_id[HASH_BYTES], uint64_t before,
    store_status_fn *fn, void *context, bool *more, struct err *e)
{
    QUERY(store, before == UINT64_MAX ? Q_HISTORY_ALL : Q_HISTORY);
    bind_hash(q, 1, node_id);
    if (before != UINT64_MAX)
        bind_u64(q, 2, before);
    for (*more = false; !*more;) {
        bool row;
        if (!step(store, q, &row, "read statuses", e))
            return false;
        if (!row)
            return true;
        *more = !hand_status(q, fn, context);
    }
    return true;
}
