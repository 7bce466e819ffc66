#include "loop.h"

#include "rt_test.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/syscall.h>

// What happened, in order, as letters.
struct trace {
    struct loop *loop;
    char seen[64];
    struct loop_watch *watch, *other;
    int fd, turns;
};

static void note(struct trace *t, char letter)
{
    size_t len = strlen(t->seen);
    assert_true(len + 1 < sizeof t->seen);
    t->seen[len] = letter;
}

static void saw_a(void *context)
{
    note(context, 'a');
}

static void saw_b(void *context)
{
    note(context, 'b');
}

static void saw_c_and_stop(void *context)
{
    struct trace *t = context;
    note(t, 'c');
    loop_stop(t->loop);
}

static void too_late(void *context)
{
    (void)context;
    fail_msg("nothing happened for ten seconds");
}

// Every test ends, whatever is broken.
static struct loop *new_loop(void)
{
    struct loop *loop = loop_new();
    loop_timer_set(loop_timer(loop, false, too_late, NULL), 10000);
    return loop;
}

static void timers_fire_in_order_and_once(void **state)
{
    (void)state;
    struct trace t = {.loop = new_loop()};
    struct loop_watch *c = loop_timer(t.loop, false, saw_c_and_stop, &t);
    struct loop_watch *a = loop_timer(t.loop, true, saw_a, &t);
    struct loop_watch *b = loop_timer(t.loop, true, saw_b, &t);
    loop_timer_set(c, 60);
    loop_timer_set(b, 30);
    loop_timer_set(a, 0); // at once, not never
    assert_true(loop_timer_is_set(a));
    uint64_t start = clock_monotonic_ms();
    loop_run(t.loop);
    assert_true(clock_monotonic_ms() - start >= 59);
    assert_string_equal(t.seen, "abc");
    assert_false(loop_timer_is_set(a));
    assert_false(loop_timer_is_set(c));
    loop_free(t.loop);
}

static void stopped_timer_is_silent_and_a_reset_one_waits_anew(void **state)
{
    (void)state;
    struct trace t = {.loop = new_loop()};
    struct loop_watch *a = loop_timer(t.loop, true, saw_a, &t);
    struct loop_watch *b = loop_timer(t.loop, true, saw_b, &t);
    struct loop_watch *c = loop_timer(t.loop, true, saw_c_and_stop, &t);
    loop_timer_set(a, 5);
    loop_timer_stop(a);
    assert_false(loop_timer_is_set(a));
    loop_timer_set(b, 5);
    loop_timer_set(b, 3600000);
    loop_timer_set(c, 40);
    loop_run(t.loop);
    assert_string_equal(t.seen, "c");
    loop_timer_set(a, UINT64_MAX); // as far as it goes
    assert_true(loop_timer_is_set(a));
    loop_free(t.loop);
}

static void fire_and_stop_the_other(void *context)
{
    struct trace *t = context;
    note(t, 'a');
    loop_timer_stop(t->watch);
    loop_timer_stop(t->other);
    loop_stop(t->loop);
}

static void timer_stopped_in_its_own_turn_is_silent(void **state)
{
    (void)state;
    // Both are ready when poll returns; whichever comes first stops the other.
    struct trace t = {.loop = new_loop()};
    t.watch = loop_timer(t.loop, true, fire_and_stop_the_other, &t);
    t.other = loop_timer(t.loop, true, fire_and_stop_the_other, &t);
    loop_timer_set(t.watch, 1);
    loop_timer_set(t.other, 1);
    uint64_t start = clock_monotonic_ms();
    while (clock_monotonic_ms() - start < 5)
        ;
    loop_run(t.loop);
    assert_string_equal(t.seen, "a");
    loop_free(t.loop);
}

static void fire_and_remove_both(void *context)
{
    struct trace *t = context;
    note(t, 'a');
    loop_remove(t->watch);
    loop_remove(t->other);
    loop_remove(NULL);
    loop_stop(t->loop);
}

static void watch_may_remove_itself_and_a_ready_one(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_int_equal(write(ends[1], "x", 1), 1);
    struct trace t = {.loop = new_loop()};
    t.watch = loop_fd(t.loop, ends[0], fire_and_remove_both, &t);
    t.other = loop_fd(t.loop, ends[0], fire_and_remove_both, &t); // two for one descriptor are fine
    loop_run(t.loop);
    assert_string_equal(t.seen, "a");
    loop_free(t.loop);
    close(ends[0]);
    close(ends[1]);
}

static void read_one(void *context)
{
    struct trace *t = context;
    char c;
    if (read(t->fd, &c, 1) == 1) {
        note(t, c);
        return;
    }
    note(t, '.');
    loop_remove(t->watch);
    loop_stop(t->loop);
}

static void saw_room(void *context)
{
    struct trace *t = context;
    note(t, 'w');
    loop_fd_turn(t->watch, t->turns++ == 0);
    if (t->turns == 2) { // back to readable, which it is not: only the timer is left
        loop_timer_set(t->other, 1);
    }
}

static void descriptor_may_wait_for_room_instead(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    struct trace t = {.loop = new_loop()};
    t.watch = loop_fd(t.loop, ends[1], saw_room, &t);
    t.other = loop_timer(t.loop, false, saw_c_and_stop, &t);
    loop_fd_turn(t.watch, true);
    loop_run(t.loop);
    assert_string_equal(t.seen, "wwc");
    loop_free(t.loop);
    close(ends[0]);
    close(ends[1]);
}

static void descriptor_is_called_until_it_is_read_and_at_its_end(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_int_equal(write(ends[1], "xyz", 3), 3);
    close(ends[1]);
    struct trace t = {.loop = new_loop(), .fd = ends[0]};
    t.watch = loop_fd(t.loop, ends[0], read_one, &t);
    loop_run(t.loop);
    assert_string_equal(t.seen, "xyz.");
    loop_free(t.loop);
    close(ends[0]);
}

#define MANY 400

struct many {
    struct loop *loop;
    int read_end[MANY], write_end[MANY], seen[MANY], count;
};

struct one_of_many {
    struct many *many;
    int index;
    struct loop_watch *watch;
};

static void many_ready(void *context)
{
    struct one_of_many *one = context;
    struct many *m = one->many;
    m->seen[one->index]++;
    loop_remove(one->watch); // while all the others wait for their turn
    if (++m->count == MANY)
        loop_stop(m->loop);
}

static void many_ready_descriptors_are_each_called_once(void **state)
{
    (void)state;
    struct many *m = calloc(1, sizeof *m);
    struct one_of_many *ones = calloc(MANY, sizeof *ones);
    m->loop = new_loop();
    for (int i = 0; i < MANY; i++) {
        int ends[2];
        assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
        m->read_end[i] = ends[0];
        m->write_end[i] = ends[1];
        assert_int_equal(write(ends[1], "x", 1), 1);
        ones[i] = (struct one_of_many){.many = m, .index = i};
        ones[i].watch = loop_fd(m->loop, ends[0], many_ready, &ones[i]);
    }
    loop_run(m->loop);
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(m->seen[i], 1);
        close(m->read_end[i]);
        close(m->write_end[i]);
    }
    loop_free(m->loop);
    free(ones);
    free(m);
}

static void post_b(void *context)
{
    struct trace *t = context;
    note(t, 'a');
    loop_post(t->loop, saw_c_and_stop, t);
}

static void turn_over(void *context)
{
    note(context, '|');
}

static void posts_run_in_order_and_new_ones_in_the_next_turn(void **state)
{
    (void)state;
    struct trace t = {.loop = new_loop()};
    loop_on_idle(t.loop, turn_over, &t);
    loop_post(t.loop, post_b, &t);
    loop_post(t.loop, saw_b, &t);
    loop_run(t.loop);
    assert_string_equal(t.seen, "ab|c|");
    loop_free(t.loop);
}

#define THREADS 4
#define POSTS 5000

struct poster;

struct posted {
    struct poster *poster;
    int number;
};

struct poster {
    struct loop *loop;
    pthread_t thread;
    int next, *left;
    struct posted posts[POSTS];
};

static void from_thread(void *context)
{
    struct posted *post = context;
    assert_int_equal(post->number, post->poster->next); // in the order of its thread
    post->poster->next++;
    if (--*post->poster->left == 0)
        loop_stop(post->poster->loop);
}

static void *post_all(void *context)
{
    struct poster *poster = context;
    for (int i = 0; i < POSTS; i++) {
        poster->posts[i] = (struct posted){.poster = poster, .number = i};
        loop_post(poster->loop, from_thread, &poster->posts[i]);
    }
    return NULL;
}

static void posts_of_many_threads_all_arrive_in_order(void **state)
{
    (void)state;
    struct loop *loop = new_loop();
    struct poster *posters = calloc(THREADS, sizeof *posters);
    int left = THREADS * POSTS;
    for (int i = 0; i < THREADS; i++) {
        posters[i].loop = loop;
        posters[i].left = &left;
        assert_int_equal(pthread_create(&posters[i].thread, NULL, post_all, &posters[i]), 0);
    }
    loop_run(loop);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(posters[i].thread, NULL);
        assert_int_equal(posters[i].next, POSTS);
    }
    assert_int_equal(left, 0);
    loop_free(loop);
    free(posters);
}

static void post_that_never_ran_is_dropped(void **state)
{
    (void)state;
    struct trace t = {.loop = new_loop()};
    loop_post_owned(t.loop, saw_a, saw_b, &t);
    loop_post(t.loop, saw_a, &t);
    loop_free(t.loop);
    assert_string_equal(t.seen, "b");
}

static void signal_becomes_a_callback(void **state)
{
    (void)state;
    struct trace t = {.loop = new_loop()};
    sigset_t before;
    pthread_sigmask(SIG_BLOCK, NULL, &before);
    loop_signal(t.loop, SIGUSR1, saw_a, &t);
    loop_signal(t.loop, SIGUSR2, saw_c_and_stop, &t);
    kill(getpid(), SIGUSR1);
    kill(getpid(), SIGUSR2);
    loop_run(t.loop);
    assert_string_equal(t.seen, "ac");
    loop_free(t.loop);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void handled(int signal)
{
    (void)signal;
}

static void interrupted_poll_goes_on(void **state)
{
    (void)state;
    struct trace t = {.loop = new_loop()};
    struct sigaction action = {.sa_handler = handled}, before; // no SA_RESTART
    assert_int_equal(sigaction(SIGALRM, &action, &before), 0);
    struct itimerspec soon = {.it_value.tv_nsec = 1000000, .it_interval.tv_nsec = 1000000};
    timer_t timer;
    assert_int_equal(timer_create(CLOCK_MONOTONIC, NULL, &timer), 0); // SIGALRM
    assert_int_equal(timer_settime(timer, 0, &soon, NULL), 0);
    loop_timer_set(loop_timer(t.loop, true, saw_c_and_stop, &t), 50);
    loop_run(t.loop);
    timer_delete(timer);
    sigaction(SIGALRM, &before, NULL);
    assert_string_equal(t.seen, "c");
    loop_free(t.loop);
}

struct child_end {
    struct loop *loop;
    struct loop_watch *watch;
    int status, calls;
};

static void child_ended(void *context, int status)
{
    struct child_end *end = context;
    end->status = status;
    end->calls++;
    loop_remove(end->watch);
    loop_stop(end->loop);
}

static void child_end_is_told_as_a_shell_would(void **state)
{
    (void)state;
    static const struct {
        int exit_status, signal, wanted;
    } cases[] = {{0, 0, 0}, {3, 0, 3}, {255, 0, 255}, {0, SIGKILL, 128 + SIGKILL},
        {0, SIGTERM, 128 + SIGTERM}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct child_end end = {.loop = new_loop(), .status = -1};
        pid_t pid = fork();
        if (pid == 0) {
            if (cases[i].signal != 0)
                raise(cases[i].signal);
            _exit(cases[i].exit_status);
        }
        int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
        assert_true(pidfd >= 0);
        end.watch = loop_child(end.loop, pid, pidfd, child_ended, &end);
        loop_run(end.loop);
        assert_int_equal(end.status, cases[i].wanted);
        assert_int_equal(end.calls, 1);
        assert_int_equal(waitpid(pid, NULL, WNOHANG), -1); // reaped
        assert_int_equal(errno, ECHILD);
        loop_free(end.loop);
    }
}

static void count_down(void *context)
{
    struct trace *t = context;
    if (--t->turns == 0)
        loop_stop(t->loop);
    else
        loop_timer_set(t->watch, 0);
}

static void timer_may_be_set_again_by_its_own_callback(void **state)
{
    (void)state;
    struct trace t = {.loop = new_loop(), .turns = 50};
    t.watch = loop_timer(t.loop, false, count_down, &t);
    loop_timer_set(t.watch, 0);
    loop_run(t.loop);
    assert_int_equal(t.turns, 0);
    loop_free(t.loop);
}

static void loop_leaves_no_descriptor_behind(void **state)
{
    (void)state;
    int before = dup(0);
    close(before);
    struct loop *loop CLEANUP(loop_freep) = loop_new();
    for (int i = 0; i < 10; i++)
        loop_timer_set(loop_timer(loop, i % 2 == 0, saw_a, NULL), 100000);
    loop_freep(&loop);
    int after = dup(0);
    close(after);
    assert_int_equal(before, after);
}

static void jitter_stays_within_its_percentage_and_moves(void **state)
{
    (void)state;
    uint64_t least = UINT64_MAX, most = 0;
    for (int i = 0; i < 1000; i++) {
        uint64_t value = jitter(900000, 20);
        least = value < least ? value : least;
        most = value > most ? value : most;
    }
    assert_true(least >= 720000 && most <= 1080000);
    assert_true(least < 760000 && most > 1040000); // fails by chance once in 10^40
    assert_int_equal(jitter(5, 0), 5);
    assert_int_equal(jitter(0, 20), 0);
}

static void clocks_agree_on_their_units(void **state)
{
    (void)state;
    uint64_t s = clock_unix_s(), ns = clock_unix_ns();
    assert_true(ns / 1000000000 - s <= 1);
    assert_true(s > 1600000000);
    assert_true(clock_boottime_ms() >= clock_monotonic_ms());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timers_fire_in_order_and_once),
        cmocka_unit_test(stopped_timer_is_silent_and_a_reset_one_waits_anew),
        cmocka_unit_test(timer_stopped_in_its_own_turn_is_silent),
        cmocka_unit_test(watch_may_remove_itself_and_a_ready_one),
        cmocka_unit_test(descriptor_may_wait_for_room_instead),
        cmocka_unit_test(descriptor_is_called_until_it_is_read_and_at_its_end),
        cmocka_unit_test(many_ready_descriptors_are_each_called_once),
        cmocka_unit_test(posts_run_in_order_and_new_ones_in_the_next_turn),
        cmocka_unit_test(posts_of_many_threads_all_arrive_in_order),
        cmocka_unit_test(post_that_never_ran_is_dropped),
        cmocka_unit_test(signal_becomes_a_callback),
        cmocka_unit_test(interrupted_poll_goes_on),
        cmocka_unit_test(child_end_is_told_as_a_shell_would),
        cmocka_unit_test(timer_may_be_set_again_by_its_own_callback),
        cmocka_unit_test(loop_leaves_no_descriptor_behind),
        cmocka_unit_test(jitter_stays_within_its_percentage_and_moves),
        cmocka_unit_test(clocks_agree_on_their_units),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
