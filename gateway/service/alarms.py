"""Alarms: an event of level ALARM is brought to people, by every way that is configured, and the same one only once.

In: events, as any sink gets them. Out: what couriers carry. The log and the metrics have every event anyway.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.mail.alarm import compose
from gateway.model.address import Mailbox
from gateway.model.alarm import ABOUT, Alarm
from gateway.model.event import Event, Level
from gateway.plan.own_mail import post
from gateway.ports import Clock, EventSink, IntakeStore, Tally

_GATHER = 3.0
"""Seconds for which more alarms are awaited, so that what happens together is told together."""
_MOST_TOGETHER = 50
_MOST_WAITING = 1000
_MOST_REMEMBERED = 10_000
_PAUSES = (5.0, 30.0, 120.0)
"""Seconds before a courier that failed is asked again."""


class Courier(Protocol):
    """Brings alarms to people."""

    @property
    def name(self) -> str: ...

    async def tell(self, alarms: Sequence[Alarm]) -> None:
        """Bring these, at least one. Raises when they did not arrive."""


def fan_out(*sinks: EventSink) -> EventSink:
    """One sink for several: each gets every event, in this order."""

    def emit(event: Event) -> None:
        for sink in sinks:
            sink(event)

    return emit


@dataclass(slots=True)
class _Told:
    until: float
    """Monotonic seconds until which the same alarm is not told again."""
    repeated: int = 0


class Alarms:
    """Takes every event, tells those that are alarms."""

    def __init__(
        self, couriers: Sequence[Courier], clock: Clock, emit: EventSink, repeat_after: float, tally: Tally
    ) -> None:
        """`emit` takes what is to be said of the couriers themselves; `repeat_after` is in seconds. `tally` knows what
        another worker has told."""
        self._couriers = couriers
        self._clock = clock
        self._emit = emit
        self._repeat_after = repeat_after
        self._tally = tally
        self._told: dict[tuple[str, ...], _Told] = {}
        self._waiting: asyncio.Queue[Alarm] = asyncio.Queue(_MOST_WAITING)
        self._telling: set[asyncio.Task[None]] = set()

    def __call__(self, event: Event) -> None:
        """Queue the event if it is an alarm and was not told lately."""
        if event.level is not Level.ALARM or not self._couriers:
            return
        now = self._clock.monotonic()
        fields = tuple((key, str(value)) for key, value in event.fields)
        key = (event.name, *(value for name, value in fields if name in ABOUT))
        told = self._told.get(key)
        if told is not None and now < told.until:
            told.repeated += 1
            return
        if not self._claim(key):
            self._remember(key, now)  # another worker tells it
            return
        alarm = Alarm(event.name, event.id, self._clock.now(), fields, told.repeated if told else 0)
        try:
            self._waiting.put_nowait(alarm)
        except asyncio.QueueFull:
            return  # the log has it
        self._remember(key, now)

    def _claim(self, key: tuple[str, ...]) -> bool:
        """True when no other worker has told this lately."""
        name = " ".join(("alarm", *key))
        if self._tally.add(name) > 1:
            self._tally.add(name, -1)
            return False
        asyncio.get_running_loop().call_later(self._repeat_after, self._tally.add, name, -1)
        return True

    def _remember(self, key: tuple[str, ...], now: float) -> None:
        self._told.pop(key, None)  # so that the order is that of telling
        self._told[key] = _Told(now + self._repeat_after)
        if len(self._told) > _MOST_REMEMBERED:
            del self._told[next(iter(self._told))]

    async def run(self) -> None:
        """Tell what waits, until cancelled. Couriers do not wait for each other."""
        while True:
            alarms = [await self._waiting.get()]
            await asyncio.sleep(_GATHER)
            while not self._waiting.empty() and len(alarms) < _MOST_TOGETHER:
                alarms.append(self._waiting.get_nowait())
            for courier in self._couriers:
                task = asyncio.create_task(self._tell(courier, tuple(alarms)))
                self._telling.add(task)
                task.add_done_callback(self._telling.discard)

    async def close(self) -> None:
        """Tell nothing more."""
        for task in self._telling:
            task.cancel()
        await asyncio.gather(*self._telling, return_exceptions=True)

    async def _tell(self, courier: Courier, alarms: Sequence[Alarm]) -> None:
        """Try it a few times; what fails at last is in the log, at a level that makes no alarm of it."""
        for pause in (*_PAUSES, None):
            try:
                await courier.tell(alarms)
            except Exception as error:
                fields = (("courier", courier.name), ("error", repr(error)), ("alarms", len(alarms)))
                self._emit(Event("alarm-not-told", "", fields, Level.WARNING))
                if pause is None:
                    return
                await asyncio.sleep(pause)
            else:
                self._emit(Event("alarm-told", "", (("courier", courier.name), ("alarms", len(alarms)))))
                return


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
        """`route` names the backend that takes mail to a mailbox; `wake` is called when some is due."""
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
