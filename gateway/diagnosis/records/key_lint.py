"""A DKIM key record, tag by tag, and its faults (RFC 6376 section 3.6.1, RFC 8301, RFC 8463)."""

from __future__ import annotations

from collections.abc import Iterator

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from gateway.authentication.dkimpy import Key, read_key
from gateway.diagnosis.records import texts
from gateway.diagnosis.records.typography import find_tag_slips, read_text, repair_tags
from gateway.mail.tokens import parse_tags
from gateway.model.value import Value

_WELL = 2048


class KeyReport(Value):
    """One key record."""

    record: str
    type: str
    """`rsa`, `ed25519`, or the record's own word."""
    bits: int | None
    usable: bool
    testing: bool
    """t=y: receivers treat failures as if the message was not signed."""
    strict: bool
    """t=s: no subdomain may sign with it."""
    problems: tuple[str, ...]
    """Each makes it unusable."""
    notes: tuple[str, ...]


def report_key(record: str) -> KeyReport:
    """Read a TXT record. Never raises."""
    text = read_text(record)
    key = read_key(record)
    bits = key.public.key_size if isinstance(key.public, RSAPublicKey) else None
    tags = parse_tags(record) or {}
    flags = [flag.strip() for flag in tags.get("t", "").split(":")]
    return KeyReport(
        record=text,
        type=key.type,
        bits=bits,
        usable=not key.problem,
        testing="y" in flags,
        strict="s" in flags,
        problems=tuple(_find_problems(text, key)),
        notes=tuple(_find_notes(tags, bits, flags)),
    )


def _find_problems(text: str, key: Key) -> Iterator[str]:
    slips = list(find_tag_slips(text))
    if slips:
        yield f"the record {'; it '.join(slips)}; {texts.PUBLISH.format(record=repair_tags(text))}"
    if key.problem:
        yield key.problem


def _find_notes(tags: dict[str, str], bits: int | None, flags: list[str]) -> Iterator[str]:
    if bits is not None and bits < _WELL:
        yield texts.KEY_SHORT.format(bits=bits, least=_WELL)
    if tags and "v" not in tags:
        yield texts.KEY_NO_VERSION
    if "y" in flags:
        yield texts.KEY_TESTING
    if "g" in tags:
        yield texts.KEY_GRANULARITY
    if "sha1" in tags.get("h", ""):
        yield texts.KEY_SHA1
