"""§framing: SP over TCP and Unix sockets, with a deadline for everything."""

import os
import socket
import struct
import threading

from .refused import Refused, require

PUB, SUB, REQ, REP = 0x20, 0x21, 0x30, 0x31
COUNTERPART = {PUB: SUB, SUB: PUB, REQ: REP, REP: REQ}
DEADLINE = 20


def handshake(protocol):
    return struct.pack(">4sHH", b"\0SP\0", protocol, 0)


def frame(message, ipc=False):
    return (b"\1" if ipc else b"") + struct.pack(">Q", len(message)) + message


class Connection:
    def __init__(self, stream, protocol, limit, ipc=False):
        self.stream, self.limit, self.ipc = stream, limit, ipc
        stream.settimeout(DEADLINE)
        stream.sendall(handshake(protocol))
        require(self.take(8) == handshake(COUNTERPART[protocol]), "FORMAT", "handshake")

    def take(self, count):
        data = bytearray()
        while len(data) < count:
            piece = self.stream.recv(min(count - len(data), 1 << 20))
            if not piece:
                raise ConnectionError("the other side closed")
            data += piece
        return bytes(data)

    def receive(self):
        if self.ipc:
            require(self.take(1) == b"\1", "FORMAT", "ipc frame")
        (length,) = struct.unpack(">Q", self.take(8))
        require(length <= self.limit, "LENGTH", "a message beyond the limit")
        return self.take(length)

    def send(self, message):
        self.stream.sendall(frame(message, self.ipc))

    def close(self):
        self.stream.close()


def connect(address, protocol, limit):
    """address: (host, port), or the path of a Unix socket."""
    if isinstance(address, tuple):
        return Connection(socket.create_connection(address, DEADLINE), protocol, limit)
    stream = socket.socket(socket.AF_UNIX)
    stream.settimeout(DEADLINE)
    stream.connect(str(address))
    return Connection(stream, protocol, limit, ipc=True)


class Requester:
    """A REQ socket."""

    def __init__(self, address, limit):
        self.connection = connect(address, REQ, limit)

    def ask(self, message):
        request_id = bytes([0x80 | os.urandom(1)[0]]) + os.urandom(3)
        self.connection.send(request_id + message)
        answer = self.connection.receive()
        require(answer[:4] == request_id, "FORMAT", "id of the request")
        return answer[4:]

    def close(self):
        self.connection.close()


def backtrace(message):
    """The 4-byte words up to the first one with the highest bit set, and what follows."""
    for end in range(4, len(message) + 1, 4):
        if message[end - 4] & 0x80:
            return message[:end], message[end:]
    raise Refused("FORMAT", "no request id")


class Server:
    """Accepts connections on a port of the kernel's choice; each is served by a thread of its own."""

    def __init__(self, serve):
        self.serve = serve
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = self.listener.getsockname()
        self.streams = []
        threading.Thread(target=self.accept, daemon=True).start()

    @property
    def url(self):
        return "tcp://%s:%d" % self.address

    def accept(self):
        while True:
            try:
                stream, _ = self.listener.accept()
            except OSError:
                return
            self.streams.append(stream)
            threading.Thread(target=self.attend, args=(stream,), daemon=True).start()

    def attend(self, stream):
        try:
            self.serve(stream)
        except (OSError, Refused):
            pass  # the peer went away, or does not speak SP
        finally:
            stream.close()

    def close(self):
        self.listener.close()
        for stream in self.streams:
            stream.close()


class Publisher(Server):
    """A PUB socket. `greeting` gives what a new subscriber hears first."""

    def __init__(self, greeting):
        self.greeting = greeting
        self.subscribers = []
        super().__init__(self.subscribe)

    def subscribe(self, stream):
        connection = Connection(stream, PUB, 1)
        stream.settimeout(None)
        connection.send(self.greeting())
        self.subscribers.append(connection)
        connection.receive()  # nothing comes; ends when the subscriber goes

    def publish(self, message):
        for connection in list(self.subscribers):
            try:
                connection.send(message)
            except OSError:
                self.subscribers.remove(connection)


class Replier(Server):
    """A REP socket; `answer` gives the reply to a message."""

    def __init__(self, answer, limit):
        self.answer, self.limit = answer, limit
        super().__init__(self.reply)

    def reply(self, stream):
        connection = Connection(stream, REP, self.limit)
        stream.settimeout(None)
        while True:
            trace, message = backtrace(connection.receive())
            connection.send(trace + self.answer(message))
