"""Durable state: the writes of its owner, and the reader for everybody else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from typing import Protocol

from gateway.model.delivery import (
    Act,
    Backlog,
    Claim,
    Failure,
    HeldEntry,
    Intake,
    QueueEntry,
    Settlement,
    Story,
    Trace,
    Transfer,
)
from gateway.model.history import Acquaintance, History, Sender
from gateway.model.message import Content
from gateway.model.value import Value


class ContentAltered(Exception):
    """The octets about to be sent do not have the hash of the received ones (promise P2). Nothing was sent."""


class SpoolFull(Exception):
    """The spool could not put the write on stable storage; nothing of it was kept."""


class SpoolDoubtful(SpoolFull):
    """Like SpoolFull, but the disk has not yet reported its state: after a crash the write may be there."""


class HoldFull(Exception):
    """The quota of held mail is full, for the Author Domain or in all; nothing was written."""


class StoryUnreadable(Exception):
    """The stored data of a message cannot be read; the text names the part."""


class Damage(Value):
    """A transfer that cannot be read, and is held for that reason."""

    message_id: str
    transfer_id: str
    why: str


class Storage(Value):
    """The room on the spool's disk."""

    free: int
    """Octets free on its file system."""
    inside: int
    """Octets of its own files that are free for new writes; determined only when little is free outside."""
    reserve: int
    """Octets that receptions leave free."""
    takes: bool
    """A message would be stored."""


class ContentWriter(Protocol):
    """Takes content too large for memory, while it arrives."""

    def write(self, chunk: bytes) -> None:
        """Take the next octets. Does not wait for the disk and never raises: `finish` reports errors."""

    async def drain(self) -> None:
        """Wait while the disk is far behind. Called between writes, it keeps memory bounded and the loop free."""

    async def finish(self) -> str:
        """Make file and directory entry durable; returns the path for `Content.path`. Raises SpoolFull."""

    def discard(self) -> None:
        """Remove the octets. Does nothing once a commit has been asked to store them."""


class IntakeReader(Protocol):
    """The memory of a sender or a message that reception reads."""

    async def recall(self, domain: str, source: str, names: Sequence[str] = ()) -> History:
        """The memory of an Author Domain, of a client's network, and of the domains that sign for the client."""

    async def acquaintance(self, key: str) -> Acquaintance | None:
        """The greylist's entry of a sender; it may have expired."""

    async def is_unanswered(self, marks: tuple[bytes, bytes]) -> bool:
        """A message with one of these fingerprints is stored, and it is not yet known whether its client got the
        reply."""


class SpoolReader(IntakeReader, Protocol):
    """All reads of a spool that need no ownership: each call sees one consistent state of each shard."""

    async def story(self, id: str) -> Story | None:
        """Everything stored about one message; None when there is nothing. Raises StoryUnreadable."""

    async def content(self, id: str) -> AsyncIterator[bytes] | None:
        """The stored octets of a message, in chunks; None when there are none."""

    async def count_traces(self, since: float) -> int:
        """Number of messages received since then."""

    def traces(self, since: float) -> AsyncIterator[Sequence[Trace]]:
        """The traces of messages received since then, in that order within a shard, some at a time. Unreadable ones are
        left out."""

    async def failed(self, limit: int) -> Sequence[Failure]:
        """Failed recipients of up to `limit` attempts, the latest first."""

    async def held(self, limit: int) -> Sequence[HeldEntry]:
        """Up to `limit` held messages, the oldest first."""

    async def given_up(self, since: float, limit: int) -> Sequence[HeldEntry]:
        """Up to `limit` messages whose time to be held has ended since then, at `expires`."""

    async def overdue(self, now: float, limit: int) -> Sequence[str]:
        """Ids of up to `limit` messages whose time to be held is over. The reader of a worker's spool reads the shards
        that this worker owns."""

    async def senders(self, domains: Collection[str], limit: int) -> Sequence[Sender]:
        """Sources of mail of these domains and of those below them, the last seen first."""

    async def queue(self, limit: int) -> Sequence[QueueEntry]:
        """Up to `limit` transfers without a final outcome, earliest due first; held ones too."""

    async def counts(self) -> dict[str, int]:
        """Number of transfers that wait or are under way, by backend; held ones are not counted."""

    async def backlogs(self) -> Sequence[Backlog]:
        """The waiting and the held transfers of each backend that has any."""

    async def next_due(self, skip: Collection[str] = ()) -> float | None:
        """The time at which the earliest transfer to a backend not in `skip` is due, or its lease ends; None when none
        waits. The reader of a worker's spool reads the shards that this worker owns."""

    async def close(self) -> None: ...


class IntakeStore(Protocol):
    """The requirements of reception for a spool."""

    @property
    def reader(self) -> IntakeReader: ...

    async def commit(self, intake: Intake) -> None:
        """Store a reception, on stable storage when this returns; one that is not `durable` is written soon, or lost
        with the process. Raises SpoolFull, and HoldFull for one with `hold`; the content then still belongs to the
        caller."""

    def note_answer(self, id: str, heard: bool) -> None:
        """Note whether the client of a stored message got the reply; written soon."""

    async def find_unheard(self, marks: tuple[bytes, bytes], now: float, sure: bool = False) -> str | None:
        """The id of a stored message with one of these fingerprints whose client did not get the reply, as far as is
        known. Facts from the last second may be missed, unless the answer has to be `sure`. The spool offers this
        itself, not its reader, because waiting answers are written first."""

    def open_content(self) -> ContentWriter:
        """A place for content above the in-memory limit."""


class Spool(IntakeStore, Protocol):
    """Durable state, written by its owner. Every method that writes is one transaction, on stable storage when it
    returns; the writes of `claim` and `release` need only outlive the process. Any of them may raise SpoolFull."""

    @property
    def reader(self) -> SpoolReader:
        """The reader of all shards. The spool closes it."""

    async def let_go(self, id: str, transfers: Sequence[Transfer], act: Act) -> bool:
        """Send a held message: by its own transfers, and by these. False, and nothing is written, when it is not held,
        or is held for another reason than a Hold."""

    async def discard(self, id: str, act: Act) -> bool:
        """End a held message: its content and transfers are deleted, and the act is recorded. False when it is not
        held, or is held for another reason than a Hold, or is being sent now."""

    def read_content(self, content: Content) -> AsyncIterator[bytes]:
        """The octets in chunks of at most 1 MB. Raises ContentAltered when they are gone."""

    async def claim(self, skip: Collection[str], limit: int, now: float, lease: float) -> Sequence[Claim]:
        """Take up to `limit` due transfers whose backend is not in `skip`, for `lease` seconds: the oldest of each
        backend, then the second of each, and so on, so that a backend with many does not delay another's mail."""

    async def release(self, claim: Claim, due: float) -> None:
        """Return a claim unused. A stale one is ignored."""

    async def settle(self, settlement: Settlement) -> bool:
        """Write an attempt's outcome. False when the claim was lost (stale epoch); nothing was then written. After
        SpoolFull the same settlement can be tried again; after HoldFull, which one with `hold` may raise, another."""

    async def hold(self, claim: Claim, reason: str) -> None:
        """Hold the transfer's message until an admin decides (altered content)."""

    def take_damage(self) -> Sequence[Damage]:
        """The unreadable transfers found since the last call."""

    async def storage(self) -> Storage:
        """The room for new mail. Tries a write if the last one failed."""

    async def move_times(self, seconds: float) -> None:
        """Move all stored times by the jump of the wall clock, in seconds."""

    async def purge(self, now: float) -> int:
        """Remove rows beyond their retention, a bounded number at a time; returns their number."""

    async def close(self) -> None: ...
