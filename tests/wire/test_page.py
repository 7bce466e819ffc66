"""The node's own page, as a browser sees it: the real bento-node and bento-apply."""

import contextlib
import http.client
import json
import os
import socket

import pytest
from bento_wire.publisher import Part
from fleet import ADMIN, FLEET, ROUTER
from programs import DEADLINE, folder, free_port, running, until, write_private
from test_node import Broker, Machine, await_file, parts, router


class Page:
    def __init__(self, port, path):
        self.port, self.path, self.host = port, path, f"localhost:{port}"

    def ask(self, method, url, address="127.0.0.1", **fields):
        connection = http.client.HTTPConnection(address, self.port, timeout=DEADLINE)
        with contextlib.closing(connection):
            connection.request(method, url, headers={"Host": self.host, **fields})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read().decode()

    def json(self):
        status, headers, text = self.ask("GET", "/status.json")
        assert (status, headers["Content-Type"]) == (200, "application/json")
        return json.loads(text)

    def logged(self, program, what):
        return (self.path / f"{program}.log").read_text(errors="replace").count(what)


@contextlib.contextmanager
def node(path, broker, port):
    for name in ("system", "profile", "run"):
        (path / name).mkdir()
    config = write_private(path / "node.json", {
        "fleet": FLEET.hex(), "signers": [ADMIN.public.line("admin")], "page_port": port,
        "endpoints": [{"tunnel": "none", "pub": broker.pub.url, "rep": broker.rep.url}],
        "state": str(path / "state"), "secrets": str(path / "run" / "secrets"), "floor_copy": str(path / "floor"),
        "identity": str(write_private(path / "identity", ROUTER.file().decode())),
        "profile": str(path / "profile" / "system"), "current_system": str(path / "system"),
        "booted_system": str(path / "system"), "path": os.environ["PATH"],
    })  # fmt: skip
    with running("bento-apply", "--config", config, "--no-systemd", log=path / "apply.log") as apply:
        await_file(path / "state" / "node", apply)
        with running("bento-node", "--config", config, log=path / "node.log"):
            yield


@pytest.fixture(scope="module")
def both():
    with folder() as path:
        broker, port = Broker(), free_port()
        with node(path, broker, port):
            page = Page(port, path)
            until(lambda: page.logged("node", "bento-node ready"), "bento-node")
            yield Machine(broker), page
        broker.close()


@pytest.fixture
def machine(both):
    return both[0]


@pytest.fixture
def page(both):
    return both[1]


# The tests below stand in the order of time: a node's floor only rises.


def test_state_is_shown(machine, page):
    machine.accepts(machine.next(), "new")
    shown = (1, machine.floor.head.release)
    state = until(lambda: (it := page.json()) and (it["epoch"], it["release"]) == shown and it, "the release")
    assert state["state"] == "new"
    assert state["host"] == socket.gethostname() and state["code"] == "" and state["since"] <= state["reported"]
    link = state["link"]
    assert (link["endpoint"], link["tunnel"]) == (machine.broker.rep.url, "none")
    until(lambda: page.json()["link"]["connected"] and page.json()["link"]["heard"], "the connection")
    status, headers, text = page.ask("GET", "/")
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "Waits for its first configuration." in text and f"{state['release']} (epoch 1)" in text


def test_failure_is_shown_with_its_log(machine, page):
    part = router()
    machine.accepts(machine.next(parts(part)), "failed", "BUILD")
    state = until(lambda: page.json() if page.json()["code"] == "BUILD" else None, "the failure")
    assert (state["state"], state["digest"], state["target"]) == ("failed", part.digest.hex(), "/nix/store/abc-nixos")
    assert state["log"]
    assert page.ask("GET", "/log")[2] == state["log"]
    assert "<pre>" in page.ask("GET", "/")[2]


def test_since_stays_when_nothing_changes(machine, page):
    before = page.json()
    machine.accepts(machine.next(parts(router())), "failed", "BUILD")
    machine.refuses(machine.next(expires=machine.number + 20), "EXPIRED", raised=True)
    state = until(lambda: page.json() if page.json()["code"] == "EXPIRED" else None, "the refusal")
    assert state["since"] >= before["since"] and "expire" in state["log"]


def test_button_asks_the_broker_and_tells_bento_apply(machine, page):
    while not machine.broker.asked.empty():
        machine.broker.asked.get()
    status, headers, text = page.ask("POST", "/update", Origin=f"http://{page.host}")
    assert (status, headers["Location"], text) == (303, "/", "")
    machine.broker.asked_within(DEADLINE, "GET_HEAD", lambda body: True)
    until(lambda: page.logged("apply", "update asked for by hand"), "bento-apply hears of it")
    assert "Asked for an update" in page.ask("GET", "/")[2]
    # Whoever presses on and on gets the same answer and nothing else.
    for _ in range(20):
        assert page.ask("POST", "/update")[0] == 303
    assert page.logged("node", "update asked for by hand") <= 2  # twice if these took five seconds
    assert not (page.path / "state" / "spool" / "in" / "trigger").exists() or page.logged("node", "by hand") == 2


@pytest.mark.parametrize("url, status", [("/", 200), ("/log", 200), ("/status.json", 200), ("/x", 404), ("/update", 405)])
def test_every_answer_is_safe_to_show(page, url, status):
    got, headers, text = page.ask("GET", url)
    assert got == status
    assert headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Frame-Options"] == "DENY" and headers["Cache-Control"] == "no-store"
    assert headers["Referrer-Policy"] == "same-origin"  # no-referrer: browsers would send Origin: null for our own form
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "<script" not in text and "http:" not in text.split("<pre>")[0].replace(f"http://{page.host}", "")


def test_head_is_get_without_a_body(page):
    status, headers, text = page.ask("HEAD", "/log")
    assert (status, text) == (200, "")
    assert int(headers["Content-Length"]) == len(page.ask("GET", "/log")[2].encode())


def test_both_loopback_addresses_answer(page):
    with contextlib.suppress(OSError):
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            assert page.ask("GET", "/", address="::1")[0] == 200


def test_port_that_is_taken_is_no_reason_not_to_run():
    with folder() as path, socket.create_server(("127.0.0.1", 0)) as taken:
        broker, port = Broker(), taken.getsockname()[1]
        with node(path, broker, port):
            machine = Machine(broker)
            machine.accepts(machine.next([Part(ROUTER.public, "router")]), "new")
            assert Page(port, path).logged("node", "no local page") == 1
        broker.close()
