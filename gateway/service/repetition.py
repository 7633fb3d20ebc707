"""A message that comes again: from a client that was not told that it is stored, or that has given up while its first
attempt still runs. It is answered by what becomes of the first attempt.

Every worker writes the fingerprints of what it is taking into a table of its own, which all workers read. A fingerprint
stays there until its client was told, or until the other workers find in the spool that it was not. What a dead worker
left stays until its successor has read its shard.
"""

from __future__ import annotations

import asyncio
import hashlib
import mmap
from collections.abc import Callable
from time import monotonic

from gateway.ports import Clock, IntakeStore

_SLOTS = 4096
"""Messages that one worker takes at a time, or has just taken. Beyond them a retry is not known before the spool knows
it."""
_WIDTH = 8
"""Octets of a fingerprint that are compared: the first ones while it is taken, the next ones when it was."""
_EMPTY = bytes(_WIDTH)
_TOLD = 1024
"""Ids that a worker remembers of messages whose client it told at a repetition: the row of another worker's shard still
says that nobody was told."""
_LOOK_EVERY = 0.05
"""Seconds between looks at a first attempt."""
_STAYS = 3.0
"""Seconds for which a message stays in the table. One whose client was not told: longer than the spool needs to show
it. One whose client was told: longer than an attempt that it had given up before is read late."""


class UnderWay(Exception):
    """What becomes of the first attempt is not known yet."""


class Arrivals:
    """The tables of all workers. Made before they are forked."""

    def __init__(self, workers: int = 1) -> None:
        self._table = mmap.mmap(-1, workers * _SLOTS * _WIDTH)
        self._told = mmap.mmap(-1, workers * _TOLD * _WIDTH)
        self._open = mmap.mmap(-1, workers)
        self._workers = workers

    def of_worker(self, number: int = 0) -> WorkerArrivals:
        """The table that this worker writes."""
        return WorkerArrivals(self._table, self._told, self._open, number, self._workers)

    def bury(self, number: int) -> None:
        """The worker is dead: nobody knows yet which of its clients were told."""
        self._open[number] = 0


class WorkerArrivals:
    """One worker's table, and those of the others to look at."""

    def __init__(self, table: mmap.mmap, told: mmap.mmap, open: mmap.mmap, number: int, workers: int) -> None:
        self._table = table
        self._told = told
        self._next_told = 0
        self._open = open
        self._number = number
        self._all_open = b"\1" * workers
        self._start = number * _SLOTS * _WIDTH
        self._free = list(range(_SLOTS))
        self._incomplete = monotonic()
        """When some worker was last seen to be missing."""
        self._taken: dict[int, bytes] = {}
        """What is written into a slot when its message was taken."""

    def begin(self) -> None:
        """The worker's shards are open: the spool tells of every message of the dead."""
        self._table[self._start : self._start + _SLOTS * _WIDTH] = bytes(_SLOTS * _WIDTH)
        self._open[self._number] = 1

    def enter(self, fingerprint: bytes) -> int | None:
        """A message is being taken; its slot, None when there is none left."""
        if not self._free:
            return None
        slot = self._free.pop()
        self._taken[slot] = fingerprint[_WIDTH : 2 * _WIDTH]
        self._put(slot, fingerprint[:_WIDTH])
        return slot

    def note_taken(self, slot: int) -> None:
        """Its client was told that it is stored."""
        self._put(slot, self._taken[slot])

    def note_told(self, id: str) -> None:
        """The client of this stored message was told at a repetition of it."""
        at = (self._number * _TOLD + self._next_told) * _WIDTH
        self._told[at : at + _WIDTH] = _shorten(id)
        self._next_told = (self._next_told + 1) % _TOLD

    def was_told(self, id: str) -> bool:
        """Some worker told its client at a repetition."""
        return _find(self._told, _shorten(id))

    def leave(self, slot: int) -> None:
        """Nothing is to be known of it any more."""
        self._taken.pop(slot, None)
        self._put(slot, _EMPTY)
        self._free.append(slot)

    def _put(self, slot: int, mark: bytes) -> None:
        at = self._start + slot * _WIDTH
        self._table[at : at + _WIDTH] = mark

    def has(self, fingerprint: bytes) -> bool:
        """Some worker is taking it."""
        return _find(self._table, fingerprint[:_WIDTH])

    def has_taken(self, fingerprint: bytes) -> bool:
        """Some worker has just taken it, and told its client."""
        return _find(self._table, fingerprint[_WIDTH : 2 * _WIDTH])

    @property
    def complete(self) -> bool:
        """Every worker has opened its shards, and for long enough that all know what these hold."""
        now = monotonic()
        if self._open[:] != self._all_open:
            self._incomplete = now
        return now - self._incomplete > _STAYS


def _find(table: mmap.mmap, mark: bytes) -> bool:
    octets = table[:]
    at = octets.find(mark)
    while at >= 0 and at % _WIDTH:
        at = octets.find(mark, at + 1)
    return at >= 0


def _shorten(id: str) -> bytes:
    return hashlib.sha256(id.encode("utf-8", "surrogateescape")).digest()[:_WIDTH]


class Repetitions:
    """Asked about each message before it is judged."""

    def __init__(self, spool: IntakeStore, arrivals: WorkerArrivals, clock: Clock) -> None:
        self._spool = spool
        self._arrivals = arrivals
        self._clock = clock
        self._repeats: dict[int, str] = {}
        """Slot -> id of the stored message that is being answered again."""

    async def find(
        self, marks: tuple[bytes, bytes], deadline: float, gone: Callable[[], bool] = lambda: False
    ) -> str | int | None:
        """The id of a stored message whose client was not told, or the slot of one that is taken for the first time.
        `marks` are its fingerprints (`plan.intake.make_marks`).

        Waits until `deadline` (monotonic) for what becomes of a first attempt. Raises UnderWay, also when the client
        of this attempt is `gone` and a later attempt has been answered meanwhile.
        """
        fingerprint, _ = marks
        while True:
            if gone() and self._arrivals.has_taken(fingerprint):
                raise UnderWay
            missing = not self._arrivals.complete
            # In this order: what is pending becomes unheard, never the other way round.
            pending = missing and await self._spool.is_unanswered(marks)
            sure = missing or self._arrivals.has(fingerprint)
            known = await self._spool.find_unheard(marks, self._clock.now(), sure=sure)
            if known is not None and not self._arrivals.was_told(known):
                return known
            # Nothing is awaited between the last look at the table and the entry in it.
            if not pending and not self._arrivals.has(fingerprint):
                return self._arrivals.enter(fingerprint)
            if self._clock.monotonic() >= deadline:
                raise UnderWay
            await asyncio.sleep(_LOOK_EVERY)

    def note_repeat(self, marks: tuple[bytes, bytes], id: str) -> int | None:
        """A repetition of the stored message `id` is being answered: its slot, so that an attempt that is read late is
        not taken for a new one."""
        slot = self._arrivals.enter(marks[0])
        if slot is not None:
            self._repeats[slot] = id
        return slot

    def conclude(self, slot: int, heard: bool) -> None:
        """The client of the message in this slot was told that it is stored, or it was not told."""
        repeated = self._repeats.pop(slot, None)
        if heard:
            self._arrivals.note_taken(slot)
            if repeated is not None:
                self._arrivals.note_told(repeated)
        asyncio.get_running_loop().call_later(_STAYS, self._arrivals.leave, slot)

    def forget(self, slot: int) -> None:
        """The message in this slot was not taken."""
        self._arrivals.leave(slot)
