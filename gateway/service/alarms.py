"""Alarms: each event of level ALARM reaches people by every configured way, and the same alarm only once.

In: events, as any sink gets them. Out: alarms for couriers. The log and the metrics have every event anyway.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.mail.alarm import compose
from gateway.model.envelope import Mailbox
from gateway.model.event import ABOUT, Alarm, Event, Level
from gateway.plan.own_mail import post
from gateway.ports import Clock, EventSink, IntakeStore
from gateway.service.alarm_kinds import CLEARING, kind_named
from gateway.service.open_alarms import AlarmFile, OpenAlarm, OpenAlarms

_GATHER = 3.0
"""Seconds for which further alarms are awaited, so that simultaneous ones are sent together."""
_MOST_TOGETHER = 50
_MOST_WAITING = 1000
_MOST_REMEMBERED = 10_000
_LOOK_EVERY = 10.0
"""Seconds between looks at what is to be told without another event."""
_PAUSES = (5.0, 30.0, 120.0)
"""Seconds before a failed courier is tried again."""


class Courier(Protocol):
    """Sends alarms to people."""

    @property
    def name(self) -> str: ...

    async def tell(self, alarms: Sequence[Alarm]) -> None:
        """Send these alarms, at least one. Raises when they did not arrive."""


def fan_out(*sinks: EventSink) -> EventSink:
    """One sink for several: each gets every event, in this order. All of them are told of a fault in one, but never the
    emitter, which may have to answer for a delivery."""

    def emit(event: Event) -> None:
        for sink in sinks:
            try:
                sink(event)
            except Exception as error:
                if event.name != "error":
                    fields = (("where", f"event {event.name}"), ("error", repr(error)))
                    emit(Event("error", event.id, fields, Level.ALARM))

    return emit


@dataclass(slots=True)
class _Noted:
    until: float
    """Monotonic seconds until which equal events are only counted."""
    missed: int = 0


class Alarms:
    """Takes every event and sends those that are alarms."""

    def __init__(
        self, couriers: Sequence[Courier], clock: Clock, emit: EventSink, file: AlarmFile, worker: int, workers: int
    ) -> None:
        """`emit` takes events about the couriers themselves. `file` knows what all `workers` have sent; this one has
        the number `worker`."""
        self._couriers = couriers
        self._clock = clock
        self._emit = emit
        self._file = file
        self._worker = worker
        self._began = clock.now()
        with file.change() as alarms:
            alarms.disown(worker, workers)
        self._noted: dict[tuple[str, ...], _Noted] = {}
        self._waiting: asyncio.Queue[Alarm] = asyncio.Queue(_MOST_WAITING)
        self._telling: set[asyncio.Task[None]] = set()

    def __call__(self, event: Event) -> None:
        """Queue the event if it is an alarm, or the end of one, and was not sent lately."""
        if event.level is not Level.ALARM and event.name not in CLEARING:
            return
        if self._waiting.full():
            return  # the log has it, and the next one of its kind is sent
        missed = self._count(event)
        if missed is None:
            return
        with self._file.change() as alarms:
            telling = alarms.note(event, self._clock.now(), self._worker, missed)
            self._queue(telling, alarms)

    def current(self) -> Sequence[OpenAlarm]:
        """The open alarms of all workers, the oldest first."""
        with self._file.change() as alarms:
            return alarms.current(self._clock.now())

    async def run(self) -> None:
        """Send waiting alarms, until cancelled. Couriers do not wait for each other."""
        while True:
            alarms = [await self._waiting.get()]
            await asyncio.sleep(_GATHER)
            while not self._waiting.empty() and len(alarms) < _MOST_TOGETHER:
                alarms.append(self._waiting.get_nowait())
            task = asyncio.create_task(self._tell_all(tuple(alarms)))
            self._telling.add(task)
            task.add_done_callback(self._telling.discard)

    async def keep_looking(self) -> None:
        """Look regularly, until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_EVERY)
            self.look()

    def look(self) -> None:
        """Queue what is to be told without another event."""
        with self._file.change() as alarms:
            now = self._clock.now()
            alarms.current(now)
            self._queue(alarms.due(now, self._worker, self._began), alarms)

    async def close(self) -> None:
        """Send nothing more."""
        for task in self._telling:
            task.cancel()
        await asyncio.gather(*self._telling, return_exceptions=True)
        self._file.close()

    def _count(self, event: Event) -> int | None:
        """The number of equal events that were only counted, or None when this one is only counted too: a fault may
        recur with each message, and the file is not opened as often."""
        if kind_named(event.name).cleared_by or event.name in CLEARING:
            return 0
        key = (event.name, *(str(value) for field, value in event.fields if field in ABOUT))
        now, known = self._clock.monotonic(), self._noted.pop(key, None)
        if known is not None and now < known.until:
            known.missed += 1
            self._noted[key] = known
            return None
        self._noted[key] = _Noted(now + _LOOK_EVERY)
        if len(self._noted) > _MOST_REMEMBERED:
            del self._noted[next(iter(self._noted))]
        return known.missed if known is not None else 0

    def _queue(self, telling: Sequence[Alarm], alarms: OpenAlarms) -> None:
        for alarm in telling:
            if not self._couriers:
                alarms.settle(alarm, told=True)
            elif self._waiting.full():
                alarms.settle(alarm, told=False)
            else:
                self._waiting.put_nowait(alarm)

    async def _tell_all(self, alarms: Sequence[Alarm]) -> None:
        """Send by all couriers. An alarm that none could deliver is sent again."""
        told = any(await asyncio.gather(*(self._tell(courier, alarms) for courier in self._couriers)))
        with self._file.change() as known:
            for alarm in alarms:
                known.settle(alarm, told)
        if not told:
            self._noted.clear()

    async def _tell(self, courier: Courier, alarms: Sequence[Alarm]) -> bool:
        """Try the courier a few times; a final failure goes to the log, at a level below alarm."""
        for pause in (*_PAUSES, None):
            try:
                await courier.tell(alarms)
            except Exception as error:
                fields = (("courier", courier.name), ("error", repr(error)), ("alarms", len(alarms)))
                self._emit(Event("alarm-not-told", "", fields, Level.WARNING))
                if pause is not None:
                    await asyncio.sleep(pause)
            else:
                self._emit(Event("alarm-told", "", (("courier", courier.name), ("alarms", len(alarms)))))
                return True
        return False


class MailCourier:
    """Sends alarms through the gateway's own spool. A `Courier`."""

    name = "mail"

    def __init__(
        self,
        to: Sequence[Mailbox],
        hostname: str,
        spool: IntakeStore,
        clock: Clock,
        route: Callable[[Mailbox], str],
        wake: Callable[[], None],
    ) -> None:
        """`route` names the backend for mail to a mailbox; `wake` is called when a transfer is due."""
        self._to = to
        self._hostname = hostname
        self._spool = spool
        self._clock = clock
        self._route = route
        self._wake = wake

    async def tell(self, alarms: Sequence[Alarm]) -> None:
        """Store one message for each mailbox. Raises SpoolFull."""
        for mailbox in self._to:
            id, now = self._clock.new_id(), self._clock.now()
            octets = compose(alarms, mailbox, self._hostname, id, now)
            await self._spool.commit(post(octets, mailbox, "alarm", self._hostname, now, id, self._route(mailbox)))
        self._wake()
