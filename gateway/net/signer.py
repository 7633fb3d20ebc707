"""The private key that seals, as ports.Signer asks for it: read once, kept in memory."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256

from gateway.config.keys import read_signing_key

_PADDING = PKCS1v15()
_HASH = Prehashed(SHA256())


class RsaSigner:
    """RSASSA-PKCS1-v1_5 over SHA-256 (RFC 6376 section 3.3.1): about a third of a millisecond for 2048 bits."""

    def __init__(self, key: RSAPrivateKey) -> None:
        self._key = key

    def sign(self, digest: bytes) -> bytes:
        return self._key.sign(digest, _PADDING, _HASH)


def load_signer(path: Path) -> RsaSigner:
    """From a PEM file. Raises OSError, config.keys.KeyUnusable."""
    return RsaSigner(read_signing_key(path.read_bytes()))
