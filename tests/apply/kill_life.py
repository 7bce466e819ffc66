"""bento-apply alone is killed, at a system call anywhere on the way of a release, and started again: its jobs go on without it,
the new system is switched to once, confirmed and committed."""
import kill
import machine
from life import Life, secret_of, until_killed_or_applied

# Not BENTO_LONG: before every sixth record in the journal, and before some of the syncs in between.
NAMES = None if kill.LONG else ["pwrite64", "fsync"]
STEP = 6


def main():
    life = Life(machine.Machine())
    m, new = life.machine, life.releases[1]
    m.save()
    for point in kill.points(NAMES, step=STEP):
        m.restore()
        life.acked, life.said = {}, []
        until_killed_or_applied(life, point)
        if point.killed:
            life.node.start()
            life.until(lambda: life.said and life.applied(life.new) and life.node.is_idle(), "the release to be applied after all")
            life.node.stop()
        assert m.ends() == (life.new,) * 3
        assert m.switched(life.new, "test") == 1
        assert m.secrets() == {"db": secret_of(life.new)}
        assert {s["attempt"] for s in life.said if s["state"] == "trying"} <= {1}
        assert set(life.node.floors()) == {(new.epoch, new.number, new.head_hash)}
        assert machine.leftovers(life.node.state) == []
        m.end_processes()


main()
