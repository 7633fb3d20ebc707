"""Counts over all workers: connections of an address, sessions with a backend, questions in a minute.

Every worker adds to a table of its own, which no other worker writes; a count is the sum over all tables. So nothing is
locked, and a dead worker's counts vanish when its table is cleared. A table has a fixed size (promise P7): a key has a
place in each of its rows, chosen by a keyed hash, and the smallest of the rows counts. A count is never too low. It is
too high for a key whose places are all used by others: with 65,536 other keys counted, for about one key in 2,000; with
20,000, for none in 100,000.
"""

from __future__ import annotations

import mmap
import os
from collections import Counter
from functools import lru_cache
from hashlib import blake2b

from gateway.config.edge import Limits
from gateway.model.envelope import IPText, site_of
from gateway.ports import Tally

_PLACES = 262_144
"""Places of a row."""
_ROWS = 5
_TABLE = _PLACES * _ROWS
_WIDTH = 4
"""Octets of a count, which is written in one piece."""
_KEYS_REMEMBERED = 4096


class SharedCounts:
    """The tables of all workers. Made before they are forked."""

    def __init__(self, workers: int = 1) -> None:
        self.workers = workers
        self._secret = os.urandom(16)
        # Unwritten pages take no memory.
        self._counts = memoryview(mmap.mmap(-1, workers * _TABLE * _WIDTH)).cast("i")

    def tally(self, worker: int = 0) -> WorkerTally:
        """The table that this worker counts with."""
        return WorkerTally(self._counts, self._secret, worker, self.workers)

    def clear(self, worker: int) -> None:
        """The worker is dead: its counts no longer apply."""
        start = worker * _TABLE
        self._counts[start : start + _TABLE] = memoryview(bytes(_TABLE * _WIDTH)).cast("i")


class WorkerTally:
    """`ports.Tally` of one worker."""

    def __init__(self, counts: memoryview[int], secret: bytes, worker: int, workers: int) -> None:
        self.workers = workers
        self._counts = counts
        self._secret = secret
        self._own = worker * _TABLE
        self._tables = range(0, workers * _TABLE, _TABLE)
        self._places = lru_cache(_KEYS_REMEMBERED)(self._find)

    def add(self, key: str, number: int = 1) -> int:
        counts, own = self._counts, self._own
        for place in self._places(key):
            counts[own + place] += number
        return self.total(key) if number >= 0 else 0

    def total(self, key: str) -> int:
        counts = self._counts
        places = self._places(key)
        if self.workers == 1:
            return min([counts[place] for place in places])
        return min([sum([counts[table + place] for table in self._tables]) for place in places])

    def _find(self, key: str) -> tuple[int, ...]:
        digest = blake2b(key.encode("utf-8", "surrogateescape"), digest_size=4 * _ROWS, key=self._secret).digest()
        words = memoryview(digest).cast("I")
        return tuple(row * _PLACES + word % _PLACES for row, word in enumerate(words))


class Deaths:
    """The deaths of workers and of the control plane, which the supervisor counts and every worker reads. Made before
    they are forked."""

    def __init__(self, workers: int = 1) -> None:
        self.workers = workers
        self._numbers = memoryview(mmap.mmap(-1, (workers + 2) * 2 * _WIDTH)).cast("i")

    def add(self, worker: int, status: int) -> None:
        """The worker ended with this exit status, or by the signal `-status`."""
        self._numbers[worker * 2 + 1] = status
        self._numbers[worker * 2] += 1

    def count(self, worker: int) -> int:
        """The number of workers that died in this place."""
        return self._numbers[worker * 2]

    def status(self, worker: int) -> int:
        """The status of the last one."""
        return self._numbers[worker * 2 + 1]

    def note_control_down(self, status: int) -> None:
        """The control plane ended."""
        self.add(self.workers, status)

    def note_control_up(self) -> None:
        """The control plane runs."""
        self.add(self.workers + 1, 0)

    def control(self) -> tuple[int, int, int]:
        """Numbers of ends and of starts of the control plane, and the status of its last end."""
        return self.count(self.workers), self.count(self.workers + 1), self.status(self.workers)


IN_FLIGHT = "megabytes in flight"
"""The key of all clients' octets on their way in."""


class OctetsInFlight:
    """Counts octets: in all, and of each client. When more than half of the limit is used, a client may use at most as
    much as is still free. So the next client always finds room, regardless of the number of others."""

    def __init__(self, tally: Tally | None = None) -> None:
        self._tally = tally or SharedCounts().tally()
        self._all = _Octets(self._tally, IN_FLIGHT)
        self._clients: dict[str, _Octets] = {}
        """The clients with any octets."""

    def add(self, octets: int, client: IPText) -> None:
        """Octets of this client have arrived, or are gone again."""
        site = site_of(client)
        count = self._clients.setdefault(site, _Octets(self._tally, f"megabytes in flight of {site}"))
        for one in (self._all, count):
            one.add(octets)
        if not count.own:
            del self._clients[site]

    def room(self, client: IPText, limits: Limits) -> int:
        """Number of octets that this client may still send; below 0 when it has already sent too many."""
        site = site_of(client)
        count = self._clients.get(site) or _Octets(self._tally, f"megabytes in flight of {site}")
        theirs = max(limits.bytes_in_flight_per_client, limits.message_size)
        free = limits.bytes_in_flight - self._all.total()
        if free * 2 < limits.bytes_in_flight:
            theirs = min(theirs, free)
        return min(free, theirs - count.total())


class _Octets:
    """One count. Workers share whole megabytes only."""

    def __init__(self, tally: Tally, key: str) -> None:
        self._tally = tally
        self._key = key
        self._told = 0
        self.own = 0
        """The octets of this worker."""

    def add(self, octets: int) -> None:
        self.own += octets
        change = (self.own >> 20) - self._told
        if change:
            self._told += change
            self._tally.add(self._key, change)

    def total(self) -> int:
        others = self._tally.total(self._key) - self._told
        return self.own + (others << 20)


_SECONDS = 60.0


class Minute:
    """Counts by key, each from the beginning of the minute."""

    def __init__(self, tally: Tally | None = None) -> None:
        self._tally = tally or SharedCounts().tally()
        self._minute = -1.0
        self._counted: Counter[str] = Counter()
        """The counts of this worker in the minute."""

    def add(self, key: str, now: float) -> int:
        """Count once more; returns the number so far. `now` is monotonic."""
        minute = now // _SECONDS
        if minute != self._minute:
            for counted, number in self._counted.items():
                self._tally.add(counted, -number)
            self._counted.clear()
            self._minute = minute
        # The minute is in the key, because another worker may still be in the last one.
        key = f"{key} in {minute}"
        self._counted[key] += 1
        return self._tally.add(key)

    def take_back(self, key: str) -> None:
        """The counted event did not happen."""
        key = f"{key} in {self._minute}"
        self._counted[key] -= 1
        self._tally.add(key, -1)
