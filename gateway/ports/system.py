"""Time, random numbers, counts, keys and the log: the resources of the machine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Iterable
from typing import Protocol

from gateway.model.delivery import Claim, Outcome
from gateway.model.dnsdata import Answer, Question
from gateway.model.envelope import Mailbox
from gateway.model.event import Event
from gateway.model.message import Capabilities, Unanswered
from gateway.model.reply import Reply


class Backend(Protocol):
    """One backend: a configured next hop with its connections."""

    @property
    def name(self) -> str: ...

    def room(self) -> int:
        """Number of free window slots: so many deliveries started now need not wait."""

    async def deliver(self, claim: Claim, content: Callable[[], AsyncIterator[bytes]]) -> tuple[Outcome, ...]:
        """Send prefix and content in one mail transaction, byte-exact. `content` opens the octets anew for each host
        that is tried. One Outcome for each recipient of the transfer, in order. Raises only `ContentAltered`;
        everything else is an Outcome."""

    def capabilities(self) -> Capabilities | None:
        """The announced capabilities of its hosts: the most that any of them takes, but CHUNKING only when all offer
        it. None when no host announced any lately, or when it depends on the recipient."""

    async def verify(self, mailbox: Mailbox) -> Reply | Unanswered:
        """The reply to RCPT for this mailbox from the null sender; no message is sent. Questions use at most half of
        the window, and no slot that mail is using, so they never delay mail. Does not raise."""

    async def close(self) -> None: ...


class Resolver(Protocol):
    """DNS: a live view of known answers, and a way to fetch more."""

    def known(self, question: Question) -> Answer | None:
        """The answer if it is in the cache and still fresh; never does IO."""

    async def fetch(self, questions: Collection[Question], asker: str = "") -> dict[Question, Answer]:
        """Ask for all of them at once (single flight). A failed lookup is an Answer too; never raises. `asker`
        identifies the party with a fair share of the lookups under way; empty for the gateway's own. May be cancelled
        by its caller: a lookup without a waiting caller ends."""


class Clock(Protocol):
    """Time and random numbers."""

    def now(self) -> float:
        """Wall clock, epoch seconds."""

    def monotonic(self) -> float:
        """Seconds that never go back."""

    def jitter(self) -> float:
        """A number in [0, 1)."""

    def new_id(self) -> str:
        """A fresh id for a message, transfer or session: sorts by time, names its shard, safe in a reply."""


class Tally(Protocol):
    """Counts by key over all `workers` of the gateway; a worker's counts end with it."""

    workers: int

    def add(self, key: str, number: int = 1) -> int:
        """Count so many more; returns the number so far. A negative number takes back, and returns 0."""

    def total(self, key: str) -> int:
        """The number so far."""


class Signer(Protocol):
    """A private key that signs."""

    def sign(self, digest: bytes) -> bytes:
        """The signature of a SHA-256 digest. Does no IO, and the same digest always gives the same signature."""


class EventSink(Protocol):
    """Takes events; must not block and must not raise."""

    def __call__(self, event: Event) -> None: ...


def emit_all(sink: EventSink, events: Iterable[Event]) -> None:
    """Pass each event to the sink."""
    for event in events:
        sink(event)
