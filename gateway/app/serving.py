"""`waypost serve`: one process, or a supervisor with several, from the configuration to the exit status."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import resource
import signal
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from select import select

import uvloop

from gateway.app.control_keeper import ControlKeeper
from gateway.app.gateway import Gateway
from gateway.app.interpreter import capture
from gateway.app.reading import read_config
from gateway.app.runtime_config import make_runtime
from gateway.app.supervisor import Supervisor, WorkerContext
from gateway.config.model import Config
from gateway.model.event import Event, Level
from gateway.service.observer import Lines, Observer
from gateway.service.runtime import RuntimeConfig


def serve(path: Path) -> int:
    """Serve until SIGTERM or SIGINT, drain, and return the exit status. SIGHUP reads the configuration again.

    Raises any error that prevents the start. With several workers it returns, or raises, in each of them too.
    """
    os.umask(0o077)
    runtime = make_runtime(read_config(path, copies=True), copies=True)
    config = runtime.config
    post: WorkerContext | int = WorkerContext()
    if config.server.workers > 1:
        post = Supervisor(config, partial(_say, make_lines(config)), path).run()
    if isinstance(post, int):
        return post
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_run(path, runtime, post))


_GARBAGE = 20_000
"""New objects after which the collector examines the young ones: a message makes and drops some thousands, and almost
none of them in a cycle."""
_OLDER = 4
"""Young collections after which the older objects are examined. A session's end leaves cycles there; with a larger
number they grew to some 15 MB in each worker in three minutes."""


_OTHER_DESCRIPTORS = 1024
"""For lookups (512 at most), the spool, logs, the admin's port and other open files."""
_MOST_DESCRIPTORS = 1_048_576


def raise_descriptors(config: Config) -> Event | None:
    """Request as many descriptors as the system allows; returns an alarm when the configuration may need more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = _MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    backends = sum(one.connections for one in config.backend.values())
    needed = config.limits.connections + backends + _OTHER_DESCRIPTORS
    if needed <= max(soft, allowed):
        return None
    fix = f"allow {needed} open files (LimitNOFILE, ulimits), or lower [limits] connections"
    return Event("few-descriptors", "", (("allowed", allowed), ("needed", needed), ("fix", fix)), Level.ALARM)


_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1
"""Parameters of mallopt(3)."""
_LARGE = 131_072


def _give_memory_back() -> None:
    """Have the C library map large blocks separately and return them when they are freed. Its own rule keeps them:
    after a thousand TLS sessions, each with a buffer of 256 KiB of which little is used, the process stayed at 900
    MB."""
    with suppress(OSError, AttributeError):  # musl has no mallopt, and does not need it
        library = ctypes.CDLL(None)
        library.mallopt(_MMAP_THRESHOLD, _LARGE)
        library.mallopt(_TRIM_THRESHOLD, _LARGE)


async def _run(path: Path, runtime: RuntimeConfig, post: WorkerContext) -> int:
    _give_memory_back()
    scarce = raise_descriptors(runtime.config)
    gc.freeze()
    gc.set_threshold(_GARBAGE, _OLDER, _OLDER)
    observer = Observer(make_lines(runtime.config, post.number if post.workers > 1 else None))
    with capture(observer) as interpreter:
        asyncio.get_running_loop().set_exception_handler(interpreter.handle_loop)
        return await _serve(path, runtime, post, observer, scarce)


async def _serve(
    path: Path, runtime: RuntimeConfig, post: WorkerContext, observer: Observer, scarce: Event | None
) -> int:
    try:
        async with Gateway.open(runtime, observer, path, post) as gateway:
            if scarce is not None:
                gateway.tell(scarce)
            loop, stopping = asyncio.get_running_loop(), asyncio.Event()
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, stopping.set)
            loop.add_signal_handler(signal.SIGHUP, partial(gateway.reload, path))
            orphaned = _watch(post.lifeline, stopping)
            if post.late:
                gateway.reload(path)
            keeping = None
            if post.workers == 1:
                # There is no supervisor.
                keeper = ControlKeeper(path, runtime.config.server.spool, observer, post.deaths)
                keeping = asyncio.create_task(keeper.run())
            await stopping.wait()
            if keeping is not None:
                keeping.cancel()
                await asyncio.to_thread(keeper.stop)
            # Without a supervisor a new gateway may need the spool: it does not wait for clients.
            await gateway.drain(0.0 if orphaned.is_set() else runtime.config.server.drain_timeout)
    finally:
        observer.close()
    return 0


def make_lines(config: Config, worker: int | None = None) -> Lines:
    return Lines(config.log.format, Level(config.log.level), worker, colors=sys.stdout.isatty())


def _watch(lifeline: int | None, stopping: asyncio.Event) -> asyncio.Event:
    """An event that is set, together with `stopping`, when the supervisor is gone."""
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
    """Write the supervisor's few events, without a thread; dropped when the log is not read."""
    line = lines.line(event)
    if line is not None and select([], [sys.stdout], [], 0)[1]:
        sys.stdout.write(line)
        sys.stdout.flush()
