"""One process for each core: the supervisor binds the sockets, forks the workers, and replaces those that die. It
starts the control plane, too.

It forks before any thread or loop starts, and never has either itself: so a worker shares the pages of everything
loaded by then. A successor finds the stable storage of a dead worker in its shard.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry

from gateway.app.control_keeper import LOOK_SECONDS, ControlKeeper
from gateway.config.model import Config
from gateway.model.event import Event, Level
from gateway.model.value import Value, field
from gateway.ports import EventSink, Tally
from gateway.service.listener import bind_socket
from gateway.service.observer import clear_counters, share_counters
from gateway.service.repetition import Arrivals, WorkerArrivals
from gateway.service.tally import Deaths, SharedCounts


class WorkerContext(Value):
    """The context of one worker. The default is that of a single worker, which shares nothing and binds its sockets
    itself."""

    number: int = 0
    workers: int = 1
    tally: Tally = field(default_factory=lambda: SharedCounts().tally())
    sockets: Mapping[str, socket.socket] = field(default_factory=dict)
    """Sockets that are already bound, by address."""
    arrivals: WorkerArrivals = field(default_factory=lambda: Arrivals().of_worker())
    counters: CollectorRegistry | None = None
    """Shows the metrics of all workers."""
    lifeline: int | None = None
    """A pipe that ends when the supervisor does."""
    late: bool = False
    """It replaces a dead worker: the runtime configuration may have been replaced since the start."""
    deaths: Deaths = field(default_factory=Deaths)

    def report_ready(self) -> None:
        """Tell the supervisor that mail is accepted."""
        self.tally.add(ready_key(self.number))


def ready_key(worker: int) -> str:
    return f"ready {worker}"


_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 60.0
"""Longest time in seconds between a worker's death and its successor. The time doubles with each worker that lived for
less than this."""
_GRACE = 30.0
"""Seconds beyond `drain_timeout` after which a worker that has not ended is killed."""


@dataclass(slots=True)
class _Seat:
    """One worker's place."""

    pid: int = 0
    """0 while the place is empty."""
    since: float = 0.0
    pause: float = 0.0
    next: float | None = None
    """The time at which it is filled again."""
    proven: bool = False
    """A worker was ready here: a later death is not a mistake of the configuration."""


class Supervisor:
    """Made once, before anything runs. Raises OSError for an unavailable address or directory."""

    def __init__(self, config: Config, emit: EventSink, path: Path) -> None:
        """`path` is the configuration file, for the control plane."""
        self._config = config
        self._emit = emit
        self._counts = SharedCounts(config.server.workers)
        self._deaths = Deaths(config.server.workers)
        self._arrivals = Arrivals(config.server.workers)
        self._counting = clear_counters(config.server.spool, config.server.workers)
        addresses = {listener.address: None for listener in config.listener} | {config.admin.address: None}
        self._sockets = {address: bind_socket(address, addresses) for address in addresses}
        self._lifeline = os.pipe()
        self._seats = [_Seat() for _ in range(config.server.workers)]
        self._control = ControlKeeper(path, config.server.spool, emit, self._deaths)

    def run(self) -> WorkerContext | int:
        """Returns once in each worker, with its context; in the supervisor at the end, with the exit status."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        # Existing objects are never garbage: the collector would touch, and so copy, every shared page.
        gc.collect()
        gc.freeze()
        while True:
            for number, seat in enumerate(self._seats):
                if seat.pid == 0 and (seat.next is None or seat.next <= time.monotonic()):
                    post = self._fork(number, seat)
                    if post is not None:
                        return post
            self._control.look()
            received = signal.sigtimedwait(_SIGNALS, self._patience())
            if received is not None and received.si_signo in (signal.SIGTERM, signal.SIGINT):
                return self._stop(0)
            if received is not None and received.si_signo == signal.SIGHUP:
                self._tell_all(signal.SIGHUP)
            status = self._reap()
            if status is not None:
                return self._stop(status)

    def _fork(self, number: int, seat: _Seat) -> WorkerContext | None:
        """The new worker's context, in the worker."""
        sys.stdout.flush()
        sys.stderr.flush()
        late = seat.next is not None
        seat.pid, seat.since, seat.next = os.fork(), time.monotonic(), None
        if seat.pid:
            return None
        os.close(self._lifeline[1])
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        server = self._config.server
        return WorkerContext(
            number=number,
            workers=server.workers,
            tally=self._counts.tally(number),
            sockets=self._sockets,
            arrivals=self._arrivals.of_worker(number),
            counters=share_counters(server.spool, number) if self._counting else None,
            lifeline=self._lifeline[0],
            late=late,
            deaths=self._deaths,
        )

    def _patience(self) -> float:
        """Seconds until a place is to be filled, or until the next look at the control plane."""
        now = time.monotonic()
        waits = (max(seat.next - now, 0) for seat in self._seats if seat.next is not None)
        return min((LOOK_SECONDS if self._control.pid else LOOK_SECONDS / 4, *waits))

    def _reap(self) -> int | None:
        """Note the workers that have ended. Returns the exit status when the gateway cannot even start."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return None
            if pid == 0:
                return None
            if self._control.note_end(pid, status):
                continue
            for number, seat in enumerate(self._seats):
                if seat.pid == pid:
                    seat.pid = 0
                    seat.proven = seat.proven or self._counts.tally().total(ready_key(number)) > 0
                    if not seat.proven:
                        return os.waitstatus_to_exitcode(status) or 1
                    self._bury(number, seat, os.waitstatus_to_exitcode(status))

    def _bury(self, number: int, seat: _Seat, status: int) -> None:
        self._counts.clear(number)
        self._arrivals.bury(number)
        now = time.monotonic()
        lived = now - seat.since
        self._deaths.add(number, status)
        seat.pause = _FIRST_PAUSE if lived > _LONGEST_PAUSE else min(max(seat.pause * 2, _FIRST_PAUSE), _LONGEST_PAUSE)
        # The successor of the first death starts at once, because mail waits.
        pause = 0.0 if lived > _LONGEST_PAUSE or seat.pause == _FIRST_PAUSE else seat.pause
        seat.next = now + pause
        fields = (("worker", number), ("status", status), ("seconds", round(lived, 1)), ("next_in", pause))
        self._emit(Event("worker-died", "", fields, Level.ALARM))

    def _tell_all(self, number: signal.Signals) -> None:
        for seat in self._seats:
            if seat.pid:
                with suppress(ProcessLookupError):
                    os.kill(seat.pid, number)

    def _stop(self, status: int) -> int:
        """Let every worker drain. Nobody can connect any more once they too have closed their sockets."""
        for sock in self._sockets.values():
            sock.close()
        self._tell_all(signal.SIGTERM)
        deadline = time.monotonic() + self._config.server.drain_timeout + _GRACE
        while any(seat.pid for seat in self._seats):
            signal.sigtimedwait((signal.SIGCHLD,), 0.5)
            self._wait_for_workers()
            if time.monotonic() > deadline:
                self._tell_all(signal.SIGKILL)
        self._control.stop()
        return status

    def _wait_for_workers(self) -> None:
        for seat in self._seats:
            with suppress(ChildProcessError):
                if seat.pid and os.waitpid(seat.pid, os.WNOHANG)[0]:
                    seat.pid = 0
