"""§merkle."""

from .refused import TICKETS_MAX, require
from .ssh import sha256


def leaf(ticket):
    return sha256(b"\0" + ticket)


def inner(left, right):
    return sha256(b"\1" + left + right)


def split(count):
    """The largest power of two below count."""
    return 1 << (count - 1).bit_length() - 1


def root(leaves):
    require(1 <= len(leaves) <= TICKETS_MAX, "LENGTH", "number of leaves")
    if len(leaves) == 1:
        return leaves[0]
    k = split(len(leaves))
    return inner(root(leaves[:k]), root(leaves[k:]))


def path(leaves, index):
    """The hashes beside the way from the leaf up."""
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if index < k:
        return path(leaves[:k], index) + [root(leaves[k:])]
    return path(leaves[k:], index - k) + [root(leaves[:k])]


def verifies(index, size, hash_of_leaf, hashes, expected):
    if index >= size:
        return False
    fn, sn, r = index, size - 1, hash_of_leaf
    for p in hashes:
        if sn == 0:
            return False
        if fn % 2 == 1 or fn == sn:
            r = inner(p, r)
            while fn % 2 == 0 and fn != 0:
                fn, sn = fn >> 1, sn >> 1
        else:
            r = inner(r, p)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and r == expected
