"""Counts that hold over all workers: connections of an address, sessions with a backend, questions in a minute.

Every worker adds to a table of its own, which nobody else writes; a count is the sum over all tables. So nothing is
locked, and what a dead worker held is gone when its table is cleared. A table has a fixed size (promise P7): a key has
a place in each of its rows, chosen by a keyed hash, and the least of the rows counts. Two keys share all their places
about once in four thousand million, so a count is never too low and practically never too high.
"""

from __future__ import annotations

import mmap
import os
from functools import lru_cache
from hashlib import blake2b

_PLACES = 65_536
"""In a row."""
_ROWS = 2
_TABLE = _PLACES * _ROWS
_WIDTH = 4
"""Octets of a count: written in one piece."""
_KEYS_REMEMBERED = 4096


class SharedCounts:
    """The tables of all workers. Made before they are forked."""

    def __init__(self, workers: int = 1) -> None:
        self.workers = workers
        self._secret = os.urandom(16)
        # Pages that nobody has written take no memory.
        self._counts = memoryview(mmap.mmap(-1, workers * _TABLE * _WIDTH)).cast("i")

    def tally(self, worker: int = 0) -> WorkerTally:
        """What this worker counts with."""
        return WorkerTally(self._counts, self._secret, worker, self.workers)

    def clear(self, worker: int) -> None:
        """The worker is dead: it holds nothing any more."""
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
        one, other = self._places(key)
        counts[own + one] += number
        counts[own + other] += number
        return self.total(key) if number >= 0 else 0

    def total(self, key: str) -> int:
        counts = self._counts
        one, other = self._places(key)
        first = second = 0
        for table in self._tables:
            first += counts[table + one]
            second += counts[table + other]
        return first if first < second else second

    def _find(self, key: str) -> tuple[int, int]:
        digest = blake2b(key.encode("utf-8", "surrogateescape"), digest_size=4, key=self._secret).digest()
        first, second = int.from_bytes(digest[:2], "big"), int.from_bytes(digest[2:], "big")
        return first, _PLACES + second
