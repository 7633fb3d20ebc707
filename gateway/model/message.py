"""A message: its octets as received, never rewritten, and the evidence that verdicts are made from."""

from __future__ import annotations

from enum import Enum

from gateway.model.envelope import Mailbox, Recipient
from gateway.model.value import Value


class Capabilities(Value):
    """What a backend said in EHLO that it takes."""

    size: int
    """Octets of the largest message (RFC 1870); 0: no limit is known."""
    smtputf8: bool
    """RFC 6531."""
    chunking: bool = False
    """RFC 3030: BDAT."""


class Unanswered(Enum):
    """Why a question about a mailbox has no reply."""

    ADDRESS = "address"
    """About the mailbox: no host takes such an address, so that none was asked."""
    NO_ROOM = "no room"
    """About us: nothing was asked."""
    SILENT = "silent"
    """About the backend: no host replied, or none let us ask."""


class Target(Value):
    """Where a recipient's mail goes: a backend's name, and the mailbox there, which an alias may name."""

    backend: str
    mailbox: Mailbox
    third_party: bool = False
    """Not ours, and reached through an alias of ours: it would judge SPF at our address."""


class Route(Value):
    """A backend's name, never a host, and the recipients that share one mail transaction to it."""

    backend: str
    rcpts: tuple[Recipient, ...]
    third_party: bool = False
    """They are not ours, and reached through an alias of ours."""

    @property
    def key(self) -> str:
        """Tells the routes of one message apart."""
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


class Departure(Value):
    """A message that may leave, as it leaves."""

    sender: str
    """Who sends it: the name of a [[sender]] or [[tenant]]. Limits count by it."""
    by: str
    """What proves the sender: a setting, and for a tenant its proof."""
    mail_from: Mailbox | None
    above: tuple[bytes, ...]
    """The fields that belong to the message itself, with our signatures on top; they stand below our Received."""
    dropped: tuple[Span, ...]
    """What of the content does not leave: a secret, or a From, Sender or Resent-From that was not the sender's."""
