"""An old release, genuine in every byte, is played again."""
from forge import Case


def cases(w):
    old, new = w.release(w.now - 1), w.empty(w.now)
    yield Case("the-old-one-again", old, seen=[new])
    yield Case("one-never-seen-but-older", w.release(w.now - 2), seen=[w.empty(w.now - 3), new])
    yield Case("number-one", w.release(1, expires=w.now + 1000), seen=[new])
    yield Case("the-new-one-again", new, seen=[new])
    yield Case("a-newer-one", w.release(w.now + 1), seen=[new])
