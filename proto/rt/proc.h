// Child processes: argv arrays, never a shell; explicit environment; deadlines; bounded output.
#pragma once

#include "bytes.h"

#include <sys/types.h>

struct proc_spec {
    const char *const *argv; // argv[0] is looked up in the PATH of env (or ours)
    const char *const *env;  // NULL: inherit
    const char *cwd;         // NULL: ours
    int in, out, err; // descriptors; -1: /dev/null. {0} is therefore not a default: use PROC_SPEC
    bool new_session; // setsid: outlives the terminal, and can be ended as a group
    bool die_with_parent; // PR_SET_PDEATHSIG SIGTERM
};
#define PROC_SPEC ((struct proc_spec){.in = -1, .out = -1, .err = -1})

// IO (also when argv[0] does not exist: the sentence names it). *pidfd is closed by the caller.
MUST_CHECK bool proc_spawn(const struct proc_spec *spec, pid_t *pid, int *pidfd, struct err *e);
// Exit status as a shell would give it: 0–255, or 128 + signal.
int proc_status(int wait_status);
// Waits for the end of a child of ours that nothing else waits for; its proc_status(), or PROC_UNKNOWN if
// there is no such child (any more): never a success that nobody saw.
#define PROC_UNKNOWN 255
int proc_wait(pid_t pid);

// From now on this program ends within so many seconds, whatever it waits for. For the end of daemons
// that have nothing to lose by then: a library that waits for ever would hold up a switch.
void proc_exit_within(unsigned seconds);

// Ends a child of ours that nothing else waits for: SIGTERM, after patience_ms SIGKILL, and reaps
// it.
void proc_end(pid_t pid, int patience_ms);

// For programs that hold keys or secrets in clear: no core dump of this process, and no other but
// root's may trace it or read its memory. The programs that it starts are not affected.
// (RLIMIT_CORE would be handed down to them, and is not asked where core_pattern is a pipe.)
void proc_forbid_dump(void);

// Runs to the end (short helpers of admin programs): output is collected up to the limit, the rest
// is read and dropped.
struct proc_result {
    int status; // as proc_status
    bool timed_out;
    struct buf out, err;
};
// in: fed to its stdin ({0}: nothing). inherit_tty: stderr, and stdin unless there is `in`, stay
// ours (passphrase prompts). timeout_ms < 0: none. TIMEOUT kills its group (just the child with
// inherit_tty, since it must share ours for the terminal); *result then holds what came so far and
// timed_out. After any other failure it is empty. Clear it in every case.
MUST_CHECK bool proc_run(const char *const *argv, const char *const *env, const char *cwd,
    struct bytes in, size_t output_max, int timeout_ms, bool inherit_tty,
    struct proc_result *result, struct err *e);
void proc_result_clear(struct proc_result *result);
