"""A newer envelope beside an older ticket. A hostile broker can make a node see that, an honest one never."""
import random

from forge import Case


def cases(w):
    old, new = w.empty(w.now - 1), w.empty(w.now)
    yield Case("newer-envelope-older-ticket", new.but(proven=old.proven))
    yield Case("older-envelope-newer-ticket", old.but(proven=new.proven))
    yield Case("neither-is-confused-by-the-other", new, seen=[old])


def test_interleavings_of_releases_and_looks(lab):
    """1000 releases, each complete by rename, come in seeded disorder while bento-apply looks whenever it likes: none is taken
    for another, the floor only grows, and the newest is what stays."""
    d = lab.daemon()
    seeded = random.Random(32)
    d.start()
    number, floor = d.world.now, (0, 0)
    for _ in range(125):
        batch = [d.world.empty(number + i) for i in range(8)]
        seeded.shuffle(batch)
        names = []
        for release in batch:
            names.append(d.deliver(release))
            if seeded.random() < 0.3:
                now = d.floors()[0][:2]
                assert now >= floor, (now, floor)
                floor = now
        number += 8
        newest = max(batch, key=lambda r: r.number)
        lab.wait_until(lambda: d.floors()[0] == (1, newest.number, newest.head_hash), "the newest to be the floor")
    last = d.world.empty(number)
    d.deliver_and_wait(last)
    for name in names:
        lab.wait_until(lambda: not d.is_waiting(name), "the spool to be empty")
    d.stop()
    log = lab.read(d.path("log"))
    codes = {d.status(n)["code"] for n in d.status_files()}
    assert codes <= {"", "ROLLBACK"}, codes  # an older one that came late is refused as what it is
    assert b"code=PATH" not in log and b"code=FORMAT" not in log and b"code=NOTICKET" not in log
    assert d.status(d.status_files()[-1])["head_hash"] == last.head_hash
    d.assert_nothing_ran()
