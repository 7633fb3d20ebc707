"""How many sessions there may be with a backend at once, over all workers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.ports import Tally

_PAUSE = 0.05
"""Seconds until a worker that found no place looks again."""


class ConcurrencyWindow:
    """Places that workers share: a session that is in use has one, and one that another worker keeps open idly.

    Each worker is sure of its part of them, and may use what the others leave. One that has less than its part and
    finds no place says so; until it has one, those that have their part take no more.
    """

    def __init__(self, backend: str, most: int, tally: Tally) -> None:
        self.most = most
        self._part = max(most // tally.workers, 1)
        self._tally = tally
        self._used, self._kept, self._short = (f"{what} {backend}" for what in ("used", "kept", "short"))
        self._queue = asyncio.Semaphore(most)
        self._busy = 0
        self._using = self._idle = 0
        self._is_short = False

    def room(self) -> int:
        """How many places this worker could take now without waiting."""
        free = self.most - self._foreign() - self._busy
        if self._busy >= self._part and self._tally.total(self._short) > self._is_short:
            free = 0
        short = free <= 0 and self._busy < self._part
        if short != self._is_short:
            self._tally.add(self._short, 1 if short else -1)
            self._is_short = short
        return max(free, 0)

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Have a place while the block runs."""
        self._busy += 1
        try:
            async with self._queue:
                while not self._take():  # noqa: ASYNC110 what other processes do, no event tells
                    await asyncio.sleep(_PAUSE)
                try:
                    yield
                finally:
                    self._using -= 1
                    self._tally.add(self._used, -1)
        finally:
            self._busy -= 1

    def spare(self) -> int:
        """How many sessions this worker may keep open idly."""
        return max(self._part - self._using, 0)

    def keep(self, idle: int) -> None:
        """So many are kept open idly now."""
        if idle != self._idle:
            self._tally.add(self._kept, idle - self._idle)
            self._idle = idle

    def _take(self) -> bool:
        """Count first and look then: of two workers that are after the last place, none gets more than there is."""
        self._using += 1
        self._tally.add(self._used)
        if self._foreign() + self._using <= self.most:
            return True
        self._using -= 1
        self._tally.add(self._used, -1)
        return False

    def _foreign(self) -> int:
        """Sessions of the other workers."""
        return self._tally.total(self._used) - self._using + self._tally.total(self._kept) - self._idle
