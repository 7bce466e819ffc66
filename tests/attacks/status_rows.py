"""Whoever has the broker's disk edits, swaps, brings back or deletes what it keeps, with SQLite itself, while the broker runs:
what bento-status says then. It must never call a node fine that has not said so, of the newest release, in its own signature.

usage: status_rows.py BIN [NAME_OF_TEST…]
"""
import glob
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time

import broker_lab

BIN = os.path.abspath(sys.argv[1])
b = broker_lab.load(BIN)
POLL_S = 1800
HIGHEST = b"\xff" * 8
FINE, ERROR, PENDING, FAILING = 0, 1, 2, 3


class Scene:
    """A broker with a release of three machines that all say they are up to date, and nothing wrong."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="bento-attack-")
        self.cache = os.path.join(self.folder, "cache")
        self.w = b.World(self.folder)
        self.fleet, self.nodes = self.w.fleet, self.w.fleet.nodes
        self.seq, self.head = time.time_ns(), b.ZEROS
        self.fleet.number = int(time.time()) - 4 * POLL_S  # so that a status may be older than now

    def __enter__(self):
        try:
            self.begin()
        except BaseException:
            self.w.close()
            raise
        return self

    def begin(self):
        with open(os.path.join(self.folder, "fleet.json"), "w") as f:
            json.dump({"fleet": self.fleet.id.hex(), "signers": [self.fleet.admin.line],
                       "broker": {"admin": self.w.broker.admin},
                       "nodes": {"node-%d" % i: {"key": n.line} for i, n in enumerate(self.nodes)}}, f)
        self.w.upload_all()
        self.release()
        for i in range(len(self.nodes)):
            self.report(i)
        status, rows = self.ask()
        assert status == FINE and {r["state"] for r in rows} == {"up-to-date"}, (status, rows)

    def __exit__(self, kind, value, trace):
        self.w.close()
        with open(os.path.join(self.folder, "log")) as f:
            log = f.read()
        shutil.rmtree(self.folder)
        assert kind or ("Sanitizer" not in log and "runtime error" not in log), log

    def path(self, i):
        return "/nix/store/%032d-system-of-%d-in-%d" % (i, i, self.fleet.number)

    def release(self):
        """The next one; every node's expected path is another one than before."""
        f = self.fleet
        f.number += 1
        tickets = [b.pack(["bento-ticket", 1, n.id, b.sha256(blob), len(blob), bytes(80)])
                   for n, blob in zip(f.nodes, f.bundles)]
        roster = b.pack(["bento-roster", 1, [[n.id, "node-%d" % i, [], self.path(i), "all", b.sha256(f.tree)]
                                             for i, n in enumerate(f.nodes)]])
        head = b.pack(["bento-head", 1, f.id, 1, f.number, f.number + 10**6, 0, len(tickets),
                       b.merkle([b.sha256(b"\0" + t) for t in tickets]), b.sha256(roster), os.urandom(16)])
        envelope = b.pack(["bento-release", 1, head, [f.admin.sign("bento-release-v1", head)]])
        assert self.w.admin.ask(b.PUBLISH, self.head, envelope, roster, tickets) == ["OK"]
        self.head = b.sha256(head)

    def report(self, i, state="up-to-date", code="", age_s=0):
        """Node i says so of the newest release. Returns the message."""
        self.seq += 1
        path = self.path(i)
        body = b.pack(["bento-status", 1, self.fleet.id, self.nodes[i].id, self.seq, int(time.time()) - age_s, bytes(16),
                       self.head, 1, self.fleet.number, b.sha256(path.encode()), b.sha256(path.encode()), 1, state, code,
                       path, path, path, bytes(16), False, False, 1, {}, b"its log"])
        message = b.pack(["bento-signed", 1, body, self.nodes[i].sign("bento-status-v1", body)])
        assert self.w.public.ask(b.PUT_STATUS, message)[0] == "OK"
        return message

    def sql(self, *statements):
        """(text, values…), as another program on the broker's machine would."""
        database, = glob.glob(os.path.join(self.w.broker.state, "*.sqlite"))
        with sqlite3.connect(database, timeout=b.DEADLINE_S) as db:
            for text, *values in statements:
                assert db.execute(text, values).rowcount > 0, text
        db.close()

    def newest(self, i):
        return "id = (SELECT id FROM statuses WHERE node_id = x'%s' ORDER BY seq DESC LIMIT 1)" % self.nodes[i].id.hex()

    def run(self, *words):
        r = subprocess.run([os.path.join(BIN, "bento-status"), "-C", self.folder, *words], capture_output=True, text=True,
                           timeout=b.DEADLINE_S, env={**os.environ, "XDG_CACHE_HOME": self.cache})
        assert "Sanitizer" not in r.stderr and "runtime error" not in r.stderr, r.stderr
        return r

    def ask(self):
        """(exit status, rows in the order of the nodes)"""
        r = self.run("--json")
        assert r.returncode != ERROR, r.stderr
        rows = {n["name"]: n for n in json.loads(r.stdout)["nodes"]}
        return r.returncode, [rows["node-%d" % i] for i in range(len(self.nodes))]


def others_are_fine(rows, *suspects):
    for i, row in enumerate(rows):
        assert i in suspects or (row["state"], row["severity"], row["silent"]) == ("up-to-date", "done", False), row


def row_with_any_bit_flipped_is_tampered(s):
    """Another bit in each of 64 looks: all parts of the message, its signature and key among them."""
    whole = s.report(0)
    for look in range(64):
        at = len(whole) * look // 64
        flipped = bytearray(whole)
        flipped[at] ^= 1 << look % 8
        s.sql(("UPDATE statuses SET signed = ? WHERE " + s.newest(0), bytes(flipped)))
        status, rows = s.ask()
        assert status == FAILING and rows[0]["state"] == "tampered", (at, rows[0])
        assert rows[0]["running"] is None and rows[0]["node_state"] is None, rows[0]
        others_are_fine(rows, 0)
    s.sql(("UPDATE statuses SET signed = ? WHERE " + s.newest(0), whole))
    assert s.ask()[0] == FINE


def row_of_another_length_is_tampered(s):
    whole = s.report(0)
    for message in (b"", whole[:1], whole[:len(whole) // 2], whole[:-1], whole + b"\0", whole + whole):
        s.sql(("UPDATE statuses SET signed = ? WHERE " + s.newest(0), message))
        status, rows = s.ask()
        assert status == FAILING and rows[0]["state"] == "tampered", (len(message), rows[0])
        others_are_fine(rows, 0)


def tampered_row_is_shown_as_such_everywhere(s):
    message = s.report(0)
    s.sql(("UPDATE statuses SET signed = ? WHERE " + s.newest(0), message.replace(b"up-to-date", b"up-to-datf")))
    r = s.run()
    line, = [t for t in r.stdout.splitlines() if t.startswith("node-0")]
    assert r.returncode == FAILING and "tampered" in line, r.stdout
    r = s.run("--history", "node-0")
    assert "tampered" in r.stdout, r.stdout
    r = s.run("--log", "node-0")
    assert r.returncode == ERROR and "tampered" in r.stderr and "its log" not in r.stdout, r


def one_nodes_word_in_anothers_row_is_tampered(s):
    a, c = s.report(0), s.report(1, "failed", "BUILD")
    s.sql(("UPDATE statuses SET signed = ? WHERE " + s.newest(0), c),
          ("UPDATE statuses SET signed = ? WHERE " + s.newest(1), a))
    status, rows = s.ask()
    assert status == FAILING and [r["state"] for r in rows[:2]] == ["tampered"] * 2, rows
    others_are_fine(rows, 0, 1)


def row_given_to_another_node_is_tampered(s):
    """The failing node's rows go, and a good one's takes their place, by its column alone."""
    s.report(1, "failed", "BUILD")
    s.sql(("DELETE FROM statuses WHERE node_id = ?", s.nodes[1].id),
          ("UPDATE statuses SET node_id = ? WHERE node_id = ?", s.nodes[1].id, s.nodes[0].id))
    status, rows = s.ask()
    assert status == FAILING and rows[1]["state"] == "tampered" and rows[0]["state"] == "new-machine", rows
    others_are_fine(rows, 0, 1)


def columns_alone_change_nothing(s):
    s.report(0, "failed", "BUILD")
    s.sql(("UPDATE statuses SET state = 'up-to-date', code = '', received = ? WHERE " + s.newest(0), int(time.time())))
    s.sql(("UPDATE statuses SET state = 'failed', code = 'BUILD', epoch = 0, release = 0 WHERE " + s.newest(1),))
    status, rows = s.ask()
    assert status == FAILING and (rows[0]["state"], rows[0]["code"]) == ("failing", "BUILD"), rows
    others_are_fine(rows, 0)


def old_word_for_a_newer_release_is_behind(s):
    """Node 0 fails the second release. Its good word about the first one is made the newest, in three ways."""
    first = s.fleet.number
    s.release()
    for i in range(len(s.nodes)):
        s.report(i, *(["failed", "BUILD"] if i == 0 else []))
    assert s.ask()[1][0]["state"] == "failing"

    def behind():
        status, rows = s.ask()
        assert status == PENDING, rows
        assert (rows[0]["state"], rows[0]["severity"], rows[0]["behind"]) == ("rebuild-pending", "pending", True), rows[0]
        assert (rows[0]["local_release"], rows[0]["applied"]) == (first, False), rows[0]
        others_are_fine(rows, 0)

    good = "id = (SELECT min(id) FROM statuses WHERE node_id = x'%s')" % s.nodes[0].id.hex()
    s.sql(("UPDATE statuses SET seq = ? WHERE " + good, HIGHEST))
    behind()
    s.sql(("UPDATE statuses SET epoch = 1, release = ?, received = ? WHERE " + good, s.fleet.number, int(time.time())))
    behind()
    s.sql(("UPDATE statuses SET seq = ? WHERE " + good, b"\0" * 8), ("DELETE FROM statuses WHERE " + s.newest(0),))
    behind()


def old_word_said_to_have_come_just_now_is_silent(s):
    """About the same release, so its age is all that can tell: the node's own time counts, not the column."""
    s.report(0, age_s=3 * POLL_S)
    s.sql(("UPDATE statuses SET received = ? WHERE " + s.newest(0), int(time.time()) + 3600))
    status, rows = s.ask()
    assert status == FAILING and rows[0]["silent"] and rows[0]["severity"] == "failing", rows[0]
    others_are_fine(rows, 0)


def deleted_rows_are_no_good_news(s):
    s.sql(("DELETE FROM statuses WHERE node_id = ?", s.nodes[0].id))
    status, rows = s.ask()
    assert status == PENDING and (rows[0]["state"], rows[0]["received"]) == ("new-machine", None), rows
    others_are_fine(rows, 0)
    s.sql(("DELETE FROM statuses",))
    status, rows = s.ask()
    assert status == PENDING and {r["severity"] for r in rows} == {"pending"}, rows


def word_of_another_fleet_is_tampered(s):
    """The same key serves in two fleets."""
    mine = s.fleet.id
    s.report(0)
    body = b.unpack(s.fleet.status(s.nodes[0], s.seq, fleet=os.urandom(32)))[2]
    other = b.pack(["bento-signed", 1, body, s.nodes[0].sign("bento-status-v1", body)])
    assert mine not in other
    s.sql(("UPDATE statuses SET signed = ? WHERE " + s.newest(0), other))
    status, rows = s.ask()
    assert status == FAILING and rows[0]["state"] == "tampered", rows[0]
    others_are_fine(rows, 0)


def edited_release_is_an_error(s):
    """The broker keeps it in memory, so it is read at the next start. What the broker does not see itself, bento-status does."""
    for column, starts in (("envelope", True), ("roster", True), ("tickets", False)):
        s.w.broker.stop()
        database, = glob.glob(os.path.join(s.w.broker.state, "*.sqlite"))
        with sqlite3.connect(database) as db:
            (whole,), = db.execute("SELECT %s FROM releases" % column)
        db.close()
        s.sql(("UPDATE releases SET %s = ?" % column, whole[:-1] + bytes([whole[-1] ^ 1])))
        if starts:
            s.w.broker.start()
            r = s.run("--json")
            assert r.returncode == ERROR and r.stdout == "" and "is not this fleet's" in r.stderr, (column, r)
            s.w.broker.stop()
        else:
            s.w.broker.refuses_to_start("damaged")
        s.sql(("UPDATE releases SET %s = ?" % column, whole))
        s.w.broker.start()
        assert s.ask()[0] == FINE


def hidden_release_shows_by_the_nodes_that_saw_it(s):
    s.release()
    s.report(0)
    s.w.broker.stop()
    s.sql(("DELETE FROM release_blobs WHERE release = (SELECT max(id) FROM releases)",),
          ("DELETE FROM releases WHERE id = (SELECT max(id) FROM releases)",))
    s.w.broker.start()
    status, rows = s.ask()
    assert status == FAILING and rows[0]["state"] == "ahead", (status, rows)


TESTS = [row_with_any_bit_flipped_is_tampered, row_of_another_length_is_tampered, tampered_row_is_shown_as_such_everywhere,
         one_nodes_word_in_anothers_row_is_tampered, row_given_to_another_node_is_tampered, columns_alone_change_nothing,
         old_word_for_a_newer_release_is_behind, old_word_said_to_have_come_just_now_is_silent,
         deleted_rows_are_no_good_news, word_of_another_fleet_is_tampered, edited_release_is_an_error,
         hidden_release_shows_by_the_nodes_that_saw_it]


def main():
    for test in TESTS:
        if len(sys.argv) > 2 and test.__name__ not in sys.argv[2:]:
            continue
        with Scene() as scene:
            try:
                test(scene)
            except BaseException:
                print("%s: FAILED" % test.__name__, flush=True)
                raise
        print("%s: ok" % test.__name__, flush=True)


main()
