"""The wrapper of jobs (`bento-apply job`), killed at every system call: afterwards the job is lost or ended with the status that
it had, never running for ever and never a success that it was not; nothing of it is left running."""
import fcntl
import os
import subprocess

import job_record
import kill
import lab
import machine

DIGEST = "09" * 32
STATUS = 7
LOST, RUNNING = "lost", "running"
FOLDER = "/root/jobs"
RECORD, STARTED, ENDED = (os.path.join(FOLDER, name) for name in ("try", "started", "ended"))
# Notes each start and each end, and is still there for a moment when the wrapper dies.
COMMAND = ["/bin/sh", "-c", "echo $$ >>%s; sleep 0.05; echo >>%s; exit %d" % (STARTED, ENDED, STATUS)]


def job_ended():
    """As whoever finds the job later sees it: its status, LOST or RUNNING."""
    with open(RECORD, "rb+") as f:
        try:
            fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return RUNNING
        line = f.read().decode()
    version, digest, attempt, pid, status, session, unit, check = line.split()
    assert (len(line), version, digest, attempt, unit) == (job_record.BYTES, "3", DIGEST, "1", "-"), line
    assert check == job_record.check_of(line[:line.rindex(check) - 1]), line
    return int(status) if int(status) >= 0 else LOST


def count(path):
    return lab.read(path).count(b"\n") if os.path.exists(path) else 0


def run(point):
    """As bento-apply starts it: the record written, and locked by what becomes its standard input."""
    lab.write(RECORD, job_record.record_of(DIGEST, 0, -1))
    with open(RECORD, "rb+") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        words = [os.path.join(machine.BIN, "bento-apply"), "job", FOLDER, "try", "-", "60000", "0", "PATH=" + os.environ["PATH"], "--",
                 *COMMAND]
        process = subprocess.Popen(point.tracer("/root/log") + words, stdin=f, stderr=subprocess.PIPE, text=True)
    errors = process.communicate(timeout=lab.DEADLINE_S)[1]
    assert "Sanitizer" not in errors, errors
    point.killed = b"killed by SIGKILL" in lab.read("/root/log")


def gone(pid):
    """Or dead and an orphan of ours, the first process here."""
    path = "/proc/%d/stat" % pid
    return not os.path.exists(path) or lab.read(path).rpartition(b")")[2].split()[0] == b"Z"


def main():
    machine.mount_memory(FOLDER)
    for point in kill.points():
        for path in (STARTED, ENDED):
            if os.path.exists(path):
                os.unlink(path)
        run(point)
        lab.wait_until(lambda: job_ended() != RUNNING, "the lock of a killed job to be free")
        assert job_ended() == LOST or job_ended() == STATUS and count(ENDED) == 1, job_ended()
        assert point.killed or job_ended() == STATUS
        assert count(STARTED) <= 1
        for line in lab.read(STARTED).decode().split() if count(STARTED) else []:
            lab.wait_until(lambda: gone(int(line)), "the end of what the killed job ran")


main()
