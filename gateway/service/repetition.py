"""Repetitions of a message: from a client that did not get the reply that it is stored, or that has given up while its
first attempt still runs. The result of the first attempt answers them.

Every worker writes the fingerprints of the messages being taken into a table of its own, which all workers read. A
fingerprint stays there until its client got the reply, or until the other workers find in the spool that it did not.
The entries of a dead worker stay until its successor has read its shard.
"""

from __future__ import annotations

import asyncio
import mmap
import struct
from collections.abc import Callable
from time import monotonic

from gateway.model.value import Value
from gateway.ports import Clock, IntakeStore

_SLOTS = 4096
"""Messages that one worker takes at a time, or has just taken. Beyond them a retry is unknown until the spool knows
it."""
_WIDTH = 8
"""Octets of a fingerprint that are compared: the first ones while the message is taken, the next ones afterwards."""
_EMPTY = bytes(_WIDTH)
_REPEATS = 1024
"""Answers to repetitions that a worker remembers."""
_LOOK_EVERY = 0.05
"""Seconds between checks of a first attempt."""
_STAYS = 3.0
"""Seconds for which a message stays in the table. Without a reply to its client: longer than the spool needs to show
it. With a reply: longer than the late reading of an attempt that the client had given up before."""
_PASS_ON_EVERY = 1.0
"""Seconds after which the shard's owner records replies to repetitions."""


class UnderWay(Exception):
    """The result of the first attempt is not known yet."""


class Repeat(Value):
    """A repetition of a stored message that was answered."""

    id: str
    """Of the stored message."""
    mark: bytes
    """The first octets of the fingerprint that found it."""
    at: float
    """The time of the answer: monotonic, which is the same in all workers."""
    heard: bool
    """Its client got the reply. False: not known yet."""


_ENTRY = struct.Struct(f"={_WIDTH}sd31sB")
"""Mark, time, id and state of a repeat. The state is the last octet and is written last, so that no worker reads half
an entry."""
_NOTHING, _OPEN, _HEARD = range(3)
_NEWS = struct.Struct("=dQ")
"""The time of a worker's last answer to a repeat, and its number of heard ones."""


class RepeatTable:
    """The repeats that all workers have answered. Each worker writes a ring of its own."""

    def __init__(self, workers: int) -> None:
        self._octets = mmap.mmap(-1, workers * _REPEATS * _ENTRY.size)
        self._news = mmap.mmap(-1, workers * _NEWS.size)
        self._workers = workers
        self._next = 0

    def note(self, worker: int, id: str, mark: bytes, at: float) -> int:
        """A repeat is being answered; returns its place."""
        place = (worker * _REPEATS + self._next) * _ENTRY.size
        self._next = (self._next + 1) % _REPEATS
        self._set_state(place, _NOTHING)
        entry = _ENTRY.pack(mark, at, id.encode("utf-8", "surrogateescape"), _NOTHING)
        self._octets[place : place + _ENTRY.size] = entry
        self._set_state(place, _OPEN)
        _, heard = self._read_news(worker)
        self._write_news(worker, at, heard)
        return place

    def conclude(self, worker: int, place: int, id: str, heard: bool) -> None:
        """Its client got the reply, or did not. Does nothing when a newer repeat has taken its place."""
        found = self._read(place)
        if found is None or found.id != id or found.heard:
            return
        self._set_state(place, _HEARD if heard else _NOTHING)
        if heard:
            at, count = self._read_news(worker)
            self._write_news(worker, at, count + 1)

    def bury(self, worker: int) -> None:
        """The worker is dead: it remains unknown whether the clients of its open repeats got the reply."""
        for number in range(worker * _REPEATS, (worker + 1) * _REPEATS):
            if self._octets[(number + 1) * _ENTRY.size - 1] == _OPEN:
                self._set_state(number * _ENTRY.size, _NOTHING)

    def judge(
        self, marks: tuple[bytes, bytes], stored: tuple[str, bytes] | None, began: float
    ) -> tuple[tuple[str, bytes] | None, bool]:
        """The message that an attempt which `began` then repeats, if there is one, and whether that is still open.

        A message is an id and the fingerprint that found it. `stored` is the spool's answer: a message whose client did
        not get the reply. An attempt that began before the first heard repeat is a repetition too. A later one is a new
        message.
        """
        if stored is None and all(self._read_news(worker)[0] < began for worker in range(self._workers)):
            return None, False
        repeats = [repeat for mark in marks for repeat in self._find(mark[:_WIDTH])]
        found = {repeat.id: repeat.mark for repeat in repeats if repeat.at >= began}
        if stored is not None:
            found[stored[0]] = stored[1]
        for id, mark in found.items():
            heard = min((repeat.at for repeat in repeats if repeat.id == id and repeat.heard), default=None)
            if any(repeat.id == id and not repeat.heard and repeat.at < began for repeat in repeats):
                return None, True
            if (stored is not None and id == stored[0]) if heard is None else (heard >= began):
                return (id, mark), False
        return None, False

    def count_heard(self) -> int:
        """Number of heard repeats."""
        return sum(self._read_news(worker)[1] for worker in range(self._workers))

    def list_heard(self) -> set[str]:
        """Ids of the messages whose client got the reply at a repetition."""
        places = range(0, len(self._octets), _ENTRY.size)
        return {repeat.id for repeat in map(self._read, places) if repeat is not None and repeat.heard}

    def _find(self, mark: bytes) -> list[Repeat]:
        octets = self._octets[:]
        repeats = []
        place = octets.find(mark)
        while place >= 0:
            if place % _ENTRY.size == 0:
                repeats.append(self._read(place))
            place = octets.find(mark, place + 1)
        return [repeat for repeat in repeats if repeat is not None]

    def _read(self, place: int) -> Repeat | None:
        mark, at, id, state = _ENTRY.unpack_from(self._octets, place)
        if state == _NOTHING:
            return None
        return Repeat(id.rstrip(b"\0").decode("utf-8", "surrogateescape"), mark, at, state == _HEARD)

    def _set_state(self, place: int, state: int) -> None:
        self._octets[place + _ENTRY.size - 1] = state

    def _read_news(self, worker: int) -> tuple[float, int]:
        at, heard = _NEWS.unpack_from(self._news, worker * _NEWS.size)
        return at, heard

    def _write_news(self, worker: int, at: float, heard: int) -> None:
        _NEWS.pack_into(self._news, worker * _NEWS.size, at, heard)


class Arrivals:
    """The tables of all workers. Made before they are forked."""

    def __init__(self, workers: int = 1) -> None:
        self._table = mmap.mmap(-1, workers * _SLOTS * _WIDTH)
        self._repeats = RepeatTable(workers)
        self._open = mmap.mmap(-1, workers)
        self._workers = workers

    def of_worker(self, number: int = 0) -> WorkerArrivals:
        """The table that this worker writes."""
        return WorkerArrivals(self._table, self._repeats, self._open, number, self._workers)

    def bury(self, number: int) -> None:
        """The worker is dead: it is not known yet which of its clients got the reply."""
        self._open[number] = 0
        self._repeats.bury(number)


class WorkerArrivals:
    """One worker's table, with read access to those of the others."""

    def __init__(self, table: mmap.mmap, repeats: RepeatTable, open: mmap.mmap, number: int, workers: int) -> None:
        self._table = table
        self.repeats = repeats
        """Of all workers."""
        self._open = open
        self._number = number
        self._all_open = b"\1" * workers
        self._start = number * _SLOTS * _WIDTH
        self._free = list(range(_SLOTS))
        self._incomplete = monotonic()
        """The last time at which some worker was missing."""
        self._taken: dict[int, bytes] = {}
        """The mark written into a slot when its message was taken."""
        self._answered: dict[int, tuple[int, str]] = {}
        """For a slot in which a repeat is being answered: the repeat's place in the table, and the stored message."""

    def begin(self) -> None:
        """The worker's shards are open: the spool knows every message of dead workers."""
        self._table[self._start : self._start + _SLOTS * _WIDTH] = bytes(_SLOTS * _WIDTH)
        self._open[self._number] = 1

    def enter(self, fingerprint: bytes) -> int | None:
        """A message is being taken; returns its slot, None when there is none left."""
        if not self._free:
            return None
        slot = self._free.pop()
        self._taken[slot] = fingerprint[_WIDTH : 2 * _WIDTH]
        self._put(slot, fingerprint[:_WIDTH])
        return slot

    def answer(self, fingerprint: bytes, found_by: bytes, id: str, now: float) -> int | None:
        """A repetition of the stored message `id` is being answered, as in `enter`. `found_by` is the fingerprint that
        found it."""
        slot = self.enter(fingerprint)
        if slot is not None:
            self._answered[slot] = self.repeats.note(self._number, id, found_by[:_WIDTH], now), id
        return slot

    def conclude(self, slot: int, heard: bool) -> None:
        """Its client got the reply that it is stored, or did not."""
        if heard:
            self._put(slot, self._taken[slot])
        answered = self._answered.pop(slot, None)
        if answered is not None:
            self.repeats.conclude(self._number, *answered, heard)

    def leave(self, slot: int) -> None:
        """Remove the entry."""
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
        """Some worker has just taken it, and its client got the reply."""
        return _find(self._table, fingerprint[_WIDTH : 2 * _WIDTH])

    @property
    def complete(self) -> bool:
        """Every worker has opened its shards, long enough ago that all know their content."""
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


class Repetitions:
    """The check of each message before it is judged."""

    def __init__(self, spool: IntakeStore, arrivals: WorkerArrivals, clock: Clock) -> None:
        self._spool = spool
        self._arrivals = arrivals
        self._clock = clock
        self._found_by: dict[str, bytes] = {}
        """Id of a stored message that is about to be answered again -> the fingerprint that found it."""

    async def find(
        self, marks: tuple[bytes, bytes], deadline: float, gone: Callable[[], bool] = lambda: False
    ) -> str | int | None:
        """The id of a stored message whose client did not get the reply, or the slot of one that is taken for the first
        time. `marks` are its fingerprints (`plan.intake.make_marks`).

        Waits until `deadline` (monotonic) for the result of a first attempt. Raises UnderWay, also when the client of
        this attempt is `gone` and a later attempt has been answered meanwhile.
        """
        fingerprint, _ = marks
        began = self._clock.monotonic()
        while True:
            if gone() and self._arrivals.has_taken(fingerprint):
                raise UnderWay
            missing = not self._arrivals.complete
            # In this order, because pending becomes unheard, never the other way round.
            pending = missing and await self._spool.reader.is_unanswered(marks)
            stored = await self._look_up(marks, sure=missing or self._arrivals.has(fingerprint))
            known, open = self._arrivals.repeats.judge(marks, stored, began)
            if known is not None:
                id, self._found_by[id] = known
                return id
            # Nothing is awaited between the last check of the table and the entry in it.
            if not (pending or open or self._arrivals.has(fingerprint)):
                return self._arrivals.enter(fingerprint)
            if self._clock.monotonic() >= deadline:
                raise UnderWay
            await asyncio.sleep(_LOOK_EVERY)

    async def _look_up(self, marks: tuple[bytes, bytes], sure: bool) -> tuple[str, bytes] | None:
        """The stored message whose client did not get the reply, and the mark that it is stored under."""
        anywhere, network = marks
        id = await self._spool.find_unheard(marks, self._clock.now(), sure=sure)
        if id is None:
            return None
        wide = await self._spool.find_unheard((anywhere, anywhere), self._clock.now(), sure=True)
        return id, anywhere if wide == id else network

    def note_repeat(self, marks: tuple[bytes, bytes], id: str) -> int | None:
        """A repetition of the stored message `id` is being answered. Returns its slot, so that an attempt read late
        does not count as a new one."""
        found_by = self._found_by.pop(id, marks[0])
        return self._arrivals.answer(marks[0], found_by, id, self._clock.monotonic())

    def conclude(self, slot: int, heard: bool) -> None:
        """The client of the message in this slot got the reply that it is stored, or did not."""
        self._arrivals.conclude(slot, heard)
        asyncio.get_running_loop().call_later(_STAYS, self._arrivals.leave, slot)

    def forget(self, slot: int) -> None:
        """The message in this slot was not taken."""
        self._arrivals.leave(slot)


async def pass_on(spool: IntakeStore, repeats: RepeatTable) -> None:
    """Let the spool record the clients that got the reply at a repetition in another worker, because only a shard's
    owner writes the row. Runs until cancelled."""
    passed: set[str] = set()
    count = 0
    while True:
        if repeats.count_heard() != count:
            count, heard = repeats.count_heard(), repeats.list_heard()
            for id in heard - passed:
                spool.note_answer(id, True)
            passed = heard
        await asyncio.sleep(_PASS_ON_EVERY)
