"""The control plane: one process beside the workers for everything that is not the mail path. Today that is the index
of `waypost find`.

It reads the spool by readers of its own and takes no lock of a shard, so its death or hang touches no mail. It gives
way to the workers (nice) and its memory is limited. Further parts are started in `_run`, beside the index.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import gc
import os
import resource
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from gateway import __version__
from gateway.admin.control import Arguments, serve_control
from gateway.app.control_keeper import HEARTBEAT
from gateway.app.reading import read_partly
from gateway.config.mistakes import ConfigErrors
from gateway.config.model import Config
from gateway.model.event import Event, Level
from gateway.ports import EventSink
from gateway.service.observer import Lines, Observer
from gateway.spool.disk import SpoolUnusable
from gateway.spool.index import DIRECTORY, IndexBroken, IndexInUse, IndexWriter
from gateway.spool.indexing import Indexer, IndexNoRoom

_NICE = 10
_MEMORY = 536_870_912
"""Octets of memory that the process may have."""
_GARBAGE = 50_000
_BEAT_SECONDS = 2.0
_LOOK_SECONDS = 0.5
"""Seconds between looks at the spool. A message is found within two seconds."""
_COUNT_SECONDS = 60.0
_COMPARE_SECONDS = 1.0
_RETRY_SECONDS = 5.0


class IndexFollower:
    """The index in a thread of its own, which follows the spool until it is stopped."""

    def __init__(self, spool: Path, subjects: bool, emit: EventSink) -> None:
        self._spool = spool
        self._subjects = subjects
        self._emit = emit
        self._ending = threading.Event()
        self._anew = threading.Event()
        self._thread = threading.Thread(target=self._run, name="index", daemon=True)
        self.state: dict[str, Any] = {"state": "starting", "messages": 0, "behind": None, "octets": 0, "unreadable": 0}

    def start(self) -> None:
        self._thread.start()

    def rebuild(self) -> None:
        """Begin anew after the step under way."""
        self.state |= {"state": "catching-up", "messages": 0, "behind": None}
        self._anew.set()

    def stop(self) -> None:
        """End within the step under way."""
        self._ending.set()
        self._thread.join(_RETRY_SECONDS)

    def _run(self) -> None:
        while not self._ending.is_set():
            anew = self._anew.is_set()
            self._anew.clear()
            try:
                writer = IndexWriter(self._spool, self._subjects, anew)
                with contextlib.closing(Indexer(self._spool, writer)) as indexer:
                    self._follow(indexer, writer)
            except IndexInUse:
                # A command builds it now, or an earlier process is ending.
                self._wait("in-use")
            except IndexNoRoom:
                self._wait("no-room")
            except IndexBroken as broken:
                if broken.damaged:
                    self._anew.set()
                fields = (("where", "index"), ("error", str(broken)), ("built_anew", broken.damaged))
                self._emit(Event("index-broken", "", fields, Level.WARNING))
                self._wait("broken")
            except (SpoolUnusable, OSError) as error:
                self._emit(Event("index-broken", "", (("where", "index"), ("error", str(error))), Level.WARNING))
                self._wait("broken")

    def _follow(self, indexer: Indexer, writer: IndexWriter) -> None:
        compared = counted = float("-inf")
        messages = writer.count()
        while not self._ending.is_set() and not self._anew.is_set():
            progress = indexer.step()
            caught_up = not progress.behind
            now = time.monotonic()
            if not caught_up:
                messages += progress.messages
                self.state |= {"state": "catching-up", "behind": progress.behind, "messages": messages}
                continue
            if self.state["state"] != "ready":
                counted = float("-inf")
            if now - compared > _COMPARE_SECONDS:
                compared = now
                indexer.compare()
            if now - counted > _COUNT_SECONDS:
                counted = now
                self.state |= {"messages": writer.count(), "octets": writer.octets()}
            self.state |= {"state": "ready", "behind": 0, "unreadable": indexer.unreadable}
            self._ending.wait(_LOOK_SECONDS)

    def _wait(self, state: str) -> None:
        self.state["state"] = state
        self._ending.wait(_RETRY_SECONDS if state != "in-use" else _COMPARE_SECONDS)


def give_way() -> None:
    """Bound what this process may take: processor time after the workers, and memory."""
    os.nice(_NICE)
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    most = _MEMORY if hard == resource.RLIM_INFINITY else min(_MEMORY, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (most, hard))
    gc.freeze()
    gc.set_threshold(_GARBAGE)


def hold_place(home: Path) -> int | None:
    """The open heartbeat file, locked; None while another control plane of this spool has it."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(home / HEARTBEAT, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


async def _run(config: Config, lifeline: int, emit: EventSink) -> None:
    began, ending = time.time(), asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, ending.set)
    # Ctrl-C reaches every process of a terminal; the supervisor decides when this one ends.
    loop.add_signal_handler(signal.SIGINT, lambda: None)
    os.set_blocking(lifeline, False)
    loop.add_reader(lifeline, ending.set)
    home = config.server.spool / DIRECTORY
    while (place := hold_place(home)) is None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ending.wait(), _LOOK_SECONDS)
        if ending.is_set():
            return
    index = IndexFollower(config.server.spool, config.search.subjects, emit)

    async def status(arguments: Arguments) -> dict[str, Any]:
        return describe(began, index)

    async def rebuild(arguments: Arguments) -> None:
        index.rebuild()

    index.start()
    emit(Event("control-started", "", (("version", __version__), ("pid", os.getpid())), Level.DEBUG))
    try:
        async with serve_control(home, {"status": status, "rebuild": rebuild}, lambda error: _report(error, emit)):
            while not ending.is_set():
                # No octet is written, so it also works on a full disk.
                os.utime(place)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(ending.wait(), _BEAT_SECONDS)
    finally:
        await asyncio.to_thread(index.stop)
        os.close(place)


def describe(began: float, index: IndexFollower) -> dict[str, Any]:
    """The state of this process, for `waypost status`."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "pid": os.getpid(),
        "since": began,
        "memory_octets": pages * resource.getpagesize(),
        "memory_limit_octets": resource.getrlimit(resource.RLIMIT_DATA)[0],
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 2),
        "index": dict(index.state),
    }


def _report(error: BaseException, emit: EventSink) -> str:
    emit(Event("error", "control", (("where", "control plane"), ("error", repr(error))), Level.WARNING))
    return "control"


def main(path: Path, lifeline: int) -> int:
    """Run until SIGTERM, or until the keeper is gone. Returns the exit status."""
    os.umask(0o077)
    give_way()
    try:
        config = read_partly(path).config
    except ConfigErrors as error:
        sys.stderr.write(f"{error.format()}\n")
        return 2
    observer = Observer(Lines(config.log.format, Level(config.log.level), colors=sys.stdout.isatty()))
    try:
        asyncio.run(_run(config, lifeline, observer))
    finally:
        observer.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
