"""§keys and §signatures: OpenSSH's formats."""

import base64
import binascii
import hashlib
import struct

from nacl import bindings
from nacl.exceptions import BadSignatureError

from .encoding import check_text
from .refused import SIGNERS_MAX, Refused, require

ED25519 = b"ssh-ed25519"
TOKEN = b"sk-ssh-ed25519@openssh.com"
RELEASE_NAMESPACE = b"bento-release-v1"
STATUS_NAMESPACE = b"bento-status-v1"
TOUCHED, PIN_GIVEN = 1, 4


def sha256(data):
    return hashlib.sha256(data).digest()


def string(data):
    return struct.pack(">I", len(data)) + data


class Reader:
    """Reads RFC 4251 values off a blob; `code` is what a fault is called."""

    def __init__(self, data, code="FORMAT"):
        self.data, self.at, self.code = data, 0, code

    def take(self, count):
        require(count <= len(self.data) - self.at, self.code, "ends too early")
        self.at += count
        return self.data[self.at - count : self.at]

    def expect(self, data):
        require(self.take(len(data)) == data, self.code, f"expected {data!r}")

    def u8(self):
        return self.take(1)[0]

    def u32(self):
        return struct.unpack(">I", self.take(4))[0]

    def string(self):
        return self.take(self.u32())

    def end(self):
        require(self.at == len(self.data), self.code, "bytes behind the end")


class PublicKey:
    def __init__(self, kind, pk, application=b""):
        self.kind, self.pk, self.application = kind, pk, application

    def __eq__(self, other):
        return (self.kind, self.pk, self.application) == (other.kind, other.pk, other.application)

    def __hash__(self):
        return hash((self.kind, self.pk, self.application))

    @property
    def blob(self):
        tail = string(self.application) if self.kind == TOKEN else b""
        return string(self.kind) + string(self.pk) + tail

    @property
    def node_id(self):
        return sha256(self.blob)

    def line(self, comment=""):
        words = [self.kind.decode(), base64.b64encode(self.blob).decode()] + ([comment] if comment else [])
        return " ".join(words)

    @classmethod
    def decode(cls, blob):
        reader = Reader(blob)
        kind = reader.string()
        require(kind in (ED25519, TOKEN), "FORMAT", "type of the key")
        pk = reader.string()
        require(len(pk) == 32, "FORMAT", "length of pk")
        application = reader.string() if kind == TOKEN else b""
        check_application(application)
        reader.end()
        return cls(kind, pk, application)

    @classmethod
    def from_line(cls, line):
        """Everything wrong with a line is an error in somebody's configuration."""
        try:
            return cls._from_line(line)
        except (Refused, UnicodeDecodeError, binascii.Error) as error:
            raise Refused("CONFIG", str(error)) from None

    @classmethod
    def _from_line(cls, line):
        line = line.decode() if isinstance(line, bytes) else line
        line = line[:-1] if line.endswith("\n") else line
        check_text(line)
        words = line.split(" ", 2)
        require(len(words) >= 2, "CONFIG", "no key")
        blob = base64.b64decode(words[1], validate=True)
        require(base64.b64encode(blob).decode() == words[1], "CONFIG", "base64 is not canonical")
        key = cls.decode(blob)
        require(words[0].encode() == key.kind, "CONFIG", "type of the line")
        return key


def check_application(application):
    require(len(application) <= 63, "FORMAT", "application is too long")
    try:
        check_text(application.decode())
    except UnicodeDecodeError:
        raise Refused("FORMAT", "application is not UTF-8") from None


class PrivateKey:
    """A node's identity, or an admin's key that lies in a file. The same seed can play a token."""

    def __init__(self, seed, application=None):
        self.seed = seed
        pk, self.secret = bindings.crypto_sign_seed_keypair(seed)
        kind = ED25519 if application is None else TOKEN
        self.public = PublicKey(kind, pk, application or b"")

    @property
    def node_id(self):
        return self.public.node_id

    def ed25519(self, message):
        return bindings.crypto_sign(message, self.secret)[:64]

    def sign(self, message, namespace, flags=TOUCHED, counter=1):
        covered = to_sign(message, namespace)
        if self.public.kind == ED25519:
            signature = string(ED25519) + string(self.ed25519(covered))
        else:
            tail = struct.pack(">BI", flags, counter)
            seen = sha256(self.public.application) + tail + sha256(covered)
            signature = string(TOKEN) + string(self.ed25519(seen)) + tail
        return sshsig(self.public, namespace, signature)

    def file(self, comment="identity"):
        """openssh-key-v1, as §keys wants it of a node."""
        secret = struct.pack(">II", 7, 7) + string(ED25519) + string(self.public.pk)
        secret += string(self.seed + self.public.pk) + string(comment.encode())
        secret += bytes(range(1, 1 + -len(secret) % 8))
        whole = b"openssh-key-v1\0" + string(b"none") * 2 + string(b"") + struct.pack(">I", 1)
        whole += string(self.public.blob) + string(secret)
        return armor(whole, "OPENSSH PRIVATE KEY")

    @classmethod
    def from_file(cls, data):
        try:
            return cls._from_file(data)
        except (Refused, UnicodeDecodeError, binascii.Error) as error:
            raise Refused("CONFIG", str(error)) from None

    @classmethod
    def _from_file(cls, data):
        reader = Reader(unarmor(data, "OPENSSH PRIVATE KEY"))
        reader.expect(b"openssh-key-v1\0" + string(b"none") * 2 + string(b"") + struct.pack(">I", 1))
        public = PublicKey.decode(reader.string())
        secret = Reader(reader.string())
        reader.end()
        require(len(secret.data) % 8 == 0, "FORMAT", "padding")
        require(secret.u32() == secret.u32(), "FORMAT", "check numbers")
        secret.expect(string(ED25519))
        pk, pair = secret.string(), secret.string()
        secret.string()  # comment
        padding = secret.take(len(secret.data) - secret.at)
        require(len(padding) < 8 and padding == bytes(range(1, 1 + len(padding))), "FORMAT", "padding")
        require(len(pair) == 64, "FORMAT", "length of the pair")
        key = cls(pair[:32])
        require(key.public == public and key.public.pk == pk == pair[32:], "FORMAT", "copies of pk differ")
        return key


def armor(data, title):
    encoded = base64.b64encode(data).decode()
    lines = [encoded[i : i + 70] for i in range(0, len(encoded), 70)]
    return "\n".join([f"-----BEGIN {title}-----", *lines, f"-----END {title}-----", ""]).encode()


def unarmor(data, title):
    lines = data.decode().split("\n")
    if lines[-1] == "":
        lines.pop()
    frame = [f"-----BEGIN {title}-----", f"-----END {title}-----"]
    require(len(lines) > 2 and [lines[0], lines[-1]] == frame, "FORMAT", "armor")
    encoded = "".join(lines[1:-1])
    decoded = base64.b64decode(encoded, validate=True)
    require(base64.b64encode(decoded).decode() == encoded, "FORMAT", "base64 is not canonical")
    return decoded


def unarmor_signature(text):
    """What ssh-keygen -Y sign prints, exactly."""
    try:
        blob = unarmor(text, "SSH SIGNATURE")
    except (UnicodeDecodeError, binascii.Error) as error:
        raise Refused("FORMAT", str(error)) from None
    require(armor(blob, "SSH SIGNATURE") == text, "FORMAT", "lines of the armor")
    return blob


def to_sign(message, namespace):
    return b"SSHSIG" + string(namespace) + string(b"") + string(b"sha512") + string(hashlib.sha512(message).digest())


def sshsig(public, namespace, signature, version=1, reserved=b"", digest=b"sha512"):
    parts = (public.blob, namespace, reserved, digest, signature)
    return b"SSHSIG" + struct.pack(">I", version) + b"".join(string(part) for part in parts)


class Signature:
    """An SSHSIG blob, taken apart (§signatures, check 1)."""

    def __init__(self, blob):
        reader = Reader(blob)
        reader.expect(b"SSHSIG" + struct.pack(">I", 1))
        self.public = PublicKey.decode(reader.string())
        self.namespace = reader.string()
        reader.expect(string(b"") + string(b"sha512"))
        inner = Reader(reader.string())
        reader.end()
        inner.expect(string(self.public.kind))
        self.sig = inner.string()
        require(len(self.sig) == 64, "FORMAT", "length of sig")
        self.tail = inner.take(5) if self.public.kind == TOKEN else b""
        inner.end()

    def covered(self, message):
        covered = to_sign(message, self.namespace)
        if self.public.kind == ED25519:
            return covered
        return sha256(self.public.application) + self.tail + sha256(covered)


def verify(blob, message, namespace, require_pin=False):
    """All checks of §signatures. Gives the key that signed, whoever it belongs to."""
    signature = Signature(blob)
    require(signature.namespace == namespace, "NAMESPACE", repr(signature.namespace))
    try:
        bindings.crypto_sign_open(signature.sig + signature.covered(message), signature.public.pk)
    except BadSignatureError:
        raise Refused("SIGNER", "bad signature") from None
    if signature.public.kind == TOKEN:
        wanted = TOUCHED | (PIN_GIVEN if require_pin else 0)
        require(signature.tail[0] & wanted == wanted, "SIGNER", "not touched, or no PIN")
    return signature.public


class Signers:
    """Whose signatures count (§keys)."""

    def __init__(self, lines, threshold=1, require_pin=False):
        self.keys = [PublicKey.from_line(line) for line in lines]
        self.threshold, self.require_pin = threshold, require_pin
        require(1 <= len(self.keys) <= SIGNERS_MAX, "CONFIG", "number of signers")
        require(1 <= threshold <= len(self.keys), "CONFIG", "threshold")
        require(len({key.pk for key in self.keys}) == len(self.keys), "CONFIG", "a pk twice")

    def check(self, signatures, head):
        """§checks, steps 2 and 3."""
        keys = [verify(blob, head, RELEASE_NAMESPACE, self.require_pin) for blob in signatures]
        known = {key for key in keys if key in self.keys}
        require(known, "SIGNER", "nobody we know")
        require(len(known) >= self.threshold, "THRESHOLD", f"{len(known)} of {self.threshold}")
