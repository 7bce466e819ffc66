"""The real bento, bento-pub and bento-status with the real broker: what they publish is opened and verified here."""

import json
import os
import shutil
import stat
import subprocess

import pytest
from bento_wire import ssh, structures
from fleet import ADMIN, FLEET, LAPTOP, ROUTER, ZEROS, key, status
from programs import DEADLINE, binary, folder, running, until, write_private
from real_broker import Broker

FLAKE = """{
  outputs = { self }: {
    nixosConfigurations.router.config.system.build.toplevel = derivation {
      name = "nixos-system-router"; system = "x86_64-linux"; builder = "/bin/sh"; text = builtins.readFile ./text;
    };
  };
}
"""
NIX_CONF = "experimental-features = nix-command flakes\nsandbox = false\nbuild-users-group =\nsubstituters =\n"


class Admin:
    """An admin's repository with two nodes; one has files and a secret, the other none."""

    def __init__(self, path, broker):
        self.path, self.fleet = path, path / "fleet"
        (path / "home").mkdir()
        (path / "nix").mkdir()
        (path / "nix" / "nix.conf").write_text(NIX_CONF)
        self.environment = {
            **os.environ, "HOME": str(path / "home"), "NIX_CONF_DIR": str(path / "nix"),
            "NIX_REMOTE": f"local?root={path}/store", "BENTO_DIR": str(self.fleet),
            "BENTO_KEY": str(write_private(path / "admin", ADMIN.file("admin").decode())),
        }  # fmt: skip
        (path / "admin.pub").write_text(ADMIN.public.line("admin") + "\n")
        self.fleet.mkdir()
        self.run("bento", "init")
        (self.fleet / "fleet.nix").write_text(f"""{{
          fleet = "{FLEET.hex()}";
          signers = [ "{ADMIN.public.line("admin")}" ];
          broker = {{
            endpoints = [ "tcp://127.0.0.1" ];
            admin = "{broker.admin_socket}";
          }};
          nodes.router = {{ tags = [ "edge" ]; secrets."wg.key" = {{ file = "private/wg"; mode = "0400"; }}; }};
        }}""")
        (self.fleet / "private").mkdir()
        (self.fleet / "private" / "wg").write_bytes(b"secret of router")
        host = self.fleet / "hosts" / "router"
        shutil.rmtree(self.fleet / "hosts", ignore_errors=True)
        host.mkdir(parents=True)
        (host / "flake.nix").write_text(FLAKE)
        (host / "text").write_text("hello")
        (host / "run.sh").write_text("#!/bin/sh\n")
        (host / "run.sh").chmod(0o755)
        (host / "nested").mkdir()
        (host / "nested" / "link").symlink_to("../text")
        (host / "empty").mkdir()
        (host / "result").symlink_to("/nowhere")
        for name, identity in (("router", ROUTER), ("laptop", LAPTOP)):
            keys = identity.public.line("identity") + "\n" + key(f"tunnel of {name}").public.line("tunnel") + "\n"
            self.run("bento", "add-host", name, "--keys", "-", given=keys)

    def run(self, program, *arguments, given="", expected=0):
        done = subprocess.run([binary(program), *arguments], env=self.environment, cwd=self.fleet, input=given, text=True,
                              capture_output=True, timeout=DEADLINE)  # fmt: skip
        assert done.returncode == expected, f"{program} {arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def fleet():
    if not shutil.which("nix"):
        pytest.skip("nix is not installed")
    with folder() as path:
        broker = Broker(path, [ADMIN.public])
        with running("bento-broker", "--config", broker.config, log=path / "log"):
            until(broker.ready, "the broker answers")
            admin = Admin(path, broker)
            admin.run("bento-pub", "--eval-only", "router")
            yield broker, admin


def test_bento_pubs_release_passes_all_checks(fleet):
    broker, admin = fleet
    code, (envelope, roster, tickets) = broker.command("GET_RELEASE")
    assert code == "OK"
    trusted = ssh.Signers([ADMIN.public.line()])
    head, roster, tickets = structures.check_release(envelope, roster, tickets, trusted, FLEET)
    assert head.epoch == 1
    rows = {row[1]: row for row in roster.nodes}
    assert set(rows) == {"router", "laptop"} and rows["router"][2] == ["edge"]
    assert next(ticket for ticket in tickets if ticket.node_id == LAPTOP.node_id).empty

    us = structures.Node(ROUTER, trusted, FLEET)
    head_hash = structures.Envelope.decode(envelope).head_hash
    proven = broker.ask("GET_TICKET", head_hash, ROUTER.node_id)[1][0]
    ticket = us.ticket(us.follow(envelope, 0), proven)
    bundle = us.bundle(ticket, broker.blob(ticket.ct_hash, ticket.ct_len))
    assert bundle.secrets == [["wg.key", "root", "root", 0o400, b"secret of router"]]
    assert bundle.meta["expected"] == rows["router"][3]
    assert bundle.meta["expected"].startswith("/nix/store/")
    assert bundle.meta["expected"].endswith("-nixos-system-router")
    plaintext = us.tree(bundle, broker.blob(*bundle.tree[:2]))
    assert bundle.tree[0] == rows["router"][5]
    assert plaintext == packed(admin.fleet / "hosts" / rows["router"][4])


def packed(host):
    """Two who pack the same folder get the same bytes."""
    files = []
    for path in host.rglob("*"):
        if path.is_file() and path.name != "result":
            executable = bool(path.stat().st_mode & stat.S_IXUSR)
            files.append([path.relative_to(host).as_posix(), executable, path.read_bytes()])
    return structures.Tree(files=sorted(files, key=lambda file: file[0].encode())).encode()


def test_same_again_keeps_what_is_there(fleet):
    """The second release takes over the blobs of the first."""
    broker, admin = fleet
    before = broker.command("GET_RELEASE")[1]
    admin.run("bento-pub", "--eval-only", "--retry", "router")
    after = broker.command("GET_RELEASE")[1]
    heads = [structures.Head.decode(structures.Envelope.decode(release[0]).head) for release in (before, after)]
    assert heads[1].release > heads[0].release
    assert heads[1].fallback_floor >= heads[0].fallback_floor


def test_our_status_is_shown(fleet):
    broker, admin = fleet
    head = structures.Head.decode(structures.Envelope.decode(broker.ask("GET_HEAD")[1][0]).head)
    sent = status(state="refused", code="SEAL", epoch=head.epoch, release=head.release, head_hash=broker.newest())
    signed = structures.Signed.make(sent, ROUTER)
    assert broker.put_status(signed) == ("OK", [sent.seq, ssh.sha256(signed)])
    shown = json.loads(admin.run("bento-status", "--json", expected=3))
    router = next(node for node in shown["nodes"] if node["name"] == "router")
    assert (router["state"], router["code"]) == ("refused", "SEAL")
    assert shown["release"] == head.release


def test_nothing_is_shown_of_what_the_broker_makes_up(fleet):
    """Statuses are checked again on the admin's machine."""
    broker, _ = fleet
    for row in broker.command("GET_STATUSES", ZEROS)[1][1]:
        assert structures.Signed.verify(row[2], FLEET).node_id == row[0]
