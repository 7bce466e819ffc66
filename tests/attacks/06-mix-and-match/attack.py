"""Parts of several genuine releases, put together."""
import msgpack

from forge import pack, ticket


def change(proven, change_fields):
    fields = msgpack.unpackb(proven)
    change_fields(fields)
    return pack(fields)


def cases(w):
    a, b = w.release(w.now - 1), w.release()

    def sealed_of_another(fields):
        mine, theirs = msgpack.unpackb(fields[2]), msgpack.unpackb(msgpack.unpackb(a.proven)[2])
        mine[5] = theirs[5]
        fields[2] = pack(mine)

    def blob_of_another(fields):
        mine, theirs = msgpack.unpackb(fields[2]), msgpack.unpackb(msgpack.unpackb(a.proven)[2])
        mine[3:5] = theirs[3:5]
        fields[2] = pack(mine)

    yield "ticket-of-another-release", b.but(proven=a.proven, blob=a.blob, blob_name=a.blob_name)
    yield "key-of-another-ticket", b.but(proven=change(b.proven, sealed_of_another))
    yield "blob-of-another-ticket", b.but(proven=change(b.proven, blob_of_another), blob=a.blob, blob_name=a.blob_name)
    yield "other-index", b.but(proven=change(b.proven, lambda f: f.__setitem__(3, (f[3] + 1) % 3)))
    yield "index-beyond-the-end", b.but(proven=change(b.proven, lambda f: f.__setitem__(3, 3)))
    yield "path-cut-short", b.but(proven=change(b.proven, lambda f: f[4].pop()))
    yield "path-too-long", b.but(proven=change(b.proven, lambda f: f[4].append(bytes(32))))
    yield "no-path", b.but(proven=change(b.proven, lambda f: f.__setitem__(4, [])))
    yield "a-ticket-of-ones-own-making", b.but(
        proven=change(b.proven, lambda f: f.__setitem__(2, ticket(w.me))))
    yield "path-of-21", b.but(proven=change(b.proven, lambda f: f.__setitem__(4, [bytes(32)] * 21)))
    yield "fewer-tickets-claimed", w.release(head=lambda h: h[:7] + [1] + h[8:])
    yield "more-tickets-claimed", w.release(head=lambda h: h[:7] + [1000] + h[8:])
