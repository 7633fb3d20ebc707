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
from gateway.ports import Clock, EventSink, IntakeStore, Tally
from gateway.service.alarm_kinds import CLEARING, OpenAlarms

_GATHER = 3.0
"""Seconds for which further alarms are awaited, so that simultaneous ones are sent together."""
_MOST_TOGETHER = 50
_MOST_WAITING = 1000
_MOST_REMEMBERED = 10_000
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
class _Told:
    until: float
    """Monotonic seconds until which the same alarm is not sent again."""
    repeated: int = 0


class Alarms:
    """Takes every event and sends those that are alarms."""

    def __init__(
        self, couriers: Sequence[Courier], clock: Clock, emit: EventSink, repeat_after: float, tally: Tally
    ) -> None:
        """`emit` takes events about the couriers themselves; `repeat_after` is in seconds. `tally` knows the alarms
        sent by other workers."""
        self._couriers = couriers
        self._clock = clock
        self._emit = emit
        self._repeat_after = repeat_after
        self._tally = tally
        self.open = OpenAlarms(repeat_after)
        self._told: dict[tuple[str, ...], _Told] = {}
        self._claims: dict[tuple[str, ...], asyncio.TimerHandle] = {}
        """The alarms that this worker has sent or is about to send."""
        self._waiting: asyncio.Queue[Alarm] = asyncio.Queue(_MOST_WAITING)
        self._telling: set[asyncio.Task[None]] = set()

    def __call__(self, event: Event) -> None:
        """Queue the event if it is an alarm, or the end of one, and was not sent lately."""
        if event.level is not Level.ALARM and event.name not in CLEARING:
            return
        ends = self.open.note(event, self._clock.now())
        if not (ends or event.level is Level.ALARM) or not self._couriers:
            return
        now = self._clock.monotonic()
        fields = tuple((key, str(value)) for key, value in event.fields)
        key = _find_key(event.name, fields)
        told = self._told.get(key)
        if told is not None and now < told.until:
            told.repeated += 1
            return
        if self._waiting.full():
            return  # the log has it, and the next one of its kind is sent
        if self._claim(key):
            alarm = Alarm(event.name, event.id, self._clock.now(), fields, told.repeated if told else 0)
            self._waiting.put_nowait(alarm)
        self._remember(key, now)  # whether this worker or another one sends it

    def _claim(self, key: tuple[str, ...]) -> bool:
        """True when no other worker has sent this lately."""
        name = " ".join(("alarm", *key))
        if self._tally.add(name) > 1:
            self._tally.add(name, -1)
            return False
        self._claims[key] = asyncio.get_running_loop().call_later(self._repeat_after, self._give_up, key)
        return True

    def _give_up(self, key: tuple[str, ...]) -> None:
        """Let the worker that next has this alarm send it."""
        handle = self._claims.pop(key, None)
        if handle is not None:
            handle.cancel()
            self._tally.add(" ".join(("alarm", *key)), -1)

    def _remember(self, key: tuple[str, ...], now: float) -> None:
        self._told.pop(key, None)  # so that the order is that of sending
        self._told[key] = _Told(now + self._repeat_after)
        if len(self._told) > _MOST_REMEMBERED:
            del self._told[next(iter(self._told))]

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

    async def close(self) -> None:
        """Send nothing more."""
        for task in self._telling:
            task.cancel()
        await asyncio.gather(*self._telling, return_exceptions=True)

    async def _tell_all(self, alarms: Sequence[Alarm]) -> None:
        """Send by all couriers. An alarm that none could deliver is sent again at its next occurrence."""
        if not any(await asyncio.gather(*(self._tell(courier, alarms) for courier in self._couriers))):
            for alarm in alarms:
                key = _find_key(alarm.name, alarm.fields)
                self._told.pop(key, None)
                self._give_up(key)

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


def _find_key(name: str, fields: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """The key that equal alarms share."""
    return (name, *(value for field, value in fields if field in ABOUT))


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
