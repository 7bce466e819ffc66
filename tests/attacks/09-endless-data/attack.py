"""More bytes than were signed, or than anything may have. Sockets are tested with the network."""
from forge import BLOB_BYTES_MAX, Configuration, pack, ticket


def cases(w):
    good = w.release()
    yield "blob-one-byte-longer", good.but(blob=good.blob + b"\0")
    yield "blob-one-byte-shorter", good.but(blob=good.blob[:-1])
    yield "empty-blob", good.but(blob=b"")
    yield "tree-one-byte-longer", good.but(tree=good.tree + b"\0")
    yield "tree-one-byte-shorter", good.but(tree=good.tree[:-1])
    yield "endless-blob", good.but(blob=bytes(BLOB_BYTES_MAX + 1))
    yield "envelope-over-its-limit", good.but(envelope=good.envelope + bytes(8193 - len(good.envelope)))
    yield "proven-over-its-limit", good.but(proven=good.proven + bytes(1025 - len(good.proven)))
    big = Configuration()
    yield "signed-length-over-the-limit", w.release(configuration=big,
                                                    my_ticket=ticket(w.me, big, ct_len=BLOB_BYTES_MAX + 1))
    yield "signed-length-of-2-to-the-64", w.release(configuration=big,
                                                    my_ticket=ticket(w.me, big, ct_len=2**64 - 1))
    yield "tree-length-of-2-to-the-62", w.release(configuration=Configuration(tree_len=2**62))
    yield "array-of-4-billion", good.but(envelope=b"\xdd\xff\xff\xff\xff")
    yield "head-of-4-gigabytes", good.but(envelope=b"\x94" + pack("bento-release") + b"\1\xc6\xff\xff\xff\xff")
    yield "tree-of-4-billion-files", w.release(configuration=Configuration(
        tree_plain=b"\x93" + pack("bento-tree") + b"\1\xdd\xff\xff\xff\xff"))
    yield "blob-without-content", w.release(configuration=big, my_ticket=ticket(w.me, big, ct_len=16))
