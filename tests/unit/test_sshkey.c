#include "sshkey.h"

#include "proto_folder.h"

#define TOKEN_LINE                                                                                 \
    "sk-ssh-ed25519@openssh.com "                                                                  \
    "AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAIJsaDYXQYruc6bilCYDIK4YSOeG+zmrRO2M9t03//7LHAAAA" \
    "BHNzaDo="
#define FILE_LINE "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIlizSIN3DQV78VPNjVvvwjgf+P5HqbPYCYu3BOMdjAE"

static bool parse(const char *line, struct public_key *key)
{
    struct err e;
    bool ok = public_key_parse(bytes_of_text(line), key, &e);
    if (!ok)
        assert_code(e, CODE_CONFIG);
    return ok;
}

static void line_of_either_type_is_read_and_written(void **state)
{
    (void)state;
    const char *lines[] = {FILE_LINE, TOKEN_LINE};
    for (size_t i = 0; i < 2; i++) {
        struct public_key key;
        struct buf line = {0};
        assert_true(parse(lines[i], &key));
        assert_int_equal(key.type, i == 0 ? KEY_ED25519 : KEY_SK_ED25519);
        assert_string_equal(key.application, i == 0 ? "" : "ssh:");
        public_key_line(&key, &line);
        assert_string_equal(buf_text(&line), lines[i]);
        buf_clear(&line);
    }
}

static void line_may_have_a_comment_and_a_newline(void **state)
{
    (void)state;
    struct public_key key;
    assert_true(parse(FILE_LINE " ED25519 test key", &key));
    assert_true(parse(FILE_LINE " root@host\n", &key));
    assert_true(parse(FILE_LINE "\n", &key));
}

static void line_that_is_not_exactly_that_is_refused(void **state)
{
    (void)state;
    struct public_key key;
    const char *bad[] = {"", "\n", "ssh-ed25519", "ssh-ed25519 ", " " FILE_LINE,
        "restrict " FILE_LINE, "cert-authority " FILE_LINE, FILE_LINE "\n\n",
        FILE_LINE "\n" FILE_LINE, FILE_LINE "=", FILE_LINE "\tcomment",
        "ssh-ed25519  AAAAC3NzaC1lZDI1NTE5AAAAIIlizSIN3DQV78VPNjVvvwjgf+P5HqbPYCYu3BOMdjAE",
        "sk-ssh-ed25519@openssh.com "
        "AAAAC3NzaC1lZDI1NTE5AAAAIIlizSIN3DQV78VPNjVvvwjgf+P5HqbPYCYu3BOMdjAE",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIlizSIN3DQV78VPNjVvvwjgf+P5HqbPYCYu3BOMdjA",
        "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQ==", "ssh-ed25519-cert-v01@openssh.com AAAA",
        "# " FILE_LINE};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(parse(bad[i], &key));
}

// libsodium reads bytes above 127 as if they were the last digit, which makes another key of a line
// that was mangled on its way.
static void letters_that_are_no_base64_are_refused(void **state)
{
    (void)state;
    struct public_key key;
    struct buf line = {0};
    for (size_t at = strlen("ssh-ed25519 "); at + 1 < strlen(FILE_LINE); at++) {
        buf_append_text(&line, FILE_LINE);
        memcpy(line.at + at, "\xc3\xbc", 2);
        assert_false(parse(buf_text(&line), &key));
        buf_clear(&line);
    }
}

static bool recode_public(struct bytes message, struct buf *out, struct err *e)
{
    struct public_key key;
    if (!public_key_decode(message, &key, e))
        return false;
    public_key_encode(&key, out);
    return true;
}
static const struct parser public_blob = {recode_public, CODE_FORMAT};

static void damaged_blob_is_refused_or_another_key(void **state)
{
    (void)state;
    const char *lines[] = {FILE_LINE, TOKEN_LINE};
    for (size_t i = 0; i < 2; i++) {
        struct public_key key;
        struct buf blob = {0};
        assert_true(parse(lines[i], &key));
        public_key_encode(&key, &blob);
        assert_recodes(&public_blob, buf_bytes(&blob));
        every_truncation_is_refused(&public_blob, buf_bytes(&blob));
        trailing_byte_is_refused(&public_blob, buf_bytes(&blob));
        every_flip_is_refused_or_recodes(&public_blob, buf_bytes(&blob));
        buf_clear(&blob);
    }
}

static void application_at_its_limit_is_read_and_above_it_refused(void **state)
{
    (void)state;
    struct public_key key = {.type = KEY_SK_ED25519};
    struct buf blob = {0};
    memset(key.application, 'a', sizeof(key.application) - 1);
    public_key_encode(&key, &blob);
    assert_recodes(&public_blob, buf_bytes(&blob));
    buf_append(&blob, "a", 1);
    blob.at[blob.len - sizeof(key.application) - 1]++; // the application's length
    assert_refused(&public_blob, buf_bytes(&blob));
    buf_clear(&blob);
}

static void node_id_is_the_fingerprint_that_ssh_keygen_shows(void **state)
{
    (void)state;
    struct public_key key;
    uint8_t id[HASH_BYTES];
    char text[FINGERPRINT_BYTES];
    const char *lines[] = {FILE_LINE, TOKEN_LINE};
    for (size_t i = 0; i < 2; i++) {
        assert_true(parse(lines[i], &key));
        write_whole("shown.pub", bytes_of_text(lines[i]));
        assert_int_equal(system("ssh-keygen -l -f shown.pub > shown"), 0);
        struct buf shown = read_whole("shown");
        public_key_id(&key, id);
        fingerprint(id, text);
        assert_int_equal(strlen(text), 50);
        assert_non_null(strstr(buf_text(&shown), text));
        buf_clear(&shown);
    }
}

static void same_key_is_the_same_in_any_type_and_application(void **state)
{
    (void)state;
    struct public_key a, b;
    assert_true(parse(FILE_LINE, &a));
    b = a;
    b.type = KEY_SK_ED25519;
    strcpy(b.application, "ssh:x");
    assert_true(public_key_same(&a, &b));
    b.ed25519[31] ^= 1;
    assert_false(public_key_same(&a, &b));
}

// ---- private keys

static bool parse_file(const char *name, struct secret_key *key, struct err *e)
{
    struct buf pem = read_whole(name);
    bool ok = secret_key_parse(buf_bytes(&pem), key, e);
    buf_clear(&pem);
    return ok;
}

static void key_of_ssh_keygen_is_read(void **state)
{
    (void)state;
    // Comments of different lengths give all eight paddings.
    for (int i = 0; i < 8; i++) {
        struct secret_key key;
        struct err e;
        char command[128];
        snprintf(command, sizeof(command),
            "rm -f k k.pub; ssh-keygen -q -t ed25519 -N '' -C '%.*s' -f k", i, "commentx");
        assert_int_equal(system(command), 0);
        assert_true(parse_file("k", &key, &e));
        struct buf shown = read_whole("k.pub"), line = {0};
        public_key_line(&key.public, &line);
        assert_memory_equal(shown.at, line.at, line.len);
        buf_clear(&shown);
        buf_clear(&line);
    }
}

static void encrypted_other_and_damaged_keys_get_three_sentences(void **state)
{
    (void)state;
    struct secret_key key;
    struct err encrypted, other, damaged;
    assert_int_equal(system("ssh-keygen -q -t ed25519 -N secret -f enc && "
                            "ssh-keygen -q -t ecdsa -N '' -f ecdsa && "
                            "ssh-keygen -q -t rsa -b 1024 -N '' -m PEM -f pem && "
                            "ssh-keygen -q -t rsa -b 1024 -N '' -f rsa"),
        0);
    assert_false(parse_file("enc", &key, &encrypted));
    assert_code(encrypted, CODE_CONFIG);
    assert_non_null(strstr(encrypted.text, "ssh-keygen -t ed25519 -N ''"));
    const char *others[] = {"ecdsa", "pem", "rsa"};
    for (size_t i = 0; i < 3; i++) {
        assert_false(parse_file(others[i], &key, &other));
        assert_code(other, CODE_CONFIG);
        assert_non_null(strstr(other.text, "another type"));
    }
    assert_false(secret_key_parse(bytes_of_text("not a key"), &key, &damaged));
    assert_code(damaged, CODE_CONFIG);
    assert_non_null(strstr(damaged.text, "damaged"));
    assert_string_not_equal(encrypted.text, other.text);
    assert_string_not_equal(damaged.text, other.text);
    assert_string_not_equal(damaged.text, encrypted.text);
}

static void put_pem(struct bytes raw, struct buf *pem)
{
    size_t room = sodium_base64_encoded_len(raw.len, sodium_base64_VARIANT_ORIGINAL);
    char *base64 = malloc(room);
    assert_non_null(base64);
    sodium_bin2base64(base64, room, raw.at, raw.len, sodium_base64_VARIANT_ORIGINAL);
    buf_printf(pem, "-----BEGIN OPENSSH PRIVATE KEY-----\n%s\n-----END OPENSSH PRIVATE KEY-----\n",
        base64);
    free(base64);
}

static struct buf raw_key(void)
{
    assert_int_equal(system("rm -f raw raw.pub; ssh-keygen -q -t ed25519 -N '' -C cc -f raw && "
                            "grep -v -e ----- raw | base64 -d > raw.bin"),
        0);
    return read_whole("raw.bin");
}

static void damaged_key_is_refused_or_the_same(void **state)
{
    (void)state;
    struct buf raw = raw_key(), pem = {0};
    struct secret_key good, key;
    struct err e;
    size_t accepted = 0;
    put_pem(buf_bytes(&raw), &pem);
    assert_true(secret_key_parse(buf_bytes(&pem), &good, &e));
    for (size_t bit = 0; bit < 8 * raw.len; bit++) {
        raw.at[bit / 8] ^= (uint8_t)(1u << bit % 8);
        buf_clear(&pem);
        put_pem(buf_bytes(&raw), &pem);
        if (secret_key_parse(buf_bytes(&pem), &key, &e)) {
            assert_memory_equal(&key, &good, sizeof(good));
            accepted++;
        } else {
            assert_code(e, CODE_CONFIG);
        }
        raw.at[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_int_equal(accepted, 16); // the two characters of the comment
    for (size_t len = 0; len < raw.len; len++) {
        buf_clear(&pem);
        put_pem(bytes_of(raw.at, len), &pem);
        assert_false(secret_key_parse(buf_bytes(&pem), &key, &e));
        assert_code(e, CODE_CONFIG);
    }
    buf_clear(&pem);
    buf_clear(&raw);
}

static void damaged_armor_is_refused(void **state)
{
    (void)state;
    struct buf raw = raw_key(), pem = read_whole("raw"), worse = {0};
    struct secret_key key;
    struct err e;
    for (size_t len = 0; len + 1 < pem.len; len++) { // without the last newline it is whole
        assert_false(secret_key_parse(bytes_of(pem.at, len), &key, &e));
        assert_code(e, CODE_CONFIG);
    }
    assert_true(secret_key_parse(bytes_of(pem.at, pem.len - 1), &key, &e));
    buf_append(&worse, pem.at, pem.len);
    buf_append_text(&worse, "x");
    assert_false(secret_key_parse(buf_bytes(&worse), &key, &e));
    buf_clear(&worse);
    buf_append(&worse, pem.at, pem.len);
    worse.at[60] = '\0';
    assert_false(secret_key_parse(buf_bytes(&worse), &key, &e));
    assert_false(secret_key_parse((struct bytes){0}, &key, &e));
    const uint8_t *slash = memchr(pem.at, '/', pem.len); // the digit that libsodium takes them for
    for (unsigned c = 128; slash != NULL && c < 256; c++) {
        memcpy(worse.at, pem.at, pem.len);
        worse.at[slash - pem.at] = (uint8_t)c;
        assert_false(secret_key_parse(buf_bytes(&worse), &key, &e));
    }
    buf_clear(&worse);
    buf_reserve(&worse, 20000);
    memset(worse.at, 'A', 20000);
    assert_false(secret_key_parse(bytes_of(worse.at, 20000), &key, &e));
    buf_clear(&worse);
    buf_clear(&pem);
    buf_clear(&raw);
}

static void wiped_key_is_zero(void **state)
{
    (void)state;
    struct secret_key key;
    key_from_seed(3, &key);
    secret_key_wipe(&key);
    assert_true(bytes_are_zero((const uint8_t *)&key, sizeof(key)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(line_of_either_type_is_read_and_written),
        cmocka_unit_test(line_may_have_a_comment_and_a_newline),
        cmocka_unit_test(line_that_is_not_exactly_that_is_refused),
        cmocka_unit_test(letters_that_are_no_base64_are_refused),
        cmocka_unit_test(damaged_blob_is_refused_or_another_key),
        cmocka_unit_test(application_at_its_limit_is_read_and_above_it_refused),
        cmocka_unit_test(node_id_is_the_fingerprint_that_ssh_keygen_shows),
        cmocka_unit_test(same_key_is_the_same_in_any_type_and_application),
        cmocka_unit_test(key_of_ssh_keygen_is_read),
        cmocka_unit_test(encrypted_other_and_damaged_keys_get_three_sentences),
        cmocka_unit_test(damaged_key_is_refused_or_the_same),
        cmocka_unit_test(damaged_armor_is_refused),
        cmocka_unit_test(wiped_key_is_zero),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
