"""A node on trial: its folders, bento-apply as a verifier or as the daemon, and the invariant of every attack: nothing that
it has is changed, nothing is executed."""
import hashlib
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import time

import msgpack
from nacl import signing

from forge import string

DEADLINE_S = 120
TRAPS = ["nix", "nix-store", "nix-env", "nix-build", "nix-instantiate", "nix-prefetch-url", "git", "ssh"]
NO_FLOOR = (0, 0, None)


def write(path, data, mode=0o600):
    with open(path, "wb") as f:
        f.write(data.encode() if isinstance(data, str) else data)
    os.chmod(path, mode)


def read(path):
    with open(path, "rb") as f:
        return f.read()


def wait_until(holds, what):
    """For what sends no event: looks again and again until the deadline."""
    end = time.monotonic() + DEADLINE_S
    while not holds():
        assert time.monotonic() < end, "waited in vain: " + what
        time.sleep(0.005)


def snapshot(folder):
    """Everything below a folder: {path: kind, mode, owner, content}."""
    found = {}
    for at, folders, files in os.walk(folder):
        for name in folders + files:
            path = os.path.join(at, name)
            st = os.lstat(path)
            content = b""
            if stat.S_ISLNK(st.st_mode):
                content = os.readlink(path).encode()
            elif stat.S_ISREG(st.st_mode):
                content = hashlib.sha256(read(path)).digest()
            found[os.path.relpath(path, folder)] = (st.st_mode, st.st_uid, st.st_gid, content)
    return found


def changed(before, after):
    return sorted(p for p in before.keys() | after.keys() if before.get(p) != after.get(p))


def decode_floor(data):
    kind, version, epoch, release, head_hash = msgpack.unpackb(data)
    assert (kind, version) == ("bento-floor", 1)
    return epoch, release, head_hash


class Box:
    """A folder with a system that must not change, and traps where programs would be."""

    def __init__(self, bin_folder, folder, world):
        self.program = os.path.join(bin_folder, "bento-apply")
        self.folder, self.world = folder, world
        self.traps = os.path.join(folder, "traps")
        self.executed = os.path.join(folder, "executed")
        system = os.path.join(folder, "store/old-system/bin")
        for path in (self.traps, system, os.path.join(folder, "profiles")):
            os.makedirs(path)
        for name in TRAPS:
            self.trap(os.path.join(self.traps, name))
        self.trap(os.path.join(system, "switch-to-configuration"))
        write(os.path.join(folder, "store/old-system/nixos-version"), "old", 0o644)
        for link in ("profiles/system", "current-system", "booted-system"):
            os.symlink(os.path.join(folder, "store/old-system"), os.path.join(folder, link))
        os.symlink(shutil.which("ssh-keygen"), os.path.join(self.traps, "ssh-keygen"))
        os.chmod(folder, 0o755)

    def trap(self, path):
        write(path, '#!/bin/sh\necho "$0 $*" >>%s\nexit 1\n' % self.executed, 0o755)

    def path(self, *parts):
        return os.path.join(self.folder, *parts)

    def assert_nothing_ran(self):
        assert not os.path.exists(self.executed), "executed: %r" % read(self.executed)


class Verifier(Box):
    """`bento-apply verify` with a state of its own."""

    def __init__(self, bin_folder, folder, world):
        super().__init__(bin_folder, folder, world)
        self.state = self.path("node")
        os.makedirs(self.path("spool/in"))
        os.makedirs(self.path("spool/out"))
        os.mkdir(self.state, 0o700)
        self.put("fleet", world.id.hex() + "\n")
        self.put("signers", "".join(s.line + " admin\n" for s in world.signers))
        self.put("threshold", "%d\n" % world.threshold)
        self.put("identity", world.me.pem())

    def put(self, name, text):
        write(os.path.join(self.state, name), text)

    def floor(self):
        path = os.path.join(self.state, "floor")
        return decode_floor(read(path)) if os.path.exists(path) else NO_FLOOR

    def words(self, release, now=None):
        """The command line; writes the release's files beside the state."""
        words = ["verify", "--state", self.state, "--now", str(self.world.now if now is None else now)]
        for name in ("envelope", "proven", "blob", "tree"):
            data = getattr(release, name)
            if data is None and name in ("blob", "tree"):
                break
            if data is not None:
                write(self.path("files-" + name), data)
            elif os.path.exists(self.path("files-" + name)):
                os.unlink(self.path("files-" + name))
            words.append(self.path("files-" + name))
        return words

    def verify(self, release, now=None):
        """(exit status, what it printed)"""
        r = subprocess.run([self.program] + self.words(release, now), capture_output=True, text=True, timeout=DEADLINE_S,
                           env={**os.environ, "PATH": self.traps})
        assert r.returncode in (0, 1) and "Sanitizer" not in r.stderr, r
        return r.returncode, r.stdout, r.stderr

    def snapshot(self):
        found = snapshot(self.folder)
        return {p: v for p, v in found.items() if not p.startswith("files-")}


class Daemon(Box):
    """The real bento-apply, without network as always: what bento-node would do, the test does."""

    def __init__(self, bin_folder, folder, world):
        super().__init__(bin_folder, folder, world)
        self.state = self.path("state")
        self.config = self.path("node.json")
        self.floor_copy = self.path("floor-copy/floor")
        self.process = None
        write(self.path("identity"), world.me.pem())
        self.write_config()

    def write_config(self, **more):
        w = self.world
        write(self.config, json.dumps({
            "fleet": w.id.hex(), "signers": [s.line + " admin" for s in w.signers], "threshold": w.threshold,
            "endpoints": [{"tunnel": "none", "pub": "tcp://127.0.0.1:1", "rep": "tcp://127.0.0.1:1"}],
            "state": self.state, "secrets": self.path("secrets"), "floor_copy": self.floor_copy,
            "identity": self.path("identity"), "profile": self.path("profiles/system"),
            "current_system": self.path("current-system"), "booted_system": self.path("booted-system"),
            "path": self.traps, "node_user": "nobody-of-this-name", **more}), 0o644)

    def command(self, *words):
        return [self.program, "--config", self.config, *words]

    def start(self, under=(), ready=True):
        """Returns when it says that it is ready. under: words before its command line; not ready: does not wait for that."""
        path = self.path("notify")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
            s.settimeout(0.05)
            s.bind(path)
            self.log = open(self.path("log"), "a")
            self.began = self.log.tell()
            self.spawn(under, path)
            end = time.monotonic() + DEADLINE_S
            while ready and not self.says_ready(s):
                assert time.monotonic() < end, read(self.path("log"))
                if self.process.poll() is not None:
                    # As a service manager does: a child of the one that was killed may hold the lock until its exec.
                    assert b"holds the lock" in read(self.path("log")).splitlines()[-1], read(self.path("log"))
                    self.spawn(under, path)
        os.unlink(path)

    def await_secrets(self):
        """What it does at every start has been done since the last one."""
        wait_until(lambda: b"job ended kind=secrets" in read(self.path("log"))[self.began:], "its secrets to be installed")

    def spawn(self, under, path):
        self.process = subprocess.Popen([*under, *self.command("--no-systemd")], stderr=self.log,
                                        env={**os.environ, "NOTIFY_SOCKET": path})

    @staticmethod
    def says_ready(notifications):
        try:
            message = notifications.recv(4096)
        except TimeoutError:
            return False
        assert b"READY=1" in message, message
        return True

    def ended(self):
        """Waits for its end; returns its exit status."""
        status = self.process.wait(DEADLINE_S)
        self.log.close()
        self.process = None
        return status

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        status = self.ended()
        assert status == 0, (status, read(self.path("log")).decode())

    def close(self):
        if self.process:
            self.process.kill()
            self.ended()

    def put_blob(self, name, data):
        folder = os.path.join(self.state, "spool/in")
        write(os.path.join(folder, "blob.new"), data)
        os.rename(os.path.join(folder, "blob.new"), os.path.join(folder, "blobs", name))

    def deliver(self, release, claimed=None):
        """As bento-node does it: blobs first, then the folder, complete, by rename. Returns the folder's name."""
        for name, data in ((release.blob_name, release.blob), (release.tree_name, release.tree)):
            if data is not None:
                self.put_blob(name, data)
        spool = os.path.join(self.state, "spool/in")
        fresh = os.path.join(spool, "release.new")
        os.mkdir(fresh, 0o700)
        write(os.path.join(fresh, "envelope"), release.envelope)
        if release.proven is None:
            write(os.path.join(fresh, "noticket"), b"")
        else:
            write(os.path.join(fresh, "proven"), release.proven)
        epoch, number = claimed or (release.epoch, release.number)
        name = "%d.%d.%s" % (epoch, number, release.head_hash[:8].hex())
        os.rename(fresh, os.path.join(spool, name))
        return name

    def is_waiting(self, name):
        return os.path.lexists(os.path.join(self.state, "spool/in", name))

    def deliver_and_wait(self, release, claimed=None):
        """Until it was looked at: accepted and seen again, or refused."""
        name = self.deliver(release, claimed)
        # An accepted one goes at the next look.
        wait_until(lambda: not self.is_waiting(name) or self.look_again(), "release %s to be handled" % name)
        if os.path.exists(os.path.join(self.state, "spool/in/looked")):
            os.unlink(os.path.join(self.state, "spool/in/looked"))

    def look_again(self):
        """A rename in the spool makes it look. Returns None: when it has looked, nobody is told."""
        fresh = os.path.join(self.state, "spool/in", "again")
        write(fresh, b"")
        os.rename(fresh, os.path.join(self.state, "spool/in/looked"))

    def status_files(self):
        folder = os.path.join(self.state, "spool/out")
        return sorted(n for n in os.listdir(folder) if n.endswith(".status"))

    def status(self, name):
        """One of spool/out: decoded, and its signature checked."""
        kind, version, body, signature = msgpack.unpackb(read(os.path.join(self.state, "spool/out", name)))
        assert (kind, version) == ("bento-signed", 1)
        assert signature[:6] == b"SSHSIG"
        me = self.world.me
        message = (b"SSHSIG" + string("bento-status-v1") + string("") + string("sha512") +
                   string(hashlib.sha512(body).digest()))
        assert me.blob in signature
        signing.VerifyKey(me.point).verify(message, signature[-64:])
        fields = msgpack.unpackb(body)
        assert fields[2] == self.world.id and fields[3] == me.id
        return dict(zip(("kind", "version", "fleet", "node_id", "seq", "time", "nonce", "head_hash", "epoch", "release",
                         "digest", "applied", "attempt", "state", "code"), fields))

    def floors(self):
        return [decode_floor(read(p)) if os.path.exists(p) else NO_FLOOR
                for p in (os.path.join(self.state, "apply/floor"), self.floor_copy)]

    def snapshot(self):
        found = snapshot(self.folder)
        return {p: v for p, v in found.items() if p not in ("log", "notify")}
