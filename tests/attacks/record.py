"""Everything that crosses a network of this host, and two Unix sockets: record.py FOLDER LISTEN=CONNECT…

Packets of all interfaces, with the TCP streams put together again; what goes through LISTEN to CONNECT and back. Prints
`recording` when it does; at SIGTERM writes FOLDER/{packets,stream-…,socket-…}, and fails if the kernel dropped packets.
"""
import os
import selectors
import signal
import socket
import struct
import sys

ETH_P_ALL, SOL_PACKET, PACKET_STATISTICS, SO_RCVBUFFORCE = 3, 263, 6, 33
folder, pairs = sys.argv[1], [p.split("=") for p in sys.argv[2:]]
selector, streams, stopped = selectors.DefaultSelector(), {}, False
packets = open(os.path.join(folder, "packets"), "wb")


def on_signal(number, frame):
    global stopped
    stopped = True


def on_packet(s):
    frame = s.recv(1 << 18)
    packets.write(frame)
    if frame[12:14] != b"\x08\0" or frame[23] != socket.IPPROTO_TCP:
        return
    ip = frame[14:14 + struct.unpack(">H", frame[16:18])[0]]
    tcp = ip[(ip[0] & 15) * 4:]
    body = tcp[(tcp[12] >> 4) * 4:]
    if body:
        segments = streams.setdefault((ip[12:20], tcp[:4]), {})
        at = struct.unpack(">I", tcp[4:8])[0]
        segments[at] = max(segments.get(at, b""), body, key=len)


def forward(path, source, sink):
    """One direction of a connection; its bytes go to the other side and into a file."""
    out = open(os.path.join(folder, "socket-%s-%d" % (os.path.basename(path), source.fileno())), "ab")

    def step(s):
        data = b""
        try:
            data = s.recv(1 << 18)
            out.write(data)
            sink.sendall(data)
        except OSError:
            data = b""
        if not data:
            selector.unregister(s)
            out.close()
            try:
                sink.shutdown(socket.SHUT_WR)
            except OSError:
                pass
    selector.register(source, selectors.EVENT_READ, step)


def listen(path, target):
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    server.listen(64)

    def accept(s):
        near, far = s.accept()[0], socket.socket(socket.AF_UNIX)
        try:
            far.connect(target)
        except OSError:
            near.close()
            return
        forward(path, near, far)
        forward(path, far, near)
    selector.register(server, selectors.EVENT_READ, accept)


def write_streams():
    for number, ((ends, ports), segments) in enumerate(streams.items()):
        with open(os.path.join(folder, "stream-%d-%d-%d" % (number, *struct.unpack(">HH", ports))), "wb") as f:
            end = None
            for at in sorted(segments):
                body = segments[at]
                if end is not None and at < end:  # sent again
                    body = body[end - at:]
                f.write(body)
                end = max(end or 0, at + len(segments[at]))


signal.signal(signal.SIGTERM, on_signal)
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
try:
    wire.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
except PermissionError:  # root of a user namespace only
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 20)
selector.register(wire, selectors.EVENT_READ, on_packet)
for listening, connecting in pairs:
    listen(listening, connecting)
print("recording", flush=True)
while not stopped:
    for key, _ in selector.select(0.5):
        key.data(key.fileobj)
packets.close()
write_streams()
seen, dropped = struct.unpack("II", wire.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))
print("packets", seen, "dropped", dropped, flush=True)
sys.exit(1 if dropped or not seen else 0)
