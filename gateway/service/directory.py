"""Keeps the address maps fresh: reads them again when their files change, and keeps the last good copy when that fails.

In: the files, by their names in the configuration. Out: a routing table that takes the place of the one before.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from gateway.config.maps import our_domains, read_map
from gateway.config.model import Config
from gateway.model.event import Event, Level
from gateway.policy.routing import RoutingTable
from gateway.ports import Clock, EventSink
from gateway.service.reception import Law

_PAUSE = 1.0
"""Seconds between looks. A file is read when two looks in a row find it the same, so that nobody's half is read."""

_Stamp = tuple[int, int, int, int]


@dataclass(slots=True)
class _Watched:
    """One map."""

    seen: _Stamp | None = None
    """What the last look found."""
    done: _Stamp | None = None
    """What was read last, well or not."""
    problem: str = ""
    failing_since: float | None = None
    """Monotonic; None when the last copy is that of the file."""
    told_stale: bool = False


class Directory:
    """Runs until cancelled."""

    def __init__(
        self, law: Callable[[], Law], adopt: Callable[[RoutingTable], None], clock: Clock, emit: EventSink
    ) -> None:
        """`adopt` puts a routing table in the place of the law's."""
        self._law = law
        self._adopt = adopt
        self._clock = clock
        self._emit = emit
        self._config: Config | None = None
        self._watched: tuple[_Watched, ...] = ()

    async def run(self) -> None:
        while True:
            try:
                await self.round()
            except Exception as error:
                self._emit(Event("error", "", (("where", "directory"), ("error", repr(error))), Level.ALARM))
            await asyncio.sleep(_PAUSE)

    async def round(self) -> None:
        """One look at every map."""
        config = self._law().config
        if config is not self._config:
            # Another configuration brings maps of its own, just read.
            self._config = config
            self._watched = tuple(_Watched() for _ in config.routing.maps)
        for at, (file, watched) in enumerate(zip(config.routing.maps, self._watched, strict=True)):
            await self._look(config, at, file, watched)
            if self._law().config is not config:
                return
        self._tell_staleness(config)

    async def _look(self, config: Config, at: int, file: Path, watched: _Watched) -> None:
        try:
            found = await asyncio.to_thread(_stamp, file)
        except OSError as error:
            watched.seen = watched.done = None
            self._fail(file, watched, f"cannot read it: {error.strerror}")
            return
        settled, watched.seen = found == watched.seen, found
        if not settled or found == watched.done:
            return
        # In a thread: a hundred thousand lines take a second.
        entries, problems = await asyncio.to_thread(read_map, file, our_domains(config), config.backend, _breathe)
        if await asyncio.to_thread(_stamp, file) != found:
            return
        routing = self._law().routing
        if self._law().config is not config:
            return
        watched.done = found
        if problems:
            first = problems[0]
            self._fail(file, watched, f"line {first.line}: {first.problem}")
        elif routing.maps[at] and not entries:
            # A failed export, most likely: it would refuse everybody.
            self._fail(file, watched, "has no address any more; remove it from [routing] maps if that is meant")
        else:
            changed = entries != routing.maps[at]
            if changed:
                self._adopt(replace(routing, maps=(*routing.maps[:at], entries, *routing.maps[at + 1 :])))
            if changed or watched.failing_since is not None:
                self._emit(Event("map-read", "", (("file", str(file)), ("addresses", len(entries)))))
            watched.problem, watched.failing_since, watched.told_stale = "", None, False

    def _fail(self, file: Path, watched: _Watched, problem: str) -> None:
        if watched.failing_since is None:
            watched.failing_since = self._clock.monotonic()
        if problem != watched.problem:
            watched.problem = problem
            fields = (("file", str(file)), ("problem", problem), ("kept", "the last good copy"))
            self._emit(Event("map-unreadable", "", fields, Level.ALARM))

    def _tell_staleness(self, config: Config) -> None:
        """One map is enough: nobody knows what it would list."""
        since = self._clock.monotonic() - config.routing.stale_after
        stale = False
        for file, watched in zip(config.routing.maps, self._watched, strict=True):
            if watched.failing_since is not None and watched.failing_since <= since:
                stale = True
                if not watched.told_stale:
                    watched.told_stale = True
                    fields = (("file", str(file)), ("problem", watched.problem), ("effect", "451 instead of 550"))
                    self._emit(Event("map-stale", "", fields, Level.ALARM))
        routing = self._law().routing
        if routing.stale is not stale:
            self._adopt(replace(routing, stale=stale))


def _breathe() -> None:
    """Let the event loop's thread run at once: it would get its turn by itself, but late on a busy machine."""
    time.sleep(0.001)


def _stamp(file: Path) -> _Stamp:
    found = file.stat()
    # The change time tells of a right that was given back.
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino
