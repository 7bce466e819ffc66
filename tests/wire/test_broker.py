"""The real bento-broker, with an admin and nodes that share no code with it."""

import json
import os
import threading
import time

import pytest
from bento_wire import encoding as e
from bento_wire import framing, operations, ssh, structures
from bento_wire.publisher import Part
from bento_wire.refused import (
    BLOB_BYTES_MAX, REP_RECEIVE_BYTES_MAX, REQ_RECEIVE_BYTES_MAX, STATUS_BYTES_MAX, Refused,
)  # fmt: skip
from fleet import (
    ADMIN, DAY, FLEET, LAPTOP, OUTSIDER, ROUTER, STRANGER, TOKEN_ADMIN, ZEROS, full_parts, release, status,
)  # fmt: skip
from programs import folder, running, until
from real_broker import Broker, heard
from vectors import VECTORS, unhex

@pytest.fixture(scope="module")
def broker():
    with folder() as path:
        broker = Broker(path, [ADMIN.public])
        with running("bento-broker", "--config", broker.config, log=path / "log"):
            until(broker.ready, "the broker answers")
            yield broker


@pytest.fixture
def published(broker):
    """A new release with everything in it is the newest one."""
    made = release(full_parts())
    broker.upload(made)
    assert broker.publish(made) == ("OK", [])
    return made


# ---- before anything was published: must stay first ----


def test_without_a_release_there_is_none(broker):
    assert broker.ask("GET_HEAD") == ("NONE", [])
    assert broker.ask("GET_TICKET", ZEROS, ROUTER.node_id) == ("NONE", [])
    assert broker.ask("GET_BLOB", ZEROS, 0) == ("NONE", [])
    assert broker.command("GET_RELEASE") == ("NONE", [])
    tick, _ = heard(broker.subscribe(), structures.Tick)
    assert (tick.epoch, tick.release) == (0, 0)


def test_wrong_base_without_a_release_is_refused_stale(broker):
    code, body = broker.publish(release(), base=b"x" * 32)
    assert (code, body[0]) == ("REFUSED", "STALE")


def test_status_before_a_release_is_unknown(broker):
    assert broker.put_status(structures.Signed.make(status(), ROUTER)) == ("REFUSED", ["UNKNOWN"])


# ---- a release, from the admin to a node ----


def node(identity=ROUTER):
    return structures.Node(identity, ssh.Signers([ADMIN.public.line()]), FLEET)


def test_fetched_release_passes_all_checks(broker, published):
    code, (envelope,) = broker.ask("GET_HEAD")
    assert code == "OK" and envelope == published.envelope
    code, (proven,) = broker.ask("GET_TICKET", published.head_hash, ROUTER.node_id)
    assert code == "OK" and proven == published.proven(ROUTER.node_id)
    us = node()
    ticket = us.ticket(us.follow(envelope, time.time()), proven)
    bundle = us.bundle(ticket, broker.blob(ticket.ct_hash, ticket.ct_len))
    tree = us.tree(bundle, broker.blob(*bundle.tree[:2]))
    assert bundle.digest(tree) == next(part.digest for part in published.parts if part.name == "router")


def test_ticket_of_an_old_release_is_stale(broker, published):
    assert broker.ask("GET_TICKET", b"x" * 32, ROUTER.node_id) == ("STALE", [published.envelope])


def test_ticket_of_an_outsider_is_none(broker, published):
    assert broker.ask("GET_TICKET", published.head_hash, OUTSIDER.node_id) == ("NONE", [])


def test_blob_beyond_its_end_is_empty(broker, published):
    for ct_hash, blob in published.blobs.items():
        assert broker.ask("GET_BLOB", ct_hash, len(blob)) == ("OK", [len(blob), b""])
        assert broker.ask("GET_BLOB", ct_hash, 2**64 - 1) == ("OK", [len(blob), b""])
        assert broker.ask("GET_BLOB", ct_hash, len(blob) - 1) == ("OK", [len(blob), blob[-1:]])


def test_release_is_published_whole(broker):
    subscriber, events = broker.subscribe(), broker.subscribe(broker.path / "events.sock")
    heard(subscriber, structures.Tick)  # from here on it is subscribed
    heard(events, structures.Tick)
    made = release(full_parts())
    broker.upload(made)
    assert broker.publish(made) == ("OK", [])
    found, message = heard(subscriber, structures.Published, lambda found: found.envelope == made.envelope)
    assert isinstance(structures.bus_message(message), structures.Published)
    assert found.proven == [made.proven(part.public.node_id) for part in made.parts]
    blobs = {ssh.sha256(blob): blob for blob in found.blobs}
    assert blobs == made.blobs
    for identity in (ROUTER, LAPTOP):
        _, digest = node(identity).check(found.envelope, made.proven(identity.node_id), blobs, time.time())
        assert digest == made.parts[made.index(identity.node_id)].digest
    event, _ = heard(events, structures.Published, lambda found: found.envelope == made.envelope)
    assert (event.proven, event.blobs) == ([], [])
    tick, _ = heard(subscriber, structures.Tick)
    assert (tick.epoch, tick.release) == (made.head.epoch, made.head.release)


def test_only_what_changed_is_sent(broker, published):
    subscriber = broker.subscribe()
    heard(subscriber, structures.Tick)
    router = next(part for part in published.parts if part.name == "router")
    laptop = Part(LAPTOP.public, "laptop", {"substitute_only": True, "host": "another"})
    made = release([router, laptop])
    broker.upload_blob(laptop.ticket.ct_hash, made.blobs[laptop.ticket.ct_hash])
    assert broker.publish(made) == ("OK", [])
    found, _ = heard(subscriber, structures.Published, lambda found: found.envelope == made.envelope)
    assert found.proven == [made.proven(LAPTOP.node_id)]
    assert [ssh.sha256(blob) for blob in found.blobs] == [laptop.ticket.ct_hash]


def test_admin_gets_the_release_back(broker, published):
    code, (envelope, roster, tickets) = broker.command("GET_RELEASE")
    assert (code, envelope, roster, tickets) == ("OK", published.envelope, published.roster, published.tickets)
    structures.check_release(envelope, roster, tickets, ssh.Signers([ADMIN.public.line()]), FLEET)


def test_published_again_is_ok(broker, published):
    assert broker.publish(published, base=ZEROS) == ("OK", [])


# ---- blobs ----


def test_upload_goes_on_where_it_stopped(broker):
    blob = os.urandom(1000)
    name = ssh.sha256(blob)
    assert broker.command("PUT_BLOB", name, 1000, 0, blob[:300]) == ("OK", [300])
    assert broker.command("PUT_BLOB", name, 1000, 0, blob[:300]) == ("OK", [300])
    assert broker.command("PUT_BLOB", name, 1000, 400, blob[400:500]) == ("OK", [300])
    assert broker.ask("GET_BLOB", name, 0) == ("NONE", [])
    assert broker.command("MISSING_BLOBS", [name, ZEROS]) == ("OK", [[name, ZEROS]])
    assert broker.command("PUT_BLOB", name, 1000, 300, blob[300:]) == ("OK", [1000])
    assert broker.command("PUT_BLOB", name, 1000, 300, blob[300:]) == ("OK", [1000])
    assert broker.command("MISSING_BLOBS", [ZEROS, name]) == ("OK", [[ZEROS]])
    assert broker.ask("GET_BLOB", name, 0) == ("OK", [1000, blob])


def test_another_total_begins_anew(broker):
    name = ssh.sha256(b"12345")
    assert broker.command("PUT_BLOB", name, 9, 0, b"123") == ("OK", [3])
    assert broker.command("PUT_BLOB", name, 5, 0, b"12") == ("OK", [2])
    assert broker.command("PUT_BLOB", name, 5, 2, b"345") == ("OK", [5])


def test_bad_uploads_are_refused(broker):
    assert broker.command("PUT_BLOB", b"x" * 32, 0, 0, b"") == ("LENGTH", [])
    assert broker.command("PUT_BLOB", b"x" * 32, BLOB_BYTES_MAX + 1, 0, b"1") == ("LENGTH", [])
    assert broker.command("PUT_BLOB", b"x" * 32, 5, 4, b"12") == ("LENGTH", [])
    assert broker.command("PUT_BLOB", b"x" * 32, 5, 2**64 - 1, b"12") == ("LENGTH", [])
    assert broker.command("PUT_BLOB", b"x" * 32, 5, 0, b"12345") == ("HASH", [])
    assert broker.command("PUT_BLOB", b"x" * 32, 5, 1, b"2345") == ("OK", [0])


# ---- forged releases ----


def replaced(made, **envelope):
    made.envelope = structures.Envelope.decode(made.envelope).replace(**envelope).encode()
    return made


def bad_signature():
    made = release()
    signature = bytearray(structures.Envelope.decode(made.envelope).signatures[0])
    signature[-1] ^= 1
    return replaced(made, signatures=[bytes(signature)])


def stranger_beside_us():
    made = release()
    ours = structures.Envelope.decode(made.envelope).signatures
    return replaced(made, signatures=ours + [STRANGER.sign(b"another", ssh.RELEASE_NAMESPACE)])


def long_envelope():
    made = release()
    made.envelope += bytes(8193 - len(made.envelope))
    return made


def other_roster():
    made = release()
    made.roster = release([Part(ROUTER.public, "other"), Part(LAPTOP.public, "laptop")]).roster
    return made


def ticket_missing():
    made = release()
    made.tickets.pop()
    return made


def swapped_tickets():
    made = release()
    made.tickets.reverse()
    return made


def other_ticket():
    made = release()
    made.tickets[0] = made.parts[0].ticket.replace(ct_len=17, ct_hash=b"x" * 32, sealed=bytes(80)).encode()
    return made


def rubbish_ticket():
    made = release()
    made.tickets[0] = b"\xc1"
    return made


FORGED = {
    "another head than the signed one": ("SIGNER", lambda: replaced(release(), head=b"")),
    "by a stranger": ("SIGNER", lambda: release(signers=[STRANGER])),
    "changed signature": ("SIGNER", bad_signature),
    "stranger's bad signature beside ours": ("SIGNER", stranger_beside_us),
    "signed as a status": ("NAMESPACE", lambda: release(namespace=ssh.STATUS_NAMESPACE)),
    "other fleet": ("FLEET", lambda: release(fleet=ZEROS)),
    "expires is not above release": ("FORMAT", lambda: release(expires=5)),
    "expired": ("EXPIRED", lambda: release(release=1000, expires=2000)),
    "roster's hash": ("HASH", other_roster),
    "ticket missing": ("LENGTH", ticket_missing),
    "number of tickets": ("LENGTH", lambda: release(tickets=3)),
    "tickets swapped": ("NOTMINE", swapped_tickets),
    "other ticket": ("PATH", other_ticket),
    "rubbish as ticket": ("FORMAT", rubbish_ticket),
    "other root": ("PATH", lambda: release(root=ZEROS)),
    "blob above the limit": (
        "LENGTH",
        lambda: release([Part(ROUTER.public, "router", {}, ct_len=BLOB_BYTES_MAX + 1)]),
    ),
    "epoch two above": ("EPOCH", lambda: release(epoch=3)),
    "blobs missing": ("NONE", lambda: release(full_parts())),
    "rollback": ("ROLLBACK", lambda: release(release=5, expires=int(time.time()) + DAY)),
}


@pytest.mark.parametrize("name", FORGED)
def test_forged_release_is_refused(broker, published, name):
    code, make = FORGED[name]
    answer, body = broker.publish(make())
    assert (answer, body[0]) == ("REFUSED", code), body
    assert broker.newest() == published.head_hash


def test_second_head_under_one_number_is_equivocation(broker, published):
    answer, body = broker.publish(release(release=published.head.release))
    assert (answer, body[0]) == ("REFUSED", "EQUIVOCATION")


def test_publish_over_another_base_is_stale(broker, published):
    assert broker.publish(release(), base=b"x" * 32) == ("STALE", [published.envelope])


def test_too_long_envelope_is_not_taken(broker, published):
    # Longer than the operation allows: the request itself does not parse.
    made = long_envelope()
    assert broker.publish(made) == ("FORMAT", [])


def test_token_and_threshold():
    with folder() as path:
        broker = Broker(path, [ADMIN.public, TOKEN_ADMIN.public], threshold=2)
        with running("bento-broker", "--config", broker.config, log=path / "log"):
            until(broker.ready, "the broker answers")
            for signers in ([ADMIN], [ADMIN, ADMIN], [TOKEN_ADMIN, STRANGER]):
                answer, body = broker.publish(release(signers=signers))
                assert (answer, body[0]) == ("REFUSED", "THRESHOLD")
            assert broker.publish(release(signers=[STRANGER, TOKEN_ADMIN, ADMIN])) == ("OK", [])


# ---- statuses ----


def test_status_is_acknowledged_and_kept(broker, published):
    events = broker.subscribe(broker.path / "events.sock")
    heard(events, structures.Tick)
    sent = status(head_hash=published.head_hash, epoch=1, release=published.head.release, state="building", log=b"\xff\0")
    signed = structures.Signed.make(sent, ROUTER)
    assert broker.put_status(signed) == ("OK", [sent.seq, ssh.sha256(signed)])
    _, message = heard(events, structures.Signed)
    assert message == structures.TOPIC + signed
    assert broker.put_status(signed) == ("OK", [sent.seq, ssh.sha256(signed)])
    code, (more, rows) = broker.command("GET_STATUSES", ZEROS)
    assert (code, more) == ("OK", False)
    newest = {row[0]: row for row in rows}
    assert newest[ROUTER.node_id][2] == signed
    assert abs(newest[ROUTER.node_id][1] - time.time()) < 60
    assert broker.command("GET_STATUSES", b"\xff" * 32) == ("OK", [False, []])


def test_history_is_newest_first(broker, published):
    base = time.time_ns()
    all_signed = [structures.Signed.make(status(LAPTOP, seq=base + i), LAPTOP) for i in range(3)]
    for signed in reversed(all_signed):  # numbers need not come in order
        assert broker.put_status(signed)[0] == "OK"
    code, (more, rows) = broker.command("GET_HISTORY", LAPTOP.node_id, 2**64 - 1)
    assert (code, more) == ("OK", False)
    assert [row[1] for row in rows][:3] == all_signed[::-1]
    code, (more, rows) = broker.command("GET_HISTORY", LAPTOP.node_id, base + 1)
    assert [row[1] for row in rows][:1] == all_signed[:1]
    newest = {row[0]: row[2] for row in broker.command("GET_STATUSES", ZEROS)[1][1]}
    assert newest[LAPTOP.node_id] == all_signed[2]


def test_other_bytes_under_one_number_are_answered_with_the_highest(broker, published):
    first = status()
    highest = status(seq=first.seq + 10)
    for sent in (first, highest):
        assert broker.put_status(structures.Signed.make(sent, ROUTER))[0] == "OK"
    second = structures.Signed.make(first.replace(nonce=os.urandom(16)), ROUTER)
    assert broker.put_status(second) == ("SEQ", [highest.seq])


def by_token():
    token = ssh.PrivateKey(os.urandom(32), b"ssh:")
    return structures.Signed.make(status(token), token)


def changed_body():
    signed = structures.Signed.decode(structures.Signed.make(status(), ROUTER))
    return signed.replace(body=status().encode()).encode()


def raw(body, identity=ROUTER):
    return structures.Signed(body=body, signature=identity.sign(body, ssh.STATUS_NAMESPACE)).encode()


def odd(**fields):
    return raw(status(**fields).encode())


FORGED_STATUS = {
    "rubbish": ("FORMAT", lambda: b"\xc1"),
    "rubbish, well signed": ("FORMAT", lambda: raw(b"rubbish")),
    "byte behind": ("FORMAT", lambda: structures.Signed.make(status(), ROUTER) + b"\0"),
    "no signature": ("FORMAT", lambda: structures.Signed(body=status().encode(), signature=b"").encode()),
    "unknown state": ("FORMAT", lambda: odd(state="great")),
    "code OK": ("FORMAT", lambda: odd(code="OK")),
    "control character": ("FORMAT", lambda: odd(running="a\nb")),
    "timing of 0": ("FORMAT", lambda: odd(timings={"fetch": 0})),
    "as a release": ("NAMESPACE", lambda: structures.Signed.make(status(), ROUTER, ssh.RELEASE_NAMESPACE)),
    "other body": ("SIGNER", changed_body),
    "another node's key": ("SIGNER", lambda: structures.Signed.make(status(ROUTER), LAPTOP)),
    "an admin's key": ("SIGNER", lambda: structures.Signed.make(status(ROUTER), ADMIN)),
    "a token": ("SIGNER", by_token),
    "other fleet": ("FLEET", lambda: odd(fleet=ZEROS)),
    "outsider": ("UNKNOWN", lambda: structures.Signed.make(status(OUTSIDER), OUTSIDER)),
}


@pytest.mark.parametrize("name", FORGED_STATUS)
def test_forged_status_is_refused(broker, published, name):
    code, make = FORGED_STATUS[name]
    signed = make()
    with pytest.raises(Refused) as ours:  # our own checks say the same
        structures.Signed.verify(signed, FLEET, [ROUTER.node_id, LAPTOP.node_id])
    assert ours.value.code == code
    assert broker.put_status(signed) == ("REFUSED", [code])


# ---- requests ----


def test_admin_operations_are_not_for_the_public(broker):
    for operation in (16, 17, 18, 19, 20, 21, 0, 5, 22, 2**64 - 1):
        assert broker.public.ask(operations.request(operation)) == operations.reply("BAD")
    assert broker.command("GET_HEAD")[0] in ("OK", "NONE")


BAD_REQUESTS = {
    "empty": ("FORMAT", b""),
    "rubbish": ("FORMAT", b"\xc1"),
    "two elements": ("FORMAT", e.pack(["bento-req", 1])),
    "nine elements in the body": ("FORMAT", e.pack(["bento-req", 1, 1, *range(9)])),
    "eight elements in the body": ("FORMAT", e.pack(["bento-req", 1, 1, *range(8)])),
    "a reply": ("FORMAT", operations.reply("OK")),
    "version 2": ("FORMAT", e.pack(["bento-req", 2, 1])),
    "op is not in its shortest form": ("FORMAT", e.pack(["bento-req", 1])[:-1].replace(b"\x92", b"\x93", 1) + b"\1\xcc\1"),
    "byte behind": ("FORMAT", operations.request("GET_HEAD") + b"\0"),
    "body that is missing": ("FORMAT", operations.request("GET_TICKET", ZEROS)),
    "hash of 31 bytes": ("FORMAT", operations.request("GET_BLOB", bytes(31), 0)),
    "129 bytes": ("LENGTH", operations.request("GET_HEAD") + bytes(129 - len(operations.request("GET_HEAD")))),
    "129 bytes of no operation": ("BAD", operations.request(99) + bytes(120)),
    "long status": ("FORMAT", operations.request("PUT_STATUS", bytes(STATUS_BYTES_MAX + 1))),
    "longer status": ("LENGTH", operations.request("PUT_STATUS", bytes(STATUS_BYTES_MAX + 128))),
}


@pytest.mark.parametrize("name", BAD_REQUESTS)
def test_bad_request_is_answered_with_its_code(broker, name):
    code, message = BAD_REQUESTS[name]
    assert broker.public.ask(message) == operations.reply(code)


# ---- framing ----


def test_words_in_front_of_the_request_id_come_back(broker):
    connection = framing.connect(broker.rep, framing.REQ, REQ_RECEIVE_BYTES_MAX)
    trace = bytes.fromhex("0000000100000002800000ff")
    connection.send(trace + operations.request("GET_BLOB", ZEROS, 0))
    assert connection.receive() == trace + operations.reply("NONE")


@pytest.mark.parametrize("greeting", [framing.handshake(framing.SUB), b"GET / HT", b"\0SP\1\0\x30\0\0"])
def test_other_handshakes_are_closed(broker, greeting):
    stream = framing.socket.create_connection(broker.rep, framing.DEADLINE)
    stream.sendall(greeting)
    received = b""
    try:
        while piece := stream.recv(100):
            received += piece
    except ConnectionResetError:
        pass
    assert received in (b"", framing.handshake(framing.REP))


def test_message_beyond_the_limit_is_closed(broker):
    connection = framing.connect(broker.rep, framing.REQ, REQ_RECEIVE_BYTES_MAX)
    connection.stream.sendall((REP_RECEIVE_BYTES_MAX + 1).to_bytes(8, "big") + b"\x80\0\0\1")
    with pytest.raises(ConnectionError):
        connection.receive()
    assert broker.ask("GET_BLOB", ZEROS, 0) == ("NONE", [])


def test_requests_from_many_at_once(broker, published):
    answers = []

    def ask():
        requester = framing.Requester(broker.rep, REQ_RECEIVE_BYTES_MAX)
        for _ in range(20):
            answers.append(operations.decode_reply(requester.ask(operations.request("GET_HEAD")), "GET_HEAD"))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [("OK", [published.envelope])] * 160


# ---- the conversation among the vectors ----


def test_served_vectors():
    served = json.loads((VECTORS / "served.json").read_text())
    trust = served["trust"]
    with folder() as path:
        broker = Broker(path, [ssh.PublicKey.from_line(line) for line in trust["signers"]], fleet=unhex(trust["fleet"]))
        with running("bento-broker", "--config", broker.config, log=path / "log"):
            until(broker.ready, "the broker answers")
            for vector in served["vectors"]:
                check_served(broker, vector)


def check_served(broker, vector):
    requester = broker.public if vector["who"] == "public" else broker.admin
    reply = requester.ask(unhex(vector["request"]))
    code, _, body = operations.open_reply(reply)
    assert code == vector["code"], vector["name"]
    if "reply" in vector:
        assert reply == unhex(vector["reply"]), vector["name"]
    if "reason" in vector:
        assert operations.decode_reply(reply, "PUBLISH")[1][0] == vector["reason"], vector["name"]
