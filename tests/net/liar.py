"""A hostile broker against the real bento-node and bento-apply: seeded scenarios of lies (lies.py), several in each, after which
the broker is honest. Whatever it said:

- a node follows and obtains only what the admin signed for it, and its floor never falls;
- soon after the broker is honest the node has followed the newest release;
- every status arrives, once and in order, but for those that the liar took or refused for good;
- bento-node's memory and CPU time stay bounded, and no sanitizer has a word to say.

LIAR_SEED=n repeats scenario n alone, LIAR_COUNT=n runs the first n, BENTO_LONG=1 ten times as many. Machines run side by side;
the scenarios of one follow upon each other, so that the state that one leaves is where the next begins.
"""

import collections
import contextlib
import itertools
import json
import multiprocessing
import os
import random
import re
import shutil
import socket
import sys
import tempfile
import threading
import time

import pytest
from transfer import Machine, await_file  # puts tests/wire on the path

from bento_wire import framing, operations, ssh, structures
from bento_wire.publisher import Part, Release
from bento_wire.refused import Refused
from fleet import ADMIN, FLEET, LAPTOP, ROUTER
from lies import LIES, Lie, tick, wait_for_end
from programs import binary, folder, write_private

LONG = os.environ.get("BENTO_LONG") == "1"
COUNT = int(os.environ.get("LIAR_COUNT", 10000 if LONG else 1000))
HURRIES = COUNT * 3 // 5  # in each, almost two releases come out while another is fetched
ONE = os.environ.get("LIAR_SEED")
WORKERS, MACHINES = 3, 8  # machines of each worker
TASTE_S = 1  # how long a lie lasts at most
HONEST_S = 150  # from honesty to the newest release: a node with two brokers blames them for up to a minute at a time
CPU_S = 3  # of bento-node in one scenario, with the sanitizers
RSS_KB = 64 << 10
KINDS = ["empty", "empty", "empty", "bundle", "tree", "large"]
REPORTED = re.compile(r"status queued state=\S+ code=\S+ seq=(\d+)")


class Truth:
    """What the admin signed for the node."""

    def __init__(self):
        self.releases, self.blobs = [], {}
        self.parts = {}  # of each signed head, the node's
        self.paths, self.contents = set(), {}
        self.numbers = itertools.count(int(time.time()) - 10**6, 10)
        self.issue("empty")

    def part(self, kind):
        if kind == "empty":
            return Part(ROUTER.public, "router")
        # Mostly what it was, in other bytes: a job of bento-apply's costs more than all the rest.
        if kind not in self.contents or random.random() < 0.25:
            path = "/nix/store/%s-nixos" % os.urandom(16).hex()
            size = {"bundle": 0, "tree": 100, "large": 150000}[kind]
            self.contents[kind] = path, [["a", False, os.urandom(size)]] if size else None
            self.paths.add(path)
        path, files = self.contents[kind]
        return Part(ROUTER.public, "router", {"expected": path, "substitute_only": True}, [], files)

    def made(self, signers, **head):
        """Signed by anybody: not a release of ours unless `sign` says so."""
        number = head.pop("release", None) or self.newest.head.release + 1
        fields = dict(fleet=FLEET, epoch=1, release=number, expires=number + 10**8)
        parts = head.pop("parts", None) or [Part(ROUTER.public, "router"), Part(LAPTOP.public, "laptop")]
        return Release(signers, parts, **{**fields, **head})

    def sign(self, part, number):
        made = self.made([ADMIN], release=number, parts=[part, Part(LAPTOP.public, "laptop", {"substitute_only": True})])
        self.parts[made.head_hash] = part
        self.blobs.update(made.blobs)
        return made

    def issue(self, kind):
        self.newest = self.sign(self.part(kind), next(self.numbers))
        self.releases.append(self.newest)
        return self.newest

    def second(self):
        """Another head with the newest number: an admin who lost count."""
        return self.sign(self.part("bundle"), self.newest.head.release)


class Collector:
    """Statuses as they came in."""

    def __init__(self, truth):
        self.truth, self.lock, self.changed = truth, threading.Lock(), threading.Condition()
        self.stored, self.excused, self.faults = {}, set(), []
        self.floor = (0, 0)

    def excuse(self, seq):
        self.excused.add(seq)

    def put(self, signed):
        with self.changed:
            try:
                status = structures.Signed.verify(signed, FLEET, [ROUTER.node_id])
            except Refused as error:
                self.faults.append(f"a status that does not verify: {error}")
                return operations.reply("REFUSED", error.code)
            known = self.stored.get(status.seq)
            if known is None:
                self.check(status)
                self.stored[status.seq] = (ssh.sha256(signed), status)
            elif known[0] != ssh.sha256(signed):
                self.faults.append(f"two statuses with one number: {status.seq}")
                return operations.reply("SEQ", max(self.stored))
            self.changed.notify_all()
            return operations.reply("OK", status.seq, ssh.sha256(signed))

    def check(self, status):
        if self.stored and status.seq < max(self.stored):
            self.faults.append(f"out of order: {status.seq}")
        if status.state == "refused":  # names the floor; others name what they are about
            if (status.epoch, status.release) < self.floor:
                self.faults.append(f"the floor fell to {status.release}")
            self.floor = (status.epoch, status.release)
        part = self.truth.parts.get(status.head_hash)
        if part is None and status.head_hash != bytes(32):
            self.faults.append(f"follows a head that nobody signed: {status.head_hash.hex()}")
        digests = {part.digest for part in list(self.truth.parts.values())}  # more come meanwhile
        if not {status.digest, status.applied} <= digests | {bytes(32)}:
            self.faults.append(f"a configuration that nobody signed: {status.digest.hex()}")

    def has_followed(self, made):
        part = self.truth.parts[made.head_hash]
        wanted = ("new", "", bytes(32)) if part.meta is None else ("failed", "BUILD", part.digest)
        with self.changed:
            return any(s.head_hash == made.head_hash and (s.state, s.code, s.digest if part.meta else bytes(32)) == wanted
                       for _, s in reversed(self.stored.values()))  # fmt: skip


class Question:
    def __init__(self, broker, stream, message):
        self.broker, self.stream = broker, stream
        self.trace, body = framing.backtrace(message)
        self.operation, self.body = operations.decode_request(body)

    def truth(self):
        return getattr(self.broker, self.operation.lower())(*self.body)

    def tell(self, said, trace=None):
        self.raw(framing.frame((self.trace if trace is None else trace) + said))

    def raw(self, data):
        self.stream.sendall(data)


class Broker:
    """Honest while it has no lie."""

    def __init__(self, truth, collector, trace):
        self.truth, self.collector, self.trace = truth, collector, trace
        self.lie = None
        self.subscribers = []
        self.pub, self.rep = framing.Server(self.serve_pub), framing.Server(self.serve_rep)

    def serve_pub(self, stream):
        connection = self.greet(stream, framing.PUB)
        if connection:
            said = self.lie.tick() if self.lie else self.tick()
            if said:
                connection.send(said)
            self.subscribers.append(stream)
            stream.settimeout(None)
            wait_for_end(stream)

    def serve_rep(self, stream):
        connection = self.greet(stream, framing.REP)
        while connection:
            stream.settimeout(None)
            question = Question(self, stream, connection.receive())
            lie = self.lie
            self.trace("%s to %s" % (question.operation, type(lie).__name__ if lie else "truth"))
            if lie:
                lie.answer(question)
            else:
                question.tell(question.truth())

    def greet(self, stream, protocol):
        stream.settimeout(framing.DEADLINE)
        return self.lie.greet(stream, protocol) if self.lie else framing.Connection(stream, protocol, 1 << 20)

    def tick(self):
        head = self.truth.newest.head
        return structures.TOPIC + structures.Tick(epoch=head.epoch, release=head.release).encode()

    def get_head(self):
        return operations.reply("OK", self.truth.newest.envelope)

    def get_ticket(self, head_hash, node_id):
        newest = self.truth.newest
        if head_hash != newest.head_hash:
            return operations.reply("STALE", newest.envelope)
        return operations.reply("OK", newest.proven(node_id)) if node_id == ROUTER.node_id else operations.reply("NONE")

    def get_blob(self, ct_hash, offset):
        blob = self.truth.blobs.get(ct_hash)
        return operations.reply("OK", len(blob), blob[offset : offset + 65536]) if blob else operations.reply("NONE")

    def put_status(self, signed):
        return self.collector.put(signed)

    def publish(self, message):
        if message is not None:
            self.publish_raw(framing.frame(message))

    def publish_raw(self, data):
        for stream in list(self.subscribers):
            try:
                stream.sendall(data)
            except OSError:
                with contextlib.suppress(ValueError):  # another thread that publishes was first
                    self.subscribers.remove(stream)

    def tells(self, lie):
        if self.lie:
            self.lie.ended.set()
        self.lie = lie
        if lie:
            lie.begin()

    def hang_up(self):
        """As a broker that restarts."""
        for server in (self.pub, self.rep):
            streams, server.streams = server.streams, []
            for stream in streams:
                with contextlib.suppress(OSError):
                    stream.shutdown(socket.SHUT_RDWR)
        self.subscribers.clear()

    def close(self):
        self.tells(None)
        self.hang_up()
        self.pub.close()
        self.rep.close()


Cost = collections.namedtuple("Cost", "told cpu_s rss_kb slowest statuses stuck")


class Bench:
    """A machine with one or two brokers, and the scenarios that it goes through."""

    def __init__(self, path, endpoints):
        self.path, self.log = path, []
        self.truth = Truth()
        self.collector = Collector(self.truth)
        self.brokers = [Broker(self.truth, self.collector, self.note) for _ in range(endpoints)]
        self.ran = path / "ran"
        self.ran.touch()
        (path / "traps").mkdir()
        # bento-apply asks Nix for the path that it read in the bundle. Nobody has it.
        write_private(path / "traps/nix-store", f'#!/bin/sh\necho "$@" >>{self.ran}\nexit 1\n').chmod(0o700)
        (path / "traps/ssh-keygen").symlink_to(shutil.which("ssh-keygen"))  # for the tunnel's key
        self.machine = Machine(path, self.brokers, tick_seconds=1, poll_seconds=2, page_port=0)
        config = json.loads(self.machine.config.read_text())
        write_private(self.machine.config, {**config, "path": str(path / "traps")})
        self.programs, self.node_program = contextlib.ExitStack(), contextlib.ExitStack()
        self.cpu_s = self.most_cpu_s = self.most_kb = 0
        self.told = {kind.__name__: 0 for kind in LIES}
        self.slowest = self.stuck = 0
        self.over, self.issuing = threading.Event(), threading.Lock()

    def note(self, what):
        self.log.append("%.3f %s" % (time.monotonic(), what))
        del self.log[:-200]

    def start(self):
        self.programs.callback(self.close)
        self.apply = self.programs.enter_context(self.machine.apply())
        await_file(self.path / "state/spool/out/want", self.apply)
        self.start_node()
        threading.Thread(target=self.tick, daemon=True).start()

    def start_node(self):
        self.node = self.node_program.enter_context(self.machine.node())
        self.cpu_s = 0

    def end_node(self):
        program, self.node_program = self.node_program, contextlib.ExitStack()
        try:
            program.close()
        except AssertionError:
            if not self.is_stuck():
                raise
            self.stuck += 1

    def is_stuck(self):
        """nng cannot always close (bus.c). Then bento-node ends at once, and the service manager starts it again."""
        return self.machine.says("bus_stuck")

    def restart_node(self):
        self.note("bento-node starts anew")
        self.end_node()
        self.start_node()

    def tick(self):
        while not self.over.wait(0.5):
            for broker in self.brokers:
                lie = broker.lie
                broker.publish(lie.tick() if lie else broker.tick())

    def close(self):
        self.over.set()
        for broker in self.brokers:
            broker.close()

    def end(self):
        with self.programs:
            self.end_node()

    def cost(self):
        return Cost(self.told, self.most_cpu_s, self.most_kb, self.slowest, len(self.collector.stored), self.stuck)

    # ---- a scenario

    def issue(self, dice, kinds):
        with self.issuing:
            kind = dice.choice(kinds)
            made = self.truth.issue(kind)
            self.note(f"issued {made.head.release} {kind} {made.head_hash.hex()[:16]}")
            for broker in self.brokers:
                broker.publish(broker.lie.announce(made) if broker.lie else made.published(dice.random() < 0.5))

    def lie(self, dice):
        """Returns whether connections may be stuck, and whether the newest release may be refused by now."""
        stalls = needs_release = False
        for kind in dice.sample(LIES, dice.randint(2, 4)):
            for broker in self.brokers if dice.random() < 0.8 else self.brokers[:1]:
                lie = kind(broker, dice)
                self.note(kind.__name__)
                broker.tells(lie)
                stalls, needs_release = stalls or kind.stalls, needs_release or kind.needs_release
            if kind.about or dice.random() < 0.3:
                self.issue(dice, kind.about or KINDS)
                needs_release = kind.needs_release
            enough, end = dice.randint(1, 3), time.monotonic() + TASTE_S
            while lie.told < enough and time.monotonic() < end:
                self.over.wait(0.02)
            self.told[kind.__name__] += lie.told
        return stalls, needs_release

    def run(self, seed):
        dice = random.Random(seed)
        self.note(f"scenario {seed}")
        if len(self.brokers) > 1 and dice.random() < 0.7:
            self.restart_node()  # it also forgets whom it blamed
        stalls, needs_release = self.lie(dice)
        self.note("honest")
        started = time.monotonic()
        for broker in self.brokers:
            broker.tells(None)
        if stalls or dice.random() < 0.3:
            for broker in self.brokers:
                broker.hang_up()
        if needs_release or dice.random() < 0.5:
            self.issue(dice, KINDS)
        self.await_well(started)

    def await_well(self, since):
        while not self.is_well(made := self.truth.newest):
            assert time.monotonic() - since < HONEST_S, f"not well in time: {self.truth.newest.head.release}, {self.missing()}"
            with self.collector.changed:
                self.collector.changed.wait(0.1)  # the outbox says nothing when it is empty
        self.slowest = max(self.slowest, time.monotonic() - since)
        self.check(made)

    def hurry(self, seed):
        """An honest broker, and releases that come out while others are fetched: nothing is ever refused."""
        hasty = Hasty(self, random.Random(seed))
        self.brokers[0].tells(hasty)
        self.issue(hasty.random, KINDS)
        self.await_well(time.monotonic())
        self.told["Hasty"] = self.told.get("Hasty", 0) + hasty.told
        refused = [s.code for _, s in list(self.collector.stored.values()) if s.state == "refused"]
        assert not refused, f"refused: {refused}"

    def is_well(self, made):
        if self.node.poll() is not None and self.is_stuck():
            self.restart_node()
        for name, process in (("bento-node", self.node), ("bento-apply", self.apply)):
            assert process.poll() is None, f"{name} is gone"
        assert not self.collector.faults, self.collector.faults
        return self.collector.has_followed(made) and not self.outbox() and not self.missing()

    def outbox(self):
        return [name for name in self.machine.files("spool/out") if name.endswith(".status")]

    def missing(self):
        queued = {int(seq) for seq in REPORTED.findall((self.path / "apply.log").read_text())}
        return queued - self.collector.stored.keys() - self.collector.excused

    def check(self, made):
        for copy in (self.path / "state/apply/floor", self.path / "floor"):
            floor = structures.Floor.decode(copy.read_bytes())
            newer = floor.release > made.head.release and floor.head_hash in self.truth.parts  # a hasty one came since
            assert newer or (floor.release, floor.head_hash) == (made.head.release, made.head_hash), f"floor {floor.release}"
        obtained = set(re.findall(r"/nix/store/\S+", self.ran.read_text()))
        assert obtained <= self.truth.paths, f"obtained, but signed by nobody: {obtained - self.truth.paths}"
        for blob in (self.path / "state/spool/in/blobs").iterdir():
            with contextlib.suppress(FileNotFoundError):
                assert ssh.sha256(blob.read_bytes()).hex() == blob.name, f"a blob with other bytes: {blob.name}"
        self.check_costs()

    def check_costs(self):
        with open(f"/proc/{self.node.pid}/stat") as f:
            fields = f.read().rpartition(") ")[2].split()
        cpu_s = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        spent, self.cpu_s = cpu_s - self.cpu_s, cpu_s
        rss_kb = int(fields[21]) * os.sysconf("SC_PAGE_SIZE") >> 10
        self.most_cpu_s, self.most_kb = max(self.most_cpu_s, spent), max(self.most_kb, rss_kb)
        assert spent < CPU_S, f"{spent} s of CPU time in one scenario"
        assert rss_kb < RSS_KB, f"bento-node has grown to {rss_kb} kB"


class Hasty(Lie):
    """No lie: it publishes at the moment that the dice say, before or after an answer."""

    def __init__(self, bench, random):
        super().__init__(bench.brokers[0], random)
        self.bench, self.left, self.lock = bench, random.randint(1, 6), threading.Lock()

    def answer(self, question):
        with self.lock:
            now = question.operation != "PUT_STATUS" and self.left > 0 and self.random.random() < 0.6
            self.left -= now
            self.told += now
        before = self.random.random() < 0.5
        if now and before:
            self.bench.issue(self.random, KINDS)
        said = question.truth()
        if now and not before:
            self.bench.issue(self.random, KINDS)
        question.tell(said)


def go_through(endpoints, scenario, seeds, report):
    """One machine's scenarios; reports (None, what they cost), or (seed, what went wrong)."""
    seed = 0  # not begun yet
    try:
        with folder() as path:
            bench = Bench(path, endpoints)
            try:
                with contextlib.ExitStack() as stack:
                    stack.callback(bench.end)
                    bench.start()
                    for seed in seeds:
                        scenario(bench, seed)
            except BaseException as error:
                raise AssertionError("%s\n%s" % (error, "\n".join(bench.log + tails(path)))) from None
            report((None, bench.cost()))
    except BaseException as error:
        report((seed, str(error)))


def tails(path):
    return ["%s\n%s" % (log.name, log.read_text(errors="replace")[-6000:]) for log in sorted(path.glob("*.log"))]


def endpoints_of(machine):
    return 2 if machine % 3 == 2 else 1


def work(reports, number, scenario, count):
    """A process with machines of its own; every third machine has two brokers."""
    sys.stdout = open(os.devnull, "w")  # programs.running() shows every log
    threading.excepthook = lambda fault: reports.put((0, f"in the broker: {fault.exc_value!r}"))
    everybody = WORKERS * MACHINES
    threads = []
    for machine in range(number, everybody, WORKERS):
        seeds = range(machine + 1, count + 1, everybody)
        if seeds:
            words = (endpoints_of(machine), scenario, seeds, reports.put)
            threads.append(threading.Thread(target=go_through, args=words, daemon=True))
            threads[-1].start()
    for thread in threads:
        thread.join()
    reports.put("end")


@pytest.fixture(scope="module", autouse=True)
def surroundings(tmp_path_factory):
    """Freed memory is not kept for long, so that growth shows; and what nng's reaper had not got to at the end is no leak."""
    suppressions = tmp_path_factory.mktemp("liar") / "suppressions"
    suppressions.write_text("leak:libnng.so\n")
    with pytest.MonkeyPatch.context() as patch:
        if os.access("/dev/shm", os.W_OK):
            patch.setattr(tempfile, "tempdir", "/dev/shm")  # what is durable is not asked here
        patch.setenv("ASAN_OPTIONS", "quarantine_size_mb=4")
        patch.setenv("LSAN_OPTIONS", f"suppressions={suppressions}:print_suppressions=0")
        yield


class Hides(Lie):
    """The newest release that it shows is `shown`."""

    def __init__(self, broker, shown):
        super().__init__(broker, None)
        self.shown = shown

    def begin(self):
        pass

    def tick(self):
        return tick(self.shown.head.epoch, self.shown.head.release)

    def announce(self, made):
        return None

    def get_head(self, question):
        return operations.reply("OK", self.shown.envelope)


def hidden(bench, seed):
    """The node cannot know of a release that is hidden; what it says shows that it is behind."""
    bench.await_well(time.monotonic())
    shown, seen = bench.truth.newest, len(bench.collector.stored)
    bench.brokers[0].tells(Hides(bench.brokers[0], shown))
    bench.issue(random.Random(seed), KINDS)
    with bench.collector.changed:
        assert bench.collector.changed.wait_for(lambda: len(bench.collector.stored) > seen + 1, HONEST_S)
        (_, last) = list(bench.collector.stored.values())[-1]
    assert last.head_hash == shown.head_hash != bench.truth.newest.head_hash
    bench.brokers[0].tells(None)
    bench.await_well(time.monotonic())


def campaign(scenario, count):
    """Returns how often each lie was told."""
    for program in ("bento-node", "bento-apply"):
        binary(program)  # or the test is skipped
    if ONE:
        reports = []
        go_through(endpoints_of((int(ONE) - 1) % (WORKERS * MACHINES)), scenario, [int(ONE)], reports.append)
        assert reports[0][0] is None, reports[0][1]
        return collections.Counter()
    started = time.monotonic()
    reports = multiprocessing.Queue()
    workers = [multiprocessing.Process(target=work, args=(reports, n, scenario, count)) for n in range(WORKERS)]
    for worker in workers:
        worker.start()
    faults, costs, ended = [], [], 0
    while ended < len(workers):
        found = reports.get()
        if found == "end":
            ended += 1
        elif found[0] is None:
            costs.append(found[1])
        else:
            faults.append(found)
            print("LIAR_SEED=%d\n%s\n" % found, flush=True)
    for worker in workers:
        worker.join()
    assert not faults, "%d machines, the first: LIAR_SEED=%d %s" % (len(faults), faults[0][0], faults[0][1].split("\n")[0])
    told = {name: sum(bench.told[name] for bench in costs) for name in costs[0].told}
    print("%d scenarios in %.0f s, %d statuses; in one at most %.2f s of CPU time, well after %.1f s; at most %d kB; "
          "nng stuck %d times; told: %s" % (
              count, time.monotonic() - started, sum(bench.statuses for bench in costs), max(b.cpu_s for b in costs),
              max(b.slowest for b in costs), max(b.rss_kb for b in costs), sum(b.stuck for b in costs),
              ", ".join("%s %d" % pair for pair in told.items() if pair[1])))  # fmt: skip
    return told


def test_node_is_well_again_when_the_broker_is():
    told = campaign(Bench.run, COUNT)
    assert ONE or COUNT < 500 or all(told.values()), "never told: %s" % [name for name, times in told.items() if not times]


def test_release_that_comes_out_while_another_is_fetched_is_no_reason_to_refuse():
    assert campaign(Bench.hurry, HURRIES)["Hasty"] >= (0 if ONE else COUNT)


def test_node_that_a_release_is_hidden_from_says_what_it_has():
    reports = []
    go_through(1, hidden, [1], reports.append)
    assert reports[0][0] is None, reports[0][1]
