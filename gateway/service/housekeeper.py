"""Keeps the spool within what retention asks for, a little at a time, tells when it has no room for new mail, and moves
its times along when the clock jumps."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from gateway.model.event import Event, Level
from gateway.ports import Clock, EventSink, Spool

_PAUSE = 60.0
"""Seconds between rounds."""
_STEP_PAUSE = 0.2
"""Seconds between the steps of a round that finds much, so that mail goes first."""


_CLOCK_EVERY = 0.5
"""Seconds between looks at the clock; until then it goes on as it was."""
_LOOK_EVERY = 2.0
"""Seconds between looks at how much room there is."""


class JumpingClock(Protocol):
    """A wall clock that may be set."""

    def jump(self) -> float:
        """Seconds by which it has jumped; 0 as a rule."""

    def adopt(self) -> None:
        """Go by it from now on."""


class ClockWatch:
    """Moves the times of what waits along when the wall clock jumps. Runs until cancelled."""

    def __init__(
        self, clock: JumpingClock, move: Callable[[float, Callable[[], None]], Awaitable[None]], emit: EventSink
    ) -> None:
        self._clock = clock
        self._move = move
        self._emit = emit

    async def run(self) -> None:
        while True:
            await asyncio.sleep(_CLOCK_EVERY)
            await self.look()

    async def look(self) -> None:
        jump = self._clock.jump()
        if not jump:
            return
        try:
            await self._move(jump, self._clock.adopt)
        except Exception as error:
            self._emit(Event("error", "", (("where", "clock"), ("error", repr(error))), Level.WARNING))
            return
        tell_jump(jump, self._emit)


def tell_jump(seconds: float, emit: EventSink) -> None:
    """While it ran, or found at the start when the clock had been set back meanwhile."""
    emit(Event("clock-jumped", "", (("seconds", round(seconds)), ("fix", _SET_RIGHT)), Level.ALARM))


def tell_start(moved: float, emit: EventSink) -> None:
    """What the spool found at its start: a clock that was set back, or that nobody looked for long."""
    if moved < 0:
        tell_jump(moved, emit)
    elif moved > 0:
        emit(Event("time-not-counted", "", (("seconds", round(moved)),)))


_SET_RIGHT = "the times of what waits were moved along; see to the machine's clock (NTP)"


class StorageWatch:
    """Tells when new mail is refused for want of room, when it is taken again, and what cannot be read. Runs until
    cancelled."""

    def __init__(self, spool: Spool, emit: EventSink) -> None:
        self._spool = spool
        self._emit = emit
        self.takes = True
        """New mail is stored."""

    async def run(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(_LOOK_EVERY)

    async def look(self) -> None:
        """One event for each change."""
        try:
            storage = await self._spool.storage()
        except Exception as error:
            self._emit(Event("error", "", (("where", "storage"), ("error", repr(error))), Level.WARNING))
            return
        if storage.takes is not self.takes:
            self.takes = storage.takes
            figures = (("free", storage.free), ("free_inside", storage.inside), ("reserve", storage.reserve))
            if storage.takes:
                self._emit(Event("storage-restored", "", figures, Level.ALARM))
            else:
                self._emit(Event("storage-refused", "", (*figures, ("fix", _FIX)), Level.ALARM))
        self.tell_damage()

    def tell_damage(self) -> None:
        """What was found since the last look."""
        for one in self._spool.take_damage():
            fields = (("transfer", one.transfer_id), ("error", one.why), ("fix", _LOOK_AT))
            self._emit(Event("row-unreadable", one.message_id, fields, Level.ALARM))


_FIX = (
    "new mail gets 452 until there is room: free space on the spool's disk, or mend it; mail that leaves makes room too"
)

_LOOK_AT = "it is held: `waypost spool check` names every such row, `waypost queue list --held` what it belongs to"


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
