"""kill -9 at a chosen system call: strace sends the signal when a process enters its k-th call of a name, before the call does
anything. Between two calls a process cannot change what survives it, so these are all the moments there are."""
import itertools
import os
import signal
import subprocess
import tempfile

import lab

LONG = os.environ.get("BENTO_LONG") == "1"
ONLY = os.environ.get("BENTO_KILL", "").split()  # "read 50": this point alone
# Calls that change what survives a process, or start or end another. The rest leave everything as one of these did: to write()
# a file is what happens between its flock() and its fchmod(), else it is a line of the log.
CHANGES = ["pwrite64", "fallocate", "fchmod", "fsync", "fdatasync", "renameat", "renameat2", "unlinkat", "mkdirat", "flock",
           "clone", "kill", "wait4", "exit_group"]
REST = ["write", "openat", "open", "read", "pread64", "newfstatat", "readlink", "poll", "close"]
# Which of them a step of a trial makes.
OF_STEPS = None if LONG else ["pwrite64", "fdatasync", "flock", "clone", "wait4", "exit_group"]
# What nix-env and switch-to-configuration call, each process counted for itself: the links and files that they replace, and
# the script between two of its commands.
OF_CHILDREN = ["symlink", "symlinkat", "rename", "renameat", "renameat2", "unlink", "clone", "vfork"]


class Point:
    def __init__(self, name, number, children):
        self.name, self.number, self.children, self.killed = name, number, children, None

    def __str__(self):
        return "%s %d" % (self.name, self.number)

    def tracer(self, log, detached=False):
        """strace and its options. detached: the process that is started is the program, not strace."""
        inject = "inject=?%s:signal=SIGKILL:when=%d" % (self.name, self.number)
        return (["strace", "-q", "-o", log, "-e", "trace=?" + self.name, "-e", inject] + ["-f"] * self.children + ["-D"] * detached)


def numbers_of(name, step):
    if ONLY:
        return [int(ONLY[1])] if ONLY[0] == name else []
    return itertools.count(1, 1 if LONG else step)


def points(names=None, step=1, children=False):
    """All kill points of a program: k = 1, 2, … of each name until a run in which nothing was killed. The caller tells."""
    counts = {}
    for name in names or (CHANGES + REST if LONG else CHANGES):
        for number in numbers_of(name, step):
            point = Point(name, number, children)
            try:
                yield point
            except BaseException:
                print("killed at %s" % point)
                raise
            assert point.killed is not None, point
            if not point.killed:
                break
            counts[name] = counts.get(name, 0) + 1
    print("kill points: %d (%s)" % (sum(counts.values()), ", ".join("%s %d" % c for c in counts.items())), flush=True)
    assert counts or ONLY, "nothing was ever killed"


class Result:
    def __init__(self, status, out, err):
        self.status, self.out, self.err = status, out, err


def run(words, point=None, **more):
    """Runs a program to its end and ends what it leaves behind, as the wrapper of a job does. Tells the point."""
    with tempfile.TemporaryDirectory() as folder:
        log, out, err = (os.path.join(folder, name) for name in ("log", "out", "err"))
        with open(out, "wb") as o, open(err, "wb") as e:
            process = subprocess.Popen((point.tracer(log) if point else []) + words, start_new_session=True,
                                       stdin=more.pop("stdin", subprocess.DEVNULL), stdout=o, stderr=e, **more)
            status = process.wait(lab.DEADLINE_S)
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        result = Result(status, lab.read(out).decode(), lab.read(err).decode())
        if point:
            point.killed = b"killed by SIGKILL" in lab.read(log)
            assert point.killed or status >= 0, (status, result.err)
    assert "Sanitizer" not in result.err and "runtime error" not in result.err, result.err
    return result
