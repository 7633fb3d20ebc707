"""DKIM signatures of our own (RFC 6376), by every key of a domain: RSA and Ed25519 together (RFC 8463)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from gateway.authentication.composition import body_hash, compose_signature
from gateway.mail.domain import is_subdomain
from gateway.mail.header import Field, parse_header
from gateway.model.message import Evidence, Span
from gateway.model.value import Value

LIFETIME = 14 * 86_400
"""Seconds until a signature expires: far beyond the days for which anybody queues mail, so that a copy that was
collected somewhere cannot be sent again for ever."""
_OVERSIGNED = (
    # One more than there are: nobody can add a second one that a mail program would show (RFC 6376 section 8.15).
    *("from", "to", "cc", "subject", "date", "message-id", "reply-to", "in-reply-to", "references"),
    *("mime-version", "content-type", "content-transfer-encoding"),
)
_SIGNED = (
    # As many as there are: a mailing list adds its own, which is its right.
    *("sender", "list-id", "list-help", "list-unsubscribe", "list-unsubscribe-post", "list-subscribe", "list-post"),
    *("list-owner", "list-archive", "autocrypt"),
)
_MOST_OF_A_NAME = 16
"""Fields of one name that are signed, so that no message makes h= longer than verifiers read."""


class SigningKey(Value):
    """One selector of a domain, and the operation that takes its private key."""

    domain: str
    selector: str
    algorithm: str
    """`rsa-sha256` or `ed25519-sha256`."""
    sign: Callable[[bytes], bytes]
    """From a SHA-256 digest to its signature."""


def find_keys(keys: Collection[SigningKey], author: str) -> tuple[SigningKey, ...]:
    """The keys that sign for this Author Domain: its own, else those of the nearest domain above it, RSA first, as
    verifiers that know only one algorithm take the first they can read."""
    domains = {key.domain for key in keys if author == key.domain or is_subdomain(author, key.domain)}
    nearest = max(domains, key=len, default="")
    found = [key for key in keys if key.domain == nearest]
    return tuple(sorted(found, key=lambda key: key.algorithm, reverse=True))


def sign(
    evidence: Evidence, dropped: Sequence[Span], added: bytes, keys: Sequence[SigningKey], now: float
) -> tuple[bytes, ...]:
    """One DKIM-Signature field for each key, CRLF included, in their order.

    `added` are the fields that will stand above the message and are part of what its author says (a Date, say);
    `dropped` are the spans of the content that will not be sent. `now` is in epoch seconds. Raises CannotSign.
    """
    block = evidence.header if evidence.header.endswith(b"\r\n") or not evidence.header else evidence.header + b"\r\n"
    whole = added + block
    gone = {len(added) + span.start for span in dropped}
    header = tuple(field for field in parse_header(whole) if field.start not in gone)
    names = choose_names(header)
    common = {
        "bh": body_hash(evidence),
        "c": "relaxed/relaxed",
        "h": ":".join(names),
        "t": str(int(now)),
        "v": "1",
        "x": str(int(now) + LIFETIME),
    }
    return tuple(
        compose_signature(
            "DKIM-Signature",
            {**common, "a": key.algorithm, "d": key.domain, "s": key.selector},
            whole,
            lambda signed, at: signed.select(names, at),
            header,
            key.sign,
        )
        for key in keys
    )


def choose_names(header: Sequence[Field]) -> tuple[str, ...]:
    """h=: which names are signed, each as often as a verifier is to look for it (RFC 6376 section 5.4.2)."""
    counts = dict.fromkeys((*_OVERSIGNED, *_SIGNED), 0)
    for field in header:
        if field.lower in counts:
            counts[field.lower] += 1
    limited = {name: min(count, _MOST_OF_A_NAME) for name, count in counts.items()}
    return tuple(name for name, count in limited.items() for _ in range(count + (name in _OVERSIGNED)))
