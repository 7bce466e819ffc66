#!/usr/bin/env python3
"""proxy.py ADDRESS PORT: an HTTP proxy that knows CONNECT and nothing else, as corkscrew wants one. A line for each."""
import socket
import sys
import threading


def pump(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def serve(client):
    head = b""
    while b"\r\n\r\n" not in head:
        head += client.recv(1)
    method, target, _ = head.split(b"\r\n")[0].split()
    assert method == b"CONNECT", method
    host, port = target.decode().rsplit(":", 1)
    print("CONNECT", target.decode(), flush=True)
    server = socket.create_connection((host, int(port)))
    client.sendall(b"HTTP/1.0 200 Connection established\r\n\r\n")
    threading.Thread(target=pump, args=(server, client), daemon=True).start()
    pump(client, server)


listener = socket.create_server((sys.argv[1], int(sys.argv[2])))
print("ready", flush=True)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
