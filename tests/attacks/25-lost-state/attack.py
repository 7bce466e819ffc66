"""/var/lib/bento is gone, and somebody plays an old release, genuine in every byte."""
import os
import shutil
import subprocess

import lab as labs
from forge import Case


def cases(w):
    # A folder for `bento-apply verify` has one floor only; without it everything is new.
    yield Case("without-any-floor", w.release(w.now - 1))


def refuses(lab, d, release, code):
    before = d.status_files()
    d.deliver_and_wait(release)
    lab.wait_until(lambda: len(d.status_files()) > len(before), "a status")
    status = d.status(d.status_files()[-1])
    assert (status["state"], status["code"]) == ("refused", code), status


def test_second_copy_remembers(lab):
    d = lab.daemon()
    now = d.world.now
    d.start()
    d.deliver_and_wait(d.world.empty(now))
    d.stop()
    floors = d.floors()
    shutil.rmtree(d.state)
    d.start()
    refuses(lab, d, d.world.release(now - 1), "ROLLBACK")
    refuses(lab, d, d.world.empty(now), "EQUIVOCATION")
    assert d.floors() == floors  # the lost copy is there again
    d.stop()
    shutil.rmtree(os.path.dirname(d.floor_copy))  # now the other one
    d.start()
    refuses(lab, d, d.world.release(now - 2), "ROLLBACK")
    assert d.floors() == floors
    d.stop()
    d.assert_nothing_ran()


def test_configured_minimum_remembers(lab):
    d = lab.daemon()
    now = d.world.now
    d.write_config(epoch=2, minimum_release=now)
    d.start()
    refuses(lab, d, d.world.release(now + 1), "EPOCH")
    refuses(lab, d, d.world.release(now - 1, epoch=2), "ROLLBACK")
    assert d.floors() == [(0, 0, None)] * 2  # a minimum is no head that was seen
    d.deliver_and_wait(d.world.empty(now, epoch=2))  # it fixes no hash
    assert d.floors()[0][:2] == (2, now)
    d.stop()
    d.assert_nothing_ran()


def test_copies_that_contradict_refuse_both(lab):
    d = lab.daemon()
    now = d.world.now
    first, second = d.world.empty(now), d.world.empty(now)
    d.start()
    d.deliver_and_wait(first)
    d.stop()
    one = lab.read(d.floor_copy)
    lab.write(d.floor_copy, one.replace(first.head_hash, second.head_hash))
    for attempt in range(2):  # also at the next start: it is not forgotten
        d.start()
        refuses(lab, d, second, "EQUIVOCATION")
        refuses(lab, d, first, "EQUIVOCATION")
        d.stop()
    d.start()
    d.deliver_and_wait(d.world.empty(now + 1))
    assert [f[:2] for f in d.floors()] == [(1, now + 1)] * 2
    d.stop()


def test_damaged_copy_stops_it(lab):
    """Not readable is not the same as not there: it does not start with a lower floor."""
    d = lab.daemon()
    d.start()
    d.deliver_and_wait(d.world.empty(d.world.now))
    d.stop()
    path = os.path.join(d.state, "apply/floor")
    lab.write(path, lab.read(path)[:-1])
    r = subprocess.run(d.command("--no-systemd"), capture_output=True, text=True, timeout=labs.DEADLINE_S)
    assert r.returncode == 1 and "floor" in r.stderr and r.stderr.count("\n") == 1, r
