// The record of a job: one line in a preallocated file, rewritten in place, so that it can be written
// on a full disk. The lock on it is the wrapper's.
//
//     3 DIGEST ATTEMPT PID STATUS SESSION UNIT CHECK
//
// CHECK is over what stands before it: who reads while it is written may get some bytes of the old line
// and some of the new one, and 'pid 3341, no status yet' must not become 'status 0'. Later versions may
// put words before CHECK; those that are there keep their place and meaning, since after a revert the
// older bento-apply reads them.
#pragma once

#include "job.h"

#define JOB_FILE_BYTES 256

int job_file_open(int dir, enum job_kind kind); // -1: errno
// The same with the lock, for who starts a job. Waits a moment for a wrapper whose job has ended and that
// is about to go, and for those who only look; -1 with EWOULDBLOCK if a job holds it.
int job_file_claim(int dir, enum job_kind kind);
// Makes it, or enlarges one of an older version, whose line stays. IO.
MUST_CHECK bool job_file_preallocate(int dir, enum job_kind kind, struct err *e);

bool job_file_is_locked(int fd);
// One moment of it: a damaged line is NONE.
void job_file_read(int fd, struct job_record *record);
// For the holder of the lock, whose own lock says nothing: RUNNING as long as there is no status.
void job_file_read_locked(int fd, struct job_record *record);
// IO. A crash leaves the old line, the new one or a damaged one: it fits into one sector.
MUST_CHECK bool job_file_write(int fd, const struct job_record *record, struct err *e);
MUST_CHECK bool job_file_clear(int fd, struct err *e); // as if there had never been one

// Takes a PENDING job back: a unit or timer that comes to life later finds that it is not wanted any
// more, and ends. False if it has begun (or ended, or nobody could write).
MUST_CHECK bool job_file_revoke(int dir, enum job_kind kind);
