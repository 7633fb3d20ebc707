"""The watch over what no single message shows: deaths of workers, routes that take nothing, old mail, certificates,
a long drain, and lost log lines. Each becomes an alarm once, again after its period while it lasts, and an all-clear.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from gateway.config.keyring import KeyringUnusable, KeyState, KeyUnusable, read_key, read_keyring
from gateway.config.maps import DIRECT
from gateway.config.model import Config
from gateway.model.delivery import Backlog
from gateway.model.event import Event, Level
from gateway.model.value import Value
from gateway.ports import Clock, EventSink, Tally
from gateway.service.certificates import CertificateCondition, examine_certificates
from gateway.service.open_alarms import OpenAlarm
from gateway.service.tally import Deaths
from gateway.service.traffic import Traffic

_EVERY = 2.0
"""Seconds between looks at what is in memory."""
_QUEUE_EVERY = 10.0
"""Seconds between looks at the spool and at certificates."""
_LONG_DRAIN = 600.0
_CERTIFICATES = {
    "certificate-ending": "soon",
    "certificate-urgent": "ended",
    "certificate-foreign": "foreign",
    "certificate-unreadable": "unreadable",
}
"""The state of a certificate for each kind of alarm."""


class BacklogReader(Protocol):
    """The spool's reader, as far as it is needed here."""

    async def backlogs(self) -> Sequence[Backlog]: ...


class Subject(Value):
    """The state that the watch examines."""

    number: int
    """This worker's number. The first worker watches all that is the same for every worker."""
    config: Callable[[], Config]
    reader: BacklogReader
    traffic: Traffic
    tally: Tally
    deaths: Deaths
    hindrance: Callable[[], str]
    """Why no mail is taken; empty when it is."""
    is_ready: Callable[[int], bool]
    """The worker of this number takes mail."""
    lost: Callable[[], int]
    """The number of log lines that were dropped."""


class AlarmWatch:
    """Runs until cancelled."""

    def __init__(
        self, subject: Subject, clock: Clock, emit: EventSink, tell: EventSink, before: Sequence[OpenAlarm] = ()
    ) -> None:
        """`tell` takes alarms that the log has already: the supervisor writes of each death. `before` are the alarms
        that were open at the start: each ends when its cause is found to be gone."""
        self._subject = subject
        self._clock = clock
        self._emit = emit
        self._tell = tell
        self._began = clock.monotonic()
        self._looked = float("-inf")
        self._raised: dict[tuple[str, ...], float] = {}
        """The alarms that last, each with the monotonic time at which it was raised last."""
        self._moving: set[str] = set()
        self._lost = 0
        self._draining: float | None = None
        # A worker that takes a dead one's place may be the only one to tell of that death.
        numbers = range(subject.deaths.workers)
        self._dead = {number: subject.deaths.count(number) - (number == subject.number) for number in numbers}
        self._dead[subject.number] = max(self._dead[subject.number], 0)
        self._missing: set[int] = set()
        ends, starts, _ = subject.deaths.control()
        self._control = ends, starts
        self._control_lost = ends > 0
        self._stopped: set[str] = set()
        """The backends that had stopped before the start, and have taken nothing since."""
        for one in before:
            self._continue(one.kind, dict(one.about))

    def _continue(self, kind: str, about: Mapping[str, str]) -> None:
        """Look at what was open before the start as if it had been raised here, so that it is cleared."""
        if kind in ("route-silent", "queue-old"):
            self._raised[(kind, about["backend"])] = float("-inf")
        elif kind == "keyring-unreadable":
            self._raised[(kind,)] = float("-inf")
        elif kind in _CERTIFICATES:
            self._raised[("certificate", about["where"], about["file"], _CERTIFICATES[kind])] = float("-inf")
        elif kind == "worker-died" and int(about["worker"]) in self._dead:
            self._missing.add(int(about["worker"]))
        elif kind == "control-died":
            self._control, self._control_lost = (self._control[0], 0), True
        elif kind == "route-stopped":
            self._stopped.add(about["backend"])

    async def run(self) -> None:
        while True:
            try:
                await self.look()
            except Exception as error:
                self._emit(Event("error", "", (("where", "watch"), ("error", repr(error))), Level.WARNING))
            await asyncio.sleep(_EVERY)

    async def look(self) -> None:
        """Look once."""
        self._look_at_workers()
        self._look_at_control()
        self._look_at_log()
        self._share_movement()
        self._look_at_stopped()
        now = self._clock.monotonic()
        if self._subject.number == 0 and now - self._looked >= _QUEUE_EVERY:
            self._looked = now
            self._look_at_draining(now)
            self._look_at_queue(await self._subject.reader.backlogs())
            self._look_at_keyring(await asyncio.to_thread(_find_keyring_problem, self._subject.config()))
            found = await asyncio.to_thread(examine_certificates, self._subject.config(), self._clock.now())
            for one in found:
                self._look_at_certificate(one)
            self._forget_certificates({(one.where, str(one.file)) for one in found})

    def _look_at_workers(self) -> None:
        deaths = self._subject.deaths
        for number, known in self._dead.items():
            count = deaths.count(number)
            if count > known:
                self._dead[number] = count
                self._missing.add(number)
                fields = (("worker", number), ("status", deaths.status(number)), ("deaths", count))
                self._tell(Event("worker-died", "", fields, Level.ALARM))
            elif number in self._missing and self._subject.is_ready(number):
                self._missing.discard(number)
                self._tell(Event("worker-restored", "", (("worker", number),)))

    def _look_at_control(self) -> None:
        if self._subject.number:
            return
        ends, starts, status = self._subject.deaths.control()
        if ends > self._control[0]:
            self._control_lost = True
            self._tell(Event("control-died", "", (("status", status), ("deaths", ends)), Level.ALARM))
        elif starts > self._control[1] and self._control_lost:
            self._control_lost = False
            self._tell(Event("control-restored", ""))
        self._control = ends, starts

    def _look_at_log(self) -> None:
        lost = self._subject.lost()
        if lost > self._lost:
            self._lost = lost
            self._emit(Event("log-lines-lost", "", (("lines", lost),), Level.ALARM))

    def _look_at_stopped(self) -> None:
        since = self._clock.monotonic() - self._began
        for name in [one for one in self._stopped if self._subject.traffic.moves(one, since)]:
            self._stopped.discard(name)
            self._emit(Event("route-restored", "", (("backend", name),), Level.ALARM))

    def _look_at_draining(self, now: float) -> None:
        if self._subject.hindrance() != "draining":
            self._draining = None
            return
        self._draining = now if self._draining is None else self._draining
        if self._lasts(("draining-long",), now - self._draining > _LONG_DRAIN):
            self._emit(Event("draining-long", "", (("seconds", round(now - self._draining)),), Level.ALARM))

    def _share_movement(self) -> None:
        """Tell the other workers which backends take mail from this one. A worker that has just begun cannot know."""
        seconds, tally = self._subject.config().alarm.silent_after, self._subject.tally
        young = self._clock.monotonic() - self._began < seconds
        for name in self._subject.config().backend:
            moves = young or self._subject.traffic.moves(name, seconds)
            if moves and name not in self._moving:
                self._moving.add(name)
                tally.add(f"moving {name}")
            elif not moves and name in self._moving:
                self._moving.discard(name)
                tally.add(f"moving {name}", -1)

    def _look_at_queue(self, backlogs: Sequence[Backlog]) -> None:
        settings, now = self._subject.config().alarm, self._clock.now()
        found = {one.backend: one for one in backlogs}
        # A backend that is configured no longer is looked at once more.
        raised = {key[1] for key in self._raised if key[0] in ("route-silent", "queue-old")}
        for name in {DIRECT, *self._subject.config().backend, *found, *raised}:
            one = found.get(name, Backlog(name, 0, 0, None))
            age = 0.0 if one.oldest is None else now - one.oldest
            fields = (("backend", name), ("waiting", one.waiting), ("oldest", round(age)))
            # Direct delivery has many hosts: one that is down says nothing about the others.
            silent = name != DIRECT and age > settings.silent_after and not self._subject.tally.total(f"moving {name}")
            lasted = ("route-silent", name) in self._raised
            if self._lasts(("route-silent", name), silent):
                self._emit(Event("route-silent", "", (*fields, ("fix", _SEE.format(name=name))), Level.ALARM))
            elif lasted and not silent:
                self._emit(Event("route-takes", "", fields))
            lasted = ("queue-old", name) in self._raised
            if self._lasts(("queue-old", name), age > settings.queue_age):
                self._emit(Event("queue-old", "", (*fields, ("fix", _SEE.format(name=name))), Level.ALARM))
            elif lasted and age <= settings.queue_age:
                self._emit(Event("queue-young", "", fields))

    def _look_at_certificate(self, one: CertificateCondition) -> None:
        about = (("where", one.where), ("file", str(one.file)))
        fields = (*about, ("problem", one.problem))
        key = ("certificate", one.where, str(one.file))
        kinds = {state for *_, state in self._raised_of(key)}
        for state in kinds - {one.state}:
            del self._raised[(*key, state)]
        if one.state == "good":
            if kinds:
                self._emit(Event("certificate-good", "", about))
        elif self._lasts((*key, one.state), True):
            if one.state == "soon":
                self._emit(Event("certificate-ending", "", fields, Level.ALARM))
            elif one.state == "foreign":
                self._emit(Event("certificate-foreign", "", fields, Level.ALARM))
            elif one.state == "unreadable":
                self._emit(Event("certificate-unreadable", "", fields, Level.ALARM))
            else:
                self._emit(Event("certificate-urgent", "", fields, Level.ALARM))

    def _forget_certificates(self, configured: Collection[tuple[str, str]]) -> None:
        """End the alarms about certificates that are configured no longer."""
        for kind, *about in [key for key in self._raised if key[0] == "certificate"]:
            where, file, state = about
            if (where, file) not in configured:
                del self._raised[(kind, where, file, state)]
                self._emit(Event("certificate-good", "", (("where", where), ("file", file))))

    def _look_at_keyring(self, problem: str) -> None:
        lasted = ("keyring-unreadable",) in self._raised
        if self._lasts(("keyring-unreadable",), bool(problem)):
            self._emit(Event("keyring-unreadable", "", (("problem", problem),), Level.ALARM))
        elif lasted and not problem:
            self._emit(Event("keyring-read", ""))

    def _raised_of(self, key: tuple[str, ...]) -> list[tuple[str, ...]]:
        return [one for one in self._raised if one[: len(key)] == key]

    def _lasts(self, key: tuple[str, ...], holds: bool) -> bool:
        """True when the alarm is to be raised: it begins, or it has lasted for its period since it was raised."""
        if not holds:
            self._raised.pop(key, None)
            return False
        now = self._clock.monotonic()
        last = self._raised.get(key)
        if last is not None and now - last <= self._subject.config().alarm.repeat_after:
            return False
        self._raised[key] = now
        return True


def _find_keyring_problem(config: Config) -> str:
    """The reason why the keys that sign could not be read at a restart; empty when they could."""
    directory = config.outbound.keyring
    try:
        for entry in read_keyring(directory) if directory is not None else ():
            if directory is not None and entry.state is KeyState.SIGNING:
                read_key(directory, entry)
    except (OSError, KeyUnusable, KeyringUnusable) as error:
        return str(error)
    return ""


_SEE = "see why: waypost status, waypost queue list --backend {name}"
