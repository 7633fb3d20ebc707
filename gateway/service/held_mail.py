"""Ends the holding of messages: on an admin's command, or at their expiry. Sends postmaster a daily list of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from datetime import UTC, datetime
from typing import Protocol

from gateway.mail.digest import Digest
from gateway.mail.path import mailbox
from gateway.model.delivery import Act, Final, Trace, Transfer
from gateway.model.envelope import Mailbox
from gateway.model.event import Event, Level
from gateway.model.reply import Reply
from gateway.plan.amendment import end_all, make_digest, plan_release
from gateway.ports import Clock, EventSink, Spool, Storage
from gateway.service.runtime import RuntimeConfig

_PURGE_PAUSE = 60.0
"""Seconds between rounds."""
_STEP_PAUSE = 0.2
"""Seconds between the steps of a long round, so that mail goes first."""


_CLOCK_EVERY = 0.5
"""Seconds between checks of the clock; until the next one it continues as before."""
_LOOK_EVERY = 2.0
"""Seconds between checks of the room on the disk."""
_LOW, _AMPLE = 8, 10
"""Multiples of the reserve: with less than the first the room is low, with more than the second it is ample again."""


class JumpingClock(Protocol):
    """A wall clock that can be set."""

    def jump(self) -> float:
        """Seconds by which it has jumped; usually 0."""

    def adopt(self) -> None:
        """Adopt the jump."""


class ClockWatch:
    """Moves stored times along when the wall clock jumps. Runs until cancelled."""

    def __init__(
        self, clock: JumpingClock, move: Callable[[float, Callable[[], None]], Awaitable[None]], emit: EventSink
    ) -> None:
        self._clock = clock
        self._move = move
        self._emit = emit
        self._unfinished = False
        """Some times may have been moved, others not."""

    async def run(self) -> None:
        while True:
            await asyncio.sleep(_CLOCK_EVERY)
            await self.look()

    async def look(self) -> None:
        jump = self._clock.jump()
        # If the clock was corrected right after a failed move, the moved times have to go back.
        if not jump and not self._unfinished:
            return
        try:
            self._unfinished = True
            await self._move(jump, self._clock.adopt)
            self._unfinished = False
        except Exception as error:
            self._emit(Event("error", "", (("where", "clock"), ("error", repr(error))), Level.WARNING))
            return
        if jump:
            tell_jump(jump, self._emit)


def tell_jump(seconds: float, emit: EventSink) -> None:
    """Report a jump: during the run, or found at the start when the clock had been set back."""
    emit(Event("clock-jumped", "", (("seconds", round(seconds)), ("fix", _SET_RIGHT)), Level.ALARM))


def tell_start(moved: float, emit: EventSink) -> None:
    """Report the spool's finding at its start: a clock that was set back, or a long gap between checks."""
    if moved < 0:
        tell_jump(moved, emit)
    elif moved > 0:
        emit(Event("time-not-counted", "", (("seconds", round(moved)),)))


_SET_RIGHT = "the times of what waits were moved along; see to the machine's clock (NTP)"


class StorageWatch:
    """Reports when new mail is refused for lack of room, when it is accepted again, and unreadable rows. Runs until
    cancelled."""

    def __init__(self, spool: Spool, emit: EventSink, open: Collection[str] = ()) -> None:
        """`open` are the alarms that the last run left open: they end at the first look if all is well."""
        self._spool = spool
        self._emit = emit
        self.takes = "storage-refused" not in open
        """New mail is accepted."""
        self._low = "storage-low" in open

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
        self._tell_low(storage)
        self.tell_damage()

    def _tell_low(self, storage: Storage) -> None:
        """Report that the room is about to run out, before mail is refused."""
        limit = storage.reserve * (_AMPLE if self._low else _LOW)
        if (storage.free < limit) is self._low:
            return
        self._low = not self._low
        figures = (("free", storage.free), ("reserve", storage.reserve))
        if self._low:
            self._emit(Event("storage-low", "", (*figures, ("fix", "free space on the spool's disk")), Level.ALARM))
        else:
            self._emit(Event("storage-ample", "", figures))

    def tell_damage(self) -> None:
        """Report the damage found since the last check."""
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
            await asyncio.sleep(_STEP_PAUSE if removed else _PURGE_PAUSE)

    async def round(self) -> int:
        """One bounded purge; returns the number of removed rows. A failure is reported and tried again later."""
        try:
            return await self._spool.purge(self._clock.now())
        except Exception as error:
            self._emit(Event("error", "", (("where", "purge"), ("error", repr(error))), Level.WARNING))
            return 0


_PAUSE = 60.0
"""Seconds between checks of the clock."""
_SOON = 259_200.0
"""Seconds before its expiry from which a message is listed as expiring soon: three days."""
_DAY = 86_400.0
_AT_ONCE = 1000
_MOST_LISTED = 10_000
_DELETED = Reply(550, "7.1", "Deleted by an admin while it was held")
_EXPIRED = Reply(550, "4.7", "Nobody decided on it while it was held")


class NotHeld(Exception):
    """Nothing was done; the text gives the reason, for the admin."""


class HeldMail:
    """Decides on held messages."""

    def __init__(
        self,
        spool: Spool,
        runtime: Callable[[], RuntimeConfig],
        clock: Clock,
        emit: EventSink,
        wake: Callable[[], None],
        route: Callable[[Mailbox], str],
    ) -> None:
        """`wake` tells delivery that a transfer is due; `route` names the backend for mail to this mailbox."""
        self._spool = spool
        self._runtime = runtime
        self._clock = clock
        self._emit = emit
        self._wake = wake
        self._route = route

    async def release(self, id: str, by: str) -> None:
        """Deliver a held message by the current routes. Raises NotHeld."""
        story = await self._spool.reader.story(id)
        if story is None or not story.held:
            raise NotHeld(f"{id} is not held")
        now = self._clock.now()
        try:
            transfers = () if story.waiting else self._plan(story.trace, now)
        except ValueError as error:
            raise NotHeld(f"{id} cannot be delivered: {error}") from None
        if not await self._spool.let_go(id, transfers, Act(now, "released", by)):
            raise NotHeld(f"{id} is held no more, or as a transfer, which `waypost queue` shows")
        self._emit(Event("released", id, (("by", by),)))
        self._wake()

    def _plan(self, trace: Trace, now: float) -> tuple[Transfer, ...]:
        runtime, ingress = self._runtime(), trace.edge or trace.internal
        # Mail that leaves through us may be for any domain.
        routing = runtime.routing.reaching(runtime.outgoing.route) if trace.departure else runtime.routing
        routes = routing.group(trace.envelope.rcpts, ingress.client if ingress else None)
        return plan_release(trace, routes, runtime.context, now)

    async def delete(self, id: str, by: str) -> None:
        """Remove a held message. Its sender gets no DSN: the address may be forged. Raises NotHeld."""
        await self._end(id, by, "deleted", Final.DELETED, _DELETED)
        self._emit(Event("hold-deleted", id, (("by", by),)))

    async def run(self, lists: bool) -> None:
        """Work each minute, until cancelled. `lists`: this worker sends the daily list, of all shards."""
        while True:
            try:
                await self.expire()
                if lists:
                    await self.send_list()
            except Exception as error:
                self._emit(Event("error", "", (("where", "held mail"), ("error", repr(error))), Level.WARNING))
            await asyncio.sleep(_PAUSE)

    async def expire(self) -> None:
        """Expire the messages that nobody has decided on in time."""
        for id in await self._spool.reader.overdue(self._clock.now(), _AT_ONCE):
            try:
                await self._end(id, "", "expired", Final.EXPIRED, _EXPIRED)
            except NotHeld:
                # An admin has just decided, or the message is being sent to another backend: the next round sees it.
                continue
            self._emit(Event("hold-expired", id, (), Level.WARNING))

    async def send_list(self) -> None:
        """Send the day's list, once, from its hour on; none when it would be empty."""
        settings, now = self._runtime().config.hold, self._clock.now()
        today = datetime.fromtimestamp(now, UTC)
        id = f"held-{today:%Y%m%d}"
        if not settings.digest or today.hour < settings.digest_hour or await self._spool.reader.story(id) is not None:
            return
        held = await self._spool.reader.held(_MOST_LISTED)
        given_up = await self._spool.reader.given_up(now - _DAY, _MOST_LISTED)
        if not (held or given_up):
            return
        to = self._find_reader()
        hostname = self._runtime().config.server.hostname
        digest = Digest(id, hostname, to, now, now + _SOON, held, given_up)
        await self._spool.commit(make_digest(digest, self._route(to)))
        self._emit(Event("hold-digest", id, (("to", str(to)), ("held", len(held)), ("expired", len(given_up)))))
        self._wake()

    async def _end(self, id: str, by: str, what: str, state: Final, reply: Reply) -> None:
        story = await self._spool.reader.story(id)
        if story is None or not story.held:
            raise NotHeld(f"{id} is not held")
        act = Act(self._clock.now(), what, by, end_all(story, state, reply))
        if not await self._spool.discard(id, act):
            raise NotHeld(f"{id} is held no more, or as a transfer, which `waypost queue` shows")

    def _find_reader(self) -> Mailbox:
        config = self._runtime().config
        found = mailbox(config.hold.digest_to or f"postmaster@{config.domain[0].name}")
        if found is None:
            raise ValueError(f"hold.digest_to: {config.hold.digest_to!r} is no mail address")
        return found
