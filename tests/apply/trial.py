"""The last steps of a trial, killed: what runs, what the profile is and what boots is the old system or the new one, and after
the next step all three are the same."""
import os

import kill
import lab
import machine
from forge import World

DIGEST = bytes([9] * 32)
OVER = 3  # the dead man's switch found its trial decided


class Trial:
    """The old system is installed, the new one runs on trial, and its dead man's switch is armed."""

    def __init__(self, m):
        self.machine = m
        m.power_on()
        self.old, self.new = m.build(), m.build()
        self.all_old, self.all_new = (self.old,) * 3, (self.new,) * 3
        m.install(self.old)
        self.node = machine.Node(m, World())
        os.makedirs(self.node.state + "/apply/jobs")
        self.record = self.node.state + "/apply/decision"
        m.switch(self.new, "test")
        lab.write(self.record, machine.decision_made(DIGEST, 1, machine.OPEN))

    def decision(self):
        return machine.decision_read(self.record)

    def words(self, step):
        words = {"commit": [self.new, self.old, self.old], "revert": [self.old, self.old],
                 "deadman": [self.old, self.old, "deadman"]}[step]
        return self.node.command("revert" if step == "deadman" else step, DIGEST.hex(), "1", *words)

    def run(self, step, point=None):
        return kill.run(self.words(step), point)

    def succeeds(self, step):
        result = self.run(step)
        assert result.status == 0, (step, result.status, result.err)

    def sweep(self, step, judge, recoveries):
        """Kills the step everywhere. Of its own calls, then of those of the programs that it starts."""
        self.machine.save()
        for names, children in ((kill.OF_STEPS, False), (kill.OF_CHILDREN, True)):
            for number, point in enumerate(kill.points(names, step=5 if children else 1, children=children)):
                for recovery in recoveries if kill.LONG else [recoveries[number % len(recoveries)]]:
                    self.machine.restore()
                    result = self.run(step, point)
                    assert set(self.machine.ends()) <= {self.old, self.new}, self.machine.ends()
                    judge(self, result)
                    if point.killed:
                        recovery(self)
