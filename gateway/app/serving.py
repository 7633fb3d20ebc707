"""`waypost serve`: one process, or a supervisor with several, from the configuration to the exit status."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from functools import partial
from pathlib import Path
from select import select

import uvloop

from gateway.app.gateway import Gateway
from gateway.app.reading import read_config
from gateway.app.runtime_config import make_runtime
from gateway.app.supervisor import Supervisor
from gateway.app.worker_context import WorkerContext
from gateway.config.model import Config
from gateway.model.event import Event, Level
from gateway.service.observer import Lines, Observer
from gateway.service.runtime import RuntimeConfig


def serve(path: Path) -> int:
    """Serve until SIGTERM or SIGINT, drain, and return the exit status. SIGHUP reads the configuration again.

    Raises whatever keeps it from starting. With several workers it returns, or raises, in each of them too.
    """
    os.umask(0o077)
    runtime = make_runtime(read_config(path, copies=True), copies=True)
    config = runtime.config
    post: WorkerContext | int = WorkerContext()
    if config.server.workers > 1:
        post = Supervisor(config, partial(_say, make_lines(config))).run()
    if isinstance(post, int):
        return post
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_run(path, runtime, post))


_GARBAGE = 20_000
"""Objects made after which the collector looks at the young ones: a message makes and drops some thousands, and next to
none of them in a cycle."""
_OLDER = 4
"""Looks at the young ones after which the older ones are looked at: a session's end leaves cycles there, and with more
they grew to some 15 MB of each worker in three minutes."""


async def _run(path: Path, runtime: RuntimeConfig, post: WorkerContext) -> int:
    gc.freeze()
    gc.set_threshold(_GARBAGE, _OLDER, _OLDER)
    observer = Observer(make_lines(runtime.config, post.number if post.workers > 1 else None))
    try:
        async with Gateway.open(runtime, observer, path, post) as gateway:
            loop, stopping = asyncio.get_running_loop(), asyncio.Event()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, stopping.set)
            loop.add_signal_handler(signal.SIGHUP, partial(gateway.reload, path))
            orphaned = _watch(post.lifeline, stopping)
            if post.late:
                gateway.reload(path)
            await stopping.wait()
            # Without a supervisor a new gateway may want the spool: it does not wait for clients.
            await gateway.drain(0.0 if orphaned.is_set() else runtime.config.server.drain_timeout)
    finally:
        observer.close()
    return 0


def make_lines(config: Config, worker: int | None = None) -> Lines:
    return Lines(config.log.format, Level(config.log.level), worker)


def _watch(lifeline: int | None, stopping: asyncio.Event) -> asyncio.Event:
    """Set, with `stopping`, when the supervisor is gone."""
    orphaned = asyncio.Event()

    def end() -> None:
        asyncio.get_running_loop().remove_reader(lifeline or 0)
        orphaned.set()
        stopping.set()

    if lifeline is not None:
        os.set_blocking(lifeline, False)
        asyncio.get_running_loop().add_reader(lifeline, end)
    return orphaned


def _say(lines: Lines, event: Event) -> None:
    """The supervisor's few events, without a thread; dropped when nobody reads."""
    line = lines.line(event)
    if line is not None and select([], [sys.stdout], [], 0)[1]:
        sys.stdout.write(line)
        sys.stdout.flush()
