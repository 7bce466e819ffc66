#!/usr/bin/env python3
"""Writes proto/vectors/*.json and the examples in proto/PROTOCOL.md. Deterministic: the same bytes at every run.
`--check` compares instead, and exits 1 if a file differs. Needs PyNaCl (else exits 77). See proto/vectors/README.md for
the form. Shares nothing with the C code, on purpose: a mistake would have to be made twice."""
import base64
import json
import os
import re
import sys

try:
    from nacl import bindings as sodium
except ImportError:
    sys.exit(77)  # skipped

from things import *
from wire import Raw, damages, header, pack, BIN, STR

HERE = os.path.dirname(os.path.abspath(__file__))
FOLDER = os.path.join(HERE, "..", "..", "proto", "vectors")


# ---- files of vectors

def compact(data):
    """Hex; long runs of one byte as [hex, count]."""
    if len(data) < 4000:
        return data.hex()
    found, at = [], 0
    for run in re.finditer(rb"(.)\1{63,}", data, re.DOTALL):
        found += [data[at:run.start()].hex(), [run[1].hex(), len(run[0])]]
        at = run.end()
    return found + [data[at:].hex()]


class Parts(list):
    """Bytes too many to hold, in the form of compact()."""


def with_zeros(before, total, after):
    """A message that ends with a bin of zeros and `after`, `total` bytes in all; `before` ends ahead of the bin."""
    zeros = total - len(before) - 5 - len(after)
    return Parts([(before + header(BIN, zeros)).hex(), ["00", zeros], after.hex()])


def plain(value):
    """As JSON: bytes in hex, numbers as decimal strings."""
    if isinstance(value, Parts):
        return list(value)
    if isinstance(value, (bytes, bytearray)):
        return compact(bytes(value))
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, int):
        return str(value)
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return {key: plain(item) for key, item in value.items()}


class File:
    def __init__(self, name, about):
        self.name, self.about, self.vectors, self.names, self.trust = name, about, [], set(), None

    def add(self, kind, name, code="OK", expect=None, **given):
        assert (kind, name) not in self.names, (kind, name)
        self.names.add((kind, name))
        vector = {"kind": kind, "name": name}
        vector.update({key: plain(value) for key, value in given.items()})
        vector["code"] = code
        if expect is not None:
            vector["expect"] = plain(expect)
        self.vectors.append(vector)

    def damage(self, kind, structure, names, code="FORMAT", skip=(), **given):
        for what, message in damages(structure, names):
            if what not in skip:
                self.add(kind, what, code, input=message, **given)

    def text(self):
        lines = ",\n".join("  " + json.dumps(v, ensure_ascii=True) for v in self.vectors)
        top = "" if self.trust is None else ' "trust": %s,\n' % json.dumps(plain(self.trust))
        return '{"about": %s,\n%s "vectors": [\n%s\n]}\n' % (json.dumps(self.about), top, lines)


def encoding():
    f = File("encoding", "single values: u64, str, bin, bool, nil, an array of u64, a map of str to u64")

    def values(kind, good, bad):
        for what, value in good:
            f.add(kind, what, input=pack(value), expect=value)
        for what, raw in bad:
            f.add(kind, what, "FORMAT", input=raw)

    edges = [0, 1, 127, 128, 255, 256, 65535, 65536, 2**32 - 1, 2**32, 2**63 - 1, 2**63, 2**64 - 1]
    values("u64", [(str(n), n) for n in edges],
           [("%s in %d bytes" % (hex(n), w), bytes([0xCC + i]) + n.to_bytes(w, "big")) for n, i, w in (
               (0, 0, 1), (127, 0, 1), (0, 1, 2), (255, 1, 2), (65535, 2, 4), (2**32 - 1, 3, 8))] +
           [("int8", b"\xd0\x01"), ("int64", b"\xd3" + bytes(8)), ("negative fixint", b"\xe0"),
            ("float32", b"\xca" + bytes(4)),
            ("float64", b"\xcb" + bytes(8)), ("nil", b"\xc0"), ("true", b"\xc3"), ("never used", b"\xc1"),
            ("cut", b"\xcd\x01"), ("nothing", b""), ("str", b"\xa11"), ("fixext", b"\xd4\x00\x00"),
            ("two values", b"\x01\x01")])
    texts = ["", "a", "a" * 31, "a" * 32, "a" * 255, "a" * 256, "ü", "\u0800", "\uffff", "\U00010000", "\U0010ffff",
             "\u00a0", " ~"]
    values("str", [("%d bytes %s" % (len(t.encode()), t[:1].encode().hex()), t) for t in texts],
           [("%s not shortest" % n, raw) for n, raw in (
               ("d9 for 31", b"\xd9\x1f" + b"a" * 31), ("da for 255", b"\xda\x00\xff" + b"a" * 255),
               ("db for 1", b"\xdb\0\0\0\1a"))] +
           [(what, header(STR, len(raw)) + raw) for what, raw in (
               ("overlong two", b"\xc0\x80"), ("overlong two, c1", b"\xc1\xbf"), ("overlong three", b"\xe0\x9f\xbf"),
               ("overlong four", b"\xf0\x8f\xbf\xbf"), ("surrogate low end", b"\xed\xa0\x80"),
               ("surrogate high end", b"\xed\xbf\xbf"),
               ("above U+10FFFF", b"\xf4\x90\x80\x80"), ("f5", b"\xf5\x80\x80\x80"), ("lone continuation", b"\x80"),
               ("cut sequence", b"a\xc3"), ("bad continuation", b"\xc3\x28"), ("ff", b"\xff"),
               ("NUL", b"a\0"), ("newline", b"\n"), ("U+001F", b"\x1f"), ("U+007F", b"\x7f"), ("U+0080", b"\xc2\x80"),
               ("U+009F", b"\xc2\x9f"))] +
           [("bin", b"\xc4\x01a"), ("cut", b"\xa2a"), ("nil", b"\xc0"), ("long claim", b"\xdb\xff\xff\xff\xffa")])
    values("bin", [("%d bytes" % n, b"\xa5" * n) for n in (0, 1, 31, 32, 255, 256)],
           [("c5 for 255", b"\xc5\x00\xff" + b"a" * 255), ("c6 for 256", b"\xc6\x00\x00\x01\x00" + b"a" * 256),
            ("c5 for 0", b"\xc5\0\0"), ("str", b"\xa1a"), ("cut", b"\xc4\x02a"),
            ("long claim", b"\xc6\xff\xff\xff\xff"),
            ("ext", b"\xc7\x01\x00a"), ("array of numbers", b"\x91\x01")])
    values("bool", [("false", False), ("true", True)], [("zero", b"\0"), ("one", b"\1"), ("nil", b"\xc0"),
                                                        ("str", b"\xa4true")])
    values("array", [("empty", []), ("one", [7]), ("fifteen", list(range(15))), ("sixteen", list(range(16)))],
           [("dc for 15", b"\xdc\x00\x0f" + bytes(15)), ("dd for 16", b"\xdd\0\0\0\x10" + bytes(16)), ("map", b"\x80"),
            ("element missing", b"\x92\x01"), ("element too many", b"\x91\x01\x01"),
            ("long claim", b"\xdd\xff\xff\xff\xff\x01"),
            ("bin", b"\xc4\x01\x01")])
    values("map", [("empty", {}), ("one", {"a": 1}), ("prefix first", {"a": 1, "aa": 2, "b": 3}),
                   ("bytes order", {"Z": 1, "a": 2}),
                   ("sixteen", {"%02d" % i: i for i in range(16)}), ("key of 64 bytes", {"k" * 64: 1})],
           [("keys descend", pack({"b": 1, "a": 2})), ("key twice", b"\x82\xa1a\x01\xa1a\x01"),
            ("longer one first", pack({"aa": 1, "a": 2})),
            ("number as key", b"\x81\x01\x01"), ("bin as key", b"\x81\xc4\x01a\x01"),
            ("key of 65 bytes", pack({"k" * 65: 1})),
            ("de for 1", b"\xde\x00\x01\xa1a\x01"), ("array", b"\x90"), ("value missing", b"\x81\xa1a")])
    return f


def public_key(key, type_=None):
    return dict(type=key.type, ed25519=key.public, application=key.application or "", node_id=key.node_id)


def pem(raw, begin="OPENSSH", newline="\n"):
    text = base64.b64encode(raw).decode()
    lines = "\n".join(text[i:i + 70] for i in range(0, len(text), 70))
    return "-----BEGIN %s PRIVATE KEY-----\n%s\n-----END %s PRIVATE KEY-----%s" % (begin, lines, begin, newline)


def private(key, comment="node", cipher="none", kdf="none", options="", count=1, outer=None, check2=0x01020304,
            inner_type=None,
            point=None, seed=None, tail=None, pad=None, magic=b"openssh-key-v1\0", behind=b""):
    body = (0x01020304).to_bytes(4, "big") + check2.to_bytes(4, "big") + string(inner_type or key.type) + string(
        key.public if point is None else point) + string((seed or key.seed) + (tail or key.public)) + string(comment)
    body += bytes(range(1, 1 + -len(body) % 8)) if pad is None else pad
    return magic + string(cipher) + string(kdf) + string(options) + count.to_bytes(4, "big") + string(
        outer or key.blob) + string(body) + behind


def keys():
    f = File("keys", "public keys as blobs and as lines, private keys of nodes")
    long_application, too_long = Key("long", "a" * 63), Key("too long", "a" * 64)
    named = (("ed25519", ADMIN), ("token", TOKEN), ("token with an empty application", Key("empty", "")),
             ("token with an application of 63 bytes", long_application), ("token with UTF-8", Key("utf8", "ssh:ü")))
    for what, key in named:
        f.add("public_key_blob", what, input=key.blob, expect=public_key(key))
        f.add("public_key_line", what, text=key.line, expect=public_key(key))
    pk = ADMIN.public
    for what, raw in (("application of 64 bytes", too_long.blob),
                      ("pk of 31 bytes", string("ssh-ed25519") + string(pk[:31])),
                      ("pk of 33 bytes", string("ssh-ed25519") + string(pk + b"\0")),
                      ("a byte too many", ADMIN.blob + b"\0"),
                      ("token: a byte too many", TOKEN.blob + b"\0"), ("last byte missing", ADMIN.blob[:-1]),
                      ("empty", b""),
                      ("token without application", string(TOKEN.type) + string(pk)),
                      ("rsa", string("ssh-rsa") + string(pk)),
                      ("type with a NUL", string("ssh-ed25519\0") + string(pk)),
                      ("type in capitals", string("SSH-ED25519") + string(pk)),
                      ("webauthn", string("webauthn-sk-ssh-ed25519@openssh.com") + string(pk) + string("ssh:")),
                      ("certificate", string("ssh-ed25519-cert-v01@openssh.com") + string(pk)),
                      ("application with a NUL", string(TOKEN.type) + string(pk) + string(b"a\0")),
                      ("application that is not UTF-8", string(TOKEN.type) + string(pk) + string(b"\xff")),
                      ("length beyond the end", string("ssh-ed25519") + b"\xff\xff\xff\xff" + pk)):
        f.add("public_key_blob", what, "FORMAT", input=raw)
    b64 = base64.b64encode(ADMIN.blob).decode()
    for what, line in (("with a comment", ADMIN.line + " admin@example"),
                       ("with a comment of words", ADMIN.line + " a b  c"),
                       ("with an empty comment", ADMIN.line + " "), ("with a newline", ADMIN.line + "\n")):
        f.add("public_key_line", what, text=line, expect=public_key(ADMIN))
    for what, line in (("empty", ""), ("type alone", "ssh-ed25519"), ("two spaces", ADMIN.line.replace(" ", "  ")),
                       ("tab", ADMIN.line.replace(" ", "\t")), ("space in front", " " + ADMIN.line),
                       ("options", "restrict " + ADMIN.line),
                       ("CRLF", ADMIN.line + "\r\n"), ("two newlines", ADMIN.line + "\n\n"),
                       ("two lines", ADMIN.line + "\n" + SECOND.line),
                       ("other type in front", "sk-ssh-ed25519@openssh.com " + b64), ("rsa", "ssh-rsa " + b64),
                       ("base64 with a character missing", "ssh-ed25519 " + b64[:-1]),
                       ("base64 with padding that is not due", "ssh-ed25519 " + b64 + "===="),
                       ("base64 of a longer blob", "ssh-ed25519 " + base64.b64encode(ADMIN.blob + b"\0").decode()),
                       ("url-safe base64", "ssh-ed25519 " + b64[:-1] + "_"),
                       ("comment with a control character", ADMIN.line + " a\x07")):
        f.add("public_key_line", what, "CONFIG", text=line)
    for what, key, comment in (("node", ROUTER, "node"), ("no comment", LAPTOP, ""), ("comment of 1", PHONE, "x"),
                               ("comment of 5", PHONE, "12345")):
        f.add("secret_key", what, text=pem(private(key, comment)), expect=dict(seed=key.seed, ed25519=key.public))
    f.add("secret_key", "no newline at the end", text=pem(private(ROUTER), newline=""),
          expect=dict(seed=ROUTER.seed, ed25519=ROUTER.public))
    for what, text in (
            ("encrypted", pem(private(ROUTER, cipher="aes256-ctr", kdf="bcrypt", options="options"))),
            ("other type outside", pem(private(ROUTER, outer=string("ssh-rsa") + string("x")))),
            ("other type inside", pem(private(ROUTER, inner_type="ssh-rsa"))),
            ("check numbers differ", pem(private(ROUTER, check2=5))), ("two keys", pem(private(ROUTER, count=2))),
            ("outer public key is another", pem(private(ROUTER, outer=LAPTOP.blob))),
            ("inner public key is another", pem(private(ROUTER, point=LAPTOP.public))),
            ("public half is another", pem(private(ROUTER, tail=LAPTOP.public))),
            ("seed is another", pem(private(ROUTER, seed=LAPTOP.seed))),
            ("wrong padding", pem(private(ROUTER, comment="nod", pad=bytes(5)))),
            ("a whole block of padding", pem(private(ROUTER, comment="12345678", pad=bytes(range(1, 17))))),
            ("a byte behind", pem(private(ROUTER, behind=b"\0"))),
            ("other magic", pem(private(ROUTER, magic=b"openssh-key-v2\0"))),
            ("PKCS8", pem(private(ROUTER)).replace("OPENSSH ", "")), ("text behind", pem(private(ROUTER)) + "\n"),
            ("empty", ""),
            ("no footer", pem(private(ROUTER)).split("-----END")[0])):
        f.add("secret_key", what, "CONFIG", text=text)
    return f


OPENSSH_MESSAGE = b"This is a test, this is only a test"
OPENSSH_ED25519 = """-----BEGIN SSH SIGNATURE-----
U1NIU0lHAAAAAQAAADMAAAALc3NoLWVkMjU1MTkAAAAgiWLNIg3cNBXvxU82NW+/COB/4/
keps9gJi7cE4x2MAQAAAAIdW5pdHRlc3QAAAAAAAAABnNoYTUxMgAAAFMAAAALc3NoLWVk
MjU1MTkAAABAihQsbUzuNEFflk5Tw1+H9aLS7tZQk0RG8KW1DtOmDYYnWe3D3UKiG3fcJa
DNg4vBWp1j1gLRiBMOF+gwYNegDg==
-----END SSH SIGNATURE-----
"""
OPENSSH_TOKEN = """-----BEGIN SSH SIGNATURE-----
U1NIU0lHAAAAAQAAAEoAAAAac2stc3NoLWVkMjU1MTlAb3BlbnNzaC5jb20AAAAgmxoNhd
Biu5zpuKUJgMgrhhI54b7OatE7Yz23Tf//sscAAAAEc3NoOgAAAAh1bml0dGVzdAAAAAAA
AAAGc2hhNTEyAAAAZwAAABpzay1zc2gtZWQyNTUxOUBvcGVuc3NoLmNvbQAAAEAi+7eTjW
/+LQ2M+sCD+KFtH1n7VFFJon/SZFsxODyV8cWTlFKj617Ys1Ur5TV6uaEXQhck8rBA2oQI
HTPANLIPARI0Vng=
-----END SSH SIGNATURE-----
"""


def unarmored(text):
    return base64.b64decode("".join(text.split("\n")[1:-2]))


def signatures():
    f = File("signatures", "SSHSIG blobs over a message, and their armor")
    message = b"a message"

    def add(what, blob, code="OK", expect=None, namespace=RELEASE, require_pin=False, over=message):
        f.add("sshsig", what, code, expect, input=blob, namespace=namespace, require_pin=require_pin, message=over)

    def made(key, sig, flags=0, counter=0):
        return dict(type=key.type, ed25519=key.public, application=key.application or "", signature=sig, flags=flags,
                    counter=counter)

    good = ADMIN.sign(RELEASE, message)
    add("ed25519", good, expect=made(ADMIN, good[-64:]))
    add("ed25519, nothing signed", ADMIN.sign(RELEASE, b""), expect=made(ADMIN, ADMIN.sign(RELEASE, b"")[-64:]),
        over=b"")
    add("ed25519 needs no PIN", good, expect=made(ADMIN, good[-64:]), require_pin=True)
    for flags, pin, ok in ((1, False, True), (5, True, True), (5, False, True), (0xFF, True, True), (0, False, False),
                           (4, False, False),
                           (1, True, False), (4, True, False), (0xFE, False, False), (0xFB, True, False)):
        blob = TOKEN.sign(RELEASE, message, flags)
        add("token, flags %02x%s" % (flags, ", PIN required" if pin else ""), blob, "OK" if ok else "SIGNER",
            made(TOKEN, blob[-69:-5], flags, 7) if ok else None, require_pin=pin)
    for what, armor in (("of OpenSSH, ed25519", OPENSSH_ED25519), ("of OpenSSH, token", OPENSSH_TOKEN)):
        blob = unarmored(armor)
        token = "token" in what
        expect = dict(type=TOKEN.type if token else ADMIN.type, ed25519=blob[48:80] if token else blob[33:65],
                      application="ssh:" if token else "", signature=blob[-69:-5] if token else blob[-64:],
                      flags=blob[-5] if token else 0, counter=int.from_bytes(blob[-4:], "big") if token else 0)
        add(what, blob, expect=expect, namespace="unittest", over=OPENSSH_MESSAGE)
        f.add("armor", what, text=armor, expect=blob)
    add("other namespace", good, "NAMESPACE", namespace=STATUS)
    add("namespace that begins like it", ADMIN.sign(RELEASE + "x", message), "NAMESPACE")
    add("namespace before a bad signature", good, "NAMESPACE", namespace="git", over=b"other")
    add("other message", good, "SIGNER", over=b"a messagf")
    add("other key", sshsig(SECOND.blob, RELEASE, good[-83:]), "SIGNER")
    flipped = bytearray(good)
    flipped[-1] ^= 1
    add("flipped bit", bytes(flipped), "SIGNER")
    s = int.from_bytes(good[-32:], "little") + L
    add("S + L", good[:-32] + s.to_bytes(32, "little"), "SIGNER")
    weak = b"\1" + bytes(31)
    add("small order", sshsig(string("ssh-ed25519") + string(weak), RELEASE,
                              string("ssh-ed25519") + string(weak + bytes(32))), "SIGNER")
    add("over the message itself", sshsig(ADMIN.blob, RELEASE, string(ADMIN.type) + string(ADMIN.raw_sign(message))),
        "SIGNER")
    add("over a sha256", sshsig(ADMIN.blob, RELEASE, string(ADMIN.type) + string(ADMIN.raw_sign(
        b"SSHSIG" + string(RELEASE) + string("") + string("sha512") + string(sha256(message))))), "SIGNER")
    inner_good = string(ADMIN.type) + string(good[-64:])
    for what, blob in (("version 0", sshsig(ADMIN.blob, RELEASE, inner_good, version=0)),
                       ("version 2", sshsig(ADMIN.blob, RELEASE, inner_good, version=2)),
                       ("reserved not empty", sshsig(ADMIN.blob, RELEASE, inner_good, reserved="x")),
                       ("sha256", sshsig(ADMIN.blob, RELEASE, inner_good, digest="sha256")),
                       ("other magic", sshsig(ADMIN.blob, RELEASE, inner_good, magic=b"SSHSIg")),
                       ("a byte too many", good + b"\0"), ("last byte missing", good[:-1]), ("empty", b""),
                       ("a byte too many inside", sshsig(ADMIN.blob, RELEASE, inner_good + b"\0")),
                       ("sig of 63 bytes", sshsig(ADMIN.blob, RELEASE, string(ADMIN.type) + string(good[-64:-1]))),
                       ("sig of 65 bytes", sshsig(ADMIN.blob, RELEASE,
                                                  string(ADMIN.type) + string(good[-64:] + b"\0"))),
                       ("token's signature under a file's key",
                        sshsig(ADMIN.blob, RELEASE, string(TOKEN.type) + string(good[-64:]) + b"\1" + bytes(4))),
                       ("token without flags", sshsig(TOKEN.blob, RELEASE, string(TOKEN.type) + string(good[-64:]))),
                       ("token with a short counter", sshsig(TOKEN.blob, RELEASE,
                               string(TOKEN.type) + string(good[-64:]) + b"\1" + bytes(3))),
                       ("rsa", sshsig(string("ssh-rsa") + string("x"), RELEASE, inner_good)),
                       ("armor", OPENSSH_ED25519.encode())):
        add(what, blob, "FORMAT")
    token_good = TOKEN.sign(RELEASE, message)
    changed = bytearray(token_good)
    changed[-5] ^= 8
    add("token, flags changed", bytes(changed), "SIGNER")
    changed = bytearray(token_good)
    changed[-1] ^= 1
    add("token, counter changed", bytes(changed), "SIGNER")
    add("token, other application", token_good.replace(string("ssh:"), string("ssh;")), "SIGNER")
    for what, text in (("text in front", "x" + OPENSSH_ED25519), ("text behind", OPENSSH_ED25519 + "x"),
                       ("no newline at the end", OPENSSH_ED25519[:-1]),
                       ("CRLF", OPENSSH_ED25519.replace("\n", "\r\n")),
                       ("one long line", OPENSSH_ED25519.replace("\n", "", 4).replace("-----U1", "-----\nU1", 1)),
                       ("empty line", OPENSSH_ED25519.replace("-----\n", "-----\n\n", 1)),
                       ("PEM of a key", OPENSSH_ED25519.replace("SIGNATURE", "MESSAGE"))):
        f.add("armor", what, "FORMAT", text=text)
    return f


def merkle():
    f = File("merkle", "roots and paths; verify: OK, or PATH if it fails")
    tickets = [pack(empty_ticket(Key("leaf %d" % i))) for i in range(9)]
    for n in (1, 2, 3, 4, 5, 6, 7, 8, 9):
        leaves = [leaf(t) for t in tickets[:n]]
        name = {1: "one leaf", 3: "three leaves"}.get(n, "%d leaves" % n)
        f.add("merkle", name, leaves=leaves, expect=dict(root=root_of(leaves),
                paths=[path_of(leaves, i) for i in range(n)]))
    f.add("merkle_leaf", "of a ticket", input=tickets[0], expect=leaf(tickets[0]))
    f.add("merkle_leaf", "of nothing", input=b"", expect=leaf(b""))
    leaves = [leaf(t) for t in tickets[:5]]
    root = root_of(leaves)

    def verify(what, code, index, size, which, path, against=root):
        f.add("merkle_verify", what, code, index=index, size=size, leaf=which, path=path, root=against)

    for i in range(5):
        verify("leaf %d of 5" % i, "OK", i, 5, leaves[i], path_of(leaves, i))
    path = path_of(leaves, 1)
    verify("one leaf, no path", "OK", 0, 1, leaves[0], [], leaves[0])
    # A known property of the shape: other claims can verify, too. That is why the size comes from the head.
    verify("another size can verify, too", "OK", 1, 6, leaves[1], path)
    verify("an inner node can pass for a leaf of a smaller tree", "OK", 0, 3, inner(leaves[0], leaves[1]),
           path_of(leaves, 0)[1:])
    verify("index of another leaf", "PATH", 0, 5, leaves[1], path)
    verify("index beyond the size", "PATH", 5, 5, leaves[4], path_of(leaves, 4))
    verify("index 2^64-1", "PATH", 2**64 - 1, 5, leaves[1], path)
    verify("size 0", "PATH", 0, 0, leaves[0], [], leaves[0])
    verify("size 2^64-1", "PATH", 1, 2**64 - 1, leaves[1], path)
    verify("smaller size", "PATH", 1, 4, leaves[1], path)
    verify("larger size", "PATH", 1, 9, leaves[1], path)
    verify("other leaf", "PATH", 1, 5, leaves[2], path)
    verify("other root", "PATH", 1, 5, leaves[1], path, leaves[0])
    verify("a hash missing", "PATH", 1, 5, leaves[1], path[:-1])
    verify("a hash too many", "PATH", 1, 5, leaves[1], path + [leaves[0]])
    verify("hashes swapped", "PATH", 1, 5, leaves[1], [path[1], path[0], path[2]])
    verify("no path", "PATH", 1, 5, leaves[1], [])
    return f


def sealing():
    f = File("sealing", "sealed keys and blobs. A sealed key is randomised: these were made with a fixed ephemeral key")
    key = some("blob key")
    sealed = seal(key, ROUTER, "router")
    f.add("sealed", "key", input=sealed, seed=ROUTER.seed, expect=key)
    f.add("sealed", "another", input=seal(some("other key"), LAPTOP, "laptop"), seed=LAPTOP.seed,
          expect=some("other key"))
    f.add("sealed", "to another node", "SEAL", input=sealed, seed=LAPTOP.seed)
    f.add("sealed", "all zero", "SEAL", input=bytes(80), seed=ROUTER.seed)
    for at in (0, 31, 32, 79):
        changed = bytearray(sealed)
        changed[at] ^= 1
        f.add("sealed", "flipped bit in byte %d" % at, "SEAL", input=bytes(changed), seed=ROUTER.seed)
    f.add("curve", "router", seed=ROUTER.seed, expect=dict(
        public=sodium.crypto_sign_ed25519_pk_to_curve25519(ROUTER.public),
        secret=sodium.crypto_sign_ed25519_sk_to_curve25519(ROUTER.secret)))
    torsion = bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")
    for what, public, code in (("good point", ROUTER.public, "OK"), ("zero", bytes(32), "CONFIG"),
                               ("neutral element", b"\1" + bytes(31), "CONFIG"),
                               ("point of order 8", torsion, "CONFIG"), ("no point", b"\2" + bytes(31), "CONFIG"),
                               ("all ones", b"\xff" * 32, "CONFIG"),
                               ("point outside of the main subgroup",
                                sodium.crypto_core_ed25519_add(ROUTER.public, torsion), "CONFIG")):
        f.add("seal_to", what, code, ed25519=public)
    for what, text in (("empty", b""), ("one byte", b"x"), ("text", b"a plaintext of some length")):
        f.add("blob", what, input=blob_of(text, key), key=key, expect=text)
    good = blob_of(b"text", key)
    for what, raw, k in (("other key", good, some("other key")), ("flipped bit", bytes([good[0] ^ 1]) + good[1:], key),
                         ("flipped bit in the tag", good[:-1] + bytes([good[-1] ^ 1]), key), ("cut", good[:-1], key),
                         ("15 bytes", good[:15], key), ("nothing", b"", key),
                         ("other nonce", sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(b"text", None,
                                 b"\1" + bytes(23), key), key),
                         ("additional data", sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(b"text", b"x", bytes(24),
                                 key), key)):
        f.add("blob", what, "SEAL", input=raw, key=k)
    for what, length, name, code in (("good", len(good), sha256(good), "OK"),
                                     ("longer than signed", len(good) - 1, sha256(good), "LENGTH"),
                                     ("shorter than signed", len(good) + 1, sha256(good), "LENGTH"),
                                     ("other hash", len(good), sha256(b""), "HASH"),
                                     ("length before hash", 0, sha256(b""), "LENGTH")):
        f.add("blob_check", what, code, input=good, ct_len=length, ct_hash=name)
    return f


def named(names, structure):
    return dict(zip(names[2:], structure[2:]))


def heads():
    f = File("head", "heads and envelopes")

    def good(what, **change):
        f.add("head", what, input=pack(head(**change)),
              expect=dict(named(HEAD_NAMES, head(**change)), head_hash=sha256(pack(head(**change)))))

    good("good")
    good("smallest numbers", epoch=1, release=1, expires=2, fallback_floor=0, tickets=1)
    good("largest numbers", epoch=2**64 - 1, release=2**64 - 2, expires=2**64 - 1, fallback_floor=2**64 - 2,
         tickets=2**20)
    good("expires one second later", expires=NOW + 1)
    good("fallback floor is the release", fallback_floor=NOW)
    for what, change in (("epoch 0", dict(epoch=0)), ("release 0", dict(release=0, fallback_floor=0)),
                         ("no tickets", dict(tickets=0)),
                         ("too many tickets", dict(tickets=2**20 + 1)), ("expires at the release", dict(expires=NOW)),
                         ("expires before the release", dict(expires=NOW - 1)),
                         ("fallback floor above the release", dict(fallback_floor=NOW + 1)),
                         ("short fleet", dict(fleet=FLEET[:31])), ("long fleet", dict(fleet=FLEET + b"\0")),
                         ("short root", dict(root=b"")),
                         ("long roster", dict(roster=bytes(33))), ("short nonce", dict(nonce=bytes(15))),
                         ("long nonce", dict(nonce=bytes(17)))):
        f.add("head", what, "FORMAT", input=pack(head(**change)))
    f.damage("head", head(), HEAD_NAMES)
    message = pack(head())
    sigs = [k.sign(RELEASE, message) for k in (ADMIN, SECOND, STRANGER, TOKEN)]

    def good_envelope(what, body, signatures):
        f.add("envelope", what, input=pack(envelope(body, signatures)), expect=dict(head=body, signatures=signatures))

    good_envelope("good", message, sigs[:1])
    good_envelope("four signatures", message, sigs)
    good_envelope("the head is not looked at", b"head", [b""])
    room = 8192 - len(pack(envelope(message, [bytes(7000)]))) + 7000
    good_envelope("8192 bytes", message, [bytes(room)])
    f.add("envelope", "8193 bytes", "LENGTH", input=pack(envelope(message, [bytes(room + 1)])))
    f.add("envelope", "8193 bytes of rubbish", "LENGTH", input=bytes(8193))
    f.add("envelope", "no signature", "FORMAT", input=pack(envelope(message, [])))
    f.add("envelope", "five signatures", "FORMAT", input=pack(envelope(message, [b"", b"", b"", b"", b""])))
    f.damage("envelope", envelope(message, sigs[:1]), ["type", "version", "head", "signatures"])
    return f


def tickets():
    f = File("ticket",
             "tickets, proven tickets; `proven_of`: a proven ticket against a head's tickets and root, and a node_id")
    names = ["type", "version", "node_id", "ct_hash", "ct_len", "sealed"]

    def good(what, structure):
        f.add("ticket", what, input=pack(structure), expect=named(names, structure))

    good("good", ticket(ROUTER))
    good("empty", empty_ticket(ROUTER))
    good("ct_len 17", ticket(ROUTER, ct_len=17))
    good("ct_len above the limit of a blob", ticket(ROUTER, ct_len=2**64 - 1))
    good("not empty, but zeros", ticket(ROUTER, ct_hash=bytes(32), sealed=bytes(80)))
    for what, change in (("ct_len 16", dict(ct_len=16)), ("ct_len 1", dict(ct_len=1)),
                         ("ct_len 0 with a hash", dict(ct_len=0, sealed=bytes(80))),
                         ("ct_len 0 with a key", dict(ct_len=0, ct_hash=bytes(32))),
                         ("sealed of 79", dict(sealed=bytes(79))),
                         ("sealed of 81", dict(sealed=bytes(81))), ("node_id of 31", dict(node_id=bytes(31))),
                         ("ct_hash of 33", dict(ct_hash=bytes(33)))):
        f.add("ticket", what, "FORMAT", input=pack(ticket(ROUTER, **change)))
    f.damage("ticket", ticket(ROUTER), names)
    pnames = ["type", "version", "ticket", "index", "path"]
    path = [some("path %d" % i) for i in range(21)]
    for what, structure in (("good", proven(pack(ticket(ROUTER)), 2, path[:2])),
                            ("no path", proven(pack(ticket(ROUTER)), 0, [])),
                            ("20 hashes", proven(pack(ticket(ROUTER)), 2**64 - 1, path[:20])),
                            ("the ticket is not looked at", proven(b"", 0, [])),
                            ("1024 bytes", proven(bytes(1004), 0, []))):
        f.add("proven", what, input=pack(structure), expect=named(pnames, structure))
    assert len(pack(proven(bytes(1004), 0, []))) == 1024
    f.add("proven", "1025 bytes", "LENGTH", input=pack(proven(bytes(1005), 0, [])))
    f.add("proven", "21 hashes", "FORMAT", input=pack(proven(b"", 0, path)))
    f.add("proven", "hash of 31 bytes", "FORMAT", input=pack(proven(b"", 0, [bytes(31)])))
    f.damage("proven", proven(pack(ticket(ROUTER)), 2, path[:2]), pnames)

    messages = [pack(ticket(ROUTER)), pack(empty_ticket(LAPTOP)), pack(ticket(PHONE, ct_len=2**26 + 1))]
    leaves = [leaf(m) for m in messages]
    root = root_of(leaves)

    def against(what, code, message, key, tickets=3):
        f.add("proven_of", what, code, input=message, tickets=tickets, root=root, node_id=key.node_id)

    def of(i, **change):
        return pack(proven(change.get("ticket", messages[i]), change.get("index", i),
                           change.get("path", path_of(leaves, i))))

    against("good", "OK", of(0), ROUTER)
    against("empty ticket", "OK", of(1), LAPTOP)
    against("blob above its limit", "LENGTH", of(2), PHONE)
    against("another node's", "NOTMINE", of(1), ROUTER)
    against("another node's, and no path", "NOTMINE", of(1, path=[]), ROUTER)
    against("other index", "PATH", of(0, index=1), ROUTER)
    against("other path", "PATH", of(0, path=path_of(leaves, 1)), ROUTER)
    against("other sealed key", "PATH", of(0, ticket=pack(ticket(ROUTER, sealed=bytes(80)))), ROUTER)
    against("other number of tickets", "PATH", of(0), ROUTER, tickets=2)
    against("blob above its limit, but not of this release", "PATH",
            of(0, ticket=pack(ticket(ROUTER, ct_len=2**26 + 1))), ROUTER)
    against("bad ticket inside", "FORMAT", of(0, ticket=messages[0] + b"\0"), ROUTER)
    against("too long", "LENGTH", of(0, ticket=bytes(1024)), ROUTER)
    against("rubbish", "FORMAT", b"\xc1", ROUTER)
    return f


META = {"action": "boot", "attribute": "my-laptop", "confirm": 300, "expected": "/nix/store/abc-nixos",
        "health": [["curl", "-f", "http://localhost"], ["true", ""]],
        "host": "my-laptop", "kind": "classic", "last_resort": "reboot",
        "nixpkgs": ["https://example.org/n.tar.gz", "sha256-x"], "public_keys": ["k:1"],
        "reboot": "when-needed", "retry": some("retry", 16), "self_update": True, "substitute_only": True,
        "substituters": ["https://cache.example.org"],
        "system": "x86_64-linux", "unit_failures": "rollback"}
SECRETS = [["Z", "root", "root", 0o400, b"upper case first"], ["a_b-1", "www", "www", 0o777, b""],
           ["wg.key", "", "", 0, b"\0secret"]]
TREE_REF = [some("tree"), 5000, some("tree key")]
FILES = [["a", True, b"#!/bin/sh\n"], ["a-b", False, b""], ["b/c", False, b"x"], ["b/c.d", False, b"y"],
         ["flake.nix", False, b"{ }"], ["\u00fcber/x", False, b"\0\xff"]]


def dict_without(d, key):
    return {k: v for k, v in d.items() if k != key}


def bundles():
    f = File("bundle", "bundles, trees and config digests")
    names = ["type", "version", "meta", "secrets", "tree"]

    def good(what, structure):
        f.add("bundle", what, input=pack(structure), expect=named(names, structure))

    def bad(what, structure):
        f.add("bundle", what, "ARCHIVE", input=pack(structure))

    full = bundle(META, SECRETS, TREE_REF)
    good("minimal", bundle())
    good("good", bundle({"attribute": "router", "expected": "/nix/store/abc-nixos", "host": "router"},
                        [["wg.key", "root", "root", 0o400, b"secret"]], TREE_REF))
    good("all keys", full)
    for key, values in (("action", ["dry"]), ("unit_failures", ["ignore"]), ("confirm", [1, 2**32 - 1]),
                        ("expected", ["x" * 300]), ("attribute", ["x" * 1024]),
                        ("health", [[["x"]] * 16, [["x"] * 32]]), ("public_keys", [["x"] * 16]),
                        ("substituters", [["x" * 1024]])):
        for i, value in enumerate(values):
            good("%s, legal %d" % (key, i + 1), bundle({key: value}))
    for key, values in (("action", ["switch", "", "Boot"]), ("kind", ["flake", ""]), ("last_resort", ["stay", "x"]),
                        ("unit_failures", ["report", "Ignore"]),
                        ("attribute", ["", "x" * 1025, "\n"]), ("expected", ["", "x" * 301]), ("host", [""]),
                        ("reboot", [""]), ("system", [""]),
                        ("confirm", [0, 2**32]), ("health",
                                                  [[], [[]], [[""]], [["x"]] * 1 + [[]], [["x"]] * 17, [["x"] * 33]]),
                        ("nixpkgs", [[], ["u"], ["u", ""], ["", "s"], ["u", "s", "x"]]),
                        ("public_keys", [[], [""], ["x"] * 17, ["x" * 1025]]),
                        ("substituters", [[], [""], ["x"] * 17]), ("retry", [bytes(15), bytes(17), b""]),
                        ("self_update", [False]), ("substitute_only", [False])):
        for i, value in enumerate(values):
            bad("%s, illegal %d" % (key, i + 1), bundle({key: value}))
    bad("unknown key in meta", bundle({"zzz": 1}))
    bad("keys of meta descend", bundle({"host": "x", "attribute": "y"}))
    bad("key of meta twice", bundle(Raw(b"\x82\xa4host\xa1x\xa4host\xa1x")))
    bad("nil as a value", bundle({"host": None}))
    for what, entry in (("name with a slash", ["a/b"]), ("name .", ["."]), ("name ..", [".."]), ("empty name", [""]),
                        ("name of 65", ["x" * 65]), ("name with a space", ["a b"]),
                        ("name with UTF-8", ["\u00fc"]), ("owner of 65", ["a", "x" * 65]),
                        ("group of 65", ["a", "", "x" * 65]), ("mode 1000", ["a", "", "", 0o1000]),
                        ("four elements", None), ("six elements", None)):
        whole = ["a", "", "", 0, b""]
        if entry is None:
            whole = whole[:4] if what.startswith("four") else whole + [0]
        else:
            whole[:len(entry)] = entry
        bad("secret: " + what, bundle({}, [whole]))
    good("secret: name of 64", bundle({}, [["x" * 64, "x" * 64, "x" * 64, 0o777, b""]]))
    good("secret: name ...", bundle({}, [["...", "", "", 0, b""]]))
    bad("secrets descend", bundle({}, [["b", "", "", 0, b""], ["a", "", "", 0, b""]]))
    bad("secret twice", bundle({}, [["a", "", "", 0, b""], ["a", "", "", 0, b""]]))
    good("1000 secrets", bundle({}, [["%04d" % i, "", "", 0, b""] for i in range(1000)]))
    bad("1001 secrets", bundle({}, [["%04d" % i, "", "", 0, b""] for i in range(1001)]))
    good("tree of 17 bytes", bundle({}, [], [bytes(32), 17, bytes(32)]))
    good("tree of 64 MiB", bundle({}, [], [bytes(32), 2**26, bytes(32)]))
    for what, ref in (("tree of 16 bytes", [bytes(32), 16, bytes(32)]),
                      ("tree too long", [bytes(32), 2**26 + 1, bytes(32)]),
                      ("tree hash of 31", [bytes(31), 17, bytes(32)]),
                      ("tree key of 31", [bytes(32), 17, bytes(31)]), ("tree of two", [bytes(32), 17]),
                      ("tree of four", [bytes(32), 17, bytes(32), None]), ("tree: empty array", [])):
        bad(what, bundle({}, [], ref))
    limit = 2**26 - 16
    short = pack(bundle({}, [["a", "", "", 0, b""]]))
    f.add("bundle", "one byte above the limit", "ARCHIVE", input=with_zeros(short[:-3], limit + 1, b"\xc0"))
    f.damage("bundle", bundle({"attribute": "x", "confirm": 300, "health": [["x", "y"]], "retry": bytes(16),
                               "self_update": True}, [["a", "b", "c", 7, b"d"]], TREE_REF),
             names, "ARCHIVE")

    def good_tree(what, files):
        f.add("tree", what, input=pack(tree(files)), expect=dict(files=files))

    def bad_tree(what, files):
        f.add("tree", what, "ARCHIVE", input=pack(tree(files)))

    def paths(*names_):
        return [[n, False, b""] for n in names_]

    good_tree("good", FILES)
    good_tree("empty", [])
    good_tree("component of 255", paths("x" * 255))
    good_tree("path of 512", paths("/".join(["x" * 127] * 3 + ["x" * 128])))
    good_tree("dots", paths("...", ".a", "a."))
    good_tree("order by bytes", paths("a", "a-b", "b/c", "\u00e9", "\U00010000"))
    good_tree("folder before a longer name", paths("a-b", "a/b", "a0"))
    for path in ("", "/x", "../x", "a/../b", "a/..", "..", ".", "./a", "a/.", "a/./b", "a//b", "a/", "//", "a\n",
                 "x" * 256, "a\x7f",
                 "/".join(["x" * 127] * 3 + ["x" * 129])):
        bad_tree("path %s" % ascii(path if len(path) < 40 else "of %d bytes" % len(path)), paths(path))
    bad_tree("path with NUL", [[Raw(b"\xa3a\0b"), False, b""]])
    bad_tree("path that is not UTF-8", [[Raw(b"\xa1\xff"), False, b""]])
    bad_tree("twice", paths("a", "a"))
    bad_tree("descending", paths("b", "a"))
    bad_tree("file and folder", paths("a", "a/b"))
    bad_tree("file and folder, no neighbours", paths("a", "a-b", "a/b"))
    bad_tree("file and folder, deep", paths("a/b", "a/b-c", "a/b/c/d"))
    bad_tree("file of two elements", [["a", False]])
    bad_tree("file of four elements", [["a", False, b"", 0]])
    f.add("tree", "one byte above the limit", "ARCHIVE",
          input=with_zeros(pack(tree([["a", False, b""]]))[:-2], limit + 1, b""))
    f.damage("tree", tree(FILES[:2]), ["type", "version", "files"], "ARCHIVE")

    def digest(what, structure, tree_plain_hash):
        f.add("digest", what, bundle=pack(structure), tree_plain_hash=tree_plain_hash,
              expect=sha256(pack([structure[2], structure[3], tree_plain_hash])))

    digest("minimal", bundle(), None)
    digest("good", full, sha256(pack(tree(FILES))))
    digest("other key, same files", bundle(META, SECRETS, [some("x"), 99, some("y")]), sha256(pack(tree(FILES))))
    digest("retried", bundle(dict_without(META, "retry"), SECRETS, TREE_REF), sha256(pack(tree(FILES))))
    return f


def node(key, name, tags=(), expected=None, directory="", tree_hash=None):
    return [key.node_id, name, list(tags), expected, directory, tree_hash]


def rosters():
    f = File("roster", "rosters")
    three = [node(ROUTER, "router", ["edge", "home"], "/nix/store/abc-nixos", "hosts/router", some("tree")),
             node(LAPTOP, "my-laptop", [], None, "hosts/my-laptop"),
             node(PHONE, "0", ["a"], None, "")]

    def good(what, nodes):
        f.add("roster", what, input=pack(roster(nodes)), expect=dict(nodes=nodes))

    def bad(what, nodes, code="FORMAT"):
        f.add("roster", what, code, input=pack(roster(nodes)))

    good("good", three)
    good("empty", [])
    good("longest", [node(ROUTER, "x" * 63, ["%02d" % i for i in range(31)] + ["x" * 63], "x" * 300, "x" * 512,
                          bytes(32))])
    good("name of hyphens", [node(ROUTER, "-", ["-", "0"])])
    bad("nodes descend", [three[1], three[0]])
    bad("node twice", [three[0], three[0]])
    bad("same node_id, other name", [three[0], node(ROUTER, "other")])
    bad("same name", [node(ROUTER, "x"), node(LAPTOP, "y"), node(PHONE, "x")])
    for what, change in (("empty name", dict(name="")), ("name of 64", dict(name="x" * 64)),
                         ("capital in the name", dict(name="Router")), ("underscore in the name", dict(name="a_b")),
                         ("dot in the name", dict(name="a.b")), ("UTF-8 in the name", dict(name="\u00fc")),
                         ("33 tags", dict(name="a", tags=["%02d" % i for i in range(33)])),
                         ("tags descend", dict(name="a", tags=["b", "a"])),
                         ("tag twice", dict(name="a", tags=["a", "a"])), ("empty tag", dict(name="a", tags=[""])),
                         ("capital in a tag", dict(name="a", tags=["A"])),
                         ("tag of 64", dict(name="a", tags=["x" * 64])),
                         ("empty expected", dict(name="a", expected="")),
                         ("expected of 301", dict(name="a", expected="x" * 301)),
                         ("directory of 513", dict(name="a", directory="x" * 513)),
                         ("tree of 31", dict(name="a", tree_hash=bytes(31))),
                         ("tree empty", dict(name="a", tree_hash=b""))):
        bad(what, [node(ROUTER, **change)])
    bad("node of five elements", [three[0][:5]])
    bad("node of seven elements", [three[0] + [None]])
    bad("short node_id", [[bytes(31), "a", [], None, "", None]])
    f.add("roster", "above the limit", "LENGTH", input=Parts([["00", 2**24 + 1]]))
    f.damage("roster", roster(three[:2]), ["type", "version", "nodes"])
    return f


def statuses():
    f = File("status", "statuses, and signed statuses against a fleet")

    def expect(structure):
        return named(STATUS_NAMES, structure)

    def good(what, structure):
        f.add("status", what, input=pack(structure), expect=expect(structure))

    good("minimal", minimal_status())
    good("good", status())
    good("largest numbers", status(seq=2**64 - 1, time=2**64 - 1, epoch=2**64 - 1, release=2**64 - 1, attempt=2**32 - 1,
                                   speaks=2**32 - 1,
                                   timings={k: 2**64 - 1 for k in ("commit", "confirm", "fetch", "obtain", "switch")}))
    good("longest texts", status(running="r" * 300, booted="b" * 300, profile="p" * 300))
    good("log of 64 KiB", status(log=b"x" * 65536))
    for word in STATES:
        good("state " + word, status(state=word))
    for code in CODES:
        good("code " + code, status(code=code))
    for what, change in (("unknown state", dict(state="idle")), ("empty state", dict(state="")),
                         ("state in capitals", dict(state="NEW")), ("code OK", dict(code="OK")),
                         ("unknown code", dict(code="OOPS")), ("code in lower case", dict(code="seal")),
                         ("attempt 2^32", dict(attempt=2**32)), ("speaks 2^32", dict(speaks=2**32)),
                         ("running of 301", dict(running="x" * 301)), ("booted of 301", dict(booted="x" * 301)),
                         ("profile of 301", dict(profile="x" * 301)),
                         ("newline in running", dict(running="a\n")),
                         ("log of 64 KiB and a byte", dict(log=b"x" * 65537)), ("short nonce", dict(nonce=bytes(15))),
                         ("long boot_id", dict(boot_id=bytes(17))), ("short fleet", dict(fleet=b"")),
                         ("short digest", dict(digest=bytes(31))), ("timing of 0", dict(timings={"fetch": 0})),
                         ("unknown timing", dict(timings={"boot": 1})),
                         ("timings descend", dict(timings={"switch": 1, "fetch": 1})),
                         ("timing twice", dict(timings=Raw(b"\x82\xa5fetch\x01\xa5fetch\x01"))),
                         ("timing as str", dict(timings={"fetch": "1"}))):
        f.add("status", what, "FORMAT", input=pack(status(**change)))
    f.damage("status", status(), STATUS_NAMES)

    body = pack(status())

    def delivered(what, code, message, structure=None, fleet=FLEET):
        f.add("signed", what, code, expect(structure) if structure else None, input=message, fleet=fleet)

    def by(key, body=body, namespace=STATUS):
        return pack(signed(body, key.sign(namespace, body)))

    delivered("good", "OK", by(ROUTER), status())
    full = pack(status(log=b"x" * 65536))
    delivered("longest log", "OK", by(ROUTER, full), status(log=b"x" * 65536))
    delivered("by another node", "SIGNER", by(LAPTOP))
    delivered("by an admin", "SIGNER", by(ADMIN))
    token = Key("router", "ssh:")
    token_body = pack(status(node_id=token.node_id))
    delivered("by a token", "SIGNER", by(token, token_body))
    delivered("other fleet", "FLEET", by(ROUTER), fleet=some("other fleet"))
    delivered("other node comes before other fleet", "SIGNER", by(LAPTOP), fleet=some("other fleet"))
    delivered("namespace of releases", "NAMESPACE", by(ROUTER, namespace=RELEASE))
    delivered("other body", "SIGNER", pack(signed(pack(minimal_status()), ROUTER.sign(STATUS, body))))
    delivered("signature before the body's form", "SIGNER", pack(signed(b"rubbish", ROUTER.sign(STATUS, body))))
    delivered("rubbish, well signed", "FORMAT", by(ROUTER, b"rubbish"))
    delivered("no signature", "FORMAT", pack(signed(body, b"")))
    delivered("a byte behind the signature", "FORMAT", pack(signed(body, ROUTER.sign(STATUS, body) + b"\0")))
    delivered("a byte behind the body, well signed", "FORMAT", by(ROUTER, body + b"\0"))
    longest = bytes(131072 - len(pack(signed(bytes(70000), b""))) + 70000)
    delivered("131072 bytes of no use", "FORMAT", pack(signed(longest, b"")))
    delivered("131073 bytes", "LENGTH", pack(signed(longest + b"\0", b"")))
    f.damage("signed", signed(body, ROUTER.sign(STATUS, body)), ["type", "version", "body", "signature"], fleet=FLEET)
    return f


TOPIC = b"BNT1"


def buses():
    f = File("bus", "PUB messages, with their topic")

    def published(envelope_bytes, provens, blobs):
        return ["bento-published", 1, envelope_bytes, provens, blobs]

    def release(what, structure):
        f.add("published", what, input=TOPIC + pack(structure),
              expect=dict(kind="release", envelope=structure[2], proven=structure[3], blobs=structure[4]))

    def tick(what, epoch, number):
        f.add("published", what, input=TOPIC + pack(["bento-tick", 1, epoch, number]),
              expect=dict(kind="tick", epoch=epoch, release=number))

    def bad(what, message, code="FORMAT"):
        f.add("published", what, code, input=message)

    message = pack(head())
    env = pack(envelope(message, [ADMIN.sign(RELEASE, message)]))
    p = [pack(proven(pack(ticket(k)), i, [some("p")])) for i, k in enumerate((ROUTER, LAPTOP, PHONE))]
    b = sorted((some("blob a", 40), some("blob b", 17), some("blob c", 60)), key=sha256)
    tick("tick", 2, NOW)
    tick("tick, nothing published", 0, 0)
    tick("tick, largest", 2**64 - 1, 2**64 - 1)
    release("envelope alone", published(env, [], []))
    release("whole", published(env, p[:2], b[:2]))
    release("all", published(env, p, b))
    release("the envelope is not looked at", published(b"", [], []))
    release("two nodes, one blob", published(env, p[1:], b[1:2]))
    bad("proven descend", TOPIC + pack(published(env, [p[1], p[0]], [])))
    bad("proven twice", TOPIC + pack(published(env, [p[0], p[0]], [])))
    bad("one node twice", TOPIC + pack(published(env, [p[0], pack(proven(pack(empty_ticket(ROUTER)), 0, []))], [])))
    bad("blobs descend", TOPIC + pack(published(env, [], [b[1], b[0]])))
    bad("blob twice", TOPIC + pack(published(env, [], [b[0], b[0]])))
    bad("blob of 16 bytes", TOPIC + pack(published(env, [], [bytes(16)])))
    bad("proven that is none", TOPIC + pack(published(env, [bytes(40)], [])))
    bad("proven of a bad ticket", TOPIC + pack(published(env, [pack(proven(bytes(40), 0, []))], [])))
    bad("proven of 1025 bytes", TOPIC + pack(published(env, [bytes(1025)], [])))
    bad("envelope of 8193 bytes", TOPIC + pack(published(bytes(8193), [], [])))
    limit = 2**20
    room = limit - len(TOPIC + pack(published(env, [], [bytes(2**19)]))) + 2**19
    release("1 MiB", published(env, [], [bytes(room)]))
    bad("1 MiB and a byte", TOPIC + pack(published(env, [], [bytes(room + 1)])), "LENGTH")
    bad("no topic", pack(["bento-tick", 1, 1, 1]))
    bad("other topic", b"BNT2" + pack(["bento-tick", 1, 1, 1]))
    bad("topic alone", TOPIC)
    bad("cut topic", TOPIC[:3])
    bad("empty", b"")
    bad("two structures", TOPIC + 2 * pack(["bento-tick", 1, 1, 1]))
    bad("a status", TOPIC + pack(["bento-signed", 1, b"", b""]))
    for kind, structure, names in (("tick", ["bento-tick", 1, 2, NOW], ["type", "version", "epoch", "release"]),
                                   ("release", published(env, p[:1], b[:1]),
                                    ["type", "version", "envelope", "proven", "blobs"])):
        for what, raw in damages(structure, names):
            bad(kind + ": " + what, TOPIC + raw)
    return f


OPS = {1: "GET_HEAD", 2: "GET_TICKET", 3: "GET_BLOB", 4: "PUT_STATUS", 16: "GET_RELEASE", 17: "MISSING_BLOBS",
       18: "PUT_BLOB", 19: "PUBLISH", 20: "GET_STATUSES", 21: "GET_HISTORY", 22: "GET_EARLIER"}


def operations():
    f = File("operations",
             "requests and replies as far as their opening: op or code, number of elements, and the bytes of the body")
    h, other = some("hash"), some("other hash")
    message = pack(head())
    env = pack(envelope(message, [ADMIN.sign(RELEASE, message)]))
    status_ = pack(signed(pack(status()), ROUTER.sign(STATUS, pack(status()))))
    bodies = {1: [], 2: [h, ROUTER.node_id], 3: [h, 262144], 4: [status_], 16: [], 17: [[h, other]],
              18: [h, 300000, 262144, b"chunk"],
              19: [bytes(32), env, pack(roster([])), [pack(ticket(ROUTER))]], 20: [bytes(32)],
              21: [ROUTER.node_id, 2**64 - 1], 22: [h]}

    def opened(kind, what, structure, expect):
        f.add(kind, what, input=pack(structure), expect=dict(expect, elements=len(structure) - 3,
                body=b"".join(pack(v) for v in structure[3:])))

    for number, body in bodies.items():
        opened("request", OPS[number], ["bento-req", 1, number] + body, dict(op=OPS[number]))
    opened("request", "GET_HEAD with eight elements", ["bento-req", 1, 1] + 8 * [0], dict(op="GET_HEAD"))
    for number in (0, 5, 15, 23, 255, 65535, 65536, 65537, 2**32 + 1, 2**64 - 1):
        f.add("request", "op %d" % number, "BAD", input=pack(["bento-req", 1, number]))
    f.add("request", "nine elements", "FORMAT", input=pack(["bento-req", 1, 1] + 9 * [0]))
    f.add("request", "nine elements and no such op", "FORMAT", input=pack(["bento-req", 1, 99] + 9 * [0]))
    f.add("request", "a reply", "FORMAT", input=pack(["bento-rep", 1, "OK"]))
    f.add("request", "a head", "FORMAT", input=message)
    skip = ("one byte too many", "a nil too many", "an element too many")
    f.damage("request", ["bento-req", 1, 1], ["type", "version", "op"], skip=skip)
    replies = (("OK", "envelope", [env]), ("OK", "nothing", []), ("NONE", "", []), ("STALE", "envelope", [env]),
               ("OK", "chunk", [500000, b"chunk"]), ("OK", "no chunk", [5, b""]),
               ("OK", "status", [NOW * 10**9, h]), ("SEQ", "", [NOW * 10**9 + 7]), ("REFUSED", "UNKNOWN", ["UNKNOWN"]),
               ("REFUSED", "publish", ["PATH", "the tickets are not those that were signed"]),
               ("BAD", "", []), ("FORMAT", "", []), ("LENGTH", "", []), ("HASH", "", []), ("IO", "", []),
               ("OK", "release", [env, pack(roster([])), [pack(ticket(ROUTER))]]),
               ("OK", "missing blobs", [[h]]), ("OK", "have", [262144]),
               ("OK", "statuses", [True, [[ROUTER.node_id, NOW, status_]]]),
               ("OK", "history", [False, [[NOW, status_]]]))
    for code, what, body in replies:
        opened("reply", (code + " " + what).strip(), ["bento-rep", 1, code] + body, dict(code=code))
    for code in CODES:
        if (("reply", code)) not in f.names:
            opened("reply", code, ["bento-rep", 1, code], dict(code=code))
    for what, raw in (("unknown code", pack(["bento-rep", 1, "OOPS"])), ("empty code", pack(["bento-rep", 1, ""])),
                      ("code in lower case", pack(["bento-rep", 1, "ok"])),
                      ("code as a number", pack(["bento-rep", 1, 0])),
                      ("nine elements", pack(["bento-rep", 1, "OK"] + 9 * [0])),
                      ("a request", pack(["bento-req", 1, 1]))):
        f.add("reply", what, "FORMAT", input=raw)
    f.damage("reply", ["bento-rep", 1, "OK"], ["type", "version", "code"], skip=skip)
    request = pack(["bento-req", 1, 1])
    framed = b"\x8a\xbc\xde\xf1" + request
    for what, raw in (("handshake PUB", b"\0SP\0\x00\x20\0\0"), ("handshake SUB", b"\0SP\0\x00\x21\0\0"),
                      ("handshake REQ", b"\0SP\0\x00\x30\0\0"), ("handshake REP", b"\0SP\0\x00\x31\0\0"),
                      ("tcp GET_HEAD", len(framed).to_bytes(8, "big") + framed),
                      ("ipc GET_HEAD", b"\1" + len(framed).to_bytes(8, "big") + framed),
                      ("tcp tick", (len(TOPIC) + len(pack(["bento-tick", 1, 2, NOW]))).to_bytes(8,
                              "big") + TOPIC + pack(["bento-tick", 1, 2, NOW]))):
        f.add("frame", what, input=raw)
    return f


# ---- whole releases

def trust(signers, threshold=1, require_pin=False, fleet=FLEET):
    return dict(fleet=fleet, signers=[k.line for k in signers], threshold=threshold, require_pin=require_pin)


class World:
    """A release of three nodes: one with secrets and files, one substitute only, one with nothing yet."""

    def __init__(self, **change):
        self.tree_plain = pack(tree(FILES))
        self.tree = blob_of(self.tree_plain, some("tree key"))
        ref = [sha256(self.tree), len(self.tree), some("tree key")]
        self.plain = {ROUTER: pack(change.get("bundle",
                                              bundle({"attribute": "router", "host": "router"}, SECRETS,
                                                     change.get("ref", ref)))),
                      LAPTOP: pack(bundle({"expected": "/nix/store/abc-nixos"}, [], None))}
        if "plain" in change:
            self.plain[ROUTER] = change["plain"]
        self.blobs = {k: blob_of(p, some("key of " + k.name)) for k, p in self.plain.items()}
        tickets_ = [ticket(k, ct_hash=sha256(b), ct_len=change.get("ct_len", len(b)),
                           sealed=seal(some("key of " + k.name), change.get("seal_to", k), k.name))
                    for k, b in self.blobs.items()] + [empty_ticket(PHONE)]
        self.tickets = [pack(t) for t in sorted(tickets_, key=lambda t: t[2])]
        if "tickets" in change:
            self.tickets = change["tickets"](self.tickets)
        self.leaves = [leaf(t) for t in self.tickets]
        nodes = [node(ROUTER, "router", ["edge"], None, "hosts/router", sha256(self.tree)),
                 node(LAPTOP, "my-laptop", [], "/nix/store/abc-nixos", "hosts/my-laptop"), node(PHONE, "phone")]
        self.roster = change.get("roster", pack(roster(nodes)))
        self.head = pack(head(root=root_of(self.leaves), roster=sha256(self.roster), tickets=len(self.tickets),
                              **change.get("head", {})))

    def envelope(self, *signers, head_bytes=None, namespace=RELEASE):
        body = self.head if head_bytes is None else head_bytes
        return pack(envelope(body, [s if isinstance(s, bytes) else s.sign(namespace, body) for s in signers]))

    def proven(self, key):
        index = sorted((ROUTER, LAPTOP, PHONE), key=lambda k: k.node_id).index(key)
        return pack(proven(self.tickets[index], index, path_of(self.leaves, index)))


def releases():
    f = File("release", "whole releases as broker and admins check them: envelope, roster, tickets against a trust")
    w = World()
    whole = dict(head_hash=sha256(w.head), blobs=sorted([sha256(b) for b in w.blobs.values()] + [sha256(w.tree)]))

    def add(what, code, world=w, env=None, roster_=None, tickets_=None, signers=(ADMIN,), expect=None):
        f.add("release", what, code, expect, trust=trust(signers), envelope=env or world.envelope(ADMIN),
              roster=world.roster if roster_ is None else roster_,
              tickets=world.tickets if tickets_ is None else tickets_)

    add("good", "OK", expect=whole)
    add("by a stranger", "SIGNER", env=w.envelope(STRANGER))
    add("roster above its limit", "LENGTH", roster_=Parts([["00", 2**24 + 1]]))
    add("other roster", "HASH", roster_=w.roster + b"\0")
    bad = World(roster=b"rubbish")
    add("rubbish as roster, well signed", "FORMAT", bad)
    add("a ticket missing", "LENGTH", tickets_=w.tickets[:2])
    add("a ticket too many", "LENGTH", tickets_=w.tickets + [w.tickets[2]])
    add("a node missing in the roster", "LENGTH", World(roster=pack(roster([node(ROUTER, "router"),
            node(LAPTOP, "x")]))))
    add("tickets swapped", "NOTMINE", tickets_=[w.tickets[1], w.tickets[0], w.tickets[2]])
    add("other ticket of the same node", "PATH", tickets_=[pack(empty_ticket(ROUTER))] + w.tickets[1:])
    add("bad ticket", "FORMAT", tickets_=[w.tickets[0] + b"\0"] + w.tickets[1:])
    add("blob above its limit", "LENGTH", World(tickets=lambda t: [pack(ticket(ROUTER, ct_len=2**26 + 1))] + t[1:]))
    empty = World(tickets=lambda t: [pack(empty_ticket(k)) for k in (ROUTER, LAPTOP, PHONE)])
    add("only empty tickets", "OK", empty, expect=dict(head_hash=sha256(empty.head), blobs=[sha256(w.tree)]))
    return f


def checks():
    f = File("checks",
             "all checks of a node, in order: trust, copies of the floor, clock, and what came. `floor` is the floor afterwards")
    w = World()
    none = dict(epoch=0, release=0, head_hash=None)

    def add(what, code, world=w, env=None, by=(ADMIN,), signers=(ADMIN,), threshold=1, pin=False, fleet=FLEET,
            floors=(none,), clock=NOW + 60, key=ROUTER, proven_="own",
            bundle_="own", tree_="own", raised=True, digest=None):
        after = dict(epoch=world.epoch if hasattr(world, "epoch") else 2, release=NOW, head_hash=sha256(world.head))
        env = world.envelope(*by) if env is None else env
        expect = dict(floor=after if raised is True else raised)
        if code == "OK":
            expect["digest"] = digest
        f.add("checks", what, code, expect, trust=trust(signers, threshold, pin, fleet), floors=list(floors),
              clock=clock, seed=key.seed, envelope=env,
              proven=world.proven(key) if proven_ == "own" else proven_,
              bundle=(world.blobs.get(key) if bundle_ == "own" else bundle_),
              tree=((world.tree if key is ROUTER else None) if tree_ == "own" else tree_))

    def digest_of(world, key, tree_plain):
        # meta and secrets as they stand in the bundle: behind its 15 bytes of opening
        b = bundle({"attribute": "router", "host": "router"}, SECRETS,
                   None) if key is ROUTER else bundle({"expected": "/nix/store/abc-nixos"}, [], None)
        return sha256(pack([b[2], b[3], sha256(tree_plain) if tree_plain else None]))

    good = digest_of(w, ROUTER, w.tree_plain)
    own_hash = sha256(w.head)
    add("good", "OK", digest=good)
    add("substitute only", "OK", key=LAPTOP, digest=digest_of(w, LAPTOP, None))
    add("empty ticket", "OK", key=PHONE, bundle_=None, digest=None)
    # 1 to 4: envelope, signatures, head, fleet
    refused = dict(raised=none)
    add("envelope too long", "LENGTH", env=bytes(8193), **refused)
    add("envelope cut", "FORMAT", env=w.envelope(ADMIN)[:-1], **refused)
    add("signature cut", "FORMAT", by=(ADMIN.sign(RELEASE, w.head)[:-1],), **refused)
    add("status namespace", "NAMESPACE", env=w.envelope(ADMIN, namespace=STATUS), **refused)
    add("by a stranger", "SIGNER", by=(STRANGER,), **refused)
    add("by a stranger and by us", "OK", by=(STRANGER, ADMIN), digest=good)
    add("a stranger's bad signature beside ours", "SIGNER", by=(ADMIN, STRANGER.sign(RELEASE, b"other")), **refused)
    add("signatures are judged in their order", "NAMESPACE",
        by=(STRANGER.sign(STATUS, w.head), ADMIN.sign(RELEASE, b"other")), **refused)
    add("two of two", "OK", by=(ADMIN, SECOND), signers=(ADMIN, SECOND), threshold=2, digest=good)
    add("one of two", "THRESHOLD", by=(ADMIN,), signers=(ADMIN, SECOND), threshold=2, **refused)
    add("one twice", "THRESHOLD", by=(ADMIN, ADMIN), signers=(ADMIN, SECOND), threshold=2, **refused)
    add("one of two and a stranger", "THRESHOLD", by=(ADMIN, STRANGER), signers=(ADMIN, SECOND), threshold=2, **refused)
    add("strangers only, threshold 2", "SIGNER", by=(STRANGER, STRANGER), signers=(ADMIN, SECOND), threshold=2,
        **refused)
    add("by a token", "OK", by=(TOKEN,), signers=(TOKEN,), digest=good)
    add("by a token without the PIN", "SIGNER", by=(TOKEN,), signers=(TOKEN,), pin=True, **refused)
    add("by a token, not touched", "SIGNER", by=(TOKEN.sign(RELEASE, w.head, flags=0),), signers=(TOKEN,), **refused)
    add("by a token with another application", "SIGNER", by=(Key("token", "ssh:other"),), signers=(TOKEN,), **refused)
    add("by a file with the token's key", "SIGNER", by=(Key("token"),), signers=(TOKEN,), **refused)
    add("signature over rubbish", "FORMAT", env=w.envelope(ADMIN, head_bytes=b"rubbish"), **refused)
    add("other fleet", "FLEET", fleet=some("other fleet"), **refused)

    # 5: the floor
    def floor(epoch, number, head_hash=None):
        return dict(epoch=epoch, release=number, head_hash=head_hash)

    other = some("other head")
    for what, code, floors in (
            ("floor: older release", "OK", [floor(2, NOW - 1, other)]),
            ("floor: same head again", "OK", [floor(2, NOW, own_hash)]),
            ("floor: other head of this number", "EQUIVOCATION", [floor(2, NOW, other)]),
            ("floor: minimum of this number", "OK", [floor(2, NOW)]),
            ("floor: newer release", "ROLLBACK", [floor(2, NOW + 1, other)]),
            ("floor: newer minimum", "ROLLBACK", [floor(2, NOW + 1)]),
            ("floor: epoch before, larger number", "OK", [floor(1, 2**64 - 1, other)]),
            ("floor: two epochs before", "EPOCH", [floor(0, 5, other)]),
            ("floor: later epoch", "EPOCH", [floor(3, 1, other)]), ("floor: epoch alone", "OK", [floor(2, 0)]),
            ("floor: epoch before alone", "OK", [floor(1, 0)]),
            ("floor: two copies, the larger counts", "ROLLBACK", [floor(2, NOW - 9, other), floor(2, NOW + 1, other)]),
            ("floor: two copies, epoch before number", "ROLLBACK",
             [floor(1, 2**64 - 1, other), floor(2, NOW + 1, other)]),
            ("floor: minimum beside a hash", "EQUIVOCATION", [floor(2, NOW), floor(2, NOW, other)]),
            ("floor: two hashes for this number", "EQUIVOCATION", [floor(2, NOW, own_hash), floor(2, NOW, other)]),
            ("floor: two hashes for an older number", "OK", [floor(2, NOW - 1, own_hash), floor(2, NOW - 1, other)]),
            ("floor: third copy is lower", "OK", [floor(2, NOW, own_hash), floor(1, 1, other), none])):
        best = max(floors, key=lambda x: (x["epoch"], x["release"], x["head_hash"] is not None))
        raised = True if code == "OK" else best
        if what == "floor: two hashes for this number":
            raised = floors[0]
        add(what, code, floors=floors, raised=raised, digest=good if code == "OK" else None)

    # 7: expiry
    end = NOW + 90 * 86400
    add("one second before the end", "OK", clock=end - 1, digest=good)
    add("expired at the second", "EXPIRED", clock=end)
    add("expired long ago", "EXPIRED", clock=2**63)
    add("clock at 1970", "OK", clock=0, digest=good)
    add("rollback comes before expiry", "ROLLBACK", clock=end, floors=[floor(2, NOW + 1)], raised=floor(2, NOW + 1))
    # 8, 9: ticket
    add("no ticket", "NOTICKET", proven_=None)
    add("expiry comes before the ticket", "EXPIRED", proven_=None, clock=end)
    add("ticket too long", "LENGTH", proven_=bytes(1025))
    add("ticket cut", "FORMAT", proven_=w.proven(ROUTER)[:-1])
    add("another node's ticket", "NOTMINE", proven_=w.proven(LAPTOP))
    old = World(head=dict(), tickets=lambda t: t[:1] + [pack(empty_ticket(LAPTOP))] + t[2:])
    add("ticket of another release", "PATH", proven_=old.proven(ROUTER))
    add("blob above its limit", "LENGTH", World(ct_len=2**26 + 1))
    # 10: bundle
    blob = w.blobs[ROUTER]
    add("bundle longer", "LENGTH", bundle_=blob + b"\0")
    add("bundle shorter", "LENGTH", bundle_=blob[:-1])
    add("bundle changed", "HASH", bundle_=blob[:-1] + bytes([blob[-1] ^ 1]))
    add("sealed to another node", "SEAL", World(seal_to=LAPTOP))
    rubbish = World(plain=b"rubbish")
    add("rubbish as bundle", "ARCHIVE", rubbish)
    # 11: tree
    add("tree longer", "LENGTH", tree_=w.tree + b"\0")
    add("tree changed", "HASH", tree_=bytes([w.tree[0] ^ 1]) + w.tree[1:])
    locked = World(ref=[sha256(w.tree), len(w.tree), some("other key")])
    add("tree under another key", "SEAL", locked)
    bad_tree = blob_of(pack(tree([["../x", False, b""]])), some("tree key"))
    add("tree that leaves its folder", "ARCHIVE", World(ref=[sha256(bad_tree), len(bad_tree), some("tree key")]),
        tree_=bad_tree)
    f.add("floor", "without hash", input=pack(["bento-floor", 1, 1, NOW, None]), expect=floor(1, NOW))
    f.add("floor", "with hash", input=pack(["bento-floor", 1, 2, NOW, other]), expect=floor(2, NOW, other))
    f.damage("floor", ["bento-floor", 1, 2, NOW, other], ["type", "version", "epoch", "release", "head_hash"])
    return f


def trusts():
    f = File("trust", "lists of signers")
    for what, code, given in (("one", "OK", trust([ADMIN])), ("three", "OK", trust([ADMIN, SECOND, TOKEN], 3)),
                              ("32", "OK", trust([Key("signer %d" % i) for i in range(32)], 1)),
                              ("33", "CONFIG", trust([Key("signer %d" % i) for i in range(33)], 1)),
                              ("none", "CONFIG", trust([])), ("threshold 0", "CONFIG", trust([ADMIN], 0)),
                              ("threshold above", "CONFIG", trust([ADMIN], 2)),
                              ("same key twice", "CONFIG", trust([ADMIN, ADMIN])),
                              ("same key as file and token", "CONFIG", trust([TOKEN, Key("token")])),
                              ("same key with two applications", "CONFIG", trust([TOKEN, Key("token", "ssh:other")]))):
        f.add("trust", what, code, trust=given)
    return f


def served():
    f = File("served",
             "one broker that begins empty, asked in this order; its only signer is the admin. Where `reply` is absent only code and reason count")
    f.trust = trust([ADMIN])
    w = World(head=dict(expires=2**40))

    def ask(what, reply, number, *body, who="admin"):
        raw("%s: %s" % (OPS.get(number, "op %d" % number), what), reply, pack(["bento-req", 1, number] + list(body)),
            who)

    def raw(what, reply, request, who="public"):
        f.add("served", what, reply[0], who=who, request=request, reply=pack(["bento-rep", 1] + list(reply)))

    def publish(what, code, world=w, base=bytes(32), env=None, tickets_=None, newest=None):
        request = pack(["bento-req", 1, 19, base, env or world.envelope(ADMIN), world.roster,
                        tickets_ or world.tickets])
        given = dict(who="admin", request=request)
        if code == "OK" or newest:
            f.add("served", "PUBLISH: " + what, code, reply=pack(["bento-rep", 1, code] + ([newest] if newest else [])),
                  **given)
        else:
            f.add("served", "PUBLISH: " + what, "REFUSED", reason=code, **given)

    def status_of(key, by=None, **change):
        body = pack(status(node_id=key.node_id, **change))
        return pack(signed(body, (by or key).sign(STATUS, body)))

    def put(what, message, *reply):
        ask(what, reply, 4, message, who="public")

    zeros, some_hash = bytes(32), some("hash")
    # Nothing is there.
    for who in ("public", "admin"):
        ask("nothing there, " + who, ["NONE"], 1, who=who)
        ask("nothing there, " + who, ["NONE"], 2, some_hash, ROUTER.node_id, who=who)
        ask("nothing there, " + who, ["NONE"], 3, some_hash, 0, who=who)
    ask("nothing there", ["NONE"], 16)
    ask("none asked", ["OK", []], 17, [])
    ask("all missing, in the given order, twice is twice", ["OK", [some_hash, zeros, some_hash]], 17,
        [some_hash, zeros, some_hash])
    ask("nothing there", ["OK", False, []], 20, zeros)
    ask("nothing there", ["OK", False, []], 21, ROUTER.node_id, 2**64 - 1)
    ask("nothing there", ["NONE"], 22, zeros)
    put("nobody is enrolled", status_of(ROUTER), "REFUSED", "UNKNOWN")
    # What is no request, or not for you.
    raw("nothing", ["FORMAT"], b"")
    raw("rubbish", ["FORMAT"], b"\xc1")
    raw("a reply", ["FORMAT"], pack(["bento-rep", 1, "OK"]))
    raw("version 2", ["FORMAT"], pack(["bento-req", 2, 1]))
    for number in (0, 5, 15, 23, 255, 2**64 - 1):
        for who in ("public", "admin"):
            ask("unknown, " + who, ["BAD"], number, who=who)
    for number in (16, 17, 18, 19, 20, 21, 22):
        ask("not for all", ["BAD"], number, who="public")
        ask("not for all, whatever the body", ["BAD"], number, 1, 2, 3, bytes(200), who="public")
    ask("too many elements", ["FORMAT"], 1, None, who="public")
    ask("too long comes before too many elements", ["LENGTH"], 1, bytes(120), who="public")
    raw("GET_HEAD: a byte too many", ["FORMAT"], pack(["bento-req", 1, 1]) + b"\0")
    ask("an element too few", ["FORMAT"], 2, some_hash, who="public")
    ask("short hash", ["FORMAT"], 2, bytes(31), ROUTER.node_id, who="public")
    ask("str as hash", ["FORMAT"], 2, "x" * 32, ROUTER.node_id, who="public")
    raw("GET_TICKET: a byte too many", ["FORMAT"], pack(["bento-req", 1, 2, some_hash, some_hash]) + b"\0")
    ask("negative offset", ["FORMAT"], 3, some_hash, Raw(b"\xff"), who="public")
    ask("offset not in its shortest form", ["FORMAT"], 3, some_hash, Raw(b"\xcc\x01"), who="public")
    ask("too long", ["LENGTH"], 4, bytes(131200), who="public")
    ask("status too long", ["FORMAT"], 4, bytes(131073), who="public")
    ask("hash of 33", ["FORMAT"], 17, [bytes(33)])
    ask("chunk too long", ["FORMAT"], 18, some_hash, 2**20, 0, bytes(262145))
    # Uploads.
    t, th = w.tree, sha256(w.tree)
    ask("total 0", ["LENGTH"], 18, th, 0, 0, b"")
    ask("total above the limit", ["LENGTH"], 18, th, 2**26 + 1, 0, b"x")
    ask("chunk beyond the end", ["LENGTH"], 18, th, len(t), 1, t)
    ask("offset beyond the end", ["LENGTH"], 18, th, len(t), len(t) + 1, b"")
    ask("how much is there", ["OK", 0], 18, th, len(t), 0, b"")
    ask("first part", ["OK", 10], 18, th, len(t), 0, t[:10])
    ask("first part again", ["OK", 10], 18, th, len(t), 0, t[:10])
    ask("a gap", ["OK", 10], 18, th, len(t), 20, t[20:30])
    ask("not whole", ["NONE"], 3, th, 0, who="public")
    ask("not whole", ["OK", [th]], 17, [th])
    ask("wrong end", ["HASH"], 18, th, len(t), 10, bytes(len(t) - 10))
    ask("forgotten", ["OK", 0], 18, th, len(t), 10, t[10:])
    ask("other total", ["OK", 5], 18, th, len(t) + 1, 0, t[:5])
    ask("right total begins anew", ["OK", 0], 18, th, len(t), 5, t[5:])
    ask("all of it", ["OK", len(t)], 18, th, len(t), 0, t)
    ask("once more", ["OK", len(t)], 18, th, len(t), 0, t)
    ask("whole", ["OK", []], 17, [th])
    ask("from the beginning", ["OK", len(t), t], 3, th, 0, who="public")
    ask("from 7 on", ["OK", len(t), t[7:]], 3, th, 7, who="public")
    ask("from the end on", ["OK", len(t), b""], 3, th, len(t), who="public")
    ask("from far beyond the end on", ["OK", len(t), b""], 3, th, 2**64 - 1, who="public")
    # Publishing.
    publish("a blob is missing", "NONE")
    for key, blob in w.blobs.items():
        ask("bundle of " + key.name, ["OK", len(blob)], 18, sha256(blob), len(blob), 0, blob)
    publish("by a stranger", "SIGNER", env=w.envelope(STRANGER))
    publish("other tickets", "PATH", tickets_=[w.tickets[0],
                                               pack(empty_ticket(sorted((ROUTER, LAPTOP, PHONE),
                                        key=lambda k: k.node_id)[1]))] + w.tickets[2:])
    publish("a ticket missing", "LENGTH", tickets_=w.tickets[:2])
    publish("expired", "EXPIRED", World())
    publish("base, but nothing was published", "STALE", base=some_hash)
    publish("first", "OK")
    first = w.envelope(ADMIN)
    publish("once more", "OK")
    publish("once more, whatever the base", "OK", base=some_hash)
    ask("the first", ["OK", first], 1, who="public")
    ask("the first", ["OK", first, w.roster, w.tickets], 16)
    for key in (ROUTER, LAPTOP, PHONE):
        ask("of " + key.name, ["OK", w.proven(key)], 2, sha256(w.head), key.node_id, who="public")
    ask("of a node that is not in it", ["NONE"], 2, sha256(w.head), STRANGER.node_id, who="public")
    ask("of another head", ["STALE", first], 2, some_hash, ROUTER.node_id, who="public")
    own = sha256(w.head)
    for what, code, change, base in (("base is not the newest", "STALE", dict(release=NOW + 1), zeros),
                                     ("same number", "EQUIVOCATION", dict(nonce=bytes(16)), own),
                                     ("lower number", "ROLLBACK", dict(release=NOW - 1), own),
                                     ("epoch before", "EPOCH", dict(epoch=1), own),
                                     ("two epochs later", "EPOCH", dict(epoch=4), own),
                                     ("base before number", "STALE", dict(release=NOW - 1), zeros)):
        publish(what, code, World(head=dict(dict(expires=2**40), **change)), base,
                newest=first if code == "STALE" else None)
    later = World(head=dict(expires=2**40, epoch=3, release=1, fallback_floor=0))
    publish("next epoch, lower number", "OK", later, own)
    ask("the next", ["OK", later.envelope(ADMIN)], 1, who="public")
    ask("before the next", ["OK", first, w.roster, w.tickets], 22, sha256(later.head))
    ask("before the first", ["NONE"], 22, own)
    ask("before one that is not there", ["NONE"], 22, some_hash)
    ask("of the head before", ["STALE", later.envelope(ADMIN)], 2, own, ROUTER.node_id, who="public")
    # Statuses.
    one, seq = status_of(ROUTER), NOW * 10**9 + 5
    put("good", one, "OK", seq, sha256(one))
    put("the same again", one, "OK", seq, sha256(one))
    put("other bytes under the same number", status_of(ROUTER, state="new", code=""), "SEQ", seq)
    newer, older = status_of(ROUTER, seq=seq + 9), status_of(ROUTER, seq=1)
    put("newer", newer, "OK", seq + 9, sha256(newer))
    put("older", older, "OK", 1, sha256(older))
    put("other bytes, highest is another", status_of(ROUTER, time=1), "SEQ", seq + 9)
    same_seq = status_of(LAPTOP)
    put("same number, other node", same_seq, "OK", seq, sha256(same_seq))
    put("signed by another node", status_of(ROUTER, by=LAPTOP), "REFUSED", "SIGNER")
    put("other fleet", status_of(ROUTER, fleet=some("other fleet")), "REFUSED", "FLEET")
    put("not enrolled", status_of(STRANGER), "REFUSED", "UNKNOWN")
    put("rubbish", b"rubbish", "REFUSED", "FORMAT")
    put("empty", b"", "REFUSED", "FORMAT")
    body = pack(status())
    put("other namespace", pack(signed(body, ROUTER.sign(RELEASE, body))), "REFUSED", "NAMESPACE")
    ask("nobody behind the last one", ["OK", False, []], 20, b"\xff" * 32)
    ask("nothing before the first one", ["OK", False, []], 21, ROUTER.node_id, 1)
    return f


# ---- the examples of PROTOCOL.md

def examples():
    """What stands behind `<!-- example: NAME -->`: (label, bytes or text) a line."""
    message = b"a message"
    signature = ADMIN.sign(RELEASE, message)
    leaves = [leaf(pack(empty_ticket(Key("leaf %d" % i)))) for i in range(3)]
    key = some("blob key")
    good_head = pack(head())
    good_envelope = pack(envelope(good_head, [ADMIN.sign(RELEASE, good_head)]))
    body = pack(minimal_status())
    request = pack(["bento-req", 1, 1])
    framed = b"\x8a\xbc\xde\xf1" + request
    one_node = [node(ROUTER, "router", ["edge"], "/nix/store/abc-nixos", "hosts/router", some("tree"))]
    h, one_blob = some("hash"), some("blob b", 17)
    return {
        "encoding": [("5", pack(5)), ("128", pack(128)), ("65536", pack(65536)), ("nil, true", pack(None) + pack(True)),
                     ('"abc"', pack("abc")),
                     ("bin of 3 bytes", pack(b"abc")), ("[1, [], {}]", pack([1, [], {}])),
                     ('{"a": 1, "b": ""}', pack({"a": 1, "b": ""}))],
        "keys ed25519": [("seed", ADMIN.seed), ("pk", ADMIN.public), ("blob", ADMIN.blob), ("node_id", ADMIN.node_id),
                         ("line", ADMIN.line)],
        "sshsig ed25519": [("key", "the one of \u00a7keys"), ("namespace", RELEASE), ("message", message),
                           ("tosign", to_sign(RELEASE, message)), ("blob", signature)],
        "sshsig token": [("seed", TOKEN.seed), ("application", "ssh:"),
                         ("message, namespace", "as above; flags 01, counter 7"), ("publickey", TOKEN.blob),
                         ("verified over", sha256(b"ssh:") + b"\1" + (7).to_bytes(4,
                                 "big") + sha256(to_sign(RELEASE, message))), ("blob", TOKEN.sign(RELEASE, message))],
        "merkle three leaves": [("leaf 0", leaves[0]), ("leaf 1", leaves[1]), ("leaf 2", leaves[2]),
                                ("root", root_of(leaves)), ("path of 0, first", path_of(leaves, 0)[0]),
                                ("path of 0, second", path_of(leaves, 0)[1]),
                                ("path of 2, only", path_of(leaves, 2)[0])],
        "sealing": [("seed of the node", ROUTER.seed), ("its pk", ROUTER.public),
                    ("X25519 public", sodium.crypto_sign_ed25519_pk_to_curve25519(ROUTER.public)),
                    ("X25519 secret", sodium.crypto_sign_ed25519_sk_to_curve25519(ROUTER.secret)), ("key", key),
                    ("esk", some("ephemeral key: router")),
                    ("sealed", seal(key, ROUTER, "router")), ("plaintext", b"text"),
                    ("blob under key", blob_of(b"text", key)), ("ct_hash", sha256(blob_of(b"text", key)))],
        "head": [("fleet", FLEET), ("epoch", "2"), ("release", str(NOW)), ("expires", str(NOW + 90 * 86400)),
                 ("fallback_floor", str(NOW - 5)), ("tickets", "3"), ("root", some("root")),
                 ("roster", some("roster")), ("nonce", some("nonce", 16)), ("message", good_head),
                 ("head_hash", sha256(good_head))],
        "envelope": [("that head, signed with the key of \u00a7keys", ""), ("message", good_envelope)],
        "ticket": [("node_id", ROUTER.node_id), ("ct_hash", some("bundle")), ("ct_len", "4096"),
                   ("sealed", some("sealed", 80)), ("message", pack(ticket(ROUTER))),
                   ("empty ticket of the same node", pack(empty_ticket(ROUTER)))],
        "proven": [("that ticket, index 2, path", some("path 0") + some("path 1")),
                   ("message", pack(proven(pack(ticket(ROUTER)), 2, [some("path 0"), some("path 1")])))],
        "bundle": [("all defaults, no secrets, no tree", pack(bundle())),
                   ("attribute, expected, host; one secret; a tree",
                    pack(bundle({"attribute": "router", "expected": "/nix/store/abc-nixos", "host": "router"},
                                                                                 [["wg.key", "root", "root", 0o400,
                                        b"secret"]], TREE_REF)))],
        "tree": [("/".join(["a (executable), a-b, b", "c, b", "c.d, flake.nix, \u00fcber", "x"]), pack(tree(FILES)))],
        "digest": [("hashed, for all defaults", pack([{}, [], None])), ("digest", sha256(pack([{}, [], None])))],
        "roster": [("one node", pack(roster(one_node)))],
        "status": [("the smallest of a node that has nothing yet (seq 1, zeros, `new`)", body)],
        "signed": [("node_id", ROUTER.node_id), ("that status, signed with the seed of \u00a7sealing",
                                                 pack(signed(body, ROUTER.sign(STATUS, body))))],
        "bus": [("tick (2, %d)" % NOW, TOPIC + pack(["bento-tick", 1, 2, NOW])),
                ("published, no envelope, no ticket, one blob",
                 TOPIC + pack(["bento-published", 1, b"", [], [one_blob]]))],
        "operations": [("GET_HEAD", request), ("GET_TICKET", pack(["bento-req", 1, 2, h, ROUTER.node_id])),
                       ("GET_BLOB from 262144 on", pack(["bento-req", 1, 3, h, 262144])),
                       ("OK, total 500000, chunk", pack(["bento-rep", 1, "OK", 500000, b"chunk"])),
                       ("NONE", pack(["bento-rep", 1, "NONE"])), ("BAD", pack(["bento-rep", 1, "BAD"])),
                       ("SEQ", pack(["bento-rep", 1, "SEQ", NOW * 10**9 + 7])),
                       ("REFUSED UNKNOWN", pack(["bento-rep", 1, "REFUSED", "UNKNOWN"]))],
        "framing": [("handshake of a REQ", b"\0SP\0\x00\x30\0\0"), ("of a REP", b"\0SP\0\x00\x31\0\0"),
                    ("GET_HEAD over TCP, request id 8abcdef1", len(framed).to_bytes(8, "big") + framed),
                    ("the same over ipc", b"\1" + len(framed).to_bytes(8, "big") + framed)],
        "floor": [("(2, %d) with a hash" % NOW, pack(["bento-floor", 1, 2, NOW, some("other head")])),
                  ("(1, %d) without" % NOW, pack(["bento-floor", 1, 1, NOW, None]))],
    }


def block(lines):
    out = ["```"]
    for label, value in lines:
        text = value.hex() if isinstance(value, bytes) else value
        if len(label) <= 17 and len(text) <= 96:
            out.append("%-18s%s" % (label, text))
        else:
            out.append(label)
            out += ["    " + text[i:i + 96] for i in range(0, len(text), 96)]
    return "\n".join(out + ["```"])


def with_examples(text):
    wanted, seen = examples(), []

    def replace(found):
        seen.append(found[1])
        return "<!-- example: %s -->\n%s\n" % (found[1], block(wanted[found[1]]))

    text = re.sub(r"<!-- example: (.*) -->\n(?:```\n(?:[^`\n].*\n)*```\n)?", replace, text)
    assert sorted(seen) == sorted(wanted), sorted(set(wanted) ^ set(seen))
    return text


MAKERS = (encoding, keys, signatures, merkle, sealing, heads, tickets, bundles, rosters, releases, statuses, buses,
          operations, checks, trusts, served)


def outputs():
    for maker in MAKERS:
        f = maker()
        yield os.path.join(FOLDER, f.name + ".json"), f.text(), len(f.vectors)
    path = os.path.join(FOLDER, "..", "PROTOCOL.md")
    with open(path) as file:
        yield path, with_examples(file.read()), 0


def main():
    wrong, count = 0, 0
    for path, text, vectors in outputs():
        count += vectors
        with open(path, "a+") as file:
            file.seek(0)
            same = file.read() == text
            if not same and "--check" in sys.argv:
                print("%s is not what make_vectors.py makes: run it" % os.path.normpath(path))
                wrong = 1
            elif not same:
                file.truncate(0)
                file.write(text)
    print("%d vectors" % count)
    sys.exit(wrong)


if __name__ == "__main__":
    main()
