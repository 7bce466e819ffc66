"""A full btrfs, on which a rewrite needs new blocks unless the file was made for it: the dead man's switch acts all the same, and
its end is on record."""
import os
import shutil
import subprocess
import sys

import job_record
import lab
import machine
from forge import World

IMAGE, PLACE = "/root/image", "/root/full"
DIGEST, UNIT = "ab" * 32, "bento-deadman-abababab-1-00000001"


def skip_without_btrfs():
    if shutil.which("mkfs.btrfs") is None:
        print("skipped: mkfs.btrfs is not installed (script/packages installs what is missing)")
        sys.exit(77)
    machine.run("truncate", "-s", "256M", IMAGE)
    machine.run("mkfs.btrfs", "-q", IMAGE)
    os.mkdir(PLACE)
    mounted = subprocess.run(["mount", "-o", "loop", IMAGE, PLACE], capture_output=True, text=True)
    if mounted.returncode != 0:
        print("skipped: btrfs on a loop device cannot be mounted here: " + mounted.stderr.strip().splitlines()[0])
        sys.exit(77)


def rewrite(path, text):
    fd = os.open(path, os.O_RDWR)
    os.pwrite(fd, text.encode(), 0)
    os.fsync(fd)
    os.close(fd)


def fill(path):
    """Until not even a small block finds room."""
    with open(path, "wb", buffering=0) as f:
        for size in (1 << 20, 4096, 1):
            try:
                while True:
                    f.write(bytes([120]) * size)
                    os.fsync(f.fileno())
            except OSError:
                pass


def main():
    skip_without_btrfs()
    node = lab.Daemon(machine.BIN, PLACE + "/node", World())
    node.start()
    node.await_secrets()
    node.stop()
    jobs = os.path.join(node.state, "apply/jobs")
    record, plain = os.path.join(jobs, "deadman"), os.path.join(jobs, "plain")
    rewrite(record, job_record.record_of(DIGEST, 0, -1, UNIT))
    lab.write(plain, " " * job_record.BYTES)
    lab.write(os.path.join(jobs, "deadman.out"), "")
    os.sync()
    fill(os.path.join(PLACE, "ballast"))
    try:
        rewrite(plain, "x" * job_record.BYTES)
        print("skipped: this btrfs has room for a rewrite when it is full")
        sys.exit(77)
    except OSError:
        pass
    ran = subprocess.run([os.path.join(machine.BIN, "bento-apply"), "job", jobs, "deadman", UNIT, "10000", "0", "PATH=/bin", "--",
                          "/bin/sh", "-c", "echo ran >/root/ran"], capture_output=True, text=True, timeout=lab.DEADLINE_S)
    assert os.path.exists("/root/ran"), ran
    assert ran.returncode == 0, ran
    line = lab.read(record).decode()
    assert line.split()[4] == "0" and line.split()[6] == UNIT, line


main()
