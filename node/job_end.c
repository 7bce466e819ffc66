// Ending a job from a process that has no loop and no table: the revert job ends the switch.
#include "fs.h"
#include "job_file.h"
#include "log.h"
#include "proc.h"
#include "unit.h"

#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#define KILL_MS 5000
#define ANSWER_BYTES_MAX 4096

static bool ask_systemd(const struct words *words, int timeout_ms)
{
    struct proc_result result CLEANUP(proc_result_clear) = {0};
    struct err e;
    // Its status does not count: it is not 0 if the job has no timer, or is over.
    bool answered = proc_run((const char *const *)words->at, NULL, NULL, (struct bytes){0},
        ANSWER_BYTES_MAX, timeout_ms, false, &result, &e);
    if (!answered) {
        log_warning("job not ended yet error=\"%s\"", e.text);
    }
    return answered;
}

// Politely, then everything in its cgroup.
static void stop_unit(const char *unit, int timeout_ms)
{
    struct words stop CLEANUP(words_clear) = {0}, kill CLEANUP(words_clear) = {0};
    unit_stop_words(unit, &stop);
    unit_kill_words(unit, &kill);
    if (!ask_systemd(&stop, timeout_ms)) {
        (void)ask_systemd(&kill, KILL_MS);
    }
}

static bool is_gone(int pidfd, int timeout_ms)
{
    struct pollfd gone = {.fd = pidfd, .events = POLLIN};
    return poll(&gone, 1, timeout_ms) > 0;
}

bool job_end(int dir, enum job_kind kind, int timeout_ms, struct err *e)
{
    CLEANUP_FD fd = job_file_open(dir, kind);
    if (fd < 0) {
        return err_set(e, CODE_IO, "cannot open the job file %s: %m", job_word(kind));
    }
    struct job_record record;
    job_file_read(fd, &record);
    if (record.state == JOB_STATE_NONE || record.state == JOB_STATE_ENDED) {
        return true;
    }
    (void)!job_file_revoke(dir, kind);
    CLEANUP_FD pidfd = record.pid > 0 ? (int)syscall(SYS_pidfd_open, record.pid, 0) : -1;
    bool runs = pidfd >= 0 && job_file_is_locked(fd); // else its number is another's by now
    if (runs) {
        syscall(SYS_pidfd_send_signal, pidfd, SIGTERM, NULL, 0);
    }
    bool is_unit = record.unit[0] != '\0';
    if (is_unit) {
        stop_unit(record.unit, timeout_ms);
    }
    if (runs && !is_gone(pidfd, is_unit ? KILL_MS : timeout_ms)) {
        return err_set(e, CODE_TIMEOUT, "the job %s does not end", job_word(kind));
    }
    return true;
}
