"""DKIM signatures of our own (RFC 6376), by every key of a domain: RSA and Ed25519 together (RFC 8463)."""

from __future__ import annotations

import base64
from collections.abc import Callable, Collection, Iterable, Sequence

from gateway.authentication.arc import chain_fields
from gateway.authentication.dkimpy import SignedHeader
from gateway.mail.domain import is_subdomain
from gateway.mail.header import Field, parse_header
from gateway.mail.tokens import fold
from gateway.model.message import Evidence, Span
from gateway.model.result import ArcVerdict
from gateway.model.value import Value

DIGEST: tuple[str, int | None] = ("relaxed", None)
"""The body digest that our signatures need in the evidence, as a request to `body.BodyHasher`."""
_LONGEST_WORD = 64


class CannotSign(ValueError):
    """The evidence lacks the body digest that a signature needs."""


def body_hash(evidence: Evidence) -> str:
    """bh=. Raises CannotSign."""
    for digest in evidence.digests:
        if (digest.canonicalisation, digest.length) == DIGEST:
            return base64.b64encode(digest.digest).decode()
    raise CannotSign("the body was not digested for a signature")


def compose_signature(
    name: str,
    tags: dict[str, str],
    block: bytes,
    cover: Callable[[SignedHeader, Field], Sequence[Field]],
    header: Sequence[Field],
    sign: Callable[[bytes], bytes],
) -> bytes:
    """The field with its b=; `cover` names the fields that it signs before itself, at their places in `block`. `sign`
    makes a signature of a SHA-256 digest.

    All signed fields must be in one block, so our own fields are put below the received ones: only their octets count.
    Relaxed form ignores line breaks, so the field is folded once, when it is complete.
    """
    bare = f"{name}: {' '.join(_words({**tags, 'b': ''}))}\r\n".encode("ascii", "replace")
    own = stand_in(block, bare)
    signed = SignedHeader(block + bare, header)
    digest = signed.digest(cover(signed, own), own, "relaxed")
    return fold(name, [_words({**tags, "b": base64.b64encode(sign(digest)).decode()})])


def stand_in(block: bytes, field: bytes) -> Field:
    """A field of ours as if it stood below `block`."""
    return Field("", "", b"", len(block), len(block) + len(field))


def _words(tags: dict[str, str]) -> list[str]:
    """Tags in alphabetical order. b= stays in one piece: the next seal signs it as it stands, and a mail system that
    folds it differently would break that seal. A long h= is in pieces that end in a colon, a place where white space is
    allowed (RFC 6376 section 3.5)."""
    words: list[str] = []
    for tag in sorted(tags):
        pieces = tags[tag].split(":") if tag == "h" else [tags[tag]]
        piece = f"{tag}={pieces[0]}"
        for name in pieces[1:]:
            piece += ":"
            if len(piece) + len(name) > _LONGEST_WORD:
                words.append(piece)
                piece = ""
            piece += name
        words.append(f"{piece};")
    words[-1] = words[-1].removesuffix(";")
    return words


LIFETIME = 14 * 86_400
"""Seconds until a signature expires: far longer than any queue keeps mail, so that a collected copy cannot be sent
again for ever."""
_OVERSIGNED = (
    # One mention more than the message has: nobody can add a second field that a mail program would show (RFC 6376
    # section 8.15).
    *("from", "to", "cc", "subject", "date", "message-id", "reply-to", "in-reply-to", "references"),
    *("mime-version", "content-type", "content-transfer-encoding"),
)
_SIGNED = (
    # As many mentions as the message has: a mailing list may add its own.
    *("sender", "list-id", "list-help", "list-unsubscribe", "list-unsubscribe-post", "list-subscribe", "list-post"),
    *("list-owner", "list-archive", "autocrypt"),
)
_MOST_OF_A_NAME = 16
"""Fields of one name that are signed, so that no message makes h= longer than verifiers read."""


class SigningKey(Value):
    """One selector of a domain, and the operation with its private key."""

    domain: str
    selector: str
    algorithm: str
    """`rsa-sha256` or `ed25519-sha256`."""
    sign: Callable[[bytes], bytes]
    """From a SHA-256 digest to its signature."""


def find_keys(keys: Collection[SigningKey], author: str) -> tuple[SigningKey, ...]:
    """The keys that sign for this Author Domain: its own, else those of the nearest domain above it. RSA comes first,
    because verifiers that know only one algorithm use the first signature that they can read."""
    domains = {key.domain for key in keys if author == key.domain or is_subdomain(author, key.domain)}
    nearest = max(domains, key=len, default="")
    found = [key for key in keys if key.domain == nearest]
    return tuple(sorted(found, key=lambda key: key.algorithm, reverse=True))


def sign(
    evidence: Evidence, dropped: Sequence[Span], added: bytes, keys: Sequence[SigningKey], now: float
) -> tuple[bytes, ...]:
    """One DKIM-Signature field for each key, CRLF included, in order.

    `added` are the fields that will stand above the message and are part of its author's words (a Date, say); `dropped`
    are the spans of the content that will not be sent. `now` is in epoch seconds. Raises CannotSign.
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
    """h=: the names that are signed, each as often as a verifier should look for it (RFC 6376 section 5.4.2)."""
    counts = dict.fromkeys((*_OVERSIGNED, *_SIGNED), 0)
    for field in header:
        if field.lower in counts:
            counts[field.lower] += 1
    limited = {name: min(count, _MOST_OF_A_NAME) for name, count in counts.items()}
    return tuple(name for name, count in limited.items() for _ in range(count + (name in _OVERSIGNED)))


_SEALED_FIELDS = (
    # RFC 6376 section 5.4.1, and existing signatures (RFC 8617 section 4.1.2). Authentication-Results and ARC fields
    # must not be signed, and fields of hops (Received, Return-Path) should not.
    *("from", "sender", "reply-to", "to", "cc", "subject", "date", "message-id", "in-reply-to", "references"),
    *("mime-version", "content-type", "content-transfer-encoding", "list-id", "list-unsubscribe"),
    *("list-unsubscribe-post", "dkim-signature"),
)
_MOST_SEALED_OF_A_NAME = 16
"""Fields of one name that are signed, so that no message makes h= longer than verifiers read."""


class Sealer(Value):
    """The domain and selector of our seals, and the operation with the private key."""

    domain: str
    selector: str
    sign: Callable[[bytes], bytes]
    """From a SHA-256 digest to its RSA signature (PKCS #1 v1.5), which is the same each time."""


def seal(
    evidence: Evidence,
    header: Sequence[Field],
    results: bytes,
    instance: int,
    chain: ArcVerdict,
    sealer: Sealer,
    now: float,
    names: Sequence[str] | None = None,
) -> tuple[bytes, bytes, bytes]:
    """ARC-Seal, ARC-Message-Signature and ARC-Authentication-Results, CRLF included, topmost first.

    `header` are the fields of `evidence.header` that the next hop will see, at their places; `results` is the whole
    ARC-Authentication-Results field, which contains `instance`; `chain` is the result of validation and becomes cv=;
    `now` is in epoch seconds. `names` is h= in lower case; None selects the fields worth signing. A chain that failed
    is not covered (RFC 8617 section 5.1.2). Raises CannotSign.
    """
    block = evidence.header if evidence.header.endswith(b"\r\n") or not evidence.header else evidence.header + b"\r\n"
    common = {"a": "rsa-sha256", "d": sealer.domain, "i": str(instance), "s": sealer.selector, "t": str(int(now))}
    signed_names = _choose_names(header) if names is None else names
    tags = {**common, "bh": body_hash(evidence), "c": "relaxed/relaxed", "h": ":".join(signed_names)}
    own = block + results
    message = compose_signature(
        "ARC-Message-Signature", tags, own, lambda signed, at: signed.select(signed_names, at), header, sealer.sign
    )
    covered = [] if chain is ArcVerdict.FAIL else [*chain_fields(header)]
    covered += [stand_in(block, results), stand_in(own, message)]
    top = compose_signature(
        "ARC-Seal", {**common, "cv": str(chain)}, own + message, lambda signed, at: covered, (), sealer.sign
    )
    return top, message, results


def _choose_names(header: Iterable[Field]) -> tuple[str, ...]:
    """Each name as often as the message has it; From once more, so that no further one can be added above."""
    counts = dict.fromkeys(_SEALED_FIELDS, 0)
    for field in header:
        if field.lower in counts:
            counts[field.lower] += 1
    counts["from"] += 1
    return tuple(name for name, count in counts.items() for _ in range(min(count, _MOST_SEALED_OF_A_NAME)))
