"""A release whose system could not go on: it drops its own signer, or its bento cannot read what is there. Its own
`bento-apply selfcheck` is asked before the switch. (That preflight asks is tested with the trial.)"""
import hashlib
import os
import shutil
import subprocess

import lab as labs
from forge import Key


def running_node(lab):
    """A node that has accepted a release, and stands still; the head's file."""
    d = lab.daemon()
    d.start()
    d.await_secrets()
    head = d.world.empty(d.world.now)
    d.deliver_and_wait(head)
    d.stop()
    lab.write(d.path("head"), head.envelope)
    return d


def selfcheck(d, code, why="", head="head"):
    before = d.snapshot()
    r = subprocess.run(d.command("selfcheck", d.path(head)), capture_output=True, text=True, timeout=labs.DEADLINE_S)
    assert "Sanitizer" not in r.stderr, r.stderr
    assert d.snapshot() == before, labs.changed(before, d.snapshot())
    if code == "OK":
        assert (r.returncode, r.stdout) == (0, "OK\n"), r
    else:
        assert r.returncode == 1 and r.stdout.startswith("LOCKOUT: ") and why in r.stdout, r
        assert r.stdout.count("\n") == 1, r


def test_a_system_that_can_go_on(lab):
    d = running_node(lab)
    selfcheck(d, "OK")
    d.write_config(signers=[k.line for k in (Key(), d.world.admin)])
    selfcheck(d, "OK")  # a rotation that keeps the old key for one release
    d.write_config(minimum_release=d.world.now, epoch=1)
    selfcheck(d, "OK")
    d.assert_nothing_ran()


def test_a_newer_head_without_a_ticket_is_no_lock_out(lab):
    """Else a broker could keep a node from what it builds by showing it the next head."""
    d = running_node(lab)
    d.start()
    d.await_secrets()
    d.deliver_and_wait(d.world.release(d.world.now + 1).but(proven=None))
    d.stop()
    assert d.floors()[0][1] == d.world.now + 1
    selfcheck(d, "OK")


def test_a_bad_rotation(lab):
    d = running_node(lab)
    d.write_config(signers=[Key().line])
    selfcheck(d, "LOCKOUT", "SIGNER")
    d.write_config(signers=[d.world.admin.line, Key().line], threshold=2)
    selfcheck(d, "LOCKOUT", "THRESHOLD")
    d.write_config(fleet=os.urandom(32).hex())
    selfcheck(d, "LOCKOUT", "FLEET")
    d.write_config(epoch=3)
    selfcheck(d, "LOCKOUT", "EPOCH")
    d.write_config(minimum_release=d.world.now + 1, epoch=1)
    selfcheck(d, "LOCKOUT", "ROLLBACK")


def test_a_configuration_that_does_not_work(lab):
    d = running_node(lab)
    d.write_config(identity=d.path("gone"))
    selfcheck(d, "LOCKOUT", "gone")
    lab.write(d.path("another"), Key().pem())
    d.write_config(identity=d.path("another"))
    selfcheck(d, "LOCKOUT", "identity")
    d.write_config(state=d.path("elsewhere"))
    selfcheck(d, "LOCKOUT", "elsewhere")
    d.write_config(new_option=True)
    selfcheck(d, "LOCKOUT", "new_option")
    d.write_config(signers=[])
    selfcheck(d, "LOCKOUT", "signers")
    d.write_config()
    os.chmod(d.config, 0o666)
    selfcheck(d, "LOCKOUT", "chmod")
    os.unlink(d.config)
    selfcheck(d, "LOCKOUT", d.config)


def test_a_state_that_this_bento_cannot_read(lab):
    d = running_node(lab)
    journal = os.path.join(d.state, "apply/journal")
    floor = os.path.join(d.state, "apply/floor")
    good = labs.read(journal)
    size = len(good) // 2
    for path, bad in ((journal, reslot(good, size)), (journal, b"x" * 100), (floor, b"\x00"), (floor, labs.read(floor) + b"x")):
        kept = labs.read(path)
        lab.write(path, bad)
        selfcheck(d, "LOCKOUT", os.path.basename(path))
        lab.write(path, kept)
        selfcheck(d, "OK")
    selfcheck(d, "LOCKOUT", "nowhere", head="nowhere")
    shutil.rmtree(os.path.join(d.state, "apply"))
    selfcheck(d, "LOCKOUT", "apply")


def reslot(data, size):
    """The journal as a later version may write it: the trial as ever, then something new. Slots as in proto/rt/fs.c."""
    out = b""
    for at in (0, size):
        slot = bytearray(data[at:at + size])
        length = int.from_bytes(slot[24:32], "little")
        if slot[:8] == b"bentoslt" and length:
            record = bytes(slot[64:64 + length]).replace(b"bento-journal\1", b"bento-journal\2", 1)
            assert record != bytes(slot[64:64 + length])
            slot[64:64 + length] = record
            slot[32:64] = hashlib.sha256(bytes(slot[:32]) + record).digest()
        out += bytes(slot)
    assert out != data
    return out
