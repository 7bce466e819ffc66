"""One of two admins' keys was stolen."""


def broken(signature):
    return signature[:-1] + bytes([signature[-1] ^ 1])


def prepare(w):
    w.signers, w.threshold = [w.admin, w.second], 2


def cases(w):
    yield "both", w.release()
    yield "other-order", w.release(signers=[w.second, w.admin])
    yield "one", w.release(signers=[w.admin])
    yield "the-same-twice", w.release(signers=[w.admin, w.admin])
    yield "one-and-a-stranger", w.release(signers=[w.admin, w.stranger])
    yield "both-and-a-stranger", w.release(signers=[w.stranger, w.admin, w.second])
    yield "strangers", w.release(signers=[w.stranger, w.me])
    yield "five", w.release(signers=[w.admin, w.second, w.stranger, w.me, w.other])
    yield "the-others-is-broken", w.release(signatures=lambda head: [w.admin.sign(head), broken(w.second.sign(head))])
    yield "the-others-is-for-git", w.release(
        signatures=lambda head: [w.admin.sign(head), w.second.sign(head, "git")])
