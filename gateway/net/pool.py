"""Sessions that stay open between transactions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Generic, Protocol, TypeVar

from gateway.model.envelope import IPText
from gateway.model.value import Value
from gateway.net.mx import Host
from gateway.ports import Tally

_PAUSE = 0.05
"""Seconds until a worker that found no place tries again."""


class ConcurrencyWindow:
    """Places that workers share: each used session has one, and each session that another worker keeps idle.

    Each worker is guaranteed its part, and may use the places that others leave. A worker below its part that finds no
    place announces it; until it has one, workers at their part take no more.
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
        """Number of places that this worker could take now without waiting."""
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
        """Hold a place while the block runs."""
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
        """Number of sessions that this worker may keep idle."""
        return max(self._part - self._using, 0)

    def keep(self, idle: int) -> None:
        """Note the number of sessions kept idle now."""
        if idle != self._idle:
            self._tally.add(self._kept, idle - self._idle)
            self._idle = idle

    def _take(self) -> bool:
        """Count first, then check: if two workers want the last place, neither exceeds the limit."""
        self._using += 1
        self._tally.add(self._used)
        if self._foreign() + self._using <= self.most:
            return True
        self._using -= 1
        self._tally.add(self._used, -1)
        return False

    def _foreign(self) -> int:
        """Number of sessions of the other workers."""
        return self._tally.total(self._used) - self._using + self._tally.total(self._kept) - self._idle


_SICK_SECONDS = 60.0
_MOST_REMEMBERED = 1000

Candidate = tuple[Host, IPText]


class Health:
    """The health of hosts, each with its address."""

    def __init__(self) -> None:
        self._sick: dict[Candidate, float] = {}
        """The end of each host's pause, in the loop's time."""

    def fail(self, candidate: Candidate) -> None:
        """No session could be opened."""
        self._sick.pop(candidate, None)
        self._sick[candidate] = asyncio.get_running_loop().time() + _SICK_SECONDS
        if len(self._sick) > _MOST_REMEMBERED:
            del self._sick[next(iter(self._sick))]

    def recover(self, candidate: Candidate) -> None:
        """A session was opened."""
        self._sick.pop(candidate, None)

    async def order(self, candidates: AsyncGenerator[Candidate, None]) -> AsyncGenerator[Candidate, None]:
        """The same candidates, with recently failed ones last: if all of them failed, all are tried."""
        later = []
        async with aclosing(candidates):
            async for candidate in candidates:
                if self._sick.get(candidate, 0.0) > asyncio.get_running_loop().time():
                    later.append(candidate)
                else:
                    yield candidate
        for candidate in later:
            yield candidate


class Reusable(Protocol):
    """The requirements of the pool for a session."""

    @property
    def host(self) -> Host: ...

    @property
    def opened(self) -> float:
        """The time of opening, in the loop's time."""

    @property
    def transactions(self) -> int: ...

    @property
    def connected(self) -> bool: ...

    def close(self) -> None: ...


class PoolLimits(Value):
    """The limits after which a session is closed."""

    idle_seconds: float
    seconds: float
    """Age: load moves to recovered hosts."""
    transactions: int


S = TypeVar("S", bound=Reusable)


class Pool(Generic[S]):
    """Idle sessions by host. A session in use belongs to its taker."""

    def __init__(self, limits: PoolLimits, count: Callable[[int], None]) -> None:
        """`count` is called with the number of idle sessions after each change."""
        self._limits = limits
        self._count = count
        self._idle: dict[S, asyncio.TimerHandle] = {}
        self._closed = False

    def __len__(self) -> int:
        return len(self._idle)

    def take(self, host: Host) -> S | None:
        """The most recently used session with this host; it may have died since."""
        for session in reversed(self._idle):
            if session.host == host:
                self._forget(session)
                if session.connected:
                    return session
                session.close()
                return self.take(host)
        return None

    def put(self, session: S) -> None:
        """Keep a session for later, or close it when it is worn out or the pool is closed."""
        loop = asyncio.get_running_loop()
        old = loop.time() - session.opened > self._limits.seconds
        worn = old or session.transactions >= self._limits.transactions
        if self._closed or worn or not session.connected:
            session.close()
            return
        self._idle[session] = loop.call_later(self._limits.idle_seconds, self._expire, session)
        self._count(len(self._idle))

    def shrink(self, most: int) -> None:
        """Close the sessions idle longest until at most `most` remain."""
        while len(self._idle) > max(most, 0):
            session = next(iter(self._idle))
            self._forget(session)
            session.close()

    def close(self) -> None:
        """Close all idle sessions, and every session that comes back later."""
        self._closed = True
        self.shrink(0)

    def _forget(self, session: S) -> None:
        self._idle.pop(session).cancel()
        self._count(len(self._idle))

    def _expire(self, session: S) -> None:
        self._forget(session)
        session.close()
