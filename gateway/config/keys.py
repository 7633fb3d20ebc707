"""A private key from its file: what it must be to sign mail with."""

from __future__ import annotations

from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

_LEAST_BITS, _MOST_BITS = 2048, 4096
"""RFC 8301 section 3.2: signers should use 2048 bits, and no verifier has to take more than 4096."""
_MAKE = "make one with `openssl genrsa -out FILE 2048`"

SERVERS_ALONE = (
    "is for servers alone (its extended key usage has no clientAuth): a host that asks clients for a certificate may "
    "end the connection without a word; let it know us by our address too, or have one made with clientAuth"
)


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


def is_for_servers_alone(certificate: Path) -> bool:
    """The first certificate of the file may not prove a client: its extended key usage names other uses, and not
    clientAuth (RFC 5280 section 4.2.1.12). False for a file that cannot be read: that is told elsewhere."""
    try:
        first = x509.load_pem_x509_certificates(certificate.read_bytes())[0]
        uses = first.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (OSError, ValueError, x509.ExtensionNotFound):
        return False
    return not {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}.intersection(uses)
