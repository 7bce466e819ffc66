"""The part that is root has no network; others than root can neither read nor change what it lives on."""
import os
import shutil
import subprocess

import lab as labs

NOBODY = 65534


def run(words, **more):
    return subprocess.run(words, capture_output=True, text=True, timeout=labs.DEADLINE_S, **more)


def test_bento_apply_links_no_network_library(lab):
    for program, expected in (("bento-apply", False), ("bento-node", True)):  # the other one: does this look at all?
        path = os.path.join(lab.bin, program)
        libraries = run(["ldd", path]).stdout
        assert "libsodium" in libraries, libraries
        symbols = run([os.environ.get("NM", "nm"), "-D", "-u", path]).stdout
        assert "crypto_sign" in symbols, symbols
        assert ("libnng" in libraries) == expected, libraries
        assert (" nng_" in symbols) == expected, symbols
        assert (" nng_" in run([os.environ.get("NM", "nm"), path]).stdout) == expected  # nor built in
        if not expected:
            assert not any(n in libraries for n in ("libssl", "libcurl", "libssh", "libzmq")), libraries


def test_bento_apply_opens_no_socket(lab):
    if not shutil.which("strace"):
        return "skipped: strace is not installed"
    if run(["strace", "-o", "/dev/null", "true"]).returncode != 0:
        return "skipped: strace may not trace here"
    if os.geteuid() != 0:
        return "skipped: only root may look into a program that forbids dumps of itself"
    d = lab.daemon()
    trace = d.path("trace")
    environment = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0"}  # LeakSanitizer and strace exclude each other
    environment.pop("NOTIFY_SOCKET", None)  # readiness is told over a Unix socket, and only where there is a systemd
    d.log = open(d.path("log"), "a")
    d.process = subprocess.Popen(
        ["strace", "-f", "-qq", "-e", "trace=network,execve", "-o", trace] + d.command("--no-systemd"),
        stderr=d.log, env=environment)
    lab.wait_until(lambda: b"bento-apply ready" in lab.read(d.path("log")), "bento-apply")
    # Everything but a switch: a refusal, a release with nothing in it, one that it tries to build.
    d.deliver_and_wait(d.world.release(signers=[d.world.stranger]))
    d.deliver_and_wait(d.world.empty(d.world.now))
    d.deliver(d.world.release(d.world.now + 1))
    lab.wait_until(lambda: "failed" in [d.status(n)["state"] for n in d.status_files()], "a build that fails")
    inner, = [p for p in os.listdir("/proc") if p.isdigit() and is_child(p, d.process.pid)]
    os.kill(int(inner), 15)
    assert d.process.wait(30) == 0
    d.process = None
    d.log.close()
    calls = lab.read(trace).decode()
    assert "nix-store" in calls and "bento-apply" in calls, calls  # it was looked at, children too
    lines = [l for l in calls.splitlines() if "execve(" not in l and "+++" not in l and "---" not in l]
    # As root it asks who bento-node is, and the C library looks whether a name service cache runs; nothing else.
    others = [l for l in lines if "AF_UNIX" not in l or ("connect(" in l and "/nscd/" not in l)]
    assert not others, others


def is_child(pid, parent):
    try:
        with open("/proc/%s/stat" % pid) as f:
            return int(f.read().rsplit(")", 1)[1].split()[1]) == parent
    except FileNotFoundError:
        return False


def as_nobody(words):
    return run(["setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups"] + words)


def test_nobody_can_read_or_change_anything(lab):
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        return "skipped: only root can be somebody else"
    d = lab.daemon()
    d.start()
    d.deliver_and_wait(d.world.empty(d.world.now))
    d.deliver(d.world.release(d.world.now + 1))
    lab.wait_until(lambda: "failed" in [d.status(n)["state"] for n in d.status_files()], "a build that fails")
    files = [d.path("identity"), d.floor_copy]
    folders = [d.state]
    for at, names, leaves in os.walk(d.state):
        folders += [os.path.join(at, n) for n in names]
        files += [os.path.join(at, n) for n in leaves]
    ends = [os.path.relpath(f, d.state).split("/")[-1] for f in files]
    for name in ("journal", "floor", "bundle", "tree", "tunnel", "want", "obtain.out"):
        assert name in ends, (name, files)
    for name in files:
        assert as_nobody(["cat", name]).returncode != 0, "%s can be read" % name
    for folder in folders:
        assert as_nobody(["touch", os.path.join(folder, "x")]).returncode != 0, "%s can be written" % folder
        assert as_nobody(["mv", folder, folder + ".away"]).returncode != 0, "%s can be moved" % folder
    assert as_nobody(["cat", d.config]).returncode == 0  # no secret in it; and: nobody can read at all
    assert as_nobody(["tee", d.config]).returncode != 0
    # Nor does the program itself hand out anything.
    for words in ([], ["--no-systemd"], ["keys"], ["selfcheck", d.config]):
        r = as_nobody(d.command(*words))
        assert r.returncode != 0 and "PRIVATE" not in r.stdout + r.stderr, r
    d.stop()
