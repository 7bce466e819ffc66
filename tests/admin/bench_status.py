"""For script/bench-status: a fleet that is up to date, shown again and again."""

import contextlib
import io
import resource
import sys
import time

from programs import folder
from signed_fleet import SignedFleet

ROUNDS = 9


def measured(fleet, *words):
    """Median of the time that went by, and the processor's time of one run, in milliseconds."""
    taken, before = [], resource.getrusage(resource.RUSAGE_CHILDREN)
    for _ in range(ROUNDS):
        begun = time.monotonic()
        fleet.run(*words, expected=0)
        taken.append((time.monotonic() - begun) * 1000)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return sorted(taken)[ROUNDS // 2], used * 1000 / ROUNDS


def main():
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    with folder() as path:
        fleet = SignedFleet(path, [f"web-{i}" for i in range(count)])
        fleet.start_broker()
        try:
            fleet.publish()
            for name in fleet.names:
                fleet.report(name)
            for title, words in (("a line for the healthy ones", ()), ("a line for each", ("--all",)), ("JSON", ("--json",))):
                taken, used = measured(fleet, *words)
                print(f"bento-status, {count} machines, {title + ':':30} {taken:5.0f} ms, {used:4.0f} ms of the processor")
        finally:
            with contextlib.redirect_stdout(io.StringIO()):
                fleet.stop_broker()


main()
