#include "notify.h"

#include "rt_test.h"

#include <sys/socket.h>
#include <sys/un.h>

// A service manager's socket; abstract if the name starts with @.
static int manager(const char *name)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    strcpy(to.sun_path, name);
    if (name[0] == '@')
        to.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name));
    assert_int_equal(bind(fd, (struct sockaddr *)&to, len), 0);
    setenv("NOTIFY_SOCKET", name, 1);
    return fd;
}

static void hears(int fd, const char *wanted)
{
    char text[1000];
    ssize_t len = recv(fd, text, sizeof text - 1, MSG_DONTWAIT);
    assert_true(len >= 0);
    text[len] = '\0';
    assert_string_equal(text, wanted);
}

static void manager_hears_everything(void **state)
{
    const struct folder *f = *state;
    char names[2][100];
    snprintf(names[0], sizeof names[0], "%s/notify", f->path);
    snprintf(names[1], sizeof names[1], "@bento-test-%d", (int)getpid());
    for (int i = 0; i < 2; i++) {
        int fd = manager(names[i]);
        notify_ready();
        hears(fd, "READY=1");
        notify_status("up to date");
        hears(fd, "STATUS=up to date");
        notify_status("evil\nREADY=1");
        hears(fd, "STATUS=evil READY=1");
        notify_watchdog();
        hears(fd, "WATCHDOG=1");
        notify_stopping();
        hears(fd, "STOPPING=1");
        close(fd);
        notify_ready(); // nobody there any more: nothing happens
    }
}

static void long_status_is_cut(void **state)
{
    const struct folder *f = *state;
    char name[100], text[4000], got[1000];
    snprintf(name, sizeof name, "%s/notify", f->path);
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    int fd = manager(name);
    notify_status(text);
    ssize_t len = recv(fd, got, sizeof got, MSG_DONTWAIT);
    assert_true(len > 400 && len < 600);
    close(fd);
}

static void without_a_manager_nothing_happens(void **state)
{
    (void)state;
    int before = dup(0);
    close(before);
    unsetenv("NOTIFY_SOCKET");
    notify_ready();
    static const char *const useless[] = {"", "relative", "vsock:2:1234", "/no/such/socket"};
    for (size_t i = 0; i < 4; i++) {
        setenv("NOTIFY_SOCKET", useless[i], 1);
        notify_ready();
    }
    int after = dup(0);
    close(after);
    assert_int_equal(before, after);
}

static void watchdog_is_half_its_period_and_only_ours(void **state)
{
    (void)state;
    static const struct {
        const char *usec;
        int wanted;
    } cases[] = {{"30000000", 15000}, {"2000", 1}, {"1000", 0}, {"", 0}, {"x", 0}, {"30000000x", 0},
        {"99999999999999999999999", 0}};
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
    assert_int_equal(notify_watchdog_ms(), 0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        setenv("WATCHDOG_USEC", cases[i].usec, 1);
        assert_int_equal(notify_watchdog_ms(), cases[i].wanted);
    }
    char pid[20];
    setenv("WATCHDOG_USEC", "30000000", 1);
    snprintf(pid, sizeof pid, "%d", (int)getpid());
    setenv("WATCHDOG_PID", pid, 1);
    assert_int_equal(notify_watchdog_ms(), 15000);
    setenv("WATCHDOG_PID", "1", 1);
    assert_int_equal(notify_watchdog_ms(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_folder(manager_hears_everything),
        with_folder(long_status_is_cut),
        cmocka_unit_test(without_a_manager_nothing_happens),
        cmocka_unit_test(watchdog_is_half_its_period_and_only_ours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
