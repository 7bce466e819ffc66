"""What each node could read of what the broker keeps: open_all.py DATABASE OUT NAME=IDENTITY…

Tries every identity on every ticket of every release, and what it opens on every blob. Prints `NAME opens NAME'S TICKET` a line;
writes the plaintexts to OUT/NAME/.
"""
import base64
import os
import sqlite3
import struct
import sys

import msgpack
from nacl import bindings, exceptions, public, signing


def read_key(path):
    with open(path) as f:
        data = base64.b64decode("".join(f.read().split("\n")[1:-2]))
    fields, at = [], len("openssh-key-v1") + 1
    while len(fields) < 5:
        if len(fields) == 3:
            at += 4  # the number of keys
        n = struct.unpack(">I", data[at:at + 4])[0]
        fields.append(data[at + 4:at + 4 + n])
        at += 4 + n
    private = fields[4]  # check, check, type, public, secret
    at = 8 + 4 + len("ssh-ed25519") + 4 + 32 + 4
    return signing.SigningKey(private[at:at + 32])


def decrypt(blob, key):
    try:
        return bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(blob, b"", bytes(24), key)
    except exceptions.CryptoError:
        return None


database, out, *nodes = sys.argv[1:]
with sqlite3.connect("file:%s?mode=ro" % database, uri=True) as db:
    releases = db.execute("SELECT roster, tickets FROM releases").fetchall()
    blobs = [b"".join(d for d, in db.execute("SELECT data FROM chunks WHERE blob = ? ORDER BY start", (number,)))
             for number, in db.execute("SELECT id FROM blobs WHERE complete").fetchall()]
assert releases and blobs
opened = set()
for name, path in (n.split("=", 1) for n in nodes):
    box = public.SealedBox(read_key(path).to_curve25519_private_key())
    folder, keys = os.path.join(out, name), set()
    os.makedirs(folder)
    for roster, tickets in releases:
        owner = {node[0]: node[1] for node in msgpack.unpackb(roster)[2]}
        for ticket in map(msgpack.unpackb, msgpack.unpackb(tickets)):
            try:
                keys.add(box.decrypt(ticket[5]))
                opened.add("%s opens %s" % (name, owner[ticket[2]]))
            except exceptions.CryptoError:
                pass
    while keys:
        key = keys.pop()
        for number, blob in enumerate(blobs):
            plain = decrypt(blob, key)
            if plain is None:
                continue
            content = msgpack.unpackb(plain)
            with open(os.path.join(folder, "%s-%d" % (content[0], number)), "wb") as f:
                f.write(plain)
            if content[0] == "bento-bundle" and content[4]:
                keys.add(content[4][2])
print("\n".join(sorted(opened)))
