#!/usr/bin/env python3
"""local_user.py PUB_PORT REP_PORT STATE PUBLIC_KEY: what anybody on a node can do who finds the local ports of its tunnel. Runs
as that somebody. Prints what should not have been possible."""

import contextlib
import os
import socket
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../wire"))

from bento_wire import framing, operations, structures
from bento_wire.refused import ADMIN_RECEIVE_BYTES_MAX, PUBLISHED_BYTES_MAX, REQ_RECEIVE_BYTES_MAX

pub_port, rep_port, state, word = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4].encode()
ZEROS = bytes(32)
asker = framing.Requester(("127.0.0.1", rep_port), REQ_RECEIVE_BYTES_MAX)


def ask(name, *body):
    answer = asker.ask(operations.request(name, *body))
    if word in answer:
        print(f"{name} shows the secret")
    return operations.open_reply(answer)[0], answer


for name, body in {
    "GET_RELEASE": (), "MISSING_BLOBS": ([ZEROS],), "PUT_BLOB": (ZEROS, 1, 0, b"x"), "PUBLISH": (ZEROS, b"", b"", []),
    "GET_STATUSES": (ZEROS,), "GET_HISTORY": (ZEROS, 2**64 - 1), "GET_EARLIER": (ZEROS,),
}.items():  # fmt: skip
    if ask(name, *body)[0] != "BAD":
        print(f"{name} is served")

code, answer = ask("GET_HEAD")
envelope = operations.decode_reply(answer, "GET_HEAD")[1][0]
head_hash = structures.Envelope.decode(envelope).head_hash
# Everything that travels on PUB, for as long as a tick takes.
listener = framing.connect(("127.0.0.1", pub_port), framing.SUB, PUBLISHED_BYTES_MAX)
if word in listener.receive():
    print("PUB shows the secret")
for node_id in [bytes.fromhex(text) for text in sys.argv[5:]]:
    code, answer = ask("GET_TICKET", head_hash, node_id)
    proven = structures.Proven.decode(operations.decode_reply(answer, "GET_TICKET")[1][0])
    ticket = structures.Ticket.decode(proven.ticket)
    code, answer = ask("GET_BLOB", ticket.ct_hash, 0)
    if code != "OK":
        print("no blob to look at")
for status in (b"", b"rubbish", os.urandom(500)):
    if ask("PUT_STATUS", status)[0] != "REFUSED":
        print("a status that nobody signed is taken")
for folder, _, names in os.walk(state):
    for name in names:
        with contextlib.suppress(OSError):
            with open(os.path.join(folder, name), "rb") as file:
                file.read(1)
            print(f"{os.path.join(folder, name)} can be read")
for path in ("node", "spool/in", "spool/out", "apply"):
    with contextlib.suppress(OSError):
        os.mkdir(os.path.join(state, path, "mine"))
        print(f"{path} can be written")
print("done")
