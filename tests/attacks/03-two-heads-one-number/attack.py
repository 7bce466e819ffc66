"""A stolen or careless admin key signs two heads of one number; a broker shows one to each half of the fleet."""
from forge import Case


def cases(w):
    first = w.empty(w.now)
    yield Case("second-head", w.release(w.now), seen=[first])
    yield Case("second-head-of-the-same-content", w.empty(w.now), seen=[first])
    yield Case("the-next-number-ends-it", w.release(w.now + 1), seen=[first])


def test_both_lie_in_the_spool_at_once(lab):
    """The one that is looked at first wins; the other is told, not swept away."""
    d = lab.daemon()
    d.start()
    d.stop()  # its folders are there now
    first, second = d.world.empty(d.world.now), d.world.empty(d.world.now)
    d.deliver(first)
    d.deliver(second)
    d.start()
    lab.wait_until(lambda: "EQUIVOCATION" in [d.status(n)["code"] for n in d.status_files()], "EQUIVOCATION")
    d.stop()
    assert d.floors()[0][:2] == (1, d.world.now)
