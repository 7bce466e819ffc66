"""The real bento-broker, killed at every system call while nodes deliver statuses, and the power goes with it: what was
acknowledged to a node is in what had reached the disk, byte for byte, and the broker goes on with it."""
import os
import signal

import broker_lab
import disk
import kill
import lab
import machine

STATUSES = 3  # delivered one after the other, so that each has a transaction of its own
FIRST_SEQ = 100
# SQLite's, in the thread that serves: the log, its syncs, and the checkpoint.
NAMES = ["pwrite64", "fdatasync", "fsync", "ftruncate", "unlink", "openat"]


class Collector:
    def __init__(self):
        self.disk = disk.Disk("/root/disk")
        self.b = broker_lab.load(machine.BIN)
        os.mkdir("/root/broker")
        self.w = self.b.World("/root/broker", "/root/disk/state")
        self.w.published()
        self.statuses = [self.w.fleet.status(node, FIRST_SEQ + i) for i in range(STATUSES) for node in self.w.fleet.nodes]
        self.w.close()
        self.disk.unmount()
        self.disk.remember()

    def deliver_until_killed(self, point):
        """Returns what was acknowledged."""
        self.w.broker.start(point.tracer("/root/log", detached=True), ready=False)
        acknowledged = []
        try:
            lab.wait_until(self.connects, "the broker, or its end")
            for status in self.statuses:
                reply = self.w.public.ask(self.b.PUT_STATUS, status)
                assert reply[0] == "OK" and reply[2] == self.b.sha256(status), reply
                acknowledged.append(status)
        except OSError:
            pass  # it was killed
        process = self.w.broker.process
        if len(acknowledged) == len(self.statuses):
            process.send_signal(signal.SIGTERM)
        status = process.wait(lab.DEADLINE_S)
        point.killed = status == -signal.SIGKILL
        assert point.killed or status == 0 and len(acknowledged) == len(self.statuses), status
        self.w.broker.log.close()
        self.w.broker.process = None
        self.disconnect()
        return acknowledged

    def connects(self):
        if self.w.broker.process.poll() is not None:
            raise ConnectionError("killed before it listened")
        try:
            self.w.connect()
            return True
        except OSError:
            return False

    def disconnect(self):
        for pipe in self.w.pipes:
            pipe.close()
        self.w.pipes.clear()

    def kept(self):
        """What a broker that starts on this disk has."""
        self.w.broker.start()
        self.w.connect()
        found = []
        for node in self.w.fleet.nodes:
            code, more, entries = self.w.admin.ask(self.b.GET_HISTORY, node.id, 2**64 - 1)
            assert code == "OK" and not more
            found += [signed for _, signed in entries]
        assert self.w.public.ask(self.b.GET_HEAD)[0] == "OK"
        # What came too late to be acknowledged is delivered again by its node.
        for status in self.statuses:
            assert self.w.public.ask(self.b.PUT_STATUS, status)[0] == "OK"
        self.disconnect()
        self.w.broker.stop()
        return found


def main():
    disk.skip_without_loop_devices()
    c = Collector()
    most = 0
    for point in kill.points(NAMES, step=3):
        c.disk.start_over()
        acknowledged = c.deliver_until_killed(point)
        c.disk.snapshot()
        c.disk.unmount()
        c.disk.come_back()
        found = c.kept()
        lost = [status for status in acknowledged if status not in found]
        assert not lost, "%d of %d acknowledged statuses are lost" % (len(lost), len(acknowledged))
        most = max(most, len(acknowledged) if point.killed else 0)
        c.disk.unmount()
    assert most > 0, "never killed after an acknowledgement"


main()
