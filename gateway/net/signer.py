"""The private keys that seal and sign, as ports.Signer asks for them: read once, kept in memory."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256

from gateway.config.keys import read_signing_key
from gateway.ports import Signer

_PADDING = PKCS1v15()
_HASH = Prehashed(SHA256())


class RsaSigner:
    """RSASSA-PKCS1-v1_5 over SHA-256 (RFC 6376 section 3.3.1): about a third of a millisecond for 2048 bits."""

    def __init__(self, key: RSAPrivateKey) -> None:
        self._key = key

    def sign(self, digest: bytes) -> bytes:
        return self._key.sign(digest, _PADDING, _HASH)


class Ed25519Signer:
    """Ed25519 over the SHA-256 digest (RFC 8463 section 3)."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key

    def sign(self, digest: bytes) -> bytes:
        return self._key.sign(digest)


def make_signer(key: RSAPrivateKey | Ed25519PrivateKey) -> Signer:
    """What signs with this key."""
    return RsaSigner(key) if isinstance(key, RSAPrivateKey) else Ed25519Signer(key)


def load_signer(path: Path) -> RsaSigner:
    """From a PEM file. Raises OSError, config.keys.KeyUnusable."""
    return RsaSigner(read_signing_key(path.read_bytes()))
