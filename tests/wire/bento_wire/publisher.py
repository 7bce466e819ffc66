"""Makes releases, as an admin's machine does; and the other direction: what a broker stores of them."""

import os

from . import merkle, sealing, structures
from .ssh import RELEASE_NAMESPACE, sha256


class Part:
    """One node's part of a release. Without meta its ticket is empty."""

    def __init__(self, public, name, meta=None, secrets=(), files=None, tags=(), sealed_to=None, **forged):
        self.public, self.name, self.tags, self.meta = public, name, list(tags), meta
        self.blobs, self.digest, tree_hash = [], None, None
        if meta is None:
            self.ticket = structures.Ticket.nothing_for(public.node_id)
        else:
            tree, plain_hash = None, None
            if files is not None:
                plaintext = structures.Tree(files=files).encode()
                blob = self.add(plaintext)
                tree, tree_hash, plain_hash = [blob.ct_hash, blob.ct_len, blob.key], blob.ct_hash, sha256(plaintext)
            bundle = structures.Bundle(meta=meta, secrets=list(secrets), tree=tree)
            self.digest = structures.digest(bundle, plain_hash)
            blob = self.add(forged.get("plaintext", bundle.encode()))
            self.ticket = structures.Ticket(
                node_id=public.node_id,
                ct_hash=blob.ct_hash,
                ct_len=forged.get("ct_len", blob.ct_len),
                sealed=sealing.seal_key(blob.key, (sealed_to or public).pk),
            )
        self.row = [public.node_id, name, self.tags, (meta or {}).get("expected"), f"hosts/{name}", tree_hash]

    def add(self, plaintext):
        blob = sealing.Blob(plaintext, os.urandom(32))
        self.blobs.append(blob)
        return blob


class Release:
    """Parts become tickets, roster, head and envelope. Keywords replace fields of the head before it is signed."""

    def __init__(self, signers, parts, namespace=RELEASE_NAMESPACE, **head):
        self.parts = sorted(parts, key=lambda part: part.public.node_id)
        self.tickets = [part.ticket.encode() for part in self.parts]
        self.leaves = [merkle.leaf(ticket) for ticket in self.tickets]
        self.roster = structures.Roster(nodes=[part.row for part in self.parts]).encode()
        self.blobs = {blob.ct_hash: blob.bytes for part in self.parts for blob in part.blobs}
        fields = dict(
            tickets=len(self.tickets), root=merkle.root(self.leaves), roster=sha256(self.roster), nonce=os.urandom(16),
            fallback_floor=0,
        )  # fmt: skip
        self.head = structures.Head(**{**fields, **head})
        body = self.head.encode()
        signatures = [signer.sign(body, namespace) for signer in signers]
        self.envelope = structures.Envelope(head=body, signatures=signatures).encode()
        self.head_hash = sha256(body)

    def index(self, node_id):
        return [part.public.node_id for part in self.parts].index(node_id)

    def proven(self, node_id):
        index = self.index(node_id)
        return structures.Proven(ticket=self.tickets[index], index=index, path=merkle.path(self.leaves, index)).encode()

    def published(self, whole=True):
        """The PUB message."""
        proven = [self.proven(part.public.node_id) for part in self.parts] if whole else []
        blobs = sorted(self.blobs.values(), key=sha256) if whole else []
        return structures.TOPIC + structures.Published(envelope=self.envelope, proven=proven, blobs=blobs).encode()
