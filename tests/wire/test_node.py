"""The real bento-node and bento-apply, with a broker that shares no code with them and sometimes lies."""

import contextlib
import os
import queue
import threading
import time

import pytest
from bento_wire import framing, operations, ssh, structures
from bento_wire.publisher import Part
from bento_wire.refused import BLOB_BYTES_MAX, CHUNK_BYTES_MAX, REP_RECEIVE_BYTES_MAX, Refused
from fleet import ADMIN, FLEET, LAPTOP, ROUTER, STRANGER, ZEROS, release
from programs import DEADLINE as PATIENCE, folder, running, until, write_private

# Below the clock, so that a release can be expired and the next one not.
FIRST = int(time.time()) - 100000
PARTS = [Part(ROUTER.public, "router"), Part(LAPTOP.public, "laptop")]


class Broker:
    """Answers as §operations says, from one release, which need not be a good one."""

    def __init__(self):
        self.lock = threading.Lock()
        self.current, self.proven, self.blobs = None, None, {}
        self.statuses, self.came, self.asked = queue.Queue(), [], queue.Queue()
        self.lie, self.lied_about, self.delivered = None, queue.Queue(), queue.Queue()
        self.pub = framing.Publisher(self.tick)
        self.rep = framing.Replier(self.answer, REP_RECEIVE_BYTES_MAX)

    def tick(self):
        pair = (self.current.head.epoch, self.current.head.release) if self.current else (0, 0)
        return structures.TOPIC + structures.Tick(epoch=pair[0], release=pair[1]).encode()

    def answer(self, message):
        try:
            name, body = operations.decode_request(message)
        except Refused as error:
            self.asked.put(("refused", error.code))
            return operations.reply(error.code)
        self.asked.put((name, body))
        with self.lock:
            return getattr(self, name.lower())(*body)

    def get_head(self):
        return operations.reply("OK", self.current.envelope) if self.current else operations.reply("NONE")

    def get_ticket(self, head_hash, node_id):
        if self.current is None:
            return operations.reply("NONE")
        if head_hash != self.current.head_hash:
            return operations.reply("STALE", self.current.envelope)
        proven = self.proven if self.proven is not None else self.current.proven(node_id)
        return operations.reply("OK", proven) if proven else operations.reply("NONE")

    def get_blob(self, ct_hash, offset):
        if ct_hash not in self.blobs:
            return operations.reply("NONE")
        blob = self.blobs[ct_hash]
        return operations.reply("OK", len(blob), blob[offset : offset + CHUNK_BYTES_MAX])

    def put_status(self, signed):
        if self.lie:
            lie, self.lie = self.lie, None
            self.lied_about.put(signed)
            return lie(signed)
        self.delivered.put(signed)
        try:
            status = structures.Signed.verify(signed, FLEET, [ROUTER.node_id, LAPTOP.node_id])
        except Refused as error:
            self.statuses.put(error)
            return operations.reply("REFUSED", error.code)
        self.statuses.put(status)
        self.came.append(status)
        return operations.reply("OK", status.seq, ssh.sha256(signed))

    def serve(self, made, whole=False, proven=None, blobs=None):
        """From now on this is the newest release. whole: nodes get all of it by PUB, else they ask."""
        with self.lock:
            self.current, self.proven = made, proven
            self.blobs = made.blobs if blobs is None else blobs
        self.pub.publish(made.published() if whole else self.tick())

    def times(self, operation, count, what=lambda body: True):
        """When it was asked this the next times."""
        times = []
        while len(times) < count:
            name, body = self.asked.get(timeout=PATIENCE)
            if name == operation and what(body):
                times.append(time.monotonic())
        return times

    def asked_within(self, seconds, operation, what):
        end = time.monotonic() + seconds
        while True:
            name, body = self.asked.get(timeout=max(0, end - time.monotonic()))
            if name == operation and what(body):
                return

    def heard(self, what, matches, patience=PATIENCE):
        """The next status that matches; every status on the way was verified."""
        end = time.monotonic() + patience
        seen = []
        while True:
            try:
                status = self.statuses.get(timeout=max(0, end - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no status: {what}; came: {seen}") from None
            assert isinstance(status, structures.Status), f"a bad status: {status}"
            seen.append((status.state, status.code, status.epoch, status.release))
            if matches(status):
                return status

    def close(self):
        self.pub.close()
        self.rep.close()


class Machine:
    """What was said to and by the node: its floor, as every status must show it."""

    def __init__(self, broker):
        self.broker, self.floor, self.last, self.number = broker, None, FIRST, FIRST

    def next(self, parts=None, **fields):
        self.number += 10
        fields.setdefault("expires", self.number + 10**6)
        return release(parts or PARTS, **{**fields, "release": fields.get("release", self.number)})

    def accepts(self, made, state, code="", **serving):
        self.broker.serve(made, **serving)
        self.floor = made
        return self.reported(state, code)

    def refuses(self, made, code, raised, patience=PATIENCE, **serving):
        """raised: the refusal comes behind the step that raises the floor."""
        if self.floor and (made.head.epoch, made.head.release) < (self.floor.head.epoch, self.floor.head.release):
            self.rests()
        self.broker.serve(made, **serving)
        if raised:
            self.floor = made
        return self.reported("refused", code, patience)

    def rests(self):
        """What was accepted lies in the spool until bento-apply looks again, and an older one beside it goes unseen."""
        came = len(self.broker.came)
        until(lambda: len(self.broker.came) > came, "what is said at every poll")

    def reported(self, state, code, patience=PATIENCE):
        wanted = (state, code, self.floor.head_hash, self.floor.head.epoch, self.floor.head.release)
        return self.broker.heard(
            wanted, lambda s: (s.state, s.code, s.head_hash, s.epoch, s.release) == wanted, patience
        )


@contextlib.contextmanager
def started():
    with folder() as path:
        broker = Broker()
        for name in ("system", "profile", "run"):
            (path / name).mkdir()
        config = write_private(path / "node.json", {
            "fleet": FLEET.hex(), "signers": [ADMIN.public.line("admin")], "threshold": 1,
            "endpoints": [{"tunnel": "none", "pub": broker.pub.url, "rep": broker.rep.url}],
            "state": str(path / "state"), "secrets": str(path / "run" / "secrets"), "floor_copy": str(path / "floor"),
            "identity": str(write_private(path / "identity", ROUTER.file().decode())),
            "profile": str(path / "profile" / "system"), "current_system": str(path / "system"),
            "booted_system": str(path / "system"), "path": os.environ["PATH"],
            "poll_seconds": 1, "page_port": 0,
        })  # fmt: skip
        with running("bento-apply", "--config", config, "--no-systemd", log=path / "apply.log") as apply:
            await_file(path / "state" / "node", apply)
            with running("bento-node", "--config", config, log=path / "node.log"):
                yield Machine(broker)
        broker.close()


@pytest.fixture(scope="module")
def machine():
    with started() as one:
        yield one


def await_file(path, process):
    end = time.monotonic() + PATIENCE
    while not path.exists():
        assert process.poll() is None and time.monotonic() < end, f"{path} does not appear"
        time.sleep(0.01)


def router(meta=None, **fields):
    """A configuration that nobody has built and nobody can substitute."""
    meta = {"expected": "/nix/store/abc-nixos", "substitute_only": True} if meta is None else meta
    secrets = [["wg.key", "root", "", 0o400, b"secret"]]
    return Part(ROUTER.public, "router", meta, secrets, fields.pop("files", None), **fields)


def parts(part):
    return [part, Part(LAPTOP.public, "laptop")]


# The tests below stand in the order of time: a node's floor only rises.


def test_empty_ticket_is_new(machine):
    status = machine.accepts(machine.next(), "new")
    assert status.node_id == ROUTER.node_id and status.speaks == 1
    assert (status.digest, status.applied) == (ZEROS, ZEROS)


def test_same_head_again_changes_nothing(machine):
    machine.broker.serve(machine.floor)
    assert machine.reported("new", "")


@pytest.mark.parametrize("whole", [False, True], ids=["fetched", "by PUB"])
def test_digest_is_ours(machine, whole):
    """The bundle was opened, with its tree, and stands for the configuration that we sealed."""
    files = [["configuration.nix", False, b"{ }"], ["data", True, os.urandom(300000)]]
    part = router(files=files)
    made = machine.next(parts(part))
    while not machine.broker.asked.empty():
        machine.broker.asked.get()
    # What cannot be had fails; the code is the node's own affair, the digest is not.
    machine.broker.serve(made, whole=whole, blobs={} if whole else None)
    machine.floor = made
    status = machine.broker.heard("the digest", lambda s: s.head_hash == made.head_hash and s.digest == part.digest
                                  and s.state == "failed")  # fmt: skip
    assert status.code == "BUILD" and status.attempt >= 1 and status.applied == ZEROS
    asked = set()
    while not machine.broker.asked.empty():
        asked.add(machine.broker.asked.get()[0])
    assert "refused" not in asked
    # By PUB it may ask all the same, when its poll overtakes the message; but there is nothing to be had.
    assert whole or "GET_BLOB" in asked


FORGED_HEADS = {
    "by a stranger": ("SIGNER", dict(signers=[STRANGER])),
    "signed as a status": ("NAMESPACE", dict(namespace=ssh.STATUS_NAMESPACE)),
    "other fleet": ("FLEET", dict(fleet=ZEROS)),
    "epoch two above": ("EPOCH", dict(epoch=3)),
    "older": ("ROLLBACK", dict(release=FIRST)),
}


@pytest.mark.parametrize("name", FORGED_HEADS)
@pytest.mark.parametrize("whole", [False, True], ids=["fetched", "by PUB"])
def test_forged_head_is_refused_and_the_floor_stays(machine, name, whole):
    code, fields = FORGED_HEADS[name]
    machine.refuses(machine.next(**fields), code, raised=False, whole=whole)


def test_second_head_under_one_number_is_equivocation(machine):
    machine.refuses(machine.next(release=machine.floor.head.release), "EQUIVOCATION", raised=False)


def test_second_head_that_the_broker_does_not_know_gives_way(machine):
    """Shown first, it may not stand in the way of the one that has the ticket."""
    made = machine.next()
    second = machine.next(release=made.head.release)
    shown = threading.Event()

    def once():
        del machine.broker.get_head
        shown.set()
        return operations.reply("OK", second.envelope)

    machine.broker.get_head = once
    machine.accepts(made, "new")
    assert shown.is_set()


def test_refusal_is_over_when_the_broker_shows_the_newest_again(machine):
    made = machine.next()
    machine.accepts(made, "new")
    code, fields = FORGED_HEADS["by a stranger"]
    machine.refuses(machine.next(**fields), code, raised=False)
    machine.broker.serve(made)
    machine.reported("new", "")


def test_old_release_replayed_is_rollback(machine):
    old = machine.next()
    machine.accepts(old, "new")
    machine.accepts(machine.next(), "new")
    machine.refuses(old, "ROLLBACK", raised=False)


def test_old_release_that_was_long_under_way_is_no_rollback(machine):
    """A publication may come after the answer that had the newer one: the broker is asked before it is blamed."""
    old = machine.next()
    machine.accepts(old, "new")
    machine.accepts(machine.next(), "new", whole=True)
    while not machine.broker.asked.empty():
        machine.broker.asked.get()
    before = len(machine.broker.came)
    machine.broker.pub.publish(old.published())
    machine.broker.asked_within(PATIENCE, "GET_HEAD", lambda _: True)
    machine.accepts(machine.next(), "new")
    assert "ROLLBACK" not in {status.code for status in machine.broker.came[before:]}


def test_expired_release_is_refused_and_raises_the_floor(machine):
    made = machine.next()
    machine.refuses(machine.next(expires=made.head.release + 100), "EXPIRED", raised=True)


def test_release_without_a_ticket_is_refused(machine):
    machine.refuses(machine.next(), "NOTICKET", raised=True, proven=b"")


def test_someone_elses_ticket_is_refused(machine):
    made = machine.next()
    machine.refuses(made, "NOTMINE", raised=True, proven=made.proven(LAPTOP.node_id))


def test_ticket_of_another_release_is_refused(machine):
    other = machine.next(parts(router()))
    machine.refuses(machine.next(), "PATH", raised=True, proven=other.proven(ROUTER.node_id), blobs=other.blobs)


def test_wrong_path_is_refused(machine):
    made = machine.next(parts(router()))
    proven = structures.Proven.decode(made.proven(ROUTER.node_id))
    machine.refuses(made, "PATH", raised=True, proven=proven.replace(path=[ZEROS]).encode())


def test_key_sealed_to_another_node_is_refused(machine):
    machine.refuses(machine.next(parts(router(sealed_to=LAPTOP.public))), "SEAL", raised=True)


def test_rubbish_in_the_blob_is_refused(machine):
    machine.refuses(machine.next(parts(router(plaintext=b"rubbish"))), "ARCHIVE", raised=True)


def test_tree_that_leaves_its_folder_is_refused(machine):
    machine.refuses(machine.next(parts(router(files=[["../passwd", False, b""]]))), "ARCHIVE", raised=True)


def test_good_release_after_all_that_is_followed(machine):
    part = router({"expected": "/nix/store/def-nixos", "substitute_only": True})
    made = machine.next(parts(part))
    assert machine.accepts(made, "failed", "BUILD").digest == part.digest


def test_outcome_of_one_release_is_not_told_of_the_next(machine):
    """The next one has raised the floor, but its blob is withheld: nothing is known of it yet."""
    one = machine.next(parts(router({"expected": "/nix/store/one-nixos", "substitute_only": True})))
    machine.accepts(one, "failed", "BUILD")
    other = machine.next(parts(router({"expected": "/nix/store/other-nixos", "substitute_only": True})))
    machine.broker.serve(other, blobs={})
    machine.broker.times("GET_BLOB", 2, lambda body: body[0] in other.blobs)
    before = len(machine.broker.came)
    until(lambda: len(machine.broker.came) > before + 1, "two more polls")
    assert {(s.state, s.code, s.head_hash) for s in machine.broker.came[before:]} == {("failed", "BUILD", one.head_hash)}
    machine.accepts(other, "failed", "BUILD")


def test_older_head_that_was_shown_does_not_hide_what_is_still_missing(machine):
    """The broker shows an older head, and is honest when its ticket is asked for: the newest is in the spool already."""
    older = machine.next()
    machine.accepts(older, "new")
    machine.accepts(machine.next(), "new")
    meta = {"expected": "/nix/store/late-nixos", "substitute_only": True}
    made = machine.next(parts(router(meta, files=[["late.nix", False, b"1"]])))
    broker, honest = machine.broker, machine.broker.get_ticket
    bundle = structures.Ticket.decode(structures.Proven.decode(made.proven(ROUTER.node_id)).ticket).ct_hash
    broker.serve(made, blobs={bundle: made.blobs[bundle]})
    broker.times("GET_BLOB", 1, lambda body: body[0] in made.blobs and body[0] != bundle)  # its tree

    def honest_again(head_hash, node_id):
        if head_hash == older.head_hash:
            broker.get_ticket, broker.current, broker.blobs = honest, made, made.blobs
        return honest(head_hash, node_id)

    broker.get_ticket = honest_again
    with broker.lock:
        broker.current = older
    until(lambda: broker.get_ticket == honest, "the older head is heard of")
    machine.floor = made
    machine.reported("failed", "BUILD")


def test_next_epoch_is_followed_and_the_one_before_is_refused(machine):
    before = machine.next()
    machine.accepts(machine.next(epoch=2), "new")
    machine.refuses(before, "EPOCH", raised=False)


def test_acknowledgement_of_other_bytes_is_none(machine):
    """Only the right number with the right hash ends the delivery."""
    lies = [
        lambda signed: operations.reply("OK", 1, ssh.sha256(signed)),
        lambda signed: operations.reply("OK", seq_of(signed), ZEROS),
        lambda signed: operations.reply("OK"),
        lambda signed: operations.reply("IO"),
        lambda signed: b"rubbish",
    ]
    for lie in lies:
        machine.broker.lie = lie
        signed = machine.broker.lied_about.get(timeout=PATIENCE)
        while machine.broker.delivered.get(timeout=PATIENCE) != signed:
            pass


def seq_of(signed):
    return structures.Status.decode(structures.Signed.decode(signed).body).seq


@pytest.mark.parametrize("message", [b"", b"BNT1", b"BNT2\x90", b"BNT1" + bytes(1000), framing.handshake(framing.PUB)])
def test_message_that_is_not_understood_is_dropped(machine, message):
    machine.broker.pub.publish(message)
    machine.accepts(machine.next(epoch=2), "new", whole=True)


def test_message_beyond_the_limit_costs_the_connection_only(machine):
    (before,) = machine.broker.pub.subscribers
    before.stream.sendall((1 << 40).to_bytes(8, "big") + bytes(1000))
    until(lambda: set(machine.broker.pub.subscribers) - {before}, "the node subscribes again")
    machine.accepts(machine.next(epoch=2), "new", whole=True)


def test_ticket_that_does_not_decode_is_asked_for_again(machine):
    made = machine.next(epoch=2)
    machine.broker.serve(made, proven=made.proven(ROUTER.node_id)[:-1])
    first, second = machine.broker.times("GET_TICKET", 2, lambda body: body[0] == made.head_hash)
    assert second - first > 0.7
    machine.accepts(machine.next(epoch=2), "new", whole=True)


def test_blob_of_another_length_is_not_taken(machine):
    part = router(files=None)
    made = machine.next(parts(part), epoch=2)
    machine.broker.serve(made, blobs={part.ticket.ct_hash: made.blobs[part.ticket.ct_hash] + b"x"})
    machine.broker.times("GET_BLOB", 2, lambda body: body[0] == part.ticket.ct_hash)
    machine.floor = made
    machine.broker.serve(made)
    assert machine.reported("failed", "BUILD").digest == part.digest


# Where the programs do not do what the text says.


def test_newer_tick_ends_the_back_off(machine):
    bad = machine.next(epoch=2)
    machine.broker.serve(bad, proven=b"\xc1")
    machine.broker.times("GET_TICKET", 3, lambda body: body[0] == bad.head_hash)  # the next one comes after 4 s
    good = machine.next(epoch=2)
    machine.broker.serve(good)
    machine.floor = good
    try:
        machine.broker.asked_within(2, "GET_TICKET", lambda body: body[0] == good.head_hash)
    finally:
        machine.broker.serve(good, whole=True)
        machine.reported("new", "")


def test_missing_blob_is_asked_for_more_and_more_slowly(machine):
    part = router()
    machine.broker.serve(machine.next(parts(part), epoch=2), blobs={})
    times = machine.broker.times("GET_BLOB", 4, lambda body: body[0] == part.ticket.ct_hash)
    gaps = [later - earlier for earlier, later in zip(times, times[1:])]
    try:
        assert gaps[2] > 2 * gaps[0]
    finally:
        machine.accepts(machine.next(epoch=2), "new", whole=True)


def test_blob_above_its_limit_is_refused(machine):
    made = machine.next(parts(router(ct_len=BLOB_BYTES_MAX + 1)), epoch=2)
    machine.refuses(made, "LENGTH", raised=True, patience=4)


def test_rising_heads_of_a_liar_are_not_followed(machine):
    made = [machine.next(parts(router()), signers=[STRANGER], epoch=2) for _ in range(5)]
    good = machine.next(parts(router()), epoch=2)
    rising = iter(made)
    asked = []

    def stale(head_hash, node_id):
        asked.append(head_hash)
        return operations.reply("STALE", next(rising, made[-1]).envelope)

    machine.broker.get_ticket = stale
    try:
        machine.broker.serve(good)
        times = machine.broker.times("GET_TICKET", 3, lambda body: body[0] == good.head_hash)
        assert times[2] - times[0] > 1.5  # the back-off of 1 s, 2 s …
        assert set(asked) == {good.head_hash}
    finally:
        del machine.broker.get_ticket
        machine.accepts(machine.next(epoch=2), "new", whole=True)


@pytest.mark.parametrize("whose", ["another node's", "none"])
def test_wrong_ticket_does_not_cost_the_release_once_the_broker_is_honest(machine, whose):
    made = machine.next(epoch=2)
    code = {"another node's": "NOTMINE", "none": "NOTICKET"}[whose]
    machine.refuses(made, code, raised=True, proven=b"" if whose == "none" else made.proven(LAPTOP.node_id))
    machine.accepts(made, "new")


def test_spoilt_signature_does_not_hide_the_genuine_release(machine):
    """Both have the same head."""
    made = machine.next(epoch=2)
    genuine = structures.Envelope.decode(made.envelope)
    (signature,) = genuine.signatures
    made.envelope = genuine.replace(signatures=[signature[:-1] + bytes([signature[-1] ^ 1])]).encode()
    machine.refuses(made, "SIGNER", raised=False)
    made.envelope = genuine.encode()
    machine.accepts(made, "new")


def test_forged_highest_number_does_not_hide_genuine_releases():
    """On a machine of its own: it leaves the highest number that there is in the node's ear, and of unauthentic heads only some
    a minute are looked at."""
    with started() as machine:
        machine.accepts(machine.next(), "new")
        forged = machine.next(signers=[STRANGER], release=2**64 - 2, expires=2**64 - 1)
        machine.refuses(forged, "SIGNER", raised=False)
        machine.accepts(machine.next(), "new")
