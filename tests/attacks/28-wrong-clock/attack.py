"""A node's clock says anything."""
from forge import Case

YEAR = 365 * 86400


def cases(w):
    good = w.release(expires=w.now + 1000)
    yield Case("in-1970", good, now=0)
    yield Case("now", good, now=w.now)
    yield Case("in-2099", good, now=129 * YEAR)
    yield Case("at-the-end-of-time", good, now=2**64 - 1)
    yield Case("in-1970-after-a-newer-release", w.release(w.now - 1), seen=[w.empty(w.now)], now=0)
    # The head's own number is a clock that cannot be turned back.
    yield Case("in-1970-newer-than-it-expires", w.release(w.now, expires=w.now + 1), now=0)
    # A floor in the future is no clock: what is newer than it is judged by its own number.
    yield Case("clock-jumped-back", w.release(w.now + 1, expires=w.now + 1000), seen=[w.empty(w.now)], now=1000)


def test_neither_floor_nor_clock_moves_the_other(lab):
    v = lab.verifier()
    w = v.world
    head = w.release(expires=w.now + 1000)
    for now, code in ((2**63, "EXPIRED"), (w.now, "OK"), (0, "OK"), (2**63, "EXPIRED"), (w.now + 999, "OK"),
                      (w.now + 1000, "EXPIRED")):
        assert v.verify(head, now)[1] == code + "\n", (now, code)
        assert v.floor() == (1, w.now, head.head_hash)
    late = w.release(w.now + 500, expires=w.now + 501)
    assert v.verify(late, w.now)[1] == "OK\n"
    assert v.verify(late, w.now + 501)[1] == "EXPIRED\n"
