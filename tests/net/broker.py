"""The broker under strangers: silent, slow, lying about sizes, asking for anything. The others must not notice."""

import contextlib
import os
import random
import socket
import struct
import sys
import threading
import time

import pytest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../wire"))

from bento_wire import framing, operations, structures
from bento_wire.publisher import Part
from bento_wire.refused import PUBLISHED_BYTES_MAX, REP_RECEIVE_BYTES_MAX, Refused
from fleet import ADMIN, LAPTOP, ROUTER, ZEROS, release
from programs import folder, running, until
from real_broker import Broker, heard

MANY = 200
IDLE_S = 10
QUICK_S = 2  # for an answer, however busy this machine is with the strangers


@pytest.fixture(scope="module")
def broker():
    with folder() as path:
        it = Broker(path, [ADMIN.public])
        text = it.config.read_text()
        it.config.write_text(text.replace('"tick_seconds": 1', f'"tick_seconds": 1, "idle_seconds": {IDLE_S}'))
        # With the sanitizer too it is the broker's memory that is measured, not what is kept back to find faults.
        with running("bento-broker", "--config", it.config, log=path / "broker.log",
                     ASAN_OPTIONS="quarantine_size_mb=1:thread_local_quarantine_size_kb=16") as process:  # fmt: skip
            it.pid = process.pid
            until(it.ready, "the broker answers")
            yield it


@contextlib.contextmanager
def strangers(address, protocol, count=MANY):
    streams = []
    try:
        for _ in range(count):
            stream = socket.create_connection(address, 20)
            stream.settimeout(20)
            streams.append(stream)
            stream.sendall(framing.handshake(protocol))
        for stream in streams:
            assert len(stream.recv(8, socket.MSG_WAITALL)) == 8
        yield streams
    finally:
        for stream in streams:
            stream.close()


@pytest.fixture(autouse=True)
def fresh_connection(broker):
    """The one of the test before may have been idle for too long."""
    broker.public = framing.Requester(broker.rep, 1 << 20)


def memory_kb(broker):
    with open(f"/proc/{broker.pid}/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def answers_quickly(broker):
    """Over a connection of its own, as a node's."""
    asker = framing.Requester(broker.rep, 1 << 20)
    started = time.monotonic()
    operations.decode_reply(asker.ask(operations.request("GET_HEAD")), "GET_HEAD")
    asker.close()
    assert time.monotonic() - started < QUICK_S


def closed(stream):
    """The other side has gone; what it sent before does not matter."""
    with contextlib.suppress(ConnectionError):
        while stream.recv(1 << 16):
            pass
    return True


def test_two_hundred_silent_peers_cost_nothing(broker):
    before = memory_kb(broker)
    with strangers(broker.rep, framing.REQ), strangers(broker.pub, framing.SUB):
        answers_quickly(broker)
        heard(broker.subscribe(), structures.Tick)
        assert memory_kb(broker) - before < 32 << 10
    answers_quickly(broker)


@pytest.mark.parametrize("claim", [2**62, 2**64 - 1, REP_RECEIVE_BYTES_MAX + 1])
def test_claims_beyond_the_limit_are_closed_at_once(broker, claim):
    before = memory_kb(broker)
    with strangers(broker.rep, framing.REQ, 50) as streams:
        for stream in streams:
            stream.sendall(struct.pack(">Q", claim) + bytes(8))
        assert all(closed(stream) for stream in streams)
        assert memory_kb(broker) - before < 16 << 10
    answers_quickly(broker)


def test_subscriber_that_talks_is_closed(broker):
    with strangers(broker.pub, framing.SUB, 50) as streams:
        for stream in streams:
            stream.sendall(framing.frame(bytes(1000)))
        assert all(closed(stream) for stream in streams)
    heard(broker.subscribe(), structures.Tick)


def test_connections_over_which_nothing_is_asked_are_closed_and_others_are_not(broker):
    """Also those that sent half a request, of a size that is allowed: two hundred times as much is bounded too."""
    before = memory_kb(broker)
    asker = framing.Requester(broker.rep, 1 << 20)
    with strangers(broker.rep, framing.REQ, 20) as silent, strangers(broker.rep, framing.REQ) as half:
        started = time.monotonic()
        for stream in half:
            stream.sendall(struct.pack(">Q", REP_RECEIVE_BYTES_MAX) + bytes(100))
        asked = threading.Event()

        def ask():
            while not asked.wait(1):
                operations.decode_reply(asker.ask(operations.request("GET_HEAD")), "GET_HEAD")

        asking = threading.Thread(target=ask, daemon=True)
        asking.start()
        assert memory_kb(broker) - before < 64 << 10
        assert all(closed(stream) for stream in silent + half)
        assert IDLE_S - 1 < time.monotonic() - started < 3 * IDLE_S
        time.sleep(1)
        assert asking.is_alive()  # through all of it
        asked.set()
        asking.join()
    answers_quickly(broker)


def test_subscribers_that_do_not_read_cost_the_others_nothing(broker):
    before = memory_kb(broker)
    sizes = []
    with contextlib.ExitStack() as stack:
        stack.enter_context(strangers(broker.pub, framing.SUB, 12))
        reader = broker.subscribe()
        stack.callback(reader.close)
        for _ in range(20):
            router = Part(ROUTER.public, "router", {"expected": "/nix/store/abc-nixos"}, [],
                          [["data", False, os.urandom(900000)]])  # fmt: skip
            made = release([router, Part(LAPTOP.public, "laptop")])
            broker.upload(made)
            assert broker.publish(made) == ("OK", [])
            started = time.monotonic()
            _, message = heard(reader, structures.Published, lambda p: p.envelope == made.envelope)
            assert time.monotonic() - started < QUICK_S
            sizes.append(len(message))
        assert min(sizes) > 900000  # whole, so that the queues of the others are full
        assert memory_kb(broker) - before < 64 << 10
    answers_quickly(broker)


def bodies():
    yield []
    yield [ZEROS]
    yield [ZEROS, ROUTER.node_id]
    yield [ZEROS, 0]
    yield [ZEROS, 2**64 - 1, 0, b""]
    yield [ZEROS, b"", b"", []]
    for _ in range(4):
        yield [random.choice([b"", ZEROS, os.urandom(100), "text", 2**63, True, None, [], [[]], {"a": 1}])
               for _ in range(random.randrange(8))]  # fmt: skip


def test_no_operation_but_the_four_does_anything_on_the_public_port(broker):
    """Operations 0 to 255 with bodies of all kinds: an answer each, and nothing has changed."""
    seed = random.randrange(2**32)
    print("seed", seed)
    random.seed(seed)
    newest = broker.newest()
    for number in range(256):
        for body in bodies():
            code, _, _ = operations.open_reply(broker.public.ask(operations.request(number, *body)))
            if number not in (1, 2, 3, 4):
                assert code == "BAD", (number, body, code)
            else:
                assert code in ("OK", "NONE", "STALE", "FORMAT", "REFUSED", "LENGTH"), (number, body, code)
    for _ in range(500):
        rubbish = os.urandom(random.randrange(200))
        with contextlib.suppress(Refused):
            code, _, _ = operations.open_reply(broker.public.ask(rubbish))
            assert code in ("FORMAT", "BAD", "LENGTH"), (rubbish, code)
    assert broker.newest() == newest
    assert broker.command("GET_STATUSES", ZEROS) == ("OK", [False, []])
    answers_quickly(broker)
