"""A real bento-broker, and questions to it."""

from bento_wire import framing, operations, structures
from bento_wire.refused import (
    ADMIN_RECEIVE_BYTES_MAX, CHUNK_BYTES_MAX, PUBLISHED_BYTES_MAX, REQ_RECEIVE_BYTES_MAX, Refused,
)  # fmt: skip
from fleet import FLEET, ZEROS
from programs import free_port, write_private


class Broker:
    def __init__(self, path, signers, threshold=1, fleet=FLEET):
        """signers: public keys."""
        self.path = path
        self.pub, self.rep = ("127.0.0.1", free_port()), ("127.0.0.1", free_port())
        self.admin_socket = path / "admin.sock"
        self.config = write_private(path / "broker.json", {
            "fleet": fleet.hex(), "signers": [signer.line("admin") for signer in signers], "threshold": threshold,
            "state": str(path / "state"), "pub": "tcp://%s:%d" % self.pub, "rep": "tcp://%s:%d" % self.rep,
            "admin": str(self.admin_socket), "tick_seconds": 1,
        })  # fmt: skip
        (path / "state").mkdir(mode=0o700)

    def ready(self):
        try:
            self.admin = framing.Requester(self.admin_socket, ADMIN_RECEIVE_BYTES_MAX)
            self.public = framing.Requester(self.rep, REQ_RECEIVE_BYTES_MAX)
            return True
        except OSError:
            return False

    def ask(self, operation, *body):
        return operations.decode_reply(self.public.ask(operations.request(operation, *body)), operation)

    def command(self, operation, *body):
        return operations.decode_reply(self.admin.ask(operations.request(operation, *body)), operation)

    def subscribe(self, address=None):
        return framing.connect(address or self.pub, framing.SUB, PUBLISHED_BYTES_MAX)

    def upload(self, release):
        code, (missing,) = self.command("MISSING_BLOBS", sorted(release.blobs))
        assert code == "OK" and missing == sorted(release.blobs)
        for ct_hash in missing:
            self.upload_blob(ct_hash, release.blobs[ct_hash])

    def upload_blob(self, ct_hash, blob):
        for offset in range(0, len(blob), CHUNK_BYTES_MAX):
            chunk = blob[offset : offset + CHUNK_BYTES_MAX]
            assert self.command("PUT_BLOB", ct_hash, len(blob), offset, chunk) == ("OK", [offset + len(chunk)])

    def publish(self, release, base=None):
        if base is None:
            base = self.newest()
        return self.command("PUBLISH", base, release.envelope, release.roster, release.tickets)

    def newest(self):
        code, body = self.ask("GET_HEAD")
        return ZEROS if code == "NONE" else structures.Envelope.decode(body[0]).head_hash

    def blob(self, ct_hash, ct_len):
        """In chunks, as a node fetches it."""
        blob = b""
        while len(blob) < ct_len:
            code, (total, chunk) = self.ask("GET_BLOB", ct_hash, len(blob))
            assert code == "OK" and total == ct_len and chunk
            blob += chunk
        return blob

    def put_status(self, signed):
        return self.ask("PUT_STATUS", signed)


def heard(connection, kind, matches=lambda message: True):
    while True:
        message = connection.receive()
        assert message[:4] == structures.TOPIC
        try:
            found = kind.decode(message[4:])
        except Refused:
            continue
        if matches(found):
            return found, message
