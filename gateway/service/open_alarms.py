"""The alarms that are open, and what people were told about them, for all workers and beyond a restart.

The alarms stand in one file of the spool's directory. A worker changes them under a lock, so an alarm that several
workers raise at once is told by one of them. The file's room is reserved at the start, because alarms matter most on a
full disk.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from gateway.model.event import ABOUT, Alarm, Event, Level
from gateway.model.value import Value, asdict, replace
from gateway.service.alarm_kinds import CLEARING, ENDED_BY, kind_named

FILE = "alarms"
"""Below the spool's."""
_OCTETS = 524_288
"""Size of the file."""
_LENGTH = 8
"""Octets of the length, which stands before the JSON."""
_MOST_OPEN = 1000
_MOST_VALUE = 300
"""Characters of one field that are kept."""
_TRIES = 10
_PAUSE = 0.001
"""Seconds between tries to get the lock: others hold it for less than a millisecond."""
_LINK = re.compile(r" ?\(\[[^]]*\]\([^)]*\)\)")

Key = tuple[str, tuple[tuple[str, str], ...]]


class OpenAlarm(Value):
    """One alarm that is open, or was ended within its period."""

    kind: str
    about: tuple[tuple[str, str], ...]
    """The fields that distinguish it from others of its kind."""
    since: float
    """Epoch seconds of the first event."""
    last: float
    """Epoch seconds of the latest event."""
    fix: str
    id: str
    fields: tuple[tuple[str, str], ...]
    """Of the latest event, like the id."""
    open: bool = True
    told: float | None = None
    """Epoch seconds at which people were last told that it is raised."""
    told_open: bool = False
    """People were last told that it is raised, and not that it is over."""
    teller: int | None = None
    """The worker that is telling them now."""
    repeated: int = 0
    """Number of events since it was last told."""

    @property
    def text(self) -> str:
        """Its kind, its subject and its meaning, in plain text."""
        about = ", ".join(f"{field} {value}" for field, value in self.about if value)
        return f"{self.kind}{f' ({about})' if about else ''}: {_plain(kind_named(self.kind).means)}"

    @property
    def key(self) -> Key:
        return self.kind, self.about


def _plain(markdown: str) -> str:
    """The text without its links and marks."""
    return _LINK.sub("", markdown).replace("`", "")


class OpenAlarms:
    """The alarms as plain state, by key."""

    def __init__(self, period: float, alarms: Sequence[OpenAlarm] = ()) -> None:
        """`period`: seconds for which the same alarm is not told again. An alarm without an ending event is over when
        it was not raised for so long."""
        self._period = period
        self._alarms = {one.key: one for one in alarms}

    def note(self, event: Event, now: float, teller: int = 0, missed: int = 0) -> Sequence[Alarm]:
        """Take an alarm, or an event of `CLEARING`; returns what `teller` is to tell. `now` is in epoch seconds;
        `missed` equal events came before it."""
        fields = tuple((field, str(value)[:_MOST_VALUE]) for field, value in event.fields)
        about = tuple((field, value) for field, value in fields if field in ABOUT)
        if event.name in CLEARING:
            return self._end(event, about, fields, now, teller)
        if event.level is not Level.ALARM:
            return ()
        fix = dict(fields).get("fix", "") or _plain(kind_named(event.name).steps)
        known = self._alarms.pop((event.name, about), None)
        if known is None:
            known = OpenAlarm(event.name, about, now, now, fix, event.id, fields)
        else:
            since = known.since if known.open else now
            repeated = known.repeated + 1 + missed
            known = replace(
                known, since=since, last=now, id=event.id, fields=fields, fix=fix, open=True, repeated=repeated
            )
        self._alarms[known.key] = known
        while len(self._alarms) > _MOST_OPEN:
            del self._alarms[next(iter(self._alarms))]
        return [self._raise(known, now, teller)] if self._may_tell(known, now) else []

    def due(self, now: float, teller: int, began: float) -> Sequence[Alarm]:
        """What is to be told without another event: alarms that came back within their period, and what nobody could
        tell. An alarm that has not come since the gateway `began`, for a whole period, is over."""
        telling: list[Alarm] = []
        for one in tuple(self._alarms.values()):
            if not kind_named(one.kind).cleared_by:
                continue
            if one.open and one.last < began <= now - self._period:
                one = self._alarms[one.key] = replace(one, open=False)
            if one.teller is not None:
                continue
            if one.open and not one.told_open and self._may_tell(one, now):
                telling.append(self._raise(one, now, teller))
            elif not one.open and one.told_open:
                self._alarms[one.key] = replace(one, teller=teller)
                telling.append(Alarm(kind_named(one.kind).cleared_by[0], "", now, one.about))
        return telling

    def settle(self, alarm: Alarm, told: bool) -> None:
        """People were told this, or could not be."""
        about = tuple((field, value) for field, value in alarm.fields if field in ABOUT)
        raised = self._alarms.get((alarm.name, about))
        if raised is not None and raised.open:
            self._alarms[raised.key] = replace(raised, teller=None) if told else _untold(raised)
        for key in self._ended_by(alarm.name, about):
            one = self._alarms[key]
            if one.told_open:
                self._alarms[key] = replace(one, teller=None, told_open=not told)

    def disown(self, teller: int, workers: int) -> None:
        """The worker `teller` begins, of so many: what its predecessor was telling may not have been told."""
        for key, one in self._alarms.items():
            if one.teller is not None and (one.teller == teller or one.teller >= workers):
                self._alarms[key] = _untold(one) if one.open else replace(one, teller=None)

    def current(self, now: float) -> Sequence[OpenAlarm]:
        """The open alarms, the oldest first."""
        for key, one in tuple(self._alarms.items()):
            if kind_named(one.kind).cleared_by:
                over = not one.open and not one.told_open and self._may_tell(one, now)
            else:
                over = one.last <= now and now - one.last > self._period
            if over:
                del self._alarms[key]
        return sorted((one for one in self._alarms.values() if one.open), key=lambda one: one.since)

    def all(self) -> Sequence[OpenAlarm]:
        """Also those that were ended within their period."""
        return tuple(self._alarms.values())

    def _end(
        self, event: Event, about: tuple[tuple[str, str], ...], fields: tuple[tuple[str, str], ...], now: float, by: int
    ) -> Sequence[Alarm]:
        tells = False
        for key in self._ended_by(event.name, about):
            one = self._alarms[key]
            if one.open:
                tells = tells or one.told_open
                self._alarms[key] = replace(one, open=False, teller=by if one.told_open else None)
        return [Alarm(event.name, event.id, now, fields)] if tells else []

    def _ended_by(self, event: str, about: tuple[tuple[str, str], ...]) -> list[Key]:
        kinds = ENDED_BY.get(event, ())
        return [key for key in self._alarms if key[0] in kinds and set(about) <= set(key[1])] if kinds else []

    def _raise(self, one: OpenAlarm, now: float, teller: int) -> Alarm:
        self._alarms[one.key] = replace(one, told=now, told_open=True, teller=teller, repeated=0)
        return Alarm(one.kind, one.id, now, one.fields, max(one.repeated - 1, 0))

    def _may_tell(self, one: OpenAlarm, now: float) -> bool:
        """True also when the clock was set back since it was told: twice is better than never."""
        return one.told is None or not 0 <= now - one.told < self._period


def _untold(one: OpenAlarm) -> OpenAlarm:
    return replace(one, teller=None, told=None, told_open=False)


class AlarmFile:
    """The alarms of all workers. Without the file, on a disk without room, each worker knows its own."""

    def __init__(self, directory: Path, period: float) -> None:
        self._period = period
        self._read: bytes = b""
        self._alarms = OpenAlarms(period)
        self._file: int | None = None
        with suppress(OSError):
            self._file = os.open(directory / FILE, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            os.posix_fallocate(self._file, 0, _OCTETS)

    @contextmanager
    def change(self) -> Iterator[OpenAlarms]:
        """The alarms, which no other worker changes meanwhile. A worker that was stopped while it held the
        lock stops no other: after some milliseconds this worker's own knowledge counts."""
        if self._file is None or not self._lock(self._file):
            yield self._alarms
            return
        try:
            self._load(self._file)
            yield self._alarms
            self._store(self._file)
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _lock(self, file: int) -> bool:
        for _ in range(_TRIES):
            with suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            time.sleep(_PAUSE)
        return False

    def _load(self, file: int) -> None:
        """A file that cannot be read changes nothing: then this worker's own knowledge counts."""
        with suppress(OSError, ValueError, TypeError, KeyError, OverflowError):
            written = os.pread(file, int.from_bytes(os.pread(file, _LENGTH, 0), "big"), _LENGTH)
            if written != self._read:
                self._alarms = OpenAlarms(self._period, [_revive(one) for one in json.loads(written)])
                self._read = written

    def _store(self, file: int) -> None:
        alarms = self._alarms.all()
        octets = _encode(alarms)
        while len(octets) > _OCTETS - _LENGTH:
            alarms = alarms[len(alarms) // 2 + 1 :]
            octets = _encode(alarms)
        if octets != self._read:
            with suppress(OSError):
                os.pwrite(file, len(octets).to_bytes(_LENGTH, "big") + octets, 0)
                self._read = octets


def _encode(alarms: Sequence[OpenAlarm]) -> bytes:
    return f"[{','.join(map(_write, alarms))}]".encode()


@lru_cache(8 * _MOST_OPEN)
def _write(one: OpenAlarm) -> str:
    """Remembered, because most alarms are the same at the next change."""
    return json.dumps(asdict(one), separators=(",", ":"))


def _revive(written: Mapping[str, Any]) -> OpenAlarm:
    about, fields = (tuple((name, value) for name, value in written[part]) for part in ("about", "fields"))
    return OpenAlarm(**{**written, "about": about, "fields": fields})
