"""Somebody without an admin's key wants something installed. Every bit flip and truncation: ../flips.c, by the same files."""
import os
import subprocess

import lab as labs
from forge import Key, pack


def cases(w):
    good = w.release()
    yield "genuine", good
    yield "stranger", w.release(signers=[w.stranger])
    yield "node-signs", w.release(signers=[w.me])
    yield "unsigned", w.release(signatures=lambda head: [])
    yield "empty-signature", w.release(signatures=lambda head: [b""])
    yield "signature-of-another-head", w.release(signatures=lambda head: [w.admin.sign(head + b"x")])
    yield "admins-key-strangers-signature", w.release(signatures=lambda head: [
        w.stranger.sign(head).replace(w.stranger.blob, w.admin.blob)])
    yield "genuine-and-broken-signature", w.release(signatures=lambda head: [
        w.admin.sign(head), Key().sign(head + b"x")])
    yield "trailing-byte", good.but(envelope=good.envelope + b"\0")
    yield "no-envelope", good.but(envelope=b"")
    yield "other-blob", good.but(blob=w.release().blob[:len(good.blob)])
    yield "other-tree", good.but(tree=w.release().tree)
    yield "unknown-version", w.release(head=lambda h: [h[0], 2] + h[2:])
    yield "unknown-type", w.release(head=lambda h: ["bento-ticket"] + h[1:])
    yield "envelope-version", good.but(envelope=good.envelope.replace(b"bento-release\1", b"bento-release\2", 1))
    yield "ticket-instead-of-envelope", good.but(envelope=good.proven)
    yield "proven-is-garbage", good.but(proven=pack(["bento-proven", 1, b"", 0, []]))


def test_every_bit_flip_and_truncation(lab):
    v = lab.verifier()
    assert v.verify(v.world.release())[0] == 0
    os.unlink(os.path.join(v.state, "floor"))
    before = v.snapshot()
    r = subprocess.run([os.environ["BENTO_FLIPS"], v.state, str(v.world.now)] +
                       [v.path("files-" + n) for n in ("envelope", "proven", "blob", "tree")],
                       capture_output=True, text=True, timeout=2 * labs.DEADLINE_S)
    assert r.returncode == 0, r.stdout + r.stderr
    sizes = [os.path.getsize(v.path("files-" + n)) for n in ("envelope", "proven", "blob", "tree")]
    assert int(r.stdout) == sum(9 * size + 1 for size in sizes), r.stdout  # so many were tried
    after = v.snapshot()
    assert {p for p in before.keys() | after.keys() if before.get(p) != after.get(p)} <= {"node", "node/floor"}
