#!/usr/bin/env python3
"""subscribers.py COUNT HOST PORT: COUNT subscribers that speak SP over TCP by themselves. Prints `ready`, and when the next
release has reached all of them, the seconds (of the clock) at which the first and the last one held it."""
import select
import socket
import struct
import sys
import time

count, host, port = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
SUB_HELLO = b"\0SP\0\0\x21\0\0"


def connect():
    s = socket.create_connection((host, port), timeout=10)
    s.sendall(SUB_HELLO)
    hello = b""
    while len(hello) < 8:
        hello += s.recv(8 - len(hello))
    assert hello == b"\0SP\0\0\x20\0\0", hello
    return s


def releases(buffer):
    """Whole messages are taken off the buffer; true if one of them is a release rather than a tick."""
    found = False
    while len(buffer) >= 8 and len(buffer) >= 8 + struct.unpack(">Q", buffer[:8])[0]:
        end = 8 + struct.unpack(">Q", buffer[:8])[0]
        found |= b"bento-published" in buffer[8:40]
        del buffer[:end]
    return found


buffers = {connect(): bytearray() for _ in range(count)}
print("ready", flush=True)
times = []
deadline = time.time() + 300
while len(times) < count and time.time() < deadline:
    for s in select.select(list(buffers), [], [], 1)[0]:
        buffers[s] += s.recv(1 << 20)
        if releases(buffers[s]):
            times.append(time.time())
            del buffers[s]
if len(times) < count:
    sys.exit(f"only {len(times)} of {count} had it")
print(f"{min(times):.4f} {max(times):.4f}")
