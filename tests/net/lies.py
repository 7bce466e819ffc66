"""What a hostile broker may say. A lie is one way to be wrong; it lasts until the next one begins or the broker is honest again.

heads     OldHead, ForgedHead, SpoiltSignature, OtherNamespace, OtherFleet, SecondHead (two signed heads, one number), HeadRubbish
tickets   OthersTicket, OldTicket, BentPath, OthersIndex, NoTicket, TicketRubbish
words     NoneForAll, StaleForEver, StaleWithForged, AnyWord
blobs     ShortBlob, LongBlob, FlippedBlob, OtherTotal, OtherOffset, OtherBlob, BigChunk, EmptyChunk, TinyChunks
frames    HugeFrame (claims 2^62 bytes), BigFrame, ShortFrame, HugeMessage and BigMessage (the same on PUB)
handshake GarbledGreeting, WrongProtocol, HalfGreeting
replies   OtherQuestion (another request id), BareReply (none), TwoReplies, AnswerFirst (before the question), LastAnswer
time      OneByteASecond, SilentAfterHandshake, SilentReplies, ClosedAtByte
ticks     AbsurdTicks, TickFlood
PUB       ReleaseFlood, PublishedMixed (others' tickets and blobs), PublishedRubbish, SaysNothing
statuses  FalseAcknowledgement, DroppedStatus (acknowledged, not stored), RefusedForNow, RefusedForGood
"""

import itertools
import os
import threading

from bento_wire import framing, operations, ssh, structures
from bento_wire.refused import CHUNK_BYTES_MAX, CODES, PUBLISHED_BYTES_MAX, REQ_RECEIVE_BYTES_MAX
from fleet import ADMIN, LAPTOP, ROUTER, STRANGER, ZEROS

U64_MAX = 2**64 - 1
SECOND = 1
EMPTY, FULL = ("empty",), ("bundle", "tree", "large")  # kinds of releases
NOT_FOR_US = {"LENGTH", "FORMAT", "NAMESPACE", "SIGNER", "FLEET"}  # REFUSED with these is for good
closing_bytes = itertools.count()


def flip(data, at):
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def reply(code, *body):
    return operations.reply(code, *body)


def tick(epoch, release):
    return structures.TOPIC + structures.Tick(epoch=epoch, release=release).encode()


class Lie:
    """Honest in everything; each lie overrides what it lies about. `told` counts the lies that the node was told.

    stalls: it leaves connections that nothing comes over, which a node gives up in its own time only.
    needs_release: the node may have to refuse the newest release for good, so that the next one must make it well.
    about: it needs a release of one of these kinds to lie about, of which the node hears no more than the head.
    """

    stalls = needs_release = False
    about = None

    def __init__(self, broker, random):
        self.broker, self.truth, self.random = broker, broker.truth, random
        self.told, self.ended = 0, threading.Event()

    def begin(self):
        """Makes the node ask: a number that it has not heard of."""
        self.broker.publish(tick(1, self.random.randrange(1, U64_MAX)))

    def greet(self, stream, protocol):
        return framing.Connection(stream, protocol, 1 << 20)

    def tick(self):
        return self.broker.tick()

    def announce(self, made):
        """What is published of a release that the admin issues meanwhile."""
        return made.published(self.about is None and self.random.random() < 0.5)

    def answer(self, question):
        """At one of these operations it lies, with the method of that name."""
        told = getattr(self, question.operation.lower(), None)
        if told is None:
            question.tell(question.truth())
            return
        said = told(question, *question.body)
        self.told += 1
        if said is not None:
            question.tell(said)


# ---- heads


class HeadLie(Lie):
    def envelope(self):
        raise NotImplementedError

    def get_head(self, question):
        return reply("OK", self.envelope())

    def announce(self, made):
        self.told += 1
        return structures.TOPIC + structures.Published(envelope=self.envelope(), proven=[], blobs=[]).encode()


class OldHead(HeadLie):
    def envelope(self):
        return self.random.choice(self.truth.releases).envelope


class ForgedHead(HeadLie):
    def envelope(self):
        number = self.random.choice([self.truth.newest.head.release + 1, 2**63, U64_MAX - 1])
        return self.truth.made([STRANGER], release=number, expires=U64_MAX).envelope


class SpoiltSignature(HeadLie):
    """The newest head itself, under a signature that does not verify: its hash is that of the genuine one."""

    def envelope(self):
        genuine = structures.Envelope.decode(self.truth.newest.envelope)
        (signature,) = genuine.signatures
        return genuine.replace(signatures=[flip(signature, len(signature) - 1)]).encode()


class OtherNamespace(HeadLie):
    def envelope(self):
        return self.truth.made([ADMIN], namespace=b"git").envelope


class OtherFleet(HeadLie):
    def envelope(self):
        return self.truth.made([ADMIN], fleet=os.urandom(32)).envelope


class SecondHead(HeadLie):
    needs_release = True

    def envelope(self):
        return self.truth.second().envelope


class HeadRubbish(HeadLie):
    def envelope(self):
        return self.random.choice([b"", b"\xc1", self.truth.newest.envelope[:-1], self.truth.newest.envelope + b"x"])

    def announce(self, made):
        return self.tick()


# ---- tickets


class TicketLie(Lie):
    about = EMPTY + FULL

    def proven(self):
        raise NotImplementedError

    def get_ticket(self, question, head_hash, node_id):
        return reply("OK", self.proven())


class OthersTicket(TicketLie):
    def proven(self):
        return self.truth.newest.proven(LAPTOP.node_id)


class OldTicket(TicketLie):
    def proven(self):
        return self.random.choice(self.truth.releases).proven(ROUTER.node_id)


class BentPath(TicketLie):
    def proven(self):
        genuine = structures.Proven.decode(self.truth.newest.proven(ROUTER.node_id))
        path = self.random.choice([[], [ZEROS], genuine.path + [ZEROS]])
        return genuine.replace(path=path).encode()


class OthersIndex(TicketLie):
    def proven(self):
        genuine = structures.Proven.decode(self.truth.newest.proven(ROUTER.node_id))
        return genuine.replace(index=self.random.choice([1 - genuine.index, U64_MAX])).encode()


class NoTicket(Lie):
    about = EMPTY + FULL

    def get_ticket(self, question, head_hash, node_id):
        return reply("NONE")


class TicketRubbish(TicketLie):
    def proven(self):
        return self.random.choice([b"", b"\xc1", self.truth.newest.proven(ROUTER.node_id)[:-1], bytes(1024), bytes(1025)])


# ---- words


class NoneForAll(Lie):
    def answer(self, question):
        self.told += 1
        question.tell(reply("NONE"))


class StaleForEver(Lie):
    def answer(self, question):
        self.told += 1
        question.tell(reply("STALE", self.random.choice(self.truth.releases).envelope))


class StaleWithForged(Lie):
    about = EMPTY

    def get_ticket(self, question, head_hash, node_id):
        return reply("STALE", self.truth.made([STRANGER], release=U64_MAX - 1, expires=U64_MAX).envelope)


class AnyWord(Lie):
    def answer(self, question):
        self.told += 1
        bodies = [(), (1,), (b"x",), (U64_MAX, ZEROS), ("FLEET",), (b"",), (0, b"")]
        # What may be for good is RefusedForGood's.
        code, body = self.random.choice(sorted(CODES - {"SEQ", "REFUSED"})), self.random.choice(bodies)
        question.tell(self.random.choice([reply(code, *body), reply("NOSUCHCODE"), b"", b"\xc1", os.urandom(40)]))


# ---- blobs


class BlobLie(Lie):
    about = FULL

    def get_blob(self, question, ct_hash, offset):
        blob = self.truth.blobs.get(ct_hash)
        return reply("NONE") if blob is None else self.part(blob, offset)

    def part(self, blob, offset):
        return reply("OK", len(blob), self.wrong(blob)[offset : offset + 65536])

    def wrong(self, blob):
        raise NotImplementedError


class ShortBlob(BlobLie):
    def part(self, blob, offset):
        return reply("OK", len(blob) - 1, blob[offset:-1][:65536])


class LongBlob(BlobLie):
    def wrong(self, blob):
        return blob + b"x"


class FlippedBlob(BlobLie):
    def wrong(self, blob):
        return flip(blob, self.random.randrange(len(blob)))


class OtherTotal(BlobLie):
    def part(self, blob, offset):
        return reply("OK", self.random.choice([0, len(blob) + 1, 64 << 20, (64 << 20) + 1, U64_MAX]), blob[offset:][:65536])


class OtherOffset(BlobLie):
    def part(self, blob, offset):
        start = self.random.randrange(len(blob))
        return reply("OK", len(blob), blob[start:][:65536])


class OtherBlob(BlobLie):
    def wrong(self, blob):
        return self.random.choice(list(self.truth.blobs.values()))


class BigChunk(BlobLie):
    def part(self, blob, offset):
        size = self.random.choice([len(blob) + 1, CHUNK_BYTES_MAX, CHUNK_BYTES_MAX + 1, REQ_RECEIVE_BYTES_MAX - 64])
        return reply("OK", len(blob), bytes(size))


class EmptyChunk(BlobLie):
    def part(self, blob, offset):
        return reply("OK", len(blob), b"")


class TinyChunks(BlobLie):
    """Nothing wrong with it, but a byte at a time."""

    def part(self, blob, offset):
        return reply("OK", len(blob), blob[offset : offset + 1])


# ---- frames


class FrameLie(Lie):
    def answer(self, question):
        self.told += 1
        question.raw(self.frame())

    def frame(self):
        raise NotImplementedError


class HugeFrame(FrameLie):
    stalls = True

    def frame(self):
        return (1 << 62).to_bytes(8, "big") + bytes(4096)


class BigFrame(FrameLie):
    stalls = True

    def frame(self):
        return framing.frame(bytes(REQ_RECEIVE_BYTES_MAX + 1))


class ShortFrame(FrameLie):
    stalls = True

    def frame(self):
        return framing.frame(bytes(self.random.randrange(4)))


class HugeMessage(Lie):
    def begin(self):
        self.told += 1
        self.broker.publish_raw((1 << 62).to_bytes(8, "big") + bytes(4096))


class BigMessage(Lie):
    def begin(self):
        self.told += 1
        self.broker.publish(structures.TOPIC + bytes(PUBLISHED_BYTES_MAX))


# ---- handshake


class GreetingLie(Lie):
    """Needs new connections."""

    def begin(self):
        self.broker.hang_up()

    def greet(self, stream, protocol):
        self.told += 1
        stream.sendall(self.greeting(protocol))
        if self.random.random() < 0.5:
            wait_for_end(stream)

    def greeting(self, protocol):
        raise NotImplementedError


def wait_for_end(stream):
    while stream.recv(65536):
        pass


class GarbledGreeting(GreetingLie):
    stalls = True

    def greeting(self, protocol):
        return self.random.choice([os.urandom(8), os.urandom(4096), b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0SP\1" + bytes(4)])


class WrongProtocol(GreetingLie):
    stalls = True

    def greeting(self, protocol):
        others = [p for p in framing.COUNTERPART if p != protocol]
        return framing.handshake(self.random.choice(others)) + framing.frame(bytes(20))


class HalfGreeting(GreetingLie):
    stalls = True

    def greeting(self, protocol):
        return framing.handshake(protocol)[: self.random.randrange(8)]


# ---- replies


class OtherQuestion(Lie):
    stalls = True

    def answer(self, question):
        self.told += 1
        other = self.random.choice([flip(question.trace, 3), b"\xff\xff\xff\xff", bytes(4) + question.trace])
        question.tell(question.truth(), trace=other)


class BareReply(Lie):
    stalls = True

    def answer(self, question):
        self.told += 1
        question.tell(question.truth(), trace=self.random.choice([b"", bytes(4), question.trace[:3]]))


class TwoReplies(Lie):
    def answer(self, question):
        self.told += 1
        truth = question.truth()
        question.tell(truth)
        question.tell(self.random.choice([truth, reply("NONE"), os.urandom(64)]))


class AnswerFirst(Lie):
    """What it says before it was asked anything is not the answer."""

    def begin(self):
        self.broker.hang_up()

    def greet(self, stream, protocol):
        connection = super().greet(stream, protocol)
        if protocol == framing.REP:
            self.told += 1
            connection.send(b"\x80\0\0\1" + reply("OK", self.truth.releases[0].envelope))
        return connection


class LastAnswer(Lie):
    """To each question the answer of the one before."""

    last = b"\xc1"

    def answer(self, question):
        self.told += 1
        said, self.last = self.last, question.truth()
        question.tell(said)


# ---- time


class OneByteASecond(Lie):
    stalls = True

    def answer(self, question):
        self.told += 1
        for byte in framing.frame(question.trace + question.truth()):
            question.raw(bytes([byte]))
            if self.ended.wait(SECOND):
                raise ConnectionError("the lie has ended")


class SilentAfterHandshake(Lie):
    stalls = True

    def begin(self):
        self.broker.hang_up()

    def tick(self):
        return None

    def greet(self, stream, protocol):
        self.told += 1
        super().greet(stream, protocol)
        wait_for_end(stream)


class SilentReplies(Lie):
    """Ticks as ever, and no answer."""

    stalls = True

    def answer(self, question):
        self.told += 1
        wait_for_end(question.stream)


class ClosedAtByte(Lie):
    """At each byte of a reply in turn."""

    def answer(self, question):
        self.told += 1
        frame = framing.frame(question.trace + question.truth())
        question.raw(frame[: next(closing_bytes) % (len(frame) + 1)])
        raise ConnectionError("closed by the liar")


# ---- ticks, PUB


class AbsurdTicks(Lie):
    def begin(self):
        for pair in [(0, 0), (U64_MAX, U64_MAX), (1, 0), (0, U64_MAX), (2, 1), (1, U64_MAX)]:
            self.broker.publish(tick(*pair))
            self.told += 1

    def tick(self):
        return tick(self.random.choice([0, 1, 2, U64_MAX]), self.random.randrange(U64_MAX))


class TickFlood(Lie):
    def begin(self):
        self.told += 1
        self.broker.publish_raw(b"".join(framing.frame(tick(1, number)) for number in range(1, 1001)))


class ReleaseFlood(Lie):
    def begin(self):
        self.told += 1
        flood = [made.published() for made in self.truth.releases[-5:]]
        flood += [self.truth.made([STRANGER], release=2**63 + i, expires=U64_MAX).published(False) for i in range(20)]
        self.random.shuffle(flood)
        self.broker.publish_raw(b"".join(framing.frame(message) for message in flood * 3))


class PublishedMixed(Lie):
    """The newest head with tickets and blobs that are not its own, or not whole."""

    def announce(self, made):
        self.told += 1
        other = self.random.choice(self.truth.releases)
        proven = [self.random.choice([made, other]).proven(key.node_id) for key in (ROUTER, LAPTOP)]
        blobs = [flip(b, len(b) // 2) for b in made.blobs.values()] + list(other.blobs.values())
        return structures.TOPIC + structures.Published(
            envelope=made.envelope,
            proven=sorted(proven, key=lambda p: structures.Ticket.decode(structures.Proven.decode(p).ticket).node_id),
            blobs=sorted(set(blobs), key=ssh.sha256),
        ).encode()

    def begin(self):
        self.broker.publish(self.announce(self.truth.newest))


class PublishedRubbish(Lie):
    def begin(self):
        truth = self.truth.newest.published()
        for message in [b"", b"BNT1", b"BNT2" + truth[4:], truth[:-1], truth + b"x", b"BNT1" + os.urandom(500), os.urandom(9)]:
            self.broker.publish(message)
            self.told += 1


class SaysNothing(Lie):
    """It answers, but hides on PUB that there is anything new."""

    def begin(self):
        self.told += 1

    def tick(self):
        return None

    def announce(self, made):
        return None


# ---- statuses


class StatusLie(Lie):
    about = EMPTY

    def put_status(self, question, signed):
        raise NotImplementedError


def seq_of(signed):
    return structures.Status.decode(structures.Signed.decode(signed).body).seq


class FalseAcknowledgement(StatusLie):
    def put_status(self, question, signed):
        seq, sha = seq_of(signed), ssh.sha256(signed)
        return self.random.choice([
            reply("OK", seq, ZEROS), reply("OK", seq, flip(sha, 31)), reply("OK", seq + 1, sha), reply("OK", seq - 1, sha),
            reply("OK", seq), reply("OK"), reply("OK", seq, sha, sha), reply("OK", sha, seq),
        ])  # fmt: skip


class DroppedStatus(StatusLie):
    def put_status(self, question, signed):
        self.broker.collector.excuse(seq_of(signed))
        return reply("OK", seq_of(signed), ssh.sha256(signed))


class RefusedForNow(StatusLie):
    def put_status(self, question, signed):
        words = sorted(CODES - NOT_FOR_US - {"OK"})
        return self.random.choice([
            reply("REFUSED", self.random.choice(words)), reply("REFUSED", "WHATEVER"), reply("REFUSED"), reply("UNKNOWN"),
            reply("SEQ", self.random.randrange(seq_of(signed))), reply("SEQ"), reply("SEQ", "x"), reply("REFUSED", "FLEET", 1),
        ])  # fmt: skip


class RefusedForGood(StatusLie):
    def put_status(self, question, signed):
        seq = seq_of(signed)
        self.broker.collector.excuse(seq)
        return self.random.choice([
            reply("REFUSED", self.random.choice(sorted(NOT_FOR_US))), reply("SEQ", seq), reply("SEQ", U64_MAX),
        ])  # fmt: skip


def leaves(kind):
    below = kind.__subclasses__()
    return [leaf for sub in below for leaf in leaves(sub)] if below else [kind]


LIES = sorted(leaves(Lie), key=lambda kind: kind.__name__)
