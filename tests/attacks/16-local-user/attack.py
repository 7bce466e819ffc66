"""Somebody who may use the machine, or a web page that somebody looks at there, and the node's own page."""
import contextlib
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import time

import lab as labs

NOBODY = 65534
CONNECTION_S = 5  # after which every connection is over
KEYS = {"version", "host", "state", "code", "phase", "epoch", "release", "attempt", "digest", "applied", "running", "booted",
        "profile", "target", "reboot", "reported", "auto", "log", "since", "link"}


class Page:
    def __init__(self, port, process, apply):
        self.port, self.process, self.apply, self.host = port, process, apply, "localhost:%d" % port

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=labs.DEADLINE_S)

    def send(self, data):
        """What comes back until the other side closes."""
        with self.connect() as s:
            with contextlib.suppress(ConnectionError):  # closed before all of it was sent
                s.sendall(data)
            return read_all(s)

    def ask(self, method, path, host=None, *fields):
        lines = ["%s %s HTTP/1.1" % (method, path), "Host: " + (host or self.host), *fields]
        answer = self.send(("\r\n".join(lines) + "\r\n\r\n").encode())
        return int(answer.split()[1]), answer.split(b"\r\n\r\n", 1)[1]

    def log(self):
        with open(self.apply.path("node.log"), "rb") as f:
            return f.read()

    def descriptors(self):
        """Those of the page: its listeners and their connections. (bento-node dials its broker meanwhile.)"""
        with open("/proc/%d/net/tcp" % self.process.pid) as v4, open("/proc/%d/net/tcp6" % self.process.pid) as v6:
            rows = [line.split() for line in v4.readlines()[1:] + v6.readlines()[1:]]
        ours = {"socket:[%s]" % row[9] for row in rows if int(row[1].split(":")[1], 16) == self.port}
        folder = "/proc/%d/fd" % self.process.pid
        return sum(self.target(os.path.join(folder, name)) in ours for name in os.listdir(folder))

    @staticmethod
    def target(path):
        try:
            return os.readlink(path)
        except FileNotFoundError:  # closed meanwhile
            return None

    def resident_kb(self):
        with open("/proc/%d/status" % self.process.pid) as f:
            return int(next(line for line in f if line.startswith("VmRSS")).split()[1])


def read_all(s):
    data = b""
    with contextlib.suppress(ConnectionError):
        while True:
            more = s.recv(65536)
            if not more:
                break
            data += more
    return data


def free_port():
    while True:
        port = random.randrange(20000, 32000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


@contextlib.contextmanager
def page_of(lab):
    apply, port = lab.daemon(), free_port()
    apply.write_config(page_port=port)
    apply.start()
    apply.await_secrets()
    apply.deliver_and_wait(apply.world.release(signers=[apply.world.stranger]))  # something to show
    with open(apply.path("node.log"), "wb") as log:
        process = subprocess.Popen([os.path.join(lab.bin, "bento-node"), "--config", apply.config], stderr=log)
    page = Page(port, process, apply)
    try:
        lab.wait_until(lambda: b"bento-node ready" in page.log(), "bento-node")
        yield page
        process.terminate()
        assert process.wait(labs.DEADLINE_S) == 0
        assert b"Sanitizer" not in page.log() and b"no local page" not in page.log(), page.log()
    except BaseException:
        sys.stderr.buffer.write(page.log())
        raise
    finally:
        process.kill()
        process.wait()
    if apply.process:
        apply.stop()


def test_page_of_another_origin_cannot_press_the_button(lab):
    with page_of(lab) as page:
        for fields in (["Origin: http://evil.example"], ["Origin: null"], ["Origin: http://localhost:8080"],
                       ["Origin: http://127.0.0.1:%d" % page.port], ["Sec-Fetch-Site: cross-site"],
                       ["Sec-Fetch-Site: same-site"], ["Origin: http://%s.evil.example" % page.host],
                       ["Origin: http://evil.example", "Sec-Fetch-Site: same-origin"]):
            fields = fields + ["Content-Type: application/x-www-form-urlencoded", "Content-Length: 0"]
            assert page.ask("POST", "/update", None, *fields)[0] == 403, fields
        assert page.ask("GET", "/update")[0] == 405  # an <img> cannot either
        assert b"asked for by hand" not in page.log()
        assert b"asked for by hand" not in lab.read(page.apply.path("log"))
        assert page.ask("POST", "/update", None, "Origin: http://" + page.host)[0] == 303  # but its own page can
        lab.wait_until(lambda: b"asked for by hand" in lab.read(page.apply.path("log")), "bento-apply hears of it")


def test_another_name_for_this_machine_reads_nothing(lab):
    with page_of(lab) as page:
        for host in ("evil.example", "evil.example:%d" % page.port, "localhost", "localhost.evil.example:%d" % page.port,
                     "127.0.0.2:%d" % page.port, "0.0.0.0:%d" % page.port, page.host + ", evil.example"):
            for path in ("/", "/log", "/status.json"):
                status, body = page.ask("GET", path, host)
                assert status == 403 and b"refused" not in body, (host, path)
            assert page.ask("POST", "/update", host)[0] == 403
        assert page.send(b"GET / HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 403 ")
        assert page.send(b"GET / HTTP/1.1\r\nHost: %b\r\nHost: evil.example\r\n\r\n" % page.host.encode()).startswith(
            b"HTTP/1.1 400 ")
        assert b"asked for by hand" not in page.log()


def test_nobody_sees_the_page_and_nothing_else(lab):
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        return "skipped: only root can be somebody else"
    def as_nobody(*words):
        return subprocess.run(["setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups", *words],
                              capture_output=True, timeout=labs.DEADLINE_S)
    with page_of(lab) as page:
        client = ("import sys, urllib.request as r; r.install_opener(r.build_opener(r.ProxyHandler({})));"
                  "sys.stdout.buffer.write(r.urlopen(sys.argv[1]).read())")
        shown = {}
        for path in ("/", "/log", "/status.json"):
            r = as_nobody("/usr/bin/python3", "-c", client, "http://localhost:%d%s" % (page.port, path))
            assert r.returncode == 0, r.stderr
            shown[path] = r.stdout
        state = json.loads(shown["/status.json"])
        assert state["state"] == "refused" and set(state) == KEYS, state
        identity = lab.read(page.apply.path("identity")).splitlines()[1]
        tunnel = lab.read(os.path.join(page.apply.state, "node/tunnel")).splitlines()[1]
        for body in shown.values():
            assert b"PRIVATE" not in body and identity not in body and tunnel not in body
        for name in ("spool/out/state.json", "spool/in", "spool/out/want", "node/tunnel"):
            assert as_nobody("cat", os.path.join(page.apply.state, name)).returncode != 0, name
        assert as_nobody("touch", os.path.join(page.apply.state, "spool/in/trigger")).returncode != 0
        with open("/proc/net/tcp") as f:
            rows = [line.split() for line in f][1:]
        listening = [row[1] for row in rows if row[3] == "0A" and row[1].endswith(":%04X" % page.port)]
        assert listening == ["0100007F:%04X" % page.port], listening  # nobody on the network sees it


def test_idle_and_slow_clients_are_harmless(lab):
    with page_of(lab) as page:
        assert page.ask("GET", "/")[0] == 200
        before, memory = page.descriptors(), page.resident_kb()
        idle = [page.connect() for _ in range(200)]
        slow = page.connect()
        slow.sendall(b"GET / HTTP/1.1\r\nX: ")
        started = time.monotonic()
        while True:  # a byte now and then does not keep it open
            assert page.ask("GET", "/")[0] == 200
            assert page.descriptors() <= before + 33, page.descriptors()
            slow.settimeout(0.2)
            try:
                slow.sendall(b"x")
                if slow.recv(1) == b"":
                    break
            except TimeoutError:
                pass
            except ConnectionError:
                break
            assert time.monotonic() - started < 3 * CONNECTION_S
        for s in idle:
            assert s.recv(1) == b""
            s.close()
        slow.close()
        lab.wait_until(lambda: page.descriptors() <= before, "every connection to be over")
        assert page.resident_kb() < memory + 4096, (memory, page.resident_kb())


def test_client_that_does_not_read_is_harmless(lab):
    with page_of(lab) as page:
        page.apply.stop()  # it would write the state anew
        before = page.descriptors()
        log = "<" * 60000  # larger as a page than what a socket takes
        lab.write(os.path.join(page.apply.state, "spool/out/state.json"), json.dumps({"log": log}))

        def deaf():
            s = socket.socket()
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            s.settimeout(labs.DEADLINE_S)
            s.connect(("127.0.0.1", page.port))
            s.sendall(b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % page.host.encode())
            return s

        with deaf() as s:  # slow to read, but it gets everything
            assert read_all(s).count(b"&lt;") == len(log)
        all_deaf = [deaf() for _ in range(40)]
        assert page.ask("GET", "/")[0] == 200
        lab.wait_until(lambda: page.descriptors() <= before, "every connection to be over")
        for s in all_deaf:
            assert read_all(s).count(b"&lt;") < len(log)
            s.close()


def test_endless_requests_are_cut_off(lab):
    with page_of(lab) as page:
        memory = page.resident_kb()
        head = b"GET / HTTP/1.1\r\nHost: %b\r\n" % page.host.encode()
        assert page.send(head + b"X: " + b"y" * 9000 + b"\r\n\r\n").startswith(b"HTTP/1.1 431 ")
        assert page.send(head + b"X: y\r\n" * 100000).startswith(b"HTTP/1.1 431 ")
        assert page.send(b"G" * 100000).startswith(b"HTTP/1.1 431 ")
        # Bodies are dropped unread, whatever they claim.
        post = b"POST /update HTTP/1.1\r\nHost: %b\r\n" % page.host.encode()
        with page.connect() as s:
            s.sendall(post + b"Content-Length: 999999999999\r\n\r\n" + b"x" * 1000)
            assert s.recv(12) == b"HTTP/1.1 303"
            started = time.monotonic()
            with contextlib.suppress(ConnectionError):
                while True:
                    s.sendall(b"x" * 65536)
            assert time.monotonic() - started < 3 * CONNECTION_S
        assert page.resident_kb() < memory + 4096, (memory, page.resident_kb())
        assert page.ask("GET", "/")[0] == 200


def test_garbage_is_refused(lab):
    seeded = random.Random(16)
    good = b"GET /status.json HTTP/1.1\r\nHost: localhost\r\nOrigin: x\r\n\r\n"
    with page_of(lab) as page:
        assert page.ask("GET", "/%41")[0] == 404
        for data in (b"\r\n\r\n", b"\0" * 100 + b"\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\x16\x03\x01\x02\0\x01\r\n\r\n"):
            assert page.send(data).startswith(b"HTTP/1.1 400 "), data
        for _ in range(300):
            data = bytearray(good)
            for _ in range(3):
                data[seeded.randrange(len(data) - 4)] = seeded.randrange(256)
            assert page.send(bytes(data))[9:10] == b"4", data
        assert page.ask("GET", "/")[0] == 200
