"""The broker goes on serving an old head. That bento-status tells the admin is a test of bento-status."""
from forge import Case


def cases(w):
    old = w.now - 1000
    yield Case("long-expired", w.release(old, expires=w.now - 10))
    yield Case("at-the-very-second", w.release(old, expires=w.now), now=w.now)
    yield Case("a-second-before", w.release(old, expires=w.now + 1), now=w.now)
    yield Case("expires-before-it-was-made", w.release(w.now, expires=w.now))
    yield Case("expired-and-older", w.release(old, expires=w.now - 10), seen=[w.empty(old + 1)])
