"""Sessions that are kept open between transactions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from gateway.net.mx import Host

_MOST_TRANSACTIONS = 100
"""Transactions after which a session is closed, so that load moves to hosts that came back."""
_MOST_SECONDS = 300.0
"""Age at which a session is closed."""


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


S = TypeVar("S", bound=Reusable)


class Pool(Generic[S]):
    """Idle sessions by host. Those in use belong to who took them."""

    def __init__(self, idle_seconds: float, count: Callable[[int], None]) -> None:
        """`count` is told how many there are, whenever that changes."""
        self._idle_seconds = idle_seconds
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
        worn = session.transactions >= _MOST_TRANSACTIONS or loop.time() - session.opened > _MOST_SECONDS
        if self._closed or worn or not session.connected:
            session.close()
            return
        self._idle[session] = loop.call_later(self._idle_seconds, self._expire, session)
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
