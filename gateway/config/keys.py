"""A private key from its file: what it must be to sign mail with."""

from __future__ import annotations

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

_LEAST_BITS, _MOST_BITS = 2048, 4096
"""RFC 8301 section 3.2: signers should use 2048 bits, and no verifier has to take more than 4096."""
_MAKE = "make one with `openssl genrsa -out FILE 2048`"


class KeyUnusable(ValueError):
    """Not a key to sign with; `fix` says what would be one."""

    def __init__(self, problem: str, fix: str = _MAKE) -> None:
        super().__init__(problem)
        self.problem = problem
        self.fix = fix


def read_signing_key(pem: bytes) -> RSAPrivateKey:
    """The RSA key in a PEM file. Raises KeyUnusable."""
    try:
        key = load_pem_private_key(pem, None)
    except TypeError:
        raise KeyUnusable("is encrypted", "write it without a password: `openssl rsa -in FILE`") from None
    except (ValueError, UnsupportedAlgorithm):
        raise KeyUnusable("holds no private key in PEM") from None
    if not isinstance(key, RSAPrivateKey):
        raise KeyUnusable("is no RSA key, and ARC knows no other (RFC 8617 section 4.1)")
    if not _LEAST_BITS <= key.key_size <= _MOST_BITS:
        raise KeyUnusable(f"has {key.key_size} bits; {_LEAST_BITS} to {_MOST_BITS} are wanted")
    return key
