"""The machine's clock and random numbers, for ports.Clock."""

from __future__ import annotations

import itertools
import random
import time
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA256

from gateway.config.keyring import read_signing_key
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
    """The signer for this key."""
    return RsaSigner(key) if isinstance(key, RSAPrivateKey) else Ed25519Signer(key)


def load_signer(path: Path) -> RsaSigner:
    """From a PEM file. Raises OSError, config.keys.KeyUnusable."""
    return RsaSigner(read_signing_key(path.read_bytes()))


_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"

_STEP = 10.0
"""Seconds by which a clock may be corrected without counting as a jump."""


def _elapsed() -> float:
    """Seconds since the machine started, also while it slept."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class SystemClock:
    """Wall and monotonic time; ids that sort by time and name the shard that made them."""

    def __init__(self, shard: int = 0) -> None:
        self._ahead = time.time() - _elapsed()
        """Difference of the wall clock to `_elapsed`."""
        self._shard = _DIGITS[shard]
        self._serial = itertools.count(random.SystemRandom().randrange(1 << 20))
        self._random = random.Random()

    def now(self) -> float:
        """The wall clock without jumps: after a jump it continues as before, until the jump is adopted."""
        jump = self.jump()
        if not jump:
            self.adopt()
        return _elapsed() + self._ahead

    def jump(self) -> float:
        """Seconds by which the wall clock has jumped; usually 0."""
        jump = time.time() - _elapsed() - self._ahead
        return jump if abs(jump) > _STEP else 0.0

    def adopt(self) -> None:
        """Follow the wall clock."""
        self._ahead = time.time() - _elapsed()

    def monotonic(self) -> float:
        return time.monotonic()

    def jitter(self) -> float:
        return self._random.random()

    def new_id(self) -> str:
        """15 characters: 9 of milliseconds since 1970, the shard, 5 that distinguish ids of one millisecond."""
        milliseconds = int(time.time() * 1000)
        return _base32(milliseconds, 9) + self._shard + _base32(next(self._serial), 5)


def _base32(number: int, width: int) -> str:
    return "".join(_DIGITS[(number >> (5 * place)) & 31] for place in reversed(range(width)))
