"""Sessions that are kept open between transactions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from gateway.model.value import Value
from gateway.net.mx import Host


class Reusable(Protocol):
    """What the pool needs of a session."""

    @property
    def host(self) -> Host: ...

    @property
    def opened(self) -> float:
        """When it was opened, in the loop's time."""

    @property
    def transactions(self) -> int: ...

    @property
    def connected(self) -> bool: ...

    def close(self) -> None: ...


class PoolLimits(Value):
    """When a session is closed."""

    idle_seconds: float
    seconds: float
    """Age: load moves to hosts that came back."""
    transactions: int


S = TypeVar("S", bound=Reusable)


class Pool(Generic[S]):
    """Idle sessions by host. Those in use belong to who took them."""

    def __init__(self, limits: PoolLimits, count: Callable[[int], None]) -> None:
        """`count` is told how many there are, whenever that changes."""
        self._limits = limits
        self._count = count
        self._idle: dict[S, asyncio.TimerHandle] = {}
        self._closed = False

    def __len__(self) -> int:
        return len(self._idle)

    def take(self, host: Host) -> S | None:
        """The session with this host that was used last; it may have died since."""
        for session in reversed(self._idle):
            if session.host == host:
                self._forget(session)
                if session.connected:
                    return session
                session.close()
                return self.take(host)
        return None

    def put(self, session: S) -> None:
        """Keep a session for later, or close it when it is worn or the pool is closed."""
        loop = asyncio.get_running_loop()
        old = loop.time() - session.opened > self._limits.seconds
        worn = old or session.transactions >= self._limits.transactions
        if self._closed or worn or not session.connected:
            session.close()
            return
        self._idle[session] = loop.call_later(self._limits.idle_seconds, self._expire, session)
        self._count(len(self._idle))

    def shrink(self, most: int) -> None:
        """Close the sessions idle longest until at most `most` are left."""
        while len(self._idle) > max(most, 0):
            session = next(iter(self._idle))
            self._forget(session)
            session.close()

    def close(self) -> None:
        """Close all that is idle, and whatever comes back later."""
        self._closed = True
        self.shrink(0)

    def _forget(self, session: S) -> None:
        self._idle.pop(session).cancel()
        self._count(len(self._idle))

    def _expire(self, session: S) -> None:
        self._forget(session)
        session.close()
