"""Keeps the spool within what retention asks for, a little at a time."""

from __future__ import annotations

import asyncio

from gateway.model.event import Event, Level
from gateway.ports import Clock, EventSink, Spool

_PAUSE = 60.0
"""Seconds between rounds."""
_STEP_PAUSE = 0.2
"""Seconds between the steps of a round that finds much, so that mail goes first."""


class Housekeeper:
    """Runs until cancelled."""

    def __init__(self, spool: Spool, clock: Clock, emit: EventSink) -> None:
        self._spool = spool
        self._clock = clock
        self._emit = emit

    async def run(self) -> None:
        while True:
            removed = await self.round()
            await asyncio.sleep(_STEP_PAUSE if removed else _PAUSE)

    async def round(self) -> int:
        """One bounded purge; how many rows went. A failure is told and tried again later."""
        try:
            return await self._spool.purge(self._clock.now())
        except Exception as error:
            self._emit(Event("error", "", (("where", "purge"), ("error", repr(error))), Level.WARNING))
            return 0
