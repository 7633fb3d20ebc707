"""The next hop: where mail is sent, and who is asked about a mailbox."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Protocol

from gateway.model.address import Mailbox
from gateway.model.delivery import Claim, Outcome
from gateway.model.reply import Reply
from gateway.model.route import Capabilities, Unanswered


class Backend(Protocol):
    """One backend: a configured next hop with its connections."""

    @property
    def name(self) -> str: ...

    def room(self) -> int:
        """How many window slots are free: so many deliveries started now need not wait."""

    async def deliver(self, claim: Claim, content: Callable[[], AsyncIterator[bytes]]) -> tuple[Outcome, ...]:
        """Send prefix and content in one mail transaction, byte-exact. `content` opens the octets anew for each host
        that is tried. One Outcome for each recipient of the transfer, in order. Raises only `ContentAltered`;
        everything else is an Outcome."""

    def capabilities(self) -> Capabilities | None:
        """What its hosts said they take: the most that any of them takes, but CHUNKING only when all do. None when
        none said it lately, or when it depends on the recipient."""

    async def verify(self, mailbox: Mailbox) -> Reply | Unanswered:
        """The reply to RCPT for this mailbox from the null sender; no message is sent. Questions take at most half of
        the window, and none that mail is using: they never stand in the way of mail. Does not raise."""

    async def close(self) -> None: ...
