"""The facts of `waypost status`: from the configuration, the spool's reader, and the control sockets of the workers.

The configuration may have mistakes, and the gateway may be down: missing facts are reported as missing.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gateway import __version__
from gateway.admin.control import CommandRefused, NobodyThere, ask
from gateway.app.reading import read_config, read_partly
from gateway.config.maps import MapFile, map_files, our_domains, read_map
from gateway.config.mistakes import ConfigErrors
from gateway.config.model import Config
from gateway.service.certificates import examine_certificates
from gateway.service.sending_limits import Suspensions
from gateway.spool.index import DIRECTORY
from gateway.spool.reader import find_shards
from gateway.spool.sqlite import RESERVE
from gateway.spool.view import ShardedView
from gateway.tools.status import HourCounts, MapCondition, StatusFacts, Worker

_PATIENCE = 5.0
"""Seconds that a worker has to answer."""
_HOUR = 3600.0


async def read_status(path: Path) -> StatusFacts:
    """All contents of `waypost status`. Raises SpoolUnusable when there is no spool, ConfigErrors when the
    configuration does not even name it."""
    spool, now = read_partly(path).config.server.spool, time.time()
    try:
        config, problem = read_config(path, copies=True), ""
    except ConfigErrors as error:
        config, problem = None, error.format()
    workers, silent = await _ask_workers(find_shards(spool))
    control = await _ask_control(spool) if workers else None
    view = ShardedView(spool)
    try:
        backlogs = await view.backlogs()
        held = await view.measure_held("", "")
        hour = HourCounts()
        async for traces in view.traces(now - _HOUR):
            for trace in traces:
                hour.add(trace)
    finally:
        await view.close()
    room = os.statvfs(spool)
    return StatusFacts(
        now=now,
        version=__version__,
        node=config.server.hostname if config else "",
        spool=str(spool),
        connections={name: one.connections for name, one in config.backend.items()} if config else {},
        problem=problem,
        workers=workers,
        silent=silent,
        backlogs=backlogs,
        held_by_rule=held.messages,
        hour=hour.as_json(),
        free=room.f_bavail * room.f_frsize,
        reserve=RESERVE,
        certificates=examine_certificates(config, now) if config else (),
        maps=[await asyncio.to_thread(_examine_map, config, file, now) for file in map_files(config)] if config else (),
        suspended=Suspensions(spool).all(),
        control=control,
    )


async def _ask_workers(shards: Sequence[Path]) -> tuple[list[Worker], list[str]]:
    """The answers, one of each worker, and the reasons of workers without one."""
    answers = await asyncio.gather(*(_ask(shard) for shard in shards))
    workers = {one["number"]: one for one in answers if isinstance(one, Mapping)}
    silent = [one for one in answers if isinstance(one, str) and one]
    expected = max((one["workers"] for one in workers.values()), default=0)
    if not silent:
        silent += [f"Worker {number} does not run" for number in range(expected) if number not in workers]
    return list(workers.values()), silent


async def _ask(shard: Path) -> Mapping[str, Any] | str:
    """The answer of the worker that owns a shard, or the reason why there is none; empty when no worker owns it."""
    try:
        answer: Mapping[str, Any] = await asyncio.wait_for(ask(shard, "status", {}), _PATIENCE)
    except NobodyThere:
        return ""
    except TimeoutError:
        return f"The worker of shard {shard.name} has not answered for {_PATIENCE:.0f} s"
    except CommandRefused as refused:
        return f"The worker of shard {shard.name} gave no answer: {refused}"
    return answer


async def _ask_control(spool: Path) -> Mapping[str, Any] | str:
    """The control plane's answer, or why there is none."""
    try:
        answer: Mapping[str, Any] = await asyncio.wait_for(ask(spool / DIRECTORY, "status", {}), _PATIENCE)
    except (NobodyThere, TimeoutError, CommandRefused) as error:
        return "silent" if isinstance(error, TimeoutError) else "stopped"
    return answer


def _examine_map(config: Config, file: MapFile, now: float) -> MapCondition:
    name = str(file.path)
    try:
        age = now - (file.stamp if file.remote else file.path).stat().st_mtime
        problems = read_map(file.path, our_domains(config), config.backend)[1]
    except OSError as error:
        problem = "it was never fetched" if file.remote else f"cannot read it: {error.strerror}"
        return MapCondition(name, None, "unreadable", problem)
    if problems:
        return MapCondition(name, age, "unreadable", f"line {problems[0].line}: {problems[0].problem}")
    if file.remote and age > config.routing.stale_after:
        return MapCondition(name, age, "stale", "it was not fetched for too long")
    return MapCondition(name, age, "good")
