"""`bento-apply revert`, killed at every system call, after a commit: profile, boot entry and system have to come back."""
import machine
from trial import OVER, Trial


def judge(t, result):
    if t.decision() == machine.COMMIT:  # going back is on record before anything is written
        assert t.machine.ends() == t.all_new
    if result.status == 0:
        assert t.machine.ends() == t.all_old and t.decision() == machine.REVERT


def revert_again(t):
    t.succeeds("revert")
    assert t.machine.ends() == t.all_old, t.machine.ends()
    assert t.decision() == machine.REVERT, t.decision()
    assert t.run("commit").status != 0


def deadman(t):
    """A revert that was decided may be finished by it; a commit stays."""
    before, decision = t.machine.ends(), t.decision()
    status = t.run("deadman").status
    assert status == (OVER if decision == machine.COMMIT else 0), status
    assert t.machine.ends() == (before if decision == machine.COMMIT else t.all_old)


t = Trial(machine.Machine())
t.succeeds("commit")
assert t.machine.ends() == t.all_new
t.sweep("revert", judge, [revert_again, deadman])
