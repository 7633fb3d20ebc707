"""Durable state: what its owner writes, and the reader by which everybody looks at it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from typing import Protocol

from gateway.model.delivery import (
    Act,
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
    """The octets about to be sent do not hash to what was received (promise P2). Nothing was sent."""


class SpoolFull(Exception):
    """The spool could not put the write on stable storage; nothing of it was kept."""


class SpoolDoubtful(SpoolFull):
    """As SpoolFull, but the disk has not told yet what it kept: after a crash the write may be there."""


class HoldFull(Exception):
    """As much is held of the Author Domain, or in all, as may be; nothing was written."""


class StoryUnreadable(Exception):
    """What is stored of a message cannot be read; the text says what of it."""


class Damage(Value):
    """A transfer that cannot be read, and is kept back for that."""

    message_id: str
    transfer_id: str
    why: str


class Storage(Value):
    """How much room the spool has."""

    free: int
    """Octets left on its file system."""
    inside: int
    """Octets of its own files that are free to be written again; asked only when little is left outside."""
    reserve: int
    """Octets that receptions leave free."""
    takes: bool
    """A message would be stored."""


class ContentWriter(Protocol):
    """Takes content too large for memory, while it arrives."""

    def write(self, chunk: bytes) -> None:
        """The next octets. Does not wait for the disk and never raises: `finish` tells what went wrong."""

    async def drain(self) -> None:
        """Wait while the disk is far behind. Called between writes, it keeps memory bounded and the loop free."""

    async def finish(self) -> str:
        """Make file and directory entry durable; returns the path for `Content.path`. Raises SpoolFull."""

    def discard(self) -> None:
        """Remove what was written. Does nothing once a commit has been asked to store it."""


class IntakeReader(Protocol):
    """What is remembered of a sender or a message while one is received."""

    async def recall(self, domain: str, source: str, names: Sequence[str] = ()) -> History:
        """What receptions have taught of an Author Domain, of a client's network, and of the domains that sign for the
        client."""

    async def acquaintance(self, key: str) -> Acquaintance | None:
        """What receptions have taught the greylist of somebody; it may have expired."""

    async def is_unanswered(self, marks: tuple[bytes, bytes]) -> bool:
        """A message with one of these fingerprints is stored of which nothing says yet whether its client was told."""


class SpoolReader(IntakeReader, Protocol):
    """All that can be read of a spool without owning it: each call sees one consistent state of each shard."""

    async def story(self, id: str) -> Story | None:
        """All that is stored of one message; None when nothing is. Raises StoryUnreadable."""

    async def content(self, id: str) -> AsyncIterator[bytes] | None:
        """The octets kept of a message, in chunks; None when none are."""

    async def count_traces(self, since: float) -> int:
        """How many messages were received since then."""

    def traces(self, since: float) -> AsyncIterator[Sequence[Trace]]:
        """The traces of messages received since then, in that order within a shard, some at a time. One that cannot be
        read is left out."""

    async def failed(self, limit: int) -> Sequence[Failure]:
        """Recipients who did not get their message, in up to `limit` attempts, the last ones first."""

    async def held(self, limit: int) -> Sequence[HeldEntry]:
        """Up to `limit` held messages, the oldest first."""

    async def given_up(self, since: float, limit: int) -> Sequence[HeldEntry]:
        """Up to `limit` messages whose time to be held has ended since then, at `expires`."""

    async def overdue(self, now: float, limit: int) -> Sequence[str]:
        """Ids of up to `limit` messages whose time to be held is over. The reader of a worker's spool looks in the
        shards that this worker owns."""

    async def senders(self, domains: Collection[str], limit: int) -> Sequence[Sender]:
        """Sources of mail of these domains and of those below them, the last seen first."""

    async def queue(self, limit: int) -> Sequence[QueueEntry]:
        """Up to `limit` transfers that have no final outcome yet, earliest due first; held ones too."""

    async def counts(self) -> dict[str, int]:
        """How many transfers wait or are under way, by backend; held ones are not counted."""

    async def next_due(self, skip: Collection[str] = ()) -> float | None:
        """When the earliest transfer to a backend not in `skip` is due, or its lease runs out; None when none waits.
        The reader of a worker's spool looks in the shards that this worker owns."""

    async def close(self) -> None: ...


class IntakeStore(Protocol):
    """What reception needs of a spool."""

    @property
    def reader(self) -> IntakeReader: ...

    async def commit(self, intake: Intake) -> None:
        """Store a reception, on stable storage when this returns; one that is not `durable` is written soon, or lost
        with the process. Raises SpoolFull, and HoldFull for one with `hold`: its content is still the caller's."""

    def note_answer(self, id: str, heard: bool) -> None:
        """Whether the client of a stored message was told that it is; written soon."""

    async def find_unheard(self, marks: tuple[bytes, bytes], now: float, sure: bool = False) -> str | None:
        """The id of a stored message with one of these fingerprints whose client was not told, as far as is remembered.
        What became known within the last second may be missed, unless the answer has to be `sure`. It is asked here
        because the answers that wait to be written are written first."""

    def open_content(self) -> ContentWriter:
        """A place for content above the in-memory limit."""


class Spool(IntakeStore, Protocol):
    """Durable state, written by its owner. Every method that writes is one transaction; it returns when that is on
    stable storage, but for `claim` and `release`: what they write need only outlive the process. Any of them may raise
    SpoolFull."""

    @property
    def reader(self) -> SpoolReader:
        """What is stored in all shards. The spool closes it."""

    async def let_go(self, id: str, transfers: Sequence[Transfer], act: Act) -> bool:
        """A held message is sent: by the transfers that it has, and by these. False, and nothing is written, when it
        is not held, or is for another reason than a Hold."""

    async def discard(self, id: str, act: Act) -> bool:
        """A held message ends: its content and transfers go, the act says how. False when it is not held, or is for
        another reason than a Hold, or is being sent just now."""

    def read_content(self, content: Content) -> AsyncIterator[bytes]:
        """The octets in chunks of at most 1 MB. Raises ContentAltered when they are gone."""

    async def claim(self, skip: Collection[str], limit: int, now: float, lease: float) -> Sequence[Claim]:
        """Take up to `limit` due transfers whose backend is not in `skip`, for `lease` seconds: the oldest of each
        backend, then the second of each, and so on, so that no backend's heap delays another's mail."""

    async def release(self, claim: Claim, due: float) -> None:
        """Give a claim back unused. A stale one is ignored."""

    async def settle(self, settlement: Settlement) -> bool:
        """Write an attempt's outcome. False when the claim was lost (stale epoch): then nothing was written. After
        SpoolFull the same settlement can be tried again; after HoldFull, which one with `hold` may raise, another."""

    async def hold(self, claim: Claim, reason: str) -> None:
        """Keep the transfer's message back until an admin decides (altered content)."""

    def take_damage(self) -> Sequence[Damage]:
        """What was found to be unreadable since this was asked last."""

    async def storage(self) -> Storage:
        """How much room there is for new mail; tries to write where the last write failed."""

    async def move_times(self, seconds: float) -> None:
        """The wall clock has jumped by so much: all times that are stored move along."""

    async def purge(self, now: float) -> int:
        """Remove what retention no longer asks for, a bounded number at a time; returns how many rows went."""

    async def close(self) -> None: ...
