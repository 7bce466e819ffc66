"""What the vectors are made of: keys, signatures, trees, sealed boxes and structures, written from PROTOCOL.md."""
import base64
import hashlib

from nacl import bindings as sodium

from wire import pack

HEAD_NAMES = "type version fleet epoch release expires fallback_floor tickets root roster nonce".split()
STATUS_NAMES = ("type version fleet node_id seq time nonce head_hash epoch release digest applied attempt state code running "
                "booted profile boot_id reboot auto speaks timings log").split()
STATES = ("new fetching building checking trying confirming committing reverting up-to-date reboot-pending dry failed "
          "rolled-back inconclusive stays refused").split()
CODES = ("LENGTH FORMAT NAMESPACE SIGNER THRESHOLD FLEET EPOCH ROLLBACK EQUIVOCATION EXPIRED NOTICKET NOTMINE PATH HASH SEAL "
         "ARCHIVE EXPECTED LOCKOUT SLOW EVAL BUILD SWITCH UNITS SECRETS HEALTH COMMIT CONNECTIVITY DEADMAN REBOOT ATTEMPTS NONE STALE "
         "SEQ REFUSED UNKNOWN BAD IO CONFIG USAGE TIMEOUT BUSY UNREACHABLE").split()
NOW = 1700000000
L = 2**252 + 27742317777372353535851937790883648493  # order of the main subgroup


# ---- what everything is made of

def sha256(data):
    return hashlib.sha256(data).digest()


def some(what, length=32):
    """Bytes that look random and never change."""
    return hashlib.shake_256(b"bento vectors: " + what.encode()).digest(length)


FLEET = some("fleet")


def string(data):
    data = data.encode() if isinstance(data, str) else data
    return len(data).to_bytes(4, "big") + data


class Key:
    """An ed25519 key in a file, or in a token with an application."""

    def __init__(self, name, application=None):
        self.name, self.application = name, application
        self.seed = some("seed of " + name)
        self.public, self.secret = sodium.crypto_sign_seed_keypair(self.seed)
        self.type = "ssh-ed25519" if application is None else "sk-ssh-ed25519@openssh.com"
        self.blob = string(self.type) + string(self.public) + (b"" if application is None else string(application))
        self.node_id = sha256(self.blob)
        self.line = self.type + " " + base64.b64encode(self.blob).decode()

    def raw_sign(self, message):
        return sodium.crypto_sign(message, self.secret)[:64]

    def sign(self, namespace, message, flags=1, counter=7):
        signed = to_sign(namespace, message)
        if self.application is None:
            inner = string(self.type) + string(self.raw_sign(signed))
        else:
            tail = bytes([flags]) + counter.to_bytes(4, "big")
            inner = string(self.type) + string(self.raw_sign(sha256(
                self.application.encode()) + tail + sha256(signed))) + tail
        return sshsig(self.blob, namespace, inner)


def to_sign(namespace, message):
    return b"SSHSIG" + string(namespace) + string("") + string("sha512") + string(hashlib.sha512(message).digest())


def sshsig(key, namespace, inner, version=1, reserved="", digest="sha512", magic=b"SSHSIG"):
    return magic + version.to_bytes(4, "big") + string(key) + string(namespace) + string(reserved) + string(
        digest) + string(inner)


ADMIN, SECOND, STRANGER = Key("admin"), Key("second admin"), Key("stranger")
TOKEN = Key("token", "ssh:")
ROUTER, LAPTOP, PHONE = sorted((Key("router"), Key("laptop"), Key("phone")), key=lambda k: k.node_id)
RELEASE, STATUS = "bento-release-v1", "bento-status-v1"


def leaf(ticket):
    return sha256(b"\0" + ticket)


def inner(left, right):
    return sha256(b"\1" + left + right)


def split(count):
    k = 1
    while 2 * k < count:
        k *= 2
    return k


def root_of(leaves):
    if len(leaves) == 1:
        return leaves[0]
    k = split(len(leaves))
    return inner(root_of(leaves[:k]), root_of(leaves[k:]))


def path_of(leaves, index):
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if index < k:
        return path_of(leaves[:k], index) + [root_of(leaves[k:])]
    return path_of(leaves[k:], index - k) + [root_of(leaves[:k])]


def blob_of(plain, key):
    return sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(plain, None, bytes(24), key)


def seal(key, to, what):
    """crypto_box_seal with an ephemeral key of our choice, so that it is the same at every run."""
    esk = some("ephemeral key: " + what)
    epk = sodium.crypto_scalarmult_base(esk)
    public = sodium.crypto_sign_ed25519_pk_to_curve25519(to.public)
    nonce = hashlib.blake2b(epk + public, digest_size=24).digest()
    return epk + sodium.crypto_box(key, nonce, public, esk)


# ---- structures

def head(**change):
    values = dict(fleet=FLEET, epoch=2, release=NOW, expires=NOW + 90 * 86400, fallback_floor=NOW - 5, tickets=3,
                  root=some("root"), roster=some("roster"), nonce=some("nonce", 16))
    values.update(change)
    return ["bento-head", 1] + [values[name] for name in HEAD_NAMES[2:]]


def envelope(head_bytes, signatures):
    return ["bento-release", 1, head_bytes, signatures]


def ticket(key, **change):
    values = dict(node_id=key.node_id, ct_hash=some("bundle"), ct_len=4096, sealed=some("sealed", 80))
    values.update(change)
    return ["bento-ticket", 1] + [values[name] for name in ("node_id", "ct_hash", "ct_len", "sealed")]


def empty_ticket(key):
    return ticket(key, ct_hash=bytes(32), ct_len=0, sealed=bytes(80))


def proven(ticket_bytes, index, path):
    return ["bento-proven", 1, ticket_bytes, index, path]


def bundle(meta=None, secrets=None, tree=None):
    return ["bento-bundle", 1, {} if meta is None else meta, secrets or [], tree]


def tree(files):
    return ["bento-tree", 1, files]


def roster(nodes):
    return ["bento-roster", 1, nodes]


def status(**change):
    values = dict(fleet=FLEET, node_id=ROUTER.node_id, seq=NOW * 10**9 + 5, time=NOW, nonce=some("status nonce", 16),
                  head_hash=some("head hash"), epoch=2, release=NOW - 1, digest=some("digest"), applied=some("applied"),
                  attempt=3, state="rolled-back", code="CONNECTIVITY", running="/nix/store/running",
                  booted="/nix/store/booted", profile="", boot_id=some("boot", 16), reboot=True, auto=False, speaks=1,
                  timings={"confirm": 180005, "fetch": 12, "switch": 4000}, log=b"log\n\0\xff")
    values.update(change)
    return ["bento-status", 1] + [values[name] for name in STATUS_NAMES[2:]]


def minimal_status():
    return status(seq=1, time=0, nonce=bytes(16), head_hash=bytes(32), epoch=0, release=0, digest=bytes(32),
                  applied=bytes(32), attempt=0, state="new", code="", running="", booted="", boot_id=bytes(16),
                  reboot=False, timings={}, log=b"")


def signed(body, signature):
    return ["bento-signed", 1, body, signature]
