"""The daemon, killed at every system call while it takes a release from its spool: floor, kept configuration, journal, job."""
import os
import shutil
import signal

import kill
import lab
import machine
from forge import Configuration, World

EXPECTED = "/nix/store/" + "a" * 32 + "-nixos-system"


class Intake:
    def __init__(self):
        machine.mount_memory("/root/intake")
        self.world = world = World()
        self.node = lab.Daemon(machine.BIN, "/root/intake/node", world)
        self.old = world.empty(world.now - 10)
        self.new = world.release(world.now, Configuration(meta={"attribute": "me", "host": "me", "expected": EXPECTED}))
        self.node.start()
        self.node.deliver_and_wait(self.old)
        self.node.stop()
        machine.end_processes()  # jobs outlive it
        self.folder = self.node.deliver(self.new)
        self.floors = {self.floor(self.old), self.floor(self.new)}
        self.kept = [self.node.state, os.path.dirname(self.node.floor_copy)]
        for number, place in enumerate(self.kept):
            shutil.copytree(place, self.saved(number), symlinks=True)

    def saved(self, number):
        return "/root/intake/saved-%d" % number

    def restore(self):
        machine.end_processes()
        for number, place in enumerate(self.kept):
            shutil.rmtree(place)
            shutil.copytree(self.saved(number), place, symlinks=True)
        if os.path.exists(self.node.executed):
            os.unlink(self.node.executed)

    @staticmethod
    def floor(release):
        return release.epoch, release.number, release.head_hash

    def path(self, *parts):
        return os.path.join(self.node.state, *parts)

    def statuses(self):
        return [self.node.status(name) for name in self.node.status_files()]

    def settled(self):
        """The build, which a trap stands in for, has failed, and that is said."""
        names = self.node.status_files()
        return bool(names) and self.node.status(names[-1])["state"] == "failed"

    def until_killed_or_settled(self, point):
        self.node.start(point.tracer("/root/log", detached=True), ready=False)
        process = self.node.process
        lab.wait_until(lambda: process.poll() is not None or self.settled(), "the daemon")
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        status = self.node.ended()
        assert status in (0, -signal.SIGKILL), lab.read(self.node.path("log"))
        point.killed = status != 0

    def judge(self):
        floors = self.node.floors()
        assert set(floors) <= self.floors, floors
        journal = machine.journal_read(self.path("apply/journal"))
        kept = [name for name in os.listdir(self.path("apply/kept")) if not name.endswith(".new")]
        for name in kept:
            assert sorted(os.listdir(self.path("apply/kept", name))) == ["bundle", "ticket", "tree"]
        if kept:  # before anything else happened
            assert set(floors) == {self.floor(self.new)}, floors
        if journal.seen == self.new.head_hash:
            assert len(kept) == 1 and lab.read(self.path("apply/envelope")) == self.new.envelope
        if os.path.exists(self.node.executed):
            assert journal.seen == self.new.head_hash
        for status in self.statuses():
            assert (status["epoch"], status["release"], status["head_hash"]) in self.floors

    def recover(self):
        acknowledged = self.statuses()
        self.node.start()
        lab.wait_until(self.settled, "the release to be handled after all")
        lab.wait_until(lambda: not self.node.is_waiting(self.folder) or self.node.look_again(), "its folder to be removed")
        self.node.stop()
        statuses = self.statuses()
        assert statuses[:len(acknowledged)] == acknowledged  # what was said stays said
        assert self.node.floors() == [self.floor(self.new)] * 2
        assert [s["code"] for s in statuses if s["state"] == "failed"] == ["BUILD"]
        assert max(s["attempt"] for s in statuses) == 1
        assert machine.leftovers("/root/intake/node") == [], machine.leftovers("/root/intake/node")
        for line in lab.read(self.node.executed).decode().splitlines():
            assert line.startswith(os.path.join(self.node.traps, "nix-store")), line


def main():
    intake = Intake()
    for point in kill.points(step=8):
        intake.restore()
        intake.until_killed_or_settled(point)
        intake.judge()
        if point.killed:
            intake.recover()


main()
