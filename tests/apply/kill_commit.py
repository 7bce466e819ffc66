"""`bento-apply commit`, killed at every system call."""
import machine
from trial import OVER, Trial


def judge(t, result):
    runs, profile, boots = t.machine.ends()
    assert runs == t.new
    if t.decision() == machine.OPEN:  # it is on record before anything is written
        assert (profile, boots) == (t.old, t.old)
    elif t.decision() == machine.REVERT:  # it was a child that was killed: the commit itself put back what it had written
        assert (profile, boots) == (t.old, t.old) and result.status != 0
    if result.status == 0:
        assert t.machine.ends() == t.all_new and t.decision() == machine.COMMIT


def commit_again(t):
    """bento-apply was started again, its job is lost."""
    refused = t.decision() == machine.REVERT
    assert (t.run("commit").status != 0) == refused
    if refused:
        revert(t)
    else:
        assert t.machine.ends() == t.all_new and t.decision() == machine.COMMIT


def revert(t):
    """bento-apply saw its job end by a signal."""
    t.succeeds("revert")
    assert t.machine.ends() == t.all_old and t.decision() == machine.REVERT
    assert t.run("commit").status != 0
    assert t.machine.ends() == t.all_old


def deadman(t):
    """Nobody came for a long time: the dead man's switch leaves alone what was decided, and bento-apply comes back."""
    before, decided = t.machine.ends(), t.decision() != machine.OPEN
    status = t.run("deadman").status
    assert status == (OVER if decided else 0), status
    assert t.machine.ends() == (before if decided else t.all_old)
    commit_again(t)


Trial(machine.Machine()).sweep("commit", judge, [commit_again, revert, deadman])
