"""§head to §status, and the two messages of §bus."""

from . import encoding as e
from . import merkle, sealing, ssh
from .encoding import Structure
from .refused import (
    BLOB_BYTES_MAX, CODES, ENVELOPE_BYTES_MAX, PATH_HASHES_MAX, PROVEN_BYTES_MAX, PUBLISHED_BYTES_MAX, ROSTER_BYTES_MAX,
    SECRETS_MAX, SIGNATURES_MAX, STATUS_BYTES_MAX, STATUS_LOG_BYTES_MAX, TAGS_MAX, TICKETS_MAX, TREE_FILES_MAX,
    TREE_NAME_BYTES_MAX, TREE_PATH_BYTES_MAX, Refused, require,
)  # fmt: skip
from .ssh import sha256

LOWER = "abcdefghijklmnopqrstuvwxyz0123456789-"
SECRET = LOWER + "ABCDEFGHIJKLMNOPQRSTUVWXYZ._"
ZEROS = bytes(32)
TOPIC = b"BNT1"


class Head(Structure):
    NAME = "bento-head"
    FIELDS = dict(
        fleet=e.binary(32), epoch=e.integer(1, e.U64_MAX), release=e.integer(1, e.U64_MAX), expires=e.u64,
        fallback_floor=e.u64, tickets=e.integer(1, TICKETS_MAX), root=e.binary(32), roster=e.binary(32), nonce=e.binary(16),
    )  # fmt: skip

    def check(self):
        require(self.expires > self.release, "FORMAT", "expires")
        require(self.fallback_floor <= self.release, "FORMAT", "fallback_floor")


class Envelope(Structure):
    NAME = "bento-release"
    FIELDS = dict(
        head=e.binary(0, ENVELOPE_BYTES_MAX), signatures=e.array(e.binary(0, ENVELOPE_BYTES_MAX), 1, SIGNATURES_MAX)
    )
    BYTES_MAX = ENVELOPE_BYTES_MAX

    @property
    def head_hash(self):
        return sha256(self.head)

    def authenticate(self, signers, fleet):
        """§checks, steps 2 to 4, for whoever receives a release."""
        signers.check(self.signatures, self.head)
        head = Head.decode(self.head)
        require(head.fleet == fleet, "FLEET")
        return head


class Ticket(Structure):
    NAME = "bento-ticket"
    FIELDS = dict(node_id=e.binary(32), ct_hash=e.binary(32), ct_len=e.u64, sealed=e.binary(80))

    @property
    def empty(self):
        return self.ct_len == 0

    def check(self):
        if self.empty:
            require(self.ct_hash == ZEROS and self.sealed == bytes(80), "FORMAT", "an empty ticket with something in it")
        else:
            require(self.ct_len >= 17, "FORMAT", "ct_len")

    @classmethod
    def nothing_for(cls, node_id):
        return cls(node_id=node_id, ct_hash=ZEROS, ct_len=0, sealed=bytes(80))


class Proven(Structure):
    NAME = "bento-proven"
    FIELDS = dict(ticket=e.binary(0, PROVEN_BYTES_MAX), index=e.u64, path=e.array(e.binary(32), 0, PATH_HASHES_MAX))
    BYTES_MAX = PROVEN_BYTES_MAX

    def open(self, head, node_id):
        ticket = Ticket.decode(self.ticket)
        require(ticket.node_id == node_id, "NOTMINE")
        leaf = merkle.leaf(self.ticket)
        require(merkle.verifies(self.index, head.tickets, leaf, self.path, head.root), "PATH")
        require(ticket.ct_len <= BLOB_BYTES_MAX, "LENGTH", "ct_len")
        return ticket


class Archive(Structure):
    """A plaintext: every fault of it is ARCHIVE."""

    @classmethod
    def decode(cls, data):
        try:
            require(len(data) <= BLOB_BYTES_MAX - 16, "ARCHIVE", "length")
            return super().decode(data)
        except Refused as error:
            raise Refused("ARCHIVE", str(error)) from None


word = e.text(1, 1024)
words = e.array(word, 1, 16)


def command(value):
    """First word of 1..1024 bytes, the others of 0..1024."""
    value = e.array(e.text(0, 1024), 1, 32)(value)
    word(value[0])
    return value


META = dict(
    action=e.one_of("boot", "dry"), attribute=word, confirm=e.integer(1, 2**32 - 1), expected=e.text(1, 300),
    health=e.array(command, 1, 16), host=word, kind=e.one_of("classic"), last_resort=e.one_of("reboot"),
    nixpkgs=e.row(word, word), public_keys=words, reboot=word, retry=e.binary(16), self_update=e.one_of(True),
    substitute_only=e.one_of(True), substituters=words, system=word, unit_failures=e.one_of("ignore", "rollback"),
)  # fmt: skip


class Bundle(Archive):
    NAME = "bento-bundle"
    FIELDS = dict(
        meta=e.mapping(META),
        secrets=e.array(
            e.row(e.text(1, 64, SECRET), e.text(0, 64), e.text(0, 64), e.integer(0, 0o777), e.binary(0, BLOB_BYTES_MAX)),
            0, SECRETS_MAX,
        ),
        tree=e.nil_or(e.row(e.binary(32), e.integer(17, BLOB_BYTES_MAX), e.binary(32))),
    )  # fmt: skip

    def check(self):
        names = [secret[0] for secret in self.secrets]
        require(e.ascending([name.encode() for name in names]), "FORMAT", "order of the secrets")
        require("." not in names and ".." not in names, "FORMAT", "name of a secret")

    def digest(self, tree_plaintext):
        return digest(self, None if self.tree is None else sha256(tree_plaintext))


def digest(bundle, tree_plain_hash):
    """§digest: the configuration, whatever key its files are under."""
    return sha256(e.pack([bundle.meta, bundle.secrets, tree_plain_hash]))


class Tree(Archive):
    NAME = "bento-tree"
    FIELDS = dict(
        files=e.array(e.row(e.text(1, TREE_PATH_BYTES_MAX), e.boolean, e.binary(0, BLOB_BYTES_MAX)), 0, TREE_FILES_MAX)
    )

    def check(self):
        paths = [file[0] for file in self.files]
        require(e.ascending([path.encode() for path in paths]), "FORMAT", "order of the paths")
        taken = set(paths)
        for path in paths:
            parts = path.split("/")
            for part in parts:
                require(part not in ("", ".", "..") and len(part.encode()) <= TREE_NAME_BYTES_MAX, "FORMAT", path)
            folders = {"/".join(parts[:i]) for i in range(1, len(parts))}
            require(not folders & taken, "FORMAT", f"{path}: a file is its folder")


class Roster(Structure):
    NAME = "bento-roster"
    NODE = e.row(
        e.binary(32), e.text(1, 63, LOWER), e.array(e.text(1, 63, LOWER), 0, TAGS_MAX), e.nil_or(e.text(1, 300)),
        e.text(0, 512), e.nil_or(e.binary(32)),
    )  # fmt: skip
    FIELDS = dict(nodes=e.array(NODE, 0, TICKETS_MAX))
    BYTES_MAX = ROSTER_BYTES_MAX

    def check(self):
        require(e.ascending([node[0] for node in self.nodes]), "FORMAT", "order of the nodes")
        names = [node[1] for node in self.nodes]
        require(len(set(names)) == len(names), "FORMAT", "a name twice")
        for node in self.nodes:
            require(e.ascending([tag.encode() for tag in node[2]]), "FORMAT", "order of the tags")

    @property
    def ids(self):
        return [node[0] for node in self.nodes]


LIVE = "fetching building checking trying confirming committing reverting".split()
STATES = ["new", *LIVE, *"up-to-date reboot-pending dry failed rolled-back inconclusive stays refused".split()]
TIMINGS = {phase: e.integer(1, e.U64_MAX) for phase in ("commit", "confirm", "fetch", "obtain", "switch")}


class Status(Structure):
    NAME = "bento-status"
    FIELDS = dict(
        fleet=e.binary(32), node_id=e.binary(32), seq=e.u64, time=e.u64, nonce=e.binary(16), head_hash=e.binary(32),
        epoch=e.u64, release=e.u64, digest=e.binary(32), applied=e.binary(32), attempt=e.u32, state=e.one_of(*STATES),
        code=e.one_of("", *(CODES - {"OK"})), running=e.text(0, 300), booted=e.text(0, 300), profile=e.text(0, 300),
        boot_id=e.binary(16), reboot=e.boolean, auto=e.boolean, speaks=e.u32, timings=e.mapping(TIMINGS),
        log=e.binary(0, STATUS_LOG_BYTES_MAX),
    )  # fmt: skip


class Signed(Structure):
    NAME = "bento-signed"
    FIELDS = dict(body=e.binary(0, STATUS_BYTES_MAX), signature=e.binary(0, STATUS_BYTES_MAX))
    BYTES_MAX = STATUS_BYTES_MAX

    @classmethod
    def make(cls, status, identity, namespace=ssh.STATUS_NAMESPACE):
        body = status.encode()
        return cls(body=body, signature=identity.sign(body, namespace)).encode()

    @classmethod
    def verify(cls, data, fleet, roster_ids=None):
        """§status, all seven checks; without a roster the first six."""
        signed = cls.decode(data)
        key = ssh.verify(signed.signature, signed.body, ssh.STATUS_NAMESPACE)
        require(key.kind == ssh.ED25519, "SIGNER", "a token")
        status = Status.decode(signed.body)
        require(key.node_id == status.node_id, "SIGNER", "another node's key")
        require(status.fleet == fleet, "FLEET")
        require(roster_ids is None or status.node_id in roster_ids, "UNKNOWN")
        return status


class Published(Structure):
    NAME = "bento-published"
    FIELDS = dict(
        envelope=e.binary(0, ENVELOPE_BYTES_MAX), proven=e.array(e.binary(32, PROVEN_BYTES_MAX)),
        blobs=e.array(e.binary(17, PUBLISHED_BYTES_MAX)),
    )  # fmt: skip

    def check(self):
        ids = [Ticket.decode(Proven.decode(proven).ticket).node_id for proven in self.proven]
        require(e.ascending(ids), "FORMAT", "order of the tickets")
        require(e.ascending([sha256(blob) for blob in self.blobs]), "FORMAT", "order of the blobs")


class Tick(Structure):
    NAME = "bento-tick"
    FIELDS = dict(epoch=e.u64, release=e.u64)


class Floor(Structure):
    """§floor"""

    NAME = "bento-floor"
    FIELDS = dict(epoch=e.u64, release=e.u64, head_hash=e.nil_or(e.binary(32)))

    disputed = False  # two copies with the same number and different hashes

    @property
    def pair(self):
        return (self.epoch, self.release)

    def against(self, head, head_hash):
        if self.pair != (0, 0):
            require(self.epoch <= head.epoch <= self.epoch + 1, "EPOCH")
        pair = (head.epoch, head.release)
        require(pair >= self.pair, "ROLLBACK")
        if pair == self.pair:
            require(not self.disputed, "EQUIVOCATION", "of our own copies")
            require(self.head_hash in (None, head_hash), "EQUIVOCATION")

    @classmethod
    def merged(cls, floors):
        highest = max(floor.pair for floor in floors)
        hashes = {floor.head_hash: None for floor in floors if floor.pair == highest and floor.head_hash is not None}
        merged = cls(epoch=highest[0], release=highest[1], head_hash=next(iter(hashes), None))
        merged.disputed = len(hashes) > 1
        return merged


def bus_message(data):
    """A PUB message with its topic: Published or Tick."""
    require(len(data) <= PUBLISHED_BYTES_MAX, "LENGTH", "PUB message")
    require(data[:4] == TOPIC, "FORMAT", "topic")
    try:
        return Tick.decode(data[4:])
    except Refused:
        pass
    try:
        return Published.decode(data[4:])
    except Refused as error:
        raise Refused("FORMAT", str(error)) from None


def check_release(envelope, roster, tickets, signers, fleet):
    """§release: what broker and admins check. Gives head, roster and tickets."""
    head = Envelope.decode(envelope).authenticate(signers, fleet)
    require(len(roster) <= ROSTER_BYTES_MAX, "LENGTH", "roster")
    require(sha256(roster) == head.roster, "HASH", "roster")
    roster = Roster.decode(roster)
    require(head.tickets == len(tickets) == len(roster.nodes), "LENGTH", "number of tickets")
    decoded = []
    for node_id, ticket in zip(roster.ids, tickets):
        decoded.append(Ticket.decode(ticket))
        require(decoded[-1].node_id == node_id, "NOTMINE")
    require(merkle.root([merkle.leaf(ticket) for ticket in tickets]) == head.root, "PATH")
    require(all(ticket.ct_len <= BLOB_BYTES_MAX for ticket in decoded), "LENGTH", "ct_len")
    return head, roster, decoded


def needed_blobs(roster, tickets):
    hashes = {ticket.ct_hash for ticket in tickets if not ticket.empty}
    return hashes | {node[5] for node in roster.nodes if node[5] is not None}


class Node:
    """What a node checks of a release (§checks)."""

    def __init__(self, identity, signers, fleet, floor=None):
        self.identity, self.signers, self.fleet = identity, signers, fleet
        self.floor = floor or Floor(epoch=0, release=0, head_hash=None)

    def follow(self, envelope, now):
        """Steps 1 to 7: the head, and the floor is raised."""
        envelope = Envelope.decode(envelope)
        head = envelope.authenticate(self.signers, self.fleet)
        self.floor.against(head, envelope.head_hash)
        self.floor = Floor(epoch=head.epoch, release=head.release, head_hash=envelope.head_hash)
        require(max(now, head.release) < head.expires, "EXPIRED")
        return head

    def ticket(self, head, proven):
        """Steps 8 and 9."""
        require(proven is not None, "NOTICKET")
        return Proven.decode(proven).open(head, self.identity.node_id)

    def bundle(self, ticket, blob):
        """Step 10."""
        sealing.check_blob(blob, ticket.ct_hash, ticket.ct_len)
        return Bundle.decode(sealing.open_blob(blob, sealing.open_key(ticket.sealed, self.identity)))

    def tree(self, bundle, blob):
        """Step 11: the plaintext, whose hash is part of the digest."""
        ct_hash, ct_len, key = bundle.tree
        sealing.check_blob(blob, ct_hash, ct_len)
        plaintext = sealing.open_blob(blob, key)
        Tree.decode(plaintext)
        return plaintext

    def check(self, envelope, proven, blobs, now):
        """All of it, with the blobs that came, by hash. Gives bundle and digest; (None, None) for an empty ticket."""
        ticket = self.ticket(self.follow(envelope, now), proven)
        if ticket.empty:
            return None, None
        bundle = self.bundle(ticket, blobs[ticket.ct_hash])
        plaintext = self.tree(bundle, blobs[bundle.tree[0]]) if bundle.tree else None
        return bundle, bundle.digest(plaintext)
