"""Keeps the address maps fresh: reads them again when their files change, and keeps the last good copy when that fails.

In: the files, by their names in the configuration. Out: a routing table that replaces the one before.
"""

from __future__ import annotations

import asyncio
import math
import os
import shutil
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from gateway.config.maps import MapFile, map_files, our_domains, read_map
from gateway.config.model import Config
from gateway.model.event import Event, Level
from gateway.model.value import replace
from gateway.policy.routing import RoutingTable, name_backends
from gateway.ports import Clock, EventSink
from gateway.service.runtime import RuntimeConfig

_PAUSE = 1.0
"""Seconds between checks. A file is read when two checks in a row find it unchanged, so that a half-written file is
never read."""

_GRACE = 60.0
"""Seconds that the first fetch of a map gets before its absence is an alarm."""

_Stamp = tuple[int, int, int, int]


@dataclass(slots=True)
class _Watched:
    """One map under watch."""

    seen: _Stamp | None = None
    """The file's state at the last check."""
    done: _Stamp | None = None
    """The state that was last read, with or without success."""
    problem: str = ""
    failing_since: float | None = None
    """Monotonic time of the first failure; None when the last copy equals the file."""
    told_stale: bool = False


class Directory:
    """Runs until cancelled."""

    def __init__(
        self,
        runtime: Callable[[], RuntimeConfig],
        adopt: Callable[[RoutingTable], None],
        clock: Clock,
        emit: EventSink,
        running: Collection[str],
    ) -> None:
        """`adopt` replaces the routing table in force; `running` names the backends that can take mail."""
        self._runtime = runtime
        self._adopt = adopt
        self._clock = clock
        self._emit = emit
        self._running = running
        self._config: Config | None = None
        self._watched: tuple[_Watched, ...] = ()
        self._began = clock.monotonic()

    async def run(self) -> None:
        while True:
            try:
                await self.round()
            except Exception as error:
                self._emit(Event("error", "", (("where", "directory"), ("error", repr(error))), Level.ALARM))
            await asyncio.sleep(_PAUSE)

    async def round(self) -> None:
        """Check every map once."""
        config = self._runtime().config
        if config is not self._config:
            self._watched = self._watch(config)
            self._config = config
        for at, (file, watched) in enumerate(zip(map_files(config), self._watched, strict=True)):
            await self._look(config, at, file, watched)
            if self._runtime().config is not config:
                return
        self._tell_staleness(config)

    def _watch(self, config: Config) -> tuple[_Watched, ...]:
        """The maps of another configuration: each is read again, because its domains and backends may differ. A map
        shared with the earlier configuration keeps its time of failure."""
        before = map_files(self._config) if self._config is not None else ()
        known = dict(zip(before, self._watched, strict=True))
        watched = tuple(known.pop(file, _Watched()) for file in map_files(config))
        for one in watched:
            one.seen = one.done = None
        return watched

    async def _look(self, config: Config, at: int, file: MapFile, watched: _Watched) -> None:
        try:
            found = await asyncio.to_thread(_stamp, file.path)
        except OSError as error:
            watched.seen = watched.done = None
            if not file.remote:
                self._fail(file, watched, f"cannot read it: {error.strerror}")
            return
        settled, watched.seen = found == watched.seen, found
        if not settled or found == watched.done:
            return
        # In a thread: a hundred thousand lines take a second.
        entries, problem = await asyncio.to_thread(self._read, config, file.path)
        if await asyncio.to_thread(_stamp, file.path) != found:
            return
        routing = self._runtime().routing
        if self._runtime().config is not config:
            return
        watched.done = found
        if problem:
            self._fail(file, watched, problem)
        elif routing.maps[at] and not entries:
            # Most likely a failed export: the empty map would refuse all recipients.
            self._fail(file, watched, "has no address any more; remove it from [routing] maps if that is meant")
        else:
            changed = entries != routing.maps[at]
            if changed:
                self._adopt(replace(routing, maps=(*routing.maps[:at], entries, *routing.maps[at + 1 :])))
            if changed or watched.failing_since is not None:
                self._emit(Event("map-read", "", (("file", str(file.path)), ("addresses", len(entries)))))
            watched.problem, watched.failing_since, watched.told_stale = "", None, False
            if not file.remote:
                await self._keep_copy(file)

    def _read(self, config: Config, file: Path) -> tuple[dict[str, str], str]:
        """The entries, and the faults of the file."""
        entries, problems = read_map(file, our_domains(config), config.backend, _breathe)
        if problems:
            return entries, f"line {problems[0].line}: {problems[0].problem}"
        new = sorted(name_backends(set(entries.values())).difference(self._running))
        return entries, f"backend {', '.join(new)} is new: restart to use it" if new else ""

    async def _keep_copy(self, file: MapFile) -> None:
        """Keep a copy for a start when the file is broken."""
        try:
            await asyncio.to_thread(write_copy, file.path, file.copy)
        except OSError as error:
            fields = (("file", str(file.copy)), ("problem", error.strerror or str(error)))
            self._emit(Event("map-copy-failed", "", fields, Level.WARNING))

    def _fail(self, file: MapFile, watched: _Watched, problem: str) -> None:
        if watched.failing_since is None:
            watched.failing_since = self._clock.monotonic()
        if problem != watched.problem:
            watched.problem = problem
            fields = (("file", str(file.path)), ("problem", problem), ("kept", "the last good copy"))
            self._emit(Event("map-unreadable", "", fields, Level.ALARM))

    def _tell_staleness(self, config: Config) -> None:
        """One failing map makes the whole table stale, because its missing entries are unknown."""
        stale = False
        for file, watched in zip(map_files(config), self._watched, strict=True):
            age = self._age(file, watched)
            if age < config.routing.stale_after:
                watched.told_stale = False
                continue
            stale = True
            # A map that was never fetched may be on its way.
            if not watched.told_stale and (age < math.inf or self._clock.monotonic() > self._began + _GRACE):
                watched.told_stale = True
                problem = watched.problem or "not fetched for too long"
                fields = (("file", str(file.path)), ("problem", problem), ("effect", "451 instead of 550"))
                self._emit(Event("map-stale", "", fields, Level.ALARM))
        routing = self._runtime().routing
        if routing.stale is not stale:
            self._adopt(replace(routing, stale=stale))

    def _age(self, file: MapFile, watched: _Watched) -> float:
        """Seconds since the last good copy was last known to equal its source."""
        if file.remote:
            try:
                return self._clock.now() - file.stamp.stat().st_mtime
            except OSError:
                return math.inf
        return self._clock.monotonic() - watched.failing_since if watched.failing_since is not None else -math.inf


def keep_maps(runtime: RuntimeConfig, before: RuntimeConfig) -> RoutingTable:
    """The new routing table, with the last good copy of every map that both configurations use. Only the directory
    decides when a file replaces its copy, because it can tell a good file from a half-written or empty one."""
    routing = runtime.routing
    last_good = dict(zip(map_files(before.config), before.routing.maps, strict=True))
    # A domain that just became a listed one, and is not in the copies yet, refuses no recipients.
    fresh = routing.listed - before.routing.listed
    maps: list[Mapping[str, str]] = []
    for file, read in zip(map_files(runtime.config), routing.maps, strict=True):
        kept = last_good.get(file)
        if kept is not None and fresh:
            kept = {key: name for key, name in read.items() if key.rpartition("@")[2] in fresh} | dict(kept)
        maps.append(read if kept is None else kept)
    return replace(routing, maps=tuple(maps), stale=before.routing.stale)


def write_copy(path: Path, copy: Path) -> None:
    """Replace the copy by the file's content, in one step. Raises OSError."""
    copy.parent.mkdir(mode=0o700, exist_ok=True)
    unfinished = copy.with_name(f"{copy.name}.{os.getpid()}")
    shutil.copyfile(path, unfinished)
    unfinished.replace(copy)


def _breathe() -> None:
    """Let the event loop's thread run at once: otherwise its turn would come late on a busy machine."""
    time.sleep(0.001)


def _stamp(file: Path) -> _Stamp:
    found = file.stat()
    # The change time also shows that a permission was restored.
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino
