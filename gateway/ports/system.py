"""Time, chance, counts, keys and the log: what the machine gives."""

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


class Resolver(Protocol):
    """DNS: a live view of what is known, and a way to learn more."""

    def known(self, question: Question) -> Answer | None:
        """The answer if it is in the cache and still fresh; never does IO."""

    async def fetch(self, questions: Collection[Question], asker: str = "") -> dict[Question, Answer]:
        """Ask for all of them at once (single flight). A lookup that fails is an Answer too; never raises. `asker` is
        on whose behalf: each has a fair share of the lookups under way; empty for the gateway's own.
        May be cancelled by its caller: a lookup that nobody waits for any more ends."""


class Clock(Protocol):
    """Time and chance."""

    def now(self) -> float:
        """Wall clock, epoch seconds."""

    def monotonic(self) -> float:
        """Seconds that never go back."""

    def jitter(self) -> float:
        """A number in [0, 1)."""

    def new_id(self) -> str:
        """A fresh id for a message, transfer or session: sorts by time, names its shard, safe in a reply."""


class Tally(Protocol):
    """Counts by key over all `workers` of the gateway; what a worker has counted goes with it."""

    workers: int

    def add(self, key: str, number: int = 1) -> int:
        """Count so many more; returns how many there are now. A negative number takes back, and returns 0."""

    def total(self, key: str) -> int:
        """How many there are."""


class Signer(Protocol):
    """A private key that seals."""

    def sign(self, digest: bytes) -> bytes:
        """The signature of a SHA-256 digest. Does no IO, and the same digest gives the same one."""


class EventSink(Protocol):
    """Takes events; must not block and must not raise."""

    def __call__(self, event: Event) -> None: ...


def emit_all(sink: EventSink, events: Iterable[Event]) -> None:
    """Hand each event to the sink."""
    for event in events:
        sink(event)
