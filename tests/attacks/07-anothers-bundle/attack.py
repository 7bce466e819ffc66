"""One node's bundle is shown to another."""
from forge import Configuration, ticket


def cases(w):
    good = w.release()
    yield "ticket-of-another-node", good.but(proven=good.provens[w.other.id])
    mine = Configuration()
    sealed = ticket(w.me, mine, sealed_to=w.other)
    yield "signed-but-sealed-to-another", w.release(configuration=mine, my_ticket=sealed)
    other = Configuration()
    wrong = Configuration()
    wrong.blob = other.blob  # its key opens something else
    yield "sealed-key-of-another-blob", w.release(configuration=wrong)
