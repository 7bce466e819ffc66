"""Releases, genuine and not, made from the documents alone: a second implementation of every structure that a node reads.

A World is a fleet with an admin and three nodes (me, other, third); its releases are what `me` would find in its spool.
"""
import base64
import copy
import hashlib
import os
import struct
import time

import msgpack
from nacl import bindings, public, signing

RELEASE_NAMESPACE = "bento-release-v1"
BLOB_BYTES_MAX = 64 << 20


def sha256(data):
    return hashlib.sha256(data).digest()


def pack(value):
    return msgpack.packb(value, use_bin_type=True)


def string(data):
    data = data.encode() if isinstance(data, str) else data
    return struct.pack(">I", len(data)) + data


class Key:
    """An ed25519 SSH key."""

    def __init__(self):
        self.key = signing.SigningKey.generate()
        self.point = bytes(self.key.verify_key)
        self.blob = string("ssh-ed25519") + string(self.point)
        self.line = "ssh-ed25519 " + base64.b64encode(self.blob).decode()
        self.id = sha256(self.blob)

    def pem(self):
        private = struct.pack(">II", 7, 7) + self.blob + string(bytes(self.key) + self.point) + string("")
        private += bytes(range(1, 1 + -len(private) % 8))
        data = (b"openssh-key-v1\0" + string("none") + string("none") + string("") + struct.pack(">I", 1) +
                string(self.blob) + string(private))
        text = base64.encodebytes(data).decode()
        return "-----BEGIN OPENSSH PRIVATE KEY-----\n%s-----END OPENSSH PRIVATE KEY-----\n" % text

    def sign(self, message, namespace=RELEASE_NAMESPACE):
        """An SSHSIG blob."""
        digest = hashlib.sha512(message).digest()
        signature = self.key.sign(
            b"SSHSIG" + string(namespace) + string("") + string("sha512") + string(digest)).signature
        return (b"SSHSIG" + struct.pack(">I", 1) + string(self.blob) + string(namespace) + string("") +
                string("sha512") + string(string("ssh-ed25519") + string(signature)))

    def seal(self, secret):
        return public.SealedBox(self.key.verify_key.to_curve25519_public_key()).encrypt(secret)


def encrypt(plain):
    """(blob, key)"""
    key = os.urandom(32)
    return bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(plain, b"", bytes(24), key), key


class Configuration:
    """What one host is to run. entries and secrets go in as they are: an attacker does not sort."""

    def __init__(self, entries=None, secrets=(), meta=None, with_tree=True, tree_plain=None, bundle_plain=None,
                 tree_len=None):
        if entries is None:
            entries = [["flake.nix", False, b"{ }\n"]]
        if tree_plain is None:
            tree_plain = pack(["bento-tree", 1, entries])
        self.tree, tree_key = encrypt(tree_plain) if with_tree else (None, None)
        reference = None
        if with_tree:
            reference = [sha256(self.tree), len(self.tree) if tree_len is None else tree_len, tree_key]
        meta = dict(sorted((meta or {"attribute": "me", "host": "me"}).items()))
        if bundle_plain is None:
            bundle_plain = pack(["bento-bundle", 1, meta, list(secrets), reference])
        self.blob, self.key = encrypt(bundle_plain)


def ticket(node, configuration=None, sealed_to=None, ct_len=None):
    if configuration is None:
        return pack(["bento-ticket", 1, node.id, bytes(32), 0, bytes(80)])
    return pack(["bento-ticket", 1, node.id, sha256(configuration.blob),
                 len(configuration.blob) if ct_len is None else ct_len,
                 (sealed_to or node).seal(configuration.key)])


def merkle(leaves):
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return sha256(b"\1" + merkle(leaves[:split]) + merkle(leaves[split:]))


def merkle_path(index, leaves):
    if len(leaves) == 1:
        return []
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    if index < split:
        return merkle_path(index, leaves[:split]) + [merkle(leaves[split:])]
    return merkle_path(index - split, leaves[split:]) + [merkle(leaves[:split])]


class Release:
    """What comes to one node: envelope, proven (None: no ticket), blob and tree (None: none)."""

    def but(self, **changes):
        other = copy.copy(self)
        for name, value in changes.items():
            assert hasattr(self, name)
            setattr(other, name, value)
        return other


class Case:
    """A release that comes to a node which has accepted those in `seen` before; now: what its clock says."""

    def __init__(self, name, release, seen=(), now=None):
        self.name, self.release, self.seen, self.now = name, release, seen, now


class World:
    def __init__(self):
        self.now = int(time.time())
        self.id = os.urandom(32)
        self.admin, self.second, self.stranger = Key(), Key(), Key()
        self.signers, self.threshold = [self.admin], 1
        self.me, self.other, self.third = Key(), Key(), Key()
        self.nodes = sorted([self.me, self.other, self.third], key=lambda n: n.id)

    def empty(self, number, **more):
        """A genuine release that has nothing for me yet."""
        return self.release(number, configuration=None, **more)

    def release(self, number=None, configuration="new", epoch=1, expires=None, fallback_floor=0, fleet=None, signers=None,
                namespace=RELEASE_NAMESPACE, my_ticket=None, without_me=False, head=None, signatures=None):
        """Genuine unless told otherwise. head, signatures: functions that change what is signed, and by what."""
        number = self.now if number is None else number
        if configuration == "new":
            configuration = Configuration()
        nodes = [n for n in self.nodes if n is not self.me or not without_me]
        tickets = [(my_ticket or ticket(n, configuration)) if n is self.me else ticket(n, Configuration(with_tree=False))
                   for n in nodes]
        leaves = [sha256(b"\0" + t) for t in tickets]
        fields = ["bento-head", 1, fleet or self.id, epoch, number,
                  min(number + 90 * 86400, 2**64 - 1) if expires is None else expires, fallback_floor, len(tickets),
                  merkle(leaves), os.urandom(32), os.urandom(16)]
        message = pack(head(fields) if head else fields)
        signed = [s.sign(message, namespace) for s in signers or self.signers[:self.threshold]]
        r = Release()
        r.envelope = pack(["bento-release", 1, message, signatures(message) if signatures else signed])
        r.provens = {n.id: pack(["bento-proven", 1, t, i, merkle_path(i, leaves)])
                     for i, (n, t) in enumerate(zip(nodes, tickets))}
        r.proven = r.provens.get(self.me.id)
        r.blob = configuration.blob if configuration else None
        r.tree = configuration.tree if configuration else None
        r.blob_name = sha256(r.blob).hex() if r.blob else None
        r.tree_name = sha256(r.tree).hex() if r.tree else None
        r.epoch, r.number, r.head_hash = epoch, number, sha256(message)
        return r
