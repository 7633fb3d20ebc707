"""The only file that imports dkimpy, for header canonicalisation; keys and signatures use `cryptography`.

dkimpy's canonicalisation is linear and correct, so it is used. Its own parsing, header hash and key code are not used:
they back-track quadratically on white space, raise on legal messages, and compute with keys of any size.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Sequence

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.serialization import load_der_public_key
from dkim.canonicalization import CanonicalizationPolicy, InvalidCanonicalizationPolicyError, Relaxed, Simple

from gateway.mail.header import Field
from gateway.mail.tokens import decode_base64, parse_tags
from gateway.model.result import REVOKED
from gateway.model.value import Value

MIN_BITS, MAX_BITS = 1024, 8192
"""RSA keys below the minimum are never valid (RFC 8301 section 3.2); only an attacker benefits from keys above the
maximum."""
_MAX_EXPONENT_BITS = 32
_MAX_RECORD = 8192
_USUAL_FIELD = 1024
"""Octets of a field whose canonical form is cached."""
_MAX_DER = MAX_BITS // 8 + 256
"""Octets of an 8192-bit key with a margin: a longer one is not parsed."""
_ZONE_FILE_MARKS = re.compile(r'"|\\(?=;)')
"""Quotation marks, and backslashes before semicolons, are syntax of zone files (RFC 1035 section 5.1) that web forms of
DNS providers leave in the record. No tag of a key record needs them."""
_B_TAG = re.compile(rb"[ \t\r\n]*b[ \t\r\n]*=")


@functools.lru_cache(maxsize=64)
def read_forms(c: str) -> tuple[str, str] | None:
    """Header and body canonicalisation of a c= tag (RFC 6376 section 3.5); None if there is no such pair."""
    try:
        policy = CanonicalizationPolicy.from_c_value(c.encode("ascii", "replace"))
    except InvalidCanonicalizationPolicyError:
        return None
    return policy.header_algorithm.name.decode(), policy.body_algorithm.name.decode()


class SignedHeader:
    """A header block as signatures see it: canonical forms are made once for all signatures."""

    def __init__(self, block: bytes, header: Sequence[Field], relaxed: dict[bytes, bytes] | None = None) -> None:
        """`relaxed`: canonical forms by field, filled as they are made; for a caller that judges similar headers."""
        self._block = block
        self._by_name: dict[str, list[Field]] = {}
        self._relaxed = {} if relaxed is None else relaxed
        for field in header:
            self._by_name.setdefault(field.lower, []).append(field)

    def count(self, name: str) -> int:
        """Number of fields of that name."""
        return len(self._by_name.get(name, ()))

    def select(self, names: Sequence[str], signature: Field) -> list[Field]:
        """The fields selected by h=: each mention of a name takes the next one up from the bottom; a mention beyond the
        last takes none (RFC 6376 section 5.4.2). The signature never signs itself by name (section 5.4)."""
        left: dict[str, list[Field]] = {}
        chosen = []
        for name in names:
            if name not in left:
                left[name] = [field for field in self._by_name.get(name, ()) if field.start != signature.start]
            if left[name]:
                chosen.append(left[name].pop())
        return chosen

    def digest(self, fields: Sequence[Field], signature: Field, form: str) -> bytes:
        """SHA-256 of the fields and then of the signature's field without its b= value (RFC 6376 section 3.7)."""
        octets = [self._canonical(field, form) for field in fields]
        octets.append(_canonicalise(_without_b(self._raw(signature)), form).removesuffix(b"\r\n"))
        return hashlib.sha256(b"".join(octets)).digest()

    def _raw(self, field: Field) -> bytes:
        raw = self._block[field.start : field.end]
        return raw if raw.endswith(b"\r\n") else raw + b"\r\n"

    def _canonical(self, field: Field, form: str) -> bytes:
        raw = self._raw(field)
        if form != "relaxed":
            return raw
        known = self._relaxed.get(raw)
        if known is None:
            known = self._relaxed[raw] = _canonicalise(raw, form)
        return known


def _canonicalise(raw: bytes, form: str) -> bytes:
    return _canonicalise_usual(raw, form) if len(raw) <= _USUAL_FIELD else _canonicalise_any(raw, form)


@functools.lru_cache(maxsize=256)
def _canonicalise_usual(raw: bytes, form: str) -> bytes:
    """Cached, because the same field is verified first and sealed later, or occurs in one message after another."""
    return _canonicalise_any(raw, form)


def _canonicalise_any(raw: bytes, form: str) -> bytes:
    # A bare LF is not folding (RFC 5322 section 2.3), but dkimpy unfolds it. Such a field stays unchanged, so no
    # relaxed signature covers it and nobody can insert one into a signed field.
    if raw.count(b"\n") != raw.count(b"\r\n"):
        return raw
    name, _, value = raw.partition(b":")
    algorithm = Relaxed if form == "relaxed" else Simple
    [(name, value)] = algorithm.canonicalize_headers([(name, value)])
    return bytes(name + b":" + value)


def _without_b(raw: bytes) -> bytes:
    """The field with an empty b= tag: its value and the white space around it removed (RFC 6376 section 3.7)."""
    start = raw.index(b":") + 1
    while start:
        tag = _B_TAG.match(raw, start)
        end = raw.find(b";", start)
        if tag:
            return raw[: tag.end()] + (raw[end:] if end >= 0 else b"\r\n")
        start = end + 1
    return raw


class Key(Value):
    """A key record, parsed."""

    type: str
    """k=: `rsa`, `ed25519`, or the other value found there."""
    public: RSAPublicKey | Ed25519PublicKey | None = None
    strict: bool = False
    """t=s: i= must name d= itself (RFC 6376 section 3.6.1)."""
    problem: str = ""
    """The reason why it cannot be used; empty when it can."""
    weak: bool = False
    """The problem is the size: a matter of policy, not of syntax."""

    def verifies(self, signature: bytes, digest: bytes) -> bool:
        """True if `signature` is this key's over the SHA-256 `digest`."""
        try:
            if isinstance(self.public, RSAPublicKey):
                self.public.verify(signature, digest, PKCS1v15(), Prehashed(hashes.SHA256()))
            elif self.public is not None:
                self.public.verify(signature, digest)  # RFC 8463 section 3: Ed25519 signs the hash
        except InvalidSignature:
            return False
        return self.public is not None


def read_key(record: str) -> Key:
    """A TXT record as a key. Never raises, and a hostile record costs no more than a valid one."""
    if len(record) > _MAX_RECORD:
        return Key("rsa", problem="key record is too long")
    return _read_key(record)


@functools.lru_cache(maxsize=512)
def _read_key(record: str) -> Key:
    tags = parse_tags(_ZONE_FILE_MARKS.sub("", record))
    if tags is None or tags.get("v", "DKIM1") != "DKIM1":  # RFC 6376 section 3.6.1
        return Key("", problem="key record syntax error")
    type = tags.get("k", "rsa")
    if "p" not in tags:
        return Key(type, problem="key record has no p= tag")
    if not tags["p"]:
        return Key(type, problem=REVOKED)
    if "h" in tags and "sha256" not in _items(tags["h"]):
        return Key(type, problem="key does not allow sha256")
    if not {"*", "email"} & set(_items(tags.get("s", "*"))):
        return Key(type, problem="key is not for mail")
    strict = "s" in _items(tags.get("t", ""))
    if type == "rsa":
        return _read_rsa(tags["p"], strict)
    if type == "ed25519":
        return _read_ed25519(tags["p"], strict)
    return Key(type[:16], problem="key type is unknown")


def _items(value: str) -> list[str]:
    return [item.strip() for item in value.split(":")]


def _read_rsa(p: str, strict: bool) -> Key:
    der = decode_base64(p)
    if len(der) > _MAX_DER:
        return Key("rsa", problem=f"key is larger than {MAX_BITS} bits", weak=True)
    try:
        # Both SubjectPublicKeyInfo and the bare RSAPublicKey of RFC 6376 section 3.6.1 are read.
        public = load_der_public_key(der)
    except (ValueError, UnsupportedAlgorithm):
        return Key("rsa", problem="key cannot be read")
    if not isinstance(public, RSAPublicKey):
        return Key("rsa", problem="key is not of the type it says")
    if not MIN_BITS <= public.key_size <= MAX_BITS:
        # RFC 8301 section 3.2: below 1024 bits a signature is never valid.
        word = "smaller" if public.key_size < MIN_BITS else "larger"
        limit = MIN_BITS if public.key_size < MIN_BITS else MAX_BITS
        return Key("rsa", problem=f"key of {public.key_size} bits is {word} than {limit} bits", weak=True)
    if public.public_numbers().e.bit_length() > _MAX_EXPONENT_BITS:
        return Key("rsa", problem="key has an excessive exponent", weak=True)
    return Key("rsa", public, strict)


def _read_ed25519(p: str, strict: bool) -> Key:
    try:
        return Key("ed25519", Ed25519PublicKey.from_public_bytes(decode_base64(p)), strict)
    except (ValueError, UnsupportedAlgorithm):
        return Key("ed25519", problem="key cannot be read")
