"""What the same admin has signed for somebody or something else."""
import os


def cases(w):
    yield "other-fleet", w.release(fleet=os.urandom(32))
    yield "git-commit", w.release(namespace="git")
    yield "status", w.release(namespace="bento-status-v1")
    yield "file", w.release(namespace="file")
    yield "no-namespace", w.release(namespace="")
    yield "longer-namespace", w.release(namespace="bento-release-v10")
