"""A disk whose power can be cut: ext4 on a loop device that writes by itself only once a minute and at no rename. The backing
file is all that reached the disk; a copy of it, mounted, is what the next boot finds."""
import os
import subprocess
import sys

import machine

FOLDER = "/root/images"
IMAGE, BASE, CUT = (os.path.join(FOLDER, name) for name in ("image", "base", "cut"))


class Disk:
    def __init__(self, place, size="64M"):
        self.place = place
        os.makedirs(FOLDER, exist_ok=True)
        machine.mount("-t", "tmpfs", "tmpfs", FOLDER)
        machine.run("truncate", "-s", size, IMAGE)
        machine.run("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", IMAGE)
        os.makedirs(place, exist_ok=True)
        self.mount()

    def mount(self):
        machine.mount("-o", "loop,noauto_da_alloc,commit=60,data=ordered", IMAGE, self.place)

    def unmount(self):
        machine.run("umount", self.place)

    def remember(self):
        """The state from which every cut starts over. Unmounted before and after."""
        machine.run("cp", "--sparse=always", IMAGE, BASE)

    def start_over(self):
        machine.run("cp", "--sparse=always", BASE, IMAGE)
        self.mount()

    def snapshot(self):
        """The moment of the cut."""
        machine.run("cp", "--sparse=always", IMAGE, CUT)

    def come_back(self):
        """What was not on the disk is gone. Unmounted before."""
        os.rename(CUT, IMAGE)
        self.mount()


def skip_without_loop_devices():
    """Only root of the whole machine may mount images."""
    probe = "/root/probe"
    subprocess.run(["truncate", "-s", "4M", probe], check=True)
    subprocess.run(["mkfs.ext4", "-q", "-F", probe], check=True)
    os.mkdir("/root/probed")
    r = subprocess.run(["mount", "-o", "loop", probe, "/root/probed"], capture_output=True, text=True)
    if r.returncode != 0:
        print("skipped: no loop devices here: " + r.stderr.strip().splitlines()[0])
        sys.exit(77)
    subprocess.run(["umount", "/root/probed"], check=True)
