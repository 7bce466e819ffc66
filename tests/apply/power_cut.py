"""The power goes at a system call of the real bento-apply, or of a step of a trial and of the programs that it starts. What had
reached the disk is what boots: the old or the new system, whole; and the node goes on from there to the end."""
import sys

import disk
import kill
import machine
from life import Life, until_killed_or_applied
from trial import Trial

# Not BENTO_LONG: of what decides where a life goes on every ninth call, of a step's own calls every fourth, of those of what it
# starts every ninth. Never at calls that only read: the disk is as it was at the write before them.
LIFE_NAMES = kill.CHANGES + ["write"] if kill.LONG else ["pwrite64", "fsync"]
LIFE_STEP, OWN_STEP, CHILD_STEP = 9, 4, 9
IN_TRIAL = ("ARMING", "TRYING", "CONFIRMING")  # profile and boot entry are the old system's


class Cuts:
    """Something that is done on a machine with such a disk, again and again from the same beginning."""

    def __init__(self, kind):
        self.machine = machine.Machine(self.make_disk)
        self.it = kind(self.machine)
        self.end()
        self.disk.remember()

    def make_disk(self, folder):
        self.disk = disk.Disk(folder)

    def begin(self):
        self.disk.start_over()
        self.machine.power_on()
        self.machine.boot()

    def cut(self):
        """Everything ends now; what was on the disk comes back, and boots. Returns what boots."""
        self.machine.end_processes()
        self.disk.snapshot()
        self.machine.power_off()
        self.disk.unmount()
        self.disk.come_back()
        self.machine.power_on()
        system = self.machine.boots()
        assert system in (self.it.old, self.it.new), system
        assert self.machine.profile() in (self.it.old, self.it.new)
        return self.machine.boot()

    def end(self):
        self.machine.power_off()
        self.disk.unmount()


def judge_disk(life, booted):
    floors = [floor[:2] for floor in life.node.floors()]
    assert max(floors) >= life.floor_acknowledged(), (floors, life.floor_acknowledged())
    journal = life.node.journal()
    assert journal is not None
    if journal.seen == life.releases[1].head_hash:
        assert max(floors) == (1, life.releases[1].number)
    if journal.state in IN_TRIAL:
        assert booted == life.old == life.machine.profile()
    if journal.state != "IDLE" and journal.trial_attempt:
        assert (journal.old_path, journal.new_path) == (life.old, life.new)


def cut_life():
    """bento-apply alone decides when; the others are wherever they are."""
    cuts = Cuts(Life)
    life, m = cuts.it, cuts.machine
    for point in kill.points(LIFE_NAMES, step=LIFE_STEP):
        cuts.begin()
        life.acked, life.said = {}, []  # the collector is asked about this beginning only
        until_killed_or_applied(life, point)
        tries = m.switched(life.new, "test")
        judge_disk(life, cuts.cut())
        life.node.start()
        life.until(lambda: life.said and life.applied(life.new) and life.node.is_idle(), "the release to be applied after all")
        life.node.stop()
        assert tries + m.switched(life.new, "test") <= 2  # once before the cut, once after it
        assert set(life.node.floors()) == {(1, life.releases[1].number, life.releases[1].head_hash)}
        assert machine.leftovers(life.node.state) == []
        cuts.end()


def cut_commit(trial, point, cut):
    status = trial.run("commit", point).status
    booted = cut()
    committed = trial.decision() == machine.COMMIT
    assert committed or booted == trial.machine.profile() == trial.old
    assert status != 0 or committed and booted == trial.machine.profile() == trial.new
    # As apply_step() does when the machine was restarted while it was committing.
    forward = committed and booted == trial.new
    trial.succeeds("commit" if forward else "revert")
    assert trial.machine.ends() == (trial.all_new if forward else trial.all_old)


def cut_revert(trial, point, cut):
    trial.succeeds("commit")
    status = trial.run("revert", point).status
    booted = cut()
    reverted = trial.decision() == machine.REVERT
    assert reverted or booted == trial.machine.profile() == trial.new
    assert status != 0 or reverted and booted == trial.machine.profile() == trial.old
    trial.succeeds("revert")
    assert trial.machine.ends() == trial.all_old


def cut_step(step):
    cuts = Cuts(Trial)
    for names, children, width in ((kill.OF_STEPS, False, OWN_STEP), (kill.OF_CHILDREN, True, CHILD_STEP)):
        for point in kill.points(names, step=width, children=children):
            cuts.begin()
            cuts.machine.switch(cuts.it.new, "test")
            step(cuts.it, point, cuts.cut)
            cuts.end()


PARTS = {"life": cut_life, "commit": lambda: cut_step(cut_commit), "revert": lambda: cut_step(cut_revert)}
disk.skip_without_loop_devices()
PARTS[sys.argv[1]]()
