"""Fetches address maps from other servers, and replaces the copy on disk by each good one.

In: sources. Out: files that the directory watches, in this worker and in all others. A map that cannot be fetched, has
a wrong line or has lost all its addresses leaves the last good copy unchanged.
"""

from __future__ import annotations

import asyncio
import csv
import filecmp
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

from gateway.config.maps import our_domains, read_map
from gateway.config.model import Config
from gateway.config.recipients import MapSource, MapUnavailable
from gateway.mail.path import mailbox
from gateway.model.event import Event, Level
from gateway.model.value import Value
from gateway.ports import EventSink
from gateway.service.runtime import RuntimeConfig

_PAUSE = 1.0
"""Seconds between checks for a new configuration."""


class Import(Value):
    """One source, and the place of its copy."""

    source: MapSource
    file: Path
    """The last good copy."""
    stamp: Path
    """Touched whenever the source gave a good answer."""
    every: float
    strict: bool
    """An address that is not ours is a mistake; otherwise it is ignored."""


class Importer:
    """Runs until cancelled."""

    def __init__(
        self,
        runtime: Callable[[], RuntimeConfig],
        make: Callable[[Config], Sequence[Import]],
        backends: Collection[str],
        emit: EventSink,
    ) -> None:
        """`make` gives the imports of a configuration; `backends` are those that can take mail."""
        self._runtime = runtime
        self._make = make
        self._backends = backends
        self._emit = emit
        self._problems: dict[str, str] = {}

    async def run(self) -> None:
        routing, tasks = None, list[asyncio.Task[None]]()
        try:
            while True:
                config = self._runtime().config
                if config.routing != routing:
                    _cancel(tasks)
                    routing = config.routing
                    tasks = [asyncio.create_task(self._keep_fresh(one)) for one in self._make(config)]
                await asyncio.sleep(_PAUSE)
        finally:
            _cancel(tasks)

    async def _keep_fresh(self, one: Import) -> None:
        while True:
            await self.fetch(one)
            await asyncio.sleep(one.every)

    async def fetch(self, one: Import) -> None:
        """Query the source once."""
        name = one.source.name
        try:
            count = await asyncio.to_thread(self._take, one)
        except MapUnavailable as error:
            self._complain(name, str(error))
        except Exception as error:
            self._complain(name, repr(error))
        else:
            if self._problems.pop(name, None) is not None or count:
                self._emit(Event("map-fetched", "", (("map", name), ("addresses", count or "as before"))))

    def _complain(self, name: str, problem: str) -> None:
        if self._problems.get(name) != problem:
            self._problems[name] = problem
            fields = (("map", name), ("problem", problem), ("kept", "the last good copy"))
            self._emit(Event("map-unavailable", "", fields, Level.ALARM))

    def _take(self, one: Import) -> int:
        """Number of addresses in a new copy; 0 when the last one is still valid. Raises MapUnavailable."""
        one.file.parent.mkdir(mode=0o700, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=one.file.parent) as directory:
            fetched = Path(directory) / "map.csv"
            if one.source.fetch(fetched):
                try:
                    count = self._check(one, fetched)
                except BaseException:
                    one.source.forget()
                    raise
                changed = not one.file.exists() or not filecmp.cmp(one.file, fetched, shallow=False)
                if changed:
                    fetched.replace(one.file)
                one.stamp.touch()
                return count if changed else 0
        one.stamp.touch()
        return 0

    def _check(self, one: Import, fetched: Path) -> int:
        domains = our_domains(self._runtime().config)
        if not one.strict:
            _leave_out_others(fetched, domains)
        entries, wrong = read_map(fetched, domains, self._backends)
        if wrong:
            raise MapUnavailable(f"line {wrong[0].line}: {wrong[0].problem}")
        if not entries:
            raise MapUnavailable("it has no address of ours")
        return len(entries)


def _cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()


def _leave_out_others(file: Path, domains: Collection[str]) -> None:
    """Keep the addresses of our domains, each once, in a stable order."""

    def ours() -> Iterator[tuple[str, str]]:
        with file.open(encoding="utf-8", newline="") as stream:
            for address, backend in csv.reader(stream):
                found = mailbox(address)
                if found is not None and found.ascii_domain in domains:
                    yield found.key, backend

    rows = sorted(dict(ours()).items())
    with file.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows(rows)
