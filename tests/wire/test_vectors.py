"""Every vector of proto/vectors/ through the second implementation."""

import json

import pytest
from bento_wire import encoding as e
from bento_wire import framing, merkle, operations, sealing, ssh, structures
from bento_wire.refused import BLOB_BYTES_MAX, Refused, require
from vectors import VECTORS, unhex


def shown(value):
    """As the vectors show values: numbers as decimal strings, bytes in hex."""
    if isinstance(value, dict):
        return {key: shown(v) for key, v in value.items()}
    if isinstance(value, list):
        return [shown(v) for v in value]
    if type(value) is int:
        return str(value)
    return value.hex() if isinstance(value, bytes) else value


def fields(structure):
    return {field: shown(getattr(structure, field)) for field in structure.FIELDS}


def plain(expected):
    """Long bytes in an expectation are written as the input is."""
    if isinstance(expected, dict):
        return {key: plain(v) for key, v in expected.items()}
    if isinstance(expected, list):
        if any(repeated(v) for v in expected) and all(isinstance(v, str) or repeated(v) for v in expected):
            return unhex(expected).hex()
        return [plain(v) for v in expected]
    return expected


def repeated(value):
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and type(value[1]) is int


def signers(trust):
    return ssh.Signers(trust["signers"], int(trust["threshold"]), trust["require_pin"])


# One function for each kind of vector: gives what is expected, or is refused.


def value_of(check):
    return lambda v: shown(check(e.unpack(unhex(v["input"]))))


def structure(kind):
    def decode(v):
        data = unhex(v["input"])
        decoded = kind.decode(data)
        assert decoded.encode() == data
        return fields(decoded)

    return decode


def head(v):
    return {**structure(structures.Head)(v), "head_hash": ssh.sha256(unhex(v["input"])).hex()}


def key_fields(key):
    return {
        "type": key.kind.decode(), "ed25519": key.pk.hex(), "application": key.application.decode(), "node_id": key.node_id.hex()
    }  # fmt: skip


def public_key_blob(v):
    key = ssh.PublicKey.decode(unhex(v["input"]))
    assert key.blob == unhex(v["input"])
    return key_fields(key)


def public_key_line(v):
    return key_fields(ssh.PublicKey.from_line(v["text"]))


def secret_key(v):
    key = ssh.PrivateKey.from_file(v["text"].encode())
    assert ssh.PrivateKey.from_file(key.file()).public == key.public
    return {"seed": key.seed.hex(), "ed25519": key.public.pk.hex()}


def sshsig(v):
    blob = unhex(v["input"])
    key = ssh.verify(blob, unhex(v["message"]), v["namespace"].encode(), v["require_pin"])
    parts = ssh.Signature(blob)
    flags, counter = (parts.tail[0], int.from_bytes(parts.tail[1:], "big")) if parts.tail else (0, 0)
    fields_of = {name: text for name, text in key_fields(key).items() if name != "node_id"}
    return {**fields_of, "signature": parts.sig.hex(), "flags": str(flags), "counter": str(counter)}


def armor(v):
    blob = ssh.unarmor_signature(v["text"].encode())
    assert ssh.armor(blob, "SSH SIGNATURE") == v["text"].encode()
    return blob.hex()


def merkle_tree(v):
    leaves = [unhex(leaf) for leaf in v["leaves"]]
    paths = [merkle.path(leaves, i) for i in range(len(leaves))]
    return shown({"root": merkle.root(leaves), "paths": paths})


def merkle_leaf(v):
    return merkle.leaf(unhex(v["input"])).hex()


def merkle_verify(v):
    path = [unhex(p) for p in v["path"]]
    good = merkle.verifies(int(v["index"]), int(v["size"]), unhex(v["leaf"]), path, unhex(v["root"]))
    require(good, "PATH")


def sealed(v):
    return sealing.open_key(unhex(v["input"]), ssh.PrivateKey(unhex(v["seed"]))).hex()


def curve(v):
    key = ssh.PrivateKey(unhex(v["seed"]))
    return shown({"public": sealing.x25519_public(key.public.pk), "secret": sealing.x25519_secret(key.seed)})


def seal_to(v):
    assert len(sealing.seal_key(bytes(32), unhex(v["ed25519"]))) == 80


def blob(v):
    plaintext = sealing.open_blob(unhex(v["input"]), unhex(v["key"]))
    assert sealing.Blob(plaintext, unhex(v["key"])).bytes == unhex(v["input"])
    return plaintext.hex()


def blob_check(v):
    sealing.check_blob(unhex(v["input"]), unhex(v["ct_hash"]), int(v["ct_len"]))


def proven_of(v):
    class OfHead:
        tickets, root = int(v["tickets"]), unhex(v["root"])

    structures.Proven.decode(unhex(v["input"])).open(OfHead, unhex(v["node_id"]))


def digest(v):
    bundle = structures.Bundle.decode(unhex(v["bundle"]))
    return structures.digest(bundle, unhex(v["tree_plain_hash"])).hex()


def release(v):
    envelope = unhex(v["envelope"])
    tickets = [unhex(ticket) for ticket in v["tickets"]]
    trust = v["trust"]
    _, roster, decoded = structures.check_release(envelope, unhex(v["roster"]), tickets, signers(trust), unhex(trust["fleet"]))
    head_hash = structures.Envelope.decode(envelope).head_hash
    return shown({"head_hash": head_hash, "blobs": sorted(structures.needed_blobs(roster, decoded))})


def signed(v):
    return fields(structures.Signed.verify(unhex(v["input"]), unhex(v["fleet"])))


def floor(v):
    return structure(structures.Floor)(v)


def published(v):
    message = structures.bus_message(unhex(v["input"]))
    assert structures.TOPIC + message.encode() == unhex(v["input"])
    return {"kind": "tick" if isinstance(message, structures.Tick) else "release", **fields(message)}


def request(v):
    name, count, body = operations.open_request(unhex(v["input"]))
    return {"op": name, "elements": str(count), "body": body.hex()}


def reply(v):
    code, count, body = operations.open_reply(unhex(v["input"]))
    return {"code": code, "elements": str(count), "body": body.hex()}


def frame(v):
    data, words = unhex(v["input"]), v["name"].split(" ")
    if words[0] == "handshake":
        assert framing.handshake(getattr(framing, words[1])) == data
        return
    ipc = words[0] == "ipc"
    assert framing.frame(data[9 if ipc else 8 :], ipc) == data
    message = data[9 if ipc else 8 :]
    if words[1] == "tick":
        structures.bus_message(message)
    else:
        trace, body = framing.backtrace(message)
        assert len(trace) == 4 and operations.open_request(body)[0] == words[1]


def node_of(v):
    floors = [
        structures.Floor(epoch=int(f["epoch"]), release=int(f["release"]), head_hash=unhex(f["head_hash"])) for f in v["floors"]
    ]
    identity = ssh.PrivateKey(unhex(v["seed"]))
    return structures.Node(identity, signers(v["trust"]), unhex(v["trust"]["fleet"]), structures.Floor.merged(floors))


def checks(v):
    """The floor afterwards is expected also when the release was refused."""
    node = node_of(v)
    code, digest_of = "OK", None
    try:
        head_of = node.follow(unhex(v["envelope"]), int(v["clock"]))
        ticket = node.ticket(head_of, unhex(v["proven"]))
        if not ticket.empty:
            bundle = node.bundle(ticket, unhex(v["bundle"]))
            digest_of = bundle.digest(node.tree(bundle, unhex(v["tree"])) if bundle.tree else None)
    except Refused as error:
        code = error.code
    expected = v["expect"]
    assert fields(node.floor) == expected["floor"]
    assert (digest_of.hex() if digest_of else None) == expected.get("digest")
    require(code == "OK", code)
    return expected


KINDS = dict(
    u64=value_of(e.u64), str=value_of(e.text(0, BLOB_BYTES_MAX)), bin=value_of(e.binary(0, BLOB_BYTES_MAX)),
    bool=value_of(e.boolean), nil=value_of(e.one_of(None)), array=value_of(e.array(e.u64)),
    map=value_of(e.map_of(e.u64)),
    public_key_blob=public_key_blob, public_key_line=public_key_line, secret_key=secret_key,
    trust=lambda v: signers(v["trust"]) and None, sshsig=sshsig, armor=armor,
    merkle=merkle_tree, merkle_leaf=merkle_leaf, merkle_verify=merkle_verify,
    sealed=sealed, curve=curve, seal_to=seal_to, blob=blob, blob_check=blob_check,
    head=head, envelope=structure(structures.Envelope), ticket=structure(structures.Ticket),
    proven=structure(structures.Proven), proven_of=proven_of, bundle=structure(structures.Bundle),
    tree=structure(structures.Tree), digest=digest, roster=structure(structures.Roster), release=release,
    status=structure(structures.Status), signed=signed, published=published,
    request=request, reply=reply, frame=frame, checks=checks, floor=floor,
)  # fmt: skip


def vectors():
    for file in sorted(VECTORS.glob("*.json")):
        if file.stem == "served":  # a conversation with a real broker: test_broker.py
            continue
        for number, vector in enumerate(json.loads(file.read_text())["vectors"]):
            yield pytest.param(vector, id=f"{file.stem}-{number}-{vector['kind']}-{vector['name']}")


@pytest.mark.parametrize("vector", vectors())
def test_vector(vector):
    try:
        result, code = KINDS[vector["kind"]](vector), "OK"
    except Refused as error:
        result, code = None, error.code
    assert code == vector["code"]
    if code == "OK" and "expect" in vector:
        assert result == plain(vector["expect"])


def test_there_are_vectors():
    assert len(list(vectors())) > 1000
