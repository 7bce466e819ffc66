"""A machine was cloned with its key: two nodes of one identity."""
import json
import os
import subprocess

import lab as labs
from forge import Key


def test_bento_pub_names_both(lab):
    d = lab.daemon()
    repository = d.path("repository")
    os.mkdir(repository)
    for tool in ("bento-pub", "bento-status"):
        shared = Key()
        nodes = {"laptop": {"key": shared.line + " laptop"}, "clone": {"key": shared.line + " another comment"},
                 "router": {"key": Key().line}}
        lab.write(os.path.join(repository, "fleet.json"), json.dumps({
            "fleet": d.world.id.hex(), "signers": [d.world.admin.line], "broker": {"admin": d.path("nowhere.sock")},
            "nodes": nodes}), 0o644)
        r = subprocess.run([os.path.join(lab.bin, tool), "-C", repository], capture_output=True, text=True, timeout=labs.DEADLINE_S)
        assert r.returncode == 1 and "Sanitizer" not in r.stderr, r
        assert "laptop" in r.stderr and "clone" in r.stderr and "router" not in r.stderr, r.stderr
