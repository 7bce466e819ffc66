"""`bento-apply verify`, killed at every system call while it raises the floor: the floor is the old or the new one, and the new
one once OK was said."""
import os
import shutil

import kill
import lab
import machine
from forge import World


def main():
    folder = "/root/verify"
    machine.mount_memory(folder)
    world = World()
    node = lab.Verifier(machine.BIN, os.path.join(folder, "node"), world)
    old, new = world.release(world.now - 10), world.release(world.now)
    assert node.verify(old)[:2] == (0, "OK\n")
    old_floor, new_floor = node.floor(), (new.epoch, new.number, new.head_hash)
    shutil.copytree(node.state, node.path("saved"))

    for point in kill.points():
        shutil.rmtree(node.state)
        shutil.copytree(node.path("saved"), node.state)
        result = kill.run([node.program] + node.words(new), point)
        assert node.floor() in (old_floor, new_floor), node.floor()
        assert "OK" not in result.out or node.floor() == new_floor
        assert node.verify(new)[:2] == (0, "OK\n")
        assert node.floor() == new_floor
        assert node.verify(old)[:2] == (1, "ROLLBACK\n")
        assert machine.leftovers(node.state) == [], machine.leftovers(node.state)


main()
