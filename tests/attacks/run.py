"""Runs the attacks of one folder: run.py BIN FOLDER [CASE…]

FOLDER/attack.py makes the releases (cases) and may have tests of its own (test_…); FOLDER/expect says what has to come out,
a line a case: NAME CODE [raised]. `raised`: the head is authentic and new, so it must be the floor afterwards; without it the
floor must not move. Every case goes to `bento-apply verify`; every one that is to be refused goes to the running bento-apply
as well, twice, unless its clock is not ours. After each, whatever is not named here must be as it was.
"""
import importlib.util
import os
import shutil
import sys
import tempfile

import lab
from forge import Case, World


def load(folder):
    spec = importlib.util.spec_from_file_location("attack", os.path.join(folder, "attack.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def expectations(folder):
    path = os.path.join(folder, "expect")
    if not os.path.exists(path):
        return {}
    with open(path) as f:
        return {line.split()[0]: line.split()[1:] for line in f if line.strip()}


def by_verifier(bench, case, code, raised):
    v = bench.verifier()
    for release in case.seen:
        status, out, errors = v.verify(release)
        assert status == 0, ("seen before", out, errors)
    floor, before = v.floor(), v.snapshot()
    status, out, errors = v.verify(case.release, case.now)
    assert out == code + "\n", "%s instead of %s: %s" % (out.strip(), code, errors)
    assert status == (0 if code == "OK" else 1), status
    assert code == "OK" or errors.count("\n") == 1, errors
    r = case.release
    assert v.floor() == ((r.epoch, r.number, r.head_hash) if raised else floor), v.floor()
    different = lab.changed(before, v.snapshot())
    assert different in ([["node/floor"], ["node", "node/floor"]] if raised else [[]]), different
    v.assert_nothing_ran()


# What a refusal may change: its status, and the number of that in the journal; the folder of the release is gone.
MAY_CHANGE = {"state/apply/journal", "state/spool/out/want", "state/spool/out/state.json"}
FLOORS = {"state/apply/floor", "floor-copy", "floor-copy/floor"}


def by_daemon(bench, case, code, raised):
    d = bench.daemon()
    d.start()
    for release in case.seen:
        d.deliver_and_wait(release)
    d.await_secrets()
    floors, statuses = d.floors(), d.status_files()
    for name, data in ((case.release.blob_name, case.release.blob), (case.release.tree_name, case.release.tree)):
        if data is not None:
            d.put_blob(name, data)
    before = d.snapshot()
    d.deliver_and_wait(case.release)
    lab.wait_until(lambda: len(d.status_files()) > len(statuses), "a status")
    d.deliver_and_wait(case.release)
    fresh = [n for n in d.status_files() if n not in statuses]
    assert len(fresh) == 1, fresh
    status = d.status(fresh[0])
    assert (status["state"], status["code"]) == ("refused", code), status
    r = case.release
    expected = [(r.epoch, r.number, r.head_hash)] * 2 if raised else floors
    assert d.floors() == expected, d.floors()
    assert (status["epoch"], status["release"], status["head_hash"]) == (
        expected[0][0], expected[0][1], expected[0][2] or bytes(32)), status
    allowed = MAY_CHANGE | {"state/spool/out/" + fresh[0]} | (FLOORS if raised else set())
    different = set(lab.changed(before, d.snapshot()))
    assert different <= allowed, different - allowed
    d.assert_nothing_ran()
    d.stop()
    log = lab.read(d.path("log"))
    assert log.count(b"release refused") == 2 and b"Sanitizer" not in log, log


class Bench:
    """Makes nodes, and clears them away."""

    wait_until, read, write = staticmethod(lab.wait_until), staticmethod(lab.read), staticmethod(lab.write)

    def __init__(self, bin_folder, prepare):
        self.bin, self.prepare, self.made, self.folder = bin_folder, prepare, [], tempfile.mkdtemp(prefix="bento-attack-")
        os.chmod(self.folder, 0o755)
        self.world = World()
        prepare(self.world)

    def node(self, kind):
        node = kind(self.bin, os.path.join(self.folder, "node-%d" % len(self.made)), self.world)
        self.made.append(node)
        return node

    def verifier(self):
        return self.node(lab.Verifier)

    def daemon(self):
        return self.node(lab.Daemon)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        for node in self.made:
            if isinstance(node, lab.Daemon):
                node.close()
                if kind and os.path.exists(node.path("log")):
                    sys.stderr.buffer.write(lab.read(node.path("log")))
        shutil.rmtree(self.folder)


def main():
    bin_folder, folder, *only = sys.argv[1:]
    attack, expect = load(folder), expectations(folder)
    prepare = getattr(attack, "prepare", lambda world: None)
    count = 0

    def attempt(name, test, *arguments):
        nonlocal count
        if only and name.split(":")[0] not in only:
            return
        with Bench(bin_folder, prepare) as bench:
            try:
                skipped = test(bench, *arguments)
            except BaseException:
                print("%s: FAILED" % name, flush=True)
                raise
        print("%s: %s" % (name, skipped or "ok"), flush=True)
        count += 1

    def cases(world):
        made = attack.cases(world) if hasattr(attack, "cases") else []
        return {c.name: c for c in (c if isinstance(c, Case) else Case(*c) for c in made)}

    world = World()
    prepare(world)
    known = cases(world)
    unknown = set(expect) - set(known) - {"*"}
    assert not unknown, "expect names cases that are not made: %s" % unknown
    for name, case in known.items():
        code, *raised = expect.get(name) or expect["*"]

        def test(bench, by):
            by(bench, cases(bench.world)[name], code, raised == ["raised"])

        attempt(name, test, by_verifier)
        if code != "OK" and case.now is None:
            attempt(name + ": the daemon", test, by_daemon)
    for name in dir(attack):
        if name.startswith("test_"):
            attempt(name, getattr(attack, name))
    assert count, "nothing was tried"


main()
