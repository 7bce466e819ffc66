"""A machine that can be switched off: real Nix, systems made by tests/fleet. run.sh gave us a host of our own, so we are its
first process and all of it ends with us.

What the machine keeps lies in `disk`: nix, boot and state. /run, the boot's number and the processes are lost when it is off.
"""
import hashlib
import os
import shutil
import signal
import subprocess
import uuid

import msgpack

import lab

BIN = os.environ["BENTO_BIN"]
MKSYSTEM = os.path.join(os.environ["LAB_PROJECT"], "tests/fleet/utils/mksystem.nix")
PROFILE = "/nix/var/nix/profiles/system"
BOOT_ID = "/proc/sys/kernel/random/boot_id"
BOOT_ENTRY = "/boot/loader/entries/nixos.conf"
SECRETS = "/run/bento-secrets"
SWITCH_LOG = "/run/bento-test/switch.log"


def run(*words, **more):
    result = subprocess.run(words, capture_output=True, text=True, timeout=lab.DEADLINE_S, **more)
    assert result.returncode == 0, (words, result.returncode, result.stderr)
    return result.stdout


def mount(*words):
    run("mount", *words)


def mount_memory(folder):
    os.makedirs(folder, exist_ok=True)
    mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", folder)


def system_of(link):
    """The store path that a link leads to, "" if it leads nowhere."""
    return os.path.realpath(link) if os.path.exists(link) else ""


def end_processes():
    """All but us, the first process here."""
    assert os.getpid() == 1
    try:
        os.kill(-1, signal.SIGKILL)
    except ProcessLookupError:
        pass
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


class Machine:
    """Off, with an empty disk: in memory, or what make_disk(folder) mounts there."""

    def __init__(self, make_disk=mount_memory):
        self.program = os.path.join(BIN, "bento-apply")
        self.disk, self.saved = "/root/disk", "/root/saved"
        os.mkdir(self.disk, 0o755)
        make_disk(self.disk)
        mount_memory(self.saved)
        self.systems = 0

    def power_on(self):
        """Begins a boot, without any system yet."""
        for name in ("nix", "boot", "state"):
            os.makedirs(os.path.join(self.disk, name), 0o755, exist_ok=True)
        mount("--bind", os.path.join(self.disk, "nix"), "/nix")
        mount("--bind", os.path.join(self.disk, "boot"), "/boot")
        mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run")
        lab.write("/run/boot-id", str(uuid.uuid4()) + "\n", 0o444)
        mount("--bind", "/run/boot-id", BOOT_ID)

    end_processes = staticmethod(end_processes)

    def power_off(self):
        self.end_processes()
        for place in (BOOT_ID, "/run", "/boot", "/nix"):
            run("umount", "--recursive", place)  # also what bento-apply mounts below /run

    def boot(self):
        """What the boot loader and stage 2 do with the default entry."""
        system = self.boots()
        os.symlink(system, "/run/booted-system")
        run(os.path.join(system, "activate"))
        return system

    # ---- systems

    def build(self, mode="ok"):
        self.systems += 1
        os.makedirs("/nix/var/nix/gcroots", exist_ok=True)
        link = "/nix/var/nix/gcroots/system-%d" % self.systems
        run("nix", "build", "-o", link, "--impure", "--expr",
            '(import %s { hostName = "me"; mode = "%s"; text = "%d"; }).config.system.build.toplevel' % (
                MKSYSTEM, mode, self.systems))
        return os.path.realpath(link)

    def set_profile(self, system):
        os.makedirs(os.path.dirname(PROFILE), exist_ok=True)
        run("nix-env", "-p", PROFILE, "--set", system)

    def switch(self, system, how):
        run(os.path.join(system, "bin/switch-to-configuration"), how)

    def install(self, system):
        """As an installer leaves it: profile, boot entry, and it runs."""
        self.set_profile(system)
        self.switch(system, "boot")
        self.boot()

    def runs(self):
        return system_of("/run/current-system")

    def profile(self):
        return system_of(PROFILE)

    def boots(self):
        """The system of the default boot entry, which must be whole."""
        lines = lab.read(BOOT_ENTRY).decode().splitlines()
        assert [line.split()[0] for line in lines] == ["title", "version", "linux", "initrd", "options"], lines
        assert lines[-1].startswith("options init=") and lines[-1].endswith("/init"), lines
        return lines[-1][len("options init="):-len("/init")]

    def ends(self):
        """(runs, profile, boot entry)"""
        return self.runs(), self.profile(), self.boots()

    def switched(self, system, action):
        """How often its switch-to-configuration began with that."""
        if not os.path.exists(SWITCH_LOG):
            return 0
        with open(SWITCH_LOG) as f:
            return sum(" begin action=%s " % action in line and line.endswith(" system=%s\n" % system) for line in f)

    # ---- the same beginning for every kill

    def kept(self):
        return [(os.path.join(self.disk, "nix/var"), "nix-var"), (os.path.join(self.disk, "boot"), "boot"),
                (os.path.join(self.disk, "state"), "state")]

    def save(self):
        for place, name in self.kept():
            run("cp", "-a", place, os.path.join(self.saved, name))
        self.saved_runs = self.runs()

    def restore(self):
        """Everything but the store itself, whose paths only grow in number."""
        for place, name in self.kept():
            for entry in os.scandir(place):
                (shutil.rmtree if entry.is_dir(follow_symlinks=False) else os.unlink)(entry.path)
            run("cp", "-a", os.path.join(self.saved, name, "."), place)
        os.unlink("/run/current-system")
        os.symlink(self.saved_runs, "/run/current-system")
        if os.path.exists(SWITCH_LOG):
            os.unlink(SWITCH_LOG)
        if os.path.lexists(SECRETS):
            os.unlink(SECRETS)
            run("umount", SECRETS + ".d")

    def secrets(self):
        """{name: content} of those that are installed."""
        names = os.listdir(SECRETS) if os.path.lexists(SECRETS) else []
        return {name: lab.read(os.path.join(SECRETS, name)) for name in names}


class Node(lab.Daemon):
    """bento-apply on that machine: what it keeps is the machine's, what it acts on are the real profile and systems."""

    def __init__(self, machine, world, **config):
        self.machine, self.more = machine, config
        super().__init__(BIN, "/root/node", world)

    def write_config(self, **more):
        self.state, self.floor_copy = os.path.join(self.machine.disk, "state"), "/nix/var/bento/floor"
        super().write_config(profile=PROFILE, secrets=SECRETS, current_system="/run/current-system", booted_system="/run/booted-system",
                             path="/run/current-system/sw/bin:" + os.environ["PATH"], **self.more, **more)

    def journal(self):
        return journal_read(os.path.join(self.state, "apply/journal"))

    def is_idle(self):
        journal = self.journal()
        return journal is not None and journal.state == "IDLE"


# ---- files of bento-apply, read and written by a second implementation

SLOT_HEADER_BYTES = 64


def slots_read(data):
    """The newest valid record of the two slots, None if there is none."""
    half, found = len(data) // 2, (0, None)
    for slot in (data[:half], data[half:]):
        length = int.from_bytes(slot[24:32], "little")
        record = slot[SLOT_HEADER_BYTES:SLOT_HEADER_BYTES + length]
        if slot[:8] == b"bentoslt" and slot[32:64] == hashlib.sha256(slot[:32] + record).digest():
            found = max(found, (int.from_bytes(slot[16:24], "little"), record))
    return found[1]


def slots_made(record, room=4096):
    head = b"bentoslt" + (1).to_bytes(4, "little") + bytes(4) + (1).to_bytes(8, "little")
    head += len(record).to_bytes(8, "little")
    return (head + hashlib.sha256(head + record).digest() + record).ljust(room, b"\0") + bytes(room)


NONE, OPEN, COMMIT, REVERT = range(4)


def decision_made(digest, attempt, decision):
    return slots_made(msgpack.packb(["bento-decision", 1, digest, attempt, decision]))


def decision_read(path):
    kind, version, digest, attempt, decision = msgpack.unpackb(slots_read(lab.read(path)))
    assert (kind, version) == ("bento-decision", 1)
    return decision


STATES = ["IDLE", "OBTAINING", "CHECKING", "ARMING", "TRYING", "CONFIRMING", "COMMITTING", "REVERTING", "RETURNING", "WAITING",
          "REBOOTING", "PROVING", "RESTORING", "INSTALLING"]


class Journal:
    """The trial, whose form is frozen, and the first fields of the rest."""

    def __init__(self, data):
        trial, rest = unpack_all(slots_read(data))
        assert trial[:2] == ["bento-trial", 1] and rest[0] == "bento-journal"
        self.trial_attempt, self.new_path, self.old_path, self.old_profile = trial[3], *trial[5:8]
        self.state, self.attempt, self.seen = STATES[rest[2]], rest[6], rest[8]


def journal_read(path):
    """None: nothing was ever recorded."""
    if not os.path.exists(path):
        return None
    data = lab.read(path)
    return Journal(data) if slots_read(data) is not None else None


def unpack_all(data):
    unpacker = msgpack.Unpacker()
    unpacker.feed(data)
    return list(unpacker)


def leftovers(folder):
    """Temporary files of writes that were cut short."""
    return [os.path.join(at, name) for at, _, names in os.walk(folder) for name in names if ".tmp-" in name]
