// remote.c against a real bento-broker in a folder of its own; over ssh with a real sshd on a port
// of the kernel's choice.
#define NODES 150
#include "real_broker.h"

#include "bus.h"
#include "message.h"

#include <arpa/inet.h>
#include <pwd.h>

#define SSHD "/usr/sbin/sshd"

static void put(struct remote *remote, const struct buf *blob)
{
    struct err e;
    uint8_t hash[HASH_BYTES];
    sha256(buf_bytes(blob), hash);
    must(remote_put_blob(remote, hash, buf_bytes(blob), &e), &e);
}

static void broker_without_a_release_has_none(void **state)
{
    struct scene *s = *state;
    struct err e;
    CLEANUP(remote_closep) struct remote *remote = open_remote(s->admin);
    struct remote_release release;
    must(remote_get_release(remote, &release, &e), &e);
    assert_false(release.present);
    remote_release_clear(&release);
    struct remote_statuses statuses;
    must(remote_get_statuses(remote, &statuses, &e), &e);
    assert_int_equal(statuses.count, 0);
    remote_statuses_clear(&statuses);
}

static void published_release_comes_back_whole(void **state)
{
    struct scene *s = *state;
    struct err e;
    CLEANUP(remote_closep) struct remote *remote = open_remote(s->admin);
    change_node(s->made, 0, 100);
    change_tree(s->made, 0, 2 * CHUNK_BYTES_MAX + 1);
    struct made_release *made = make_release(s->made, 1, 1, FAR_FUTURE);
    must_fail(publish(remote, nothing, made, &e), &e, CODE_NONE); // its blobs are not here
    put(remote, &s->made->nodes[0].bundle);
    put(remote, &s->made->nodes[0].tree);
    must(publish(remote, nothing, made, &e), &e);
    struct remote_release got;
    must(remote_get_release(remote, &got, &e), &e);
    assert_true(got.present);
    assert_int_equal(got.ticket_count, NODES);
    struct release release;
    must(release_verify(&s->made->trust, got.envelope, got.roster, got.tickets, got.ticket_count,
             &release, &e),
        &e);
    assert_memory_equal(release.head_hash, made->head_hash, HASH_BYTES);
    release_clear(&release);
    remote_release_clear(&got);
    free_release(made);
}

static void second_publisher_on_the_same_base_is_stale(void **state)
{
    struct scene *s = *state;
    struct err e;
    CLEANUP(remote_closep) struct remote *remote = open_remote(s->admin);
    struct made_release *first = make_release(s->made, 1, 1, FAR_FUTURE),
                        *second = make_release(s->made, 1, 2, FAR_FUTURE);
    must(publish(remote, nothing, first, &e), &e);
    must_fail(publish(remote, nothing, second, &e), &e, CODE_STALE);
    must(publish(remote, nothing, first, &e),
        &e); // delivered twice: it is out, and that is what was asked
    must(publish(remote, first->head_hash, second, &e), &e);
    struct remote_release earlier;
    must(remote_get_earlier(remote, second->head_hash, &earlier, &e), &e);
    assert_true(earlier.present && bytes_equal(earlier.envelope, buf_bytes(&first->envelope)));
    remote_release_clear(&earlier);
    must(remote_get_earlier(remote, first->head_hash, &earlier, &e), &e);
    assert_false(earlier.present);
    remote_release_clear(&earlier);
    free_release(first);
    free_release(second);
}

static void unsigned_release_is_refused_with_the_reason(void **state)
{
    struct scene *s = *state;
    struct err e;
    struct secret_key stranger;
    CLEANUP(remote_closep) struct remote *remote = open_remote(s->admin);
    struct made_release *made = make_release(s->made, 1, 1, FAR_FUTURE);
    make_key(&stranger);
    sign_release(made, &stranger, NAMESPACE_RELEASE);
    must_fail(publish(remote, nothing, made, &e), &e, CODE_SIGNER);
    assert_non_null(strstr(e.text, "the broker refused: "));
    free_release(made);
}

static void only_blobs_that_are_not_whole_are_missing(void **state)
{
    struct scene *s = *state;
    struct err e;
    CLEANUP(remote_closep) struct remote *remote = open_remote(s->admin);
    enum { COUNT = 5000 }; // more than one request
    merkle_hash *hashes = xcalloc(COUNT, sizeof *hashes);
    bool *missing = xcalloc(COUNT, sizeof *missing);
    randombytes_buf(hashes, COUNT * sizeof *hashes);
    change_node(s->made, 0, 1000);
    change_node(s->made, 1, 1);
    sha256(buf_bytes(&s->made->nodes[0].bundle), hashes[7]);
    sha256(buf_bytes(&s->made->nodes[1].bundle), hashes[COUNT - 1]);
    put(remote, &s->made->nodes[0].bundle);
    put(remote, &s->made->nodes[1].bundle);
    must(remote_missing_blobs(remote, (const merkle_hash *)hashes, COUNT, missing, &e), &e);
    for (size_t i = 0; i < COUNT; i++)
        assert_int_equal(missing[i], i != 7 && i != COUNT - 1);
    must(remote_missing_blobs(remote, NULL, 0, NULL, &e), &e);
    free(hashes);
    free(missing);
}

// The first chunk alone, as an upload that broke off.
static void put_first_chunk(const struct scene *s, const struct buf *blob, const uint8_t *hash)
{
    struct err e;
    char url[128];
    struct buf request = {0}, reply = {0};
    snprintf(url, sizeof url, "ipc://%s", s->admin);
    request_put_open(&request, OP_PUT_BLOB, 4);
    wire_put_hash(&request, hash);
    wire_put_u64(&request, blob->len);
    wire_put_u64(&request, 0);
    wire_put_bin(&request, bytes_of(blob->at, CHUNK_BYTES_MAX));
    must(bus_ask(url, ADMIN_RECEIVE_BYTES_MAX, buf_bytes(&request), READY_MS, &reply, &e), &e);
    buf_clear(&request);
    buf_clear(&reply);
}

static void interrupted_upload_goes_on(void **state)
{
    struct scene *s = *state;
    struct err e;
    uint8_t hash[HASH_BYTES];
    struct buf blob = {0};
    make_random(&blob, 3 * CHUNK_BYTES_MAX + 5);
    sha256(buf_bytes(&blob), hash);
    put_first_chunk(s, &blob, hash);
    CLEANUP(remote_closep) struct remote *remote = open_remote(s->admin);
    bool missing = false;
    must(remote_missing_blobs(remote, (const merkle_hash *)hash, 1, &missing, &e), &e);
    assert_true(missing);
    must(remote_put_blob(remote, hash, buf_bytes(&blob), &e), &e);
    must(remote_missing_blobs(remote, (const merkle_hash *)hash, 1, &missing, &e), &e);
    assert_false(missing);
    must(remote_put_blob(remote, hash, buf_bytes(&blob), &e), &e); // again: nothing to do
    buf_clear(&blob);
}

static void blob_under_a_wrong_name_is_refused(void **state)
{
    struct scene *s = *state;
    struct err e;
    CLEANUP(remote_closep) struct remote *remote = open_remote(s->admin);
    struct buf blob = {0};
    make_random(&blob, 2 * CHUNK_BYTES_MAX);
    must_fail(remote_put_blob(remote, (const uint8_t *)"0123456789abcdef0123456789abcdef",
                  buf_bytes(&blob), &e),
        &e, CODE_HASH);
    buf_clear(&blob);
}

// A status with a log of 60 000 bytes.
static void report(const struct scene *s, size_t node, uint64_t seq)
{
    struct err e;
    char url[128], *log = xcalloc(1, 60001);
    struct buf request = {0}, reply = {0}, status = {0};
    memset(log, 'x', 60000);
    snprintf(url, sizeof url, "ipc://%s/rep.sock", s->folder);
    make_status(s->made, &s->made->nodes[node], seq, log, &status);
    request_put_open(&request, OP_PUT_STATUS, 1);
    wire_put_bin(&request, buf_bytes(&status));
    must(bus_ask(url, REQ_RECEIVE_BYTES_MAX, buf_bytes(&request), READY_MS, &reply, &e), &e);
    struct wire_in in;
    enum code code;
    size_t elements;
    must(reply_open(buf_bytes(&reply), &in, &code, &elements, &e), &e);
    assert_string_equal(code_name(code), "OK");
    buf_clear(&request);
    buf_clear(&reply);
    buf_clear(&status);
    free(log);
}

static void publish_something(struct scene *s, struct remote *remote)
{
    struct err e;
    struct made_release *made = make_release(s->made, 1, 1, FAR_FUTURE);
    must(publish(remote, nothing, made, &e), &e);
    free_release(made);
}

static void newest_status_of_every_node_comes_over_many_pages(void **state)
{
    struct scene *s = *state;
    struct err e;
    CLEANUP(remote_closep) struct remote *remote = open_remote(s->admin);
    publish_something(s, remote);
    for (size_t i = 0; i < NODES; i++)
        report(s, i, 1);
    report(s, 5, 2);
    struct remote_statuses got;
    must(remote_get_statuses(remote, &got, &e), &e);
    assert_true(got.page_count > 1);
    assert_int_equal(got.count, NODES);
    for (size_t i = 0; i < NODES; i++) {
        struct status status;
        must(status_verify(got.list[i].signed_message, s->made->trust.fleet, &status, &e), &e);
        assert_memory_equal(got.list[i].node_id, s->made->nodes[i].id, HASH_BYTES);
        assert_memory_equal(status.node_id, s->made->nodes[i].id, HASH_BYTES);
        assert_int_equal(status.seq, i == 5 ? 2 : 1);
        assert_true(got.list[i].received_s <= clock_unix_s() &&
                    got.list[i].received_s + 60 > clock_unix_s());
    }
    remote_statuses_clear(&got);
}

static void history_is_newest_first_over_many_pages(void **state)
{
    struct scene *s = *state;
    struct err e;
    CLEANUP(remote_closep) struct remote *remote = open_remote(s->admin);
    publish_something(s, remote);
    enum { COUNT = 150 };
    for (uint64_t seq = 1; seq <= COUNT; seq++)
        report(s, 3, seq);
    struct remote_statuses got;
    must(remote_get_history(remote, s->made->nodes[3].id, 1000, &got, &e), &e);
    assert_true(got.page_count > 1);
    assert_int_equal(got.count, COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        struct status status;
        must(status_verify(got.list[i].signed_message, s->made->trust.fleet, &status, &e), &e);
        assert_int_equal(status.seq, COUNT - i);
    }
    remote_statuses_clear(&got);
    must(remote_get_history(remote, s->made->nodes[3].id, 2, &got, &e), &e);
    assert_int_equal(got.count, 2);
    remote_statuses_clear(&got);
    must(remote_get_history(remote, s->made->nodes[4].id, 2, &got, &e), &e);
    assert_int_equal(got.count, 0);
    remote_statuses_clear(&got);
}

static void nobody_at_the_socket_is_unreachable(void **state)
{
    struct scene *s = *state;
    struct err e;
    struct remote *remote = NULL;
    char where[128];
    snprintf(where, sizeof where, "%s/nothing.sock", s->folder);
    must_fail(remote_open(where, &remote, &e), &e, CODE_UNREACHABLE);
    end(&s->broker);
    must_fail(remote_open(s->admin, &remote, &e), &e, CODE_UNREACHABLE);
    assert_null(remote);
}

static void socket_that_a_crash_left_is_unreachable(void **state)
{
    struct scene *s = *state;
    struct err e;
    kill(s->broker.pid, SIGKILL);
    end(&s->broker);
    CLEANUP(remote_closep) struct remote *remote = open_remote(s->admin);
    struct remote_release release;
    must_fail(remote_get_release(remote, &release, &e), &e, CODE_UNREACHABLE);
}

static void places_that_could_be_options_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"ssh://-oProxyCommand=x", "ssh://user@-oProxyCommand=x",
        "ssh://-l@host", "ssh://", "ssh://@host", "ssh://host:", "ssh://host:0", "ssh://host:65536",
        "ssh://host:22x", "ssh://ho st", "ssh://host/run:x/admin.sock", "ssh://host/", "ssh://[::1",
        "ssh://[::1]x", "ssh://host%00", "relative.sock", "tcp://host", ""};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct err e;
        struct remote *remote = NULL;
        bool ok = remote_open(bad[i], &remote, &e);
        if (ok)
            print_error("%s was accepted\n", bad[i]);
        assert_false(ok);
        if (e.code != CODE_CONFIG)
            print_error("%s: %s\n", bad[i], e.text);
        assert_string_equal(code_name(e.code), "CONFIG");
    }
}

static void run_tool(const char *const *argv)
{
    struct err e;
    struct proc_result result;
    must(proc_run(argv, NULL, NULL, bytes_of(NULL, 0), 4096, READY_MS, false, &result, &e), &e);
    if (result.status != 0)
        fail_msg("%s: %s", argv[0], buf_text(&result.err));
    proc_result_clear(&result);
}

static void make_ssh_key(const struct scene *s, const char *name)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", s->folder, name);
    const char *argv[] = {"ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path, NULL};
    run_tool(argv);
}

static void copy_key_line(
    const struct scene *s, const char *from, const char *to, const char *before)
{
    struct err e;
    struct buf line = {0};
    char path[128];
    snprintf(path, sizeof path, "%s/%s", s->folder, from);
    must(fs_read(AT_FDCWD, path, 4096, &line, &e), &e);
    write_file(s, to, 0600, "%s%s", before, buf_text(&line));
    buf_clear(&line);
}

static int free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    CLEANUP_FD fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
    return ntohs(address.sin_port);
}

// `ssh` of this test is the real one with a configuration of its own: ssh reads the home folder of
// the account, not HOME.
static void use_own_ssh(struct scene *s)
{
    write_file(s, "ssh", 0755,
        "#!/bin/sh\nexec /usr/bin/ssh -F none -i %s/client -o IdentitiesOnly=yes -o "
        "IdentityAgent=none -o BatchMode=yes "
        "-o StrictHostKeyChecking=yes -o UserKnownHostsFile=%s/known_hosts -o "
        "GlobalKnownHostsFile=/dev/null \"$@\"\n",
        s->folder, s->folder);
    s->path = xstrdup(getenv("PATH"));
    char path[4096];
    snprintf(path, sizeof path, "%s:%s", s->folder, s->path);
    setenv("PATH", path, 1);
}

static void start_sshd(struct scene *s)
{
    char config[128], before[64];
    make_ssh_key(s, "host");
    make_ssh_key(s, "client");
    s->sshd_port = free_port();
    snprintf(before, sizeof before, "[127.0.0.1]:%d ", s->sshd_port);
    copy_key_line(s, "host.pub", "known_hosts", before);
    copy_key_line(s, "client.pub", "authorized_keys", "");
    write_file(s, "sshd_config", 0600,
        "ListenAddress 127.0.0.1\nPort %d\nHostKey %s/host\nPidFile none\nAuthorizedKeysFile "
        "%s/authorized_keys\n"
        "AuthenticationMethods publickey\nUsePAM no\nStrictModes no\nPermitRootLogin yes\n",
        s->sshd_port, s->folder, s->folder);
    if (geteuid() == 0)
        mkdir("/run/sshd", 0755);
    snprintf(config, sizeof config, "%s/sshd_config", s->folder);
    const char *argv[] = {SSHD, "-D", "-e", "-f", config, NULL};
    s->sshd = start(argv, s->folder, "sshd.log");
    use_own_ssh(s);
}

// A TCP connection that is answered means that sshd is up; tries until then, or until it has ended.
static void await_sshd(const struct scene *s)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    address.sin_port = htons((uint16_t)s->sshd_port);
    uint64_t deadline_ms = clock_monotonic_ms() + READY_MS;
    for (;;) {
        CLEANUP_FD fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (connect(fd, (const struct sockaddr *)&address, sizeof address) == 0)
            return;
        struct pollfd ended = {.fd = s->sshd.fd, .events = POLLIN};
        assert_int_equal(poll(&ended, 1, 10), 0);
        assert_true(clock_monotonic_ms() < deadline_ms);
    }
}

static void make_where(const struct scene *s, const char *socket_name, char *where, size_t room)
{
    snprintf(where, room, "ssh://%s@127.0.0.1:%d%s/%s", getpwuid(geteuid())->pw_name, s->sshd_port,
        s->folder, socket_name);
}

// Folder of the forwarded sockets.
static void folder_of(const struct remote *remote, char *folder, size_t room)
{
    snprintf(folder, room, "%s", remote_events_url(remote) + strlen("ipc://"));
    *strrchr(folder, '/') = '\0';
}

static void broker_behind_ssh_answers_and_leaves_nothing(void **state)
{
    struct scene *s = *state;
    struct err e;
    char where[256], folder[128];
    start_sshd(s);
    await_sshd(s);
    make_where(s, "admin.sock", where, sizeof where);
    struct remote *remote = open_remote(where);
    folder_of(remote, folder, sizeof folder);
    struct stat info;
    assert_int_equal(stat(folder, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0700);
    publish_something(s, remote);
    struct remote_release release;
    must(remote_get_release(remote, &release, &e), &e);
    assert_true(release.present);
    remote_release_clear(&release);
    remote_close(remote);
    assert_int_equal(stat(folder, &info), -1);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), 0); // broker and sshd live on; no dead ssh is left
}

static void no_broker_behind_ssh_is_unreachable(void **state)
{
    struct scene *s = *state;
    struct err e;
    char where[256];
    struct remote *remote = NULL;
    start_sshd(s);
    await_sshd(s);
    make_where(s, "nothing.sock", where, sizeof where);
    must_fail(remote_open(where, &remote, &e), &e, CODE_UNREACHABLE);
    assert_non_null(strstr(e.text, "no broker answers"));
}

static void refused_login_is_unreachable(void **state)
{
    struct scene *s = *state;
    struct err e;
    char where[256];
    struct remote *remote = NULL;
    start_sshd(s);
    await_sshd(s);
    write_file(s, "authorized_keys", 0600, "\n");
    make_where(s, "admin.sock", where, sizeof where);
    must_fail(remote_open(where, &remote, &e), &e, CODE_UNREACHABLE);
    assert_non_null(strstr(e.text, "ended before"));
}

int main(void)
{
#define WITH_BROKER(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest near[] = {
        WITH_BROKER(broker_without_a_release_has_none),
        WITH_BROKER(published_release_comes_back_whole),
        WITH_BROKER(second_publisher_on_the_same_base_is_stale),
        WITH_BROKER(unsigned_release_is_refused_with_the_reason),
        WITH_BROKER(only_blobs_that_are_not_whole_are_missing),
        WITH_BROKER(interrupted_upload_goes_on),
        WITH_BROKER(blob_under_a_wrong_name_is_refused),
        WITH_BROKER(newest_status_of_every_node_comes_over_many_pages),
        WITH_BROKER(history_is_newest_first_over_many_pages),
        WITH_BROKER(nobody_at_the_socket_is_unreachable),
        WITH_BROKER(socket_that_a_crash_left_is_unreachable),
        cmocka_unit_test(places_that_could_be_options_are_refused),
    };
    const struct CMUnitTest far[] = {
        WITH_BROKER(broker_behind_ssh_answers_and_leaves_nothing),
        WITH_BROKER(no_broker_behind_ssh_is_unreachable),
        WITH_BROKER(refused_login_is_unreachable),
    };
    int failed = cmocka_run_group_tests(near, NULL, NULL);
    if (access(SSHD, X_OK) == 0)
        return failed + cmocka_run_group_tests(far, NULL, NULL);
    print_message("no %s on this machine: ssh:// was not tried\n", SSHD);
    return failed;
}
