"""The keyring: the DKIM keys, as `waypost key` keeps them in `keyring.toml` beside their PEM files.

A key is `new` until its DNS record is known to be published, then `signing`, and `retired` when a newer one has
replaced it. Its record must stay in DNS for as long as mail signed with it may wait in a queue.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.config.text_file import TextUnfit, read_text
from gateway.mail.domain import a_label
from gateway.model.value import Value

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

_LEAST_BITS, _MOST_BITS = 2048, 4096
"""RFC 8301 section 3.2: signers should use 2048 bits, and verifiers need not accept more than 4096."""
_MAKE = "make one with `openssl genrsa -out FILE 2048`"

SERVERS_ALONE = (
    "is for servers alone (its extended key usage has no clientAuth): a host that asks clients for a certificate may "
    "end the connection without a word; let it know us by our address too, or have one made with clientAuth"
)


class KeyUnusable(ValueError):
    """Not a key to sign with; `fix` describes a usable one."""

    def __init__(self, problem: str, fix: str = _MAKE) -> None:
        super().__init__(problem)
        self.problem = problem
        self.fix = fix


def read_signing_key(pem: bytes) -> RSAPrivateKey:
    """The RSA key in a PEM file. Raises KeyUnusable."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

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
    """True when the first certificate of the file may not prove a client: its extended key usage names other uses, and
    not clientAuth (RFC 5280 section 4.2.1.12). False for an unreadable file, which another check reports."""
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID

    try:
        first = x509.load_pem_x509_certificates(certificate.read_bytes())[0]
        uses = first.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (OSError, ValueError, x509.ExtensionNotFound):
        return False
    return not {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}.intersection(uses)


KEYRING = "keyring.toml"
RSA, ED25519 = "rsa-sha256", "ed25519-sha256"
_SELECTOR = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


class KeyState(StrEnum):
    """The stages of a key's life."""

    NEW = "new"
    SIGNING = "signing"
    RETIRED = "retired"


class KeyEntry(Value):
    """One key of a domain."""

    domain: str
    """In A-labels."""
    selector: str
    algorithm: str
    state: KeyState
    since: int
    """Epoch seconds since which it has been in its state."""

    @property
    def file(self) -> str:
        """The PEM file's path below the keyring's directory."""
        return f"{self.domain}/{self.selector}.pem"

    @property
    def record_name(self) -> str:
        """The name of its DNS record (RFC 6376 section 3.6.2.1)."""
        return f"{self.selector}._domainkey.{self.domain}"


class KeyringUnusable(ValueError):
    """The keyring cannot be read; the text gives the reason."""


def read_keyring(directory: Path) -> tuple[KeyEntry, ...]:
    """Every key, in the order of the file; none when there is no keyring yet. Raises KeyringUnusable."""
    path = directory / KEYRING
    if not path.exists():
        return ()
    try:
        tree = tomllib.loads(read_text(path, toml=True))
    except (tomllib.TOMLDecodeError, TextUnfit) as error:
        raise KeyringUnusable(f"{path} is no keyring: {error}") from None
    try:
        entries = tuple(_read_entry(table) for table in tree.get("key", []))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise KeyringUnusable(f"{path} has an entry that cannot be read: {error!r}") from None
    names = [entry.record_name for entry in entries]
    if len(set(names)) < len(names):
        raise KeyringUnusable(f"{path} names a selector twice")
    return entries


def write_keyring(directory: Path, entries: Iterable[KeyEntry]) -> None:
    """Replace the keyring, all or nothing. Raises OSError."""
    lines = ["# Kept by `waypost key`; a running gateway takes a change at its next reload.\n"]
    for entry in entries:
        lines += [
            "\n[[key]]\n",
            f'domain = "{entry.domain}"\nselector = "{entry.selector}"\nalgorithm = "{entry.algorithm}"\n',
            f'state = "{entry.state}"\nsince = {entry.since}\n',
        ]
    part = directory / f".{KEYRING}.part"
    with part.open("w", encoding="utf-8") as stream:
        stream.writelines(lines)
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(directory / KEYRING)


def read_key(directory: Path, entry: KeyEntry) -> RSAPrivateKey | Ed25519PrivateKey:
    """An entry's private key. Raises KeyUnusable, OSError."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    pem = (directory / entry.file).read_bytes()
    if entry.algorithm == RSA:
        return read_signing_key(pem)
    try:
        key = load_pem_private_key(pem, None)
    except (TypeError, ValueError, UnsupportedAlgorithm):
        raise KeyUnusable("holds no private key in PEM without a password", "make new ones: waypost key new") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyUnusable("is no Ed25519 key, as the keyring says", "make new ones: waypost key new")
    return key


def _read_entry(table: dict[str, object]) -> KeyEntry:
    domain, selector, algorithm = str(table["domain"]), str(table["selector"]), str(table["algorithm"])
    since = table["since"]
    # Both become part of a path, so only a name may stand there.
    if a_label(domain) != domain or not _SELECTOR.fullmatch(selector):
        raise ValueError(f"{selector}._domainkey.{domain} is no name of a key")
    if algorithm not in (RSA, ED25519):
        raise ValueError(f"algorithm {algorithm}")
    if not isinstance(since, int):
        raise ValueError("since is no number")
    return KeyEntry(domain, selector, algorithm, KeyState(str(table["state"])), since)
