"""A message: its octets as received, never rewritten, and the evidence that verdicts are made from."""

from __future__ import annotations

from gateway.model.value import Value


class Content(Value):
    """The octets received, after dot-unstuffing, as a handle: up to 1 MB in memory, larger in a spool file."""

    size: int
    sha256: bytes
    leading_dot: bool
    """Some line starts with a dot. When False the content is its own wire form."""
    eight_bit: bool
    """Some octet is above 127: a next hop without 8BITMIME cannot take it unaltered."""
    data: bytes | None = None
    path: str = ""
    """The file that holds the octets when `data` is None."""
    chunks_only: bool = False
    """It has a bare CR, a bare LF or a NUL, or does not end in CRLF: only BDAT carries it unaltered (RFC 3030)."""


class Span(Value):
    """Octets [start, end) of the content that are left out when it is sent (a forged own Authentication-Results)."""

    start: int
    end: int


class BodyDigest(Value):
    """SHA-256 of a canonicalised body, or of its first `length` octets (RFC 6376 section 3.7)."""

    canonicalisation: str
    """`simple` or `relaxed`."""
    length: int | None
    digest: bytes
    octets: int
    """How many canonicalised octets there were to digest; less than `length` means l= reaches beyond the body."""


class Evidence(Value):
    """All that verdicts see of a message: no verdict reads the body, so they can be repeated after a purge."""

    header: bytes
    """The header block with its final CRLF, without the blank line."""
    digests: tuple[BodyDigest, ...]
    size: int


class Message(Value):
    """A received message."""

    content: Content
    evidence: Evidence
    dropped: tuple[Span, ...] = ()
