"""What a node makes of brokers that are slow, silent or wrong, with another one to turn to: the real bento-node and
bento-apply, and brokers of the second implementation (tests/wire)."""

import contextlib
import os
import signal
import sys
import threading
import time

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../wire"))

from bento_wire import framing, operations, ssh, structures
from bento_wire.publisher import Part
from fleet import ADMIN, FLEET, LAPTOP, ROUTER, release
from programs import folder, running, until, write_private
from test_node import Broker, await_file, seq_of

CHUNK = 65536
PATIENCE = 180
numbers = iter(range(int(time.time()) - 100000, 2**60, 10))


def made_with(content, **fields):
    """A release for the router with that much in its tree, which nobody can substitute."""
    meta = {"expected": "/nix/store/abc-nixos", "substitute_only": True}
    part = Part(ROUTER.public, "router", meta, [], [["data", False, content]])
    number = next(numbers)
    return part, release([part, Part(LAPTOP.public, "laptop")], release=number, expires=number + 10**6, **fields)


class Machine:
    def __init__(self, path, brokers, **config):
        self.path = path
        for name in ("system", "profile", "run"):
            (path / name).mkdir()
        self.config = write_private(path / "node.json", {
            "fleet": FLEET.hex(), "signers": [ADMIN.public.line("admin")],
            "endpoints": [{"tunnel": "none", "pub": b.pub.url, "rep": b.rep.url} for b in brokers],
            "state": str(path / "state"), "secrets": str(path / "run" / "secrets"), "floor_copy": str(path / "floor"),
            "identity": str(write_private(path / "identity", ROUTER.file().decode())),
            "profile": str(path / "profile" / "system"), "current_system": str(path / "system"),
            "booted_system": str(path / "system"), "path": os.environ["PATH"], **config,
        })  # fmt: skip
        self.logs = 0

    def apply(self):
        return running("bento-apply", "--config", self.config, "--no-systemd", log=self.path / "apply.log")

    def node(self):
        self.logs += 1
        self.log = self.path / f"node{self.logs}.log"
        return running("bento-node", "--config", self.config, log=self.log)

    def says(self, text):
        return text in self.log.read_text()

    def files(self, folder_name):
        with contextlib.suppress(FileNotFoundError):  # not made yet
            return sorted(os.listdir(self.path / "state" / folder_name))
        return []

    def partial_bytes(self):
        return sum(os.stat(self.path / "state/node/partial" / name).st_size for name in self.files("node/partial"))


@contextlib.contextmanager
def machine(*brokers, **config):
    with folder() as path:
        it = Machine(path, brokers, **config)
        with it.apply() as apply:
            await_file(path / "state" / "node", apply)
            with it.node():
                yield it


@pytest.fixture
def brokers():
    made = [Broker(), Broker()]
    yield made
    for broker in made:
        broker.close()


def report_on(broker, part, patience=PATIENCE):
    """The configuration was opened, tree and all; nobody can substitute it, which is the end of it here."""
    return broker.heard("the digest", lambda s: s.digest == part.digest and s.state == "failed", patience)


def chunk(blob, offset):
    return operations.reply("OK", len(blob), blob[offset : offset + CHUNK])


def damaged(blob):
    return blob[:-1] + bytes([blob[-1] ^ 1])


# ---- slow and silent: a minute of waiting, so all at once and beside the other tests --------------------------------


class Slow(threading.Thread):
    """Runs one story in the background; the test that wants its end comes last."""

    def __init__(self, story):
        super().__init__(daemon=True)
        self.story, self.fault = story, None
        self.start()

    def run(self):
        try:
            self.story()
        except BaseException as fault:
            self.fault = fault

    def end(self):
        self.join(600)
        assert not self.is_alive()
        if self.fault:
            raise self.fault


def trickle(broker):
    """From now on its replies come byte by byte, one a second, and its ticks as ever."""

    def reply(stream):
        connection = framing.Connection(stream, framing.REP, 1 << 20)
        stream.settimeout(None)
        while True:
            trace, message = framing.backtrace(connection.receive())
            answer = framing.frame(trace + broker.answer(message))
            if operations.open_request(message)[0] != "GET_BLOB":
                stream.sendall(answer)
                continue
            for at in range(len(answer)):
                stream.sendall(answer[at : at + 1])
                time.sleep(1)

    broker.rep.serve = reply
    ticking(broker)


def ticking(broker):
    def ticks():
        with contextlib.suppress(OSError):
            while True:
                time.sleep(5)
                broker.pub.publish(broker.tick())

    threading.Thread(target=ticks, daemon=True).start()


def one_byte_a_second_is_slow():
    slow, good = Broker(), Broker()
    part, made = made_with(os.urandom(3 * CHUNK))
    trickle(slow)
    slow.serve(made)
    good.serve(made)
    started = time.monotonic()
    with machine(slow, good) as it:
        report_on(good, part, 300)
        assert it.says("code=SLOW")
        assert 60 < time.monotonic() - started
        assert it.files("node/partial") == []


def dead_on_one_side_is_noticed_long_before_the_ticks_say_so():
    """The connections stay up, and nothing comes any more."""
    silent, good = Broker(), Broker()
    part, made = made_with(b"x")
    silent.serve(made)
    good.serve(made)
    stuck = threading.Event()
    answered = silent.answer

    def answer(message):
        if operations.open_request(message)[0] == "PUT_STATUS":
            stuck.set()
            time.sleep(300)
        return answered(message)

    silent.answer = answer
    silent.rep.answer = answer
    with machine(silent, good, tick_seconds=120) as it:
        assert stuck.wait(PATIENCE)
        started = time.monotonic()
        report_on(good, part, 200)
        assert it.says("no answer, and nothing else came either")
        assert time.monotonic() - started < 200  # 2.5 ticks are 300


def broker_that_ticks_and_answers_nothing_is_left():
    mute, good = Broker(), Broker()
    part, made = made_with(b"x")
    good.serve(made)
    mute.rep.answer = lambda message: time.sleep(600)
    ticking(mute)
    with machine(mute, good) as it:
        report_on(good, part, 300)
        assert it.says("endpoint blamed") and it.says("code=TIMEOUT")


def program_that_never_listens_is_given_up():
    good = Broker()
    part, made = made_with(b"x")
    good.serve(made)
    hangs = {"tunnel": "command", "argv": ["sleep", "600", "{pub}", "{rep}"]}
    works = {"tunnel": "none", "pub": good.pub.url, "rep": good.rep.url}
    with machine(endpoints=[hangs, works]) as it:
        report_on(good, part, 300)
        assert it.says('endpoint="command sleep 600 {pub} {rep}" reason="the tunnel does not get through"')


STORIES = [
    one_byte_a_second_is_slow, dead_on_one_side_is_noticed_long_before_the_ticks_say_so,
    broker_that_ticks_and_answers_nothing_is_left, program_that_never_listens_is_given_up,
]  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def stories():
    yield {story: Slow(story) for story in STORIES}


# ---- wrong ------------------------------------------------------------------------------------------------------------


def test_blob_of_another_length_sends_the_node_to_the_next_broker(brokers):
    wrong, good = brokers
    part, made = made_with(b"x")
    ct_hash = part.ticket.ct_hash
    wrong.serve(made, blobs={ct_hash: made.blobs[ct_hash] + b"x"})
    good.serve(made)
    with machine(wrong, good) as it:
        report_on(good, part)
        assert it.says("endpoint blamed") and it.says("code=LENGTH")


def test_blob_with_other_bytes_sends_the_node_to_the_next_broker(brokers):
    wrong, good = brokers
    part, made = made_with(os.urandom(4 * CHUNK))
    tree = max(made.blobs, key=lambda ct_hash: len(made.blobs[ct_hash]))
    wrong.serve(made, blobs={**made.blobs, tree: damaged(made.blobs[tree])})
    good.serve(made)
    with machine(wrong, good) as it:
        report_on(good, part)
        assert it.says("endpoint blamed") and it.says("code=HASH")
        assert it.log.read_text().count("endpoint blamed") == 1


def test_reply_that_is_rubbish_sends_the_node_to_the_next_broker(brokers):
    wrong, good = brokers
    part, made = made_with(b"x")
    wrong.serve(made)
    wrong.get_ticket = lambda head_hash, node_id: b"\xc1"
    good.serve(made)
    with machine(wrong, good) as it:
        report_on(good, part)
        assert it.says("endpoint blamed")


def test_who_only_brought_the_rest_is_not_blamed(brokers):
    """The first broker sends rubbish and goes away; the second one's pieces are good."""
    wrong, good = brokers
    part, made = made_with(os.urandom(4 * CHUNK))
    tree = max(made.blobs, key=lambda ct_hash: len(made.blobs[ct_hash]))

    def get_blob(ct_hash, offset):
        if ct_hash != tree:
            return chunk(made.blobs[ct_hash], offset)
        if offset:
            wrong.close()
            raise ConnectionError
        return operations.reply("OK", len(made.blobs[tree]), bytes(CHUNK))

    wrong.get_blob = get_blob
    good.get_blob = lambda ct_hash, offset: chunk(made.blobs[ct_hash], offset)
    wrong.serve(made)
    good.serve(made)
    with machine(wrong, good, tick_seconds=1) as it:
        report_on(good, part, 300)
        offsets = [body[1] for name, body in iter_asked(good) if name == "GET_BLOB" and body[0] == tree]
        assert offsets[0] == CHUNK and 0 in offsets[1:]
        assert not it.says("endpoint blamed")


def iter_asked(broker):
    while not broker.asked.empty():
        yield broker.asked.get()


# ---- interrupted ---------------------------------------------------------------------------------------------------


def test_download_goes_on_after_kill_9(brokers):
    broker = brokers[0]
    part, made = made_with(os.urandom(20 * CHUNK))
    tree = max(made.blobs, key=lambda ct_hash: len(made.blobs[ct_hash]))
    offsets, third = [], threading.Event()

    def get_blob(ct_hash, offset):
        if ct_hash == tree:
            offsets.append(offset)
            if offset == 3 * CHUNK:
                third.set()
            time.sleep(0.05)
        return chunk(made.blobs[ct_hash], offset)

    broker.get_blob = get_blob
    broker.serve(made)
    with folder() as path:
        it = Machine(path, [broker])
        with it.apply() as apply:
            await_file(path / "state" / "node", apply)
            with pytest.raises(AssertionError, match="ended by itself"), it.node() as node:
                assert third.wait(PATIENCE)
                node.send_signal(signal.SIGKILL)
                node.wait()
            assert 3 * CHUNK <= it.partial_bytes() < 20 * CHUNK
            with it.node():
                report_on(broker, part)
    assert offsets.count(0) == 1 and offsets == sorted(offsets)


def test_blob_that_rots_in_the_spool_is_fetched_again(brokers):
    broker = brokers[0]
    part, made = made_with(os.urandom(2 * CHUNK))
    tree = max(made.blobs, key=lambda ct_hash: len(made.blobs[ct_hash]))
    asked = threading.Event()

    def get_blob(ct_hash, offset):
        if ct_hash == tree:
            asked.wait(PATIENCE)
        return chunk(made.blobs[ct_hash], offset)

    broker.get_blob = get_blob
    broker.serve(made)
    with folder() as path:
        it = Machine(path, [broker], poll_seconds=1)
        with it.apply() as apply:
            await_file(path / "state" / "node", apply)
            with it.node():
                # The release is in the spool, its tree under way.
                until(lambda: broker_asked_for(broker, tree), "the tree", PATIENCE)
        asked.set()
        rotten = path / "state/spool/in/blobs" / tree.hex()
        rotten.write_bytes(damaged(made.blobs[tree]))
        bundle = path / "state/spool/in/blobs" / part.ticket.ct_hash.hex()
        bundle.write_bytes(damaged(made.blobs[part.ticket.ct_hash]))
        with it.node():
            until(lambda: it.says("blob in the spool removed"), "the rot", PATIENCE)
            with it.apply():
                report_on(broker, part)


def broker_asked_for(broker, ct_hash):
    return any(name == "GET_BLOB" and body[0] == ct_hash for name, body in iter_asked(broker))


def test_halves_of_overtaken_releases_do_not_pile_up(brokers):
    broker = brokers[0]
    releases = [made_with(os.urandom(6 * CHUNK)) for _ in range(4)]
    every = {ct_hash: blob for _, made in releases for ct_hash, blob in made.blobs.items()}
    trees = {ct_hash for ct_hash, blob in every.items() if len(blob) > CHUNK}
    hold = threading.Event()

    def get_blob(ct_hash, offset):
        if ct_hash in trees and offset and ct_hash in releases[-1][1].blobs:
            hold.wait(PATIENCE)
        elif ct_hash in trees and offset:
            return operations.reply("IO")
        return chunk(every[ct_hash], offset)

    broker.get_blob = get_blob
    with machine(broker) as it:
        for part, made in releases:
            broker.serve(made, blobs=every)
            until(lambda: any(name in made_names(made, trees) for name in it.files("node/partial")), "a half", PATIENCE)
            assert len(it.files("node/partial")) <= 2
        hold.set()
        report_on(broker, releases[-1][0])
        until(lambda: it.files("node/partial") == [], "no half is left")


def made_names(made, trees):
    return {ct_hash.hex() for ct_hash in made.blobs if ct_hash in trees}


# ---- statuses ------------------------------------------------------------------------------------------------------


def outbox(it):
    return [name for name in it.files("spool/out") if name.endswith(".status")]


def name_of(signed):
    return "%020d.status" % seq_of(signed)


REFUSALS = {
    "SEQ": lambda signed: operations.reply("SEQ", seq_of(signed)),
    "another fleet": lambda signed: operations.reply("REFUSED", "FLEET"),
    "another key": lambda signed: operations.reply("REFUSED", "SIGNER"),
}
NO_REFUSALS = {
    "not enrolled yet": lambda signed: operations.reply("REFUSED", "UNKNOWN"),
    "SEQ that cannot be": lambda signed: operations.reply("SEQ", 1),
    "SEQ without a number": lambda signed: operations.reply("SEQ"),
    "a word that is no code": lambda signed: operations.reply("REFUSED", "WHATEVER"),
    "disk full": lambda signed: operations.reply("IO"),
}


def said_by(signed):
    return structures.Status.decode(structures.Signed.decode(signed).body)


@pytest.mark.parametrize("name", REFUSALS)
def test_status_refused_for_good_leaves_the_outbox_and_its_report_comes_again(brokers, name):
    broker = brokers[0]
    put, refused = broker.put_status, []

    def put_status(signed):
        if said_by(signed).state == "failed" and not refused:
            refused.append(signed)
            return REFUSALS[name](signed)
        return put(signed)

    broker.put_status = put_status
    broker.serve(made_with(b"x")[1])
    with machine(broker, poll_seconds=1) as it:
        again = broker.heard("the report", lambda s: s.state == "failed", PATIENCE)
        assert again.seq > seq_of(refused[0])
        assert again.digest == said_by(refused[0]).digest
        until(lambda: name_of(refused[0]) not in it.files("spool/out"), "it is dropped", PATIENCE)


@pytest.mark.parametrize("name", NO_REFUSALS)
def test_status_refused_for_now_is_delivered_later(brokers, name):
    broker = brokers[0]
    broker.lie = NO_REFUSALS[name]
    broker.serve(made_with(b"x")[1])
    with machine(broker) as it:
        signed = broker.lied_about.get(timeout=PATIENCE)
        assert broker.delivered.get(timeout=PATIENCE) == signed
        until(lambda: outbox(it) == [], "it is gone", PATIENCE)


def test_statuses_come_in_order_and_once_each_over_a_broker_that_keeps_breaking_off(brokers):
    broker = brokers[0]
    put, seen = broker.put_status, []

    def put_status(signed):
        seen.append(seq_of(signed))
        if len(seen) % 2:
            put(signed)  # stored, but the answer gets lost
            raise ConnectionError
        return put(signed)

    broker.put_status = put_status
    part, made = made_with(b"x")
    broker.serve(made)
    with machine(broker) as it:
        report_on(broker, part)
        until(lambda: outbox(it) == [], "all are delivered", PATIENCE)
    assert seen == sorted(seen)


# ---- the slow ones -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_slowly(stories, story):
    stories[story].end()
