"""`bento-apply bootstrap`: the one moment when a machine is told whom to believe."""
import json
import os
import subprocess

from forge import Key

import lab as labs


class Machine:
    def __init__(self, lab):
        self.d = lab.daemon()
        self.target = self.d.path("etc/bento/node.json")
        self.file = self.d.path("laptop.bootstrap.json")
        self.fleet = os.urandom(32).hex()
        self.write()

    def write(self, **more):
        with open(self.file, "w") as f:
            json.dump({"fleet": self.fleet, "signers": [Key().line], "threshold": 1, "endpoints": [
                {"tunnel": "ssh", "host": "server", "host_key": Key().line}], **more}, f)

    def bootstrap(self, *words):
        r = subprocess.run([self.d.program, "--config", self.target, "bootstrap", self.file, *words],
                           capture_output=True, text=True, timeout=labs.DEADLINE_S)
        assert "Sanitizer" not in r.stderr, r.stderr
        return r

    def refuses(self, *hints):
        before = labs.snapshot(self.d.folder)
        r = self.bootstrap()
        assert r.returncode == 1 and r.stdout == "" and r.stderr.count("\n") == 1, r
        for hint in hints:
            assert hint in r.stderr, r.stderr
        assert labs.snapshot(self.d.folder) == before

    def installed(self):
        return labs.read(self.target) == labs.read(self.file)


def test_a_new_machine_is_told_what_comes_next(lab):
    m = Machine(lab)
    os.chmod(m.file, 0o666)  # whose file it was does not matter, whoever runs this has chosen it
    r = m.bootstrap()
    assert r.returncode == 0 and m.fleet in r.stdout and "next:" in r.stdout, r
    assert m.installed() and os.stat(m.target).st_mode & 0o777 == 0o644
    assert os.listdir(os.path.dirname(m.target)) == ["node.json"]


def test_the_same_fleet_may_change_its_mind(lab):
    m = Machine(lab)
    assert m.bootstrap().returncode == 0
    m.write(threshold=1, poll_seconds=60)
    assert m.bootstrap().returncode == 0 and m.installed()


def test_another_fleet_may_not_take_over(lab):
    m = Machine(lab)
    assert m.bootstrap().returncode == 0
    m.fleet = os.urandom(32).hex()
    m.write()
    m.refuses("another fleet", "--force")
    assert m.bootstrap("--force").returncode == 0 and m.installed()


def test_what_is_not_strictly_right_is_not_installed(lab):
    m = Machine(lab)
    for bad, hint in (({"signers": []}, "signers"), ({"fleet": "12"}, "fleet"), ({"threshold": 2}, "threshold"),
                      ({"trheshold": 1}, "trheshold"), ({"endpoints": []}, "endpoints"),
                      ({"endpoints": [{"tunnel": "ssh", "host": "-oProxyCommand=x", "host_key": Key().line}]}, "host"),
                      ({"signers": ["ssh-rsa AAAA"]}, "signers")):
        m.write(**bad)
        m.refuses(hint)
    with open(m.file, "w") as f:
        f.write("{")
    m.refuses(m.file)
    os.unlink(m.file)
    m.refuses(m.file)


def test_a_link_is_somebody_elses(lab):
    m = Machine(lab)
    os.makedirs(os.path.dirname(m.target))
    os.symlink(m.d.path("store/node.json"), m.target)
    m.refuses("link", "--force")


def test_a_damaged_configuration_is_not_guessed_at(lab):
    m = Machine(lab)
    os.makedirs(os.path.dirname(m.target))
    with open(m.target, "w") as f:
        f.write("{}")
    m.refuses("--force")
    assert m.bootstrap("--force").returncode == 0 and m.installed()
