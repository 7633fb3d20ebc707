"""One event, many sinks: only this module makes the log line and the metric of an event."""

from __future__ import annotations

import errno
import os
import queue
import sys
import threading
import time
from collections import Counter as Numbers
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import TextIO

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram, values
from prometheus_client.multiprocess import MultiProcessCollector

from gateway.mail.printable import clean, clean_json
from gateway.model.decision import Action
from gateway.model.envelope import IPText, network_of
from gateway.model.event import Event, Level

DIRECTORY = "metrics"
"""Below the spool's: a directory that the gateway can certainly write to."""
_KINDS = ("counter", "histogram")
_OCTETS = 262_144
"""Octets of a file: several times the size of all counters of a worker."""
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


def clear_counters(spool: Path, workers: int) -> bool:
    """Remove old counters, before the first worker counts. False when there is no room for the files: each worker then
    shows its own counts. Raises OSError for a spool that is not writable."""
    directory = spool / DIRECTORY
    try:
        for made in (spool, directory):
            made.mkdir(mode=0o700, parents=True, exist_ok=True)
        if directory.is_symlink():
            raise OSError(errno.ELOOP, f"{DIRECTORY} is a link")
        for file in directory.glob("*.db"):
            file.unlink()
        for worker, kind in product(range(workers), _KINDS):
            _allocate(directory / f"{kind}_{worker}.db")
    except OSError as error:
        if error.errno in _NO_ROOM:
            return False
        raise OSError(error.errno, f"spool {spool} cannot be written to: {error.strerror}") from error
    return True


def _allocate(path: Path) -> None:
    """Reserve room for a mapped file: one with holes ends the process on a full disk."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, _OCTETS)
    finally:
        os.close(descriptor)


def share_counters(spool: Path, worker: int) -> CollectorRegistry:
    """Keep the metrics that this process makes from now on in the shared files; returns the registry that shows the sum
    of all."""
    directory = str(spool / DIRECTORY)
    os.environ[_VARIABLE] = directory
    values.ValueClass = values.MultiProcessValue(lambda: worker)  # type: ignore[no-untyped-call]
    registry = CollectorRegistry()
    MultiProcessCollector(registry, directory)  # type: ignore[no-untyped-call]
    return registry


_MOST_WAITING = 10_000
"""Log lines that may wait for a slow reader; further ones are counted and dropped, never waited for."""

_PIECE = 4096
"""PIPE_BUF: a pipe keeps up to so many octets together."""
_USUAL_LINE = 1024
"""A longer line is rare."""

_RANKS = {level: rank for rank, level in enumerate(Level)}

_LABELS = {
    "accepted": ("action", "dmarc"),
    "held": ("rule",),
    "refused": ("rule",),
    "deferred-client": ("rule",),
    "shadow": ("set", "action", "live"),
    "delivered": ("backend",),
    "deferred": ("backend",),
    "failed": ("backend",),
    "listener-refused": ("reason",),
}
"""The fields of an event that become labels: only those with few values, never anything that a client chooses."""


_PACED = ("refused", "deferred-client", "shadow", "smtp")
"""Events that a client can cause without limit and without accepted mail. All others have limits of their own, or are
always written."""
_TAKEN = tuple(action for action in Action if action.keeps)
"""Actions of the live rules that accept a message: all events about it are written."""
_MOST_NAMED = 1000
"""Networks whose dropped lines are counted separately."""
_MOST_OF_A_NETWORK = 300
"""Lines of such events in a minute that are written for one /24 or /64."""
_MOST_IN_ALL = 3000
"""The same for all networks together, in one worker."""
_SECONDS = 60.0
_LOOK_SECONDS = 5.0
"""Seconds between checks of an idle log for dropped lines."""


class LinePace:
    """The choice of lines of refused clients that are written. Other lines are counted, and reported in one event for
    each minute."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._began = now()
        self._written: Numbers[str] = Numbers()
        self._written_in_all = 0
        self._dropped: Numbers[str] = Numbers()
        self._told: list[Event] = []

    def admits(self, event: Event, client: str) -> bool:
        """True when the line of a paced event is written. `client` is empty if the event names none."""
        network = network_of(IPText(client)) if client and client != "unknown" else ""
        with self._lock:
            self._turn()
            few = not network or self._written[network] < _MOST_OF_A_NETWORK
            if few and self._written_in_all < _MOST_IN_ALL:
                self._written[network] += 1
                self._written_in_all += 1
                return True
            named = network in self._dropped or len(self._dropped) < _MOST_NAMED
            self._dropped[network if named else ""] += 1
            return False

    def take_told(self, last: bool = False) -> list[Event]:
        """An event for each past minute with dropped lines; `last`: for this minute too."""
        with self._lock:
            self._turn(last)
            told, self._told = self._told, []
        return told

    def _turn(self, last: bool = False) -> None:
        now = self._now()
        if now - self._began < _SECONDS and not last:
            return
        if self._dropped:
            [(network, number)] = self._dropped.most_common(1)
            fields = (("count", self._dropped.total()), ("most_from", network), ("from_there", number))
            self._told.append(Event("log-lines-dropped", "", fields, Level.WARNING))
        self._began, self._written_in_all = now, 0
        self._written.clear()
        self._dropped.clear()


class Lines:
    """Makes the log line of an event."""

    def __init__(self, format: str, level: Level, worker: int | None = None, colors: bool = False) -> None:
        """`worker` is shown in every line, to tell several processes apart. `colors` are for a terminal, and for text
        only."""
        self._least = _RANKS[level]
        self._json = format == "json"
        console = structlog.dev.ConsoleRenderer(colors=colors)
        self._render = structlog.processors.JSONRenderer() if self._json else console
        self._stamp = structlog.processors.TimeStamper(fmt="iso", utc=True)
        self._worker = {} if worker is None else {"worker": worker}

    def shows(self, event: Event) -> bool:
        """The event is not below the displayed level."""
        return _RANKS[event.level] >= self._least

    def line(self, event: Event) -> str | None:
        """The line; None for an event below the displayed level."""
        if _RANKS[event.level] < self._least:
            return None
        line = {"event": event.name, "level": event.level.value, "id": event.id, **self._worker, **dict(event.fields)}
        if not self._json:
            line = {name: clean(value) if isinstance(value, str) else value for name, value in line.items()}
        text = str(self._render(None, "", self._stamp(None, "", line)))
        return (clean_json(text) if self._json else text) + "\n"


class Observer:
    """Takes every event; a slow log reader never delays mail, and refused clients do not fill the log."""

    def __init__(self, lines: Lines, stream: TextIO = sys.stdout, pace: LinePace | None = None) -> None:
        self.registry = CollectorRegistry()
        self._lines = lines
        self._pace = pace or LinePace()
        self._events = Counter("waypost_events", "What happened, by name", ["name", "detail"], registry=self.registry)
        self._lost = Counter("waypost_log_lines_lost", "Log lines dropped: reader too slow", registry=self.registry)
        self.lost = 0
        """The same, of this worker."""
        self._size = Histogram(
            "waypost_message_octets",
            "Size of received messages",
            buckets=(4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864),
            registry=self.registry,
        )
        self._stream = stream
        self._waiting: queue.Queue[str | None] = queue.Queue(_MOST_WAITING)
        self._writer = threading.Thread(target=self._write, name="log", daemon=True)
        self._writer.start()

    def __call__(self, event: Event) -> None:
        """Count the event and queue its line."""
        fields = dict(event.fields)
        detail = ",".join(str(fields.get(label, "")) for label in _LABELS.get(event.name, ()))
        self._events.labels(event.name, detail).inc(float(fields.get("count", 1)))
        if event.name in ("accepted", "held", "refused") and "size" in fields:
            self._size.observe(float(fields["size"]))
        if event.name in _PACED and self._is_dropped(event, fields):
            return
        line = self._lines.line(event)
        if line is not None:
            try:
                self._waiting.put_nowait(line)
            except queue.Full:
                self._lose()

    def _is_dropped(self, event: Event, fields: dict[str, str | int | float | bool]) -> bool:
        if not self._lines.shows(event) or fields.get("live") in _TAKEN:
            return False
        return not self._pace.admits(event, str(fields.get("client", "")))

    def _lose(self) -> None:
        self.lost += 1
        self._lost.inc()

    def close(self) -> None:
        """Write the waiting lines, then stop."""
        self._waiting.put(None)
        self._writer.join(timeout=5)

    def _write(self) -> None:
        last = False
        while not last:
            text, last = self._take()
            text += "".join(self._tell_dropped(last))
            try:
                if text:
                    self._stream.write(text)
                    self._stream.flush()
            except (OSError, ValueError):
                self._lose()

    def _tell_dropped(self, last: bool) -> Iterator[str]:
        for event in self._pace.take_told(last):
            self._events.labels(event.name, "").inc(float(dict(event.fields)["count"]))
            yield self._lines.line(event) or ""

    def _take(self) -> tuple[str, bool]:
        """Whole lines, as many as a pipe takes in one piece, because others may write to it too; True after the
        last."""
        lines: list[str] = []
        octets = 0
        while octets < _PIECE and (not lines or not self._waiting.empty()):
            try:
                line = self._waiting.get(timeout=_LOOK_SECONDS)
            except queue.Empty:
                break
            if line is None:
                return "".join(lines), True
            lines.append(line)
            octets += _USUAL_LINE
        return "".join(lines), False
