"""bento-status as its users see it: a real broker, true signatures, terminals of several sizes, three machines and a thousand."""

import contextlib
import json
import os
import pathlib
import re
import subprocess

import pytest
from programs import binary, folder
from signed_fleet import SignedFleet
from terminal import PATIENCE, PROMPT, Terminal

HERE = pathlib.Path(__file__).parent
HOUR = 3600
DURATION = r"\d+[smhd](?: \d+[smh])?"


@contextlib.contextmanager
def fleet_of(names, **more):
    with folder() as path:
        fleet = SignedFleet(path, names, **more)
        fleet.start_broker()
        try:
            yield fleet
        finally:
            fleet.stop_broker()


@pytest.fixture
def three():
    """One failed, one builds, one was not heard for hours."""
    with fleet_of(["alpha", "beta", "router"], tags={"beta": ["edge"]}, ssh_names=["beta"]) as fleet:
        fleet.publish(age=4 * HOUR)
        fleet.report("alpha", state="rolled-back", code="CONNECTIVITY", runs="old",
                     log=b"activating the configuration...\nreloading firewall.service\nthe following new units were started\n")  # fmt: skip
        fleet.report("beta", age=6 * HOUR)
        fleet.report("router", state="building", runs="old")
        yield fleet


@pytest.fixture(scope="module")
def thousand():
    names = [f"web-{i:03}" for i in range(1000)]
    with fleet_of(names, tags={name: ["web"] for name in names}) as fleet:
        fleet.publish(age=4 * HOUR)
        odd = {
            names[1]: dict(state="failed", code="BUILD", runs="old", log=b"error: builder failed\n"),
            names[2]: dict(state="rolled-back", code="HEALTH", runs="old"),
            names[3]: dict(runs="other"),
            **{name: dict(state="building", runs="old") for name in names[10:25]},
        }
        for name in names[:25] + names[75:]:  # fifty have never reported
            fleet.report(name, **odd.get(name, {}))
        yield fleet


def plain(screen):
    """Without what changes from run to run; a duration leaves its right edge where it was."""
    screen = re.sub(rf"{DURATION} old, expires in {DURATION}", "TIME old, expires in TIME", screen)
    screen = re.sub(rf"heard for {DURATION}", "heard for TIME", screen)
    screen = re.sub(rf"(?<=\s){DURATION}$", lambda found: "T".rjust(len(found.group())), screen, flags=re.M)
    screen = re.sub(rf"(?<=\s){DURATION}(?= )", lambda found: "T".rjust(len(found.group())), screen)
    screen = re.sub(r"Release \d+", "Release NUMBER", screen)
    return "\n".join(line.rstrip() for line in screen.strip("\n").split("\n")) + "\n"


@pytest.mark.parametrize("width", [60, 80, 200])
@pytest.mark.parametrize("size", ["three", "thousand"])
def test_screens(size, width, request):
    """What is expected lies in screens/; a screen that is meant to change is taken from what this prints."""
    fleet = request.getfixturevalue(size)
    with Terminal(fleet.path, width, 80, **fleet.environment) as terminal:
        seen = terminal.run(f"{binary('bento-status')} -C {fleet.path}")
    seen = plain(seen[: seen.rindex(PROMPT)])
    assert seen == (HERE / "screens" / f"{size}-{width}.txt").read_text(), seen


def test_colours_are_for_terminals(three):
    assert "\033" not in three.run(TERM="xterm").stdout
    for environment, colored in (({}, True), ({"NO_COLOR": "1"}, False)):
        with Terminal(three.path, 80, 24, **three.environment, **environment) as terminal:
            terminal.run(f"{binary('bento-status')} -C {three.path}")
            assert ("\033[31mrolled back" in terminal.screen("-e")) is colored


def test_watch(three):
    """It draws over the last screen, says what it hides, follows size and reports, and leaves the terminal as it was."""
    with Terminal(three.path, 80, 10, **three.environment) as terminal:
        terminal.type(f"clear; {binary('bento-status')} -C {three.path} --watch", "Enter")
        hidden = terminal.sees("3 machines")  # the last line of what it draws
        assert len(hidden.rstrip().split("\n")) == 10 and "more lines: make the window larger" in hidden
        terminal.record(three.path / "bytes")
        terminal.resize(66, 24)
        screen = terminal.sees("next: bento status --log alpha", but_not="LOCAL")
        assert "more lines" not in screen and terminal.manners() == "0 1 0"
        for line in terminal.sees("HEARD").split("\n"):
            assert not line.startswith("MACHINE") or line.endswith(" HEARD")  # also in the last column
        three.report("router")
        terminal.sees("1 rolled back, 2 up to date")
        terminal.type("C-z")
        terminal.sees("Stopped")
        assert terminal.manners() == "1 0 1"
        terminal.type("fg", "Enter")
        terminal.sees("HEARD", but_not="Stopped")
        three.report("alpha")
        terminal.sees("3 up to date")
        terminal.type("C-c")
        terminal.type("echo ended with $?", "Enter")
        terminal.sees("ended with 3")
        assert terminal.manners() == "1 0 1" and "3 up to date" in terminal.screen()
    written = (three.path / "bytes").read_bytes()
    assert b"\033[H" in written and b"\033[2J" not in written


def test_watch_lives_through_a_restart_of_the_broker(three):
    with Terminal(three.path, 80, 24, **three.environment) as terminal:
        terminal.type(f"clear; {binary('bento-status')} -C {three.path} --watch", "Enter")
        terminal.sees("1 building")
        three.stop_broker()
        assert "1 building" in terminal.sees("what you see is old")
        three.start_broker()
        terminal.sees("1 building", but_not="what you see is old")
        three.report("router")
        terminal.sees("2 up to date")


@contextlib.contextmanager
def following(fleet, *words):
    """bento-status --watch --json: gives a function that returns its next document."""
    process = subprocess.Popen([binary("bento-status"), "-C", fleet.path, "--watch", "--json", *words], text=True,
                               stdout=subprocess.PIPE, env={**os.environ, **fleet.environment})  # fmt: skip
    try:
        yield process, lambda: json.loads(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


def test_wait_ends_with_the_last_report(three):
    with following(three, "--wait", "router") as (process, document):
        assert [node["state"] for node in document()["nodes"]] == ["building"]
        three.report("router", state="trying", runs="old")
        assert [node["state"] for node in document()["nodes"]] == ["trying"]
        three.report("router")
        assert [node["state"] for node in document()["nodes"]] == ["up-to-date"]
        assert process.wait(PATIENCE) == 0
    with following(three, "--wait") as (process, document):  # nothing is pending, but one has failed
        assert document()["nodes"][0]["state"] == "rolled-back"
        assert process.wait(PATIENCE) == 3


def test_wait_has_an_end(three):
    assert "1 building" in three.run("--wait=1", "router", expected=2).stdout
    three.run("--wait=soon", expected=64)
    three.run("--wait=-1", expected=64)


def test_wait_outlives_the_broker(three):
    with following(three, "--wait", "router") as (process, document):
        document()
        three.stop_broker()
        three.start_broker()
        three.report("router")
        assert document()["nodes"][0]["state"] == "up-to-date"
        assert process.wait(PATIENCE) == 0


def test_wait_that_ends_without_a_broker_is_an_error(three):
    with following(three, "--wait=4", "router") as (process, document):
        document()
        three.stop_broker()
        assert process.wait(PATIENCE) == 1


def test_history_and_logs(three):
    seq = three.report("alpha", state="failed", code="EVAL", runs="old", log=b"undefined \033[5m variable")
    for _ in range(4):
        last = three.report("alpha")
    shown = [line.split() for line in three.run("--history", "alpha", expected=0).stdout.splitlines()]
    assert shown[0] == ["RECEIVED", "REPORT", "RELEASE", "RUNNING", "STATE", "TOOK"]
    assert shown[1][-4:] == ["up", "to", "date", "×4"] and shown[2][-2:] == ["failed", "EVAL"] and len(shown) == 4
    assert str(last).startswith(shown[1][2]) and str(seq).startswith(shown[2][2])
    assert three.run("--log", f"alpha@{seq}", expected=0).stdout == "undefined \\x1b[5m variable\n"
    assert three.run("--log", f"alpha@{shown[2][2]}", expected=0).stdout == "undefined \\x1b[5m variable\n"
    assert f"bento status --log alpha@{seq}" in three.run("--log", "alpha", expected=1).stderr
    assert "give more digits" in three.run("--log", f"alpha@{str(seq)[:3]}", expected=1).stderr
    assert "--history alpha" in three.run("--log", "alpha@12", expected=1).stderr
    assert "digits" in three.run("--log", "alpha@new", expected=64).stderr


def test_selection_and_exit_status(three):
    three.run("router", expected=2)
    three.run("@edge", expected=3)
    three.run("a*", "--failed", expected=3)
    assert "Nothing needs a person" in three.run("router", "--failed", expected=2).stdout
    three.report("router")
    three.run("r*", expected=0)
    assert "ssh root@beta" in three.run("beta").stdout
    three.run("--all", "--failed", expected=64)
    three.run("--history", "alpha", "--failed", expected=64)


def test_machine_that_is_removed_goes_with_its_last_ticket(three):
    three.enrolled.remove("beta")
    three.write_repository()
    assert "not in fleet.nix any more: beta" in three.run().stdout
    assert json.loads(three.run("--json").stdout)["removed"] == ["beta"]
    three.names.remove("beta")
    three.publish(age=0)
    assert "beta" not in three.run().stdout
    document = json.loads(three.run("--json").stdout)
    assert (document["removed"], document["strangers"]) == ([], 1)


# ---- JSON.md ----

KINDS = {str: "string", bool: "boolean", int: "integer", list: "array", dict: "object", type(None): "null"}


def documented():
    """{section: {key: kinds}}; a row that names another section stands for that one's rows."""
    rows = {}
    for line in (HERE.parent.parent / "broker" / "admin" / "JSON.md").read_text().splitlines():
        if line.startswith("## "):
            section = rows.setdefault(line[3:], [])
        elif line.startswith("| ") and not line.startswith("| key "):
            section.append([cell.strip() for cell in line.split("|")[1:3]])

    def keys_of(section):
        keys = {}
        for names, kinds in rows[section]:
            if names in rows:
                keys.update(keys_of(names))
            else:
                keys.update({name: set(kinds.split(", ")) for name in re.findall(r"`([^`]+)`", names)})
        return keys

    return {section: keys_of(section) for section in rows}


def assert_documented(value, section, sections):
    assert set(value) == set(sections[section]), section
    for key, kinds in sections[section].items():
        assert KINDS[type(value[key])] in kinds, f"{section}: {key}: {value[key]!r} is none of {kinds}"
    if value.get("timings"):
        assert_documented(value["timings"], "timings", sections)


def test_json_is_as_documented(three):
    sections = documented()
    three.names.append("new")
    three.keys["new"] = three.keys["alpha"].__class__(b"n" * 32)
    three.enrolled.append("new")
    three.write_repository()
    seq = three.report("alpha", state="failed", code="EVAL", runs="old", log=b"why")
    for words in ((), ("--failed",), ("--all",), ("--wait=1", "alpha")):
        report = json.loads(three.run("--json", *words).stdout)
        assert_documented(report, "report", sections)
        assert report["nodes"]
        for node in report["nodes"]:
            assert_documented(node, "node", sections)
    with following(three) as (_, document):
        assert_documented(document(), "report", sections)
    history = json.loads(three.run("--json", "--history", "alpha", expected=0).stdout)
    assert len(history) == 2
    for event in history:
        assert_documented(event, "event", sections)
    log = json.loads(three.run("--json", "--log", f"alpha@{seq}", expected=0).stdout)
    assert_documented(log, "log", sections)
    assert (log["name"], log["seq"], log["log"]) == ("alpha", seq, "why")


def test_json_before_the_first_release():
    with fleet_of(["alpha"]) as fleet:
        report = json.loads(fleet.run("--json", expected=2).stdout)
        assert_documented(report, "report", documented())
        assert report["release"] is None and report["nodes"][0]["state"] == "new-machine"
