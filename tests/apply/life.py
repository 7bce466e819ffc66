"""The whole way of a release through the real bento-apply on a machine with real Nix: an old system that was applied, a new one
that waits in the spool, and a stand-in for bento-node that brings every status to a collector."""
import os
import signal

import msgpack

import lab
import machine
from forge import Configuration, World, sha256, ticket


def secret_of(system):
    return b"secret of " + system.encode()


def configuration(system):
    return Configuration(meta={"attribute": "me", "host": "me", "expected": system}, with_tree=False,
                         secrets=[["db", "root", "root", 0o400, secret_of(system)]])


class Life:
    def __init__(self, m, mode="ok", **config):
        """m: a machine that is off, with an empty disk; mode: of the new system; config: more of the node's."""
        self.machine = m
        m.power_on()
        self.old, self.new = m.build(), m.build(mode)
        m.install(self.old)
        self.world = World()
        self.node = machine.Node(m, self.world, **config)
        self.tickets, self.acked, self.said = {}, {}, []
        self.releases = [self.release(0, self.old), self.release(1, self.new)]
        self.node.start()
        self.node.deliver(self.releases[0])
        self.until(lambda: self.says("up-to-date") and self.node.is_idle(), "the first release")
        self.node.stop()
        self.node.deliver(self.releases[1])

    def release(self, number, system):
        """Number n of the world's; the ticket is always the same one for a system, as bento-pub sends it."""
        if system not in self.tickets:
            c = configuration(system)
            self.tickets[system] = c, ticket(self.world.me, c)
        c, t = self.tickets[system]
        return self.world.release(self.world.now + number, c, my_ticket=t)

    # ---- bento-node and the collector

    def carry(self):
        """Brings what is new in spool/out to the collector, which has it from here on."""
        folder = os.path.join(self.node.state, "spool/out")
        fresh = False
        for name in self.node.status_files() if os.path.isdir(folder) else []:
            if int(name.partition(".")[0]) not in self.acked:
                status = self.node.status(name)
                self.acked[status["seq"]] = sha256(lab.read(os.path.join(folder, name)))
                self.said.append(status)
                fresh = True
        if fresh:
            acks = [[seq, digest, False] for seq, digest in sorted(self.acked.items())]
            path = os.path.join(self.node.state, "spool/in/acked")
            lab.write(path + ".new", msgpack.packb(["bento-acked", 1, acks]))
            os.rename(path + ".new", path)

    def says(self, state):
        return bool(self.said) and self.said[-1]["state"] == state

    def until(self, holds, what):
        def look():
            self.carry()
            return holds()
        lab.wait_until(look, what)

    def floor_acknowledged(self):
        """The highest floor that the collector knows of."""
        return max(((s["epoch"], s["release"]) for s in self.said), default=(0, 0))

    def applied(self, system):
        """The newest release was applied, and that is its system."""
        last = self.said[-1]
        return last["state"] == "up-to-date" and last["release"] == self.releases[-1].number and \
            self.machine.ends() == (system,) * 3


def until_killed_or_applied(life, point):
    """Runs bento-apply until it is killed there, or else has applied the release and rests. Tells the point."""
    life.node.start(point.tracer("/root/log", detached=True), ready=False)
    process = life.node.process
    life.until(lambda: process.poll() is not None or life.said and life.applied(life.new) and life.node.is_idle(), "the release")
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    status = life.node.ended()
    assert status in (0, -signal.SIGKILL), lab.read(life.node.path("log"))
    point.killed = status != 0
