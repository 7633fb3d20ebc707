"""A message: its octets as received, never rewritten, and the evidence for its verdicts."""

from __future__ import annotations

from enum import Enum

from gateway.model.envelope import Mailbox, Recipient
from gateway.model.value import Value


class Capabilities(Value):
    """The capabilities that a backend offers in its EHLO reply."""

    size: int
    """Octets of the largest message (RFC 1870); 0 when no limit is known."""
    smtputf8: bool
    """RFC 6531."""
    chunking: bool = False
    """RFC 3030: BDAT."""


class Unanswered(Enum):
    """The reason why a question about a mailbox has no reply."""

    ADDRESS = "address"
    """About the mailbox: no host takes such an address, so no host was asked."""
    NO_ROOM = "no room"
    """About us: nothing was asked."""
    SILENT = "silent"
    """About the backend: no host replied, or no host accepted the question."""


class Target(Value):
    """The destination of a recipient's mail: a backend's name, and the mailbox there, which an alias may name."""

    backend: str
    mailbox: Mailbox
    third_party: bool = False
    """The mailbox is not ours and is reached through an alias of ours: its server would judge SPF at our address."""


class Route(Value):
    """A backend's name, never a host name, and the recipients that share one mail transaction to it."""

    backend: str
    rcpts: tuple[Recipient, ...]
    third_party: bool = False
    """The recipients are not ours, and are reached through an alias of ours."""

    @property
    def key(self) -> str:
        """Distinguishes the routes of one message."""
        domains = {rcpt.mailbox.ascii_domain for rcpt in self.rcpts}
        key = f"{self.backend}/{domains.pop()}" if len(domains) == 1 else self.backend
        return f"{key}/outside" if self.third_party else key


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
    """The content has a bare CR, a bare LF or a NUL, or does not end in CRLF: only BDAT carries it unaltered (RFC
    3030)."""


class Span(Value):
    """Octets [start, end) of the content that are not sent (a forged Authentication-Results field in our name)."""

    start: int
    end: int


class BodyDigest(Value):
    """SHA-256 of a canonicalised body, or of its first `length` octets (RFC 6376 section 3.7)."""

    canonicalisation: str
    """`simple` or `relaxed`."""
    length: int | None
    digest: bytes
    octets: int
    """Number of canonicalised octets that there were to digest. If it is less than `length`, l= reaches beyond the
    body."""


class Evidence(Value):
    """The part of a message that verdicts see. No verdict reads the body, so verdicts can be repeated after the content
    is deleted."""

    header: bytes
    """The header block with its final CRLF, without the blank line."""
    digests: tuple[BodyDigest, ...]
    size: int


class Message(Value):
    """A received message."""

    content: Content
    evidence: Evidence
    dropped: tuple[Span, ...] = ()


class Departure(Value):
    """A message that may leave, in the form in which it leaves."""

    sender: str
    """The name of the [[sender]] or [[tenant]] that sends it. Limits count by it."""
    by: str
    """The proof of the sender: a setting, and for a tenant its proof."""
    mail_from: Mailbox | None
    above: tuple[bytes, ...]
    """The fields that belong to the message itself, with our signatures on top. They stand below our Received."""
    dropped: tuple[Span, ...]
    """The octets of the content that do not leave: a secret, or a From, Sender or Resent-From that was not the
    sender's."""
