"""The fleet of these tests: keys, releases, statuses."""

import hashlib
import os
import time

from bento_wire import ssh, structures
from bento_wire.publisher import Part, Release
from bento_wire.refused import CHUNK_BYTES_MAX

FLEET = hashlib.sha256(b"fleet of the wire tests").digest()
ZEROS = bytes(32)
DAY = 86400


def key(name):
    return ssh.PrivateKey(hashlib.sha256(name.encode()).digest())


ADMIN, TOKEN_ADMIN, STRANGER = key("admin"), ssh.PrivateKey(hashlib.sha256(b"token").digest(), b"ssh:"), key("stranger")
ROUTER, LAPTOP, OUTSIDER = key("router"), key("laptop"), key("outsider")


def numbers():
    """Release numbers that rise, however fast the tests are."""
    number = int(time.time())
    while True:
        yield number
        number += 1


RELEASES = numbers()


def release(parts=None, signers=(ADMIN,), **head):
    number = head.pop("release", None) or next(RELEASES)
    fields = dict(fleet=FLEET, epoch=1, release=number, expires=number + 30 * DAY)
    return Release(signers, parts or empty_parts(), **{**fields, **head})


def empty_parts():
    return [Part(ROUTER.public, "router"), Part(LAPTOP.public, "laptop")]


def full_parts(content=b"{ }"):
    """router's tree needs more than one chunk."""
    files = [["configuration.nix", False, content], ["data/random", True, os.urandom(CHUNK_BYTES_MAX + 1000)]]
    router = Part(
        ROUTER.public, "router", {"expected": "/nix/store/abc-nixos", "host": "router", "kind": "classic"},
        [["wg.key", "root", "", 0o400, b"secret"]], files, ["edge", "home"],
    )  # fmt: skip
    return [router, Part(LAPTOP.public, "laptop", {"substitute_only": True})]


def status(identity=ROUTER, **fields):
    defaults = dict(
        fleet=FLEET, node_id=identity.node_id, seq=time.time_ns(), time=int(time.time()), nonce=os.urandom(16),
        head_hash=ZEROS, epoch=0, release=0, digest=ZEROS, applied=ZEROS, attempt=0, state="new", code="", running="",
        booted="", profile="", boot_id=os.urandom(16), reboot=False, auto=False, speaks=1, timings={}, log=b"",
    )  # fmt: skip
    return structures.Status(**{**defaults, **fields})
