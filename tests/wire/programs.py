"""Starts bento's real programs, each with folders and ports of its own, and ends what it started."""

import contextlib
import json
import os
import pathlib
import random
import shutil
import socket
import subprocess
import tempfile
import time

import pytest

DEADLINE = 90


def binary(name):
    folder = os.environ.get("BENTO_BIN")
    if not folder or not os.access(os.path.join(folder, name), os.X_OK):
        pytest.skip(f"BENTO_BIN has no {name}")
    return os.path.join(folder, name)


def free_port():
    """Below the range that the kernel gives to outgoing connections: nobody takes it before we use it."""
    while True:
        port = random.randrange(20000, 32000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def until(condition, what, deadline=DEADLINE):
    end = time.monotonic() + deadline
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"not in time: {what}"
        time.sleep(0.01)


@contextlib.contextmanager
def folder():
    # Short: the path of a Unix socket has 107 bytes.
    path = pathlib.Path(tempfile.mkdtemp(prefix="bento-wire-"))
    try:
        yield path
    finally:
        subprocess.run(["chmod", "-R", "u+w", path], check=False)  # a Nix store is read-only
        shutil.rmtree(path, ignore_errors=True)


def write_private(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content, indent=1))
    path.chmod(0o600)
    return path


@contextlib.contextmanager
def running(name, *arguments, log, **environment):
    """Shows the log when the test inside fails, and when the program did not end well."""
    with open(log, "wb") as output:
        process = subprocess.Popen([binary(name), *map(str, arguments)], stderr=output, stdout=output,
                                   env={**os.environ, **environment})  # fmt: skip
    try:
        yield process
    finally:
        ended_alone = process.poll()
        process.terminate()
        try:
            status = process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            process.kill()
            status = process.wait()
        text = log.read_text(errors="replace")
        print(f"---- {name} (exit {status}) ----\n{text[-20000:]}")
    assert ended_alone is None, f"{name} ended by itself"
    assert "Sanitizer" not in text and "runtime error" not in text
    assert status in (0, -15), f"{name}: exit {status}"
