"""bento-node, taken over, changes a file after it was checked, or puts something else where a file should be."""
import os

from forge import Configuration

EXPECTED = "/nix/store/" + "a" * 32 + "-nixos-system"


def test_what_is_installed_is_what_was_verified(lab):
    d = lab.daemon()
    added, gate = d.path("added"), d.path("gate")
    os.mkfifo(gate)
    # The first command of a build waits for us; the second would put the files into the store.
    lab.write(os.path.join(d.traps, "nix-store"), """#!/bin/sh
case $1 in
--realise) read -r _ <%s ;;
--add) /bin/cp -R "$2" %s ;;
esac
exit 1
""" % (gate, added), 0o755)
    meta = {"attribute": "me", "host": "me", "expected": EXPECTED}
    entries = [["flake.nix", False, b"{ good = true; }\n"], ["run", True, b"good\n"]]
    release = d.world.release(configuration=Configuration(entries, meta=meta))
    evil = d.world.release(configuration=Configuration([["flake.nix", False, b"{ evil = true; }\n"]], meta=meta))
    d.start()
    name = d.deliver(release)
    kept = os.path.join(d.state, "apply/kept")
    lab.wait_until(lambda: any(not n.endswith(".new") for n in os.listdir(kept)), "the release to be kept")
    d.put_blob(release.blob_name, evil.blob)
    d.put_blob(release.tree_name, evil.tree)
    folder = os.path.join(d.state, "spool/in", name)
    if os.path.isdir(folder):
        lab.write(os.path.join(folder, "envelope"), evil.envelope)
        lab.write(os.path.join(folder, "proven"), evil.proven)
    lab.write(gate, b"go\n")
    lab.wait_until(lambda: d.status_files() and d.status(d.status_files()[-1])["state"] == "failed", "the build to fail")
    assert d.status(d.status_files()[-1])["code"] == "BUILD"
    d.stop()
    files = {n: (lab.read(os.path.join(added, n)), os.access(os.path.join(added, n), os.X_OK))
             for n in os.listdir(added)}
    assert {n: c for n, (c, x) in files.items()} == {"flake.nix": b"{ good = true; }\n", "run": b"good\n"}, files
    assert os.stat(os.path.join(added, "run")).st_mode & 0o100 and not os.stat(
        os.path.join(added, "flake.nix")).st_mode & 0o111
    d.assert_nothing_ran()


def refused_once(lab, d, release, code):
    before = d.status_files()
    d.deliver_and_wait(release)
    lab.wait_until(lambda: len(d.status_files()) > len(before), "a status")
    assert d.status(d.status_files()[-1])["code"] == code


def test_damaged_blob_does_not_keep_the_good_one_out(lab):
    d = lab.daemon()
    release = d.world.release()
    d.start()
    refused_once(lab, d, release.but(blob=d.world.release().blob), "HASH")
    d.deliver(release)
    kept = os.path.join(d.state, "apply/kept")
    lab.wait_until(lambda: any(not n.endswith(".new") for n in os.listdir(kept)), "the release to be kept")
    d.stop()


def odd_things(lab, d):
    """What may lie there instead of a regular file; none may be followed, none may make bento-apply wait."""
    secret = d.path("identity")
    yield lambda path: os.symlink(secret, path)
    yield lambda path: os.symlink("/dev/zero", path)
    yield lambda path: os.mkfifo(path)
    yield lambda path: os.mkdir(path)
    yield lambda path: os.symlink("nowhere", path)


def test_links_and_pipes_in_the_spool_are_refused(lab):
    d = lab.daemon()
    d.start()
    spool = os.path.join(d.state, "spool/in")
    number = d.world.now
    for part in ("envelope", "proven", "blob", "tree"):
        for put in odd_things(lab, d):
            number += 1
            r = d.world.release(number)
            before = d.status_files()
            target = os.path.join(spool, "blobs", {"blob": r.blob_name, "tree": r.tree_name}.get(part, ""))
            if part == "tree":
                d.put_blob(r.blob_name, r.blob)
            if part in ("blob", "tree"):
                put(target)
            fresh = os.path.join(spool, "release.new")
            os.mkdir(fresh)
            for name in ("envelope", "proven"):
                if name == part:
                    put(os.path.join(fresh, name))
                else:
                    lab.write(os.path.join(fresh, name), getattr(r, name))
            name = "1.%d.%s" % (number, r.head_hash[:8].hex())
            os.rename(fresh, os.path.join(spool, name))
            lab.wait_until(lambda: not d.is_waiting(name), "%s to be refused" % part)
            # Without an envelope one refusal is like the other, and is said once.
            lab.wait_until(lambda: len(d.status_files()) > (0 if part == "envelope" else len(before)), "a status")
            status = d.status(d.status_files()[-1])
            assert (status["state"], status["code"]) == ("refused", "FORMAT"), status
            for path in (target,) if part in ("blob", "tree") else ():
                os.rmdir(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)
    d.stop()
    d.assert_nothing_ran()
    assert lab.read(d.path("identity")) == d.world.me.pem().encode()


def test_linked_release_folder_is_not_followed(lab):
    d = lab.daemon()
    d.start()
    r = d.world.empty(d.world.now)
    outside = d.path("outside")
    os.mkdir(outside)
    lab.write(os.path.join(outside, "envelope"), r.envelope)
    lab.write(os.path.join(outside, "proven"), r.proven)
    os.symlink(outside, os.path.join(d.state, "spool/in", "1.%d.%s" % (r.number, r.head_hash[:8].hex())))
    d.deliver_and_wait(d.world.empty(d.world.now - 1))  # an older one: both were looked at when this is gone
    assert d.floors()[0][1] == d.world.now - 1
    assert sorted(os.listdir(outside)) == ["envelope", "proven"]
    d.stop()
