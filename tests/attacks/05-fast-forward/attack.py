"""A stolen key signs the largest number there is, so that nothing can follow. The cure is the next epoch."""
from forge import Case

END = 2**64 - 2  # 2^64-1 cannot be signed: nothing expires later


def cases(w):
    burnt = w.empty(END)
    soon = w.now + 1000
    yield Case("the-largest-number", w.release(2**64 - 1, expires=2**64 - 1))
    yield Case("nothing-follows", w.release(), seen=[burnt])
    yield Case("the-next-epoch-does", w.release(1, epoch=2, expires=soon), seen=[burnt])
    yield Case("two-epochs-ahead", w.release(1, epoch=3, expires=soon), seen=[burnt])
    yield Case("last-epoch-ever", w.release(1, epoch=2**64 - 1, expires=soon), seen=[burnt])
    yield Case("epoch-below", w.release(), seen=[burnt, w.empty(1, epoch=2, expires=soon)])
    yield Case("epoch-zero", w.release(epoch=0))
