#include "sshkey.h"

#include "sshwire.h"
#include "wire.h"

#include <sodium.h>
#include <string.h>

#define TYPE_ED25519 "ssh-ed25519"
#define TYPE_SK_ED25519 "sk-ssh-ed25519@openssh.com"

#define BLOB_BYTES_ROOM 256u      // more than the longest blob of a key of ours
#define PEM_BYTES_MAX (16u << 10) // more than any key that ssh-keygen makes
#define PEM_BEGIN "-----BEGIN OPENSSH PRIVATE KEY-----\n"
#define PEM_END "-----END OPENSSH PRIVATE KEY-----"
#define PEM_MAGIC "openssh-key-v1"

static const char *type_name(enum key_type type)
{
    return type == KEY_SK_ED25519 ? TYPE_SK_ED25519 : TYPE_ED25519;
}

bool public_key_decode(struct bytes blob, struct public_key *key, struct err *e)
{
    struct sshwire_in in = {.rest = blob};
    struct public_key found = {0};
    struct bytes type = sshwire_string(&in);
    if (bytes_equal_text(type, TYPE_SK_ED25519))
        found.type = KEY_SK_ED25519;
    else if (!bytes_equal_text(type, TYPE_ED25519))
        return err_set(e, CODE_FORMAT, "a key is neither ssh-ed25519 nor sk-ssh-ed25519");
    struct bytes point = sshwire_string(&in);
    struct bytes application = {0};
    if (found.type == KEY_SK_ED25519)
        application = sshwire_string(&in);
    if (!sshwire_end(&in) || point.len != sizeof(found.ed25519) ||
        application.len >= sizeof(found.application) || !wire_text_is_clean(application))
        return err_set(e, CODE_FORMAT, "a public key is damaged");
    memcpy(found.ed25519, point.at, point.len);
    if (application.len != 0)
        memcpy(found.application, application.at, application.len);
    *key = found;
    return true;
}

void public_key_encode(const struct public_key *key, struct buf *blob)
{
    sshwire_put_text(blob, type_name(key->type));
    sshwire_put_string(blob, bytes_of(key->ed25519, sizeof(key->ed25519)));
    if (key->type == KEY_SK_ED25519)
        sshwire_put_text(blob, key->application);
}

// sodium_base642bin() of 1.0.18 takes a NUL for one of the characters to ignore, and any byte above
// 127 for the last digit.
static bool is_ascii(struct bytes base64)
{
    for (size_t i = 0; i < base64.len; i++) {
        if (base64.at[i] == '\0' || base64.at[i] > 127)
            return false;
    }
    return true;
}

// The part of *line up to a space, which is consumed too.
static struct bytes take_word(struct bytes *line)
{
    const uint8_t *space = line->len == 0 ? NULL : memchr(line->at, ' ', line->len);
    size_t len = space == NULL ? line->len : (size_t)(space - line->at);
    struct bytes word = bytes_of(line->at, len);
    size_t used = space == NULL ? len : len + 1;
    *line = bytes_of(used == 0 ? line->at : line->at + used, line->len - used);
    return word;
}

bool public_key_parse(struct bytes line, struct public_key *key, struct err *e)
{
    if (line.len != 0 && line.at[line.len - 1] == '\n')
        line.len--;
    if (line.len == 0 || !wire_text_is_clean(line))
        return err_set(e, CODE_CONFIG, "not a line `TYPE BASE64 [comment]` of a public key");
    struct bytes type = take_word(&line);
    struct bytes base64 = take_word(&line);
    if (!bytes_equal_text(type, TYPE_ED25519) && !bytes_equal_text(type, TYPE_SK_ED25519))
        return err_set(e, CODE_CONFIG,
            "not a public key line that begins with ssh-ed25519 or sk-ssh-ed25519@openssh.com");

    uint8_t blob[BLOB_BYTES_ROOM];
    size_t blob_len;
    struct public_key found;
    if (base64.len == 0 || !is_ascii(base64) ||
        sodium_base642bin(blob, sizeof(blob), (const char *)base64.at, base64.len, NULL, &blob_len,
            NULL, sodium_base64_VARIANT_ORIGINAL) != 0 ||
        !public_key_decode(bytes_of(blob, blob_len), &found, e) ||
        !bytes_equal_text(type, type_name(found.type)))
        return err_set(e, CODE_CONFIG, "the public key line is damaged (its base64 or its type)");
    *key = found;
    return true;
}

void public_key_line(const struct public_key *key, struct buf *line)
{
    struct buf blob = {0};
    public_key_encode(key, &blob);
    char base64[sodium_base64_ENCODED_LEN(BLOB_BYTES_ROOM, sodium_base64_VARIANT_ORIGINAL)];
    sodium_bin2base64(base64, sizeof(base64), blob.at, blob.len, sodium_base64_VARIANT_ORIGINAL);
    buf_append_text(line, type_name(key->type));
    buf_append_text(line, " ");
    buf_append_text(line, base64);
    buf_clear(&blob);
}

bool public_key_same(const struct public_key *a, const struct public_key *b)
{
    return memcmp(a->ed25519, b->ed25519, sizeof(a->ed25519)) == 0;
}

void public_key_id(const struct public_key *key, uint8_t node_id[HASH_BYTES])
{
    struct buf blob = {0};
    public_key_encode(key, &blob);
    sha256(buf_bytes(&blob), node_id);
    buf_clear(&blob);
}

void fingerprint(const uint8_t node_id[HASH_BYTES], char text[FINGERPRINT_BYTES])
{
    static const char prefix[] = "SHA256:";
    memcpy(text, prefix, sizeof(prefix));
    sodium_bin2base64(text + sizeof(prefix) - 1, FINGERPRINT_BYTES - sizeof(prefix) + 1, node_id,
        HASH_BYTES, sodium_base64_VARIANT_ORIGINAL_NO_PADDING);
}

// ---- private keys

static bool damaged(struct err *e)
{
    return err_set(e, CODE_CONFIG, "the private key file is damaged");
}

static bool other_type(struct err *e)
{
    return err_set(e, CODE_CONFIG,
        "the private key is of another type: bento needs ed25519 in OpenSSH's own format "
        "(ssh-keygen -t ed25519)");
}

// The binary inside the armor.
static bool unarmor(struct bytes pem, struct buf *raw, struct err *e)
{
    static const char any_begin[] = "-----BEGIN ";
    size_t begin = sizeof(PEM_BEGIN) - 1, end = sizeof(PEM_END) - 1;
    if (pem.len > PEM_BYTES_MAX || pem.len == 0)
        return damaged(e);
    if (pem.len < begin || memcmp(pem.at, PEM_BEGIN, begin) != 0) {
        bool is_pem = pem.len >= sizeof(any_begin) - 1 &&
                      memcmp(pem.at, any_begin, sizeof(any_begin) - 1) == 0;
        size_t shared = pem.len < begin ? pem.len : begin;
        bool is_cut = memcmp(pem.at, PEM_BEGIN, shared) == 0;
        return is_pem && !is_cut ? other_type(e) : damaged(e);
    }
    if (pem.at[pem.len - 1] == '\n')
        pem.len--;
    if (pem.len < begin + end || memcmp(pem.at + pem.len - end, PEM_END, end) != 0)
        return damaged(e);
    struct bytes base64 = bytes_of(pem.at + begin, pem.len - begin - end);
    if (base64.len == 0 || !is_ascii(base64))
        return damaged(e);
    buf_reserve(raw, base64.len);
    if (sodium_base642bin(raw->at, raw->room, (const char *)base64.at, base64.len, "\n", &raw->len,
            NULL, sodium_base64_VARIANT_ORIGINAL) != 0) {
        raw->len = 0;
        return damaged(e);
    }
    return true;
}

// The part that would be encrypted. Every copy of the public half must be the one that the seed
// gives.
static bool parse_private(
    struct bytes private, const struct public_key *outer, struct secret_key *found, struct err *e)
{
    struct sshwire_in in = {.rest = private};
    uint32_t check = sshwire_u32(&in);
    uint32_t check_again = sshwire_u32(&in);
    struct bytes type = sshwire_string(&in);
    struct bytes point = sshwire_string(&in);
    struct bytes secret = sshwire_string(&in);
    sshwire_string(&in); // the comment
    if (in.failed || check != check_again || !bytes_equal_text(type, TYPE_ED25519) ||
        point.len != 32 || secret.len != 64 || private.len % 8 != 0 || in.rest.len >= 8)
        return damaged(e);
    for (size_t i = 0; i < in.rest.len; i++) {
        if (in.rest.at[i] != i + 1)
            return damaged(e);
    }
    found->public.type = KEY_ED25519;
    crypto_sign_seed_keypair(found->public.ed25519, found->ed25519, secret.at);
    if (memcmp(found->public.ed25519, point.at, 32) != 0 ||
        memcmp(found->public.ed25519, secret.at + 32, 32) != 0 ||
        !public_key_same(&found->public, outer))
        return damaged(e);
    return true;
}

static bool parse_raw(struct bytes raw, struct secret_key *found, struct err *e)
{
    struct sshwire_in in = {.rest = raw};
    struct bytes magic = sshwire_raw(&in, sizeof(PEM_MAGIC)); // with its NUL
    struct bytes cipher = sshwire_string(&in);
    struct bytes kdf = sshwire_string(&in);
    struct bytes kdf_options = sshwire_string(&in);
    uint32_t keys = sshwire_u32(&in);
    struct bytes public_blob = sshwire_string(&in);
    struct bytes private = sshwire_string(&in);
    if (!sshwire_end(&in) || memcmp(magic.at, PEM_MAGIC, magic.len) != 0 || keys != 1)
        return damaged(e);
    if (!bytes_equal_text(cipher, "none"))
        return err_set(e, CODE_CONFIG,
            "the private key is encrypted, and nobody is here to type a passphrase: make one "
            "without (ssh-keygen -t ed25519 -N '' -f FILE), or remove it (ssh-keygen -p -f FILE)");
    if (!bytes_equal_text(kdf, "none") || kdf_options.len != 0)
        return damaged(e);

    struct sshwire_in type_in = {.rest = public_blob};
    struct bytes type = sshwire_string(&type_in);
    struct public_key outer;
    if (type_in.failed)
        return damaged(e);
    if (!bytes_equal_text(type, TYPE_ED25519))
        return other_type(e);
    if (!public_key_decode(public_blob, &outer, e))
        return damaged(e);
    return parse_private(private, &outer, found, e);
}

bool secret_key_parse(struct bytes pem, struct secret_key *key, struct err *e)
{
    struct buf raw = {0};
    struct secret_key found = {0};
    bool ok = unarmor(pem, &raw, e) && parse_raw(buf_bytes(&raw), &found, e);
    if (ok)
        *key = found;
    secret_key_wipe(&found);
    buf_clear(&raw);
    return ok;
}

void secret_key_wipe(struct secret_key *key)
{
    sodium_memzero(key, sizeof(*key));
}
