"""What a node has said is forged, edited on the broker's disk, or said again."""
import glob
import json
import os
import sqlite3
import subprocess

import lab as labs
from broker_lab import Broker


def test_forged_statuses_leave_no_row(lab):
    with Broker(lab.bin) as s:
        a = s.w.fleet.nodes[0]
        assert s.put(s.signed(a, a, namespace="bento-release-v1")) == ["REFUSED", "NAMESPACE"]
        assert s.put(s.signed(a, a, fleet=os.urandom(32))) == ["REFUSED", "FLEET"]
        good = s.signed(a, a)
        kind, version, body, signature = s.b.unpack(good)
        edited = body.replace(b"up-to-date", b"rolledback")
        assert s.put(s.b.pack([kind, version, edited, signature]))[0] == "REFUSED"
        assert s.put(s.b.pack([kind, version, body, b""])) == ["REFUSED", "FORMAT"]
        assert s.put(good + b"\0") == ["REFUSED", "FORMAT"]
        assert s.rows() == []


def test_same_bytes_twice_are_one_row(lab):
    with Broker(lab.bin) as s:
        a = s.w.fleet.nodes[0]
        status = s.signed(a, a)
        first = s.put(status)
        assert first[0] == "OK" and s.put(status) == first
        other = s.w.fleet.status(a, 5, log=b"another story")
        assert s.put(other) == ["SEQ", 5]
        history = s.w.admin.ask(s.b.GET_HISTORY, a.id, 2**64 - 1)[2]
        assert [h[1] for h in history] == [status]


def ask_status(lab, s):
    r = subprocess.run([os.path.join(lab.bin, "bento-status"), "-C", s.folder], capture_output=True, text=True, timeout=labs.DEADLINE_S)
    assert "Sanitizer" not in r.stderr, r.stderr
    return r.returncode, r.stdout + r.stderr


def test_row_edited_on_the_broker_is_tampered(lab):
    with Broker(lab.bin) as s:
        fleet = s.w.fleet
        with open(os.path.join(s.folder, "fleet.json"), "w") as f:
            json.dump({"fleet": fleet.id.hex(), "signers": [fleet.admin.line], "broker": {"admin": s.w.broker.admin},
                       "nodes": {"node-%d" % i: {"key": n.line} for i, n in enumerate(fleet.nodes)}}, f)
        for node in fleet.nodes:
            assert s.put(s.signed(node, node))[0] == "OK"
        status, text = ask_status(lab, s)
        assert "tampered" not in text, text
        database, = glob.glob(os.path.join(s.w.broker.state, "*.sqlite"))
        with sqlite3.connect(database) as db:
            (message,), = db.execute("SELECT signed FROM statuses WHERE node_id = ?", (fleet.nodes[1].id,))
            edited = message.replace(b"up-to-date", b"up-to-datf")
            assert edited != message
            db.execute("UPDATE statuses SET signed = ? WHERE node_id = ?", (edited, fleet.nodes[1].id))
        status, text = ask_status(lab, s)
        assert status == 3 and text.count("tampered") >= 1, (status, text)
        lines = [t for t in text.splitlines() if "tampered" in t and "node-" in t]
        assert lines and all("node-1" in line for line in lines), text
