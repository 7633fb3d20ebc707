"""A signer for tests: on request it also signs in ways that no standard allows."""

from __future__ import annotations

import base64
import functools
import hashlib
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import (
    RSAPrivateKey,
    RSAPrivateNumbers,
    RSAPublicNumbers,
    generate_private_key,
    rsa_crt_dmp1,
    rsa_crt_dmq1,
    rsa_crt_iqmp,
)
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from dkim.canonicalization import CanonicalizationPolicy

from gateway.authentication import arc, dkim
from gateway.authentication.body import BodyHasher, wanted_digests
from gateway.authentication.lookup import DnsView
from gateway.mail.header import Field, parse_header, split_message
from gateway.model.dnsdata import Answer, DnsStatus, Question
from gateway.model.message import Evidence
from gateway.model.result import ArcResult, DkimResult

NOW = 1_790_000_000.0
MESSAGE = (
    b"From: Ann <ann@src.example>\r\nTo: bob@dst.example\r\nSubject: A  question\r\n about folding\r\n"
    b"Date: Mon, 2 Nov 2026 10:00:00 +0000\r\n\r\nHello Bob,\r\n\r\nhow  are you? \r\n\r\n\r\n"
)
AAR = b"ARC-Authentication-Results: i=%d; gw.example; dmarc=pass\r\n"


@functools.cache
def rsa_key(bits: int = 2048) -> RSAPrivateKey:
    return generate_private_key(65537, bits)


@functools.cache
def ed25519_key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.generate()


@functools.cache
def fixed_rsa_key(bits: int) -> RSAPrivateKey:
    """The same key in every run, so that what is made with it comes up again; no secret, and made slowly."""
    dice = random.Random(bits)
    while True:
        first, second = _find_prime(dice, bits // 2), _find_prime(dice, bits // 2)
        order = (first - 1) * (second - 1)
        if first != second and math.gcd(65537, order) == 1:
            break
    exponent = pow(65537, -1, order)
    public = RSAPublicNumbers(65537, first * second)
    coefficient = rsa_crt_iqmp(first, second)
    parts = (rsa_crt_dmp1(exponent, first), rsa_crt_dmq1(exponent, second), coefficient)
    return RSAPrivateNumbers(first, second, exponent, *parts, public).private_key()


def _find_prime(dice: random.Random, bits: int) -> int:
    """A number that passes Fermat's test for several bases: good enough for a key of a test."""
    while True:
        number = dice.getrandbits(bits) | 0b11 << (bits - 2) | 1
        if all(number % small for small in (3, 5, 7, 11, 13)) and all(
            pow(b, number - 1, number) == 1 for b in (2, 3, 5)
        ):
            return number


@functools.cache
def fixed_ed25519_key(number: int = 0) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"test key %d" % number).digest())


def p_tag(key: RSAPrivateKey | Ed25519PrivateKey) -> str:
    """The p= value of a key record."""
    if isinstance(key, RSAPrivateKey):
        octets = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    else:
        octets = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return base64.b64encode(octets).decode()


def key_record(key: RSAPrivateKey | Ed25519PrivateKey | None = None, tags: str = "") -> str:
    """A key record; `tags` such as `t=s;` stand before p=."""
    key = key or rsa_key()
    return f"v=DKIM1; k={'rsa' if isinstance(key, RSAPrivateKey) else 'ed25519'}; {tags} p={p_tag(key)}"


def zone(*records: str, name: str = "s._domainkey.src.example") -> dict[Question, Answer]:
    return {Question(name, "TXT"): Answer(DnsStatus.FOUND, records)}


def window(known: dict[Question, Answer]) -> DnsView:
    """A window on DNS where every other name does not exist."""
    return DnsView(lambda question: known.get(question, Answer(DnsStatus.NXDOMAIN)))


def evidence(message: bytes) -> tuple[Evidence, tuple[Field, ...]]:
    block, start = split_message(message)
    header = parse_header(block)
    hasher = BodyHasher(wanted_digests(header))
    hasher.update(message[start:])
    return Evidence(block, hasher.digests(), len(message)), header


def verify(message: bytes, known: dict[Question, Answer] | None = None, now: float = NOW) -> tuple[DkimResult, ...]:
    return dkim.verify(*evidence(message), window(zone(key_record()) if known is None else known), now)


def validate(message: bytes, known: dict[Question, Answer] | None = None, now: float = NOW) -> ArcResult:
    return arc.validate(*evidence(message), window(zone(key_record()) if known is None else known), now)


@dataclass(frozen=True)
class Signer:
    """Makes one signature field."""

    tags: tuple[tuple[str, str | None], ...] = ()
    """Tags that come first, before the usual ones that they do not replace; None leaves one out."""
    key: RSAPrivateKey | Ed25519PrivateKey | None = None
    name: str = "DKIM-Signature"
    fold: str = " "
    """The text before each tag."""
    form: str = ""
    """Canonicalisation when c= does not give it."""

    def sign(self, message: bytes, signed: Sequence[Field] | None = None) -> bytes:
        """The field with its CRLF; `signed` overrides the fields that h= selects."""
        header, start = evidence_header(message)
        given = dict(self.tags)
        usual = {"v": "1", "a": "rsa-sha256", "c": "relaxed/relaxed", "d": "src.example", "s": "s"}
        usual |= {"h": "from:to:subject:date", "bh": "", "b": ""}
        tags = given | {tag: value for tag, value in usual.items() if tag not in given}
        policy = CanonicalizationPolicy.from_c_value((self.form or tags["c"] or "simple/simple").encode())
        hash = hashlib.sha1 if tags["a"] == "rsa-sha1" else hashlib.sha256
        tags["b"] = ""
        if tags["bh"] == "":
            body = policy.canonicalize_body(message[start:])[: int(tags.get("l") or len(message))]
            tags["bh"] = base64.b64encode(hash(body).digest()).decode()
        field = self._write(tags)
        fields = _select(header, tags["h"] or "") if signed is None else signed
        pairs = [(item.name.encode(), item.value + b"\r\n") for item in fields]
        octets = b"".join(b":".join(pair) for pair in policy.canonicalize_headers(pairs))
        own = field.partition(b":")
        octets += b":".join(policy.canonicalize_headers([(own[0], own[2])])[0]).rstrip(b"\r\n")
        tags["b"] = base64.b64encode(self._sign(octets, tags["a"] or "")).decode()
        return self._write(tags) + b"\r\n"

    def _write(self, tags: dict[str, str | None]) -> bytes:
        value = ";".join(f"{self.fold}{tag}={value}" for tag, value in tags.items() if value is not None)
        return f"{self.name}:{value}".encode("utf-8", "surrogateescape")

    def _sign(self, octets: bytes, algorithm: str) -> bytes:
        key = self.key or rsa_key()
        if isinstance(key, RSAPrivateKey):
            return key.sign(octets, PKCS1v15(), SHA1() if algorithm == "rsa-sha1" else SHA256())
        return key.sign(hashlib.sha256(octets).digest())


def sign(message: bytes = MESSAGE, **tags: str | None) -> bytes:
    """The message with a signature above."""
    return Signer(tuple(tags.items())).sign(message) + message


def seal(
    message: bytes,
    instance: int,
    cv: str | None = None,
    key: RSAPrivateKey | Ed25519PrivateKey | None = None,
    **tags: str | None,
) -> bytes:
    """The message with one more ARC set above (RFC 8617 section 5.1); `tags` go to the message signature, d= and s= to
    the seal as well."""
    results = AAR % instance
    common = (
        ("v", None),
        ("i", str(instance)),
        ("a", "ed25519-sha256" if isinstance(key, Ed25519PrivateKey) else "rsa-sha256"),
    )
    signature = Signer((*common, *tags.items()), key, "ARC-Message-Signature").sign(message)
    above = signature + results + message
    names = ("arc-authentication-results", "arc-message-signature", "arc-seal")
    header, _ = evidence_header(above)
    sets = [[item for item in reversed(header) if item.lower == name] for name in names]
    covered = [fields[at] for at in range(instance) for fields in sets if at < len(fields)]
    status = cv or ("none" if instance == 1 else "pass")
    place = tuple((tag, tags[tag]) for tag in ("d", "s") if tag in tags)
    own = (*common, *place, ("c", None), ("h", None), ("bh", None), ("cv", status))
    return Signer(own, key, "ARC-Seal", form="relaxed").sign(above, covered) + above


def chain(length: int, message: bytes = MESSAGE) -> bytes:
    """The message with `length` ARC sets."""
    for instance in range(1, length + 1):
        message = seal(message, instance)
    return message


def evidence_header(message: bytes) -> tuple[tuple[Field, ...], int]:
    block, start = split_message(message)
    return parse_header(block), start


def _select(header: Sequence[Field], names: str) -> list[Field]:
    """h= as RFC 6376 section 5.4.2 says, the slow way."""
    left = list(header)
    chosen = []
    for name in names.lower().split(":"):
        found = next((item for item in reversed(left) if item.lower == name.strip()), None)
        if found:
            left.remove(found)
            chosen.append(found)
    return chosen
