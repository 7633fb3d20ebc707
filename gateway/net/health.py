"""Which hosts of a backend are tried last for a while, because no session with them came about."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from gateway.model.address import IPText
from gateway.net.mx import Host

_SICK_SECONDS = 60.0
_MOST_REMEMBERED = 1000

Candidate = tuple[Host, IPText]


class Health:
    """Of hosts with their addresses."""

    def __init__(self) -> None:
        self._sick: dict[Candidate, float] = {}
        """Until when, in the loop's time."""

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
        """The same candidates, those that failed lately last: with all of them sick, all are tried."""
        later = []
        async with aclosing(candidates):
            async for candidate in candidates:
                if self._sick.get(candidate, 0.0) > asyncio.get_running_loop().time():
                    later.append(candidate)
                else:
                    yield candidate
        for candidate in later:
            yield candidate
