"""A fleet of any size for bento-status: a real broker, a repository, and nodes that are nothing but keys which sign."""

import contextlib
import hashlib
import json
import os
import subprocess
import time

from bento_wire import structures
from bento_wire.publisher import Part, Release
from bento_wire.ssh import sha256
from fleet import ADMIN, DAY, FLEET, ZEROS, key, status
from programs import binary, running, until
from real_broker import Broker

PATIENCE = 120
EVERY_HOST = dict(state="up-to-date", code="", attempt=1)


def store_path(name, version="new"):
    """32 letters of a hash, as Nix names paths."""
    return f"/nix/store/{hashlib.sha256(f'{name} {version}'.encode()).hexdigest()[:32]}-nixos-system-{name}"


class SignedFleet:
    def __init__(self, path, names, tags=None, ssh_names=()):
        self.path, self.names = path, list(names)
        self.environment = {"XDG_CACHE_HOME": str(path / "cache")}  # where the newest release is remembered
        self.broker = Broker(path, [ADMIN.public])
        self.keys = {name: key(f"host {name}") for name in self.names}
        self.enrolled = list(self.names)
        self.tags, self.ssh = tags or {}, set(ssh_names)
        self.head, self.number = ZEROS, 0
        self.seq = time.time_ns()
        self.write_repository()

    def start_broker(self):
        self.services = contextlib.ExitStack()
        self.services.enter_context(
            running("bento-broker", "--config", self.broker.config, log=self.path / "log")
        )
        until(self.broker.ready, "the broker answers")

    def stop_broker(self):
        self.services.close()

    def write_repository(self):
        nodes = {
            name: {"key": self.keys[name].public.line(name), "tags": self.tags.get(name, []),
                   **({"ssh": f"root@{name}"} if name in self.ssh else {})}
            for name in self.enrolled
        }  # fmt: skip
        (self.path / "fleet.json").write_text(json.dumps({
            "fleet": FLEET.hex(), "signers": [ADMIN.public.line("admin")],
            "broker": {"admin": str(self.broker.admin_socket)}, "nodes": nodes,
        }))  # fmt: skip

    def publish(self, age=60, days=90, without=()):
        """One blob serves all: the broker cannot look into it."""
        blob = b"a bundle that nobody opens" * 4
        parts = []
        for name in self.names:
            part = Part(self.keys[name].public, name)
            part.row = [part.public.node_id, name, self.tags.get(name, []), store_path(name), f"hosts/{name}", None]
            if name not in without:
                part.ticket = structures.Ticket(node_id=part.public.node_id, ct_hash=sha256(blob), ct_len=len(blob),
                                                sealed=bytes(80))  # fmt: skip
            parts.append(part)
        self.number = max(self.number + 1, int(time.time()) - age)
        release = Release([ADMIN], parts, fleet=FLEET, epoch=1, release=self.number, expires=int(time.time()) + days * DAY)
        code, (missing,) = self.broker.command("MISSING_BLOBS", [sha256(blob)])
        assert code == "OK"
        for ct_hash in missing:
            self.broker.upload_blob(ct_hash, blob)
        assert self.broker.publish(release, self.head)[0] == "OK"
        self.head = release.head_hash

    def signed(self, name, runs="new", boots=None, age=0, **fields):
        """What this node says of the newest release; the digest is as good as any."""
        digest = sha256(store_path(name).encode())
        fields = {**EVERY_HOST, **fields}
        good = fields["state"] in ("up-to-date", "reboot-pending")
        self.seq += 1
        path = store_path(name, runs)
        said = status(
            self.keys[name],
            **{**dict(seq=self.seq, time=int(time.time()) - age, head_hash=self.head, epoch=1, release=self.number,
                      digest=digest, applied=digest if good else ZEROS, running=path, booted=path,
                      profile=store_path(name, boots or runs)), **fields})  # fmt: skip
        return structures.Signed.make(said, self.keys[name])

    def report(self, name, **fields):
        signed = self.signed(name, **fields)
        assert self.broker.put_status(signed)[0] == "OK"
        return structures.Status.decode(structures.Signed.decode(signed).body).seq

    def run(self, *words, expected=None, **environment):
        done = subprocess.run(
            [binary("bento-status"), "-C", self.path, *words], text=True, capture_output=True, timeout=PATIENCE,
            env={**os.environ, **self.environment, **environment},
        )  # fmt: skip
        assert "Sanitizer" not in done.stderr, done.stderr
        if expected is not None:
            assert done.returncode == expected, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done
