"""A signature field read once: the common part of DKIM-Signature, ARC-Message-Signature and ARC-Seal.

In: a header field, a key's DNS answer, body digests. Out: `Signature` values and findings, for `dkim`, `arc`, `body`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from gateway.authentication.dkimpy import Key, read_forms, read_key
from gateway.mail.author import find_author
from gateway.mail.domain import a_label
from gateway.mail.header import Field, unfold
from gateway.mail.tokens import decode_base64, parse_tags
from gateway.model.dnsdata import Answer, Question
from gateway.model.message import BodyDigest
from gateway.model.result import NO_KEY, DkimVerdict
from gateway.model.value import Value

MAX_FIELD = 65_536
"""Octets of the largest signature field that is read: with a copy of the whole header in z=, fields of 10 kB are
common."""
MAX_SIGNATURES = 8
"""DKIM-Signature fields of one message that are judged."""
_MAX_RECORDS, _MAX_KEYS = 16, 2
"""TXT records of one selector that are read, and usable keys among them that are tried."""
_MAX_NAME = 253
_KEY_TYPES = {"rsa-sha256": "rsa", "ed25519-sha256": "ed25519"}
"""RFC 8301 section 3.1 and RFC 8463 section 3."""
_D_TAG = re.compile(rb"(?:^|;)[ \t\r\n]*d[ \t\r\n]*=[ \t\r\n]*([^; \t\r\n]+)")
_DIGITS = re.compile(r"[0-9]+")
_UNPRINTABLE = re.compile(r"[^ -~]")
_MAX_TIME = 10**12
"""A longer t= or x= means no limit (RFC 6376 section 3.5)."""
_MAX_LENGTH = 10**18


class SignatureFinding(Value):
    """The result of one check of a signature."""

    verdict: DkimVerdict
    reason: str = ""
    header_holds: bool = False
    """Only the body fails: b= verifies over the header."""


class Signature(Value):
    """A signature field, read as far as possible."""

    field: Field
    tags: dict[str, str]
    problem: str
    """The reason why it cannot be verified; empty when it can. The rest of this value may then be incomplete."""
    domain: str = ""
    """d= as A-labels (RFC 8616 section 4), empty when it is not a domain name."""
    selector: str = ""
    header_form: str = ""
    body_form: str = ""
    length: int | None = None
    names: tuple[str, ...] = ()
    """h= in order, lower case, without empty entries."""
    octets: bytes = b""
    """b= decoded."""
    body_hash: bytes = b""
    expires: int | None = None

    @property
    def question(self) -> Question:
        """The question for the key (RFC 6376 section 3.6.2.1)."""
        return Question(f"{self.selector}._domainkey.{self.domain}", "TXT")


def choose_signatures(header: Sequence[Field]) -> tuple[list[Field], list[Field]]:
    """The DKIM-Signature fields that are judged, and those beyond the limit, each top to bottom.

    The author's organization comes first, as far as the names show: DMARC needs its signatures, and a forwarder adds
    his above them.
    """
    found = [field for field in header if field.lower == "dkim-signature"]
    if len(found) <= MAX_SIGNATURES:
        return found, []
    authors = [domain.split(".") for domain in find_author(tuple(header)).domains]
    near = sorted(found, key=lambda field: -_nearness(read_domain(field).split("."), authors))[:MAX_SIGNATURES]
    starts = {field.start for field in near}
    return [one for one in found if one.start in starts], [one for one in found if one.start not in starts]


def _nearness(signer: Sequence[str], authors: Sequence[Sequence[str]]) -> int:
    """Number of labels that the names share from the right; an author's domain itself is nearest."""
    most = 0
    for author in authors:
        pairs = zip(reversed(signer), reversed(author), strict=False)
        common = next((n for n, (one, other) in enumerate(pairs) if one != other), min(len(signer), len(author)))
        most = max(most, 2 * common + (signer == author))
    return most


def read_domain(field: Field) -> str:
    """d= of a signature field of any length, as A-labels; empty when it is not a domain name."""
    found = _D_TAG.search(field.value)
    return (a_label(found[1].decode("utf-8", "surrogateescape")) or "") if found else ""


def read_signature(field: Field, more: str, forms: str) -> Signature:
    """Read a field that must have a=, b=, d=, s= and the tags of `more` (separated by blanks); `forms` is c= if
    absent."""
    tags = _read_tags(field.value) if len(field.value) <= MAX_FIELD else None
    if tags is None:
        return Signature(field, {}, "signature syntax error")
    header_form, body_form = read_forms(tags.get("c", forms)) or ("", "")
    return Signature(
        field,
        tags,
        _find_problem(tags, ["a", "b", "d", "s", *more.split()]),
        a_label(tags.get("d", "")) or "",
        a_label(tags.get("s", "")) or "",
        header_form,
        body_form,
        _read_length(tags),
        tuple(name for item in tags.get("h", "").split(":") if (name := item.strip().lower())),
        decode_base64(tags.get("b", "")),
        decode_base64(tags.get("bh", "")),
        _time(tags["x"]) if "x" in tags else None,
    )


def read_body_terms(field: Field, forms: str) -> tuple[str, int | None]:
    """A signature's requirements for the body: its canonicalisation, empty when it cannot be read, and its l=."""
    tags = _read_tags(field.value) if len(field.value) <= MAX_FIELD else None
    pair = read_forms(tags.get("c", forms)) if tags else None
    return (pair[1], _read_length(tags or {})) if pair else ("", None)


@lru_cache(maxsize=32)
def _read_tags(value: bytes) -> dict[str, str] | None:
    """Cached, because a field is read before its body arrives, and again when it is verified."""
    return parse_tags(unfold(value))


def _read_length(tags: dict[str, str]) -> int | None:
    if not _DIGITS.fullmatch(tags.get("l", "")):
        return None
    return min(int(tags["l"].lstrip("0")[:19] or "0"), _MAX_LENGTH)


def _find_problem(tags: dict[str, str], required: list[str]) -> str:
    """The first rule of RFC 6376 section 3.5 that the tags break."""
    for name in required:
        if name not in tags:
            return f"signature has no {name}= tag"
    if tags["a"] == "rsa-sha1":
        return "rsa-sha1 is not accepted (RFC 8301)"
    if tags["a"] not in _KEY_TYPES:
        return "signature algorithm is unknown"
    for name in ("b", "bh"):
        if name in tags and not decode_base64(tags[name]):
            return f"{name}= is not base64"
    if "c" in tags and read_forms(tags["c"]) is None:
        return "canonicalisation is unknown"
    for name in ("t", "x", "l"):
        if name in tags and not _DIGITS.fullmatch(tags[name]):
            return f"{name}= is not a number"
    if "t" in tags and "x" in tags and _time(tags["x"]) <= _time(tags["t"]):
        return "x= is not after t="
    if "q" in tags and "dns/txt" not in [item.strip() for item in tags["q"].split(":")]:
        return "q= has no dns/txt"
    domain, selector = a_label(tags["d"]), a_label(tags["s"])
    if not domain:
        return "d= is not a domain name"
    if not selector:
        return "s= is not a selector"
    return "" if len(f"{selector}._domainkey.{domain}") <= _MAX_NAME else "key's name is too long"


def check_body(signature: Signature, digests: Sequence[BodyDigest]) -> SignatureFinding:
    """Compare bh= with the received body. PASS also when l= leaves octets unsigned: see `leaves_unsigned`."""
    digest = _digest_for(signature, digests)
    if digest is None:
        return SignatureFinding(DkimVerdict.TEMPERROR, "body was not digested for this signature")
    if digest.length is not None and digest.length > digest.octets:
        return SignatureFinding(DkimVerdict.PERMERROR, "l= reaches beyond the body")  # RFC 6376 section 3.5
    if digest.digest != signature.body_hash:
        return SignatureFinding(DkimVerdict.FAIL, "body hash did not verify")
    return SignatureFinding(DkimVerdict.PASS)


def leaves_unsigned(signature: Signature, digests: Sequence[BodyDigest]) -> int:
    """Number of octets at the end of the body that l= leaves unsigned (RFC 6376 section 8.2)."""
    digest = _digest_for(signature, digests)
    return digest.octets - digest.length if digest and digest.length is not None else 0


def check_key(signature: Signature, answer: Answer, digest: bytes, identity: str) -> SignatureFinding:
    """Verify b= over the header's `digest` by the keys from DNS; `identity` is i='s domain, for t=s."""
    if answer.failed:
        return SignatureFinding(DkimVerdict.TEMPERROR, "key could not be looked up")
    keys = [read_key(record) for record in answer.records[:_MAX_RECORDS]]
    type = _KEY_TYPES[signature.tags["a"]]
    usable = [key for key in keys if key.type == type and not key.problem]
    if not usable:
        return _explain(keys, type)
    # RFC 6376 section 6.1.2: if the selector has several records, each may be tried.
    for key in usable[:_MAX_KEYS]:
        if key.verifies(signature.octets, digest):
            if key.strict and identity != signature.domain:
                return SignatureFinding(DkimVerdict.PERMERROR, "key is for d= itself, i= is below it")
            return SignatureFinding(DkimVerdict.PASS)
    return SignatureFinding(DkimVerdict.FAIL, "signature did not verify")


def _explain(keys: list[Key], type: str) -> SignatureFinding:
    """The reason why no key is usable, preferably of a key of the right type."""
    ordered = sorted(keys, key=lambda key: key.type != type)
    if not ordered:
        return SignatureFinding(DkimVerdict.PERMERROR, NO_KEY)
    first = ordered[0]
    verdict = DkimVerdict.POLICY if first.weak else DkimVerdict.PERMERROR
    return SignatureFinding(verdict, first.problem or "key is of another type than a=")


def clean(text: str, limit: int = 64) -> str:
    """Text from outside, fit for a result: printable ASCII, at most `limit` characters."""
    return _UNPRINTABLE.sub("?", text[:limit])


def _digest_for(signature: Signature, digests: Sequence[BodyDigest]) -> BodyDigest | None:
    wanted = (signature.body_form, signature.length)
    return next((digest for digest in digests if (digest.canonicalisation, digest.length) == wanted), None)


def _time(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 12 else _MAX_TIME
