"""Where a recipient's mail goes."""

from __future__ import annotations

from enum import Enum

from gateway.model.address import Mailbox
from gateway.model.envelope import Recipient
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
