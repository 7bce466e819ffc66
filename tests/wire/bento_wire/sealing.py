"""§sealing. The sealed key is put together from its parts here, as the text says, not by crypto_box_seal."""

import hashlib

from nacl import bindings
from nacl.exceptions import CryptoError

from .refused import Refused, require
from .ssh import sha256

ZERO_NONCE = bytes(24)


class Blob:
    def __init__(self, plaintext, key):
        self.key = key
        self.bytes = bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(plaintext, b"", ZERO_NONCE, key)
        self.ct_hash, self.ct_len = sha256(self.bytes), len(self.bytes)


def check_blob(blob, ct_hash, ct_len):
    require(len(blob) == ct_len, "LENGTH", "blob")
    require(sha256(blob) == ct_hash, "HASH", "blob")


def open_blob(blob, key):
    try:
        return bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(blob, b"", ZERO_NONCE, key)
    except (CryptoError, ValueError):
        raise Refused("SEAL", "blob") from None


def x25519_public(pk):
    try:
        return bindings.crypto_sign_ed25519_pk_to_curve25519(pk)
    except Exception:  # a RuntimeError of libsodium's, in all versions of the bindings
        raise Refused("CONFIG", "not a point of the main subgroup") from None


def x25519_secret(seed):
    half = bytearray(hashlib.sha512(seed).digest()[:32])
    half[0] &= 0xF8
    half[31] = half[31] & 0x7F | 0x40
    return bytes(half)


def nonce_of(epk, recipient):
    return hashlib.blake2b(epk + recipient, digest_size=24).digest()


def seal_key(key, pk):
    recipient = x25519_public(pk)
    epk, esk = bindings.crypto_box_keypair()
    return epk + bindings.crypto_box(key, nonce_of(epk, recipient), recipient, esk)


def open_key(sealed, identity):
    epk, box = sealed[:32], sealed[32:]
    recipient = x25519_public(identity.public.pk)
    try:
        return bindings.crypto_box_open(box, nonce_of(epk, recipient), epk, x25519_secret(identity.seed))
    except (CryptoError, RuntimeError):
        raise Refused("SEAL", "sealed key") from None
