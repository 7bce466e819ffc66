"""Somebody else may write (or read) what decides whom a node believes. It does not start, and says which file and what to do."""
import os
import subprocess

import lab as labs


def run(words, **more):
    r = subprocess.run(words, capture_output=True, text=True, timeout=labs.DEADLINE_S, **more)
    assert "Sanitizer" not in r.stderr, r.stderr
    return r


def refuses(words, path, hint):
    r = run(words)
    assert r.returncode == 1 and r.stdout == "", r
    assert r.stderr.count("\n") == 1 and path in r.stderr and hint in r.stderr, r.stderr


def test_verify(lab):
    v = lab.verifier()
    release = v.world.release()
    assert v.verify(release)[0] == 0
    words = [v.program, "verify", "--state", v.state, v.path("files-envelope"), v.path("files-proven")]
    for name, good, bad, hint in (
            ("signers", 0o644, 0o666, "chmod go-w"), ("signers", 0o644, 0o664, "chmod go-w"),
            ("fleet", 0o644, 0o646, "chmod go-w"), ("threshold", 0o644, 0o666, "chmod go-w"),
            ("identity", 0o600, 0o644, "chmod go="), ("identity", 0o600, 0o660, "chmod go="),
            (".", 0o755, 0o777, "chmod go-w"), (".", 0o755, 0o775, "chmod go-w")):
        path = os.path.join(v.state, name) if name != "." else v.state
        os.chmod(path, bad)
        refuses(words, path, hint)
        os.chmod(path, good)
        assert run(words).returncode == 0, name
    if os.geteuid() == 0:
        for name in ("signers", "identity"):
            os.chown(os.path.join(v.state, name), 65534, 65534)
            refuses(words, os.path.join(v.state, name), "chown root")
            os.chown(os.path.join(v.state, name), 0, 0)


def test_bento_apply(lab):
    d = lab.daemon()
    d.start()
    d.stop()
    for path, good, bad, hint in (
            (d.config, 0o644, 0o666, "chmod go-w"), (d.config, 0o644, 0o664, "chmod go-w"),
            (d.path("identity"), 0o600, 0o666, "chmod go="), (d.path("identity"), 0o600, 0o640, "chmod go="),
            (d.state, 0o755, 0o775, "chmod go-w"), (d.state, 0o755, 0o777, "chmod go-w"),
            (os.path.join(d.state, "apply"), 0o700, 0o750, "chmod 700"),
            (os.path.join(d.state, "apply"), 0o700, 0o770, "chmod 700")):
        os.chmod(path, bad)
        refuses(d.command("--no-systemd"), path, hint)
        os.chmod(path, good)
        d.start()
        d.stop()


def test_bento_node_and_bento_broker_with_a_careless_configuration(lab):
    d = lab.daemon()
    os.chmod(d.config, 0o666)
    refuses([os.path.join(lab.bin, "bento-node"), "--config", d.config], d.config, "chmod go-w")
    refuses(d.command("keys"), d.config, "chmod go-w")
    refuses([os.path.join(lab.bin, "bento-broker"), "--config", d.config], d.config, "chmod go-w")
