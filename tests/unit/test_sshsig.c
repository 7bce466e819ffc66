#include "sshsig.h"

#include "proto_folder.h"
#include "proto_token.h"

// OpenSSH's own regression data, regress/unittests/sshsig/testdata; the namespace is "unittest".
#define SIGNED_DATA "This is a test, this is only a test"
#define FILE_SIG                                                                                   \
    "-----BEGIN SSH SIGNATURE-----\n"                                                              \
    "U1NIU0lHAAAAAQAAADMAAAALc3NoLWVkMjU1MTkAAAAgiWLNIg3cNBXvxU82NW+/COB/4/\n"                     \
    "keps9gJi7cE4x2MAQAAAAIdW5pdHRlc3QAAAAAAAAABnNoYTUxMgAAAFMAAAALc3NoLWVk\n"                     \
    "MjU1MTkAAABAihQsbUzuNEFflk5Tw1+H9aLS7tZQk0RG8KW1DtOmDYYnWe3D3UKiG3fcJa\n"                     \
    "DNg4vBWp1j1gLRiBMOF+gwYNegDg==\n"                                                             \
    "-----END SSH SIGNATURE-----\n"
#define TOKEN_SIG                                                                                  \
    "-----BEGIN SSH SIGNATURE-----\n"                                                              \
    "U1NIU0lHAAAAAQAAAEoAAAAac2stc3NoLWVkMjU1MTlAb3BlbnNzaC5jb20AAAAgmxoNhd\n"                     \
    "Biu5zpuKUJgMgrhhI54b7OatE7Yz23Tf//sscAAAAEc3NoOgAAAAh1bml0dGVzdAAAAAAA\n"                     \
    "AAAGc2hhNTEyAAAAZwAAABpzay1zc2gtZWQyNTUxOUBvcGVuc3NoLmNvbQAAAEAi+7eTjW\n"                     \
    "/+LQ2M+sCD+KFtH1n7VFFJon/SZFsxODyV8cWTlFKj617Ys1Ur5TV6uaEXQhck8rBA2oQI\n"                     \
    "HTPANLIPARI0Vng=\n"                                                                           \
    "-----END SSH SIGNATURE-----\n"

static struct buf blob_of(const char *armor)
{
    struct buf blob = {0};
    struct err e;
    assert_true(sshsig_from_armor(bytes_of_text(armor), &blob, &e));
    return blob;
}

static bool accepts(struct bytes blob, const void *context)
{
    const char *namespace = context;
    struct sshsig sig;
    struct err e;
    if (!sshsig_decode(blob, &sig, &e)) {
        assert_code(e, CODE_FORMAT);
        return false;
    }
    return sshsig_verify(&sig, namespace, bytes_of_text(SIGNED_DATA), false, &e);
}

static void damaged_signature_of_openssh_is_refused(void **state)
{
    (void)state;
    const char *armors[] = {FILE_SIG, TOKEN_SIG};
    for (size_t i = 0; i < 2; i++) {
        struct buf blob = blob_of(armors[i]);
        every_damage_is_refused(buf_bytes(&blob), accepts, "unittest");
        buf_clear(&blob);
    }
}

static void other_namespace_is_named_before_a_bad_signature(void **state)
{
    (void)state;
    struct buf blob = blob_of(FILE_SIG);
    struct sshsig sig;
    struct err e;
    assert_true(sshsig_decode(buf_bytes(&blob), &sig, &e));
    assert_false(sshsig_verify(&sig, "unittes", bytes_of_text(SIGNED_DATA), false, &e));
    assert_code(e, CODE_NAMESPACE);
    assert_false(sshsig_verify(&sig, "unittests", bytes_of_text("other data"), false, &e));
    assert_code(e, CODE_NAMESPACE);
    assert_false(sshsig_verify(&sig, "unittest", bytes_of_text("other data"), false, &e));
    assert_code(e, CODE_SIGNER);
    buf_clear(&blob);
}

static void token_must_be_touched_and_give_its_pin_if_asked(void **state)
{
    (void)state;
    static const struct {
        uint8_t flags;
        bool require_pin, good;
    } cases[] = {{0, false, false}, {1, false, true}, {1, true, false}, {4, false, false},
        {4, true, false}, {5, true, true}, {5, false, true}, {0xfe, true, false},
        {0xfb, true, false}, {0xff, true, true}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct buf blob = {0};
        struct sshsig sig;
        struct err e;
        token_sign(5, cases[i].flags, "n", bytes_of_text("message"), &blob);
        assert_true(sshsig_decode(buf_bytes(&blob), &sig, &e));
        assert_int_equal(sig.flags, cases[i].flags);
        assert_int_equal(sig.counter, 7);
        bool ok = sshsig_verify(&sig, "n", bytes_of_text("message"), cases[i].require_pin, &e);
        assert_int_equal(ok, cases[i].good);
        if (!ok)
            assert_code(e, CODE_SIGNER);
        sig.flags ^= 8; // signed, too
        assert_false(sshsig_verify(&sig, "n", bytes_of_text("message"), false, &e));
        buf_clear(&blob);
    }
}

static void pin_is_not_asked_of_a_key_in_a_file(void **state)
{
    (void)state;
    struct buf blob = blob_of(FILE_SIG);
    struct sshsig sig;
    struct err e;
    assert_true(sshsig_decode(buf_bytes(&blob), &sig, &e));
    assert_true(sshsig_verify(&sig, "unittest", bytes_of_text(SIGNED_DATA), true, &e));
    buf_clear(&blob);
}

// A signature blob whose fields are anybody's choice; the signature itself stays a genuine one.
struct shape {
    uint32_t version;
    const char *namespace, *reserved, *hash, *type;
};

static void put_shaped(const struct sshsig *sig, const struct shape *shape, struct buf *blob)
{
    struct buf key = {0}, inner = {0};
    public_key_encode(&sig->key, &key);
    sshwire_put_text(&inner, shape->type);
    sshwire_put_string(&inner, bytes_of(sig->signature, sizeof(sig->signature)));
    buf_append_text(blob, "SSHSIG");
    sshwire_put_u32(blob, shape->version);
    sshwire_put_string(blob, buf_bytes(&key));
    sshwire_put_text(blob, shape->namespace);
    sshwire_put_text(blob, shape->reserved);
    sshwire_put_text(blob, shape->hash);
    sshwire_put_string(blob, buf_bytes(&inner));
    buf_clear(&key);
    buf_clear(&inner);
}

static void signature_of_another_shape_is_refused(void **state)
{
    (void)state;
    struct buf good = blob_of(FILE_SIG);
    struct sshsig sig;
    struct err e;
    static const struct {
        struct shape shape;
        bool good;
    } cases[] = {{{1, "unittest", "", "sha512", "ssh-ed25519"}, true},
        {{0, "unittest", "", "sha512", "ssh-ed25519"}, false},
        {{2, "unittest", "", "sha512", "ssh-ed25519"}, false},
        {{1, "unittest", "x", "sha512", "ssh-ed25519"}, false},
        {{1, "unittest", "", "sha256", "ssh-ed25519"}, false},
        {{1, "unittest", "", "sha512", "sk-ssh-ed25519@openssh.com"}, false},
        {{1, "unittest", "", "sha512", ""}, false}};
    assert_true(sshsig_decode(buf_bytes(&good), &sig, &e));
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct buf blob = {0};
        struct sshsig again;
        put_shaped(&sig, &cases[i].shape, &blob);
        assert_int_equal(sshsig_decode(buf_bytes(&blob), &again, &e), cases[i].good);
        if (cases[i].good)
            assert_bytes(buf_bytes(&blob), buf_bytes(&good));
        else
            assert_code(e, CODE_FORMAT);
        buf_clear(&blob);
    }
    buf_clear(&good);
}

static void armor_with_anything_around_or_inside_is_refused(void **state)
{
    (void)state;
    const char *bad[] = {"", "x" FILE_SIG, "\n" FILE_SIG, FILE_SIG "\n", FILE_SIG "x",
        "-----BEGIN SSH SIGNATURE-----\n-----END SSH SIGNATURE-----\n",
        "-----BEGIN SSH SIGNATURE-----\nAAAA\n\n-----END SSH SIGNATURE-----\n",
        "-----BEGIN SSH SIGNATURE-----\nAA\nAA\n-----END SSH SIGNATURE-----\n",
        "-----BEGIN SSH SIGNATURE-----\r\nAAAA\r\n-----END SSH SIGNATURE-----\r\n",
        "-----BEGIN SSH SIGNATURE-----\nA*AA\n-----END SSH SIGNATURE-----\n",
        "-----BEGIN SSH SIGNATURE-----\nAAB=\n-----END SSH SIGNATURE-----\n"};
    struct buf blob = {0};
    struct err e;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(sshsig_from_armor(bytes_of_text(bad[i]), &blob, &e));
        assert_code(e, CODE_FORMAT);
        assert_int_equal(blob.len, 0);
    }
    for (size_t len = 0; len < sizeof(FILE_SIG) - 1; len++)
        assert_false(sshsig_from_armor(bytes_of(FILE_SIG, len), &blob, &e));
    assert_true(sshsig_from_armor(
        bytes_of_text("-----BEGIN SSH SIGNATURE-----\nAAAA\n-----END SSH SIGNATURE-----\n"), &blob,
        &e));
    buf_clear(&blob);
}

static void armor_round_trips_at_every_length(void **state)
{
    (void)state;
    uint8_t content[300];
    memset(content, 0x5a, sizeof(content));
    for (size_t len = 1; len < sizeof(content); len++) {
        struct buf armor = {0}, back = {0};
        struct err e;
        sshsig_to_armor(bytes_of(content, len), &armor);
        assert_true(sshsig_from_armor(buf_bytes(&armor), &back, &e));
        assert_bytes(buf_bytes(&back), bytes_of(content, len));
        buf_clear(&armor);
        buf_clear(&back);
    }
}

// ---- the real ssh-keygen, both ways

static void our_signature_is_byte_for_byte_that_of_ssh_keygen(void **state)
{
    (void)state;
    struct secret_key key;
    struct err e;
    assert_int_equal(system("ssh-keygen -q -t ed25519 -N '' -f admin && printf data > m && "
                            "ssh-keygen -q -Y sign -f admin -n bento-release-v1 m"),
        0);
    struct buf pem = read_whole("admin"), theirs = read_whole("m.sig"), blob = {0}, armor = {0};
    assert_true(secret_key_parse(buf_bytes(&pem), &key, &e));
    sshsig_sign(&key, NAMESPACE_RELEASE, bytes_of_text("data"), &blob);
    sshsig_to_armor(buf_bytes(&blob), &armor);
    assert_bytes(buf_bytes(&armor), buf_bytes(&theirs));
    struct buf their_blob = {0};
    struct sshsig sig;
    assert_true(sshsig_from_armor(buf_bytes(&theirs), &their_blob, &e));
    assert_true(sshsig_decode(buf_bytes(&their_blob), &sig, &e));
    assert_true(sshsig_verify(&sig, NAMESPACE_RELEASE, bytes_of_text("data"), true, &e));
    assert_true(public_key_same(&sig.key, &key.public));
    buf_clear(&pem);
    buf_clear(&theirs);
    buf_clear(&blob);
    buf_clear(&armor);
    buf_clear(&their_blob);
}

#define VERIFY(namespace)                                                                          \
    "ssh-keygen -Y verify -f allowed -I node -n " namespace " -s ours.sig < m > log 2>&1"

static void ssh_keygen_verifies_our_signature_and_only_that(void **state)
{
    (void)state;
    struct secret_key key;
    struct buf blob = {0}, armor = {0}, allowed = {0};
    key_from_seed(9, &key);
    sshsig_sign(&key, NAMESPACE_STATUS, bytes_of_text("a status\n"), &blob);
    sshsig_to_armor(buf_bytes(&blob), &armor);
    buf_append_text(&allowed, "node ");
    public_key_line(&key.public, &allowed);
    buf_append_text(&allowed, "\n");
    write_whole("allowed", buf_bytes(&allowed));
    write_whole("ours.sig", buf_bytes(&armor));
    write_whole("m", bytes_of_text("a status\n"));
    assert_int_equal(system(VERIFY(NAMESPACE_STATUS)), 0);
    assert_int_not_equal(system(VERIFY(NAMESPACE_RELEASE)), 0);
    write_whole("m", bytes_of_text("a status.\n"));
    assert_int_not_equal(system(VERIFY(NAMESPACE_STATUS)), 0);
    buf_clear(&blob);
    buf_clear(&armor);
    buf_clear(&allowed);
}

// Why a node does not leave this to `ssh-keygen -Y verify`: OpenSSH 9.2 accepts each of these.
// Should a newer one not, this test says so, and the comment in sshsig.h may be shortened.
static void what_ssh_keygen_is_lax_about_is_refused_here(void **state)
{
    (void)state;
    static const struct {
        struct shape shape;
        const char *behind; // the armor
    } cases[] = {{{1, NAMESPACE_STATUS, "anything", "sha512", "ssh-ed25519"}, ""},
        {{0, NAMESPACE_STATUS, "", "sha512", "ssh-ed25519"}, ""},
        {{1, NAMESPACE_STATUS, "", "sha512", "ssh-ed25519"}, "and then some\n"}};
    struct secret_key key;
    struct sshsig sig, again;
    struct err e;
    struct buf allowed = {0}, good = {0};
    key_from_seed(9, &key);
    sshsig_sign(&key, NAMESPACE_STATUS, bytes_of_text("a status\n"), &good);
    assert_true(sshsig_decode(buf_bytes(&good), &sig, &e));
    buf_append_text(&allowed, "node ");
    public_key_line(&key.public, &allowed);
    buf_append_text(&allowed, "\n");
    write_whole("allowed", buf_bytes(&allowed));
    write_whole("m", bytes_of_text("a status\n"));
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct buf blob = {0}, armor = {0}, back = {0};
        put_shaped(&sig, &cases[i].shape, &blob);
        sshsig_to_armor(buf_bytes(&blob), &armor);
        buf_append_text(&armor, cases[i].behind);
        write_whole("ours.sig", buf_bytes(&armor));
        assert_int_equal(system(VERIFY(NAMESPACE_STATUS)), 0);
        assert_false(sshsig_from_armor(buf_bytes(&armor), &back, &e) &&
                     sshsig_decode(buf_bytes(&back), &again, &e));
        buf_clear(&blob);
        buf_clear(&armor);
        buf_clear(&back);
    }
    buf_clear(&good);
    buf_clear(&allowed);
}

static void signature_of_an_agent_is_the_same(void **state)
{
    (void)state;
    assert_int_equal(
        system("ssh-keygen -q -t ed25519 -N '' -f held && printf data > d && "
               "ssh-keygen -q -Y sign -f held -n bento-release-v1 d && mv d.sig file.sig && "
               "ssh-agent sh -c 'ssh-add -q held && rm held && "
               "ssh-keygen -q -Y sign -f held.pub -n bento-release-v1 d' 2> log"),
        0);
    struct buf file = read_whole("file.sig"), agent = read_whole("d.sig");
    assert_bytes(buf_bytes(&agent), buf_bytes(&file));
    buf_clear(&file);
    buf_clear(&agent);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(damaged_signature_of_openssh_is_refused),
        cmocka_unit_test(other_namespace_is_named_before_a_bad_signature),
        cmocka_unit_test(token_must_be_touched_and_give_its_pin_if_asked),
        cmocka_unit_test(pin_is_not_asked_of_a_key_in_a_file),
        cmocka_unit_test(signature_of_another_shape_is_refused),
        cmocka_unit_test(armor_with_anything_around_or_inside_is_refused),
        cmocka_unit_test(armor_round_trips_at_every_length),
        cmocka_unit_test(our_signature_is_byte_for_byte_that_of_ssh_keygen),
        cmocka_unit_test(ssh_keygen_verifies_our_signature_and_only_that),
        cmocka_unit_test(what_ssh_keygen_is_lax_about_is_refused_here),
        cmocka_unit_test(signature_of_an_agent_is_the_same),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
